//! One error for everything that can go wrong, and what it says about delivery.

mod attempt;
mod cause;
mod detail;
mod event;
mod grpc_code;
mod hint;
mod kind;

use std::fmt;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderMap, StatusCode};
use serde::de::DeserializeOwned;

#[cfg(feature = "grpc")]
pub(crate) use attempt::Failed;
pub(crate) use attempt::{Again, AttemptError};
pub(crate) use cause::{Chain, keep};
pub(crate) use detail::Detail;
#[cfg(test)]
pub(crate) use event::EVENTS;
pub(crate) use event::Event;
pub use grpc_code::GrpcCode;
pub use hint::Hint;
pub use kind::{Delivery, ErrorKind};

use crate::foreign::{one_line, shorten};
use crate::message::Exception;
use crate::response::Response;
use crate::unanswered::Unanswered;

/// One attempt of a request that did not succeed.
#[non_exhaustive]
#[derive(Clone, Debug)]
pub struct Attempt {
    /// 1 for the first sending.
    pub number: u32,
    /// The address that it was sent to, without user information and query.
    pub gateway: String,
    /// When it began, counted from the beginning of the request.
    pub started: Duration,
    /// How long it took.
    pub took: Duration,
    /// What went wrong.
    pub kind: ErrorKind,
    /// Whether it reached the gateway.
    pub delivery: Delivery,
    /// What went wrong, in words.
    pub message: String,
}

/// Why a request, or a setting, failed.
///
/// [`kind`](Error::kind) says what happened, [`delivery`](Error::delivery) whether the request
/// reached the gateway, and [`may_have_run`](Error::may_have_run) whether it is safe to send it
/// again where running twice would harm. `Display` is one line; the cause below it, if there is
/// one, is the error's source.
#[derive(Clone)]
pub struct Error(Box<Inner>);

#[derive(Clone)]
struct Inner {
    kind: ErrorKind,
    delivery: Delivery,
    is_retryable: bool,
    may_have_run: bool,
    message: String,
    context: Context,
    detail: Detail,
    retry_after: Option<Duration>,
    attempts: Vec<Attempt>,
    elapsed: Duration,
    exception: Option<Exception>,
    response: Option<Response>,
    unanswered: Option<Unanswered>,
    source: Option<SharedSource>,
}

/// Whatever lies below an error of ours.
pub(crate) type Source = Box<dyn std::error::Error + Send + Sync>;
/// The cause that the errors of several requests share.
pub(crate) type SharedSource = Arc<dyn std::error::Error + Send + Sync>;

/// Where an error happened.
#[derive(Clone, Default)]
pub(crate) struct Context {
    /// `http`, `ws`, `grpc`.
    pub(crate) protocol: Option<&'static str>,
    /// The gateway's address, without user information and query.
    pub(crate) gateway: Option<String>,
    pub(crate) request_id: Option<String>,
    pub(crate) documents: Option<Range<u64>>,
}

impl Context {
    /// Prepares the context for display: a gateway may have made the id.
    fn shown(mut self) -> Context {
        self.request_id = self.request_id.map(|id| shorten(&id));
        self
    }
}

impl Error {
    /// An error that no request was made for.
    pub(crate) fn new(kind: ErrorKind, message: impl Into<String>) -> Error {
        Error(Box::new(Inner {
            kind,
            delivery: Delivery::NotSent,
            is_retryable: false,
            may_have_run: false,
            message: one_line(message.into()),
            context: Context::default(),
            detail: Detail::default(),
            retry_after: None,
            attempts: Vec::new(),
            elapsed: Duration::ZERO,
            exception: None,
            response: None,
            unanswered: None,
            source: None,
        }))
    }

    pub(crate) fn config(message: impl Into<String>) -> Error {
        Error::new(ErrorKind::Config, message)
    }

