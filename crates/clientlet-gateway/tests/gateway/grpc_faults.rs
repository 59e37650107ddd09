//! Every scripted fault of gRPC, as a client sees it.

use std::io::ErrorKind::ConnectionReset;
use std::time::Duration;

use clientlet_gateway::{DocArray, FaultKind, Gateway};
use h2::Reason;
use prost::Message;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};

use crate::common::grpc::{CALL, Call, Channel, DRY_RUN, SINGLE, STATUS, start};
use crate::common::proto::v1;
use crate::common::websocket::request;

async fn id(call: &mut Call) -> String {
    let message = call.message().await.unwrap().unwrap();
    v1::DataRequest::decode(message).unwrap().header.unwrap().request_id
}

/// A stream on which two requests are sent, and left open.
async fn two(faults: &[&str]) -> (Gateway, Channel, Call) {
    let gateway = start(DocArray::V1, faults).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open(CALL).await;
    call.send(&request("a", "/"));
    call.send(&request("b", "/"));
    (gateway, channel, call)
}

#[tokio::test]
async fn a_status_ends_the_call_with_its_pushback() {
    let faults = ["grpc-status:14:at {'h:1'}: caf\u{e9}@1,pushback=250", "grpc-status:99@2"];
    let gateway = start(DocArray::V1, &faults).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open(CALL).await;
    call.send(&request("a", "/"));
    let trailers = call.trailers().await.unwrap();
    assert_eq!(trailers["grpc-status"], "14");
    assert_eq!(trailers["grpc-message"], "at {'h:1'}: caf%C3%A9");
    assert_eq!(trailers["grpc-retry-pushback-ms"], "250");
    let request = request("b", "/").encode_to_vec();
    assert_eq!(channel.unary(SINGLE, &request).await.unwrap_err(), (99, String::new()));
    // The connection is still usable.
    channel.unary(SINGLE, &request).await.unwrap();
    let entries = gateway.journal().entries();
    let answered: Vec<_> = entries.iter().map(|entry| entry.answered).collect();
    assert_eq!(answered, [None, None, Some(200)]);
    let streams: Vec<_> = entries.iter().map(|entry| (entry.connection, entry.stream)).collect();
    assert_eq!(streams, [(1, Some(1)), (1, Some(2)), (1, Some(3))]);
    assert_eq!((entries[0].method.as_str(), entries[0].path.as_str()), ("GRPC", CALL));
    assert_eq!(entries[0].request_id.as_deref(), Some("a"));
    assert_eq!(
        (entries[0].document_count, &entries[0].document_ids[..]),
        (1, &["d0".to_owned()][..])
    );
}

#[tokio::test]
async fn a_status_in_the_middle_comes_behind_what_was_answered() {
    let (_gateway, _channel, mut call) = two(&["grpc-status:4:late@2"]).await;
    assert_eq!(id(&mut call).await, "a");
    assert_eq!(call.message().await.unwrap(), None);
    assert_eq!(call.status().await.unwrap(), (4, "late".to_owned()));
}

#[tokio::test]
async fn streams_are_reset_with_a_code_and_others_go_on() {
    for (fault, reason) in [
        ("reset-stream@2", Reason::INTERNAL_ERROR),
        ("reset-stream:8@2", Reason::CANCEL),
        // The first message of the stream was processed.
        ("reset-stream:7@2", Reason::INTERNAL_ERROR),
    ] {
        let (_gateway, mut channel, mut call) = two(&[fault]).await;
        let error = call.error().await;
        assert!(error.is_reset() && error.is_remote(), "{error}");
        assert_eq!(error.reason(), Some(reason));
        channel.unary(SINGLE, &request("c", "/").encode_to_vec()).await.unwrap();
    }
}

#[tokio::test]
async fn a_refused_stream_was_not_looked_at() {
    let gateway = start(DocArray::V1, &["reset-stream:7@1"]).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open(CALL).await;
    call.send(&request("a", "/"));
    let error = call.error().await;
    assert_eq!((error.is_remote(), error.reason()), (true, Some(Reason::REFUSED_STREAM)));
    assert_eq!((gateway.journal().len(), gateway.journal().refused()), (0, 1));
    channel.unary(SINGLE, &request("b", "/").encode_to_vec()).await.unwrap();
}

