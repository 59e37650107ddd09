//! A document, or a part of one, whichever encoding it came in or goes out in.

mod de;
mod ser;

use std::fmt::{self, Write};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::{Deserialize, Deserializer, MapAccess, SeqAccess, Visitor};

pub use self::de::ReadError;
pub(crate) use self::de::{BLOB, TENSOR, read};
pub(crate) use self::ser::to_value;
use crate::docarray::DocArray;

/// A value of a document.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) enum Value {
    #[default]
    Null,
    Boolean(bool),
    Integer(i64),
    Float(f64),
    Text(String),
    Bytes(Bytes),
    Array(Array),
    List(Vec<Value>),
    /// Entries in their order. Of entries with the same key the last one counts.
    Map(Vec<(String, Value)>),
}

/// Numbers of one type in a shape, as numpy has them.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Array {
    /// The element type by numpy's short name, such as `<f4`.
    pub(crate) dtype: String,
    pub(crate) shape: Vec<usize>,
    /// The elements, in C order.
    pub(crate) buffer: Bytes,
}

/// How bytes are written where there are only texts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum BytesAs {
    /// Standard base64, as in JSON of documents v1.
    Base64,
    /// The text that they are in UTF-8, as in JSON of documents v2.
    Text,
}

impl BytesAs {
    pub(crate) fn of(docarray: DocArray) -> Self {
        match docarray {
            DocArray::V1 => Self::Base64,
            DocArray::V2 => Self::Text,
        }
    }

    pub(crate) fn write(self, bytes: &[u8]) -> String {
        match self {
            Self::Base64 => STANDARD.encode(bytes),
            Self::Text => String::from_utf8_lossy(bytes).into_owned(),
        }
    }
}

impl Value {
    /// The entry of this key.
    pub(crate) fn get(&self, key: &str) -> Option<&Value> {
        let Self::Map(entries) = self else { return None };
        entries.iter().rev().find(|(name, _)| name == key).map(|(_, value)| value)
    }

    pub(crate) fn as_text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// Whether all bytes within are text, as JSON of documents v2 needs it.
    pub(crate) fn is_text(&self) -> bool {
        match self {
            Self::Bytes(bytes) => std::str::from_utf8(bytes).is_ok(),
            Self::List(list) => list.iter().all(Self::is_text),
            Self::Map(entries) => entries.iter().all(|(_, value)| value.is_text()),
            _ => true,
        }
    }

    /// A document v1 without fields that are null, of which documents v1 have none.
    pub(crate) fn without_nulls(self) -> Self {
        let Self::Map(entries) = self else { return self };
        let entries = entries.into_iter().filter(|(_, value)| *value != Self::Null);
        let entries = entries.map(|(name, value)| match value {
            Self::List(list) if name == "chunks" || name == "matches" => {
                (name, list.into_iter().map(Self::without_nulls).collect())
            }
            value => (name, value),
        });
        Self::Map(entries.collect())
    }