    /// An answer came and ran, but cannot be read.
    pub(crate) fn decode(message: impl Into<String>) -> Error {
        let mut error = Error::new(ErrorKind::Decode, message);
        error.0.delivery = Delivery::Answered;
        error.0.may_have_run = true;
        error
    }

    /// The error of a request whose last attempt ended in `last`, after those of `earlier`, which
    /// includes the last.
    pub(crate) fn of_request(
        last: AttemptError,
        attempts: Vec<Attempt>,
        ran_before: bool,
        context: Context,
        elapsed: Duration,
    ) -> Error {
        let last = *last.0;
        if let (true, Some(protocol)) = (attempts.is_empty(), context.protocol) {
            last.event.tell(protocol);
        }
        let hint = last.detail.hint.or_else(|| Hint::of(last.event, &last.detail));
        let delivery =
            attempts.iter().fold(last.delivery, |joined, attempt| joined.join(attempt.delivery));
        let count = u32::try_from(attempts.len()).unwrap_or(u32::MAX);
        let response = last.answer.map(|answer| match (&context.request_id, &context.documents) {
            (Some(id), Some(documents)) => {
                Response::new(answer, id.clone(), documents.clone(), count, elapsed)
            }
            _ => Response::alone(answer),
        });
        Error(Box::new(Inner {
            kind: last.kind,
            delivery,
            is_retryable: last.retryable,
            may_have_run: last.may_have_run || ran_before,
            message: one_line(last.message),
            detail: Detail { hint, ..last.detail },
            retry_after: last.retry_after,
            attempts,
            elapsed,
            exception: last.exception,
            response,
            unanswered: None,
            context: context.shown(),
            source: last.source,
        }))
    }

    /// Marks an error after which the same question may have another answer.
    pub(crate) fn retryable(mut self) -> Error {
        self.0.is_retryable = true;
        self
    }

    pub(crate) fn with_exception(mut self, exception: Option<Exception>) -> Error {
        self.0.exception = exception;
        self
    }

    pub(crate) fn with_documents(mut self, unanswered: Option<Unanswered>) -> Error {
        self.0.unanswered = unanswered;
        self
    }

    pub(crate) fn with_context(mut self, context: Context) -> Error {
        self.0.context = context.shown();
        self
    }

    /// What went wrong.
    pub fn kind(&self) -> ErrorKind {
        self.0.kind
    }

    /// Whether the request reached the gateway: the least certain answer over all its attempts.
    pub fn delivery(&self) -> Delivery {
        self.0.delivery
    }

    /// Whether an executor may have worked on the request: true where its delivery is unknown,
    /// after an executor's exception and after a time-out of the gateway (504); false where nothing
    /// was sent and where the gateway refused before running anything (404, 408, 422, 429). A 408
    /// counts as a refusal although its kind is a time-out, because a server answers 408 when the
    /// request did not arrive in time.
    pub fn may_have_run(&self) -> bool {
        self.0.may_have_run
    }

    /// What went wrong, in words, without where.
    pub fn message(&self) -> &str {
        &self.0.message
    }

