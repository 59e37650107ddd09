//! `--otlp` and the `OTEL_*` variables.

use std::ffi::OsStr;
use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::os::unix::ffi::OsStrExt;
use std::sync::Arc;

use clientlet_gateway::DocArray;
use clientlet_interop::Certificate;
use nix::sys::signal::Signal;
use opentelemetry_proto::tonic::trace::v1::Span;
use tokio::sync::Notify;

use crate::process::{Finished, Invocation, clientlet, lines};
use crate::receiver::{Conduct, Receiver, texts};
use crate::served::{Served, gone, serve, v1};

/// Posts one document to a gateway, with its telemetry to this URL.
fn post_one(gateway: &Served, otlp: &str) -> Invocation {
    clientlet(["post", &gateway.url(), "--text", "x", "--quiet", "--otlp", otlp])
}

/// The two protocols, by the variable that chooses them.
const PROTOCOLS: [&str; 2] = ["grpc", "http/protobuf"];

#[test]
fn spans_and_metrics_arrive_over_both_protocols_with_the_command_as_the_root() {
    for protocol in PROTOCOLS {
        let (gateway, receiver) = (v1(), Receiver::start(Conduct::Take));
        let run = post_one(&gateway, &receiver.url()).env("OTEL_EXPORTER_OTLP_PROTOCOL", protocol);
        let run = run.run().exits(0);
        assert_eq!((run.stderr.as_str(), run.documents().len()), ("", 1), "{protocol}");
        let spans = receiver.spans();
        let root = one(&spans, "clientlet post");
        assert!(root.parent_span_id.is_empty());
        let attributes = texts(&root.attributes);
        assert!(attributes.contains(&("process.exit.code".into(), "0".into())), "{attributes:?}");
        let call = one(&spans, "post /");
        assert_eq!(call.parent_span_id, root.span_id);
        let attempt = one(&spans, "POST /post");
        assert_eq!(attempt.parent_span_id, call.span_id);
        assert!(spans.iter().all(|(_, span)| span.trace_id == root.trace_id));
        let metrics = receiver.metrics();
        for name in ["clientlet.request.duration", "clientlet.attempts", "clientlet.io"] {
            assert!(metrics.iter().any(|metric| metric == name), "{metrics:?}");
        }
        let paths = match protocol {
            "grpc" => [
                "/opentelemetry.proto.collector.trace.v1.TraceService/Export",
                "/opentelemetry.proto.collector.metrics.v1.MetricsService/Export",
            ],
            _ => ["/v1/traces", "/v1/metrics"],
        };
        assert!(receiver.taken().iter().all(|it| paths.contains(&it.path.as_str())));
        // The gateway sees the trace that the receiver sees.
        let entries = gateway.journal().entries();
        let sent = entries[0].header("traceparent").unwrap();
        assert!(sent.contains(&hex(&root.trace_id)), "{sent}");
        assert!(sent.contains(&hex(&attempt.span_id)), "{sent}");
    }
}

/// The only span of this name.
#[track_caller]
fn one<'s>(spans: &'s [(String, Span)], name: &str) -> &'s Span {
    let mut named = spans.iter().map(|(_, span)| span).filter(|span| span.name == name);
    let names: Vec<_> = spans.iter().map(|(_, span)| &span.name).collect();
    let one = named.next().unwrap_or_else(|| panic!("{name} is not in {names:?}"));
    assert!(named.next().is_none(), "{name} is more than once in {names:?}");
    one
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[test]
fn every_command_that_connects_exports() {
    let gateway = serve(DocArray::V2, &[]);
    for command in ["post", "stream", "ready", "status", "endpoints"] {
        let receiver = Receiver::start(Conduct::Take);
        let (url, otlp) = (gateway.url(), receiver.url());
        let run = clientlet([command, &url, "--otlp", &otlp]);
        let run = match command {
            "post" => run.args(["--on", "/upper", "--text", "x"]),
            "stream" => run.args(["--on", "/stream", "--text", "x"]),
            _ => run,
        };
        run.run().exits(0);
        let spans = receiver.spans();
        let root = one(&spans, &format!("clientlet {command}"));
        let is_below = |(_, span): &(String, Span)| span.parent_span_id == root.span_id;
        assert!(spans.iter().any(is_below), "{command}: {spans:?}");
    }
}

