//! `cargo xtask coverage`: which lines the tests reach.

use std::fs;
use std::process::ExitCode;

use crate::command::{self, workspace};
use crate::metadata::Metadata;
use crate::steps::{Steps, Stopped};
use crate::{gateways, llvm, reach, tools};

/// Their tests cover only their parts: people run these programs as a whole.
const NOT_COUNTED: [&str; 3] = ["clientlet-bench", "clientlet-interop", "xtask"];

/// Prints a table of files to standard output.
pub(crate) fn run(interop: bool) -> ExitCode {
    let mut steps = Steps::default();
    match run_steps(&mut steps, interop) {
        Ok(table) => {
            eprintln!();
            print!("{table}");
            if !interop {
                eprintln!("\nLEFT OUT: real Jina gateways ({})", gateways::LEFT_OUT);
            }
            ExitCode::SUCCESS
        }
        Err(Stopped) => ExitCode::FAILURE,
    }
}

fn run_steps(steps: &mut Steps, interop: bool) -> Result<String, Stopped> {
    let metadata =
        steps.run("dependencies", "is the package registry in reach?", Metadata::read)?;
    let target = &metadata.target_directory;
    let llvm = steps.run("LLVM", llvm::HINT, || llvm::find_or_install(target))?;
    let hint = "is crates.io in reach?";
    let llvm_cov = steps.run("cargo-llvm-cov", hint, || tools::LLVM_COV.install(target))?;
    let mut gateways = gateways::prepare(steps, target, interop)?;
    gateways.wait(steps)?;

    let report = target.join("coverage.lcov");
    steps.run("tests", "the command that runs a failed test alone is above", || {
        let mut test = llvm_cov.command();
        test.args(["--workspace", "--lcov", "--output-path"]).arg(&report);
        // Tests kill some of the processes that they start. Half-written profiles of such processes are
        // ignored.
        test.args(["--failure-mode", "all"]);
        for package in NOT_COUNTED {
            test.args(["--exclude", package]);
        }
        // Some builds of LLVM's programs cannot decompress names, such as the packaged ones.
        test.env("RUSTFLAGS", "-Cllvm-args=-enable-name-compression=false");
        test.env("LLVM_COV", &llvm.cov).env("LLVM_PROFDATA", &llvm.profdata);
        gateways.tell(&mut test);
        command::run(&mut test)
    })?;
    steps.run("report", "cargo-llvm-cov may have changed its format", || {
        let lcov = fs::read_to_string(&report)
            .map_err(|error| format!("{} cannot be read: {error}", report.display()))?;
        let files = reach::read(&lcov, workspace())?;
        Ok(reach::table(&files))
    })
}
