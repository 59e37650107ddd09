//! `clientlet-bench`: measures what the client costs compared with the bare transport, and what its
//! command needs.
//!
//! Only ratios can be compared between machines. Contestants take turns in each round, so that a slow
//! machine slows all of them down.

mod arguments;
mod bare;
mod blocking;
mod codec;
mod comparison;
mod contest;
mod cpu;
mod documents;
mod gate;
mod memory;
mod pace;
mod peers;
mod program;
mod python;
mod serve;
mod start;
mod statistics;
mod table;

use std::env;
use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::ExitCode;

use arguments::{HELP, Task};
use gate::Gate;
use serde_json::Value;

/// The exit code if the command line was not understood and nothing was done.
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
        Ok(code) => code,
        Err(error) => {
            complain(&format!("error: {error}"));
            ExitCode::FAILURE
        }
    }
}

fn run(task: Task) -> Result<ExitCode, Box<dyn Error>> {
    match task {
        Task::Help => io::stdout().lock().write_all(HELP.as_bytes())?,
        Task::Serve(options) => serve::run(options)?,
        Task::Feed(feed) => memory::feed(&feed)?,
        Task::Call(call) => peers::call(&call)?,
        Task::Contest(options) => {
            let cases = contest::run(&options)?;
            let gates = options.check.then(|| contest::gates(&cases));
            let last: Vec<_> =
                cases.into_iter().filter_map(|mut attempts| attempts.comparisons.pop()).collect();
            let name = options.benchmark.name();
            let text = table::to_text(name, &last, options.gateway);
            let json = table::to_json(name, &last, options.gateway);
            return Ok(show(options.json, text, json, gates)?);
        }
        Task::Blocking(options) => {
            let report = blocking::run(&options)?;
            let gates = options.check.then(|| report.gates());
            return Ok(show(options.json, report.to_text(), report.to_json(), gates)?);
        }
        Task::Codec(options) => {
            let report = codec::run(&options)?;
            let gates = options.check.then(|| report.gates());
            return Ok(show(options.json, report.to_text(), report.to_json(), gates)?);
        }
        Task::Memory(options) => {
            let report = memory::run(&options)?;
            let gates = options.check.then(|| report.gates());
            return Ok(show(options.json, report.to_text(), report.to_json(), gates)?);
        }
        Task::Pace(options) => {
            let report = pace::run(&options)?;
            let gates = options.check.then(|| report.gates());
            return Ok(show(options.json, report.to_text(), report.to_json(), gates)?);
        }
        Task::Peers(options) => {
            let report = peers::run(&options)?;
            let gates = options.check.then(|| report.gates());
            return Ok(show(false, report.to_text(), report.to_json(), gates)?);
        }
        Task::Python(options) => {
            let report = python::run(&options)?;
            let gates = options.check.then(|| report.gates());
            return Ok(show(options.json, report.to_text(), report.to_json(), gates)?);
        }
        Task::Start(options) => {
            let report = start::run(&options)?;
            let gates = options.check.then(|| report.gates());
            return Ok(show(options.json, report.to_text(), report.to_json(), gates)?);
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Prints the results as JSON or as text. Returns a failure if a gate is not passed.
fn show(
    is_json: bool,
    mut text: String,
    mut json: Value,
    gates: Option<Vec<Gate>>,
) -> io::Result<ExitCode> {
    let gates = gates.unwrap_or_default();
    if !gates.is_empty() {
        json["gates"] = gate::to_json(&gates);
        text.push('\n');
        text.push_str(&gate::to_text(&gates));
    }
    let mut out = io::stdout().lock();
    if is_json {
        writeln!(out, "{json}")?;
    } else {
        out.write_all(text.as_bytes())?;
    }
    let is_passed = gates.iter().all(Gate::is_passed);
    Ok(if is_passed { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Prints to standard error. If standard error is closed, the text is lost.
fn complain(what: &str) {
    let _ = writeln!(io::stderr().lock(), "{what}");
}
