//! The seam between the pipeline and the protocols: one attempt of one request.

mod body;
mod channels;
mod content;
#[cfg(test)]
#[path = "../../unit/fixtures.rs"]
mod fixtures;
#[cfg(feature = "grpc")]
pub(crate) mod grpc;
pub(crate) mod http;
mod http_answer;
mod http_session;
mod idle;
mod multiplex;
pub(crate) mod openapi;
mod pool;
mod questions;
mod redirect;
mod retry_after;
pub(crate) mod sse;
mod streams;
mod tally;
mod time;
#[cfg(feature = "websocket")]
pub(crate) mod websocket;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use ::http::{HeaderMap, Uri};
use bytes::Bytes;
use tokio::time::Instant;

pub(crate) use channels::Channels;
pub(crate) use http_answer::{MOST_V2_DOCUMENTS, RawHttpAnswer};
pub(crate) use http_session::HttpSession;
use http_session::{is_too_large_a_head, not_http, too_large_a_head};
#[cfg(test)]
pub(crate) use multiplex::FarEnd;
pub(crate) use multiplex::{
    Claim, Dispatched, Ending, Handle, Inbox, Mail, Notice, Order, Orders, Queue, Ticket,
};
use pool::HEAD_LIMIT;
pub(crate) use questions::{Ask, Listing, Questions};
pub(crate) use streams::{RawDocument, RawDocuments, StreamRequest, Streams};
use tally::Tally;
pub(crate) use time::{Patience, Time};

use crate::address::{Address, to_path};
use crate::error::{AttemptError, Error};
use crate::message::{Connections, DocArray, Encoding, RawAnswer, Request};
use crate::stop::Stop;
use crate::telemetry::{AttemptTrace, Medium};

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;
/// The result of an attempt or a question.
pub(crate) type Answer<'a, T> = BoxFuture<'a, Result<T, AttemptError>>;

/// The conditions of an attempt.
#[derive(Clone, Debug)]
pub(crate) struct Terms<'a> {
    /// When the attempt began.
    pub(crate) began: Instant,
    pub(crate) deadline: Option<Instant>,
    /// How long nothing may come while the attempt waits for its answer.
    pub(crate) idle_timeout: Option<Duration>,
    /// The number of attempts of the request that failed before, those included that were not counted.
    pub(crate) failed: u32,
    /// Whether the attempt uses a connection of its own where requests share connections. This
    /// applies to the last attempt of a request that may be the one for which the gateway drops
    /// connections.
    pub(crate) is_alone: bool,
    /// Whether the request was refused on a shared stream for want of credentials.
    pub(crate) was_refused: bool,
    /// The flag that stops the call.
    pub(crate) stop: &'a Stop,
    pub(crate) trace: AttemptTrace,
}

impl<'a> Terms<'a> {
    /// Returns the headers of a request, or of the connection that is opened for it: the call's, with the
    /// context of the trace.
    fn headers<'h>(&'h self, request: &'h Request) -> &'h Arc<HeaderMap> {
        self.trace.headers().unwrap_or(&request.route.headers)
    }

    fn time(&self) -> Time<'a> {
        Time::new(self.began, self.deadline, self.stop).or_idle(self.idle_timeout)
    }
}

/// A protocol, which can make one attempt of a request.
///
/// Transports never retry: [`Retry`](crate::retry::Retry) does, for all protocols alike. A future
/// that is dropped leaves nothing behind. The transport keeps the deadline of an attempt, because
/// only the transport knows whether a byte was written by then. The caller keeps the deadline of a
/// request on a [`lane`](Transport::lane).
pub(crate) trait Transport: Send + Sync {
    /// Sends a request once and reads the envelope of its answer. An executor's exception is an
    /// error. If the transport [masks](Facts::is_masking), the last attempt owns the body, and a
    /// body that was not sent is returned with the error.
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> Answer<'a, RawAnswer>;

    /// Returns the connection or stream that can take a request's first attempt without waiting;
    /// `None` if none is open, or if the request needs an [`attempt`](Transport::attempt).
    fn lane(&self, request: &Request) -> Option<Arc<Handle>> {
        let _ = request;
        None
    }

    /// Returns a separate transport for one call with this many requests in flight, if the protocol
    /// needs one. It ends with the call.
    fn open_call(&self, prefetch: usize) -> Option<Arc<dyn Transport>> {
        let _ = prefetch;
        None
    }

    fn facts(&self) -> &Facts;

    fn questions(&self) -> &dyn Questions;

    /// Returns the protocol's streams of documents, if it has any.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    /// Returns the counts of the transport's connections.
    fn connections(&self) -> Connections;
}

/// The properties of a transport that never change.
#[derive(Clone, Debug)]
pub(crate) struct Facts {
    pub(crate) address: Address,
    /// How requests are sent.
    pub(crate) medium: Medium,
    /// The encoding of requests.
    pub(crate) encoding: Encoding,
    /// Whether endpoints may have paths of their own. Otherwise each request names its endpoint.
    pub(crate) has_paths: bool,
    /// Whether the transport overwrites a body that it owns, and copies any other.
    pub(crate) is_masking: bool,
    /// The maximum number of documents that a v2 gateway takes in one request.
    pub(crate) most_v2_documents: Option<usize>,
    /// Whether requests take turns between several connections, so that each asks for its own
    /// [`lane`](Transport::lane).
    pub(crate) has_channels: bool,
    /// The number of requests beyond which it is useless to begin more at a time: they would only
    /// wait, and time out meanwhile.
    pub(crate) most_in_flight: Option<usize>,
    /// The documents that no gateway takes in this encoding, and the advice for them.
    pub(crate) denied: Option<(DocArray, &'static str)>,
    /// Whether a request that was refused on a shared stream is sent once more with new credentials.
    pub(crate) renews: bool,
}

impl Facts {
    /// Returns the facts of a protocol without peculiarities.
    pub(crate) fn new(address: &Address, medium: Medium, encoding: Encoding) -> Facts {
        Facts {
            address: address.clone(),
            medium,
            encoding,
            has_paths: false,
            is_masking: false,
            most_v2_documents: None,
            has_channels: false,
            most_in_flight: None,
            denied: None,
            renews: false,
        }
    }

    /// Returns the URI to which documents for a path are sent.
    pub(crate) fn uri(&self, path: &str) -> Result<Uri, Error> {
        self.address.at(if self.has_paths { path } else { "/" })
    }

    /// Checks an endpoint before anything is sent, as the path of a v2 gateway will be checked.
    pub(crate) fn check_endpoint(&self, endpoint: &str) -> Result<(), Error> {
        if endpoint.is_empty() {
            return Err(Error::config("the endpoint has no name; use / for all executors"));
        }
        self.uri(&to_path(endpoint)).map(drop)
    }
}
