//! A node of documents v2 as a Python value of the executor, with the conversions and complaints of
//! pydantic.

use std::borrow::Cow;

use serde_json::Value as Json;

use super::super::shape::{Field, Fields};
use super::super::structs::entry_parts;
use super::super::write_bytes;
use super::{
    ARRAY, ARRAYS, BLOB, BOOLEAN, DICTIONARY, DOCUMENT, DOCUMENTS, FLOAT, INTEGER, LIST, Node, SET,
    TEXT, TUPLE, TYPE, integer,
};
use crate::exception::{Exception, python_repr};

/// A Python value.
pub(super) enum Python<'a> {
    None,
    Text(String),
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Bytes(&'a [u8]),
    /// An array, as its protobuf node.
    Array(&'a [u8]),
    List(Vec<Python<'a>>),
    Set(Vec<Python<'a>>),
    Tuple(Vec<Python<'a>>),
    /// A dictionary, as the entries of its protobuf message.
    Dictionary(&'a [u8]),
}

/// The names that docarray registers for types of text and bytes.
pub(super) const TYPES: &[&[u8]] = &[
    b"id",
    b"any_url",
    b"text_url",
    b"image_url",
    b"audio_url",
    b"video_url",
    b"url3d",
    b"mesh_url",
    b"point_cloud_url",
    b"image_bytes",
    b"audio_bytes",
    b"video_bytes",
];

/// Marks a class that accepts documents.
pub(super) const TAKEN: &str = "";

/// The names of a field's class and of its element's class, for the complaint about a misplaced
/// document.
pub(super) type Classes = (Cow<'static, str>, Cow<'static, str>);

impl<'a> Python<'a> {
    /// # Errors
    ///
    /// When docarray cannot make a value from the node.
    pub(super) fn read(bytes: &'a [u8], classes: &Classes) -> Result<Python<'a>, Exception> {
        let node = Node::read(bytes);
        let Some(Field { number, content, .. }) = node.content else { return Ok(Python::None) };
        if let Some(kind) = node.kind
            && !TYPES.contains(&kind)
            && !(number == ARRAY && ARRAYS.contains(&kind))
        {
            return Err(Exception::value_error(format!(
                "type {}, with key {} is not supported for deserialization",
                String::from_utf8_lossy(kind),
                key_name(number)
            )));
        }
        let element_classes = || (classes.1.clone(), classes.1.clone());
        let elements = || -> Result<Vec<Python<'a>>, Exception> {
            let classes = element_classes();
            let elements = Fields::new(content).filter(|field| field.number == 1);
            elements.map(|element| Python::read(element.content, &classes)).collect()
        };
        Ok(match number {
            TEXT => Python::Text(String::from_utf8_lossy(content).into_owned()),
            INTEGER => Python::Integer(integer(content).into()),
            FLOAT => Python::Float(content.try_into().map(f64::from_le_bytes).unwrap_or_default()),
            BOOLEAN => Python::Boolean(content.iter().any(|byte| byte & 0x7f != 0)),
            BLOB => Python::Bytes(content),
            ARRAY if node.kind.is_some() => Python::Array(bytes),
            ARRAY => {
                return Err(Exception::value_error(
                    "key ndarray is not supported for deserialization".to_owned(),
                ));
            }
            DOCUMENT if classes.0 == TAKEN => Python::Dictionary(content),
            DOCUMENT => {
                return Err(Exception::value_error(format!(
                    "{} is not supported for proto deserialization",
                    classes.0
                )));
            }
            DOCUMENTS => return Err(Exception::attribute_error("docs")),
            SET => Python::Set(elements()?),
            TUPLE => Python::Tuple(elements()?),
            LIST => Python::List(elements()?),
            _ => {
                let classes = element_classes();
                for entry in Fields::new(content).filter(|field| field.number == 1) {
                    Python::read(entry_parts(entry.content).1, &classes)?;
                }
                Python::Dictionary(content)
            }
        })
    }

    /// Whether the value is a container without elements, from which Python makes an empty
    /// dictionary.
    pub(super) fn is_empty(&self) -> bool {
        match self {
            Python::Text(text) => text.is_empty(),
            Python::Bytes(bytes) => bytes.is_empty(),
            Python::List(list) | Python::Set(list) | Python::Tuple(list) => list.is_empty(),
            Python::Dictionary(entries) => entries.is_empty(),
            _ => false,
        }
    }

    /// Converts the value for a field declared as `str`.
    ///
    /// # Errors
    ///
    /// The complaint: its message and its type.
    pub(super) fn to_text(&self) -> Result<String, Complaint> {
        match self {
            Python::Text(text) => Ok(text.clone()),
            Python::Bytes(bytes) => decoded(bytes),
            Python::Integer(_) | Python::Float(_) | Python::Boolean(_) => Ok(self.shown()),
            _ => Err(("str type expected".into(), "type_error.str")),
        }
    }

    pub(super) fn to_bytes(&self) -> Result<Vec<u8>, Complaint> {
        match self {
            Python::Bytes(bytes) => Ok(bytes.to_vec()),
            Python::Text(_) | Python::Integer(_) | Python::Float(_) | Python::Boolean(_) => {
                Ok(self.shown().into_bytes())
            }
            _ => Err(("byte type expected".into(), "type_error.bytes")),
        }
    }

    pub(super) fn to_integer(&self) -> Result<i64, Complaint> {
        let number = match self {
            Python::Integer(n) => Some(*n),
            Python::Boolean(b) => Some(i64::from(*b)),
            // The cast drops the fraction, as Python does.
            Python::Float(n) if n.is_finite() => Some(*n as i64),
            Python::Text(text) => text.trim().parse().ok(),
            Python::Bytes(bytes) => {
                std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok())
            }
            _ => None,
        };
        number.ok_or_else(|| ("value is not a valid integer".into(), "type_error.integer"))
    }

    pub(super) fn to_float(&self) -> Result<f64, Complaint> {
        let number = match self {
            Python::Integer(n) => Some(*n as f64),
            Python::Boolean(b) => Some(f64::from(u8::from(*b))),
            Python::Float(n) => Some(*n),
            Python::Text(text) => text.trim().parse().ok(),
            Python::Bytes(bytes) => {
                std::str::from_utf8(bytes).ok().and_then(|text| text.trim().parse().ok())
            }
            _ => None,
        };
        number.ok_or_else(|| ("value is not a valid float".into(), "type_error.float"))
    }

    pub(super) fn to_boolean(&self) -> Result<bool, Complaint> {
        let text = match self {
            Python::Boolean(b) => return Ok(*b),
            Python::Integer(n) => n.to_string(),
            Python::Float(n) if n.fract() == 0.0 => format!("{n:.0}"),
            Python::Text(text) => text.to_ascii_lowercase(),
            Python::Bytes(bytes) => decoded(bytes)?.to_ascii_lowercase(),
            _ => String::new(),
        };
        match text.as_str() {
            "true" | "t" | "1" | "yes" | "y" | "on" => Ok(true),
            "false" | "f" | "0" | "no" | "n" | "off" => Ok(false),
            _ => Err(("value could not be parsed to a boolean".into(), "type_error.bool")),
        }
    }

    /// The node of the array that numpy makes from the value. From an integer or bytes, taken as a
    /// shape, numpy makes an array with uninitialized memory; here it contains zeros.
    pub(super) fn to_array(&self) -> Result<Vec<u8>, Complaint> {
        let expected = |class: &str| {
            let message =
                format!("Expected a numpy.ndarray compatible type, got <class '{class}'>");
            (message, "value_error")
        };
        match self {
            Python::Array(node) => {
                let content = Node::read(node).content_of(ARRAY).unwrap_or_default();
                Ok(ndarray(content))
            }
            Python::List(list) | Python::Tuple(list) => {
                let mut numbers = Numbers::default();
                numbers.gather(list, 0).ok_or_else(|| expected("list"))?;
                Ok(numbers.node())
            }
            Python::Integer(n) => zeros(&[*n]).ok_or_else(|| expected("int")),
            Python::Bytes(bytes) => {
                let shape: Vec<i64> = bytes.iter().map(|byte| i64::from(*byte)).collect();
                zeros(&shape).ok_or_else(|| expected("bytes"))
            }
            Python::Text(text) => match serde_json::from_str::<Json>(text) {
                Ok(json) => from_json(&json).to_array(),
                Err(_) if text.is_empty() => Err((
                    "Input is a zero-length, empty document: line 1 column 1 (char 0)".into(),
                    "value_error.jsondecode",
                )),
                Err(_) => Err((
                    "unexpected character, expected a JSON value: line 1 column 1 (char 0)".into(),
                    "value_error.jsondecode",
                )),
            },
            Python::Float(_) => Err(expected("float")),
            Python::Boolean(_) => Err(expected("bool")),
            Python::Set(_) => Err(expected("set")),
            Python::Dictionary(_) => Err(expected("dict")),
            Python::None => Err(expected("NoneType")),
        }
    }

    /// The node of the value.
    pub(super) fn to_node(&self) -> Vec<u8> {
        let list = |number, list: &[Self]| {
            let mut elements = Vec::new();
            for element in list {
                write_bytes(&mut elements, 1, &element.to_node());
            }
            super::field(number, &elements)
        };
        match self {
            Python::None => Vec::new(),
            Python::Text(text) => super::field(TEXT, text.as_bytes()),
            // The integer came from 32 bits, so it fits.
            Python::Integer(n) => integer_node(i32::try_from(*n).unwrap_or_default()),
            Python::Float(n) => float_node(*n),
            Python::Boolean(b) => boolean_node(*b),
            Python::Bytes(bytes) => super::field(BLOB, bytes),
            Python::Array(node) => node.to_vec(),
            Python::List(elements) => list(LIST, elements),
            Python::Set(elements) => list(SET, elements),
            Python::Tuple(elements) => list(TUPLE, elements),
            Python::Dictionary(entries) => super::field(DICTIONARY, entries),
        }
    }

    /// The value as Python's `str` shows it.
    pub(super) fn shown(&self) -> String {
        match self {
            Python::Text(text) => text.clone(),
            other => other.repr(),
        }
    }

    fn repr(&self) -> String {
        let all =
            |list: &[Python<'_>]| list.iter().map(Python::repr).collect::<Vec<_>>().join(", ");
        match self {
            Python::None => "None".into(),
            Python::Text(text) => python_repr(text),
            Python::Integer(n) => n.to_string(),
            Python::Float(n) if n.is_nan() => "nan".into(),
            Python::Float(n) => format!("{n:?}"),
            Python::Boolean(true) => "True".into(),
            Python::Boolean(false) => "False".into(),
            Python::Bytes(bytes) => format!("b'{}'", bytes.escape_ascii()),
            Python::Array(_) => "NdArray".into(),
            Python::List(list) => format!("[{}]", all(list)),
            Python::Set(list) => format!("{{{}}}", all(list)),
            Python::Tuple(list) if list.len() == 1 => format!("({},)", all(list)),
            Python::Tuple(list) => format!("({})", all(list)),
            Python::Dictionary(entries) => {
                let entries = Fields::new(entries).filter(|field| field.number == 1);
                let shown = entries.map(|entry| {
                    let (key, value) = entry_parts(entry.content);
                    let value = Python::read(value, &("".into(), "".into()))
                        .map_or(String::new(), |v| v.repr());
                    format!("{}: {value}", python_repr(&String::from_utf8_lossy(key)))
                });
                format!("{{{}}}", shown.collect::<Vec<_>>().join(", "))
            }
        }
    }
}

/// A complaint of pydantic: its message and its type.
pub(super) type Complaint = (String, &'static str);

fn decoded(bytes: &[u8]) -> Result<String, Complaint> {
    String::from_utf8(bytes.to_vec()).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        let message = format!(
            "'utf-8' codec can't decode byte {:#04x} in position {at}: invalid start byte",
            bytes[at]
        );
        (message, "value_error.unicodedecode")
    })
}

fn key_name(number: u32) -> &'static str {
    const NAMES: [&str; 12] = [
        "text",
        "integer",
        "float",
        "boolean",
        "blob",
        "ndarray",
        "doc",
        "doc_array",
        "list",
        "set",
        "tuple",
        "dict",
    ];
    NAMES.get(number as usize - 1).copied().unwrap_or_default()
}

fn from_json(json: &Json) -> Python<'static> {
    match json {
        Json::Null => Python::None,
        Json::Bool(b) => Python::Boolean(*b),
        Json::Number(n) => match n.as_i64() {
            Some(n) => Python::Integer(n),
            None => Python::Float(n.as_f64().unwrap_or_default()),
        },
        Json::String(text) => Python::Text(text.clone()),
        Json::Array(list) => Python::List(list.iter().map(from_json).collect()),
        Json::Object(_) => Python::Dictionary(&[]),
    }
}

/// The node of an array with this content.
pub(super) fn ndarray(content: &[u8]) -> Vec<u8> {
    let mut node = super::field(ARRAY, content);
    write_bytes(&mut node, TYPE, b"ndarray");
    node
}

fn array_node(dtype: &str, shape: &[usize], buffer: &[u8]) -> Vec<u8> {
    let mut dense = Vec::with_capacity(buffer.len() + 32);
    write_bytes(&mut dense, 1, buffer);
    let mut pack = Vec::new();
    for &dimension in shape {
        prost::encoding::encode_varint(dimension as u64, &mut pack);
    }
    write_bytes(&mut dense, 2, &pack);
    write_bytes(&mut dense, 3, dtype.as_bytes());
    ndarray(&super::field(1, &dense))
}

/// The most zeros in place of uninitialized memory. Tests need no more.
const MOST_ZEROS: usize = 1 << 16;

fn zeros(shape: &[i64]) -> Option<Vec<u8>> {
    let shape: Vec<usize> =
        shape.iter().map(|n| usize::try_from(*n).ok()).collect::<Option<_>>()?;
    let count = shape.iter().try_fold(1_usize, |all, n| all.checked_mul(*n))?;
    (count <= MOST_ZEROS).then(|| array_node("<f8", &shape, &vec![0; count * 8]))
}

/// The numbers of nested lists that have the same length at each depth.
#[derive(Default)]
struct Numbers {
    shape: Vec<usize>,
    /// The depth at which the numbers stand.
    leaves: Option<usize>,
    numbers: Vec<f64>,
    has_integer: bool,
    has_float: bool,
}

impl Numbers {
    fn gather(&mut self, list: &[Python<'_>], depth: usize) -> Option<()> {
        if self.leaves.is_some_and(|leaves| depth >= leaves) {
            return None;
        }
        match self.shape.get(depth) {
            Some(&length) if length != list.len() => return None,
            Some(_) => {}
            None => self.shape.push(list.len()),
        }
        for element in list {
            let number = match element {
                Python::List(inner) | Python::Tuple(inner) => {
                    self.gather(inner, depth + 1)?;
                    continue;
                }
                Python::Integer(n) => {
                    self.has_integer = true;
                    *n as f64
                }
                Python::Float(n) => {
                    self.has_float = true;
                    *n
                }
                Python::Boolean(b) => f64::from(u8::from(*b)),
                _ => return None,
            };
            if *self.leaves.get_or_insert(depth + 1) != depth + 1 || self.shape.len() > depth + 1 {
                return None;
            }
            self.numbers.push(number);
        }
        Some(())
    }

    fn node(&self) -> Vec<u8> {
        let numbers = self.numbers.iter();
        if self.has_float || self.numbers.is_empty() {
            let buffer: Vec<u8> = numbers.flat_map(|n| n.to_le_bytes()).collect();
            array_node("<f8", &self.shape, &buffer)
        } else if self.has_integer {
            let buffer: Vec<u8> = numbers.flat_map(|n| (*n as i64).to_le_bytes()).collect();
            array_node("<i8", &self.shape, &buffer)
        } else {
            let buffer: Vec<u8> = numbers.map(|n| u8::from(*n > 0.0)).collect();
            array_node("|b1", &self.shape, &buffer)
        }
    }
}

/// The nodes of plain values.
pub(super) fn integer_node(n: i32) -> Vec<u8> {
    let mut node = vec![(INTEGER << 3) as u8];
    prost::encoding::encode_varint(i64::from(n).cast_unsigned(), &mut node);
    node
}

pub(super) fn float_node(n: f64) -> Vec<u8> {
    let mut node = vec![(FLOAT << 3 | 1) as u8];
    node.extend_from_slice(&n.to_le_bytes());
    node
}

pub(super) fn boolean_node(b: bool) -> Vec<u8> {
    vec![(BOOLEAN << 3) as u8, u8::from(b)]
}

pub(super) fn list_node(nodes: &[Vec<u8>]) -> Vec<u8> {
    let mut list = Vec::new();
    for node in nodes {
        write_bytes(&mut list, 1, node);
    }
    super::field(LIST, &list)
}
