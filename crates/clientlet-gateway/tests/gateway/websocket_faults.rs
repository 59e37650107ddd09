//! Every scripted fault of WebSockets, as a client sees it on the wire.

use std::io::ErrorKind::{ConnectionReset, UnexpectedEof};
use std::time::{Duration, Instant};

use clientlet_gateway::{DocArray, FaultKind, Gateway};
use serde_json::json;
use tokio::io::AsyncWriteExt;

use crate::common::Client;
use crate::common::websocket::{BINARY, END_MARKER, PING, Socket, TEXT, request, start};

/// Sends requests to `/upper` with these ids.
async fn send(socket: &mut Socket, ids: &[&str]) {
    for id in ids {
        socket.send(&request(id, "/upper")).await;
    }
}

async fn ids(socket: &mut Socket, count: usize) -> Vec<String> {
    let mut ids = Vec::new();
    for _ in 0..count {
        ids.push(socket.frame().await.unwrap().id());
    }
    ids
}

fn answered(gateway: &Gateway) -> Vec<bool> {
    gateway.journal().entries().iter().map(|entry| entry.answered == Some(200)).collect()
}

#[tokio::test]
async fn drop_ends_the_connection_when_the_message_has_arrived() {
    let gateway = start(DocArray::V1, &["drop@3"]).await;
    let mut socket = Socket::connect(&gateway).await;
    // Later messages were sent, but never arrived.
    send(&mut socket, &["a", "b", "c", "d", "e"]).await;
    assert_eq!(ids(&mut socket, 2).await, ["a", "b"]);
    assert_eq!(socket.end().await, UnexpectedEof);
    assert!(socket.ahead.is_empty());
    assert_eq!(answered(&gateway), [true, true, false]);
    // Messages are counted over all connections.
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["c"]).await;
    assert_eq!(ids(&mut socket, 1).await, ["c"]);
    let journal = gateway.journal();
    assert_eq!(journal.arrivals()["c"], 2);
    assert_eq!((journal.connections(), journal.websocket_connections()), (2, 2));
    let entry = &journal.entries()[2];
    assert_eq!((entry.number, entry.connection, &*entry.method), (3, 1, "WS"));
    assert_eq!((&*entry.path, entry.endpoint.as_deref()), ("/", Some("/upper")));
    assert_eq!(entry.headers["authorization"], "Bearer t");
    assert_eq!((entry.document_count, &entry.document_ids[..]), (1, &["d0".to_owned()][..]));
    assert_eq!(entry.fault, Some(FaultKind::Drop));
}

