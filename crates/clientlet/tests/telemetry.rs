//! What OpenTelemetry is told, with a gateway that shows which headers came: spans and their parents,
//! contexts, attributes, metrics.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "../unit/page.rs"]
mod page;

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::future::poll_fn;
use std::pin::Pin;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::Poll;
use std::time::Duration;

use clientlet::clientlets::{
    ClientletOptions, DataRequest, GrpcClientlet, HttpClientlet, WebsocketClientlet,
};
use clientlet::{Client, ClientBuilder, DocArray, Document, RetryPolicy};
use clientlet_gateway::{Entry, Gateway, GatewayBuilder, Request, StreamScript};
use futures_core::Stream as _;
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{
    SpanContext, SpanId, SpanKind, Status, TraceContextExt, TraceFlags, TraceId, TraceState,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::metrics::data::{
    AggregatedMetrics, HistogramDataPoint, MetricData, ScopeMetrics, SumDataPoint,
};
use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
use opentelemetry_sdk::trace::{
    InMemorySpanExporter, Sampler, SdkTracerProvider, Span, SpanData, SpanProcessor,
};
use opentelemetry_semantic_conventions::attribute as conventions;

/// A way to send requests.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Way {
    Http,
    Websocket,
    GrpcStream,
    GrpcUnary,
}

const WAYS: [Way; 4] = [Way::Http, Way::Websocket, Way::GrpcStream, Way::GrpcUnary];

impl Way {
    fn url(self, gateway: &Gateway) -> String {
        match self {
            Way::Http => gateway.http_url(),
            Way::Websocket => gateway.websocket_url(),
            Way::GrpcStream | Way::GrpcUnary => gateway.grpc_url(),
        }
    }

    fn client(self, gateway: &Gateway) -> ClientBuilder {
        let builder = Client::builder(&self.url(gateway)).unary(self == Way::GrpcUnary);
        let waits = Duration::from_millis(1);
        builder.retry(RetryPolicy::standard().initial_backoff(waits).max_backoff(waits))
    }

    /// A fault that strikes the first request, which is sent again.
    fn fault(self) -> &'static str {
        match self {
            Way::Http => "status:503:0@1",
            Way::Websocket | Way::GrpcStream => "drop@1",
            Way::GrpcUnary => "grpc-status:8@1",
        }
    }

    /// Whether each request has headers of its own.
    fn has_headers(self) -> bool {
        matches!(self, Way::Http | Way::GrpcUnary)
    }

    fn attempt(self) -> &'static str {
        match self {
            Way::Http => "POST /post",
            Way::Websocket => "websocket send",
            Way::GrpcStream => "jina.JinaRPC/Call",
            Way::GrpcUnary => "jina.JinaSingleDataRequestRPC/process_single_data",
        }
    }
}

async fn gateway(faults: &[&str]) -> Gateway {
    let builder = Gateway::builder().http(true).websocket(true).grpc(true);
    let builder = builder.docarray(clientlet_gateway::DocArray::V1);
    let faults = faults.iter().map(|fault| fault.parse().unwrap());
    faults.fold(builder, GatewayBuilder::fault).start().await.unwrap()
}

fn recorder() -> (SdkTracerProvider, InMemorySpanExporter) {
    let exporter = InMemorySpanExporter::default();
    (SdkTracerProvider::builder().with_simple_exporter(exporter.clone()).build(), exporter)
}

fn attribute(span: &SpanData, key: &str) -> Option<String> {
    span.attributes.iter().find(|own| own.key.as_str() == key).map(|own| own.value.to_string())
}

fn named<'a>(spans: &'a [SpanData], name: &str) -> Vec<&'a SpanData> {
    spans.iter().filter(|span| span.name == name).collect()
}

/// The context that a request came with: the trace and the span.
fn came_with(entry: &Entry) -> (TraceId, SpanId, String) {
    let parent = entry.header("traceparent").unwrap_or_else(|| panic!("{entry:?}"));
    let parts: Vec<&str> = parent.split('-').collect();
    let [version, trace, span, flags] = parts[..] else { panic!("{parent}") };
    assert_eq!(version, "00");
    (TraceId::from_hex(trace).unwrap(), SpanId::from_hex(span).unwrap(), flags.to_owned())
}

fn context_of(span: &SpanData) -> (TraceId, SpanId, String) {
    (span.span_context.trace_id(), span.span_context.span_id(), "01".to_owned())
}

/// The context of a caller, with baggage and a state of the trace.
fn caller(flags: TraceFlags) -> Context {
    let state = TraceState::from_str("vendor=1").unwrap();
    let (trace, span) = (TraceId::from(7), SpanId::from(9));
    let span = SpanContext::new(trace, span, flags, true, state);
    let context = Context::new().with_remote_span_context(span);
    context.with_baggage([KeyValue::new("tenant", "blue")])
}

/// The requests that arrived, without questions. Over WebSocket and gRPC each has the headers of its
/// connection or stream.
fn arrived(gateway: &Gateway, way: Way) -> Vec<Entry> {
    match way {
        Way::Websocket => {
            let gets = gateway.journal().gets();
            gets.into_iter().filter(|get| get.answered == Some(101)).collect()
        }
        _ => gateway.journal().entries(),
    }
}

