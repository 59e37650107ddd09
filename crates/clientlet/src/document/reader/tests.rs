//! The reader beside serde_json.

use std::collections::BTreeMap;

use proptest::prelude::*;
use serde::de::{DeserializeOwned, DeserializeSeed, Error, MapAccess, SeqAccess};
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::*;
use crate::document::{AnyVisitor, Blob, Tensor};

/// Reads with the reader alone; `None` for what it declines.
fn read<T: DeserializeOwned>(json: &[u8]) -> Option<T> {
    let mut reader = Reader::new(json);
    T::deserialize(&mut reader).ok().filter(|_| reader.is_at_end())
}

/// Reads with both. The reader must read all that serde_json reads, and as serde_json does.
fn assert_alike<T: DeserializeOwned + Serialize>(json: &[u8]) {
    let shown = |value: &T| serde_json::to_string(value).unwrap();
    let (ours, theirs) = (read::<T>(json), serde_json::from_slice::<T>(json));
    let text = String::from_utf8_lossy(json);
    assert_eq!(ours.as_ref().map(shown), theirs.as_ref().ok().map(shown), "{text}");
}

/// Reads with both. The reader may decline, but not take what serde_json refuses, nor read it otherwise.
fn assert_sound<T: DeserializeOwned + Serialize>(json: &[u8]) {
    if read::<T>(json).is_some() {
        assert_alike::<T>(json);
    }
}

/// The bits of a number, so that zeros with different signs differ.
fn assert_same_number(json: &str) {
    let bits = |n: Option<f64>| n.map(f64::to_bits);
    let single = |n: Option<f32>| n.map(f32::to_bits);
    let of = json.as_bytes();
    assert_eq!(bits(read(of)), bits(serde_json::from_str(json).ok()), "{json}");
    assert_eq!(single(read(of)), single(serde_json::from_str(json).ok()), "{json}");
    assert_alike::<serde_json::Value>(of);
    assert_alike::<i64>(of);
    assert_alike::<u8>(of);
    assert_alike::<u64>(of);
    assert_alike::<u128>(of);
    // serde_json takes the integer before a point, and then fails.
    assert_alike::<i128>(of);
    let list = format!("[{json} , {json}]");
    let both = |n: Option<(f64, f32)>| n.map(|(a, b)| (a.to_bits(), b.to_bits()));
    assert_eq!(both(read(list.as_bytes())), both(serde_json::from_str(&list).ok()), "{list}");
}

/// Nested lists of numbers, of which several are taken at once.
#[derive(Debug, Default, Serialize)]
struct Several {
    numbers: Vec<f64>,
    lists: Vec<Several>,
}

impl<'de> Deserialize<'de> for Several {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Several, D::Error> {
        let mut several = Several::default();
        AnyVisitor::deserialize(Elements(&mut several), deserializer)?;
        Ok(several)
    }
}

struct Elements<'a>(&'a mut Several);

impl<'de> DeserializeSeed<'de> for Elements<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        AnyVisitor::deserialize_elements(self, deserializer)
    }
}

impl<'de> Visitor<'de> for Elements<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("numbers")
    }

    fn visit_f64<E>(self, n: f64) -> Result<(), E> {
        self.0.numbers.push(n);
        Ok(())
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<(), E> {
        self.visit_f64(n as f64)
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<(), E> {
        self.visit_f64(n as f64)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let mut several = Several::default();
        while list.next_element_seed(Elements(&mut several))?.is_some() {}
        self.0.lists.push(several);
        Ok(())
    }

    /// The numbers in an object must not be taken for elements.
    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while map.next_key::<String>()?.is_some() {
            map.next_value_seed(Elements(self.0))?;
        }
        Ok(())
    }
}

