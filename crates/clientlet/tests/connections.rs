//! Connections: their number, the order in which requests wait for one, answers that come before
//! the request was read, and hosts.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use std::pin::pin;
use std::time::Duration;

use clientlet::{
    Client, ClientBuilder, Delivery, DocArray, Document, Error, ErrorKind, Response, RetryPolicy,
};
use clientlet_gateway::Gateway;
use clientlet_interop::Nginx;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinSet;
use tokio::time::timeout;

fn builder(url: &str) -> ClientBuilder {
    events::watch();
    Client::builder(url).retry(RetryPolicy::new())
}

async fn post(client: &Client, text: &str) -> Result<Response, Error> {
    let call = client.post("/upper").documents([Document::text(text)]);
    call.send().await.into_iter().next().unwrap()
}

/// How much of a request a server reads before it closes.
#[derive(Clone, Copy, Debug)]
enum Reads {
    Nothing,
    TheHead,
    Some(usize),
}

const REQUESTS: [Reads; 3] = [Reads::Nothing, Reads::TheHead, Reads::Some(1 << 20)];

/// Answers questions as a server that shows nothing about itself, until another kind of request
/// comes. If `closes`, each question ends its connection, and the next request uses a new one.
async fn decline_questions(stream: &mut TcpStream, closes: bool) -> std::io::Result<()> {
    let kept = &b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\n\r\n"[..];
    let closed = b"HTTP/1.1 404 Not Found\r\ncontent-length: 0\r\nconnection: close\r\n\r\n";
    let mut first = [0; 6];
    loop {
        match stream.peek(&mut first).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            // An upgrade requests the path `/`.
            6 if first.starts_with(b"GET /") && first[5] != b' ' => {}
            6 => return Ok(()),
            // More of the request's head has yet to come.
            _ => {
                tokio::task::yield_now().await;
                continue;
            }
        }
        read_whole(stream).await?;
        stream.write_all(if closes { closed } else { kept }).await?;
        if closes {
            return Err(std::io::ErrorKind::ConnectionAborted.into());
        }
    }
}

/// The number of questions to a gateway before the first request: its status and its list of
/// endpoints.
const QUESTIONS: u64 = 2;

/// Answers the first `well` requests of each connection as a gateway does. To the next request it
/// sends `answer` before reading all of it, and closes. The unread data turns the close into a
/// reset.
async fn early(well: usize, reads: Reads, answer: &'static [u8]) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            // An error here means that the client closed the connection early.
            tokio::spawn(answer_early(stream, well, reads, answer));
        }
    });
    address.to_string()
}

async fn answer_early(
    mut stream: TcpStream,
    well: usize,
    reads: Reads,
    answer: &[u8],
) -> std::io::Result<()> {
    let mut buffer = vec![0; 64 << 10];
    decline_questions(&mut stream, well == 0).await?;
    for _ in 0..well {
        read_whole(&mut stream).await?;
        let body = br#"{"header": {"requestId": "x"}, "data": [], "parameters": null}"#;
        let head = format!("HTTP/1.1 200 OK\r\ncontent-length: {}\r\n\r\n", body.len());
        stream.write_all(&[head.as_bytes(), body].concat()).await?;
    }
    match reads {
        // Waits until some bytes have come.
        Reads::Nothing => drop(stream.peek(&mut buffer[..1]).await?),
        Reads::TheHead => drop(read_head(&mut stream).await?),
        Reads::Some(bytes) => {
            let mut left = bytes;
            while left > 0 {
                let most = left.min(buffer.len());
                match stream.read(&mut buffer[..most]).await? {
                    0 => break,
                    read => left -= read,
                }
            }
        }
    }
    stream.write_all(answer).await
}

/// Reads to the end of a head, with as much of the body as comes with it.
async fn read_head(stream: &mut TcpStream) -> std::io::Result<Vec<u8>> {
    let mut head = Vec::new();
    while !head.windows(4).any(|four| four == b"\r\n\r\n") {
        let mut buffer = [0; 4096];
        match stream.read(&mut buffer).await? {
            0 => return Err(std::io::ErrorKind::UnexpectedEof.into()),
            read => head.extend_from_slice(&buffer[..read]),
        }
    }
    Ok(head)
}