#[tokio::test]
async fn goaway_lets_streams_go_on_or_ends_the_connection() {
    let (_gateway, mut channel, mut call) = two(&["goaway@1"]).await;
    assert_eq!((id(&mut call).await, id(&mut call).await), ("a".into(), "b".into()));
    // The GOAWAY arrives with the next ping at the latest. After it no stream is opened.
    let refused = timeout(Duration::from_secs(5), async {
        loop {
            match channel.open_with(DRY_RUN, &[]).await {
                Ok(mut call) => {
                    call.end();
                    if let Err(error) = call.status().await {
                        return error;
                    }
                }
                Err(error) => return error,
            }
        }
    });
    let refused = refused.await.unwrap();
    assert!(refused.reason().is_none_or(|r| r == Reason::NO_ERROR || r == Reason::REFUSED_STREAM));
    // The open stream is still served.
    call.send(&request("c", "/"));
    assert_eq!(id(&mut call).await, "c");
    call.end();
    assert_eq!(call.status().await.unwrap().0, 0);
    channel.connection.await.unwrap().unwrap();

    let (_gateway, channel, mut call) = two(&["goaway:11@2"]).await;
    call.error().await;
    let error = channel.connection.await.unwrap().unwrap_err();
    assert!(error.is_go_away(), "{error}");
    assert_eq!(error.reason(), Some(Reason::ENHANCE_YOUR_CALM));
}

/// Whether a request was not processed because a GOAWAY named an earlier stream as the last one.
async fn is_above_the_last(call: &mut Call, reason: Reason) -> bool {
    let error = call.error().await;
    error.is_go_away() && error.is_remote() && error.reason() == Some(reason)
}

#[tokio::test]
async fn goaway_after_leaves_what_is_above_unheard_and_answers_what_is_below() {
    for (fault, reason) in
        [("goaway-after@3", Reason::NO_ERROR), ("goaway-after:11@3", Reason::ENHANCE_YOUR_CALM)]
    {
        let gateway = start(DocArray::V1, &["slow:0.2@1", fault]).await;
        let mut channel = Channel::connect(&gateway).await;
        let mut calls = Vec::new();
        for name in ["a", "b", "c", "d", "e"] {
            let mut call = channel.open(SINGLE).await;
            call.send(&request(name, "/"));
            call.end();
            calls.push(call);
        }
        let [a, b, above @ ..] = &mut calls[..] else { unreachable!() };
        for call in above {
            assert!(is_above_the_last(call, reason).await);
        }
        for (call, name) in [(b, "b"), (a, "a")] {
            assert!(call.message().await.unwrap().is_some(), "{name}");
            assert_eq!(call.status().await.unwrap().0, 0, "{name}");
        }
        // The client's library sees a regular end, and closes the connection after the last stream.
        let end = timeout(Duration::from_secs(5), channel.connection).await.unwrap().unwrap();
        assert_eq!(end.err().and_then(|error| error.reason()).unwrap_or(reason), reason);
        let arrived: Vec<_> = gateway.journal().arrivals().into_iter().collect();
        assert_eq!(arrived, [("a".to_owned(), 1), ("b".to_owned(), 1)]);
        assert_eq!(gateway.journal().refused(), 1);
    }
}

#[tokio::test]
async fn goaway_after_lets_a_stream_go_on_that_was_looked_at() {
    let (gateway, mut channel, mut call) = two(&["goaway-after@2"]).await;
    assert_eq!((id(&mut call).await, id(&mut call).await), ("a".into(), "b".into()));
    let left = async {
        while let Ok(mut other) = channel.open_with(SINGLE, &[]).await {
            other.send(&request("x", "/"));
            if is_above_the_last(&mut other, Reason::NO_ERROR).await {
                return;
            }
        }
    };
    timeout(Duration::from_secs(5), left).await.unwrap();
    call.send(&request("c", "/"));
    assert_eq!(id(&mut call).await, "c");
    call.end();
    assert_eq!(call.status().await.unwrap().0, 0);
    channel.connection.await.unwrap().unwrap();
    assert_eq!((gateway.journal().len(), gateway.journal().refused()), (3, 0));
}

#[tokio::test]
async fn a_connection_is_left_once_however_many_faults_say_so() {
    // A second GOAWAY with a higher last stream would violate the protocol.
    for (faults, refused) in [
        (["goaway-after@1", "goaway-after@2"], 1),
        (["goaway-after@1", "goaway@2"], 1),
        (["goaway@1", "goaway-after@2"], 0),
    ] {
        let gateway = start(DocArray::V1, &faults).await;
        let mut channel = Channel::connect(&gateway).await;
        let mut below = channel.open(CALL).await;
        let mut above = channel.open(CALL).await;
        above.send(&request("a", "/"));
        match refused {
            0 => assert_eq!(id(&mut above).await, "a"),
            _ => assert!(is_above_the_last(&mut above, Reason::NO_ERROR).await),
        }
        for name in ["b", "c"] {
            below.send(&request(name, "/"));
            assert_eq!(id(&mut below).await, name, "{faults:?}");
        }
        below.end();
        assert_eq!(below.status().await.unwrap().0, 0);
        drop(above);
        timeout(Duration::from_secs(5), channel.connection).await.unwrap().unwrap().unwrap();
        assert_eq!(gateway.journal().refused(), refused);
    }
}

