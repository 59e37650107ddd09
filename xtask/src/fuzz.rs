//! `cargo xtask fuzz`: runs the targets of `fuzz/`, each for the same time.

use std::collections::BTreeSet;
use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use crate::command::{self, cargo, workspace};
use crate::metadata::Metadata;
use crate::tools::{self, Installed};

/// Fuzzes the named targets, or all. Fails if a target finds a fault.
pub(crate) fn run(seconds: u64, named: &[String]) -> ExitCode {
    match fuzz_all(seconds, named) {
        Ok(findings) if findings.is_empty() => {
            eprintln!("\nnothing was found");
            ExitCode::SUCCESS
        }
        Ok(findings) => {
            eprintln!();
            for finding in findings {
                eprintln!("FAILED: {finding}");
            }
            eprintln!("hint: write a unit test with the artifact, then fix the fault");
            ExitCode::FAILURE
        }
        Err(error) => {
            eprintln!("\nFAILED: {error}");
            ExitCode::FAILURE
        }
    }
}

fn fuzz_all(seconds: u64, named: &[String]) -> Result<Vec<String>, String> {
    check_compiler()?;
    let target_directory = Metadata::read()?.target_directory;
    let cargo_fuzz = tools::FUZZ
        .install(&target_directory)
        .map_err(|error| format!("{error}\nhint: is crates.io in reach?"))?;
    let targets = choose(list(&cargo_fuzz)?, named)?;
    // Writes the seeds, with which the fuzzer starts: answers of real gateways.
    command::run(cargo().args(["run", "--quiet", "--manifest-path", "fuzz/seeds/Cargo.toml"]))?;

    let mut findings = Vec::new();
    for (place, target) in targets.iter().enumerate() {
        eprintln!("\n=== {target} ({} of {}), {seconds} s", place + 1, targets.len());
        let artifacts = workspace().join("fuzz/artifacts").join(target);
        let before = files(&artifacts);
        let result = command::run(&mut fuzz(&cargo_fuzz, target, seconds));
        let new: Vec<PathBuf> = files(&artifacts).difference(&before).cloned().collect();
        findings.extend(judge(target, result, &new, cargo_fuzz.program()));
    }
    Ok(findings)
}

/// Checks that there is a C++ compiler: libFuzzer, the fuzzer's runtime, is written in C++.
fn check_compiler() -> Result<(), String> {
    let compiler = env::var_os("CXX").unwrap_or_else(|| OsString::from("c++"));
    match command::output(Command::new(&compiler).arg("--version")) {
        Some(_) => Ok(()),
        None => Err(format!(
            "`{}` does not run, and the fuzzer's runtime is written in C++\n\
             hint: `apt-get install g++`, or set CXX to another compiler",
            compiler.display()
        )),
    }
}

fn list(cargo_fuzz: &Installed) -> Result<Vec<String>, String> {
    let list = command::output(cargo_fuzz.command().arg("list"))
        .ok_or("`cargo fuzz list` failed; is fuzz/Cargo.toml there?")?;
    Ok(list.split_whitespace().map(str::to_owned).collect())
}

/// Returns the named targets in their order, or all if none is named.
///
/// # Errors
/// If a named target does not exist, or if there are no targets.
fn choose(known: Vec<String>, named: &[String]) -> Result<Vec<String>, String> {
    match named.iter().find(|name| !known.contains(name)) {
        Some(stranger) => {
            Err(format!("no target is called `{stranger}`; there are: {}", known.join(", ")))
        }
        None if known.is_empty() => Err("fuzz/ has no targets".to_owned()),
        None if named.is_empty() => Ok(known),
        None => Ok(named.to_vec()),
    }
}

fn fuzz(cargo_fuzz: &Installed, target: &str, seconds: u64) -> Command {
    let mut fuzz = cargo_fuzz.command();
    fuzz.args(["run", target, "--", &format!("-max_total_time={seconds}")])
        // By default libFuzzer prints a line for every new input, thousands of lines.
        .args(["-verbosity=0", "-print_final_stats=1"])
        // The sanitizer's flag is for nightly compilers. With this variable a stable compiler takes it.
        .env("RUSTC_BOOTSTRAP", "1");
    fuzz
}

fn files(directory: &Path) -> BTreeSet<PathBuf> {
    let entries = fs::read_dir(directory).into_iter().flatten().flatten();
    entries.map(|entry| entry.path()).filter(|path| path.is_file()).collect()
}

/// The finding of a target that has run and left these new files, if any.
fn judge(
    target: &str,
    result: Result<(), String>,
    artifacts: &[PathBuf],
    program: &Path,
) -> Option<String> {
    let program = program.display();
    match (result, artifacts) {
        (Ok(()), []) => None,
        (Err(error), []) => Some(format!("{target}: {error}")),
        (_, artifacts) => {
            let show = |path: &PathBuf| {
                let path = path.strip_prefix(workspace()).unwrap_or(path).display();
                format!("\n  {path}\n  again: RUSTC_BOOTSTRAP=1 {program} fuzz run {target} {path}")
            };
            let artifacts: String = artifacts.iter().map(show).collect();
            Some(format!("{target} found a fault:{artifacts}"))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(words: &str) -> Vec<String> {
        words.split_whitespace().map(str::to_owned).collect()
    }

    #[test]
    fn all_targets_are_run_unless_some_are_named() {
        assert_eq!(choose(names("a b c"), &[]), Ok(names("a b c")));
        assert_eq!(choose(names("a b c"), &names("c a")), Ok(names("c a")));
        let error = choose(names("a b"), &names("c")).unwrap_err();
        assert_eq!(error, "no target is called `c`; there are: a, b");
    }

    #[test]
    fn finding_names_its_artifact_and_how_to_run_it_again() {
        let artifact = workspace().join("fuzz/artifacts/url/crash-1");
        let finding =
            judge("url", Err("exit 77".to_owned()), &[artifact], Path::new("cargo-fuzz")).unwrap();
        assert!(
            finding.contains("cargo-fuzz fuzz run url fuzz/artifacts/url/crash-1"),
            "{finding}"
        );
    }

    #[test]
    fn target_that_fails_without_an_artifact_fails_too() {
        assert_eq!(judge("url", Ok(()), &[], Path::new("cargo-fuzz")), None);
        let finding =
            judge("url", Err("it does not build".to_owned()), &[], Path::new("cargo-fuzz"));
        assert_eq!(finding, Some("url: it does not build".to_owned()));
    }
}
