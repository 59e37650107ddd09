//! Gateways and proxies may leave their gRPC connections without costing a request. nginx leaves a
//! connection after a number of requests: its GOAWAY names the last of them, and it does not
//! process later streams. A real gateway whose connections have a maximum age sends a GOAWAY that
//! lets open streams continue for a while.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::time::Duration;

use clientlet::{Client, ClientBuilder, Document, Error, RetryPolicy};
use clientlet_gateway::Gateway;
use clientlet_interop::{Environment, Nginx, Options, RealGateway};

/// Starts a gateway, and an nginx before it whose connections take `keepalive_requests` requests
/// each.
async fn proxied(keepalive_requests: &str) -> Option<(Gateway, Nginx, String)> {
    let gateway = Gateway::builder().http(false).grpc(true).start().await.unwrap();
    let upstream = gateway.grpc_url();
    let server = format!("{keepalive_requests} location / {{ grpc_pass {upstream}; }}");
    let start = tokio::task::spawn_blocking(move || Nginx::start_or_skip("http2", &server));
    let nginx = start.await.unwrap().unwrap()?;
    let url = format!("grpc://127.0.0.1:{}", nginx.port());
    Some((gateway, nginx, url))
}

fn documents(count: usize) -> impl Iterator<Item = Document> {
    (0..count).map(|n| Document::text("x").with_id(n.to_string()))
}

#[tokio::test]
async fn a_proxy_that_leaves_its_connections_costs_no_request() {
    for (keepalive_requests, count, in_flight, connections) in [
        ("", 5_000, 64, 5),
        ("keepalive_requests 7;", 700, 32, 100),
        ("keepalive_requests 1;", 60, 16, 60),
    ] {
        let Some((gateway, nginx, url)) = proxied(keepalive_requests).await else { return };
        let client = Client::builder(&url).unary(true).build().unwrap();
        let call = client.post("/upper").documents(documents(count)).request_size(1);
        // Requests that may have arrived are not sent again.
        let call =
            call.prefetch(in_flight).retry(RetryPolicy::new().at_most_once(true)).in_order(true);
        let answers = call.send().await;
        let failed: Vec<&Error> = answers.errors().collect();
        assert!(failed.is_empty(), "{} of {count}: {}\n{}", failed.len(), failed[0], nginx.log());
        let back: Vec<Document> = answers.documents().unwrap();
        let ids = back.iter().map(|document| document.id.clone().unwrap());
        assert!(ids.eq((0..count).map(|n| n.to_string())), "each document comes back, in order");
        assert!(gateway.journal().arrivals().values().all(|arrivals| *arrivals == 1));
        assert!(client.connections().opened >= connections, "{:?}", client.connections());
    }
}

#[tokio::test]
async fn calls_with_streams_of_their_own_continue_on_other_connections() {
    let Some((gateway, nginx, url)) = proxied("keepalive_requests 3;").await else { return };
    let client = Client::new(&url).unwrap();
    let mut calls = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let call = client.post("/upper").documents(documents(50)).request_size(1);
        calls.spawn(call.retry(RetryPolicy::new().at_most_once(true)).send());
    }
    for answers in calls.join_all().await {
        let failed: Vec<&Error> = answers.errors().collect();
        assert!(failed.is_empty(), "{}: {}\n{}", failed.len(), failed[0], nginx.log());
    }
    let arrivals = gateway.journal().arrivals();
    assert!(arrivals.len() == 2_000 && arrivals.values().all(|arrivals| *arrivals == 1));
}

#[tokio::test]
async fn a_real_gateway_with_a_maximum_connection_age_costs_no_request() {
    let environments = [Environment::SeedEra, Environment::CurrentV1, Environment::Current];
    let ways: [fn(ClientBuilder) -> ClientBuilder; 2] =
        [|stream| stream, |client| client.unary(true)];
    for environment in environments {
        let age = (Duration::from_secs(1), Duration::from_secs(3));
        let options =
            Options { protocols: &["grpc"], connection_age: Some(age), ..Options::default() };
        let start = tokio::task::spawn_blocking(move || {
            RealGateway::start_or_skip(environment, options)
                .unwrap_or_else(|error| panic!("{error}"))
        });
        let Some(gateway) = start.await.unwrap() else { return };
        for way in ways {
            let client = way(Client::builder(&gateway.url("grpc"))).build().unwrap();
            // Enough documents for several connections to be left, at any speed of the machine.
            let is_enough = || client.connections().reconnects >= 3;
            let documents = (0..).take_while(|_| !is_enough());
            let documents = documents.map(|n: u64| Document::text("x").with_id(n.to_string()));
            let call = client.post("/upper").documents(documents).request_size(1).prefetch(16);
            let mut responses = call.retry(RetryPolicy::new().at_most_once(true)).stream();
            let mut answered = 0;
            while let Some(response) = responses.next().await {
                let response = response.unwrap_or_else(|error| panic!("{environment}: {error:?}"));
                assert_eq!(response.attempts(), 1);
                answered += 1;
            }
            assert!(is_enough() && answered > 0);
        }
    }
}

#[tokio::test]
async fn the_error_says_why_the_gateway_ended_the_connection() {
    let ways: [fn(ClientBuilder) -> ClientBuilder; 2] =
        [|stream| stream, |client| client.unary(true)];
    for way in ways {
        let gateway = Gateway::builder().http(false).grpc(true);
        let gateway = gateway.fault("goaway:11@1".parse().unwrap()).start().await.unwrap();
        let client = way(Client::builder(&gateway.grpc_url())).build().unwrap();
        let call = client.post("/upper").documents([Document::text("x")]);
        let error = call.retry(RetryPolicy::new().at_most_once(true)).send().await;
        let error = error.into_result().unwrap_err().to_string();
        let told = "the connection was lost: a GOAWAY with ENHANCE_YOUR_CALM";
        assert!(error.contains(told), "{error}");
    }
}
