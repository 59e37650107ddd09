//! Every scripted fault, as a client sees it on the wire.

use std::collections::BTreeSet;
use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
use std::io::Read as _;
use std::time::{Duration, Instant};

use clientlet_gateway::{DocArray, Fault, FaultKind, Gateway};
use serde_json::Value;

use crate::common::{Client, message, request, start};

#[tokio::test]
async fn refused_connections_are_reset_when_accepted() {
    let gateway = start(DocArray::V1, &["refuse@2-3"]).await;
    let mut ends = Vec::new();
    for _ in 0..4 {
        let mut client = Client::connect(&gateway).await;
        ends.push(match client.post("/post", &request("r", "/")).await {
            Ok(answer) => answer.status,
            Err(_) => 0,
        });
    }
    assert_eq!(ends, [200, 0, 0, 200]);
    assert_eq!(gateway.journal().connections(), 4);
    assert_eq!(gateway.journal().refused(), 2);
    assert_eq!(gateway.journal().len(), 2);
}

#[tokio::test]
async fn reset_before_strikes_a_kept_connection_and_reads_nothing() {
    let gateway = start(DocArray::V1, &["reset-before@2"]).await;
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.post("/post", &request("first", "/")).await.unwrap().status, 200);
    // GETs are not counted.
    assert_eq!(client.get("/status").await.unwrap().status, 200);
    let error = client.post("/post", &request("second", "/")).await.unwrap_err();
    assert_eq!(error.kind(), ConnectionReset);
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.post("/post", &request("third", "/")).await.unwrap().status, 200);

    let journal = gateway.journal();
    assert_eq!(journal.refused(), 1);
    assert_eq!(journal.arrivals().into_keys().collect::<Vec<_>>(), ["first", "third"]);
    let numbers: Vec<_> = journal.entries().iter().map(|entry| entry.number).collect();
    assert_eq!(numbers, [1, 3]);
}

#[tokio::test]
async fn reset_before_strikes_as_soon_as_the_request_line_is_there() {
    let gateway = start(DocArray::V1, &["reset-before@1"]).await;
    let mut client = Client::connect(&gateway).await;
    client.send(b"POST /po").await.unwrap();
    client.send(b"st HTTP/1.1\r\n").await.unwrap();
    assert_eq!(client.end().await, ConnectionReset);
}

#[tokio::test]
async fn reset_before_strikes_a_pipelined_request_too() {
    let gateway = start(DocArray::V1, &["reset-before@2"]).await;
    let mut client = Client::connect(&gateway).await;
    let body = request("r", "/").to_string();
    let message = message("POST", "/post", "", body.as_bytes());
    client.send(&message.repeat(3)).await.unwrap();
    assert_eq!(client.answer(true).await.unwrap().status, 200);
    assert_eq!(client.end().await, ConnectionReset);
    assert_eq!((gateway.journal().len(), gateway.journal().refused()), (1, 1));
}

#[tokio::test]
async fn reset_after_reads_the_request_and_answers_nothing() {
    let gateway = start(DocArray::V1, &["reset-after@1"]).await;
    let mut client = Client::connect(&gateway).await;
    let error = client.post("/post", &request("r", "/upper")).await.unwrap_err();
    assert_eq!(error.kind(), ConnectionReset);
    assert!(client.ahead.is_empty());
    let entry = &gateway.journal().entries()[0];
    assert_eq!(entry.fault, Some(FaultKind::ResetAfter));
    assert_eq!(entry.answered, None);
    assert_eq!(gateway.journal().arrivals()["r"], 1);
}

#[tokio::test]
async fn reset_mid_sends_half_of_the_answer() {
    let gateway = start(DocArray::V1, &["reset-mid@1"]).await;
    let mut client = Client::connect(&gateway).await;
    let body = request("r", "/upper").to_string();
    client.send(&message("POST", "/post", "", body.as_bytes())).await.unwrap();
    let (status, headers) = client.head().await.unwrap();
    assert_eq!(status, 200);
    assert_eq!(client.end().await, ConnectionReset);
    let length: usize = headers["content-length"].parse().unwrap();
    assert_eq!(client.ahead.len(), length / 2);
    assert_eq!(gateway.journal().entries()[0].answered, None);
}

