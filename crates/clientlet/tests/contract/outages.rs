//! Cases in which an executor is down or slow. Each case breaks a gateway of its own.

use std::time::Duration;

use clientlet::{Client, Delivery, DocArray, Document, Error, ErrorKind, Response, RetryPolicy};
use serde_json::json;

use crate::rows::{Protocol, Row};

/// Longer than any endpoint takes, except `/slow`.
const PATIENT: Duration = Duration::from_secs(10);

macro_rules! breakable {
    ($row:expr, $timeout_send:expr) => {
        match $row.breakable($timeout_send).await {
            Some(gateway) => gateway,
            None => return,
        }
    };
}

async fn post(client: &Client, endpoint: &str) -> Result<Response, Error> {
    let call = client.post(endpoint).documents([Document::text("x")]);
    let answers = call.parameters(json!({"seconds": 2})).send().await;
    answers.into_iter().next().unwrap()
}

pub(crate) async fn a_dead_executor_is_a_gateway_error_until_it_returns(row: &'static Row) {
    let mut gateway = breakable!(row, PATIENT);
    let client = gateway.client();
    let (status, delivery) = match (row.protocol, row.docarray) {
        (Protocol::Http, DocArray::V1) => (Some(503), Delivery::Answered),
        (Protocol::Http, DocArray::V2) => (Some(500), Delivery::Answered),
        // A close frame with 1011 ends everything in flight.
        (
            Protocol::Websocket | Protocol::WebsocketJson | Protocol::Grpc | Protocol::GrpcUnary,
            _,
        ) => (None, Delivery::Unknown),
    };
    // Before and after the client has learnt what the gateway speaks.
    for _ in 0..2 {
        gateway.kill_executor();
        for _ in 0..2 {
            let error = post(&client, "/").await.unwrap_err();
            assert_eq!(error.kind(), ErrorKind::Gateway, "{error}");
            assert_eq!(error.http_status().map(|status| status.as_u16()), status, "{error}");
            assert_eq!(error.delivery(), delivery);
            assert!(error.may_have_run());
        }
        gateway.revive_executor();
        post(&client, "/").await.unwrap();
    }
    gateway.kill_executor();
    let policy = RetryPolicy::standard().max_attempts(3);
    let call = client.post("/").documents([Document::text("x")]).retry(policy.clone());
    let error = call.send().await.into_result().unwrap_err();
    assert_eq!(error.attempts().len(), 3, "the request is retried: {error}");
    let call = client.post("/").documents([Document::text("x")]);
    let error = call.retry(policy.at_most_once(true)).send().await.into_result().unwrap_err();
    assert_eq!(error.attempts().len(), 1, "the request may have run: {error}");
}

pub(crate) async fn a_dead_executor_is_named_by_error_and_dry_run(row: &'static Row) {
    let mut gateway = breakable!(row, PATIENT);
    let client = gateway.client();
    client.ready().await.unwrap();
    gateway.kill_executor();
    let error = post(&client, "/").await.unwrap_err();
    // Over HTTP the error has the deployment's name, over WebSocket its address.
    assert!(error.message().contains("deployment"), "{error}");
    let reason = client.ready().await.unwrap_err();
    assert_eq!(reason.kind(), ErrorKind::Gateway);
    assert!(reason.message().contains("not ready: "), "{reason}");
    assert!(reason.message().contains("executor0"), "{reason}");
    gateway.revive_executor();
    client.ready().await.unwrap();
}

pub(crate) async fn an_executor_slower_than_the_gateway_waits_may_have_run(row: &'static Row) {
    let mut gateway = breakable!(row, Duration::from_millis(300));
    let client = gateway.client();
    gateway.slow_down();
    let error = post(&client, "/slow").await.unwrap_err();
    let (kind, status) = match (row.protocol, row.docarray) {
        (Protocol::Http, DocArray::V1) => (ErrorKind::Timeout, Some(504)),
        (Protocol::Http, DocArray::V2) => (ErrorKind::Gateway, Some(500)),
        (
            Protocol::Websocket | Protocol::WebsocketJson | Protocol::Grpc | Protocol::GrpcUnary,
            _,
        ) => (ErrorKind::Timeout, None),
    };
    assert_eq!(
        (error.kind(), error.http_status().map(|status| status.as_u16())),
        (kind, status),
        "{error}"
    );
    assert!(error.may_have_run());
}
