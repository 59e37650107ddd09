//! An HTTP/2 connection of our own below tonic, without a hidden buffer or hidden reconnects.

use std::error::Error as _;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::{Duration, SystemTime};

use ::http::header::{CONTENT_TYPE, HOST, HeaderValue};
use ::http::uri::Authority;
use ::http::{HeaderMap, HeaderName, Request, Response, StatusCode, Uri};
use h2::Reason;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use tokio::task::AbortHandle;
use tonic::body::Body;
use tower_service::Service;

use super::super::http_answer::redirect;
use super::super::http_session::{begins, glance};
use super::super::multiplex::Progress;
use super::super::retry_after::retry_after;
use super::framing::Answers;
use super::goaway::{GoAway, Leaving, Watched};
use super::outgoing::Outgoing;
use super::status::{self, Told};
use crate::connect::{Connector, Spoken};
use crate::error::{Again, AttemptError, Chain, Event, GrpcCode};
use crate::foreign::shorten;

/// The time without any frame after which the peer is asked for a sign of life.
const IDLE: Duration = Duration::from_secs(20);
/// The longest time for the answer to a ping.
const PONG: Duration = Duration::from_secs(20);
/// The number of bytes that a gateway may send on a stream before the client has read them.
const STREAM_WINDOW: u32 = 1 << 20;
/// The same for all streams of a connection together: the maximum of HTTP/2. A stream of documents
/// that is not read must not hold up another stream.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A handle on a connection, cheap to clone. The connection ends with its last handle.
#[derive(Clone)]
pub(super) struct Channel {
    sender: http2::SendRequest<Outgoing>,
    peer: Arc<Peer>,
}

/// Spawns the tasks of a connection, and keeps the first one, which reads and writes.
#[derive(Clone, Debug, Default)]
struct Spawner {
    first: Arc<OnceLock<AbortHandle>>,
}

impl<F> Executor<F> for Spawner
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, future: F) {
        let task = tokio::spawn(future);
        self.first.get_or_init(|| task.abort_handle());
    }
}

/// The existing connections, so that all of them can be ended.
#[derive(Debug, Default)]
pub(super) struct Register(Mutex<Entries>);

#[derive(Debug, Default)]
struct Entries {
    is_closed: bool,
    tasks: Vec<AbortHandle>,
}

impl Register {
    fn enter(&self, task: AbortHandle) -> Result<(), AttemptError> {
        let mut entries = self.entries();
        if entries.is_closed {
            task.abort();
            return Err(closed());
        }
        entries.tasks.retain(|task| !task.is_finished());
        entries.tasks.push(task);
        Ok(())
    }

    /// Checks that connections may still be used.
    pub(super) fn check(&self) -> Result<(), AttemptError> {
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.entries().is_closed
    }

    /// Ends all connections, and prevents new ones.
    pub(super) fn close(&self) {
        let mut entries = self.entries();
        entries.is_closed = true;
        entries.tasks.drain(..).for_each(|task| task.abort());
    }

    fn entries(&self) -> MutexGuard<'_, Entries> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn closed() -> AttemptError {
    AttemptError::new(Event::SessionClosed, "the clientlet was closed; start it again")
}

/// What is known about the other side of a connection.
#[derive(Debug)]
struct Peer {
    origin: Uri,
    progress: Progress,
    spoken: Spoken,
    leaving: Leaving,
}

impl Channel {
    /// Connects. No part of a request is sent before that.
    pub(super) async fn open(
        connector: &Connector,
        uri: &Uri,
        register: &Register,
    ) -> Result<Channel, AttemptError> {
        let io = connector.open(uri).await?;
        let spoken = io.spoken();
        let progress = Progress::default();
        let (io, leaving) = Watched::new(io, progress.clone());
        let spawner = Spawner::default();
        let (sender, connection) = http2::Builder::new(spawner.clone())
            .timer(TokioTimer::new())
            .keep_alive_interval(IDLE)
            .keep_alive_timeout(PONG)
            .keep_alive_while_idle(true)
            .initial_stream_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .handshake(io)
            .await
            .map_err(|error| {
                let what = "the connection was lost before HTTP/2 began";
                AttemptError::new(Event::ClosedFresh, what).with_source(error)
            })?;
        // The task ends with the last handle and the last stream. The streams report its failures.
        tokio::spawn(connection);
        if let Some(task) = spawner.first.get() {
            register.enter(task.clone())?;
        }
        let peer = Peer { origin: uri.clone(), progress, spoken, leaving };
        let peer = Arc::new(peer);
        Ok(Channel { sender, peer })
    }

    pub(super) fn progress(&self) -> &Progress {
        &self.peer.progress
    }

    /// The gateway's address.
    pub(super) fn origin(&self) -> &Uri {
        &self.peer.origin
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.progress().is_doubted()
    }

    /// Notes that the connection failed in some way, so that the next request uses another.
    pub(super) fn suspect(&self) {
        self.progress().doubt_connection();
    }

