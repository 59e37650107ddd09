//! An HTTP/2 connection of our own below tonic: no hidden buffer, no hidden reconnects.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HeaderValue};
use ::http::{Request, Response, StatusCode, Uri};
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tonic::body::Body;
use tower_service::Service;

use super::super::connect_failed;
use super::super::multiplex::{late, within};
use super::super::progress::{Passage, Progress};
use super::framing::Answers;
use crate::connect::{Connector, Spoken};
use crate::error::{AttemptError, Event};
use crate::foreign::shorten;

/// A connection on which nothing came for so long is asked whether it lives.
const IDLE: Duration = Duration::from_secs(20);
/// How long it may take to answer that.
const PONG: Duration = Duration::from_secs(20);
/// How many bytes a gateway may send on a stream before we have read them.
const STREAM_WINDOW: u32 = 1 << 20;
/// And on all streams of a connection, HTTP/2's most: a stream of documents that nobody reads must not
/// hold back another.
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;

/// A cheap clone of a handle on a connection, which ends with the last of them.
#[derive(Clone)]
pub(super) struct Channel {
    sender: http2::SendRequest<Body>,
    peer: Arc<Peer>,
}

/// Spawns what a connection is made of, and keeps the first: the one that reads and writes.
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

/// The connections that there are, so that all of them can be ended.
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

    /// Whether connections may still be used.
    pub(super) fn check(&self) -> Result<(), AttemptError> {
        if self.is_closed() { Err(closed()) } else { Ok(()) }
    }

    pub(super) fn is_closed(&self) -> bool {
        self.entries().is_closed
    }

    /// Ends them all; there will be no more.
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

/// What is known of the other side of a connection.
#[derive(Debug)]
struct Peer {
    origin: Uri,
    progress: Progress,
    spoken: Spoken,
}

impl Channel {
    /// Connects; nothing of a request is sent before that.
    pub(super) async fn open(
        connector: &Connector,
        uri: &Uri,
        register: &Register,
    ) -> Result<Channel, AttemptError> {
        let io = connector.clone().call(uri.clone()).await.map_err(connect_failed)?;
        let spoken = io.spoken();
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
        // Ends with the last handle and the last stream; what it fails of, the streams tell.
        tokio::spawn(connection);
        if let Some(task) = spawner.first.get() {
            register.enter(task.clone())?;
        }
        let peer = Peer { origin: uri.clone(), progress: Progress::default(), spoken };
        let peer = Arc::new(peer);
        Ok(Channel { sender, peer })
    }

    /// What comes of a request in its time.
    pub(super) async fn in_time<T>(
        &self,
        began: Instant,
        deadline: Option<Instant>,
        passage: &Passage,
        exchange: impl Future<Output = Result<T, AttemptError>> + Unpin,
    ) -> Result<T, AttemptError> {
        within(deadline, exchange).await.unwrap_or_else(|| {
            let is_sent = passage.give_up();
            self.progress().doubt(passage);
            Err(late(began, is_sent))
        })
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

    /// Something failed on the connection: the next request shall have another.
    pub(super) fn suspect(&self) {
        self.progress().doubt_connection();
    }

    /// What the other side speaks, by its first bytes.
    pub(super) fn spoken(&self) -> &Spoken {
        &self.peer.spoken
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("peer", &self.peer).finish_non_exhaustive()
    }
}

/// What goes wrong below gRPC's own statuses.
#[derive(Debug)]
pub(super) enum ChannelError {
    Lost(hyper::Error),
    /// The stream ended as if all were well, with half a message.
    Cut,
    /// A status of HTTP's own, from a proxy as it seems.
    Http(StatusCode),
    /// An answer over HTTP/2 that is something else.
    NotGrpc(String),
}

impl fmt::Display for ChannelError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ChannelError::Lost(error) => error.fmt(f),
            ChannelError::Cut => f.write_str("the stream ended within a message"),
            ChannelError::Http(status) => write!(f, "the gateway answered {status}"),
            ChannelError::NotGrpc(what) => f.write_str(what),
        }
    }
}

impl std::error::Error for ChannelError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match self {
            ChannelError::Lost(error) => error.source(),
            ChannelError::Cut | ChannelError::Http(_) | ChannelError::NotGrpc(_) => None,
        }
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
        let answering = self.sender.send_request(request);
        Box::pin(async move {
            let response = answering.await.map_err(ChannelError::Lost)?;
            if response.status() != StatusCode::OK {
                return Err(ChannelError::Http(response.status()));
            }
            let given = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            let given = given.unwrap_or_default();
            if !given.starts_with(b"application/grpc") {
                let given = shorten(&String::from_utf8_lossy(given));
                let what = format!("the answer is {given:?}, not application/grpc");
                return Err(ChannelError::NotGrpc(what));
            }
            Ok(response.map(Answers::new))
        })
    }
}
