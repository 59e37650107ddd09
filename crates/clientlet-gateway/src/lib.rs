//! A Jina gateway inside your test: a real HTTP, WebSocket and gRPC server on free ports of 127.0.0.1.
//!
//! The gateway speaks as gateways of Jina 3.14.1 (documents v1) and 3.33.1 (documents v2) do. Its executors
//! are handlers of your own. It breaks as you script it, and its journal shows and asserts what arrived.
//!
//! ```
//! use clientlet_gateway::{Gateway, Request};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Deserialize, PartialEq, Serialize)]
//! struct Book {
//!     id: String,
//!     text: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // The gateway listens on a free port, and stops when it is dropped.
//! let gateway = Gateway::builder()
//!     .on("/search", |request: Request| {
//!         let mut books: Vec<Book> = request.documents().unwrap();
//!         books.retain(|book| book.text.starts_with("M"));
//!         books
//!     })
//!     .start()
//!     .await?;
//!
//! // The code under test posts to `gateway.http_url()`, with any client.
//! # async fn search(gateway: &Gateway) -> std::io::Result<String> {
//! #     use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! #     let mut stream = tokio::net::TcpStream::connect(gateway.http_address()).await?;
//! #     let body = r#"{"data": [{"id": "1", "text": "Emma"}, {"id": "2", "text": "Middlemarch"}]}"#;
//! #     let request = format!(
//! #         "POST /search HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{body}",
//! #         body.len()
//! #     );
//! #     stream.write_all(request.as_bytes()).await?;
//! #     let mut answer = String::new();
//! #     stream.read_to_string(&mut answer).await?;
//! #     Ok(answer)
//! # }
//! let answer = search(&gateway).await?;
//! assert!(answer.contains("Middlemarch") && !answer.contains("Emma"));
//!
//! // The journal shows what arrived. An assertion that fails names the difference.
//! let book = |id: &str, text: &str| Book { id: id.into(), text: text.into() };
//! gateway
//!     .journal()
//!     .to("/search")
//!     .assert_count(1)
//!     .assert_documents(&[book("1", "Emma"), book("2", "Middlemarch")]);
//! # Ok(())
//! # }
//! ```
//!
//! # Where to look
//!
//! | for | see |
//! | --- | --- |
//! | binding a handler | [`GatewayBuilder::on`] |
//! | what a handler gets and gives | [`Request`], [`Reply`], [`Exception`] |
//! | several executors | [`Executor`], [`GatewayBuilder::executor`] |
//! | classes of documents v2, and streaming endpoints | [`Endpoint`], [`Schema`], [`Field`] |
//! | what arrived, and assertions | [`Gateway::journal`], [`Journal`], [`Entry`], [`Arrived`] |
//! | failures of the network and of proxies | [`GatewayBuilder::fault`], [`FAULT_HELP`] |
//! | an executor that is down or slow, a change of documents | [`Gateway::control`], [`Control`] |
//! | an ingress that demands a token or sets cookies | [`GatewayBuilder::require_authorization`], [`GatewayBuilder::set_cookie`] |
//! | answers compressed as a proxy compresses them | [`GatewayBuilder::compress`], [`Compression`] |
//! | mistakes of handlers | [`Mistake`], [`Gateway::take_mistakes`] |
//! | protocols and ports | [`GatewayBuilder::websocket`], [`GatewayBuilder::grpc`], [`GatewayBuilder::one_port`] |
//! | TLS | [`GatewayBuilder::tls`], [`Tls`], [`Journal::handshakes`] |
//!
//! # Protocols
//!
//! A gateway serves HTTP. With `websocket(true)` and `grpc(true)` it serves these protocols as well, and with
//! `http(false)` it does not serve HTTP. As with real gateways, each protocol has a port of its own; with
//! `one_port(true)` all share one. A handler does the same on every protocol.
//!
//! ## WebSocket
//!
//! * The port of WebSockets also answers GETs for `/`, `/status`, `/dry_run` and `/openapi.json`.
//! * The subprotocol is protobuf if `Sec-WebSocket-Protocol` is exactly `bytes`, and otherwise JSON. JSON has
//!   documents v1 only, and the gateway makes all request ids itself. The answer to the handshake never names
//!   a subprotocol, on which most clients insist.
//! * Answers come as they are ready. Up to 1000 requests of a connection run at the same time.
//! * After the end marker (one zero byte, or `{}`) the gateway answers the requests in flight and closes with
//!   1000. If a client closes before, its requests in flight are lost.
//! * The gateway pings an idle connection every 20 s, and closes it with 1011 if the pong takes more than 20 s.
//! * If an executor is down or too slow, the connection is closed with 1011 and the requests in flight are
//!   lost. A message that cannot be decoded ends the connection without a close frame.
//!
//! ## gRPC
//!
//! * `jina.JinaRPC/Call` answers as requests are ready, or in order if `__results_in_order__` is `true`. At
//!   most `__prefetch__` requests (1000) are in flight. The other methods are `process_single_data`,
//!   `dry_run`, `_status`, and with documents v2 `endpoint_discovery` and `stream_doc`.
//! * `grpc.health.v1.Health/Check` says SERVING, whatever the executor does; there is no `Watch`.
//!   `grpc.reflection.v1alpha` lists the services, and answers no other question.
//! * Messages compressed with gzip or deflate are accepted; answers are not compressed unless
//!   [`GatewayBuilder::compress`] says so. `grpc-timeout` counts for every method with data.
//! * An executor that is down (UNAVAILABLE) or too slow (DEADLINE_EXCEEDED) ends the whole stream, and so
//!   does a message that cannot be decoded (UNKNOWN). The requests in flight on the stream are lost.
//!
//! # The sample executor
//!
//! A gateway without handlers has one deployment, `executor0`, which binds these endpoints:
//!
//! | endpoint | does |
//! | --- | --- |
//! | `/` | gives the documents back |
//! | `/upper` | turns their texts into capitals |
//! | `/fail` | raises an exception; parameters `message` and `kind` (`value`, `key`, `runtime`) |
//! | `/slow` | waits for the parameter `seconds` (1), then gives the documents back |
//! | `/params` | reports the parameters and the number of documents as results |
//! | `/big` | gives one document of the parameter `bytes` (1 MiB) letters, 1 GiB at most |
//! | `/empty` | gives no documents |
//! | `/rich`, with v2 `/json_rich` | gives a document for each kind of content |
//! | `/index`, `/search`, `/update`, `/delete` | set tags.crud to true |
//! | default, with [`GatewayBuilder::with_default`] | sets tags.default to true |
//!
//! With documents v2 the sample executor also has streaming endpoints: `/stream` gives three documents,
//! `/stream_fail` raises behind its first, and [`GatewayBuilder::stream_endpoint`] binds others. The journal
//! shows for each stream how many documents it gave, and whether its client cancelled it.
//!
//! # Faults
//!
//! A [`Fault`] is parsed from text such as `reset-after@20%,seed=7`; [`FAULT_HELP`] is the grammar. Requests
//! are numbered in the order in which their first lines arrive, messages of WebSocket and gRPC in the order in
//! which they are read, and both are counted together. Which requests a probability strikes depends on the
//! seed and the number of the request alone, however the requests interleave.
//!
//! ```
//! use clientlet_gateway::Gateway;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::builder()
//!     .fault("status:503:1@1".parse()?) // the first request is answered 503, Retry-After: 1
//!     .fault("reset-after@3".parse()?) // the third is read, then its connection is reset
//!     .start()
//!     .await?;
//! # Ok(())
//! # }
//! ```
//!
//! # Listeners and time
//!
//! A gateway accepts connections from any [`Listener`], so it can run in a simulated network. Its time is
//! tokio's, which tests can pause; only the times that it writes into answers are the system's.
#![forbid(unsafe_code)]