#[test]
fn a_failure_is_the_exit_code_of_the_root_span() {
    let (url, receiver) = (gone(), Receiver::start(Conduct::Take));
    clientlet(["ready", &url, "--otlp", &receiver.url()]).run().exits(1);
    let spans = receiver.spans();
    let root = one(&spans, "clientlet ready");
    let attributes = texts(&root.attributes);
    for (name, value) in [("process.exit.code", "1"), ("error.type", "1")] {
        assert!(attributes.contains(&(name.into(), value.into())), "{attributes:?}");
    }
    assert_eq!(root.status.as_ref().unwrap().code, 2);
}

#[test]
fn variables_choose_where_and_how_to_export() {
    let (gateway, general, own) =
        (v1(), Receiver::start(Conduct::Take), Receiver::start(Conduct::Take));
    let run = clientlet(["ready", &gateway.url()])
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", format!("{}/base", general.url()))
        .env("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", format!("{}/own/traces?key=k", own.url()))
        .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Basic%20abc, x-many = 1,")
        .env("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "x-other=%C3%A9")
        .env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip")
        .env("OTEL_SERVICE_NAME", "loader")
        .env("OTEL_RESOURCE_ATTRIBUTES", "team=search%2Cindex,service.name=other,host.name=h1")
        .run()
        .exits(0);
    assert_eq!(run.stderr, "");
    let [traces] = &*own.taken() else { panic!("one message of traces") };
    assert_eq!(traces.path, "/own/traces?key=k");
    assert_eq!(
        (&traces.headers["authorization"], &traces.headers["x-many"]),
        (&"Basic abc".parse().unwrap(), &"1".parse().unwrap())
    );
    assert_eq!(traces.headers["content-encoding"], "gzip");
    let [metrics] = &*general.taken() else { panic!("one message of metrics") };
    assert_eq!(metrics.path, "/base/v1/metrics");
    assert_eq!(metrics.headers["x-other"].as_bytes(), "é".as_bytes());
    assert!(!metrics.headers.contains_key("authorization"));
    let resource = own.resource();
    for (name, value) in [("service.name", "loader"), ("team", "search,index"), ("host.name", "h1")]
    {
        let values: Vec<_> = resource.iter().filter(|it| it.0 == name).map(|it| &it.1).collect();
        assert_eq!(values, [value], "{resource:?}");
    }
    assert!(resource.iter().any(|it| it.0 == "telemetry.sdk.name"), "{resource:?}");
}

#[test]
fn a_compressed_message_of_grpc_says_so() {
    let (gateway, receiver) = (v1(), Receiver::start(Conduct::Take));
    let url = receiver.url().replace("http://", "grpc://");
    let run = post_one(&gateway, &url).env("OTEL_EXPORTER_OTLP_COMPRESSION", "gzip").run().exits(0);
    assert_eq!(run.stderr, "");
    one(&receiver.spans(), "clientlet post");
    assert!(receiver.taken().iter().all(|it| it.headers["grpc-encoding"] == "gzip"));
}

#[test]
fn signals_can_be_left_out_and_the_whole_be_disabled() {
    // The gateway is told whether the trace is sampled.
    for (variable, value, has_traces, has_metrics, told) in [
        ("OTEL_TRACES_EXPORTER", "none", false, true, None),
        ("OTEL_METRICS_EXPORTER", "none", true, false, Some("-01")),
        ("OTEL_SDK_DISABLED", "true", false, false, None),
        ("OTEL_TRACES_SAMPLER", "always_off", false, true, Some("-00")),
        ("OTEL_TRACES_EXPORTER", "", true, true, Some("-01")),
    ] {
        let (gateway, receiver) = (v1(), Receiver::start(Conduct::Take));
        let run = post_one(&gateway, &receiver.url()).env(variable, value).run().exits(0);
        assert_eq!(run.stderr, "", "{variable}");
        assert_eq!(!receiver.spans().is_empty(), has_traces, "{variable}={value}");
        assert_eq!(!receiver.metrics().is_empty(), has_metrics, "{variable}={value}");
        let entries = gateway.journal().entries();
        let sent = entries[0].header("traceparent").map(|sent| &sent[sent.len() - 3..]);
        assert_eq!(sent, told, "{variable}={value}");
    }
}

#[test]
fn without_an_endpoint_no_other_variable_counts() {
    let gateway = v1();
    let run = clientlet(["ready", &gateway.url()])
        .env("OTEL_TRACES_EXPORTER", "console")
        .env("OTEL_EXPORTER_OTLP_TIMEOUT", "x")
        .env("OTEL_EXPORTER_OTLP_ENDPOINT", "");
    assert_eq!(run.run().exits(0).stderr, "");
}

#[test]
fn the_environment_names_the_parent_and_what_goes_on_with_it() {
    let trace = "0af7651916cd43dd8448eb211c80319c";
    let parent = format!("00-{trace}-b7ad6b7169203331-01");
    for (propagators, is_continued, has_baggage) in [
        (None, true, true),
        (Some("tracecontext"), true, false),
        (Some("baggage"), false, true),
        (Some("none"), false, false),
    ] {
        let (gateway, receiver) = (v1(), Receiver::start(Conduct::Take));
        let run = post_one(&gateway, &receiver.url())
            .env("TRACEPARENT", &parent)
            .env("TRACESTATE", "vendor=1")
            .env("BAGGAGE", "tenant=t1");
        let run = match propagators {
            Some(propagators) => run.env("OTEL_PROPAGATORS", propagators),
            None => run,
        };
        run.run().exits(0);
        let spans = receiver.spans();
        let root = one(&spans, "clientlet post");
        assert_eq!(hex(&root.trace_id) == trace, is_continued, "{propagators:?}");
        let parent = if is_continued { "b7ad6b7169203331" } else { "" };
        assert_eq!(hex(&root.parent_span_id), parent, "{propagators:?}");
        let entries = gateway.journal().entries();
        let sent = |name: &str| entries[0].header(name);
        let has_parent = sent("traceparent").is_some_and(|sent| sent.contains(trace));
        assert_eq!(has_parent, is_continued, "{propagators:?}");
        let state = is_continued.then_some("vendor=1");
        assert_eq!(sent("tracestate"), state, "{propagators:?}");
        assert_eq!(sent("baggage"), has_baggage.then_some("tenant=t1"), "{propagators:?}");
    }
}

#[test]
fn a_parent_that_is_not_sampled_or_malformed() {
    for (parent, is_exported) in [
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00", false),
        ("00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331", true),
        ("\u{1b}[2J", true),
    ] {
        let (gateway, receiver) = (v1(), Receiver::start(Conduct::Take));
        let run = post_one(&gateway, &receiver.url()).env("TRACEPARENT", parent).run().exits(0);
        assert_eq!(run.stderr, "");
        assert_eq!(!receiver.spans().is_empty(), is_exported, "{parent:?}");
    }
}

/// Checks that the documents came and that one warning was printed.
#[track_caller]
fn warned(run: &Finished, reason: &str) {
    assert_eq!(run.documents().len(), 1, "{run:?}");
    let [warning] = &*run.stderr.lines().collect::<Vec<_>>() else { panic!("{run:?}") };
    let begin = "warning: traces or metrics are lost on the way to the OTLP receiver \
                 (receiver http://127.0.0.";
    assert!(warning.starts_with(begin), "{warning}");
    assert!(warning.ends_with(&format!(", reason {reason})")), "{warning}");
}

#[test]
fn a_receiver_that_is_not_there_costs_one_warning() {
    let url = gone();
    let address = url.trim_start_matches("http://").trim_end_matches('/');
    let refused = TcpStream::connect(address).unwrap_err().to_string();
    for scheme in ["http", "grpc"] {
        let run = post_one(&v1(), &format!("{scheme}://{address}")).run().exits(0);
        warned(&run, &refused);
    }
}

#[test]
fn a_receiver_of_the_other_protocol_is_told_apart_from_a_lost_connection() {
    let settings_of_http2: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
    for (scheme, answer, reason) in [
        (
            "http",
            settings_of_http2,
            "it does not speak HTTP/1.1; for gRPC its URL begins with grpc://, or grpcs:// over TLS",
        ),
        (
            "grpc",
            b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n",
            "it does not speak gRPC; for HTTP its URL begins with http:// or https://, and \
             OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf",
        ),
    ] {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let url = format!("{scheme}://{}", listener.local_addr().unwrap());
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut begin = [0; 16];
                stream.read_exact(&mut begin).unwrap();
                stream.write_all(answer).unwrap();
                // Reads on, so that the answer is not lost to a reset.
                std::io::copy(&mut stream, &mut std::io::sink()).ok();
            }
        });
        warned(&post_one(&v1(), &url).run().exits(0), reason);
    }
}

