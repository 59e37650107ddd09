//! Values that are read only to be written again, in another encoding.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde::ser::{Serialize, SerializeMap, Serializer};

use super::{AnyVisitor, Blob, Tensor};

/// A value as it came. Its fields keep their order.
pub(crate) enum Again {
    Null,
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Number(f64),
    Text(String),
    Blob(Blob),
    Tensor(Tensor),
    List(Vec<Again>),
    Map(Vec<(String, Again)>),
}

impl Again {
    /// Whether there is nothing in it.
    pub(crate) fn is_empty(&self) -> bool {
        match self {
            Again::Null => true,
            Again::Map(entries) => entries.is_empty(),
            _ => false,
        }
    }
}

impl Serialize for Again {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Again::Null => serializer.serialize_unit(),
            Again::Bool(b) => serializer.serialize_bool(*b),
            Again::Integer(n) => serializer.serialize_i64(*n),
            Again::Unsigned(n) => serializer.serialize_u64(*n),
            Again::Number(n) => serializer.serialize_f64(*n),
            Again::Text(text) => serializer.serialize_str(text),
            Again::Blob(blob) => serializer.serialize_bytes(blob.as_bytes()),
            Again::Tensor(tensor) => tensor.serialize(serializer),
            Again::List(values) => values.serialize(serializer),
            Again::Map(entries) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    map.serialize_entry(name, value)?;
                }
                map.end()
            }
        }
    }
}

impl<'de> Deserialize<'de> for Again {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Again, D::Error> {
        AgainVisitor.deserialize(deserializer)
    }
}

struct AgainVisitor;

impl<'de> Visitor<'de> for AgainVisitor {
    type Value = Again;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: Error>(self) -> Result<Again, E> {
        Ok(Again::Null)
    }

    fn visit_none<E: Error>(self) -> Result<Again, E> {
        Ok(Again::Null)
    }

    fn visit_bool<E: Error>(self, b: bool) -> Result<Again, E> {
        Ok(Again::Bool(b))
    }

    fn visit_i64<E: Error>(self, n: i64) -> Result<Again, E> {
        Ok(Again::Integer(n))
    }

    fn visit_u64<E: Error>(self, n: u64) -> Result<Again, E> {
        Ok(Again::Unsigned(n))
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<Again, E> {
        Ok(Again::Number(n))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Again, E> {
        Ok(Again::Text(text.to_owned()))
    }

    fn visit_string<E: Error>(self, text: String) -> Result<Again, E> {
        Ok(Again::Text(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Again, A::Error> {
        let mut values = Vec::new();
        while let Some(value) = seq.next_element()? {
            values.push(value);
        }
        Ok(Again::List(values))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Again, A::Error> {
        let mut entries = Vec::new();
        while let Some(entry) = map.next_entry()? {
            entries.push(entry);
        }
        Ok(Again::Map(entries))
    }
}

impl<'de> AnyVisitor<'de> for AgainVisitor {
    fn visit_tensor<E: Error>(self, tensor: Tensor) -> Result<Again, E> {
        Ok(Again::Tensor(tensor))
    }

    fn visit_blob<E: Error>(self, blob: Blob) -> Result<Again, E> {
        Ok(Again::Blob(blob))
    }
}
