//! Streams of documents, by `stream_doc` and by server-sent events.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use clientlet_gateway::{DocArray, Fault, Gateway, StreamScript};
use h2::Reason;
use prost::Message;
use serde_json::Value;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::common::Client;
use crate::common::grpc::{Call, Channel, STREAM, Status};
use crate::common::proto::{Header, Route, v2};

/// A `jina.SingleDocumentRequestProto`.
#[derive(Clone, PartialEq, prost::Message)]
struct Single {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    #[prost(message, repeated, tag = "3")]
    routes: Vec<Route>,
    #[prost(message, optional, tag = "4")]
    document: Option<v2::Document>,
}

fn fixture(file: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures/current");
    fs::read(folder.join(file)).unwrap()
}

pub(crate) fn request(endpoint: &str) -> Vec<u8> {
    let mut request = Single::decode(&*fixture("stream_request.bin")).unwrap();
    request.header.as_mut().unwrap().exec_endpoint = Some(endpoint.into());
    request.encode_to_vec()
}

async fn start(faults: &[&str]) -> Gateway {
    let mut builder = Gateway::builder()
        .docarray(DocArray::V2)
        .grpc(true)
        .stream_endpoint("/endless", StreamScript::new(u64::MAX))
        .stream_endpoint("/long", StreamScript::new(1000).pause(Duration::from_millis(1)));
    for fault in faults {
        builder = builder.fault(fault.parse::<Fault>().unwrap());
    }
    builder.start().await.unwrap()
}

async fn open(gateway: &Gateway, endpoint: &str) -> (Channel, Call) {
    let mut channel = Channel::connect(gateway).await;
    let mut call = channel.open(STREAM).await;
    call.send_bytes(&request(endpoint));
    call.end();
    (channel, call)
}

/// All answers of an endpoint, and how the call ends.
async fn all(gateway: &Gateway, endpoint: &str) -> (Vec<Single>, Status) {
    let (_channel, mut call) = open(gateway, endpoint).await;
    let mut answers = Vec::new();
    while let Some(message) = call.message().await.unwrap() {
        answers.push(Single::decode(message).unwrap());
    }
    (answers, call.status().await.unwrap())
}

fn ok() -> Status {
    (0, String::new())
}

#[tokio::test]
async fn stream_doc_answers_as_a_real_gateway_does() {
    let gateway = start(&[]).await;
    let (answers, status) = all(&gateway, "/stream").await;
    assert_eq!((answers.len(), status), (3, ok()));
    for (n, mut answer) in answers.into_iter().enumerate() {
        let mut expected = Single::decode(&*fixture(&format!("stream_response_{n}.bin"))).unwrap();
        for message in [&mut answer, &mut expected] {
            let id = &mut message.header.as_mut().unwrap().request_id;
            assert_eq!(id.len(), 32);
            id.clear();
        }
        assert_eq!(answer, expected);
    }
    let (mut answers, status) = all(&gateway, "/upper").await;
    assert_eq!((answers.len(), status), (1, ok()));
    let mut expected = Single::decode(&*fixture("stream_not_generator.bin")).unwrap();
    for message in [&mut answers[0], &mut expected] {
        let raised = message.header.as_mut().unwrap().status.as_mut().unwrap();
        raised.exception.as_mut().unwrap().stacks.retain(|line| line.contains("Error"));
        message.routes[0].start_time.take().unwrap();
    }
    assert_eq!(answers[0], expected);

    // If the endpoint raises, the first documents repeat. If it is not bound, the document comes
    // back four times.
    let (answers, status) = all(&gateway, "/stream_fail").await;
    assert_eq!((answers.len(), status), (4, ok()));
    let (answers, status) = all(&gateway, "/zzz").await;
    assert_eq!((answers.len(), status), (4, ok()));
    let sent = Single::decode(&*request("/zzz")).unwrap();
    assert_eq!((&answers[3].header, &answers[3].document), (&sent.header, &sent.document));

    let entries = gateway.journal().entries();
    let streamed: Vec<_> = entries.iter().map(|entry| (entry.streamed, entry.answered)).collect();
    assert_eq!(streamed, [(3, Some(200)), (0, Some(200)), (4, Some(200)), (0, Some(200))]);
    assert_eq!(entries[0].endpoint.as_deref(), Some("/stream"));
    assert_eq!(entries[0].request_id.as_deref(), Some("req-stream"));
    assert_eq!(entries[0].document_ids, ["in"]);
    let mut channel = Channel::connect(&gateway).await;
    assert_eq!(channel.open(STREAM).await.status_of(b"\xff\xff").await.0, 2);
    gateway.control().executor_down(true);
    let (answers, (code, message)) = all(&gateway, "/stream").await;
    assert!(answers.is_empty() && code == 2 && message.contains("InternalNetworkError"));
}

