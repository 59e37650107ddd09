//! Wraps serde_json's deserializer so that a gateway's JSON reads as its protobuf does.
//!
//! A v1 gateway writes every number in tags and parameters as a double: `1.0` for 1. So a whole
//! double is read as an integer wherever a type asks for an integer. In tags and parameters this
//! also applies to types that take any value (a [`Value`](crate::Value), the buffers of `flatten`).
//! Bytes of v1 are read from base64.

mod access;
mod raw;
mod visitor;

use serde::de::{Deserializer, Error, Visitor};

use self::visitor::{Bytes, Integer, Kind, Wrapped};
use super::any::{ANY, ELEMENTS, Kept, REALS};
use super::raw::RAW_VALUE;
use crate::message::DocArray;

/// The place of a value, which decides how its numbers and text are read.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Place {
    /// A list of v1 documents, and one v1 document.
    Documents,
    Document,
    /// The blob of a v1 document.
    Blob,
    /// The tensor or the embedding of a v1 document.
    Tensor,
    /// Tags of v1 or parameters, whose numbers are doubles on the wire.
    Values,
    /// Anywhere else.
    Free,
}

impl Place {
    pub(super) fn of_documents(docarray: DocArray) -> Place {
        match docarray {
            DocArray::V1 => Place::Documents,
            DocArray::V2 => Place::Free,
        }
    }

    pub(super) fn of_document(docarray: DocArray) -> Place {
        Place::of_documents(docarray).element()
    }

    fn element(self) -> Place {
        if self == Place::Documents { Place::Document } else { self }
    }

    /// The place of the entry named `name`.
    fn entry(self, name: &str) -> Place {
        match (self, name) {
            (Place::Document, "tags") => Place::Values,
            (Place::Document, "chunks" | "matches") => Place::Documents,
            (Place::Document, "blob") => Place::Blob,
            (Place::Document, "tensor" | "embedding") => Place::Tensor,
            (Place::Values, _) => Place::Values,
            _ => Place::Free,
        }
    }
}

/// The bound within which every integer is exact as a double.
const MOST_EXACT: f64 = 9_007_199_254_740_992.0;

/// Returns the integer that equals a double. A negative zero equals no integer.
pub(super) fn whole(n: f64) -> Option<i64> {
    let is_whole = n.fract() == 0.0 && n.abs() <= MOST_EXACT && !(n == 0.0 && n.is_sign_negative());
    is_whole.then_some(n as i64)
}

/// Reads a double where the type asks for an integer.
pub(super) fn visit_integer<'de, V: Visitor<'de>, E: Error>(
    n: f64,
    visitor: V,
) -> Result<V::Value, E> {
    match whole(n) {
        Some(n) => visitor.visit_i64(n),
        None if n == 0.0 => visitor.visit_i64(0),
        // serde's own message names the number and the expected type.
        None => visitor.visit_f64(n),
    }
}

pub(super) struct Lenient<D> {
    inner: D,
    place: Place,
}

impl<D> Lenient<D> {
    pub(super) fn new(inner: D, place: Place) -> Lenient<D> {
        Lenient { inner, place }
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(Integer(visitor))
        })*
    };
}

/// Reads 128-bit integers. serde_json reads them only from digits, which is right except in
/// [`Place::Values`], whose numbers are doubles.
macro_rules! wide_integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            match self.place {
                Place::Values => self.inner.deserialize_any(Integer(visitor)),
                _ => self.inner.$method(visitor),
            }
        })*
    };
}

/// Reads values that contain no other values.
macro_rules! plain {
    ($($method:ident)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
            self.inner.$method(visitor)
        })*
    };
}

macro_rules! wrapped {
    ($($method:ident($($argument:ident: $type:ty),*);)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, D::Error> {
            self.inner.$method($($argument,)* Wrapped { visitor, place: self.place })
        })*
    };
}

