//! `ws://` addresses: what a user sees of a connection that carries all requests.

use std::collections::BTreeSet;
use std::io::Write;

use clientlet_gateway::{DocArray, Gateway};
use nix::sys::signal::Signal;
use serde_json::json;

use crate::process::{clientlet, ids, lines};
use crate::served::{Served, gone, serve, v1};

#[test]
fn every_command_speaks_to_a_websocket_port() {
    for generation in [DocArray::V1, DocArray::V2] {
        let gateway = serve(generation, &[]);
        let url = gateway.websocket_url();
        let run = clientlet(["ready", &url]).run().exits(0);
        assert_eq!((run.stdout.as_str(), run.stderr.as_str()), ("ready\n", ""));
        let run = clientlet(["status", &url]).run().exits(0);
        assert!(run.stdout.starts_with("jina  "), "{}", run.stdout);
        let run = clientlet(["endpoints", &url]).run().exits(0);
        assert!(
            run.stderr.ends_with("and does not list its executors' endpoints\n"),
            "{}",
            run.stderr
        );
        let run = clientlet(["post", &url, "--on", "/upper", "--input", "-", "--in-order"])
            .args(["--request-size", "3"])
            .stdin(lines(10))
            .run()
            .exits(0);
        let texts: Vec<_> = run.documents().iter().map(|it| it["text"].clone()).collect();
        assert_eq!(texts, (0..10).map(|n| json!(format!("T{n}"))).collect::<Vec<_>>());
    }
}

#[test]
fn responses_have_the_same_keys_as_over_http() {
    for generation in [DocArray::V1, DocArray::V2] {
        let gateway = serve(generation, &[]);
        let keys = |url: &str| {
            let run = clientlet(["post", url, "--text", "hello", "--responses"]).run().exits(0);
            let response = run.documents().remove(0);
            assert_eq!(response["data"][0]["text"], "hello", "{response}");
            response.as_object().unwrap().keys().cloned().collect::<Vec<_>>()
        };
        assert_eq!(keys(&gateway.websocket_url()), keys(&gateway.url()));
    }
}

#[test]
fn a_connection_dropped_every_50_messages_loses_and_repeats_no_document() {
    let gateway = serve(DocArray::V1, &["drop@/50"]);
    let run = clientlet(["post", &gateway.websocket_url(), "--input", "-", "--in-order"])
        .args(["--request-size", "5", "--max-attempts", "8", "--initial-backoff", "0.01"])
        .stdin(lines(2000))
        .run()
        .exits(0);
    let answers = run.documents();
    assert_eq!(ids(&answers), (0..2000).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(gateway.journal().websocket_connections() > 1);
}

#[test]
fn a_connection_that_cannot_be_made_is_reported_with_a_hint() {
    let gateway = v1();
    let no_gateway = gone().replace("http://", "ws://");
    let table = [
        // Each port is given in place of the other.
        (
            gateway.url().replace("http://", "ws://"),
            "hint: this is also the answer of a port for HTTP",
        ),
        (
            gateway.websocket_url().replace("ws://", "http://"),
            "hint: a URL that begins with ws://, or wss:// over TLS, asks for WebSocket",
        ),
        (
            format!("{}/other", gateway.websocket_url()),
            "hint: is the URL's path right, and is this a Jina gateway?",
        ),
        (no_gateway.clone(), "hint: is the gateway running there? `clientlet gateway` starts one"),
    ];
    for (url, hint) in table {
        let run = clientlet(["post", &url, "--text", "hello"]).run().exits(1);
        assert!(run.stderr.contains(", delivery "), "{url}: {}", run.stderr);
        assert!(run.stderr.contains(hint), "{url}: {}", run.stderr);
        assert_eq!(run.stderr.lines().count(), 3, "{url}: {}", run.stderr);
    }
    for command in ["ready", "status", "endpoints"] {
        let run = clientlet([command, &no_gateway]).run().exits(1);
        assert!(run.stderr.contains("nothing listens at "), "{command}: {}", run.stderr);
    }
    // A port for HTTP answers the gateway's dry run, too.
    let run = clientlet(["ready", &gateway.url().replace("http://", "ws://")]).run().exits(1);
    assert!(run.stderr.contains("did not upgrade to WebSocket"), "{}", run.stderr);
    assert!(
        run.stderr.contains("hint: this is also the answer of a port for HTTP"),
        "{}",
        run.stderr
    );
}

#[test]
fn an_executor_that_is_down_is_reported_and_makes_the_gateway_not_ready() {
    let gateway = Served::start(Gateway::builder().executor_down(true));
    let url = gateway.websocket_url();
    let run = clientlet(["ready", &url]).run().exits(1);
    assert!(run.stderr.starts_with("error: the gateway is not ready: "), "{}", run.stderr);
    let run = clientlet(["post", &url, "--text", "hello"]).run().exits(1);
    assert!(run.stderr.contains("kind gateway, delivery unknown, 1 attempt: the gateway closed"));
    assert!(run.stderr.contains("hint: --max-attempts 4 tries again"), "{}", run.stderr);
}

#[test]
fn ctrl_c_keeps_answers_so_far_and_reports_the_other_documents() {
    let gateway = serve(DocArray::V1, &["stall@3-1000"]);
    let mut running =
        clientlet(["post", &gateway.websocket_url(), "--input", "-", "--prefetch", "4"])
            .args(["--request-size", "10"])
            .start();
    let mut stdin = running.stdin.take().unwrap();
    std::thread::spawn(move || drop(stdin.write_all(lines(1000).as_bytes())));
    // Two requests that are answered, and four that are not.
    gateway.wait_for(6);
    running.signal(Signal::SIGINT);
    let run = running.finish().exits(130);
    let answers = run.documents();
    assert_eq!(ids(&answers).into_iter().collect::<BTreeSet<_>>().len(), 20);
    let told = "interrupted: 40 documents not answered, 4 requests in flight (line";
    assert!(run.stderr.starts_with(told), "{}", run.stderr);
}
