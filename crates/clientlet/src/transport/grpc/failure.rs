//! Classifies the ends of calls.

use std::error::Error as _;
use std::sync::Arc;

use h2::Reason;
use tonic::Status;

use super::super::multiplex::Ending;
use super::channel::{Channel, ChannelError};
use super::status::Told;
use crate::error::{Again, AttemptError, Detail, Event, GrpcCode, Hint};
use crate::foreign::shorten;

/// The call to which a status belongs.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport) enum Scope {
    /// A call of one request.
    Request,
    /// A stream of many requests. It is unknown which request caused the status.
    Stream,
}

/// The failure of a call.
#[derive(Debug)]
pub(super) struct Failure {
    pub(super) event: Event,
    /// The failure in words.
    pub(super) what: String,
    /// The gRPC status, or the equivalent code.
    pub(super) code: GrpcCode,
    /// The message of the gateway's status, if it sent one.
    pub(super) said: Option<String>,
    again: Again,
    detail: Detail,
    source: Option<Arc<hyper::Error>>,
}

/// Returns the failure of a unary call for its request.
pub(super) fn failed(status: &Status, channel: &Channel, is_sent: bool) -> AttemptError {
    of_request(read(status, channel, Scope::Request), channel, is_sent)
}

/// Like `failed`, for a call that did not go through tonic.
pub(super) fn caused(cause: &ChannelError, channel: &Channel, is_sent: bool) -> AttemptError {
    of_request(read_cause(cause, channel, Scope::Request), channel, is_sent)
}

fn of_request(mut failure: Failure, channel: &Channel, is_sent: bool) -> AttemptError {
    // If the client's side ended the call, it was unsent as long as no byte of it was asked for.
    if failure.said.is_none() && !is_sent && failure.event == Event::StreamDropped {
        failure.event = match channel.spoken().is_known() {
            true => Event::ClosedUnsent,
            false => Event::ClosedFresh,
        };
    }
    let error = AttemptError::new(failure.event, failure.what).asking(failure.again);
    let error = error.with_detail(failure.detail);
    match failure.source {
        Some(source) => error.with_source(source),
        None => error,
    }
}

/// Returns the error of a request for a recorded status.
#[cfg(test)]
pub(in crate::transport) fn recorded(code: u32, details: &str, scope: Scope) -> AttemptError {
    let code = GrpcCode::of_number(code);
    let cause = ChannelError::Told(Told::of(code, details));
    let failure = of_cause(&cause, scope);
    AttemptError::new(failure.event, failure.what)
}

/// Returns the failure of a stream for its requests.
pub(super) fn ending(status: &Status, channel: &Channel) -> Ending {
    let failure = read(status, channel, Scope::Stream);
    let Failure { event, what, again, detail, code, said, .. } = failure;
    let is_fault = matches!(event, Event::StreamOversize | Event::StreamGarbled | Event::NotGrpc);
    let reason = said.unwrap_or_else(|| what.clone());
    let ending = Ending::new(event, what).asking(again).with_detail(detail);
    ending.with_code(code.number()).with_reason(reason).at_fault(is_fault)
}

/// Classifies the end of a call.
pub(super) fn read(status: &Status, channel: &Channel, scope: Scope) -> Failure {
    let cause = status.source().and_then(|source| source.downcast_ref());
    match cause {
        Some(cause) => read_cause(cause, channel, scope),
        None => of_tonic(status, scope),
    }
}

