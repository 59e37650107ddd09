//! The gRPC of the embedded gateway against captures of real ones: the same request gets the same
//! answer, except ids, times and stack traces.

#![allow(clippy::print_stdout, reason = "how much was compared is to be seen")]

use std::fs;
use std::path::PathBuf;

use clientlet_gateway::DocArray;
use prost::Message;
use serde_json::Value;

use crate::common::grpc::{
    CALL, Channel, DRY_RUN, ENDPOINTS, HEALTH, REFLECTION, SINGLE, STATUS, STREAM, start,
};
use crate::common::proto::{Header, LEFT_OUT, read_v1, read_v2, v2};

fn folder(name: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures").join(name)
}

fn fixture(name: &str, file: &str) -> Vec<u8> {
    fs::read(folder(name).join(file)).unwrap()
}

fn generation(name: &str) -> DocArray {
    if name == "current" { DocArray::V2 } else { DocArray::V1 }
}

/// Sends every request of a folder on a stream and by itself, and compares the answers as `read` leaves
/// them.
async fn compare<T: std::fmt::Debug + PartialEq>(name: &str, read: impl Fn(&[u8]) -> T) {
    let gateway = start(generation(name), &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let mut call = channel.open(CALL).await;
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
        let request = fs::read(&path).unwrap();
        let expected = read(&fixture(name, &format!("response_{case}.bin")));
        call.send_bytes(&request);
        let answer = call.message().await.unwrap().unwrap();
        assert_eq!(read(&answer), expected, "{name}/{case}");
        let answer = channel.unary(SINGLE, &request).await.unwrap();
        assert_eq!(read(&answer), expected, "{name}/{case}");
        compared += 1;
    }
    call.end();
    assert_eq!(call.status().await.unwrap(), (0, String::new()));
    assert_eq!(call.head["content-type"], "application/grpc");
    println!("{name}: {compared} compared");
    assert_eq!(compared, 9 - LEFT_OUT.iter().filter(|(left_out, _)| *left_out == name).count());
    let journal = gateway.journal();
    assert_eq!((journal.grpc_connections(), journal.grpc_streams()), (1, 1 + compared as u64));
}

#[tokio::test]
async fn v1_answers_as_3_14_1_does() {
    compare("seed-era", read_v1).await;
}

#[tokio::test]
async fn v1_answers_as_3_33_1_does() {
    compare("current-v1", read_v1).await;
}

#[tokio::test]
async fn v2_answers_as_3_33_1_does() {
    compare("current", read_v2).await;
}

/// The nodes that were sent to a real gateway, and what came back: `interop/fixtures/nodes.py`.
#[derive(serde::Deserialize)]
struct Recorded {
    field: String,
    node: String,
    back: Option<String>,
    failure: Option<String>,
}

fn node(hex: &str) -> v2::Node {
    let byte = |at| u8::from_str_radix(&hex[at..at + 2], 16).unwrap();
    let bytes: Vec<u8> = (0..hex.len()).step_by(2).map(byte).collect();
    v2::Node::decode(bytes.as_slice()).unwrap()
}

