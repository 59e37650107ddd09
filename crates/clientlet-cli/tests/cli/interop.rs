//! The command over WebSocket against real Jina gateways.

use clientlet_interop::{Environment, Options, OtlpReceiver, RealGateway, Span, Trace};
use serde_json::json;

use crate::process::{clientlet, documents, ids};

/// Starts a gateway of this environment. Returns `None` with a message if the environment is missing.
fn start(environment: Environment) -> Option<RealGateway> {
    let options = Options { protocols: &["http", "websocket"], ..Options::default() };
    RealGateway::start_or_skip(environment, options).unwrap()
}

fn check_documents_and_failures(environment: Environment) {
    let Some(gateway) = start(environment) else { return };
    let url = gateway.url("websocket");
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/../../examples/airports.jsonl");
    let sent = documents(&std::fs::read_to_string(path).unwrap());
    let run = clientlet(["post", &url, "--input", path, "--on", "/upper", "--in-order"]);
    let answers = run.run().exits(0).documents();
    assert_eq!(ids(&answers), ids(&sent));
    let upper = |text: &serde_json::Value| text.as_str().unwrap().to_uppercase();
    assert!(answers.iter().zip(&sent).all(|(back, sent)| back["text"] == upper(&sent["text"])));

    let input: String = (0..200).map(|n| json!({"id": n.to_string()}).to_string() + "\n").collect();
    let run = clientlet(["post", &url, "--input", "-", "--on", "/fail", "--request-size", "1"])
        .stdin(input)
        .run()
        .exits(1);
    let told = ", kind executor, delivery answered, 1 attempt: WireExecutor raised ValueError(";
    assert_eq!(run.stderr.lines().filter(|line| line.contains(told)).count(), 200);
    let closing = "200 documents in 200 requests: 0 answered, 200 failed, 0 retried, ";
    assert!(run.stderr.contains(closing), "{}", run.stderr);
    assert_eq!(run.stdout, "");

    // Each port is given in place of the other.
    let (http, websocket) = (gateway.port("http"), gateway.port("websocket"));
    for (url, hint) in [
        (format!("ws://127.0.0.1:{http}"), "hint: this is also the answer of a port for HTTP"),
        (
            format!("http://127.0.0.1:{websocket}"),
            "hint: a URL that begins with ws://, or wss:// over TLS, asks for WebSocket",
        ),
    ] {
        let run = clientlet(["post", &url, "--text", "hello"]).run().exits(1);
        assert!(run.stderr.contains(hint), "{}", run.stderr);
    }
}

#[test]
fn jina_3_14_answers_each_document_in_order_and_reports_each_of_200_failures() {
    check_documents_and_failures(Environment::SeedEra);
}

#[test]
fn jina_3_33_with_v1_answers_each_document_in_order_and_reports_each_of_200_failures() {
    check_documents_and_failures(Environment::CurrentV1);
}

#[test]
fn jina_3_33_with_v2_answers_each_document_in_order_and_reports_each_of_200_failures() {
    check_documents_and_failures(Environment::Current);
}

#[test]
fn a_real_v2_executor_takes_tensors_bytes_and_objects_for_documents() {
    let Some(gateway) = start(Environment::Current) else { return };
    let document = json!({
        "id": "a",
        "blob": "/wA=",
        "embedding": [0.1, 1],
        "tensor": [[1, 2], [3, 4]],
        "part": {"id": "p", "text": "part", "tensor": [true]},
        "parts": [{"id": "q", "text": "listed", "tensor": [1]}],
        "chunks": [{"id": "c", "text": "chunk", "tensor": [0.123456789]}],
        "tags": {"numbers": [1, 2]},
    });
    let tensors = [
        "embedding:float16",
        "tensor:uint8",
        "part.tensor:bool",
        "parts.tensor",
        "chunks.tensor:f4",
    ];
    let run = clientlet(["post", &gateway.url("websocket"), "--input", "-", "--blob", "blob"])
        .args(tensors.iter().flat_map(|field| ["--tensor", field]))
        .stdin(document.to_string())
        .run()
        .exits(0);
    let answer = &run.documents()[0];
    for (field, told) in [
        // Without --blob the executor would get the bytes of the text.
        ("/blob", "\"/wA=\""),
        ("/embedding", "[0.099975586,1.0]"),
        ("/tensor", "[[1,2],[3,4]]"),
        ("/part/text", "\"part\""),
        ("/part/tensor", "[true]"),
        ("/parts/0/id", "\"q\""),
        ("/parts/0/tensor", "[1.0]"),
        ("/chunks/0/text", "\"chunk\""),
        ("/chunks/0/tensor", "[0.12345679]"),
        ("/tags/numbers", "[1,2]"),
    ] {
        assert_eq!(answer.pointer(field).unwrap().to_string(), told, "{field}");
    }
}

