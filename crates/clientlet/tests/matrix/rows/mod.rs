//! The faults, and what is known of each beforehand: data, for every protocol alike.

mod grpc;
mod http;
mod websocket;

use std::time::Duration;

use clientlet::{Delivery, ErrorKind};
use clientlet_gateway::{DocArray, FaultKind};

use crate::protocol::Protocol;

/// What the gateways of some cells are scripted with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) protocol: Protocol,
    pub(crate) faults: &'static [&'static str],
    /// The generations of documents that it is run with.
    pub(crate) documents: &'static [DocArray],
    /// How an attempt may fail.
    pub(crate) failures: &'static [Outcome],
    pub(crate) reach: Reach,
    pub(crate) arrival: Arrival,
    pub(crate) time: Time,
}

/// How an attempt may be reported, and what a policy that has attempts left makes of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Outcome {
    pub(crate) kind: ErrorKind,
    pub(crate) delivery: Delivery,
    pub(crate) again: Again,
}

/// Whether a request is sent again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Again {
    Always,
    /// Only where twice is no harm.
    UnlessAtMostOnce,
    Never,
}

/// Who is harmed by a fault that strikes a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reach {
    /// That request alone.
    Request,
    /// All that are in flight on its connection and not answered yet.
    Unanswered,
    /// All that are in flight on its connection: answers that were sent may be lost on their way.
    Answered,
}

/// Whether the journal sees an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrival {
    /// Every attempt arrives whole.
    Always,
    /// An attempt may be lost on its way, with its connection.
    Perhaps,
    /// A struck attempt never arrives, and is counted by the journal as refused.
    Refused,
    /// A struck attempt is answered before it has arrived; the journal counts it as refused.
    Unread,
    /// As `Refused`, but connections are struck, of which not each had an attempt on it.
    RefusedConnections,
}

/// What bounds the time of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Time {
    /// Nothing that is ever reached: all is as scripted, whatever else the machine does.
    Ample,
    /// An attempt is given up after some milliseconds, with one attempt by the call's `timeout`
    /// alone, with more by their `attempt_timeout`. On a busy machine it strikes others, too.
    Short,
    /// The gateway asks for a wait beyond the call's `timeout`.
    Asked,
}

const fn outcome(kind: ErrorKind, delivery: Delivery, again: Again) -> Outcome {
    Outcome { kind, delivery, again }
}

/// Nothing of the attempt was sent.
const fn unsent(kind: ErrorKind) -> Outcome {
    outcome(kind, Delivery::NotSent, Again::Always)
}

/// Nobody knows what became of the attempt.
const fn unknown(kind: ErrorKind) -> Outcome {
    outcome(kind, Delivery::Unknown, Again::UnlessAtMostOnce)
}

/// All rows. Faults by probability strike the same numbers in every run: the seed is fixed.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    [http::ROWS, websocket::ROWS, grpc::ROWS].into_iter().flatten()
}

impl Row {
    pub(crate) fn is_patient(&self) -> bool {
        self.time != Time::Short
    }

    /// How long one attempt may take.
    pub(crate) fn attempt_timeout(&self, retries: bool) -> Option<Duration> {
        match self.time {
            Time::Short if retries => Some(Duration::from_millis(50)),
            _ => None,
        }
    }

    /// How long a request may take over all its attempts.
    pub(crate) fn deadline(&self, retries: bool) -> Duration {
        match self.time {
            Time::Short if !retries => Duration::from_millis(50),
            Time::Asked => Duration::from_secs(4),
            _ => Duration::from_secs(30),
        }
    }
}

/// Whether a request that was struck so gets no answer that can be read.
pub(crate) fn is_harm(fault: &FaultKind) -> bool {
    match fault {
        // The gateway's seconds; a client that waits less is a row of `Time::Short`.
        FaultKind::Slow(time) => time.as_secs() > 0,
        // Streams that are open go on behind a GOAWAY without an error.
        FaultKind::Twice
        | FaultKind::Reorder
        | FaultKind::GoAway(0)
        | FaultKind::GoAwayAfter(_)
        | FaultKind::HangUp => false,
        _ => true,
    }
}

/// Whether the endpoint runs although the request is struck so.
pub(crate) fn runs(fault: &FaultKind) -> bool {
    matches!(
        fault,
        FaultKind::ResetMid
            | FaultKind::HangUp
            | FaultKind::Gzip
            | FaultKind::Malformed
            | FaultKind::Shifted
            | FaultKind::Slow(_)
            | FaultKind::Twice
            | FaultKind::Reorder
            | FaultKind::GoAway(0)
            | FaultKind::GoAwayAfter(_)
            | FaultKind::UnknownId
            | FaultKind::Truncated
            | FaultKind::Oversize(_)
            | FaultKind::WrongType
    )
}
