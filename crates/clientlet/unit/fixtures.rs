//! Reads recorded answers of real gateways field by field.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use serde_json::{Value as Json, json};

use super::RawHttpAnswer;
use super::grpc;
use super::websocket;
use crate::document::{Blob, Document, NamedScore, Tensor, Value};
use crate::envelope::{outcome, read_proto_answer};
use crate::envelope::{read_routes, read_status};
use crate::error::{AttemptError, Delivery, ErrorKind};
use crate::message::{DocArray, GatewayStatus, RawAnswer};
use crate::response::Response;

#[derive(Deserialize)]
struct Fixture {
    status: u16,
    content_type: String,
    response: Json,
}

/// The environments and the documents that they speak.
const ENVIRONMENTS: [(&str, DocArray); 3] =
    [("seed-era", DocArray::V1), ("current-v1", DocArray::V1), ("current", DocArray::V2)];

fn place(environment: &str, file: &str) -> PathBuf {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    fixtures.join(environment).join(file)
}

fn fixture(environment: &str, name: &str) -> Fixture {
    let path = place(environment, &format!("http_{name}.json"));
    let text = std::fs::read_to_string(&path).unwrap_or_else(|e| panic!("{}: {e}", path.display()));
    serde_json::from_str(&text).unwrap()
}

fn raw(fixture: &Fixture) -> RawHttpAnswer {
    let body = match &fixture.response {
        Json::String(text) => text.clone(),
        json => json.to_string(),
    };
    let mut headers = HeaderMap::new();
    headers.insert(CONTENT_TYPE, HeaderValue::from_str(&fixture.content_type).unwrap());
    let status = StatusCode::from_u16(fixture.status).unwrap();
    RawHttpAnswer { status, headers, body: Bytes::from(body), unfollowed: None }
}

fn answer(environment: &str, docarray: DocArray, name: &str) -> Result<RawAnswer, AttemptError> {
    raw(&fixture(environment, name)).read(docarray, docarray == DocArray::V1)
}

fn response(environment: &str, docarray: DocArray, name: &str) -> Response {
    Response::alone(answer(environment, docarray, name).unwrap())
}

/// The recorded failures: the action, the gateway and the expected error. `docs/guarantees.md`
/// prints them.
struct Recorded {
    done: &'static str,
    recording: Recording,
    environments: &'static [&'static str],
    kind: ErrorKind,
    delivery: Delivery,
    retryable: bool,
    may_have_run: bool,
    /// A part of the message.
    message: &'static str,
}

/// The call to which a recorded status belongs.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Scope {
    /// A call of one request.
    Request,
    /// A stream of many requests.
    Stream,
}

