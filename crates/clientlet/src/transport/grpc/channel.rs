//! An HTTP/2 connection, without a hidden buffer or hidden reconnects.

use std::fmt;
use std::future::Future;
use std::ops::Deref;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use ::http::Uri;
use hyper::client::conn::http2;
use hyper::rt::Executor;
use hyper_util::rt::TokioTimer;
use tokio::task::AbortHandle;

use super::super::multiplex::Progress;
use super::goaway::{GoAway, Leaving, Watched};
use super::outgoing::Outgoing;
use crate::config::Credentials;
use crate::connect::{Connector, Spoken};
use crate::error::{AttemptError, Event};

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
    pub(super) sender: http2::SendRequest<Outgoing>,
    pub(super) peer: Arc<Peer>,
}

/// The settings of all calls.
#[derive(Clone, Debug)]
pub(super) struct Settings {
    /// Whether requests are compressed.
    pub(super) is_gzipped: bool,
    /// Whether the client asks for compressed answers.
    #[cfg(feature = "compression")]
    pub(super) accepts_compression: bool,
    /// The maximum size of an answer, in bytes.
    pub(super) answer_limit: usize,
    /// The client's idle time-out, for questions and streams of documents.
    pub(super) idle_timeout: Option<Duration>,
    pub(super) credentials: Arc<Credentials>,
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
pub(super) struct Peer {
    /// The gateway's address.
    pub(super) origin: Uri,
    pub(super) settings: Settings,
    pub(super) progress: Progress,
    /// The protocol that the other side speaks, by its first bytes.
    pub(super) spoken: Spoken,
    leaving: Leaving,
}

impl Deref for Channel {
    type Target = Peer;

    fn deref(&self) -> &Peer {
        &self.peer
    }
}

impl Channel {
    /// Connects. No part of a request is sent before that.
    pub(super) async fn open(
        connector: &Connector,
        uri: &Uri,
        register: &Register,
        settings: Settings,
    ) -> Result<Channel, AttemptError> {
        let io = connector.open(uri).await?;
        let spoken = io.spoken();
        let heard = io.heard();
        heard.in_frames();
        let progress = Progress::on(heard);
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
        let peer = Peer { origin: uri.clone(), settings, progress, spoken, leaving };
        Ok(Channel { sender, peer: Arc::new(peer) })
    }

    pub(super) fn is_open(&self) -> bool {
        !self.sender.is_closed() && !self.progress.is_doubted()
    }

    /// Notes that the connection failed in some way, so that the next request uses another.
    pub(super) fn suspect(&self) {
        self.progress.doubt_connection();
    }

    /// Waits until the gateway takes no new requests on the connection. Waits forever if the
    /// gateway never announces this.
    pub(super) async fn left(&self) {
        let mut leaving = self.leaving.clone();
        if leaving.wait_for(Option::is_some).await.is_err() {
            // The connection has ended without a GOAWAY. Its streams learn of the end by
            // themselves.
            std::future::pending::<()>().await;
        }
    }

    /// Returns the gateway's announcement that it leaves the connection, if it came.
    pub(super) fn goaway(&self) -> Option<GoAway> {
        self.leaving.borrow().clone()
    }
}

impl fmt::Debug for Channel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Channel").field("peer", &self.peer).finish_non_exhaustive()
    }
}
