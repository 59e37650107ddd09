//! What is compressed properly is read.

use std::sync::Arc;
use std::time::Duration;

use clientlet::{Client, Document, Pem, Tls};
use clientlet_gateway::{
    Compression, DocArray, Endpoint, Exception, Gateway, GatewayBuilder, Reply, Tls as Served,
};
use futures_util::stream;
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{client, codings, post};

/// Longer than any of these calls takes.
const SOON: Duration = Duration::from_secs(60);

async fn start(builder: GatewayBuilder, is_secure: bool) -> (Gateway, Tls) {
    let served = Served::self_signed();
    let builder = if is_secure { builder.tls(served.clone()) } else { builder };
    let tls = Tls::new().ca(Pem::text(served.ca_pem())).without_system_roots(true);
    (builder.start().await.unwrap(), tls)
}

#[tokio::test]
async fn answers_over_http_are_read_in_each_way_that_is_asked_for() {
    for docarray in [DocArray::V1, DocArray::V2] {
        for is_secure in [false, true] {
            for (name, compression) in codings::all() {
                let what = format!("{name}, {docarray:?}, TLS: {is_secure}");
                let builder = Gateway::builder().docarray(docarray).compress(compression);
                let (gateway, tls) = start(builder, is_secure).await;
                let client = client(&gateway.http_url()).tls(tls).build().unwrap();
                client.ready().await.unwrap_or_else(|error| panic!("{what}: {error}"));
                client.status().await.unwrap_or_else(|error| panic!("{what}: {error}"));
                // Longer than a step of decompression.
                let texts = (0..250).map(|n| format!("{n} {}", "x".repeat(1000)));
                let documents: Vec<Document> = texts.map(Document::text).collect();
                let answers =
                    client.post("/upper").documents(documents).in_order(true).send().await;
                let found: Vec<Document> = answers.documents().unwrap();
                assert_eq!(found.len(), 250, "{what}");
                let is_upper = |(n, found): (usize, Document)| {
                    found.text == Some(format!("{n} {}", "X".repeat(1000)))
                };
                assert!(found.into_iter().enumerate().all(is_upper), "{what}");
                assert_eq!(post(&client, "a").await.unwrap(), "A", "{what}");
            }
        }
    }
}

#[tokio::test]
async fn the_reason_of_a_failure_is_read_from_a_compressed_body() {
    for (name, compression) in codings::all() {
        let raise = |_| Reply::exception(Exception::new("ValueError", ["no such index"]));
        let builder = Gateway::builder().docarray(DocArray::V2).on("/raise", raise);
        let gateway = builder.compress(compression).start().await.unwrap();
        let client = client(&gateway.http_url()).build().unwrap();
        let answers = client.post("/raise").document(&Document::text("a")).send().await;
        let error = answers.into_result().unwrap_err();
        assert!(error.message().contains("no such index"), "{name}: {error}");
        assert_eq!(error.http_status().unwrap(), 500);
    }
}

#[tokio::test]
async fn events_are_read_as_they_come() {
    for (name, compression) in codings::all() {
        let permits = Arc::new(Semaphore::new(1));
        let gate = permits.clone();
        let count = move |_| {
            let gate = gate.clone();
            Reply::stream(stream::unfold(0, move |n| {
                let gate = gate.clone();
                async move {
                    gate.acquire().await.unwrap().forget();
                    (n < 5).then(|| (Document::text("x".repeat(n * 10_000)), n + 1))
                }
            }))
        };
        let builder =
            Gateway::builder().docarray(DocArray::V2).on("/count", Endpoint::stream(count));
        let gateway = builder.compress(compression).start().await.unwrap();
        let client = Client::new(&gateway.http_url()).unwrap();
        let mut documents =
            client.stream_document("/count", &Document::text("a")).stream::<Document>();
        for n in 0..5 {
            // The executor goes on only when the client has read everything before.
            let next = timeout(SOON, documents.next()).await;
            let next = next.unwrap_or_else(|_| panic!("{name}: document {n} is held back"));
            assert_eq!(next.unwrap().unwrap().text.unwrap().len(), n * 10_000, "{name}");
            permits.add_permits(1);
        }
        assert!(timeout(SOON, documents.next()).await.unwrap().is_none(), "{name}");
    }
}

#[tokio::test]
async fn messages_over_grpc_are_read_in_gzip_on_streams_in_unary_calls_and_in_streams_of_documents()
{
    for is_secure in [false, true] {
        let builder = Gateway::builder().docarray(DocArray::V2).http(false).grpc(true);
        let builder = builder.on("/upper", |_| [Document::text("X".repeat(30_000))]);
        let count = |_| Reply::stream(stream::iter((0..3).map(|n| Document::text(n.to_string()))));
        let builder = builder.on("/count", Endpoint::stream(count)).compress(Compression::gzip());
        let (gateway, tls) = start(builder, is_secure).await;
        for is_unary in [false, true] {
            let client = client(&gateway.grpc_url()).unary(is_unary).tls(tls.clone());
            let client = client.build().unwrap();
            client.ready().await.unwrap();
            let documents = (0..20).map(|n| Document::text(n.to_string()));
            let call = client.post("/upper").documents(documents).request_size(1);
            let found: Vec<Document> = call.send().await.documents().unwrap();
            assert_eq!(found.len(), 20);
            assert!(found.iter().all(|found| found.text == Some("X".repeat(30_000))));
            let mut documents = client.stream_document("/count", &Document::text("a")).stream();
            let mut texts = Vec::new();
            while let Some(document) = documents.next().await {
                let document: Document = document.unwrap();
                texts.push(document.text.unwrap());
            }
            assert_eq!(texts, ["0", "1", "2"]);
        }
    }
}
