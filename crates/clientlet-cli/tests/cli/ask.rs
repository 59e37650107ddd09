//! `ready`, `status` and `endpoints`.

use clientlet_gateway::{DocArray, Gateway};
use serde_json::{Value, json};

use crate::process::{clientlet, redact};
use crate::served::{Served, gone, serve, v1};

#[test]
fn a_gateway_whose_executors_work_is_ready() {
    for generation in [DocArray::V1, DocArray::V2] {
        let gateway = serve(generation, &[]);
        for command in ["ready", "dry-run"] {
            let run = clientlet([command, &gateway.url()]).run().exits(0);
            assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("ready\n", ""));
        }
        let run = clientlet(["ready", &gateway.url(), "--json"]).run().exits(0);
        assert_eq!(run.documents(), [json!({"ready": true, "reason": null, "kind": null})]);
    }
}

#[test]
fn a_gateway_whose_executor_is_down_is_not_ready_and_says_why() {
    let gateway = Served::start(Gateway::builder().executor_down(true));
    let run = clientlet(["ready", &gateway.url()]).run().exits(1);
    assert_eq!(run.stdout, "");
    assert!(run.stderr.starts_with("error: the gateway is not ready: "), "{}", run.stderr);
    let run = clientlet(["ready", &gateway.url(), "--json"]).run().exits(1);
    let answer = &run.documents()[0];
    assert_eq!((&answer["ready"], &answer["kind"]), (&json!(false), &json!("gateway")));
    assert!(answer["reason"].as_str().unwrap().contains("not ready"), "{answer}");
    assert_eq!(run.stderr, "");
}

#[test]
fn a_missing_gateway_is_not_ready() {
    let url = gone();
    let run = clientlet(["ready", &url]).run().exits(1);
    insta::assert_snapshot!("not_ready", redact(&run.stderr));
    for command in ["ready", "status", "endpoints"] {
        let run = clientlet([command, &url]).run().exits(1);
        assert_eq!(run.stdout, "", "{command}");
        for (url, kind, exit) in [(&url, "connect", 1), (&"ftp://h".to_owned(), "config", 2)] {
            let run = clientlet([command, url, "--json"]).run().exits(exit);
            let answer = &run.documents()[0];
            assert_eq!(answer["kind"], kind, "{command}: {answer}");
            assert!(!answer["reason"].as_str().unwrap().is_empty(), "{command}: {answer}");
            assert_eq!(run.stderr, "", "{command}");
        }
    }
    let run = clientlet(["status", &url, "--wait-ready", "0.1", "--json"]).run().exits(1);
    assert_eq!(run.documents()[0].as_object().unwrap().len(), 2, "{}", run.stdout);
}

#[test]
fn a_stalled_gateway_is_not_waited_for_beyond_the_timeout() {
    let gateway = serve(DocArray::V1, &["stall@1-9,path=/dry_run"]);
    let run = clientlet(["ready", &gateway.url(), "--timeout", "0.2", "--json"]).run().exits(1);
    assert_eq!(run.documents()[0]["kind"], "timeout");
}

#[test]
fn the_status_is_a_table_or_json() {
    let gateway = serve(DocArray::V2, &[]);
    let run = clientlet(["status", &gateway.url()]).run().exits(0);
    assert!(run.stdout.starts_with("jina  "), "{}", run.stdout);
    assert!(run.stdout.contains("\ndocarray  "), "{}", run.stdout);
    let run = clientlet(["status", &gateway.url(), "--json"]).run().exits(0);
    let status: Value = serde_json::from_str(&run.stdout).unwrap();
    assert_eq!(status["jina"]["jina"], "3.33.1");
}

#[test]
fn endpoints_are_printed_as_one_path_a_line_or_as_json() {
    let gateway = serve(DocArray::V2, &[]);
    let run = clientlet(["endpoints", &gateway.url()]).run().exits(0);
    assert!(run.stdout.lines().any(|line| line == "/upper"), "{}", run.stdout);
    assert!(run.stdout.lines().all(|line| line.starts_with('/')), "{}", run.stdout);
    let run = clientlet(["endpoints", &gateway.url(), "--json"]).run().exits(0);
    let answer = &run.documents()[0];
    assert_eq!((&answer["docarray"], &answer["takes_any"]), (&json!("v2"), &json!(false)));
    assert!(answer["paths"].as_array().unwrap().contains(&json!("/upper")));
}

#[test]
fn endpoints_says_that_a_v1_gateway_takes_any_endpoint() {
    let gateway = v1();
    let run = clientlet(["endpoints", &gateway.url()]).run().exits(0);
    assert_eq!(
        run.stderr,
        "a v1 gateway takes any endpoint's name, and does not list its executors' endpoints\n"
    );
}
