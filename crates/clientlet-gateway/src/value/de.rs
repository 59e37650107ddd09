//! A value read as a type of the test's author.

use std::fmt;

use bytes::Bytes;
use serde::de::value::MapAccessDeserializer;
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, IntoDeserializer, MapAccess, SeqAccess,
    Visitor,
};

use super::{Array, BytesAs, Value};
use crate::docarray::DocArray;

/// The names under which the client's types for bytes and tensors present themselves to serde. Their
/// parts then keep the element type and the bytes, which a human-readable format would not.
pub(crate) const BLOB: &str = "clientlet::Blob";
pub(crate) const TENSOR: &str = "clientlet::Tensor";
const ANY: &str = "clientlet::Any";

/// Why documents or parameters cannot be read as a type, or a type cannot be written: one line that
/// names the place.
#[derive(Clone, PartialEq, Eq)]
pub struct ReadError {
    /// The place, outermost step last.
    path: Vec<String>,
    message: String,
}

impl ReadError {
    pub(crate) fn new(message: impl Into<String>) -> Self {
        Self { path: Vec::new(), message: message.into() }
    }

    /// The same, seen from one level further out.
    pub(crate) fn within(mut self, step: impl Into<String>) -> Self {
        self.path.push(step.into());
        self
    }

    /// The field that cannot be read, such as `parts[0].text`; empty if it is the whole value.
    pub(crate) fn field(&self) -> String {
        let mut field = String::new();
        for step in self.path.iter().rev() {
            if !field.is_empty() && !step.starts_with('[') {
                field.push('.');
            }
            field.push_str(step);
        }
        field
    }
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.field() {
            field if field.is_empty() => f.write_str(&self.message),
            field => write!(f, "`{field}`: {}", self.message),
        }
    }
}

impl fmt::Debug for ReadError {
    /// As [`Display`](fmt::Display), since this is what `unwrap` shows.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl std::error::Error for ReadError {}

impl de::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

impl serde::ser::Error for ReadError {
    fn custom<T: fmt::Display>(message: T) -> Self {
        Self::new(message.to_string())
    }
}

/// Reads a value as a type. Numbers of protobuf's Struct are all doubles, so a whole double is read as
/// an integer where one is wanted.
pub(crate) fn read<T: DeserializeOwned>(value: &Value, docarray: DocArray) -> Result<T, ReadError> {
    T::deserialize(Reader { value: value.clone(), docarray })
}

struct Reader {
    value: Value,
    docarray: DocArray,
}

macro_rules! integers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.value {
                // Whole and below 2^63, where doubles are integers.
                Value::Float(n) if n.fract() == 0.0 && n.abs() < 9.2e18 => {
                    visitor.visit_i64(n as i64)
                }
                _ => self.deserialize_any(visitor),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Reader {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Self { value, docarray } = self;
        match value {
            Value::Null => visitor.visit_unit(),
            Value::Boolean(b) => visitor.visit_bool(b),
            // As serde_json reads it.
            Value::Integer(n) => match u64::try_from(n) {
                Ok(n) => visitor.visit_u64(n),
                Err(_) => visitor.visit_i64(n),
            },
            Value::Float(n) => visitor.visit_f64(n),
            Value::Text(text) => visitor.visit_string(text),
            Value::Bytes(bytes) => visitor.visit_string(BytesAs::of(docarray).write(&bytes)),
            Value::Array(array) => {
                Reader { value: array.to_list(), docarray }.deserialize_any(visitor)
            }
            Value::List(list) => {
                visitor.visit_seq(Elements { docarray, list: list.into_iter(), index: 0 })
            }
            Value::Map(entries) => {
                visitor.visit_map(Entries { docarray, entries: entries.into_iter(), entry: None })
            }
        }
    }

    integers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Null => visitor.visit_none(),
            _ => visitor.visit_some(self),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        match self.value {
            Value::Bytes(bytes) => visitor.visit_byte_buf(bytes.into()),
            _ => self.deserialize_any(visitor),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        self.deserialize_bytes(visitor)
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        let Self { value, docarray } = self;
        let value = match value {
            Value::Bytes(bytes) => {
                Value::List(bytes.iter().map(|byte| Value::Integer((*byte).into())).collect())
            }
            value => value,
        };
        Reader { value, docarray }.deserialize_any(visitor)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Self { value, docarray } = self;
        match value {
            Value::Bytes(bytes) if name == BLOB => visitor.visit_newtype_struct(Parts(bytes)),
            // JSON of documents v2 does not tell bytes from text.
            Value::Text(text) if name == BLOB && docarray == DocArray::V2 => {
                visitor.visit_newtype_struct(Parts(text.into()))
            }
            Value::Array(array) if name == TENSOR => {
                visitor.visit_newtype_struct(ArrayParts(array))
            }
            // A type that takes any value asks to be told what is an array and what is bytes.
            value @ (Value::Array(_) | Value::Bytes(_)) if name == ANY => {
                let marker = if matches!(value, Value::Array(_)) { TENSOR } else { BLOB };
                let entries = vec![(marker.to_owned(), value)].into_iter();
                let entries = Entries { docarray, entries, entry: None };
                visitor.visit_enum(MapAccessDeserializer::new(entries))
            }
            value => visitor.visit_newtype_struct(Reader { value, docarray }),
        }
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        let Self { value, docarray } = self;
        match value {
            Value::Text(text) => visitor.visit_enum(text.into_deserializer()),
            Value::Map(entries) if entries.len() == 1 => {
                visitor.visit_enum(MapAccessDeserializer::new(Entries {
                    docarray,
                    entries: entries.into_iter(),
                    entry: None,
                }))
            }
            value => Err(ReadError::new(format!("a variant was expected, not {}", value.kind()))),
        }
    }

    serde::forward_to_deserialize_any! {
        bool f32 f64 char str string unit unit_struct tuple tuple_struct map struct identifier
        ignored_any
    }
}

struct Elements {
    docarray: DocArray,
    list: std::vec::IntoIter<Value>,
    index: usize,
}

impl<'de> SeqAccess<'de> for Elements {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        let Some(value) = self.list.next() else { return Ok(None) };
        let index = self.index;
        self.index += 1;
        let element = seed.deserialize(Reader { value, docarray: self.docarray });
        element.map(Some).map_err(|error| error.within(format!("[{index}]")))
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.list.len())
    }
}