mod arrived;
mod body;
mod builder;
mod compression;
mod connection;
mod control;
mod delivery;
mod docarray;
mod endpoint;
mod events;
mod exception;
mod executor;
mod fault;
mod gateway;
mod grpc;
mod http_reply;
mod identity;
mod ingress;
mod journal;
mod json;
mod listener;
mod mistakes;
mod openapi;
mod outage;
mod parameters;
mod percent;
mod preface;
mod protobuf;
mod reply;
mod request;
mod routes;
mod sample;
mod schedule;
mod schema;
mod script;
mod status;
mod stream;
mod streaming;
mod target;
#[cfg(feature = "tls")]
mod tls;
mod v1;
mod v2;
mod validation;
mod value;
mod websocket;
mod wire;
mod world;

pub use arrived::Arrived;
pub use builder::GatewayBuilder;
pub use compression::Compression;
pub use control::Control;
pub use docarray::{DocArray, DocArrayError};
#[doc(hidden)]
pub use endpoint::{Awaits, Ready, Returns};
pub use endpoint::{Endpoint, IntoEndpoint};
pub use exception::Exception;
pub use executor::Executor;
pub use fault::{FAULT_HELP, Fault, FaultError, FaultKind};
pub use gateway::Gateway;
pub use journal::{Entry, Journal};
pub use listener::Listener;
pub use mistakes::Mistake;
pub use reply::{IntoReply, Reply};
pub use request::Request;
pub use schema::{Field, Schema};
pub use script::StreamScript;
#[cfg(feature = "tls")]
pub use tls::{ClientIdentity, Handshake, Tls, TlsError, TlsVersion};
pub use value::ReadError;

/// For the fuzzer alone.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::protobuf::answer_message;
}
