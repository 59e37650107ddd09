//! The clientlets, blocking.

#[cfg(feature = "grpc")]
mod grpc;
mod http;
#[cfg(feature = "websocket")]
mod websocket;

#[cfg(feature = "grpc")]
pub use self::grpc::{GrpcClientlet, GrpcExchange, GrpcResponses, GrpcSender, GrpcStream};
pub use self::http::{Exchange, HttpClientlet};
#[cfg(feature = "websocket")]
pub use self::websocket::{
    WebsocketClientlet, WebsocketSender, WsMessages, WsResponses, WsStatuses,
};
