//! Marked secrets in every place that takes one, on every way to fail, with every event of every crate
//! heard: no secret is shown, even if the server repeats what it was sent. This test has a program of its
//! own, because tracing asks the subscribers of all threads which events they want.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::error::Error as _;
use std::fmt::Write as _;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use clientlet::clientlets::{
    ClientletOptions, DataRequest, GrpcClientlet, HttpClientlet, WebsocketClientlet,
};
use clientlet::{Client, ClientBuilder, Document, Error, NextAttempt, Pem, RetryPolicy, Tls};
use clientlet_gateway::{DocArray, Gateway, Tls as Served};
use http::HeaderMap;
use http::header::{AUTHORIZATION, HeaderName, HeaderValue};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

/// Keeps everything that any crate tells at any level.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<String>>);

impl Visit for Heard {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        *self.0.lock().unwrap() += &format!("{field}={value:?}\n");
    }
}

impl Subscriber for Heard {
    fn enabled(&self, _: &Metadata<'_>) -> bool {
        true
    }

    fn new_span(&self, attributes: &Attributes<'_>) -> Id {
        attributes.record(&mut self.clone());
        Id::from_u64(1)
    }

    fn record(&self, _: &Id, values: &Record<'_>) {
        values.record(&mut self.clone());
    }

    fn record_follows_from(&self, _: &Id, _: &Id) {}

    fn event(&self, event: &Event<'_>) {
        event.record(&mut self.clone());
    }

    fn enter(&self, _: &Id) {}

    fn exit(&self, _: &Id) {}
}

/// Spans are heard as well, and metrics.
#[cfg(feature = "otel")]
mod spans {
    use opentelemetry::Context;
    use opentelemetry_sdk::error::OTelSdkResult;
    use opentelemetry_sdk::metrics::{InMemoryMetricExporter, SdkMeterProvider};
    use opentelemetry_sdk::trace::{SdkTracerProvider, Span, SpanData, SpanProcessor};

    use super::*;

    impl std::fmt::Debug for Heard {
        fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
            f.write_str("Heard")
        }
    }

    impl SpanProcessor for Heard {
        fn on_start(&self, _: &mut Span, _: &Context) {}

        fn on_end(&self, span: SpanData) {
            *self.0.lock().unwrap() += &format!("{span:?}\n");
        }

        fn force_flush(&self) -> OTelSdkResult {
            Ok(())
        }

        fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
            Ok(())
        }
    }

    /// Listens to the metrics of clients until it is dropped.
    pub(super) struct Metrics(Heard, SdkMeterProvider, InMemoryMetricExporter);

    impl Metrics {
        pub(super) fn of(heard: &Heard) -> Metrics {
            let exporter = InMemoryMetricExporter::default();
            let meter = SdkMeterProvider::builder().with_periodic_exporter(exporter.clone());
            Metrics(heard.clone(), meter.build(), exporter)
        }

        pub(super) fn meter(&self) -> SdkMeterProvider {
            self.1.clone()
        }
    }

    impl Drop for Metrics {
        fn drop(&mut self) {
            self.1.force_flush().unwrap();
            let metrics = self.2.get_finished_metrics().unwrap();
            assert!(!metrics.is_empty());
            *self.0.0.lock().unwrap() += &format!("{metrics:?}\n");
        }
    }

    pub(super) fn tracer(heard: &Heard) -> SdkTracerProvider {
        SdkTracerProvider::builder().with_span_processor(heard.clone()).build()
    }
}

/// The part of each secret that every way of writing leaves as it is.
const MARK: &str = "m4rk";

/// A secret with characters that URLs, JSON and HTML write differently.
fn secret(of: &str) -> String {
    format!("{MARK}{of}/\"<&%{MARK}")
}

/// Where the client's credentials come from. Only one of the places may have them.
const PLACES: [&str; 4] = ["url", "basic", "bearer", "hook"];

