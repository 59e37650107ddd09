//! Compressed answers: each way, on each kind of answer, and everything that can be wrong with them.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod asked;
#[path = "../codings/mod.rs"]
mod codings;
mod damaged;
#[path = "../events/mod.rs"]
mod events;
mod heads;
mod limits;
mod read;

use clientlet::{Client, ClientBuilder, Document, Error, Response, RetryPolicy};

/// A client that sends each request once.
fn client(url: &str) -> ClientBuilder {
    Client::builder(url).retry(RetryPolicy::new())
}

/// Posts a document in a request of its own.
async fn post(client: &Client, text: &str) -> Result<String, Error> {
    let document = Document::text(text);
    let answers = client.post("/upper").document(&document).send().await.into_result()?;
    Ok(text_of(&answers[0]))
}

fn text_of(response: &Response) -> String {
    response.documents::<Document>().unwrap().remove(0).text.unwrap()
}