#[test]
fn a_dead_executor_is_reported_and_the_command_waits_for_a_revived_one() {
    let Some(mut gateway) = start(Environment::Current) else { return };
    let url = gateway.url("websocket");
    gateway.kill_executor().unwrap();
    let run = clientlet(["ready", &url]).run().exits(1);
    assert!(run.stderr.starts_with("error: the gateway is not ready: "), "{}", run.stderr);
    let run = clientlet(["post", &url, "--text", "hello"]).run().exits(1);
    assert!(run.stderr.contains("the gateway closed with 1011: "), "{}", run.stderr);
    assert!(run.stderr.contains("hint: --max-attempts 4 tries again"), "{}", run.stderr);

    let waiting = clientlet(["post", &url, "--text", "hello", "--on", "/upper"])
        .args(["--max-attempts", "1000", "--max-backoff", "0.2"])
        .start();
    gateway.revive_executor().unwrap();
    assert_eq!(waiting.finish().exits(0).documents()[0]["text"], "HELLO");
    clientlet(["ready", &url]).run().exits(0);
}

/// Python's own OpenTelemetry packages read what the command sends, and a gateway of Jina 3.33.1 sends its
/// spans to the same receiver.
#[test]
fn a_receiver_of_python_puts_the_command_the_gateway_and_the_executor_into_one_trace() {
    let Some(mut receiver) = OtlpReceiver::start_or_skip().unwrap() else { return };
    let protocols: &[_] = &["http", "websocket", "grpc"];
    let traces = Some(receiver.grpc_port());
    let options = Options { protocols, traces, ..Options::default() };
    let Some(gateway) = RealGateway::start_or_skip(Environment::Current, options).unwrap() else {
        return;
    };
    let mut ids = 0xab..;
    for (otlp, port) in [("grpc", receiver.grpc_port()), ("http/protobuf", receiver.http_port())] {
        for (protocol, compression) in protocols.iter().zip(["gzip", "none", "gzip"]) {
            let what = format!("{protocol}, OTLP over {otlp}, {compression}");
            let id = format!("{:032x}", ids.next().unwrap());
            let to = format!("http://127.0.0.1:{port}");
            let url = gateway.url(protocol);
            clientlet(["post", &url, "--text", "x", "--on", "/upper", "--quiet", "--otlp", &to])
                .env("OTEL_EXPORTER_OTLP_PROTOCOL", otlp)
                .env("OTEL_EXPORTER_OTLP_COMPRESSION", compression)
                .env("TRACEPARENT", format!("00-{id}-00f067aa0ba902b7-01"))
                .env("TRACESTATE", "vendor=x")
                .run()
                .exits(0);

            let of_command =
                |span: &Span| span.service == "clientlet" && span.name == "clientlet post";
            let of_gateway =
                |span: &Span, kind| span.service == "gateway/rep-0" && span.kind == kind;
            // The gateway ends its span of a WebSocket or a stream last.
            let names = ["POST /upper", "HTTP /", "/jina.JinaRPC/Call"];
            let taken = |span: &Span| of_gateway(span, "SERVER") && names.contains(&&*span.name);
            let handed_on = |span: &Span| of_gateway(span, "CLIENT");
            let of_executor =
                |span: &Span| span.service == "executor0/rep-0" && span.name == "/upper";
            let parts: [&dyn Fn(&Span) -> bool; 4] =
                [&of_command, &taken, &handed_on, &of_executor];
            let is_complete = |spans: &[Span]| {
                let ours = |span: &&Span| span.trace_id == id;
                parts.iter().all(|is_part| spans.iter().filter(ours).any(is_part))
            };
            let trace = Trace::of(&id, receiver.spans_until(is_complete).to_vec());
            let [root] = trace.roots()[..] else { panic!("{what}\n{trace}") };
            assert!(of_command(root), "{what}\n{trace}");
            assert_eq!(root.parent_span_id, "00f067aa0ba902b7", "{what}");
            let [call] = trace.children(root)[..] else { panic!("{what}\n{trace}") };
            assert_eq!(
                (&*call.name, &*call.scope),
                ("post /upper", "clientlet"),
                "{what}\n{trace}"
            );
            assert_eq!(call.attributes["clientlet.requests"], json!(1), "{what}");
            assert!(
                trace.spans().iter().all(|span| span.trace_state == "vendor=x"),
                "{what}\n{trace}"
            );
            for is_part in parts {
                assert_eq!(
                    trace.spans().iter().filter(|span| is_part(span)).count(),
                    1,
                    "{what}\n{trace}"
                );
            }
        }
    }

    let metrics = receiver.metrics_until(|metrics| {
        metrics.iter().filter(|metric| metric.name == "clientlet.request.duration").count() >= 6
    });
    let found =
        |name: &str| metrics.iter().filter(|metric| metric.name == name).collect::<Vec<_>>();
    let durations = found("clientlet.request.duration");
    assert_eq!(durations.len(), 6);
    for metric in durations {
        assert_eq!(
            (&*metric.kind, &*metric.unit, metric.points[0].count),
            ("histogram", "s", Some(1))
        );
        assert_eq!(metric.points[0].attributes["clientlet.endpoint"], json!("/upper"));
    }
    for metric in found("clientlet.io") {
        let are_bytes =
            metric.points.iter().all(|point| point.value.is_some_and(|bytes| bytes > 0.0));
        assert!(metric.kind == "sum" && metric.unit == "By" && are_bytes, "{metric:?}");
    }
}
