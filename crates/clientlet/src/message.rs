//! What goes to a gateway and what comes back: requests, answers, status, routes.

use std::fmt;
use std::ops::{Deref, Range};
use std::str::FromStr;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http::{HeaderMap, Uri};

use crate::error::Error;

/// Which generation of DocArray a gateway speaks; the two share no documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DocArray {
    /// docarray below 0.30: documents with a fixed set of fields.
    V1,
    /// docarray 0.30 and above: documents with the fields that an executor's class defines.
    V2,
}

impl DocArray {
    /// The generation of a docarray release such as `0.21.0`.
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
    type Err = Error;

    fn from_str(name: &str) -> Result<DocArray, Error> {
        match name {
            "v1" => Ok(DocArray::V1),
            "v2" => Ok(DocArray::V2),
            _ => Err(Error::config(format!("{name:?} is neither v1 nor v2"))),
        }
    }
}

/// How requests and answers are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Encoding {
    Json,
    /// Protobuf.
    Proto,
}

/// A request's id, `nonce-sequence`: the nonce is the client's, the sequence counts its requests.
/// It stays the same on every attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct RequestId {
    pub(crate) nonce: u64,
    pub(crate) sequence: u64,
}

impl RequestId {
    /// Reads an id of ours; another's is nothing.
    pub(crate) fn parse(text: &str) -> Option<RequestId> {
        let (nonce, sequence) = text.split_once('-')?;
        let nonce = (nonce.len() == 16).then(|| u64::from_str_radix(nonce, 16).ok())??;
        Some(RequestId { nonce, sequence: sequence.parse().ok()? })
    }
}

impl fmt::Display for RequestId {
    /// `{nonce:016x}-{sequence}`, digit by digit: every request has its id written twice, and the
    /// usual way takes several times as long.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As many digits as a u64 has of the one kind, a dash, and of the other.
        let mut text = [0; 16 + 1 + 20];
        let mut start = text.len();
        let mut put = |character| {
            start -= 1;
            text[start] = character;
        };
        let digit = |value: u64| b"0123456789abcdef"[(value & 15) as usize];
        let mut rest = self.sequence;
        put(digit(rest % 10));
        while rest >= 10 {
            rest /= 10;
            put(digit(rest % 10));
        }
        put(b'-');
        (0..16).for_each(|place| put(digit(self.nonce >> (4 * place))));
        f.write_str(str::from_utf8(&text[start..]).expect("these are ASCII"))
    }
}

/// A request on its way, all but its body.
#[derive(Debug)]
pub(crate) struct Request {
    pub(crate) id: RequestId,
    /// The same as it is written.
    pub(crate) id_text: String,
    /// Its place in the call, for the order.
    pub(crate) index: u64,
    /// Which of the call's documents it carries.
    pub(crate) documents: Range<u64>,
    pub(crate) route: Arc<Route>,
    pub(crate) headers: Arc<HeaderMap>,
}

/// Where and how requests of a call are sent, once the gateway is known.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Route {
    pub(crate) docarray: DocArray,
    /// Where to; for protocols with one connection for all, that connection's address.
    pub(crate) uri: Uri,
    /// Whether the request names the endpoint; otherwise the path does.
    pub(crate) is_by_name: bool,
}

/// An answer as a transport reads it: the envelope open, the documents as they came.
///
/// One word wide, since it passes through many hands.
#[derive(Clone, Debug)]
pub(crate) struct RawAnswer(Box<AnswerParts>);

/// What is in it.
#[derive(Clone, Debug)]
pub(crate) struct AnswerParts {
    pub(crate) docarray: DocArray,
    pub(crate) encoding: Encoding,
    pub(crate) request_id: String,
    pub(crate) status: Status,
    /// A JSON list, or the whole protobuf message; or nothing.
    pub(crate) routes: Option<Bytes>,
    /// A JSON object, or a protobuf Struct; or nothing.
    pub(crate) parameters: Option<Bytes>,
    /// A JSON list, or a protobuf list; or nothing.
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

impl RawAnswer {
    /// Whether there is nothing in it but an id. Every answer that a gateway has worked for tells its
    /// route at least.
    pub(crate) fn is_bare(&self) -> bool {
        self.status == Status::default()
            && self.routes.is_none()
            && self.parameters.is_none()
            && self.documents.is_none()
    }
}

/// How a request or a deployment fared.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Status {
    /// 0 is success, 1 an error.
    pub code: i32,
    /// What went wrong, in words; empty on success.
    pub description: String,
    /// The exception that was raised, if one was.
    pub exception: Option<Exception>,
}

/// What a dry run answers.
pub type StatusMessage = Status;

