//! Spans: one for each call, and below it one for each attempt. `docs/telemetry.md` lists their
//! attributes.

use std::borrow::Cow;
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::Duration;

use http::uri::Authority;
use http::{HeaderMap, StatusCode, Uri};
use opentelemetry::baggage::BaggageExt;
use opentelemetry::global::{BoxedSpan, BoxedTracer};
use opentelemetry::trace::{
    Span as _, SpanBuilder, SpanContext, SpanKind, Status, TraceContextExt, Tracer as _,
};
use opentelemetry::{Context, KeyValue};

use super::super::{Medium, Operation, Subject};
use super::propagation::Writer;
use super::{Parent, quietly};
use crate::address::{Address, Protocol};
use crate::error::{AttemptError, Error, ErrorKind};
use crate::message::Route;
use crate::response::Response;

/// Makes the spans of a client.
pub(in crate::telemetry) struct Tracer {
    tracer: Option<Arc<BoxedTracer>>,
    server: Arc<[KeyValue]>,
    protocol: KeyValue,
    /// `scheme://host:port`, without user information.
    origin: Arc<str>,
}

/// The attributes that name the gateway.
pub(super) fn server(address: &Address) -> Vec<KeyValue> {
    let uri = address.at("/").unwrap_or_default();
    let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
    let port = i64::from(uri.port_u16().unwrap_or(if address.is_secure() { 443 } else { 80 }));
    vec![KeyValue::new("server.address", shared(host)), KeyValue::new("server.port", port)]
}

/// The client's own protocol: gRPC is HTTP/2 in the terms of `network.protocol.name`.
pub(super) fn protocol(address: &Address) -> KeyValue {
    let name = match address.protocol() {
        Protocol::Http => "http",
        Protocol::Websocket => "websocket",
        Protocol::Grpc => "grpc",
    };
    KeyValue::new("clientlet.protocol", name)
}

impl Tracer {
    pub(super) fn new(tracer: Option<Arc<BoxedTracer>>, address: &Address) -> Tracer {
        let (server, protocol) = (server(address).into(), protocol(address));
        Tracer { tracer, server, protocol, origin: address.origin().into() }
    }

    pub(in crate::telemetry) fn call(
        &self,
        name: &'static str,
        endpoint: Option<&str>,
        medium: Medium,
        headers: &Arc<HeaderMap>,
        parent: Parent,
    ) -> Span {
        let mut context = parent.context();
        let Some(tracer) = &self.tracer else {
            return Span(passed_on(&context, headers).map(Inner::PassedOn));
        };
        let title = endpoint.map_or_else(|| name.into(), |name_of| format!("{name} {name_of}"));
        let mut attributes = self.server.to_vec();
        attributes.push(self.protocol.clone());
        let endpoint = endpoint.map(|name| KeyValue::new("clientlet.endpoint", shared(name)));
        attributes.extend(endpoint.clone());
        let span = SpanBuilder::from_name(title).with_kind(SpanKind::Internal);
        let span = span.with_attributes(attributes);
        let span = quietly(|| tracer.build_with_context(span, &context));
        let is_recording = span.as_ref().is_some_and(BoxedSpan::is_recording);
        // Without a span, as when the provider is shut down, the caller's context remains what counts.
        if let Some(span) = span.filter(|span| span.span_context().is_valid()) {
            context = context.with_span(span);
        }
        if !is_recording {
            return Span(passed_on(&context, headers).map(Inner::PassedOn));
        }
        let server = self.server.iter().cloned().chain(endpoint);
        let writer = Arc::new(Writer::new(headers, context.clone()));
        Span(Some(Inner::Recorded(Box::new(Recorded {
            tracer: tracer.clone(),
            shared: match medium {
                Medium::Http => None,
                #[cfg(feature = "grpc")]
                Medium::GrpcUnary(_) => None,
                #[cfg(any(feature = "grpc", feature = "websocket"))]
                _ => Some(writer.of_call()),
            },
            writer,
            medium,
            common: server.collect(),
            origin: self.origin.clone(),
            described: Mutex::default(),
            requests: AtomicU64::new(0),
            failed: AtomicU64::new(0),
            documents: AtomicU64::new(0),
            context,
        }))))
    }
}

