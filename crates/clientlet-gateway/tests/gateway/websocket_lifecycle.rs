//! WebSockets while a gateway starts, idles and stops, and in simulated time.

use std::io;
use std::io::ErrorKind::UnexpectedEof;
use std::time::Duration;

use clientlet_gateway::{DocArray, Gateway, GatewayBuilder};
use futures_util::{SinkExt, StreamExt};
use prost::Message as _;
use tokio::io::{AsyncWriteExt, DuplexStream};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::common::Client;
use crate::common::Pipes;
use crate::common::proto::{Struct, Value, value};
use crate::common::websocket::{
    BINARY, CLOSE, END_MARKER, PING, PONG, Socket, empty_request, frame, request, start,
};

#[tokio::test]
async fn a_gateway_serves_http_websocket_or_both() {
    let both = Gateway::builder().websocket(true).start().await.unwrap();
    assert_ne!(both.http_address().port(), both.websocket_address().port());
    assert_eq!(both.websocket_url(), format!("ws://{}", both.websocket_address()));
    Client::connect(&both).await.post("/post", &crate::common::request("h", "/")).await.unwrap();
    let mut socket = Socket::connect(&both).await;
    socket.send(&request("w", "/")).await;
    assert_eq!(socket.frame().await.unwrap().id(), "w");
    let arrivals: Vec<_> = both.journal().arrivals().into_keys().collect();
    assert_eq!(arrivals, ["h", "w"]);
    assert_eq!((both.journal().connections(), both.journal().websocket_connections()), (2, 1));

    // An address that is set is used.
    let address = both.websocket_address();
    drop(socket);
    both.stop().await;
    let builder = Gateway::builder().websocket_address(address);
    let again = builder.clone().start().await.unwrap();
    assert_eq!(again.websocket_address(), address);
    drop(again);
    let alone = Gateway::builder().http(false).websocket(true).bind("127.0.0.1:0").await.unwrap();
    Socket::connect(&alone).await;
    let nothing = Gateway::builder().http(false).start().await.unwrap_err();
    assert_eq!(nothing.kind(), io::ErrorKind::InvalidInput);
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    assert_eq!(builder.serve(listener).unwrap_err().kind(), io::ErrorKind::InvalidInput);
}

#[tokio::test]
async fn drop_ends_every_websocket_without_a_close_frame() {
    let gateway = start(DocArray::V1, &["stall@1"]).await;
    let mut idle = Socket::connect(&gateway).await;
    let mut stalled = Socket::connect(&gateway).await;
    stalled.send(&request("r", "/")).await;
    gateway.journal().wait_for(1).await;
    drop(gateway);
    for socket in [&mut idle, &mut stalled] {
        assert_eq!(socket.end().await, UnexpectedEof);
        assert!(socket.ahead.is_empty());
    }
}

