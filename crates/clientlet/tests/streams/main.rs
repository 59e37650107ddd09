//! Streams of documents: real gateways, and a scripted server for what those do not do on request.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod embedded;
mod real;
mod scripted;
mod server;

use std::time::Duration;

use clientlet::{DocumentStream, Error};
use serde_json::Value;

/// No case takes longer.
const LIMIT: Duration = Duration::from_secs(60);

/// What a stream gives: the texts of its documents, and its error.
async fn texts(documents: &mut DocumentStream<Value>) -> (Vec<String>, Option<Error>) {
    let read = async {
        let mut texts = Vec::new();
        while let Some(document) = documents.next().await {
            match document {
                Ok(document) => texts.push(document["text"].as_str().unwrap().to_owned()),
                Err(error) => {
                    assert!(documents.next().await.is_none(), "nothing comes behind an error");
                    return (texts, Some(error));
                }
            }
        }
        (texts, None)
    };
    tokio::time::timeout(LIMIT, read).await.expect("the stream ends in time")
}
