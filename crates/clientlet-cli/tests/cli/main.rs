//! The command as a process of its own, against embedded gateways.

// clippy.toml allows these in tests; helpers outside `#[test]` functions are as much a part of them.
#![allow(clippy::unwrap_used, clippy::panic)]

mod ask;
mod bad_input;
mod failure;
mod fields;
mod gateway_command;
mod help;
mod identity;
mod interop;
mod interrupt;
mod operator;
mod output;
mod post;
mod process;
mod readme;
mod served;
mod stream;
mod tls;
mod websocket;