impl<'de, D: Deserializer<'de>> Deserializer<'de> for Lenient<D> {
    type Error = D::Error;

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64
    }

    wide_integers! { deserialize_i128 deserialize_u128 }

    plain! {
        deserialize_bool deserialize_f32 deserialize_f64 deserialize_char deserialize_str
        deserialize_string deserialize_unit deserialize_identifier deserialize_ignored_any
    }

    wrapped! {
        deserialize_any();
        deserialize_option();
        deserialize_seq();
        deserialize_tuple(length: usize);
        deserialize_tuple_struct(name: &'static str, length: usize);
        deserialize_map();
        deserialize_struct(name: &'static str, fields: &'static [&'static str]);
        deserialize_enum(name: &'static str, variants: &'static [&'static str]);
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.inner.deserialize_unit_struct(name, visitor)
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        self.deserialize_byte_buf(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, D::Error> {
        match self.place {
            Place::Blob | Place::Values => self.inner.deserialize_byte_buf(Bytes(visitor)),
            _ => self.inner.deserialize_byte_buf(visitor),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        if name == RAW_VALUE && matches!(self.place, Place::Document | Place::Values) {
            return raw::deserialize(self.inner, self.place, visitor);
        }
        match (name, self.place) {
            (ANY, Place::Blob) => self.inner.deserialize_option(Kind(Kept::Blob, visitor)),
            (ANY, Place::Tensor) => self.inner.deserialize_option(Kind(Kept::Tensor, visitor)),
            // Only one by one are whole doubles read as integers.
            (ANY, place) | (ELEMENTS | REALS, place @ Place::Values) => {
                self.inner.deserialize_any(Wrapped { visitor, place })
            }
            (_, place) => self.inner.deserialize_newtype_struct(name, Wrapped { visitor, place }),
        }
    }

    fn is_human_readable(&self) -> bool {
        self.inner.is_human_readable()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::de::DeserializeOwned;
    use serde::{Deserialize, Serialize};
    use serde_json::json;
    use serde_json::value::RawValue;

    use crate::document::decode::{decode_documents, decode_parameters};
    use crate::document::{Document, Value};
    use crate::message::DocArray;

    fn tags<T: DeserializeOwned>(json: &str) -> Result<T, String> {
        #[derive(Deserialize)]
        struct Item<T> {
            tags: T,
        }
        let documents = format!(r#"[{{"id":"a","tags":{json}}}]"#);
        let read: Vec<Item<T>> = decode_documents(DocArray::V1, documents.as_bytes())?;
        Ok(read.into_iter().next().unwrap().tags)
    }

    #[test]
    fn a_whole_double_is_read_as_an_integer_by_types_that_ask_for_one() {
        #[derive(Debug, PartialEq, Deserialize)]
        struct Inner {
            year: i32,
        }
        #[derive(Debug, PartialEq, Deserialize)]
        #[serde(untagged)]
        enum Either {
            Whole(u8),
            Real(f64),
        }
        #[derive(Debug, PartialEq, Deserialize)]
        enum Choice {
            One(u16),
            Two { n: i64 },
        }
        #[derive(Debug, PartialEq, Deserialize)]
        struct Tags {
            #[serde(flatten)]
            inner: Inner,
            either: Vec<Either>,
            choice: Vec<Choice>,
            pair: (i8, Option<u64>),
            keys: BTreeMap<u32, i128>,
            real: f32,
        }
        let read: Tags = tags(
            r#"{"year":2020.0,"either":[1.0,1.5],"choice":[{"One":1.0},{"Two":{"n":-2.0}}],
                "pair":[-1.0,7.0],"keys":{"7":8.0},"real":3.0}"#,
        )
        .unwrap();
        let expected = Tags {
            inner: Inner { year: 2020 },
            either: vec![Either::Whole(1), Either::Real(1.5)],
            choice: vec![Choice::One(1), Choice::Two { n: -2 }],
            pair: (-1, Some(7)),
            keys: BTreeMap::from([(7, 8)]),
            real: 3.0,
        };
        assert_eq!(read, expected);
    }

    #[test]
    fn a_number_that_does_not_fit_is_named_by_its_field() {
        for (json, expected) in [
            ("1.5", "[0].tags.n: invalid type: floating point `1.5`, expected u8"),
            ("300.0", "[0].tags.n: invalid value: integer `300`, expected u8"),
            ("-1.0", "[0].tags.n: invalid value: integer `-1`, expected u8"),
            ("1e17", "[0].tags.n: invalid type: floating point `1e+17`, expected u8"),
        ] {
            #[derive(Debug, Deserialize)]
            struct Tags {
                #[allow(dead_code)]
                n: u8,
            }
            let message = tags::<Tags>(&format!(r#"{{"n":{json}}}"#)).unwrap_err();
            assert!(message.starts_with(expected), "{message}");
        }
    }

    #[test]
    fn in_tags_and_parameters_a_whole_double_is_an_integer_for_types_that_take_any_value() {
        let text = r#"{"a":1.0,"b":[-2.0,2.5],"c":{"d":9007199254740994.0},"e":-0.0,"f":"1.0"}"#;
        let expected = json!({"a": 1, "b": [-2, 2.5], "c": {"d": 9007199254740994.0}, "e": -0.0,
            "f": "1.0"});
        assert_eq!(tags::<serde_json::Value>(text).unwrap(), expected);
        assert_eq!(decode_parameters::<serde_json::Value>(text.as_bytes()).unwrap(), expected);
        assert_eq!(tags::<Value>(r#"{"a":1.0}"#).unwrap().get("a"), Some(&Value::Integer(1)));
        let raw: Box<RawValue> = tags(text).unwrap();
        assert_eq!(serde_json::from_str::<serde_json::Value>(raw.get()).unwrap(), expected);
    }

    #[test]
    fn outside_tags_and_parameters_numbers_are_unchanged() {
        let json = r#"{"weight":1.0,"embedding":[1.0,2.0],"tags":{"n":1.0},"chunks":[{"offset":2.0,"tags":{"m":[3.0]}}]}"#;
        let documents = format!("[{json}]");
        let expected = json!([{"weight": 1.0, "embedding": [1.0, 2.0], "tags": {"n": 1},
            "chunks": [{"offset": 2.0, "tags": {"m": [3]}}]}]);
        let read: Vec<serde_json::Value> =
            decode_documents(DocArray::V1, documents.as_bytes()).unwrap();
        assert_eq!(serde_json::Value::from(read), expected);
        let raw: Vec<Box<RawValue>> = decode_documents(DocArray::V1, documents.as_bytes()).unwrap();
        assert_eq!(raw[0].get(), json.replace(r#""n":1.0"#, r#""n":1"#).replace("[3.0]", "[3]"));
        let read: Vec<serde_json::Value> =
            decode_documents(DocArray::V2, documents.as_bytes()).unwrap();
        assert_eq!(read[0]["tags"]["n"], json!(1.0));
        let read: Vec<Document> = decode_documents(DocArray::V1, documents.as_bytes()).unwrap();
        assert_eq!(read[0].embedding.as_ref().unwrap().dtype(), crate::Dtype::F64);
    }

    #[test]
    fn raw_json_without_whole_doubles_is_passed_on_byte_for_byte() {
        let json = r#"{ "tags" : {"a": 1.05, "t": "x.0y" }, "embedding":[0.03e+1] }"#;
        let documents = format!("[{json}]");
        let raw: Vec<Box<RawValue>> = decode_documents(DocArray::V1, documents.as_bytes()).unwrap();
        assert_eq!(raw[0].get(), json);
    }

    #[test]
    fn bytes_of_any_type_are_base64_in_v1_and_text_in_v2() {
        #[derive(Debug, PartialEq, Serialize, Deserialize)]
        struct Item {
            blob: bytes::Bytes,
        }
        let json = br#"[{"blob":"aGk="}]"#;
        let read: Vec<Item> = decode_documents(DocArray::V1, json).unwrap();
        assert_eq!(read[0].blob, "hi");
        let read: Vec<Item> = decode_documents(DocArray::V2, json).unwrap();
        assert_eq!(read[0].blob, "aGk=");
    }
}
