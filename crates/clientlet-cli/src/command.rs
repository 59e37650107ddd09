//! Runs a command from its parsed arguments to its exit code.

use std::process::ExitCode;

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::args::{Args, Command};
use crate::report::{Exit, Failure};
use crate::{endpoints, gateway, post, ready, report, status, stream};

/// Runs the command, prints its failure if there is one, and returns the exit code.
pub(crate) fn run(args: Args) -> ExitCode {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return end(Err(Failure::failed(format!("the runtime does not start: {error}"))));
        }
    };
    // The command is a task of the runtime, so that it runs right after the connection's task that
    // wakes it. Before the runtime polls the future of `block_on`, it asks the system for events,
    // which costs two more system calls for each answer.
    let ended = runtime.block_on(async { spawn_local(run_command(args.command)).await });
    // The process must not wait for a thread that looks up a name.
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
        failure.lines().for_each(|line| report::print(&line));
        failure.exit()
    });
    exit.into()
}

/// Prints the error of a command line, or the help or version that it asks for.
pub(crate) fn refuse(error: &clap::Error) -> ExitCode {
    if error.use_stderr() {
        let _ = error.print();
        return Exit::BadInput.into();
    }
    end(report::to_stdout(|| error.print()).map(|()| Exit::Success))
}
