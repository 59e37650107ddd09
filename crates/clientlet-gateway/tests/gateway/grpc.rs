//! Calls of the embedded gateway's gRPC, and its start and stop.

use std::io::{self, Write};
use std::time::Duration;

use clientlet_gateway::{DocArray, Gateway};
use flate2::Compression;
use flate2::write::{GzEncoder, ZlibEncoder};
use h2::Reason;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;
use tokio::time::{Instant, timeout};

use crate::common::Client;
use crate::common::Pipes;
use crate::common::grpc::{CALL, Call, Channel, DRY_RUN, SINGLE, start};
use crate::common::proto::{Struct, Value, v1, value};
use crate::common::websocket::{Socket, request};

async fn id(call: &mut Call) -> String {
    let message = call.message().await.unwrap().unwrap();
    v1::DataRequest::decode(message).unwrap().header.unwrap().request_id
}

fn slow(id: &str, seconds: f64) -> v1::DataRequest {
    let value = Value { kind: Some(value::Kind::Number(seconds)) };
    let mut request = request(id, "/slow");
    request.parameters = Some(Struct { fields: [("seconds".to_owned(), value)].into() });
    request
}

#[tokio::test]
async fn answers_come_as_they_are_ready_or_in_order() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    for (metadata, ids) in [
        (&[][..], ["b", "c", "a"]),
        (&[("__results_in_order__", "true")], ["a", "b", "c"]),
        // Only exactly `true` counts.
        (&[("__results_in_order__", "True")], ["b", "c", "a"]),
        (&[("__prefetch__", "1")], ["a", "b", "c"]),
        (&[("__prefetch__", "0")], ["b", "c", "a"]),
        (&[("__prefetch__", "abc")], ["b", "c", "a"]),
    ] {
        let mut call = channel.open_with(CALL, metadata).await.unwrap();
        call.send(&slow("a", 0.5));
        call.send(&request("b", "/"));
        call.send(&request("c", "/"));
        let found = [id(&mut call).await, id(&mut call).await, id(&mut call).await];
        assert_eq!(found, ids, "{metadata:?}");
        call.end();
        assert_eq!(call.status().await.unwrap().0, 0);
    }
    // No other request is read before the one in flight was answered.
    let before = gateway.journal().len();
    let mut call = channel.open_with(CALL, &[("__prefetch__", "2")]).await.unwrap();
    for name in ["a", "b", "c"] {
        call.send(&slow(name, 1.0));
    }
    gateway.journal().wait_for(before + 2).await;
    assert!(
        timeout(Duration::from_millis(30), gateway.journal().wait_for(before + 3)).await.is_err()
    );
    id(&mut call).await;
    gateway.journal().wait_for(before + 3).await;
}

#[tokio::test]
async fn an_executor_that_is_down_or_slow_ends_the_stream() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    for (code, switch) in [
        (14, &(|on| gateway.control().executor_down(on)) as &dyn Fn(bool)),
        (4, &|on| gateway.control().executor_slow(on)),
    ] {
        let mut call = channel.open(CALL).await;
        call.send(&request("answered", "/"));
        assert_eq!(id(&mut call).await, "answered");
        call.send(&slow("lost", 60.0));
        call.send(&request("fails", "/fail"));
        // An exception is an answer.
        assert_eq!(id(&mut call).await, "fails");
        switch(true);
        call.send(&request("last", "/"));
        // As from a real gateway, the failed request is first answered with its bare id.
        assert_eq!(id(&mut call).await, "last");
        assert_eq!(call.message().await.unwrap(), None);
        let (found, details) = call.status().await.unwrap();
        assert_eq!(found, code);
        assert!(details.contains("deployment executor0"), "{details}");
        switch(false);
        channel.unary(SINGLE, &request("again", "/").encode_to_vec()).await.unwrap();
    }
}

#[tokio::test]
async fn deadlines_are_kept() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let began = Instant::now();
    let mut call = channel.open_with(SINGLE, &[("grpc-timeout", "50m")]).await.unwrap();
    call.send(&slow("s", 60.0));
    call.end();
    assert_eq!(call.status().await.unwrap(), (4, "Deadline Exceeded".to_owned()));
    assert!(began.elapsed() < Duration::from_secs(10));
    let mut call = channel.open_with(SINGLE, &[("grpc-timeout", "10S")]).await.unwrap();
    call.send(&request("r", "/"));
    call.end();
    assert_eq!(call.status().await.unwrap().0, 0);
}

