//! A JSON document with some fields that are tensors or bytes.

use std::rc::Rc;

use clientlet::{Blob, Tensor};
use serde::de::IntoDeserializer;
use serde::de::value::{Error as Problem, StrDeserializer};
use serde::ser::{Error, SerializeMap, Serializer};
use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::dtype::ElementType;
use crate::fields::{Field, Fields, Holds};
use crate::lines::kind;

/// A document of the input, and the fields of `--tensor` and `--blob`, if there are any.
pub(crate) struct Document {
    pub(crate) value: Value,
    pub(crate) fields: Option<Rc<Fields>>,
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some(fields) = &self.fields else { return self.value.serialize(serializer) };
        fields.has_seen_any.set(true);
        Typed { value: &self.value, field: &fields.root }.serialize(serializer)
    }
}

/// A value that contains named fields.
struct Typed<'d> {
    value: &'d Value,
    field: &'d Field,
}

impl Serialize for Typed<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Typed { value, field } = *self;
        match (field, value) {
            (_, Value::Null) => value.serialize(serializer),
            (Field::Named { holds: Holds::Tensor(element), .. }, _) => {
                tensor(value, *element).map_err(S::Error::custom)?.serialize(serializer)
            }
            (Field::Within(fields), Value::Object(entries)) => {
                let mut map = serializer.serialize_map(Some(entries.len()))?;
                for (name, value) in entries {
                    match fields.get(name) {
                        Some(field) => {
                            if let Field::Named { was_met, .. } = field {
                                was_met.set(true);
                            }
                            map.serialize_entry(name, &Typed { value, field })?;
                        }
                        None => map.serialize_entry(name, value)?,
                    }
                }
                map.end()
            }
            (Field::Within(_) | Field::Named { holds: Holds::Blob, .. }, Value::Array(list)) => {
                serializer.collect_seq(list.iter().map(|value| Typed { value, field }))
            }
            (Field::Within(_), _) => value.serialize(serializer),
            (Field::Named { holds: Holds::Blob, .. }, Value::String(text)) => {
                blob(text).map_err(S::Error::custom)?.serialize(serializer)
            }
            (Field::Named { holds: Holds::Blob, .. }, _) => {
                let what = format!("a blob is base64 text, not {}", kind(value));
                Err(S::Error::custom(what))
            }
        }
    }
}

fn blob(base64: &str) -> Result<Blob, Problem> {
    let text: StrDeserializer<'_, Problem> = base64.into_deserializer();
    Blob::deserialize(text)
}

/// The maximum number of dimensions of a numpy array.
const MOST_DIMENSIONS: usize = 64;

/// Converts nested lists of numbers to a tensor. The first list at each depth determines the shape.
fn tensor(value: &Value, element: ElementType) -> Result<Tensor, String> {
    let mut shape = Vec::new();
    let mut first = Some(value);
    while let Some(Value::Array(list)) = first {
        shape.push(list.len());
        first = list.first();
    }
    if shape.len() > MOST_DIMENSIONS {
        return Err(format!("a tensor has at most {MOST_DIMENSIONS} dimensions"));
    }
    let mut grid = Grid { shape: &shape, element, buffer: Vec::new(), way: Vec::new() };
    grid.push(value)?;
    let buffer = grid.buffer;
    Tensor::from_buffer(element.dtype, &shape, buffer).map_err(|error| error.to_string())
}

/// The numbers of nested lists while they are collected.
struct Grid<'s> {
    shape: &'s [usize],
    element: ElementType,
    buffer: Vec<u8>,
    /// The index at each depth, down to the current value.
    way: Vec<usize>,
}