#[tokio::test]
async fn reset_mid_of_a_large_answer_waits_until_half_is_out() {
    let gateway = start(DocArray::V2, &["reset-mid@1"]).await;
    let mut client = Client::connect(&gateway).await;
    let body = br#"{"data": [], "parameters": {"bytes": 8000000}}"#;
    client.send(&message("POST", "/big", "", body)).await.unwrap();
    let (_, headers) = client.head().await.unwrap();
    assert_eq!(client.end().await, ConnectionReset);
    let length: usize = headers["content-length"].parse().unwrap();
    // Bytes that the kernel held when the reset arrived are lost.
    assert!(client.ahead.len() <= length / 2 && !client.ahead.is_empty());
}

#[tokio::test]
async fn stall_keeps_the_connection_open_until_the_gateway_stops() {
    let gateway = start(DocArray::V1, &["stall@1"]).await;
    let mut client = Client::connect(&gateway).await;
    let body = request("r", "/").to_string();
    client.send(&message("POST", "/post", "", body.as_bytes())).await.unwrap();
    gateway.journal().wait_for(1).await;
    // Another connection is served in the meantime.
    let mut other = Client::connect(&gateway).await;
    assert_eq!(other.post("/post", &request("s", "/")).await.unwrap().status, 200);
    let waiting = tokio::time::timeout(Duration::from_millis(20), client.read_more()).await;
    assert!(waiting.is_err(), "{waiting:?}");
    gateway.stop().await;
    assert_eq!(client.end().await, UnexpectedEof);
}

#[tokio::test]
async fn statuses_come_with_retry_after_and_run_nothing() {
    let faults = ["status:503:1@1", "status:500@2", "status:429:Wed, 21 Oct 2015 07:28:00 GMT@3"];
    let gateway = start(DocArray::V1, &faults).await;
    let mut client = Client::connect(&gateway).await;
    let scripted = br#"{"detail":"scripted"}"#.to_vec();
    for (status, retry_after, kind, body) in [
        (503, Some("1"), "application/json", scripted.clone()),
        (500, None, "text/plain; charset=utf-8", b"Internal Server Error".to_vec()),
        (429, Some("Wed, 21 Oct 2015 07:28:00 GMT"), "application/json", scripted),
    ] {
        let answer = client.post("/post", &request("r", "/fail")).await.unwrap();
        assert_eq!((answer.status, answer.body), (status, body));
        assert_eq!(answer.headers.get("retry-after").map(String::as_str), retry_after);
        assert_eq!(answer.headers["content-type"], kind);
    }
    let answered: Vec<_> = gateway.journal().entries().iter().map(|e| e.answered).collect();
    assert_eq!(answered, [Some(503), Some(500), Some(429)]);
}

#[tokio::test]
async fn slow_sends_the_head_at_once_and_the_body_in_pieces() {
    let gateway = start(DocArray::V1, &["slow:0.2@1"]).await;
    let mut client = Client::connect(&gateway).await;
    let began = Instant::now();
    let body = request("r", "/upper").to_string();
    client.send(&message("POST", "/post", "", body.as_bytes())).await.unwrap();
    let (status, headers) = client.head().await.unwrap();
    // The head comes immediately, without any of the body.
    assert_eq!((status, client.ahead.len()), (200, 0));
    let length: usize = headers["content-length"].parse().unwrap();
    let mut pieces = 0;
    while client.ahead.len() < length {
        client.read_more().await.unwrap();
        pieces += 1;
    }
    assert!(serde_json::from_slice::<Value>(&client.ahead).is_ok());
    assert!(pieces > 2, "{pieces} pieces");
    assert!(began.elapsed() >= Duration::from_millis(200));
}

#[tokio::test]
async fn malformed_answers_are_complete_but_no_json() {
    for documents in [DocArray::V1, DocArray::V2] {
        let gateway = start(documents, &["malformed@1-2"]).await;
        let mut client = Client::connect(&gateway).await;
        // The fault also strikes answers that are errors.
        for path in ["/post", "/nowhere"] {
            let answer = client.post(path, &request("r", "/upper")).await.unwrap();
            assert_eq!(answer.status, 200);
            assert_eq!(answer.headers["content-type"], "application/json");
            assert!(serde_json::from_slice::<Value>(&answer.body).is_err());
        }
        assert_eq!(client.get("/status").await.unwrap().status, 200);
    }
}

