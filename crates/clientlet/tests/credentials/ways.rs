//! The ways in which requests reach a gateway.

use clientlet::{Client, ClientBuilder, Document, Error, Response, RetryPolicy};
use clientlet_gateway::{DocArray, Gateway, GatewayBuilder};

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Way {
    Http,
    Websocket,
    Stream,
    Unary,
}

pub(crate) const WAYS: [Way; 4] = [Way::Http, Way::Websocket, Way::Stream, Way::Unary];

impl Way {
    /// Starts a gateway with documents v1 that speaks this protocol alone.
    pub(crate) async fn serve(
        self,
        set: impl FnOnce(GatewayBuilder) -> GatewayBuilder,
    ) -> (Gateway, ClientBuilder) {
        crate::events::watch();
        let builder = Gateway::builder().docarray(DocArray::V1).http(self == Way::Http);
        let is_grpc = matches!(self, Way::Stream | Way::Unary);
        let builder = builder.websocket(self == Way::Websocket).grpc(is_grpc);
        let gateway = set(builder).start().await.unwrap();
        let url = match self {
            Way::Http => gateway.http_url(),
            Way::Websocket => gateway.websocket_url(),
            Way::Stream | Way::Unary => gateway.grpc_url(),
        };
        let client = Client::builder(&url).retry(RetryPolicy::new().max_attempts(1));
        (gateway, client.unary(self == Way::Unary))
    }
}

/// Posts this many requests in one call.
pub(crate) async fn post(client: &Client, count: usize) -> Vec<Result<Response, Error>> {
    let documents = (0..count).map(|n| Document::text("hello").with_id(n.to_string()));
    let call = client.post("/upper").documents(documents).request_size(1);
    call.send().await.into_iter().collect()
}

pub(crate) async fn one(client: &Client) -> Result<Response, Error> {
    post(client, 1).await.pop().unwrap()
}
