//! WebSocket as gateways speak it: handshake, messages, order, ending.

use std::io::ErrorKind::UnexpectedEof;
use std::time::{Duration, Instant};

use clientlet_gateway::{DocArray, Gateway};
use prost::Message;
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::common::proto::{Struct, Value, v1, v2, value};
use crate::common::websocket::{
    BINARY, CLOSE, END_MARKER, PING, PONG, Socket, TEXT, empty_request, frame, request, start,
};
use crate::common::{Client, message};

/// A request to `/slow` that takes this many seconds.
fn slow(id: &str, seconds: f64) -> v1::DataRequest {
    let value = Value { kind: Some(value::Kind::Number(seconds)) };
    let parameters = Struct { fields: [("seconds".to_owned(), value)].into() };
    v1::DataRequest { parameters: Some(parameters), ..request(id, "/slow") }
}

#[tokio::test]
async fn an_upgrade_is_answered_without_a_subprotocol() {
    let gateway = start(DocArray::V1, &[]).await;
    for subprotocol in [Some("bytes"), Some("json"), None, Some("bytes, json")] {
        let stream = tokio::net::TcpStream::connect(gateway.websocket_address()).await.unwrap();
        let mut socket = Socket { stream, ahead: Vec::new() };
        let head = socket.upgrade("/", subprotocol).await.unwrap();
        let lines: Vec<_> = head.lines().filter(|line| !line.starts_with("date: ")).collect();
        assert_eq!(
            lines,
            [
                "HTTP/1.1 101 Switching Protocols",
                "upgrade: websocket",
                "connection: Upgrade",
                "sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=",
                "server: uvicorn",
                ""
            ]
        );
    }
}

#[tokio::test]
async fn what_is_no_handshake_is_refused() {
    let gateway = Gateway::builder().websocket(true).start().await.unwrap();
    for (address, path, headers, status, text) in [
        (gateway.websocket_address(), "/zzz", "", 403, ""),
        (gateway.websocket_address(), "/status", "", 403, ""),
        (gateway.http_address(), "/", "", 403, ""),
        (gateway.websocket_address(), "/", "sec-websocket-version: 8\r\n", 400, "invalid Sec-"),
    ] {
        let mut stream = tokio::net::TcpStream::connect(address).await.unwrap();
        let version = if headers.is_empty() { "sec-websocket-version: 13\r\n" } else { headers };
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: Upgrade\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{version}\r\n"
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        assert!(answer.contains("connection: close\r\n"), "{answer}");
        assert!(answer.split("\r\n\r\n").nth(1).unwrap().contains(text), "{answer}");
    }
    let answered: Vec<_> = gateway.journal().gets().iter().map(|get| get.answered).collect();
    assert_eq!(answered, [Some(403), Some(403), Some(403), Some(400)]);
    assert_eq!(gateway.journal().websocket_connections(), 0);
}

#[tokio::test]
async fn the_port_answers_a_few_gets_and_nothing_else() {
    let gateway = start(DocArray::V2, &[]).await;
    let mut client = Client::connect_to(gateway.websocket_address()).await;
    assert_eq!(client.get("/").await.unwrap().body, b"{}");
    assert_eq!(client.get("/status").await.unwrap().json()["jina"]["jina"], "3.33.1");
    assert_eq!(client.get("/dry_run").await.unwrap().json()["code"], 0);
    let openapi = client.get("/openapi.json").await.unwrap().json();
    assert_eq!(openapi["paths"].as_object().unwrap().len(), 3);
    assert_eq!(client.get("/upper").await.unwrap().status, 404);
    assert_eq!(client.post("/upper", &json!({"data": []})).await.unwrap().status, 404);
    let answer = client.post("/", &json!({"data": []})).await.unwrap();
    assert_eq!((answer.status, answer.headers["allow"].as_str()), (405, "GET"));
    // Unlike over HTTP, the dry run of documents v2 knows of a dead executor.
    gateway.control().executor_down(true);
    assert_eq!(client.get("/dry_run").await.unwrap().json()["code"], 1);
}

