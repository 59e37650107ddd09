//! What a client tells about its work: numbers for everyone, and through OpenTelemetry traces and
//! metrics. Without the feature `otel` the tracing half is empty.

mod counts;
#[cfg(not(feature = "otel"))]
mod none;
#[cfg(feature = "otel")]
mod otel;

use std::fmt;
use std::mem::replace;
use std::ops::Deref;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, Uri};
use tokio::time::Instant;

use self::counts::Counts;
pub use self::counts::{Durations, Statistics};
#[cfg(not(feature = "otel"))]
use self::none as traces;
#[cfg(feature = "otel")]
use self::otel as traces;
pub(crate) use self::traces::{AttemptTrace, Parent, Providers};
use self::traces::{Labels, Metrics, Span, Tracer};
use crate::address::Address;
use crate::error::{AttemptError, Error, ErrorKind};
use crate::message::{Connections, Request, Route};
use crate::response::Response;

/// What a client, or a clientlet, tells about its work. All its connections and calls share it.
#[derive(Clone)]
pub(crate) struct Telemetry(Arc<Shared>);

struct Shared {
    counts: Counts,
    metrics: Metrics,
    tracer: Tracer,
}

/// How the attempts of something are described.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only OpenTelemetry is told"))]
pub(crate) struct Subject<'a> {
    /// The name of its trace.
    pub(crate) name: &'static str,
    pub(crate) operation: Operation<'a>,
    pub(crate) request_id: Option<&'a str>,
    pub(crate) documents: u64,
}

