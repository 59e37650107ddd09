//! One trace through the client and real gateways that trace as well.

#![allow(clippy::unwrap_used, reason = "in a test a panic is the report")]

use std::time::Duration;

use clientlet::clientlets::{
    ClientletOptions, DataRequest, GrpcClientlet, HttpClientlet, WebsocketClientlet,
};
use clientlet::{Client, ClientBuilder, DocArray, Document, RetryPolicy};
use clientlet_interop::{Environment, Options, OtlpReceiver, RealGateway, Span, Trace};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::trace::{
    SpanContext, SpanId, TraceContextExt, TraceFlags, TraceState, Tracer, TracerProvider,
};
use opentelemetry::{Context, KeyValue};
use opentelemetry_sdk::trace::{
    IdGenerator, InMemorySpanExporter, RandomIdGenerator, Sampler, SdkTracerProvider,
};
use serde_json::{Value, json};

const CLIENT: &str = "client";
const GATEWAY: &str = "gateway/rep-0";
const EXECUTORS: [&str; 2] = ["first", "second"];
/// The requests of a call, each of one document.
const REQUESTS: usize = 3;
/// The state of the traces of the programs.
const STATE: &str = "a state";
/// The call by which the gateway hands a request to an executor.
const HANDED_ON: &str = "/jina.JinaSingleDataRequestRPC/process_single_data";

/// A way to the gateway.
#[derive(Clone, Copy, Debug)]
struct Way {
    protocol: &'static str,
    is_unary: bool,
    /// The attempt's span.
    attempt: &'static str,
    /// The span of the gateway for the request, or for all requests that share a connection or a stream.
    server: &'static str,
    /// Whether requests share their parent in the gateway, which is then a child of the call's span.
    is_shared: bool,
}

/// The ways to a gateway whose HTTP requests go to this path.
fn ways(of_http: &'static str) -> [Way; 4] {
    let grpc = Way {
        protocol: "grpc",
        is_unary: false,
        attempt: "jina.JinaRPC/Call",
        server: "/jina.JinaRPC/Call",
        is_shared: true,
    };
    let single = "jina.JinaSingleDataRequestRPC/process_single_data";
    [
        Way { protocol: "http", attempt: of_http, server: of_http, is_shared: false, ..grpc },
        Way { is_unary: true, attempt: single, server: HANDED_ON, is_shared: false, ..grpc },
        grpc,
        Way { protocol: "websocket", attempt: "websocket send", server: "HTTP /", ..grpc },
    ]
}

/// A gateway, and the receiver of its spans. The gateway ends first, since it sends what it still has.
struct Flow {
    gateway: RealGateway,
    receiver: OtlpReceiver,
}

impl Flow {
    async fn start(environment: Environment, options: Options) -> Option<Flow> {
        let start = move || {
            let receiver = OtlpReceiver::start_or_skip().unwrap()?;
            let traces = Some(receiver.grpc_port());
            let protocols = &["http", "websocket", "grpc"];
            let options = Options { protocols, executors: &EXECUTORS, traces, ..options };
            let gateway = RealGateway::start_or_skip(environment, options).unwrap()?;
            Some(Flow { gateway, receiver })
        };
        tokio::task::spawn_blocking(start).await.unwrap()
    }

    fn client(&self, way: Way) -> ClientBuilder {
        Client::builder(&self.gateway.url(way.protocol)).unary(way.is_unary)
    }
}

/// A program that handles the request of another one, and calls a gateway for it.
struct Program {
    exporter: InMemorySpanExporter,
    provider: SdkTracerProvider,
    handler: Context,
}

impl Program {
    fn new(sampler: Sampler) -> Program {
        let exporter = InMemorySpanExporter::default();
        let builder = SdkTracerProvider::builder().with_simple_exporter(exporter.clone());
        let provider = builder.with_sampler(sampler).build();
        let (trace, span) = (RandomIdGenerator::default().new_trace_id(), SpanId::from(7));
        let state = TraceState::from_key_value([("vendor", STATE)]).unwrap();
        let caller = SpanContext::new(trace, span, TraceFlags::SAMPLED, true, state);
        let caller = Context::new().with_remote_span_context(caller);
        let span = provider.tracer("test").start_with_context("handler", &caller);
        let handler = caller.with_span(span);
        Program { exporter, provider, handler }
    }

    fn trace_id(&self) -> String {
        self.handler.span().span_context().trace_id().to_string()
    }

    fn spans(&self) -> Vec<Span> {
        let spans = self.exporter.get_finished_spans().unwrap();
        spans.into_iter().map(|data| Span::of_program(CLIENT, data)).collect()
    }

