//! Errors are in plain words on every way of asking a gateway: neither an error nor any of its
//! causes shows the internals of the crates that detected it.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::error::Error as _;
use std::time::Duration;

use base64::Engine;
use clientlet::clientlets::{
    ClientletOptions, DataRequest, GrpcClientlet, HttpClientlet, WebsocketClientlet,
};
use clientlet::{Client, DocArray, Document, Error, RetryPolicy};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

/// The reaction of a peer to each connection, after it has read something.
#[derive(Clone, Copy, Debug)]
enum Peer {
    /// Nothing listens there.
    Gone,
    /// Closes before it has read anything.
    ClosesAtOnce,
    /// Resets the connection after these bytes.
    Resets(&'static [u8]),
    /// Sends these bytes and closes.
    Says(&'static [u8]),
    /// Accepts the WebSocket upgrade, sends these bytes and closes.
    Upgrades(&'static [u8]),
    Silent,
}

use Peer::{ClosesAtOnce, Gone, Resets, Says, Silent, Upgrades};

// The beginning of HTTP/2: SETTINGS, and their acknowledgement.
const SETTINGS: &[u8] = b"\0\0\0\x04\0\0\0\0\0\0\0\0\x04\x01\0\0\0\0";

fn h2(rest: &[u8]) -> Peer {
    Says([SETTINGS, rest].concat().leak())
}

/// Returns all peers that fail in some way.
fn peers() -> Vec<Peer> {
    vec![
        Gone,
        ClosesAtOnce,
        Resets(b""),
        Silent,
        Says(b""),
        Says(b"SSH-2.0-OpenSSH_9.2\r\n"),
        Says(b"\x15\x03\x03\0\x02\x02\x46"),
        Says(b"\xff\xfe\0\x01\x02"),
        // All kinds of HTTP/1.1.
        Says(b"HTTP/1.1 500 Internal Server Error\r\ncontent-length: 21\r\n\r\nInternal Server Error"),
        Says(b"HTTP/1.1 500 Error\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n{\"detail\":\"it went wrong\"}"),
        Says(b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"),
        Says(b"HTTP/1.1 413 Payload Too Large\r\nconnection: close\r\ncontent-length: 0\r\n\r\n"),
        Says(b"HTTP/1.1 429 Too Many\r\nretry-after: 0\r\ncontent-length: 0\r\n\r\n"),
        Says(b"HTTP/1.1 308 Moved\r\nlocation: https://a.example/\r\ncontent-length: 0\r\n\r\n"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: text/html\r\ncontent-length: 13\r\n\r\n<html></html>"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 2\r\n\r\n[]"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 11\r\n\r\n{\"data\":[1]}"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"da"),
        Resets(b"HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ncontent-length: 90\r\n\r\n{\"da"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 2\r\n\r\nab"),
        Says(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\n"),
        Says(b"HTTP/1.1 200 OK\r\nbad header\x01: x\r\n\r\n"),
        Says(b"HTTP/1.1 999999 what\r\n\r\n"),
        Says(b"HTTP/7.1 200 OK\r\n\r\n"),
        Says(b"HTTP/1.1 101 Switching Protocols\r\n\r\n"),
        Says(b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\nsec-websocket-accept: none\r\n\r\n"),
        // Streams of events.
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: update\r\ndata: {\"id\r\n\r\nevent: end\r\n\r\n"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: update\r\ndata: {\"text\":7}\r\n\r\nevent: end\r\n\r\n"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: \xff\r\n\r\n"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\nevent: upd"),
        Resets(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n5\r\nevent"),
        Says(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\nzz"),
        // HTTP/2: an end without a message; an end with the message ENHANCE_YOUR_CALM (after
        // NO_ERROR a request would begin anew many times); a stream that is reset; frames that
        // break the rules; a reset connection.
        Says(SETTINGS),
        h2(b"\0\0\x16\x07\0\0\0\0\0\0\0\0\x01\0\0\0\x0btoo_many_pings"),
        h2(b"\0\0\x0b\x07\0\0\0\0\0\0\0\0\0\0\0\0\x0b\"\\\x01"),
        h2(b"\0\0\x08\x07\0\0\0\0\0\0\0\0\0\0\0\0\x02"),
        h2(b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x02"),
        h2(b"\0\0\x04\x03\0\0\0\0\x01\0\0\0\x07"),
        h2(b"\0\0\x01\x03\0\0\0\0\x01\0"),
        h2(b"\0\0\x01\0\0\0\0\0\0\0"),
        h2(b"\xff\xff\xff\0\0\0\0\0\x01"),
        h2(b"\0\0\x02\x01\x05\0\0\0\x01\xff\xff"),
        Resets(SETTINGS),
        // A head with status 200 and nothing else.
        h2(b"\0\0\x01\x01\x05\0\0\0\x01\x88"),
        // WebSocket: cut, closed with and without words, text, and frames that break the rules.
        Upgrades(b""),
        Upgrades(b"\x88\x02\x03\xf3"),
        Upgrades(b"\x88\x06\x03\xf3boom"),
        Upgrades(b"\x88\x02\0\x01"),
        Upgrades(b"\x81\x02{}"),
        Upgrades(b"\x82\x02\xff\xff"),
        Upgrades(b"\x82\x03\x0a\x01\x08"),
        Upgrades(b"\xf2\x02aa"),
        Upgrades(b"\x8f\0"),
        Upgrades(b"\x82\x85\0\0\0\0abcde"),
        Upgrades(b"\x82\x7f\x7f\xff\xff\xff\xff\xff\xff\xff"),
    ]
}

async fn serve(mut socket: TcpStream, peer: Peer) {
    if matches!(peer, ClosesAtOnce) {
        return;
    }
    let mut request = vec![0; 16 << 10];
    let read = socket.read(&mut request).await.unwrap_or_default();
    let said = match peer {
        Gone | ClosesAtOnce => return,
        Silent => std::future::pending().await,
        Resets(said) | Says(said) => said,
        Upgrades(said) => {
            let head = String::from_utf8_lossy(&request[..read]).into_owned();
            let key = head.split("sec-websocket-key: ").nth(1);
            let Some(key) = key.and_then(|rest| rest.lines().next()) else { return };
            let mut sha1 = sha1_smol::Sha1::new();
            sha1.update(format!("{key}258EAFA5-E914-47DA-95CA-C5AB0DC85B11").as_bytes());
            let accept = base64::engine::general_purpose::STANDARD.encode(sha1.digest().bytes());
            let head = format!(
                "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\
                 sec-websocket-accept: {accept}\r\n\r\n"
            );
            let _ = socket.write_all(head.as_bytes()).await;
            // Waits for a message, or for the question whether the gateway is ready.
            let read = socket.read(&mut request);
            let _ = tokio::time::timeout(Duration::from_millis(50), read).await;
            said
        }
    };
    let _ = socket.write_all(said).await;
    if matches!(peer, Resets(_)) {
        let _ = socket.set_zero_linger();
    } else {
        // The shutdown lets the other side read everything before the end; a reset would discard
        // it.
        let _ = socket.shutdown().await;
        while socket.read(&mut request).await.is_ok_and(|read| read > 0) {}
    }
}

async fn start(peer: Peer) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    if !matches!(peer, Gone) {
        tokio::spawn(async move {
            while let Ok((socket, _)) = listener.accept().await {
                tokio::spawn(serve(socket, peer));
            }
        });
    }
    address
}

/// The ways of asking a gateway.
const WAYS: &[&str] =
    &["post", "undeclared", "unary", "stream", "status", "ready", "endpoints", "clientlet"];

/// Returns the error of one way; `None` if the protocol does not have this way, or nothing failed.
async fn ask(url: &str, way: &str) -> Option<Error> {
    let patience = Duration::from_millis(200);
    let builder = Client::builder(url).attempt_timeout(patience).connect_timeout(patience);
    let retry = RetryPolicy::standard().max_attempts(2).initial_backoff(Duration::from_millis(1));
    let builder = builder.retry(retry);
    let builder = match way {
        "undeclared" => builder,
        "unary" if url.starts_with("grpc") => builder.docarray(DocArray::V2).unary(true),
        "unary" => return None,
        _ => builder.docarray(DocArray::V2),
    };
    let client = builder.build().unwrap();
    match way {
        "stream" => {
            let document = Document::text("x");
            let call = client.stream_document("/stream", &document).try_stream::<Document>();
            let mut documents = call.ok()?;
            loop {
                if let Err(error) = documents.next().await? {
                    return Some(error);
                }
            }
        }
        "status" => client.status().await.err(),
        "ready" => client.ready().await.err(),
        "endpoints" => client.endpoints().await.err(),
        "clientlet" => by_clientlet(url, patience).await.err(),
        _ => {
            let answers = client.post("/").documents([Document::text("x")]).send().await;
            answers.documents::<Document>().err()
        }
    }
}

async fn by_clientlet(url: &str, patience: Duration) -> Result<(), Error> {
    let options = ClientletOptions::new().connect_timeout(patience).attempt_timeout(patience);
    let request = |request: DataRequest| request.document(&Document::text("x"));
    if url.starts_with("http") {
        let mut clientlet = HttpClientlet::new(&format!("{url}/post"), &options)?;
        clientlet.start().await?;
        let request = request(DataRequest::new(DocArray::V2, "/"))?;
        let answer = clientlet.send_message(&request).await?;
        return answer.response(DocArray::V2)?.documents::<Document>().map(drop);
    }
    let request = request(DataRequest::proto(DocArray::V2, "/"))?;
    if url.starts_with("ws") {
        let mut clientlet = WebsocketClientlet::new(url, &options)?;
        clientlet.start().await?;
        clientlet.send_message(&request).await?;
        let mut answers = clientlet.recv_message();
        let next = tokio::time::timeout(patience, answers.next()).await.unwrap_or_default();
        plain("a close message", answers.close_message().unwrap_or_default());
        return next.transpose().map(drop);
    }
    let mut clientlet = GrpcClientlet::new(url, &options)?;
    clientlet.start().await?;
    let stream = clientlet.open_stream().await;
    if let Ok(mut stream) = stream {
        let _ = stream.send_message(&request).await;
        let mut answers = stream.recv_message();
        let _ = tokio::time::timeout(patience, answers.next()).await;
        plain("a status message", answers.status_message().unwrap_or_default());
    }
    clientlet.send_message(&request).await.map(drop)
}

/// Signs of Rust's debug notation.
const SIGNS: &[&str] =
    &["::", "Error(", "Some(", "Ok(", "Err(", " { ", "b\"", "Os {", "kind:", "None"];

fn plain(context: &str, text: &str) {
    for sign in SIGNS {
        assert!(!text.contains(sign), "{sign:?} is in {text:?}, {context}");
    }
    assert!(!text.contains(char::is_control), "{text:?}, {context}");
}

fn check(context: &str, error: &Error) {
    plain(context, &error.to_string());
    plain(context, error.message());
    for attempt in error.attempts() {
        plain(context, &attempt.message);
    }
    let mut next = error.source();
    while let Some(cause) = next {
        plain(context, &cause.to_string());
        next = cause.source();
    }
    // `unwrap` shows the debug text. It may name an error of this crate, but not of another crate.
    let debug = format!("{error:?}");
    for sign in ["hyper", "h2::", "Error(", "Os {", "Custom {", "Io(", "Lost(", "b\""] {
        assert!(!debug.contains(sign), "{sign:?} is in {debug}, {context}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn failures_are_reported_in_plain_words_on_every_way() {
    // All run concurrently, because some wait for an event that never comes.
    let mut ways = tokio::task::JoinSet::new();
    for peer in peers() {
        let address = start(peer).await;
        for scheme in ["http", "ws", "grpc"] {
            for way in WAYS {
                let url = format!("{scheme}://{address}");
                ways.spawn(async move {
                    (format!("{way} over {scheme} to {peer:?}"), ask(&url, way).await)
                });
            }
        }
    }
    let mut told = 0;
    while let Some(asked) = ways.join_next().await {
        let (context, error) = asked.unwrap();
        if let Some(error) = error {
            check(&context, &error);
            told += 1;
        }
    }
    // Nearly all combinations fail.
    assert!(told > peers().len() * 3 * WAYS.len() / 2, "{told}");
}

#[tokio::test]
async fn a_document_of_a_stream_that_does_not_fit_says_where_it_came_from() {
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\n";
    let events = "event: update\r\ndata: {\"text\":7}\r\n\r\nevent: end\r\n\r\n";
    let address = start(Says(format!("{head}{events}").leak().as_bytes())).await;
    let client = Client::builder(&format!("http://{address}")).docarray(DocArray::V2);
    let client = client.build().unwrap();
    let mut documents = client.stream_document("/s", &Document::text("x")).stream::<Document>();
    let error = documents.next().await.unwrap().unwrap_err();
    let request = error.request_id().unwrap().to_owned();
    assert_eq!(error.gateway(), Some(&*format!("http://{address}")));
    let told = error.to_string();
    assert!(told.starts_with("document 1 of the stream does not fit: text: "), "{told}");
    let place = format!(" (gateway http://{address}, request {request}, document 0)");
    assert!(told.ends_with(&place), "{told}");
}