/// What an attempt does.
#[derive(Clone, Copy, Debug)]
#[cfg_attr(not(feature = "otel"), expect(dead_code, reason = "only OpenTelemetry is told"))]
pub(crate) enum Operation<'a> {
    /// Sends a request of a pipeline.
    Request(&'a Arc<Route>),
    /// Sends a request to this URL over HTTP.
    Http(&'static str, &'a Uri),
    /// Makes a gRPC call of this method, `/service/method`.
    #[cfg(any(feature = "grpc", feature = "otel"))]
    Rpc(&'static str),
    /// Asks or does something that is no request.
    Named,
}

impl<'a> Subject<'a> {
    pub(crate) fn request(request: &'a Request) -> Subject<'a> {
        let documents = request.documents.end - request.documents.start;
        let operation = Operation::Request(&request.route);
        Subject { name: "post", operation, request_id: Some(&request.id_text), documents }
    }

    pub(crate) fn named(name: &'static str) -> Subject<'a> {
        Subject { name, operation: Operation::Named, request_id: None, documents: 0 }
    }

    /// Whether its attempts count as attempts of requests.
    pub(crate) fn is_request(&self) -> bool {
        self.request_id.is_some()
    }

    /// Whether an attempt that is answered is counted apart from its request. In a pipeline the request
    /// ends with it, and a request that is answered at once is counted together with its attempt.
    fn is_counted_apart(&self, number: u32) -> bool {
        let is_of_pipeline = matches!(self.operation, Operation::Request(_));
        (number > 1 || !is_of_pipeline) && self.is_request()
    }
}

/// How the requests of a call are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Medium {
    /// Each request is a POST.
    Http,
    /// Requests are messages on a WebSocket.
    #[cfg(feature = "websocket")]
    Websocket,
    /// Requests are messages on a gRPC stream of this method, `/service/method`.
    #[cfg(feature = "grpc")]
    GrpcStream(&'static str),
    /// Each request is a gRPC call of this method.
    #[cfg(feature = "grpc")]
    GrpcUnary(&'static str),
}

impl Telemetry {
    pub(crate) fn new(providers: &Providers, address: &Address) -> Telemetry {
        let counts = Counts::default();
        let (metrics, tracer) = providers.open(address);
        Telemetry(Arc::new(Shared { counts, metrics, tracer }))
    }

    pub(crate) fn statistics(&self, connections: Connections) -> Statistics {
        self.0.counts.statistics(connections)
    }

    /// Begins the trace of a call, or of a question, whose requests have these headers.
    pub(crate) fn call(
        &self,
        name: &'static str,
        endpoint: Option<&str>,
        medium: Medium,
        headers: &Arc<HeaderMap>,
        parent: Parent,
    ) -> CallTrace {
        let Shared { metrics, tracer, .. } = &*self.0;
        let labels = metrics.labels(endpoint);
        let span = tracer.call(name, endpoint, medium, headers, parent);
        let is_heard = metrics.is_heard() || span.is_heard();
        CallTrace { telemetry: self.clone(), labels, span, is_heard }
    }

    /// Counts a connection that takes the place of another.
    pub(crate) fn reconnected(&self) {
        self.0.metrics.reconnected();
    }

    /// Counts an answer that no request waits for.
    pub(crate) fn duplicate_dropped(&self) {
        self.0.metrics.duplicate_dropped();
    }

    /// Counts bytes that were written to a connection.
    pub(crate) fn transmitted(&self, bytes: usize) {
        self.0.counts.transmitted(bytes);
        self.0.metrics.transmitted(bytes);
    }

    /// Counts bytes that were read from a connection.
    pub(crate) fn received(&self, bytes: usize) {
        self.0.counts.received(bytes);
        self.0.metrics.received(bytes);
    }

    /// Takes the time for which a call read no documents, because all places were taken.
    pub(crate) fn waited(&self, time: Duration) {
        self.0.counts.waited(time);
        self.0.metrics.waited(time);
    }
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

/// The trace of one call, and the numbers of its requests. The trace ends when this is dropped, if not
/// before.
pub(crate) struct CallTrace {
    telemetry: Telemetry,
    labels: Labels,
    span: Span,
    /// Whether OpenTelemetry is told anything. If not, each request costs a branch where it would be.
    is_heard: bool,
}

impl CallTrace {
    pub(crate) fn telemetry(&self) -> &Telemetry {
        &self.telemetry
    }

    /// Counts a request that begins.
    #[inline]
    pub(crate) fn request_begun(&self) {
        self.telemetry.0.counts.begun(1);
        if self.is_heard {
            self.telemetry.0.metrics.in_flight(1, &self.labels);
        }
    }

    /// Counts parts of a request that go on as requests, beside the one that was counted.
    pub(crate) fn request_split(&self, others: usize) {
        let Shared { counts, metrics, .. } = &*self.telemetry.0;
        counts.begun(others as u64);
        metrics.in_flight(others as i64, &self.labels);
        self.span.event("clientlet.split");
    }

    /// Counts a request that ends, or a part of it that ends by itself.
    #[inline]
    pub(crate) fn request_ended(&self, end: &Result<Response, Error>) {
        let counts = &self.telemetry.0.counts;
        match end {
            Ok(response) if response.attempts() == 1 => counts.answered_at_once(response.elapsed()),
            Ok(response) => counts.ended(None, response.elapsed()),
            Err(error) => counts.ended(Some(error.kind()), error.elapsed()),
        }
        if self.is_heard {
            self.tell_end(end);
        }
    }

    #[cold]
    fn tell_end(&self, end: &Result<Response, Error>) {
        let metrics = &self.telemetry.0.metrics;
        metrics.in_flight(-1, &self.labels);
        match end {
            Ok(response) => metrics.request(None, response.elapsed(), &self.labels),
            Err(error) => metrics.request(Some(error.kind()), error.elapsed(), &self.labels),
        }
        self.span.request_ended(end);
    }

    /// Counts the end of a request that is no part of a pipeline.
    fn lone_request_ended(&self, failed: Option<ErrorKind>, elapsed: Duration) {
        let Shared { counts, metrics, .. } = &*self.telemetry.0;
        counts.ended(failed, elapsed);
        metrics.in_flight(-1, &self.labels);
        metrics.request(failed, elapsed, &self.labels);
    }

    /// Counts requests that were begun and dropped before their end.
    pub(crate) fn requests_dropped(&self, requests: usize) {
        self.telemetry.0.counts.dropped(requests as u64);
        self.telemetry.0.metrics.in_flight(-(requests as i64), &self.labels);
    }

    /// Begins attempt number `number`, counted from 1.
    #[inline]
    pub(crate) fn attempt(&self, of: &Subject<'_>, number: u32) -> AttemptTrace {
        if self.is_heard { self.span.attempt(of, number) } else { AttemptTrace::default() }
    }

    /// Ends an attempt that was answered after `took`, which nearly no attempt needs to know.
    #[inline]
    pub(crate) fn answered(
        &self,
        trace: &AttemptTrace,
        of: &Subject<'_>,
        number: u32,
        took: impl Fn() -> Duration,
    ) {
        if of.is_counted_apart(number) {
            self.telemetry.0.counts.attempted(None, took());
        }
        if self.is_heard {
            trace.answered();
            self.tell_attempt(of, None, took());
        }
    }

    /// Ends an attempt that failed after `took`, and was entered in the ledger.
    pub(crate) fn failed(
        &self,
        trace: &AttemptTrace,
        of: &Subject<'_>,
        error: &AttemptError,
        took: Duration,
    ) {
        trace.failed(error);
        if of.is_request() {
            self.telemetry.0.counts.attempted(Some(error.kind), took);
        }
        self.tell_attempt(of, Some(error.kind), took);
    }

    #[cold]
    fn tell_attempt(&self, of: &Subject<'_>, failed: Option<ErrorKind>, took: Duration) {
        if of.is_request() {
            self.telemetry.0.metrics.attempt(failed, took, &self.labels);
        }
    }

    /// Counts a further attempt of a request, which follows after a wait.
    pub(crate) fn retried(&self, of: &Subject<'_>) {
        if of.is_request() {
            self.telemetry.0.counts.retried();
            self.telemetry.0.metrics.retried(&self.labels);
        }
    }

    /// Ends the trace.
    pub(crate) fn end(&self) {
        self.span.end();
    }

    /// Ends the trace with this failure of the call as a whole, if it failed.
    pub(crate) fn end_with<T>(&self, result: &Result<T, Error>) {
        if let Err(error) = result {
            self.span.failed(error.kind(), error.message());
        }
        self.span.end();
    }
}

impl fmt::Debug for CallTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallTrace").finish_non_exhaustive()
    }
}

/// The one request of a call that has no pipeline. It is counted as dropped if it is dropped before its
/// end.
pub(crate) struct LoneRequest<C: Deref<Target = CallTrace>> {
    call: C,
    started: Instant,
    has_ended: bool,
}

impl<C: Deref<Target = CallTrace>> LoneRequest<C> {
    pub(crate) fn begin(call: C, started: Instant) -> LoneRequest<C> {
        call.request_begun();
        LoneRequest { call, started, has_ended: false }
    }

    /// Ends the request, unless it has ended, and the trace of its call.
    pub(crate) fn end_with<T>(&mut self, result: &Result<T, Error>) {
        if !replace(&mut self.has_ended, true) {
            let failed = result.as_ref().err().map(Error::kind);
            self.call.lone_request_ended(failed, self.started.elapsed());
        }
        self.call.end_with(result);
    }
}

impl<C: Deref<Target = CallTrace>> Drop for LoneRequest<C> {
    fn drop(&mut self) {
        if !self.has_ended {
            self.call.requests_dropped(1);
        }
    }
}

/// The name of an attempt's outcome.
#[cfg(feature = "otel")]
fn outcome(kind: Option<ErrorKind>) -> &'static str {
    kind.map_or("answered", ErrorKind::name)
}
