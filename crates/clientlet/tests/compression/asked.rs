//! What the client asks for.

use clientlet::clientlets::{ClientletOptions, DataRequest, HttpClientlet};
use clientlet::{Client, ClientBuilder, DocArray as Docs, Document};
use clientlet_gateway::{Compression, DocArray, Gateway};

use super::post;

/// The value of a header of the only request that arrived.
async fn sent(builder: ClientBuilder, gateway: &Gateway, name: &str) -> Option<String> {
    let before = gateway.journal().len();
    post(&builder.build().unwrap(), "a").await.unwrap();
    let entries = gateway.journal().entries();
    assert_eq!(entries.len(), before + 1);
    entries[before].header(name).map(str::to_owned)
}

#[tokio::test]
async fn a_client_asks_for_what_it_reads_unless_it_is_told_otherwise() {
    let builder = Gateway::builder().docarray(DocArray::V1).grpc(true).websocket(true);
    let gateway = builder.start().await.unwrap();
    let (http, name) = (|| Client::builder(&gateway.http_url()), "accept-encoding");
    let by_default = sent(http(), &gateway, name).await;
    assert_eq!(by_default.as_deref(), Some("gzip, deflate, br, zstd"));
    assert_eq!(sent(http().compression(false), &gateway, name).await, None);
    let own = http().header("Accept-Encoding", "br;q=0.5");
    assert_eq!(sent(own, &gateway, name).await.as_deref(), Some("br;q=0.5"));
    let gets = gateway.journal().gets();
    assert_eq!(gets[0].header(name), Some("gzip, deflate, br, zstd"), "questions ask as well");

    for is_unary in [false, true] {
        let grpc = || Client::builder(&gateway.grpc_url()).unary(is_unary);
        let name = "grpc-accept-encoding";
        assert_eq!(sent(grpc(), &gateway, name).await.as_deref(), Some("gzip"));
        assert_eq!(sent(grpc().compression(false), &gateway, name).await, None);
        assert_eq!(sent(grpc(), &gateway, "accept-encoding").await, None);
    }
    let websocket = Client::builder(&gateway.websocket_url());
    assert_eq!(sent(websocket, &gateway, name).await, None);
}

#[tokio::test]
async fn what_was_not_asked_for_is_read_as_well() {
    let builder = Gateway::builder().docarray(DocArray::V1).grpc(true);
    let builder = builder.fault("gzip@100%".parse().unwrap());
    let gateway = builder.start().await.unwrap();
    for url in [gateway.http_url(), gateway.grpc_url()] {
        for is_unary in [false, true] {
            let client = Client::builder(&url).compression(false).unary(is_unary).build().unwrap();
            assert_eq!(post(&client, "a").await.unwrap(), "A", "{url}");
        }
    }
}

#[tokio::test]
async fn the_headers_of_an_answer_tell_of_its_content_as_it_is_given() {
    let builder = Gateway::builder().docarray(DocArray::V1).compress(Compression::gzip());
    let gateway = builder.start().await.unwrap();
    let url = format!("{}/post", gateway.http_url());
    let mut clientlet = HttpClientlet::new(&url, &ClientletOptions::new()).unwrap();
    clientlet.start().await.unwrap();
    let request = DataRequest::new(Docs::V1, "/upper").document(&Document::text("a")).unwrap();
    let answer = clientlet.send_message(&request).await.unwrap();
    assert!(answer.body().starts_with(b"{"));
    let headers = answer.headers();
    assert!(!headers.contains_key("content-encoding") && !headers.contains_key("content-length"));
    assert_eq!(headers["content-type"], "application/json");
}