impl<'de> AnyVisitor<'de> for Elements<'_> {
    fn visit_tensor<E: Error>(self, _: Tensor) -> Result<(), E> {
        Err(E::custom("no tensor is in JSON"))
    }

    fn visit_blob<E: Error>(self, _: Blob) -> Result<(), E> {
        Err(E::custom("no bytes are in JSON"))
    }

    fn visit_reals<E>(self, reals: &[[u8; 8]]) -> Result<(), E> {
        assert!(!reals.is_empty());
        self.0.numbers.extend(reals.iter().map(|real| f64::from_le_bytes(*real)));
        Ok(())
    }
}

/// Takes all that serde has to offer.
#[derive(Debug, Serialize, Deserialize)]
struct Everything {
    text: String,
    one: char,
    flag: bool,
    nothing: (),
    maybe: Option<f32>,
    pair: (i8, u16),
    list: Vec<f64>,
    choice: Vec<Choice>,
    numbered: BTreeMap<i32, bool>,
    flagged: BTreeMap<bool, u8>,
    chosen: BTreeMap<Unit, i128>,
    bytes: serde_bytes::ByteBuf,
    raw: Box<RawValue>,
    #[serde(flatten)]
    rest: BTreeMap<String, serde_json::Value>,
}

#[derive(Debug, Serialize, Deserialize)]
enum Choice {
    Unit,
    One(f32),
    Two(u8, String),
    Named { a: i64 },
}

#[derive(Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
enum Unit {
    A,
    B,
}

const EVERYTHING: &str = r#" { "text" : "a\u00e9\"\\\n\ud83d\ude00é", "one":"ü","flag":true,"nothing":null ,
    "maybe":0.1, "pair":[-1, 65535],"list":[ ],"choice":["Unit",{"One":1e-3},{"Two":[1,"b"]},{"Named":{"a":-5}}],
    "numbered":{"-7":false,"0":true},"flagged":{"true":1,"false":2},
    "chosen":{"A":170141183460469231731687303715884105727,"B":-1},"bytes":"by\tes" ,
    "raw":{ "x" : [1, "\u0000", {}], "y":null},"other":[1.5,-0.0,18446744073709551616,{"k":"v"}] } "#;

#[test]
fn everything_that_serde_offers_is_read_as_by_serde_json() {
    let json = EVERYTHING.replace("by\tes", "by\\tes");
    assert!(read::<Everything>(json.as_bytes()).is_some());
    assert_alike::<Everything>(json.as_bytes());
    assert_alike::<serde_json::Value>(json.as_bytes());
    let read: Everything = read(json.as_bytes()).unwrap();
    assert_eq!(read.raw.get(), r#"{ "x" : [1, "\u0000", {}], "y":null}"#);
}

#[test]
fn text_is_borrowed_where_it_has_no_escapes() {
    #[derive(Deserialize)]
    struct Borrowed<'a> {
        text: &'a str,
        #[serde(borrow)]
        raw: &'a RawValue,
    }
    let json = br#"{"text":"plain","raw":[1, 2]}"#;
    let mut reader = Reader::new(json);
    let read = Borrowed::deserialize(&mut reader).unwrap();
    assert_eq!((read.text, read.raw.get()), ("plain", "[1, 2]"));
}

#[test]
fn json_that_is_wrong_is_declined() {
    for wrong in [
        "",
        " ",
        "nul",
        "nulll",
        "tru",
        "01",
        "-",
        "-01",
        "+1",
        "1.",
        ".5",
        "1e",
        "1e+",
        "1.e1",
        "0x1",
        "NaN",
        "Infinity",
        "1e400",
        "-1e400",
        "[",
        "[1",
        "[1,",
        "[1,]",
        "[,1]",
        "[1 2]",
        "]",
        "{",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":1",
        "{\"a\":1,",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\" 1}",
        "{a:1}",
        "{1:1}",
        "\"",
        "\"a",
        "\"\\\"",
        "\"\\x\"",
        "\"\\u12\"",
        "\"\\u12g4\"",
        "\"\\ud800\"",
        "\"\\udc00\\ud800\"",
        "\"\n\"",
        "\"\u{1}\"",
        "1 2",
        "[1]]",
        "'a'",
        "\u{feff}1",
        "\u{a0}1",
        "[1\u{c}]",
    ] {
        assert!(read::<serde_json::Value>(wrong.as_bytes()).is_none(), "{wrong}");
        assert_alike::<serde_json::Value>(wrong.as_bytes());
        assert_sound::<Box<RawValue>>(wrong.as_bytes());
    }
    for wrong in [&b"\"\xff\""[..], b"\"\xe9\"", b"[\"\xed\xa0\x80\"]", b"\xff"] {
        assert_alike::<serde_json::Value>(wrong);
        assert_alike::<Box<RawValue>>(wrong);
    }
}

