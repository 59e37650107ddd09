//! gRPC. A stream carries all requests of a call, so most faults that strike one request end the
//! stream for all. Unary requests share only the connection.

use clientlet::Delivery::Answered;
use clientlet::ErrorKind::{
    Connect, Decode, Gateway, NotFound, RateLimited, Timeout, TooLarge, Transport,
};
use clientlet_gateway::DocArray::{V1, V2};

use super::{Again, Arrival, Outcome, Reach, Row, Time, outcome, unknown, unsent};
use crate::protocol::Protocol;

/// A fault that ends the stream.
const fn ends(faults: &'static [&'static str], failures: &'static [Outcome]) -> Row {
    Row {
        protocol: Protocol::Grpc,
        faults,
        documents: &[V2],
        failures,
        reach: Reach::Answered,
        arrival: Arrival::Perhaps,
        time: Time::Ample,
        is_of_tls: false,
    }
}

/// A fault that does not affect the stream.
const fn spares(faults: &'static [&'static str], failures: &'static [Outcome]) -> Row {
    Row { reach: Reach::Request, arrival: Arrival::Always, ..ends(faults, failures) }
}

/// A fault that strikes one unary request.
const fn unary(faults: &'static [&'static str], failures: &'static [Outcome]) -> Row {
    Row { protocol: Protocol::GrpcUnary, documents: &[V1], ..spares(faults, failures) }
}

/// Requests that still wait to be written when their stream ends are not sent.
const UNSENT: Outcome = unsent(Transport);
const DROPPED: &[Outcome] = &[unknown(Transport), UNSENT];
const OUTAGE: &[Outcome] = &[unknown(Gateway), UNSENT];
const SLOW: &[Outcome] = &[unknown(Timeout), UNSENT];
const LIMITED: &[Outcome] = &[unknown(RateLimited), UNSENT];
const REFUSED: &[Outcome] = &[outcome(Gateway, Answered, Again::Never), UNSENT];
const GARBLED: &[Outcome] = &[unknown(Decode), unknown(Gateway), UNSENT];
const OVERSIZE: &[Outcome] = &[unknown(TooLarge), UNSENT];
const LATE: &[Outcome] = &[unknown(Timeout), unsent(Timeout)];
const RESISTED: &[Outcome] = &[unsent(Connect), UNSENT, unknown(Transport)];

/// The gateway's status when its executor is down, and when it is slow.
const DOWN: &str = "grpc-status:14:failed to connect to deployment at {'127.0.0.1:1'}@1%,seed=61";
const TIMED_OUT: &str = "grpc-status:4:deployment at {'127.0.0.1:1'} timed out@1%,seed=62";

pub(super) const ROWS: &[Row] = &[
    ends(&["drop@0.5%,seed=60", "reset-after@0.5%,seed=60", "reset-mid@0.5%,seed=70"], DROPPED),
    ends(&[DOWN], OUTAGE),
    ends(&[TIMED_OUT], SLOW),
    ends(&["grpc-status:14@0.4%,seed=63", "grpc-status:1@0.4%,seed=64"], DROPPED),
    // Any request of a stream may be the cause of the stream's failure.
    ends(
        &[
            "grpc-status:2@0.4%,seed=65",
            "grpc-status:13@0.4%,seed=66",
            "grpc-status:10@0.4%,seed=67",
        ],
        OUTAGE,
    ),
    ends(&["grpc-status:8@0.4%,seed=68,pushback=1", "grpc-status:8@0.4%,seed=69"], LIMITED),
    ends(
        &["reset-stream@0.5%,seed=71", "reset-stream:8@0.5%,seed=72", "half-close@0.5%,seed=73"],
        DROPPED,
    ),
    ends(&["goaway:2@0.5%,seed=74"], DROPPED),
    ends(&["truncated@0.5%,seed=76"], DROPPED),
    ends(&["unknown-id@0.4%,seed=77", "malformed@0.4%,seed=78"], GARBLED),
    ends(&["oversize:70000@0.5%,seed=79"], OVERSIZE),
    Row { documents: &[V1], ..spares(&["twice@5%,seed=80", "reorder@5%,seed=81"], &[]) },
    Row { documents: &[V1], ..spares(&["goaway@1%,seed=75"], &[]) },
    Row { documents: &[V2], ..spares(&["goaway-after@1%,seed=104"], &[]) },
    Row { time: Time::Short, ..spares(&["slow:600@0.05%,seed=82", "stall@0.05%,seed=83"], LATE) },
    Row { time: Time::Short, ..ends(&["half-open@0.1%,seed=84"], LATE) },
    ends(&["refuse@50%,seed=85", "drop@0.5%,seed=86"], RESISTED),
    Row {
        is_of_tls: true,
        ..ends(
            &[
                "reset-after@20%,seed=107,on=handshake",
                "drop@20%,seed=108,on=handshake",
                "drop@0.5%,seed=109",
            ],
            RESISTED,
        )
    },
    // A refused request was not processed. It begins anew, uncounted, so every request is answered.
    Row { documents: &[V2], ..unary(&["reset-stream:7@5%,seed=103"], &[]) },
    unary(&["goaway-after@2%,seed=105", "goaway-after:11@1%,seed=106"], &[]),
    unary(&["grpc-status:14@5%,seed=87", "reset-stream@1%,seed=88"], DROPPED),
    unary(&["grpc-status:14:deployment down@5%,seed=89"], OUTAGE),
    unary(&["grpc-status:8@5%,seed=90,pushback=1"], LIMITED),
    unary(&["grpc-status:2@3%,seed=91", "grpc-status:3@3%,seed=92"], REFUSED),
    unary(&["grpc-status:12@5%,seed=93"], &[outcome(NotFound, Answered, Again::Never)]),
    unary(&["oversize:70000@3%,seed=94"], &[outcome(TooLarge, Answered, Again::Never)]),
    unary(
        &["malformed@3%,seed=95", "unknown-id@3%,seed=96", "wrong-type@3%,seed=97"],
        &[outcome(Decode, Answered, Again::Never)],
    ),
    Row {
        reach: Reach::Answered,
        arrival: Arrival::Perhaps,
        ..unary(
            &["drop@0.5%,seed=98", "reset-after@0.5%,seed=99", "truncated@1%,seed=102"],
            DROPPED,
        )
    },
    Row { time: Time::Short, ..unary(&["stall@0.1%,seed=100", "slow:600@0.1%,seed=101"], LATE) },
];