    /// The program's trace, when the gateway has ended as many spans of this name, and as many requests
    /// have ended in an executor.
    fn trace(&self, flow: &mut Flow, servers: &[(&str, usize)], handed_on: (&str, usize)) -> Trace {
        self.handler.span().end();
        let id = self.trace_id();
        let (method, handed_on) = handed_on;
        let is_complete = |spans: &[Span]| {
            let trace = Trace::of(&id, spans.to_vec());
            let count = |is_it: &dyn Fn(&Span) -> bool| {
                trace.spans().iter().filter(|span| is_it(span)).count()
            };
            servers
                .iter()
                .all(|(name, times)| count(&|span| is_of(span, GATEWAY, "SERVER", name)) >= *times)
                && count(&|span| is_of(span, GATEWAY, "CLIENT", method)) >= handed_on
                && count(&|span| is_executor(span) && span.name == method) >= handed_on
                && count(&|span| is_executor(span) && span.kind == "INTERNAL") >= handed_on
        };
        let received = flow.receiver.spans_until(is_complete).to_vec();
        Trace::of(&id, self.spans().into_iter().chain(received))
    }
}

fn is_of(span: &Span, service: &str, kind: &str, name: &str) -> bool {
    (&*span.service, &*span.kind, &*span.name) == (service, kind, name)
}

fn is_executor(span: &Span) -> bool {
    EXECUTORS.iter().any(|executor| span.service == format!("{executor}/rep-0"))
}

/// The span, if it is the only one.
fn only<'a>(trace: &Trace, spans: impl IntoIterator<Item = &'a Span>) -> &'a Span {
    let spans: Vec<_> = spans.into_iter().collect();
    assert_eq!(spans.len(), 1, "{spans:?}\n{trace}");
    spans[0]
}

/// The attempts to send a request among the children of a call's span.
fn attempts<'a>(trace: &'a Trace, call: &Span) -> Vec<&'a Span> {
    let is_request = |span: &&Span| span.attributes.contains_key("clientlet.request.id");
    trace.children(call).into_iter().filter(is_request).collect()
}

/// Asserts that a request, or as many, went through the executors below this span of the gateway.
fn assert_handed_on(trace: &Trace, server: &Span, requests: usize, endpoint: &str) {
    let mut seen = Vec::new();
    // With its first requests a v1 gateway also asks the executors which endpoints they have.
    let is_request = |span: &&Span| is_of(span, GATEWAY, "CLIENT", HANDED_ON);
    for client in trace.children(server).into_iter().filter(is_request) {
        let children = trace.children(client);
        assert_eq!(children.len(), 2, "{trace}");
        assert!(children.iter().all(|span| is_executor(span)), "{trace}");
        assert_eq!(children[0].service, children[1].service, "{trace}");
        let mut kinds = children.iter().map(|span| (&*span.kind, &*span.name)).collect::<Vec<_>>();
        kinds.sort_unstable();
        assert_eq!(kinds, [("INTERNAL", endpoint), ("SERVER", HANDED_ON)], "{trace}");
        seen.push(children[0].service.split('/').next().unwrap());
    }
    for executor in EXECUTORS {
        let times = seen.iter().filter(|name| **name == executor).count();
        assert_eq!(times, requests, "{executor} of {seen:?}\n{trace}");
    }
}

