//! Scripted faults: what they do, and which requests they strike.
//!
//! Everything here is pure. Whether a fault by probability strikes depends on the seed, the place
//! of the fault in the list, and the number of the request. There is no shared generator of random
//! numbers, so the same requests fail in every run, however they interleave.

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
    /// The connection is reset when the request begins to arrive, before it is read. Over gRPC the
    /// request is read, but is not in the journal.
    ResetBefore,
    /// The connection is reset after the whole request or message was read. The endpoint does not
    /// run. Other requests in flight on the same connection are lost.
    ResetAfter,
    /// The endpoint runs, half of the answer is sent, then the connection is reset.
    ResetMid,
    /// The request is read and never answered. The connection stays open; over WebSocket and gRPC
    /// its other requests are answered.
    Stall,
    /// This status is answered at once. The endpoint does not run. Over gRPC the call gets a status
    /// of HTTP in place of an answer; if the stream has answers already, it is reset.
    Status {
        /// The status code, 200 to 599.
        code: u16,
        /// The value of the `Retry-After` header, unchanged.
        retry_after: Option<String>,
    },
    /// This redirect is answered at once. The endpoint does not run. Over gRPC the call gets it in
    /// place of an answer, as with [`Status`](Self::Status).
    Redirect {
        /// The status code: 301, 302, 303, 307 or 308.
        code: u16,
        /// The value of the `Location` header, unchanged.
        location: String,
    },
    /// This status is answered before the request's body is read, and then the connection is reset.
    Early(u16),
    /// The answer is sent, and then the connection is closed without `Connection: close`.
    HangUp,
    /// The answer is compressed with gzip, as by a proxy that compresses without being asked.
    Gzip,
    /// The answer is compressed with gzip, and this many bytes longer when it is decompressed: by
    /// spaces before its JSON, or by an unknown field of its message. What is sent has about a
    /// thousandth of the bytes.
    Bomb(u64),
    /// The head of the answer is sent at once, and its body in pieces spread over this time. Over
    /// WebSocket and gRPC the answer comes this much later, and other answers do not wait for it.
    Slow(Duration),
    /// The answer is a 200 whose JSON breaks off in the middle, a message that cannot be decoded, or an upgrade with the wrong `Sec-WebSocket-Accept`.
    Malformed,
    /// The request gets the answer of the request before it, as from a proxy that mixes up its
    /// answers. The next request gets the answer of this one.
    Shifted,
    /// The connection ends by FIN, without a close frame or a GOAWAY, when the message has arrived.
    Drop,
    /// The connection is closed with this frame when the message has arrived.
    Close {
        /// The close code, which may be one that RFC 6455 forbids.
        code: u16,
        /// The reason, 123 bytes at most.
        reason: String,
    },
    /// From this message on, the connection neither reads nor writes, but stays open.
    HalfOpen,
    /// From this message on, the connection sends pings without end and does not read, not even
    /// pongs.
    PingFlood,
    /// The answer is sent twice.
    Twice,
    /// The answer is sent after the next answer, but at most a second late.
    Reorder,
    /// The answer has a request id that no request had.
    UnknownId,
    /// Half of the frame of the answer is sent, then FIN. Over gRPC half of the message is sent,
    /// then the end of the stream with the status OK.
    Truncated,
    /// The answer is a message of this many zero bytes.
    Oversize(usize),
    /// The answer is a text message where binary messages are spoken, or the reverse. Over gRPC the
    /// answer has a content type that is not gRPC's; if the stream has answers already, the answer
    /// is marked as compressed in an unknown way.
    WrongType,
    /// The gRPC call ends with this status when the message has arrived. Other requests in flight
    /// on its stream are lost.
    GrpcStatus {
        /// The status code, which may be one that gRPC does not know.
        code: u16,
        /// The message of the status.
        message: String,
        /// The value of `grpc-retry-pushback-ms` in the trailers, unchanged.
        pushback: Option<String>,
    },
    /// The gRPC stream is reset with this error code of HTTP/2 when the message has arrived. With 7
    /// (REFUSED_STREAM) the message is not in the journal. If the message is not the first one of
    /// its stream, the stream was already processed, and the code is 2.
    ResetStream(u32),
    /// The gateway sends a GOAWAY with this error code of HTTP/2 when the message has arrived. With
    /// 0, open streams go on; with any other code the connection ends.
    GoAway(u32),
    /// The gateway sends a GOAWAY with this error code of HTTP/2 when the message has arrived. The
    /// GOAWAY names the stream before the message's stream as the last one, so the message is not
    /// processed and not in the journal; the other streams go on. If the message is not the first
    /// one of its stream, or a later stream was already processed, the GOAWAY names the last
    /// processed stream, and the message is answered.
    GoAwayAfter(u32),
    /// The gRPC call ends with the status OK when the message has arrived, without an answer.
    HalfClose,
    /// The upgrade is answered with this subprotocol, which a gateway never does.
    Subprotocol(String),
    /// The connection is served without TLS, so the client reads plain text where it expects a
    /// handshake.
    Plain,
    /// The certificate is for `elsewhere.test` alone.
    WrongName,
    /// The certificate expired a day ago.
    Expired,
    /// The certificate is valid from tomorrow on.
    NotYetValid,
    /// The certificate is by another CA, which has another name.
    UnknownIssuer,
    /// The certificate is its own issuer.
    SelfSigned,
    /// The certificate is for clients alone.
    WrongUsage,
    /// The gateway knows only this protocol (ALPN). A client that offers others gets an alert.
    /// With `None` the gateway knows no ALPN, and agrees on no protocol.
    Alpn(Option<String>),
    /// The gateway speaks only TLS 1.1, 1.2 or 1.3, of which this is the last digit. With TLS 1.1
    /// it gets no further than its first message.
    OnlyTls(u8),
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
            Self::Redirect { code, location } => write!(f, "redirect:{code}:{location}"),
            Self::Early(code) => write!(f, "early:{code}"),
            Self::HangUp => f.write_str("hang-up"),
            Self::Gzip => f.write_str("gzip"),
            Self::Bomb(bytes) => write!(f, "bomb:{bytes}"),
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
            Self::Plain => f.write_str("plain"),
            Self::WrongName => f.write_str("wrong-name"),
            Self::Expired => f.write_str("expired"),
            Self::NotYetValid => f.write_str("not-yet-valid"),
            Self::UnknownIssuer => f.write_str("unknown-issuer"),
            Self::SelfSigned => f.write_str("self-signed"),
            Self::WrongUsage => f.write_str("wrong-usage"),
            Self::Alpn(None) => f.write_str("alpn"),
            Self::Alpn(Some(name)) => write!(f, "alpn:{name}"),
            Self::OnlyTls(minor) => write!(f, "only-tls:1.{minor}"),
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
    /// The TLS handshake of a connection.
    Handshake,
}

