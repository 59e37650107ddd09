//! The command `clientlet`: posts documents to a Jina gateway, asks for its status, and serves an
//! embedded gateway for experiments and tests.

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

use std::process::ExitCode;

use clap::Parser;

fn main() -> ExitCode {
    match args::Args::try_parse() {
        Ok(args) => {
            log::print(args.command.log());
            command::run(args)
        }
        Err(error) => command::refuse(&secrets::hide(error)),
    }
}
