//! Running other programs.

use std::env;
use std::io;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::thread::{self, JoinHandle};

/// The cargo that runs this, in the workspace's top directory.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(workspace());
    command
}

/// The top of the repository.
pub(crate) fn workspace() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask is a directory of the workspace")
}

/// Shows the command, runs it on our own output, and is an error if it fails.
pub(crate) fn run(command: &mut Command) -> Result<(), String> {
    let shown = show(command);
    eprintln!("$ {shown}");
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("`{shown}`: {status}")),
        Err(error) => Err(format!("`{shown}` cannot be run: {error}")),
    }
}

/// A program that runs in the background. Its output is shown when it is waited for.
#[derive(Debug)]
pub(crate) struct Beside {
    shown: String,
    output: JoinHandle<io::Result<Output>>,
}

impl Beside {
    /// Prints the command and starts it.
    pub(crate) fn start(mut command: Command) -> Beside {
        let shown = show(&command);
        eprintln!("$ {shown} &");
        Beside { shown, output: thread::spawn(move || command.output()) }
    }

    /// Waits for the program's end and shows its output; an error if it failed.
    pub(crate) fn finish(self) -> Result<(), String> {
        let Beside { shown, output } = self;
        let output = output.join().expect("it only starts a process and reads what it prints");
        let output = output.map_err(|error| format!("`{shown}` cannot be run: {error}"))?;
        let [out, err] = [&output.stdout, &output.stderr].map(|text| String::from_utf8_lossy(text));
        eprintln!("\n$ {shown}\n{err}{out}");
        if output.status.success() { Ok(()) } else { Err(format!("`{shown}`: {}", output.status)) }
    }
}

/// What the command prints on standard output, or `None` if it fails.
pub(crate) fn output(command: &mut Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

fn show(command: &Command) -> String {
    let program = Path::new(command.get_program());
    // Short names read better, and say as much, except outside PATH.
    let program = if program.ends_with("cargo") { Path::new("cargo") } else { program };
    let mut shown = program.display().to_string();
    for argument in command.get_args() {
        shown.push(' ');
        shown.push_str(&argument.to_string_lossy());
    }
    shown
}
