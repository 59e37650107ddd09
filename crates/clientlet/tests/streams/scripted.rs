//! The faults of a stream over HTTP, step by step.

use std::time::Duration;

use clientlet::{Client, Delivery, ErrorKind, RetryPolicy, StreamDocument};
use serde_json::{Value, json};

use super::server::{
    Act::{self, AwaitClose, Chunk, Finish, Flood, Head, Raw},
    Server,
};
use super::texts;

const ONE: Act = Chunk("event: update\r\ndata: {\"id\":\"1\",\"text\":\"one\"}\r\n\r\n");
const TWO: Act = Chunk("event: update\r\ndata: {\"id\":\"2\",\"text\":\"two\"}\r\n\r\n");
const END: Act = Chunk("event: end\r\n\r\n");
const PLAIN_500: Act = Raw(
    "HTTP/1.1 500 Internal Server Error\r\ncontent-type: text/plain\r\ncontent-length: 21\r\n\r\nInternal Server Error",
);

fn call(server: &Server) -> StreamDocument {
    crate::events::watch();
    let client = Client::new(&server.url).unwrap();
    client.stream_document("/stream", &json!({"text": "hey"}))
}

fn hasty(attempts: u32) -> RetryPolicy {
    RetryPolicy::new().max_attempts(attempts).initial_backoff(Duration::from_millis(1))
}

#[tokio::test]
async fn the_document_is_sent_as_the_body_of_a_get_when_the_stream_is_polled() {
    let server = Server::start(vec![vec![Head, ONE, TWO, END, Finish]]).await;
    let mut documents = call(&server).header("x-note", "y").stream::<Value>();
    tokio::task::yield_now().await;
    assert!(server.requests().is_empty(), "nothing is sent before the stream is polled");
    assert_eq!(texts(&mut documents).await.0, ["one", "two"]);
    let request = server.requests().remove(0);
    assert!(request.starts_with("GET /stream?text=hey HTTP/1.1\r\n"), "{request}");
    for line in ["accept: text/event-stream", "content-type: application/json", "x-note: y"] {
        assert!(request.contains(&format!("\r\n{line}\r\n")), "{request}");
    }
    assert!(request.ends_with("\r\n\r\n{\"text\":\"hey\"}"), "{request}");
}

