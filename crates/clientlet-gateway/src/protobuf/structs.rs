//! `google.protobuf.Struct`: parameters and tags.

use serde_json::{Map, Number, Value};

use super::shape::{Field, Fields};
use super::{write_bytes, write_head};
use crate::endpoint::REPLICA;

/// The key under which executors' results stand.
const RESULTS: &str = "__results__";

/// A Struct as JSON. It was found to be one, no deeper than is safe.
pub(super) fn to_json(bytes: &[u8]) -> Map<String, Value> {
    let entries = Fields::new(bytes).filter(|field| field.number == 1);
    entries
        .map(|entry| {
            let (key, value) = entry_parts(entry.content);
            (String::from_utf8_lossy(key).into_owned(), value_to_json(value))
        })
        .collect()
}

fn value_to_json(bytes: &[u8]) -> Value {
    // Of the members of a oneof the last one counts.
    let Some(Field { number, content, .. }) = Fields::new(bytes).last() else {
        return Value::Null;
    };
    match number {
        2 => {
            let number = content.try_into().map(f64::from_le_bytes).unwrap_or_default();
            Number::from_f64(number).map_or(Value::Null, Value::Number)
        }
        3 => Value::String(String::from_utf8_lossy(content).into_owned()),
        4 => Value::Bool(content.iter().any(|byte| byte & 0x7f != 0)),
        5 => Value::Object(to_json(content)),
        6 => {
            let elements = Fields::new(content).filter(|field| field.number == 1);
            Value::Array(elements.map(|element| value_to_json(element.content)).collect())
        }
        _ => Value::Null,
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

/// Appends the entries of a Struct, or of any map that is field 1, but for this key.
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

/// What `/params` reports among the parameters: those that it got, and how many documents.
pub(super) fn with_results(sent: &[u8], documents: usize) -> Vec<u8> {
    let message = |number, content: &[u8]| {
        let mut value = Vec::with_capacity(content.len() + 8);
        write_bytes(&mut value, number, content);
        value
    };
    let mut result = Vec::new();
    write_entry(&mut result, "got", &message(5, sent));
    // A count fits a float exactly up to 2^53.
    let count = [&[0x11][..], &(documents as f64).to_le_bytes()].concat();
    write_entry(&mut result, "count", &count);
    let mut results = Vec::new();
    write_entry(&mut results, REPLICA, &message(5, &result));
    let mut parameters = Vec::new();
    copy_without(&mut parameters, sent, RESULTS);
    write_entry(&mut parameters, RESULTS, &message(5, &results));
    parameters
}
