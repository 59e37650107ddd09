//! Scripted faults: what they do, and which requests they strike.
//!
//! Everything here is pure. A fault by probability decides from the seed, its place in the list
//! and the request's number alone, never from a shared generator, so that the same numbers fail
//! however the requests interleave.

mod grammar;

use std::error::Error;
use std::fmt;
use std::time::Duration;

pub use self::grammar::FAULT_HELP;

/// What a fault does to a request.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub enum FaultKind {
    /// The connection is reset as soon as it is accepted.
    Refuse,
    /// The connection is reset when the request begins to arrive, before it is read. Over gRPC it is
    /// read, but not noted.
    ResetBefore,
    /// The connection is reset after the whole request or message was read; its endpoint does not
    /// run. What else is in flight on a WebSocket or over gRPC is lost.
    ResetAfter,
    /// The endpoint runs, half of the answer is sent, then the connection is reset.
    ResetMid,
    /// The request is read and never answered; the connection stays open, and on a WebSocket or over
    /// gRPC the others are answered.
    Stall,
    /// This status is answered at once; the endpoint does not run. Over gRPC it is one of HTTP
    /// instead of an answer; a stream whose answers have begun is reset.
    Status {
        /// The status code, 200 to 599.
        code: u16,
        /// The value of the `Retry-After` header, as it stands.
        retry_after: Option<String>,
    },
    /// This status is answered before the request's body is read, and then the connection is reset.
    Early(u16),
    /// The answer is sent, and then the connection is closed without announcing it.
    HangUp,
    /// The answer is compressed with gzip, as by a proxy that compresses without being asked.
    Gzip,
    /// The answer's head is sent at once, its body in pieces spread over this time. On a WebSocket
    /// or over gRPC the answer comes so much later, and the others do not wait for it.
    Slow(Duration),
    /// The answer is a 200 whose JSON breaks off in the middle, a message that cannot be decoded, or an upgrade with the wrong `Sec-WebSocket-Accept`.
    Malformed,
    /// The answer is the one that another request got before, as from a proxy that mixes up its
    /// answers; the request's own answer goes to the next one.
    Shifted,
    /// The connection ends by FIN, without a close frame or a GOAWAY, when the message has arrived.
    Drop,
    /// The connection is closed with this frame when the message has arrived.
    Close {
        /// The close code; also one that RFC 6455 forbids.
        code: u16,
        /// The reason, 123 bytes at most.
        reason: String,
    },
    /// From this message on the connection reads nothing and writes nothing, but stays open.
    HalfOpen,
    /// From this message on the connection reads nothing, pongs included, and sends pings without end.
    PingFlood,
    /// The answer is sent twice.
    Twice,
    /// The answer is held until the next one was sent, though for a second at most.
    Reorder,
    /// The answer carries a request id that nobody asked for.
    UnknownId,
    /// Half of the answer's frame is sent, then FIN; over gRPC half of the message, then the end of
    /// the stream as if all were well.
    Truncated,
    /// The answer is a message of so many zero bytes.
    Oversize(usize),
    /// The answer is a text message where binary ones are spoken, and the reverse. Over gRPC its
    /// content type is none of gRPC; on a stream whose answers have begun, it is marked as compressed
    /// in a way that there is not.
    WrongType,
    /// The gRPC call ends with this status when the message has arrived. What else is in flight on its
    /// stream is lost.
    GrpcStatus {
        /// The status code, also one that gRPC does not know.
        code: u16,
        /// What it says.
        message: String,
        /// The value of `grpc-retry-pushback-ms` in the trailers, as it stands.
        pushback: Option<String>,
    },
    /// The gRPC stream is reset with this error code of HTTP/2 when the message has arrived. With
    /// 7, REFUSED_STREAM, the message is not noted. If the message is not the first one of its
    /// stream, the stream was already processed, and the code is 2.
    ResetStream(u32),
    /// The connection is left by a GOAWAY with this error code of HTTP/2 when the message has arrived.
    /// With 0 the streams that are open go on; otherwise the connection ends.
    GoAway(u32),
    /// When the message has arrived, the connection gets a GOAWAY with this error code of HTTP/2,
    /// which names the stream before the message's as the last one. The message is not noted, since
    /// no stream above the last one is processed; the other streams go on. If the message is not
    /// the first one of its stream, or a later stream was already processed, the GOAWAY names the
    /// last processed stream, and the message is answered.
    GoAwayAfter(u32),
    /// The gRPC call ends as if all were well when the message has arrived, without an answer.
    HalfClose,
    /// The upgrade is answered with this subprotocol, which a gateway never does.
    Subprotocol(String),
}

