//! The protocols of the matrix.

use std::sync::OnceLock;

use clientlet::{Client, ClientBuilder, Pem, Tls};
use clientlet_gateway::{DocArray, Gateway, GatewayBuilder, Tls as Served};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Protocol {
    Http,
    Websocket,
    /// A stream for each call.
    Grpc,
    /// Each request is a unary call.
    GrpcUnary,
}

/// What all gateways show that speak TLS.
fn served() -> &'static Served {
    static SERVED: OnceLock<Served> = OnceLock::new();
    SERVED.get_or_init(Served::self_signed)
}

impl Protocol {
    /// Starts a gateway that speaks only this protocol, and returns it with its URL.
    pub(crate) async fn start(
        self,
        docarray: DocArray,
        is_secure: bool,
        faults: impl IntoIterator<Item = &'static str>,
    ) -> (Gateway, String) {
        // The checks need no bodies, and all cells together would keep gigabytes of them.
        let builder = Gateway::builder()
            .journal_bytes(0)
            .docarray(docarray)
            .http(self == Protocol::Http)
            .websocket(self == Protocol::Websocket)
            .grpc(matches!(self, Protocol::Grpc | Protocol::GrpcUnary));
        let builder = if is_secure { builder.tls(served().clone()) } else { builder };
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
        let tls = Tls::new().ca(Pem::text(served().ca_pem())).without_system_roots(true);
        Client::builder(url).unary(self == Protocol::GrpcUnary).tls(tls)
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