#[tokio::test]
async fn half_close_ends_the_call_as_if_all_were_well() {
    let (_gateway, mut channel, mut call) = two(&["half-close@1"]).await;
    assert_eq!(call.message().await.unwrap(), None);
    assert_eq!(call.status().await.unwrap(), (0, String::new()));
    channel.unary(SINGLE, &request("c", "/").encode_to_vec()).await.unwrap();
}

#[tokio::test]
async fn connections_end_by_fin_or_reset() {
    let table = [
        ("drop@1", 1, 0),
        ("reset-after@1", 1, 0),
        ("reset-mid@1", 1, 0),
        ("reset-before@1", 0, 1),
        ("refuse@1", 0, 1),
    ];
    for (fault, arrived, refused) in table {
        let gateway = start(DocArray::V1, &[fault]).await;
        // What HTTP/2 looks like to a socket: preface, settings, headers and data, copied from a client.
        let (mut socket, bytes) = recorded(&gateway).await;
        let _ = socket.write_all(&bytes).await;
        let mut read = Vec::new();
        let end = timeout(Duration::from_secs(5), socket.read_to_end(&mut read)).await.unwrap();
        match fault {
            "drop@1" => assert!(end.is_ok(), "{end:?}"),
            _ => assert_eq!(end.unwrap_err().kind(), ConnectionReset, "{fault}"),
        }
        let answer = read.windows(4).any(|window| window == b"\x1a\x01/\x22");
        assert_eq!(answer, fault == "reset-mid@1", "{fault}: {read:?}");
        assert_eq!(gateway.journal().len(), arrived, "{fault}");
        assert_eq!(gateway.journal().refused(), refused, "{fault}");
    }
}

/// A socket, and what a client sends on it for one request.
async fn recorded(gateway: &Gateway) -> (TcpStream, Vec<u8>) {
    let (near, mut far) = tokio::io::duplex(1 << 16);
    let sending = tokio::spawn(async move {
        let mut channel = Channel::over(near).await;
        let mut call = channel.open(CALL).await;
        call.send(&request("a", "/"));
        (channel, call)
    });
    let _open = sending.await.unwrap();
    let mut bytes = vec![0; 1 << 16];
    let mut length = 0;
    // A paused clock advances when no task has more to write.
    tokio::time::pause();
    while let Ok(read) = timeout(Duration::from_millis(20), far.read(&mut bytes[length..])).await {
        length += read.unwrap();
    }
    tokio::time::resume();
    bytes.truncate(length);
    (TcpStream::connect(gateway.grpc_address()).await.unwrap(), bytes)
}

#[tokio::test]
async fn half_open_answers_no_ping() {
    let gateway = start(DocArray::V1, &["half-open@2"]).await;
    let stream = TcpStream::connect(gateway.grpc_address()).await.unwrap();
    let (requests, mut connection) =
        h2::client::Builder::new().handshake::<_, bytes::Bytes>(stream).await.unwrap();
    let mut pings = connection.ping_pong().unwrap();
    let mut channel = Channel::of(requests, connection);
    channel.unary(SINGLE, &request("a", "/").encode_to_vec()).await.unwrap();
    pings.ping(h2::Ping::opaque()).await.unwrap();
    let mut call = channel.open(SINGLE).await;
    call.send(&request("b", "/"));
    gateway.journal().wait_for(2).await;
    let silent = timeout(Duration::from_millis(50), pings.ping(h2::Ping::opaque())).await;
    assert!(silent.is_err());
    assert!(timeout(Duration::from_millis(20), call.message()).await.is_err());
}

#[tokio::test]
async fn stall_leaves_one_message_and_answers_the_others() {
    let (gateway, mut channel, mut call) = two(&["stall@1"]).await;
    assert_eq!(id(&mut call).await, "b");
    call.end();
    assert!(timeout(Duration::from_millis(30), call.message()).await.is_err());
    channel.unary(SINGLE, &request("c", "/").encode_to_vec()).await.unwrap();
    assert_eq!(gateway.journal().entries()[0].fault, Some(FaultKind::Stall));
    // In order, no answer overtakes it.
    let gateway = start(DocArray::V1, &["stall@1"]).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open_with(CALL, &[("__results_in_order__", "true")]).await.unwrap();
    call.send(&request("a", "/"));
    call.send(&request("b", "/"));
    gateway.journal().wait_for(2).await;
    assert!(timeout(Duration::from_millis(30), call.message()).await.is_err());
}