#[test]
fn lists_are_nested_as_deeply_as_serde_json_allows() {
    for depth in [126, 127, 128, 129] {
        let json = format!("{}{}", "[".repeat(depth), "]".repeat(depth));
        assert_alike::<serde_json::Value>(json.as_bytes());
        let json = format!("{}1{}", "{\"a\":".repeat(depth), "}".repeat(depth));
        assert_alike::<serde_json::Value>(json.as_bytes());
    }
}

#[test]
fn what_is_passed_over_may_be_nested_more_deeply() {
    let deep = format!("{}{}", "[".repeat(10_000), "]".repeat(10_000));
    let raw: &RawValue = from_slice(deep.as_bytes()).unwrap();
    assert_eq!(raw.get(), deep);
}

#[test]
fn numbers_at_the_bounds_are_those_of_serde_json() {
    for number in [
        "0",
        "-0",
        "0.0",
        "-0.0",
        "0e5",
        "-0e-5",
        "0e99999999999999999999",
        "0.000e-99999999999999999999",
        "1e-400",
        "1e-99999999999999999999",
        "1e99999999999999999999",
        "9223372036854775807",
        "9223372036854775808",
        "-9223372036854775808",
        "-9223372036854775809",
        "18446744073709551615",
        "18446744073709551616",
        "-18446744073709551615",
        "-18446744073709551616",
        "99999999999999999999999",
        "9007199254740993",
        "9007199254740993.0",
        "9007199254740992.5",
        "90071992547409925e-1",
        "1e22",
        "1e23",
        "123456789e22",
        "1.7976931348623157e308",
        "1.7976931348623158e308",
        "1.7976931348623159e308",
        "179769313486231580793e289",
        "5e-324",
        "2.4e-324",
        "2.5e-324",
        "2.2250738585072011e-308",
        "3.4028235e38",
        "3.4028235677973366e38",
        "3.4028235677973367e38",
        "3.402823567797337e38",
        "1e39",
        "1.4e-45",
        "7e-46",
        "7.006492321624085e-46",
        "7.006492321624086e-46",
        "1.1754943508222875e-38",
        "1.1754942807573643e-38",
        "16777217",
        "16777217.0",
        "16777219.0",
        "0.1000000000000000055511151231257827021181583404541015625",
        "1.00000005960464477539062",
        "1.000000059604644775390625",
        "1.00000005960464477539063",
        "12345678.12345678",
        "0.12345678123456789",
        "0.00000000000000000000000000000000000000000000000000001e53",
        "1234567890123456789.1",
        "12345678901234567890.1",
        "1.0e+01",
        "1E1",
        "1E-1",
    ] {
        assert_same_number(number);
    }
}

