//! Reading and writing JSON without a tree: fields stay slices of the body of the request.

use std::borrow::Cow;
use std::fmt;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

/// A field as it is in the body. Absent and null are different, because some fields may be left out
/// but not be null.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Raw<'a>(Option<&'a str>);

impl<'a> Raw<'a> {
    pub(crate) fn new(json: &'a str) -> Self {
        Self(Some(json))
    }

    pub(crate) fn is_null(self) -> bool {
        self.0 == Some("null")
    }

    /// The JSON text, unless the field is absent or null.
    pub(crate) fn given(self) -> Option<&'a str> {
        self.0.filter(|text| *text != "null")
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Raw<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        <&RawValue>::deserialize(deserializer).map(|raw| Raw(Some(raw.get())))
    }
}

/// An object's key, borrowed if it has no escapes.
pub(crate) struct Key<'a>(pub(crate) Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Key<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Borrow;

        impl<'de> Visitor<'de> for Borrow {
            type Value = Key<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a key")
            }

            fn visit_borrowed_str<E>(self, key: &'de str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Borrowed(key)))
            }

            fn visit_str<E>(self, key: &str) -> Result<Key<'de>, E> {
                Ok(Key(Cow::Owned(key.to_owned())))
            }
        }

        deserializer.deserialize_str(Borrow)
    }
}

/// The entries of an object, in its order.
#[derive(Default)]
pub(crate) struct Entries<'a>(pub(crate) Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'de: 'a, 'a> Deserialize<'de> for Entries<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Collect;

        impl<'de> Visitor<'de> for Collect {
            type Value = Entries<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<M: MapAccess<'de>>(self, mut map: M) -> Result<Entries<'de>, M::Error> {
                let mut entries = Vec::new();
                while let Some((key, value)) = map.next_entry::<Key<'de>, Raw<'de>>()? {
                    entries.push((key.0, value));
                }
                Ok(Entries(entries))
            }
        }

        deserializer.deserialize_map(Collect)
    }
}

/// Declares a struct that reads the named keys of an object and skips the others. If a key is
/// repeated, the last one counts, as in Python. A value that is no object gives the default with
/// `stray` set, so that the reader can complain about its place.
macro_rules! record {
    ($(#[$about:meta])* $name:ident { $($field:ident: $type:ty = $key:literal),* $(,)? }) => {
        $(#[$about])*
        #[derive(Default)]
        pub(crate) struct $name<'a> {
            $(pub(crate) $field: $type,)*
            /// The value was no object.
            #[allow(dead_code, reason = "not every reader of a record asks")]
            pub(crate) stray: bool,
        }

        impl<'a> $name<'a> {
            pub(crate) fn from_map<M>(mut map: M) -> Result<Self, M::Error>
            where
                M: ::serde::de::MapAccess<'a>,
            {
                let mut record = Self::default();
                while let Some(key) = map.next_key::<$crate::json::Key<'a>>()? {
                    match &*key.0 {
                        $($key => record.$field = map.next_value()?,)*
                        _ => {
                            map.next_value::<::serde::de::IgnoredAny>()?;
                        }
                    }
                }
                Ok(record)
            }
        }

        impl<'de: 'a, 'a> ::serde::de::Deserialize<'de> for $name<'a> {
            fn deserialize<D>(deserializer: D) -> Result<Self, D::Error>
            where
                D: ::serde::de::Deserializer<'de>,
            {
                struct Read;

                impl<'de> ::serde::de::Visitor<'de> for Read {
                    type Value = $name<'de>;

                    fn visit_map<M>(self, map: M) -> Result<Self::Value, M::Error>
                    where
                        M: ::serde::de::MapAccess<'de>,
                    {
                        $name::from_map(map)
                    }

                    $crate::json::visit_others!('de, Ok($name { stray: true, ..$name::default() }));
                }

                deserializer.deserialize_any(Read)
            }
        }
    };
}
pub(crate) use record;