#[test]
fn a_receiver_that_refuses_costs_one_warning_without_its_text() {
    for (scheme, conduct, reason) in [
        ("http", Conduct::Status(403), "HTTP status 403 Forbidden"),
        ("http", Conduct::Status(503), "HTTP status 503 Service Unavailable"),
        ("http", Conduct::Busy("18446744073709551615"), "HTTP status 503 Service Unavailable"),
        ("grpc", Conduct::Status(403), "HTTP status 403 Forbidden"),
        ("grpc", Conduct::Status(200), "it does not answer in gRPC"),
        ("grpc", Conduct::Grpc(7), "gRPC status 7 (PERMISSION_DENIED)"),
        ("grpc", Conduct::Grpc(14), "gRPC status 14 (UNAVAILABLE)"),
        ("http", Conduct::Reject(3), "it rejected 3 of them"),
        ("grpc", Conduct::Reject(3), "it rejected 3 of them"),
    ] {
        let receiver = Receiver::start(conduct);
        let run = post_one(&v1(), &receiver.url().replace("http", scheme))
            .env("OTEL_EXPORTER_OTLP_HEADERS", "authorization=Bearer%20s3cret")
            .run()
            .exits(0);
        warned(&run, reason);
        assert!(!receiver.taken().is_empty() && !run.stderr.contains("s3cret"), "{run:?}");
    }
}

