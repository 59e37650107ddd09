//! The protocols of the matrix.

use clientlet::{Client, ClientBuilder};
use clientlet_gateway::{DocArray, Gateway, GatewayBuilder};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Http,
    Websocket,
    /// A stream for each call.
    Grpc,
    /// Each request is a unary call.
    GrpcUnary,
}

impl Protocol {
    /// Starts a gateway that speaks only this protocol, and returns it with its URL.
    pub(crate) async fn start(
        self,
        docarray: DocArray,
        faults: impl IntoIterator<Item = &'static str>,
    ) -> (Gateway, String) {
        // The checks need no bodies, and all cells together would keep gigabytes of them.
        let builder = Gateway::builder()
            .journal_bytes(0)
            .docarray(docarray)
            .http(self == Protocol::Http)
            .websocket(self == Protocol::Websocket)
            .grpc(matches!(self, Protocol::Grpc | Protocol::GrpcUnary));
        let faults = faults.into_iter().map(|fault| fault.parse().unwrap());
        let gateway = faults.fold(builder, GatewayBuilder::fault).start().await.unwrap();
        let url = match self {
            Protocol::Http => gateway.http_url(),
            Protocol::Websocket => gateway.websocket_url(),
            Protocol::Grpc | Protocol::GrpcUnary => gateway.grpc_url(),
        };
        (gateway, url)
    }

    pub(crate) fn client(self, url: &str) -> ClientBuilder {
        match self {
            Protocol::GrpcUnary => Client::builder(url).unary(true),
            Protocol::Http | Protocol::Websocket | Protocol::Grpc => Client::builder(url),
        }
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Http => "HTTP",
            Protocol::Websocket => "WebSocket",
            Protocol::Grpc => "gRPC",
            Protocol::GrpcUnary => "unary gRPC",
        }
    }
}