#[tokio::test]
async fn the_context_of_an_attempt_or_of_its_call_goes_with_what_is_sent() {
    for way in WAYS {
        let gateway = gateway(&[]).await;
        let (provider, exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        let documents = ["a", "b", "c"].map(Document::text);
        let call = client.post("/upper").documents(documents).request_size(1);
        let call = call.parent_context(caller(TraceFlags::SAMPLED));
        call.send().await.into_result().unwrap();

        let spans = exporter.get_finished_spans().unwrap();
        let [call] = named(&spans, "post /upper")[..] else { panic!("{way:?}: {spans:?}") };
        assert_eq!(call.span_context.trace_id(), TraceId::from(7));
        assert_eq!(call.parent_span_id, SpanId::from(9));
        let attempts = named(&spans, way.attempt());
        assert_eq!(attempts.len(), 3, "{way:?}: {spans:?}");
        for attempt in &attempts {
            assert_eq!(attempt.parent_span_id, call.span_context.span_id());
            assert_eq!(attempt.span_context.trace_id(), call.span_context.trace_id());
            assert_eq!((&attempt.span_kind, &attempt.status), (&SpanKind::Client, &Status::Unset));
        }
        let arrived = arrived(&gateway, way);
        assert!(!arrived.is_empty());
        for entry in &arrived {
            let sent: Vec<_> = match way.has_headers() {
                true => {
                    let own = |span: &&&SpanData| {
                        attribute(span, "clientlet.request.id") == entry.request_id
                            || entry.request_id.is_none()
                    };
                    attempts.iter().filter(own).map(|span| context_of(span)).collect()
                }
                false => vec![context_of(call)],
            };
            assert!(sent.contains(&came_with(entry)), "{way:?}: {entry:?} of {sent:?}");
            assert_eq!(entry.header("tracestate"), Some("vendor=1"), "{way:?}");
            assert_eq!(entry.header("baggage"), Some("tenant=blue"), "{way:?}");
        }
        let each: BTreeSet<_> =
            arrived.iter().map(|entry| came_with(entry).1.to_string()).collect();
        assert_eq!(each.len(), if way.has_headers() { 3 } else { 1 }, "{way:?}");
    }
}

#[tokio::test]
async fn a_question_has_a_span_below_the_call_that_asked_and_its_context() {
    for way in WAYS {
        let gateway = gateway(&[]).await;
        let (provider, exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        client.post("/upper").documents([Document::text("a")]).send().await.into_result().unwrap();
        client.ready().await.unwrap();
        let spans = exporter.get_finished_spans().unwrap();
        let [discover] = named(&spans, "discover")[..] else { panic!("{way:?}: {spans:?}") };
        let [call] = named(&spans, "post /upper")[..] else { panic!("{way:?}: {spans:?}") };
        assert_eq!(discover.parent_span_id, call.span_context.span_id());
        let [attempt, ready] = named(&spans, "ready")[..] else { panic!("{way:?}: {spans:?}") };
        assert_eq!(attempt.parent_span_id, ready.span_context.span_id());
        assert_eq!(attempt.span_kind, SpanKind::Client);
        if matches!(way, Way::Http | Way::Websocket) {
            for (path, span) in [("/status", discover), ("/dry_run", attempt)] {
                let gets = gateway.journal().gets();
                let get = gets.iter().find(|get| get.path == path).unwrap();
                assert_eq!(came_with(get), context_of(span), "{way:?} {path}");
                assert_eq!(attribute(span, "http.response.status_code").unwrap(), "200");
                let url = attribute(span, "url.full").unwrap();
                assert!(url.starts_with("http://") && url.ends_with(path), "{way:?}: {url}");
            }
        }
    }
}

#[tokio::test]
async fn each_further_attempt_is_a_span_of_its_own_and_says_why() {
    for way in WAYS {
        let gateway = gateway(&[way.fault()]).await;
        let (provider, exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        let answers = client.post("/upper").documents([Document::text("a")]).send().await;
        let [response] = &answers.into_result().unwrap()[..] else { panic!() };
        let spans = exporter.get_finished_spans().unwrap();
        let mut attempts = named(&spans, way.attempt());
        attempts.sort_by_key(|span| span.start_time);
        assert_eq!(attempts.len() as u32, response.attempts(), "{way:?}: {attempts:?}");
        assert!(attempts.len() > 1, "{way:?}: {attempts:?}");
        let (last, failed) = attempts.split_last().unwrap();
        assert_eq!(last.status, Status::Unset, "{way:?}");
        for span in failed {
            assert!(matches!(span.status, Status::Error { .. }), "{way:?}: {span:?}");
            assert!(attribute(span, "error.type").is_some(), "{way:?}: {span:?}");
            assert!(attribute(span, "clientlet.delivery").is_some(), "{way:?}: {span:?}");
            let events: Vec<&str> = span.events.iter().map(|event| &*event.name).collect();
            assert!(events.contains(&"clientlet.retry"), "{way:?}: {events:?}");
        }
        let resends: Vec<_> =
            attempts.iter().map(|span| attribute(span, "http.request.resend_count")).collect();
        if way == Way::Http {
            assert_eq!(resends[..2], [None, Some("1".to_owned())]);
            assert_eq!(attribute(attempts[0], "http.response.status_code").unwrap(), "503");
        } else {
            assert!(resends.iter().all(Option::is_none), "{way:?}");
        }
        if way.has_headers() {
            let came: Vec<_> =
                arrived(&gateway, way).iter().map(|entry| came_with(entry).1).collect();
            let sent: Vec<_> = attempts.iter().map(|span| span.span_context.span_id()).collect();
            assert_eq!(came, sent, "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_throttled_attempt_says_how_long_it_was_asked_to_wait() {
    let gateway = gateway(&["status:503:0@1"]).await;
    let (provider, exporter) = recorder();
    let client = Way::Http.client(&gateway).tracer_provider(provider).build().unwrap();
    client.post("/upper").documents([Document::text("a")]).send().await.into_result().unwrap();
    let spans = exporter.get_finished_spans().unwrap();
    let events = named(&spans, "POST /post")[0].events.iter();
    let names: Vec<_> = events.map(|event| event.name.to_string()).collect();
    assert_eq!(names, ["clientlet.throttled", "clientlet.retry"]);
}

/// The names of the events on these spans.
fn events(spans: &[&SpanData]) -> Vec<String> {
    let events = spans.iter().flat_map(|span| span.events.iter());
    events.map(|event| event.name.to_string()).collect()
}

#[tokio::test]
async fn the_last_attempt_after_dropped_connections_says_that_it_goes_alone() {
    let gateway = gateway(&["drop@100%"]).await;
    let (provider, exporter) = recorder();
    let client = Way::Websocket.client(&gateway).tracer_provider(provider).build().unwrap();
    let answers = client.post("/upper").documents([Document::text("a")]).send().await;
    assert_eq!(answers.errors().count(), 1);
    let spans = exporter.get_finished_spans().unwrap();
    let mut attempts = named(&spans, Way::Websocket.attempt());
    attempts.sort_by_key(|span| span.start_time);
    let (last, before) = attempts.split_last().unwrap();
    assert!(events(&[last]).iter().any(|name| name == "clientlet.isolation"), "{last:?}");
    assert!(events(before).iter().all(|name| name != "clientlet.isolation"), "{before:?}");
}

#[tokio::test]
async fn an_attempt_that_begins_anew_says_so_and_remains_one_span() {
    // REFUSED_STREAM, which proves that the gateway has not looked at the request.
    let gateway = gateway(&["reset-stream:7@1"]).await;
    let (provider, exporter) = recorder();
    let client = Way::GrpcUnary.client(&gateway).tracer_provider(provider).build().unwrap();
    let answers = client.post("/upper").documents([Document::text("a")]).send().await;
    let [response] = &answers.into_result().unwrap()[..] else { panic!() };
    assert_eq!((response.attempts(), client.statistics().attempts.count), (1, 1));
    let spans = exporter.get_finished_spans().unwrap();
    let [attempt] = named(&spans, Way::GrpcUnary.attempt())[..] else { panic!("{spans:?}") };
    assert_eq!(
        (events(&[attempt]), &attempt.status),
        (vec!["clientlet.anew".to_owned()], &Status::Unset)
    );
}

#[tokio::test]
async fn a_request_that_goes_on_without_a_document_at_fault_says_so_on_the_span_of_the_call() {
    #[derive(serde::Serialize, serde::Deserialize)]
    struct Counted {
        n: i64,
    }
    let builder = Gateway::builder().docarray(clientlet_gateway::DocArray::V2);
    let builder =
        builder.on("/count", async |request: Request| Ok(request.documents::<Counted>()?));
    let gateway = builder.start().await.unwrap();
    let (provider, exporter) = recorder();
    let client = Way::Http.client(&gateway).tracer_provider(provider).build().unwrap();
    // An integer beyond 32 bits, which a v2 gateway cannot pass on.
    let documents = [1, 1 << 40, 2].map(|n| Counted { n });
    let answers = client.post("/count").documents(documents).send().await;
    assert_eq!(answers.errors().count(), 1, "{answers:?}");
    let spans = exporter.get_finished_spans().unwrap();
    assert_eq!(events(&named(&spans, "post /count")), ["clientlet.split"]);
    let statistics = client.statistics();
    assert_eq!((statistics.requests.count, statistics.requests_in_flight), (3, 0));
}

#[tokio::test]
async fn a_trace_that_is_not_sampled_is_passed_on_and_not_recorded() {
    for way in WAYS {
        for is_recorded in [true, false] {
            let gateway = gateway(&[]).await;
            let exporter = InMemorySpanExporter::default();
            let sampler = Sampler::ParentBased(Box::new(Sampler::AlwaysOn));
            let provider = SdkTracerProvider::builder()
                .with_simple_exporter(exporter.clone())
                .with_sampler(sampler)
                .build();
            let builder = way.client(&gateway);
            // Without a provider the caller's context is passed on as it is.
            let builder = if is_recorded { builder.tracer_provider(provider) } else { builder };
            let client = builder.build().unwrap();
            let call = client.post("/upper").documents([Document::text("a")]);
            let call = call.parent_context(caller(TraceFlags::NOT_SAMPLED));
            call.send().await.into_result().unwrap();
            assert_eq!(exporter.get_finished_spans().unwrap().len(), 0, "{way:?}");
            for entry in arrived(&gateway, way) {
                let (trace, span, flags) = came_with(&entry);
                assert_eq!((trace, &*flags), (TraceId::from(7), "00"), "{way:?}");
                assert_eq!(span == SpanId::from(9), !is_recorded, "{way:?}");
                assert_eq!(entry.header("baggage"), Some("tenant=blue"), "{way:?}");
            }
        }
    }
}

#[tokio::test]
async fn headers_of_the_caller_win_and_without_a_trace_there_are_none() {
    for way in WAYS {
        let gateway = gateway(&[]).await;
        let (provider, _exporter) = recorder();
        let own = "00-00000000000000000000000000000001-0000000000000002-01";
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        let call = client.post("/upper").documents([Document::text("a")]);
        call.header("traceparent", own).send().await.into_result().unwrap();
        assert_eq!(arrived(&gateway, way)[0].header("traceparent"), Some(own), "{way:?}");

        let client = way.client(&gateway).build().unwrap();
        let call = client.post("/upper").documents([Document::text("a")]);
        call.send().await.into_result().unwrap();
        assert_eq!(arrived(&gateway, way)[1].header("traceparent"), None, "{way:?}");
    }
}

#[tokio::test]
async fn a_call_that_is_dropped_ends_its_spans() {
    for way in WAYS {
        let gateway = gateway(&["stall@100%"]).await;
        let (provider, exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        let mut responses = client.post("/upper").documents([Document::text("a")]).stream();
        let journal = gateway.journal().clone();
        let arrival = async {
            while journal.entries().is_empty() {
                tokio::task::yield_now().await;
            }
        };
        tokio::select! {
            _ = responses.next() => panic!("{way:?}: answered"),
            () = arrival => {}
        }
        assert_eq!(client.statistics().requests_in_flight, 1, "{way:?}");
        drop(responses);
        assert_eq!(client.statistics().requests_in_flight, 0, "{way:?}");
        let spans = exporter.get_finished_spans().unwrap();
        let [attempt] = named(&spans, way.attempt())[..] else { panic!("{way:?}: {spans:?}") };
        assert_eq!(attribute(attempt, "error.type").unwrap(), "cancelled");
        assert_eq!(named(&spans, "post /upper").len(), 1, "{way:?}: {spans:?}");
    }
}

#[tokio::test]
async fn streams_of_documents_are_traced() {
    let builder = Gateway::builder().http(true).grpc(true);
    let builder = builder.docarray(clientlet_gateway::DocArray::V2);
    let gateway = builder.stream_endpoint("/stream", StreamScript::new(3)).start().await.unwrap();
    for way in [Way::Http, Way::GrpcStream] {
        let (provider, exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        let document = serde_json::json!({"text": "x"});
        let call = client.stream_document("/stream", &document);
        let call = call.parent_context(caller(TraceFlags::SAMPLED));
        let mut documents = call.stream::<serde_json::Value>();
        while let Some(document) = documents.next().await {
            document.unwrap();
        }
        let spans = exporter.get_finished_spans().unwrap();
        let [call] = named(&spans, "stream_document /stream")[..] else { panic!("{spans:?}") };
        assert_eq!(call.parent_span_id, SpanId::from(9));
        let [attempt] = named(&spans, "stream")[..] else { panic!("{way:?}: {spans:?}") };
        assert_eq!(attempt.parent_span_id, call.span_context.span_id());
        let kind = if way == Way::Http { "url.full" } else { "rpc.method" };
        assert!(attribute(attempt, kind).is_some(), "{way:?}: {attempt:?}");
    }
    let gets = gateway.journal().gets();
    assert!(gets.iter().any(|get| get.path == "/stream" && get.header("traceparent").is_some()));
}

#[tokio::test]
async fn clientlets_trace_as_the_client_does() {
    let gateway = gateway(&[]).await;
    let (provider, exporter) = recorder();
    let options = ClientletOptions::new().tracer_provider(provider);
    let parent = caller(TraceFlags::SAMPLED).attach();
    let request = |json| {
        let request = match json {
            true => DataRequest::new(DocArray::V1, "/upper"),
            false => DataRequest::proto(DocArray::V1, "/upper"),
        };
        request.document(&Document::text("a")).unwrap()
    };

    let mut http = HttpClientlet::new(&format!("{}/post", gateway.http_url()), &options).unwrap();
    http.start().await.unwrap();
    http.send_message(&request(true)).await.unwrap();
    let mut websocket = WebsocketClientlet::new(&gateway.websocket_url(), &options).unwrap();
    websocket.start().await.unwrap();
    websocket.send_message(&request(false)).await.unwrap();
    websocket.send_eoi().await.unwrap();
    let mut answers = websocket.recv_message();
    while let Some(answer) = answers.next().await {
        answer.unwrap();
    }
    let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options).unwrap();
    grpc.start().await.unwrap();
    grpc.send_message(&request(false)).await.unwrap();
    let mut stream = grpc.open_stream().await.unwrap();
    stream.send_message(&request(false)).await.unwrap();
    stream.recv_message().next().await.unwrap().unwrap();
    drop(parent);

    let spans = exporter.get_finished_spans().unwrap();
    assert!(spans.iter().all(|span| span.span_context.trace_id() == TraceId::from(7)));
    let names = |kind: &SpanKind| {
        let own = spans.iter().filter(|span| span.span_kind == *kind);
        own.map(|span| span.name.to_string()).collect::<Vec<_>>()
    };
    // HTTP, WebSocket, unary gRPC, a stream.
    let calls = ["send_message", "start", "send_message", "send_eoi", "start", "send_message"];
    let calls = calls.into_iter().chain(["start", "send_message"]).collect::<Vec<_>>();
    assert_eq!(names(&SpanKind::Internal), calls);
    let single = "jina.JinaSingleDataRequestRPC/process_single_data";
    let attempts = ["POST /post", "start", "send_message", "send_eoi", "start", single];
    let attempts = attempts.into_iter().chain(["start", "send_message"]).collect::<Vec<_>>();
    assert_eq!(names(&SpanKind::Client), attempts);
    let spans_of = |name: &str| -> Vec<SpanId> {
        let own = spans.iter().filter(|span| span.name == name);
        own.map(|span| span.span_context.span_id()).collect()
    };
    let came: Vec<SpanId> = gateway.journal().gets().iter().map(|get| came_with(get).1).collect();
    assert!(came.iter().all(|span| spans_of("start").contains(span)) && !came.is_empty());
    let entries = gateway.journal().entries();
    assert_eq!(came_with(&entries[0]).1, spans_of("POST /post")[0]);
    assert!(entries.iter().any(|entry| spans_of(single).contains(&came_with(entry).1)));
}

/// What attributes mean, for the page. Those without a dot's `clientlet` are OpenTelemetry's own.
const ATTRIBUTES: &[(&str, &str)] = &[
    ("clientlet.attempt", "the number of the attempt, from the second on"),
    (
        "clientlet.delivery",
        "whether the request reached the gateway, if the attempt failed: `not_sent`, `answered`, `unknown`",
    ),
    ("clientlet.documents", "how many documents the call's requests had"),
    ("clientlet.endpoint", "the executors' endpoint"),
    ("clientlet.protocol", "`http`, `websocket` or `grpc`"),
    ("clientlet.request.documents", "how many documents the request has"),
    ("clientlet.request.id", "the id of the request, the same for each attempt"),
    ("clientlet.requests", "how many requests the call had"),
    ("clientlet.requests.failed", "how many of them failed"),
    (conventions::ERROR_TYPE, "the kind of the error, as `ErrorKind::name` gives it"),
    (conventions::HTTP_REQUEST_METHOD, "over HTTP"),
    (conventions::HTTP_REQUEST_RESEND_COUNT, "over HTTP, from the second attempt on"),
    (conventions::HTTP_RESPONSE_STATUS_CODE, "over HTTP, if an answer came"),
    (
        conventions::NETWORK_PROTOCOL_NAME,
        "`websocket`; over HTTP, and so over gRPC, there is no need for it",
    ),
    (conventions::NETWORK_PROTOCOL_VERSION, "`1.1` or `2`"),
    (conventions::RPC_METHOD, "over gRPC: service and method"),
    (conventions::RPC_RESPONSE_STATUS_CODE, "over gRPC, if the attempt failed with a status"),
    (conventions::RPC_SYSTEM_NAME, "over gRPC: `grpc`"),
    (conventions::SERVER_ADDRESS, "the gateway's host"),
    (conventions::SERVER_PORT, "the gateway's port"),
    (conventions::URL_FULL, "over HTTP and WebSocket, without user information and query"),
];

/// Runs calls with every outcome over every way, and returns the spans and the exported metrics.
async fn everything() -> (Vec<SpanData>, InMemoryMetricExporter) {
    let (provider, exporter) = recorder();
    let metrics = InMemoryMetricExporter::default();
    let meter = SdkMeterProvider::builder().with_periodic_exporter(metrics.clone()).build();
    for way in WAYS {
        let faults: &[&str] = match way {
            Way::Http => &[],
            _ => &["twice@5"],
        };
        let gateway = gateway(&[&[way.fault()], faults].concat()).await;
        let builder = way.client(&gateway).tracer_provider(provider.clone());
        let client = builder.meter_provider(meter.clone()).build().unwrap();
        for endpoint in ["/upper", "/fail"] {
            let documents = (0..20).map(|n| Document::text(n.to_string()));
            let call = client.post(endpoint).documents(documents).request_size(1).prefetch(1);
            let answers = call.send().await;
            assert_eq!(answers.errors().count() > 0, endpoint == "/fail", "{way:?}");
        }
        client.ready().await.unwrap();
    }
    meter.force_flush().unwrap();
    (exporter.get_finished_spans().unwrap(), metrics)
}

#[tokio::test]
async fn the_page_of_telemetry_lists_what_opentelemetry_is_told() {
    let (spans, metrics) = everything().await;
    let mut on: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
    let mut events = BTreeSet::new();
    for span in &spans {
        let place = match span.span_kind {
            SpanKind::Internal => "call",
            SpanKind::Client => "attempt",
            ref other => panic!("{other:?}"),
        };
        for own in &span.attributes {
            on.entry(own.key.to_string()).or_default().insert(place);
        }
        events.extend(span.events.iter().map(|event| event.name.to_string()));
    }
    let told: Vec<&str> = on.keys().map(String::as_str).collect();
    let known: Vec<&str> = ATTRIBUTES.iter().map(|(name, _)| *name).collect();
    assert_eq!(told, known);
    let mut table = "| attribute | on spans of | what it is |\n| --- | --- | --- |\n".to_owned();
    for (name, what) in ATTRIBUTES {
        let places: Vec<&str> = on[*name].iter().copied().collect();
        writeln!(table, "| `{name}` | {} | {what} |", places.join(", ")).unwrap();
    }
    page::check("telemetry.md", "attributes", &table);
    let known = ["clientlet.reconnect", "clientlet.retry", "clientlet.throttled"];
    assert!(known.iter().all(|name| events.contains(*name)), "{events:?}");

    let mut table =
        "| metric | instrument | unit | what it is | attributes |\n| --- | --- | --- | --- | --- |\n"
            .to_owned();
    let mut rows = BTreeMap::new();
    for export in metrics.get_finished_metrics().unwrap() {
        for metric in export.scope_metrics().flat_map(ScopeMetrics::metrics) {
            let (instrument, attributes) = match metric.data() {
                AggregatedMetrics::F64(MetricData::Histogram(data)) => {
                    ("histogram", keys(data.data_points().flat_map(HistogramDataPoint::attributes)))
                }
                AggregatedMetrics::U64(MetricData::Sum(data)) => {
                    ("counter", keys(data.data_points().flat_map(SumDataPoint::attributes)))
                }
                AggregatedMetrics::I64(MetricData::Sum(data)) => {
                    ("up-down counter", keys(data.data_points().flat_map(SumDataPoint::attributes)))
                }
                other => panic!("{other:?}"),
            };
            let (name, unit, what) = (metric.name(), metric.unit(), metric.description());
            let row = format!("| `{name}` | {instrument} | `{unit}` | {what} | {attributes} |");
            rows.insert(name.to_owned(), row);
        }
    }
    rows.values().for_each(|row| writeln!(table, "{row}").unwrap());
    page::check("telemetry.md", "metrics", &table);
}

/// The names of attributes, each once.
fn keys<'a>(attributes: impl Iterator<Item = &'a KeyValue>) -> String {
    let names: BTreeSet<String> = attributes.map(|own| format!("`{}`", own.key)).collect();
    names.into_iter().collect::<Vec<_>>().join(", ")
}

#[tokio::test]
async fn urls_are_told_without_user_information_and_query() {
    let gateway = gateway(&[]).await;
    let (provider, exporter) = recorder();
    let with = |url: String| url.replace("://", "://user:s3cr3t@");
    let options = ClientletOptions::new().tracer_provider(provider.clone());
    let url = format!("{}/post?token=s3cr3t", with(gateway.http_url()));
    let mut http = HttpClientlet::new(&url, &options).unwrap();
    http.start().await.unwrap();
    let request = DataRequest::new(DocArray::V1, "/upper").document(&Document::text("a")).unwrap();
    http.send_message(&request).await.unwrap();
    for url in [gateway.http_url(), gateway.websocket_url(), gateway.grpc_url()] {
        let client = Client::builder(&with(url)).tracer_provider(provider.clone()).build().unwrap();
        client.post("/upper").documents([Document::text("a")]).send().await.into_result().unwrap();
    }
    let spans = exporter.get_finished_spans().unwrap();
    let urls: Vec<String> = spans.iter().filter_map(|span| attribute(span, "url.full")).collect();
    assert!(urls.contains(&format!("{}/post", gateway.http_url())), "{urls:?}");
    assert!(!format!("{spans:?}").contains("s3cr3t"), "{spans:?}");
}

#[tokio::test]
async fn a_stream_of_documents_and_a_clientlets_message_count_as_requests() {
    let builder = Gateway::builder().http(true).grpc(true);
    let builder = builder.docarray(clientlet_gateway::DocArray::V2);
    let gateway = builder.stream_endpoint("/stream", StreamScript::new(3)).start().await.unwrap();
    for way in [Way::Http, Way::GrpcStream] {
        let client = way.client(&gateway).build().unwrap();
        let document = serde_json::json!({"text": "x"});
        let start = || client.stream_document("/stream", &document).stream::<serde_json::Value>();
        let mut documents = start();
        documents.next().await.unwrap().unwrap();
        let numbers = client.statistics();
        assert_eq!((numbers.requests_in_flight, numbers.requests.count), (1, 0), "{way:?}");
        assert_eq!(numbers.attempts.count, 1, "{way:?}");
        while let Some(document) = documents.next().await {
            document.unwrap();
        }
        let mut dropped = start();
        dropped.next().await.unwrap().unwrap();
        drop(dropped);
        let unasked = start();
        drop(unasked);
        let absent = client.stream_document("/absent", &document);
        absent.stream::<serde_json::Value>().next().await.unwrap().unwrap_err();
        let numbers = client.statistics();
        assert_eq!((numbers.requests_in_flight, numbers.requests.count), (0, 2), "{way:?}");
        assert_eq!(numbers.attempts.count, 3, "{way:?}");
        assert_eq!(numbers.requests_failed.iter().map(|(_, count)| count).sum::<u64>(), 1);
    }
}

#[tokio::test]
async fn the_context_of_a_caller_goes_on_where_the_provider_gives_no_span() {
    for way in WAYS {
        let gateway = gateway(&[]).await;
        let (provider, exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider.clone()).build().unwrap();
        provider.shutdown().unwrap();
        let call = client.post("/upper").documents([Document::text("a")]);
        let call = call.parent_context(caller(TraceFlags::SAMPLED));
        call.send().await.into_result().unwrap();
        assert_eq!(exporter.get_finished_spans().unwrap().len(), 0, "{way:?}");
        for entry in arrived(&gateway, way) {
            let context = (TraceId::from(7), SpanId::from(9), "01".to_owned());
            assert_eq!(came_with(&entry), context, "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_provider_that_is_shut_down_during_a_call_leaves_the_calls_context() {
    for way in WAYS {
        let gateway = gateway(&[]).await;
        let (provider, _exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider.clone()).build().unwrap();
        let call = client.post("/upper").documents([Document::text("a")]);
        let mut call = call.parent_context(caller(TraceFlags::SAMPLED)).stream();
        provider.shutdown().unwrap();
        call.next().await.unwrap().unwrap();
        for entry in arrived(&gateway, way) {
            let (trace, span, _) = came_with(&entry);
            assert_eq!(trace, TraceId::from(7), "{way:?}");
            assert_ne!(span, SpanId::from(9), "{way:?}");
        }
    }
}

#[tokio::test]
async fn a_wait_for_room_for_a_requests_bytes_is_a_wait_for_a_place() {
    let gateway = gateway(&[]).await;
    let client = Way::Http.client(&gateway).build().unwrap();
    let documents = (0..4).map(|_| Document::text("a".repeat(1000)));
    let call = client.post("/upper").documents(documents).request_size(1).prefetch_bytes(1500);
    call.send().await.into_result().unwrap();
    assert!(client.statistics().waits_for_place.count > 0);
}

#[tokio::test]
async fn a_call_that_is_stopped_ends_its_spans() {
    for way in WAYS {
        let gateway = gateway(&["stall@100%"]).await;
        let (provider, exporter) = recorder();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        let mut responses = client.post("/upper").documents([Document::text("a")]).stream();
        let journal = gateway.journal().clone();
        tokio::select! {
            _ = responses.next() => panic!("{way:?}: answered"),
            () = journal.wait_for(1) => {}
        }
        assert_eq!(responses.stop().len(), 1, "{way:?}");
        assert_eq!(client.statistics().requests_in_flight, 0, "{way:?}");
        let spans = exporter.get_finished_spans().unwrap();
        let [call] = named(&spans, "post /upper")[..] else { panic!("{way:?}: {spans:?}") };
        assert_eq!(attribute(call, "clientlet.requests.failed").unwrap(), "1", "{way:?}");
    }
}

/// A processor that panics when a span begins, or when one ends. If it did both, the SDK's own destructor
/// would end the process.
#[derive(Debug)]
struct Bomb {
    at_start: bool,
}

impl SpanProcessor for Bomb {
    fn on_start(&self, _: &mut Span, _: &Context) {
        assert!(!self.at_start, "a span processor that fails");
    }

    fn on_end(&self, _: SpanData) {
        assert!(self.at_start, "a span processor that fails");
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[tokio::test]
async fn a_span_processor_that_panics_fails_no_request_and_does_not_end_the_process() {
    for (way, at_start) in WAYS.into_iter().flat_map(|way| [(way, false), (way, true)]) {
        let gateway = gateway(&[]).await;
        let provider = SdkTracerProvider::builder().with_span_processor(Bomb { at_start }).build();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        let documents = || ["a", "b", "c"].map(Document::text);
        let post = || client.post("/upper").documents(documents()).request_size(1);
        post().send().await.into_result().unwrap();
        client.ready().await.unwrap();
        let mut responses = post().stream();
        responses.next().await.unwrap().unwrap();
        drop(responses);
        assert_eq!(client.statistics().requests_in_flight, 0, "{way:?}");
    }
}

#[tokio::test]
async fn attempts_that_are_dropped_together_do_not_end_the_process_if_each_of_their_spans_panics() {
    for way in WAYS {
        let gateway = gateway(&["stall@100%"]).await;
        let provider = SdkTracerProvider::builder().with_span_processor(Bomb { at_start: false });
        let client = way.client(&gateway).tracer_provider(provider.build()).build().unwrap();
        let documents = ["a", "b", "c"].map(Document::text);
        let mut responses = client.post("/upper").documents(documents).request_size(1).stream();
        let journal = gateway.journal().clone();
        tokio::select! {
            _ = responses.next() => panic!("{way:?}: answered"),
            () = journal.wait_for(3) => {}
        }
        drop(responses);
        assert_eq!(client.statistics().requests_in_flight, 0, "{way:?}");
    }
}

#[cfg(feature = "blocking")]
#[test]
fn a_blocking_call_has_the_parent_of_its_thread_or_the_one_that_it_is_given() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().unwrap();
    let builder = Gateway::builder().http(true).stream_endpoint("/stream", StreamScript::new(1));
    let builder = builder.docarray(clientlet_gateway::DocArray::V2);
    let gateway = runtime.block_on(builder.start()).unwrap();
    let (provider, exporter) = recorder();
    let client = Way::Http.client(&gateway).tracer_provider(provider);
    let client = client.build_blocking().unwrap();
    let given = caller(TraceFlags::SAMPLED);
    let document = serde_json::json!({"text": "x"});
    let post = || client.post("/upper").document(&document);
    let stream = || client.stream_document("/stream", &document);
    post().parent_context(given.clone()).send().into_result().unwrap();
    stream().parent_context(given.clone()).stream::<serde_json::Value>().for_each(drop);
    let current = given.attach();
    post().send().into_result().unwrap();
    stream().stream::<serde_json::Value>().for_each(drop);
    drop(current);
    let spans = exporter.get_finished_spans().unwrap();
    let calls: Vec<_> = spans.iter().filter(|it| it.span_kind == SpanKind::Internal).collect();
    assert_eq!(calls.len(), 4, "{spans:?}");
    assert!(calls.iter().all(|call| call.parent_span_id == SpanId::from(9)), "{calls:?}");
    assert_eq!(client.statistics().requests.count, 4);
}

/// Counts spans that began, and those that ended.
#[derive(Clone, Debug, Default)]
struct Balance(Arc<[AtomicU64; 2]>);

impl Balance {
    fn read(&self) -> (u64, u64) {
        let [begun, ended] = &*self.0;
        (begun.load(Ordering::SeqCst), ended.load(Ordering::SeqCst))
    }
}

impl SpanProcessor for Balance {
    fn on_start(&self, _: &mut Span, _: &Context) {
        self.0[0].fetch_add(1, Ordering::SeqCst);
    }

    fn on_end(&self, _: SpanData) {
        self.0[1].fetch_add(1, Ordering::SeqCst);
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

#[tokio::test]
async fn at_whichever_poll_a_call_is_dropped_or_stopped_its_spans_end_and_nothing_is_left_in_flight()
 {
    for way in WAYS {
        for faults in
            [&[][..], &["status:503:0@50%", "drop@50%", "grpc-status:8@50%"], &["stall@50%"]]
        {
            let gateway = gateway(faults).await;
            let balance = Balance::default();
            let provider = SdkTracerProvider::builder().with_span_processor(balance.clone());
            let metrics = InMemoryMetricExporter::default();
            let meter = SdkMeterProvider::builder().with_periodic_exporter(metrics.clone()).build();
            let client = way.client(&gateway).tracer_provider(provider.build());
            let client = client.meter_provider(meter.clone()).build().unwrap();
            for (polls, is_stopped) in (0..40).flat_map(|polls| [(polls, false), (polls, true)]) {
                let documents = (0..12).map(|n| Document::text(n.to_string()));
                let call = client.post("/upper").documents(documents).request_size(2);
                // A stop sees the calls without order, a drop those with it.
                let mut responses = call.prefetch(3).in_order(!is_stopped).stream();
                for _ in 0..polls {
                    let poll = poll_fn(|cx| Poll::Ready(Pin::new(&mut responses).poll_next(cx)));
                    if let Poll::Ready(None) = poll.await {
                        break;
                    }
                    tokio::task::yield_now().await;
                }
                if is_stopped {
                    drop(responses.stop());
                    let left = client.statistics().requests_in_flight;
                    assert_eq!(left, 0, "{way:?} {faults:?} {polls}");
                }
                drop(responses);
                let left = client.statistics().requests_in_flight;
                assert_eq!(left, 0, "{way:?} {faults:?} {polls}");
            }
            // A task that opened a connection for a call may end a little later than the call.
            while balance.read().0 != balance.read().1 {
                tokio::task::yield_now().await;
            }
            meter.force_flush().unwrap();
            let exports = metrics.get_finished_metrics().unwrap();
            let told =
                exports.iter().flat_map(|it| it.scope_metrics().flat_map(ScopeMetrics::metrics));
            let in_flight = told.filter(|metric| metric.name() == "clientlet.request.in_flight");
            for metric in in_flight {
                let AggregatedMetrics::I64(MetricData::Sum(sum)) = metric.data() else { panic!() };
                assert!(sum.data_points().all(|point| point.value() == 0), "{way:?} {faults:?}");
            }
        }
    }
}

#[tokio::test]
async fn of_calls_that_are_sampled_in_part_each_header_says_whether_its_trace_is_recorded() {
    for way in WAYS {
        let gateway = gateway(&[]).await;
        let exporter = InMemorySpanExporter::default();
        let provider = SdkTracerProvider::builder()
            .with_simple_exporter(exporter.clone())
            .with_sampler(Sampler::TraceIdRatioBased(0.5))
            .build();
        let client = way.client(&gateway).tracer_provider(provider).build().unwrap();
        for _ in 0..30 {
            let call = client.post("/upper").documents([Document::text("a")]);
            call.send().await.into_result().unwrap();
        }
        let recorded = exporter.get_finished_spans().unwrap();
        let recorded: BTreeSet<_> =
            recorded.iter().map(|span| span.span_context.trace_id().to_string()).collect();
        let arrived = arrived(&gateway, way);
        let flags: BTreeSet<_> = arrived
            .iter()
            .map(|entry| {
                let (trace, _, flags) = came_with(entry);
                assert_eq!(flags == "01", recorded.contains(&trace.to_string()), "{way:?}");
                flags
            })
            .collect();
        // One connection serves all calls over WebSocket.
        let kinds = if way == Way::Websocket { 1 } else { 2 };
        assert_eq!(flags.len(), kinds, "{way:?}");
    }
}
