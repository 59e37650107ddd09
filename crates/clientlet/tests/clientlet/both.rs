//! Helpers for the tests of both clientlets that send while they receive.

use std::time::Duration;

use clientlet::clientlets::{ClientletOptions, DataRequest};
use clientlet::{DocArray, Document, Error, Response};
use clientlet_gateway::{Gateway, GatewayBuilder};
use futures_util::{Stream, StreamExt};

/// Returns a builder of a gateway that speaks all protocols, with these faults.
pub(crate) fn builder(faults: &[&str]) -> GatewayBuilder {
    crate::events::watch();
    let builder = Gateway::builder().websocket(true).grpc(true);
    faults.iter().fold(builder, |builder, fault| builder.fault(fault.parse().unwrap()))
}

pub(crate) async fn gateway_with(faults: &[&str]) -> Gateway {
    builder(faults).start().await.unwrap()
}

pub(crate) fn request(id: &str) -> DataRequest {
    let request = DataRequest::proto(DocArray::V1, "/upper").with_request_id(id);
    request.document(&Document::text("hello")).unwrap()
}

pub(crate) fn hasty(attempts: u32) -> ClientletOptions {
    ClientletOptions::new().max_attempts(attempts).initial_backoff(Duration::from_millis(1))
}

/// Awaits a future that ends well within the limit, if it ends at all.
pub(crate) async fn soon<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(Duration::from_secs(30), future).await.expect("the future ends in time")
}

/// Returns the ids of all answers up to the end, and checks that each is a success.
pub(crate) async fn rest(
    responses: &mut (impl Stream<Item = Result<Response, Error>> + Unpin),
) -> Vec<String> {
    let mut ids = Vec::new();
    while let Some(response) = soon(responses.next()).await {
        let response = response.unwrap();
        let documents: Vec<Document> = response.documents().unwrap();
        assert_eq!(documents[0].text.as_deref(), Some("HELLO"));
        ids.push(response.request_id().to_owned());
    }
    ids
}