    /// What the value is, for messages.
    pub(crate) fn kind(&self) -> &'static str {
        match self {
            Self::Null => "null",
            Self::Boolean(_) => "a boolean",
            Self::Integer(_) => "an integer",
            Self::Float(_) => "a float",
            Self::Text(_) => "text",
            Self::Bytes(_) => "bytes",
            Self::Array(_) => "an array",
            Self::List(_) => "a list",
            Self::Map(_) => "an object",
        }
    }

    /// The value as serde_json has it.
    pub(crate) fn to_json(&self, bytes_as: BytesAs) -> serde_json::Value {
        use serde_json::Value as Json;

        match self {
            Self::Null => Json::Null,
            Self::Boolean(b) => Json::Bool(*b),
            Self::Integer(n) => (*n).into(),
            Self::Float(n) => (*n).into(),
            Self::Text(text) => Json::String(text.clone()),
            Self::Bytes(bytes) => Json::String(bytes_as.write(bytes)),
            Self::Array(array) => array.to_list().to_json(bytes_as),
            Self::List(list) => list.iter().map(|value| value.to_json(bytes_as)).collect(),
            Self::Map(entries) => {
                let entries = entries.iter();
                entries.map(|(key, value)| (key.clone(), value.to_json(bytes_as))).collect()
            }
        }
    }

    /// Appends the value as JSON, with entries in their order.
    pub(crate) fn write_json(&self, out: &mut Vec<u8>, bytes_as: BytesAs) {
        match self {
            Self::List(list) => {
                out.push(b'[');
                for (index, value) in list.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    value.write_json(out, bytes_as);
                }
                out.push(b']');
            }
            Self::Map(entries) => {
                out.push(b'{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    if index > 0 {
                        out.push(b',');
                    }
                    crate::json::write(out, key);
                    out.push(b':');
                    value.write_json(out, bytes_as);
                }
                out.push(b'}');
            }
            Self::Array(array) => array.to_list().write_json(out, bytes_as),
            scalar => crate::json::write(out, &scalar.to_json(bytes_as)),
        }
    }

    /// The value as Python's `json.dumps` writes it: in ASCII, with spaces behind commas and colons.
    pub(crate) fn write_python(&self, out: &mut String) {
        // Writing to a string cannot fail.
        match self {
            Self::List(list) => {
                out.push('[');
                for (index, value) in list.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    value.write_python(out);
                }
                out.push(']');
            }
            Self::Map(entries) => {
                out.push('{');
                for (index, (key, value)) in entries.iter().enumerate() {
                    out.push_str(if index > 0 { ", " } else { "" });
                    write_ascii(out, key);
                    out.push_str(": ");
                    value.write_python(out);
                }
                out.push('}');
            }
            Self::Array(array) => array.to_list().write_python(out),
            Self::Text(text) => write_ascii(out, text),
            Self::Bytes(bytes) => write_ascii(out, &BytesAs::Text.write(bytes)),
            scalar => {
                let _ = write!(out, "{}", scalar.to_json(BytesAs::Text));
            }
        }
    }
}

/// Appends a JSON string in ASCII, as Python writes it.
fn write_ascii(out: &mut String, text: &str) {
    for character in serde_json::Value::from(text).to_string().chars() {
        if character.is_ascii() {
            out.push(character);
            continue;
        }
        for unit in character.encode_utf16(&mut [0; 2]) {
            // Writing to a string cannot fail.
            let _ = write!(out, "\\u{unit:04x}");
        }
    }
}

impl Array {
    /// The array that numpy makes of nested lists: `None` if they are ragged or hold anything but
    /// numbers and booleans. Integers alone become `<i8`, booleans alone `|b1`, all else `<f8`.
    pub(crate) fn of_list(list: &[Value]) -> Option<Self> {
        let mut grid = Grid::default();
        grid.gather(list, 0)?;
        Some(grid.into_array())
    }

    /// The elements as nested lists. A buffer that does not fit the shape gives fewer of them; an
    /// unknown element type gives none.
    pub(crate) fn to_list(&self) -> Value {
        let scalars: Vec<Value> = match self.size() {
            0 => Vec::new(),
            size => self.buffer.chunks_exact(size).map(|element| self.element(element)).collect(),
        };
        let mut level = scalars;
        for &length in self.shape.iter().skip(1).rev() {
            level = match length {
                0 => vec![Value::List(Vec::new()); self.shape[0].min(MOST_EMPTY)],
                length => level.chunks(length).map(|row| Value::List(row.to_vec())).collect(),
            };
        }
        match (self.shape.is_empty(), level.pop()) {
            (true, scalar) => scalar.unwrap_or_default(),
            (false, None) => Value::List(Vec::new()),
            (false, Some(last)) => {
                level.push(last);
                Value::List(level)
            }
        }
    }

    /// The bytes of an element; 0 if its type is unknown.
    fn size(&self) -> usize {
        match self.dtype.get(1..) {
            Some("b1" | "i1" | "u1") => 1,
            Some("i2" | "u2" | "f2") => 2,
            Some("i4" | "u4" | "f4") => 4,
            Some("i8" | "u8" | "f8") => 8,
            _ => 0,
        }
    }

