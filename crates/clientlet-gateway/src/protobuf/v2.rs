//! Documents v2 (`docarray.DocProto`) on their way through the executor. They become documents of
//! the class that the endpoint takes, every field of which is in the answer.

mod executor;
mod python;

use bytes::Bytes;

use self::executor::Executor;
use self::python::{boolean_node, float_node, integer_node, list_node, ndarray};

use super::shape::{Field, Fields, Wire, varint};
use super::structs::{entry_parts, write_entry};
use super::{write_bytes, write_head};
use crate::exception::Exception;
use crate::identity::Ids;
use crate::sample::{Bulk, Change};
use crate::schema::{ITEM, Kind, Schema};
use crate::value::Value;

/// Documents for `/rich`, as a real executor makes them.
const RICH: &[u8] = include_bytes!("rich_v2.bin");
/// The encoded node true.
const TRUE: &[u8] = &[0x20, 1];

/// The types of arrays that an executor knows which has numpy alone.
const ARRAYS: &[&[u8]] =
    &[b"ndarray", b"ndarray_embedding", b"image_ndarray", b"audio_ndarray", b"video_ndarray"];

// The fields of a node.
const TEXT: u32 = 1;
const INTEGER: u32 = 2;
const FLOAT: u32 = 3;
const BOOLEAN: u32 = 4;
const BLOB: u32 = 5;
const ARRAY: u32 = 6;
const DOCUMENT: u32 = 7;
const DOCUMENTS: u32 = 8;
const LIST: u32 = 9;
const SET: u32 = 10;
const TUPLE: u32 = 11;
const DICTIONARY: u32 = 12;
const TYPE: u32 = 13;

/// The id of a document, if it has one.
pub(super) fn id(document: &[u8]) -> Option<&[u8]> {
    let node = find(&entries(document), "id")?;
    Node::read(node).content_of(TEXT)
}

/// Runs an endpoint on documents.
///
/// # Errors
///
/// The executor cannot read them.
pub(super) fn change(
    docs: &Bytes,
    class: &Schema,
    change: Change,
    ids: &Ids,
) -> Result<Bytes, Exception> {
    let mut out = Vec::with_capacity(docs.len() + 256);
    let mut executor = Executor { change, ids };
    executor.write_documents(&mut out, docs, class)?;
    Ok(out.into())
}

/// Reads a document as a value. The bytes were checked before, and are not nested too deep.
pub(super) fn read(document: &[u8]) -> Value {
    let entries = Fields::new(document).filter(|field| field.number == 1);
    let entries = entries.map(|entry| {
        let (key, node) = entry_parts(entry.content);
        (String::from_utf8_lossy(key).into_owned(), read_node(node))
    });
    Value::Map(entries.collect())
}

fn read_node(node: &[u8]) -> Value {
    let Some(Field { number, content, .. }) = Node::read(node).content else { return Value::Null };
    let elements = || Fields::new(content).filter(|field| field.number == 1);
    match number {
        TEXT => Value::Text(String::from_utf8_lossy(content).into_owned()),
        INTEGER => Value::Integer(integer(content).into()),
        FLOAT => Value::Float(content.try_into().map(f64::from_le_bytes).unwrap_or_default()),
        BOOLEAN => Value::Boolean(content.iter().any(|byte| byte & 0x7f != 0)),
        BLOB => Value::Bytes(Bytes::copy_from_slice(content)),
        ARRAY => {
            let dense = elements().last();
            dense.map_or(Value::Null, |dense| Value::Array(super::read_dense(dense.content)))
        }
        DOCUMENTS => elements().map(|document| read(document.content)).collect(),
        LIST | SET | TUPLE => elements().map(|element| read_node(element.content)).collect(),
        // A dictionary has its entries where a document has them.
        _ => read(content),
    }
}

/// Writes a document that fits a class.
pub(super) fn write(class: &Schema, document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    let Value::Map(entries) = document else { return out };
    for (name, value) in entries {
        let kind = class.fields().find(|(known, _)| known == name).map(|(_, field)| &field.kind);
        write_entry(&mut out, name, &write_node(class, kind.unwrap_or(&Kind::Any), value));
    }
    out
}

