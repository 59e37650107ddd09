//! Jina's WebSocket protocol: many requests in flight on one connection, which is opened again when
//! it is lost.

mod connection;
mod ending;
mod handshake;
mod line;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, Uri};
use bytes::Bytes;
use tokio::sync::{MutexGuard, Semaphore, SemaphorePermit};

use self::connection::{Read, start};
#[cfg(fuzzing)]
pub use self::handshake::answered_with;
pub(crate) use self::line::Line;
use super::http::HttpTransport;
use super::multiplex::{Handle, InFlight, Progress};
use super::{Answer, Ask, Facts, Questions, Tally, Terms, Time, Transport};
use crate::config::{Config, Credentials};
use crate::connect::Connector;
use crate::envelope::{read_answer, read_proto_answer};
use crate::error::{AttemptError, Delivery, Event};
use crate::message::{
    Connections, DocArray, Encoding, GatewayStatus, RawAnswer, Request, Route, Status,
};
use crate::runtime::{self, PerRuntime};
use crate::telemetry::{AttemptTrace, Medium};

/// The encoding of messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Subprotocol {
    /// Binary messages of protobuf.
    Bytes,
    /// Text messages of JSON, only with documents v1.
    Json,
}

impl Subprotocol {
    /// Returns the name in the upgrade.
    fn name(self) -> &'static str {
        match self {
            Subprotocol::Bytes => "bytes",
            Subprotocol::Json => "json",
        }
    }

    /// Returns the message that announces the end of input.
    fn end_of_input(self) -> &'static [u8] {
        match self {
            Subprotocol::Bytes => &[0],
            Subprotocol::Json => b"{}",
        }
    }
}

/// Connects to `uri` and upgrades.
pub(crate) async fn open(
    connector: &Connector,
    credentials: &Credentials,
    uri: &Uri,
    headers: &HeaderMap,
    subprotocol: Subprotocol,
    answer_limit: usize,
) -> Result<Line, AttemptError> {
    let name = subprotocol.name();
    let (socket, heard) =
        handshake::connect(connector, credentials, uri, headers, name, answer_limit).await?;
    Ok(Line::new(socket, subprotocol, heard))
}

pub(crate) struct WebsocketTransport {
    opener: Opener,
    facts: Facts,
    subprotocol: Subprotocol,
    /// The requests that a gateway's WebSocket port answers as plain GETs.
    http: HttpTransport,
    /// One connection for each set of headers in each runtime.
    shared: PerRuntime<Arc<Mutex<Vec<Arc<Shared>>>>>,
    /// Permits for connections that carry a single request.
    alone: Semaphore,
}

/// Everything that is needed to open a connection.
#[derive(Clone)]
struct Opener {
    connector: Connector,
    credentials: Arc<Credentials>,
    answer_limit: usize,
    subprotocol: Subprotocol,
    tally: Arc<Tally>,
}

/// The properties of a request that determine its connection.
struct Wanted {
    nonce: u64,
    route: Arc<Route>,
    /// The headers of the upgrade.
    headers: Arc<HeaderMap>,
    trace: AttemptTrace,
}

impl Wanted {
    fn by(request: &Request, terms: &Terms<'_>) -> Wanted {
        let (route, headers) = (request.route.clone(), terms.headers(request).clone());
        Wanted { nonce: request.id.nonce, route, headers, trace: terms.trace.clone() }
    }
}

/// The connection of all calls with the same headers.
struct Shared {
    headers: Arc<HeaderMap>,
    /// The lock is held by a task while it opens the connection, so only one is opened at a time,
    /// however many calls wait. With JSON, a request holds the lock from its beginning to its end.
    slot: tokio::sync::Mutex<Slot>,
}

#[derive(Default)]
struct Slot {
    connection: Option<Arc<Handle>>,
    /// Whether there was a connection before.
    is_used: bool,
}

impl Slot {
    fn open_connection(&self) -> Option<&Arc<Handle>> {
        self.connection.as_ref().filter(|connection| connection.is_open())
    }
}

