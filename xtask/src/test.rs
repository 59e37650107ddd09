//! `cargo xtask test`: everything that has to pass, in order of what is cheap to know first.

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, ExitCode};

use crate::command::{self, cargo, workspace};
use crate::metadata::Metadata;
use crate::steps::{Steps, Stopped};
use crate::{msrv, python};

const LEFT_OUT: &str = "--no-interop was given";

/// Runs all steps up to the first that fails, and prints the table.
pub(crate) fn run(interop: bool) -> ExitCode {
    let mut steps = Steps::default();
    let result = run_steps(&mut steps, interop);
    eprintln!("\n{}", steps.table());
    if !interop {
        eprintln!(
            "LEFT OUT: nothing was tested against a real Jina gateway ({LEFT_OUT}).\n\
             `cargo xtask test` does it; it needs Python 3.11."
        );
    }
    match result {
        Ok(()) => {
            eprintln!("all steps passed");
            ExitCode::SUCCESS
        }
        Err(Stopped) => ExitCode::FAILURE,
    }
}

fn run_steps(steps: &mut Steps, interop: bool) -> Result<(), Stopped> {
    steps.run("tools", "`rustup component add rustfmt clippy`", check_tools)?;
    let metadata =
        steps.run("dependencies", "is the package registry in reach?", Metadata::read)?;

    let environments = if interop {
        let python = steps.run("Python", &python::hint(), python::find_or_install)?;
        let directory = metadata.target_directory.join("interop");
        let hint = "is the Python package index in reach? `--no-interop` goes on without";
        steps.run("real gateways", hint, || install_gateways(&python, &directory))?;
        Some(directory)
    } else {
        steps.leave_out("Python", LEFT_OUT);
        steps.leave_out("real gateways", LEFT_OUT);
        None
    };

    steps.run("format", "`cargo fmt --all` puts it right", || {
        command::run(cargo().args(["fmt", "--all", "--check"]))
    })?;
    steps.run("clippy", "an exception needs `#[expect(.., reason = \"..\")]`", || {
        let line = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
        command::run(cargo().args(line))
    })?;
    steps.run(
        "oldest Rust",
        "pin an older release, or raise rust-version in Cargo.toml",
        || msrv::check(&metadata).map(|said| eprintln!("{said}")),
    )?;
    steps.run("build", "the compiler's message is above", || {
        // The command's tests start the built binary.
        command::run(cargo().args(["build", "--workspace", "--bins"]))
    })?;
    steps.run("tests", "the line to run a failed one alone is above", || {
        let mut test = cargo();
        test.args(["test", "--workspace"]);
        set_interop(&mut test, environments.as_deref());
        command::run(&mut test)
    })?;
    steps.run("documentation", "rustdoc's message is above", || {
        let line = ["doc", "--workspace", "--no-deps"];
        command::run(cargo().args(line).env("RUSTDOCFLAGS", "-D warnings"))
    })
}

fn check_tools() -> Result<(), String> {
    for tool in ["fmt", "clippy"] {
        let version = command::output(cargo().args([tool, "--version"]))
            .ok_or_else(|| format!("`cargo {tool}` is not installed"))?;
        eprintln!("{}", version.trim());
    }
    Ok(())
}

fn install_gateways(python: &OsStr, directory: &Path) -> Result<(), String> {
    let mut install = Command::new(workspace().join("interop/install"));
    command::run(install.arg(directory).env("INTEROP_PYTHON", python))
}

/// Says to the tests where the real gateways are, so that a missing one fails; or that they are
/// left out, although they may be installed.
fn set_interop(test: &mut Command, environments: Option<&Path>) {
    match environments {
        Some(directory) => {
            test.env("CLIENTLET_INTEROP", directory).env_remove("CLIENTLET_NO_INTEROP")
        }
        None => test.env("CLIENTLET_NO_INTEROP", "1").env_remove("CLIENTLET_INTEROP"),
    };
}
