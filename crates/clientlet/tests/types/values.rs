//! Values of every kind, in tags and in parameters.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use clientlet::DocArray::{V1, V2};
use clientlet::{Blob, DocArray, Tensor, Value};
use serde::{Deserialize, Serialize};
use serde_json::json;
use serde_json::value::RawValue;

use crate::case::Fate::{Becomes, Failed, Refused, Same};
use crate::case::{Case, Fate, value};
use crate::worlds::Protocol;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Unit;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Newtype(u16);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Pair(i8, String);

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Point {
    x: i32,
    label: Option<String>,
}

fn point() -> Point {
    Point { x: -7, label: Some("p".into()) }
}

/// An enum in one of serde's representations.
macro_rules! choices {
    ($($name:ident: $(#[$attribute:meta])*;)*) => {
        $(#[derive(Clone, Debug, Serialize, Deserialize)]
        $(#[$attribute])*
        enum $name {
            Empty,
            Wrapped(Point),
            Struct { n: u32, text: String },
        }

        impl $name {
            fn all() -> Vec<$name> {
                vec![
                    $name::Wrapped(point()),
                    $name::Struct { n: 70_000, text: "s".into() },
                    $name::Empty,
                ]
            }
        })*
    };
}

choices! {
    External: ;
    Internal: #[serde(tag = "kind")];
    Adjacent: #[serde(tag = "kind", content = "content")];
    Untagged: #[serde(untagged)];
}

#[derive(Clone, Debug, Serialize, Deserialize)]
enum Tuple {
    Two(u8, String),
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flat {
    name: String,
    #[serde(flatten)]
    point: Point,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

/// A flattened enum, which passes through serde's own buffers on the way out and back.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct FlatChoice {
    name: String,
    #[serde(flatten)]
    choice: External,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Number {
    Whole(i64),
    Real(f64),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Name {
    First,
    Second,
}

/// JSON that is not parsed. Two texts are equal if they have the same meaning.
#[derive(Clone, Serialize, Deserialize)]
#[serde(transparent)]
struct Raw(Box<RawValue>);

impl std::fmt::Debug for Raw {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        serde_json::from_str::<serde_json::Value>(self.0.get()).unwrap().fmt(f)
    }
}

fn raw(json: &str) -> Raw {
    Raw(RawValue::from_string(json.into()).unwrap())
}

fn map<K: Ord, V>(entries: impl IntoIterator<Item = (K, V)>) -> BTreeMap<K, V> {
    entries.into_iter().collect()
}

const INEXACT: Fate = Refused("numbers here are doubles, exact up to 2^53");

/// A whole number beyond 32 bits that a double can hold. v2's protobuf cannot hold it, and a v2
/// gateway fails on it.
fn beyond_32_bits(docarray: DocArray, protocol: Protocol) -> Fate {
    match (docarray, protocol.is_json) {
        (V1, _) => Same,
        (V2, true) => Failed("500"),
        (V2, false) => Refused("beyond the 32 bits"),
    }
}

fn beyond_doubles(docarray: DocArray, protocol: Protocol) -> Fate {
    if docarray == V1 { INEXACT } else { beyond_32_bits(docarray, protocol) }
}

fn no_number(docarray: DocArray, protocol: Protocol) -> Fate {
    match (docarray, protocol.is_json) {
        (V1, _) => Refused("a gateway would turn it into text"),
        (V2, true) => Refused("cannot be sent as JSON"),
        (V2, false) => Same,
    }
}

pub(crate) fn cases() -> Vec<Case> {
    let time = "2026-11-28T01:02:03.456789Z";
    let uuid = uuid::Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    vec![
        // Types of other crates.
        value("uuid", uuid),
        value("uuids", vec![uuid, uuid::Uuid::nil()]),
        value("chrono::DateTime", time.parse::<chrono::DateTime<chrono::Utc>>().unwrap()),
        value("chrono::NaiveDate", chrono::NaiveDate::from_ymd_opt(2026, 11, 28).unwrap()),
        value("chrono::NaiveTime", chrono::NaiveTime::from_hms_milli_opt(1, 2, 3, 4).unwrap()),
        value("time::OffsetDateTime", time::OffsetDateTime::UNIX_EPOCH + Duration::from_secs(7)),
        value("time::Date", time::Date::MIN),
        value("time::Duration", time::Duration::milliseconds(1500)),
        value("url", url::Url::parse("http://user@example.org/a?b=c#d").unwrap()),
        value("semver::Version", semver::Version::parse("1.2.3-rc.1+b").unwrap()),
        value("semver::VersionReq", semver::VersionReq::parse(">=1.2, <2").unwrap()),
        value("rust_decimal", rust_decimal::Decimal::new(-1234, 2)),
        value("half::f16", half::f16::from_f32(1.5)),
        value("ndarray", ndarray::arr2(&[[0.5_f64, 1.0], [-2.0, 3.25]])),
        value("serde_bytes", serde_bytes::ByteBuf::from(b"plain".to_vec())),
        value("bytes", bytes::Bytes::from_static(b"plain")),
        value("bytes that are no text", serde_bytes::ByteBuf::from(b"\xff\x00".to_vec())).in_tags(
            |docarray, protocol| match (docarray, protocol.is_json) {
                (V2, true) => Refused("bytes that are not UTF-8 cannot be sent as JSON"),
                _ => Same,
            },
        ),
        // Types of std.
        value("IpAddr", IpAddr::V4(Ipv4Addr::new(10, 0, 0, 7))),
        value("Ipv6Addr", Ipv6Addr::LOCALHOST),
        value("SocketAddr", "[::1]:8080".parse::<SocketAddr>().unwrap()),
        value("Duration", Duration::new(7, 5)),
        value("SystemTime", std::time::UNIX_EPOCH + Duration::new(1_700_000_000, 5)),
        value("PathBuf", PathBuf::from("a/ü")),
        value("NonZero", NonZeroU32::new(7).unwrap()),
        value("Range", 3..7_u8),
        value("Result", vec![Ok::<u8, String>(7), Err("e".into())]),
        value("Cow", Cow::<'static, str>::Borrowed("cow")),
        value("Box", Box::new(point())),
        value(
            "sets and queues",
            (BTreeSet::from(["a", "b"].map(String::from)), VecDeque::from([1, 2])),
        ),
        // Types of this crate.
        value("Blob", Blob::from(b"plain".to_vec())),
        value("Tensor", Tensor::from([0.5_f64, -1.5])),
        value("Value", Value::from(map([("a".into(), Value::from(7)), ("b".into(), 2.5.into())]))),
        // Numbers.
        value("f32", (0.1_f32, f32::MAX, f32::MIN_POSITIVE)),
        value("f64", vec![0.1, -1.0 / 3.0, 1e300, 5e-324, 7.0, 0.0]),
        value("integers", (i8::MIN, i16::MIN, i32::MIN, u8::MAX, u16::MAX, i32::MAX)),
        value("u64 within 32 bits", 7_u64),
        value("i128 within 32 bits", (-7_i128, 7_u128)),
        value("2^53", 1_u64 << 53).in_tags(beyond_32_bits),
        value("time in milliseconds", 1_700_000_000_000_i64).in_tags(beyond_32_bits),
        value("beyond 2^53", (1_u64 << 53) + 1).always(INEXACT).in_tags(beyond_doubles),
        value("u64::MAX", u64::MAX).always(INEXACT).in_tags(beyond_doubles),
        value("i128", i128::from(i64::MIN) * 2).always(INEXACT).in_tags(
            |docarray, protocol| match (docarray, protocol.is_json) {
                (V1, false) | (V2, false) => Refused("too large for any number"),
                (V1, true) => INEXACT,
                (V2, true) => Failed("500"),
            },
        ),
        value("NaN", f64::NAN)
            .always(Refused("a gateway would turn it into text"))
            .in_tags(no_number),
        value("infinity", f32::NEG_INFINITY)
            .always(Refused("a gateway would turn it into text"))
            .in_tags(no_number),
        value("either number", vec![Number::Whole(7), Number::Real(2.5)]),
        // Text.
        value("char", 'é'),
        value("text", "quote \" \\ \u{0} \n 世界 😀".to_owned()),
        value("empty text", String::new()),
        // Serde's kinds.
        value("unit", ()),
        value("unit struct", Unit),
        value("newtype struct", Newtype(500)),
        value("tuple struct", Pair(-1, "p".into())),
        value("struct", point()),
        value("structs", vec![point(), Point { x: 0, label: None }]),
        value("map of structs", map([("a".to_owned(), point())])),
        value("mixed tuple", (7_u8, "t".to_owned(), Some(2.5), point(), [true, false])),
        value("array", [1_u8, 2, 3]),
        value("list of lists", vec![vec![1], vec![], vec![2, 3]]),
        value("some", Some(7_u8)),
        value("none", None::<u8>),
        value("nested option", Some(Some(7_u8))),
        value("nested none", Some(None::<u8>)).always(Becomes("None")),
        value("external enum", External::all()),
        value("internal enum", Internal::all()),
        value("adjacent enum", Adjacent::all()),
        value("untagged enum", Untagged::all()),
        value("tuple variant", Tuple::Two(7, "t".into())),
        value(
            "flattened",
            Flat {
                name: "f".into(),
                point: point(),
                rest: map([("more".into(), json!({"n": [7, 2.5, null]}))]),
            },
        ),
        value("flattened enum", FlatChoice { name: "f".into(), choice: External::all().remove(1) }),
        value(
            "serde_json::Value",
            json!({"a": [1, -7, 2.5, "x", null, {"b": true}], "e": {}, "l": []}),
        ),
        value("RawValue", raw(r#"{"a": [7, 2.5, "x", null, {"b": true}]}"#)),
        value("RawValues", vec![raw("7"), raw("\"x\""), raw("[1.5]")]),
        value("RawValue beyond 2^53", raw("[18446744073709551615]"))
            .always(INEXACT)
            .in_tags(beyond_doubles),
        // Keys.
        value("keys: integers", map([(-7_i32, "a".to_owned()), (7, "b".into())])),
        value("keys: u64", map([(u64::MAX, 7)])),
        value("keys: i128", map([(i128::MIN, 7)])),
        value("keys: bool", map([(true, 7), (false, 8)])),
        value("keys: char", map([('é', 7)])),
        value("keys: enum", map([(Name::First, 7), (Name::Second, 8)])),
        value("keys: uuid", map([(uuid, 7)])),
        value("keys: IP address", map([(IpAddr::V6(Ipv6Addr::LOCALHOST), 7)])),
        value("keys: newtype", map([(Wrapped(7), 8)])),
        value("keys: empty text", map([(String::new(), 7)])),
        value("keys: tuple", KeyedByPairs).always(Refused("the key of a map must be text")),
    ]
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
struct Wrapped(u16);

/// A map that JSON cannot express; it is never read.
#[derive(Clone, Debug, Deserialize)]
struct KeyedByPairs;

impl Serialize for KeyedByPairs {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        map([((1, 2), 3)]).serialize(serializer)
    }
}
