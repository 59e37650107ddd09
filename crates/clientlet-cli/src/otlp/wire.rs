//! Sends one message of OTLP, over HTTP/1.1 or as a unary call of gRPC.
//!
//! Each message has a connection of its own: a batch holds up to 512 spans or all metrics, so that a
//! connection costs little beside it, and none has to be watched in between.

use std::error::Error;
use std::io;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use http::header::{self, HeaderValue};
use http::{HeaderMap, Request, Response, StatusCode, Version};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::client::conn::{http1, http2};
use hyper_util::rt::{TokioExecutor, TokioIo};
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceResponse;
use prost::Message;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use super::endpoint::Protocol;
use super::settings::Destination;

/// The reason why a receiver did not take a message. It has no text of the receiver, which may repeat the
/// headers.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Refusal {
    pub(super) reason: String,
    /// Whether another attempt may succeed, by the specification of OTLP.
    pub(super) may_pass: bool,
    /// The wait before another attempt for which the receiver asked.
    pub(super) wait: Duration,
}

impl Refusal {
    fn passing(reason: impl Into<String>) -> Refusal {
        Refusal { reason: reason.into(), may_pass: true, wait: Duration::ZERO }
    }

    pub(super) fn last(reason: impl Into<String>) -> Refusal {
        Refusal { may_pass: false, ..Refusal::passing(reason) }
    }
}

/// The longest wait for which a receiver can ask.
const LONGEST_WAIT: u64 = 3600;

/// The largest answer that is read.
const ANSWER_LIMIT: usize = 64 * 1024;

/// Sends a message, which is compressed already if the destination wants it.
///
/// # Errors
/// When the receiver cannot be reached or does not take all of it.
pub(super) async fn send(to: &Destination, message: Bytes) -> Result<(), Refusal> {
    let io = TokioIo::new(connect(to).await?);
    match to.endpoint.protocol {
        Protocol::Http => {
            let (mut sender, connection) =
                http1::handshake(io).await.map_err(|error| lost(&error))?;
            let connection = Driver::start(connection);
            match sender.send_request(over_http(to, message)).await {
                Ok(answer) => of_http(answer).await,
                Err(error) => Err(connection.lost(error).await),
            }
        }
        Protocol::Grpc => {
            let (mut sender, connection) =
                http2::handshake(TokioExecutor::new(), io).await.map_err(|error| lost(&error))?;
            let connection = Driver::start(connection);
            match sender.send_request(over_grpc(to, &message)).await {
                Ok(answer) => of_grpc(answer).await,
                Err(error) => Err(connection.lost(error).await),
            }
        }
    }
}

/// A connection with or without TLS. One type for both keeps hyper's code in the program once.
trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

async fn connect(to: &Destination) -> Result<Box<dyn Stream>, Refusal> {
    let endpoint = &to.endpoint;
    let tcp = TcpStream::connect((endpoint.host.as_str(), endpoint.port)).await;
    let tcp = tcp.map_err(|error| Refusal::passing(error.to_string()))?;
    let Some(connector) = &to.tls else { return Ok(Box::new(tcp)) };
    let name = ServerName::try_from(endpoint.host.clone());
    let name = name.map_err(|error| Refusal::last(error.to_string()))?;
    let secured = connector.connect(name, tcp).await;
    Ok(Box::new(secured.map_err(|error| refused_by_tls(&error))?))
}

/// A certificate that is not trusted now will not be trusted later.
fn refused_by_tls(error: &io::Error) -> Refusal {
    let is_of_certificate = error
        .get_ref()
        .and_then(|inner| inner.downcast_ref())
        .is_some_and(|error| matches!(error, rustls::Error::InvalidCertificate(_)));
    Refusal { may_pass: !is_of_certificate, ..Refusal::passing(chain(error)) }
}

/// The connection's task. It ends, and with it the connection, when this is dropped.
struct Driver(JoinHandle<hyper::Result<()>>);

impl Driver {
    fn start(connection: impl Future<Output = hyper::Result<()>> + Send + 'static) -> Driver {
        Driver(tokio::spawn(connection))
    }

    /// Why a request has no answer. If the connection has ended with an error, that one says more.
    async fn lost(mut self, of_request: hyper::Error) -> Refusal {
        if self.0.is_finished()
            && let Ok(Err(of_connection)) = (&mut self.0).await
        {
            return lost(&of_connection);
        }
        lost(&of_request)
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.abort();
    }
}

fn over_http(to: &Destination, message: Bytes) -> Request<Full<Bytes>> {
    let mut request = request(to, Full::new(message));
    let headers = request.headers_mut();
    let host = HeaderValue::try_from(&to.endpoint.authority);
    headers.insert(header::HOST, host.expect("a URL's authority is a valid value"));
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
    headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    if to.gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    request
}

fn over_grpc(to: &Destination, message: &Bytes) -> Request<Full<Bytes>> {
    // A message of gRPC: whether it is compressed, its length, and its bytes.
    let mut framed = BytesMut::with_capacity(5 + message.len());
    framed.put_u8(to.gzip.into());
    framed.put_u32(u32::try_from(message.len()).unwrap_or(u32::MAX));
    framed.extend_from_slice(message);
    let mut request = request(to, Full::new(framed.freeze()));
    *request.version_mut() = Version::HTTP_2;
    let headers = request.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert(header::TE, HeaderValue::from_static("trailers"));
    if to.gzip {
        headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
    }
    request
}

