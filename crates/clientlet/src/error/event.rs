//! Everything that can happen to an attempt, and what follows. This table makes the errors, decides
//! the retries, and is printed on the page *Guarantees*.

use tracing::field::debug;

use super::{Delivery, ErrorKind};
use crate::log;

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

// Two booleans side by side are easily swapped in a table; these cannot be.
enum Retry {
    Yes,
    /// Begins anew immediately, without being counted.
    Anew,
    Final,
}

enum Ran {
    Maybe,
    Never,
}

/// Makes the events and the table of their meanings from one list.
macro_rules! events {
    ($($event:ident: $kind:ident, $delivery:ident, $again:ident, $ran:ident, $shows:literal;)*) => {
        /// How an attempt ended without a result.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub(crate) enum Event {
            $($event,)*
        }

        /// One row for each event, in the order of [`Event`].
        pub(crate) const EVENTS: &[Row] = &[$(Row {
            event: Event::$event,
            shows: $shows,
            kind: ErrorKind::$kind,
            delivery: Delivery::$delivery,
            retryable: matches!(Retry::$again, Retry::Yes | Retry::Anew),
            is_anew: matches!(Retry::$again, Retry::Anew),
            may_have_run: matches!(Ran::$ran, Ran::Maybe),
        },)*];
    };
}