fn documents(count: usize) -> impl Iterator<Item = Document> {
    (0..count).map(|n| Document::text(format!("text {n}")))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_in_one_trace_with_the_spans_of_jina_3_33_1_v2() {
    one_trace(Environment::Current, "POST /upper").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_are_in_one_trace_with_the_spans_of_jina_3_33_1_v1() {
    one_trace(Environment::CurrentV1, "POST /post").await;
}

async fn one_trace(environment: Environment, of_http: &'static str) {
    let Some(mut flow) = Flow::start(environment, Options::default()).await else { return };
    for way in ways(of_http) {
        let program = Program::new(Sampler::AlwaysOn);
        let client = flow.client(way).tracer_provider(program.provider.clone()).build().unwrap();
        let call = client.post("/upper").documents(documents(REQUESTS)).request_size(1);
        let answers = call.parent_context(program.handler.clone()).send().await;
        assert_eq!(answers.documents::<Document>().unwrap().len(), REQUESTS, "{way:?}");
        // The gateway ends the span of a WebSocket when the connection is closed.
        drop(client);
        let servers = if way.is_shared { 1 } else { REQUESTS };
        let trace = program.trace(
            &mut flow,
            &[(way.server, servers)],
            (HANDED_ON, REQUESTS * EXECUTORS.len()),
        );

        // The handler's span is the only root, so each other span has its parent in the trace.
        let handler = only(&trace, trace.roots());
        assert!(is_of(handler, CLIENT, "INTERNAL", "handler"), "{way:?}\n{trace}");
        let call = only(&trace, trace.children(handler));
        assert!(is_of(call, CLIENT, "INTERNAL", "post /upper"), "{way:?}\n{trace}");
        // The state of the trace goes with it, to the gateway and on to the executors.
        let state = format!("vendor={STATE}");
        assert!(trace.spans().iter().all(|span| span.trace_state == state), "{way:?}\n{trace}");
        let attempts = attempts(&trace, call);
        assert_eq!(attempts.len(), REQUESTS, "{way:?}\n{trace}");
        for attempt in &attempts {
            assert!(is_of(attempt, CLIENT, "CLIENT", way.attempt), "{way:?}\n{trace}");
        }

        let is_server = |span: &&Span| is_of(span, GATEWAY, "SERVER", way.server);
        let servers = |parent| trace.children(parent).into_iter().filter(is_server);
        if way.is_shared {
            let server = only(&trace, servers(call));
            assert_handed_on(&trace, server, REQUESTS, "/upper");
            // No span of the gateway is the child of an attempt.
            assert!(attempts.iter().all(|attempt| trace.children(attempt).is_empty()), "{trace}");
        } else {
            for attempt in attempts {
                let server = only(&trace, trace.children(attempt));
                assert!(is_server(&server), "{way:?}\n{trace}");
                assert_handed_on(&trace, server, 1, "/upper");
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn baggage_reaches_the_executors() {
    for environment in [Environment::Current, Environment::CurrentV1] {
        let Some(flow) = Flow::start(environment, Options::default()).await else { return };
        let context = Context::new().with_baggage([
            KeyValue::new("user", "Zoë, \"admin\"; a=b 100%"),
            KeyValue::new("tenant", "seven"),
        ]);
        for way in ways("") {
            let client = flow.client(way).build().unwrap();
            let call = client.post("/baggage").documents(documents(1));
            let answers = call.parent_context(context.clone()).send().await;
            let documents: Vec<Value> = answers.documents().unwrap();
            let expected = json!({"user": "Zoë, \"admin\"; a=b 100%", "tenant": "seven"});
            assert_eq!(documents[0]["tags"], expected, "{environment} {way:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_of_documents_is_in_one_trace_with_the_executor_that_makes_them() {
    let Some(mut flow) = Flow::start(Environment::Current, Options::default()).await else {
        return;
    };
    let method = "/jina.JinaSingleDocumentRequestRPC/stream_doc";
    for (protocol, server) in [("http", "GET /stream"), ("grpc", method)] {
        let program = Program::new(Sampler::AlwaysOn);
        let client = Client::builder(&flow.gateway.url(protocol));
        let client = client.tracer_provider(program.provider.clone()).build().unwrap();
        let call = client.stream_document("/stream", &Document::text("a"));
        let mut documents = call.parent_context(program.handler.clone()).stream::<Document>();
        while let Some(document) = documents.next().await {
            document.unwrap();
        }
        assert_eq!(documents.documents_given(), 3, "{protocol}");
        drop(documents);
        let trace = program.trace(&mut flow, &[(server, 1)], (method, 1));

        let handler = only(&trace, trace.roots());
        let call = only(&trace, trace.children(handler));
        assert!(is_of(call, CLIENT, "INTERNAL", "stream_document /stream"), "{trace}");
        let attempt = only(&trace, trace.children(call));
        assert!(is_of(attempt, CLIENT, "CLIENT", "stream"), "{trace}");
        // The other children are the gateway's answers to what it was asked first.
        let is_server = |span: &&Span| is_of(span, GATEWAY, "SERVER", server);
        let server = only(&trace, trace.children(attempt).into_iter().filter(is_server));
        let is_client = |span: &&Span| is_of(span, GATEWAY, "CLIENT", method);
        let handed_on = only(&trace, trace.children(server).into_iter().filter(is_client));
        let executor = trace.children(handed_on);
        let has = |kind, name| executor.iter().any(|span| is_of(span, "first/rep-0", kind, name));
        assert!(has("SERVER", method) && has("INTERNAL", "/stream"), "{trace}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_clientlets_send_is_in_the_current_trace() {
    let Some(mut flow) = Flow::start(Environment::Current, Options::default()).await else {
        return;
    };
    let program = Program::new(Sampler::AlwaysOn);
    let url = |protocol| flow.gateway.url(protocol);
    let options = ClientletOptions::new().tracer_provider(program.provider.clone());
    let request = DataRequest::new(DocArray::V2, "/upper").document(&Document::text("a")).unwrap();
    let binary = DataRequest::proto(DocArray::V2, "/upper").document(&Document::text("a")).unwrap();

    // The methods are called in this context.
    let current = program.handler.clone().attach();
    let mut http = HttpClientlet::new(&format!("{}/upper", url("http")), &options).unwrap();
    http.start().await.unwrap();
    http.send_message(&request).await.unwrap();
    let mut grpc = GrpcClientlet::new(&url("grpc"), &options).unwrap();
    grpc.start().await.unwrap();
    grpc.send_message(&binary).await.unwrap();
    let mut stream = grpc.open_stream().await.unwrap();
    let mut websocket = WebsocketClientlet::new(&url("websocket"), &options).unwrap();
    websocket.start().await.unwrap();
    for _ in 0..REQUESTS {
        stream.send_message(&binary).await.unwrap();
        websocket.send_message(&binary).await.unwrap();
    }
    stream.send_eoi().await.unwrap();
    websocket.send_eoi().await.unwrap();
    let (mut of_stream, mut of_websocket) = (stream.recv_message(), websocket.recv_message());
    for _ in 0..REQUESTS {
        of_stream.next().await.unwrap().unwrap();
        of_websocket.next().await.unwrap().unwrap();
    }
    assert!(of_stream.next().await.is_none() && of_websocket.next().await.is_none());
    drop(current);

    let [http, single, stream, websocket] = ways("POST /upper");
    let requests = 2 * REQUESTS + 2;
    let of_gateway = [http, single, stream, websocket].map(|way| (way.server, 1));
    let trace = program.trace(&mut flow, &of_gateway, (HANDED_ON, requests * EXECUTORS.len()));
    let handler = only(&trace, trace.roots());
    for (way, method, requests) in [
        (http, "send_message", 1),
        (single, "send_message", 1),
        (stream, "start", REQUESTS),
        (websocket, "start", REQUESTS),
    ] {
        let is_server = |span: &&Span| is_of(span, GATEWAY, "SERVER", way.server);
        let server = only(&trace, trace.spans().iter().filter(is_server));
        assert_handed_on(&trace, server, requests, "/upper");
        let parent = |span: &Span| {
            only(&trace, trace.spans().iter().filter(|other| other.span_id == span.parent_span_id))
        };
        let attempt = parent(server);
        let call = parent(attempt);
        assert_eq!((&*attempt.kind, &*attempt.service), ("CLIENT", CLIENT), "{way:?}\n{trace}");
        assert_eq!((&*call.kind, &*call.name), ("INTERNAL", method), "{way:?}\n{trace}");
        assert_eq!(parent(call), handler, "{way:?}\n{trace}");
    }
}

/// The gateway makes all spans of a WebSocket below the span of the call that opened it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_call_on_a_websocket_is_in_the_gateways_trace_of_the_first() {
    let Some(mut flow) = Flow::start(Environment::Current, Options::default()).await else {
        return;
    };
    let [.., way] = ways("");
    let program = Program::new(Sampler::AlwaysOn);
    let client = flow.client(way).tracer_provider(program.provider.clone()).build().unwrap();
    for _ in 0..2 {
        let call = client.post("/upper").documents(documents(REQUESTS)).request_size(1);
        call.parent_context(program.handler.clone()).send().await.documents::<Document>().unwrap();
    }
    drop(client);
    let trace =
        program.trace(&mut flow, &[(way.server, 1)], (HANDED_ON, 2 * REQUESTS * EXECUTORS.len()));
    let handler = only(&trace, trace.roots());
    let calls = trace.children(handler);
    assert_eq!(calls.len(), 2, "{trace}");
    let (first, second) = (calls[0], calls[1]);
    for call in [first, second] {
        assert_eq!(attempts(&trace, call).len(), REQUESTS, "{trace}");
    }
    let is_server = |span: &&Span| is_of(span, GATEWAY, "SERVER", way.server);
    let servers = trace.children(first).into_iter().filter(is_server);
    let server = only(&trace, servers);
    assert_handed_on(&trace, server, 2 * REQUESTS, "/upper");
    assert!(trace.children(second).iter().all(|span| span.service == CLIENT), "{trace}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_attempt_is_the_parent_of_its_own_spans_of_the_gateway() {
    let options = Options { retries: Some(0), ..Options::default() };
    let Some(mut flow) = Flow::start(Environment::CurrentV1, options).await else { return };
    flow.gateway.kill_executor().unwrap();
    let [http, unary, ..] = ways("POST /post");
    for way in [http, unary] {
        let program = Program::new(Sampler::AlwaysOn);
        let client = flow.client(way).tracer_provider(program.provider.clone());
        let retry =
            RetryPolicy::standard().max_attempts(3).initial_backoff(Duration::from_millis(1));
        let call = client.build().unwrap().post("/upper").documents(documents(1)).retry(retry);
        let answers = call.parent_context(program.handler.clone()).send().await;
        assert_eq!(answers.errors().count(), 1, "{way:?}");
        let trace = program.trace(&mut flow, &[(way.server, 3)], (HANDED_ON, 0));

        let handler = only(&trace, trace.roots());
        let call = only(&trace, trace.children(handler));
        assert_eq!((&*call.status, &call.attributes["error.type"]), ("ERROR", &json!("gateway")));
        let attempts = attempts(&trace, call);
        assert_eq!(attempts.len(), 3, "{way:?}\n{trace}");
        for (n, attempt) in attempts.into_iter().enumerate() {
            assert_eq!(attempt.status, "ERROR", "{way:?}\n{trace}");
            let number = attempt.attributes.get("clientlet.attempt");
            assert_eq!(number, (n > 0).then(|| json!(n + 1)).as_ref(), "{way:?}\n{trace}");
            let server = only(&trace, trace.children(attempt));
            assert!(is_of(server, GATEWAY, "SERVER", way.server), "{way:?}\n{trace}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_exception_of_an_executor_is_in_the_trace_of_the_request_that_failed() {
    let Some(mut flow) = Flow::start(Environment::Current, Options::default()).await else {
        return;
    };
    let [http, unary, ..] = ways("POST /fail");
    for way in [http, unary] {
        let program = Program::new(Sampler::AlwaysOn);
        let client = flow.client(way).tracer_provider(program.provider.clone()).build().unwrap();
        let call = client.post("/fail").documents(documents(1));
        let answers = call.parent_context(program.handler.clone()).send().await;
        assert_eq!(answers.errors().count(), 1, "{way:?}");
        let trace = program.trace(&mut flow, &[(way.server, 1)], (HANDED_ON, 1));

        let raised = |span: &&Span| is_executor(span) && span.status == "ERROR";
        let raised = only(&trace, trace.spans().iter().filter(raised));
        assert_eq!((&*raised.name, &*raised.events[0].name), ("/fail", "exception"), "{trace}");
        let handler = only(&trace, trace.roots());
        let call = trace.children(handler)[0];
        for span in [call, attempts(&trace, call)[0]] {
            assert_eq!(span.status, "ERROR", "{way:?}\n{trace}");
            assert!(span.message.contains("this endpoint always fails"), "{span:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_and_its_executors_do_not_trace_what_the_program_does_not_sample() {
    let Some(mut flow) = Flow::start(Environment::Current, Options::default()).await else {
        return;
    };
    for way in ways("POST /upper") {
        let [unsampled, sampled] = [Sampler::AlwaysOff, Sampler::AlwaysOn].map(Program::new);
        // A trace of the gateway's own would have an id that is not known here. So the spans of all
        // traces are counted: those of the second program, and no others.
        let before =
            flow.receiver.spans_until(|_| true).iter().filter(|span| is_upper(span)).count();
        for program in [&unsampled, &sampled] {
            let client =
                flow.client(way).tracer_provider(program.provider.clone()).build().unwrap();
            let call = client.post("/upper").documents(documents(1));
            let answers = call.parent_context(program.handler.clone()).send().await;
            assert_eq!(answers.documents::<Document>().unwrap().len(), 1, "{way:?}");
        }
        assert!(unsampled.handler.span().span_context().is_valid());
        assert_eq!(unsampled.spans(), []);
        let trace = sampled.trace(&mut flow, &[(way.server, 1)], (HANDED_ON, EXECUTORS.len()));
        let received = flow.receiver.spans_until(|_| true);
        let after = received.iter().filter(|span| is_upper(span)).count();
        assert_eq!(after - before, EXECUTORS.len(), "{way:?}\n{trace}");
    }
}

/// Whether it is the span of a request's endpoint in an executor.
fn is_upper(span: &Span) -> bool {
    is_executor(span) && span.name == "/upper"
}
