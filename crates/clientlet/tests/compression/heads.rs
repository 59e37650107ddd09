//! What the head of an answer says about its compression.

use clientlet::{Client, ClientBuilder, Delivery, DocArray, Document, ErrorKind};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::{client, codings, events, post};

const NONE: &[u8] = b"HTTP/1.1 404 Not Found\r\nconnection: close\r\ncontent-length: 0\r\n\r\n";
const ANSWER: &[u8] = br#"{"header":{"requestId":"r"},"data":[{"text":"A"}]}"#;

/// Answers each request with this head and body, except the question for a description, and closes the
/// connection.
async fn serve(head: &str, body: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let answer = [head.as_bytes(), b"connection: close\r\n\r\n", &body].concat();
    tokio::spawn(async move {
        while let Ok((mut socket, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = socket.read(&mut request).await;
            let answer = if request.starts_with(b"GET /openapi.json") { NONE } else { &answer };
            let _ = socket.write_all(answer).await;
            let _ = socket.shutdown().await;
        }
    });
    url
}

fn of(url: &str) -> ClientBuilder {
    client(url).docarray(DocArray::V1)
}

fn head(status: &str, encodings: &[&str], length: Option<usize>) -> String {
    let mut head = format!("HTTP/1.1 {status}\r\ncontent-type: application/json\r\n");
    for encoding in encodings {
        head += &format!("Content-Encoding: {encoding}\r\n");
    }
    if let Some(length) = length {
        head += &format!("content-length: {length}\r\n");
    }
    head
}

#[tokio::test]
async fn the_names_of_codings_are_read_as_the_rules_allow() {
    let gzip = codings::compressed("gzip", ANSWER);
    for (encodings, body) in [
        (&["gzip"][..], &gzip),
        (&["GZIP"], &gzip),
        (&["x-gzip"], &gzip),
        (&[" gzip "], &gzip),
        (&["identity, gzip"], &gzip),
        (&["identity", "gzip", ""], &gzip),
        (&["identity"], &ANSWER.to_vec()),
        (&["Identity"], &ANSWER.to_vec()),
        (&[""], &ANSWER.to_vec()),
    ] {
        let url = serve(&head("200 OK", encodings, Some(body.len())), body.clone()).await;
        let text = post(&of(&url).build().unwrap(), "a").await;
        assert_eq!(text.unwrap_or_else(|error| panic!("{encodings:?}: {error}")), "A");
    }
}

#[tokio::test]
async fn other_codings_and_several_at_once_are_refused_by_name() {
    events::watch();
    let gzip = codings::compressed("gzip", ANSWER);
    for (encodings, named) in [
        (&["compress"][..], "compress"),
        (&["dcb"], "dcb"),
        (&["gzip, br"], "gzip, br"),
        (&["gzip", "gzip"], "gzip, gzip"),
        (&["\x01\u{fc}"], "\\u{1}"),
    ] {
        let head = |status| head(status, encodings, Some(gzip.len()));
        let url = serve(&head("200 OK"), gzip.clone()).await;
        let error = match post(&of(&url).build().unwrap(), "a").await {
            Err(error) => error,
            Ok(text) => panic!("{encodings:?}: {text}"),
        };
        if named.starts_with('\\') {
            // hyper may refuse such a head itself.
            assert_eq!(error.kind(), ErrorKind::Decode, "{error}");
            continue;
        }
        let told = format!(
            "the answer is compressed as {named}, which the client cannot read; it reads gzip, deflate, br, zstd, one \
             at a time"
        );
        assert_eq!(error.message(), told);
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, Delivery::Answered));
        assert!(error.may_have_run());
        let url = serve(&head("503 Service Unavailable"), gzip.clone()).await;
        let error = post(&of(&url).build().unwrap(), "a").await.unwrap_err();
        assert_eq!(error.http_status().unwrap(), 503, "the status counts: {error}");
    }
}

#[tokio::test]
async fn cut_data_are_a_lost_connection_where_nothing_else_shows_the_end() {
    let gzip = codings::compressed("gzip", ANSWER);
    let half = gzip[..gzip.len() / 2].to_vec();
    for (length, kind, delivery) in [
        (Some(half.len()), ErrorKind::Decode, Delivery::Answered),
        (Some(gzip.len()), ErrorKind::Transport, Delivery::Unknown),
        (None, ErrorKind::Transport, Delivery::Unknown),
    ] {
        let url = serve(&head("200 OK", &["gzip"], length), half.clone()).await;
        let error = post(&of(&url).build().unwrap(), "a").await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{length:?}: {error}");
    }
    let url = serve(&head("200 OK", &["gzip"], None), gzip).await;
    assert_eq!(post(&of(&url).build().unwrap(), "a").await.unwrap(), "A");
}

#[tokio::test]
async fn an_answer_without_content_needs_no_compressed_data() {
    let url = serve(&head("200 OK", &["gzip"], Some(0)), Vec::new()).await;
    let error = post(&of(&url).build().unwrap(), "a").await.unwrap_err();
    assert!(error.message().contains("is empty"), "{error}");
}

#[tokio::test]
async fn what_is_not_a_stream_of_events_is_shown_without_its_compression() {
    let page = codings::compressed("gzip", b"<html>Sign in</html>");
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-encoding: gzip\r\n";
    let url = serve(&format!("{head}content-length: {}\r\n", page.len()), page.clone()).await;
    let client = Client::builder(&url).docarray(DocArray::V2).build().unwrap();
    let document = Document::text("a");
    let mut documents = client.stream_document("/stream", &document).stream::<Document>();
    let error = documents.next().await.unwrap().unwrap_err();
    assert!(error.message().contains("begins with `<html>Sign in</html>`"), "{error}");
    // An upgrade to WebSocket that is refused.
    let head = head.replace("200 OK", "502 Bad Gateway");
    let url = serve(&format!("{head}content-length: {}\r\n", page.len()), page).await;
    let error = post(&of(&url.replace("http", "ws")).build().unwrap(), "a").await.unwrap_err();
    assert!(error.message().ends_with("502 Bad Gateway: <html>Sign in</html>"), "{error}");
}
