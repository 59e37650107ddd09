//! Everything that can happen to an attempt, and what follows. This table makes the errors, decides
//! the retries, and is printed on the page *Guarantees*.

use super::{Delivery, ErrorKind};

/// How an attempt ended without a result.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Event {
    ConnectFailed,
    ConnectTimedOut,
    TlsFailed,
    ClosedFresh,
    ClosedUnsent,
    Unprocessed,
    TimedOutUnsent,
    ConnectionLost,
    TimedOut,
    NotHttp,
    Unreadable,
    AnotherAnswered,
    TooLarge,
    ExecutorFailed,
    RequestTimeout408,
    TooEarly425,
    RateLimited429,
    NotFound404,
    Refused,
    BadGateway502,
    Unavailable503,
    GatewayTimeout504,
    PlainError500,
    CannotPassOn,
    ServerError,
    Redirect,
    EndpointUnknown,
    EncodeFailed,
    InputFailed,
    SettingDenied,
    NoSuchQuestion,
    SessionClosed,
    SessionLost,
    TimedOutSending,
    NoRuntime,
    Stopped,
    StoppedSent,
    SocketDropped,
    SocketOversize,
    SocketOutage1011,
    SocketTimeout1011,
    SocketTryAgain1013,
    SocketClosed,
    SocketGarbled,
    NotWebSocket,
    StreamDropped,
    StreamFailed,
    StreamOversize,
    StreamGarbled,
    GrpcOutage,
    GrpcTimeout,
    GrpcExhausted,
    GrpcAborted,
    GrpcBroken,
    GrpcFailed,
    GrpcRefused,
    GrpcUnimplemented,
    NotGrpc,
}

/// What an event means for the error and for further attempts.
#[cfg_attr(not(test), expect(dead_code, reason = "a test prints the page from all of it"))]
pub(crate) struct Row {
    pub(crate) event: Event,
    /// What the user sees of the event, for the page *Guarantees*.
    pub(crate) shows: &'static str,
    pub(crate) kind: ErrorKind,
    pub(crate) delivery: Delivery,
    /// Whether another attempt may succeed.
    pub(crate) retryable: bool,
    /// Whether the attempt begins anew immediately and is not counted: the gateway's application
    /// did not see the request, and the connection was the reason.
    pub(crate) is_anew: bool,
    /// Whether an executor may have worked on the request.
    pub(crate) may_have_run: bool,
}

const fn row(
    event: Event,
    shows: &'static str,
    kind: ErrorKind,
    delivery: Delivery,
    retryable: Retry,
    may_have_run: Ran,
) -> Row {
    Row {
        event,
        shows,
        kind,
        delivery,
        retryable: matches!(retryable, Yes | Anew),
        is_anew: matches!(retryable, Anew),
        may_have_run: matches!(may_have_run, Maybe),
    }
}

// Two booleans side by side are easily swapped in a table; these cannot be.
#[derive(Clone, Copy)]
enum Retry {
    Yes,
    /// Begins anew immediately, without being counted.
    Anew,
    Final,
}

#[derive(Clone, Copy)]
enum Ran {
    Maybe,
    Never,
}

use Delivery::{Answered, NotSent, Unknown};
use Ran::{Maybe, Never};
use Retry::{Anew, Final, Yes};

