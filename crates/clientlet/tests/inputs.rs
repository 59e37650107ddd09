//! Inputs of a call other than an iterator of documents: one document, documents that may fail to be
//! read, and headers as a map.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use std::time::Duration;

use clientlet::{
    Client, Delivery, Document, Error, ErrorKind, Response, RetryPolicy, Tensor, Value,
};
use clientlet_gateway::{DocArray, Gateway};
use futures_util::stream;
use http::{HeaderMap, HeaderValue};

const PROTOCOLS: [&str; 4] = ["http", "ws", "grpc", "unary"];

async fn gateway(faults: &[&str]) -> Gateway {
    events::watch();
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

/// An error of the caller's own type.
#[derive(Debug, PartialEq)]
struct Unreadable(u32);

impl std::fmt::Display for Unreadable {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "row {} is damaged", self.0)
    }
}

impl std::error::Error for Unreadable {}

/// This many documents, then an error, then documents that must not be read.
fn rows(good: u32) -> impl Iterator<Item = Result<Document, Unreadable>> {
    (0..).map(move |n| match n {
        n if n == good => Err(Unreadable(n)),
        n if n > good => panic!("the input is read after its failure"),
        n => Ok(Document::text("x").with_id(n.to_string())),
    })
}

#[tokio::test]
async fn a_failing_input_ends_with_its_error_and_the_documents_before_it_are_answered() {
    let gateway = gateway(&[]).await;
    for protocol in PROTOCOLS {
        let client = client(&gateway, protocol);
        for good in [0, 1, 3, 4, 7] {
            let before = gateway.journal().len();
            let post = client.post("/upper").request_size(4);
            let answers = match good % 2 {
                0 => post.try_documents(rows(good)).send().await,
                _ => post.try_document_stream(stream::iter(rows(good))).send().await,
            };
            let requests = usize::try_from(good.div_ceil(4)).unwrap();
            let mut results = answers.into_iter();
            let mut answered = 0;
            for response in results.by_ref().take(requests) {
                answered += response.unwrap().documents::<Document>().unwrap().len();
            }
            assert_eq!(answered, usize::try_from(good).unwrap(), "{protocol}");
            let error = results.next().unwrap().unwrap_err();
            assert!(results.next().is_none());
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Input, Delivery::NotSent));
            let place = u64::from(good);
            assert_eq!(error.input(), Some(place..place + 1), "{protocol}: {error}");
            assert!(error.message().contains("is damaged") && !error.is_retryable(), "{error}");
            let own = std::error::Error::source(&error).unwrap().downcast_ref::<Unreadable>();
            assert_eq!(own, Some(&Unreadable(good)), "the source is the caller's own error");
            assert_eq!(
                gateway.journal().len() - before,
                requests,
                "there is no request without documents"
            );
        }
    }
}

/// A document with everything that JSON cannot tell from other values.
fn rich(n: u32) -> Document {
    Document {
        id: Some(n.to_string()),
        text: Some("hello".to_owned()),
        tags: Some([("n".to_owned(), Value::from(n))].into()),
        embedding: Some(Tensor::from([0.5_f32, f32::from(n as u8)])),
        ..Document::default()
    }
}

/// Returns the documents of all errors, and checks that they are all documents from `first` on, in
/// order.
fn returned(results: impl IntoIterator<Item = Result<Response, Error>>) -> Vec<Document> {
    let mut next = 0;
    let mut documents = Vec::new();
    for result in results {
        let error = result.unwrap_err();
        let input = error.input().unwrap();
        assert_eq!(input.start, next, "{error}");
        next = input.end;
        let own: Vec<Document> = error.documents().expect("the documents are kept").unwrap();
        assert_eq!(own.len() as u64, input.end - input.start, "{error}");
        assert!(error.documents::<u64>().unwrap().unwrap_err().message().contains("do not fit"));
        documents.extend(own);
    }
    documents
}

/// Checks that the documents are those that were sent. Over HTTP a tensor comes back as doubles.
fn assert_same(returned: &[Document], protocol: &str) {
    assert_eq!(returned.len(), 5, "{protocol}");
    for (n, document) in (0..).zip(returned) {
        let sent = rich(n);
        assert_eq!((&document.id, &document.text), (&sent.id, &sent.text), "{protocol}");
        assert_eq!(document.tags.as_ref().unwrap()["n"].as_f64(), Some(f64::from(n)), "{protocol}");
        let numbers = |document: &Document| document.embedding.as_ref().unwrap().to_vec::<f32>();
        assert_eq!(numbers(document), numbers(&sent), "{protocol}");
    }
}

#[tokio::test]
async fn the_documents_of_failed_requests_come_back_from_their_errors_if_they_are_kept() {
    for docarray in [DocArray::V1, DocArray::V2] {
        for protocol in PROTOCOLS {
            let fault = match protocol {
                "http" => "status:503@1-99",
                "ws" => "close:1013@1-99",
                _ => "grpc-status:14:busy@1-99",
            };
            let builder = Gateway::builder().docarray(docarray).websocket(true).grpc(true);
            let gateway = builder.fault(fault.parse().unwrap()).start().await.unwrap();
            let client = client(&gateway, protocol);
            client.status().await.unwrap();
            for attempts in [1, 2] {
                let policy =
                    RetryPolicy::new().max_attempts(attempts).initial_backoff(Duration::ZERO);
                let post = client.post("/upper").documents((0..5).map(rich)).request_size(2);
                let answers = post.retry(policy.clone()).keep_documents(true).send().await;
                assert_eq!(answers.len(), 3, "{protocol}");
                assert_same(&returned(answers), protocol);
                let post = client.post("/upper").documents((0..5).map(rich)).retry(policy);
                let error = post.send().await.into_result().unwrap_err();
                assert!(error.documents::<Document>().is_none(), "the documents are not kept");
            }
        }
    }
}

#[tokio::test]
async fn documents_that_were_never_encoded_come_back() {
    for protocol in PROTOCOLS {
        let url = match protocol {
            "http" => "http://127.0.0.1:1",
            "ws" => "ws://127.0.0.1:1",
            _ => "grpc://127.0.0.1:1",
        };
        let client = Client::builder(url).unary(protocol == "unary").build().unwrap();
        let post = client.post("/upper").documents((0..5).map(rich)).request_size(2);
        let answers = post.keep_documents(true).send().await;
        assert!(answers.errors().all(Error::is_connect));
        assert_same(&returned(answers), protocol);
    }
}

#[tokio::test]
async fn documents_come_back_when_the_call_is_stopped() {
    for protocol in PROTOCOLS {
        let gateway = gateway(&["stall@1-99"]).await;
        let client = client(&gateway, protocol);
        let post = client.post("/upper").documents((0..5).map(rich)).request_size(2);
        let mut responses = post.in_order(true).prefetch(2).keep_documents(true).stream();
        while gateway.journal().len() < 2 {
            let next = tokio::time::timeout(Duration::from_millis(1), responses.next());
            assert!(next.await.is_err(), "{protocol}: nothing is answered");
        }
        let stopped = responses.stop();
        assert_eq!(stopped.len(), 2, "the fifth document was never read");
        assert_eq!(returned(stopped).len(), 4, "{protocol}");
    }
}