#[tokio::test]
async fn faults_with_a_path_strike_its_gets_only() {
    let faults = ["status:500@1,path=/status", "reset-after@2,path=/status"];
    let gateway = start(DocArray::V1, &faults).await;
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.post("/post", &request("r", "/")).await.unwrap().status, 200);
    assert_eq!(client.get("/dry_run").await.unwrap().status, 200);
    assert_eq!(client.get("/status?x=1").await.unwrap().status, 500);
    assert_eq!(client.get("/status").await.unwrap_err().kind(), ConnectionReset);
    let answered: Vec<_> = gateway
        .journal()
        .gets()
        .into_iter()
        .map(|get| (get.number, get.path, get.answered))
        .collect();
    assert_eq!(
        answered,
        [
            (1, "/dry_run".to_owned(), Some(200)),
            (2, "/status".to_owned(), Some(500)),
            (3, "/status".to_owned(), None),
        ]
    );
}

/// The numbers of the requests that fail, of 400 requests on this many connections at once.
async fn failing_numbers(connections: usize) -> BTreeSet<u64> {
    let fault: Fault = "status:503@20%".parse().unwrap();
    let gateway = Gateway::builder().fault(fault).seed(7).start().await.unwrap();
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..connections {
        let mut client = Client::connect(&gateway).await;
        tasks.spawn(async move {
            for _ in 0..400 / connections {
                client.post("/post", &request("r", "/")).await.unwrap();
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    let entries = gateway.journal().entries();
    assert_eq!(entries.len(), 400);
    entries.iter().filter(|e| e.answered == Some(503)).map(|e| e.number).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_numbers_fail_however_requests_interleave() {
    let alone = failing_numbers(1).await;
    assert!((50..110).contains(&alone.len()), "{}", alone.len());
    assert_eq!(failing_numbers(16).await, alone);
}

#[tokio::test]
async fn an_early_answer_comes_before_the_body_and_its_connection_is_reset() {
    let gateway = start(DocArray::V1, &["early:413@1,path=/status", "early:413@1"]).await;
    let mut client = Client::connect(&gateway).await;
    // A megabyte is announced, but not sent.
    client
        .send(b"POST /post HTTP/1.1\r\nhost: g\r\ncontent-length: 1000000\r\n\r\n")
        .await
        .unwrap();
    let answer = client.answer(true).await.unwrap();
    assert_eq!((answer.status, answer.headers.contains_key("connection")), (413, false));
    assert_eq!(client.end().await, ConnectionReset);
    assert_eq!((gateway.journal().len(), gateway.journal().refused()), (0, 1));

    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.get("/status").await.unwrap().status, 413);
    assert_eq!(client.end().await, ConnectionReset);
}

#[tokio::test]
async fn a_gateway_that_hangs_up_answers_and_closes_without_saying_so() {
    let gateway = start(DocArray::V2, &["hang-up@2"]).await;
    let mut client = Client::connect(&gateway).await;
    for _ in 0..2 {
        let answer = client.post("/upper", &request("r", "/upper")).await.unwrap();
        assert_eq!(answer.json()["data"][0]["text"], "HI");
        assert!(!answer.headers.contains_key("connection"));
    }
    assert_eq!(client.end().await, UnexpectedEof);
    assert_eq!(gateway.journal().entries()[1].answered, Some(200));
}

#[tokio::test]
async fn a_compressed_answer_says_so_and_is() {
    let gateway = start(DocArray::V2, &["gzip@1"]).await;
    let mut client = Client::connect(&gateway).await;
    let answer = client.post("/upper", &request("r", "/upper")).await.unwrap();
    assert_eq!((answer.status, &*answer.headers["content-encoding"]), (200, "gzip"));
    let mut json = String::new();
    flate2::read::GzDecoder::new(&*answer.body).read_to_string(&mut json).unwrap();
    let json: Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["data"][0]["text"], "HI");
}