#[tokio::test]
async fn slow_twice_reorder_and_unknown_id_as_they_say() {
    let (_gateway, _channel, mut call) = two(&["slow:0.5@1"]).await;
    let began = Instant::now();
    assert_eq!((id(&mut call).await, id(&mut call).await), ("b".into(), "a".into()));
    assert!(began.elapsed() >= Duration::from_millis(450));

    let (_gateway, _channel, mut call) = two(&["twice@1"]).await;
    let ids = [id(&mut call).await, id(&mut call).await, id(&mut call).await];
    assert_eq!(ids, ["a", "a", "b"]);

    let (_gateway, _channel, mut call) = two(&["reorder@1"]).await;
    assert_eq!((id(&mut call).await, id(&mut call).await), ("b".into(), "a".into()));
    // No answer follows the last one.
    let (_gateway, _channel, mut call) = two(&["reorder@2"]).await;
    call.end();
    assert_eq!((id(&mut call).await, id(&mut call).await), ("a".into(), "b".into()));
    assert_eq!(call.status().await.unwrap().0, 0);

    let (gateway, _channel, mut call) = two(&["unknown-id@1"]).await;
    let unknown = id(&mut call).await;
    assert!(unknown.len() == 32 && id(&mut call).await == "b");
    assert_eq!(gateway.journal().arrivals()["a"], 1);
}

#[tokio::test]
async fn answers_that_are_no_answers() {
    let (_gateway, _channel, mut call) = two(&["malformed@1"]).await;
    let message = call.message().await.unwrap().unwrap();
    assert!(v1::DataRequest::decode(message).is_err());
    assert_eq!(id(&mut call).await, "b");

    let (_gateway, _channel, mut call) = two(&["oversize:5000000@1"]).await;
    assert_eq!(call.message().await.unwrap().unwrap().len(), 5_000_000);
    assert_eq!(id(&mut call).await, "b");

    // Half of a message, then the status OK.
    let (_gateway, _channel, mut call) = two(&["truncated@2"]).await;
    assert_eq!(id(&mut call).await, "a");
    assert_eq!(call.message().await.unwrap(), None);
    assert!(call.ahead.len() > 5 && call.status().await.unwrap().0 == 0);

    let (_gateway, _channel, mut call) = two(&["wrong-type@1"]).await;
    while call.read_more().await.unwrap() {}
    assert_eq!(
        (call.code, &call.head["content-type"]),
        (200, &"text/plain; charset=utf-8".parse().unwrap())
    );
    let (_gateway, _channel, mut call) = two(&["wrong-type@2"]).await;
    assert_eq!(id(&mut call).await, "a");
    while call.ahead.is_empty() {
        assert!(call.read_more().await.unwrap());
    }
    assert_eq!(call.ahead[0], 0xff);

    let (_gateway, _channel, mut call) = two(&["status:503:7@1"]).await;
    while call.read_more().await.unwrap() {}
    assert_eq!((call.code, &call.head["retry-after"]), (503, &"7".parse().unwrap()));
    assert!(call.head.get("grpc-status").is_none());
}

#[tokio::test]
async fn calls_without_data_are_struck_by_their_path() {
    let gateway = start(
        DocArray::V1,
        &["grpc-status:14@1-2,path=/jina.JinaInfoRPC/_status", "grpc-status:13@1", "close:1000@/1"],
    )
    .await;
    let mut channel = Channel::connect(&gateway).await;
    channel.unary(DRY_RUN, b"").await.unwrap();
    assert_eq!(channel.unary(STATUS, b"").await.unwrap_err().0, 14);
    assert_eq!(channel.unary(STATUS, b"").await.unwrap_err().0, 14);
    channel.unary(STATUS, b"").await.unwrap();
    let request = request("a", "/").encode_to_vec();
    assert_eq!(channel.unary(SINGLE, &request).await.unwrap_err().0, 13);
    channel.unary(SINGLE, &request).await.unwrap();
    let gets = gateway.journal().gets();
    let answered: Vec<_> = gets.iter().map(|get| (get.path.as_str(), get.answered)).collect();
    assert_eq!(answered[..2], [(DRY_RUN, Some(200)), (STATUS, None)]);
    assert_eq!((gateway.journal().len(), gateway.journal().grpc_streams()), (2, 2));
}