fn write_node(class: &Schema, kind: &Kind, value: &Value) -> Vec<u8> {
    let list = |class: &Schema, list: &[Value]| {
        let mut docs = Vec::new();
        for document in list {
            write_bytes(&mut docs, 1, &write(class, document));
        }
        field(DOCUMENTS, &docs)
    };
    match (kind, value) {
        (_, Value::Null) => Vec::new(),
        (Kind::Id, Value::Text(id)) => typed(id.as_bytes(), "id"),
        (Kind::Url, Value::Text(url)) => typed(url.as_bytes(), "any_url"),
        (Kind::Document(inner), document) => field(DOCUMENT, &write(inner, document)),
        (Kind::Own, document) => field(DOCUMENT, &write(class, document)),
        (Kind::Documents(inner), Value::List(documents)) => list(inner, documents),
        (Kind::OwnList, Value::List(documents)) => list(class, documents),
        (_, Value::Boolean(b)) => boolean_node(*b),
        // An integer that does not fit was refused before.
        (_, Value::Integer(n)) => integer_node(i32::try_from(*n).unwrap_or_default()),
        (_, Value::Float(n)) => float_node(*n),
        (_, Value::Text(sent)) => text(sent.as_bytes()),
        (_, Value::Bytes(bytes)) => field(BLOB, bytes),
        (_, Value::Array(array)) => ndarray(&field(1, &super::write_dense(array))),
        (kind, Value::List(elements)) => {
            let kind = if let Kind::List(kind) = kind { kind } else { &Kind::Any };
            let nodes = elements.iter().map(|element| write_node(class, kind, element));
            list_node(&nodes.collect::<Vec<_>>())
        }
        (kind, Value::Map(entries)) => {
            let kind = if let Kind::Dictionary(kind) = kind { kind } else { &Kind::Any };
            let mut dictionary = Vec::new();
            for (key, value) in entries {
                write_entry(&mut dictionary, key, &write_node(class, kind, value));
            }
            field(DICTIONARY, &dictionary)
        }
    }
}

pub(super) fn bulk(bulk: Bulk, ids: &Ids) -> Bytes {
    match bulk {
        Bulk::Nothing => Bytes::new(),
        Bulk::Rich => Bytes::from_static(RICH),
        Bulk::Big(size) => {
            let mut node = Vec::with_capacity(size + 8);
            write_head(&mut node, TEXT, size);
            node.resize(node.len() + size, b'x');
            let mut document = Vec::with_capacity(size + 64);
            write_entry(&mut document, "id", &typed(b"big", "id"));
            write_entry(&mut document, "text", &node);
            let mut docs = Vec::with_capacity(size + 64);
            write_bytes(&mut docs, 1, &document);
            // Such a document fits the class.
            change(&docs.into(), &ITEM, Change::None, ids).unwrap_or_default()
        }
    }
}

/// A value: its content, of which the last counts, and its type.
struct Node<'a> {
    content: Option<Field<'a>>,
    kind: Option<&'a [u8]>,
}

impl<'a> Node<'a> {
    fn read(bytes: &'a [u8]) -> Self {
        let mut node = Self { content: None, kind: None };
        for field in Fields::new(bytes) {
            match field.number {
                TYPE if field.wire == Wire::Bytes => node.kind = Some(field.content),
                TEXT..=DICTIONARY => node.content = Some(field),
                _ => {}
            }
        }
        node
    }

    fn content_of(&self, number: u32) -> Option<&'a [u8]> {
        self.content.filter(|field| field.number == number).map(|field| field.content)
    }
}

/// The fields of a document: their names and nodes.
fn entries(document: &[u8]) -> Vec<(&[u8], &[u8])> {
    let entries = Fields::new(document).filter(|field| field.number == 1);
    entries.map(|entry| entry_parts(entry.content)).collect()
}

/// The node with this name. If there are several, the last one counts.
fn find<'a>(entries: &[(&[u8], &'a [u8])], name: &str) -> Option<&'a [u8]> {
    entries.iter().rev().find(|(key, _)| *key == name.as_bytes()).map(|(_, node)| *node)
}

fn field(number: u32, content: &[u8]) -> Vec<u8> {
    let mut node = Vec::with_capacity(content.len() + 8);
    write_bytes(&mut node, number, content);
    node
}

fn text(text: &[u8]) -> Vec<u8> {
    field(TEXT, text)
}

fn upper(sent: &str) -> Vec<u8> {
    text(sent.to_uppercase().as_bytes())
}

fn typed(content: &[u8], kind: &str) -> Vec<u8> {
    let mut node = text(content);
    write_bytes(&mut node, TYPE, kind.as_bytes());
    node
}

fn integer(varint_bytes: &[u8]) -> i32 {
    // An int32 is the lower half of the number that was sent.
    varint(varint_bytes).map_or(0, |(value, _)| value as i32)
}