/// What a request holds while it is in flight.
enum Held<'s> {
    Nothing,
    /// The slot to which the request gives its connection back.
    Slot(MutexGuard<'s, Slot>),
    /// The permit for its own connection.
    Place(#[expect(dead_code, reason = "held, not looked at")] SemaphorePermit<'s>),
}

/// The maximum number of header sets with a connection. Beyond it, the set that was unused for the
/// longest time is dropped, and its connection is closed. Calls that still use that connection
/// continue.
const MOST_SHARED: usize = 16;

impl WebsocketTransport {
    pub(crate) fn new(
        connector: Connector,
        config: &Config,
        subprotocol: Subprotocol,
    ) -> WebsocketTransport {
        let (answer_limit, tally) = (config.answer_limit, Tally::new(config));
        let http = HttpTransport::new(connector.clone(), config);
        WebsocketTransport {
            opener: Opener {
                connector,
                credentials: config.credentials.clone(),
                answer_limit,
                subprotocol,
                tally,
            },
            facts: facts(config, subprotocol),
            subprotocol,
            http,
            shared: PerRuntime::default(),
            alone: Semaphore::new(config.max_connections.min(Semaphore::MAX_PERMITS)),
        }
    }

    fn shared(&self, headers: &Arc<HeaderMap>) -> Result<Arc<Shared>, AttemptError> {
        let here = self.shared.here(Arc::default)?;
        let mut all = here.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |shared: &Arc<Shared>| {
            Arc::ptr_eq(&shared.headers, headers) || shared.headers == *headers
        };
        // Searches from the end, because the last one is nearly always the right one.
        if let Some(place) = all.iter().rposition(same) {
            let used = all.remove(place);
            all.push(used.clone());
            return Ok(used);
        }
        if all.len() >= MOST_SHARED {
            all.remove(0);
        }
        let slot = tokio::sync::Mutex::default();
        let shared = Arc::new(Shared { headers: headers.clone(), slot });
        all.push(shared.clone());
        Ok(shared)
    }

    /// Returns an open shared connection. Nearly every request finds one.
    fn take_now(&self, shared: &Shared, is_alone: bool) -> Option<Arc<Handle>> {
        if is_alone || self.subprotocol != Subprotocol::Bytes {
            return None;
        }
        shared.slot.try_lock().ok()?.open_connection().cloned()
    }

    /// Takes a connection for this request: a shared one, unless the request goes alone. Also
    /// returns what the request holds while it uses the connection.
    async fn take<'s>(
        &'s self,
        shared: &'s Arc<Shared>,
        wanted: Wanted,
        is_alone: bool,
    ) -> Result<(Arc<Handle>, Held<'s>), AttemptError> {
        if is_alone {
            let place = self.alone.acquire().await.expect("the semaphore is never closed");
            let connection = self.opener.open(&wanted, true).await?;
            return Ok((Arc::new(connection), Held::Place(place)));
        }
        if self.subprotocol == Subprotocol::Bytes {
            // A task holds the lock and waits for it, because other calls must not wait until this
            // call polls.
            let (opener, shared) = (self.opener.clone(), shared.clone());
            let opening = async move {
                let mut slot = shared.slot.lock().await;
                opener.connection(&mut slot, &wanted).await
            };
            return Ok((runtime::driven(opening).await?, Held::Nothing));
        }
        let mut slot = shared.slot.lock().await;
        let connection = self.opener.connection(&mut slot, &wanted).await?;
        // With JSON, answers cannot be told apart. If a request is given up, its connection is
        // dropped, and with it an answer that comes late.
        slot.connection = None;
        Ok((connection, Held::Slot(slot)))
    }
}

impl Opener {
    /// Returns the slot's connection. If it is missing or lost, opens it.
    async fn connection(
        &self,
        slot: &mut Slot,
        wanted: &Wanted,
    ) -> Result<Arc<Handle>, AttemptError> {
        if let Some(connection) = slot.open_connection() {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.open(wanted, slot.is_used).await?);
        *slot = Slot { connection: Some(connection.clone()), is_used: true };
        Ok(connection)
    }

    async fn line(&self, uri: &Uri, headers: &HeaderMap) -> Result<Line, AttemptError> {
        let Opener { connector, credentials, answer_limit, subprotocol, .. } = self;
        let opening = open(connector, credentials, uri, headers, *subprotocol, *answer_limit);
        opening.await
    }

