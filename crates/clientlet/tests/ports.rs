//! The error of a request to the gateway's port for another protocol says which protocol seems to
//! answer there.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::time::Duration;

use clientlet::{Client, Delivery, Document, Hint};
use clientlet_gateway::{DocArray, Gateway};
use clientlet_interop::{Environment, Options, RealGateway};

/// The protocol of the client, the protocol of the port, and the hint.
const PAIRS: &[(&str, &str, Hint)] = &[
    ("http", "grpc", Hint::PortForGrpc),
    ("ws", "grpc", Hint::PortForGrpc),
    ("grpc", "http", Hint::PortForHttpOrWebsocket),
    ("grpc", "websocket", Hint::PortForHttpOrWebsocket),
    ("ws", "http", Hint::PortForHttp),
    ("http", "websocket", Hint::PortForWebsocket),
];

/// The number of tries for each port. A port that closes immediately is recognized by what it sends
/// just before, so the client must not lose this race even once.
const TIMES: usize = 50;

/// Checks all pairs; `url` returns the URL of a protocol's port.
async fn check(url: impl Fn(&str) -> String) {
    for (asked, there, hint) in PAIRS {
        let url = url(there);
        let (_, address) = url.split_once("://").unwrap();
        for _ in 0..TIMES {
            let client = Client::new(&format!("{asked}://{address}")).unwrap();
            let answers = client.post("/upper").documents([Document::text("x")]).send();
            let answers = tokio::time::timeout(Duration::from_secs(30), answers).await.unwrap();
            let error = answers.into_result().unwrap_err();
            assert!(!error.may_have_run(), "{asked} at {there}: {error}");
            assert_ne!(error.delivery(), Delivery::Unknown, "{asked} at {there}: {error}");
            let hinted = match error.hint() {
                // Some releases answer an upgrade with 403, which has other reasons, too.
                Some(Hint::UpgradeForbidden) => Some(Hint::PortForHttp),
                hinted => hinted,
            };
            assert_eq!(hinted, Some(*hint), "{asked} at {there}: {error}");
            assert!(error.message().ends_with(&hint.to_string()), "{asked} at {there}: {error}");
        }
    }
}

#[tokio::test]
async fn ports_of_the_embedded_gateway_are_recognized() {
    for docarray in [DocArray::V1, DocArray::V2] {
        let builder = Gateway::builder().docarray(docarray).websocket(true).grpc(true);
        let gateway = builder.http(true).start().await.unwrap();
        check(|protocol| match protocol {
            "http" => gateway.http_url(),
            "websocket" => gateway.websocket_url(),
            _ => gateway.grpc_url(),
        })
        .await;
    }
}

async fn of_a_real_gateway(environment: Environment) {
    let options = Options { protocols: &["http", "websocket", "grpc"], ..Options::default() };
    let start = tokio::task::spawn_blocking(move || {
        RealGateway::start_or_skip(environment, options).unwrap_or_else(|error| panic!("{error}"))
    });
    let Some(gateway) = start.await.unwrap() else { return };
    check(|protocol| gateway.url(protocol)).await;
}

#[tokio::test]
async fn ports_of_jina_3_14_1_are_recognized() {
    of_a_real_gateway(Environment::SeedEra).await;
}

#[tokio::test]
async fn ports_of_jina_3_33_1_are_recognized() {
    of_a_real_gateway(Environment::Current).await;
}