/// Reads one whole request.
async fn read_whole(stream: &mut TcpStream) -> std::io::Result<()> {
    let read = read_head(stream).await?;
    let end = read.windows(4).position(|four| four == b"\r\n\r\n").unwrap() + 4;
    let head = String::from_utf8_lossy(&read[..end]).to_ascii_lowercase();
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length: usize = length.map_or(0, |length| length.parse().unwrap());
    let mut rest = vec![0; length - (read.len() - end)];
    stream.read_exact(&mut rest).await.map(drop)
}

// Server and client need threads of their own, or the gateway never closes while the client writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_counts_even_if_the_gateway_closed_before_reading_the_whole_request() {
    let table: &[(&[u8], u16, ErrorKind)] = &[
        (
            b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 4\r\n\r\nlong",
            413,
            ErrorKind::Gateway,
        ),
        (
            b"HTTP/1.1 413 Content Too Large\r\nconnection: close\r\n\r\nto the end",
            413,
            ErrorKind::Gateway,
        ),
        (b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n", 401, ErrorKind::Gateway),
        // The body is cut, but the status says that the request was refused.
        (
            b"HTTP/1.1 413 Content Too Large\r\ncontent-length: 99\r\n\r\nlo",
            413,
            ErrorKind::Gateway,
        ),
        (b"HTTP/1.1 429 Slow Down\r\ncontent-length: 0\r\n\r\n", 429, ErrorKind::RateLimited),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 0\r\n\r\n", 503, ErrorKind::Gateway),
    ];
    // Far more than the sockets' buffers can hold.
    let large = "x".repeat(12 << 20);
    // Each answer comes on a connection that was used before. One of the answers also comes in all
    // other ways.
    let ways = REQUESTS.into_iter().flat_map(|reads| [(reads, 0), (reads, 1)]);
    let ways = ways.map(|way| (&table[0], way));
    let answers = table.iter().map(|row| (row, (Reads::TheHead, 1)));
    for ((answer, status, kind), (reads, well)) in answers.chain(ways) {
        let url = format!("http://{}", early(well, reads, answer).await);
        // With one connection a request waits until the previous one has left the connection, and
        // opens no other.
        let client = builder(&url).docarray(DocArray::V1).max_connections(1).build().unwrap();
        for _ in 0..well {
            client.post("/").send().await.into_result().unwrap();
        }
        let error = post(&client, &large).await.unwrap_err();
        let told =
            (error.kind(), error.delivery(), error.http_status().map(|status| status.as_u16()));
        let expected = (*kind, Delivery::Answered, Some(*status));
        assert_eq!(told, expected, "{status}, {reads:?}, {well}: {error:?}");
        let opened = if well == 0 { QUESTIONS + 1 } else { 1 };
        assert_eq!(client.connections().opened, opened);
    }
}

#[tokio::test]
async fn the_answer_to_an_upgrade_that_is_refused_before_it_is_read_is_reported() {
    for (answer, status) in [
        (&b"HTTP/1.1 401 Unauthorized\r\ncontent-length: 0\r\n\r\n"[..], 401),
        (b"HTTP/1.1 503 Busy\r\ncontent-length: 4\r\n\r\nbusy", 503),
    ] {
        for reads in [Reads::Nothing, Reads::TheHead] {
            let url = format!("ws://{}", early(0, reads, answer).await);
            let client = builder(&url).docarray(DocArray::V1).build().unwrap();
            let error = post(&client, "x").await.unwrap_err();
            let told = (error.delivery(), error.http_status().map(|status| status.as_u16()));
            assert_eq!(told, (Delivery::NotSent, Some(status)), "{reads:?}: {error:?}");
        }
    }
}

#[tokio::test]
async fn too_many_headers_in_the_answer_to_an_upgrade_are_reported() {
    let many: String = (0..101).map(|n| format!("x-{n}: v\r\n")).collect();
    let answer = format!("HTTP/1.1 403 Forbidden\r\n{many}\r\n").into_bytes();
    let url = format!("ws://{}", early(0, Reads::TheHead, answer.leak()).await);
    let client = builder(&url).docarray(DocArray::V1).build().unwrap();
    let error = post(&client, "x").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::TooLarge, Delivery::NotSent));
    assert!(error.message().contains("more than 100 headers"), "{error}");
}

