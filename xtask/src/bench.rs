//! `cargo xtask bench`: measurements, in release mode.

use std::process::{Command, ExitCode};

use crate::command::{self, cargo};
use crate::metadata::Metadata;

/// Builds the benchmark and the gateway it talks to, and runs it; its exit code is ours.
pub(crate) fn run(arguments: &[String]) -> ExitCode {
    match build_and_run(arguments) {
        Ok(code) => code,
        Err(error) => {
            eprintln!("FAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn build_and_run(arguments: &[String]) -> Result<ExitCode, String> {
    // The embedded gateway runs in a process of its own: the command's.
    let packages = ["-p", "clientlet-bench", "-p", "clientlet-cli"];
    command::run(cargo().args(["build", "--release"]).args(packages))?;
    let benchmark = Metadata::read()?.target_directory.join("release/clientlet-bench");
    let status = Command::new(&benchmark)
        .args(arguments)
        .status()
        .map_err(|error| format!("`{}` cannot be run: {error}", benchmark.display()))?;
    // No code: a signal ended it.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}