#[tokio::test]
async fn stop_lets_running_requests_end_and_closes_with_1012() {
    let gateway = start(DocArray::V1, &["stall@1"]).await;
    let address = gateway.websocket_address();
    let mut idle = Socket::connect(&gateway).await;
    let mut running = Socket::connect(&gateway).await;
    running.send(&request("stalled", "/")).await;
    running.send(&slow("slow", 0.05)).await;
    gateway.journal().wait_for(2).await;
    let stopping = tokio::spawn(gateway.stop());
    assert_eq!(running.frame().await.unwrap().id(), "slow");
    running.is_closed(1012, "").await;
    idle.is_closed(1012, "").await;
    stopping.await.unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

fn slow(id: &str, seconds: f64) -> crate::common::proto::v1::DataRequest {
    let value = Value { kind: Some(value::Kind::Number(seconds)) };
    let mut request = request(id, "/slow");
    request.parameters = Some(Struct { fields: [("seconds".to_owned(), value)].into() });
    request
}

/// A gateway in memory, and a WebSocket to it.
async fn in_memory() -> (Gateway, Socket<DuplexStream>) {
    over_pipes(Gateway::builder()).await
}

async fn over_pipes(builder: GatewayBuilder) -> (Gateway, Socket<DuplexStream>) {
    let (connect, pipes) = mpsc::channel(1);
    let builder = builder.http(false).websocket(true);
    let gateway = builder.serve(Pipes(pipes)).unwrap();
    let (client, server) = tokio::io::duplex(1 << 16);
    connect.send(server).await.unwrap();
    let mut socket = Socket { stream: client, ahead: Vec::new() };
    let head = socket.upgrade("/", Some("bytes")).await.unwrap();
    assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
    (gateway, socket)
}

#[tokio::test(start_paused = true)]
async fn pings_come_every_20_s_and_keep_a_connection_that_answers() {
    let (gateway, mut socket) = in_memory().await;
    let began = Instant::now();
    for n in 1..=6 {
        let ping = socket.frame().await.unwrap();
        assert_eq!(ping.opcode, PING);
        assert_eq!(began.elapsed().as_secs(), 20 * n);
        socket.send_frame(PONG, &ping.content).await.unwrap();
    }
    socket.send(&slow("late", 10.0)).await;
    assert_eq!(socket.frame().await.unwrap().id(), "late");
    drop(gateway);
}

#[tokio::test(start_paused = true)]
async fn a_thousand_slow_requests_do_not_keep_pongs_from_being_read() {
    let (gateway, mut socket) = in_memory().await;
    let began = Instant::now();
    for _ in 0..1000 {
        socket.send(&slow("s", 100.0)).await;
    }
    for _ in 0..4 {
        let ping = socket.frame().await.unwrap();
        socket.send_frame(PONG, &ping.content).await.unwrap();
    }
    let mut answers = 0;
    while answers < 1000 {
        let frame = socket.frame().await.unwrap();
        if frame.opcode == PING {
            socket.send_frame(PONG, &frame.content).await.unwrap();
        } else {
            assert_eq!(frame.id(), "s");
            answers += 1;
        }
    }
    assert_eq!(began.elapsed().as_secs(), 100);
    drop(gateway);
}

#[tokio::test(start_paused = true)]
async fn a_ping_without_its_pong_closes_the_connection() {
    let (gateway, mut socket) = in_memory().await;
    let began = Instant::now();
    assert_eq!(socket.frame().await.unwrap().opcode, PING);
    // An unsolicited pong does not count.
    socket.send_frame(PONG, b"else").await.unwrap();
    let close = socket.frame().await.unwrap();
    assert_eq!(close.close(), (1011, "keepalive ping timeout"));
    assert_eq!(began.elapsed().as_secs(), 40);
    // The gateway waits for the client's close frame, but not for ever.
    assert_eq!(socket.end().await, UnexpectedEof);
    assert!(began.elapsed() <= Duration::from_secs(61));
    drop(gateway);
}

#[tokio::test(start_paused = true)]
async fn reorder_does_not_hold_for_ever() {
    let fault = "reorder@1-2".parse().unwrap();
    let (gateway, mut socket) = over_pipes(Gateway::builder().fault(fault)).await;
    let began = Instant::now();
    socket.send(&request("a", "/upper")).await;
    assert_eq!(socket.frame().await.unwrap().id(), "a");
    assert_eq!(began.elapsed().as_secs(), 1);
    // The end marker ends the session immediately.
    socket.send(&request("b", "/upper")).await;
    socket.send_frame(BINARY, END_MARKER).await.unwrap();
    assert_eq!(socket.frame().await.unwrap().id(), "b");
    assert_eq!(began.elapsed().as_secs(), 1);
    assert_eq!(socket.frame().await.unwrap().close(), (1000, ""));
    drop(gateway);
}

#[tokio::test]
async fn a_client_that_writes_all_before_it_reads_is_answered() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut socket = Socket::connect(&gateway).await;
    let mut large = request("r", "/");
    large.data.as_mut().unwrap().docs.as_mut().unwrap().docs[0].text = Some("x".repeat(1 << 20));
    for _ in 0..64 {
        socket.send(&large).await;
    }
    for _ in 0..64 {
        assert_eq!(socket.frame().await.unwrap().id(), "r");
    }
}

#[tokio::test]
async fn clients_that_vanish_harm_nobody() {
    let gateway = start(DocArray::V1, &[]).await;
    for _ in 0..20 {
        let mut socket = Socket::connect(&gateway).await;
        socket.send(&slow("s", 60.0)).await;
    }
    let mut half = Socket::connect(&gateway).await;
    let message = frame(0x82, &request("half", "/").encode_to_vec());

    half.stream.write_all(&message[..message.len() / 2]).await.unwrap();
    drop(half);
    let mut socket = Socket::connect(&gateway).await;
    socket.send(&request("r", "/")).await;
    assert_eq!(socket.frame().await.unwrap().id(), "r");
    socket.send_frame(CLOSE, b"").await.unwrap();
    assert_eq!(socket.frame().await.unwrap().opcode, CLOSE);
    assert_eq!(socket.end().await, UnexpectedEof);
}

#[tokio::test]
async fn another_implementation_gets_along_with_it() {
    for documents in [DocArray::V1, DocArray::V2] {
        let gateway = start(documents, &[]).await;
        let socket = Socket::connect(&gateway).await;
        // The handshake is the test's own, because the library insists on a subprotocol in the
        // answer.
        assert!(socket.ahead.is_empty());
        let Socket { stream, .. } = socket;
        let mut client = tokio_websockets::ClientBuilder::new().take_over(stream);
        for n in 0..200 {
            let request = empty_request(&n.to_string(), "/upper").encode_to_vec();
            client.feed(tokio_websockets::Message::binary(request)).await.unwrap();
        }
        client.send(tokio_websockets::Message::binary(&[0_u8][..])).await.unwrap();
        let mut answers = 0;
        let close = loop {
            let message = client.next().await.unwrap().unwrap();
            if let Some((code, reason)) = message.as_close() {
                break (u16::from(code), reason.to_owned());
            }
            answers += 1;
        };
        assert_eq!((answers, close), (200, (1000, String::new())));
        assert!(client.next().await.is_none());
    }
}