#[tokio::test]
async fn a_stream_that_its_client_cancels_stops() {
    let gateway = start(&[]).await;
    let (_channel, mut call) = open(&gateway, "/endless").await;
    for _ in 0..100 {
        call.message().await.unwrap().unwrap();
    }
    call.out.send_reset(Reason::CANCEL);
    let patience = Duration::from_secs(5);
    timeout(patience, gateway.journal().wait_for_cancelled(1)).await.unwrap();
    let entry = &gateway.journal().entries()[0];
    assert!(entry.is_cancelled && entry.answered.is_none() && entry.streamed >= 100);
    let streamed = entry.streamed;
    tokio::task::yield_now().await;
    assert_eq!(gateway.journal().entries()[0].streamed, streamed);

    let mut socket = TcpStream::connect(gateway.http_address()).await.unwrap();
    socket.write_all(b"GET /long?text=x HTTP/1.1\r\nhost: gateway\r\n\r\n").await.unwrap();
    socket.read_exact(&mut [0; 200]).await.unwrap();
    drop(socket);
    timeout(patience, gateway.journal().wait_for_cancelled(2)).await.unwrap();
    assert!(gateway.journal().gets()[0].is_cancelled);
    // A stream that is read to its end is not cancelled.
    all(&gateway, "/stream").await;
    assert_eq!(gateway.journal().cancelled(), 2);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_waited_for() {
    let gateway = start(&[]).await;
    let (channel, call) = open(&gateway, "/endless").await;
    gateway.journal().wait_for(1).await;
    let streamed = async {
        let mut last = 0;
        loop {
            tokio::time::sleep(Duration::from_millis(50)).await;
            match gateway.journal().entries()[0].streamed {
                now if now == last && now > 0 => return now,
                now => last = now,
            }
        }
    };
    let streamed = timeout(Duration::from_secs(60), streamed).await.unwrap();
    assert!(streamed > 1000);
    drop((call, channel));
}

#[tokio::test]
async fn deadlines_and_outages_end_a_stream_in_the_middle() {
    let gateway = start(&[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open_with(STREAM, &[("grpc-timeout", "50m")]).await.unwrap();
    call.send_bytes(&request("/long"));
    call.end();
    assert_eq!(call.status().await.unwrap(), (4, "Deadline Exceeded".to_owned()));
    let (_channel, mut call) = open(&gateway, "/long").await;
    call.message().await.unwrap().unwrap();
    gateway.control().executor_down(true);
    assert_eq!(call.status().await.unwrap().0, 2);
}

#[tokio::test]
async fn faults_strike_the_stream_or_its_first_document() {
    let faults = [
        "grpc-status:14:busy@1",
        "reset-stream@2",
        "malformed@3",
        "truncated@4",
        "twice@5",
        "status:503@6",
    ];
    let gateway = start(&faults).await;
    assert_eq!(all(&gateway, "/stream").await.1, (14, "busy".to_owned()));
    let (_channel, mut call) = open(&gateway, "/stream").await;
    assert_eq!(call.error().await.reason(), Some(Reason::INTERNAL_ERROR));
    let (_channel, mut call) = open(&gateway, "/stream").await;
    assert!(Single::decode(call.message().await.unwrap().unwrap()).is_err());
    assert!(Single::decode(call.message().await.unwrap().unwrap()).is_ok());
    let (_channel, mut call) = open(&gateway, "/stream").await;
    assert_eq!(call.message().await.unwrap(), None);
    assert!(!call.ahead.is_empty());
    assert_eq!(all(&gateway, "/stream").await.0.len(), 4);
    let (_channel, mut call) = open(&gateway, "/stream").await;
    while call.read_more().await.unwrap() {}
    assert_eq!(call.code, 503);
}

/// Sends a GET. Returns status, head and body, which is `None` if it was cut off.
pub(crate) async fn get(
    gateway: &Gateway,
    target: &str,
    body: &str,
) -> (u16, String, Option<String>) {
    let mut socket = TcpStream::connect(gateway.http_address()).await.unwrap();
    let length = body.len();
    let request = format!(
        "GET {target} HTTP/1.1\r\nhost: gateway\r\naccept: text/event-stream\r\n\
         content-length: {length}\r\nconnection: close\r\n\r\n{body}"
    );
    socket.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    let _ = socket.read_to_end(&mut answer).await;
    let answer = String::from_utf8(answer).unwrap();
    let (head, rest) = answer.split_once("\r\n\r\n").unwrap();
    let status = head[9..12].parse().unwrap();
    if !head.contains("chunked") {
        return (status, head.to_owned(), Some(rest.to_owned()));
    }
    let (mut body, mut rest) = (String::new(), rest);
    loop {
        let Some((size, after)) = rest.split_once("\r\n") else {
            return (status, head.to_owned(), None);
        };
        let size = usize::from_str_radix(size, 16).unwrap();
        if size == 0 {
            return (status, head.to_owned(), Some(body));
        }
        let Some(chunk) = after.get(..size) else { return (status, head.to_owned(), None) };
        body.push_str(chunk);
        rest = &after[size + 2..];
    }
}

#[tokio::test]
async fn events_are_those_of_a_real_gateway() {
    let gateway = start(&[]).await;
    for (file, target, body) in [
        ("http_stream.txt", "/stream?id=in&text=hey", ""),
        ("http_stream.txt", "/stream", r#"{"id": "in", "text": "hey"}"#),
        ("http_stream_fail.txt", "/stream_fail?id=in&text=hey", ""),
    ] {
        let (status, head, events) = get(&gateway, target, body).await;
        assert_eq!((status, events.unwrap()), (200, String::from_utf8(fixture(file)).unwrap()));
        assert!(head.contains("content-type: text/event-stream; charset=utf-8"), "{head}");
        assert!(head.contains("cache-control: no-cache"), "{head}");
    }
    let (status, _, complaint) = get(&gateway, "/stream", r#"{"text": [1]}"#).await;
    let complaint: Value = serde_json::from_str(&complaint.unwrap()).unwrap();
    assert_eq!(
        (status, &complaint["detail"][0]["loc"]),
        (422, &serde_json::json!(["body", "text"]))
    );
    assert_eq!(get(&gateway, "/stream", "{").await.0, 422);
    assert_eq!(get(&gateway, "/stream", "[1]").await.0, 422);
    let gets = gateway.journal().gets();
    assert_eq!((gets[0].streamed, gets[0].answered), (3, Some(200)));
    assert_eq!((gets[2].streamed, gets[2].endpoint.as_deref()), (4, Some("/stream_fail")));
    let posted = Client::connect(&gateway).await.post("/stream", &serde_json::json!({})).await;
    let posted = posted.unwrap();
    assert_eq!((posted.status, posted.headers["allow"].as_str()), (405, "GET"));
    // A dead executor is a 200 whose body is cut.
    gateway.control().executor_down(true);
    let (status, _, events) = get(&gateway, "/stream?text=x", "").await;
    assert_eq!((status, events), (200, None));
    // Documents v1 have no streams.
    gateway.control().docarray(DocArray::V1);
    assert_eq!(get(&gateway, "/stream?text=x", "").await.0, 404);
}

#[tokio::test]
async fn faults_cut_events_in_the_middle() {
    let gateway = start(&[
        "malformed@1,path=/stream",
        "reset-mid@2,path=/stream",
        "status:503@3,path=/stream",
    ])
    .await;
    assert_eq!(get(&gateway, "/stream?text=x", "").await.2, None);
    assert_eq!(get(&gateway, "/stream?text=x", "").await.2, None);
    assert_eq!(get(&gateway, "/stream?text=x", "").await.0, 503);
    assert!(get(&gateway, "/stream?text=x", "").await.2.unwrap().ends_with("event: end\r\n\r\n"));
    assert_eq!(gateway.journal().cancelled(), 0);
}
