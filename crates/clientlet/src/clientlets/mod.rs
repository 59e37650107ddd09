//! Clientlets: messages made by hand over one session, like the classes of Python's
//! `jina.clients.base.helper`.
//!
//! [`Client`](crate::Client) does more of the work and shares connections between calls.
//!
//! | Python | Rust | what it does |
//! | --- | --- | --- |
//! | `AioHttpClientlet` | [`ClientletOptions`] | settings of a session: retry, headers, auth, cookies. Each clientlet has `start` and `close`; dropping it closes it, too |
//! | `HTTPClientlet` | [`HttpClientlet`] | posts a [`DataRequest`] and returns the [`HttpAnswer`], even with a bad status; `send_dry_run` sends a GET; `recv_message` and `recv_dry_run` are pending for ever |
//! | `WebsocketClientlet` | [`WebsocketClientlet`], [`WebsocketSender`] | sends requests, an empty message for a dry run, one zero byte for the end of input; receives answers meanwhile; `close_code`, `close_message` |
//! | `WsResponseIter` | [`WsResponses`], [`WsStatuses`] | ends when the connection does and keeps how it was closed |
//! | the stubs of gRPC | [`GrpcClientlet`], [`GrpcExchange`] | sends requests by themselves, with metadata and deadline; dry run, status, endpoints, health, streams of documents |
//! | `JinaRPCStub.Call` | [`GrpcStream`], [`GrpcSender`], [`GrpcResponses`] | sends requests on one stream and receives answers meanwhile; half-closes at the end of input; keeps the status that it ended with |

mod answer;
#[cfg(any(feature = "grpc", feature = "websocket"))]
mod duplex;
#[cfg(feature = "grpc")]
mod grpc;
mod http;
mod request;
#[cfg(feature = "websocket")]
mod websocket;

pub use crate::driver::{Driver, Readiness};
pub use crate::options::ClientletOptions;
pub use answer::HttpAnswer;
#[cfg(feature = "grpc")]
pub use grpc::{GrpcClientlet, GrpcExchange, GrpcResponses, GrpcSender, GrpcStream};
pub use http::{Exchange, HttpClientlet};
pub use request::DataRequest;
#[cfg(feature = "websocket")]
pub use websocket::{WebsocketClientlet, WebsocketSender, WsMessages, WsResponses, WsStatuses};