    /// The protocol that was spoken: `http`.
    pub fn protocol(&self) -> Option<&'static str> {
        self.0.context.protocol
    }

    /// The gateway's address, without user information and query.
    pub fn gateway(&self) -> Option<&str> {
        self.0.context.gateway.as_deref()
    }

    /// The id of the request that failed.
    pub fn request_id(&self) -> Option<&str> {
        self.0.context.request_id.as_deref()
    }

    /// Which documents of the call the request carried, counted from 0 in the order of the input.
    pub fn input(&self) -> Option<Range<u64>> {
        self.0.context.documents.clone()
    }

    /// Whether another attempt may succeed, as the table in `docs/guarantees.md` says for each
    /// failure; `false` if the gateway asked for no other attempt. Whether another attempt does harm
    /// is a different question: see [`may_have_run`](Error::may_have_run).
    pub fn is_retryable(&self) -> bool {
        self.0.is_retryable
    }

    /// How long the gateway, or a proxy before it, asked to wait before another attempt, on any
    /// protocol.
    pub fn retry_after(&self) -> Option<Duration> {
        self.0.retry_after
    }

    /// The documents of the request that failed, read into `T`, if the call
    /// [keeps](crate::Post::keep_documents) them. `None` if it does not, and for a document that could
    /// not be encoded.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`], naming the document and the field that do not fit `T`.
    pub fn documents<T: DeserializeOwned>(&self) -> Option<Result<Vec<T>, Error>> {
        let unanswered = self.0.unanswered.as_ref()?;
        Some(unanswered.documents().map_err(|what| {
            let what = format!("the documents of the request do not fit: {what}");
            Error::new(ErrorKind::Decode, what).with_context(self.0.context.clone())
        }))
    }

    /// The HTTP status with which the last attempt was answered. Over WebSocket it is the status of
    /// the answer to the upgrade; over gRPC there is one if it was not 200, mostly a proxy's.
    pub fn http_status(&self) -> Option<StatusCode> {
        self.0.detail.http
    }

    /// The gRPC status code with which the last attempt was answered. `None` if the gateway sent no
    /// status, because the connection was lost, for example.
    pub fn grpc_code(&self) -> Option<GrpcCode> {
        self.0.detail.grpc
    }

    /// The code of the close frame by which the gateway ended the WebSocket.
    pub fn close_code(&self) -> Option<u16> {
        self.0.detail.close
    }

    /// The headers of the answer that the last attempt failed with. Over gRPC it is the metadata
    /// that came with the status.
    pub fn headers(&self) -> Option<&HeaderMap> {
        self.0.detail.headers.as_deref()
    }

    /// What may help, if the client can tell. There is a hint for:
    ///
    /// * the port of another protocol, of TLS or without TLS
    /// * a certificate of the server that has expired, is for another name or is not trusted, and a
    ///   client certificate that the server wants
    /// * a proxy that does not connect, or that wants credentials
    /// * credentials that the gateway wants (401, 403, and gRPC's codes for them)
    /// * a request or an answer that is too large
    /// * a gateway that does not show what it speaks, a wrong path, and an endpoint that the gateway
    ///   does not list or that gives no stream
    ///
    /// `None` for all other errors: an executor's exception, a time-out, a refused connection, an
    /// unknown host, or a document that cannot be encoded. What these errors say is in
    /// [`kind`](Error::kind) and [`message`](Error::message).
    pub fn hint(&self) -> Option<Hint> {
        self.0.detail.hint
    }

    /// All attempts in order; the last one is what this error reports. An attempt that the gateway
    /// did not see, and that began anew on another connection, counts as one.
    pub fn attempts(&self) -> &[Attempt] {
        &self.0.attempts
    }

    /// From the first attempt to the end.
    pub fn elapsed(&self) -> Duration {
        self.0.elapsed
    }

    /// The executor's exception, for [`ErrorKind::Executor`] and wherever else the gateway names
    /// one.
    pub fn exception(&self) -> Option<&Exception> {
        self.0.exception.as_ref()
    }

    /// The answer that carried the failure; its documents are those that came back with it.
    pub fn response(&self) -> Option<&Response> {
        self.0.response.as_ref()
    }

    /// Whether this is a time-out, the gateway's own included.
    pub fn is_timeout(&self) -> bool {
        self.kind() == ErrorKind::Timeout
    }

    /// Whether an executor raised an exception.
    pub fn is_executor(&self) -> bool {
        self.kind() == ErrorKind::Executor
    }

    /// Whether no connection could be made.
    pub fn is_connect(&self) -> bool {
        self.kind() == ErrorKind::Connect
    }

    /// Whether the gateway does not have what was asked for.
    pub fn is_not_found(&self) -> bool {
        self.kind() == ErrorKind::NotFound
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let inner = &self.0;
        f.write_str(&inner.message)?;
        let mut clauses = Clauses::new(f);
        if let Some(gateway) = &inner.context.gateway {
            clauses.add(format_args!("gateway {gateway}"))?;
        }
        if let Some(id) = &inner.context.request_id {
            clauses.add(format_args!("request {id}"))?;
        }
        if let Some(documents) = &inner.context.documents {
            match documents.end - documents.start {
                1 => clauses.add(format_args!("document {}", documents.start))?,
                _ => clauses.add(format_args!("documents {documents:?}"))?,
            }
        }
        if inner.attempts.len() > 1 {
            let (count, elapsed) = (inner.attempts.len(), inner.elapsed.as_secs_f64());
            clauses.add(format_args!("{count} attempts in {elapsed:.1} s"))?;
        }
        clauses.close()
    }
}

