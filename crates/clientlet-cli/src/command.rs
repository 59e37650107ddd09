//! Runs a command from its parsed arguments to its exit code.

use tokio::runtime::{Builder, LocalOptions};
use tokio::task::spawn_local;

use crate::args::{Args, Command};
#[cfg(feature = "otel")]
use crate::otlp::Telemetry;
use crate::report::{Exit, Failure};
use crate::{endpoints, gateway, post, ready, report, status, stream};

/// Runs the command, prints its failure if there is one, and returns the exit code.
pub(crate) fn run(args: Args) -> Exit {
    let runtime = Builder::new_current_thread().enable_all().build_local(LocalOptions::default());
    let runtime = match runtime {
        Ok(runtime) => runtime,
        Err(error) => {
            return end(Err(Failure::failed(format!("the runtime does not start: {error}"))));
        }
    };
    #[cfg(feature = "otel")]
    let telemetry = match start(&args.command) {
        Ok(telemetry) => telemetry,
        Err(failure) => return end(Err(failure)),
    };
    // The command is a task of the runtime, so that it runs right after the connection's task that
    // wakes it. Before the runtime polls the future of `block_on`, it asks the system for events,
    // which costs two more system calls for each answer.
    let ended = runtime.block_on(async { spawn_local(run_command(args.command)).await });
    let exit = match ended {
        Ok(result) => end(result),
        Err(error) => std::panic::resume_unwind(error.into_panic()),
    };
    #[cfg(feature = "otel")]
    if let Some(telemetry) = telemetry {
        runtime.block_on(telemetry.finish(exit));
    }
    // The process must not wait for a thread that looks up a name.
    runtime.shutdown_background();
    exit
}

/// Exports traces and metrics of a command with a client, if that is asked for.
#[cfg(feature = "otel")]
fn start(command: &Command) -> Result<Option<Telemetry>, Failure> {
    let Some(identity) = command.identity() else { return Ok(None) };
    Telemetry::start(identity.telemetry.otlp.as_deref(), command.name())
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

/// Prints the failure if there is one.
fn end(result: Result<Exit, Failure>) -> Exit {
    result.unwrap_or_else(|failure| {
        failure.lines().for_each(|line| report::print(&line));
        failure.exit()
    })
}

/// Prints the error of a command line, or the help or version that it asks for.
pub(crate) fn refuse(error: &clap::Error) -> Exit {
    if error.use_stderr() {
        let _ = error.print();
        return Exit::BadInput;
    }
    end(report::to_stdout(|| error.print()).map(|()| Exit::Success))
}