#[test]
fn several_numbers_are_taken_at_once_only_from_lists() {
    let usual = |n: u32| format!("{}0.{n}", if n.is_multiple_of(3) { "-" } else { "" });
    for length in [1, 2, 3, 63, 64, 65, 128, 200] {
        let numbers: Vec<String> = (0..length).map(|n| usual(n * 7919)).collect();
        let list = format!("[{}]", numbers.join(","));
        let read: Several = read(list.as_bytes()).unwrap();
        let bits: Vec<u64> = read.lists[0].numbers.iter().map(|n| n.to_bits()).collect();
        let expected: Vec<u64> =
            numbers.iter().map(|n| n.parse::<f64>().unwrap().to_bits()).collect();
        assert_eq!(bits, expected);
    }
    let some = "1.5,-2.25,0.125";
    for json in [
        format!("[{some},[{some}],{some}]"),
        format!("{{\"a\":1.5,\"b\":-2.25,\"c\":[{some}],\"d\":0.125}}"),
        format!("[{{\"a\":1.5,\"b\":[{some},{{\"c\":0.5}}, 0.5 , 0.25 ]}},{some}]"),
        format!("[{some},1,{some},1e5,{some},12.5,{some},0.12345678901234567,{some}]"),
    ] {
        assert_alike::<Several>(json.as_bytes());
        assert_alike::<Box<RawValue>>(json.as_bytes());
    }
    for wrong in [
        some.to_owned(),
        format!("{{\"a\":{some}}}"),
        format!("[{some},]"),
        format!("[{some},,{some}]"),
        format!("[1.5.5,{some},{some}]"),
        format!("[1.,{some},{some}]"),
        format!("[-.5,{some},{some}]"),
        format!("[01.5,{some},{some}]"),
        format!("[--1.5,{some},{some}]"),
        format!("[1.5-,{some},{some}]"),
    ] {
        assert!(read::<Several>(wrong.as_bytes()).is_none(), "{wrong}");
        assert!(read::<Box<RawValue>>(wrong.as_bytes()).is_none(), "{wrong}");
        assert_alike::<Several>(wrong.as_bytes());
        assert_alike::<Box<RawValue>>(wrong.as_bytes());
    }
}

#[test]
fn numbers_in_the_middle_between_two_doubles_become_the_even_one() {
    // Odd numbers of 54 bits lie in the middle, and stay there when they are divided by a power of two.
    for middle in (1_u64 << 53..1 << 54).step_by(12_345_678_901_234).map(|n| n | 1) {
        for (places, power) in [(1, 5), (2, 25), (3, 125), (4, 625)] {
            let digits = u128::from(middle) * power;
            for digits in [digits - 1, digits, digits + 1] {
                assert_same_number(&format!("{digits}e-{places}"));
                let point = 10_u128.pow(places);
                let (whole, part) = (digits / point, digits % point);
                assert_same_number(&format!("{whole}.{part:0width$}", width = places as usize));
            }
        }
    }
}

#[test]
fn doubles_with_all_their_digits_are_those_of_serde_json() {
    for n in 1..20_000_u64 {
        let mantissa = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 12;
        let number = f64::from_bits((1023 - n % 70 + 9) << 52 | mantissa);
        assert_same_number(&serde_json::to_string(&number).unwrap());
        let places = (n % 28) as usize + 1;
        assert_same_number(&format!("{number:.places$}"));
    }
}

/// Any number as JSON may write it.
fn number() -> impl Strategy<Value = String> {
    prop_oneof![
        "-?[0-9]\\.[0-9]{1,16}",
        "-?(0|[1-9][0-9]{0,22})",
        "-?(0|[1-9][0-9]{0,9})\\.[0-9]{1,25}",
        "-?(0|[1-9][0-9]{0,19})(\\.[0-9]{1,20})?[eE][+-]?[0-9]{1,3}",
        any::<f64>()
            .prop_filter("JSON", |n| n.is_finite())
            .prop_map(|n| serde_json::to_string(&n).unwrap()),
        any::<f32>()
            .prop_filter("JSON", |n| n.is_finite())
            .prop_map(|n| serde_json::to_string(&n).unwrap()),
        any::<f32>().prop_filter("JSON", |n| n.is_finite()).prop_map(between),
        any::<f32>()
            .prop_filter("JSON", |n| n.is_finite())
            .prop_map(|n| serde_json::to_string(&f64::from(n)).unwrap()),
    ]
}

/// The middle between a single and the next one, in all its digits.
fn between(single: f32) -> String {
    let next = f32::from_bits(single.to_bits() + 1);
    let next = if next.is_finite() {
        f64::from(next)
    } else {
        f64::from(single) * (1.0 + f64::from(f32::EPSILON))
    };
    format!("{:.60}", f64::midpoint(f64::from(single), next))
}

