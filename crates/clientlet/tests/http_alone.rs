//! The library without its default features: HTTP works, and addresses of other protocols name the
//! missing feature. `cargo test -p clientlet --no-default-features --test http_alone` runs it.

#![cfg(not(any(feature = "grpc", feature = "websocket")))]

use clientlet::{Client, Document, ErrorKind};
use clientlet_gateway::Gateway;

#[tokio::test]
async fn documents_come_back_over_http() {
    let gateway = Gateway::builder().start().await.unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    let answers = client.post("/upper").documents([Document::text("hello")]).send().await;
    let documents: Vec<Document> = answers.documents().unwrap();
    assert_eq!(documents[0].text.as_deref(), Some("HELLO"));
}

#[test]
fn an_address_of_another_protocol_names_the_feature_that_is_missing() {
    for (url, feature) in [("ws://localhost:1", "websocket"), ("grpc://localhost:1", "grpc")] {
        let error = Client::new(url).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert_eq!(
            error.message(),
            format!(
                "{url} needs the feature {feature:?} of the crate clientlet, which this program was built without"
            )
        );
    }
}