#[tokio::test]
async fn reset_after_resets() {
    let gateway = start(DocArray::V1, &["reset-after@2"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a"]).await;
    assert_eq!(ids(&mut socket, 1).await, ["a"]);
    send(&mut socket, &["b"]).await;
    assert_eq!(socket.end().await, ConnectionReset);
    assert_eq!(answered(&gateway), [true, false]);
}

#[tokio::test]
async fn close_sends_code_and_reason_even_forbidden_ones() {
    let faults = ["close:1012:restart@1", "close:1006@2", "close:7@3"];
    let gateway = start(DocArray::V1, &faults).await;
    for (code, reason) in [(1012, "restart"), (1006, ""), (7, "")] {
        let mut socket = Socket::connect(&gateway).await;
        send(&mut socket, &["a"]).await;
        let frame = socket.frame().await.unwrap();
        assert_eq!(frame.close(), (code, reason));
        socket.send_frame(8, &1000_u16.to_be_bytes()).await.unwrap();
        assert_eq!(socket.end().await, UnexpectedEof);
        assert!(socket.ahead.is_empty());
    }
}

#[tokio::test]
async fn stall_leaves_one_message_and_answers_the_others() {
    let gateway = start(DocArray::V1, &["stall@2"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a", "b", "c"]).await;
    assert_eq!(ids(&mut socket, 2).await, ["a", "c"]);
    // The gateway waits for it before it closes.
    socket.send_frame(BINARY, END_MARKER).await.unwrap();
    assert!(socket.is_silent().await);
    let stopping = tokio::spawn(gateway.stop());
    socket.is_closed(1012, "").await;
    stopping.await.unwrap();
}

#[tokio::test]
async fn half_open_reads_nothing_and_writes_nothing() {
    let gateway = start(DocArray::V1, &["half-open@2"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a", "b", "c"]).await;
    assert_eq!(ids(&mut socket, 1).await, ["a"]);
    socket.send_frame(PING, b"").await.unwrap();
    assert!(socket.is_silent().await);
    assert_eq!(gateway.journal().len(), 2);
    // Others are served.
    let mut other = Socket::connect(&gateway).await;
    send(&mut other, &["b"]).await;
    assert_eq!(ids(&mut other, 1).await, ["b"]);
    drop(gateway);
    // Bytes are unread here.
    assert_eq!(socket.end().await, ConnectionReset);
}

#[tokio::test]
async fn ping_flood_sends_pings_without_end_and_reads_no_pong() {
    let gateway = start(DocArray::V1, &["ping-flood@2"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a", "b", "c"]).await;
    assert_eq!(ids(&mut socket, 1).await, ["a"]);
    for _ in 0..100 {
        let frame = socket.frame().await.unwrap();
        assert_eq!((frame.opcode, frame.content.len()), (PING, 125));
    }
    assert_eq!(gateway.journal().len(), 2);
    // Unread bytes fill the buffers of the sockets, until no more can be sent.
    let pongs = vec![0; 1 << 20];
    let unread = async { while socket.stream.write_all(&pongs).await.is_ok() {} };
    assert!(tokio::time::timeout(Duration::from_millis(500), unread).await.is_err());
    // Others are served.
    let mut other = Socket::connect(&gateway).await;
    send(&mut other, &["b"]).await;
    assert_eq!(ids(&mut other, 1).await, ["b"]);
    drop((socket, other));
    // The flood ends with its connection.
    gateway.stop().await;
}

#[tokio::test]
async fn twice_answers_twice() {
    let gateway = start(DocArray::V1, &["twice@2"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a", "b", "c"]).await;
    assert_eq!(ids(&mut socket, 4).await, ["a", "b", "b", "c"]);
}

#[tokio::test]
async fn reorder_sends_an_answer_behind_the_next() {
    let gateway = start(DocArray::V1, &["reorder@1", "reorder@4-5"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a", "b", "c"]).await;
    assert_eq!(ids(&mut socket, 3).await, ["b", "a", "c"]);
    send(&mut socket, &["d", "e", "f"]).await;
    assert_eq!(ids(&mut socket, 3).await, ["f", "d", "e"]);
}

#[tokio::test]
async fn unknown_id_answers_with_another_one() {
    let gateway = start(DocArray::V1, &["unknown-id@1"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a", "b"]).await;
    let ids = ids(&mut socket, 2).await;
    assert!(ids[0].len() == 32 && ids[1] == "b", "{ids:?}");
    assert_eq!(gateway.journal().arrivals()["a"], 1);
    assert_eq!(answered(&gateway), [false, true]);
}

#[tokio::test]
async fn half_a_frame_ends_by_fin_or_reset() {
    let gateway = start(DocArray::V1, &["truncated@1", "reset-mid@2"]).await;
    for end in [UnexpectedEof, ConnectionReset] {
        let mut socket = Socket::connect(&gateway).await;
        send(&mut socket, &["a"]).await;
        assert_eq!(socket.frame().await.unwrap_err().kind(), end);
        // The head announces more bytes than follow.
        assert_eq!(socket.ahead[0], 0x80 | BINARY);
        let length = match socket.ahead[1] {
            126 => usize::from(u16::from_be_bytes([socket.ahead[2], socket.ahead[3]])) + 4,
            length => usize::from(length) + 2,
        };
        assert_eq!(socket.ahead.len(), length / 2);
    }
    assert_eq!(answered(&gateway), [false, false]);
}

#[tokio::test]
async fn answers_that_are_no_answers() {
    let gateway = start(DocArray::V1, &["malformed@1", "oversize:100000@2", "wrong-type@3"]).await;
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a", "b", "c", "d"]).await;
    let malformed = socket.frame().await.unwrap();
    assert_eq!((malformed.opcode, &*malformed.content), (BINARY, &[0xff; 16][..]));
    let oversize = socket.frame().await.unwrap();
    assert_eq!((oversize.opcode, oversize.content), (BINARY, vec![0; 100_000]));
    assert_eq!(socket.frame().await.unwrap().opcode, TEXT);
    assert_eq!(ids(&mut socket, 1).await, ["d"]);
    assert_eq!(answered(&gateway), [true, false, false, true]);
}

#[tokio::test]
async fn slow_answers_come_late_and_hold_up_nobody() {
    let gateway = start(DocArray::V1, &["slow:0.5@1"]).await;
    let mut socket = Socket::connect(&gateway).await;
    let began = Instant::now();
    send(&mut socket, &["a", "b"]).await;
    assert_eq!(ids(&mut socket, 2).await, ["b", "a"]);
    assert!(began.elapsed() >= Duration::from_millis(500));
}

#[tokio::test]
async fn upgrades_are_struck_and_counted_by_themselves() {
    let faults = [
        "status:503:1@1,on=upgrade",
        "reset-after@2,on=upgrade",
        "drop@3,on=upgrade",
        "malformed@4,on=upgrade",
        "subprotocol:other@5,on=upgrade",
        "status:500@1,path=/",
        "status:429@1,path=/dry_run,on=upgrade",
        "refuse@1",
    ];
    let gateway = start(DocArray::V1, &faults).await;
    assert!(Client::connect_to(gateway.websocket_address()).await.get("/").await.is_err());
    let mut answers = Vec::new();
    for _ in 0..6 {
        let mut client = Client::connect_to(gateway.websocket_address()).await.into_socket();
        answers.push(client.upgrade("/", Some("bytes")).await);
    }
    let [status, reset, drop, malformed, subprotocol, fine] = answers.try_into().unwrap();
    let status = status.unwrap();
    assert!(status.starts_with("HTTP/1.1 503 ") && status.contains("retry-after: 1\r\n"));
    assert_eq!(reset.unwrap_err().kind(), ConnectionReset);
    assert_eq!(drop.unwrap_err().kind(), UnexpectedEof);
    let accept = "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n";
    let malformed = malformed.unwrap();
    assert!(malformed.starts_with("HTTP/1.1 101 ") && !malformed.contains(accept));
    assert!(subprotocol.unwrap().contains("sec-websocket-protocol: other\r\n"));
    assert!(fine.unwrap().contains(accept));
    assert!(Socket::open(&gateway, "/dry_run", None).await.err().unwrap().contains(" 429 "));
    // GETs for the same path are not struck.
    let mut client = Client::connect_to(gateway.websocket_address()).await;
    assert_eq!(client.get("/").await.unwrap().status, 500);
    assert_eq!(client.get("/").await.unwrap().status, 200);
    let answered: Vec<_> = gateway.journal().gets().iter().map(|get| get.answered).collect();
    assert_eq!(
        answered,
        [Some(503), None, None, Some(101), Some(101), Some(101), Some(429), Some(500), Some(200)]
    );
    assert_eq!(gateway.journal().websocket_connections(), 3);
}

#[tokio::test]
async fn kinds_of_the_other_protocol_are_ignored() {
    let builder = Gateway::builder().websocket(true);
    let builder = builder.fault("drop@1-2".parse().unwrap());
    let gateway = builder.fault("status:503@1-2".parse().unwrap()).start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    let body = json!({"data": [], "execEndpoint": "/"});
    assert_eq!(client.post("/post", &body).await.unwrap().status, 503);
    let mut socket = Socket::connect(&gateway).await;
    send(&mut socket, &["a"]).await;
    assert_eq!(socket.end().await, UnexpectedEof);
    assert_eq!(client.post("/post", &body).await.unwrap().status, 200);
    let numbers: Vec<_> = gateway.journal().entries().iter().map(|e| e.number).collect();
    assert_eq!(numbers, [1, 2, 3]);
}