#[test]
fn a_receiver_that_says_why_it_closes_a_connection_is_not_quoted() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let mut stream = stream.unwrap();
            // HTTP/2's preface and the head of the first frame; what the client sends then does not matter.
            stream.read_exact(&mut [0; 24 + 9]).unwrap();
            let said = b"s3cret";
            let mut frames = vec![0, 0, 0, 4, 0, 0, 0, 0, 0];
            frames.extend([0, 0, 8 + 6, 7, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 11]);
            frames.extend(said);
            stream.write_all(&frames).unwrap();
            // Reads to the end, since a close with bytes unread would be a reset.
            let _ = std::io::copy(&mut stream, &mut std::io::sink());
        }
    });
    let run = post_one(&v1(), &url).run().exits(0);
    warned(&run, "http2 error: detected excessive load generating behavior");
    assert!(!run.stderr.contains("s3cret"), "{run:?}");
}

/// The limits of OpenTelemetry are an hour here, and the run has to end within a minute, so only the
/// command's own patience can end it.
#[test]
fn a_receiver_that_stalls_does_not_keep_the_command_from_ending() {
    // The first one is silent: it takes the connection, and reads nothing.
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let stalling = Receiver::start(Conduct::Stall);
    for port in [silent.local_addr().unwrap().port(), stalling.port()] {
        for scheme in ["http", "grpc"] {
            let run = patient(post_one(&v1(), &format!("{scheme}://127.0.0.1:{port}"))).run();
            warned(&run.exits(0), "it has not answered when the command ended");
        }
    }
    assert_eq!(stalling.taken().len(), 4);
}