/// Returns the headers with a context that is not recorded here, but may be elsewhere.
fn passed_on(context: &Context, headers: &Arc<HeaderMap>) -> Option<AttemptTrace> {
    if !context.span().span_context().is_valid() && context.baggage().is_empty() {
        return None;
    }
    let headers = Headers::Shared(Writer::new(headers, context.clone()).of_call());
    let span = None;
    let (is_http, has_ended) = (false.into(), true.into());
    Some(AttemptTrace(Some(Arc::new(Attempt { span, headers, is_http, has_ended }))))
}

/// The span of a call; `None` if there is nothing to record and nothing to pass on.
pub(in crate::telemetry) struct Span(Option<Inner>);

enum Inner {
    /// The context of the caller goes with the requests, and nothing is recorded.
    PassedOn(AttemptTrace),
    Recorded(Box<Recorded>),
}

struct Recorded {
    tracer: Arc<BoxedTracer>,
    context: Context,
    writer: Arc<Writer>,
    /// The headers of a connection or stream that requests share, with the call's context.
    shared: Option<Arc<HeaderMap>>,
    medium: Medium,
    /// The attributes of all attempts.
    common: Vec<KeyValue>,
    origin: Arc<str>,
    /// What the attempts on the last route are called.
    described: Mutex<Option<(Arc<Route>, Arc<Description>)>>,
    requests: AtomicU64,
    failed: AtomicU64,
    documents: AtomicU64,
}

/// The name and the attributes of attempts that differ only in their request. Each sampled request pays for
/// each attribute, about a hundred instructions, so there are no more than needed.
struct Description {
    name: Cow<'static, str>,
    attributes: Vec<KeyValue>,
}

impl Span {
    /// Whether there is anything to record or to pass on.
    pub(in crate::telemetry) fn is_heard(&self) -> bool {
        self.0.is_some()
    }

    fn recorded(&self) -> Option<&Recorded> {
        match &self.0 {
            Some(Inner::Recorded(recorded)) => Some(recorded),
            _ => None,
        }
    }

    pub(in crate::telemetry) fn attempt(&self, of: &Subject<'_>, number: u32) -> AttemptTrace {
        match &self.0 {
            None => AttemptTrace(None),
            Some(Inner::PassedOn(trace)) => trace.clone(),
            Some(Inner::Recorded(recorded)) => recorded.attempt(of, number),
        }
    }

    pub(in crate::telemetry) fn event(&self, name: &'static str) {
        if let Some(recorded) = self.recorded() {
            recorded.context.span().add_event(name, Vec::new());
        }
    }

    pub(in crate::telemetry) fn request_ended(&self, end: &Result<Response, Error>) {
        let Some(recorded) = self.recorded() else { return };
        let documents = match end {
            Ok(response) => Some(response.input()),
            Err(error) => error.input(),
        };
        let documents = documents.map_or(0, |range| range.end.saturating_sub(range.start));
        recorded.requests.fetch_add(1, Ordering::Relaxed);
        recorded.documents.fetch_add(documents, Ordering::Relaxed);
        if let Err(error) = end {
            // The first failure is the call's; the spans of attempts have the others.
            if recorded.failed.fetch_add(1, Ordering::Relaxed) == 0 {
                self.failed(error.kind(), error.message());
            }
        }
    }

    pub(in crate::telemetry) fn failed(&self, kind: ErrorKind, message: &str) {
        if let Some(recorded) = self.recorded() {
            let span = recorded.context.span();
            span.set_attribute(KeyValue::new("error.type", kind.name()));
            span.set_status(Status::error(message.to_owned()));
        }
    }

