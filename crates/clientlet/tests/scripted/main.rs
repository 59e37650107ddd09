//! Connections that carry many requests, under scripted faults: the result of each request, and of
//! the connection.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod call;
#[path = "../events/mod.rs"]
mod events;
mod foreign;
mod grpc;
mod peer;
mod slow;
mod websocket;