impl Grid<'_> {
    fn push(&mut self, value: &Value) -> Result<(), String> {
        let length = self.shape.get(self.way.len()).copied();
        match (value, length) {
            (Value::Array(list), Some(length)) if list.len() == length => {
                for (index, value) in list.iter().enumerate() {
                    self.way.push(index);
                    self.push(value)?;
                    self.way.pop();
                }
                Ok(())
            }
            (Value::Array(list), Some(length)) => self.refuse(format!(
                "the lists of a tensor differ in length: {length} and {}",
                list.len()
            )),
            (Value::Number(_) | Value::Bool(_), Some(_)) | (Value::Array(_), None) => {
                self.refuse("the lists of a tensor are not all nested to the same depth".to_owned())
            }
            (Value::Number(_) | Value::Bool(_), None) => {
                match (self.element.write)(value, &mut self.buffer) {
                    Some(()) => Ok(()),
                    None => self.refuse(format!("{value} does not fit {}", self.element.name)),
                }
            }
            _ => self.refuse(format!("a tensor is made of numbers, not {}", kind(value))),
        }
    }

    /// An error that says what is wrong and at which index.
    fn refuse(&self, what: String) -> Result<(), String> {
        match self.way.as_slice() {
            [] => Err(what),
            way => {
                let way: String = way.iter().map(|index| format!("[{index}]")).collect();
                Err(format!("{what}, at {way}"))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn fields(tensors: &[&str], blobs: &[&str]) -> Rc<Fields> {
        let tensors: Vec<_> = tensors.iter().map(|text| text.parse().unwrap()).collect();
        let blobs: Vec<_> = blobs.iter().map(|text| text.parse().unwrap()).collect();
        Rc::new(Fields::new(&tensors, &blobs).unwrap().unwrap())
    }

    fn written(value: Value, fields: &Rc<Fields>) -> Result<Value, String> {
        let document = Document { value, fields: Some(fields.clone()) };
        serde_json::to_value(&document).map_err(|error| error.to_string())
    }

    #[test]
    fn a_tensor_has_the_type_that_was_named_and_the_shape_of_its_lists() {
        let element = "int16".parse().unwrap();
        for (value, shape, count) in [
            (json!([[1, 2, 3], [4, 5, 6]]), &[2, 3][..], 6),
            (json!(7), &[], 1),
            (json!([]), &[0], 0),
            (json!([[], []]), &[2, 0], 0),
            (json!([[[1]]]), &[1, 1, 1], 1),
        ] {
            let tensor = tensor(&value, element).unwrap();
            assert_eq!((tensor.shape(), tensor.len()), (shape, count), "{value}");
            assert_eq!(tensor.dtype(), clientlet::Dtype::I16);
        }
    }

    #[test]
    fn a_value_that_is_no_tensor_is_refused_with_its_index() {
        for (value, told) in [
            (json!([[1, 2], [3]]), "the lists of a tensor differ in length: 2 and 1, at [1]"),
            (json!([[], [1]]), "the lists of a tensor differ in length: 0 and 1, at [1]"),
            (json!([1, [2]]), "the lists of a tensor are not all nested to the same depth, at [1]"),
            (json!([[1], 2]), "the lists of a tensor are not all nested to the same depth, at [1]"),
            (json!([1, "x"]), "a tensor is made of numbers, not text, at [1]"),
            (json!([[1, null]]), "a tensor is made of numbers, not null, at [0][1]"),
            (json!({}), "a tensor is made of numbers, not an object"),
            (json!("x"), "a tensor is made of numbers, not text"),
            (json!([1, 300]), "300 does not fit int8, at [1]"),
            (json!([1.5]), "1.5 does not fit int8, at [0]"),
            (json!(true), "true does not fit int8"),
        ] {
            assert_eq!(tensor(&value, "int8".parse().unwrap()).unwrap_err(), told, "{value}");
        }
        let deep = (0..65).fold(json!(1), |inner, _| json!([inner]));
        assert!(tensor(&deep, ElementType::default()).unwrap_err().contains("64 dimensions"));
    }

    #[test]
    fn fields_are_found_by_their_names_in_objects_and_through_lists() {
        let fields = fields(&["a", "chunks.embedding:uint8", "no.such"], &["chunks.blobs", "b"]);
        let document = json!({
            "a": [1, 2],
            "b": null,
            "chunks": [[{"embedding": [1.0]}], {"blobs": ["aGk=", "aGk="], "a": [1]}],
            "other": {"a": [1]},
        });
        let expected = json!({
            "a": [1.0, 2.0],
            "b": null,
            "chunks": [[{"embedding": [1]}], {"blobs": ["aGk=", "aGk="], "a": [1]}],
            "other": {"a": [1]},
        });
        assert_eq!(written(document, &fields), Ok(expected));
        assert_eq!(fields.unmet(), ["--tensor no.such"]);
    }

    #[test]
    fn a_value_that_is_not_text_is_refused_as_a_blob() {
        let fields = fields(&[], &["b"]);
        for (value, told) in [
            (json!("aGk"), "invalid base64"),
            (json!("_-8="), "invalid base64"),
            (json!(1), "a blob is base64 text, not a number"),
            (json!(["aGk=", {}]), "a blob is base64 text, not an object"),
        ] {
            let error = written(json!({ "b": value }), &fields).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }
}