fn read_cause(cause: &ChannelError, channel: &Channel, scope: Scope) -> Failure {
    if let Some(what) = channel.spoken().refusal() {
        channel.suspect();
        return Failure { event: Event::TlsFailed, what, ..of_cause(cause, scope) };
    }
    match cause {
        ChannelError::Lost(_) if channel.spoken().is_http1() => {
            channel.suspect();
            not_grpc(Hint::PortForHttpOrWebsocket, of_cause(cause, scope))
        }
        ChannelError::Lost(_) if channel.spoken().is_tls() => {
            channel.suspect();
            not_grpc(Hint::PortForTls, of_cause(cause, scope))
        }
        ChannelError::Lost(_) => {
            channel.suspect();
            let mut failure = of_cause(cause, scope);
            // If a GOAWAY does not concern a stream, h2 reports only the end of the connection to
            // the stream.
            if let Some(goaway) = channel.goaway() {
                failure.what = format!("the connection was lost: {goaway}");
            }
            failure
        }
        ChannelError::Cut(_) | ChannelError::NotGrpc(_) => {
            channel.suspect();
            of_cause(cause, scope)
        }
        ChannelError::Unprocessed(_)
        | ChannelError::Told(_)
        | ChannelError::Http(..)
        | ChannelError::Unreadable(_)
        | ChannelError::TooLarge { .. } => of_cause(cause, scope),
    }
}

/// Returns the failure at a port for another protocol.
fn not_grpc(seems: Hint, failure: Failure) -> Failure {
    let (what, detail) = (seems.found(), Detail::of_hint(seems));
    Failure { event: Event::NotGrpc, what, detail, ..failure }
}

fn of_cause(cause: &ChannelError, scope: Scope) -> Failure {
    let event = match cause {
        ChannelError::Lost(_) | ChannelError::Cut(_) => Event::StreamDropped,
        ChannelError::Unprocessed(_) => Event::Unprocessed,
        ChannelError::Told(Told { code, message, .. }) => event(*code, message, scope),
        ChannelError::Http(refusal) => Event::of_status(refusal.status.as_u16()),
        ChannelError::NotGrpc(_) => Event::NotGrpc,
        ChannelError::Unreadable(_) => unreadable(scope),
        ChannelError::TooLarge { .. } => too_large(scope),
    };
    let failure = Failure {
        event,
        what: cause.to_string(),
        code: code(cause),
        said: None,
        again: Again::Unsaid,
        detail: Detail::default(),
        source: None,
    };
    match cause {
        ChannelError::Lost(source) | ChannelError::Unprocessed(source) => {
            Failure { source: Some(source.clone()), ..failure }
        }
        ChannelError::Told(Told { code, message, again, http, metadata }) => {
            let hint = Hint::of_grpc(*code, message);
            let (grpc, headers) = (Some(*code), Some(metadata.clone()));
            let detail = Detail { http: *http, grpc, headers, hint, ..Detail::default() };
            Failure { said: Some(message.clone()), again: *again, detail, ..failure }
        }
        ChannelError::Http(refusal) => {
            let again = refusal.again;
            Failure { again, detail: Detail::of_http(refusal.status, &refusal.headers), ..failure }
        }
        ChannelError::TooLarge { .. } => {
            Failure { detail: Detail::of_hint(Hint::AnswerTooLarge), ..failure }
        }
        ChannelError::Cut(_) | ChannelError::NotGrpc(_) | ChannelError::Unreadable(_) => failure,
    }
}

/// Returns the status code, or the code that gRPC defines for the failure.
fn code(cause: &ChannelError) -> GrpcCode {
    match cause {
        ChannelError::Told(Told { code, .. }) => *code,
        ChannelError::Unprocessed(_) => GrpcCode::Unavailable,
        ChannelError::Lost(error) => code_of_loss(error),
        ChannelError::Http(refusal) => match refusal.status.as_u16() {
            400 => GrpcCode::Internal,
            401 => GrpcCode::Unauthenticated,
            403 => GrpcCode::PermissionDenied,
            404 => GrpcCode::Unimplemented,
            429 | 502..=504 => GrpcCode::Unavailable,
            _ => GrpcCode::Unknown,
        },
        ChannelError::Unreadable(_) => GrpcCode::Internal,
        ChannelError::TooLarge { .. } => GrpcCode::OutOfRange,
        ChannelError::Cut(_) | ChannelError::NotGrpc(_) => GrpcCode::Unknown,
    }
}

