//! What arrived, and how often.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use http::HeaderMap;
use tokio::sync::Notify;

use crate::fault::FaultKind;

/// One request, WebSocket message or gRPC message that arrived: it was read to the end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// Its number, from 1, among the requests that carry data; GETs are numbered by themselves.
    /// Numbers are given when a request begins to arrive, and when a message has arrived.
    pub number: u64,
    /// The number of its connection, from 1.
    pub connection: u64,
    /// The number of its gRPC stream, from 1 on each connection; `None` over other protocols.
    pub stream: Option<u64>,
    /// `POST`, `GET` and so on; `WS` for a WebSocket message, `GRPC` for one of gRPC.
    pub method: String,
    /// The path, without a query; over gRPC `/SERVICE/METHOD`.
    pub path: String,
    /// All its headers; those of the handshake for a WebSocket message, those of its stream for one
    /// of gRPC.
    pub headers: HeaderMap,
    /// The executor's endpoint that it asked for; `None` for GETs and unreadable requests.
    pub endpoint: Option<String>,
    /// The request id that the client gave (in `header`), also where the gateway ignores it.
    pub request_id: Option<String>,
    /// How many documents it carried.
    pub documents: usize,
    /// The ids of those documents that had one.
    pub document_ids: Vec<String>,
    /// The fault that struck it.
    pub fault: Option<FaultKind>,
    /// The status of its answer; `None` while there is none, and when a fault kept the answer
    /// from being sent whole. 200 for a WebSocket message whose answer was sent, an executor's
    /// failure included, and 101 for an upgrade. Over gRPC 200 where a message was answered, and
    /// where a stream of documents came to its end.
    pub answered: Option<u16>,
    /// How many documents a streaming endpoint gave for it, over HTTP or by `stream_doc`.
    pub streamed: usize,
    /// The client went before such a stream of documents was at its end; the endpoint was stopped.
    pub is_cancelled: bool,
}

/// A record of what arrived at a gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Pages>);

#[derive(Debug)]
struct Pages {
    /// Whether entries are kept; the counts always are.
    keeps: bool,
    entries: Mutex<Vec<Entry>>,
    gets: Mutex<Vec<Entry>>,
    arrived: AtomicU64,
    refused: AtomicU64,
    connections: AtomicU64,
    websocket_connections: AtomicU64,
    grpc_connections: AtomicU64,
    grpc_streams: AtomicU64,
    cancelled: AtomicU64,
    arrival: Notify,
}

impl Journal {
    pub(crate) fn new(keeps: bool) -> Self {
        Self(Arc::new(Pages {
            keeps,
            entries: Mutex::default(),
            gets: Mutex::default(),
            arrived: AtomicU64::new(0),
            refused: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            websocket_connections: AtomicU64::new(0),
            grpc_connections: AtomicU64::new(0),
            grpc_streams: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            arrival: Notify::new(),
        }))
    }