    /// Ends the span, unless it has ended.
    pub(in crate::telemetry) fn end(&self) {
        let Some(recorded) = self.recorded() else { return };
        let span = recorded.context.span();
        if !span.is_recording() {
            return;
        }
        let read = |count: &AtomicU64| i64::try_from(count.load(Ordering::Relaxed));
        let requests = read(&recorded.requests).unwrap_or(i64::MAX);
        if requests > 0 {
            let failed = read(&recorded.failed).unwrap_or(i64::MAX);
            let documents = read(&recorded.documents).unwrap_or(i64::MAX);
            span.set_attributes([
                KeyValue::new("clientlet.requests", requests),
                KeyValue::new("clientlet.requests.failed", failed),
                KeyValue::new("clientlet.documents", documents),
            ]);
        }
        quietly(|| span.end());
    }
}

impl Drop for Span {
    fn drop(&mut self) {
        self.end();
    }
}

impl Recorded {
    fn attempt(&self, of: &Subject<'_>, number: u32) -> AttemptTrace {
        let Subject { name, operation, request_id, documents } = *of;
        let (description, is_http) = match operation {
            Operation::Request(route) => {
                (self.description(route), matches!(self.medium, Medium::Http))
            }
            Operation::Http(method, uri) => (Arc::new(self.http(method, uri)), true),
            Operation::Rpc(method) => (Arc::new(self.rpc(method)), false),
            Operation::Named => (Arc::new(self.named(name)), false),
        };
        // With room for the request's own two and a status.
        let mut attributes = Vec::with_capacity(description.attributes.len() + 3);
        attributes.extend_from_slice(&description.attributes);
        if let Some(id) = request_id {
            attributes.push(KeyValue::new("clientlet.request.id", id.to_owned()));
            let documents = i64::try_from(documents).unwrap_or(i64::MAX);
            attributes.push(KeyValue::new("clientlet.request.documents", documents));
        }
        if number > 1 {
            let number = i64::from(number);
            attributes.push(KeyValue::new("clientlet.attempt", number));
            if is_http {
                attributes.push(KeyValue::new("http.request.resend_count", number - 1));
            }
        }
        let span = SpanBuilder::from_name(description.name.clone()).with_kind(SpanKind::Client);
        let span = span.with_attributes(attributes);
        let span = quietly(|| self.tracer.build_with_context(span, &self.context));
        let Some(span) = span.filter(|span| span.span_context().is_valid()) else {
            return passed_on(&self.context, self.writer.headers()).unwrap_or_default();
        };
        let headers = match (&self.shared, operation) {
            // Requests that share a connection have no headers of their own.
            (Some(shared), Operation::Request(_)) => Headers::Shared(shared.clone()),
            _ => Headers::Own(self.writer.clone(), OnceLock::new()),
        };
        let span = Some(Mutex::new(span));
        let (is_http, has_ended) = (is_http.into(), false.into());
        AttemptTrace(Some(Arc::new(Attempt { span, headers, is_http, has_ended })))
    }

    /// Returns the description of the requests on a route, which are described once.
    fn description(&self, route: &Arc<Route>) -> Arc<Description> {
        let mut described = self.described.lock().unwrap_or_else(PoisonError::into_inner);
        match &*described {
            Some((known, description)) if Arc::ptr_eq(known, route) => description.clone(),
            _ => {
                let description = Arc::new(match self.medium {
                    Medium::Http => self.http("POST", &route.uri),
                    #[cfg(feature = "websocket")]
                    Medium::Websocket => self.websocket(&route.uri),
                    #[cfg(feature = "grpc")]
                    Medium::GrpcStream(method) | Medium::GrpcUnary(method) => self.rpc(method),
                });
                *described = Some((route.clone(), description.clone()));
                description
            }
        }
    }

    fn http(&self, method: &'static str, uri: &Uri) -> Description {
        let name = format!("{method} {}", uri.path());
        self.described(name.into(), http(method, uri))
    }

