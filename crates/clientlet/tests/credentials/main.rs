//! What a client sends besides documents, and to which address: redirects, headers that change, and
//! cookies, over each protocol.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod cookies;
#[path = "../events/mod.rs"]
mod events;
mod hook;
mod redirects;
mod streams;
mod ways;
