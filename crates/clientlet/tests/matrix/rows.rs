//! The faults, and what is known of each beforehand.

use std::time::Duration;

use clientlet::{Delivery, ErrorKind};
use clientlet_gateway::{Documents, FaultKind};

use Delivery::{Answered, NotSent, Unknown};
use ErrorKind::{Connect, Decode, Gateway, RateLimited, Timeout, Transport};

/// What one gateway of the matrix is scripted with.
#[derive(Debug, PartialEq)]
pub(crate) struct Row {
    pub(crate) faults: &'static [&'static str],
    pub(crate) documents: Documents,
    /// What a failed attempt may be reported as.
    pub(crate) reported: &'static [(ErrorKind, Delivery)],
    pub(crate) again: Again,
    pub(crate) arrival: Arrival,
    pub(crate) time: Time,
}

/// Whether a struck request is sent again by a policy that has attempts left.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Again {
    Always,
    /// Only where twice is no harm.
    UnlessAtMostOnce,
    Never,
}

/// Whether the journal sees attempts that were struck.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Arrival {
    /// Every attempt arrives whole.
    Always,
    /// A struck attempt never arrives, and is counted by the journal as refused.
    Refused,
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

const fn row(faults: &'static [&'static str], reported: &'static [(ErrorKind, Delivery)]) -> Row {
    Row {
        faults,
        documents: Documents::V1,
        reported,
        again: Again::UnlessAtMostOnce,
        arrival: Arrival::Always,
        time: Time::Ample,
    }
}

/// What comes of a reset before anything was read depends on which side is faster.
const LOST: &[(ErrorKind, Delivery)] = &[(Transport, Unknown)];
const LOST_OR_UNSENT: &[(ErrorKind, Delivery)] = &[(Transport, Unknown), (Transport, NotSent)];
const REFUSED: &[(ErrorKind, Delivery)] =
    &[(Connect, NotSent), (Transport, NotSent), (Transport, Unknown), (Gateway, Answered)];
const LATE: &[(ErrorKind, Delivery)] = &[(Timeout, Unknown), (Timeout, NotSent)];
const TURNED_AWAY: &[(ErrorKind, Delivery)] = &[(Gateway, Answered)];
const LIMITED: &[(ErrorKind, Delivery)] = &[(RateLimited, Answered)];
const BROKEN: &[(ErrorKind, Delivery)] = &[(Decode, Answered)];

/// Faults by probability strike the same numbers in every run: the seed is fixed.
pub(crate) const ROWS: &[Row] = &[
    // Connections are refused. Healthy ones are kept, but not behind a 503: so there are new ones.
    Row {
        arrival: Arrival::RefusedConnections,
        ..row(&["refuse@50%,seed=11", "status:503@10%,seed=12"], REFUSED)
    },
    Row { arrival: Arrival::Refused, ..row(&["reset-before@10%,seed=1"], LOST_OR_UNSENT) },
    // An outage of fifty requests, and losses all along.
    row(&["reset-after@1001-1050", "reset-after@10%,seed=2"], LOST),
    Row { documents: Documents::V2, ..row(&["reset-mid@10%,seed=3"], LOST) },
    Row { time: Time::Short, ..row(&["stall@0.2%,seed=4"], LATE) },
    // A slow answer is only late; one that takes for ever is given up in its middle.
    row(&["slow:0.01@1%,seed=5"], &[]),
    Row { time: Time::Short, documents: Documents::V2, ..row(&["slow:600@0.2%,seed=6"], LATE) },
    row(&["status:503@10%,seed=7"], TURNED_AWAY),
    Row { again: Again::Always, ..row(&["status:429:0@10%,seed=8"], LIMITED) },
    // v1's own 500 is final. A wait that would end after the deadline does not begin.
    Row {
        again: Again::Never,
        time: Time::Asked,
        ..row(&["status:500@10%,seed=9", "status:503:9@/20"], TURNED_AWAY)
    },
    Row { documents: Documents::V2, ..row(&["status:500@10%,seed=9"], TURNED_AWAY) },
    Row { again: Again::Never, ..row(&["malformed@10%,seed=10"], BROKEN) },
];

impl Row {
    pub(crate) fn generation(&self) -> &'static str {
        match self.documents {
            Documents::V1 => "v1",
            _ => "v2",
        }
    }

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
    // The gateway's seconds; a client that waits less is a row of `Time::Short`.
    !matches!(fault, FaultKind::Slow(time) if time.as_secs() == 0)
}

/// Whether the endpoint runs although the request is struck so.
pub(crate) fn runs(fault: &FaultKind) -> bool {
    matches!(fault, FaultKind::ResetMid | FaultKind::Malformed | FaultKind::Slow(_))
}