    async fn open(&self, wanted: &Wanted, again: bool) -> Result<Handle, AttemptError> {
        let Wanted { nonce, route, headers, trace } = wanted;
        let opening = self.line(&route.uri, headers);
        // The future is boxed, because it is rare and large. Otherwise the future of every attempt
        // would be as large.
        let line = Box::pin(opening).await?;
        self.tally.opened(again);
        if again {
            trace.reconnected();
        }
        let (docarray, tally) = (route.docarray, self.tally.clone());
        let (in_flight, read): (_, Read) = match self.subprotocol {
            Subprotocol::Bytes => (
                InFlight::new(*nonce, Progress::on(line.heard()), tally),
                Arc::new(move |message| read_proto_answer(docarray, message)),
            ),
            Subprotocol::Json => (
                InFlight::in_turn(Progress::on(line.heard()), tally),
                Arc::new(move |message| read_answer(docarray, message)),
            ),
        };
        Ok(start(line, in_flight, read))
    }
}

impl Transport for WebsocketTransport {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> Answer<'a, RawAnswer> {
        Box::pin(async move {
            let mut time = terms.time();
            let shared = self.shared(&request.route.headers)?;
            let (connection, held) = match self.take_now(&shared, terms.is_alone) {
                Some(connection) => (connection, Held::Nothing),
                None => {
                    // Boxed, because this future is rare and large.
                    let taking =
                        Box::pin(self.take(&shared, Wanted::by(request, &terms), terms.is_alone));
                    match time.opening_with_hook(&self.opener.credentials, taking).await {
                        Ok(taken) => taken,
                        Err(error) => return Err(error.with_unsent(body)),
                    }
                }
            };
            let result = connection.exchange(request.id, body, &mut time).await;
            let is_answered =
                result.as_ref().map_or_else(|e| e.delivery == Delivery::Answered, |_| true);
            if let (Held::Slot(mut slot), true) = (held, is_answered) {
                slot.connection = Some(connection.clone());
            }
            result
        })
    }

    fn lane(&self, request: &Request) -> Option<Arc<Handle>> {
        self.take_now(&*self.shared(&request.route.headers).ok()?, false)
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn questions(&self) -> &dyn Questions {
        self
    }

    fn connections(&self) -> Connections {
        self.opener.tally.connections()
    }
}

/// A gateway's port for WebSocket lists no endpoints.
impl Questions for WebsocketTransport {
    fn status<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, GatewayStatus> {
        self.http.status(ask)
    }

    /// Sends a plain GET, which this port answers as truthfully as a message to `/dry_run`. A port
    /// for HTTP answers it as well, so a connection is opened, too.
    fn dry_run<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, Status> {
        Box::pin(async move {
            let status = self.http.dry_run(ask).await?;
            if status.is_success() {
                let uri = self.facts.address.at("/");
                let uri = uri.map_err(|e| AttemptError::new(Event::EncodeFailed, e.message()))?;
                let opening = self.opener.line(&uri, ask.headers);
                let opened = Time::until(ask.deadline).opening(Box::pin(opening)).await;
                opened.map_err(|error| error.before_sending("opening a connection"))?;
            }
            Ok(status)
        })
    }
}

fn facts(config: &Config, subprotocol: Subprotocol) -> Facts {
    let facts = |encoding| {
        let facts = Facts::new(&config.address, Medium::Websocket, encoding);
        Facts { is_masking: true, ..facts }
    };
    match subprotocol {
        Subprotocol::Bytes => facts(Encoding::Proto),
        Subprotocol::Json => {
            let what = "the gateway speaks documents v2, which it does not take as JSON over WebSocket; \
                        use the default subprotocol";
            Facts {
                most_in_flight: Some(1),
                denied: Some((DocArray::V2, what)),
                ..facts(Encoding::Json)
            }
        }
    }
}

/// Returns the error of a request on a connection with this recorded ending.
#[cfg(test)]
pub(super) fn ended(code: Option<u16>, reason: &str) -> AttemptError {
    use super::multiplex::Ending;

    match code {
        Some(code) => Ending::closed(code, reason).sent(),
        None => Ending::vanished().sent(),
    }
}

impl fmt::Debug for WebsocketTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebsocketTransport")
            .field("address", &self.facts.address)
            .finish_non_exhaustive()
    }
}
