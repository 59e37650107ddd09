//! What arrived, and how often.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::docarray::DocArray;
use crate::fault::FaultKind;
use crate::request::{Content, read_documents};
use crate::value::{ReadError, read};

/// The most entries that a journal keeps of each kind; the oldest ones go.
const MOST_ENTRIES: usize = 100_000;
/// The most bytes of bodies that a journal keeps, unless told otherwise.
pub(crate) const MOST_BYTES: usize = 64 << 20;

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
    pub document_count: usize,
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
    /// When it had arrived, since the start of the gateway, by tokio's clock.
    pub arrived_at: Duration,
    /// When its answer was sent, by the same clock; set together with [`answered`](Self::answered).
    pub answered_at: Option<Duration>,
    /// What it carried, unless the journal has let go of it.
    pub(crate) sent: Option<Sent>,
}

/// A body or message, and how it is read.
#[derive(Clone)]
pub(crate) struct Sent {
    pub(crate) docarray: DocArray,
    pub(crate) body: Bytes,
    pub(crate) read: fn(DocArray, &Bytes) -> Option<Content>,
}

impl Sent {
    /// Keeps a copy, since the memory that a body came in may be much larger.
    pub(crate) fn new(
        docarray: DocArray,
        body: &[u8],
        read: fn(DocArray, &Bytes) -> Option<Content>,
    ) -> Self {
        Self { docarray, body: Bytes::copy_from_slice(body), read }
    }
}

impl fmt::Debug for Sent {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sent({} bytes)", self.body.len())
    }
}

impl Entry {
    /// The body of the request, or the message, as it came; `None` if the journal has let go of it
    /// (see [`GatewayBuilder::journal_bytes`]).
    ///
    /// [`GatewayBuilder::journal_bytes`]: crate::GatewayBuilder::journal_bytes
    pub fn body(&self) -> Option<&Bytes> {
        self.sent.as_ref().map(|sent| &sent.body)
    }

    /// The documents as they were sent, read as a type.
    ///
    /// # Errors
    ///
    /// A document is no such type, the request could not be read, or the journal has let go of its
    /// body.
    pub fn documents<T: DeserializeOwned>(&self) -> Result<Vec<T>, ReadError> {
        let (content, docarray) = self.content()?;
        read_documents(&content.documents, docarray)
    }

    /// The parameters as they were sent, read as a type; without parameters an empty object.
    ///
    /// # Errors
    ///
    /// The parameters are no such type, the request could not be read, or the journal has let go of
    /// its body.
    pub fn parameters<P: DeserializeOwned>(&self) -> Result<P, ReadError> {
        let (content, docarray) = self.content()?;
        read(&content.parameters, docarray)
    }

    /// The regular expression by which the client chose executors; `None` if it did not, or if that
    /// cannot be read.
    pub fn target_executor(&self) -> Option<String> {
        let (content, _) = self.content().ok()?;
        content.target_executor.filter(|target| !target.is_empty())
    }

    /// A header as text; `None` if it is missing or no text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).and_then(|value| value.to_str().ok())
    }

    pub(crate) fn content(&self) -> Result<(Content, DocArray), ReadError> {
        let Some(Sent { docarray, body, read }) = &self.sent else {
            return Err(ReadError::new("the journal does not have the body (`journal_bytes`)"));
        };
        match read(*docarray, body) {
            Some(content) => Ok((content, *docarray)),
            None => Err(ReadError::new("the body is no request")),
        }
    }

    fn body_length(&self) -> usize {
        self.sent.as_ref().map_or(0, |sent| sent.body.len())
    }
}

/// A record of what arrived at a gateway. Clones share it.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Pages>);