type Way = (&'static str, bool);
const WAYS: [Way; 4] = [("http", false), ("ws", false), ("grpc", false), ("grpc", true)];

/// Percent-encodes everything but letters and digits.
fn percent(text: &str) -> String {
    let encoded = text.bytes().map(|byte| match byte.is_ascii_alphanumeric() {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    });
    encoded.collect()
}

/// A client with a secret in every place that takes one.
fn client(url: &str, way: Way, place: &str, tls: &Served, proxy: Option<&str>) -> ClientBuilder {
    let (scheme, rest) = url.split_once("://").unwrap();
    let url = match place {
        "url" => format!("{scheme}://user:{}@{rest}", percent(&secret("url"))),
        _ => url.to_owned(),
    };
    let identity = tls.client_identity("job");
    let settings = Tls::new().without_system_roots(true).ca(Pem::text(tls.ca_pem()));
    let chain = Pem::text(identity.certificate);
    let settings = settings.client_certificate(chain, Pem::text(identity.key));
    let builder = Client::builder(&url).unary(way.1).docarray(clientlet::DocArray::V1);
    let builder = builder.tls(settings).retry(RetryPolicy::standard().max_attempts(2));
    let builder = builder.attempt_timeout(Duration::from_millis(300));
    let builder = builder.header("x-key", secret("key")).cookie("own", secret("cookie"));
    let builder = match proxy {
        Some(at) => builder.proxy(format!("http://user:{}@{at}", percent(&secret("proxy")))),
        None => builder,
    };
    match place {
        "basic" => builder.basic_auth("user", secret("basic")),
        "bearer" => builder.bearer_token(secret("bearer")),
        "hook" => builder.before_attempt(hook),
        _ => builder,
    }
}

async fn hook(next: NextAttempt) -> Result<HeaderMap, Box<dyn std::error::Error + Send + Sync>> {
    assert!(!format!("{next:?}").contains(MARK), "{next:?}");
    let token = format!("Bearer {}", secret("hook"));
    let signature = HeaderName::from_static("x-signature");
    Ok(HeaderMap::from_iter([
        (AUTHORIZATION, HeaderValue::from_str(&token)?),
        (signature, HeaderValue::from_str(&secret("signature"))?),
    ]))
}

/// What a server does with the request that it repeats.
#[derive(Clone, Copy, Debug)]
enum Echo {
    Status(u16),
    /// 500 with FastAPI's `{"detail": ..}`.
    Detail,
    /// An executor's exception.
    Exception,
    Redirect,
    /// Bytes that are not HTTP.
    Garbage,
    /// A 200 that is not the answer to anything.
    Page,
    /// The answer stops within its body.
    Cut,
    ContentType,
}

const ECHOES: [Echo; 10] = [
    Echo::Status(401),
    Echo::Status(403),
    Echo::Status(500),
    Echo::Status(503),
    Echo::Detail,
    Echo::Exception,
    Echo::Redirect,
    Echo::Garbage,
    Echo::Page,
    Echo::ContentType,
];

/// A server that repeats the heads of requests in several ways of writing, until it is dropped.
async fn echo(how: Echo) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(answer(stream, how));
        }
    });
    address
}

/// Credentials as the server decodes them.
fn decoded(head: &str) -> String {
    let coded = head.split_whitespace().filter_map(|word| STANDARD.decode(word).ok());
    coded.filter_map(|bytes| String::from_utf8(bytes).ok()).collect::<Vec<_>>().join(" ")
}

fn html(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('"', "&#34;")
}

