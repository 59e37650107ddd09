//! HTTP/1.1 connections, each used by one request at a time and then again.
//!
//! Ready-made pools do not keep three promises that this pool keeps. There are never more than
//! `most` connections, and requests wait for one in order of arrival. No connection is opened for a
//! request that then uses another. A connection that is not given back is closed immediately, even
//! with data left to write.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use http::{Request, Response, Uri};
use hyper::body::Incoming;
use hyper::client::conn::TrySendError;
use hyper::client::conn::http1::{Builder, SendRequest};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant, sleep_until, timeout};

use super::Tally;
use super::body::Outgoing;
use crate::connect::{Connector, Heard, Spoken, Written};
use crate::driver::Task;
use crate::error::{AttemptError, Event};
use crate::runtime;

/// The longest time that a connection is idle. uvicorn closes idle connections after 5 s, and a
/// request must not meet a connection that is being closed.
const IDLE: Duration = Duration::from_secs(4);

/// The longest time that a connection may take to write the rest of a request after its answer has
/// come.
const WIND_UP: Duration = Duration::from_secs(1);

/// The limit on the size of an answer's head, in bytes.
pub(super) const HEAD_LIMIT: usize = 256 << 10;

/// The limit on the number of headers in an answer. It is hyper's own limit, up to which hyper does
/// not allocate.
pub(super) const MOST_HEADERS: usize = 100;

/// The connections of one runtime.
#[derive(Debug)]
pub(super) struct Pool {
    connector: Connector,
    tally: Arc<Tally>,
    /// One permit for each request in flight. An idle connection is reused before a new one is
    /// opened, so there are never more connections than permits.
    slots: Arc<Semaphore>,
    /// The connections that were given back, the oldest first.
    idle: Mutex<Idle>,
}

#[derive(Debug, Default)]
struct Idle {
    connections: VecDeque<(Connection, Instant)>,
    /// Whether a task is running that closes connections that are idle for too long.
    is_swept: bool,
}

/// A connection. Dropping it closes it.
#[derive(Debug)]
struct Connection {
    sender: SendRequest<Outgoing>,
    task: Task,
    written: Written,
    heard: Heard,
    spoken: Spoken,
}

/// A connection in use by one request. Dropping it closes the connection.
#[derive(Debug)]
pub(crate) struct Lease {
    connection: Connection,
    is_used: bool,
    slot: OwnedSemaphorePermit,
    pool: Arc<Pool>,
}

impl Pool {
    /// Makes a pool of at most `most` connections.
    pub(super) fn new(connector: Connector, tally: Arc<Tally>, most: usize) -> Arc<Pool> {
        let slots = Arc::new(Semaphore::new(most.min(Semaphore::MAX_PERMITS)));
        Arc::new(Pool { connector, tally, slots, idle: Mutex::default() })
    }

    /// Waits for a request's turn. Requests are served in order of arrival.
    pub(super) async fn slot(&self) -> OwnedSemaphorePermit {
        let slot = self.slots.clone().acquire_owned().await;
        slot.expect("the semaphore is never closed")
    }

    /// Takes the connection that was given back last, or opens a new one.
    pub(super) async fn lease(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        uri: &Uri,
    ) -> Result<Lease, AttemptError> {
        match self.take() {
            Some(connection) => Ok(Lease { connection, is_used: true, slot, pool: self.clone() }),
            None => self.open(slot, uri).await,
        }
    }

    async fn open(
        self: &Arc<Self>,
        slot: OwnedSemaphorePermit,
        uri: &Uri,
    ) -> Result<Lease, AttemptError> {
        // TLS and proxies need several round trips. A caller that polls rarely would make them late.
        let (connector, to) = (self.connector.clone(), uri.clone());
        let io = runtime::driven(async move { connector.open(&to).await }).await?;
        // Any connection takes any request, so no connection replaces another.
        self.tally.opened(false);
        let (written, heard, spoken) = (io.written(), io.heard(), io.spoken());
        let (sender, driving) =
            Builder::new().max_buf_size(HEAD_LIMIT).handshake(io).await.map_err(|error| {
                let what = "the connection was lost before it was used";
                AttemptError::new(Event::ClosedUnsent, what).with_source(error)
            })?;
        let task = self.connector.spawn(async move {
            // The request learns the reason of the connection's end by itself.
            let _ = driving.await;
        });
        let connection = Connection { sender, task, written, heard, spoken };
        Ok(Lease { connection, is_used: false, slot, pool: self.clone() })
    }

    /// Takes the idle connection that was used last. Connections that are closed, or soon will be,
    /// are dropped.
    fn take(&self) -> Option<Connection> {
        let mut idle = self.idle();
        while let Some((connection, since)) = idle.connections.pop_back() {
            if since.elapsed() >= IDLE {
                // All other connections are older, so they have expired, too.
                idle.connections.clear();
                return None;
            }
            if connection.sender.is_ready() {
                return Some(connection);
            }
        }
        None
    }

    fn give_back(self: &Arc<Self>, connection: Connection) {
        let mut idle = self.idle();
        idle.connections.push_back((connection, Instant::now()));
        if !std::mem::replace(&mut idle.is_swept, true) {
            tokio::spawn(sweep(Arc::downgrade(self)));
        }
    }

    /// Closes connections that were idle for too long. Returns when to look again, if any
    /// connection is left.
    fn close_idle(&self) -> Option<Instant> {
        let mut idle = self.idle();
        while let Some((_, since)) = idle.connections.front() {
            let end = *since + IDLE;
            if end > Instant::now() {
                return Some(end);
            }
            idle.connections.pop_front();
        }
        idle.is_swept = false;
        None
    }

    fn idle(&self) -> MutexGuard<'_, Idle> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Closes idle connections when they expire, as long as there are any.
async fn sweep(pool: Weak<Pool>) {
    while let Some(next) = pool.upgrade().and_then(|pool| pool.close_idle()) {
        sleep_until(next).await;
    }
}

impl Lease {
    /// Sends the request and returns the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Outgoing>,
    ) -> Result<Response<Incoming>, hyper::Error> {
        let sending = self.connection.sender.try_send_request(request);
        sending.await.map_err(TrySendError::into_error)
    }

    /// Whether the connection has carried another request before.
    pub(super) fn is_used(&self) -> bool {
        self.is_used
    }

    pub(super) fn written(&self) -> &Written {
        &self.connection.written
    }

    pub(super) fn heard(&self) -> &Heard {
        &self.connection.heard
    }

    pub(super) fn spoken(&self) -> &Spoken {
        &self.connection.spoken
    }

    /// Gives the connection back for other requests, once the answer was read to its end.
    pub(super) fn give_back(self) {
        let Lease { mut connection, slot, pool, .. } = self;
        if connection.sender.is_ready() {
            pool.give_back(connection);
        } else if !connection.sender.is_closed() {
            // The connection's task was not polled yet, or still writes a request that was already
            // answered.
            tokio::spawn(async move {
                let _slot = slot;
                if let Ok(Ok(())) = timeout(WIND_UP, connection.sender.ready()).await {
                    pool.give_back(connection);
                }
            });
        }
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.task.abort();
    }
}
