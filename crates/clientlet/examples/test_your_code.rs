//! Testing one's own code against the embedded gateway, with a fault that it must survive:
//! `cargo run -p clientlet --example test_your_code`.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::time::Duration;

use clientlet::{Client, Document, RetryPolicy};
use clientlet_gateway::Gateway;

/// The code under test: how many documents were indexed.
async fn index(client: &Client, texts: &[&str]) -> Result<usize, clientlet::Error> {
    let documents = texts.iter().map(|text| Document::text(*text));
    let policy = RetryPolicy::standard().initial_backoff(Duration::from_millis(1));
    let answers = client.post("/index").documents(documents).request_size(1).retry(policy);
    Ok(answers.send().await.documents::<Document>()?.len())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // The second request is read and then its connection reset, before it was answered.
    let gateway = Gateway::builder().fault("reset-after@2".parse()?).start().await?;
    let client = Client::new(&gateway.http_url())?;

    assert_eq!(index(&client, &["a", "b", "c"]).await?, 3);

    // The journal tells how often each request arrived: one of them twice.
    let mut arrivals: Vec<u32> = gateway.journal().arrivals().into_values().collect();
    arrivals.sort_unstable();
    assert_eq!(arrivals, [1, 1, 2]);
    println!("3 documents indexed although a connection was lost; arrivals: {arrivals:?}");
    Ok(())
}