#[tokio::test]
async fn compressed_requests_are_taken() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let plain = request("r", "/").encode_to_vec();
    let mut gzip = GzEncoder::new(Vec::new(), Compression::fast());
    gzip.write_all(&plain).unwrap();
    let mut deflate = ZlibEncoder::new(Vec::new(), Compression::fast());
    deflate.write_all(&plain).unwrap();
    for (encoding, message) in
        [("gzip", gzip.finish().unwrap()), ("deflate", deflate.finish().unwrap())]
    {
        let mut call = channel.open_with(CALL, &[("grpc-encoding", encoding)]).await.unwrap();
        call.send_flagged(1, &message);
        call.send_flagged(0, &plain);
        assert_eq!((id(&mut call).await, id(&mut call).await), ("r".into(), "r".into()));
        call.send_flagged(1, b"broken");
        assert_eq!(call.status().await.unwrap().0, 13);
    }
    let mut call = channel.open_with(CALL, &[("grpc-encoding", "snappy")]).await.unwrap();
    assert_eq!(call.status().await.unwrap().0, 12);
}

#[tokio::test]
async fn messages_of_64_mb_pass_both_ways() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut large = request("r", "/");
    large.data.as_mut().unwrap().docs.as_mut().unwrap().docs[0].text = Some("x".repeat(64 << 20));
    let answer = channel.unary(SINGLE, &large.encode_to_vec()).await.unwrap();
    assert!(answer.len() > 64 << 20);
}

#[tokio::test]
async fn ten_thousand_requests_on_one_stream_and_a_thousand_streams() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open(CALL).await;
    for n in 0..10_000 {
        call.send(&request(&n.to_string(), "/"));
    }
    call.end();
    for n in 0..10_000 {
        assert_eq!(id(&mut call).await, n.to_string());
    }
    assert_eq!(call.status().await.unwrap().0, 0);
    let mut calls = Vec::new();
    for n in 0..1_000 {
        let mut call = channel.open(SINGLE).await;
        call.send(&request(&n.to_string(), "/"));
        call.end();
        calls.push(call);
    }
    for (n, mut call) in calls.into_iter().enumerate() {
        assert_eq!(id(&mut call).await, n.to_string());
    }
    let journal = gateway.journal();
    assert_eq!((journal.len(), journal.grpc_streams(), journal.connections()), (11_000, 1_001, 1));
}

#[tokio::test]
async fn a_unary_call_is_answered_when_its_request_has_ended() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    // h2 forgets these streams before the rest of their requests arrives, and there are more of
    // them than it tolerates.
    for n in 0..1_100 {
        let mut call = channel.open(SINGLE).await;
        call.send(&request(&n.to_string(), "/"));
        // The gateway has looked at the first request by the time the second is answered.
        channel.unary(SINGLE, &request("between", "/").encode_to_vec()).await.unwrap();
        call.end();
        assert_eq!((id(&mut call).await, call.status().await.unwrap().0), (n.to_string(), 0));
    }
    let mut call = channel.open(SINGLE).await;
    call.send(&request("first", "/"));
    call.send(&request("second", "/"));
    assert_eq!(call.status().await.unwrap().0, 13, "a unary request has one message");
    assert_eq!(gateway.journal().connections(), 1);
}

#[tokio::test]
async fn a_client_that_resets_its_stream_harms_nobody() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    for _ in 0..100 {
        let mut call = channel.open(CALL).await;
        call.send(&slow("s", 60.0));
        call.out.send_reset(Reason::CANCEL);
    }
    channel.unary(SINGLE, &request("r", "/").encode_to_vec()).await.unwrap();
    let began = Instant::now();
    gateway.stop().await;
    assert!(began.elapsed() < Duration::from_secs(4), "nothing is in flight any more");
}

