//! The test suite of a small program, as a user would write it: a catalogue of books that indexes and
//! searches through a Jina gateway. Its 20 tests run in parallel, each with a gateway of its own.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use catalogue::{Book, Catalogue, Failure};
use clientlet_gateway::{
    DocArray, Endpoint, Exception, Executor, Field, Gateway, GatewayBuilder, IntoEndpoint, Reply,
    Request, Schema,
};
use serde_json::{Value, json};

/// The program under test.
mod catalogue {
    use std::time::Duration;

    use clientlet::{Client, Error, ErrorKind, RetryPolicy};
    use serde::{Deserialize, Serialize};

    #[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
    pub(crate) struct Book {
        pub(crate) id: String,
        pub(crate) title: String,
        pub(crate) year: i32,
    }

    #[derive(Debug, PartialEq)]
    pub(crate) enum Failure {
        /// The executor refused; it said this.
        Refused(String),
        /// Another attempt may succeed.
        Busy,
        Other,
    }

    impl From<Error> for Failure {
        fn from(error: Error) -> Self {
            match error.kind() {
                ErrorKind::Executor => Self::Refused(error.to_string()),
                _ if error.is_retryable() => Self::Busy,
                _ => Self::Other,
            }
        }
    }

    #[derive(Clone, Debug)]
    pub(crate) struct Catalogue {
        client: Client,
        user: String,
    }

    impl Catalogue {
        pub(crate) fn connect(url: &str, user: &str) -> Result<Self, Failure> {
            let policy =
                RetryPolicy::standard().max_attempts(3).initial_backoff(Duration::from_millis(1));
            let client = Client::builder(url).retry(policy).build()?;
            Ok(Self { client, user: user.into() })
        }

        /// Adds books, 2 a request, and returns how many the executor has taken.
        pub(crate) async fn add(&self, books: &[Book]) -> Result<usize, Failure> {
            let call = self.client.post("/index").documents(books).request_size(2);
            let answers = call.header("x-user", &self.user).send().await;
            Ok(answers.documents::<Book>()?.len())
        }

        /// The best books for a query, oldest first.
        pub(crate) async fn search(&self, title: &str, limit: u32) -> Result<Vec<Book>, Failure> {
            let query = Book { id: "query".into(), title: title.into(), year: 0 };
            let call = self.client.post("/search").document(&query);
            let call = call.parameters(serde_json::json!({"limit": limit}));
            let answers = call.target_executor("ranker").send().await;
            let mut books: Vec<Book> = answers.documents()?;
            books.sort_by_key(|book| book.year);
            Ok(books)
        }

        /// The titles that follow one after the other.
        pub(crate) async fn recommend(&self, book: &Book) -> Result<Vec<String>, Failure> {
            let mut stream = self.client.stream_document("/recommend", book).stream::<Book>();
            let mut titles = Vec::new();
            while let Some(book) = stream.next().await {
                titles.push(book?.title);
            }
            Ok(titles)
        }
    }
}

fn book(id: u32, title: &str, year: i32) -> Book {
    Book { id: id.to_string(), title: title.into(), year }
}

fn shelf() -> Vec<Book> {
    vec![book(1, "Emma", 1815), book(2, "Middlemarch", 1871), book(3, "Ulysses", 1922)]
}

/// A Flow of one executor, `ranker`.
fn flow() -> GatewayBuilder {
    Gateway::builder().docarray(DocArray::V2)
}

fn searching<M>(handler: impl IntoEndpoint<M>) -> GatewayBuilder {
    flow().executor(Executor::new("ranker").on("/search", handler))
}

async fn open(builder: GatewayBuilder) -> (Gateway, Catalogue) {
    let gateway = builder.start().await.unwrap();
    let catalogue = Catalogue::connect(&gateway.http_url(), "ada").unwrap();
    (gateway, catalogue)
}

#[tokio::test]
async fn books_are_added_two_a_request() {
    let (gateway, catalogue) = open(flow().on("/index", |_| Reply::unchanged())).await;
    assert_eq!(catalogue.add(&shelf()).await, Ok(3));
    gateway.journal().to("/index").assert_count(2);
}

