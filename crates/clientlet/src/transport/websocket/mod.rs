//! Jina's WebSocket protocol: many requests in flight on one connection, which is opened again when it
//! is lost.

mod connection;
mod handshake;

use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use ::http::{HeaderMap, Uri};
use bytes::Bytes;
use tokio::time::{Instant, timeout_at};

use self::connection::{Connection, Passage, Read, Tally};
use super::http::{HttpTransport, docarray_of, hidden};
use super::{BoxFuture, Terms, Transport};
use crate::config::Config;
use crate::connect::Connector;
use crate::discovery::Gateway;
use crate::endpoint::Endpoint;
use crate::envelope::read_proto_answer;
use crate::error::{AttemptError, Error, Event};
use crate::message::{DocArray, Encoding, GatewayStatus, RawAnswer, Request, Status};

/// The subprotocol whose messages are protobuf.
const BYTES: &str = "bytes";

pub(crate) struct WebsocketTransport {
    connector: Connector,
    endpoint: Endpoint,
    docarray: Option<DocArray>,
    answer_limit: usize,
    /// For what a gateway's WebSocket port answers to plain GETs.
    http: HttpTransport,
    /// One connection for each set of headers that calls came with.
    shared: Mutex<Vec<Arc<Shared>>>,
    tally: Arc<Tally>,
}

/// The connection of all calls with the same headers.
struct Shared {
    headers: Arc<HeaderMap>,
    /// Held while it is opened: one at a time, however many wait.
    connection: tokio::sync::Mutex<Option<Arc<Connection>>>,
}

/// Sets of headers beyond these are forgotten, the oldest first; calls that use them go on.
const MOST_SHARED: usize = 16;

impl WebsocketTransport {
    pub(crate) fn new(config: &Config) -> WebsocketTransport {
        WebsocketTransport {
            connector: Connector::new(config.connect_timeout),
            endpoint: config.endpoint.clone(),
            docarray: config.docarray,
            answer_limit: config.answer_limit,
            http: HttpTransport::new(config),
            shared: Mutex::default(),
            tally: Arc::default(),
        }
    }

    /// The connection for requests with these headers, opened if it is not there or was lost.
    async fn connection(&self, request: &Request) -> Result<Arc<Connection>, AttemptError> {
        let shared = self.shared(&request.headers);
        let mut slot = shared.connection.lock().await;
        if let Some(connection) = slot.as_ref().filter(|connection| connection.is_open()) {
            return Ok(connection.clone());
        }
        let connection = Arc::new(self.open(request).await?);
        *slot = Some(connection.clone());
        Ok(connection)
    }

    fn shared(&self, headers: &Arc<HeaderMap>) -> Arc<Shared> {
        let mut all = self.shared.lock().unwrap_or_else(PoisonError::into_inner);
        let same = |shared: &&Arc<Shared>| {
            Arc::ptr_eq(&shared.headers, headers) || shared.headers == *headers
        };
        if let Some(shared) = all.iter().find(same) {
            return shared.clone();
        }
        if all.len() >= MOST_SHARED {
            all.remove(0);
        }
        let connection = tokio::sync::Mutex::default();
        let shared = Arc::new(Shared { headers: headers.clone(), connection });
        all.push(shared.clone());
        shared
    }

    async fn open(&self, request: &Request) -> Result<Connection, AttemptError> {
        let (uri, headers) = (&request.route.uri, &request.headers);
        let connecting =
            handshake::connect(&self.connector, uri, headers, BYTES, self.answer_limit);
        let socket = connecting.await?;
        let docarray = request.route.docarray;
        let read: Read = Arc::new(move |frame| read(docarray, frame));
        Ok(Connection::start(socket, request.id.nonce, read, self.tally.clone()))
    }
}

impl Transport for WebsocketTransport {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        terms: Terms,
    ) -> BoxFuture<'a, Result<RawAnswer, AttemptError>> {
        Box::pin(async move {
            let began = Instant::now();
            let connection = match terms.is_alone {
                true => within(terms.deadline, self.open(request)).await.map(|c| c.map(Arc::new)),
                false => within(terms.deadline, self.connection(request)).await,
            };
            let connection = connection.unwrap_or_else(|| Err(late(began, false)))?;
            let (passage, heard) = (Passage::default(), connection.heard());
            let exchange = connection.exchange(request, &passage);
            within(terms.deadline, exchange).await.unwrap_or_else(|| {
                connection.doubt(heard);
                Err(late(began, passage.give_up()))
            })
        })
    }

    fn describe<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Gateway, AttemptError>> {
        Box::pin(async move {
            let docarray = match self.docarray {
                Some(docarray) => docarray,
                None => docarray_of(&self.status(headers, deadline).await.map_err(hidden)?)?,
            };
            // The port lists no endpoints, and takes any name.
            Ok(Gateway { docarray, paths: None, is_by_name: true })
        })
    }

    fn status<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<GatewayStatus, AttemptError>> {
        self.http.status(headers, deadline)
    }

    /// By a plain GET, which this port answers as truthfully as a message to `/dry_run`.
    fn dry_run<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Status, AttemptError>> {
        self.http.dry_run(headers, deadline)
    }

    fn encoding(&self) -> Encoding {
        Encoding::Proto
    }

    fn most_documents(&self, _: DocArray) -> Option<usize> {
        None
    }

    /// The same for every endpoint, whose name stands in the request.
    fn uri(&self, _: &str) -> Result<Uri, Error> {
        self.endpoint.at("/")
    }

    fn protocol(&self) -> &'static str {
        "ws"
    }

    fn address(&self) -> String {
        self.endpoint.to_string()
    }
}

/// Nothing if the deadline is sooner.
async fn within<F: Future>(deadline: Option<Instant>, what: F) -> Option<F::Output> {
    match deadline {
        Some(deadline) => timeout_at(deadline, what).await.ok(),
        None => Some(what.await),
    }
}

fn late(began: Instant, is_sent: bool) -> AttemptError {
    let (event, what) = match is_sent {
        false => (Event::TimedOutUnsent, "no connection that takes it"),
        true => (Event::TimedOut, "no answer"),
    };
    let took = began.elapsed().as_secs_f64();
    AttemptError::new(event, format!("{what} within {took:.1} s"))
}

fn read(docarray: DocArray, frame: &Bytes) -> Result<RawAnswer, String> {
    let answer = read_proto_answer(docarray, frame)?;
    Ok(RawAnswer {
        docarray,
        encoding: Encoding::Proto,
        request_id: answer.request_id,
        status: answer.status,
        routes: answer.routes,
        parameters: answer.parameters,
        documents: answer.documents,
    })
}

impl fmt::Debug for WebsocketTransport {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WebsocketTransport")
            .field("endpoint", &self.endpoint)
            .finish_non_exhaustive()
    }
}