/// One row for each event, in the order of [`Event`].
#[rustfmt::skip]
pub(crate) const EVENTS: &[Row] = &[
    row(Event::ConnectFailed, "no connection: refused, unreachable, name not found", ErrorKind::Connect, NotSent, Yes, Never),
    row(Event::ConnectTimedOut, "no connection within the connect time-out", ErrorKind::Connect, NotSent, Yes, Never),
    row(Event::TlsFailed, "the TLS handshake failed: a certificate that is not trusted, has expired or is for another name, no version, cipher or protocol in common, a client certificate that is missing or refused, a port without TLS", ErrorKind::Tls, NotSent, Final, Never),
    row(Event::ClosedFresh, "a new connection was closed before the peer had sent anything on it, or before the upgrade to WebSocket", ErrorKind::Transport, NotSent, Yes, Never),
    row(Event::ClosedUnsent, "the connection was lost before a byte of the request was written", ErrorKind::Transport, NotSent, Anew, Never),
    row(Event::Unprocessed, "the gateway closed the request's stream without looking at the request: REFUSED_STREAM, or a GOAWAY whose last stream is an earlier one", ErrorKind::Transport, NotSent, Anew, Never),
    row(Event::TimedOutUnsent, "the attempt timed out before a byte of the request was written", ErrorKind::Timeout, NotSent, Yes, Never),
    row(Event::ConnectionLost, "the connection was reset, closed or cut after bytes of the request were written", ErrorKind::Transport, Unknown, Yes, Maybe),
    row(Event::TimedOut, "the attempt timed out after bytes of the request were written", ErrorKind::Timeout, Unknown, Yes, Maybe),
    row(Event::NotHttp, "the answer is not HTTP/1.1", ErrorKind::Decode, Answered, Final, Maybe),
    row(Event::Unreadable, "the answer's body cannot be read", ErrorKind::Decode, Answered, Final, Maybe),
    row(Event::AnotherAnswered, "the answer carries the id of another request (v2); this request's answer never came, and the connection is not used again", ErrorKind::Decode, Unknown, Yes, Maybe),
    row(Event::TooLarge, "the answer is larger than the client's limit", ErrorKind::TooLarge, Answered, Final, Maybe),
    row(Event::ExecutorFailed, "an executor raised: status code 1 in a v1 answer, 500 with a JSON detail from v2", ErrorKind::Executor, Answered, Final, Maybe),
    row(Event::RequestTimeout408, "408", ErrorKind::Timeout, Answered, Yes, Never),
    row(Event::TooEarly425, "425", ErrorKind::Gateway, Answered, Yes, Never),
    row(Event::RateLimited429, "429", ErrorKind::RateLimited, Answered, Yes, Never),
    row(Event::NotFound404, "404", ErrorKind::NotFound, Answered, Final, Never),
    row(Event::Refused, "any other 4xx: 400, 401, 403, 405, 413, 422", ErrorKind::Gateway, Answered, Final, Never),
    row(Event::BadGateway502, "502", ErrorKind::Gateway, Answered, Yes, Maybe),
    row(Event::Unavailable503, "503: v1 with its executor down", ErrorKind::Gateway, Answered, Yes, Maybe),
    row(Event::GatewayTimeout504, "504: v1 with an executor slower than timeout_send", ErrorKind::Timeout, Answered, Yes, Maybe),
    row(Event::PlainError500, "500 in plain text: the gateway itself failed, for example while it shuts down; with v2 also an executor that is down or slow; the request may have run to its end", ErrorKind::Gateway, Answered, Yes, Maybe),
    row(Event::CannotPassOn, "500 from v2 for a document that the gateway's own protobuf cannot carry: an integer beyond 32 bits, or nested too deeply; the request's other documents are sent without it", ErrorKind::Encode, Answered, Final, Never),
    row(Event::ServerError, "any other 5xx", ErrorKind::Gateway, Answered, Final, Maybe),
    row(Event::Redirect, "3xx: redirects are not followed", ErrorKind::Gateway, Answered, Final, Never),
    row(Event::EndpointUnknown, "the gateway does not list the endpoint (v2), does not list it as one that streams, or has no streams of documents (v1)", ErrorKind::NotFound, NotSent, Final, Never),
    row(Event::EncodeFailed, "a document that the wire format cannot hold", ErrorKind::Encode, NotSent, Final, Never),
    row(Event::InputFailed, "the input of documents failed: the caller's own error", ErrorKind::Input, NotSent, Final, Never),
    row(Event::SettingDenied, "the gateway's status contradicts the generation of documents that was set on the client", ErrorKind::Config, NotSent, Final, Never),
    row(Event::NoSuchQuestion, "the protocol has no such question: only gRPC has a health service", ErrorKind::Config, NotSent, Final, Never),
    row(Event::SessionClosed, "the client was closed", ErrorKind::Closed, NotSent, Final, Never),
    row(Event::SessionLost, "a clientlet's connection was lost before a byte of the message was written", ErrorKind::Transport, NotSent, Yes, Never),
    row(Event::TimedOutSending, "a clientlet's connection did not take all of a message in time; the message may still go out, so another attempt could send it twice", ErrorKind::Timeout, Unknown, Final, Maybe),
    row(Event::NoRuntime, "the call was made outside a tokio runtime", ErrorKind::Config, NotSent, Final, Never),
    row(Event::Stopped, "the call was stopped before a byte of the request was written", ErrorKind::Cancelled, NotSent, Final, Never),
    row(Event::StoppedSent, "the call was stopped after bytes of the request were written", ErrorKind::Cancelled, Unknown, Final, Maybe),
    row(Event::SocketDropped, "a WebSocket was dropped: reset, closed without a close frame or with 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011 or 1012, or the peer broke its protocol", ErrorKind::Transport, Unknown, Yes, Maybe),
    row(Event::SocketOversize, "a WebSocket message is larger than the client's limit; which request it answers is unknown", ErrorKind::TooLarge, Unknown, Yes, Maybe),
    row(Event::SocketOutage1011, "close 1011 that names a deployment: the deployment's executor is down", ErrorKind::Gateway, Unknown, Yes, Maybe),
    row(Event::SocketTimeout1011, "close 1011 that names a deployment which timed out", ErrorKind::Timeout, Unknown, Yes, Maybe),
    row(Event::SocketTryAgain1013, "close 1013", ErrorKind::Gateway, Unknown, Yes, Maybe),
    row(Event::SocketClosed, "any other close code", ErrorKind::Closed, Unknown, Final, Maybe),
    row(Event::SocketGarbled, "a WebSocket message cannot be read, or answers no request that was sent; which request it answers is unknown", ErrorKind::Decode, Unknown, Yes, Maybe),
    row(Event::NotWebSocket, "the peer does not upgrade to WebSocket, or not to the subprotocol that was asked for", ErrorKind::Decode, Answered, Final, Maybe),
    row(Event::StreamDropped, "a gRPC stream or its connection was dropped: reset, cut, ended early or without a status, CANCELLED, UNAVAILABLE that names no deployment", ErrorKind::Transport, Unknown, Yes, Maybe),
    row(Event::StreamFailed, "UNKNOWN, INTERNAL or DATA_LOSS on a stream of many requests; which request caused it is unknown", ErrorKind::Gateway, Unknown, Yes, Maybe),
    row(Event::StreamOversize, "a message of a gRPC stream is larger than the client's limit; which request it answers is unknown", ErrorKind::TooLarge, Unknown, Yes, Maybe),
    row(Event::StreamGarbled, "a message of a gRPC stream cannot be read, or answers no request that was sent; which request it answers is unknown", ErrorKind::Decode, Unknown, Yes, Maybe),
    row(Event::GrpcOutage, "UNAVAILABLE that names a deployment, or UNKNOWN that names an InternalNetworkError: an executor is down", ErrorKind::Gateway, Unknown, Yes, Maybe),
    row(Event::GrpcTimeout, "DEADLINE_EXCEEDED that names a deployment which timed out", ErrorKind::Timeout, Unknown, Yes, Maybe),
    row(Event::GrpcExhausted, "RESOURCE_EXHAUSTED", ErrorKind::RateLimited, Unknown, Yes, Maybe),
    row(Event::GrpcAborted, "ABORTED", ErrorKind::Gateway, Unknown, Yes, Maybe),
    row(Event::GrpcBroken, "UNKNOWN of a unary request, with an exception of the gateway itself, for example while it shuts down", ErrorKind::Gateway, Answered, Yes, Maybe),
    row(Event::GrpcFailed, "any other UNKNOWN, INTERNAL or DATA_LOSS of a unary request", ErrorKind::Gateway, Answered, Final, Maybe),
    row(Event::GrpcRefused, "INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED, FAILED_PRECONDITION and the like", ErrorKind::Gateway, Answered, Final, Never),
    row(Event::GrpcUnimplemented, "UNIMPLEMENTED, NOT_FOUND", ErrorKind::NotFound, Answered, Final, Never),
    row(Event::NotGrpc, "the answer is not gRPC", ErrorKind::Decode, Answered, Final, Maybe),
];