#[tokio::test]
async fn books_arrive_as_they_are() {
    let (gateway, catalogue) = open(flow().on("/index", |_| Reply::unchanged())).await;
    let books = &shelf()[..2];
    catalogue.add(books).await.unwrap();
    gateway.journal().to("/index").assert_documents(books);
}

#[tokio::test]
async fn the_user_is_named_in_a_header() {
    let (gateway, catalogue) = open(flow().on("/index", |_| Reply::unchanged())).await;
    catalogue.add(&shelf()).await.unwrap();
    gateway.journal().to("/index").assert_header("x-user", "ada");
}

#[tokio::test]
async fn an_empty_list_asks_once_and_adds_nothing() {
    let (gateway, catalogue) = open(flow().on("/index", |_| Reply::unchanged())).await;
    assert_eq!(catalogue.add(&[]).await, Ok(0));
    assert!(gateway.journal().len() <= 1);
}

#[tokio::test]
async fn only_what_the_executor_took_is_counted() {
    let first = |request: Request| request.documents::<Book>().unwrap().into_iter().take(1);
    let handler = move |request: Request| first(request).collect::<Vec<_>>();
    let (_gateway, catalogue) = open(flow().on("/index", handler)).await;
    assert_eq!(catalogue.add(&shelf()).await, Ok(2));
}

#[tokio::test]
async fn a_refusal_says_why() {
    let refuse = |request: Request| {
        let books: Vec<Book> = request.documents()?;
        match books.iter().find(|book| book.year > 1900) {
            Some(book) => Err(Exception::new("ValueError", [format!("{} is new", book.title)])),
            None => Ok(books),
        }
    };
    let (_gateway, catalogue) = open(flow().on("/index", refuse)).await;
    match catalogue.add(&shelf()).await {
        Err(Failure::Refused(reason)) => assert!(reason.contains("Ulysses is new"), "{reason}"),
        other => assert_eq!(other, Ok(0), "the executor refuses"),
    }
}

#[tokio::test]
async fn a_class_that_a_book_does_not_fit_refuses_it() {
    let class = Schema::new("Book")
        .field("title", Field::text())
        .field("year", Field::list(Field::integer()));
    let index = Endpoint::new(|_| Reply::unchanged()).takes(class.clone()).gives(class);
    let (_gateway, catalogue) = open(flow().on("/index", index)).await;
    assert!(catalogue.add(&shelf()).await.is_err());
}

#[tokio::test]
async fn a_class_made_from_the_type_takes_it() {
    let class = Schema::of::<Book>();
    let index = Endpoint::new(|_| Reply::unchanged()).takes(class.clone()).gives(class);
    let (_gateway, catalogue) = open(flow().on("/index", index)).await;
    assert_eq!(catalogue.add(&shelf()).await, Ok(3));
}

#[tokio::test]
async fn a_busy_gateway_is_asked_again() {
    let calls = AtomicUsize::new(0);
    let busy_once = move |request: Request| match calls.fetch_add(1, Ordering::Relaxed) {
        0 => Reply::status(503),
        _ => Reply::documents(request.documents::<Book>().unwrap()),
    };
    let (gateway, catalogue) = open(flow().on("/index", busy_once)).await;
    assert_eq!(catalogue.add(&shelf()[..1]).await, Ok(1));
    gateway.journal().to("/index").assert_count(2);
}

#[tokio::test]
async fn a_gateway_that_stays_busy_is_told() {
    let (gateway, catalogue) = open(flow().on("/index", |_| Reply::status(503))).await;
    assert_eq!(catalogue.add(&shelf()[..1]).await, Err(Failure::Busy));
    gateway.journal().to("/index").assert_count(3);
}

#[tokio::test]
async fn a_lost_connection_costs_nothing() {
    let builder = flow().on("/index", |_| Reply::unchanged());
    let (gateway, catalogue) = open(builder.fault("reset-after@1".parse().unwrap())).await;
    assert_eq!(catalogue.add(&shelf()[..1]).await, Ok(1));
    assert!(gateway.journal().arrivals().values().all(|times| *times == 2));
}

