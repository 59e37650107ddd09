//! Tests of the command as a separate process, against embedded gateways.

// clippy.toml allows these in `#[test]` functions; this allows them in the tests' helpers too.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ask;
mod bad_input;
mod compressed;
mod failure;
mod fields;
mod gateway_command;
mod help;
mod identity;
mod interop;
mod interrupt;
mod log;
mod operator;
#[cfg(feature = "otel")]
mod otlp;
mod output;
mod post;
mod process;
mod readme;
#[cfg(feature = "otel")]
mod receiver;
mod served;
mod stream;
mod tls;
mod websocket;
