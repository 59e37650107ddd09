//! The command `clientlet`: posts documents to a Jina gateway, asks for its status, and serves an
//! embedded gateway for experiments and tests. It is a library, so that the Python package has the
//! same command.

mod apart;
mod args;
mod command;
mod connection;
mod dtype;
mod endpoints;
mod fields;
mod foreign;
mod gateway;
mod hint;
mod input;
mod interrupt;
mod lines;
mod log;
#[cfg(feature = "otel")]
mod otlp;
mod output;
mod outstanding;
mod pipe;
mod place;
mod post;
mod progress;
mod ready;
mod record;
mod report;
mod run;
mod secret;
mod secrets;
mod session;
mod source;
mod standard;
mod status;
mod stream;
mod summary;
mod typed;
mod wide;
mod worker;

use std::ffi::OsString;
use std::io::Write;

use clap::Parser;

/// Runs the command with its arguments, of which the first is its name, and returns the exit code. It
/// listens for signals of the process, and prints the library's log.
pub fn main(args: impl IntoIterator<Item = OsString>) -> u8 {
    let exit = match args::Args::try_parse_from(args) {
        Ok(args) => {
            log::print(args.command.log());
            command::run(args)
        }
        Err(error) => command::refuse(&secrets::hide(error)),
    };
    // A process that is not of Rust does not write at its end what is kept here.
    let _ = std::io::stdout().flush();
    exit.code()
}
