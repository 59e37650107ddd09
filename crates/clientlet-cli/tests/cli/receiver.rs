//! A receiver of OTLP for tests, over gRPC and HTTP on one port. It keeps what it takes.

use std::convert::Infallible;
use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use clientlet_interop::Certificate;
use flate2::read::GzDecoder;
use http::{HeaderMap, Request, Response};
use http_body_util::combinators::BoxBody;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use hyper_util::server::conn::auto;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::{KeyValue, any_value::Value};
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio_rustls::TlsAcceptor;

use crate::served::RUNTIME;

/// What the receiver does with each message after it has read it.
#[derive(Clone)]
pub(crate) enum Conduct {
    Take,
    /// Takes it when it is notified.
    Hold(Arc<Notify>),
    /// Answers over HTTP with this status.
    Status(u16),
    /// Answers with the status 503 and this `Retry-After`.
    Busy(&'static str),
    /// Answers over gRPC with this status, and repeats what it was sent in the status's message.
    Grpc(u8),
    /// Answers that it has rejected this many spans or metrics.
    Reject(u8),
    /// Never answers.
    Stall,
}

/// A message that came.
#[derive(Clone)]
pub(crate) struct Taken {
    pub(crate) path: String,
    pub(crate) headers: HeaderMap,
    pub(crate) message: Vec<u8>,
}

#[derive(Clone)]
pub(crate) struct Receiver {
    port: u16,
    taken: Arc<Mutex<Vec<Taken>>>,
    arrived: Arc<Notify>,
}

impl Receiver {
    pub(crate) fn start(conduct: Conduct) -> Receiver {
        Receiver::serve(move |_| conduct.clone(), None)
    }

