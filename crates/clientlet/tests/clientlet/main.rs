//! The clientlets: the behaviours that they share with Python's classes, and those that only they
//! have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod both;
#[cfg(unix)]
mod driven;
#[path = "../events/mod.rs"]
mod events;
mod grpc;
mod http;
mod real;
mod websocket;
