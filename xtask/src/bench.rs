//! `cargo xtask bench`: measurements, in release mode.

use std::process::{Command, ExitCode};

use crate::command::{self, cargo};
use crate::debian;
use crate::metadata::Metadata;

/// What contestants in one process free stays with it. By default glibc gives it back to the system
/// whenever it happens to lie at the top of the heap, and which of them pays for fresh pages is chance:
/// the same codec took 28 or 145 us for the same message. Not for what is measured as users have it:
/// memory, the command, the clients of others.
const KEPT_MEMORY: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=67108864:glibc.malloc.mmap_threshold=33554432");

/// The benchmarks with contestants in one process.
const CONTESTS: [&str; 4] = ["http", "websocket", "grpc", "codec"];

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
    if arguments.first().is_some_and(|name| name == "pace") {
        find_strace()?;
    }
    // The embedded gateway runs in a process of its own: the command's.
    let packages = ["-p", "clientlet-bench", "-p", "clientlet-cli"];
    command::run(cargo().args(["build", "--release"]).args(packages))?;
    let benchmark = Metadata::read()?.target_directory.join("release/clientlet-bench");
    let is_contest = arguments.first().is_some_and(|name| CONTESTS.contains(&name.as_str()));
    let status = Command::new(&benchmark)
        .args(arguments)
        .envs(is_contest.then_some(KEPT_MEMORY))
        .status()
        .map_err(|error| format!("`{}` cannot be run: {error}", benchmark.display()))?;
    // No code: a signal ended it.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Finds strace, which counts system calls. In CI, on Debian, it is installed if it is missing.
fn find_strace() -> Result<(), String> {
    let is_there = || command::output(Command::new("strace").arg("--version")).is_some();
    if !is_there() && debian::may_install() {
        debian::install(&["strace"])?;
    }
    let hint = "strace is not there, which counts system calls; `apt-get install strace` installs it on Debian";
    is_there().then_some(()).ok_or_else(|| hint.to_owned())
}
