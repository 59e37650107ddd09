//! What is sent to a gateway and what it answers: requests, answers, status, routes.

use std::fmt;
use std::ops::{Deref, DerefMut, Range};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, HeaderName, Uri};

use crate::foreign::shorten;

/// The generation of DocArray that a gateway speaks. Documents of one generation cannot be read as
/// the other.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocArray {
    /// docarray below 0.30: documents with a fixed set of fields.
    V1,
    /// docarray 0.30 and above: documents with the fields that an executor's class defines.
    V2,
}

impl DocArray {
    /// Returns the generation of a docarray release such as `0.21.0`.
    pub(crate) fn of_release(release: &str) -> Option<DocArray> {
        let mut parts = release.split('.').map(|part| {
            let digits = part.find(|c: char| !c.is_ascii_digit()).unwrap_or(part.len());
            part[..digits].parse::<u32>().ok()
        });
        let (major, minor) = (parts.next()??, parts.next().flatten().unwrap_or(0));
        Some(if (major, minor) < (0, 30) { DocArray::V1 } else { DocArray::V2 })
    }
}

impl fmt::Display for DocArray {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            DocArray::V1 => "v1",
            DocArray::V2 => "v2",
        })
    }
}

impl FromStr for DocArray {
    type Err = ParseDocArrayError;

    fn from_str(name: &str) -> Result<DocArray, ParseDocArrayError> {
        match name {
            "v1" => Ok(DocArray::V1),
            "v2" => Ok(DocArray::V2),
            _ => Err(ParseDocArrayError(shorten(name))),
        }
    }
}

/// A text that is no generation of documents; `v1` and `v2` are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseDocArrayError(String);

impl fmt::Display for ParseDocArrayError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{}\" is neither v1 nor v2", self.0)
    }
}

impl std::error::Error for ParseDocArrayError {}

/// A document that the gateway cannot pass on.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Culprit {
    /// The index of the document in the request.
    pub(crate) index: usize,
    /// The fault in the document, in words.
    pub(crate) what: String,
}

/// The headers that the client sets itself. A second value would break the request.
const OWN_HEADERS: [&str; 8] = [
    "content-type",
    "content-length",
    "transfer-encoding",
    "connection",
    "proxy-connection",
    "keep-alive",
    "upgrade",
    "te",
];
/// The prefixes of further headers that the client sets itself.
const OWN_PREFIXES: [&str; 2] = ["grpc-", "sec-websocket-"];

/// Whether the client itself sets the header.
pub(crate) fn is_own_header(header: &HeaderName) -> bool {
    let name = header.as_str();
    OWN_HEADERS.contains(&name) || OWN_PREFIXES.iter().any(|prefix| name.starts_with(prefix))
}

/// The encoding of requests and answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    /// Protobuf.
    Proto,
}

/// A request's id, `nonce-sequence`. The nonce is the client's; the sequence numbers the client's
/// requests. The id stays the same on every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestId {
    pub(crate) nonce: u64,
    pub(crate) sequence: u64,
}

impl RequestId {
    /// Returns the beginning of each id with this nonce. The sequence number follows, in decimal.
    pub(crate) fn prefix(nonce: u64) -> String {
        format!("{nonce:016x}-")
    }

    /// The id as text.
    pub(crate) fn text(self) -> String {
        self.write(&mut [0; LONGEST]).to_owned()
    }

    /// Writes `{nonce:016x}-{sequence}` digit by digit. Every request needs its id as text, and
    /// `write!` takes several times as long.
    fn write(self, room: &mut [u8; LONGEST]) -> &str {
        let digit = |value: u64| b"0123456789abcdef"[(value & 15) as usize];
        let mut start = LONGEST;
        let mut rest = self.sequence;
        loop {
            start -= 1;
            room[start] = digit(rest % 10);
            rest /= 10;
            if rest == 0 {
                break;
            }
        }
        start -= 1;
        room[start] = b'-';
        start -= NONCE;
        for place in 0..NONCE {
            room[start + place] = digit(self.nonce >> (4 * (NONCE - 1 - place)));
        }
        str::from_utf8(&room[start..]).expect("digits and a dash are ASCII")
    }
}

/// The hexadecimal digits of a nonce.
const NONCE: usize = 16;
/// The digits of a nonce, a dash, and the decimal digits of a u64.
const LONGEST: usize = NONCE + 1 + 20;

impl fmt::Display for RequestId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.write(&mut [0; LONGEST]))
    }
}

/// A request without its body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    /// The id as text.
    pub(crate) id_text: String,
    /// The request's index in its call, by which answers are put in order.
    pub(crate) index: u64,
    /// The range of the call's documents that the request carries.
    pub(crate) documents: Range<u64>,
    pub(crate) route: Arc<Route>,
}