impl Event {
    pub(crate) fn row(self) -> &'static Row {
        // The table has a row for each variant in the variants' order (tested below).
        &EVENTS[self as usize]
    }

    /// Reports that this happened to an attempt. Tests record the protocols of each event.
    pub(crate) fn tell(self, protocol: &str) {
        tracing::trace!(target: "clientlet::event", event = ?self, %protocol, "an attempt failed");
    }

    /// Whether any request on a shared connection or stream may have caused its end. An outage that
    /// names a deployment was caused by none of them.
    pub(crate) fn is_anyones(self) -> bool {
        matches!(
            self,
            Event::SocketDropped
                | Event::SocketOversize
                | Event::SocketGarbled
                | Event::StreamDropped
                | Event::StreamFailed
                | Event::StreamOversize
                | Event::StreamGarbled
        )
    }

    /// The event of an HTTP status that is not a success. The body is not considered.
    pub(crate) fn of_status(status: u16) -> Event {
        match status {
            404 => Event::NotFound404,
            408 => Event::RequestTimeout408,
            425 => Event::TooEarly425,
            429 => Event::RateLimited429,
            400..=499 => Event::Refused,
            502 => Event::BadGateway502,
            503 => Event::Unavailable503,
            504 => Event::GatewayTimeout504,
            100..=399 => Event::Redirect,
            _ => Event::ServerError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_event_finds_its_own_row() {
        for (index, row) in EVENTS.iter().enumerate() {
            assert_eq!(row.event as usize, index, "{:?} is out of order", row.event);
            assert_eq!(row.event.row().event, row.event);
        }
        assert_eq!(EVENTS.len(), Event::NotGrpc as usize + 1, "an event without a row");
    }

    const ALL: &[&str] = &["HTTP", "WebSocket", "gRPC"];

    /// The events and protocols that tests with a gateway were seen to meet: the matrix, the contract
    /// and others. They hold it against what they meet as they run (`tests/events/`).
    const RECORD: &str = include_str!("../../tests/events/record.txt");

    /// What none of the watched tests is sure to meet, and what does: unit tests, which no watcher
    /// hears, real gateways, and races.
    const ELSEWHERE: &str = include_str!("../../tests/events/elsewhere.txt");

    fn met() -> impl Iterator<Item = &'static str> {
        let elsewhere = ELSEWHERE.lines().map(|line| line.split_once(": ").unwrap().0);
        RECORD.lines().chain(elsewhere)
    }

    /// The protocols over which an event happens.
    fn over(event: Event) -> Vec<&'static str> {
        let is_over = |protocol: &&str| {
            let line = format!("{event:?} over {protocol}");
            met().any(|met| met == line)
        };
        ALL.iter().copied().filter(is_over).collect()
    }

    #[test]
    fn each_event_was_met_by_a_test_and_stands_once_as_such() {
        for row in EVENTS {
            assert!(!over(row.event).is_empty(), "{:?} is met by no test", row.event);
        }
        for line in met() {
            let (name, protocol) = line.split_once(" over ").unwrap();
            let is_event = EVENTS.iter().any(|row| format!("{:?}", row.event) == name);
            assert!(is_event && ALL.contains(&protocol), "{line}");
            assert_eq!(met().filter(|met| *met == line).count(), 1, "{line} stands twice");
        }
    }

    /// The page's table, one line an event.
    fn table() -> String {
        let mut table = String::from(
            "| what happens | over | kind | delivery | tried again | may have run |\n\
             | --- | --- | --- | --- | --- | --- |\n",
        );
        for row in EVENTS {
            let again = match row {
                Row { retryable: false, .. } => "no",
                Row { is_anew: true, .. } => "at once, not counted",
                Row { may_have_run: true, .. } => "yes, unless at most once",
                Row { .. } => "yes",
            };
            let ran = if row.may_have_run { "yes" } else { "no" };
            let Row { shows, kind, delivery, .. } = row;
            let over = over(row.event).join(", ");
            table += &format!("| {shows} | {over} | `{kind}` | `{delivery}` | {again} | {ran} |\n");
        }
        table
    }

    #[test]
    fn the_page_of_guarantees_holds_this_table() {
        crate::page::check("events", &table());
    }

    #[test]
    fn nothing_that_was_not_sent_may_have_run_and_everything_unknown_may() {
        for row in EVENTS {
            match row.delivery {
                NotSent => assert!(!row.may_have_run, "{:?}", row.event),
                Unknown => assert!(row.may_have_run, "{:?}", row.event),
                Answered => {}
            }
        }
    }

    #[test]
    fn only_what_cannot_have_run_begins_anew() {
        for row in EVENTS.iter().filter(|row| row.is_anew) {
            let is_sure = row.delivery == NotSent && row.retryable && !row.may_have_run;
            assert!(is_sure, "{:?}", row.event);
        }
    }

    #[test]
    fn the_statuses_that_are_tried_again_are_those_of_the_design() {
        let again: Vec<u16> =
            (300..600).filter(|status| Event::of_status(*status).row().retryable).collect();
        assert_eq!(again, [408, 425, 429, 502, 503, 504]);
    }

    #[test]
    fn no_client_error_may_have_run() {
        for status in 400..500 {
            assert!(!Event::of_status(status).row().may_have_run, "{status}");
        }
    }
}
