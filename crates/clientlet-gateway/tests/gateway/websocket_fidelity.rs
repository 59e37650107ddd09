//! The WebSocket of the embedded gateway against captures of real ones: the same request gets the
//! same answer, except ids, times and stack traces.

#![allow(clippy::print_stdout, reason = "how much was compared is to be seen")]

use std::fs;
use std::path::PathBuf;

use clientlet_gateway::DocArray;
use serde_json::Value;

use crate::common::proto::{LEFT_OUT, read_v1, read_v2};
use crate::common::websocket::{Socket, TEXT, start};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures").join(name)
}

/// Sends every request of a folder, and compares the answers as `read` leaves them.
async fn compare<T: std::fmt::Debug + PartialEq>(
    name: &str,
    docarray: DocArray,
    read: impl Fn(&[u8]) -> T,
) {
    let gateway = start(docarray, &[]).await;
    let mut socket = Socket::connect(&gateway).await;
    let mut compared = 0;
    for file in fs::read_dir(folder(name)).unwrap() {
        let path = file.unwrap().path();
        let file = path.file_name().unwrap().to_str().unwrap();
        let Some(case) = file.strip_prefix("request_").and_then(|f| f.strip_suffix(".bin")) else {
            continue;
        };
        if LEFT_OUT.contains(&(name, case)) {
            continue;
        }
        socket.send_frame(2, &fs::read(&path).unwrap()).await.unwrap();
        let answer = socket.frame().await.unwrap();
        let expected = fs::read(path.with_file_name(format!("response_{case}.bin"))).unwrap();
        assert_eq!(read(&answer.content), read(&expected), "{name}/{case}");
        if case == "text" {
            // The second capture has only the first of the three documents.
            let expected = fs::read(folder(name).join("ws_response_text.bin")).unwrap();
            assert_ne!(read(&answer.content), read(&expected));
        }
        compared += 1;
    }
    println!("{name}: {compared} compared");
    assert_eq!(compared, 9 - LEFT_OUT.iter().filter(|(left_out, _)| *left_out == name).count());
}

#[tokio::test]
async fn v1_answers_as_3_14_1_does() {
    compare("seed-era", DocArray::V1, read_v1).await;
}

#[tokio::test]
async fn v1_answers_as_3_33_1_does() {
    compare("current-v1", DocArray::V1, read_v1).await;
}

#[tokio::test]
async fn v2_answers_as_3_33_1_does() {
    compare("current", DocArray::V2, read_v2).await;
}

#[tokio::test]
async fn json_answers_as_real_gateways_do() {
    for name in ["seed-era", "current-v1"] {
        let gateway = start(DocArray::V1, &[]).await;
        let mut socket = Socket::open(&gateway, "/", Some("json")).await.unwrap();
        for case in ["text", "fail", "rich"] {
            let fixture = fs::read(folder(name).join(format!("ws_json_{case}.json"))).unwrap();
            let mut fixture: Value = serde_json::from_slice(&fixture).unwrap();
            let sent = fixture["sent"].to_string();
            socket.send_frame(TEXT, sent.as_bytes()).await.unwrap();
            let frame = socket.frame().await.unwrap();
            assert_eq!(frame.opcode, TEXT);
            let mut answer: Value = serde_json::from_slice(&frame.content).unwrap();
            level_json(&mut answer);
            level_json(&mut fixture["received"]);
            assert_eq!(answer, fixture["received"], "{name}/{case}");
        }
        // A list is neither a request nor an error. The client's id is not used, but is in the
        // journal.
        socket.send_frame(TEXT, b"[]").await.unwrap();
        let skipped = br#"{"data": null, "exec_endpoint": "/zzz", "header": {"request_id": "r"}}"#;
        socket.send_frame(TEXT, skipped).await.unwrap();
        let answer = socket.frame().await.unwrap();
        let answer: Value = serde_json::from_slice(&answer.content).unwrap();
        assert_ne!(answer["header"]["request_id"], "r");
        assert!(answer["routes"][1].get("end_time").is_none());
        assert_eq!(gateway.journal().arrivals()["r"], 1);
        socket.send_frame(TEXT, b" {} ").await.unwrap();
        socket.is_closed(1000, "").await;
        assert_eq!(gateway.journal().len(), 4);
    }
}

#[tokio::test]
async fn json_of_documents_v2_is_not_spoken() {
    let gateway = start(DocArray::V2, &[]).await;
    let mut socket = Socket::open(&gateway, "/", Some("json")).await.unwrap();
    socket.send_frame(TEXT, b"{}").await.unwrap();
    socket.is_closed(1000, "").await;
    let mut socket = Socket::open(&gateway, "/", Some("json")).await.unwrap();
    socket.send_frame(TEXT, br#"{"data": null, "execEndpoint": "/upper"}"#).await.unwrap();
    assert_eq!(socket.end().await, std::io::ErrorKind::UnexpectedEof);
    assert!(socket.ahead.is_empty());
}

fn level_json(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match (key.as_str(), &field) {
                    ("request_id", Value::String(id)) if id.len() == 32 => *field = "id".into(),
                    ("start_time" | "end_time", Value::String(time)) => {
                        assert!(time.len() >= 20 && time.ends_with('Z'), "{time}");
                        *field = "time".into();
                    }
                    ("stacks", Value::Array(_)) => *field = "stacks".into(),
                    _ => level_json(field),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(level_json),
        _ => {}
    }
}
