//! The record of what arrived at a gateway.

use std::collections::{BTreeMap, VecDeque};
use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use std::time::Duration;

use bytes::Bytes;
use http::header::{HeaderMap, HeaderName, HeaderValue};
use serde::de::DeserializeOwned;
use tokio::sync::Notify;
use tokio::time::Instant;

use crate::docarray::DocArray;
use crate::fault::FaultKind;
use crate::request::{Content, read_documents};
#[cfg(feature = "tls")]
use crate::tls::Handshake;
use crate::value::{ReadError, read};

/// The most entries of each kind that a journal keeps. If there are more, the oldest are dropped.
const MOST_ENTRIES: usize = 100_000;
/// The most bytes of bodies that a journal keeps by default.
pub(crate) const MOST_BYTES: usize = 64 << 20;
/// The most bytes of headers, ids and paths that a journal keeps of each kind of entries.
const MOST_REST: usize = 64 << 20;
/// What a text or a header costs beside its bytes.
const OVERHEAD: usize = 32;
/// The most bytes of a path or id that are left of an entry whose headers and ids were dropped.
const STUMP: usize = 128;

/// A request, a WebSocket message or a gRPC message that was read to its end.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub struct Entry {
    /// The number of the request, from 1, among those that carry data; GETs have numbers of their
    /// own. A request gets its number when it begins to arrive, a message when it has arrived.
    pub number: u64,
    /// The number of the connection, from 1.
    pub connection: u64,
    /// The number of the gRPC stream, from 1 on each connection; `None` over other protocols.
    pub stream: Option<u64>,
    /// `POST`, `GET` and so on; `WS` for a WebSocket message, `GRPC` for a gRPC message.
    pub method: String,
    /// The path, without a query; over gRPC `/SERVICE/METHOD`.
    pub path: String,
    /// The headers of the request. A WebSocket message has the headers of the handshake, a gRPC
    /// message those of its stream. A journal keeps 64 MiB of headers, ids and paths; if there are
    /// more, the oldest entries have no headers and no document ids, and long paths end with `...`.
    pub headers: HeaderMap,
    /// The endpoint that the request is for; `None` for GETs other than streams, and for unreadable
    /// requests.
    pub endpoint: Option<String>,
    /// The request id that the client sent in `header`, even if the gateway ignores it.
    pub request_id: Option<String>,
    /// The number of documents in the request.
    pub document_count: usize,
    /// The ids of the documents that have one.
    pub document_ids: Vec<String>,
    /// The fault that struck the request.
    pub fault: Option<FaultKind>,
    /// The status of the answer. `None` while there is no answer, and if a fault prevented the
    /// whole answer from being sent. 101 for an upgrade. Over WebSocket and gRPC the status is 200
    /// for each message that was answered, an executor's failure included, and for a stream of
    /// documents that came to its end.
    pub answered: Option<u16>,
    /// The number of documents that a streaming endpoint gave, over HTTP or by `stream_doc`.
    pub streamed: usize,
    /// Whether the client left before the end of such a stream. The endpoint was stopped then.
    pub is_cancelled: bool,
    /// When the request had arrived, as time since the start of the gateway by tokio's clock.
    pub arrived_at: Duration,
    /// When the answer was sent, by the same clock; set together with [`answered`](Self::answered).
    pub answered_at: Option<Duration>,
    /// The body and the way to read it; `None` if the body was dropped.
    pub(crate) sent: Option<Sent>,
    /// Whether headers and ids were dropped to save memory.
    pub(crate) is_stripped: bool,
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
    /// The body of the request, or the message, as it came. `None` if the journal has dropped the
    /// body to save memory (see [`GatewayBuilder::journal_bytes`]).
    ///
    /// [`GatewayBuilder::journal_bytes`]: crate::GatewayBuilder::journal_bytes
    pub fn body(&self) -> Option<&Bytes> {
        self.sent.as_ref().map(|sent| &sent.body)
    }

    /// The documents as they were sent, read as a type.
    ///
    /// # Errors
    ///
    /// A document cannot be read as the type, the request could not be read, or the journal has
    /// dropped its body.
    pub fn documents<T: DeserializeOwned>(&self) -> Result<Vec<T>, ReadError> {
        let (content, docarray) = self.content()?;
        read_documents(&content.documents, docarray)
    }

    /// The parameters as they were sent, read as a type; without parameters an empty object.
    ///
    /// # Errors
    ///
    /// The parameters cannot be read as the type, the request could not be read, or the journal has
    /// dropped its body.
    pub fn parameters<P: DeserializeOwned>(&self) -> Result<P, ReadError> {
        let (content, docarray) = self.content()?;
        read(&content.parameters, docarray)
    }

    /// The regular expression by which the client chose executors; `None` if it chose none, or if
    /// the body cannot be read.
    pub fn target_executor(&self) -> Option<String> {
        let (content, _) = self.content().ok()?;
        content.target_executor.filter(|target| !target.is_empty())
    }

    /// A header as text; `None` if the header is missing or is not text.
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

    /// The bytes of everything but the body that a client chose.
    fn rest_length(&self) -> usize {
        let texts = [
            Some(&self.method),
            Some(&self.path),
            self.endpoint.as_ref(),
            self.request_id.as_ref(),
        ];
        let texts = texts.into_iter().flatten().chain(&self.document_ids).map(String::len);
        let headers = self.headers.iter().map(|(name, value)| name.as_str().len() + value.len());
        texts.chain(headers).map(|length| length + OVERHEAD).sum()
    }

    /// Drops headers and ids, and the ends of long texts.
    fn strip(&mut self) {
        self.headers = HeaderMap::new();
        self.document_ids = Vec::new();
        self.is_stripped = true;
        let texts = [Some(&mut self.method), Some(&mut self.path)];
        let texts = texts.into_iter().chain([self.endpoint.as_mut(), self.request_id.as_mut()]);
        for text in texts.flatten().filter(|text| text.len() > STUMP) {
            *text = text.chars().take(STUMP / 4).chain("...".chars()).collect();
        }
    }
}