/// The result of each script: the texts, then kind, delivery, attempts and a part of the message.
#[tokio::test]
async fn each_way_to_fail_is_an_error_after_the_documents_that_came() {
    type Error = (ErrorKind, Delivery, usize, &'static str);
    type Case = (&'static str, Vec<Vec<Act>>, &'static [&'static str], Option<Error>);
    let table: [Case; 11] = [
        (
            "a body that is cut",
            vec![vec![Head, ONE]],
            &["one"],
            Some((ErrorKind::Transport, Delivery::Unknown, 1, "lost in the middle of the stream")),
        ),
        (
            "a body that ends without its last event",
            vec![vec![Head, ONE, TWO, Finish]],
            &["one", "two"],
            Some((ErrorKind::Transport, Delivery::Unknown, 1, "cut before its end")),
        ),
        (
            "a status with a body",
            vec![vec![Raw(
                "HTTP/1.1 422 No\r\ncontent-type: application/json\r\ncontent-length: 15\r\n\r\n{\"detail\":\"no\"}",
            )]],
            &[],
            Some((ErrorKind::Gateway, Delivery::Answered, 1, "422: no")),
        ),
        (
            "a success that is not 200",
            vec![vec![Raw("HTTP/1.1 204 No Content\r\n\r\n")]],
            &[],
            Some((ErrorKind::Gateway, Delivery::Answered, 1, "204")),
        ),
        (
            "another type",
            vec![vec![Raw(
                "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n{}",
            )]],
            &[],
            Some((ErrorKind::Decode, Delivery::Answered, 1, "application/json")),
        ),
        (
            "no type",
            vec![vec![Raw("HTTP/1.1 200 OK\r\ncontent-length: 0\r\n\r\n")]],
            &[],
            Some((ErrorKind::Decode, Delivery::Answered, 1, "text/event-stream")),
        ),
        (
            "no answer, then one",
            vec![vec![], vec![PLAIN_500], vec![Head, ONE, END, Finish]],
            &["one"],
            None,
        ),
        (
            "a body that is cut before the first document, then a whole one",
            vec![vec![Head], vec![Head, ONE, TWO, END]],
            &["one", "two"],
            None,
        ),
        (
            "as often as the policy allows",
            vec![vec![]],
            &[],
            Some((ErrorKind::Transport, Delivery::Unknown, 4, "before the answer came")),
        ),
        (
            "no retry after a document",
            vec![vec![Head], vec![Head, ONE], vec![Head, ONE, END]],
            &["one"],
            Some((ErrorKind::Transport, Delivery::Unknown, 2, "lost in the middle")),
        ),
        (
            "documents held back come before the error",
            vec![vec![Head, ONE, TWO, ONE]],
            &["one", "two", "one"],
            Some((ErrorKind::Transport, Delivery::Unknown, 1, "lost in the middle")),
        ),
    ];
    for (what, scripts, expected, failure) in table {
        let server = Server::start(scripts).await;
        let (given, error) = texts(&mut call(&server).retry(hasty(4)).stream()).await;
        assert_eq!(given, expected, "{what}: {error:?}");
        let found =
            error.as_ref().map(|error| (error.kind(), error.delivery(), error.attempts().len()));
        assert_eq!(
            found,
            failure.map(|(kind, delivery, n, _)| (kind, delivery, n)),
            "{what}: {error:?}"
        );
        if let (Some(error), Some((.., part))) = (error, failure) {
            assert!(error.message().contains(part), "{what}: {error}");
        }
    }
}

#[tokio::test]
async fn at_most_once_resends_no_request_that_may_have_run() {
    let server = Server::start(vec![vec![Head], vec![Head, ONE, END]]).await;
    let (given, error) =
        texts(&mut call(&server).retry(hasty(4).at_most_once(true)).stream()).await;
    assert!(given.is_empty() && error.unwrap().may_have_run());
    assert_eq!(server.requests().len(), 1);
}

#[tokio::test]
async fn an_empty_stream_is_not_an_error() {
    let server = Server::start(vec![vec![Head, END, Finish]]).await;
    let (given, error) = texts(&mut call(&server).stream()).await;
    assert!(given.is_empty() && error.is_none(), "{error:?}");
}

#[tokio::test]
async fn a_document_that_does_not_fit_does_not_end_the_stream() {
    let server = Server::start(vec![vec![Head, ONE, TWO, END, Finish]]).await;
    #[derive(Debug, serde::Deserialize)]
    enum Id {
        #[serde(rename = "2")]
        Two,
    }
    #[derive(Debug, serde::Deserialize)]
    struct Item {
        #[allow(dead_code, reason = "the field is only decoded")]
        id: Id,
    }
    let mut documents = call(&server).stream::<Item>();
    let error = documents.next().await.unwrap().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.message().starts_with("document 1 of the stream does not fit: id"), "{error}");
    assert!(documents.next().await.unwrap().is_ok());
    assert!(documents.next().await.is_none());
}

#[tokio::test]
async fn a_stream_times_out_if_no_document_comes_in_time_or_it_does_not_end_in_time() {
    let server = Server::start(vec![vec![Head, ONE, AwaitClose]]).await;
    let soon = Duration::from_millis(100);
    let (given, error) = texts(&mut call(&server).idle_timeout(soon).stream()).await;
    let error = error.unwrap();
    assert_eq!((given.len(), error.kind()), (1, ErrorKind::Timeout), "{error}");
    assert!(error.message().starts_with("no document within"), "{error}");
    let (given, error) = texts(&mut call(&server).timeout(soon).stream()).await;
    let error = error.unwrap();
    assert_eq!((given.len(), error.kind()), (1, ErrorKind::Timeout), "{error}");
    assert!(error.message().contains("did not end in time"), "{error}");
    assert_eq!(error.delivery(), Delivery::Unknown);
    server.wait_for(|counts| counts.closed == 2).await;
}

#[tokio::test]
async fn dropping_a_stream_closes_its_connection() {
    let server = Server::start(vec![vec![Head, ONE, AwaitClose]]).await;
    let mut documents = call(&server).stream::<Value>();
    documents.next().await.unwrap().unwrap();
    assert_eq!(server.counts().closed, 0);
    drop(documents);
    server.wait_for(|counts| counts.closed == 1).await;
}

#[tokio::test]
async fn documents_are_read_only_when_the_caller_asks_for_them() {
    const LARGE: &str = concat!(
        "event: update\ndata: {\"text\":\"0123456789012345678901234567890123456789\"}\n\n",
        "event: update\ndata: {\"text\":\"0123456789012345678901234567890123456789\"}\n\n",
    );
    let server = Server::start(vec![vec![Head, Flood(LARGE)]]).await;
    let mut documents = call(&server).stream::<Value>();
    documents.next().await.unwrap().unwrap();
    // The sockets' buffers fill, and then the server waits.
    let mut before = usize::MAX;
    while server.counts().flooded != before {
        before = server.counts().flooded;
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before < 32 << 20, "{before} bytes were read ahead");
    for _ in 0..100_000 {
        documents.next().await.unwrap().unwrap();
    }
    server.wait_for(|counts| counts.flooded > before).await;
}

#[tokio::test]
async fn the_answer_limit_applies_to_each_event() {
    let server = Server::start(vec![vec![Head, ONE, TWO, Flood("data: 0123456789\n")]]).await;
    let client = Client::builder(&server.url).answer_limit(4096).build().unwrap();
    let mut documents = client.stream_document("/stream", &json!({})).stream();
    let (given, error) = texts(&mut documents).await;
    let error = error.unwrap();
    assert_eq!((given.len(), error.kind()), (2, ErrorKind::TooLarge), "{error}");
    assert!(error.message().contains("4096"), "{error}");
}

#[tokio::test]
async fn options_that_http_cannot_carry_are_refused_before_sending() {
    let server = Server::start(vec![vec![]]).await;
    for call in [call(&server).parameters(json!({})), call(&server).target_executor("a")] {
        let error = call.try_stream::<Value>().unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Config);
        assert!(error.message().contains("over HTTP"), "{error}");
    }
    let client = Client::new(&server.url).unwrap();
    let error = client.stream_document("/stream", &[1]).try_stream::<Value>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Encode);
    assert!(server.requests().is_empty());
}

#[tokio::test]
async fn the_error_for_an_answer_that_is_not_a_stream_shows_its_beginning() {
    const HEAD: &str = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\n";
    let shop = format!("{HEAD}content-length: 20\r\n\r\n<html>\n\u{1b}Sign in</h");
    let long = format!("{HEAD}content-length: 99999\r\n\r\n{}", "x".repeat(5000));
    for (answer, begins) in [
        (shop, "begins with `<html> \\u{1b}Sign in</h`".to_owned()),
        (format!("{HEAD}content-length: 0\r\n\r\n"), "is empty".to_owned()),
        // The client reads only as much as it shows.
        (long, format!("begins with `{}`", "x".repeat(120))),
    ] {
        let server = Server::start(vec![vec![Raw(answer.leak()), AwaitClose]]).await;
        let (given, error) = texts(&mut call(&server).stream()).await;
        let error = error.unwrap();
        assert_eq!((given.len(), error.kind()), (0, ErrorKind::Decode), "{error}");
        let what = format!("the answer is \"text/html\", not text/event-stream, and {begins}");
        assert_eq!(error.message(), what);
    }
}