/// Where and how the requests of a call are sent, known once the gateway is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) docarray: DocArray,
    /// The address of requests. For protocols with one connection for all requests, the address of
    /// that connection.
    pub(crate) uri: Uri,
    /// Whether the request names the endpoint; otherwise the path does.
    pub(crate) is_by_name: bool,
    pub(crate) headers: Arc<HeaderMap>,
}

/// An answer as a transport reads it: the envelope is open, the documents are left as they came.
///
/// It is one pointer wide, because it is moved often.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer(Box<AnswerParts>);

/// The parts of an answer.
#[derive(Clone, Debug)]
pub(crate) struct AnswerParts {
    pub(crate) docarray: DocArray,
    pub(crate) encoding: Encoding,
    pub(crate) request_id: String,
    pub(crate) status: Status,
    /// The answer as it came: JSON, or the protobuf message.
    pub(crate) whole: Bytes,
    /// A JSON list, or the whole protobuf message; `None` without routes.
    pub(crate) routes: Option<Bytes>,
    /// A JSON object, or a protobuf Struct; `None` without parameters.
    pub(crate) parameters: Option<Bytes>,
    /// A JSON list, or a protobuf list; `None` without documents.
    pub(crate) documents: Option<Bytes>,
}

impl From<AnswerParts> for RawAnswer {
    fn from(parts: AnswerParts) -> RawAnswer {
        RawAnswer(Box::new(parts))
    }
}

impl Deref for RawAnswer {
    type Target = AnswerParts;

    fn deref(&self) -> &AnswerParts {
        &self.0
    }
}

impl DerefMut for RawAnswer {
    fn deref_mut(&mut self) -> &mut AnswerParts {
        &mut self.0
    }
}

impl RawAnswer {
    /// Whether the answer holds only an id. An answer to a request that the gateway worked on has
    /// at least a route.
    pub(crate) fn is_bare(&self) -> bool {
        self.status == Status::default()
            && self.routes.is_none()
            && self.parameters.is_none()
            && self.documents.is_none()
    }
}

/// The outcome of a request, or its outcome at one deployment.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// 0 is success, 1 an error.
    pub code: i32,
    /// The error in words; empty on success.
    pub description: String,
    /// The exception that was raised, if any.
    pub exception: Option<Exception>,
}

/// The answer to a dry run.
pub type StatusMessage = Status;

impl Status {
    /// Whether the outcome is success. Gateways leave out the status of a success.
    pub fn is_success(&self) -> bool {
        self.code == 0
    }
}

/// An exception that was raised in an executor or a gateway.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Exception {
    /// The exception's class, such as `ValueError`.
    pub name: String,
    /// The arguments, as text.
    pub args: Vec<String>,
    /// The traceback, line by line.
    pub stacks: Vec<String>,
    /// The class of the executor that raised the exception.
    pub executor: String,
}

/// A station of a request: the gateway itself, then each deployment.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTimes {
    /// `gateway`, or the deployment's name.
    pub executor: String,
    /// The time when the request arrived at this station; `None` if the gateway does not report it,
    /// or reports a time outside the years 1 to 9999.
    pub start_time: Option<SystemTime>,
    /// The time when the request left; `None` also if the deployment was skipped.
    pub end_time: Option<SystemTime>,
    /// The outcome at this station, if the gateway reports it.
    pub status: Option<Status>,
}

/// The maximum number of stations of a request; each is a deployment of a Flow. Longer lists are
/// refused, because a station in memory takes a hundred times its bytes on the wire.
pub(crate) const MOST_ROUTES: usize = 4096;

/// Returns the message about an answer with more stations.
pub(crate) fn too_many_routes() -> String {
    format!("there are more than {MOST_ROUTES} routes")
}

/// Converts seconds and nanoseconds since 1970 to a time; `None` outside the years 1 to 9999, which
/// are the limits of protobuf's timestamps, of RFC 3339 and of other crates' calendars.
pub(crate) fn time_of(seconds: i64, nanos: u32) -> Option<SystemTime> {
    const YEARS_1_TO_9999: Range<i64> = -62_135_596_800..253_402_300_800;
    if !YEARS_1_TO_9999.contains(&seconds) || nanos >= 1_000_000_000 {
        return None;
    }
    let whole = Duration::from_secs(seconds.unsigned_abs());
    let begin = if seconds < 0 {
        SystemTime::UNIX_EPOCH.checked_sub(whole)
    } else {
        SystemTime::UNIX_EPOCH.checked_add(whole)
    };
    begin?.checked_add(Duration::from_nanos(nanos.into()))
}

