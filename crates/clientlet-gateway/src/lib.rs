//! An embedded Jina gateway to test against: a real HTTP server in your own process that speaks
//! as gateways of Jina 3.14.1 (documents v1) and 3.33.1 (documents v2) do, breaks as you script
//! it, and keeps a journal of what arrived.
//!
//! ```
//! use clientlet_gateway::{Documents, Gateway};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A gateway on a free port of 127.0.0.1; it stops when dropped.
//! let gateway = Gateway::builder()
//!     .documents(Documents::V2)
//!     .fault("status:503:1@1".parse()?) // the first request is turned away
//!     .start()
//!     .await?;
//!
//! // Any client will do. This one sends the same request twice.
//! let mut stream = tokio::net::TcpStream::connect(gateway.http_address()).await?;
//! let body = r#"{"data": [{"id": "a", "text": "hi"}], "header": {"requestId": "r1"}}"#;
//! let request = format!(
//!     "POST /upper HTTP/1.1\r\nhost: localhost\r\ncontent-length: {}\r\n\r\n{body}",
//!     body.len()
//! );
//! let mut answer = [0; 4096];
//! for expected in ["HTTP/1.1 503 ", "HTTP/1.1 200 "] {
//!     stream.write_all(request.as_bytes()).await?;
//!     let n = stream.read(&mut answer).await?;
//!     assert!(answer[..n].starts_with(expected.as_bytes()));
//! }
//!
//! // The journal knows what arrived, and how often.
//! assert_eq!(gateway.journal().arrivals()["r1"], 2);
//! assert_eq!(gateway.journal().entries()[0].answered, Some(503));
//! # Ok(())
//! # }
//! ```
//!
//! # What the executor does
//!
//! One deployment, `executor0`, binds these endpoints:
//!
//! | endpoint | does |
//! | --- | --- |
//! | `/` | gives the documents back |
//! | `/upper` | turns their texts into capitals |
//! | `/fail` | raises an exception; parameters `message` and `kind` (`value`, `key`, `runtime`) |
//! | `/slow` | waits for the parameter `seconds` (1), then gives the documents back |
//! | `/params` | reports the parameters that it got, and how many documents, as results |
//! | `/big` | answers one document of the parameter `bytes` (1 MiB) letters, 1 GiB at most |
//! | `/empty` | answers no documents |
//! | `/rich`, with v2 `/json_rich` | answers a document for each kind of content |
//! | `/index`, `/search`, `/update`, `/delete` | set tags.crud to true |
//! | default, if asked for | sets tags.default to true |
//!
//! # Faults
//!
//! [`Fault`] is parsed from text such as `reset-after@20%,seed=7`; [`FAULT_HELP`] is the grammar.
//! Requests are numbered in the order in which their first lines arrive. Those that fail by
//! probability depend on the seed and their numbers alone, not on how they interleave.
//!
//! # Listeners
//!
//! Any [`Listener`] will do, so a gateway can run in a simulated network. Its time is tokio's;
//! only the times written into answers are the system's.

mod body;
mod connection;
mod control;
mod endpoint;
mod fault;
mod gateway;
mod identity;
mod journal;
mod json;
mod listener;
mod openapi;
mod outage;
mod parameters;
mod reply;
mod routes;
mod schedule;
mod status;
mod v1;
mod v2;
mod validation;
mod wire;

pub use control::{Control, Documents, DocumentsError};
pub use fault::{FAULT_HELP, Fault, FaultError, FaultKind};
pub use gateway::{Gateway, GatewayBuilder};
pub use journal::{Entry, Journal};
pub use listener::Listener;
