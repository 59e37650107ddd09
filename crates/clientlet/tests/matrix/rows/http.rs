//! HTTP: a connection carries one request at a time.

use clientlet::Delivery::Answered;
use clientlet::ErrorKind::{Connect, Decode, Gateway, RateLimited, Timeout, Transport};
use clientlet_gateway::DocArray::{V1, V2};

use super::{Again, Arrival, Outcome, Reach, Row, Time, outcome, unknown, unsent};
use crate::protocol::Protocol;

const fn row(faults: &'static [&'static str], failures: &'static [Outcome]) -> Row {
    Row {
        protocol: Protocol::Http,
        faults,
        documents: &[V1],
        failures,
        reach: Reach::Request,
        arrival: Arrival::Always,
        time: Time::Ample,
        is_of_tls: false,
    }
}

const LOST: &[Outcome] = &[unknown(Transport)];
/// The result of a reset before anything was read depends on which side is faster.
const LOST_OR_UNSENT: &[Outcome] = &[unknown(Transport), unsent(Transport)];
const LATE: &[Outcome] = &[unknown(Timeout), unsent(Timeout)];
const DOWN: Outcome = outcome(Gateway, Answered, Again::UnlessAtMostOnce);
const REFUSED: &[Outcome] = &[unsent(Connect), unsent(Transport), unknown(Transport), DOWN];
const FINAL: &[Outcome] = &[outcome(Gateway, Answered, Again::Never)];
const LIMITED: &[Outcome] = &[outcome(RateLimited, Answered, Again::Always)];
const MIXED_UP: &[Outcome] = &[unknown(Decode)];
const BROKEN: &[Outcome] = &[outcome(Decode, Answered, Again::Never)];

pub(super) const ROWS: &[Row] = &[
    // Connections are refused. Healthy connections are kept, but not after a 503, so new ones are
    // made.
    Row {
        arrival: Arrival::RefusedConnections,
        ..row(&["refuse@50%,seed=11", "status:503@10%,seed=12"], REFUSED)
    },
    Row { arrival: Arrival::Refused, ..row(&["reset-before@10%,seed=1"], LOST_OR_UNSENT) },
    // An outage of fifty requests, and losses during the whole run.
    row(&["reset-after@1001-1050", "reset-after@10%,seed=2"], LOST),
    Row { documents: &[V2], ..row(&["reset-mid@10%,seed=3"], LOST) },
    Row { time: Time::Short, ..row(&["stall@0.2%,seed=4"], LATE) },
    // A slow answer only comes late; an answer that would take too long times out.
    row(&["slow:0.01@1%,seed=5"], &[]),
    Row { time: Time::Short, documents: &[V2], ..row(&["slow:600@0.2%,seed=6"], LATE) },
    row(&["status:503@10%,seed=7"], &[DOWN]),
    row(&["status:429:0@10%,seed=8"], LIMITED),
    // A wait that would end after the deadline is not begun.
    Row { time: Time::Asked, ..row(&["status:400@10%,seed=9", "status:503:9@/20"], FINAL) },
    row(&["status:500@10%,seed=9"], &[DOWN]),
    row(&["malformed@10%,seed=10"], BROKEN),
    // An answer counts even if the request was not read and its connection is reset.
    Row { arrival: Arrival::Unread, ..row(&["early:413@5%,seed=13"], FINAL) },
    Row { arrival: Arrival::Unread, documents: &[V2], ..row(&["early:503@10%,seed=14"], &[DOWN]) },
    // A request may be sent to a connection that is just being closed. If it was not sent, it
    // begins anew; if it was written, its delivery is unknown.
    Row { arrival: Arrival::Perhaps, ..row(&["hang-up@/20"], LOST) },
    // Compressed answers are read, whether they were asked for or not.
    Row { documents: &[V2], ..row(&["gzip@10%,seed=15"], &[]) },
    // Connections end in the handshake. After a 503 another connection is made.
    Row {
        is_of_tls: true,
        arrival: Arrival::Perhaps,
        ..row(
            &[
                "reset-after@20%,seed=16,on=handshake",
                "drop@20%,seed=17,on=handshake",
                "status:503@10%,seed=18",
            ],
            &[unsent(Connect), DOWN],
        )
    },
    // Only a v2 gateway repeats the request's id, by which the client notices the mix-up.
    Row { documents: &[V2], ..row(&["shifted@/50"], MIXED_UP) },
];