async fn answer(mut stream: TcpStream, how: Echo) -> std::io::Result<()> {
    loop {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let mut head = String::from_utf8_lossy(&head).into_owned();
        let length = head.to_lowercase().split("content-length: ").nth(1).map(|rest| {
            rest.chars().take_while(char::is_ascii_digit).collect::<String>().parse().unwrap()
        });
        stream.read_exact(&mut vec![0; length.unwrap_or(0)]).await?;
        head += &decoded(&head);
        // The secrets come first, since messages are shortened.
        let mut lines: Vec<&str> = head.lines().filter(|line| line.contains(MARK)).collect();
        lines.push(head.lines().find(|line| line.contains("asic ")).unwrap_or(""));
        let said = lines.join(" ");
        let forms = format!("{} {} {said}", percent(&said), html(&said));
        let json = serde_json::to_string(&forms).unwrap();
        let (status, headers, body) = match how {
            Echo::Garbage => {
                stream.write_all(forms.as_bytes()).await?;
                return Ok(());
            }
            Echo::Status(code) => (code, String::new(), said.clone()),
            Echo::Detail => (500, String::new(), format!("{{\"detail\": {json}}}")),
            Echo::Exception => {
                let exception = format!(
                    "{{\"name\": \"E\", \"args\": [{json}], \"stacks\": [{json}], \"executor\": \"X\"}}"
                );
                let status =
                    format!("{{\"code\": 1, \"description\": {json}, \"exception\": {exception}}}");
                (
                    200,
                    String::new(),
                    format!("{{\"header\": {{\"status\": {status}}}, \"data\": []}}"),
                )
            }
            Echo::Redirect => {
                let to = format!("https://user:{0}@flow.example/{0}?t={0}", percent(&said));
                (302, format!("location: {to}\r\n"), String::new())
            }
            Echo::Page | Echo::Cut => (200, String::new(), forms.clone()),
            Echo::ContentType => (200, format!("content-type: {said}\r\n"), "<html>".to_owned()),
        };
        let more = if matches!(how, Echo::Cut) { 100 } else { 0 };
        let answer = format!(
            "HTTP/1.1 {status} {said}\r\nset-cookie: jar={MARK}jar/&%{MARK}; Path=/\r\nx-echo: {said}\r\n{headers}\
             content-length: {}\r\n\r\n{body}",
            body.len() + more,
        );
        stream.write_all(answer.as_bytes()).await?;
    }
}

/// Posts twice, so that cookies that were set are sent as well, and returns all that is shown.
async fn shown(builder: ClientBuilder) -> (String, usize) {
    let mut shown = format!("{builder:?}\n");
    let client = builder.build().unwrap();
    let mut failures = 0;
    for n in 0..2 {
        let call = client.post("/upper").header("x-call", secret("call"));
        let call = call.documents([Document::text("x").with_id(n.to_string())]);
        let answers = call.send().await;
        for error in answers.errors() {
            failures += 1;
            shown += &all_of(error);
        }
    }
    if let Err(error) = client.ready().await {
        shown += &all_of(&error);
    }
    (shown + &format!("{client:?}\n"), failures)
}

/// Everything that an error shows.
fn all_of(error: &Error) -> String {
    let mut shown = format!("{error}\n{error:?}\n{error:#?}\n{:?}\n", error.attempts());
    write!(shown, "{:?}\n{:?}\n", error.exception(), error.headers()).unwrap();
    if let Some(response) = error.response() {
        writeln!(shown, "{:?}", response.status()).unwrap();
    }
    let mut cause = error.source();
    while let Some(error) = cause {
        writeln!(shown, "{error} {error:?}").unwrap();
        cause = error.source();
    }
    shown
}

/// Runs clients with everything heard, beside servers that are not heard.
struct Stage {
    servers: Runtime,
    clients: Runtime,
    heard: Heard,
    tls: Served,
}

impl Stage {
    fn set() -> (Stage, tracing::subscriber::DefaultGuard) {
        let mut servers = tokio::runtime::Builder::new_multi_thread();
        let servers = servers.worker_threads(1).enable_all().build().unwrap();
        let heard = Heard::default();
        let guard = tracing::subscriber::set_default(heard.clone());
        let clients = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let tls = Served::self_signed();
        (Stage { servers, clients, heard, tls }, guard)
    }

