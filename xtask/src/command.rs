//! Running other programs.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

/// The cargo that runs this program, in the workspace's top directory.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    if is_ci() {
        // Preparing an incremental build makes the first build take a fifth longer.
        command.env("CARGO_INCREMENTAL", "0");
    }
    command
}

/// Whether this machine was set up for this run alone.
pub(crate) fn is_ci() -> bool {
    env::var_os("CI").is_some_and(|value| value == "true")
}

/// The top of the repository.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// Prints the command and runs it; its output goes to our own.
///
/// # Errors
/// If the command cannot be run or fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let shown = show(command);
    eprintln!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}`: {status}")),
        Err(error) => Err(format!("`{shown}` cannot be run: {error}")),
    }
}

/// A program that runs in the background. [`finish`](Beside::finish) shows its output.
#[derive(Debug)]
pub(crate) struct Beside {
    shown: String,
    output: JoinHandle<io::Result<(Output, Duration)>>,
}

impl Beside {
    /// Prints the command and starts it.
    pub(crate) fn start(command: Command) -> Beside {
        Self::start_as(show(&command), command)
    }

    /// Prints `shown`, a command line that does the same, and starts the command.
    pub(crate) fn start_as(shown: String, mut command: Command) -> Beside {
        eprintln!("$ {shown} &");
        let began = Instant::now();
        let output = thread::spawn(move || Ok((command.output()?, began.elapsed())));
        Beside { shown, output }
    }

    /// Waits until the program ends and shows its output.
    ///
    /// # Errors
    /// If the program cannot be run or fails.
    pub(crate) fn finish(self) -> Result<(), String> {
        let Beside { shown, output } = self;
        let output = output.join().expect("it only starts a process and reads what it prints");
        let (output, took) = output.map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        eprintln!("\n$ {shown}\n{err}{out}--- {:.1} s", took.as_secs_f64());
        match output.status.success() {
            true => Ok(()),
            false => Err(format!("`{shown}`: {}{}", output.status, failures(&out))),
        }
    }
}

/// The most lines that are repeated of each program that failed, and the most characters of each.
const REPEATED: (usize, usize) = (40, 500);

/// Returns what a test program says of its failed tests, to be repeated at the end of a run, whose
/// output is long.
fn failures(out: &str) -> String {
    let Some((_, said)) = out.split_once("\nfailures:\n") else { return String::new() };
    // The names follow once more.
    let said = said.split("\nfailures:\n").next().unwrap_or(said);
    let is_told = |line: &&str| !line.is_empty() && !line.starts_with("   ");
    let (lines, characters) = REPEATED;
    let lines = said.lines().filter(is_told).take(lines);
    lines
        .map(|line| "\n    ".chars().chain(line.chars().take(characters)).collect::<String>())
        .collect()
}

/// Prints the command, runs it and returns its standard output. Its standard error goes to our own.
pub(crate) fn printed_by(command: &mut Command) -> Result<String, String> {
    let shown = show(command);
    eprintln!("$ {shown}");
    let output = command.stderr(Stdio::inherit()).output();
    let output = output.map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("`{shown}`: {}", output.status));
    }
    String::from_utf8(output.stdout).map_err(|error| format!("`{shown}`: {error}"))
}

/// Returns the command's standard output, or `None` if the command fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    // The full path of cargo is only noise.
    let program = if program.ends_with("cargo") { Path::new("cargo") } else { program };
    let mut shown = program.display().to_string();
    for argument in command.get_args() {
        shown.push(' ');
        shown.push_str(&argument.to_string_lossy());
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_failed_tests_say_is_repeated_without_their_stacks_and_names() {
        let out = "running 2 tests\ntest a ... FAILED\n\nfailures:\n\n---- a stdout ----\n\n\
                   thread 'a' panicked at b.rs:1:2:\n3 of 600 failed\nstack backtrace:\n   0: rust\n\n\n\
                   failures:\n    a\n\ntest result: FAILED.\n";
        let said = "\n    ---- a stdout ----\n    thread 'a' panicked at b.rs:1:2:\n    3 of 600 failed\
                    \n    stack backtrace:";
        assert_eq!(failures(out), said);
        assert_eq!(failures("test result: ok."), "");
    }
}
