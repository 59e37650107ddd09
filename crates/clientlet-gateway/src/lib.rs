//! An embedded Jina gateway to test against: a real HTTP, WebSocket and gRPC server in your own process
//! that speaks as gateways of Jina 3.14.1 (documents v1) and 3.33.1 (documents v2) do, breaks as
//! you script it, and keeps a journal of what arrived.
//!
//! ```
//! use clientlet_gateway::{DocArray, Gateway};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! // A gateway on a free port of 127.0.0.1; it stops when dropped.
//! let gateway = Gateway::builder()
//!     .docarray(DocArray::V2)
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
//! # WebSocket
//!
//! A gateway serves HTTP unless told otherwise; with `websocket(true)` it also serves WebSocket, with
//! `http(false)` that alone. As with real gateways each has a port of its own, and that of
//! WebSockets answers the GETs of `/`, `/status`, `/dry_run` and `/openapi.json` too.
//!
//! ```
//! use clientlet_gateway::Gateway;
//! use futures_util::{SinkExt, StreamExt};
//! use tokio::io::{AsyncReadExt, AsyncWriteExt};
//! use tokio_websockets::{ClientBuilder, Message};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::builder()
//!     .http(false)
//!     .websocket(true)
//!     .fault("twice@1".parse()?) // the first message is answered twice
//!     .start()
//!     .await?;
//! assert_eq!(gateway.websocket_url(), format!("ws://{}", gateway.websocket_address()));
//!
//! // The handshake by hand: a gateway does not name the subprotocol that it was asked for, and
//! // most clients insist on that.
//! let mut stream = tokio::net::TcpStream::connect(gateway.websocket_address()).await?;
//! let handshake = "GET / HTTP/1.1\r\nhost: localhost\r\nupgrade: websocket\r\n\
//!     connection: upgrade\r\nsec-websocket-version: 13\r\nsec-websocket-protocol: bytes\r\n\
//!     sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n";
//! stream.write_all(handshake.as_bytes()).await?;
//! let mut answer = [0; 4096];
//! let n = stream.read(&mut answer).await?;
//! assert!(answer[..n].starts_with(b"HTTP/1.1 101 "));
//!
//! // A request without documents: a header with the id `r` and the endpoint `/`, in protobuf. Then
//! // the end marker.
//! let mut socket = ClientBuilder::new().take_over(stream);
//! socket.send(Message::binary(&b"\x0a\x06\x0a\x01r\x1a\x01/"[..])).await?;
//! socket.send(Message::binary(&b"\0"[..])).await?;
//! assert!(socket.next().await.unwrap()?.is_binary());
//! assert!(socket.next().await.unwrap()?.is_binary());
//! let end = socket.next().await.unwrap()?;
//! assert_eq!(end.as_close().map(|(code, _)| u16::from(code)), Some(1000));
//! assert_eq!(gateway.journal().arrivals()["r"], 1);
//! # Ok(())
//! # }
//! ```
//!
//! * The subprotocol is protobuf if `Sec-WebSocket-Protocol` is exactly `bytes`, otherwise JSON, which
//!   knows documents v1 only and makes all request ids itself.
//! * Answers come as they are ready; up to 1000 requests of a connection run at once.
//! * After the end marker (one zero byte, or `{}`) the gateway answers what is in flight and closes
//!   with 1000. A client that closes before loses what is in flight.
//! * An idle connection is pinged every 20 s, and closed with 1011 when the pong does not come within
//!   20 s more.
//! * An executor that is down or too slow closes the connection with 1011, and what is in flight is
//!   lost. A message that cannot be decoded ends it without a close frame.
//!
//! # gRPC
//!
//! With `grpc(true)` a gateway serves gRPC on a port of its own; with `one_port(true)` all three
//! protocols share one, and the preface of HTTP/2 tells gRPC from the others.
//!
//! ```
//! use clientlet_gateway::Gateway;
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! let gateway = Gateway::builder()
//!     .http(false)
//!     .grpc(true)
//!     .fault("grpc-status:14@1,pushback=200".parse()?) // the first call is to come back in 200 ms
//!     .start()
//!     .await?;
//! assert_eq!(gateway.grpc_url(), format!("grpc://{}", gateway.grpc_address()));
//! # Ok(())
//! # }
//! ```
//!
//! * `jina.JinaRPC/Call` answers as requests are ready, in order if `__results_in_order__` is `true`, with
//!   at most `__prefetch__` of them (1000) in flight; `process_single_data`, `dry_run` and `_status`; with
//!   documents v2 `endpoint_discovery`, without the schemas of documents, and `stream_doc`.
//! * `grpc.health.v1.Health/Check` says SERVING whatever the executor does. `Watch` is not there.
//!   `grpc.reflection.v1alpha` lists the services, and answers nothing else.
//! * Messages compressed with gzip or deflate are taken; answers are not compressed. `grpc-timeout` holds
//!   for every method with data.
//! * An executor that is down (UNAVAILABLE) or too slow (DEADLINE_EXCEEDED) ends the whole stream, as do
//!   messages that cannot be decoded (UNKNOWN); what is in flight on it is lost.
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
//! With documents v2 there are streaming endpoints too, for a GET over HTTP (server-sent events) and
//! `stream_doc` over gRPC: `/stream` gives three documents, `/stream_fail` raises behind the first, and
//! [`GatewayBuilder::stream_endpoint`] binds others. The journal tells of each stream how many documents
//! it gave and whether its client cancelled it.
//!
//! # Faults
//!
//! [`Fault`] is parsed from text such as `reset-after@20%,seed=7`; [`FAULT_HELP`] is the grammar.
//! Requests are numbered in the order in which their first lines arrive, messages of WebSocket and gRPC
//! in that in which they were read, all by one count. Those that fail by probability depend on the seed and
//! their numbers alone, not on how they interleave.
//!
//! # Listeners
//!
//! Any [`Listener`] will do, so a gateway can run in a simulated network. Its time is tokio's;
//! only the times written into answers are the system's.
#![forbid(unsafe_code)]

mod arrived;
mod body;
mod builder;
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
mod journal;
mod json;
mod listener;
mod mistakes;
mod openapi;
mod outage;
mod parameters;
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
mod streaming;
mod target;
mod v1;
mod v2;
mod validation;
mod value;
mod websocket;
mod wire;
mod world;

pub use arrived::Arrived;
pub use builder::GatewayBuilder;
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
pub use value::ReadError;

/// For the fuzzer alone.
#[cfg(fuzzing)]
#[doc(hidden)]
pub mod fuzzing {
    pub use crate::protobuf::answer_message;
}
