//! Testing one's own code against the embedded gateway, with an executor of the test's own and a fault
//! that the code must survive: `cargo run -p clientlet --example test_your_code`.

#![allow(clippy::print_stdout, reason = "an example shows what it did")]

use std::error::Error;
use std::time::Duration;

use clientlet::{Client, RetryPolicy};
use clientlet_gateway::{DocArray, Endpoint, Exception, Gateway, Request, Schema};
use serde::{Deserialize, Serialize};

/// A document as the executor's class declares it.
#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Book {
    id: String,
    title: String,
    year: i32,
}

/// The code under test: how many books the executor has indexed.
async fn index(client: &Client, books: &[Book]) -> Result<usize, clientlet::Error> {
    let policy = RetryPolicy::standard().initial_backoff(Duration::from_millis(1));
    let answers = client.post("/index").documents(books).request_size(1).retry(policy);
    Ok(answers.send().await.documents::<Book>()?.len())
}

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn Error>> {
    // What the executor does, in this test.
    let shelve = |request: Request| {
        let books: Vec<Book> = request.documents()?;
        match books.iter().find(|book| book.year > 2000) {
            Some(book) => Err(Exception::new("ValueError", [format!("{} is too new", book.title)])),
            None => Ok(books),
        }
    };
    let class = Schema::of::<Book>();
    let gateway = Gateway::builder()
        .docarray(DocArray::V2)
        .on("/index", Endpoint::new(shelve).takes(class.clone()).gives(class))
        // The second request is read and then its connection reset, before it was answered.
        .fault("reset-after@2".parse()?)
        .start()
        .await?;
    let client = Client::new(&gateway.http_url())?;

    let book = |id: &str, title: &str, year| Book { id: id.into(), title: title.into(), year };
    let books =
        [book("1", "Emma", 1815), book("2", "Middlemarch", 1871), book("3", "Ulysses", 1922)];
    assert_eq!(index(&client, &books).await?, 3);

    // The journal shows what arrived: one of the books twice.
    let arrived = gateway.journal().to("/index");
    arrived.assert_count(4);
    let mut arrivals: Vec<u32> = gateway.journal().arrivals().into_values().collect();
    arrivals.sort_unstable();
    assert_eq!(arrivals, [1, 1, 2]);
    println!("3 books indexed although a connection was lost; arrivals: {arrivals:?}");

    let error = index(&client, &[book("4", "Milkman", 2018)]).await.expect_err("it is refused");
    assert!(error.to_string().contains("Milkman is too new"));
    println!("and one refused: {error}");
    Ok(())
}
