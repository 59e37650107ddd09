//! Documents v1 (`docarray.DocumentProto`) on their way through the executor.

use bytes::Bytes;

use super::shape::{Field, Fields, Wire, varint};
use super::structs::{self, copy_without, entry_parts, write_entry};
use super::{documents, write_bytes, write_head};
use crate::identity::Ids;
use crate::sample::{Bulk, Change};
use crate::value::{Array, Value};

/// Documents for `/rich`, as a real executor makes them.
const RICH: &[u8] = include_bytes!("rich_v1.bin");
/// The encoded Value true.
const TRUE: &[u8] = &[0x20, 1];

const ID: u32 = 1;
const BLOB: u32 = 2;
const TENSOR: u32 = 3;
const TEXT: u32 = 4;
const TAGS: u32 = 17;

/// The id of a document, if it has one.
pub(super) fn id(document: &[u8]) -> Option<&[u8]> {
    content(document, ID)
}

/// Runs an endpoint on documents. Unchanged documents come back as they are, except that each has
/// an id and none has an empty text.
pub(super) fn change(docs: &Bytes, change: Change, ids: &Ids) -> Bytes {
    let is_kept = |document| id(document).is_some() && !is_blank(document);
    if change == Change::None && documents(docs).all(is_kept) {
        return docs.clone();
    }
    let mut out = Vec::with_capacity(docs.len() + 64);
    for document in documents(docs) {
        write_document(&mut out, document, change, ids);
    }
    out.into()
}

/// Reads a document as a value. The bytes were checked before, and are not nested too deep.
pub(super) fn read(document: &[u8]) -> Value {
    let mut entries: Vec<(String, Value)> = Vec::new();
    let content = Fields::new(document).filter(is_content).last().map(|field| field.number);
    for field in Fields::new(document) {
        let Some((name, kind)) = FIELDS
            .iter()
            .find_map(|(number, name, kind)| (*number == field.number).then_some((*name, *kind)))
        else {
            continue;
        };
        if is_content(&field) && content != Some(field.number) {
            continue;
        }
        let value = match kind {
            Kind::Text => Value::Text(String::from_utf8_lossy(field.content).into_owned()),
            Kind::Bytes => Value::Bytes(Bytes::copy_from_slice(field.content)),
            Kind::Count => varint(field.content)
                .and_then(|(n, _)| i64::try_from(n).ok())
                .map_or(Value::Null, Value::Integer),
            Kind::Number => Value::Float(single(field.content)),
            Kind::Numbers => field.content.chunks(4).map(|n| Value::Float(single(n))).collect(),
            Kind::Array => read_array(field.content),
            Kind::Tags => structs::read(field.content),
            Kind::Scores => {
                let (key, score) = entry_parts(field.content);
                let key = String::from_utf8_lossy(key).into_owned();
                Value::Map(vec![(key, read_score(score))])
            }
            Kind::Documents => Value::List(vec![read(field.content)]),
        };
        // Repeated fields and maps are joined. Of other fields the last one counts.
        match entries.iter_mut().find(|(known, _)| known == name) {
            Some((_, Value::List(all))) if kind == Kind::Documents || kind == Kind::Numbers => {
                if let Value::List(more) = value {
                    all.extend(more);
                }
            }
            Some((_, Value::Map(all))) if kind == Kind::Scores => {
                if let Value::Map(more) = value {
                    all.extend(more);
                }
            }
            Some((_, known)) => *known = value,
            None => entries.push((name.to_owned(), value)),
        }
    }
    Value::Map(entries)
}

/// Writes a document that fits the class of documents v1.
pub(super) fn write(document: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    for (number, name, kind) in FIELDS {
        match (kind, document.get(name)) {
            (Kind::Text, Some(Value::Text(text))) if !text.is_empty() => {
                write_bytes(&mut out, number, text.as_bytes());
            }
            (Kind::Bytes, Some(Value::Bytes(bytes))) => write_bytes(&mut out, number, bytes),
            (Kind::Count, Some(Value::Integer(n))) if *n != 0 => {
                prost::encoding::encode_key(number, prost::encoding::WireType::Varint, &mut out);
                prost::encoding::encode_varint(n.cast_unsigned(), &mut out);
            }
            (Kind::Number, Some(Value::Float(n))) if *n != 0.0 => {
                prost::encoding::encode_key(
                    number,
                    prost::encoding::WireType::ThirtyTwoBit,
                    &mut out,
                );
                // The cast loses bits, because the field is a float.
                out.extend_from_slice(&(*n as f32).to_le_bytes());
            }
            (Kind::Numbers, Some(Value::List(list))) if !list.is_empty() => {
                let numbers = list.iter().flat_map(|n| match n {
                    Value::Float(n) => (*n as f32).to_le_bytes(),
                    _ => [0; 4],
                });
                write_bytes(&mut out, number, &numbers.collect::<Vec<u8>>());
            }
            (Kind::Array, Some(Value::Array(array))) => {
                write_bytes(&mut out, number, &write_array(array));
            }
            (Kind::Tags, Some(Value::Map(tags))) if !tags.is_empty() => {
                write_bytes(&mut out, number, &structs::write(tags));
            }
            (Kind::Scores, Some(Value::Map(scores))) => {
                for (key, score) in scores {
                    let mut entry = Vec::new();
                    write_bytes(&mut entry, 1, key.as_bytes());
                    write_bytes(&mut entry, 2, &write_score(score));
                    write_bytes(&mut out, number, &entry);
                }
            }
            (Kind::Documents, Some(Value::List(documents))) => {
                for document in documents {
                    write_bytes(&mut out, number, &write(document));
                }
            }
            _ => {}
        }
    }
    out
}

