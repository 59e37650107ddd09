//! `cargo xtask bench`: measurements, in release mode.

use std::process::{Command, ExitCode};

use crate::command::{self, cargo};
use crate::debian;
use crate::instructions;
use crate::metadata::Metadata;
use crate::wheel;

/// Makes glibc keep freed memory, for contestants that run in one process. By default glibc returns
/// memory to the system whenever the memory happens to lie at the top of the heap. Then it is chance
/// which contestant pays for fresh pages: the same codec took 28 or 145 us for the same message. Other
/// benchmarks (memory, the command, other clients) measure what users have, so they do not use this
/// setting.
const KEPT_MEMORY: (&str, &str) =
    ("GLIBC_TUNABLES", "glibc.malloc.trim_threshold=67108864:glibc.malloc.mmap_threshold=33554432");

/// The benchmarks with contestants in one process.
const CONTESTS: [&str; 5] = ["http", "websocket", "grpc", "blocking", "codec"];

/// Builds the benchmark and its gateway, and runs the benchmark. Returns the benchmark's exit code.
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
    if let Some((name, rest)) = arguments.split_first()
        && name == "instructions"
    {
        return instructions::run(rest);
    }
    if arguments.first().is_some_and(|name| name == "pace") {
        find_strace()?;
    }
    // The command runs the embedded gateway in a process of its own.
    let packages = ["-p", "clientlet-bench", "-p", "clientlet-cli"];
    command::run(cargo().args(["build", "--release"]).args(packages))?;
    let target = Metadata::read()?.target_directory;
    let benchmark = target.join("release/clientlet-bench");
    let needs_wheel = arguments.first().is_some_and(|name| name == "python");
    let wheel = needs_wheel.then(|| wheel::install_for_benchmarks(&target)).transpose()?;
    let is_contest = arguments.first().is_some_and(|name| CONTESTS.contains(&name.as_str()));
    let status = Command::new(&benchmark)
        .args(arguments)
        .envs(is_contest.then_some(KEPT_MEMORY))
        .envs(wheel.map(|folder| ("CLIENTLET_WHEEL", folder)))
        .status()
        .map_err(|error| format!("`{}` cannot be run: {error}", benchmark.display()))?;
    // Without a code, a signal ended the benchmark.
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(code.map_or(ExitCode::FAILURE, ExitCode::from))
}

/// Finds strace, which counts system calls. In CI on Debian a missing strace is installed.
fn find_strace() -> Result<(), String> {
    let is_there = || command::output(Command::new("strace").arg("--version")).is_some();
    if !is_there() && debian::may_install() {
        debian::install(&["strace"])?;
    }
    let hint = "strace, which counts system calls, was not found; on Debian `apt-get install strace` installs it";
    is_there().then_some(()).ok_or_else(|| hint.to_owned())
}