/// A gateway's report on itself: the releases it runs on and its environment.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct GatewayStatus {
    /// Releases and facts of the machine, by name: `jina`, `docarray`, `python`, ...
    pub jina: std::collections::BTreeMap<String, String>,
    /// The environment variables that matter to Jina; `(unset)` for those that are not set.
    #[serde(default)]
    pub envs: std::collections::BTreeMap<String, String>,
}

impl GatewayStatus {
    /// Returns the release of Jina.
    pub fn jina_release(&self) -> Option<&str> {
        self.jina.get("jina").map(String::as_str)
    }

    /// Returns the release of docarray.
    pub fn docarray_release(&self) -> Option<&str> {
        self.jina.get("docarray").map(String::as_str)
    }

    /// Returns the generation of documents that the gateway speaks: v1 below docarray 0.30.
    pub fn docarray(&self) -> Option<DocArray> {
        DocArray::of_release(self.docarray_release()?)
    }
}

/// Counts of a client's connections and late answers; see
/// [`Client::connections`](crate::Client::connections).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// The number of connections that were made. Over WebSocket only those that completed the
    /// upgrade count, and over gRPC only those that speak HTTP/2.
    pub opened: u64,
    /// The number of connections that replaced one that was lost or given up. Over HTTP it is
    /// always 0: any connection takes any request, so no connection replaces another.
    pub reconnects: u64,
    /// The number of answers that no request was waiting for: late answers to requests that were
    /// given up, and answers that came twice. Over HTTP it is always 0, because such answers are
    /// never read.
    pub duplicates_dropped: u64,
}

/// The answer of gRPC's health service about a gateway or one of its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// The gateway does not know yet.
    Unknown,
    /// The gateway takes requests. Jina's gateways report this even while an executor is down.
    /// [`ready`](crate::Client::ready) tells whether requests will be answered.
    Serving,
    /// The gateway takes no requests.
    NotServing,
    /// The gateway has no such service.
    ServiceUnknown,
}

/// The endpoints that can be posted to.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The generation of documents that the gateway speaks.
    pub docarray: DocArray,
    /// The endpoints that the gateway lists; empty if it lists none. v1 gateways list none: 3.14.1
    /// has no list, and 3.33.1 with v1 documents fails when asked over gRPC. A bare Deployment
    /// served over HTTP does list its endpoints. The list is also empty over WebSocket, and if a v2
    /// gateway hides it.
    pub paths: Vec<String>,
    /// Whether any endpoint can be posted to. v1 gateways pass on any name, and so does a v2
    /// gateway with a default endpoint.
    pub takes_any: bool,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn docarray_0_30_is_the_first_of_the_second_generation() {
        let table = [
            ("0.21.0", Some(DocArray::V1)),
            ("0.29.9", Some(DocArray::V1)),
            ("0.30.0a3", Some(DocArray::V2)),
            ("0.40.1", Some(DocArray::V2)),
            ("1.0", Some(DocArray::V2)),
            ("0", Some(DocArray::V1)),
            ("", None),
            ("unknown", None),
        ];
        for (release, docarray) in table {
            assert_eq!(DocArray::of_release(release), docarray, "{release}");
        }
    }

    #[test]
    fn times_outside_the_years_1_to_9999_are_none() {
        let epoch = SystemTime::UNIX_EPOCH;
        assert_eq!(time_of(-1, 500_000_000), epoch.checked_sub(Duration::from_millis(500)));
        for (seconds, nanos) in [(-62_135_596_800, 0), (253_402_300_799, 999_999_999)] {
            assert!(time_of(seconds, nanos).is_some(), "{seconds}");
        }
        let outside = [-62_135_596_801, 253_402_300_800, i64::MIN, i64::MAX, -8_000_000_000_000];
        for seconds in outside {
            assert_eq!(time_of(seconds, 0), None, "{seconds}");
        }
        assert_eq!(time_of(0, 1_000_000_000), None);
    }

    #[test]
    fn an_id_is_nonce_and_sequence() {
        let id = RequestId { nonce: 0xab, sequence: 7 };
        assert_eq!(id.to_string(), "00000000000000ab-7");
        for (nonce, sequence) in [(0, 0), (1 << 60, 10), (u64::MAX, u64::MAX), (0x1234_5678, 909)] {
            let id = RequestId { nonce, sequence };
            assert_eq!(id.to_string(), format!("{nonce:016x}-{sequence}"));
            assert_eq!(id.to_string(), format!("{}{sequence}", RequestId::prefix(nonce)));
        }
    }
}