#[tokio::test]
async fn messages_sent_together_with_the_handshake_are_not_lost() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut client = Client::connect_to(gateway.websocket_address()).await;
    let headers = "upgrade: websocket\r\nconnection: Upgrade\r\nsec-websocket-version: 13\r\n\
                   sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\nsec-websocket-protocol: bytes\r\n";
    let mut bytes = message("GET", "/", headers, b"");
    // With spaces and line ends, so that it looks like the beginning of a request.
    let first = request("GET / \r\n", "/upper").encode_to_vec();
    bytes.extend_from_slice(&frame(0x82, &first));
    bytes.extend_from_slice(&frame(0x82, &request("b", "/upper").encode_to_vec()));
    bytes.extend_from_slice(&frame(0x82, END_MARKER));
    client.send(&bytes).await.unwrap();
    assert_eq!(client.head().await.unwrap().0, 101);
    let mut socket = client.into_socket();
    assert_eq!(socket.frame().await.unwrap().id(), "GET / \r\n");
    assert_eq!(socket.frame().await.unwrap().id(), "b");
    socket.is_closed(1000, "").await;
    assert_eq!(gateway.journal().arrivals().len(), 2);
}

#[tokio::test]
async fn requests_are_answered_as_they_are_ready_and_ids_come_back() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut socket = Socket::connect(&gateway).await;
    socket.send(&slow("slow", 0.1)).await;
    for id in ["a", "b", "b"] {
        socket.send(&request(id, "/upper")).await;
    }
    socket.send_frame(BINARY, END_MARKER).await.unwrap();
    // This request is never read.
    socket.send(&request("late", "/")).await;
    let mut ids = Vec::new();
    for _ in 0..4 {
        let answer = socket.frame().await.unwrap().answer();
        let [gateway, executor] = answer.routes.try_into().unwrap();
        assert_eq!((&*gateway.executor, &*executor.executor), ("gateway", "executor0"));
        assert!(gateway.start_time.unwrap().seconds > 1_700_000_000);
        assert!(executor.end_time.is_some() && executor.status.is_none());
        ids.push(answer.header.unwrap().request_id);
    }
    assert_eq!(ids, ["a", "b", "b", "slow"]);
    socket.is_closed(1000, "").await;
    assert_eq!(gateway.journal().len(), 4);
}

#[tokio::test]
async fn no_more_than_a_thousand_run_at_once() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut socket = Socket::connect(&gateway).await;
    let began = Instant::now();
    let mut bytes = Vec::new();
    for _ in 0..1500 {
        bytes.extend_from_slice(&frame(0x82, &slow("s", 0.3).encode_to_vec()));
    }
    socket.stream.write_all(&bytes).await.unwrap();
    gateway.journal().wait_for(1000).await;
    assert_eq!(gateway.journal().len(), 1000);
    for _ in 0..1500 {
        assert_eq!(socket.frame().await.unwrap().id(), "s");
    }
    assert!(began.elapsed() >= Duration::from_millis(600));
}

#[tokio::test]
async fn a_client_that_closes_loses_what_is_in_flight() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut socket = Socket::connect(&gateway).await;
    socket.send(&slow("s", 60.0)).await;
    gateway.journal().wait_for(1).await;
    socket.send_frame(CLOSE, &1000_u16.to_be_bytes()).await.unwrap();
    assert_eq!(socket.frame().await.unwrap().close(), (1000, ""));
    assert_eq!(socket.end().await, UnexpectedEof);
    assert_eq!(gateway.journal().entries()[0].answered, None);
}

#[tokio::test]
async fn dry_runs_tell_at_once_and_close() {
    let gateway = start(DocArray::V2, &[]).await;
    let mut socket = Socket::open(&gateway, "/dry_run", Some("bytes")).await.unwrap();
    let frame = socket.frame().await.unwrap();
    assert_eq!((frame.opcode, &*frame.content), (BINARY, &b""[..]));
    socket.is_closed(1000, "").await;
    let mut socket = Socket::open(&gateway, "/dry_run", None).await.unwrap();
    let frame = socket.frame().await.unwrap();
    assert_eq!((frame.opcode, &*frame.content), (TEXT, &b"{}"[..]));
    socket.is_closed(1000, "").await;
    gateway.control().executor_down(true);
    let mut socket = Socket::open(&gateway, "/dry_run", Some("bytes")).await.unwrap();
    socket.is_closed(1011, DOWN).await;
    assert_eq!(gateway.journal().connections(), 3);
    assert_eq!(gateway.journal().websocket_connections(), 0);
}

