//! `clientlet-bench`: what the client costs beside the bare transport, measured in one run.
//!
//! Only ratios are comparable between machines: contestants take turns, round by round, so what
//! slows the machine down slows all of them down.

mod arguments;
mod comparison;
mod cpu;
mod http;
mod serve;
mod statistics;
mod table;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{HELP, Task};

/// Nothing was done because the command line was not understood.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let given: Result<Vec<_>, _> = env::args_os().skip(1).map(OsString::into_string).collect();
    let task = match given {
        Ok(given) => arguments::parse(&given),
        Err(argument) => Err(format!("{} is not UTF-8", argument.display())),
    };
    let task = match task {
        Ok(task) => task,
        Err(wrong) => {
            complain(&format!("error: {wrong}\nsee `clientlet-bench --help`"));
            return ExitCode::from(WRONG_USAGE);
        }
    };
    match run(task) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<(), Box<dyn Error>> {
    match task {
        Task::Help => Ok(io::stdout().lock().write_all(HELP.as_bytes())?),
        Task::Serve(options) => serve::run(options),
        Task::Http(options) => {
            let comparisons = http::run(&options)?;
            let mut out = io::stdout().lock();
            if options.json {
                writeln!(out, "{}", table::to_json("http", &comparisons))?;
            } else {
                write!(out, "{}", table::to_text("http", &comparisons))?;
            }
            Ok(())
        }
    }
}

/// Tells the user on standard error; if that is closed, there is nobody to tell.
fn complain(what: &str) {
    let _ = writeln!(io::stderr().lock(), "{what}");
}
