//! From parsed arguments to an exit code.

use std::io::{self, Write};
use std::process::ExitCode;

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::args::{Args, Command};
use crate::report::{Exit, Failure};
use crate::{endpoints, gateway, post, ready, report, status, stream};

/// Runs the command, prints why it failed if it did, and says how to exit.
pub(crate) fn run(args: Args) -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return end(Err(Failure::failed(format!("the runtime does not start: {error}"))));
        }
    };
    // As a task, the command runs right after the connection's task that wakes it. The runtime asks the
    // system for events before it polls what it blocks on: two system calls more for each answer.
    let ended = runtime.block_on(async { spawn_local(run_command(args.command)).await });
    // A thread that looks up a name must not keep the process.
    runtime.shutdown_background();
    match ended {
        Ok(result) => end(result),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    }
}

async fn run_command(command: Command) -> Result<Exit, Failure> {
    match command {
        Command::Post(args) => post::run(*args).await,
        Command::Stream(args) => stream::run(*args).await,
        Command::Ready(args) => ready::run(args).await,
        Command::Status(args) => status::run(args).await,
        Command::Endpoints(args) => endpoints::run(args).await,
        Command::Gateway(args) => gateway::run(args).await,
    }
}

fn end(result: Result<Exit, Failure>) -> ExitCode {
    let exit = result.unwrap_or_else(|failure| {
        report::print(&failure.to_string());
        failure.exit()
    });
    exit.into()
}

/// Writes a command's short answer to stdout.
///
/// # Errors
/// When stdout is closed or full.
pub(crate) fn answer(text: &str) -> Result<(), Failure> {
    let mut stdout = io::stdout().lock();
    writeln!(stdout, "{text}")
        .and_then(|()| stdout.flush())
        .map_err(|error| Failure::failed(format!("stdout: {error}")))
}
