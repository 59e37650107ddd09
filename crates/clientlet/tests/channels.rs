//! Several connections to one gateway. Requests take turns between them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::time::Duration;

use clientlet::{Client, ClientBuilder, DocArray as Docs, Document, ErrorKind, RetryPolicy};
use clientlet_gateway::{DocArray, Gateway, GatewayBuilder};
use tokio::io::{AsyncReadExt, copy_bidirectional};
use tokio::net::{TcpListener, TcpStream};

const CHANNELS: usize = 3;

type Way = (&'static str, fn(ClientBuilder) -> ClientBuilder);

const WAYS: [Way; 4] = [
    ("ws", |client| client),
    ("ws", |client| client.websocket_json(true)),
    ("grpc", |client| client),
    ("grpc", |client| client.unary(true)),
];

async fn start(way: Way, faults: &[&str]) -> (Gateway, ClientBuilder) {
    let builder = Gateway::builder().docarray(DocArray::V1).websocket(true).grpc(true);
    let faults = faults.iter().map(|fault| fault.parse().unwrap());
    let gateway = faults.fold(builder, GatewayBuilder::fault).start().await.unwrap();
    let url = if way.0 == "ws" { gateway.websocket_url() } else { gateway.grpc_url() };
    let client = (way.1)(Client::builder(&url));
    (gateway, client)
}

fn documents() -> impl Iterator<Item = Document> {
    (0..200).map(|n| Document::text("x").with_id(n.to_string()))
}

/// Returns the connections over which documents came.
fn used(gateway: &Gateway, way: Way) -> u64 {
    match way.0 {
        "ws" => gateway.journal().websocket_connections(),
        _ => gateway.journal().grpc_connections(),
    }
}

#[tokio::test]
async fn the_requests_of_a_call_take_turns_between_the_connections() {
    for (way, channels) in WAYS.into_iter().flat_map(|way| [1, 2, 3, 4].map(|n| (way, n))) {
        let what = format!("{channels} over {}", way.0);
        let (gateway, builder) = start(way, &[]).await;
        let client = builder.channels(channels).build().unwrap();
        let answers = client.post("/upper").documents(documents()).request_size(1).send().await;
        let answered: Vec<Document> = answers.documents().unwrap();
        let ids = answered.into_iter().map(|document| document.id.unwrap());
        assert_eq!(ids.collect::<Vec<_>>(), (0..200).map(|n| n.to_string()).collect::<Vec<_>>());
        assert_eq!(used(&gateway, way), channels as u64, "{what}");
        assert!(client.connections().opened >= channels as u64, "{what}");
        // A second call shares the connections.
        let one = Document::text("x");
        client.post("/upper").document(&one).send().await.into_result().unwrap();
        assert_eq!(used(&gateway, way), channels as u64, "{what}");
    }
}

#[tokio::test]
async fn a_connection_that_is_lost_costs_no_request_of_the_others() {
    for (way, fault) in [(WAYS[0], "drop@20"), (WAYS[2], "reset-after@20"), (WAYS[3], "drop@20")] {
        let (gateway, builder) = start(way, &[fault]).await;
        let client = builder.channels(CHANNELS).retry(RetryPolicy::standard()).build().unwrap();
        let answers = client.post("/upper").documents(documents()).request_size(1).send().await;
        assert!(answers.errors().next().is_none(), "{fault}");
        let again = answers.responses().filter(|response| response.attempts() > 1).count();
        // Of the 16 requests in flight, those on the other connection are not sent again.
        assert!((1..=8).contains(&again), "{fault}: {again}");
        assert_eq!(used(&gateway, way), CHANNELS as u64 + 1, "{fault}");
        assert_eq!(client.connections().reconnects, 1, "{fault}");
    }
}

/// Passes the first connections on to a port of this machine, and closes all others once something came.
async fn only_the_first(passed: usize, port: u16) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let own = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        for _ in 0..passed {
            let (mut first, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let mut gateway = TcpStream::connect(("127.0.0.1", port)).await.unwrap();
                // Either side may end the connection.
                let _ = copy_bidirectional(&mut first, &mut gateway).await;
            });
        }
        loop {
            let (mut other, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                let _ = other.read(&mut [0; 1]).await;
                drop(other);
            });
        }
    });
    own
}

#[tokio::test]
async fn a_request_leaves_a_channel_that_does_not_work() {
    for way in [WAYS[0], WAYS[2], WAYS[3]] {
        let (gateway, _) = start(way, &[]).await;
        let url = if way.0 == "ws" { gateway.websocket_url() } else { gateway.grpc_url() };
        let port = url.rsplit(':').next().unwrap().trim_end_matches('/').parse().unwrap();
        // Over WebSocket the question for the status has a connection of its own.
        let passed = if way.0 == "ws" { 2 } else { 1 };
        let url = format!("{}://127.0.0.1:{}", way.0, only_the_first(passed, port).await);
        let builder = (way.1)(Client::builder(&url)).docarray(Docs::V1).channels(2);
        let policy = RetryPolicy::standard().initial_backoff(Duration::from_millis(1));
        let client = builder.retry(policy).build().unwrap();
        // The first channel gets the one connection that works.
        client.post("/upper").documents(documents().take(1)).send().await.into_result().unwrap();
        let answers = client.post("/upper").documents(documents().take(8)).request_size(1);
        let answers = answers.send().await;
        let failed: Vec<_> = answers.errors().map(ToString::to_string).collect();
        assert!(failed.is_empty(), "{}: {failed:?}", way.0);
    }
}

#[tokio::test]
async fn there_is_at_least_one() {
    let error = Client::builder("ws://h").channels(0).build().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("channels"), "{error}");
}