impl Status {
    /// Whether all went well. Gateways leave the status out where it did.
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
    /// Its arguments, as text.
    pub args: Vec<String>,
    /// Its traceback, line by line.
    pub stacks: Vec<String>,
    /// The class of the executor that raised it.
    pub executor: String,
}

/// A station of a request: the gateway itself, then each deployment.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RouteTimes {
    /// `gateway`, or the deployment's name.
    pub executor: String,
    /// The time when the request arrived there; `None` if the gateway does not say, or names a time
    /// outside of the years 1 to 9999.
    pub start_time: Option<SystemTime>,
    /// The time when the request left; `None` also if the deployment was skipped.
    pub end_time: Option<SystemTime>,
    /// How it fared there, if the gateway says so.
    pub status: Option<Status>,
}

/// The maximum number of stations of a request; each is a deployment of a Flow. Longer lists are
/// refused, since a station takes a hundred times the memory of its bytes.
pub(crate) const MOST_ROUTES: usize = 4096;

/// The message about an answer with more stations.
pub(crate) fn too_many_routes() -> String {
    format!("there are more than {MOST_ROUTES} of them")
}

/// Converts seconds and nanoseconds since 1970 to a time; `None` outside of the years 1 to 9999,
/// which are the limits of protobuf's timestamps, of RFC 3339 and of other crates' calendars.
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

/// What a gateway says of itself: the releases it runs on and its environment.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Deserialize, serde::Serialize)]
pub struct GatewayStatus {
    /// Releases and facts of the machine, by name: `jina`, `docarray`, `python`, ...
    pub jina: std::collections::BTreeMap<String, String>,
    /// The environment variables that matter to Jina; `(unset)` where they are not set.
    #[serde(default)]
    pub envs: std::collections::BTreeMap<String, String>,
}

impl GatewayStatus {
    /// The release of Jina.
    pub fn jina_release(&self) -> Option<&str> {
        self.jina.get("jina").map(String::as_str)
    }

    /// The release of docarray.
    pub fn docarray_release(&self) -> Option<&str> {
        self.jina.get("docarray").map(String::as_str)
    }

    /// Which documents the gateway speaks: v1 below docarray 0.30.
    pub fn docarray(&self) -> Option<DocArray> {
        DocArray::of_release(self.docarray_release()?)
    }
}

/// What has become of a client's connections; see [`Client::connections`](crate::Client::connections).
#[non_exhaustive]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Connections {
    /// How many were made: over HTTP all of them, over WebSocket those that became a WebSocket, over
    /// gRPC those of HTTP/2.
    pub opened: u64,
    /// How many of them took the place of one that was lost or given up. Over HTTP always 0: any
    /// connection takes any request there, so none takes the place of another.
    pub reconnects: u64,
    /// How many answers came that nobody waited for any more: late ones, of requests that were given
    /// up, and those that came twice. Over HTTP always 0, for there such an answer is never read.
    pub duplicates_dropped: u64,
}

/// What gRPC's health service says of a gateway or of one of its services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum Health {
    /// It does not know yet.
    Unknown,
    /// It takes requests. Jina's gateways say so even while an executor is down; ask
    /// [`ready`](crate::Client::ready) whether requests will be answered.
    Serving,
    /// It takes none.
    NotServing,
    /// It has no such service.
    ServiceUnknown,
}

/// What can be posted to.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoints {
    /// The generation of documents that the gateway speaks.
    pub docarray: DocArray,
    /// The endpoints that the gateway lists; empty if it lists none. v1 gateways list none: 3.14.1
    /// publishes them nowhere, and 3.33.1 with v1 documents fails when asked over gRPC. A bare
    /// Deployment served over HTTP does list them. Over WebSocket, and if a v2 gateway hides them,
    /// the list is empty.
    pub paths: Vec<String>,
    /// Whether any endpoint can be posted to: v1 gateways pass on whatever name they are given, and
    /// so does a v2 gateway with a default endpoint.
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
    fn times_outside_of_the_years_1_to_9999_are_nothing() {
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
        assert_eq!(RequestId::parse("00000000000000ab-7"), Some(id));
        for (nonce, sequence) in [(0, 0), (1 << 60, 10), (u64::MAX, u64::MAX), (0x1234_5678, 909)] {
            let id = RequestId { nonce, sequence };
            assert_eq!(id.to_string(), format!("{nonce:016x}-{sequence}"));
            assert_eq!(RequestId::parse(&id.to_string()), Some(id));
        }
        for other in ["", "ab-7", "00000000000000ab", "00000000000000ab-x", "x-7-7"] {
            assert_eq!(RequestId::parse(other), None, "{other}");
        }
    }
}
