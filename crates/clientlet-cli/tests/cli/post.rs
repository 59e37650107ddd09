//! `clientlet post` without failures.

use std::fs;
use std::io::Write;
use std::path::PathBuf;

use clientlet_gateway::{DocArray, Gateway};
use serde_json::{Value, json};

use crate::process::{clientlet, documents, ids, lines, redact};
use crate::served::{Served, serve, v1};

fn airports() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../examples/airports.jsonl")
}

#[test]
fn all_airports_come_back_in_order() {
    let airports = airports();
    let sent = documents(&fs::read_to_string(&airports).unwrap());
    for generation in ["v1", "v2"] {
        let run = clientlet(["post", "--on", "/upper", "--in-order", "--docarray", generation])
            .args(["--input", airports.to_str().unwrap()])
            .run()
            .exits(0);
        let back = run.documents();
        assert_eq!(back.len(), 3376);
        assert_eq!(ids(&back), ids(&sent));
        assert_eq!(back[0]["text"], "THIGPEN, BAY SPRINGS, MS, USA");
        assert_eq!(back[3375]["tags"], sent[3375]["tags"]);
        assert_eq!(
            redact(&run.stderr),
            "no URL given: an embedded gateway was started at http://127.0.0.1:PORT\n\
             3376 documents in 34 requests: 34 answered, 0 failed, 0 retried, N.NN s\n"
        );
    }
}

#[test]
fn the_gateways_generation_is_discovered() {
    for generation in [DocArray::V1, DocArray::V2] {
        let gateway = serve(generation, &[]);
        let run = clientlet(["post", &gateway.url(), "--on", "/upper", "--text", "hello"])
            .args(["--text", "world", "--in-order", "--quiet"])
            .run()
            .exits(0);
        let texts: Vec<_> = run.documents().iter().map(|d| d["text"].clone()).collect();
        assert_eq!(texts, ["HELLO", "WORLD"]);
        assert_eq!(run.stderr, "");
    }
}

#[test]
fn the_output_file_and_the_summary_replace_older_ones() {
    let directory = tempfile::tempdir().unwrap();
    let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
    for name in ["out.jsonl", "summary.json"] {
        fs::write(path(name), "old content that is longer\n".repeat(100_000)).unwrap();
    }
    let run = clientlet(["post", "--input", "-", "--request-size", "30", "--output"])
        .args([path("out.jsonl"), "--summary".into(), path("summary.json")])
        .stdin(lines(100))
        .run()
        .exits(0);
    assert_eq!(run.stdout, "");
    assert_eq!(documents(&fs::read_to_string(path("out.jsonl")).unwrap()).len(), 100);
    let mut summary: Value =
        serde_json::from_str(&fs::read_to_string(path("summary.json")).unwrap()).unwrap();
    assert!(summary["elapsed_s"].as_f64().unwrap() > 0.0);
    summary["elapsed_s"] = json!(0);
    let expected = json!({
        "documents": 100, "bad_input": 0, "requests": 4, "answered": 4, "failed": 0, "failed_documents": 0, "not_sent": 0, "retried": 0,
        "not_answered": 0, "not_written": 0, "reconnects": 0, "duplicates_dropped": 0, "elapsed_s": 0, "interrupted": false,
    });
    assert_eq!(summary, expected);
}

#[test]
fn the_summary_counts_reconnects_and_duplicates_and_each_document_comes_back_once() {
    let directory = tempfile::tempdir().unwrap();
    let summary = directory.path().join("summary.json");
    let builder = Gateway::builder().websocket(true);
    let builder = builder.fault("drop@/20".parse().unwrap()).fault("twice@/3".parse().unwrap());
    let gateway = Served::start(builder);
    let run = clientlet(["post", &gateway.websocket_url(), "--on", "/upper", "--in-order"])
        .args(["--request-size", "5", "--max-attempts", "20", "--initial-backoff", "0.01"])
        .args(["--input", "-", "--summary", summary.to_str().unwrap()])
        .stdin(lines(500))
        .run()
        .exits(0);
    assert_eq!(ids(&run.documents()), (0..500).map(|n| n.to_string()).collect::<Vec<_>>());
    let summary: Value = serde_json::from_str(&fs::read_to_string(summary).unwrap()).unwrap();
    let opened = gateway.journal().websocket_connections();
    assert_eq!((&summary["answered"], &summary["failed"]), (&json!(100), &json!(0)));
    assert_eq!(summary["reconnects"], json!(opened - 1));
    assert!(opened > 3 && summary["duplicates_dropped"].as_u64().unwrap() > 0, "{summary}");
    assert!(run.stderr.contains(&format!(" {} reconnects, ", opened - 1)), "{}", run.stderr);
    assert!(run.stderr.contains(" dropped, "), "{}", run.stderr);
}