/// Any value, written with white space between its parts.
fn written() -> impl Strategy<Value = String> {
    let plain = prop_oneof![
        Just("null".to_owned()),
        any::<bool>().prop_map(|b| b.to_string()),
        number(),
        any::<String>().prop_map(|text| serde_json::to_string(&text).unwrap()),
        "\"([a-z\"\\\\/]|\\\\[\"\\\\/bfnrtux]|\\\\u[0-9a-fA-F]{4}|\\\\ud[89ab][0-9a-f]{2}\\\\ud[c-f][0-9a-f]{2}){0,8}\"",
    ];
    let space = "[ \n\r\t]{0,2}";
    plain.prop_recursive(4, 32, 6, move |inner| {
        let pair =
            ("[a-c]{0,2}", space, inner.clone()).prop_map(|(k, s, v)| format!("\"{k}\"{s}:{s}{v}"));
        prop_oneof![
            (prop::collection::vec(inner, 0..6), space)
                .prop_map(|(items, s)| format!("[{s}{}{s}]", items.join(&format!("{s},")))),
            (prop::collection::vec(pair, 0..6), space)
                .prop_map(|(items, s)| format!("{{{s}{}{s}}}", items.join(&format!("{s},")))),
        ]
    })
}

proptest! {
    #[test]
    fn numbers_are_those_of_serde_json(number in number()) {
        assert_same_number(&number);
    }

    #[test]
    fn values_are_those_of_serde_json(json in written()) {
        assert_alike::<serde_json::Value>(json.as_bytes());
        assert_alike::<Box<RawValue>>(json.as_bytes());
    }

    #[test]
    fn lists_of_numbers_are_those_of_serde_json(numbers in prop::collection::vec(number(), 0..30)) {
        let list = format!("[{}]", numbers.join(","));
        assert_alike::<Several>(list.as_bytes());
        assert_alike::<Box<RawValue>>(list.as_bytes());
        assert_alike::<Tensor>(list.as_bytes());
        assert_alike::<Tensor>(format!("[{list},{list}]").as_bytes());
        assert_alike::<Tensor>(format!("[[1],{list}]").as_bytes());
        assert_alike::<Vec<Tensor>>(list.as_bytes());
    }

    #[test]
    fn damaged_lists_of_numbers_are_read_as_by_serde_json_or_declined(
        numbers in prop::collection::vec("-?[0-9]\\.[0-9]{1,16}", 2..6),
        damage in prop::collection::vec((any::<prop::sample::Index>(), "[-0-9.,\\[\\]eE+ ]"), 1..4),
    ) {
        let mut list = format!("[{}]", numbers.join(",")).into_bytes();
        for (place, byte) in damage {
            let at = place.index(list.len());
            list[at] = byte.as_bytes()[0];
        }
        assert_sound::<Several>(&list);
        assert_sound::<Box<RawValue>>(&list);
    }

    #[test]
    fn damaged_json_is_read_as_by_serde_json_or_declined(
        json in written(),
        damage in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..3), 1..4),
    ) {
        let mut json = json.into_bytes();
        for (place, byte, how) in damage {
            let at = place.index(json.len() + 1);
            match how {
                0 => json.insert(at, byte),
                1 if at < json.len() => json[at] = byte,
                _ if at < json.len() => drop(json.remove(at)),
                _ => {}
            }
        }
        assert_sound::<serde_json::Value>(&json);
        assert_sound::<Box<RawValue>>(&json);
        assert_sound::<Vec<f32>>(&json);
    }

    #[test]
    fn other_types_are_read_as_by_serde_json_or_declined(place in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut json = EVERYTHING.replace("by\tes", "by\\tes").into_bytes();
        let at = place.index(json.len());
        json[at] = byte;
        assert_sound::<Everything>(&json);
    }
}
