//! Starts, breaks, restarts and stops real Jina gateways for tests, [`Nginx`] as an ingress before them,
//! [`Squid`] and [`Socks`] as proxies on the way to them, and an [`OtlpReceiver`] of their traces.
//!
//! Each [`Environment`] is a Python virtual environment with one pinned Jina release.
//! `interop/install DIR` makes the environments; `cargo xtask test` does so below the target directory.
//! Tests start a gateway with [`RealGateway::start_or_skip`], which decides whether a missing
//! environment is a failure:
//!
//! | `CLIENTLET_INTEROP` | `CLIENTLET_NO_INTEROP` | environment missing |
//! | --- | --- | --- |
//! | a directory | any | fails |
//! | unset | set | skipped, even if the environment exists |
//! | unset | unset | skipped if there is no `target/interop`, otherwise fails |
//!
//! Tests with nginx, squid and microsocks are skipped if the program is not installed, unless
//! `CLIENTLET_NGINX`, `CLIENTLET_SQUID` or `CLIENTLET_MICROSOCKS` names it. `CLIENTLET_NO_INTEROP` applies
//! to them as above.
//!
//! A skip is written to standard error past the test harness, which would hide it.
//!
//! ```
//! use clientlet_interop::{Environment, Options, RealGateway};
//!
//! # fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let options = Options { replicas: 2, ..Options::default() };
//! let Some(gateway) = RealGateway::start_or_skip(Environment::Current, options)? else {
//!     return Ok(());
//! };
//! assert!(gateway.url("http").starts_with("http://127.0.0.1:"));
//! # Ok(())
//! # }
//! ```
//!
//! All functions block. Asynchronous tests call them in `spawn_blocking`.
#![forbid(unsafe_code)]

mod certificate;
mod daemon;
mod environment;
mod error;
mod gateway;
mod log;
mod nginx;
mod otlp;
mod script;
mod socks;
mod squid;
mod trace;

pub use certificate::Certificate;
pub use environment::{Environment, environments_dir};
pub use error::StartError;
pub use gateway::{Options, RealGateway};
pub use nginx::Nginx;
pub use otlp::{Metric, OtlpReceiver, Point, Span, SpanEvent};
pub use socks::Socks;
pub use squid::Squid;
pub use trace::Trace;
