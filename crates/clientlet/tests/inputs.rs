//! Inputs of a call other than an iterator of documents: one document, and headers as a map.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use clientlet::{Client, Document, ErrorKind};
use clientlet_gateway::{DocArray, Gateway};
use http::{HeaderMap, HeaderValue};

const PROTOCOLS: [&str; 4] = ["http", "ws", "grpc", "unary"];

async fn gateway(faults: &[&str]) -> Gateway {
    let builder = Gateway::builder().docarray(DocArray::V2).websocket(true).grpc(true);
    let builder =
        faults.iter().fold(builder, |builder, fault| builder.fault(fault.parse().unwrap()));
    builder.start().await.unwrap()
}

fn client(gateway: &Gateway, protocol: &str) -> Client {
    let url = match protocol {
        "http" => gateway.http_url(),
        "ws" => gateway.websocket_url(),
        _ => gateway.grpc_url(),
    };
    Client::builder(&url).unary(protocol == "unary").build().unwrap()
}

#[tokio::test]
async fn one_document_is_borrowed_and_answered_on_every_protocol() {
    let gateway = gateway(&[]).await;
    for protocol in PROTOCOLS {
        let document = Document::text("hello").with_id("7");
        let answers = client(&gateway, protocol).post("/upper").document(&document).send().await;
        let answered: Vec<Document> = answers.documents().unwrap();
        assert_eq!(answered[0].text.as_deref(), Some("HELLO"), "{protocol}");
        assert_eq!((answered.len(), answered[0].id.as_deref()), (1, document.id.as_deref()));
    }
}

#[tokio::test]
async fn headers_are_given_as_a_map_to_clients_and_calls() {
    let gateway = gateway(&[]).await;
    let map = |pairs: &[(&'static str, &'static str)]| -> HeaderMap {
        let pair = |(name, value): &(&'static str, &'static str)| {
            (name.parse::<http::HeaderName>().unwrap(), HeaderValue::from_static(value))
        };
        pairs.iter().map(pair).collect()
    };
    let client = Client::builder(&gateway.http_url())
        .headers(map(&[("x-tenant", "client"), ("x-of-client", "1")]))
        .build()
        .unwrap();
    let document = Document::text("x");
    let call = client.post("/upper").document(&document);
    call.headers(map(&[("x-tenant", "call"), ("x-of-call", "2")]))
        .send()
        .await
        .into_result()
        .unwrap();
    let entries = gateway.journal().entries();
    let headers = &entries.iter().find(|entry| entry.path != "/status").unwrap().headers;
    for (name, value) in [("x-tenant", "call"), ("x-of-client", "1"), ("x-of-call", "2")] {
        assert_eq!(headers[name], value, "{name}");
    }
    let mut wrong = HeaderMap::new();
    wrong.insert("x-name", HeaderValue::from_bytes(b"\xff").unwrap());
    for protocol in PROTOCOLS {
        let call = self::client(&gateway, protocol).post("/").headers(wrong.clone());
        let error = call.send().await.into_result().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config, "{protocol}: {error}");
        assert!(error.message().contains("x-name") && error.message().contains("not ASCII"));
    }
}