fn single(bytes: &[u8]) -> f64 {
    bytes.try_into().map(f32::from_le_bytes).unwrap_or_default().into()
}

/// The fields of a NamedScore that are texts.
const SCORE_TEXTS: [(u32, &str); 3] = [(2, "op_name"), (3, "description"), (4, "ref_id")];

fn read_score(score: &[u8]) -> Value {
    let fields = Fields::new(score).filter_map(|field| match field.number {
        1 => Some(("value".to_owned(), Value::Float(single(field.content)))),
        number => {
            let (_, name) = SCORE_TEXTS.iter().find(|(known, _)| *known == number)?;
            let text = String::from_utf8_lossy(field.content).into_owned();
            Some(((*name).to_owned(), Value::Text(text)))
        }
    });
    Value::Map(fields.collect())
}

fn write_score(score: &Value) -> Vec<u8> {
    let mut out = Vec::new();
    if let Some(Value::Float(n)) = score.get("value") {
        out.push(1 << 3 | 5);
        out.extend_from_slice(&(*n as f32).to_le_bytes());
    }
    for (number, name) in SCORE_TEXTS {
        if let Some(Value::Text(text)) = score.get(name) {
            write_bytes(&mut out, number, text.as_bytes());
        }
    }
    out
}

fn read_array(array: &[u8]) -> Value {
    let dense = Fields::new(array).filter(|field| field.number == 1).last();
    dense.map_or(Value::Null, |dense| Value::Array(super::read_dense(dense.content)))
}

fn write_array(array: &Array) -> Vec<u8> {
    let mut out = Vec::new();
    write_bytes(&mut out, 1, &super::write_dense(array));
    // Without a class name the receiver drops the tensor.
    write_bytes(&mut out, 3, b"numpy");
    out
}

/// How a field is encoded.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    Bytes,
    Count,
    Number,
    Numbers,
    Array,
    Tags,
    Scores,
    Documents,
}

const FIELDS: [(u32, &str, Kind); 19] = [
    (ID, "id", Kind::Text),
    (5, "granularity", Kind::Count),
    (6, "adjacency", Kind::Count),
    (7, "parent_id", Kind::Text),
    (8, "weight", Kind::Number),
    (9, "uri", Kind::Text),
    (10, "modality", Kind::Text),
    (11, "mime_type", Kind::Text),
    (12, "offset", Kind::Number),
    (13, "location", Kind::Numbers),
    (14, "chunks", Kind::Documents),
    (15, "matches", Kind::Documents),
    (16, "embedding", Kind::Array),
    (TAGS, "tags", Kind::Tags),
    (18, "scores", Kind::Scores),
    (19, "evaluations", Kind::Scores),
    // The last of these fields counts: a tensor hides a blob, and a blob hides a text.
    (TEXT, "text", Kind::Text),
    (BLOB, "blob", Kind::Bytes),
    (TENSOR, "tensor", Kind::Array),
];

pub(super) fn bulk(bulk: Bulk) -> Bytes {
    match bulk {
        Bulk::Nothing => Bytes::new(),
        Bulk::Rich => Bytes::from_static(RICH),
        Bulk::Big(size) => {
            let mut document = Vec::with_capacity(size + 16);
            write_bytes(&mut document, ID, b"big");
            write_head(&mut document, BLOB, size);
            document.resize(document.len() + size, b'x');
            let mut docs = Vec::with_capacity(document.len() + 8);
            write_bytes(&mut docs, 1, &document);
            docs.into()
        }
    }
}

fn write_document(out: &mut Vec<u8>, document: &[u8], change: Change, ids: &Ids) {
    let mut added = Vec::new();
    if id(document).is_none() {
        write_bytes(&mut added, ID, ids.make().as_bytes());
    }
    match change {
        Change::None => {}
        // Setting the text replaces other content. An empty text leaves no content.
        Change::Upper => {
            let text = Fields::new(document).filter(is_content).last();
            let text = text.filter(|field| field.number == TEXT).map(|field| field.content);
            let text = String::from_utf8_lossy(text.unwrap_or_default()).to_uppercase();
            if !text.is_empty() {
                write_bytes(&mut added, TEXT, text.as_bytes());
            }
        }
        Change::Tag(tag) => {
            let mut tags = Vec::new();
            for field in Fields::new(document).filter(|field| field.number == TAGS) {
                copy_without(&mut tags, field.content, tag);
            }
            write_entry(&mut tags, tag, TRUE);
            write_bytes(&mut added, TAGS, &tags);
        }
    }
    let is_blank = is_blank(document);
    let kept = |field: &Field<'_>| match change {
        Change::Upper => !is_content(field),
        Change::Tag(_) if field.number == TAGS => false,
        Change::None | Change::Tag(_) => !(is_blank && is_content(field)),
    };
    let length: usize = Fields::new(document).filter(kept).map(|field| field.whole.len()).sum();
    write_head(out, 1, length + added.len());
    for field in Fields::new(document).filter(kept) {
        out.extend_from_slice(field.whole);
    }
    out.extend_from_slice(&added);
}

/// Whether the content of the document is an empty text, which an executor reads as no content.
fn is_blank(document: &[u8]) -> bool {
    let content = Fields::new(document).filter(is_content).last();
    content.is_some_and(|field| field.number == TEXT && field.content.is_empty())
}

fn is_content(field: &Field<'_>) -> bool {
    matches!(field.number, BLOB | TENSOR | TEXT)
}

/// The bytes of a field that is not empty.
fn content(document: &[u8], number: u32) -> Option<&[u8]> {
    let is_it = |field: &Field<'_>| field.number == number && field.wire == Wire::Bytes;
    let field = Fields::new(document).filter(is_it).last()?;
    Some(field.content).filter(|content| !content.is_empty())
}
