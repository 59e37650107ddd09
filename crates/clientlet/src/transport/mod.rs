//! The seam between the pipeline and the protocols: one attempt of one request.

mod body;
#[cfg(test)]
mod fixtures;
pub(crate) mod grpc;
pub(crate) mod http;
mod http_session;
mod kept;
mod multiplex;
pub(crate) mod openapi;
mod panics;
mod pool;
mod retry_after;
pub(crate) mod sse;
mod streams;
mod time;
pub(crate) mod websocket;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use ::http::{HeaderMap, Uri};
use bytes::Bytes;
use tokio::time::Instant;

pub(crate) use http_session::{HttpSession, RawHttpAnswer};
use http_session::{is_too_large_a_head, not_http, too_large_a_head};
pub(crate) use kept::Kept;
#[cfg(test)]
pub(crate) use multiplex::FarEnd;
pub(crate) use multiplex::{Dispatched, Handle, Inbox, Mail, Passage, poll_let_go};
pub(crate) use panics::unless_it_panics;
use pool::HEAD_LIMIT;
pub(crate) use streams::{RawDocument, RawDocuments, StreamRequest, Streams};
pub(crate) use time::{Patience, Time};

use crate::discovery::Gateway;
use crate::error::{AttemptError, Error};
use crate::message::{
    Connections, DocArray, Encoding, Endpoints, GatewayStatus, Health, RawAnswer, Request, Status,
};
use crate::stop::Stop;

pub(crate) type BoxFuture<'a, T> = Pin<Box<dyn Future<Output = T> + Send + 'a>>;

/// What an attempt is held to.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Terms<'a> {
    /// When the attempt began.
    pub(crate) began: Instant,
    pub(crate) deadline: Option<Instant>,
    /// Whether it goes alone on a connection of its own, where requests share connections: the
    /// last attempt of a request that may be what the gateway drops its connections for.
    pub(crate) is_alone: bool,
    /// The flag that stops the call.
    pub(crate) stop: &'a Stop,
}

impl<'a> Terms<'a> {
    fn time(&self) -> Time<'a> {
        Time::new(self.began, self.deadline, self.stop)
    }
}

/// A protocol, able to try one request once.
///
/// Nothing in here retries: the pipeline does, for all protocols alike. A future that is dropped
/// leaves nothing behind. The deadline of an attempt is the transport's to keep, since only it knows
/// whether a byte was written by then; that of a request on a [`lane`](Transport::lane) is its caller's.
pub(crate) trait Transport: Send + Sync {
    /// Sends a request once and reads the envelope of its answer. An executor's exception is an
    /// error. If the transport [masks](Transport::is_masking), the last attempt owns the body.
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> BoxFuture<'a, Result<RawAnswer, AttemptError>>;

    /// Whether the transport overwrites a body that it owns, and copies any other. It returns a
    /// body that it did not send with its error.
    fn is_masking(&self) -> bool {
        false
    }

    /// The connection or stream that a request's first attempt may be handed to without waiting; nothing
    /// where none is open, or where it takes an [`attempt`](Transport::attempt).
    fn lane(&self, request: &Request) -> Option<Arc<Handle>> {
        let _ = request;
        None
    }

    /// The transport of one call that has so many requests under way, where a call keeps something
    /// to itself; it goes with the call.
    fn for_call(&self, prefetch: usize) -> Option<Arc<dyn Transport>> {
        let _ = prefetch;
        None
    }

    /// Asks which documents the gateway speaks and where it takes them. `kept` has what an earlier
    /// try learned before it failed, and takes it from this one.
    fn describe<'a>(
        &'a self,
        headers: &'a HeaderMap,
        kept: &'a Kept,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Gateway, AttemptError>>;

    /// Asks what can be posted to.
    fn endpoints<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Endpoints, AttemptError>> {
        Box::pin(async move {
            let gateway = self.describe(headers, &Kept::default(), deadline).await?;
            Ok(Endpoints {
                docarray: gateway.docarray,
                takes_any: gateway.takes_any(),
                paths: gateway.endpoints.unwrap_or_default(),
            })
        })
    }

    /// Asks what the gateway says of itself.
    fn status<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<GatewayStatus, AttemptError>>;

    /// Sends a request without documents through all executors.
    fn dry_run<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Status, AttemptError>>;

    /// Asks the health service of gRPC about a service, the empty name for the gateway as a whole;
    /// nothing where there is no such service.
    fn health<'a>(
        &'a self,
        service: &'a str,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> Option<BoxFuture<'a, Result<Health, AttemptError>>> {
        let _ = (service, headers, deadline);
        None
    }

    /// The protocol's streams of documents, if it has any.
    fn streams(&self) -> Option<&dyn Streams> {
        None
    }

    /// How requests are to be written.
    fn encoding(&self) -> Encoding;

    /// The most documents that a gateway of this generation takes in one request.
    fn most_documents(&self, docarray: DocArray) -> Option<usize>;

    /// The most requests that it is worth to begin at a time: those beyond it would only wait, and
    /// their time run out meanwhile.
    fn most_in_flight(&self) -> Option<usize> {
        None
    }

    /// The URI of a path of the gateway.
    fn uri(&self, path: &str) -> Result<Uri, Error>;

    /// `http`, `ws`, `grpc`.
    fn protocol(&self) -> &'static str;

    /// The gateway's address, without user information and query.
    fn address(&self) -> String;

    /// What has become of its connections.
    fn connections(&self) -> Connections;
}
