//! `clientlet stream` over HTTP and gRPC, the protocols that have streams.

use std::time::Duration;

use clientlet_gateway::{DocArray, Gateway, StreamScript};
use clientlet_interop::{Environment, Options, RealGateway};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::process::{clientlet, ids};
use crate::served::{Served, v1};

fn served() -> Served {
    let endless = StreamScript::new(u64::MAX).pause(Duration::from_millis(5));
    let stuck = StreamScript::new(1).pause(Duration::from_secs(600));
    let gateway = Gateway::builder()
        .docarray(DocArray::V2)
        .grpc(true)
        .stream_endpoint("/endless", endless)
        .stream_endpoint("/stuck", stuck);
    Served::start(gateway)
}

#[test]
fn documents_are_printed_as_lines_and_counted() {
    let gateway = served();
    for url in [gateway.url(), gateway.grpc_url()] {
        let run = clientlet(["stream", &url, "--on", "/stream", "--text", "hey"]).run().exits(0);
        let documents = run.documents();
        assert_eq!(ids(&documents), ["s0", "s1", "s2"]);
        assert_eq!(documents[2]["text"], "hey 2");
        assert!(run.stderr.starts_with("3 documents, "), "{}", run.stderr);

        let directory = tempfile::tempdir().unwrap();
        let path = |name: &str| directory.path().join(name).to_str().unwrap().to_owned();
        let run = clientlet(["stream", &url, "--on", "/stream_fail"])
            .args(["--document", r#"{"id": "a", "text": "you"}"#, "--quiet"])
            .args(["--output", &path("out.jsonl"), "--summary", &path("summary.json")])
            .run()
            .exits(0);
        assert_eq!((&*run.stdout, &*run.stderr), ("", ""));
        let read = |name: &str| std::fs::read_to_string(path(name)).unwrap();
        assert_eq!(read("out.jsonl").lines().count(), 1);
        let summary: Value = serde_json::from_str(&read("summary.json")).unwrap();
        assert_eq!((&summary["documents"], &summary["repeats_dropped"]), (&1.into(), &3.into()));
        assert_eq!((&summary["failed"], &summary["interrupted"]), (&false.into(), &false.into()));
    }
}

#[test]
fn without_a_url_an_embedded_gateway_is_used() {
    let run = clientlet(["stream", "--on", "/stream", "--text", "hello"]).run().exits(0);
    assert_eq!(ids(&run.documents()), ["s0", "s1", "s2"]);
    assert!(run.stderr.contains("an embedded gateway was started at http://"), "{}", run.stderr);
}

#[test]
fn ctrl_c_ends_the_stream_and_documents_so_far_are_printed() {
    let gateway = served();
    for (url, signal) in [(gateway.url(), Signal::SIGINT), (gateway.grpc_url(), Signal::SIGTERM)] {
        let mut running = clientlet(["stream", &url, "--on", "/endless", "--text", "hey"]).start();
        // Each document is printed as soon as it has come.
        for n in 0..3 {
            assert!(running.line().contains(&format!("\"hey {n}\"")));
        }
        running.signal(signal);
        let run = running.finish().exits(130);
        let more = u64::try_from(run.documents().len()).unwrap();
        assert!(run.stderr.contains(&format!("{} documents, interrupted, ", more + 3)), "{run:?}");
    }
    gateway.wait_for_cancelled(2);
}

#[test]
fn a_failure_is_reported_with_the_number_of_documents_before_it() {
    let gateway = served();
    for url in [gateway.url(), gateway.grpc_url()] {
        let run = clientlet(["stream", &url, "--on", "/stuck", "--text", "hey"])
            .args(["--idle-timeout", "0.2"])
            .run()
            .exits(1);
        let told = ", after 0 documents, kind timeout, delivery unknown, 1 attempt: no ";
        assert!(run.stderr.contains(told), "{}", run.stderr);
        assert!(run.stderr.contains("  hint: --timeout and --idle-timeout give"), "{}", run.stderr);

        let run = clientlet(["stream", &url, "--on", "/upper", "--text", "hey"]).run().exits(1);
        let told = "kind not_found, delivery not_sent, 1 attempt: \
                    /upper gives no stream of documents; the endpoints that do are /endless, ";
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
    let run = clientlet(["stream", &v1().url(), "--on", "/stream", "--text", "hey"]).run().exits(1);
    assert!(run.stderr.contains("a gateway with documents v1 has no streams"), "{}", run.stderr);
    let hint = "  hint: `clientlet post` sends documents to an endpoint that does not stream\n";
    assert!(run.stderr.contains(hint), "{}", run.stderr);
}

#[test]
fn a_call_that_cannot_be_sent_is_bad_input() {
    let url = "http://127.0.0.1:1";
    for (args, told) in [
        (&["stream", url, "--on", "/s"][..], "--text <T>|--document <JSON>"),
        (&["stream", url, "--text", "t"], "--on <ENDPOINT>"),
        (&["stream", url, "--on", "/s", "--text", "t", "--document", "{}"], "cannot be used with"),
        (&["stream", url, "--on", "/s", "--document", "[1]"], "it is not an object"),
        (&["stream", url, "--on", "/s", "--text", "t", "--parameters", "{}"], "use grpc://"),
        (&["stream", url, "--on", "/s", "--text", "t", "--target-executor", "a"], "use grpc://"),
        (&["stream", "ws://127.0.0.1:1", "--on", "/s", "--text", "t"], "use http:// or grpc://"),
        (&["stream", url, "--on", "/s", "--text", "t", "--output", "/"], "error: /: "),
    ] {
        let run = clientlet(args).run().exits(2);
        assert!(run.stderr.contains(told), "{args:?}: {}", run.stderr);
    }
}

#[test]
fn jina_3_33_with_v2_streams_over_http_and_grpc() {
    let options = Options { protocols: &["http", "grpc"], ..Options::default() };
    let Some(gateway) = RealGateway::start_or_skip(Environment::Current, options).unwrap() else {
        return;
    };
    for protocol in ["http", "grpc"] {
        let url = gateway.url(protocol);
        let run = clientlet(["stream", &url, "--on", "/stream", "--text", "hey"]).run().exits(0);
        let documents = run.documents();
        assert_eq!(ids(&documents), ["s0", "s1", "s2"], "{protocol}");
        assert_eq!(documents[1]["text"], "hey 1", "{protocol}");
        let run = clientlet(["stream", &url, "--on", "/stream_fail", "--text", "hey"]);
        let run = run.run().exits(0);
        assert_eq!(ids(&run.documents()), ["s0"], "{protocol}");
        assert!(run.stderr.starts_with("1 document, 3 repeats dropped, "), "{}", run.stderr);
    }
}

#[test]
fn one_warning_over_http_names_the_fields_that_a_proxy_may_drop() {
    let gateway = served();
    let long = format!(r#"{{"text": "{}"}}"#, "x".repeat(4096));
    for (document, is_whole) in [
        (r#"{"text": "hey", "tensor": [1.0]}"#, false),
        (&long, false),
        (r#"{"text": "hey"}"#, true),
    ] {
        for (url, may_drop) in [(gateway.url(), !is_whole), (gateway.grpc_url(), false)] {
            let run = clientlet(["stream", &url, "--on", "/stream", "--document", document]);
            let run = run.run().exits(0);
            let warnings =
                run.stderr.matches("warning: over HTTP, lists, objects and long").count();
            assert_eq!(warnings, usize::from(may_drop), "{document}: {}", run.stderr);
        }
    }
}