    /// Checks that nothing of what was shown or told is a secret.
    fn check(&self, what: &str, shown: &str) {
        let mut told = self.heard.0.lock().unwrap();
        for text in [shown, &*told] {
            for line in text.lines() {
                let coded = |of: &str| STANDARD.encode(format!("user:{}", secret(of)));
                let is_coded = ["url", "basic", "proxy"].iter().any(|of| line.contains(&coded(of)));
                assert!(!line.contains(MARK) && !is_coded, "{what}: {line}");
            }
        }
        let key = self.tls.client_identity("job").key;
        assert!(!told.contains(&key[60..90]) && !shown.contains(&key[60..90]), "{what}");
        told.clear();
    }

    /// Posts to this address by each place of credentials.
    fn post(&self, what: &str, url: &str, way: Way, proxy: Option<&str>) {
        PLACES.iter().for_each(|place| self.post_with(place, what, url, way, proxy));
    }

    fn post_with(&self, place: &str, what: &str, url: &str, way: Way, proxy: Option<&str>) {
        let what = format!("{what} over {way:?} with {place}");
        let builder = client(url, way, place, &self.tls, proxy);
        #[cfg(feature = "otel")]
        let metrics = spans::Metrics::of(&self.heard);
        #[cfg(feature = "otel")]
        let builder =
            builder.tracer_provider(spans::tracer(&self.heard)).meter_provider(metrics.meter());
        let (shown, failures) = self.clients.block_on(shown(builder));
        assert_eq!(failures, 2, "{what}: {shown}");
        #[cfg(feature = "otel")]
        {
            drop(metrics);
            let told = self.heard.0.lock().unwrap();
            for part in ["\"post /upper\"", "\"ready\"", "clientlet.request.duration"] {
                assert!(told.contains(part), "{what}: {part} was not told");
            }
        }
        assert!(!self.heard.0.lock().unwrap().is_empty(), "{what}");
        self.check(&what, &shown);
    }
}

#[test]
fn a_server_that_repeats_what_it_was_sent_makes_no_error_show_a_secret() {
    let (stage, _guard) = Stage::set();
    for how in ECHOES.into_iter().chain([Echo::Cut]) {
        let address = stage.servers.block_on(echo(how));
        for scheme in ["http", "ws"] {
            stage.post(
                &format!("{how:?}"),
                &format!("{scheme}://{address}"),
                (scheme, false),
                None,
            );
        }
    }
}

#[test]
fn a_proxy_that_repeats_what_it_was_sent_makes_no_error_show_a_secret() {
    let (stage, _guard) = Stage::set();
    for how in [Echo::Status(407), Echo::Status(403), Echo::Status(502), Echo::Garbage] {
        let proxy = stage.servers.block_on(echo(how));
        for way in WAYS {
            let url = format!("{}://flow.example:80", way.0);
            stage.post(&format!("{how:?} of a proxy"), &url, way, Some(&proxy));
        }
    }
}

#[test]
fn no_fault_of_a_gateway_makes_an_error_show_a_secret() {
    let (stage, _guard) = Stage::set();
    for (way, place) in WAYS.into_iter().flat_map(|way| PLACES.map(|place| (way, place))) {
        // What the gateway says of what it was sent.
        let said = [place, "key", "call", "cookie"].map(secret).join(" ");
        let own = match way.0 {
            "ws" => vec![format!("close:1008:{said}"), format!("close:1011:{said}")],
            "grpc" => vec![
                format!("grpc-status:16:{said}"),
                format!("grpc-status:13:{said}"),
                format!("grpc-status:14:deployment {said}"),
            ],
            _ => vec![format!("redirect:307:https://h/?t={said}"), "reset-before".to_owned()],
        };
        let everywhere = ["stall", "reset-after", "malformed"].map(ToOwned::to_owned);
        for fault in everywhere.into_iter().chain(own) {
            let builder = Gateway::builder().http(true).websocket(true).grpc(true);
            let fault = format!("{fault}@100%");
            let builder = builder.docarray(DocArray::V1).fault(fault.parse().unwrap());
            let gateway = stage.servers.block_on(async { builder.start().await.unwrap() });
            let url = match way.0 {
                "http" => gateway.http_url(),
                "ws" => gateway.websocket_url(),
                _ => gateway.grpc_url(),
            };
            stage.post_with(place, &fault, &url, way, None);
        }
        let closed = stage.servers.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let url = format!("{}://{}", way.0, closed.local_addr().unwrap());
        drop(closed);
        stage.post_with(place, "refused", &url, way, None);
    }
}

