//! A type of the test's author written as a value.

use bytes::Bytes;
use serde::ser::{self, Serialize, Serializer};

use super::de::{BLOB, ReadError, TENSOR};
use super::{Array, Value};

/// Writes anything that serde can serialize.
///
/// # Errors
///
/// As the type's own, or a map has keys that are no text.
pub(crate) fn to_value<T: Serialize + ?Sized>(sent: &T) -> Result<Value, ReadError> {
    sent.serialize(Writer { is_for_humans: true })
}

struct Writer {
    /// Types that write themselves as text or as bytes write text. Tensors and blobs are asked for
    /// their parts instead.
    is_for_humans: bool,
}

const PARTS: Writer = Writer { is_for_humans: false };

macro_rules! scalars {
    ($($method:ident($type:ty) $value:expr;)*) => {
        $(fn $method(self, scalar: $type) -> Result<Value, ReadError> {
            Ok($value(scalar.into()))
        })*
    };
}

impl Serializer for Writer {
    type Ok = Value;
    type Error = ReadError;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = List;
    type SerializeTupleVariant = List;
    type SerializeMap = Map;
    type SerializeStruct = Map;
    type SerializeStructVariant = Map;

    fn is_human_readable(&self) -> bool {
        self.is_for_humans
    }

    scalars! {
        serialize_bool(bool) Value::Boolean;
        serialize_i8(i8) Value::Integer;
        serialize_i16(i16) Value::Integer;
        serialize_i32(i32) Value::Integer;
        serialize_i64(i64) Value::Integer;
        serialize_u8(u8) Value::Integer;
        serialize_u16(u16) Value::Integer;
        serialize_u32(u32) Value::Integer;
        serialize_f32(f32) Value::Float;
        serialize_f64(f64) Value::Float;
        serialize_char(char) Value::Text;
        serialize_str(&str) Value::Text;
    }

    fn serialize_u64(self, n: u64) -> Result<Value, ReadError> {
        Ok(i64::try_from(n).map_or(Value::Float(n as f64), Value::Integer))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Value, ReadError> {
        Ok(Value::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn serialize_none(self) -> Result<Value, ReadError> {
        Ok(Value::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, some: &T) -> Result<Value, ReadError> {
        some.serialize(self)
    }

    fn serialize_unit(self) -> Result<Value, ReadError> {
        Ok(Value::Null)
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<Value, ReadError> {
        Ok(Value::Null)
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<Value, ReadError> {
        Ok(Value::Text(variant.into()))
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        inner: &T,
    ) -> Result<Value, ReadError> {
        match name {
            BLOB => inner.serialize(PARTS),
            TENSOR => inner.serialize(PARTS).and_then(array),
            _ => inner.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        inner: &T,
    ) -> Result<Value, ReadError> {
        let content = inner.serialize(self).map_err(|error| error.within(variant))?;
        Ok(Value::Map(vec![(variant.into(), content)]))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, ReadError> {
        // The length is a hint; a wrong one must cost nothing.
        let list = Vec::with_capacity(length.unwrap_or_default().min(1024));
        Ok(List { variant: None, list, is_for_humans: self.is_for_humans })
    }

    fn serialize_tuple(self, length: usize) -> Result<List, ReadError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_struct(self, _name: &'static str, length: usize) -> Result<List, ReadError> {
        self.serialize_seq(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<List, ReadError> {
        let is_for_humans = self.is_for_humans;
        Ok(List { variant: Some(variant), list: Vec::new(), is_for_humans })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Map, ReadError> {
        Ok(Map { variant: None, entries: Vec::new(), key: None })
    }

    fn serialize_struct(self, _name: &'static str, length: usize) -> Result<Map, ReadError> {
        self.serialize_map(Some(length))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Map, ReadError> {
        Ok(Map { variant: Some(variant), entries: Vec::new(), key: None })
    }
}

/// A list that grows, within a variant if it is one of an enum.
struct List {
    variant: Option<&'static str>,
    list: Vec<Value>,
    is_for_humans: bool,
}

impl List {
    fn push<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), ReadError> {
        let element = element.serialize(Writer { is_for_humans: self.is_for_humans });
        let index = self.list.len();
        self.list.push(element.map_err(|error| error.within(format!("[{index}]")))?);
        Ok(())
    }

    fn finish(self) -> Value {
        within(self.variant, Value::List(self.list))
    }
}

/// A map that grows, within a variant if it is one of an enum.
struct Map {
    variant: Option<&'static str>,
    entries: Vec<(String, Value)>,
    key: Option<String>,
}

impl Map {
    fn push<T: Serialize + ?Sized>(&mut self, key: &str, value: &T) -> Result<(), ReadError> {
        let value = to_value(value).map_err(|error| error.within(key))?;
        self.entries.push((key.into(), value));
        Ok(())
    }

    fn finish(self) -> Value {
        within(self.variant, Value::Map(self.entries))
    }
}

fn within(variant: Option<&'static str>, content: Value) -> Value {
    match variant {
        Some(variant) => Value::Map(vec![(variant.into(), content)]),
        None => content,
    }
}

macro_rules! growing_lists {
    ($($trait:ident $method:ident)*) => {
        $(impl ser::$trait for List {
            type Ok = Value;
            type Error = ReadError;

            fn $method<T: Serialize + ?Sized>(&mut self, element: &T) -> Result<(), ReadError> {
                self.push(element)
            }

            fn end(self) -> Result<Value, ReadError> {
                Ok(self.finish())
            }
        })*
    };
}

growing_lists! {
    SerializeSeq serialize_element
    SerializeTuple serialize_element
    SerializeTupleStruct serialize_field
    SerializeTupleVariant serialize_field
}

macro_rules! growing_structs {
    ($($trait:ident)*) => {
        $(impl ser::$trait for Map {
            type Ok = Value;
            type Error = ReadError;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                key: &'static str,
                value: &T,
            ) -> Result<(), ReadError> {
                self.push(key, value)
            }

            fn end(self) -> Result<Value, ReadError> {
                Ok(self.finish())
            }
        })*
    };
}

growing_structs! { SerializeStruct SerializeStructVariant }

impl ser::SerializeMap for Map {
    type Ok = Value;
    type Error = ReadError;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), ReadError> {
        self.key = Some(match to_value(key)? {
            Value::Text(text) => text,
            Value::Integer(n) => n.to_string(),
            Value::Boolean(b) => b.to_string(),
            other => return Err(ReadError::new(format!("a key is {}", other.kind()))),
        });
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), ReadError> {
        // serde gives a value after its key.
        let key = self.key.take().unwrap_or_default();
        self.push(&key, value)
    }

    fn end(self) -> Result<Value, ReadError> {
        Ok(self.finish())
    }
}

/// The array of these parts: element type, shape and elements.
fn array(parts: Value) -> Result<Value, ReadError> {
    let Value::List(parts) = parts else { return Err(no_tensor()) };
    let [Value::Text(dtype), Value::List(shape), Value::Bytes(buffer)] = parts.as_slice() else {
        return Err(no_tensor());
    };
    let dimension = |value: &Value| match value {
        Value::Integer(n) => usize::try_from(*n).ok(),
        _ => None,
    };
    let shape = shape.iter().map(dimension).collect::<Option<_>>().ok_or_else(no_tensor)?;
    Ok(Value::Array(Array { dtype: dtype.clone(), shape, buffer: buffer.clone() }))
}

fn no_tensor() -> ReadError {
    ReadError::new("these are no parts of a tensor")
}