    #[cfg(feature = "websocket")]
    fn websocket(&self, uri: &Uri) -> Description {
        let name = KeyValue::new("network.protocol.name", "websocket");
        self.described("websocket send".into(), [url(&self.origin, uri.path()), name])
    }

    fn rpc(&self, method: &'static str) -> Description {
        self.described(bare(method).into(), rpc(method))
    }

    fn named(&self, name: &'static str) -> Description {
        self.described(name.into(), [])
    }

    fn described<const N: usize>(
        &self,
        name: Cow<'static, str>,
        own: [KeyValue; N],
    ) -> Description {
        Description { name, attributes: self.common.iter().cloned().chain(own).collect() }
    }
}

/// The attributes of a request over HTTP.
fn http(method: &'static str, uri: &Uri) -> [KeyValue; 3] {
    let authority = uri.authority().map_or("", Authority::as_str);
    let origin = format!("{}://{authority}", uri.scheme_str().unwrap_or("http"));
    [
        KeyValue::new("http.request.method", method),
        url(&origin, uri.path()),
        KeyValue::new("network.protocol.version", "1.1"),
    ]
}

/// The method without the slash with which HTTP/2 has it.
fn bare(method: &'static str) -> &'static str {
    method.trim_start_matches('/')
}

/// The attributes of a gRPC call.
fn rpc(method: &'static str) -> [KeyValue; 3] {
    [
        KeyValue::new("rpc.system.name", "grpc"),
        KeyValue::new("rpc.method", bare(method)),
        KeyValue::new("network.protocol.version", "2"),
    ]
}

fn status_code(status: StatusCode) -> KeyValue {
    KeyValue::new("http.response.status_code", i64::from(status.as_u16()))
}

/// The URL without user information, and without the query, which may hold a secret or a document.
fn url(origin: &str, path: &str) -> KeyValue {
    KeyValue::new("url.full", shared(&format!("{origin}{path}")))
}

/// A text that many spans share.
fn shared(text: &str) -> Arc<str> {
    Arc::from(text)
}

/// The trace of an attempt; a cheap clone.
#[derive(Clone, Default)]
pub(crate) struct AttemptTrace(Option<Arc<Attempt>>);

struct Attempt {
    /// `None` if nothing is recorded.
    span: Option<Mutex<BoxedSpan>>,
    headers: Headers,
    is_http: AtomicBool,
    has_ended: AtomicBool,
}

/// The headers that an attempt sends.
enum Headers {
    /// Headers with the call's context.
    Shared(Arc<HeaderMap>),
    /// The call's headers, to which the attempt's context is added when it is asked for.
    Own(Arc<Writer>, OnceLock<Arc<HeaderMap>>),
}

impl Attempt {
    fn span(&self) -> Option<MutexGuard<'_, BoxedSpan>> {
        Some(self.span.as_ref()?.lock().unwrap_or_else(PoisonError::into_inner))
    }

    fn span_context(&self) -> SpanContext {
        self.span().map_or(SpanContext::NONE, |span| span.span_context().clone())
    }
}

impl Drop for Attempt {
    /// Ends the span of an attempt that was dropped before its end.
    fn drop(&mut self) {
        if let Some(span) = &mut self.span
            && !*self.has_ended.get_mut()
        {
            let span = span.get_mut().unwrap_or_else(PoisonError::into_inner);
            span.set_attribute(KeyValue::new("error.type", ErrorKind::Cancelled.name()));
            span.set_status(Status::error("the attempt was dropped before its end"));
            quietly(|| span.end());
        }
    }
}

impl AttemptTrace {
    /// Returns the headers to send instead of the call's: the call's, with the trace's context.
    pub(crate) fn headers(&self) -> Option<&Arc<HeaderMap>> {
        let attempt = self.0.as_deref()?;
        match &attempt.headers {
            Headers::Shared(headers) => Some(headers),
            Headers::Own(writer, with) => {
                Some(with.get_or_init(|| writer.of(&attempt.span_context())))
            }
        }
    }

