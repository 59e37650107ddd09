//! Classifies the ends of calls.

use std::error::Error as _;
use std::time::SystemTime;

use ::http::header::LOCATION;
use ::http::{HeaderMap, StatusCode};
use h2::Reason;

use super::super::multiplex::Ending;
use super::super::redirect::{Unfollowed, describe};
use super::super::retry_after::retry_after;
use super::channel::Channel;
use crate::error::{AttemptError, Chain, Detail, Event, Failed, GrpcCode, Hint, keep};
use crate::foreign::shorten;

fn ended(event: Event, code: GrpcCode, what: impl Into<String>) -> Ending {
    Ending { code: code.number(), ..Ending::new(event, what) }
}

/// The stream was reset, or lost with its connection.
pub(super) fn lost(error: hyper::Error) -> Ending {
    let what = format!("the connection was lost: {}", Chain(&error));
    let ending = ended(Event::StreamDropped, code_of_loss(&error), what);
    Ending { source: Some(keep(error.into())), ..ending }
}

/// The end of a request to which nothing has come back.
pub(super) fn unanswered(error: hyper::Error) -> Ending {
    let cause = error.source().and_then(|source| source.downcast_ref::<h2::Error>());
    if !cause.is_some_and(is_proof_of_idleness) {
        return lost(error);
    }
    let what = format!("the gateway did not take the request: {}", Chain(&error));
    let ending = ended(Event::Unprocessed, GrpcCode::Unavailable, what);
    Ending { source: Some(keep(error.into())), ..ending }
}

/// Whether a stream ended with proof that it was not processed, as RFC 9113 (8.7) defines it: the
/// stream was refused, or its number is above the last stream that a GOAWAY names. h2 reports no
/// GOAWAY error to streams below that number.
fn is_proof_of_idleness(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.reason() == Some(Reason::REFUSED_STREAM))
}

/// The stream ended early, but without an error.
pub(super) fn cut(what: &str) -> Ending {
    ended(Event::StreamDropped, GrpcCode::Unknown, what)
}

/// The gRPC status that the peer sent.
pub(super) fn told(code: GrpcCode, message: String) -> Ending {
    let what = match shorten(&message).as_str() {
        "" => format!("the gateway answered {code}"),
        said => format!("the gateway answered {code}: {said}"),
    };
    let ending = ended(event(code, &message), code, what);
    let detail =
        Detail { grpc: Some(code), hint: Hint::of_grpc(code, &message), ..Detail::default() };
    Ending { detail, said: Some(message), ..ending }
}

/// An HTTP status that is not a success, probably from a proxy.
pub(super) fn refused(status: StatusCode, headers: &HeaderMap) -> Ending {
    let code = match status.as_u16() {
        400 => GrpcCode::Internal,
        401 => GrpcCode::Unauthenticated,
        403 => GrpcCode::PermissionDenied,
        404 => GrpcCode::Unimplemented,
        429 | 502..=504 => GrpcCode::Unavailable,
        _ => GrpcCode::Unknown,
    };
    let is_redirect = status.is_redirection() && headers.contains_key(LOCATION);
    let to = is_redirect.then(|| describe(headers, Unfollowed::Grpc));
    let what = format!("the gateway answered {status}{}", to.unwrap_or_default());
    let ending = ended(Event::of_status(status.as_u16()), code, what);
    let again = retry_after(headers, SystemTime::now()).into();
    Ending { again, detail: Detail::of_http(status, headers), ..ending }
}

/// An answer over HTTP/2 that is not gRPC.
pub(super) fn not_grpc(what: String) -> Ending {
    ended(Event::NotGrpc, GrpcCode::Unknown, what)
}

/// An answer that is gRPC but cannot be read.
pub(super) fn unreadable(what: &str) -> Ending {
    let what = format!("the answer cannot be read: {what}");
    ended(Event::Unreadable, GrpcCode::Internal, what)
}

/// A message that is longer than the limit, both in bytes.
pub(super) fn too_large(length: usize, limit: usize) -> Ending {
    oversize(format!("an answer of {length} bytes is larger than the limit of {limit} bytes"))
}

/// A compressed message that is longer than the limit without its compression.
#[cfg(feature = "compression")]
pub(super) fn inflates_too_much(limit: usize) -> Ending {
    oversize(format!("a compressed answer is larger than the limit of {limit} bytes"))
}

fn oversize(what: String) -> Ending {
    let ending = ended(Event::TooLarge, GrpcCode::OutOfRange, what);
    Ending { detail: Detail::of_hint(Hint::AnswerTooLarge), ..ending }
}

/// Returns the error of a call's only request.
pub(super) fn of_request(ending: Ending, channel: &Channel, is_sent: bool) -> AttemptError {
    let mut ending = explained(ending, channel);
    // If the client's side ended the call, it was unsent as long as no byte of it was asked for.
    if ending.said.is_none() && !is_sent && ending.event == Event::StreamDropped {
        ending.event = match channel.spoken.is_known() {
            true => Event::ClosedUnsent,
            false => Event::ClosedFresh,
        };
    }
    ending.sent()
}

/// Returns the end of a stream of many requests. It is unknown which request caused it.
pub(super) fn of_stream(ending: Ending, channel: &Channel) -> Ending {
    let ending = explained(ending, channel);
    let event = on_stream(ending.event);
    let is_fault = matches!(event, Event::StreamOversize | Event::StreamGarbled | Event::NotGrpc);
    Ending { event, is_fault, ..ending }
}