#[test]
fn responses_are_objects_with_their_input_lines() {
    let run = clientlet(["post", "--responses", "--in-order", "--request-size", "2"])
        .args(["--text", "first", "--input", "-", "--on", "/params"])
        .args(["--parameters", r#"{"limit": 3}"#])
        .stdin("\n{\"id\": \"a\"}\n\n{\"id\": \"b\"}\n")
        .run()
        .exits(0);
    let responses = run.documents();
    assert_eq!(responses.len(), 2);
    assert_eq!(responses[0]["input"], json!([2, 2]));
    assert_eq!(responses[1]["input"], json!([4, 4]));
    assert_eq!(responses[0]["data"].as_array().unwrap().len(), 2);
    assert_eq!(responses[0]["status"]["code"], 0);
    assert_eq!(responses[0]["parameters"]["limit"], 3);
    let route = &responses[0]["routes"][1];
    assert_eq!(route["executor"], "executor0");
    assert!(route["start_time"].as_str().unwrap().ends_with('Z'), "{route}");
    let names: Vec<_> = responses[0].as_object().unwrap().keys().collect();
    assert_eq!(names, ["data", "input", "parameters", "request_id", "routes", "status"]);
}

#[test]
fn a_call_without_documents_is_one_request() {
    let gateway = v1();
    let run = clientlet(["post", &gateway.url(), "--no-documents", "--responses"]).run().exits(0);
    assert_eq!(run.documents()[0]["input"], Value::Null);
    assert_eq!(gateway.journal().len(), 1);
}

#[test]
fn documents_on_a_slow_stdin_are_posted_when_a_request_is_full() {
    let mut running = clientlet(["post", "--input", "-", "--request-size", "1"]).start();
    let mut stdin = running.stdin.take().unwrap();
    for n in 0..3 {
        use std::io::Write;
        writeln!(stdin, "{{\"id\": \"{n}\"}}").unwrap();
        // If the answer stayed in a buffer, this would wait for ever.
        let answer: Value = serde_json::from_str(&running.line()).unwrap();
        assert_eq!(answer["id"], n.to_string());
    }
    drop(stdin);
    running.finish().exits(0);
}

#[test]
fn every_option_reaches_the_gateway() {
    let gateway = v1();
    clientlet(["post", &gateway.url(), "--input", "-", "--request-size", "0", "--prefetch", "1"])
        .args(["--on", "/upper", "--target-executor", "executor", "--header", "X-Tenant: t"])
        .args(["--initial-backoff", "0", "--max-backoff", "1", "--backoff-multiplier", "2"])
        .args(["--timeout", "30", "--attempt-timeout", "10", "--docarray", "v1"])
        .stdin(lines(250))
        .run()
        .exits(0);
    let entries = gateway.journal().entries();
    assert_eq!(entries.len(), 1);
    assert_eq!(entries[0].document_count, 250);
    assert_eq!(entries[0].endpoint.as_deref(), Some("/upper"));
    assert_eq!(entries[0].headers["x-tenant"], "t");
    // The client compares the generation that was set with the gateway's once.
    let gets = gateway.journal().gets();
    assert_eq!(gets.iter().map(|get| &*get.path).collect::<Vec<_>>(), ["/status"]);
}

#[test]
fn no_more_connections_are_open_than_the_option_allows() {
    // Long enough for each of the 8 requests in flight to open a connection.
    let gateway = Served::start(Gateway::builder().fault("slow:0.3@1-8".parse().unwrap()));
    clientlet(["post", &gateway.url(), "--input", "-", "--prefetch", "8", "--request-size", "1"])
        .args(["--max-connections", "2"])
        .stdin(lines(8))
        .run()
        .exits(0);
    let opened = gateway.journal().connections();
    assert!(opened <= 2, "{opened} connections");
    assert_eq!(gateway.journal().len(), 8);
    let run = clientlet(["post", "http://h", "--max-connections", "0"]).run().exits(2);
    assert!(run.stderr.contains("a whole number, at least 1"), "{}", run.stderr);
}

#[test]
fn documents_that_trickle_in_are_answered_without_waiting_for_more() {
    let gateway = v1();
    let mut running =
        clientlet(["post", &gateway.url(), "--input", "-", "--quiet"]).lingering().start();
    let mut stdin = running.stdin.take().unwrap();
    for n in 0..3 {
        writeln!(stdin, "{{\"id\": \"{n}\"}}").unwrap();
        // Its answer comes while the input is open and the request far from full.
        assert!(running.line().contains(&format!("\"id\":\"{n}\"")));
    }
    drop(stdin);
    running.finish().exits(0);
    assert_eq!(gateway.journal().len(), 3);
}
