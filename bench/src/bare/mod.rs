//! The bare transports: they send and receive bytes with the libraries that the client uses too.

mod connection;
mod grpc;
mod http;
mod websocket;

use std::error::Error;

use bytes::Bytes;

use crate::contest::Protocol;
use crate::serve::Addresses;

/// A connection to a gateway, or a pool of connections.
#[derive(Debug)]
pub(crate) enum Bare {
    Http(Box<http::Bare>),
    WebSocket(Box<websocket::Bare>),
    Stream(grpc::Bare),
    Unary(grpc::Bare),
}

impl Bare {
    /// # Errors
    /// If the gateway cannot be reached or speaks another protocol.
    pub(crate) async fn connect(
        protocol: Protocol,
        addresses: &Addresses,
    ) -> Result<Bare, Box<dyn Error>> {
        Ok(match protocol {
            Protocol::Http => Bare::Http(Box::new(http::Bare::new(addresses)?)),
            Protocol::WebSocket => {
                Bare::WebSocket(Box::new(websocket::Bare::connect(addresses).await?))
            }
            Protocol::GrpcStream => Bare::Stream(grpc::Bare::connect(addresses).await?),
            Protocol::GrpcUnary => Bare::Unary(grpc::Bare::connect(addresses).await?),
        })
    }

    /// Sends the same bytes in `requests` requests, with as many in flight as the client has, and
    /// returns one of the answers.
    ///
    /// # Errors
    /// If a request fails or its answer is not a success.
    pub(crate) async fn post(
        &mut self,
        body: &Bytes,
        requests: usize,
    ) -> Result<Bytes, Box<dyn Error>> {
        match self {
            Bare::Http(bare) => bare.post(body, requests).await,
            Bare::WebSocket(bare) => bare.post(body, requests).await,
            Bare::Stream(bare) => bare.stream(body, requests).await,
            Bare::Unary(bare) => bare.unary(body, requests).await,
        }
    }
}