    /// Waits until the gateway takes no new requests on the connection. Waits forever if the
    /// gateway never announces this.
    pub(super) async fn left(&self) {
        let mut leaving = self.peer.leaving.clone();
        if leaving.wait_for(Option::is_some).await.is_err() {
            // The connection has ended without a GOAWAY. Its streams learn of the end by
            // themselves.
            std::future::pending::<()>().await;
        }
    }

    /// Returns the gateway's announcement that it leaves the connection, if it came.
    pub(super) fn goaway(&self) -> Option<GoAway> {
        self.peer.leaving.borrow().clone()
    }

    /// Returns the protocol that the other side speaks, by its first bytes.
    pub(super) fn spoken(&self) -> &Spoken {
        &self.peer.spoken
    }
}

impl Channel {
    /// Sends a request. Returns its answers once their head has come.
    pub(super) fn send(
        &self,
        mut request: Request<Outgoing>,
    ) -> impl Future<Output = Result<Answers, ChannelError>> + Send + use<> {
        if let Some(host) = request.headers_mut().remove(HOST) {
            set_authority(&mut request, &host);
        }
        let answering = self.sender.clone().send_request(request);
        async move {
            let response = answering.await.map_err(ChannelError::unanswered)?;
            let (head, body) = response.into_parts();
            match read_head(head.status, &head.headers) {
                Ok(is_told) => Ok(Answers::new(body, is_told)),
                Err(ChannelError::NotGrpc(what)) if !is_grpc(&head.headers) => {
                    let begins = begins(&glance(body).await);
                    Err(ChannelError::NotGrpc(format!("{what}, and {begins}")))
                }
                Err(error) => Err(error),
            }
        }
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// The reason why a call did not end well. tonic's own findings have no such reason.
#[derive(Debug)]
pub(super) enum ChannelError {
    Lost(Arc<hyper::Error>),
    /// The peer announced that it did not process the request: by REFUSED_STREAM, or by a GOAWAY
    /// that names an earlier stream as the last one.
    Unprocessed(Arc<hyper::Error>),
    /// The stream ended early, but without an error.
    Cut(&'static str),
    /// The gRPC status that the peer sent.
    Told(Told),
    /// An HTTP status, probably from a proxy.
    Http(Box<Refusal>),
    /// An answer over HTTP/2 that is not gRPC.
    NotGrpc(String),
    /// An answer that is gRPC but cannot be read.
    Unreadable(String),
    /// A message that is longer than the limit, both in bytes.
    TooLarge {
        length: usize,
        limit: usize,
    },
}

/// An answer over HTTP/2 whose status is not a success.
#[derive(Debug)]
pub(super) struct Refusal {
    pub(super) status: StatusCode,
    pub(super) headers: HeaderMap,
    pub(super) again: Again,
}

impl ChannelError {
    pub(super) fn lost(error: hyper::Error) -> ChannelError {
        ChannelError::Lost(Arc::new(error))
    }

    /// Classifies the error of a request to which nothing has come back.
    fn unanswered(error: hyper::Error) -> ChannelError {
        let is_unprocessed = error
            .source()
            .and_then(|source| source.downcast_ref::<h2::Error>())
            .is_some_and(is_proof_of_idleness);
        let error = Arc::new(error);
        match is_unprocessed {
            true => ChannelError::Unprocessed(error),
            false => ChannelError::Lost(error),
        }
    }
}

/// Whether a stream ended with proof that it was not processed, as RFC 9113 (8.7) defines it: the
/// stream was refused, or its number is above the last stream that a GOAWAY names. h2 reports no
/// GOAWAY error to streams below that number.
fn is_proof_of_idleness(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::Lost(error) => write!(f, "the connection was lost: {}", Chain(&**error)),
            ChannelError::Unprocessed(error) => {
                write!(f, "the gateway did not take the request: {}", Chain(&**error))
            }
            ChannelError::Cut(what) => f.write_str(what),
            ChannelError::Told(Told { code, message, .. }) => {
                write!(f, "the gateway answered {code}")?;
                match shorten(message).as_str() {
                    "" => Ok(()),
                    message => write!(f, ": {message}"),
                }
            }
            ChannelError::Http(refusal) => {
                let Refusal { status, headers, .. } = &**refusal;
                let to = redirect(headers).filter(|_| status.is_redirection());
                write!(f, "the gateway answered {status}{}", to.unwrap_or_default())
            }
            ChannelError::NotGrpc(what) => f.write_str(what),
            ChannelError::Unreadable(what) => write!(f, "the answer cannot be read: {what}"),
            ChannelError::TooLarge { length, limit } => {
                write!(f, "an answer of {length} bytes is larger than the limit of {limit} bytes")
            }
        }
    }
}

impl std::error::Error for ChannelError {}

/// Sets `:authority`, by which HTTP/2 names the host. A `Host` header must not differ from it.
fn set_authority<B>(request: &mut Request<B>, host: &HeaderValue) {
    let mut uri = request.uri().clone().into_parts();
    uri.authority = Authority::try_from(host.as_bytes()).ok();
    // The header was checked when it was set, so this succeeds.
    if let Ok(uri) = Uri::from_parts(uri) {
        *request.uri_mut() = uri;
    }
}

impl Service<Request<Body>> for Channel {
    type Response = Response<Answers>;
    type Error = ChannelError;
    type Future = Pin<Box<dyn Future<Output = Result<Response<Answers>, ChannelError>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), ChannelError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        let answers = self.send(request.map(Outgoing::Stream));
        // The rest of the head is not needed, and tonic must not read it, because it panics on some
        // headers.
        Box::pin(async move { answers.await.map(Response::new) })
    }
}