struct Entries {
    docarray: DocArray,
    entries: std::vec::IntoIter<(String, Value)>,
    /// The entry whose key was read.
    entry: Option<(String, Value)>,
}

impl<'de> MapAccess<'de> for Entries {
    type Error = ReadError;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        self.entry = self.entries.next();
        let Some((key, _)) = &self.entry else { return Ok(None) };
        seed.deserialize(Key(key.clone())).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, ReadError> {
        // serde asks for the value of an entry once, after its key.
        let (key, value) = self.entry.take().unwrap_or_default();
        let value = seed.deserialize(Reader { value, docarray: self.docarray });
        value.map_err(|error| error.within(key))
    }
}

/// A key, which is a number where a map has numbers as keys.
struct Key(String);

macro_rules! numeric_keys {
    ($($method:ident $visit:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
            match self.0.parse() {
                Ok(number) => visitor.$visit(number),
                Err(_) => visitor.visit_string(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Key {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_string(self.0)
    }

    numeric_keys! {
        deserialize_i8 visit_i8 deserialize_i16 visit_i16 deserialize_i32 visit_i32
        deserialize_i64 visit_i64 deserialize_u8 visit_u8 deserialize_u16 visit_u16
        deserialize_u32 visit_u32 deserialize_u64 visit_u64 deserialize_bool visit_bool
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_enum(self.0.into_deserializer())
    }

    serde::forward_to_deserialize_any! {
        i128 u128 f32 f64 char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

/// Bytes for a type that asks for them as parts.
struct Parts(Bytes);

impl<'de> Deserializer<'de> for Parts {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_byte_buf(self.0.into())
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, ReadError> {
        visitor.visit_newtype_struct(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

/// An array as its element type, shape and elements.
struct ArrayParts(Array);

impl<'de> Deserializer<'de> for ArrayParts {
    type Error = ReadError;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, ReadError> {
        visitor.visit_seq(ArraySequence { array: self.0, next: 0 })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option unit
        unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct ArraySequence {
    array: Array,
    next: usize,
}

impl<'de> SeqAccess<'de> for ArraySequence {
    type Error = ReadError;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, ReadError> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(self.array.dtype.clone().into_deserializer()).map(Some),
            2 => seed.deserialize(self.array.shape.clone().into_deserializer()).map(Some),
            3 => seed.deserialize(Parts(self.array.buffer.clone())).map(Some),
            _ => Ok(None),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde::Deserialize;

    use super::*;

    #[derive(Debug, Deserialize, PartialEq)]
    struct Part {
        count: u32,
    }

    #[derive(Debug, Deserialize, PartialEq)]
    enum Color {
        Red,
        Mixed { red: u8 },
    }

    #[derive(Debug, Deserialize, PartialEq)]
    struct Whole {
        text: String,
        year: u16,
        parts: Vec<Part>,
        none: Option<String>,
        numbers: BTreeMap<u8, f32>,
        colors: Vec<Color>,
    }

    fn read_json<T: DeserializeOwned>(json: &str) -> Result<T, ReadError> {
        read(&serde_json::from_str(json).unwrap(), DocArray::V1)
    }

    #[test]
    fn types_are_read_and_whole_doubles_are_integers() {
        let whole: Whole = read_json(
            r#"{"text": "a", "year": 1999.0, "parts": [{"count": 2}], "none": null,
                "numbers": {"7": 1}, "colors": ["Red", {"Mixed": {"red": 3}}], "other": []}"#,
        )
        .unwrap();
        let expected = Whole {
            text: "a".into(),
            year: 1999,
            parts: vec![Part { count: 2 }],
            none: None,
            numbers: BTreeMap::from([(7, 1.0)]),
            colors: vec![Color::Red, Color::Mixed { red: 3 }],
        };
        assert_eq!(whole, expected);
    }

    #[test]
    fn an_error_names_the_place() {
        for (json, message) in [
            ("{}", "missing field `text`"),
            (r#"{"text": 5}"#, "`text`: invalid type: integer `5`, expected a string"),
            (
                r#"{"text": "", "year": 1, "parts": [{"count": 1}, {"count": 1.5}]}"#,
                "`parts[1].count`: invalid type: floating point `1.5`, expected u32",
            ),
        ] {
            assert_eq!(read_json::<Whole>(json).unwrap_err().to_string(), message);
        }
    }
}