/// The other methods of a `Visitor` that wants one kind of value: all other kinds give the same
/// result. With `scalars`, the visitor handles lists and null itself.
macro_rules! visit_others {
    ($de:lifetime, $result:expr) => {
        fn visit_seq<S>(self, mut list: S) -> Result<Self::Value, S::Error>
        where
            S: ::serde::de::SeqAccess<$de>,
        {
            while list.next_element::<::serde::de::IgnoredAny>()?.is_some() {}
            $result
        }

        fn visit_unit<E>(self) -> Result<Self::Value, E> {
            $result
        }

        $crate::json::visit_others!(scalars $result);
    };
    (scalars $result:expr) => {
        fn expecting(&self, f: &mut ::std::fmt::Formatter<'_>) -> ::std::fmt::Result {
            f.write_str("a value")
        }

        fn visit_bool<E>(self, _: bool) -> Result<Self::Value, E> {
            $result
        }

        fn visit_i64<E>(self, _: i64) -> Result<Self::Value, E> {
            $result
        }

        fn visit_u64<E>(self, _: u64) -> Result<Self::Value, E> {
            $result
        }

        fn visit_f64<E>(self, _: f64) -> Result<Self::Value, E> {
            $result
        }

        fn visit_str<E>(self, _: &str) -> Result<Self::Value, E> {
            $result
        }
    };
}
pub(crate) use visit_others;

/// The text of a JSON string; `None` for any other value.
pub(crate) fn string(json: &str) -> Option<Cow<'_, str>> {
    let inner = json.strip_prefix('"')?.strip_suffix('"')?;
    if inner.contains('\\') {
        serde_json::from_str(json).ok().map(Cow::Owned)
    } else {
        Some(Cow::Borrowed(inner))
    }
}

/// A value where text is expected, as pydantic reads it: numbers and booleans become text.
pub(crate) fn coerced_text(json: &str) -> Option<Cow<'_, str>> {
    match json.as_bytes().first()? {
        b'"' => string(json),
        b't' => Some(Cow::Borrowed("True")),
        b'f' => Some(Cow::Borrowed("False")),
        b'-' | b'0'..=b'9' => Some(Cow::Borrowed(json)),
        _ => None,
    }
}

/// A value where an integer is expected, as pydantic reads it: fractions are cut off, numerals
/// and booleans count.
pub(crate) fn coerced_integer(json: &str) -> Option<i64> {
    match json.as_bytes().first()? {
        b'"' => string(json)?.trim().parse().ok(),
        b't' => Some(1),
        b'f' => Some(0),
        _ => json.parse().ok().or_else(|| {
            let number: f64 = json.parse().ok()?;
            // The cast cuts off the fraction, which is what is wanted; 2^63 and beyond saturate.
            Some(number as i64)
        }),
    }
}

/// A value where a float is expected, as pydantic reads it: numerals and booleans count.
pub(crate) fn coerced_float(json: &str) -> Option<f64> {
    match json.as_bytes().first()? {
        b'"' => string(json)?.trim().parse().ok(),
        b't' => Some(1.0),
        b'f' => Some(0.0),
        _ => json.parse().ok(),
    }
}

/// A value where a boolean is expected, as pydantic reads it.
pub(crate) fn coerced_boolean(json: &str) -> Option<bool> {
    match string(json).as_deref().unwrap_or(json).to_ascii_lowercase().as_str() {
        "true" | "t" | "1" | "yes" | "y" | "on" => Some(true),
        "false" | "f" | "0" | "no" | "n" | "off" => Some(false),
        _ => None,
    }
}

/// Writes a value as JSON.
pub(crate) fn write(out: &mut Vec<u8>, value: &(impl serde::Serialize + ?Sized)) {
    // Writing to memory cannot fail, and all keys here are strings.
    let _ = serde_json::to_writer(out, value);
}

/// Copies JSON, turning every integer in it into a float, as protobuf's Struct does.
pub(crate) fn write_floats(out: &mut Vec<u8>, json: &str) {
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + token_length(&bytes[at..]);
        let token = &bytes[at..end];
        out.extend_from_slice(token);
        if is_integer(token) {
            if token.len() <= 15 {
                out.extend_from_slice(b".0");
            } else {
                // Beyond 2^53 a float is another number.
                out.truncate(out.len() - token.len());
                write(out, &json[at..end].parse().unwrap_or(0.0_f64));
            }
        }
        at = end;
    }
}

/// Whether JSON holds an integer that does not fit 32 bits.
pub(crate) fn has_wide_integer(json: &str) -> bool {
    let bytes = json.as_bytes();
    let mut at = 0;
    while at < bytes.len() {
        let end = at + token_length(&bytes[at..]);
        if is_integer(&bytes[at..end]) && json[at..end].parse::<i32>().is_err() {
            return true;
        }
        at = end;
    }
    false
}

