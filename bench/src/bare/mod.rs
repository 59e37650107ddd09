//! The bare transports: bytes out and bytes in, by the libraries that the client uses as well.

mod grpc;
mod http;
mod websocket;

use std::error::Error;

use bytes::Bytes;

use crate::contest::Protocol;
use crate::serve::Addresses;

/// A connection, or a pool of them, to a gateway.
#[derive(Debug)]
pub(crate) enum Bare {
    Http(http::Bare),
    WebSocket(websocket::Bare),
    Stream(grpc::Bare),
    Unary(grpc::Bare),
}

impl Bare {
    /// # Errors
    /// The gateway is not there, or speaks something else.
    pub(crate) async fn connect(
        protocol: Protocol,
        addresses: &Addresses,
    ) -> Result<Bare, Box<dyn Error>> {
        Ok(match protocol {
            Protocol::Http => Bare::Http(http::Bare::new(&addresses.http)?),
            Protocol::WebSocket => {
                Bare::WebSocket(websocket::Bare::connect(&addresses.websocket).await?)
            }
            Protocol::GrpcStream => Bare::Stream(grpc::Bare::connect(&addresses.grpc).await?),
            Protocol::GrpcUnary => Bare::Unary(grpc::Bare::connect(&addresses.grpc).await?),
        })
    }

    /// Sends the same bytes so many times, as many of them in flight as the client has, and gives one
    /// of the answers.
    ///
    /// # Errors
    /// A request was not answered, or with something else than an answer.
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
