//! `google.protobuf.Struct`: parameters and tags.

use super::shape::{Field, Fields};
use super::{write_bytes, write_head};
use crate::parameters::RESULTS;
use crate::value::{BytesAs, Value};

/// Reads a Struct as a map. The bytes were checked before, and are not nested too deep.
pub(super) fn read(bytes: &[u8]) -> Value {
    let entries = Fields::new(bytes).filter(|field| field.number == 1);
    let entries = entries.map(|entry| {
        let (key, value) = entry_parts(entry.content);
        (String::from_utf8_lossy(key).into_owned(), read_value(value))
    });
    Value::Map(entries.collect())
}

fn read_value(bytes: &[u8]) -> Value {
    // Of the members of a oneof the last one counts.
    let Some(Field { number, content, .. }) = Fields::new(bytes).last() else {
        return Value::Null;
    };
    match number {
        2 => Value::Float(content.try_into().map(f64::from_le_bytes).unwrap_or_default()),
        3 => Value::Text(String::from_utf8_lossy(content).into_owned()),
        4 => Value::Boolean(content.iter().any(|byte| byte & 0x7f != 0)),
        5 => read(content),
        6 => {
            let elements = Fields::new(content).filter(|field| field.number == 1);
            elements.map(|element| read_value(element.content)).collect()
        }
        _ => Value::Null,
    }
}

/// The Struct of these entries.
pub(super) fn write(entries: &[(String, Value)]) -> Vec<u8> {
    let mut out = Vec::new();
    for (key, value) in entries {
        write_entry(&mut out, key, &write_value(value));
    }
    out
}

fn write_value(value: &Value) -> Vec<u8> {
    let message = |number, content: &[u8]| {
        let mut value = Vec::with_capacity(content.len() + 8);
        write_bytes(&mut value, number, content);
        value
    };
    let number = |n: f64| [&[0x11][..], &n.to_le_bytes()].concat();
    match value {
        Value::Null => vec![0x08, 0],
        Value::Integer(n) => number(*n as f64),
        Value::Float(n) => number(*n),
        Value::Text(text) => message(3, text.as_bytes()),
        Value::Bytes(bytes) => message(3, BytesAs::Base64.write(bytes).as_bytes()),
        Value::Boolean(b) => vec![0x20, u8::from(*b)],
        Value::Map(entries) => message(5, &write(entries)),
        Value::Array(array) => write_value(&array.to_list()),
        Value::List(list) => {
            let mut elements = Vec::new();
            for element in list {
                write_bytes(&mut elements, 1, &write_value(element));
            }
            message(6, &elements)
        }
    }
}

/// The key and the value of a map's entry.
pub(super) fn entry_parts(entry: &[u8]) -> (&[u8], &[u8]) {
    let mut parts: (&[u8], &[u8]) = (&[], &[]);
    for field in Fields::new(entry) {
        match field.number {
            1 => parts.0 = field.content,
            2 => parts.1 = field.content,
            _ => {}
        }
    }
    parts
}

/// Appends the entries of a Struct, or of any map that is field 1, except the entry with this key.
pub(super) fn copy_without(out: &mut Vec<u8>, bytes: &[u8], key: &str) {
    for entry in Fields::new(bytes) {
        if entry.number != 1 || entry_parts(entry.content).0 != key.as_bytes() {
            out.extend_from_slice(entry.whole);
        }
    }
}

/// Appends an entry to a map that is field 1.
pub(super) fn write_entry(out: &mut Vec<u8>, key: &str, value: &[u8]) {
    let head = |length: usize| 1 + prost::encoding::encoded_len_varint(length as u64) + length;
    write_head(out, 1, head(key.len()) + head(value.len()));
    write_bytes(out, 1, key.as_bytes());
    write_bytes(out, 2, value);
}

/// The parameters as they were sent, and the results of executors by their keys.
pub(super) fn with_results(sent: &[u8], results: Vec<(String, Value)>) -> Vec<u8> {
    let mut parameters = Vec::new();
    copy_without(&mut parameters, sent, RESULTS);
    write_entry(&mut parameters, RESULTS, &write_value(&Value::Map(results)));
    parameters
}