#[rustfmt::skip]
events! {
    ConnectFailed: Connect, NotSent, Yes, Never, "no connection: refused, unreachable, name not found, lost in the TLS handshake";
    ConnectTimedOut: Connect, NotSent, Yes, Never, "no connection within the connect time-out, TLS included";
    TlsFailed: Tls, NotSent, Final, Never, "the TLS handshake failed: a certificate that is not trusted, has expired or is for another name, no version, cipher or protocol in common, a client certificate that is missing or refused (in TLS 1.3 also after the handshake, when part of a request may have been written, which the server has not looked at), a port without TLS";
    ProxyRefused: Connect, NotSent, Final, Never, "the proxy refuses to connect to the gateway: 407, 403 or another 4xx, a SOCKS reply that speaks of rules or credentials";
    ProxyFailed: Connect, NotSent, Yes, Never, "the proxy cannot connect to the gateway: a 5xx, any other SOCKS reply, or it closes without an answer";
    ClosedFresh: Transport, NotSent, Yes, Never, "a new connection was closed before a byte of the request was written, or before the upgrade to WebSocket";
    ClosedUnsent: Transport, NotSent, Anew, Never, "the connection was lost before a byte of the request was written";
    Unprocessed: Transport, NotSent, Anew, Never, "the gateway closed the request's stream without looking at the request: REFUSED_STREAM, or a GOAWAY whose last stream is an earlier one";
    TimedOutUnsent: Timeout, NotSent, Yes, Never, "the attempt timed out before a byte of the request was written";
    ConnectionLost: Transport, Unknown, Yes, Maybe, "the connection was reset, closed or cut after bytes of the request were written; over TLS also a record that cannot be read, another alert, or an end without a close_notify";
    TimedOut: Timeout, Unknown, Yes, Maybe, "the attempt timed out after bytes of the request were written";
    IdleTimedOut: Timeout, Unknown, Yes, Maybe, "nothing came for the idle time-out after bytes of the request were written";
    NotHttp: Decode, Answered, Final, Maybe, "the answer is not HTTP/1.1";
    Unreadable: Decode, Answered, Final, Maybe, "the answer's body cannot be read";
    AnotherAnswered: Decode, Unknown, Yes, Maybe, "the answer carries the id of another request (v2); this request's answer never came, and the connection is not used again";
    TooLarge: TooLarge, Answered, Final, Maybe, "the answer is larger than the client's limit";
    ExecutorFailed: Executor, Answered, Final, Maybe, "an executor raised: status code 1 in a v1 answer, 500 with a JSON detail from v2";
    RequestTimeout408: Timeout, Answered, Yes, Never, "408";
    TooEarly425: Gateway, Answered, Yes, Never, "425";
    RateLimited429: RateLimited, Answered, Yes, Never, "429";
    NotFound404: NotFound, Answered, Final, Never, "404";
    Refused: Gateway, Answered, Final, Never, "any other 4xx: 400, 401, 403, 405, 413, 422";
    BadGateway502: Gateway, Answered, Yes, Maybe, "502";
    Unavailable503: Gateway, Answered, Yes, Maybe, "503: v1 with its executor down";
    GatewayTimeout504: Timeout, Answered, Yes, Maybe, "504: v1 with an executor slower than timeout_send";
    PlainError500: Gateway, Answered, Yes, Maybe, "500 in plain text: the gateway itself failed, for example while it shuts down; with v2 also an executor that is down or slow; the request may have run to its end";
    CannotPassOn: Encode, Answered, Final, Never, "500 from v2 for a document that the gateway's own protobuf cannot carry: an integer beyond 32 bits, or nested too deeply; the request's other documents are sent without it";
    ServerError: Gateway, Answered, Final, Maybe, "any other 5xx";
    Redirect: Gateway, Answered, Final, Never, "3xx that is not followed: neither 307 nor 308, to another host, port or scheme, after five others, or over gRPC";
    EndpointUnknown: NotFound, NotSent, Final, Never, "the gateway does not list the endpoint (v2), does not list it as one that streams, or has no streams of documents (v1)";
    EncodeFailed: Encode, NotSent, Final, Never, "a document that the wire format cannot hold";
    InputFailed: Input, NotSent, Final, Never, "the input of documents failed: the caller's own error";
    HookFailed: Input, NotSent, Final, Never, "the hook before_attempt failed, panicked or returned a header that cannot be sent: the caller's own error";
    SettingDenied: Config, NotSent, Final, Never, "the gateway's status contradicts the generation of documents that was set on the client";
    NoSuchQuestion: Config, NotSent, Final, Never, "the protocol has no such question: only gRPC has a health service";
    SessionClosed: Closed, NotSent, Final, Never, "the client was closed";
    SessionLost: Transport, NotSent, Yes, Never, "a clientlet's connection was lost before a byte of the message was written";
    TimedOutSending: Timeout, Unknown, Final, Maybe, "a clientlet's connection did not take all of a message in time; the message may still go out, so another attempt could send it twice";
    NoRuntime: Config, NotSent, Final, Never, "the call was made outside a tokio runtime";
    Stopped: Cancelled, NotSent, Final, Never, "the call was stopped before a byte of the request was written";
    StoppedSent: Cancelled, Unknown, Final, Maybe, "the call was stopped after bytes of the request were written";
    SocketDropped: Transport, Unknown, Yes, Maybe, "a WebSocket was dropped: reset, closed without a close frame (over TLS with a close_notify or not, or by a record that cannot be read) or with 1000, 1001, 1002, 1003, 1005, 1006, 1007, 1009, 1011 or 1012, or the peer broke its protocol";
    SocketOversize: TooLarge, Unknown, Yes, Maybe, "a WebSocket message is larger than the client's limit; which request it answers is unknown";
    SocketOutage1011: Gateway, Unknown, Yes, Maybe, "close 1011 that names a deployment: the deployment's executor is down";
    SocketTimeout1011: Timeout, Unknown, Yes, Maybe, "close 1011 that names a deployment which timed out";
    SocketTryAgain1013: Gateway, Unknown, Yes, Maybe, "close 1013";
    SocketClosed: Closed, Unknown, Final, Maybe, "any other close code";
    SocketGarbled: Decode, Unknown, Yes, Maybe, "a WebSocket message cannot be read, or answers no request that was sent; which request it answers is unknown";
    NotWebSocket: Decode, Answered, Final, Maybe, "the peer does not upgrade to WebSocket, or not to the subprotocol that was asked for";
    StreamDropped: Transport, Unknown, Yes, Maybe, "a gRPC stream or its connection was dropped: reset, cut, ended early or without a status, by a TLS record that cannot be read, CANCELLED, UNAVAILABLE that names no deployment";
    StreamFailed: Gateway, Unknown, Yes, Maybe, "UNKNOWN, INTERNAL or DATA_LOSS on a stream of many requests; which request caused it is unknown";
    StreamOversize: TooLarge, Unknown, Yes, Maybe, "a message of a gRPC stream is larger than the client's limit; which request it answers is unknown";
    StreamGarbled: Decode, Unknown, Yes, Maybe, "a message of a gRPC stream cannot be read, or answers no request that was sent; which request it answers is unknown";
    GrpcOutage: Gateway, Unknown, Yes, Maybe, "UNAVAILABLE that names a deployment, or UNKNOWN that names an InternalNetworkError: an executor is down";
    GrpcTimeout: Timeout, Unknown, Yes, Maybe, "DEADLINE_EXCEEDED that names a deployment which timed out";
    GrpcExhausted: RateLimited, Unknown, Yes, Maybe, "RESOURCE_EXHAUSTED";
    GrpcAborted: Gateway, Unknown, Yes, Maybe, "ABORTED";
    GrpcBroken: Gateway, Answered, Yes, Maybe, "UNKNOWN of a unary request, with an exception of the gateway itself, for example while it shuts down";
    GrpcFailed: Gateway, Answered, Final, Maybe, "any other UNKNOWN, INTERNAL or DATA_LOSS of a unary request";
    GrpcRefused: Gateway, Answered, Final, Never, "INVALID_ARGUMENT, PERMISSION_DENIED, UNAUTHENTICATED, FAILED_PRECONDITION and the like";
    GrpcUnimplemented: NotFound, Answered, Final, Never, "UNIMPLEMENTED, NOT_FOUND";
    NotGrpc: Decode, Answered, Final, Maybe, "the answer is not gRPC";
}

impl Event {
    pub(crate) fn row(self) -> &'static Row {
        // The table has a row for each variant, in the variants' order.
        &EVENTS[self as usize]
    }

    /// Reports that this happened to an attempt. Tests record the protocols of each event.
    pub(crate) fn tell(self, protocol: &str) {
        log::attempt_failed(debug(self), protocol);
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
        crate::page::check("guarantees.md", "events", &table());
    }

    #[test]
    fn nothing_that_was_not_sent_may_have_run_and_everything_unknown_may() {
        for row in EVENTS {
            match row.delivery {
                Delivery::NotSent => assert!(!row.may_have_run, "{:?}", row.event),
                Delivery::Unknown => assert!(row.may_have_run, "{:?}", row.event),
                Delivery::Answered => {}
            }
        }
    }

    #[test]
    fn only_what_cannot_have_run_begins_anew() {
        for row in EVENTS.iter().filter(|row| row.is_anew) {
            let is_sure = row.delivery == Delivery::NotSent && row.retryable && !row.may_have_run;
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