/// Returns the gRPC code for the HTTP/2 code with which a stream was reset. A lost connection is
/// UNAVAILABLE.
fn code_of_loss(error: &hyper::Error) -> GrpcCode {
    let reset = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    match reset.filter(|error| error.is_reset()).and_then(h2::Error::reason) {
        None | Some(Reason::REFUSED_STREAM) => GrpcCode::Unavailable,
        Some(Reason::CANCEL) => GrpcCode::Cancelled,
        Some(Reason::ENHANCE_YOUR_CALM) => GrpcCode::ResourceExhausted,
        Some(Reason::INADEQUATE_SECURITY) => GrpcCode::PermissionDenied,
        Some(_) => GrpcCode::Internal,
    }
}

/// tonic's message for a message beyond its limit. tonic has no other sign for it.
const TOO_LARGE: &str = "Error, decoded message length too large";

/// Classifies tonic's own finding about the answer: a message that is too large or malformed, or no
/// message at all. tonic reports it with the same statuses that a gateway uses, but the gateway did
/// not send them.
fn of_tonic(status: &Status, scope: Scope) -> Failure {
    let message = shorten(status.message());
    let (event, what) = match message.starts_with(TOO_LARGE) {
        true => (too_large(scope), "an answer is larger than the limit"),
        false => (unreadable(scope), "the answer cannot be read"),
    };
    let is_large = matches!(event, Event::TooLarge | Event::StreamOversize);
    let hint = is_large.then_some(Hint::AnswerTooLarge);
    let detail = Detail { hint, ..Detail::default() };
    Failure {
        event,
        what: format!("{what}: {message}"),
        code: GrpcCode::of_number(u32::try_from(i32::from(status.code())).unwrap_or(u32::MAX)),
        said: None,
        again: Again::Unsaid,
        detail,
        source: None,
    }
}

fn too_large(scope: Scope) -> Event {
    match scope {
        Scope::Request => Event::TooLarge,
        Scope::Stream => Event::StreamOversize,
    }
}

fn unreadable(scope: Scope) -> Event {
    match scope {
        Scope::Request => Event::Unreadable,
        Scope::Stream => Event::StreamGarbled,
    }
}

/// Classifies a status that a gateway sent.
fn event(code: GrpcCode, message: &str, scope: Scope) -> Event {
    let names_deployment = message.contains("deployment");
    match code {
        GrpcCode::Unavailable if names_deployment => Event::GrpcOutage,
        // The form of an outage on a stream of documents.
        GrpcCode::Unknown if message.contains("InternalNetworkError") => Event::GrpcOutage,
        GrpcCode::DeadlineExceeded if names_deployment => Event::GrpcTimeout,
        GrpcCode::DeadlineExceeded => Event::TimedOut,
        GrpcCode::Unavailable | GrpcCode::Cancelled => Event::StreamDropped,
        GrpcCode::ResourceExhausted => Event::GrpcExhausted,
        GrpcCode::Aborted => Event::GrpcAborted,
        GrpcCode::Unimplemented | GrpcCode::NotFound => Event::GrpcUnimplemented,
        GrpcCode::InvalidArgument
        | GrpcCode::AlreadyExists
        | GrpcCode::PermissionDenied
        | GrpcCode::FailedPrecondition
        | GrpcCode::OutOfRange
        | GrpcCode::Unauthenticated => Event::GrpcRefused,
        GrpcCode::Ok | GrpcCode::Unknown | GrpcCode::Internal | GrpcCode::DataLoss => match scope {
            Scope::Request if code == GrpcCode::Unknown && is_gateways_fault(message) => {
                Event::GrpcBroken
            }
            Scope::Request => Event::GrpcFailed,
            Scope::Stream => Event::StreamFailed,
        },
    }
}

/// Whether the details of UNKNOWN report an exception in the gateway itself that the request did
/// not cause. (Executors' exceptions come as answers.) A gateway that is shutting down raises the
/// exceptions of its closed parts: `UsageError`, `TypeError`, `AttributeError`.
fn is_gateways_fault(details: &str) -> bool {
    let Some(exception) = details.strip_prefix("Unexpected <class '") else { return false };
    let class = exception.split('\'').next().unwrap_or_default();
    !REQUESTS_FAULTS.iter().any(|name| class.ends_with(name))
}