    /// Adds the headers of the trace's context to those of a request, which spares a copy.
    pub(crate) fn add_to(&self, headers: &mut HeaderMap) {
        let Some(attempt) = self.0.as_deref() else { return };
        match &attempt.headers {
            Headers::Own(writer, _) => writer.add(headers, &attempt.span_context()),
            Headers::Shared(shared) => {
                for (name, value) in &**shared {
                    headers.entry(name).or_insert_with(|| value.clone());
                }
            }
        }
    }

    /// Returns the attempt and its span, if it is recorded.
    fn attempt(&self) -> Option<(&Attempt, MutexGuard<'_, BoxedSpan>)> {
        let attempt = self.0.as_deref()?;
        Some((attempt, attempt.span()?))
    }

    fn event(&self, name: &'static str, attributes: Vec<KeyValue>) {
        if let Some((_, mut span)) = self.attempt() {
            span.add_event(name, attributes);
        }
    }

    /// The attempt asks with a GET of this URL.
    pub(crate) fn gets(&self, uri: &Uri) {
        if let Some((attempt, mut span)) = self.attempt() {
            attempt.is_http.store(true, Ordering::Relaxed);
            span.set_attributes(http("GET", uri));
        }
    }

    /// The attempt asks by a gRPC call of this method, `/service/method`.
    #[cfg(feature = "grpc")]
    pub(crate) fn calls(&self, method: &'static str) {
        if let Some((_, mut span)) = self.attempt() {
            span.set_attributes(rpc(method));
        }
    }

    /// An answer over HTTP came with this status.
    pub(crate) fn http_status(&self, status: StatusCode) {
        if let Some((_, mut span)) = self.attempt() {
            span.set_attribute(status_code(status));
        }
    }

    /// The attempt has opened a connection in the place of a lost one.
    #[cfg(any(feature = "grpc", feature = "websocket"))]
    pub(crate) fn reconnected(&self) {
        self.event("clientlet.reconnect", Vec::new());
    }

    /// The attempt goes alone, on a connection of its own.
    pub(crate) fn isolated(&self) {
        self.event("clientlet.isolation", Vec::new());
    }

    /// The attempt begins anew.
    pub(crate) fn anew(&self, error: &AttemptError) {
        if self.attempt().is_some() {
            let why = KeyValue::new("exception.message", error.message.clone());
            self.event("clientlet.anew", vec![why]);
        }
    }

    /// Another attempt follows after this wait.
    pub(crate) fn again(&self, wait: Duration, error: &AttemptError) {
        if self.attempt().is_some() {
            let wait = KeyValue::new("clientlet.wait", wait.as_secs_f64());
            if error.retry_after.is_some() {
                self.event("clientlet.throttled", vec![wait.clone()]);
            }
            self.event("clientlet.retry", vec![wait]);
        }
    }

    pub(in crate::telemetry) fn answered(&self) {
        if let Some((attempt, mut span)) = self.attempt() {
            attempt.has_ended.store(true, Ordering::Relaxed);
            quietly(|| span.end());
        }
    }

    pub(in crate::telemetry) fn failed(&self, error: &AttemptError) {
        let Some((attempt, mut span)) = self.attempt() else { return };
        let is_http = attempt.is_http.load(Ordering::Relaxed);
        if let Some(status) = error.detail.http.filter(|_| is_http) {
            span.set_attribute(status_code(status));
        }
        if let Some(code) = error.detail.grpc {
            span.set_attribute(KeyValue::new("rpc.response.status_code", code.to_string()));
        }
        span.set_attributes([
            KeyValue::new("error.type", error.kind.name()),
            KeyValue::new("clientlet.delivery", error.delivery.to_string()),
        ]);
        span.set_status(Status::error(error.message.clone()));
        attempt.has_ended.store(true, Ordering::Relaxed);
        quietly(|| span.end());
    }
}

impl fmt::Debug for AttemptTrace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AttemptTrace").field(&self.0.is_some()).finish()
    }
}