impl fmt::Display for FaultKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Refuse => f.write_str("refuse"),
            Self::ResetBefore => f.write_str("reset-before"),
            Self::ResetAfter => f.write_str("reset-after"),
            Self::ResetMid => f.write_str("reset-mid"),
            Self::Stall => f.write_str("stall"),
            Self::Status { code, retry_after: None } => write!(f, "status:{code}"),
            Self::Status { code, retry_after: Some(after) } => write!(f, "status:{code}:{after}"),
            Self::Early(code) => write!(f, "early:{code}"),
            Self::HangUp => f.write_str("hang-up"),
            Self::Gzip => f.write_str("gzip"),
            Self::Slow(time) => write!(f, "slow:{}", time.as_secs_f64()),
            Self::Malformed => f.write_str("malformed"),
            Self::Shifted => f.write_str("shifted"),
            Self::Drop => f.write_str("drop"),
            Self::Close { code, reason } if reason.is_empty() => write!(f, "close:{code}"),
            Self::Close { code, reason } => write!(f, "close:{code}:{reason}"),
            Self::HalfOpen => f.write_str("half-open"),
            Self::PingFlood => f.write_str("ping-flood"),
            Self::Twice => f.write_str("twice"),
            Self::Reorder => f.write_str("reorder"),
            Self::UnknownId => f.write_str("unknown-id"),
            Self::Truncated => f.write_str("truncated"),
            Self::Oversize(bytes) => write!(f, "oversize:{bytes}"),
            Self::WrongType => f.write_str("wrong-type"),
            Self::GrpcStatus { code, message, .. } if message.is_empty() => {
                write!(f, "grpc-status:{code}")
            }
            Self::GrpcStatus { code, message, .. } => write!(f, "grpc-status:{code}:{message}"),
            Self::ResetStream(code) => write!(f, "reset-stream:{code}"),
            Self::GoAway(code) => write!(f, "goaway:{code}"),
            Self::GoAwayAfter(code) => write!(f, "goaway-after:{code}"),
            Self::HalfClose => f.write_str("half-close"),
            Self::Subprotocol(name) => write!(f, "subprotocol:{name}"),
        }
    }
}

/// What a fault can strike.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Target {
    Connection,
    /// An HTTP request, with data or without.
    Request,
    /// A WebSocket message.
    Message,
    /// A gRPC message.
    Call,
    /// A request to become a WebSocket.
    Upgrade,
}

impl FaultKind {
    /// Whether this can happen to such a thing.
    pub(crate) fn fits(&self, target: Target) -> bool {
        use Target::{Call, Connection, Message, Request, Upgrade};
        let targets: &[Target] = match self {
            Self::Refuse => &[Connection],
            Self::ResetBefore => &[Request, Call],
            Self::Shifted => &[Request],
            Self::ResetAfter | Self::Stall | Self::Malformed => &[Request, Message, Call, Upgrade],
            Self::Early(_) | Self::HangUp | Self::Gzip => &[Request],
            Self::ResetMid | Self::Slow(_) => &[Request, Message, Call],
            Self::Status { .. } => &[Request, Call, Upgrade],
            Self::Drop => &[Message, Call, Upgrade],
            Self::Close { .. } | Self::PingFlood => &[Message],
            Self::HalfOpen
            | Self::Twice
            | Self::Reorder
            | Self::UnknownId
            | Self::Truncated
            | Self::Oversize(_)
            | Self::WrongType => &[Message, Call],
            Self::GrpcStatus { .. }
            | Self::ResetStream(_)
            | Self::GoAway(_)
            | Self::GoAwayAfter(_)
            | Self::HalfClose => &[Call],
            Self::Subprotocol(_) => &[Upgrade],
        };
        targets.contains(&target)
    }
}

/// Which of the counted requests a fault strikes.
#[derive(Clone, Copy, Debug, PartialEq)]
enum When {
    Range(u64, u64),
    Every(u64),
    Percent(f64),
}

