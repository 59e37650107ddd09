//! `cargo xtask`: the tasks of this repository, one command for each.
#![allow(clippy::print_stdout, clippy::print_stderr, reason = "a command talks to its user")]

mod arguments;
mod bench;
mod command;
mod coverage;
mod debian;
mod fuzz;
mod gateways;
mod instructions;
mod links;
mod llvm;
mod markdown;
mod metadata;
mod msrv;
mod packages;
mod python;
mod reach;
mod rust;
mod servers;
mod steps;
mod structure;
mod suite;
mod test;
mod tools;
mod weight;
mod wheel;

use std::env;
use std::ffi::OsString;
use std::process::ExitCode;

use arguments::Task;

/// The exit code if the command line was not understood and nothing was done.
const WRONG_USAGE: u8 = 2;

fn main() -> ExitCode {
    let given: Result<Vec<_>, _> = env::args_os().skip(1).map(OsString::into_string).collect();
    let task = match given {
        Ok(given) => arguments::parse(&given),
        Err(argument) => Err(format!("{} is not UTF-8", argument.display())),
    };
    match task {
        Ok(Task::Help) => {
            print!("{}", arguments::HELP);
            ExitCode::SUCCESS
        }
        Ok(Task::Test(options)) => test::run(options),
        Ok(Task::Coverage { interop }) => coverage::run(interop),
        Ok(Task::Fuzz { seconds, targets }) => fuzz::run(seconds, &targets),
        Ok(Task::Bench { arguments }) => bench::run(&arguments),
        Ok(Task::Wheel { is_release }) => wheel::run(is_release),
        Err(error) => {
            eprintln!("error: {error}\nsee `cargo xtask --help`");
            ExitCode::from(WRONG_USAGE)
        }
    }
}
