//! nginx as an ingress that ends TLS in front of real gateways, below a path of its own for each protocol.
//! What nginx answers by itself is reported as what it is, and a reload loses nothing.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod events;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clientlet::{Client, ClientBuilder, Document, Error, ErrorKind, Hint, Pem, RetryPolicy, Tls};
use clientlet_gateway::{DocArray, Endpoint, Gateway, Reply};
use clientlet_interop::{Certificate, Environment, Nginx, Options, RealGateway};
use futures_util::stream;
use serde_json::json;
use tokio::sync::Semaphore;

/// A way to a gateway: the scheme, and whether each request is a unary call.
type Way = (&'static str, bool);
const WAYS: [Way; 4] = [("https", false), ("wss", false), ("grpcs", false), ("grpcs", true)];

struct Ingress {
    nginx: Nginx,
    certificate: Certificate,
}

/// The ports of a gateway.
#[derive(Clone, Copy)]
struct Ports {
    http: u16,
    websocket: u16,
    grpc: u16,
}

async fn gateway(environment: Environment) -> Option<RealGateway> {
    let options = Options { protocols: &["http", "websocket", "grpc"], ..Options::default() };
    let start = move || RealGateway::start_or_skip(environment, options);
    tokio::task::spawn_blocking(start).await.unwrap().unwrap_or_else(|error| panic!("{error}"))
}

fn ports(gateway: &RealGateway) -> Ports {
    let [http, websocket, grpc] = ["http", "websocket", "grpc"].map(|name| gateway.port(name));
    Ports { http, websocket, grpc }
}

impl Ingress {
    /// Starts nginx with further settings of its server. Returns `None` if it is not installed.
    async fn start(ports: Ports, settings: &'static str) -> Option<Ingress> {
        let certificate = Certificate::new().unwrap();
        let server = server(&certificate, ports, settings);
        let start = move || Nginx::start_or_skip("ssl http2", &server);
        let nginx = tokio::task::spawn_blocking(start).await.unwrap();
        let nginx = nginx.unwrap_or_else(|error| panic!("{error}"))?;
        Some(Ingress { nginx, certificate })
    }

    /// A client that sends each request once.
    fn client(&self, way: Way) -> ClientBuilder {
        client(&self.nginx, &self.certificate, way)
    }
}

/// The directives of a server before these ports.
fn server(certificate: &Certificate, ports: Ports, settings: &str) -> String {
    let (file, key) = (certificate.certificate(), certificate.key());
    let (file, key) = (file.display(), key.display());
    let Ports { http, websocket, grpc } = ports;
    format!(
        "ssl_certificate {file};
        ssl_certificate_key {key};
        {settings}
        location /flow/http/ {{
            proxy_pass http://127.0.0.1:{http}/;
            proxy_http_version 1.1;
            proxy_set_header Connection '';
        }}
        location /flow/websocket/ {{
            proxy_pass http://127.0.0.1:{websocket}/;
            proxy_http_version 1.1;
            proxy_set_header Upgrade $http_upgrade;
            proxy_set_header Connection upgrade;
        }}
        location /flow/grpc/ {{
            rewrite ^/flow/grpc(/.*)$ $1 break;
            grpc_pass grpc://127.0.0.1:{grpc};
        }}"
    )
}

fn client(nginx: &Nginx, certificate: &Certificate, way: Way) -> ClientBuilder {
    let path = match way.0 {
        "https" => "http",
        "wss" => "websocket",
        _ => "grpc",
    };
    let url = format!("{}://127.0.0.1:{}/flow/{path}", way.0, nginx.port());
    Client::builder(&url).unary(way.1).tls(trusting(certificate)).retry(RetryPolicy::new())
}

fn trusting(certificate: &Certificate) -> Tls {
    Tls::new().ca(Pem::text(certificate.ca_pem())).without_system_roots(true)
}

async fn post(client: &Client, endpoint: &str, document: Document) -> Result<String, Error> {
    let call = client.post(endpoint).document(&document).parameters(json!({"seconds": 60}));
    let answers = call.send().await.into_result()?;
    Ok(answers[0].documents::<Document>()?.remove(0).text.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn documents_and_questions_pass_an_ingress_that_ends_tls_below_a_path() {
    for environment in [Environment::SeedEra, Environment::Current] {
        let Some(gateway) = gateway(environment).await else { return };
        for way in WAYS {
            let Some(ingress) = Ingress::start(ports(&gateway), "").await else { return };
            let client = ingress.client(way).build().unwrap();
            client.ready().await.unwrap_or_else(|error| panic!("{environment} {way:?}: {error}"));
            let text = post(&client, "/upper", Document::text("a")).await.unwrap();
            assert_eq!(text, "A", "{environment} {way:?}");
        }
    }
}

/// Hosts on one port of nginx, and the release of Jina behind each.
const HOSTS: [(&str, Environment, &str); 2] = [
    ("old.flow.example", Environment::SeedEra, "3.14.1"),
    ("new.flow.example", Environment::Current, "3.33.1"),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_on_one_port_have_certificates_and_gateways_of_their_own() {
    let (mut gateways, mut certificates, mut servers) = (Vec::new(), Vec::new(), Vec::new());
    for (host, environment, _) in HOSTS {
        let Some(gateway) = gateway(environment).await else { return };
        let certificate = Certificate::for_host(host).unwrap();
        servers.push(server(&certificate, ports(&gateway), &format!("server_name {host};")));
        gateways.push(gateway);
        certificates.push(certificate);
    }
    let start = move || {
        let servers: Vec<&str> = servers.iter().map(String::as_str).collect();
        Nginx::start_servers_or_skip("ssl http2", &servers)
    };
    let nginx = tokio::task::spawn_blocking(start).await.unwrap();
    let Some(nginx) = nginx.unwrap_or_else(|error| panic!("{error}")) else { return };
    for way in WAYS {
        for ((host, _, release), certificate) in HOSTS.into_iter().zip(&certificates) {
            let what = format!("{host} {way:?}");
            let builder = client(&nginx, certificate, way).header("host", host);
            let named = builder.tls(trusting(certificate).server_name(host)).build().unwrap();
            let status = named.status().await.unwrap_or_else(|error| panic!("{what}: {error}"));
            assert_eq!(status.jina_release(), Some(release), "{what}");
            let text = post(&named, "/upper", Document::text("a")).await.unwrap();
            assert_eq!(text, "A", "{what}");

            // Without a name nginx shows the certificate of its first server.
            let unnamed = client(&nginx, &certificates[0], way).header("host", host);
            let error = post(&unnamed.build().unwrap(), "/upper", Document::text("a")).await;
            let error = error.unwrap_err();
            let told = format!("is not for \"127.0.0.1\" but for {}", HOSTS[0].0);
            assert_eq!(error.kind(), ErrorKind::Tls, "{what}: {error}");
            assert!(error.message().contains(&told), "{what}: {error}");
        }
    }
}

/// What nginx does by itself.
struct Case {
    settings: &'static str,
    /// Whether nginx finds no gateway at its port.
    is_down: bool,
    endpoint: &'static str,
    text_length: usize,
    /// What comes of it over HTTP, WebSocket, gRPC and unary gRPC.
    outcomes: [Outcome; 4],
}

/// A kind, the status if there is one, whether the request may have run, and a part of the message; `None` if
/// the request is answered.
type Outcome = Option<(ErrorKind, Option<u16>, bool, &'static str)>;

const TOO_LARGE: Outcome = Some((ErrorKind::Gateway, Some(413), false, "answered 413"));
const TOO_SLOW: Outcome = Some((ErrorKind::Timeout, Some(504), true, "answered 504"));
/// The gateway is asked what it speaks first, which runs nothing.
const DOWN: Outcome = Some((ErrorKind::Gateway, Some(502), false, "answered 502"));

/// Longer than nginx waits.
const ATTEMPT: Duration = Duration::from_secs(5);

const CASES: [Case; 3] = [
    Case {
        settings: "client_max_body_size 1k;",
        is_down: false,
        endpoint: "/upper",
        text_length: 5000,
        // nginx does not look into the messages of a WebSocket.
        outcomes: [TOO_LARGE, None, TOO_LARGE, TOO_LARGE],
    },
    Case {
        settings: "proxy_read_timeout 1s; grpc_read_timeout 1s;",
        is_down: false,
        endpoint: "/slow",
        text_length: 1,
        outcomes: [
            TOO_SLOW,
            // The connection is closed without a word.
            Some((ErrorKind::Transport, None, true, "")),
            // nginx does not wait for an answer as long as the client may still send.
            Some((ErrorKind::Timeout, None, true, "no answer within 5.0 s")),
            TOO_SLOW,
        ],
    },
    Case { settings: "", is_down: true, endpoint: "/upper", text_length: 1, outcomes: [DOWN; 4] },
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_an_ingress_answers_by_itself_is_reported_as_what_it_is() {
    events::watch();
    let Some(gateway) = gateway(Environment::Current).await else { return };
    let mut wrong = Vec::new();
    for case in CASES {
        for (way, outcome) in WAYS.into_iter().zip(case.outcomes) {
            let mut ports = ports(&gateway);
            if case.is_down {
                // Nothing listens at port 1.
                ports = Ports { http: 1, websocket: 1, grpc: 1 };
            }
            let Some(ingress) = Ingress::start(ports, case.settings).await else { return };
            let client = ingress.client(way).attempt_timeout(ATTEMPT).build().unwrap();
            let document = Document::text("x".repeat(case.text_length));
            let answer = post(&client, case.endpoint, document).await;
            let found = answer.as_ref().err().map(|error| {
                let status = error.http_status().map(|status| status.as_u16());
                (error.kind(), status, error.may_have_run())
            });
            let expected =
                outcome.map(|(kind, status, may_have_run, _)| (kind, status, may_have_run));
            let told = outcome.map_or("", |(.., told)| told);
            let hint = answer.as_ref().err().and_then(Error::hint);
            let expected_hint = (outcome == TOO_LARGE).then_some(Hint::RequestTooLarge);
            let text = answer.unwrap_or_else(|error| error.to_string());
            if found != expected || !text.contains(told) || hint != expected_hint {
                wrong.push(format!("{way:?} {:?}: {found:?} {text}", case.settings));
            }
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_ingress_that_leaves_its_connections_costs_no_request() {
    let Some(gateway) = gateway(Environment::Current).await else { return };
    for way in WAYS {
        let settings = "keepalive_requests 7;";
        let Some(ingress) = Ingress::start(ports(&gateway), settings).await else { return };
        // Requests that may have arrived are not sent again.
        let policy = RetryPolicy::new().at_most_once(true);
        let client = ingress.client(way).retry(policy).build().unwrap();
        let documents = (0..200).map(|n: u32| Document::text("x").with_id(n.to_string()));
        let call = client.post("/upper").documents(documents).request_size(1).prefetch(8);
        let answers = call.send().await;
        let failed: Vec<&Error> = answers.errors().collect();
        assert!(failed.is_empty(), "{way:?}: {} of 200: {}", failed.len(), failed[0]);
        assert_eq!(answers.documents::<Document>().unwrap().len(), 200, "{way:?}");
        // A stream, over WebSocket or gRPC, is one request for nginx.
        let is_stream = matches!(way, ("wss", _) | ("grpcs", false));
        let opened = client.connections().opened;
        assert!(is_stream || opened >= 200 / 7, "{way:?}: {opened}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_under_load_loses_nothing() {
    events::watch();
    let Some(gateway) = gateway(Environment::Current).await else { return };
    for way in WAYS {
        let Some(mut ingress) = Ingress::start(ports(&gateway), "").await else { return };
        let client = ingress.client(way).retry(RetryPolicy::standard()).build().unwrap();
        let is_over = AtomicBool::new(false);
        let input = (0..).take_while(|_| !is_over.load(Ordering::Relaxed));
        let documents = input.map(|n: u32| Document::text("x").with_id(n.to_string()));
        let call = client.post("/upper").documents(documents).request_size(1).prefetch(16);
        let mut responses = call.stream();
        // A stream, over WebSocket or gRPC, stays with the old worker.
        let is_stream = matches!(way, ("wss", _) | ("grpcs", false));
        let (mut answered, mut before) = (0, 0);
        while let Some(response) = responses.next().await {
            let response = response.unwrap_or_else(|error| {
                panic!("{way:?}, {answered} answered: {error:?}\n{}", ingress.nginx.log())
            });
            let back: Vec<Document> = response.documents().unwrap();
            let own = (Some(response.input().start.to_string()), Some("X".to_owned()));
            assert_eq!((back[0].id.clone(), back[0].text.clone()), own, "{way:?}");
            answered += 1;
            let opened = client.connections().opened;
            if answered % 200 == 0 {
                before = if answered == 200 { opened } else { before };
                ingress.nginx.reload().unwrap();
            }
            let has_moved = is_stream || answered > 200 && opened > before;
            is_over.store(answered >= 900 && has_moved, Ordering::Relaxed);
            assert!(answered < 20_000, "{way:?}: no new worker has answered");
        }
        assert!(answered >= 900, "{way:?}");
    }
}

/// The directives with which nginx compresses everything, and passes on what comes at once.
const COMPRESSING: &str = "gzip on; gzip_types *; gzip_min_length 1; gzip_proxied any;
        proxy_buffering off;";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_an_ingress_compresses_are_read() {
    const LENGTH: usize = 100_000;
    for environment in [Environment::SeedEra, Environment::Current] {
        let Some(gateway) = gateway(environment).await else { return };
        for (way, compression) in WAYS.into_iter().flat_map(|way| [(way, true), (way, false)]) {
            let Some(ingress) = Ingress::start(ports(&gateway), COMPRESSING).await else { return };
            let client = ingress.client(way).compression(compression).build().unwrap();
            let what = format!("{environment} {way:?} {compression}");
            client.ready().await.unwrap_or_else(|error| panic!("{what}: {error}"));
            let text = post(&client, "/upper", Document::text("a".repeat(LENGTH))).await;
            assert!(text.unwrap() == "A".repeat(LENGTH), "{what}");
            if environment == Environment::Current && matches!(way.0, "https" | "grpcs") {
                let document = Document::text("hey");
                let mut documents =
                    client.stream_document("/stream", &document).stream::<Document>();
                for n in 0..3 {
                    let document = documents.next().await.unwrap().unwrap();
                    assert_eq!(document.text.unwrap(), format!("hey {n}"), "{what}");
                }
                assert!(documents.next().await.is_none(), "{what}");
            }
            if way.0 != "https" {
                continue;
            }
            // nginx writes a line when an answer has been sent.
            drop(client);
            let count = if environment == Environment::Current { 4 } else { 3 };
            let mut codings = ingress.nginx.codings().unwrap();
            while codings.len() < count {
                tokio::task::yield_now().await;
                codings = ingress.nginx.codings().unwrap();
            }
            let expected = if compression { "gzip" } else { "-" };
            for (path, coding, ..) in &codings {
                assert_eq!(coding, expected, "{what} {path}");
            }
            let largest = codings.iter().map(|(.., sent)| *sent).max().unwrap();
            assert_eq!(largest < LENGTH / 10, compression, "{what}: {codings:?}");
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_come_through_a_compressing_ingress_as_they_are_sent() {
    let permits = Arc::new(Semaphore::new(1));
    let gate = permits.clone();
    let count = move |_| {
        let gate = gate.clone();
        Reply::stream(stream::unfold(0, move |n| {
            let gate = gate.clone();
            async move {
                gate.acquire().await.unwrap().forget();
                (n < 20).then(|| (Document::text(n.to_string()), n + 1))
            }
        }))
    };
    let builder = Gateway::builder().docarray(DocArray::V2).on("/count", Endpoint::stream(count));
    let gateway = builder.start().await.unwrap();
    let http = gateway.http_address().port();
    let ports = Ports { http, websocket: 1, grpc: 1 };
    let Some(ingress) = Ingress::start(ports, COMPRESSING).await else { return };
    let client = ingress.client(("https", false)).build().unwrap();
    let document = Document::text("a");
    let mut documents = client.stream_document("/count", &document).stream::<Document>();
    for n in 0..20 {
        // The executor goes on only when the client has read everything before.
        let next = tokio::time::timeout(Duration::from_secs(60), documents.next()).await;
        let next = next.unwrap_or_else(|_| panic!("document {n} is held back"));
        assert_eq!(next.unwrap().unwrap().text.unwrap(), n.to_string());
        permits.add_permits(1);
    }
    assert!(documents.next().await.is_none());
    let mut codings = ingress.nginx.codings().unwrap();
    while !codings.iter().any(|(path, ..)| path.ends_with("/count")) {
        tokio::task::yield_now().await;
        codings = ingress.nginx.codings().unwrap();
    }
    assert!(codings.iter().all(|(_, coding, ..)| coding == "gzip"), "{codings:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_real_gateway_that_compresses_over_grpc_is_read() {
    const LENGTH: usize = 100_000;
    for environment in [Environment::SeedEra, Environment::Current] {
        let protocols: &[&str] = &["http", "websocket", "grpc"];
        let named = if environment == Environment::Current { "deflate" } else { "gzip" };
        let options = Options { protocols, compression: Some(named), ..Options::default() };
        let start = move || RealGateway::start_or_skip(environment, options);
        let gateway = tokio::task::spawn_blocking(start).await.unwrap();
        let Some(gateway) = gateway.unwrap_or_else(|error| panic!("{error}")) else { return };
        for (is_unary, compression) in [(false, true), (true, true), (true, false)] {
            let Some(ingress) = Ingress::start(ports(&gateway), "").await else { return };
            let client = ingress.client(("grpcs", is_unary)).compression(compression);
            let client = client.build().unwrap();
            let what = format!("{environment}, unary: {is_unary}, {compression}");
            let text = post(&client, "/upper", Document::text("a".repeat(LENGTH))).await;
            assert!(
                text.unwrap_or_else(|error| panic!("{what}: {error}")) == "A".repeat(LENGTH),
                "{what}"
            );
            drop(client);
            let mut codings = ingress.nginx.codings().unwrap();
            let is_call = |path: &str| path.ends_with("/Call") || path.ends_with("single_data");
            while !codings.iter().any(|(path, ..)| is_call(path)) {
                tokio::task::yield_now().await;
                codings = ingress.nginx.codings().unwrap();
            }
            let (.., coding, sent) = codings.iter().find(|(path, ..)| is_call(path)).unwrap();
            // grpc compresses whether or not it is asked to.
            assert!(coding == named && *sent < LENGTH / 10, "{what}: {codings:?}");
        }
    }
}