fn patient(run: Invocation) -> Invocation {
    ["OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_EXPORT_TIMEOUT", "OTEL_METRIC_EXPORT_TIMEOUT"]
        .into_iter()
        .fold(run, |run, name| run.env(name, "3600000"))
}

#[test]
fn a_stalled_receiver_delays_neither_documents_nor_the_end_after_a_signal() {
    let receiver = Receiver::start(Conduct::Stall);
    let mut running = patient(
        clientlet(["post", "--input", "-", "--request-size", "1", "--quiet"])
            .args(["--otlp", &receiver.url()])
            // Each span is exported at once, and the first export stalls.
            .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
            .env("OTEL_BSP_MAX_QUEUE_SIZE", "4"),
    )
    .start();
    let stdin = running.stdin.as_mut().unwrap();
    stdin.write_all(lines(1).as_bytes()).unwrap();
    running.line();
    receiver.wait_for(1);
    running.stdin.as_mut().unwrap().write_all(lines(50).as_bytes()).unwrap();
    for _ in 0..50 {
        running.line();
    }
    running.signal(Signal::SIGINT);
    let run = running.finish_with_open_stdin().exits(130);
    let [interrupted, warning] = &*run.stderr.lines().collect::<Vec<_>>() else {
        panic!("{run:?}")
    };
    assert!(interrupted.starts_with("interrupted: 0 documents not answered"), "{interrupted}");
    assert!(warning.starts_with("warning: traces or metrics are lost"), "{warning}");
}

#[test]
fn an_export_that_is_refused_for_a_moment_is_tried_again_without_a_warning() {
    let receiver = Receiver::serve(
        |number| if number == 0 { Conduct::Busy("0") } else { Conduct::Take },
        None,
    );
    let mut running = clientlet(["post", "--input", "-", "--request-size", "1", "--quiet"])
        .args(["--otlp", &receiver.url()])
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("OTEL_BSP_SCHEDULE_DELAY", "1")
        .start();
    running.stdin.as_mut().unwrap().write_all(lines(1).as_bytes()).unwrap();
    running.line();
    receiver.wait_for(2);
    drop(running.stdin.take());
    let run = running.finish().exits(0);
    assert_eq!(run.stderr, "");
    let messages = receiver.taken();
    assert!(messages[0].message == messages[1].message, "the first message comes again");
}