impl fmt::Display for When {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Range(first, last) if first == last => write!(f, "{first}"),
            Self::Range(first, last) => write!(f, "{first}-{last}"),
            Self::Every(n) => write!(f, "/{n}"),
            Self::Percent(percent) => write!(f, "{percent}%"),
        }
    }
}

/// One scripted fault: what happens, and to which requests. Parse it from text; [`FAULT_HELP`]
/// is the grammar.
///
/// ```
/// use clientlet_gateway::{Fault, FaultKind};
///
/// let fault: Fault = "status:503:1@1-3".parse()?;
/// assert_eq!(fault.kind(), &FaultKind::Status { code: 503, retry_after: Some("1".into()) });
/// assert_eq!(fault.to_string(), "status:503:1@1-3");
/// # Ok::<(), clientlet_gateway::FaultError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Fault {
    kind: FaultKind,
    when: When,
    seed: Option<u64>,
    path: Option<String>,
    on_upgrade: bool,
}

impl Fault {
    /// What happens.
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// Whether it strikes requests to become a WebSocket, those of [`path`](Self::path) or of `/`.
    pub fn is_for_upgrades(&self) -> bool {
        self.on_upgrade
    }

    /// The path whose GETs are struck, if the fault is not for requests that carry data.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Whether the fault, standing at `index` in its list, strikes the request of this number.
    pub(crate) fn strikes(&self, index: usize, number: u64, default_seed: u64) -> bool {
        match self.when {
            When::Range(first, last) => (first..=last).contains(&number),
            When::Every(n) => number.is_multiple_of(n),
            When::Percent(percent) => {
                let seed = self.seed.unwrap_or(default_seed);
                let place = scramble(seed ^ scramble(index as u64));
                let draw = scramble(place ^ scramble(number));
                // The upper 53 bits fill a double's mantissa evenly in [0, 1).
                ((draw >> 11) as f64 / (1u64 << 53) as f64) < percent / 100.0
            }
        }
    }
}

/// The finalizer of splitmix64 (Steele, Lea, Flood 2014): every bit of the result depends on
/// every bit of the argument.
pub(crate) fn scramble(value: u64) -> u64 {
    let mut z = value.wrapping_add(0x9e37_79b9_7f4a_7c15);
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}@{}", self.kind, self.when)?;
        if let Some(seed) = self.seed {
            write!(f, ",seed={seed}")?;
        }
        if let Some(path) = &self.path {
            write!(f, ",path={path}")?;
        }
        if let FaultKind::GrpcStatus { pushback: Some(pushback), .. } = &self.kind {
            write!(f, ",pushback={pushback}")?;
        }
        if self.on_upgrade {
            f.write_str(",on=upgrade")?;
        }
        Ok(())
    }
}

/// Why a text is no fault: one line that names the fault and the part that is wrong.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultError(String);

impl fmt::Display for FaultError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl Error for FaultError {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ranges_and_every_nth_strike_what_they_say() {
        let struck = |spec: &str| {
            let fault: Fault = spec.parse().unwrap();
            (1..=10).filter(|&n| fault.strikes(0, n, 0)).collect::<Vec<u64>>()
        };
        assert_eq!(struck("stall@3"), [3]);
        assert_eq!(struck("stall@2-4"), [2, 3, 4]);
        assert_eq!(struck("stall@/4"), [4, 8]);
        assert_eq!(struck("stall@0%"), [0; 0]);
        assert_eq!(struck("stall@100%").len(), 10);
    }

    #[test]
    fn probability_is_met_and_depends_on_seed_and_place() {
        let fault: Fault = "stall@20%".parse().unwrap();
        let struck = |index, seed| {
            (1..=100_000).filter(|&n| fault.strikes(index, n, seed)).collect::<Vec<u64>>()
        };
        let first = struck(0, 1);
        // Five standard deviations of 100,000 draws at 20 %: 5 * sqrt(100000 * 0.2 * 0.8) = 632.
        assert!(first.len().abs_diff(20_000) < 632, "{}", first.len());
        assert_eq!(first, struck(0, 1));
        assert_ne!(first, struck(1, 1));
        assert_ne!(first, struck(0, 2));
        let named: Fault = "stall@20%,seed=1".parse().unwrap();
        assert!((1..=1000).all(|n| named.strikes(0, n, 99) == fault.strikes(0, n, 1)));
    }
}
