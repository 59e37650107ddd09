//! What gRPC's statuses mean.

use std::error::Error as _;
use std::time::Duration;

use tonic::{Code, Status};

use super::super::multiplex::Ending;
use super::channel::{Channel, ChannelError};
use crate::error::{AttemptError, Event};
use crate::foreign::shorten;

/// How a status came about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::transport) enum Scope {
    /// It is that of one request.
    Request,
    /// It ended a stream of many requests; which of them it is for, if for one, is not known.
    Stream,
}

/// What a status means for a request that had it.
pub(super) fn failed(status: &Status, channel: &Channel, is_sent: bool) -> AttemptError {
    let (mut event, what) = read(status, channel, Scope::Request);
    // What ended on this side ended before it was sent if no byte of it was asked for.
    if status.source().is_some() && !is_sent && event == Event::StreamDropped {
        event = match channel.spoken().is_known() {
            true => Event::ClosedUnsent,
            false => Event::ClosedFresh,
        };
    }
    let mut error = AttemptError::new(event, what);
    error.retry_after = pushback(status);
    match status.source() {
        Some(_) => error.with_source(status.clone()),
        None => error,
    }
}

/// What a recorded status means for a request.
#[cfg(test)]
pub(in crate::transport) fn recorded(code: i32, details: &str, scope: Scope) -> AttemptError {
    let (event, what) = told(Code::from(code), details, scope);
    AttemptError::new(event, what)
}

/// What a status means for the requests of a stream that it ended.
pub(super) fn ending(status: &Status, channel: &Channel) -> Ending {
    let (event, what) = read(status, channel, Scope::Stream);
    Ending::new(event, what).retry_after(pushback(status))
}

/// What happened, and in words.
pub(super) fn read(status: &Status, channel: &Channel, scope: Scope) -> (Event, String) {
    if let Some(source) = status.source() {
        if let Some(error @ ChannelError::Http(status)) = source.downcast_ref() {
            return (Event::of_status(status.as_u16()), error.to_string());
        }
        channel.suspect();
        match source.downcast_ref() {
            Some(ChannelError::NotGrpc(what)) => return (Event::NotGrpc, what.clone()),
            Some(cut @ ChannelError::Cut) => return (Event::StreamDropped, cut.to_string()),
            Some(ChannelError::Http(_) | ChannelError::Lost(_)) | None => {}
        }
        if channel.spoken().is_http1() {
            let what = "HTTP/1.1 is spoken there; is it the gateway's port for HTTP or WebSocket?";
            return (Event::NotGrpc, what.to_owned());
        }
        return (Event::StreamDropped, format!("the connection was lost: {}", chain(source)));
    }
    told(status.code(), status.message(), scope)
}

/// What a gateway told.
fn told(code: Code, message: &str, scope: Scope) -> (Event, String) {
    let message = shorten(message);
    let what = match message.as_str() {
        "" => format!("the gateway answered {}", name(code)),
        message => format!("the gateway answered {}: {message}", name(code)),
    };
    let event = event(code, &message, scope);
    if event == Event::StreamOversize || event == Event::TooLarge {
        return (event, format!("an answer is larger than the limit: {message}"));
    }
    (event, what)
}

/// How tonic says that a message is beyond its limit; it has no other way.
const TOO_LARGE: &str = "Error, decoded message length too large";

fn event(code: Code, message: &str, scope: Scope) -> Event {
    let names_deployment = message.contains("deployment");
    match code {
        Code::OutOfRange if message.starts_with(TOO_LARGE) => match scope {
            Scope::Request => Event::TooLarge,
            Scope::Stream => Event::StreamOversize,
        },
        Code::Unavailable if names_deployment => Event::GrpcOutage,
        // How it shows on a stream of documents.
        Code::Unknown if message.contains("InternalNetworkError") => Event::GrpcOutage,
        Code::DeadlineExceeded if names_deployment => Event::GrpcTimeout,
        Code::DeadlineExceeded => Event::TimedOut,
        Code::Unavailable | Code::Cancelled => Event::StreamDropped,
        Code::ResourceExhausted => Event::GrpcExhausted,
        Code::Aborted => Event::GrpcAborted,
        Code::Unimplemented | Code::NotFound => Event::GrpcUnimplemented,
        Code::InvalidArgument
        | Code::AlreadyExists
        | Code::PermissionDenied
        | Code::FailedPrecondition
        | Code::OutOfRange
        | Code::Unauthenticated => Event::GrpcRefused,
        Code::Ok | Code::Unknown | Code::Internal | Code::DataLoss => match scope {
            Scope::Request => Event::GrpcFailed,
            Scope::Stream => Event::StreamFailed,
        },
    }
}

/// The metadata by which a server asks for a wait, in milliseconds; negative for never again.
const PUSHBACK: &str = "grpc-retry-pushback-ms";

fn pushback(status: &Status) -> Option<Duration> {
    let value = status.metadata().get(PUSHBACK)?.to_str().ok()?;
    value.parse().ok().map(Duration::from_millis)
}

fn name(code: Code) -> String {
    // `Debug` is the name in Rust's spelling; that of the specification is what operators know.
    let mut name = String::new();
    for letter in format!("{code:?}").chars() {
        if letter.is_ascii_uppercase() && !name.is_empty() {
            name.push('_');
        }
        name.push(letter.to_ascii_uppercase());
    }
    name
}

fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    shorten(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_named_as_in_the_specification() {
        assert_eq!(name(Code::DeadlineExceeded), "DEADLINE_EXCEEDED");
        assert_eq!(name(Code::Unknown), "UNKNOWN");
    }

    #[test]
    fn an_outage_is_told_from_a_lost_stream_by_the_deployment_that_is_named() {
        let down = "failed to connect to all addresses |Gateway: Communication error with \
                    deployment at address(es) {'0.0.0.0:5'}. Head or worker(s) may be down.";
        assert_eq!(event(Code::Unavailable, down, Scope::Stream), Event::GrpcOutage);
        let slow = down;
        let down = "Unexpected <class 'jina.excepts.InternalNetworkError'>: failed to connect";
        assert_eq!(event(Code::Unknown, down, Scope::Request), Event::GrpcOutage);
        assert_eq!(event(Code::Unavailable, "gone", Scope::Stream), Event::StreamDropped);
        assert_eq!(event(Code::DeadlineExceeded, slow, Scope::Stream), Event::GrpcTimeout);
        assert_eq!(event(Code::DeadlineExceeded, "late", Scope::Request), Event::TimedOut);
    }

    #[test]
    fn what_fails_one_request_is_tried_again_only_where_it_may_be_anothers_fault() {
        for code in [Code::Unknown, Code::Internal, Code::DataLoss] {
            assert!(!event(code, "", Scope::Request).row().retryable, "{code:?}");
            assert!(event(code, "", Scope::Stream).row().retryable, "{code:?}");
        }
    }

    #[test]
    fn a_pushback_is_milliseconds() {
        let mut status = Status::resource_exhausted("full");
        assert_eq!(pushback(&status), None);
        status.metadata_mut().insert(PUSHBACK, "250".parse().unwrap());
        assert_eq!(pushback(&status), Some(Duration::from_millis(250)));
        status.metadata_mut().insert(PUSHBACK, "-1".parse().unwrap());
        assert_eq!(pushback(&status), None);
    }
}