impl FaultKind {
    /// Whether this fault can strike the target.
    pub(crate) fn fits(&self, target: Target) -> bool {
        use Target::{Call, Connection, Handshake, Message, Request, Upgrade};
        let targets: &[Target] = match self {
            Self::Refuse => &[Connection],
            Self::ResetBefore => &[Request, Call],
            Self::Shifted => &[Request],
            Self::ResetAfter | Self::Stall => &[Request, Message, Call, Upgrade, Handshake],
            Self::Malformed => &[Request, Message, Call, Upgrade],
            Self::Early(_) | Self::HangUp => &[Request],
            Self::Gzip | Self::Bomb(_) => &[Request, Call],
            Self::ResetMid | Self::Slow(_) => &[Request, Message, Call],
            Self::Status { .. } | Self::Redirect { .. } => &[Request, Call, Upgrade],
            Self::Drop => &[Message, Call, Upgrade, Handshake],
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
            Self::Plain
            | Self::WrongName
            | Self::Expired
            | Self::NotYetValid
            | Self::UnknownIssuer
            | Self::SelfSigned
            | Self::WrongUsage
            | Self::Alpn(_)
            | Self::OnlyTls(_) => &[Handshake],
        };
        targets.contains(&target)
    }
}

/// What a fault strikes in place of requests with data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum On {
    Upgrade,
    Handshake,
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

/// One scripted fault: what happens, and to which requests. A fault is parsed from text;
/// [`FAULT_HELP`] is the grammar.
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
    on: Option<On>,
}

impl Fault {
    /// What happens.
    pub fn kind(&self) -> &FaultKind {
        &self.kind
    }

    /// Whether the fault strikes requests to become a WebSocket, for [`path`](Self::path) or for
    /// `/`.
    pub fn is_for_upgrades(&self) -> bool {
        self.on == Some(On::Upgrade)
    }

    /// Whether the fault strikes TLS handshakes.
    pub fn is_for_handshakes(&self) -> bool {
        self.on == Some(On::Handshake)
    }

    pub(crate) fn is_for_requests(&self) -> bool {
        self.on.is_none()
    }

    /// The path whose GETs are struck, if the fault is not for requests that carry data.
    pub fn path(&self) -> Option<&str> {
        self.path.as_deref()
    }

    /// Whether the fault, which is at `index` of its list, strikes the request with this number.
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
        match self.on {
            None => Ok(()),
            Some(On::Upgrade) => f.write_str(",on=upgrade"),
            Some(On::Handshake) => f.write_str(",on=handshake"),
        }
    }
}

/// Why a text cannot be parsed as a fault, in one line that names the fault and the wrong part.
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
