//! The calls that the tests make under scripted faults.

use std::time::Duration;

use clientlet::{Answers, Client, Document, Error, Response, RetryPolicy};
use clientlet_gateway::GatewayBuilder;

/// The time that a request waits for an answer that never comes. It is long enough for an answer
/// that does come, even on a busy machine.
pub(crate) const SILENCE: Duration = Duration::from_secs(2);

pub(crate) fn with_faults(builder: GatewayBuilder, faults: &[&str]) -> GatewayBuilder {
    faults.iter().fold(builder, |builder, fault| builder.fault(fault.parse().unwrap()))
}

pub(crate) fn documents(count: usize) -> impl Iterator<Item = Document> + Unpin {
    (0..count).map(|n| Document::text("x").with_id(n.to_string()))
}

pub(crate) fn retrying(attempts: u32) -> RetryPolicy {
    RetryPolicy::standard().max_attempts(attempts).initial_backoff(Duration::from_millis(1))
}

pub(crate) async fn post(client: &Client, count: usize, policy: RetryPolicy) -> Answers {
    crate::events::watch();
    let call = client.post("/upper").documents(documents(count)).request_size(1).retry(policy);
    call.attempt_timeout(SILENCE).send().await
}

pub(crate) async fn one(client: &Client, policy: RetryPolicy) -> Result<Response, Error> {
    post(client, 1, policy).await.into_iter().next().unwrap()
}

pub(crate) fn ids(answers: Answers) -> Vec<String> {
    let documents: Vec<Document> = answers.documents().unwrap();
    assert!(documents.iter().all(|document| document.text.as_deref() == Some("X")));
    documents.into_iter().map(|document| document.id.unwrap()).collect()
}

pub(crate) fn in_order(count: usize) -> Vec<String> {
    (0..count).map(|n| n.to_string()).collect()
}
