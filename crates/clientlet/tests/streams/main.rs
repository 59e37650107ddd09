//! Streams of documents: against real gateways, and against a scripted server for faults that real
//! gateways do not have.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod embedded;
#[path = "../events/mod.rs"]
mod events;
mod real;
mod scripted;
mod server;

use std::time::Duration;

use clientlet::{DocumentStream, Error};
use serde_json::Value;

/// The time limit of a case.
const LIMIT: Duration = Duration::from_secs(60);

/// Returns the texts of a stream's documents, and its error.
async fn texts(documents: &mut DocumentStream<Value>) -> (Vec<String>, Option<Error>) {
    let read = async {
        let mut texts = Vec::new();
        while let Some(document) = documents.next().await {
            match document {
                Ok(document) => texts.push(document["text"].as_str().unwrap().to_owned()),
                Err(error) => {
                    assert!(documents.next().await.is_none(), "an error is the last item");
                    return (texts, Some(error));
                }
            }
        }
        (texts, None)
    };
    tokio::time::timeout(LIMIT, read).await.expect("the stream ends in time")
}
