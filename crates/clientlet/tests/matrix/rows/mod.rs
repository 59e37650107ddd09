//! The faults and their expected results: data in the same form for every protocol.

mod grpc;
mod http;
mod websocket;

use std::time::Duration;

use clientlet::{Delivery, ErrorKind};
use clientlet_gateway::{DocArray, FaultKind};

use crate::protocol::Protocol;

/// The faults of a cell's gateway, and the results that they may have.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) protocol: Protocol,
    pub(crate) faults: &'static [&'static str],
    /// The generations of documents with which the row runs.
    pub(crate) documents: &'static [DocArray],
    /// The failures that an attempt may have.
    pub(crate) failures: &'static [Outcome],
    pub(crate) reach: Reach,
    pub(crate) arrival: Arrival,
    pub(crate) time: Time,
    /// Whether the faults are those of TLS, so that all cells of the row speak it.
    pub(crate) is_of_tls: bool,
}

/// A reported failure of an attempt, and whether a policy with attempts left makes another attempt.
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
    /// Unless the policy is at most once.
    UnlessAtMostOnce,
    Never,
}

/// The requests that are affected if a fault strikes one of them.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Reach {
    /// Only that request.
    Request,
    /// All requests in flight on its connection that are not answered yet.
    Unanswered,
    /// All requests in flight on its connection, because even answers that were sent may be lost.
    Answered,
}

/// Whether the journal sees an attempt.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrival {
    /// Every attempt arrives whole.
    Always,
    /// An attempt may be lost together with its connection.
    Perhaps,
    /// A struck attempt never arrives. The journal counts it as refused.
    Refused,
    /// A struck attempt is answered before it has arrived. The journal counts it as refused.
    Unread,
    /// Like `Refused`, but connections are struck, and not every connection carried an attempt.
    RefusedConnections,
}

/// The time limit of a request.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Time {
    /// A limit that is never reached, so that the results depend only on the script.
    Ample,
    /// An attempt times out after some milliseconds: with one attempt by the call's `timeout`, with
    /// more by their `attempt_timeout`. On a busy machine other attempts time out as well.
    Short,
    /// The gateway asks for a wait beyond the call's `timeout`.
    Asked,
}

const fn outcome(kind: ErrorKind, delivery: Delivery, again: Again) -> Outcome {
    Outcome { kind, delivery, again }
}

/// No part of the attempt was sent.
const fn unsent(kind: ErrorKind) -> Outcome {
    outcome(kind, Delivery::NotSent, Again::Always)
}

/// It is unknown whether the attempt arrived.
const fn unknown(kind: ErrorKind) -> Outcome {
    outcome(kind, Delivery::Unknown, Again::UnlessAtMostOnce)
}

/// Returns all rows. Faults by probability strike the same requests in every run, because the seed
/// is fixed.
pub(crate) fn all() -> impl Iterator<Item = &'static Row> {
    [http::ROWS, websocket::ROWS, grpc::ROWS].into_iter().flatten()
}

impl Row {
    pub(crate) fn is_patient(&self) -> bool {
        self.time != Time::Short
    }

    /// Returns the time limit of an attempt.
    pub(crate) fn attempt_timeout(&self, retries: bool) -> Option<Duration> {
        match self.time {
            Time::Short if retries => Some(Duration::from_millis(50)),
            _ => None,
        }
    }

    /// Returns the time limit of a request over all its attempts.
    pub(crate) fn deadline(&self, retries: bool) -> Duration {
        match self.time {
            Time::Short if !retries => Duration::from_millis(50),
            Time::Asked => Duration::from_secs(4),
            _ => Duration::from_secs(30),
        }
    }
}

/// Whether a request that this fault strikes gets no readable answer.
pub(crate) fn is_harm(fault: &FaultKind) -> bool {
    match fault {
        // The gateway takes this many seconds. A client that waits less is a row of `Time::Short`.
        FaultKind::Slow(time) => time.as_secs() > 0,
        // After a GOAWAY, open streams continue without an error.
        FaultKind::Twice
        | FaultKind::Reorder
        | FaultKind::GoAway(0)
        | FaultKind::GoAwayAfter(_)
        | FaultKind::HangUp
        | FaultKind::Gzip => false,
        _ => true,
    }
}

/// Whether the endpoint runs although this fault strikes the request.
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