/// The record of what arrived at a gateway. Clones share the same record.
#[derive(Clone, Debug)]
pub struct Journal(Arc<Pages>);

#[derive(Debug)]
struct Pages {
    /// Whether entries are kept. Counts are always kept.
    keeps: bool,
    /// The time of the gateway's start.
    start: Instant,
    entries: Mutex<Book>,
    gets: Mutex<Book>,
    arrived: AtomicU64,
    refused: AtomicU64,
    unauthorized: AtomicU64,
    connections: AtomicU64,
    websocket_connections: AtomicU64,
    grpc_connections: AtomicU64,
    grpc_streams: AtomicU64,
    cancelled: AtomicU64,
    arrival: Notify,
    #[cfg(feature = "tls")]
    handshakes: Mutex<Handshakes>,
}

/// The last handshakes, and the numbers of all.
#[cfg(feature = "tls")]
#[derive(Debug, Default)]
struct Handshakes {
    kept: VecDeque<Handshake>,
    full: u64,
    resumed: u64,
    failed: u64,
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
            unauthorized: AtomicU64::new(0),
            connections: AtomicU64::new(0),
            websocket_connections: AtomicU64::new(0),
            grpc_connections: AtomicU64::new(0),
            grpc_streams: AtomicU64::new(0),
            cancelled: AtomicU64::new(0),
            arrival: Notify::new(),
            #[cfg(feature = "tls")]
            handshakes: Mutex::default(),
        }))
    }

    /// The requests and messages with data that arrived, in the order in which they were read to
    /// the end. If there were more than 100,000, the last ones. Empty if the gateway keeps no
    /// journal.
    pub fn entries(&self) -> Vec<Entry> {
        lock(&self.0.entries).entries.iter().cloned().collect()
    }

    /// The GETs that arrived, including handshakes of WebSockets. Empty if the gateway keeps no
    /// journal.
    pub fn gets(&self) -> Vec<Entry> {
        lock(&self.0.gets).entries.iter().cloned().collect()
    }

    /// The number of times that each request id arrived. Requests without an id are not counted.
    /// Empty if the gateway keeps no journal.
    pub fn arrivals(&self) -> BTreeMap<String, u32> {
        let mut arrivals = BTreeMap::new();
        for entry in &lock(&self.0.entries).entries {
            if let Some(id) = &entry.request_id {
                *arrivals.entry(id.clone()).or_default() += 1;
            }
        }
        arrivals
    }

    /// The number of requests with data that arrived; also counted without a journal.
    pub fn len(&self) -> usize {
        usize::try_from(self.0.arrived.load(Ordering::Acquire)).unwrap_or(usize::MAX)
    }

    /// Whether no request with data has arrived.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The number of connections and requests that a fault reset before they were read (`refuse`,
    /// `reset-before`), or answered before they were read (`early`); also counted without a
    /// journal.
    pub fn refused(&self) -> u64 {
        self.0.refused.load(Ordering::Acquire)
    }

    /// The number of requests, upgrades and gRPC calls that were answered with 401 or
    /// UNAUTHENTICATED because they did not have the right `Authorization`; also counted without a
    /// journal.
    pub fn unauthorized(&self) -> u64 {
        self.0.unauthorized.load(Ordering::Acquire)
    }

    /// The number of accepted connections, including those that a fault refused; also counted
    /// without a journal.
    pub fn connections(&self) -> u64 {
        self.0.connections.load(Ordering::Acquire)
    }

    /// The number of connections that became a WebSocket for data, without dry runs; also counted
    /// without a journal.
    pub fn websocket_connections(&self) -> u64 {
        self.0.websocket_connections.load(Ordering::Acquire)
    }

    /// The number of connections that began to speak HTTP/2, for gRPC; also counted without a
    /// journal.
    pub fn grpc_connections(&self) -> u64 {
        self.0.grpc_connections.load(Ordering::Acquire)
    }

    /// The number of gRPC streams for data: calls of `Call`, `process_single_data` and
    /// `stream_doc`; also counted without a journal.
    pub fn grpc_streams(&self) -> u64 {
        self.0.grpc_streams.load(Ordering::Acquire)
    }

    /// The number of streams of documents that their clients cancelled; also counted without a
    /// journal.
    pub fn cancelled(&self) -> u64 {
        self.0.cancelled.load(Ordering::Acquire)
    }

    /// The TLS handshakes that have ended, in the order of their ends. If there were more than
    /// 100,000, the last ones. Empty if the gateway keeps no journal.
    #[cfg(feature = "tls")]
    pub fn handshakes(&self) -> Vec<Handshake> {
        lock(&self.0.handshakes).kept.iter().cloned().collect()
    }

    /// The number of TLS handshakes that began a new session; also counted without a journal.
    #[cfg(feature = "tls")]
    pub fn full_handshakes(&self) -> u64 {
        lock(&self.0.handshakes).full
    }

    /// The number of TLS handshakes that resumed a session; also counted without a journal.
    #[cfg(feature = "tls")]
    pub fn resumed_handshakes(&self) -> u64 {
        lock(&self.0.handshakes).resumed
    }

    /// The number of TLS handshakes that failed; also counted without a journal.
    #[cfg(feature = "tls")]
    pub fn failed_handshakes(&self) -> u64 {
        lock(&self.0.handshakes).failed
    }

    /// Waits until `n` TLS handshakes have ended, well or not; also works without a journal.
    #[cfg(feature = "tls")]
    pub async fn wait_for_handshakes(&self, n: u64) {
        let ended = || {
            let handshakes = lock(&self.0.handshakes);
            handshakes.full + handshakes.resumed + handshakes.failed
        };
        self.wait_until(|| ended() >= n).await;
    }

    /// Waits until `n` requests with data have arrived; also works without a journal.
    pub async fn wait_for(&self, n: usize) {
        self.wait_until(|| self.len() >= n).await;
    }

    /// Waits until `n` streams of documents were cancelled; also works without a journal.
    pub async fn wait_for_cancelled(&self, n: u64) {
        self.wait_until(|| self.cancelled() >= n).await;
    }

    async fn wait_until(&self, is_so: impl Fn() -> bool) {
        loop {
            let arrival = self.0.arrival.notified();
            tokio::pin!(arrival);
            // The waiter is registered before the check, so that no arrival in between is missed.
            arrival.as_mut().enable();
            if is_so() {
                return;
            }
            arrival.await;
        }
    }

    /// Counts an accepted connection and returns its number.
    pub(crate) fn connected(&self) -> u64 {
        self.0.connections.fetch_add(1, Ordering::AcqRel) + 1
    }

    #[cfg(feature = "tls")]
    pub(crate) fn shook(&self, handshake: Handshake) {
        {
            let mut handshakes = lock(&self.0.handshakes);
            *match (&handshake.error, handshake.is_resumed) {
                (Some(_), _) => &mut handshakes.failed,
                (None, true) => &mut handshakes.resumed,
                (None, false) => &mut handshakes.full,
            } += 1;
            if self.0.keeps {
                if handshakes.kept.len() == MOST_ENTRIES {
                    handshakes.kept.pop_front();
                }
                handshakes.kept.push_back(handshake);
            }
        }
        self.0.arrival.notify_waiters();
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

    pub(crate) fn turn_away(&self) {
        self.0.unauthorized.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn refuse(&self) {
        self.0.refused.fetch_add(1, Ordering::AcqRel);
    }

    /// Records a request with data. `entry` is called only if entries are kept. The returned place
    /// is where [`answered`](Self::answered) notes the answer.
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
        // The values share the memory in which they came, which may be much larger.
        let copy = |(name, value): (&HeaderName, &HeaderValue)| {
            Some((name.clone(), HeaderValue::from_bytes(value.as_bytes()).ok()?))
        };
        let headers = entry.headers.iter().filter_map(copy).collect();
        Entry { arrived_at: self.0.start.elapsed(), headers, ..entry }
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

    /// The client left before the end of a stream of documents.
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

/// Entries. If there are too many, the oldest are dropped.
#[derive(Debug)]
struct Book {
    entries: VecDeque<Entry>,
    /// The number of entries that were dropped.
    gone: usize,
    bodies: Hoard,
    rests: Hoard,
}

/// Bytes that entries hold, within a bound: the oldest entries lose theirs first.
#[derive(Debug)]
struct Hoard {
    bytes: usize,
    most: usize,
    /// The number of the first entry that may have such bytes, counted with dropped entries.
    first: usize,
    weigh: fn(&Entry) -> usize,
    strip: fn(&mut Entry),
}

impl Hoard {
    fn new(most: usize, weigh: fn(&Entry) -> usize, strip: fn(&mut Entry)) -> Self {
        Self { bytes: 0, most, first: 0, weigh, strip }
    }

    /// Counts the newest of the entries, the first of which has the number `gone`.
    fn add(&mut self, entries: &mut VecDeque<Entry>, gone: usize) {
        self.bytes += entries.back().map_or(0, self.weigh);
        while self.bytes > self.most
            && let Some(entry) = entries.get_mut(self.first.saturating_sub(gone))
        {
            self.bytes -= (self.weigh)(entry);
            (self.strip)(entry);
            self.bytes += (self.weigh)(entry);
            self.first += 1;
        }
    }

    /// An entry was dropped, so that `gone` are.
    fn drop(&mut self, entry: &Entry, gone: usize) {
        self.bytes -= (self.weigh)(entry);
        self.first = self.first.max(gone);
    }
}

impl Book {
    fn new(most_bytes: usize) -> Self {
        Self {
            entries: VecDeque::new(),
            gone: 0,
            bodies: Hoard::new(most_bytes, Entry::body_length, |entry| entry.sent = None),
            rests: Hoard::new(MOST_REST, Entry::rest_length, Entry::strip),
        }
    }

    /// Adds an entry, and returns its number among all that were ever added.
    fn push(&mut self, entry: Entry) -> usize {
        self.entries.push_back(entry);
        let number = self.gone + self.entries.len() - 1;
        self.bodies.add(&mut self.entries, self.gone);
        self.rests.add(&mut self.entries, self.gone);
        if self.entries.len() > MOST_ENTRIES
            && let Some(oldest) = self.entries.pop_front()
        {
            self.gone += 1;
            self.bodies.drop(&oldest, self.gone);
            self.rests.drop(&oldest, self.gone);
        }
        number
    }

    fn get_mut(&mut self, number: usize) -> Option<&mut Entry> {
        self.entries.get_mut(number.checked_sub(self.gone)?)
    }
}

/// The place of a request in the journal.
#[derive(Debug)]
pub(crate) enum Place {
    Nowhere,
    Entry(usize),
    Get(usize),
}

fn lock<T>(entries: &Mutex<T>) -> MutexGuard<'_, T> {
    // Entries are pushed whole, so they are in order even after a panic elsewhere.
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
            is_stripped: false,
        }
    }

    #[tokio::test]
    async fn the_oldest_headers_and_ids_go_when_there_are_too_many_bytes() {
        let kilobyte = "x".repeat(1 << 10);
        let journal = Journal::new(true, 0);
        for number in 0..800 {
            journal.arrived(|| Entry {
                document_ids: vec![kilobyte.clone(); 50],
                headers: [("h", &kilobyte); 50]
                    .into_iter()
                    .map(|(name, value)| (HeaderName::from_static(name), value.parse().unwrap()))
                    .collect(),
                path: kilobyte.clone(),
                ..entry(number, b"")
            });
        }
        let entries = journal.entries();
        let kept: usize = entries.iter().map(Entry::rest_length).sum();
        assert!((MOST_REST - (1 << 20)..=MOST_REST).contains(&kept), "{kept}");
        let (oldest, newest) = (&entries[0], &entries[799]);
        assert!(oldest.is_stripped && oldest.headers.is_empty() && oldest.document_ids.is_empty());
        assert!(oldest.path.len() < 200);
        assert_eq!((newest.header("h"), newest.document_ids.len()), (Some(&*kilobyte), 50));
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
        // A body that is too large is dropped at once, and the older bodies before it.
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
        // A dropped entry cannot be changed any more; the others can.
        journal.answered(&places[0], 200);
        journal.answered(&places[5], 503);
        let entries = journal.entries();
        assert_eq!((entries.len(), entries[0].number), (MOST_ENTRIES, 3));
        assert_eq!((entries[0].answered, entries[2].answered), (None, Some(503)));
        assert_eq!(journal.len(), MOST_ENTRIES + 3);
    }
}