fn is_integer(token: &[u8]) -> bool {
    matches!(token[0], b'-' | b'0'..=b'9') && !token.iter().any(|b| matches!(b, b'.' | b'e' | b'E'))
}

/// The length of the next token of valid JSON: a string, number, word or single sign.
fn token_length(rest: &[u8]) -> usize {
    match rest[0] {
        b'"' => {
            let mut end = 1;
            while end < rest.len() && rest[end] != b'"' {
                end += if rest[end] == b'\\' { 2 } else { 1 };
            }
            (end + 1).min(rest.len())
        }
        b'-' | b'0'..=b'9' | b'a'..=b'z' => rest
            .iter()
            .position(|b| !(b.is_ascii_alphanumeric() || matches!(b, b'-' | b'+' | b'.')))
            .unwrap_or(rest.len()),
        _ => 1,
    }
}

/// The kind of array that nested lists of numbers are.
#[derive(Debug, PartialEq)]
pub(crate) enum Array {
    /// All rows of a level are equally long.
    Even {
        /// Integers and floats are mixed, which makes all of them floats.
        mixed: bool,
        /// An element is null.
        holes: bool,
    },
    /// Some rows are longer or deeper than others.
    Ragged,
    /// No list at all.
    Scalar,
}

/// Reads nested lists as numpy does.
pub(crate) fn array(json: &str) -> Array {
    let bytes = json.as_bytes();
    let mut lengths: Vec<Option<usize>> = Vec::new();
    let mut counts: Vec<usize> = Vec::new();
    let mut leaves_at = None;
    let (mut integers, mut floats, mut holes) = (false, false, false);
    let mut at = 0;
    while at < bytes.len() {
        let token = &bytes[at..at + token_length(&bytes[at..])];
        at += token.len();
        match token[0] {
            b',' | b' ' | b'\t' | b'\n' | b'\r' => continue,
            b'[' => {
                count_one(&mut counts);
                counts.push(0);
                if lengths.len() < counts.len() {
                    if leaves_at.is_some() {
                        return Array::Ragged;
                    }
                    lengths.push(None);
                }
            }
            b']' => {
                let count = counts.pop().unwrap_or_default();
                match lengths.get_mut(counts.len()) {
                    Some(Some(length)) if *length != count => return Array::Ragged,
                    Some(length) => *length = Some(count),
                    None => {}
                }
            }
            first => {
                if counts.is_empty() {
                    return Array::Scalar;
                }
                count_one(&mut counts);
                if lengths.len() != counts.len() {
                    return Array::Ragged;
                }
                leaves_at = Some(counts.len());
                match first {
                    b'n' => holes = true,
                    b'-' | b'0'..=b'9' if is_integer(token) => integers = true,
                    b'-' | b'0'..=b'9' => floats = true,
                    _ => {}
                }
            }
        }
    }
    Array::Even { mixed: integers && floats, holes }
}

fn count_one(counts: &mut [usize]) {
    if let Some(count) = counts.last_mut() {
        *count += 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_become_floats_and_nothing_else_changes() {
        let mut out = Vec::new();
        write_floats(
            &mut out,
            r#"{"a": 1, "b\"1": [-2, 2.5, 1e3, "3", true, null], "c": 9007199254740993}"#,
        );
        assert_eq!(
            String::from_utf8(out).unwrap(),
            r#"{"a": 1.0, "b\"1": [-2.0, 2.5, 1e3, "3", true, null], "c": 9007199254740992.0}"#
        );
    }

    #[test]
    fn arrays_are_even_ragged_or_scalar() {
        let even = |mixed, holes| Array::Even { mixed, holes };
        for (json, expected) in [
            ("[[1, 2], [3, 4]]", even(false, false)),
            ("[1, 2.5]", even(true, false)),
            ("[]", even(false, false)),
            ("[[]]", even(false, false)),
            ("[[], []]", even(false, false)),
            ("[null, 1]", even(false, true)),
            ("[[1, 2], [3]]", Array::Ragged),
            ("[[1, 2], 3]", Array::Ragged),
            ("[1, [2]]", Array::Ragged),
            ("[[], [1]]", Array::Ragged),
            ("[[[]], [1]]", Array::Ragged),
            ("5", Array::Scalar),
        ] {
            assert_eq!(array(json), expected, "{json}");
        }
    }
}
