//! Reading any answer takes at most a fixed multiple of its length in memory. These tests have a
//! binary of their own, because the counting allocator applies to the whole process.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "search/json.rs"]
mod json;
#[path = "search/typed.rs"]
mod typed;

use std::path::Path;

use bytes::Bytes;
use clientlet::clientlets::HttpAnswer;
use clientlet::{DocArray, Document, GatewayStatus, Value};
use peak_alloc::PeakAlloc;
use serde_json::value::RawValue;

use crate::json::Climb;
use crate::typed::Typed;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

/// The multiple for opening an envelope or the details of a failure.
const ENVELOPE: usize = 64;
/// The multiple for reading documents into `Document` or `Value`. The shortest of either, `{}` and
/// `0`, take far more memory than text, and a growing list is copied.
const DOCUMENTS: usize = 512;
/// The multiple for reading routes. The shortest, `{}`, takes far more memory than text, but the
/// number of routes is limited.
const ROUTES: usize = 512;
/// The memory that any answer may take, however short it is.
const LEAST: usize = 64 << 10;

fn answer(status: u16, body: &Bytes) -> HttpAnswer {
    let response = http::Response::builder()
        .status(status)
        .header("content-type", "application/json")
        .body(body.clone());
    HttpAnswer::from(response.unwrap())
}

/// Returns the peak memory of `read`, beyond the memory that was already allocated.
fn peak_of<T>(read: impl FnOnce() -> T) -> usize {
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let result = read();
    let peak = PEAK.peak_usage().saturating_sub(before);
    drop(result);
    peak
}

/// Returns how near the answer comes to the limit, in thousandths. The answer must not exceed the
/// limit.
fn check(body: &Bytes) -> usize {
    let shown = || String::from_utf8_lossy(&body[..body.len().min(200)]).into_owned();
    let mut nearest = 0;
    let mut hold = |what: &str, times: usize, peak: usize| {
        let most = body.len() * times + LEAST;
        assert!(peak <= most, "{what} of {}: {peak} bytes for {}", shown(), body.len());
        nearest = nearest.max(peak * 1000 / most);
    };
    hold("status", ENVELOPE, peak_of(|| answer(200, body).status_message()));
    hold("gateway", ENVELOPE, peak_of(|| serde_json::from_slice::<GatewayStatus>(body)));
    for docarray in [DocArray::V1, DocArray::V2] {
        for status in [200, 500, 503] {
            let answer = answer(status, body);
            hold("opening", ENVELOPE, peak_of(|| answer.response(docarray)));
            let Ok(response) = answer.response(docarray) else { continue };
            hold("documents", DOCUMENTS, peak_of(|| response.documents::<Document>()));
            hold("values", DOCUMENTS, peak_of(|| response.documents::<Value>()));
            hold("own types", DOCUMENTS, peak_of(|| response.documents::<Typed>()));
            hold("texts", DOCUMENTS, peak_of(|| response.documents::<Box<RawValue>>()));
            hold("parameters", DOCUMENTS, peak_of(|| response.parameters::<Value>()));
            hold("routes", ROUTES, peak_of(|| response.routes()));
        }
    }
    nearest
}

/// Answers that take much memory for their length.
fn greedy() -> Vec<String> {
    let many = |part: &str| [part; 100_000].join(",");
    let data = |parts: &str| format!("{{\"header\":{{}},\"data\":[{parts}]}}");
    let deep = |open: &str, close: &str| format!("{}{}", open.repeat(50_000), close.repeat(50_000));
    vec![
        data(&many("{}")),
        data(&many("0")),
        data(&many("[]")),
        data(&many("{\"tensor\":[0]}")),
        data(&many("{\"chunks\":[{}]}")),
        data(&format!(
            "{{\"tags\":{{{}}}}}",
            (0..50_000).map(|n| format!("\"{n}\":0")).collect::<Vec<_>>().join(",")
        )),
        data(&format!("{{\"embedding\":[{}]}}", many("0"))),
        data(&deep("[", "]")),
        data(&deep("{\"a\":", "}")),
        format!("{{\"header\":{{}},\"routes\":[{}],\"data\":[]}}", many("{}")),
        format!("{{\"detail\":[{}]}}", many("{\"loc\":[0],\"msg\":\"x\"}")),
        format!("{{\"detail\":\"{}\"}}", "x".repeat(1 << 20)),
        format!(
            "{{\"header\":{{\"status\":{{\"code\":1,\"exception\":{{\"stacks\":[{}]}}}}}},\"data\":[]}}",
            many("\"\"")
        ),
    ]
}

#[test]
fn no_answer_takes_more_memory_than_a_multiple_of_itself() {
    for body in greedy() {
        check(&Bytes::from(body));
    }
    let mut random = fastrand::Rng::with_seed(5);
    for body in recorded() {
        check(&Bytes::from(body.clone()));
        for _ in 0..40 {
            let mut bytes = body.clone().into_bytes();
            for _ in 0..random.usize(1..6) {
                let at = random.usize(..bytes.len());
                match random.u8(..4) {
                    0 => bytes[at] = random.u8(..),
                    1 => bytes.truncate(at + 1),
                    2 => bytes.insert(at, *random.choice(b"[]{}\",:0").unwrap()),
                    _ => {
                        let part = bytes[at..].to_vec();
                        bytes.extend(part);
                    }
                }
            }
            check(&Bytes::from(bytes));
        }
    }
    for _ in 0..500 {
        let length = random.usize(..300);
        let bytes: Vec<u8> = (0..length).map(|_| random.u8(..)).collect();
        check(&Bytes::from(bytes));
    }
    for _ in 0..CLIMBS {
        let mut climb = Climb::new(AROUND, KEYS, &mut random);
        for _ in 0..STEPS {
            let nearness = check(&climb.bytes());
            climb.measured(nearness, &mut random);
        }
    }
}

const CLIMBS: usize = 16;
const STEPS: usize = 40;

/// The places for the parts. Keys are numbered if no two parts may share one.
const AROUND: &[&str] = &[
    r#"{"header":{},"data":[@]}"#,
    r#"{"data":[{"tags":{"a":[@]}}]}"#,
    r#"{"data":[{"tags":{#}}]}"#,
    r#"{"data":[{"scores":{#}}]}"#,
    r#"{"data":[{"chunks":[@]}]}"#,
    r#"{"data":[{"tensor":[@]}]}"#,
    r#"{"header":{},"routes":[@],"data":[]}"#,
    r#"{"detail":[@]}"#,
    r#"{"detail":{#}}"#,
    r#"{"header":{"status":{"code":1,"exception":{"args":[@],"stacks":[@]}}},"data":[]}"#,
];
const KEYS: &[&str] = &[
    "",
    "a",
    "id",
    "text",
    "blob",
    "tensor",
    "embedding",
    "location",
    "chunks",
    "matches",
    "tags",
    "scores",
    "value",
    "loc",
    "msg",
    "executor",
    "status",
    "exception",
    "stacks",
    "startTime",
];

/// Returns the bodies of the recorded answers.
fn recorded() -> Vec<String> {
    let fixtures = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    let mut bodies = Vec::new();
    for environment in ["seed-era", "current-v1", "current"] {
        for entry in std::fs::read_dir(fixtures.join(environment)).unwrap() {
            let path = entry.unwrap().path();
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            if name.starts_with("http_") && name.ends_with(".json") {
                let text = std::fs::read_to_string(&path).unwrap();
                let fixture: serde_json::Value = serde_json::from_str(&text).unwrap();
                bodies.push(fixture["response"].to_string());
            }
        }
    }
    assert!(bodies.len() > 40, "{}", bodies.len());
    bodies
}