#[tokio::test]
async fn what_is_no_grpc_is_refused() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut stream = TcpStream::connect(gateway.grpc_address()).await.unwrap();
    stream.write_all(b"GET / HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    let mut read = Vec::new();
    let _ = timeout(Duration::from_secs(5), stream.read_to_end(&mut read)).await.unwrap();
    assert!(!read.starts_with(b"HTTP"));
    assert!(gateway.journal().gets().is_empty());
}

#[tokio::test]
async fn one_port_serves_all_protocols() {
    let builder = Gateway::builder().docarray(DocArray::V1).one_port(true);
    let gateway = builder.clone().start().await.unwrap();
    let address = gateway.grpc_address();
    assert_eq!((gateway.http_address(), gateway.websocket_address()), (address, address));
    assert_eq!(gateway.grpc_url(), format!("grpc://{address}"));
    let mut client = Client::connect(&gateway).await;
    client.post("/post", &crate::common::request("h", "/")).await.unwrap();
    assert_eq!(client.get("/dry_run").await.unwrap().json()["code"], 0);
    let mut socket = Socket::connect(&gateway).await;
    socket.send(&request("w", "/")).await;
    assert_eq!(socket.frame().await.unwrap().id(), "w");
    let mut channel = Channel::connect(&gateway).await;
    channel.unary(SINGLE, &request("g", "/").encode_to_vec()).await.unwrap();
    let arrivals: Vec<_> = gateway.journal().arrivals().into_keys().collect();
    assert_eq!(arrivals, ["g", "h", "w"]);
    let journal = gateway.journal();
    assert_eq!((journal.connections(), journal.websocket_connections()), (3, 1));
    assert_eq!(journal.grpc_connections(), 1);
    // A client that is silent does not delay the end.
    let _silent = TcpStream::connect(address).await.unwrap();
    drop((client, socket, channel));
    timeout(Duration::from_secs(4), gateway.stop()).await.unwrap();
    let again = builder.one_port_address(address).start().await.unwrap();
    assert_eq!(again.http_address(), address);
}

#[tokio::test]
async fn stop_lets_running_requests_end() {
    let gateway = start(DocArray::V1, &["stall@1"]).await;
    let address = gateway.grpc_address();
    let mut channel = Channel::connect(&gateway).await;
    let mut stalled = channel.open(CALL).await;
    stalled.send(&request("stalled", "/"));
    let mut running = channel.open(CALL).await;
    running.send(&slow("slow", 0.05));
    let mut idle = channel.open(CALL).await;
    gateway.journal().wait_for(2).await;
    let stopping = tokio::spawn(gateway.stop());
    assert_eq!(id(&mut running).await, "slow");
    for call in [&mut stalled, &mut running, &mut idle] {
        assert_eq!(call.status().await.unwrap(), (14, "Server shutting down".to_owned()));
    }
    timeout(Duration::from_secs(4), stopping).await.unwrap().unwrap();
    channel.connection.await.unwrap().unwrap();
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn drop_ends_every_stream_and_connection() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open(CALL).await;
    call.send(&slow("s", 60.0));
    gateway.journal().wait_for(1).await;
    drop(gateway);
    timeout(Duration::from_secs(5), call.error()).await.unwrap();
    let _ = channel.connection.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn any_listener_and_simulated_time_will_do() {
    for builder in [Gateway::builder().http(false).grpc(true), Gateway::builder().one_port(true)] {
        let (connect, pipes) = mpsc::channel(1);
        let gateway = builder.serve(Pipes(pipes)).unwrap();
        let (client, server) = tokio::io::duplex(1 << 16);
        connect.send(server).await.unwrap();
        let mut channel = Channel::over(client).await;
        let began = Instant::now();
        channel.unary(SINGLE, &slow("s", 3600.0).encode_to_vec()).await.unwrap();
        assert_eq!(began.elapsed().as_secs(), 3600);
        assert!(channel.unary(DRY_RUN, b"").await.unwrap().is_empty());
        drop(gateway);
    }
    let (_connect, pipes) = mpsc::channel(1);
    let two = Gateway::builder().grpc(true).serve(Pipes(pipes)).unwrap_err();
    assert_eq!(two.kind(), io::ErrorKind::InvalidInput);
}