    /// `conduct` gets the number of the message, from 0.
    pub(crate) fn serve(
        conduct: impl Fn(usize) -> Conduct + Send + Sync + 'static,
        tls: Option<TlsAcceptor>,
    ) -> Receiver {
        let listener = RUNTIME.block_on(TcpListener::bind("127.0.0.1:0")).unwrap();
        let receiver = Receiver {
            port: listener.local_addr().unwrap().port(),
            taken: Arc::default(),
            arrived: Arc::default(),
        };
        let (served, conduct) = (receiver.clone(), Arc::new(conduct));
        RUNTIME.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (receiver, conduct, tls) = (served.clone(), Arc::clone(&conduct), tls.clone());
                tokio::spawn(async move {
                    match tls {
                        None => receiver.connection(stream, conduct).await,
                        Some(tls) => {
                            if let Ok(stream) = tls.accept(stream).await {
                                receiver.connection(stream, conduct).await;
                            }
                        }
                    }
                });
            }
        });
        receiver
    }

    async fn connection<S, F>(self, stream: S, conduct: Arc<F>)
    where
        S: AsyncRead + AsyncWrite + Send + Unpin + 'static,
        F: Fn(usize) -> Conduct + Send + Sync + 'static,
    {
        let service = service_fn(move |request| {
            let (receiver, conduct) = (self.clone(), Arc::clone(&conduct));
            async move { Ok::<_, Infallible>(receiver.answer(request, &*conduct).await) }
        });
        let server = auto::Builder::new(TokioExecutor::new());
        // A client that goes away is not a failure.
        let _ = server.serve_connection(TokioIo::new(stream), service).await;
    }

    async fn answer(
        &self,
        request: Request<Incoming>,
        conduct: &impl Fn(usize) -> Conduct,
    ) -> Response<BoxBody<Bytes, Infallible>> {
        let (head, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let is_grpc = head.headers["content-type"] == "application/grpc";
        let (is_compressed, body) = match is_grpc {
            true => {
                let (prefix, body) = body.split_at(5);
                assert_eq!(prefix[1..], u32::try_from(body.len()).unwrap().to_be_bytes());
                assert_eq!(head.headers["te"], "trailers");
                assert_eq!(prefix[0] == 1, head.headers.contains_key("grpc-encoding"));
                (prefix[0] == 1, body.to_vec())
            }
            false => (head.headers.contains_key("content-encoding"), body.to_vec()),
        };
        let mut message = Vec::new();
        match is_compressed {
            true => drop(GzDecoder::new(&body[..]).read_to_end(&mut message).unwrap()),
            false => message = body,
        }
        let number = {
            let mut taken = self.taken.lock().unwrap();
            let path = head.uri.path_and_query().unwrap().to_string();
            taken.push(Taken { path, headers: head.headers.clone(), message });
            taken.len() - 1
        };
        self.arrived.notify_waiters();
        let repeated = format!("{:?}", head.headers.get("authorization"));
        match conduct(number) {
            Conduct::Stall => std::future::pending().await,
            Conduct::Status(code) => {
                Response::builder().status(code).body(Full::from(repeated).boxed()).unwrap()
            }
            Conduct::Busy(wait) => {
                let answer = Response::builder().status(503).header("retry-after", wait);
                answer.body(Full::default().boxed()).unwrap()
            }
            Conduct::Grpc(code) => trailers_only(code, &repeated),
            Conduct::Take => taken(is_grpc, &[]),
            Conduct::Hold(gate) => {
                gate.notified().await;
                taken(is_grpc, &[])
            }
            // An ExportTraceServiceResponse with rejected spans; metrics have the same form.
            Conduct::Reject(count) => taken(is_grpc, &[0x0a, 2, 0x08, count]),
        }
    }

    /// A receiver over TLS that takes everything from clients with a certificate of the same CA.
    pub(crate) fn secured(certificate: &Certificate) -> Receiver {
        let provider = Arc::new(ring::default_provider());
        let mut roots = RootCertStore::empty();
        roots
            .add(CertificateDer::from_pem_slice(certificate.ca_pem().as_bytes()).unwrap())
            .unwrap();
        let clients =
            WebPkiClientVerifier::builder_with_provider(roots.into(), Arc::clone(&provider));
        let chain = CertificateDer::pem_file_iter(certificate.certificate()).unwrap();
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_client_cert_verifier(clients.build().unwrap())
            .with_single_cert(
                chain.map(Result::unwrap).collect(),
                PrivateKeyDer::from_pem_file(certificate.key()).unwrap(),
            )
            .unwrap();
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Receiver::serve(|_| Conduct::Take, Some(Arc::new(config).into()))
    }

    pub(crate) fn url(&self) -> String {
        format!("http://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Everything that came.
    pub(crate) fn taken(&self) -> Vec<Taken> {
        self.taken.lock().unwrap().clone()
    }

    /// Waits until this many messages have come.
    pub(crate) fn wait_for(&self, messages: usize) {
        let waited = async {
            loop {
                let arrived = self.arrived.notified();
                if self.taken.lock().unwrap().len() >= messages {
                    return;
                }
                arrived.await;
            }
        };
        let limit = Duration::from_secs(60);
        RUNTIME.block_on(async { tokio::time::timeout(limit, waited).await }).unwrap();
    }

    /// The requests for traces.
    pub(crate) fn traces(&self) -> Vec<ExportTraceServiceRequest> {
        let taken = self.taken().into_iter();
        let traces = taken.filter(|it| it.path.contains("race"));
        traces.map(|it| ExportTraceServiceRequest::decode(&*it.message).unwrap()).collect()
    }

    /// The spans, each with the name of its scope.
    pub(crate) fn spans(&self) -> Vec<(String, Span)> {
        let resources = self.traces().into_iter().flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes
            .flat_map(|scope| {
                let name = scope.scope.unwrap_or_default().name;
                scope.spans.into_iter().map(move |span| (name.clone(), span))
            })
            .collect()
    }

    /// The attributes of the first resource of the spans, as text.
    pub(crate) fn resource(&self) -> Vec<(String, String)> {
        let resources = self.traces().into_iter().flat_map(|request| request.resource_spans);
        let first = resources.into_iter().next().unwrap().resource.unwrap();
        texts(&first.attributes)
    }

    /// The names of the metrics.
    pub(crate) fn metrics(&self) -> Vec<String> {
        let taken = self.taken().into_iter().filter(|it| it.path.contains("etrics"));
        let requests = taken.map(|it| ExportMetricsServiceRequest::decode(&*it.message).unwrap());
        let resources = requests.flat_map(|request| request.resource_metrics);
        let scopes = resources.flat_map(|resource| resource.scope_metrics);
        scopes.flat_map(|scope| scope.metrics).map(|metric| metric.name).collect()
    }
}

/// Attributes as text.
pub(crate) fn texts(attributes: &[KeyValue]) -> Vec<(String, String)> {
    let text = |it: &KeyValue| match it.value.clone().unwrap().value.unwrap() {
        Value::StringValue(text) => text,
        Value::IntValue(number) => number.to_string(),
        other => format!("{other:?}"),
    };
    attributes.iter().map(|it| (it.key.clone(), text(it))).collect()
}

fn trailers_only(code: u8, message: &str) -> Response<BoxBody<Bytes, Infallible>> {
    let answer = Response::builder()
        .header("content-type", "application/grpc")
        .header("grpc-status", u16::from(code))
        .header("grpc-message", message);
    answer.body(Full::default().boxed()).unwrap()
}

fn taken(is_grpc: bool, message: &[u8]) -> Response<BoxBody<Bytes, Infallible>> {
    if !is_grpc {
        let answer = Response::builder().header("content-type", "application/x-protobuf");
        return answer.body(Full::from(message.to_vec()).boxed()).unwrap();
    }
    let mut framed = vec![0];
    framed.extend(u32::try_from(message.len()).unwrap().to_be_bytes());
    framed.extend(message);
    let trailers = HeaderMap::from_iter([("grpc-status".parse().unwrap(), "0".parse().unwrap())]);
    let body = Full::from(framed).with_trailers(async { Some(Ok(trailers)) });
    Response::builder().header("content-type", "application/grpc").body(body.boxed()).unwrap()
}
