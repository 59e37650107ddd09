//! `clientlet post` against gateways that break: each failure is reported, and no document is lost.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;

use clientlet_gateway::{DocArray, Gateway};
use clientlet_interop::Nginx;
use serde_json::json;

use crate::process::{Finished, clientlet, ids, lines, redact};
use crate::served::{Served, gone, serve, serve_apart};

/// The lines of the requests that are reported as failed.
fn failed_lines(run: &Finished) -> Vec<RangeInclusive<usize>> {
    let failed = run.stderr.lines().filter(|line| line.starts_with("failed: "));
    let ranges = failed.map(|line| {
        let after = line.split_once(" line").unwrap().1;
        let range = after.split_once(", kind ").unwrap().0.trim_start_matches('s').trim();
        let (first, last) = range.split_once('-').unwrap_or((range, range));
        first.parse().unwrap()..=last.parse().unwrap()
    });
    ranges.collect()
}

/// Removes the cause of a broken connection, which differs from run to run.
fn without_cause(line: &str) -> String {
    let is_varying = ["kind transport", "kind decode"].iter().any(|kind| line.contains(kind));
    match line.split_once(" attempt: ") {
        Some((place, _)) if is_varying => format!("{place} attempt: ..."),
        _ => line.to_owned(),
    }
}

#[test]
fn lost_requests_are_sent_again_and_each_document_comes_back_once() {
    let gateway = serve(DocArray::V1, &["reset-after@20%,seed=7"]);
    let run = clientlet(["post", &gateway.url(), "--input", "-", "--request-size", "10"])
        .args(["--max-attempts", "8", "--initial-backoff", "0.01"])
        .stdin(lines(1000))
        .run()
        .exits(0);
    let documents = run.documents();
    assert_eq!(documents.len(), 1000);
    assert_eq!(ids(&documents).into_iter().collect::<BTreeSet<_>>().len(), 1000);
    let closing = run.stderr.trim_end();
    assert!(closing.starts_with("1000 documents in 100 requests: 100 answered, 0 failed, "));
    let again = gateway.journal().arrivals().values().filter(|count| **count > 1).count();
    assert!(again > 0);
    assert!(closing.contains(&format!(" {again} retried, ")), "{closing}");
}

#[test]
fn a_failure_names_request_lines_kind_delivery_and_attempts() {
    let faults =
        ["reset-after@1", "status:503@2", "malformed@3", "reset-mid@4", "status:429:60@5-9"];
    let gateway = serve(DocArray::V1, &faults);
    let run = clientlet(["post", &gateway.url(), "--input", "-", "--request-size", "2"])
        .args(["--prefetch", "1", "--timeout", "5"])
        .stdin(format!("{}\n{}", lines(3), lines(6)))
        .run()
        .exits(1);
    assert_eq!(run.stdout, "");
    let told: String = run.stderr.lines().map(|line| without_cause(line) + "\n").collect();
    insta::assert_snapshot!("failures", redact(&told));
}

#[test]
fn the_lines_of_a_failure_are_those_of_the_file() {
    let gateway = serve(DocArray::V1, &["status:500@2"]);
    let run = clientlet(["post", &gateway.url(), "--input", "-", "--request-size", "2"])
        .args(["--prefetch", "1", "--text", "t"])
        .stdin("\n{}\nbad\n\n{}\n{}\n{}\n")
        .run()
        .exits(2);
    // The first request is the text and line 2; the second, lines 5 and 6.
    assert!(run.stderr.contains(", lines 5-6, kind gateway, "), "{}", run.stderr);
    assert!(run.stderr.contains("stdin:3:1: expected value"), "{}", run.stderr);
}

