//! Documents v2 (`docarray.DocProto`) on their way through the executor: they become an `Item`, the
//! class that the executor declares, every field of which is in the answer.

use std::borrow::Cow;

use bytes::Bytes;

use super::shape::{Field, Fields, Wire, varint};
use super::structs::{copy_without, entry_parts, write_entry};
use super::{documents, write_bytes, write_head};
use crate::endpoint::{Bulk, Change, Exception};
use crate::identity::Ids;

/// Documents for `/rich`, as a real executor makes them.
const RICH: &[u8] = include_bytes!("rich_v2.bin");
/// The encoded node true.
const TRUE: &[u8] = &[0x20, 1];

const ITEM: &[(&str, Kind)] = &[
    ("id", Kind::Typed("id")),
    ("text", Kind::Text),
    ("blob", Kind::Plain),
    ("tensor", Kind::Array),
    ("embedding", Kind::Array),
    ("url", Kind::Typed("any_url")),
    ("number", Kind::Number),
    ("ratio", Kind::Plain),
    ("flag", Kind::Plain),
    ("tags", Kind::Tags),
    ("words", Kind::List),
    ("part", Kind::Part),
    ("parts", Kind::Parts),
    ("chunks", Kind::Chunks),
];
const PART: &[(&str, Kind)] =
    &[("id", Kind::Typed("id")), ("text", Kind::Text), ("tensor", Kind::Array)];

/// The types of arrays that an executor without torch and the like knows.
const ARRAYS: &[&[u8]] =
    &[b"ndarray", b"ndarray_embedding", b"image_ndarray", b"audio_ndarray", b"video_ndarray"];

/// What a field of a document is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Plain,
    Text,
    /// Text with this type.
    Typed(&'static str),
    Number,
    Array,
    Tags,
    List,
    Part,
    /// A list of documents; none is an empty one.
    Parts,
    /// A list of documents, or none.
    Chunks,
}

// The fields of a node.
const TEXT: u32 = 1;
const INTEGER: u32 = 2;
const ARRAY: u32 = 6;
const DOCUMENT: u32 = 7;
const DOCUMENTS: u32 = 8;
const LIST: u32 = 9;
const DICTIONARY: u32 = 12;
const TYPE: u32 = 13;

/// The id of a document, if it has one.
pub(super) fn id(document: &[u8]) -> Option<&[u8]> {
    let node = find(&entries(document), "id")?;
    Node::read(node).content_of(TEXT)
}

/// The text of a document, as Python shows it.
pub(super) fn text_of(document: &[u8]) -> String {
    let entries = entries(document);
    let node = Node::read(find(&entries, "text").unwrap_or_default());
    match node.content {
        Some(Field { number: TEXT, content, .. }) => String::from_utf8_lossy(content).into_owned(),
        Some(Field { number: INTEGER, content, .. }) => integer(content).to_string(),
        _ => "None".into(),
    }
}

/// A document as streaming endpoints give them, with an empty tensor.
pub(super) fn part(id: &str, sent: &str) -> Bytes {
    let mut document = Vec::with_capacity(id.len() + sent.len() + 64);
    write_entry(&mut document, "id", &typed(id.as_bytes(), "id"));
    write_entry(&mut document, "text", &text(sent.as_bytes()));
    write_entry(&mut document, "tensor", &[]);
    document.into()
}

/// Runs an endpoint on documents.
///
/// # Errors
///
/// The executor cannot read them.
pub(super) fn change(docs: &Bytes, change: Change, ids: &Ids) -> Result<Bytes, Exception> {
    let mut out = Vec::with_capacity(docs.len() + 256);
    let mut executor = Executor { change, ids };
    executor.write_documents(&mut out, docs, ITEM)?;
    Ok(out.into())
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
            // Such a document has nothing to complain of.
            change(&docs.into(), Change::None, ids).unwrap_or_default()
        }
    }
}

struct Executor<'a> {
    change: Change,
    ids: &'a Ids,
}

