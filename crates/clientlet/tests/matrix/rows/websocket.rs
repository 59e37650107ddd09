//! WebSocket. A connection carries all requests, so most faults that strike one request end the
//! connection for all.

use clientlet::Delivery::NotSent;
use clientlet::ErrorKind::{Closed, Connect, Decode, Gateway, Timeout, TooLarge, Transport};
use clientlet_gateway::DocArray::{V1, V2};

use super::{Again, Arrival, Outcome, Reach, Row, Time, outcome, unknown, unsent};
use crate::protocol::Protocol;

// The generations differ in the content of answers, not in the faults of connections. So rows
// alternate between the generations, and use both if the fault strikes answers themselves.

/// A fault that ends the connection.
const fn ends(faults: &'static [&'static str], failures: &'static [Outcome]) -> Row {
    Row {
        protocol: Protocol::Websocket,
        faults,
        documents: &[V1],
        failures,
        reach: Reach::Unanswered,
        arrival: Arrival::Perhaps,
        time: Time::Ample,
        is_of_tls: false,
    }
}

/// A fault that does not affect the connection.
const fn spares(faults: &'static [&'static str], failures: &'static [Outcome]) -> Row {
    Row { reach: Reach::Request, arrival: Arrival::Always, ..ends(faults, failures) }
}

const fn v2(row: Row) -> Row {
    Row { documents: &[V2], ..row }
}

const fn both(row: Row) -> Row {
    Row { documents: &[V1, V2], ..row }
}

/// Requests that still wait to be written when their connection ends are not sent.
const UNSENT: Outcome = unsent(Transport);
const DROPPED: &[Outcome] = &[unknown(Transport), UNSENT];
const OUTAGE: &[Outcome] = &[unknown(Gateway), UNSENT];
const SLOW: &[Outcome] = &[unknown(Timeout), UNSENT];
const CLOSED: &[Outcome] = &[outcome(Closed, clientlet::Delivery::Unknown, Again::Never), UNSENT];
const GARBLED: &[Outcome] = &[unknown(Decode), UNSENT];
const OVERSIZE: &[Outcome] = &[unknown(TooLarge), UNSENT];
const LATE: &[Outcome] = &[unknown(Timeout), unsent(Timeout)];
const REFUSED: &[Outcome] = &[unsent(Connect), UNSENT, unknown(Transport)];
const TURNED_AWAY: &[Outcome] = &[unsent(Gateway), UNSENT, unknown(Transport)];
/// Another upgrade would get the same answer.
const ANOTHER_PROTOCOL: &[Outcome] = &[
    outcome(Decode, NotSent, Again::Never),
    outcome(Gateway, NotSent, Again::Never),
    UNSENT,
    unknown(Transport),
];
const LATE_OR_DROPPED: &[Outcome] =
    &[unknown(Timeout), unsent(Timeout), UNSENT, unknown(Transport)];

/// The gateway's close when its executor is down, and when it is slow.
const DOWN: &str = "close:1011:Network error while connecting to deployment at {'127.0.0.1:1'}. \
    It may be down.@1%,seed=23";
const TIMED_OUT: &str =
    "close:1011:Connection to deployment at {'127.0.0.1:1'} timed out.@1%,seed=24";

pub(super) const ROWS: &[Row] = &[
    both(ends(&["drop@1%,seed=21"], DROPPED)),
    ends(
        &[
            "close:1000@0.3%,seed=22",
            "close:1001@0.3%,seed=22",
            "close:1012@0.3%,seed=22",
            "close:1011:keepalive ping timeout@0.3%,seed=22",
        ],
        DROPPED,
    ),
    v2(ends(&[DOWN], OUTAGE)),
    ends(&[TIMED_OUT], SLOW),
    v2(ends(&["close:1013@1%,seed=25"], OUTAGE)),
    ends(&["close:4000:of its own@1%,seed=26"], CLOSED),
    v2(ends(&["truncated@1%,seed=27"], DROPPED)),
    both(Row {
        reach: Reach::Answered,
        ..ends(&["reset-after@0.5%,seed=28", "reset-mid@0.5%,seed=29"], DROPPED)
    }),
    // The client closes the connection, so the answers after the unreadable one are lost.
    both(Row {
        reach: Reach::Answered,
        ..ends(
            &["unknown-id@0.4%,seed=30", "malformed@0.4%,seed=31", "wrong-type@0.4%,seed=32"],
            GARBLED,
        )
    }),
    v2(Row { reach: Reach::Answered, ..ends(&["oversize:70000@1%,seed=33"], OVERSIZE) }),
    spares(&["twice@5%,seed=34", "reorder@5%,seed=35"], &[]),
    v2(spares(&["slow:0.01@1%,seed=36"], &[])),
    Row { time: Time::Short, ..spares(&["slow:600@0.05%,seed=37", "stall@0.05%,seed=38"], LATE) },
    v2(Row { time: Time::Short, ..ends(&["half-open@0.1%,seed=39"], LATE) }),
    Row { time: Time::Short, ..ends(&["ping-flood@0.1%,seed=52"], LATE) },
    // Connections that end are opened again, although the gateway refuses half of the new ones.
    ends(&["refuse@50%,seed=40", "drop@0.5%,seed=41"], REFUSED),
    v2(ends(
        &[
            "status:503@20%,seed=42,on=upgrade",
            "drop@10%,seed=43,on=upgrade",
            "reset-after@10%,seed=44,on=upgrade",
            "drop@0.5%,seed=45",
        ],
        TURNED_AWAY,
    )),
    ends(
        &[
            "malformed@20%,seed=46,on=upgrade",
            "subprotocol:json@20%,seed=47,on=upgrade",
            "status:401@20%,seed=48,on=upgrade",
            "drop@0.5%,seed=49",
        ],
        ANOTHER_PROTOCOL,
    ),
    Row {
        is_of_tls: true,
        ..ends(
            &[
                "reset-after@20%,seed=53,on=handshake",
                "drop@20%,seed=54,on=handshake",
                "drop@0.5%,seed=55",
            ],
            REFUSED,
        )
    },
    v2(Row {
        time: Time::Short,
        ..ends(&["stall@20%,seed=50,on=upgrade", "drop@0.2%,seed=51"], LATE_OR_DROPPED)
    }),
];
