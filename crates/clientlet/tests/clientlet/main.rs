//! The clientlets, by the behaviours of Python's classes and those that they lack.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod both;
mod grpc;
mod http;
mod real;
mod websocket;