#[test]
fn an_executors_exception_is_reported_and_the_run_goes_on() {
    for generation in [DocArray::V1, DocArray::V2] {
        let gateway = serve(generation, &[]);
        let run = clientlet(["post", &gateway.url(), "--on", "/fail", "--input", "-"])
            .args(["--request-size", "1", "--parameters", r#"{"message": "no\nluck"}"#])
            .stdin(lines(2))
            .run()
            .exits(1);
        assert_eq!(run.stdout, "");
        assert_eq!(failed_lines(&run).len(), 2);
        assert!(run.stderr.contains("kind executor, delivery answered, 1 attempt: "));
        assert!(run.stderr.contains("luck"), "{}", run.stderr);
    }
}

#[test]
fn a_missing_gateway_is_reported_with_a_hint() {
    let run = clientlet(["post", &gone(), "--input", "-", "--request-size", "1", "--quiet"])
        .stdin(lines(3))
        .run()
        .exits(1);
    assert_eq!(failed_lines(&run), [1..=1, 2..=2, 3..=3]);
    assert!(run.stderr.contains("failed: line 1, kind connect, delivery not_sent, 1 attempt"));
    let hints = run.stderr.matches("  hint: is the gateway running there?").count();
    assert_eq!(hints, 1, "a hint is given once: {}", run.stderr);
}

#[test]
fn many_failures_in_a_row_name_stop_on_error_once() {
    let post = |count, options: &[&str]| {
        let arguments = ["post", &gone(), "--input", "-", "--request-size", "1", "--quiet"];
        let run = clientlet(arguments).args(options).stdin(lines(count)).run().exits(1);
        run.stderr.matches("  hint: many requests in a row failed").count()
    };
    assert_eq!(post(100, &[]), 1);
    assert_eq!(post(9, &[]), 0);
    assert_eq!(post(100, &["--stop-on-error"]), 0);
}

#[test]
fn what_became_of_the_documents_is_counted_in_documents() {
    let summary = tempfile::NamedTempFile::new().unwrap();
    let path = summary.path().to_str().unwrap();
    let gateway = serve(DocArray::V1, &["status:500@2"]);
    let post = |options: &[&str]| {
        let run = clientlet(["post", &gateway.url(), "--input", "-", "--request-size", "10"])
            .args(["--prefetch", "1", "--summary", path])
            .args(options)
            .stdin(lines(25))
            .run();
        let text = std::fs::read_to_string(path).unwrap();
        (run.stderr, serde_json::from_str::<serde_json::Value>(&text).unwrap())
    };
    let (told, counts) = post(&[]);
    assert_eq!((&counts["failed"], &counts["failed_documents"]), (&json!(1), &json!(10)), "{told}");
    assert!(told.contains("1 failed, 0 retried, 10 documents failed, "), "{told}");
    // The gateway speaks v1, so nothing is sent.
    let (told, counts) = post(&["--docarray", "v2"]);
    let not_sent = counts["not_sent"].as_u64().unwrap();
    assert_eq!((&counts["requests"], counts["documents"].as_u64()), (&json!(0), Some(not_sent)));
    let closing = format!("{not_sent} documents read, no request ended, {not_sent} documents not");
    assert!(not_sent > 0 && told.contains(&closing), "{told}");
}

#[test]
fn a_wrong_path_is_named_with_what_was_asked_and_the_hint_begins_with_it() {
    let gateway =
        Served::start(Gateway::builder().docarray(DocArray::V2).websocket(true).grpc(true));
    let wrong = |url: String| format!("{url}/wrong");
    for (arguments, told, hint) in [
        (["post", &wrong(gateway.url())], "GET /wrong/status: ", "is the URL's path right"),
        (["status", &wrong(gateway.url())], "GET /wrong/status: ", "is the URL's path right"),
        (["post", &wrong(gateway.grpc_url())], "UNIMPLEMENTED", "is the URL's path right"),
        (
            ["post", &gateway.websocket_url().replace("ws://", "http://")],
            "this port lists no endpoints",
            "a URL that begins with ws://, or wss:// over TLS, asks for WebSocket",
        ),
    ] {
        let options: &[&str] = if arguments[0] == "post" { &["--text", "a"] } else { &[] };
        let run = clientlet(arguments).args(options).run().exits(1);
        assert!(run.stderr.contains(told), "{arguments:?}: {}", run.stderr);
        let hinted = format!("  hint: {hint}");
        assert!(run.stderr.contains(&hinted), "{arguments:?}: {}", run.stderr);
        assert_eq!(run.stderr.matches("  hint: ").count(), 1, "{arguments:?}: {}", run.stderr);
    }
}

#[test]
fn a_gateway_that_hides_its_status_must_be_named_by_generation() {
    let gateway = Served::start(Gateway::builder().hide_status(true));
    let run = clientlet(["post", &gateway.url(), "--text", "hello"]).run().exits(1);
    assert!(run.stderr.contains("--docarray v1 or v2 avoids the question"), "{}", run.stderr);
    clientlet(["post", &gateway.url(), "--text", "hello", "--docarray", "v1"]).run().exits(0);
}

#[test]
fn documents_that_a_killed_gateway_did_not_answer_are_listed_by_their_lines() {
    let gateway = serve_apart(DocArray::V1, &["stall@3-1000"]);
    let url = gateway.url();
    let mut running = clientlet(["post", &url, "--input", "-", "--request-size", "10"])
        .args(["--prefetch", "4"])
        .start();
    let mut stdin = running.stdin.take().unwrap();
    std::thread::spawn(move || {
        use std::io::Write;
        drop(stdin.write_all(lines(200).as_bytes()));
    });
    // Two requests that are answered, and four that are not.
    gateway.wait_for(6);
    drop(gateway);
    let run = running.finish().exits(1);
    let documents = run.documents();
    let answered = ids(&documents).into_iter().map(|id| id.parse::<usize>().unwrap() + 1);
    let failed = failed_lines(&run);
    assert_eq!(failed.len(), 18);
    let mut lines: Vec<_> = answered.chain(failed.into_iter().flatten()).collect();
    lines.sort_unstable();
    assert_eq!(lines, (1..=200).collect::<Vec<_>>(), "each line once: answered or reported");
    assert!(run.stderr.contains("200 documents in 20 requests: 2 answered, 18 failed, "));
}

#[test]
fn stop_on_error_sends_nothing_after_the_first_failure() {
    let gateway = serve(DocArray::V1, &["status:500@2"]);
    let run = clientlet(["post", &gateway.url(), "--input", "-", "--request-size", "10"])
        .args(["--prefetch", "1", "--stop-on-error"])
        .stdin(lines(100))
        .run()
        .exits(1);
    assert_eq!(run.documents().len(), 10);
    assert_eq!(failed_lines(&run), [11..=20]);
    assert_eq!(gateway.journal().len(), 2);
    assert!(
        run.stderr.contains("stopped: the input from line 21 on was not read\n"),
        "{}",
        run.stderr
    );
}

#[test]
fn a_timeout_ends_a_stalled_request() {
    for option in ["--timeout", "--attempt-timeout"] {
        let gateway = serve(DocArray::V1, &["stall@1"]);
        let run = clientlet(["post", &gateway.url(), "--text", "a", option, "0.1"]).run().exits(1);
        let told = "--text 1, kind timeout, delivery unknown, 1 attempt: ";
        assert!(run.stderr.contains(told), "{}", run.stderr);
    }
}

/// Starts two nginx before the embedded gateway, for HTTP and for gRPC, both with these settings.
fn behind_nginx(gateway: &Served, server: &str) -> Option<[(Nginx, String); 2]> {
    let start = |listen: &str, scheme: &str, pass: &str, upstream: String| {
        let server = server.replace("PASS", &format!("{pass} {upstream};"));
        let nginx = Nginx::start_or_skip(listen, &server).unwrap()?;
        let url = format!("{scheme}://127.0.0.1:{}", nginx.port());
        Some((nginx, url))
    };
    Some([
        start("", "http", "proxy_pass", gateway.url())?,
        start("http2", "grpc", "grpc_pass", gateway.grpc_url())?,
    ])
}

#[test]
fn a_hint_names_a_proxys_limit_on_requests() {
    let gateway = Served::start(Gateway::builder().docarray(DocArray::V2).grpc(true));
    let server = "client_max_body_size 10k; location / { PASS }";
    let Some(proxies) = behind_nginx(&gateway, server) else { return };
    let large = json!({"text": "x".repeat(20 << 10)}).to_string();
    for (_nginx, url) in &proxies {
        for (command, hinted) in [
            (["post", "--input", "-"], "--request-size 10 makes smaller requests"),
            (["stream", "--on=/stream", "--document"], "the limit must be raised there"),
        ] {
            let mut invocation = clientlet([command[0], url]).args(&command[1..]);
            invocation = match command[0] {
                "stream" => invocation.args([&large]),
                _ => invocation.stdin(&large),
            };
            let run = invocation.run().exits(1);
            assert!(run.stderr.contains("413"), "{url}: {}", run.stderr);
            assert!(run.stderr.contains("client_max_body_size"), "{url}: {}", run.stderr);
            assert!(run.stderr.contains(hinted), "{url}: {}", run.stderr);
            assert_eq!(run.stderr.matches("  hint: ").count(), 1, "{url}: {}", run.stderr);
            assert_eq!(run.stderr.contains("--request-size"), command[0] == "post", "{url}");
        }
    }
}

#[test]
fn a_hint_names_missing_credentials_on_every_protocol() {
    let gateway = Served::start(Gateway::builder().docarray(DocArray::V2).grpc(true));
    let status = "default_type application/grpc; add_header grpc-status";
    for (refusal, code) in [
        ("return 401;".to_owned(), "401"),
        ("return 403;".to_owned(), "403"),
        (format!("{status} 16 always; return 204;"), "UNAUTHENTICATED"),
        (format!("{status} 7 always; return 204;"), "PERMISSION_DENIED"),
    ] {
        let server = format!("location / {{ {refusal} }}");
        let Some(proxies) = behind_nginx(&gateway, &server) else { return };
        for (_nginx, url) in &proxies {
            if url.starts_with("http") && refusal.contains("grpc") {
                continue;
            }
            for command in [
                &["post", "--text=x"][..],
                &["post", "--text=x", "--docarray=v2"],
                &["stream", "--text=x", "--on=/stream"],
                &["ready"],
                &["status"],
                &["endpoints"],
            ] {
                let run = clientlet([command[0], url]).args(&command[1..]).run().exits(1);
                let told = format!("{command:?} {url}: {}", run.stderr);
                assert!(run.stderr.contains(code), "{told}");
                assert!(run.stderr.contains("hint: credentials are given with --auth"), "{told}");
            }
        }
    }
}

#[test]
fn the_hint_to_try_again_is_given_once_in_a_run() {
    let gateway = serve(DocArray::V1, &["reset-after@1", "reset-after@3", "status:503@5"]);
    let run = clientlet(["post", &gateway.url(), "--input", "-", "--request-size", "1"])
        .args(["--prefetch", "1"])
        .stdin(lines(6))
        .run()
        .exits(1);
    assert_eq!(failed_lines(&run).len(), 3, "{}", run.stderr);
    assert_eq!(run.stderr.matches("--max-attempts").count(), 1, "{}", run.stderr);
}

#[test]
fn a_proxy_chooses_the_gateway_by_host_on_every_protocol() {
    let builder = Gateway::builder().docarray(DocArray::V2).websocket(true).grpc(true);
    let gateway = Served::start(builder);
    let location = "if ($http_host != flow.example) { return 404; }
        proxy_http_version 1.1; proxy_set_header Host $http_host;
        proxy_set_header Upgrade $http_upgrade; proxy_set_header Connection Upgrade;";
    let server = format!("location / {{ {location} PASS }}");
    let Some([http, grpc]) = behind_nginx(&gateway, &server) else { return };
    let upstream = gateway.websocket_url().replace("ws://", "http://");
    let server = server.replace("PASS", &format!("proxy_pass {upstream};"));
    let nginx = Nginx::start_or_skip("", &server).unwrap().unwrap();
    let websocket = format!("ws://127.0.0.1:{}", nginx.port());
    for url in [&http.1, &websocket, &grpc.1] {
        let commands = [&["post", "--text=hey"][..], &["ready"], &["status"], &["endpoints"]];
        let stream = &["stream", "--text=hey", "--on=/stream"][..];
        let is_streaming = !url.starts_with("ws");
        for command in commands.into_iter().chain(is_streaming.then_some(stream)) {
            let invocation = || clientlet([command[0], url]).args(&command[1..]);
            invocation().args(["--header", "Host: flow.example"]).run().exits(0);
            invocation().run().exits(1);
        }
    }
}
