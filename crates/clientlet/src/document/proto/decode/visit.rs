//! Answers serde's requests from the bytes on the wire.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{DeserializeSeed, Deserializer, Error as _, Visitor};
use serde::forward_to_deserialize_any;

use super::Problem;
use super::access::{Elements, Entries, Named, Singles, Variant};
use super::fields::{Default, Found};
use super::view::{View, entry_value, open};
use crate::document::any::{ANY, ELEMENTS, Kept, KeptValue};
use crate::document::blob::BLOB;
use crate::document::json_text::JsonText;
use crate::document::lenient::{visit_integer, whole};
use crate::document::raw::RAW_VALUE;
use crate::document::tensor::TENSOR;

impl View<'_> {
    /// Visits the value as it is. If the value becomes a struct, `wanted` are the fields of the
    /// struct.
    fn visit<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        wanted: &'static [&'static str],
    ) -> Result<V::Value, Problem> {
        match self {
            View::Null | View::Unset(_) => visitor.visit_unit(),
            View::Boolean(b) => visitor.visit_bool(b),
            View::Integer(n) => visitor.visit_i32(n),
            View::Count(n) => visitor.visit_u32(n),
            View::Single(n) => visitor.visit_f32(n),
            View::Double(n) => visitor.visit_f64(n),
            View::Number(n) => match whole(n) {
                Some(n) => visitor.visit_i64(n),
                None => visitor.visit_f64(n),
            },
            View::Text(text) | View::JsonText(text) => visitor.visit_str(text),
            // For a type that takes any value, bytes become base64, as in JSON.
            View::Blob(bytes) => visitor.visit_string(STANDARD.encode(bytes)),
            View::Array(array) => array.visit_lists(visitor, false),
            View::Singles { bytes, number } => visitor.visit_seq(Singles::new(bytes, number)),
            View::List(repeated) => visitor.visit_seq(Elements::new(&repeated)),
            View::Entries(repeated) => visitor.visit_map(Entries::new(&repeated)?),
            View::Fields(fields) => {
                let mut found = Found::new(fields);
                found.read()?;
                visitor.visit_map(Named::new(&found, wanted))
            }
        }
    }

    /// Replaces an absent field by its default, for a type that needs a value. Other values are
    /// left unchanged.
    fn or_default(self) -> Self {
        match self {
            View::Unset(Default::Text) => View::Text(""),
            View::Unset(Default::Count) => View::Count(0),
            View::Unset(Default::Single) => View::Single(0.0),
            View::Unset(Default::Blob) => View::Blob(&[]),
            View::Unset(Default::List) => View::Singles { bytes: &[], number: 0 },
            other => other,
        }
    }
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            match self.or_default() {
                View::Single(n) => visit_integer(n.into(), visitor),
                View::Double(n) | View::Number(n) => visit_integer(n, visitor),
                View::Array(array) => array.visit_lists(visitor, true),
                view => view.visit(visitor, &[]),
            }
        })*
    };
}

macro_rules! reals {
    ($($method:ident)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            match self {
                View::Single(n) => visitor.visit_f32(n),
                View::Double(n) | View::Number(n) => visitor.visit_f64(n),
                View::Array(array) => array.visit_lists(visitor, true),
                view => view.or_default().visit(visitor, &[]),
            }
        })*
    };
}

macro_rules! texts {
    ($($method:ident)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            match self {
                View::Text(text) | View::JsonText(text) => visitor.visit_str(text),
                view => view.or_default().visit(visitor, &[]),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for View<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor, &[])
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    reals! { deserialize_f32 deserialize_f64 }

    texts! { deserialize_str deserialize_string deserialize_char }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.or_default() {
            View::Blob(bytes) => visitor.visit_bytes(bytes),
            View::Text(text) => visitor.visit_bytes(text.as_bytes()),
            View::JsonText(text) => match STANDARD.decode(text) {
                Ok(bytes) => visitor.visit_byte_buf(bytes),
                Err(error) => Err(Problem::custom(format_args!("invalid base64: {error}"))),
            },
            view => view.visit(visitor, &[]),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self {
            View::Null | View::Unset(_) => visitor.visit_none(),
            view => visitor.visit_some(view),
        }
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match (name, self) {
            (TENSOR, View::Array(array)) => array.visit_parts(visitor),
            (TENSOR, view) => visitor.visit_newtype_struct(Lists(view)),
            (BLOB, view) => visitor.visit_newtype_struct(Binary(view)),
            (RAW_VALUE, view) => visit_raw(view, visitor),
            (ANY | ELEMENTS, view @ View::Array(_)) => {
                visitor.visit_enum(KeptValue::new(Kept::Tensor, view))
            }
            (ANY | ELEMENTS, view @ View::Blob(_)) => {
                visitor.visit_enum(KeptValue::new(Kept::Blob, view))
            }
            (ANY | ELEMENTS, view) => view.visit(visitor, &[]),
            (_, view) => visitor.visit_newtype_struct(view),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.or_default() {
            View::Blob(bytes) => visitor.visit_seq(SeqDeserializer::new(bytes.iter().copied())),
            view => view.visit(visitor, &[]),
        }
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.deserialize_struct("", &[], visitor)
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        if let View::Unset(Default::Map) = self {
            return visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, &str)>()));
        }
        self.visit(visitor, fields)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        match self.or_default() {
            View::Text(text) | View::JsonText(text) => {
                visitor.visit_enum(StrDeserializer::new(text))
            }
            View::Entries(repeated) => {
                let Some((name, entry)) = Entries::new(&repeated)?.single() else {
                    return Err(serde::de::Error::custom("an enum has one variant"));
                };
                let context = repeated.context.within(2)?;
                let value = entry_value(entry, context)?;
                let content = open(repeated.of, &value, context)?;
                visitor.visit_enum(Variant { name, content })
            }
            view => view.visit(visitor, &[]),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_unit()
    }

    forward_to_deserialize_any! { bool unit unit_struct identifier }
}

/// Passes the value on as JSON text, as serde_json passes on raw JSON.
fn visit_raw<'de, V: Visitor<'de>>(view: View<'_>, visitor: V) -> Result<V::Value, Problem> {
    let mut json = Vec::new();
    JsonText(&mut json).deserialize(view)?;
    let json = String::from_utf8(json).map_err(Problem::custom)?;
    visitor.visit_map(MapDeserializer::new(std::iter::once((RAW_VALUE, json))))
}

/// A value for a tensor that is not an array: nested lists of numbers.
struct Lists<'a>(View<'a>);

impl<'de> Deserializer<'de> for Lists<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.0.visit(visitor, &[])
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// A value for a blob: it gives bytes, not the text that stands for bytes in JSON.
struct Binary<'a>(View<'a>);

impl<'de> Deserializer<'de> for Binary<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.0.deserialize_byte_buf(visitor)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}