#[derive(Debug)]
struct Pages {
    /// Whether entries are kept; the counts always are.
    keeps: bool,
    /// The time of the gateway's start.
    start: Instant,
    entries: Mutex<Book>,
    gets: Mutex<Book>,
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
    pub(crate) fn new(keeps: bool, most_bytes: usize) -> Self {
        Self(Arc::new(Pages {
            keeps,
            start: Instant::now(),
            entries: Mutex::new(Book::new(most_bytes)),
            gets: Mutex::new(Book::new(most_bytes)),
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
    /// Of more than 100,000 the last ones. Empty if the gateway keeps no journal.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0.entries).entries.iter().cloned().collect()
    }

    /// The GETs that arrived, those included that asked to become a WebSocket. Empty if the gateway keeps no journal.
    pub fn gets(&self) -> Vec<Entry> {
        lock(&self.0.gets).entries.iter().cloned().collect()
    }

    /// How often each request id arrived, as the client sent it. Requests without an id are left
    /// out. Empty if the gateway keeps no journal.
    pub fn arrivals(&self) -> BTreeMap<String, u32> {
        let mut arrivals = BTreeMap::new();
        for entry in &lock(&self.0.entries).entries {
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
            let entry = self.timed(entry());
            Place::Entry(lock(&self.0.entries).push(entry))
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
        let entry = self.timed(entry());
        Place::Get(lock(&self.0.gets).push(entry))
    }

    fn timed(&self, entry: Entry) -> Entry {
        Entry { arrived_at: self.0.start.elapsed(), ..entry }
    }

    pub(crate) fn answered(&self, place: &Place, status: u16) {
        let now = self.0.start.elapsed();
        self.note(place, |entry| {
            entry.answered = Some(status);
            entry.answered_at = Some(now);
        });
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

/// Entries, of which the oldest go when there are too many.
#[derive(Debug)]
struct Book {
    entries: VecDeque<Entry>,
    /// How many entries went.
    gone: usize,
    /// The first entry that may have a body, counting those that went.
    with_body: usize,
    bytes: usize,
    most_bytes: usize,
}

impl Book {
    fn new(most_bytes: usize) -> Self {
        Self { entries: VecDeque::new(), gone: 0, with_body: 0, bytes: 0, most_bytes }
    }

    /// Adds an entry, and returns its number among all that were ever added.
    fn push(&mut self, entry: Entry) -> usize {
        self.bytes += entry.body_length();
        self.entries.push_back(entry);
        let number = self.gone + self.entries.len() - 1;
        while self.bytes > self.most_bytes
            && let Some(entry) = self.entries.get_mut(self.with_body.saturating_sub(self.gone))
        {
            self.bytes -= entry.body_length();
            entry.sent = None;
            self.with_body += 1;
        }
        if self.entries.len() > MOST_ENTRIES
            && let Some(oldest) = self.entries.pop_front()
        {
            self.bytes -= oldest.body_length();
            self.gone += 1;
            self.with_body = self.with_body.max(self.gone);
        }
        number
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Entry> {
        self.entries.get_mut(number.checked_sub(self.gone)?)
    }
}

/// Where in the journal a request stands.
#[derive(Debug)]
pub(crate) enum Place {
    Nowhere,
    Entry(usize),
    Get(usize),
}

fn lock(entries: &Mutex<Book>) -> MutexGuard<'_, Book> {
    // Entries are pushed whole, so a panic elsewhere leaves nothing half done.
    entries.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn entry(number: u64, body: &'static [u8]) -> Entry {
        Entry {
            number,
            connection: 1,
            stream: None,
            method: "POST".into(),
            path: "/".into(),
            headers: HeaderMap::new(),
            endpoint: None,
            request_id: None,
            document_count: 0,
            document_ids: Vec::new(),
            fault: None,
            answered: None,
            streamed: 0,
            is_cancelled: false,
            arrived_at: Duration::ZERO,
            answered_at: None,
            sent: Some(Sent::new(DocArray::V1, body, |_, _| None)),
        }
    }

    #[tokio::test]
    async fn the_oldest_bodies_go_when_there_are_too_many_bytes() {
        let journal = Journal::new(true, 10);
        for number in 0..5 {
            journal.arrived(|| entry(number, b"four"));
        }
        let bodies: Vec<bool> =
            journal.entries().iter().map(|entry| entry.body().is_some()).collect();
        assert_eq!(bodies, [false, false, false, true, true]);
        // One that is too large goes at once, and takes no other with it that still fits.
        journal.arrived(|| entry(5, b"more than ten bytes"));
        assert!(journal.entries().iter().all(|entry| entry.body().is_none()));
        let error = journal.entries()[0].documents::<String>().unwrap_err();
        assert!(error.to_string().contains("journal_bytes"), "{error}");
    }

    #[tokio::test]
    async fn the_oldest_entries_go_when_there_are_too_many() {
        let journal = Journal::new(true, 10);
        let places: Vec<Place> = (0..MOST_ENTRIES as u64 + 3)
            .map(|number| journal.arrived(|| entry(number, b"")))
            .collect();
        // The place of an entry that went is nowhere; that of another is still its own.
        journal.answered(&places[0], 200);
        journal.answered(&places[5], 503);
        let entries = journal.entries();
        assert_eq!((entries.len(), entries[0].number), (MOST_ENTRIES, 3));
        assert_eq!((entries[0].answered, entries[2].answered), (None, Some(503)));
        assert_eq!(journal.len(), MOST_ENTRIES + 3);
    }
}
