//! The embedded gateway as clients see it: bytes on a socket, compared with what real gateways were recorded
//! to send, and under scripted faults.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod answers;
mod classes;
mod common;
mod faults;
mod fidelity;
mod grpc;
mod grpc_faults;
mod grpc_fidelity;
mod ingress;
mod lifecycle;
mod streams;
#[cfg(feature = "tls")]
mod tls;
mod websocket;
mod websocket_faults;
mod websocket_fidelity;
mod websocket_lifecycle;