/// The exceptions that a gateway raises for requests that it cannot read: malformed protobuf, or a
/// target that is not a regular expression.
const REQUESTS_FAULTS: [&str; 3] = ["DecodeError", "re.error", "re.PatternError"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_outage_is_told_from_a_lost_stream_by_the_name_of_a_deployment() {
        let down = "failed to connect to all addresses |Gateway: Communication error with \
                    deployment at address(es) {'0.0.0.0:5'}. Head or worker(s) may be down.";
        assert_eq!(event(GrpcCode::Unavailable, down, Scope::Stream), Event::GrpcOutage);
        let slow = down;
        let down = "Unexpected <class 'jina.excepts.InternalNetworkError'>: failed to connect";
        assert_eq!(event(GrpcCode::Unknown, down, Scope::Request), Event::GrpcOutage);
        assert_eq!(event(GrpcCode::Unavailable, "gone", Scope::Stream), Event::StreamDropped);
        assert_eq!(event(GrpcCode::DeadlineExceeded, slow, Scope::Stream), Event::GrpcTimeout);
        assert_eq!(event(GrpcCode::DeadlineExceeded, "late", Scope::Request), Event::TimedOut);
    }

    #[test]
    fn a_failure_of_one_request_is_retried_only_if_another_request_may_be_at_fault() {
        for code in [GrpcCode::Unknown, GrpcCode::Internal, GrpcCode::DataLoss] {
            assert!(!event(code, "", Scope::Request).row().retryable, "{code:?}");
            assert!(event(code, "", Scope::Stream).row().retryable, "{code:?}");
        }
    }

    #[test]
    fn an_exception_in_the_gateway_is_retried_unless_the_request_caused_it() {
        for (details, is_broken) in [
            ("Unexpected <class 'grpc._cython.cygrpc.UsageError'>: Channel is closed.", true),
            ("Unexpected <class 'TypeError'>: object NoneType can't be used in 'await'", true),
            ("Unexpected <class 're.error'>: missing ), unterminated subpattern", false),
            ("Unexpected <class 'google.protobuf.message.DecodeError'>: Error parsing", false),
            ("something else", false),
        ] {
            let expected = if is_broken { Event::GrpcBroken } else { Event::GrpcFailed };
            assert_eq!(event(GrpcCode::Unknown, details, Scope::Request), expected, "{details}");
            // The request at fault is found when each request goes alone.
            assert_eq!(event(GrpcCode::Unknown, details, Scope::Stream), Event::StreamFailed);
            assert_eq!(event(GrpcCode::Internal, details, Scope::Request), Event::GrpcFailed);
        }
    }

    #[test]
    fn findings_of_tonic_are_not_reported_as_the_gateways_status() {
        for status in [
            Status::unimplemented("Content is compressed with `gzip` which isn't supported"),
            Status::internal("the call ended without an answer"),
            Status::internal("protocol error: received message with invalid compression flag: 7"),
            Status::unknown("protocol error: missing grpc-status trailer"),
        ] {
            for (scope, event) in
                [(Scope::Request, Event::Unreadable), (Scope::Stream, Event::StreamGarbled)]
            {
                let failure = of_tonic(&status, scope);
                assert_eq!((failure.event, failure.said), (event, None));
                assert!(event.row().may_have_run && !failure.what.contains("the gateway answered"));
            }
        }
        let status = Status::out_of_range(format!("{TOO_LARGE}: found 9 bytes"));
        assert_eq!(of_tonic(&status, Scope::Request).event, Event::TooLarge);
        assert_eq!(of_tonic(&status, Scope::Stream).event, Event::StreamOversize);
        // The same code from a gateway has another meaning.
        assert_eq!(event(GrpcCode::OutOfRange, TOO_LARGE, Scope::Stream), Event::GrpcRefused);
    }
}