/// Reads the head before messages. Returns whether the head already contains the status. Any other
/// head is an error.
fn read_head(status: StatusCode, headers: &HeaderMap) -> Result<bool, ChannelError> {
    let is_grpc = is_grpc(headers);
    let told = match is_grpc {
        true => status::read(headers).map_err(ChannelError::Unreadable)?,
        false => None,
    };
    let is_ok = status == StatusCode::OK;
    match told {
        Some(told) if told.code != GrpcCode::Ok => {
            let http = (!is_ok).then_some(status);
            Err(ChannelError::Told(Told { http, ..told }))
        }
        _ if !status.is_success() => {
            let again = retry_after(headers, SystemTime::now()).into();
            Err(ChannelError::Http(Box::new(Refusal { status, headers: headers.clone(), again })))
        }
        _ if !is_grpc || !is_ok => {
            let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
            let kind = shorten(&String::from_utf8_lossy(kind));
            let and = if is_ok { String::new() } else { format!(" with {status}") };
            let what = format!("the answer is {kind:?}{and}, not application/grpc");
            Err(ChannelError::NotGrpc(what))
        }
        told => match headers.get(&ENCODING).map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Ok(told.is_some()),
            Some(encoding) => {
                let encoding = shorten(&String::from_utf8_lossy(encoding));
                let what = format!(
                    "the answer is compressed, as {encoding:?}, which the client did not ask for"
                );
                Err(ChannelError::NotGrpc(what))
            }
        },
    }
}

/// Whether the head belongs to a gRPC answer.
fn is_grpc(headers: &HeaderMap) -> bool {
    match headers.get(CONTENT_TYPE) {
        // The name of gRPC-Web begins alike, but its framing differs.
        Some(kind) => kind
            .as_bytes()
            .strip_prefix(b"application/grpc")
            .is_some_and(|rest| matches!(rest.first(), None | Some(b'+' | b';' | b' '))),
        None => headers.contains_key(&status::STATUS),
    }
}

/// The header that names the compression of messages.
static ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_have_their_names_of_the_specification() {
        let told = |code, message: &str| ChannelError::Told(Told::of(code, message)).to_string();
        assert_eq!(told(GrpcCode::DeadlineExceeded, ""), "the gateway answered DEADLINE_EXCEEDED");
        assert_eq!(told(GrpcCode::Unknown, "a\nb"), "the gateway answered UNKNOWN: a b");
    }

    #[test]
    fn a_head_announces_messages_or_gives_the_reason_why_there_are_none() {
        let read = |status: u16, headers: &[(&'static str, &'static str)]| {
            let header = |(name, value): &(&'static str, &'static str)| {
                (::http::HeaderName::from_static(name), HeaderValue::from_static(value))
            };
            let headers = headers.iter().map(header).collect();
            read_head(StatusCode::from_u16(status).unwrap(), &headers)
        };
        let grpc = ("content-type", "application/grpc");
        let proto = ("content-type", "application/grpc+proto");
        let html = ("content-type", "text/html");
        let after = ("retry-after", "2");
        assert!(!read(200, &[grpc]).unwrap());
        assert!(!read(200, &[proto, ("grpc-encoding", "identity")]).unwrap());
        assert!(read(200, &[grpc, ("grpc-status", "0")]).unwrap());
        let two = Again::After(Duration::from_secs(2));
        let busy = |error| matches!(error, ChannelError::Http(refusal) if refusal.status == 429 && refusal.again == two);
        assert!(busy(read(429, &[html, after]).unwrap_err()));
        assert!(busy(read(429, &[grpc, after, ("grpc-status", "0")]).unwrap_err()));
        // A gRPC status counts even without a content type.
        for status in [204, 503] {
            let error = read(status, &[after, ("grpc-status", "8")]).unwrap_err();
            let ChannelError::Told(told) = error else { panic!("{error}") };
            assert_eq!(
                (told.code, told.again, told.http),
                (GrpcCode::ResourceExhausted, two, StatusCode::from_u16(status).ok())
            );
        }
        let not_grpc = |error| matches!(error, ChannelError::NotGrpc(_));
        assert!(not_grpc(read(200, &[html, ("grpc-status", "8")]).unwrap_err()));
        assert!(not_grpc(read(200, &[]).unwrap_err()));
        assert!(not_grpc(read(204, &[grpc]).unwrap_err()));
        assert!(not_grpc(read(200, &[grpc, ("grpc-encoding", "gzip")]).unwrap_err()));
        let details = ("grpc-status-details-bin", "!!!");
        let error = read(200, &[grpc, ("grpc-status", "3"), details]).unwrap_err();
        assert!(matches!(error, ChannelError::Unreadable(_)), "{error}");
    }
}