#[tokio::test]
async fn an_answer_that_comes_before_anything_was_sent_answers_the_request() {
    // A proxy with too many connections does this.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        for number in 0.. {
            let (mut stream, _) = listener.accept().await.unwrap();
            tokio::spawn(async move {
                if number % (QUESTIONS + 1) < QUESTIONS {
                    let _ = decline_questions(&mut stream, true).await;
                    return;
                }
                let busy = b"HTTP/1.1 503 Busy\r\nretry-after: 7\r\ncontent-length: 0\r\n\r\n";
                let _ = stream.write_all(busy).await;
                let _ = stream.shutdown().await;
                // Waits until the client closes.
                let _ = stream.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    for _ in 0..20 {
        let client = builder(&format!("http://{address}")).docarray(DocArray::V1).build().unwrap();
        let error = post(&client, "x").await.unwrap_err();
        assert_eq!(
            (error.delivery(), error.http_status().map(|status| status.as_u16())),
            (Delivery::Answered, Some(503))
        );
    }
}

#[tokio::test]
async fn a_compressed_answer_is_read_although_it_was_not_asked_for() {
    let served = Gateway::builder()
        .docarray(clientlet_gateway::DocArray::V2)
        .fault("gzip@1-2".parse().unwrap());
    let gateway = served.start().await.unwrap();
    let client = builder(&gateway.http_url()).compression(false).build().unwrap();
    let answer = post(&client, "x").await.unwrap();
    let documents: Vec<Document> = answer.documents().unwrap();
    assert_eq!(documents[0].text.as_deref(), Some("X"));
    assert_eq!(gateway.journal().entries()[0].header("accept-encoding"), None);
}

#[tokio::test]
async fn a_connection_is_closed_if_the_gateway_stops_reading_the_request() {
    // The server answers and stops reading, but keeps the connection open.
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let closed = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        decline_questions(&mut stream, false).await.unwrap();
        read_head(&mut stream).await.unwrap();
        stream.write_all(b"HTTP/1.1 413 Large\r\ncontent-length: 0\r\n\r\n").await.unwrap();
        // A failing write shows that the client closed; reading would take the request's data.
        while stream.write_all(b"x").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let client = builder(&format!("http://{address}"));
    let client = client.docarray(DocArray::V1).max_connections(1).build().unwrap();
    let error = post(&client, &"x".repeat(12 << 20)).await.unwrap_err();
    assert_eq!(error.http_status().map(|status| status.as_u16()), Some(413));
    timeout(Duration::from_secs(30), closed).await.unwrap().unwrap();
}

#[tokio::test]
async fn there_are_never_more_connections_than_are_allowed() {
    const MOST: usize = 8;
    let gateway =
        Gateway::builder().docarray(clientlet_gateway::DocArray::V2).start().await.unwrap();
    let client = builder(&gateway.http_url()).max_connections(MOST).build().unwrap();
    let mut calls = JoinSet::new();
    for _ in 0..1000 {
        let client = client.clone();
        calls.spawn(async move { post(&client, "x").await.unwrap().attempts() });
    }
    assert_eq!(calls.join_all().await, vec![1; 1000]);
    let opened = gateway.journal().connections();
    assert!(opened <= MOST as u64, "{opened}");
    assert_eq!(client.connections().opened, opened);
    assert_eq!(gateway.journal().len(), 1000);

    let error = builder("http://localhost").max_connections(0).build().unwrap_err();
    assert!(error.message().contains("max_connections is 0"), "{error}");
}

#[tokio::test]
async fn requests_that_wait_for_a_connection_get_one_in_order_and_may_time_out() {
    let gateway =
        Gateway::builder().docarray(clientlet_gateway::DocArray::V2).start().await.unwrap();
    let client = builder(&gateway.http_url()).max_connections(1).build().unwrap();
    client.ready().await.unwrap();
    post(&client, "known").await.unwrap();
    let held = {
        let client = client.clone();
        tokio::spawn(async move {
            let parameters = json!({"seconds": 0.7});
            let call = client.post("/slow").parameters(parameters);
            call.documents([Document::text("x")]).send().await.into_result().unwrap();
        })
    };
    gateway.journal().wait_for(2).await;
    let mut calls = Vec::new();
    for n in 0..20 {
        let client = client.clone();
        calls.push(tokio::spawn(async move {
            let document = Document::text("x").with_id(n.to_string());
            client.post("/upper").documents([document]).send().await.into_result()
        }));
        // Lets each request begin to wait before the next one begins.
        tokio::task::yield_now().await;
    }
    // This request times out while it waits.
    let late = client.post("/upper").documents([Document::text("late")]);
    let late = late.timeout(Duration::from_millis(100)).send().await.into_result().unwrap_err();
    assert_eq!((late.kind(), late.delivery()), (ErrorKind::Timeout, Delivery::NotSent));
    assert!(late.message().contains("all 1 connections were in use"), "{late}");
    for n in (0..20).step_by(3) {
        calls[n].abort();
    }
    held.await.unwrap();
    for (n, call) in calls.into_iter().enumerate() {
        let ended = call.await;
        assert_eq!(ended.is_err(), n % 3 == 0, "{n}: {ended:?}");
        assert!(ended.is_err() || ended.unwrap().is_ok());
    }
    let entries = gateway.journal().entries();
    let served = entries.iter().skip(2).map(|entry| entry.document_ids[0].parse().unwrap());
    let expected: Vec<usize> = (0..20).filter(|n| n % 3 != 0).collect();
    assert_eq!(served.collect::<Vec<usize>>(), expected);
    assert_eq!(gateway.journal().connections(), 1);
}

#[tokio::test]
async fn a_connection_closed_after_each_answer_costs_a_slow_producer_no_attempt() {
    // Each answer is the last one on its connection, but does not say so.
    let builder = Gateway::builder()
        .docarray(clientlet_gateway::DocArray::V2)
        .fault("hang-up@/1".parse().unwrap());
    let gateway = builder.start().await.unwrap();
    let client = Client::builder(&gateway.http_url()).retry(RetryPolicy::new().at_most_once(true));
    let client = client.build().unwrap();
    for _ in 0..100 {
        // Long enough for the end of the connection to arrive.
        tokio::time::sleep(Duration::from_millis(2)).await;
        assert_eq!(post(&client, "x").await.unwrap().attempts(), 1);
    }
    assert_eq!(gateway.journal().len(), 100);
}

#[tokio::test]
async fn the_host_header_of_the_client_and_of_the_call_is_sent() {
    let builder =
        Gateway::builder().docarray(clientlet_gateway::DocArray::V2).websocket(true).grpc(true);
    let gateway = builder.start().await.unwrap();
    let urls = [gateway.http_url(), gateway.websocket_url(), gateway.grpc_url()];
    for (url, is_unary) in urls.iter().zip([false; 3]).chain([(&urls[2], true)]) {
        let (_, address) = url.split_once("://").unwrap();
        let mut builder = Client::builder(url).header("Host", "flow.example:8080");
        if is_unary {
            builder = builder.unary(true);
        }
        let client = builder.build().unwrap();
        let (before, gets) = (gateway.journal().len(), gateway.journal().gets().len());
        for host in [None, Some("other.example"), None, Some("other.example")] {
            let call = client.post("/upper").documents([Document::text("x")]);
            let call = host.into_iter().fold(call, |call, host| call.header("host", host));
            call.send().await.into_result().unwrap();
        }
        let plain = Client::new(url).unwrap();
        post(&plain, "x").await.unwrap();
        let journal = gateway.journal();
        let hosts = |entries: &[clientlet_gateway::Entry]| -> Vec<String> {
            let hosts = entries.iter().map(|entry| entry.headers.get_all("host").iter());
            hosts.map(|host| host.map(|host| host.to_str().unwrap()).collect()).collect()
        };
        let asked = hosts(&journal.gets()[gets..]);
        assert_eq!(asked[0], "flow.example:8080", "{url}: the request for the status has the host");
        if !url.starts_with("ws") {
            let expected = ["flow.example:8080", "other.example"].repeat(2);
            let posted = hosts(&journal.entries()[before..]);
            assert_eq!(posted[..4], expected, "{url}");
            assert_eq!(posted[4], address, "{url}");
        } else {
            // Headers belong to the connection.
            assert!(asked.contains(&"other.example".to_owned()), "{asked:?}");
            assert_eq!(client.connections().opened, 2, "one for each host");
        }
        if url.starts_with("http") {
            assert_eq!(client.connections().opened, 1, "requests for any host use any connection");
        }
    }
}

/// Starts an nginx that passes requests for `two.example` to the second of these addresses, and all
/// other requests to the first.
async fn by_host(listen: &'static str, pass: &str, upstreams: [String; 2]) -> Option<Nginx> {
    let [first, second] = upstreams;
    let server = format!(
        "location / {{
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection Upgrade;
            if ($http_host = two.example) {{ {pass} {second}; }}
            {pass} {first};
        }}"
    );
    let start = tokio::task::spawn_blocking(move || Nginx::start_or_skip(listen, &server));
    start.await.unwrap().unwrap()
}