fn request(to: &Destination, body: Full<Bytes>) -> Request<Full<Bytes>> {
    let endpoint = &to.endpoint;
    let uri = match endpoint.protocol {
        Protocol::Http => endpoint.path.clone(),
        // HTTP/2 takes the scheme and the authority from the URI.
        Protocol::Grpc => format!("{endpoint}{}", endpoint.path),
    };
    let mut request = Request::post(uri).body(body).expect("the parts are those of a URL");
    let agent = concat!("clientlet/", env!("CARGO_PKG_VERSION"));
    *request.headers_mut() = to.headers.clone();
    request.headers_mut().insert(header::USER_AGENT, HeaderValue::from_static(agent));
    request
}

async fn of_http(answer: Response<Incoming>) -> Result<(), Refusal> {
    let status = answer.status();
    if !status.is_success() {
        let may_pass = matches!(status.as_u16(), 429 | 502 | 503 | 504);
        let wait = retry_after(answer.headers());
        return Err(Refusal { may_pass, wait, ..Refusal::passing(shown(status)) });
    }
    // The receiver has taken the message, whatever happens to its answer.
    let body = Limited::new(answer.into_body(), ANSWER_LIMIT).collect().await;
    body.map_or(Ok(()), |body| all_of(&body.to_bytes()))
}

fn shown(status: StatusCode) -> String {
    format!("HTTP status {status}")
}

/// The wait that a receiver asks for, if it is a number of seconds.
fn retry_after(headers: &HeaderMap) -> Duration {
    let seconds =
        headers.get(header::RETRY_AFTER).and_then(|value| value.to_str().ok()?.parse().ok());
    Duration::from_secs(seconds.unwrap_or(0).min(LONGEST_WAIT))
}

async fn of_grpc(answer: Response<Incoming>) -> Result<(), Refusal> {
    let (head, body) = answer.into_parts();
    let body = Limited::new(body, ANSWER_LIMIT)
        .collect()
        .await
        .map_err(|error| Refusal::passing(format!("its answer cannot be read: {error}")))?;
    let status = |headers: &HeaderMap| -> Option<usize> {
        headers.get("grpc-status")?.to_str().ok()?.parse().ok()
    };
    // An answer without a message has its status in the first headers.
    let code = body.trailers().and_then(status).or_else(|| status(&head.headers));
    match code {
        Some(0) => all_of(body.to_bytes().get(5..).unwrap_or_default()),
        Some(code) => {
            let name = GRPC_STATUSES.get(code).unwrap_or(&"unknown");
            let may_pass = matches!(code, 1 | 4 | 10 | 11 | 14 | 15);
            let reason = format!("gRPC status {code} ({name})");
            Err(Refusal { may_pass, ..Refusal::passing(reason) })
        }
        None if head.status.is_success() => Err(Refusal::last("it does not answer in gRPC")),
        None => {
            let may_pass = matches!(head.status.as_u16(), 429 | 502 | 503 | 504);
            Err(Refusal { may_pass, ..Refusal::passing(shown(head.status)) })
        }
    }
}

const GRPC_STATUSES: [&str; 17] = [
    "OK",
    "CANCELLED",
    "UNKNOWN",
    "INVALID_ARGUMENT",
    "DEADLINE_EXCEEDED",
    "NOT_FOUND",
    "ALREADY_EXISTS",
    "PERMISSION_DENIED",
    "RESOURCE_EXHAUSTED",
    "FAILED_PRECONDITION",
    "ABORTED",
    "OUT_OF_RANGE",
    "UNIMPLEMENTED",
    "INTERNAL",
    "UNAVAILABLE",
    "DATA_LOSS",
    "UNAUTHENTICATED",
];

/// Reads an answer, which says if a part of the message was rejected. The answers for traces and metrics
/// have the same form.
fn all_of(answer: &[u8]) -> Result<(), Refusal> {
    let answer = ExportTraceServiceResponse::decode(answer).unwrap_or_default();
    match answer.partial_success {
        Some(partial) if partial.rejected_spans > 0 => {
            Err(Refusal::last(format!("it rejected {} of them", partial.rejected_spans)))
        }
        _ => Ok(()),
    }
}

fn lost(error: &hyper::Error) -> Refusal {
    if error.is_parse() && !error.is_parse_too_large() {
        return Refusal::last(
            "it does not speak HTTP/1.1; for gRPC its URL begins with grpc://, or grpcs:// over TLS",
        );
    }
    let of_frames = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    // The text of an answer in HTTP/1.1, read as a frame, has a length that no frame may have.
    if of_frames.is_some_and(|error| {
        error.is_library() && error.reason() == Some(h2::Reason::FRAME_SIZE_ERROR)
    }) {
        return Refusal::last(
            "it does not speak gRPC; for HTTP its URL begins with http:// or https://, and \
             OTEL_EXPORTER_OTLP_PROTOCOL is http/protobuf",
        );
    }
    Refusal::passing(chain(error))
}

/// An error with its causes.
fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        // The whole text has what the receiver says about the end of a connection.
        let reason = cause.downcast_ref().and_then(h2::Error::reason);
        let cause_text = reason.map_or_else(|| cause.to_string(), |reason| reason.to_string());
        if !text.contains(&cause_text) {
            text = format!("{text}: {cause_text}");
        }
        next = cause.source();
    }
    text
}