const DOWN: &str =
    "Network error while connecting to deployment at {'0.0.0.0:50000'}. It may be down.";

#[tokio::test]
async fn an_executor_that_is_down_or_slow_closes_the_connection() {
    for docarray in [DocArray::V1, DocArray::V2] {
        let gateway = start(docarray, &[]).await;
        gateway.control().executor_down(true);
        let mut socket = Socket::connect(&gateway).await;
        // No request is sent to an executor that does not bind the endpoint.
        socket.send(&empty_request("a", "/unbound")).await;
        assert_eq!(socket.frame().await.unwrap().id(), "a");
        socket.send(&empty_request("b", "/")).await;
        socket.is_closed(1011, DOWN).await;
        gateway.control().executor_down(false);
        gateway.control().executor_slow(true);
        let mut socket = Socket::connect(&gateway).await;
        socket.send(&empty_request("c", "/")).await;
        let reason = "Connection to deployment at {'0.0.0.0:50000'} timed out. You can adjust \
                      `timeout_send` attribute.";
        socket.is_closed(1011, reason).await;
        let answered: Vec<_> = gateway.journal().entries().iter().map(|e| e.answered).collect();
        assert_eq!(answered, [Some(200), None, None]);
    }
}

#[tokio::test]
async fn what_cannot_be_decoded_ends_the_connection_without_a_word() {
    let gateway = start(DocArray::V1, &[]).await;
    let bad_target = {
        let mut request = request("r", "/");
        request.header.as_mut().unwrap().target_executor = Some("(".into());
        request.encode_to_vec()
    };
    let cases: [(&str, u8, &[u8]); 11] = [
        ("bytes", BINARY, b""),
        ("bytes", BINARY, b"\x01"),
        ("bytes", BINARY, b"\x22\x02\x0a\x05"),
        ("bytes", BINARY, &bad_target),
        ("bytes", TEXT, b"{}"),
        ("json", BINARY, b"{}"),
        ("json", TEXT, b"{"),
        ("json", TEXT, br#"{"data": "x"}"#),
        ("json", TEXT, br#"{"execEndpoint": "/"}"#),
        ("json", TEXT, br#"{"data": null, "targetExecutor": "("}"#),
        ("json", TEXT, br#"{"data": ["x"]}"#),
    ];
    for (subprotocol, opcode, content) in cases {
        let mut socket = Socket::open(&gateway, "/", Some(subprotocol)).await.unwrap();
        socket.send_frame(opcode, content).await.unwrap();
        assert_eq!(socket.end().await, UnexpectedEof, "{content:?}");
        assert!(socket.ahead.is_empty(), "{content:?}");
    }
    // Other connections are not affected, and the journal shows the message.
    let entries = gateway.journal().entries();
    assert_eq!(entries.len(), cases.len());
    assert!(entries.iter().all(|entry| entry.answered.is_none() && entry.method == "WS"));
}

#[tokio::test]
async fn fragments_and_pings_are_taken() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut socket = Socket::connect(&gateway).await;
    let content = request("r", "/upper").encode_to_vec();
    let (one, two) = content.split_at(5);
    socket.stream.write_all(&frame(BINARY, one)).await.unwrap();
    socket.send_frame(PING, b"now").await.unwrap();
    socket.stream.write_all(&frame(0x80, two)).await.unwrap();
    let pong = socket.frame().await.unwrap();
    assert_eq!((pong.opcode, &*pong.content), (PONG, &b"now"[..]));
    assert_eq!(socket.frame().await.unwrap().id(), "r");
}

#[tokio::test]
async fn executors_fail_in_an_answer_and_the_connection_goes_on() {
    let gateway = start(DocArray::V2, &[]).await;
    let mut socket = Socket::connect(&gateway).await;
    let array = |kind: Option<&str>| {
        let array = v2::node::Content::Array(v2::Array::default());
        let node = v2::Node { content: Some(array), r#type: kind.map(String::from) };
        v2::DataRequest {
            header: request("r", "/").header,
            data: Some(v2::Data {
                docs: Some(v2::DocArray {
                    docs: vec![v2::Document { data: [("tensor".to_owned(), node)].into() }],
                }),
                ..v2::Data::default()
            }),
            ..v2::DataRequest::default()
        }
    };
    for (kind, message) in [
        (None, "key ndarray is not supported for deserialization"),
        (
            Some("torch_tensor"),
            "type torch_tensor, with key ndarray is not supported for deserialization",
        ),
    ] {
        let sent = array(kind);
        socket.send(&sent).await;
        let answer = v2::DataRequest::decode(&*socket.frame().await.unwrap().content).unwrap();
        let status = answer.header.unwrap().status.unwrap();
        assert_eq!((status.code, status.description), (1, format!("ValueError('{message}')")));
        assert_eq!(answer.routes[1].status.as_ref().unwrap().code, 1);
        assert_eq!(answer.data, sent.data);
    }
    socket.send(&array(Some("ndarray_embedding"))).await;
    let answer = v2::DataRequest::decode(&*socket.frame().await.unwrap().content).unwrap();
    assert_eq!(answer.header.unwrap().status, None);
    let document = &answer.data.unwrap().docs.unwrap().docs[0].data;
    assert_eq!(document["tensor"].r#type.as_deref(), Some("ndarray"));
    assert_eq!((document.len(), document["id"].r#type.as_deref()), (14, Some("id")));
}

#[tokio::test]
async fn crud_default_and_documents_as_bytes() {
    for docarray in [DocArray::V1, DocArray::V2] {
        let builder = Gateway::builder().docarray(docarray).http(false).websocket(true);
        let gateway = builder.with_default(true).start().await.unwrap();
        let mut socket = Socket::connect(&gateway).await;
        for (endpoint, tag) in [("/index", "crud"), ("/delete", "crud"), ("/zzz", "default")] {
            let mut sent = request("r", endpoint);
            // Another field is unknown to documents v2.
            sent.data.as_mut().unwrap().docs.as_mut().unwrap().docs[0].id.clear();
            socket.send(&sent).await;
            let content = socket.frame().await.unwrap().content;
            let tagged = match docarray {
                DocArray::V1 => {
                    let answer = v1::DataRequest::decode(&*content).unwrap();
                    let tags = answer.data.unwrap().docs.unwrap().docs[0].tags.clone().unwrap();
                    tags.fields[tag].kind == Some(value::Kind::Bool(true))
                }
                DocArray::V2 => {
                    let answer = v2::DataRequest::decode(&*content).unwrap();
                    let data = answer.data.unwrap().docs.unwrap().docs[0].data["tags"].clone();
                    let Some(v2::node::Content::Dictionary(tags)) = data.content else { panic!() };
                    tags.data[tag].content == Some(v2::node::Content::Boolean(true))
                }
            };
            assert!(tagged, "{docarray} {endpoint}");
        }
        let mut as_bytes = request("r", "/");
        as_bytes.data = Some(v1::Data {
            docs: None,
            docs_bytes: Some(v1::DocArray::default().encode_to_vec()),
        });
        socket.send(&as_bytes).await;
        // A pickle is never read.
        let code = socket.frame().await.unwrap().answer().header.unwrap().status.map(|s| s.code);
        assert_eq!(code, if docarray == DocArray::V1 { Some(1) } else { None });
    }
}

#[tokio::test]
async fn messages_of_64_mb_pass_both_ways() {
    for (documents, endpoint) in [(DocArray::V1, "/upper"), (DocArray::V2, "/unbound")] {
        let gateway = start(documents, &[]).await;
        let mut socket = Socket::connect(&gateway).await;
        let mut request = request("r", endpoint);
        let document = &mut request.data.as_mut().unwrap().docs.as_mut().unwrap().docs[0];
        if documents == DocArray::V2 {
            // Such a document is a map, and other fields are unknown but pass untouched.
            document.id.clear();
        }
        document.uri = "u".repeat(64 << 20);
        socket.send(&request).await;
        let answer = socket.frame().await.unwrap().answer();
        let document = &answer.data.unwrap().docs.unwrap().docs[0];
        assert_eq!(document.uri.len(), 64 << 20);
    }
}
