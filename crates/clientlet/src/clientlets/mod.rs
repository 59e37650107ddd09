//! The face of Python's `jina.clients.base.helper`: one session, messages by hand.

mod answer;
mod duplex;
mod grpc;
mod http;
mod request;
mod websocket;

use std::future::Future;

pub use answer::HttpAnswer;
pub use grpc::{GrpcClientlet, GrpcExchange, GrpcResponses, GrpcSender, GrpcStream};
pub use http::{Exchange, HttpClientlet};
pub use request::DataRequest;
pub use websocket::{WebsocketClientlet, WebsocketSender, WsMessages, WsResponses, WsStatuses};

use crate::error::Error;

/// What all clientlets have in common: a session that is started, used and closed.
pub trait Clientlet {
    /// The address, without user information and query.
    fn url(&self) -> String;

    /// Opens the session. Python's `async with` does the same.
    ///
    /// # Errors
    /// Why the session cannot be opened. An HTTP session connects only when something is sent.
    fn start(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Closes the session and its connections; dropping the clientlet does so, too.
    fn close(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether the session is open.
    fn is_open(&self) -> bool;
}