/// The place of a recorded failure.
#[derive(Clone, Copy, Debug)]
enum Recording {
    /// An answer over HTTP.
    Http(&'static str),
    /// An answer in a WebSocket message.
    Message(&'static str),
    /// The end of a WebSocket, by its entry in `errors.json`.
    Ended(&'static str),
    /// The status of a gRPC call, by its entry in `errors.json`.
    Status(&'static str, Scope),
}

impl Recording {
    fn protocol(self) -> &'static str {
        match self {
            Recording::Http(_) => "HTTP",
            // WebSocket and gRPC have the same bytes.
            Recording::Message(_) => "WebSocket, gRPC",
            Recording::Ended(_) => "WebSocket",
            Recording::Status(_, Scope::Stream) => "gRPC stream",
            Recording::Status(_, Scope::Request) => "unary gRPC",
        }
    }

    fn read(self, environment: &str, docarray: DocArray) -> AttemptError {
        match self {
            Recording::Http(name) => answer(environment, docarray, name).unwrap_err(),
            Recording::Message(name) => {
                let frame = std::fs::read(place(environment, &format!("{name}.bin"))).unwrap();
                outcome(read_proto_answer(docarray, &Bytes::from(frame)).unwrap()).unwrap_err()
            }
            Recording::Ended(name) => {
                let entry = entry(environment, name);
                let code = entry["close_code"].as_u64().map(|code| code as u16);
                websocket::ended(code, entry["reason"].as_str().unwrap())
            }
            Recording::Status(name, scope) => {
                let entry = entry(environment, name);
                let code = entry["number"].as_u64().unwrap() as u32;
                grpc::recorded(code, entry["details"].as_str().unwrap(), scope == Scope::Stream)
            }
        }
    }
}

fn entry(environment: &str, name: &str) -> Json {
    let errors = std::fs::read(place(environment, "errors.json")).unwrap();
    let errors: Json = serde_json::from_slice(&errors).unwrap();
    assert!(!errors[name].is_null(), "{environment} has no {name}");
    errors[name].clone()
}

/// Returns the failure of a gRPC call that carried one request or many.
const fn status(
    done: &'static str,
    entry: &'static str,
    scope: Scope,
    kind: ErrorKind,
    (delivery, outcome): (Delivery, (bool, bool)),
    message: &'static str,
) -> Recorded {
    let answered = recorded(done, "", ALL, kind, outcome, message);
    Recorded { recording: Recording::Status(entry, scope), delivery, ..answered }
}

const fn ended(
    done: &'static str,
    entry: &'static str,
    kind: ErrorKind,
    message: &'static str,
) -> Recorded {
    let answered = recorded(done, "", ALL, kind, AGAIN, message);
    Recorded { recording: Recording::Ended(entry), delivery: Delivery::Unknown, ..answered }
}

const fn recorded(
    done: &'static str,
    fixture: &'static str,
    environments: &'static [&'static str],
    kind: ErrorKind,
    (retryable, may_have_run): (bool, bool),
    message: &'static str,
) -> Recorded {
    let (recording, delivery) = (Recording::Http(fixture), Delivery::Answered);
    Recorded { done, recording, environments, kind, delivery, retryable, may_have_run, message }
}

const V1: &[&str] = &["seed-era", "current-v1"];
const V2: &[&str] = &["current"];
const ALL: &[&str] = &["seed-era", "current-v1", "current"];

/// Another attempt may succeed, and the executor may have run.
const AGAIN: (bool, bool) = (true, true);
/// The same, and the delivery is unknown.
const UNKNOWN: (Delivery, (bool, bool)) = (Delivery::Unknown, AGAIN);
/// The failure is final, and the executor has run.
const RAN: (bool, bool) = (false, true);
/// The failure is final, and no executor has run.
const REFUSED: (bool, bool) = (false, false);

#[rustfmt::skip]
const RECORDED: &[Recorded] = &[
    recorded("an executor raises", "fail", V1, ErrorKind::Executor, RAN, "WireExecutor raised ValueError('boom')"),
    recorded("an executor raises", "fail", V2, ErrorKind::Executor, RAN, "an executor raised ValueError('boom')"),
    recorded("an executor is down", "executor_down", V1, ErrorKind::Gateway, AGAIN, "executor0"),
    recorded("an executor is down", "executor_down", V2, ErrorKind::Gateway, AGAIN, "its executor is down or slow"),
    recorded("an executor is down, posted to /search", "executor_down_search", &["seed-era"], ErrorKind::Gateway, AGAIN, "500: Internal Server Error"),
    recorded("an executor is down, posted to /search", "executor_down_search", &["current-v1"], ErrorKind::Gateway, AGAIN, "503"),
    recorded("an executor is slower than timeout_send", "timeout_send", V1, ErrorKind::Timeout, AGAIN, "timeout_send"),
    recorded("an executor is slower than timeout_send", "timeout_send", V2, ErrorKind::Gateway, AGAIN, "its executor is down or slow"),
    recorded("an executor answers with bytes that are not UTF-8", "rich_not_utf8", V2, ErrorKind::Gateway, AGAIN, "500"),
    recorded("an unknown path", "not_found", ALL, ErrorKind::NotFound, REFUSED, "404: Not Found"),
    recorded("/post of a v2 gateway", "post_is_unknown", V2, ErrorKind::NotFound, REFUSED, "404"),
    recorded("a wrong method", "wrong_method", ALL, ErrorKind::Gateway, REFUSED, "405: Method Not Allowed"),
    recorded("a body that is not JSON", "bad_json", ALL, ErrorKind::Gateway, REFUSED, "422: body.10: "),
    recorded("a value of the wrong type", "wrong_type", V1, ErrorKind::Gateway, REFUSED, "body.data: value is not a valid list"),
    recorded("a value of the wrong type", "wrong_type", V2, ErrorKind::Gateway, REFUSED, "body.data.0.text: str type expected"),
    recorded("a request without `data`", "no_data", V2, ErrorKind::Gateway, REFUSED, "body.data: field required"),
    Recorded {
        recording: Recording::Message("response_fail"),
        ..recorded("an executor raises", "", ALL, ErrorKind::Executor, RAN, "WireExecutor raised ValueError('boom')")
    },
    ended("an executor is down", "ws_executor_down", ErrorKind::Gateway, "closed with 1011: Network error while connecting to deployment"),
    ended("an executor is slower than timeout_send", "ws_timeout_send", ErrorKind::Timeout, "timed out"),
    ended("bytes that are not protobuf", "ws_garbage", ErrorKind::Transport, "without a close frame (1006)"),
    ended("an empty message", "ws_empty_message", ErrorKind::Transport, "(1006)"),
    ended("a text message on a connection for binary ones", "ws_text_on_bytes", ErrorKind::Transport, "(1006)"),
    ended("a request after the end marker", "ws_after_eoi", ErrorKind::Transport, "closed with 1000"),
    status("an executor is down", "grpc_executor_down", Scope::Stream, ErrorKind::Gateway, UNKNOWN, "UNAVAILABLE: failed to connect to all addresses"),
    status("an executor is down", "grpc_executor_down", Scope::Request, ErrorKind::Gateway, UNKNOWN, "UNAVAILABLE: failed to connect to all addresses"),
    status("an executor is slower than timeout_send", "grpc_timeout_send", Scope::Stream, ErrorKind::Timeout, UNKNOWN, "DEADLINE_EXCEEDED"),
    status("an executor is slower than timeout_send", "grpc_timeout_send", Scope::Request, ErrorKind::Timeout, UNKNOWN, "DEADLINE_EXCEEDED"),
    status("the client's deadline passes at the gateway", "grpc_client_deadline", Scope::Request, ErrorKind::Timeout, UNKNOWN, "DEADLINE_EXCEEDED: Deadline Exceeded"),
    status("bytes that are not protobuf", "grpc_garbage", Scope::Stream, ErrorKind::Gateway, UNKNOWN, "UNKNOWN: Unexpected"),
    status("bytes that are not protobuf", "grpc_garbage", Scope::Request, ErrorKind::Gateway, (Delivery::Answered, RAN), "UNKNOWN: Unexpected"),
    status("an unknown method", "grpc_unknown_method", Scope::Request, ErrorKind::NotFound, (Delivery::Answered, REFUSED), "UNIMPLEMENTED: Method not found!"),
    Recorded {
        environments: &["seed-era"],
        ..status("`endpoint_discovery`", "grpc_endpoint_discovery", Scope::Request, ErrorKind::NotFound, (Delivery::Answered, REFUSED), "UNIMPLEMENTED")
    },
    Recorded {
        environments: &["current-v1"],
        ..status("`endpoint_discovery`", "grpc_endpoint_discovery", Scope::Request, ErrorKind::Gateway, (Delivery::Answered, AGAIN), "has no attribute")
    },
];

fn docarray_of(environment: &str) -> DocArray {
    ENVIRONMENTS.iter().find(|(name, _)| *name == environment).unwrap().1
}

#[test]
fn every_recorded_failure_matches_the_table() {
    for row in RECORDED {
        for environment in row.environments {
            let error = row.recording.read(environment, docarray_of(environment));
            let (place, message) = (format!("{environment}/{:?}", row.recording), &error.message);
            let found = (error.kind, error.retryable, error.may_have_run);
            assert_eq!(found, (row.kind, row.retryable, row.may_have_run), "{place}: {message}");
            assert_eq!(error.delivery, row.delivery, "{place}");
            assert!(message.contains(row.message), "{place}: {message}");
        }
    }
}

#[test]
fn the_page_of_guarantees_lists_the_recorded_failures() {
    let name = |environment: &&str| match *environment {
        "seed-era" => "3.14.1 v1",
        "current-v1" => "3.33.1 v1",
        _ => "3.33.1 v2",
    };
    let yes = |is: bool| if is { "yes" } else { "no" };
    let mut table = String::from(
        "| what was done | over | Jina, documents | kind | delivery | tried again | may have run |\n\
         | --- | --- | --- | --- | --- | --- | --- |\n",
    );
    for row in RECORDED {
        let names: Vec<_> = row.environments.iter().map(name).collect();
        let Recorded { done, kind, delivery, retryable, may_have_run, .. } = row;
        let (names, again, ran) = (names.join(", "), yes(*retryable), yes(*may_have_run));
        let over = row.recording.protocol();
        table +=
            &format!("| {done} | {over} | {names} | `{kind}` | `{delivery}` | {again} | {ran} |\n");
    }
    crate::page::check("guarantees.md", "recorded failures", &table);
}

#[test]
fn an_exception_of_v1_is_reported_in_full_with_the_documents() {
    for environment in ["seed-era", "current-v1"] {
        let error = answer(environment, DocArray::V1, "fail").unwrap_err();
        let exception = error.exception.as_ref().unwrap();
        assert_eq!(
            (exception.name.as_str(), exception.args.as_slice()),
            ("ValueError", &["boom".to_owned()][..])
        );
        assert_eq!(exception.executor, "WireExecutor");
        assert_eq!(exception.stacks.last().map(String::as_str), Some("ValueError: boom\n"));
        let answer = error.answer.as_ref().unwrap();
        let routes = read_routes(answer.routes.as_ref().unwrap()).unwrap();
        assert_eq!(routes.len(), 2);
        assert_eq!(routes[1].status.as_ref().unwrap().code, 1);
        let documents = answer.documents.as_ref().unwrap();
        let documents: Vec<Document> = serde_json::from_slice(documents).unwrap();
        assert_eq!(documents, [Document::text("hi").with_id("d0")]);
    }
}

#[test]
fn an_outage_of_v1_keeps_the_gateways_exception() {
    let error = answer("seed-era", DocArray::V1, "executor_down").unwrap_err();
    let exception = error.exception.as_ref().unwrap();
    assert_eq!(exception.name, "<class 'jina.excepts.InternalNetworkError'>");
    assert_eq!(exception.stacks.len(), 3);
}

#[test]
fn the_plain_successes_are_read() {
    for (environment, docarray) in ENVIRONMENTS {
        let response = response(environment, docarray, "text");
        assert!(!response.gateway_request_id().is_empty());
        assert!(response.status().is_success());
        let documents: Vec<Document> = response.documents().unwrap();
        assert!(documents.iter().any(|d| d.text.as_deref() == Some("HI")), "{documents:?}");
        assert_eq!(response.routes().unwrap().is_empty(), docarray == DocArray::V2);
    }
}

#[test]
fn routes_are_read_with_their_times_and_skipped_routes_have_no_end() {
    let response = response("seed-era", DocArray::V1, "target");
    let routes = response.routes().unwrap();
    let [gateway, executor] = &routes[..] else { panic!("two routes") };
    assert_eq!((gateway.executor.as_str(), executor.executor.as_str()), ("gateway", "executor0"));
    assert!(gateway.start_time < gateway.end_time);
    assert!(executor.start_time.is_some() && executor.end_time.is_none());
}

#[test]
fn parameters_and_results_are_read() {
    for (environment, docarray) in ENVIRONMENTS {
        let parameters: BTreeMap<String, Value> =
            response(environment, docarray, "params").parameters().unwrap();
        let result = parameters["__results__"].get("executor0/rep-0").unwrap();
        assert_eq!(result.get("count").unwrap().as_f64(), Some(1.0));
        assert_eq!(result.get("got").unwrap().get("m"), parameters.get("m"));
    }
}

/// The documents of `/rich` in v1, as the test executor defines them.
fn rich_documents() -> Vec<Document> {
    let tensor = || Tensor::new(&[2, 3], &[0.0_f64, 1.0, 2.0, 3.0, 4.0, 5.0]).expect("six numbers");
    let tags = json!({"n": 1, "f": 2.5, "s": "x", "b": true, "null": null,
        "list": [1, "two", false], "map": {"inner": {"k": "v"}}});
    let score = |value| NamedScore { value: Some(value), ..NamedScore::default() };
    let named = |name: &str, score| Some(BTreeMap::from([(name.to_owned(), score)]));
    let chunk = |id: &str, parent: &str, depth| Document {
        parent_id: Some(parent.into()),
        granularity: Some(depth),
        ..Document::default().with_id(id)
    };
    let c00 = Document { text: Some("deep".into()), ..chunk("c00", "c0", 2) };
    let c0 = Document {
        text: Some("chunk zero".into()),
        chunks: Some(vec![c00]),
        ..chunk("c0", "parent", 1)
    };
    let c1 = Document { tensor: Some(tensor()), ..chunk("c1", "parent", 1) };
    let m0 = Document {
        adjacency: Some(1),
        scores: named("cos", score(0.75)),
        ..Document::text("match").with_id("m0")
    };
    vec![
        Document {
            mime_type: Some("text/plain".into()),
            ..Document::text("h\u{e9}llo \u{4e16}\u{754c} \u{1f600}").with_id("text")
        },
        Document {
            blob: Some(Blob::from((0..=255).collect::<Vec<u8>>())),
            ..Document::default().with_id("blob")
        },
        Document {
            tensor: Some(tensor()),
            embedding: Some(Tensor::from([0.5, -1.25, 3.0])),
            ..Document::default().with_id("tensor")
        },
        Document {
            tensor: Some(Tensor::from([-1_i64, 0, 127])),
            ..Document::default().with_id("int8")
        },
        Document {
            mime_type: Some("application/octet-stream".into()),
            weight: Some(0.25),
            uri: Some("file.bin".into()),
            modality: Some("mixed".into()),
            tags: Some(serde_json::from_value(tags).unwrap()),
            ..Document::default().with_id("tags")
        },
        Document {
            scores: named("total", NamedScore { op_name: Some("sum".into()), ..score(1.5) }),
            chunks: Some(vec![c0, c1]),
            matches: Some(vec![m0]),
            ..Document::text("parent").with_id("parent")
        },
    ]
}

#[test]
fn rich_documents_of_v1_are_read_field_by_field() {
    for environment in ["seed-era", "current-v1"] {
        let documents: Vec<Document> =
            response(environment, DocArray::V1, "rich").documents().unwrap();
        for (read, expected) in documents.iter().zip(rich_documents()) {
            assert_eq!(read, &expected, "{environment}");
        }
        assert_eq!(documents.len(), 6);
    }
}

#[test]
fn rich_documents_of_v2_are_read_into_a_type_of_ones_own() {
    #[derive(Debug, Default, PartialEq, Deserialize)]
    #[serde(default)]
    struct Item {
        id: String,
        text: Option<String>,
        blob: Option<Blob>,
        tensor: Option<Tensor>,
        embedding: Option<Vec<f32>>,
        url: Option<String>,
        number: Option<i32>,
        ratio: Option<f64>,
        flag: Option<bool>,
        tags: BTreeMap<String, Value>,
        words: Vec<String>,
        part: Option<Box<Item>>,
        parts: Vec<Item>,
        chunks: Option<Vec<Item>>,
    }
    let item = |id: &str| Item { id: id.into(), ..Item::default() };
    let named = |id: &str, text: &str| Item { text: Some(text.into()), ..item(id) };
    let tags = json!({"n": 1, "f": 2.5, "s": "x", "b": true, "null": null,
        "list": [1, "two", false], "map": {"inner": {"k": "v"}}});
    let tensor = Tensor::new(&[2, 3], &[0.0_f64, 1.0, 2.0, 3.0, 4.0, 5.0]).unwrap();
    let expected = [
        named("text", "h\u{e9}llo \u{4e16}\u{754c} \u{1f600}"),
        Item { blob: Some(Blob::from(&b"plain bytes"[..])), ..item("blob") },
        Item { tensor: Some(tensor), embedding: Some(vec![0.5, -1.25, 3.0]), ..item("tensor") },
        Item { tensor: Some(Tensor::from([-1_i64, 0, 127])), ..item("int8") },
        Item {
            number: Some(7),
            ratio: Some(2.5),
            flag: Some(true),
            url: Some("http://127.0.0.1/x.png".into()),
            words: vec!["a".into(), "b".into()],
            tags: serde_json::from_value(tags).unwrap(),
            ..item("scalars")
        },
        Item {
            part: Some(Box::new(named("p", "part"))),
            parts: vec![named("q0", "listed")],
            // The field has the type `Optional[DocList[...]]`, so texts and tensors are lost in the
            // gateway.
            chunks: Some(vec![item("c0"), item("c1")]),
            ..named("parent", "parent")
        },
    ];
    let documents: Vec<Item> = response("current", DocArray::V2, "rich").documents().unwrap();
    assert_eq!(documents, expected);
}

#[test]
fn status_and_dry_run_are_read() {
    for (environment, docarray) in ENVIRONMENTS {
        let status = raw(&fixture(environment, "status"));
        let status: GatewayStatus = serde_json::from_slice(&status.body).unwrap();
        assert_eq!(status.docarray(), Some(docarray), "{environment}");
        let well = read_status(&raw(&fixture(environment, "dry_run")).body).unwrap();
        assert!(well.is_success());
        let down = read_status(&raw(&fixture(environment, "dry_run_executor_down")).body).unwrap();
        // v2 over HTTP reports success even with its executor dead.
        assert_eq!(down.is_success(), docarray == DocArray::V2, "{environment}");
    }
}
