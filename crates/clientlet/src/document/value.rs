//! A value of any type, for tags and parameters.

use std::collections::BTreeMap;
use std::fmt;

use serde::de::{MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer, Serialize, Serializer};

/// A value of a tag or a parameter.
///
/// A gateway turns every number into a double. A whole number up to 2^53 is read as
/// [`Integer`](Value::Integer), whichever variant was sent. Larger integers, NaN and infinity are
/// refused before sending.
#[derive(Clone, Debug, Default, PartialEq)]
pub enum Value {
    /// Null.
    #[default]
    Null,
    /// True or false.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// Any other number, neither NaN nor infinite.
    Number(f64),
    /// Text.
    String(String),
    /// A list.
    List(Vec<Value>),
    /// A map with text as keys.
    Map(BTreeMap<String, Value>),
}

impl Value {
    /// Returns the number, whole or not; `None` if the value is not a number.
    pub fn as_f64(&self) -> Option<f64> {
        match *self {
            Value::Integer(n) => Some(n as f64),
            Value::Number(n) => Some(n),
            _ => None,
        }
    }

    /// Returns the text; `None` if the value is not text.
    pub fn as_str(&self) -> Option<&str> {
        match self {
            Value::String(text) => Some(text),
            _ => None,
        }
    }

    /// Returns the boolean; `None` if the value is not a boolean.
    pub fn as_bool(&self) -> Option<bool> {
        match *self {
            Value::Bool(b) => Some(b),
            _ => None,
        }
    }

    /// Returns the entry of a map; `None` if the value is not a map or has no such entry.
    pub fn get(&self, key: &str) -> Option<&Value> {
        match self {
            Value::Map(map) => map.get(key),
            _ => None,
        }
    }
}

macro_rules! value_from {
    ($($from:ty => $make:expr;)*) => {
        $(impl From<$from> for Value {
            fn from(value: $from) -> Value {
                $make(value)
            }
        })*
    };
}

value_from! {
    bool => Value::Bool;
    i64 => Value::Integer;
    i32 => |n| Value::Integer(i64::from(n));
    u32 => |n| Value::Integer(i64::from(n));
    f64 => Value::Number;
    f32 => |n| Value::Number(f64::from(n));
    String => Value::String;
    &str => |text: &str| Value::String(text.to_owned());
    Vec<Value> => Value::List;
    BTreeMap<String, Value> => Value::Map;
}

impl Serialize for Value {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Value::Null => serializer.serialize_unit(),
            Value::Bool(b) => serializer.serialize_bool(*b),
            Value::Integer(n) => serializer.serialize_i64(*n),
            Value::Number(n) => serializer.serialize_f64(*n),
            Value::String(text) => serializer.serialize_str(text),
            Value::List(list) => list.serialize(serializer),
            Value::Map(map) => map.serialize(serializer),
        }
    }
}

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Value, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

/// The maximum length of a list that reserves room for all its elements.
const SHORT: usize = 4;

impl<'de> Visitor<'de> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("null, a boolean, a number, text, a list or a map")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_none<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<Value, D::Error> {
        Value::deserialize(deserializer)
    }

    fn visit_bool<E>(self, b: bool) -> Result<Value, E> {
        Ok(Value::Bool(b))
    }

    fn visit_i64<E>(self, n: i64) -> Result<Value, E> {
        Ok(Value::Integer(n))
    }

    fn visit_u64<E>(self, n: u64) -> Result<Value, E> {
        Ok(i64::try_from(n).map_or(Value::Number(n as f64), Value::Integer))
    }

    fn visit_f64<E>(self, n: f64) -> Result<Value, E> {
        Ok(Value::Number(n))
    }

    fn visit_str<E>(self, text: &str) -> Result<Value, E> {
        Ok(Value::String(text.to_owned()))
    }

    fn visit_string<E>(self, text: String) -> Result<Value, E> {
        Ok(Value::String(text))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Value, A::Error> {
        // Short lists reserve exactly what they need: otherwise a list of one element would take
        // four times its memory.
        let mut list = Vec::with_capacity(seq.size_hint().unwrap_or_default().min(SHORT));
        while let Some(value) = seq.next_element()? {
            list.push(value);
        }
        Ok(Value::List(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Value, A::Error> {
        let mut map = BTreeMap::new();
        while let Some((key, value)) = access.next_entry()? {
            map.insert(key, value);
        }
        Ok(Value::Map(map))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_read_and_written_unchanged() {
        let text = r#"{"b":true,"f":2.5,"list":[1,"two",false],"map":{"k":"v"},"n":null}"#;
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(value.get("f").and_then(Value::as_f64), Some(2.5));
        assert_eq!(serde_json::to_string(&value).unwrap(), text);
    }
}