#[test]
fn no_fault_of_tls_makes_an_error_show_a_secret() {
    let (stage, _guard) = Stage::set();
    for way in [("https", false), ("wss", false), ("grpcs", false), ("grpcs", true)] {
        for fault in ["expired", "unknown-issuer", "reset-after", "alpn:other"] {
            let builder = Gateway::builder().http(true).websocket(true).grpc(true);
            let builder = builder.docarray(DocArray::V1).tls(stage.tls.clone());
            let fault = format!("{fault}@100%,on=handshake");
            let builder = builder.fault(fault.parse().unwrap());
            let gateway = stage.servers.block_on(async { builder.start().await.unwrap() });
            let url = match way.0 {
                "https" => gateway.http_url(),
                "wss" => gateway.websocket_url(),
                _ => gateway.grpc_url(),
            };
            stage.post(&fault, &url, way, None);
        }
    }
}

#[test]
fn clientlets_show_no_secret_that_a_gateway_repeats() {
    let (stage, _guard) = Stage::set();
    let options = || {
        let options = ClientletOptions::new().bearer_token(secret("bearer"));
        #[cfg(feature = "otel")]
        let options = options.tracer_provider(spans::tracer(&stage.heard));
        options
    };
    let request = DataRequest::proto(clientlet::DocArray::V1, "/upper");
    let request = request.document(&Document::text("x")).unwrap();
    let json = DataRequest::new(clientlet::DocArray::V1, "/upper");
    let json = json.document(&Document::text("x")).unwrap();
    for how in [Echo::Detail, Echo::Exception] {
        let address = stage.servers.block_on(echo(how));
        let shown = stage.clients.block_on(async {
            let mut http =
                HttpClientlet::new(&format!("http://{address}/post"), &options()).unwrap();
            http.start().await.unwrap();
            let message = http.message(&json).header("x-call", secret("call"));
            let answer = message.send().await.unwrap();
            let error = answer.response(clientlet::DocArray::V1).unwrap_err();
            format!("{answer:?}\n{}", all_of(&error))
        });
        stage.check(&format!("{how:?}"), &shown);
    }
    for fault in ["close:1008", "close:1011", "grpc-status:16", "grpc-status:13"] {
        let builder = Gateway::builder().http(true).websocket(true).grpc(true);
        let said = format!("{fault}:{}@100%", secret("bearer"));
        let builder = builder.docarray(DocArray::V1).fault(said.parse().unwrap());
        let gateway = stage.servers.block_on(async { builder.start().await.unwrap() });
        let shown = stage.clients.block_on(async {
            let mut shown = String::new();
            if fault.starts_with("close") {
                let mut ws = WebsocketClientlet::new(&gateway.websocket_url(), &options()).unwrap();
                ws.start().await.unwrap();
                let _ = ws.send_message(&request).await;
                let mut answers = ws.recv_message();
                while let Some(answer) = answers.next().await {
                    shown += &answer.map_or_else(|error| all_of(&error), |_| String::new());
                }
                write!(shown, "{answers:?}").unwrap();
                return shown + &ws.close_message().unwrap();
            }
            let mut grpc = GrpcClientlet::new(&gateway.grpc_url(), &options()).unwrap();
            grpc.start().await.unwrap();
            shown += &all_of(&grpc.send_message(&request).await.unwrap_err());
            let mut stream = grpc.open_stream().await.unwrap();
            let _ = stream.send_message(&request).await;
            let mut answers = stream.recv_message();
            while let Some(answer) = answers.next().await {
                shown += &answer.map_or_else(|error| all_of(&error), |_| String::new());
            }
            write!(shown, "{answers:?}").unwrap();
            shown + &stream.status_message().unwrap()
        });
        assert!(shown.contains("[secret]"), "{fault}: {shown}");
        stage.check(fault, &shown);
    }
}