    /// The requests and messages with data that arrived, in the order in which they were read to
    /// the end.
    /// Empty if the gateway keeps no journal.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0.entries).clone()
    }

    /// The GETs that arrived, those included that asked to become a WebSocket. Empty if the gateway keeps no journal.
    pub fn gets(&self) -> Vec<Entry> {
        lock(&self.0.gets).clone()
    }

    /// How often each request id arrived, as the client sent it. Requests without an id are left
    /// out. Empty if the gateway keeps no journal.
    pub fn arrivals(&self) -> BTreeMap<String, u32> {
        let mut arrivals = BTreeMap::new();
        for entry in lock(&self.0.entries).iter() {
            if let Some(id) = &entry.request_id {
                *arrivals.entry(id.clone()).or_default() += 1;
            }
        }
        arrivals
    }

    /// How many requests with data arrived. Counted also without a journal.
    pub fn len(&self) -> usize {
        usize::try_from(self.0.arrived.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// Whether nothing arrived yet.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// How many connections and requests were reset before anything of them was read
    /// (`refuse`, `reset-before`), or answered before they were read (`early`). Counted also without a journal.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Acquire)
    }

    /// How many connections were accepted, refused ones included. Counted also without a journal.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Acquire)
    }

    /// How many connections became a WebSocket for data, so without those for dry runs. Counted
    /// also without a journal.
    pub fn websocket_connections(&self) -> u64 {
        self.0.websocket_connections.load(Ordering::Acquire)
    }

    /// How many connections began to speak HTTP/2, for gRPC. Counted also without a journal.
    pub fn grpc_connections(&self) -> u64 {
        self.0.grpc_connections.load(Ordering::Acquire)
    }

    /// How many gRPC streams were opened for data: calls of `Call`, `process_single_data` and
    /// `stream_doc`. Counted also without a journal.
    pub fn grpc_streams(&self) -> u64 {
        self.0.grpc_streams.load(Ordering::Acquire)
    }

    /// How many streams of documents were cancelled by their client. Counted also without a journal.
    pub fn cancelled(&self) -> u64 {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// Waits until `n` requests with data have arrived. Works also without a journal.
    pub async fn wait_for(&self, n: usize) {
        self.wait_until(|| self.len() >= n).await;
    }

    /// Waits until `n` streams of documents were cancelled. Works also without a journal.
    pub async fn wait_for_cancelled(&self, n: u64) {
        self.wait_until(|| self.cancelled() >= n).await;
    }

    async fn wait_until(&self, is_so: impl Fn() -> bool) {
        loop {
            let arrival = self.0.arrival.notified();
            tokio::pin!(arrival);
            // Registered before looking, or an arrival in between would be missed.
            arrival.as_mut().enable();
            if is_so() {
                return;
            }
            arrival.await;
        }
    }

    /// Counts an accepted connection and gives its number.
    pub(crate) fn connected(&self) -> u64 {
        self.0.connections.fetch_add(1, Ordering::AcqRel) + 1
    }

    pub(crate) fn upgraded(&self) {
        self.0.websocket_connections.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn began_grpc(&self) {
        self.0.grpc_connections.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn opened_stream(&self) {
        self.0.grpc_streams.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn refuse(&self) {
        self.0.refused.fetch_add(1, Ordering::AcqRel);
    }

    /// Records a request with data; `entry` is asked for only if it is kept. The place is where
    /// [`answered`](Self::answered) notes the answer later.
    pub(crate) fn arrived(&self, entry: impl FnOnce() -> Entry) -> Place {
        let place = if self.0.keeps {
            let mut entries = lock(&self.0.entries);
            entries.push(entry());
            Place::Entry(entries.len() - 1)
        } else {
            Place::Nowhere
        };
        self.0.arrived.fetch_add(1, Ordering::AcqRel);
        self.0.arrival.notify_waiters();
        place
    }

    pub(crate) fn got(&self, entry: impl FnOnce() -> Entry) -> Place {
        if !self.0.keeps {
            return Place::Nowhere;
        }
        let mut gets = lock(&self.0.gets);
        gets.push(entry());
        Place::Get(gets.len() - 1)
    }

    pub(crate) fn answered(&self, place: &Place, status: u16) {
        self.note(place, |entry| entry.answered = Some(status));
    }

    /// A streaming endpoint gave another document.
    pub(crate) fn streamed(&self, place: &Place) {
        self.note(place, |entry| entry.streamed += 1);
    }

    /// A client did not wait for the end of a stream of documents.
    pub(crate) fn cancel(&self, place: &Place) {
        self.note(place, |entry| entry.is_cancelled = true);
        self.0.cancelled.fetch_add(1, Ordering::AcqRel);
        self.0.arrival.notify_waiters();
    }

    fn note(&self, place: &Place, note: impl FnOnce(&mut Entry)) {
        let (pages, index) = match place {
            Place::Nowhere => return,
            Place::Entry(index) => (&self.0.entries, *index),
            Place::Get(index) => (&self.0.gets, *index),
        };
        if let Some(entry) = lock(pages).get_mut(index) {
            note(entry);
        }
    }
}

/// Where in the journal a request stands.
#[derive(Debug)]
pub(crate) enum Place {
    Nowhere,
    Entry(usize),
    Get(usize),
}

fn lock(entries: &Mutex<Vec<Entry>>) -> MutexGuard<'_, Vec<Entry>> {
    // Entries are pushed whole, so a panic elsewhere leaves nothing half done.
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}