impl Executor<'_> {
    fn write_documents(
        &mut self,
        out: &mut Vec<u8>,
        docs: &[u8],
        fields: &[(&str, Kind)],
    ) -> Result<(), Exception> {
        let mut written = Vec::new();
        for document in documents(docs) {
            written.clear();
            self.write_document(&mut written, document, fields)?;
            write_bytes(out, 1, &written);
        }
        Ok(())
    }

    fn write_document(
        &mut self,
        out: &mut Vec<u8>,
        document: &[u8],
        fields: &[(&str, Kind)],
    ) -> Result<(), Exception> {
        let entries = entries(document);
        for &(name, kind) in fields {
            let node = self.node(find(&entries, name).unwrap_or_default(), name, kind)?;
            write_entry(out, name, &node);
        }
        Ok(())
    }

    /// A field as it comes back.
    fn node<'d>(
        &mut self,
        sent: &'d [u8],
        name: &str,
        kind: Kind,
    ) -> Result<Cow<'d, [u8]>, Exception> {
        let node = Node::read(sent);
        let Some(content) = node.content else {
            return Ok(self.missing(kind));
        };
        let is_given = content.number;
        Ok(match kind {
            Kind::Typed(wanted) if is_given == TEXT && node.kind != Some(wanted.as_bytes()) => {
                typed(content.content, wanted).into()
            }
            Kind::Text if is_given == TEXT && self.is_upper() => {
                upper(&String::from_utf8_lossy(content.content)).into()
            }
            Kind::Text if is_given == INTEGER => {
                text(integer(content.content).to_string().as_bytes()).into()
            }
            Kind::Number if is_given == TEXT => number(content.content, name)?.into(),
            Kind::Array => array(&node, content)?.unwrap_or(Cow::Borrowed(sent)),
            Kind::Tags if is_given == DICTIONARY => self.tags(content.content, sent),
            Kind::Part if is_given == DOCUMENT => {
                let mut document = Vec::new();
                self.inner().write_document(&mut document, content.content, PART)?;
                field(DOCUMENT, &document).into()
            }
            Kind::Parts | Kind::Chunks if is_given == DOCUMENTS => {
                let mut docs = Vec::new();
                self.inner().write_documents(&mut docs, content.content, PART)?;
                field(DOCUMENTS, &docs).into()
            }
            _ => Cow::Borrowed(sent),
        })
    }

    /// Endpoints change no documents within documents.
    fn inner(&self) -> Self {
        Self { change: Change::None, ids: self.ids }
    }

    fn is_upper(&self) -> bool {
        self.change == Change::Upper
    }

    /// What becomes of a field that was left out, or is None.
    fn missing(&mut self, kind: Kind) -> Cow<'static, [u8]> {
        match kind {
            Kind::Typed("id") => typed(self.ids.make().as_bytes(), "id").into(),
            Kind::Text if self.is_upper() => text(b"").into(),
            Kind::Tags => match self.tags(&[], &[]) {
                Cow::Borrowed(_) => field(DICTIONARY, &[]).into(),
                Cow::Owned(tags) => tags.into(),
            },
            Kind::List => field(LIST, &[]).into(),
            Kind::Parts => field(DOCUMENTS, &[]).into(),
            _ => Cow::Borrowed(&[]),
        }
    }

    fn tags<'d>(&self, entries: &[u8], sent: &'d [u8]) -> Cow<'d, [u8]> {
        let Change::Tag(tag) = self.change else {
            return Cow::Borrowed(sent);
        };
        let mut tags = Vec::with_capacity(entries.len() + 16);
        copy_without(&mut tags, entries, tag);
        write_entry(&mut tags, tag, TRUE);
        field(DICTIONARY, &tags).into()
    }
}

/// A value: its content, the last that is given, and its type.
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

/// The node of this name. Of several the last counts.
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
    // An int32 takes the lower half of what it is sent as.
    varint(varint_bytes).map_or(0, |(value, _)| value as i32)
}

/// A numeral becomes the number.
fn number(numeral: &[u8], name: &str) -> Result<Vec<u8>, Exception> {
    let numeral = String::from_utf8_lossy(numeral);
    let number: i32 = numeral.trim().parse().map_err(|_| {
        Exception::unreadable(format!(
            "model='Item', errors=[{{'loc': ('{name}',), 'msg': 'value is not a valid integer', \
             'type': 'type_error.integer'}}]"
        ))
    })?;
    let mut node = vec![0x10];
    prost::encoding::encode_varint(i64::from(number).cast_unsigned(), &mut node);
    Ok(node)
}

/// An array must say what it is, and comes back as an `ndarray`.
fn array(node: &Node<'_>, content: Field<'_>) -> Result<Option<Cow<'static, [u8]>>, Exception> {
    if content.number != ARRAY {
        return Ok(None);
    }
    match node.kind {
        Some(b"ndarray") => Ok(None),
        Some(kind) if ARRAYS.contains(&kind) => {
            let mut node = field(ARRAY, content.content);
            write_bytes(&mut node, TYPE, b"ndarray");
            Ok(Some(node.into()))
        }
        Some(kind) => Err(Exception::value_error(format!(
            "type {}, with key ndarray is not supported for deserialization",
            String::from_utf8_lossy(kind)
        ))),
        None => Err(Exception::value_error(
            "key ndarray is not supported for deserialization".to_owned(),
        )),
    }
}