#[tokio::test]
async fn hosts_behind_one_address_may_speak_different_documents() {
    let start = |docarray| Gateway::builder().docarray(docarray).websocket(true).grpc(true).start();
    let (one, two) = (
        start(clientlet_gateway::DocArray::V1).await.unwrap(),
        start(clientlet_gateway::DocArray::V2).await.unwrap(),
    );
    let to_http = |url: String| url.replace("ws://", "http://");
    let upstreams = |url: fn(&Gateway) -> String| [&one, &two].map(|it| to_http(url(it)));
    let Some(http) = by_host("", "proxy_pass", upstreams(Gateway::http_url)).await else { return };
    let websocket = by_host("", "proxy_pass", upstreams(Gateway::websocket_url)).await.unwrap();
    let grpc = by_host("http2", "grpc_pass", [&one, &two].map(Gateway::grpc_url)).await.unwrap();
    for (scheme, nginx, is_unary) in [
        ("http", &http, false),
        ("ws", &websocket, false),
        ("grpc", &grpc, false),
        ("grpc", &grpc, true),
    ] {
        let mut builder = Client::builder(&format!("{scheme}://127.0.0.1:{}", nginx.port()));
        if is_unary {
            builder = builder.unary(true);
        }
        let client = builder.header("Host", "one.example").build().unwrap();
        let posted = || [one.journal().len(), two.journal().len()];
        let before = posted();
        for host in [None, Some("two.example"), Some("one.example"), Some("two.example")] {
            let call = client.post("/upper").documents([Document::text("hey")]);
            let call = host.into_iter().fold(call, |call, host| call.header("Host", host));
            let answers = call.send().await.into_result().unwrap();
            let back: Vec<Document> = answers[0].documents().unwrap();
            assert_eq!(back[0].text.as_deref(), Some("HEY"), "{scheme}, {host:?}");
        }
        let arrived = [0, 1].map(|n| posted()[n] - before[n]);
        assert_eq!(arrived, [2, 2], "{scheme}");
    }
}

#[tokio::test]
async fn a_call_that_is_not_polled_while_it_opens_the_connection_does_not_block_another() {
    let ways: [fn(&Gateway) -> ClientBuilder; 4] = [
        |gateway| Client::builder(&gateway.http_url()),
        |gateway| Client::builder(&gateway.websocket_url()),
        |gateway| Client::builder(&gateway.grpc_url()),
        |gateway| Client::builder(&gateway.grpc_url()).unary(true),
    ];
    for (number, way) in ways.into_iter().enumerate() {
        let builder =
            Gateway::builder().docarray(clientlet_gateway::DocArray::V2).websocket(true).grpc(true);
        let gateway = builder.fault("reset-after@1".parse().unwrap()).start().await.unwrap();
        let client = way(&gateway).build().unwrap();
        // Now the client knows what the gateway speaks, but has no connection.
        assert!(post(&client, "x").await.is_err());
        let mut unpolled = pin!(post(&client, "x"));
        assert!(futures_util::poll!(unpolled.as_mut()).is_pending());
        let other = timeout(Duration::from_secs(20), post(&client, "x")).await;
        other.unwrap_or_else(|_| panic!("the call waited, way {number}")).unwrap();
        unpolled.await.unwrap();
    }
}