#[tokio::test]
async fn every_kind_of_node_in_every_field_is_taken_or_refused_as_3_33_1_does() {
    let gateway = start(DocArray::V2, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    let recorded: Vec<Recorded> =
        serde_json::from_slice(&fixture("current", "nodes.json")).unwrap();
    let mut faults = Vec::new();
    for Recorded { field, node: sent, back, failure } in &recorded {
        let mut document = v2::Document::default();
        document.data.insert(
            "id".into(),
            v2::Node {
                content: Some(v2::node::Content::Text("x".into())),
                r#type: Some("id".into()),
            },
        );
        document.data.insert(field.clone(), node(sent));
        let docs = Some(v2::DocArray { docs: vec![document] });
        let header =
            Header { request_id: "r".into(), exec_endpoint: Some("/".into()), ..Header::default() };
        let request = v2::DataRequest {
            header: Some(header),
            data: Some(v2::Data { docs, ..v2::Data::default() }),
            ..v2::DataRequest::default()
        };
        let answer = channel.unary(SINGLE, &request.encode_to_vec()).await.unwrap();
        let mut answer = v2::DataRequest::decode(&answer[..]).unwrap();
        let status = answer.header.unwrap().status.unwrap_or_default();
        let what = format!("{field}: {:?}", node(sent));
        match (failure, status.code) {
            (Some(failure), 1) => {
                if status.description != *failure {
                    faults.push(format!("{what}: {} for {failure}", status.description));
                }
            }
            (None, 0) => {
                let data = answer.data.take().and_then(|data| data.docs).unwrap();
                let found = data.docs[0].data.get(field).cloned().unwrap_or_default();
                let expected = node(back.as_deref().unwrap_or_default());
                if found != expected {
                    faults.push(format!("{what}: {found:?} for {expected:?}"));
                }
            }
            _ => faults.push(format!("{what}: {status:?}, expected {failure:?}")),
        }
    }
    assert!(faults.is_empty(), "{} of {}:\n{}", faults.len(), recorded.len(), faults.join("\n"));
}

#[tokio::test]
async fn errors_are_those_of_real_gateways() {
    for name in ["seed-era", "current-v1", "current"] {
        let errors: Value = serde_json::from_slice(&fixture(name, "errors.json")).unwrap();
        let gateway = start(generation(name), &[]).await;
        let mut channel = Channel::connect(&gateway).await;
        let request = fixture(name, "request_text.bin");
        let mut found = Vec::new();
        let garbage = channel.unary(SINGLE, b"\xff\xff\xffgarbage").await;
        found.push(("grpc_garbage", garbage.unwrap_err()));
        let unknown = channel.unary("/jina.JinaRPC/Nope", b"").await;
        found.push(("grpc_unknown_method", unknown.unwrap_err()));
        gateway.control().executor_slow(true);
        let slow = channel.unary(SINGLE, &request).await;
        found.push(("grpc_timeout_send", slow.unwrap_err()));
        gateway.control().executor_slow(false);
        gateway.control().executor_down(true);
        let down = channel.unary(SINGLE, &request).await;
        found.push(("grpc_executor_down", down.unwrap_err()));
        for (case, (code, message)) in found {
            assert_eq!(errors[case]["number"], code, "{name}/{case}");
            let details = errors[case]["details"].as_str().unwrap();
            // Texts that differ between releases of Python libraries.
            let told = |text: &str| match case {
                "grpc_garbage" => text.split(": ").next().unwrap().to_owned(),
                "grpc_executor_down" => text.split('|').nth(1).unwrap().to_owned(),
                _ => text.to_owned(),
            };
            assert_eq!(told(&message), told(details), "{name}/{case}");
        }
        let dry_run = channel.unary(DRY_RUN, b"").await.unwrap();
        let (found, expected) = (status(&dry_run), status(&fixture(name, "status_error.bin")));
        assert_eq!((found.code, expected.code), (1, 1));
        let name = |status: crate::common::proto::Status| status.exception.unwrap().name;
        assert_eq!(name(found), name(expected));
        gateway.control().executor_down(false);
        assert!(channel.unary(DRY_RUN, b"").await.unwrap().is_empty());
    }
}

fn status(bytes: &[u8]) -> crate::common::proto::Status {
    crate::common::proto::Status::decode(bytes).unwrap()
}

#[tokio::test]
async fn requests_without_bytes_or_header_are_taken_as_real_gateways_take_them() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut channel = Channel::connect(&gateway).await;
    assert_eq!(channel.unary(SINGLE, b"").await.unwrap_err().0, 2);
    let answer = channel.unary(SINGLE, &[0x12, 0]).await.unwrap();
    assert_eq!(read_v1(&answer).header.unwrap().request_id, "");
    // A target that is no regular expression.
    assert_eq!(channel.unary(SINGLE, b"\x0a\x03\x22\x01(").await.unwrap_err().0, 2);
    let mut nothing = channel.open(CALL).await;
    nothing.end();
    assert_eq!(nothing.status().await.unwrap(), (0, String::new()));
    let mut nothing = channel.open(SINGLE).await;
    nothing.end();
    assert_eq!(nothing.status().await.unwrap().0, 13);
}

#[tokio::test]
async fn services_are_those_of_each_release() {
    for (documents, info, has_newer) in
        [(DocArray::V1, "3.14.1", false), (DocArray::V2, "3.33.1", true)]
    {
        let gateway = start(documents, &[]).await;
        let mut channel = Channel::connect(&gateway).await;
        let status = channel.unary(STATUS, b"").await.unwrap();
        assert!(String::from_utf8_lossy(&status).contains(info));
        let endpoints = channel.unary(ENDPOINTS, b"").await;
        let streamed = channel.open(STREAM).await.status_of(b"\x22\x00").await;
        if has_newer {
            let endpoints = Endpoints::decode(endpoints.unwrap()).unwrap().endpoints;
            assert!(endpoints.iter().any(|endpoint| endpoint == "/upper"), "{endpoints:?}");
            assert!(endpoints.is_sorted());
        } else {
            let missing = (12, "Method not found!".to_owned());
            assert_eq!(endpoints.unwrap_err(), missing);
            assert_eq!(streamed, missing);
        }
        let missing = channel.unary("/jina.JinaDataRequestRPC/process_data", b"").await;
        assert_eq!(missing.unwrap_err().0, 12);
        assert_eq!(channel.unary(HEALTH, b"").await.unwrap(), &[8, 1][..]);
        assert_eq!(channel.unary(HEALTH, b"\x0a\x0cjina.JinaRPC").await.unwrap(), &[8, 1][..]);
        assert_eq!(channel.unary(HEALTH, b"\x0a\x03foo").await.unwrap_err().0, 5);
        let mut reflection = channel.open(REFLECTION).await;
        reflection.send_bytes(b"\x3a\x01*");
        let listed = reflection.message().await.unwrap().unwrap();
        let listed = String::from_utf8_lossy(&listed).into_owned();
        assert!(listed.contains("jina.JinaSingleDataRequestRPC"));
        assert_eq!(listed.contains("jina.JinaDiscoverEndpointsRPC"), has_newer);
        reflection.send_bytes(b"\x22\x0cjina.JinaRPC");
        let refused = reflection.message().await.unwrap().unwrap();
        assert!(String::from_utf8_lossy(&refused).contains("only services are listed"));
        reflection.end();
        assert_eq!(reflection.status().await.unwrap().0, 0);
    }
}

#[derive(Clone, PartialEq, prost::Message)]
struct Endpoints {
    #[prost(string, repeated, tag = "1")]
    endpoints: Vec<String>,
}