#[tokio::test]
async fn found_books_come_oldest_first() {
    let (_gateway, catalogue) = open(searching(|_| {
        let mut books = shelf();
        books.reverse();
        books
    }))
    .await;
    assert_eq!(catalogue.search("any", 10).await, Ok(shelf()));
}

#[tokio::test]
async fn a_search_names_its_limit() {
    let (gateway, catalogue) = open(searching(|_| shelf())).await;
    catalogue.search("any", 7).await.unwrap();
    gateway.journal().to("/search").assert_parameters(&json!({"limit": 7}));
}

#[tokio::test]
async fn a_search_is_for_the_ranker_alone() {
    let encoder = Executor::new("encoder")
        .on("/search", |_| -> Vec<Value> { unreachable!("the encoder is not asked") });
    let ranker = Executor::new("ranker").on("/search", |_| shelf());
    let (gateway, catalogue) = open(flow().executor(encoder).executor(ranker)).await;
    assert_eq!(catalogue.search("any", 3).await.unwrap().len(), 3);
    gateway.journal().to("/search").assert_target_executor(Some("ranker"));
}

#[tokio::test]
async fn the_query_carries_the_title() {
    let asked = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&asked);
    let (_gateway, catalogue) = open(searching(move |request: Request| {
        let queries: Vec<Book> = request.documents().unwrap();
        assert_eq!(queries[0].title, "Emma");
        counted.fetch_add(1, Ordering::Relaxed);
        vec![book(1, "Emma", 1815)]
    }))
    .await;
    assert_eq!(catalogue.search("Emma", 1).await.unwrap()[0].id, "1");
    assert_eq!(asked.load(Ordering::Relaxed), 1);
}

#[tokio::test]
async fn a_search_may_find_nothing() {
    let (_gateway, catalogue) = open(searching(|_| Vec::<Book>::new())).await;
    assert_eq!(catalogue.search("nothing", 3).await, Ok(Vec::new()));
}

#[tokio::test]
async fn searches_at_the_same_time_do_not_mix() {
    // Neither is answered before both are there.
    let both = Arc::new(tokio::sync::Barrier::new(2));
    let (gateway, catalogue) = open(searching(move |request: Request| {
        let both = Arc::clone(&both);
        async move {
            both.wait().await;
            request.documents::<Book>().unwrap()
        }
    }))
    .await;
    let (one, three) = tokio::join!(catalogue.search("a", 1), catalogue.search("abc", 1));
    assert_eq!((&*one.unwrap()[0].title, &*three.unwrap()[0].title), ("a", "abc"));
    gateway.journal().to("/search").assert_count(2);
}

#[tokio::test]
async fn a_fault_of_the_executor_is_no_reason_to_ask_again() {
    let (gateway, catalogue) =
        open(searching(|_| Exception::new("IndexError", ["list index out of range"]))).await;
    assert!(matches!(catalogue.search("any", 3).await, Err(Failure::Refused(_))));
    gateway.journal().to("/search").assert_count(1);
}

#[tokio::test]
async fn recommendations_come_one_after_the_other() {
    let follow = |request: Request| {
        let start: Book = request.document().unwrap();
        let next = (1..=3).map(move |n| book(n, &format!("{} {n}", start.title), start.year));
        Reply::documents(next)
    };
    let (gateway, catalogue) = open(flow().on("/recommend", Endpoint::stream(follow))).await;
    let titles = catalogue.recommend(&shelf()[0]).await.unwrap();
    assert_eq!(titles, ["Emma 1", "Emma 2", "Emma 3"]);
    gateway.journal().to("/recommend").assert_documents(&shelf()[..1]);
}

#[tokio::test(start_paused = true)]
async fn a_slow_executor_takes_the_test_no_time() {
    let late = |_| Reply::documents(shelf()).after(Duration::from_secs(50));
    let (_gateway, catalogue) = open(searching(late)).await;
    let began = tokio::time::Instant::now();
    assert_eq!(catalogue.search("any", 3).await, Ok(shelf()));
    assert!(began.elapsed() >= Duration::from_secs(50));
}