/// Writes `(a, b)` behind a message, and nothing when there is nothing to say.
struct Clauses<'a, 'f> {
    f: &'a mut fmt::Formatter<'f>,
    open: bool,
}

impl<'a, 'f> Clauses<'a, 'f> {
    fn new(f: &'a mut fmt::Formatter<'f>) -> Self {
        Clauses { f, open: false }
    }

    fn add(&mut self, clause: fmt::Arguments<'_>) -> fmt::Result {
        self.f.write_str(if self.open { ", " } else { " (" })?;
        self.open = true;
        self.f.write_fmt(clause)
    }

    fn close(self) -> fmt::Result {
        if self.open { self.f.write_str(")") } else { Ok(()) }
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Error")
            .field("kind", &self.0.kind)
            .field("delivery", &self.0.delivery)
            .field("may_have_run", &self.0.may_have_run)
            .field("message", &self.0.message)
            .field("gateway", &self.0.context.gateway)
            .field("request_id", &self.0.context.request_id)
            .field("documents", &self.0.context.documents)
            .field("attempts", &self.0.attempts)
            .field("source", &std::error::Error::source(self).map(Chain))
            .finish_non_exhaustive()
    }
}

impl std::error::Error for Error {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.0.source.as_deref().map(|source| source as _)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_is_one_word_wide() {
        assert_eq!(size_of::<Error>(), size_of::<usize>());
    }

    #[test]
    fn an_unknown_attempt_makes_the_request_unknown_even_if_the_last_was_not_sent() {
        let earlier = Attempt {
            gateway: "http://gateway".to_owned(),
            number: 1,
            started: Duration::ZERO,
            took: Duration::ZERO,
            kind: ErrorKind::Transport,
            delivery: Delivery::Unknown,
            message: "reset".into(),
        };
        let last = AttemptError::new(Event::ConnectFailed, "refused");
        let error =
            Error::of_request(last, vec![earlier], true, Context::default(), Duration::ZERO);
        assert_eq!(error.kind(), ErrorKind::Connect);
        assert_eq!(error.delivery(), Delivery::Unknown);
        assert!(error.may_have_run());
    }

    #[test]
    fn whatever_a_gateway_sends_an_error_stays_on_one_line() {
        let last = AttemptError::new(Event::ExecutorFailed, "a\nb\u{1b}c");
        let error = Error::of_request(last, Vec::new(), false, Context::default(), Duration::ZERO);
        let context = Context { request_id: Some("r\nx".into()), ..Context::default() };
        let decode = Error::decode("tags.a\nb: number out of range").with_context(context);
        assert_eq!(error.to_string(), "a b\\u{1b}c");
        assert_eq!(decode.to_string(), "tags.a b: number out of range (request r x)");
    }

    #[test]
    fn display_is_one_line_without_its_source() {
        let last = AttemptError::new(Event::ConnectFailed, "connection refused")
            .with_source(std::io::Error::other("below"));
        let context = Context { request_id: Some("a-1".into()), ..Context::default() };
        let error = Error::of_request(last, Vec::new(), false, context, Duration::ZERO);
        assert_eq!(error.to_string(), "connection refused (request a-1)");
        assert_eq!(std::error::Error::source(&error).unwrap().to_string(), "below");
    }
}