    fn element(&self, bytes: &[u8]) -> Value {
        let mut low_first = [0; 8];
        low_first[..bytes.len()].copy_from_slice(bytes);
        if self.dtype.starts_with('>') {
            low_first[..bytes.len()].reverse();
        }
        let bits = u64::from_le_bytes(low_first);
        // The casts keep the lower bits, which are the element's.
        match self.dtype.get(1..).unwrap_or_default() {
            "b1" => Value::Boolean(bits != 0),
            "i1" => Value::Integer((bits as i8).into()),
            "i2" => Value::Integer((bits as i16).into()),
            "i4" => Value::Integer((bits as i32).into()),
            "i8" => Value::Integer(bits.cast_signed()),
            "f2" => Value::Float(half_to_double(bits as u16)),
            "f4" => Value::Float(f32::from_bits(bits as u32).into()),
            "f8" => Value::Float(f64::from_bits(bits)),
            _ => i64::try_from(bits).map_or(Value::Float(bits as f64), Value::Integer),
        }
    }
}

impl FromIterator<Value> for Value {
    fn from_iter<I: IntoIterator<Item = Value>>(values: I) -> Self {
        Self::List(values.into_iter().collect())
    }
}

/// The most empty rows that an array is shown with.
const MOST_EMPTY: usize = 1 << 16;

/// A number of 16 bits (IEEE 754 binary16).
fn half_to_double(bits: u16) -> f64 {
    let sign = if bits >> 15 == 1 { -1.0 } else { 1.0 };
    let (exponent, fraction) = (i32::from(bits >> 10 & 31), f64::from(bits & 1023));
    sign * match exponent {
        0 => fraction * 2.0_f64.powi(-24),
        31 if fraction == 0.0 => f64::INFINITY,
        31 => f64::NAN,
        _ => (1.0 + fraction / 1024.0) * 2.0_f64.powi(exponent - 15),
    }
}

/// Nested lists that have the same length at each depth.
#[derive(Default)]
struct Grid {
    shape: Vec<usize>,
    /// The depth of the numbers.
    leaves: Option<usize>,
    integers: Vec<i64>,
    floats: Vec<f64>,
    has_integer: bool,
    has_float: bool,
}

impl Grid {
    fn gather(&mut self, list: &[Value], depth: usize) -> Option<()> {
        if self.leaves.is_some_and(|leaves| depth >= leaves) {
            return None;
        }
        match self.shape.get(depth) {
            Some(&length) if length != list.len() => return None,
            Some(_) => {}
            None => self.shape.push(list.len()),
        }
        for element in list {
            let (integer, float) = match element {
                Value::List(inner) => {
                    self.gather(inner, depth + 1)?;
                    continue;
                }
                Value::Integer(n) => {
                    self.has_integer = true;
                    (*n, *n as f64)
                }
                Value::Float(n) => {
                    self.has_float = true;
                    (0, *n)
                }
                Value::Boolean(b) => (i64::from(*b), f64::from(u8::from(*b))),
                _ => return None,
            };
            if *self.leaves.get_or_insert(depth + 1) != depth + 1 || self.shape.len() > depth + 1 {
                return None;
            }
            self.integers.push(integer);
            self.floats.push(float);
        }
        Some(())
    }

    fn into_array(self) -> Array {
        let (dtype, buffer): (_, Vec<u8>) = if self.has_float || self.floats.is_empty() {
            ("<f8", self.floats.iter().flat_map(|n| n.to_le_bytes()).collect())
        } else if self.has_integer {
            ("<i8", self.integers.iter().flat_map(|n| n.to_le_bytes()).collect())
        } else {
            ("|b1", self.integers.iter().map(|n| u8::from(*n != 0)).collect())
        };
        Array { dtype: dtype.into(), shape: self.shape, buffer: buffer.into() }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Value;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a value")
            }

            fn visit_unit<E>(self) -> Result<Value, E> {
                Ok(Value::Null)
            }

            fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
                Ok(Value::Boolean(b))
            }

            fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
                Ok(Value::Integer(n))
            }

            fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
                Ok(i64::try_from(n).map_or(Value::Float(n as f64), Value::Integer))
            }

            fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
                Ok(Value::Float(n))
            }

            fn visit_str<E>(self, text: &str) -> Result<Value, E> {
                Ok(Value::Text(text.to_owned()))
            }

            fn visit_string<E>(self, text: String) -> Result<Value, E> {
                Ok(Value::Text(text))
            }

            fn visit_seq<S: SeqAccess<'de>>(self, mut list: S) -> Result<Value, S::Error> {
                let mut values = Vec::new();
                while let Some(value) = list.next_element()? {
                    values.push(value);
                }
                Ok(Value::List(values))
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Value, M::Error> {
                let mut entries = Vec::new();
                while let Some(entry) = map.next_entry()? {
                    entries.push(entry);
                }
                Ok(Value::Map(entries))
            }
        }

        deserializer.deserialize_any(Read)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn value(json: &str) -> Value {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn lists_become_arrays_and_arrays_lists() {
        for (json, dtype, shape) in [
            ("[[1,2,3],[4,5,6]]", "<i8", &[2, 3][..]),
            ("[1.5,2.0]", "<f8", &[2]),
            ("[true,false]", "|b1", &[2]),
            ("[[[1],[2]],[[3],[4]]]", "<i8", &[2, 2, 1]),
            ("[]", "<f8", &[0]),
            ("[[],[]]", "<f8", &[2, 0]),
        ] {
            let Value::List(list) = value(json) else { panic!("{json}") };
            let array = Array::of_list(&list).unwrap();
            assert_eq!((&*array.dtype, &*array.shape), (dtype, shape), "{json}");
            assert_eq!(array.to_list(), value(json));
        }
        for ragged in ["[[1],2]", "[[1,2],[3]]", "[\"a\"]", "[null]", "[[],[1]]"] {
            let Value::List(list) = value(ragged) else { panic!("{ragged}") };
            assert!(Array::of_list(&list).is_none(), "{ragged}");
        }
    }

    #[test]
    fn elements_of_every_type_are_read() {
        let list = |dtype: &str, buffer: &'static [u8]| {
            let buffer = Bytes::from_static(buffer);
            Array { dtype: dtype.into(), shape: vec![1], buffer }.to_list()
        };
        for (dtype, buffer, expected) in [
            ("|i1", &[0xff][..], "[-1]"),
            ("|u1", &[0xff], "[255]"),
            ("<i2", &[0xfe, 0xff], "[-2]"),
            (">i2", &[0xff, 0xfe], "[-2]"),
            ("<u4", &[1, 0, 0, 0x80], "[2147483649]"),
            ("<f2", &[0x00, 0xbe], "[-1.5]"),
            ("<f4", &[0, 0, 0xc0, 0x3f], "[1.5]"),
            (">f8", &[0x3f, 0xf8, 0, 0, 0, 0, 0, 0], "[1.5]"),
            ("<c8", &[0; 8], "[]"),
        ] {
            assert_eq!(list(dtype, buffer), value(expected), "{dtype}");
        }
    }

    #[test]
    fn json_is_written_in_order_and_as_python_does() {
        let value = value("{\"b\":[1,2.5],\"a\":{\"h\u{e9}\":\"\u{1f600}\",\"n\":null}}");
        let mut out = Vec::new();
        value.write_json(&mut out, BytesAs::Text);
        assert_eq!(
            String::from_utf8(out).unwrap(),
            "{\"b\":[1,2.5],\"a\":{\"h\u{e9}\":\"\u{1f600}\",\"n\":null}}"
        );
        let mut python = String::new();
        value.write_python(&mut python);
        assert_eq!(
            python,
            "{\"b\": [1, 2.5], \"a\": {\"h\\u00e9\": \"\\ud83d\\ude00\", \"n\": null}}"
        );
    }
}
