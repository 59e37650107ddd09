//! Typed documents to a gateway and back:
//! `cargo run -p clientlet --example quick_start -- http://localhost:8080`.
//!
//! Without an address it starts the embedded gateway and posts to that.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;

use clientlet::{Client, RetryPolicy};
use clientlet_gateway::Gateway;
use serde::{Deserialize, Serialize};

/// Any serde type is a document; these fields are in v1's schema and in that of v2's `TextDoc`.
#[derive(Debug, Serialize, Deserialize)]
struct Sentence {
    id: String,
    text: String,
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut embedded = None;
    let url = match std::env::args().nth(1) {
        Some(url) => url,
        None => embedded.insert(Gateway::builder().start().await?).http_url(),
    };
    let client = Client::builder(&url).retry(RetryPolicy::standard()).build()?;
    client.ready().await?;

    let words = ["documents", "go", "in", "and", "come", "back"];
    let sentences = words
        .iter()
        .enumerate()
        .map(|(n, word)| Sentence { id: n.to_string(), text: format!("{word}, in upper case") });
    let mut answers =
        client.post("/upper").documents(sentences).request_size(2).in_order(true).stream();
    while let Some(answer) = answers.next().await {
        // A failed request is an `Err` of its own; the others go on.
        let answer = answer?;
        for sentence in answer.documents::<Sentence>()? {
            println!("{} {}", sentence.id, sentence.text);
        }
    }
    Ok(())
}