#[test]
fn spans_that_do_not_fit_in_the_queue_are_counted() {
    // The first span is in the hands of the exporter, and the receiver takes it when all are there.
    let gate = Arc::new(Notify::new());
    let held = Arc::clone(&gate);
    let receiver = Receiver::serve(
        move |number| if number == 0 { Conduct::Hold(Arc::clone(&held)) } else { Conduct::Take },
        None,
    );
    let mut running = clientlet(["post", "--input", "-", "--request-size", "1", "--quiet"])
        .args(["--otlp", &receiver.url()])
        .env("OTEL_METRICS_EXPORTER", "none")
        .env("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "1")
        .env("OTEL_BSP_MAX_QUEUE_SIZE", "4")
        .start();
    running.stdin.as_mut().unwrap().write_all(lines(1).as_bytes()).unwrap();
    running.line();
    receiver.wait_for(1);
    running.stdin.as_mut().unwrap().write_all(lines(50).as_bytes()).unwrap();
    for _ in 0..50 {
        running.line();
    }
    gate.notify_one();
    drop(running.stdin.take());
    let run = running.finish().exits(0);
    let [warning] = &*run.stderr.lines().collect::<Vec<_>>() else { panic!("{run:?}") };
    let (_, dropped) = warning.rsplit_once("reason ").unwrap();
    let dropped: usize = dropped
        .strip_suffix(" spans did not fit in the queue (OTEL_BSP_MAX_QUEUE_SIZE))")
        .unwrap()
        .parse()
        .unwrap();
    // Discovery, 51 attempts, the call and the command.
    assert_eq!(dropped + receiver.spans().len(), 54, "{warning}");
}

#[test]
fn a_warning_is_json_in_a_log_of_json() {
    let receiver = Receiver::start(Conduct::Status(400));
    let run = post_one(&v1(), &receiver.url()).args(["--log", "json"]).run().exits(0);
    let event: serde_json::Value = serde_json::from_str(run.stderr.trim()).unwrap();
    assert_eq!(event["name"], "clientlet.otlp.lost");
    assert_eq!(
        (&event["level"], &event["reason"]),
        (&"WARN".into(), &"HTTP status 400 Bad Request".into())
    );
}

#[test]
fn over_tls_both_sides_show_certificates_and_the_receivers_is_checked() {
    let certificate = Certificate::new().unwrap();
    let (receiver, gateway) = (Receiver::secured(&certificate), v1());
    let folder = tempfile::tempdir().unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, certificate.ca_pem()).unwrap();
    for scheme in ["https", "grpcs"] {
        let before = receiver.taken().len();
        let url = receiver.url().replace("http", scheme);
        let run = post_one(&gateway, &url)
            .env("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca)
            .env("OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", certificate.certificate())
            .env("OTEL_EXPORTER_OTLP_CLIENT_KEY", certificate.key());
        assert_eq!(run.run().exits(0).stderr, "", "{scheme}");
        assert_eq!(receiver.taken().len(), before + 2, "{scheme}");
        // The system does not trust the CA of a test.
        let run = post_one(&gateway, &url).run().exits(0);
        assert!(run.stderr.contains("invalid peer certificate"), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        let run = post_one(&gateway, &url).env("OTEL_EXPORTER_OTLP_CERTIFICATE", &ca);
        let run = run.run().exits(0);
        // Whether the alert or the end of the connection is seen first is a matter of time.
        let warning =
            "warning: traces or metrics are lost on the way to the OTLP receiver (receiver ";
        assert!(run.stderr.starts_with(&format!("{warning}https://127.0.0.1:")), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
        assert_eq!(receiver.taken().len(), before + 2, "{scheme}");
    }
    let (empty, url) = (folder.path().join("empty.pem"), receiver.url().replace("http", "https"));
    std::fs::write(&empty, "").unwrap();
    for (variable, file) in [
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", folder.path().join("none.pem")),
        ("OTEL_EXPORTER_OTLP_CERTIFICATE", empty.clone()),
        ("OTEL_EXPORTER_OTLP_CLIENT_KEY", empty),
        ("OTEL_EXPORTER_OTLP_TRACES_CLIENT_CERTIFICATE", ca),
    ] {
        let run = post_one(&gateway, &url).env(variable, file).run().exits(2);
        assert!(run.stderr.starts_with(&format!("error: {variable}: ")), "{run:?}");
        assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    }
}

#[test]
fn a_malformed_variable_or_url_is_named_in_one_line_and_nothing_is_sent() {
    let (gateway, receiver) = (v1(), Receiver::start(Conduct::Take));
    let url = receiver.url();
    let of_option = [
        "",
        "s3cret",
        "localhost:4317",
        "ftp://s3cret",
        "http://",
        "http://:4317",
        "http://h:0",
        "http://h:99999",
        "http://h:+1",
        "http://h:s3cret",
        "http://h:",
        "http://user:s3cret@h:4317",
        "http://s3cret@h",
        "grpc://h:4317/s3cret",
        "http://h h",
        "http://[::1",
        "http://h/s3cret path",
        "@s3cret",
    ];
    for value in of_option {
        let run = clientlet(["post", &gateway.url(), "--text", "x", "--otlp", value]).run();
        refused(&run.exits(2), "--otlp");
    }
    for (variable, value) in [
        ("OTEL_EXPORTER_OTLP_ENDPOINT", "s3cret:1"),
        ("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT", "http://s3cret@h:1"),
        ("OTEL_EXPORTER_OTLP_METRICS_ENDPOINT", "tcp://s3cret"),
    ] {
        let run = clientlet(["post", &gateway.url(), "--text", "x"]).env(variable, value).run();
        refused(&run.exits(2), variable);
    }
    for (variable, value) in [
        ("OTEL_SDK_DISABLED", "yes"),
        ("OTEL_TRACES_EXPORTER", "console"),
        ("OTEL_METRICS_EXPORTER", "otlp,prometheus"),
        ("OTEL_EXPORTER_OTLP_PROTOCOL", "http/json"),
        ("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL", "s3cret"),
        ("OTEL_EXPORTER_OTLP_METRICS_PROTOCOL", "http"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,=s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=%+1s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=s3cret%0A"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a b=s3cret"),
        ("OTEL_EXPORTER_OTLP_HEADERS", "a=1,Content-Length=1"),
        ("OTEL_EXPORTER_OTLP_TRACES_HEADERS", "s3cret: 1"),
        ("OTEL_EXPORTER_OTLP_METRICS_HEADERS", "a=%FFs3cret"),
        ("OTEL_EXPORTER_OTLP_TIMEOUT", "10s"),
        ("OTEL_EXPORTER_OTLP_TRACES_TIMEOUT", "-1"),
        ("OTEL_EXPORTER_OTLP_METRICS_TIMEOUT", "1.5"),
        ("OTEL_EXPORTER_OTLP_COMPRESSION", "zstd"),
        ("OTEL_EXPORTER_OTLP_TRACES_COMPRESSION", "1"),
        ("OTEL_EXPORTER_OTLP_METRICS_COMPRESSION", " "),
        ("OTEL_EXPORTER_OTLP_METRICS_TEMPORALITY_PREFERENCE", "sum"),
        ("OTEL_RESOURCE_ATTRIBUTES", "s3cret"),
        ("OTEL_RESOURCE_ATTRIBUTES", "a=1,b=%zz"),
        ("OTEL_TRACES_SAMPLER", "sometimes"),
        ("OTEL_PROPAGATORS", "tracecontext,b3"),
        ("OTEL_BSP_SCHEDULE_DELAY", "0"),
        ("OTEL_BSP_MAX_QUEUE_SIZE", "18446744073709551615"),
        ("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "many"),
        ("OTEL_BSP_EXPORT_TIMEOUT", "x"),
        ("OTEL_METRIC_EXPORT_INTERVAL", "60s"),
        ("OTEL_METRIC_EXPORT_TIMEOUT", "x"),
        ("OTEL_SPAN_ATTRIBUTE_COUNT_LIMIT", "x"),
        ("OTEL_SPAN_EVENT_COUNT_LIMIT", "-5"),
        ("OTEL_SPAN_LINK_COUNT_LIMIT", "x"),
    ] {
        let run = post_one(&gateway, &url).env(variable, value).run();
        refused(&run.exits(2), variable);
    }
    let run = post_one(&gateway, &url).env("OTEL_SERVICE_NAME", OsStr::from_bytes(b"s3cret\xff"));
    refused(&run.run().exits(2), "OTEL_SERVICE_NAME");
    for ratio in ["2", "NaN", "-0.1", "half"] {
        let run = post_one(&gateway, &url).env("OTEL_TRACES_SAMPLER", "traceidratio");
        refused(
            &run.env("OTEL_TRACES_SAMPLER_ARG", ratio).run().exits(2),
            "OTEL_TRACES_SAMPLER_ARG",
        );
    }
    assert!(gateway.is_untouched() && receiver.taken().is_empty());
}

#[track_caller]
fn refused(run: &Finished, place: &str) {
    assert!(run.stderr.starts_with(&format!("error: {place}: ")), "{run:?}");
    assert_eq!(run.stderr.lines().count(), 1, "{run:?}");
    assert!(!run.stderr.contains("s3cret") && run.stdout.is_empty(), "{run:?}");
}
