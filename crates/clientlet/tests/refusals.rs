//! Answers that are not answers or belong to another request, and documents that a gateway fails to
//! pass on.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use clientlet::{Client, Delivery, DocArray, Document, Error, ErrorKind, RetryPolicy};
use clientlet_gateway::Gateway;
use clientlet_interop::{Environment, Options, RealGateway};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

/// Starts a server that answers every request with these bytes and closes.
async fn answering(answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(answer).await;
        }
    });
    address.to_string()
}

async fn post(client: &Client) -> Error {
    events::watch();
    let answers = client.post("/").documents([Document::text("a")]).send().await;
    answers.into_result().unwrap_err()
}

const SHOP: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 26\r\n\r\n\
    <html>\n\x1b[31mSign in</html>";
const EMPTY: &[u8] = b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n";

#[tokio::test]
async fn an_answer_that_is_not_json_is_shown_with_its_content_type() {
    let table = [
        (SHOP, "the body is text/html and begins with `<html>"),
        (EMPTY, "the body is without a content-type and is empty"),
    ];
    for (answer, shown) in table {
        let address = answering(answer).await;
        let url = format!("http://{address}");
        let client = Client::builder(&url).docarray(DocArray::V1).build().unwrap();
        let asked = Client::new(&url).unwrap();
        for error in [
            post(&client).await,
            post(&asked).await,
            asked.status().await.unwrap_err(),
            asked.ready().await.unwrap_err(),
            Client::new(&format!("ws://{address}")).unwrap().ready().await.unwrap_err(),
        ] {
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
            assert!(error.message().contains(shown), "{error}");
            assert!(!error.message().contains(char::is_control), "{error}");
        }
    }
}

const MOVED: &[u8] = b"HTTP/1.1 308 Permanent Redirect\r\n\
    location: https://user:secret@flow.example/below?token=secret\r\n\
    content-length: 13\r\n\r\n<html></html>";

#[tokio::test]
async fn the_error_of_a_redirect_names_its_target_without_secrets() {
    let address = answering(MOVED).await;
    for scheme in ["http", "ws"] {
        let builder = Client::builder(&format!("{scheme}://{address}"));
        let error = post(&builder.docarray(DocArray::V1).build().unwrap()).await;
        assert_eq!(
            (error.kind(), error.http_status().map(|status| status.as_u16())),
            (ErrorKind::Gateway, Some(308))
        );
        assert!(error.message().contains("points to https://flow.example/below;"), "{error}");
        assert!(!error.to_string().contains("secret"), "{error}");
        assert!(!error.may_have_run());
    }
}

/// A TLS server's reply to plain text: an alert, version 3.3.
const ALERT: &[u8] = &[0x15, 3, 3, 0, 2, 2, 70];

#[tokio::test]
async fn a_port_for_tls_is_named() {
    let address = answering(ALERT).await;
    for scheme in ["http", "ws", "grpc"] {
        let error = post(&Client::new(&format!("{scheme}://{address}")).unwrap()).await;
        assert!(error.message().contains("TLS seems to be spoken there"), "{scheme}: {error}");
        assert!(!error.may_have_run(), "{scheme}: {error}");
    }
}

#[tokio::test]
async fn the_answer_to_another_request_is_refused() {
    let fault = "shifted@2-4".parse().unwrap();
    let gateway = Gateway::builder()
        .docarray(clientlet_gateway::DocArray::V2)
        .fault(fault)
        .start()
        .await
        .unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    let documents = |number: u32| (0..number).map(|n| json!({"id": n.to_string(), "text": "a"}));
    let answers = client.post("/").documents(documents(5)).request_size(1).prefetch(1).send().await;
    let ends: Vec<_> = answers
        .into_iter()
        .map(|result| match result {
            Ok(response) => Ok(response.documents::<Value>().unwrap()[0]["id"].clone()),
            Err(error) => Err((error.kind(), error.delivery(), error.may_have_run())),
        })
        .collect();
    let mixed_up = || Err((ErrorKind::Decode, Delivery::Unknown, true));
    assert_eq!(ends, [Ok(json!("0")), mixed_up(), mixed_up(), mixed_up(), Ok(json!("4"))]);
    // The client closes the connection each time.
    assert_eq!(client.connections().opened, 4);
}

/// Posts 51 documents, one of which the gateway accepts but cannot pass on.
async fn one_of_many(client: &Client, policy: RetryPolicy, bad: Value) {
    let document = |n: u64| match n {
        25 => json!({"id": "25", "text": "a", "tags": bad}),
        n => json!({"id": n.to_string(), "text": "a", "tags": {"n": n}, "ratio": 1_u64 << 40}),
    };
    let answers = client.post("/upper").documents((0..51).map(document)).retry(policy).send().await;
    let mut documents = 0;
    let mut errors = Vec::new();
    for result in answers {
        match result {
            Ok(response) => {
                let range = response.input();
                let ids: Vec<String> = response
                    .documents::<Value>()
                    .unwrap()
                    .iter()
                    .map(|document| document["id"].as_str().unwrap().to_owned())
                    .collect();
                assert_eq!(ids, range.clone().map(|n| n.to_string()).collect::<Vec<_>>());
                assert_eq!(range.start, documents, "the answers come in order");
                documents = range.end;
            }
            Err(error) => {
                assert_eq!(error.input(), Some(25..26), "{error}");
                documents = 26;
                errors.push(error);
            }
        }
    }
    assert_eq!((documents, errors.len()), (51, 1));
    let error = &errors[0];
    assert_eq!(
        (error.kind(), error.http_status().map(|status| status.as_u16())),
        (ErrorKind::Encode, Some(500)),
        "{error}"
    );
    assert!(error.message().contains("document 25"), "{error}");
    assert!(error.message().contains("tags."), "{error}");
    assert!(!error.may_have_run(), "{error}");
    assert_eq!(error.attempts().len(), 1, "the error is final: {error}");
}

#[tokio::test]
async fn jina_3_33_1_answers_all_documents_but_the_one_that_it_cannot_pass_on() {
    let start = || RealGateway::start_or_skip(Environment::Current, Options::default());
    let start = tokio::task::spawn_blocking(start).await.unwrap();
    let Some(mut gateway) = start.unwrap_or_else(|error| panic!("{error}")) else { return };
    let client = Client::new(&gateway.url("http")).unwrap();
    let nested = |depth| (0..depth).fold(json!(1), |inner, _| json!({"k": inner}));
    let bad =
        [json!({"ts": 1_700_000_000_000_u64}), json!({"k": nested(31)}), json!({"k": nested(40)})];
    for bad in bad {
        one_of_many(&client, RetryPolicy::standard(), bad.clone()).await;
        one_of_many(&client, RetryPolicy::new().at_most_once(true), bad).await;
    }
    // A value that suits a numeric field is not blamed while the executor is down.
    gateway.kill_executor().unwrap();
    let large = json!({"id": "a", "text": "a", "ratio": 1_u64 << 40});
    let answers = client.post("/upper").documents([large]).send().await;
    let error = answers.into_result().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gateway, "{error}");
}