fn on_stream(event: Event) -> Event {
    match event {
        Event::TooLarge => Event::StreamOversize,
        Event::Unreadable => Event::StreamGarbled,
        Event::GrpcBroken | Event::GrpcFailed => Event::StreamFailed,
        event => event,
    }
}

/// Adds what is known about the connection. New requests avoid a connection that is at fault.
fn explained(mut ending: Ending, channel: &Channel) -> Ending {
    if let Some(refusal) = channel.spoken.refusal() {
        channel.suspect();
        let Failed { event, message: what, detail, .. } = *refusal.0;
        return Ending { event, what, detail, ..ending };
    }
    let is_dropped = ending.event == Event::StreamDropped && ending.said.is_none();
    if is_dropped || ending.event == Event::NotGrpc {
        channel.suspect();
    }
    if !is_dropped || ending.source.is_none() {
        return ending;
    }
    let seems = match &channel.spoken {
        spoken if spoken.is_http1() => Some(Hint::PortForHttpOrWebsocket),
        spoken if spoken.is_tls() => Some(Hint::PortForTls),
        _ => None,
    };
    if let Some(seems) = seems {
        ending.event = Event::NotGrpc;
        (ending.what, ending.detail) = (seems.found(), Detail::of_hint(seems));
    } else if let Some(goaway) = channel.goaway() {
        // If a GOAWAY does not concern a stream, h2 reports only the end of the connection to the
        // stream.
        ending.what = format!("the connection was lost: {goaway}");
    }
    ending
}

/// Returns the error of a request for a recorded status.
#[cfg(test)]
pub(in crate::transport) fn recorded(code: u32, details: &str, is_stream: bool) -> AttemptError {
    let ending = told(GrpcCode::of_number(code), details.to_owned());
    let event = if is_stream { on_stream(ending.event) } else { ending.event };
    AttemptError::new(event, ending.what)
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

/// Classifies a status that a gateway sent.
fn event(code: GrpcCode, message: &str) -> Event {
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
        GrpcCode::Unknown if is_gateways_fault(message) => Event::GrpcBroken,
        GrpcCode::Ok | GrpcCode::Unknown | GrpcCode::Internal | GrpcCode::DataLoss => {
            Event::GrpcFailed
        }
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

    /// Returns the events of a status: for a request, and for a stream of requests.
    fn events(code: GrpcCode, message: &str) -> (Event, Event) {
        let event = event(code, message);
        (event, on_stream(event))
    }

    #[test]
    fn codes_have_their_names_of_the_specification() {
        let what = |code, message: &str| told(code, message.to_owned()).what;
        assert_eq!(what(GrpcCode::DeadlineExceeded, ""), "the gateway answered DEADLINE_EXCEEDED");
        assert_eq!(what(GrpcCode::Unknown, "a\nb"), "the gateway answered UNKNOWN: a b");
    }

    #[test]
    fn an_outage_is_told_from_a_lost_stream_by_the_name_of_a_deployment() {
        let down = "failed to connect to all addresses |Gateway: Communication error with \
                    deployment at address(es) {'0.0.0.0:5'}. Head or worker(s) may be down.";
        assert_eq!(events(GrpcCode::Unavailable, down).1, Event::GrpcOutage);
        let slow = down;
        let down = "Unexpected <class 'jina.excepts.InternalNetworkError'>: failed to connect";
        assert_eq!(events(GrpcCode::Unknown, down).0, Event::GrpcOutage);
        assert_eq!(events(GrpcCode::Unavailable, "gone").1, Event::StreamDropped);
        assert_eq!(events(GrpcCode::DeadlineExceeded, slow).1, Event::GrpcTimeout);
        assert_eq!(events(GrpcCode::DeadlineExceeded, "late").0, Event::TimedOut);
    }

    #[test]
    fn a_failure_of_one_request_is_retried_only_if_another_request_may_be_at_fault() {
        for code in [GrpcCode::Unknown, GrpcCode::Internal, GrpcCode::DataLoss] {
            let (alone, on_stream) = events(code, "");
            assert!(!alone.row().retryable && on_stream.row().retryable, "{code:?}");
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
            // On a stream the request at fault is found when each request goes alone.
            let both = (expected, Event::StreamFailed);
            assert_eq!(events(GrpcCode::Unknown, details), both, "{details}");
            assert_eq!(events(GrpcCode::Internal, details).0, Event::GrpcFailed);
        }
    }

    #[test]
    fn findings_of_the_client_are_not_reported_as_the_gateways_status() {
        for (ending, alone, on_a_stream) in [
            (unreadable("no status"), Event::Unreadable, Event::StreamGarbled),
            (too_large(9, 8), Event::TooLarge, Event::StreamOversize),
        ] {
            assert_eq!((ending.event, on_stream(ending.event)), (alone, on_a_stream));
            assert!(ending.said.is_none() && !ending.what.contains("the gateway answered"));
            assert!(alone.row().may_have_run && on_a_stream.row().may_have_run);
        }
        // The same code from a gateway has another meaning.
        assert_eq!(events(GrpcCode::OutOfRange, "").1, Event::GrpcRefused);
    }
}
