//! Documents v2 (`docarray.DocProto`) on their way through the executor: they become an `Item`, the
//! class that the executor declares, every field of which is in the answer.

mod python;

use std::borrow::Cow;

use bytes::Bytes;

use self::python::{
    Classes, Complaint, Python, TAKEN, TYPES, boolean_node, float_node, integer_node, list_node,
};

use super::shape::{Field, Fields, Wire, varint};
use super::structs::{copy_without, entry_parts, write_entry};
use super::{documents, write_bytes, write_head};
use crate::endpoint::{Bulk, Change, Exception, python_repr};
use crate::identity::Ids;

/// Documents for `/rich`, as a real executor makes them.
const RICH: &[u8] = include_bytes!("rich_v2.bin");
/// The encoded node true.
const TRUE: &[u8] = &[0x20, 1];

/// A class of documents: its name, and its fields with their kinds.
type Class = (&'static str, &'static [(&'static str, Kind)]);

const ITEM: Class = (
    "Item",
    &[
        ("id", Kind::Typed("id")),
        ("text", Kind::Text),
        ("blob", Kind::Bytes),
        ("tensor", Kind::Array),
        ("embedding", Kind::Array),
        ("url", Kind::Typed("any_url")),
        ("number", Kind::Number),
        ("ratio", Kind::Real),
        ("flag", Kind::Flag),
        ("tags", Kind::Tags),
        ("words", Kind::List),
        ("part", Kind::Part),
        ("parts", Kind::Parts),
        ("chunks", Kind::Chunks),
    ],
);
const PART: Class =
    ("Part", &[("id", Kind::Typed("id")), ("text", Kind::Text), ("tensor", Kind::Array)]);

/// The types of arrays that an executor without torch and the like knows.
const ARRAYS: &[&[u8]] =
    &[b"ndarray", b"ndarray_embedding", b"image_ndarray", b"audio_ndarray", b"video_ndarray"];

/// What a field of a document is.
#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Text,
    /// Text with this type.
    Typed(&'static str),
    Bytes,
    Number,
    Real,
    Flag,
    Array,
    Tags,
    List,
    Part,
    /// A list of documents; none is an empty one.
    Parts,
    /// A list of documents, or none.
    Chunks,
}

impl Kind {
    /// Python's names of the field's class and of its element's class.
    fn classes(self) -> Classes {
        const PARTS: &str = "<class 'docarray.array.any_array.DocList[Part]'>";
        match self {
            Kind::Text => ("<class 'str'>", "<class 'str'>"),
            Kind::Typed("id") => ("<class 'docarray.typing.id.ID'>", "<class 'str'>"),
            Kind::Typed(_) => {
                const URL: &str = "<class 'docarray.typing.url.any_url.AnyUrl'>";
                (URL, URL)
            }
            Kind::Bytes => ("<class 'bytes'>", "<class 'bytes'>"),
            Kind::Number => ("<class 'int'>", "<class 'int'>"),
            Kind::Real => ("<class 'float'>", "<class 'float'>"),
            Kind::Flag => ("<class 'bool'>", "<class 'bool'>"),
            Kind::Array => (
                "<class 'docarray.typing.tensor.ndarray.NdArray'>",
                "<class 'docarray.typing.tensor.ndarray.NdArray'>",
            ),
            Kind::Tags => ("typing.Dict[str, typing.Any]", "typing.Any"),
            Kind::List => ("typing.List[str]", "<class 'str'>"),
            Kind::Part => ("<class '__main__.Part'>", TAKEN),
            Kind::Parts | Kind::Chunks => (PARTS, PARTS),
        }
    }
}

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
        class: Class,
    ) -> Result<(), Exception> {
        let mut written = Vec::new();
        for document in documents(docs) {
            written.clear();
            self.write_document(&mut written, document, class)?;
            write_bytes(out, 1, &written);
        }
        Ok(())
    }

    fn write_document(
        &mut self,
        out: &mut Vec<u8>,
        document: &[u8],
        class: Class,
    ) -> Result<(), Exception> {
        let mut errors = Errors::default();
        self.write_fields(out, document, class, "", &mut errors)?;
        errors.end(class.0)
    }

    /// Writes every field of the class from the entries of a document or a dictionary at `path`.
    fn write_fields(
        &mut self,
        out: &mut Vec<u8>,
        document: &[u8],
        (_, fields): Class,
        path: &str,
        errors: &mut Errors,
    ) -> Result<(), Exception> {
        let entries = entries(document);
        for &(name, kind) in fields {
            let Some(sent) = find(&entries, name) else {
                write_entry(out, name, &self.missing(kind));
                continue;
            };
            let path = format!("{path}'{name}'");
            let node = self.node(sent, kind, &path, errors)?;
            write_entry(out, name, &node);
        }
        Ok(())
    }

    /// Writes a field as it comes back: unchanged if its value has the field's own kind, else as
    /// the executor converts it. A value that cannot be converted is a complaint, which ends the
    /// request after everything was read.
    fn node<'d>(
        &mut self,
        sent: &'d [u8],
        kind: Kind,
        path: &str,
        errors: &mut Errors,
    ) -> Result<Cow<'d, [u8]>, Exception> {
        let node = Node::read(sent);
        if let Some(content) = node.content.filter(|_| node.kind.is_none()) {
            match (kind, content.number) {
                (Kind::Text, TEXT) if self.is_upper() => {
                    return Ok(upper(&String::from_utf8_lossy(content.content)).into());
                }
                (Kind::Text, TEXT)
                | (Kind::Bytes, BLOB)
                | (Kind::Number, INTEGER)
                | (Kind::Real, FLOAT)
                | (Kind::Flag, BOOLEAN) => return Ok(Cow::Borrowed(sent)),
                (Kind::Part, DOCUMENT) => {
                    // Whatever is wrong inside of it, the executor says that the class is not
                    // supported.
                    let document = self.inner_document(content.content);
                    let document = document.map_err(|_| refused_document(kind))?;
                    return Ok(field(DOCUMENT, &document).into());
                }
                (Kind::Typed("any_url"), DOCUMENTS) => {
                    let mut errors = Errors::default();
                    errors.add("'__root__'", ("str type expected".into(), "type_error.str"));
                    errors.end("ParsingModel[AnyUrl]")?;
                }
                (Kind::Parts | Kind::Chunks, DOCUMENTS) => {
                    let mut docs = Vec::new();
                    self.inner().write_documents(&mut docs, content.content, PART)?;
                    return Ok(field(DOCUMENTS, &docs).into());
                }
                _ => {}
            }
        }
        match (kind, node.kind, node.content) {
            (Kind::Typed(wanted), Some(kind), Some(Field { number: TEXT, .. }))
                if kind == wanted.as_bytes() =>
            {
                return Ok(Cow::Borrowed(sent));
            }
            (Kind::Array, Some(b"ndarray"), Some(Field { number: ARRAY, .. })) => {
                return Ok(Cow::Borrowed(sent));
            }
            // Classes of text and bytes keep their type when they are read in a field of the plain
            // class.
            (Kind::Text, Some(kind), Some(Field { number: TEXT, .. }))
                if TYPES.contains(&kind) && !self.is_upper() =>
            {
                return Ok(Cow::Borrowed(sent));
            }
            _ => {}
        }
        let value = Python::read(sent, kind.classes())?;
        let written = match self.coerced(&value, kind, path, errors)? {
            Ok(written) => written,
            Err(complaint) => {
                errors.add(path, complaint);
                Vec::new()
            }
        };
        Ok(match kind {
            Kind::Tags if written.is_empty() => Cow::Borrowed(sent),
            _ => written.into(),
        })
    }

    /// Converts a value of any kind for a field; returns its node, which is empty for `None`.
    fn coerced(
        &mut self,
        value: &Python<'_>,
        kind: Kind,
        path: &str,
        errors: &mut Errors,
    ) -> Result<Result<Vec<u8>, Complaint>, Exception> {
        if let Python::None = value {
            return Ok(match kind {
                Kind::Tags | Kind::List | Kind::Parts => {
                    Err(("none is not an allowed value".into(), "type_error.none.not_allowed"))
                }
                Kind::Text if self.is_upper() => Ok(text(b"")),
                _ => Ok(Vec::new()),
            });
        }
        Ok(match kind {
            Kind::Typed("id") => Ok(typed(value.shown().as_bytes(), "id")),
            Kind::Typed(wanted) => value.to_text().map(|text| typed(text.as_bytes(), wanted)),
            Kind::Text if self.is_upper() => value.to_text().map(|text| upper(&text)),
            Kind::Text => value.to_text().map(|sent| text(sent.as_bytes())),
            Kind::Bytes => value.to_bytes().map(|bytes| field(BLOB, &bytes)),
            Kind::Number => match value.to_integer().map(|n| (n, i32::try_from(n))) {
                Ok((_, Ok(n))) => Ok(integer_node(n)),
                Ok((n, Err(_))) => {
                    return Err(Exception::value_error(format!("Value out of range: {n}")));
                }
                Err(complaint) => Err(complaint),
            },
            Kind::Real => value.to_float().map(float_node),
            Kind::Flag => value.to_boolean().map(boolean_node),
            Kind::Array => value.to_array(),
            Kind::List => match value {
                Python::List(list) | Python::Set(list) | Python::Tuple(list) => {
                    let mut words = Vec::with_capacity(list.len());
                    for (index, word) in list.iter().enumerate() {
                        let word = match word {
                            Python::None => Err((
                                "none is not an allowed value".into(),
                                "type_error.none.not_allowed",
                            )),
                            word => word.to_text(),
                        };
                        match word {
                            Ok(word) => words.push(text(word.as_bytes())),
                            Err(complaint) => errors.add(&format!("{path}, {index}"), complaint),
                        }
                    }
                    Ok(list_node(&words))
                }
                _ => Err(("value is not a valid list".into(), "type_error.list")),
            },
            Kind::Tags => match value {
                Python::Dictionary(entries) => match self.change {
                    Change::Tag(_) => Ok(self.tags(entries, &[]).into_owned()),
                    _ => Ok(Vec::new()),
                },
                value if value.is_empty() => Ok(self.missing(Kind::Tags).into_owned()),
                _ => Err(no_dictionary()),
            },
            Kind::Part => match value {
                Python::Dictionary(_) => self.part(value, path, errors)?,
                value if value.is_empty() => self.part(value, path, errors)?,
                _ => Err(no_dictionary()),
            },
            Kind::Parts | Kind::Chunks => {
                let path = format!("{path}, '__root__'");
                let parts = match value {
                    Python::List(list) | Python::Set(list) | Python::Tuple(list) => list,
                    Python::Integer(_) | Python::Float(_) | Python::Boolean(_) => {
                        let what = "Expecting an Iterable of <class '__main__.Part'>";
                        return Ok(Err((what.into(), "type_error")));
                    }
                    value if value.is_empty() => &Vec::new(),
                    _ => {
                        errors.add(&path, no_dictionary());
                        return Ok(Ok(Vec::new()));
                    }
                };
                let mut docs = Vec::new();
                for part in parts {
                    let before = errors.0.len();
                    let mut document = Vec::new();
                    match part {
                        Python::Dictionary(entries) => {
                            let path = format!("{path}, ");
                            self.inner().write_fields(
                                &mut document,
                                entries,
                                PART,
                                &path,
                                errors,
                            )?;
                        }
                        Python::None => errors.add(
                            &path,
                            ("none is not an allowed value".into(), "type_error.none.not_allowed"),
                        ),
                        _ => errors.add(&path, no_dictionary()),
                    }
                    if errors.0.len() > before {
                        break;
                    }
                    write_bytes(&mut docs, 1, &document);
                }
                Ok(field(DOCUMENTS, &docs))
            }
        })
    }

    /// Converts a dictionary to a document; anything without elements becomes a document of
    /// defaults.
    fn part(
        &mut self,
        value: &Python<'_>,
        path: &str,
        errors: &mut Errors,
    ) -> Result<Result<Vec<u8>, Complaint>, Exception> {
        let entries = if let Python::Dictionary(entries) = value { entries } else { &[][..] };
        let mut document = Vec::new();
        let path = format!("{path}, ");
        self.inner().write_fields(&mut document, entries, PART, &path, errors)?;
        Ok(Ok(field(DOCUMENT, &document)))
    }

    fn inner_document(&mut self, document: &[u8]) -> Result<Vec<u8>, Exception> {
        let mut written = Vec::new();
        self.inner().write_document(&mut written, document, PART)?;
        Ok(written)
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

/// Pydantic's complaints about one document.
#[derive(Default)]
struct Errors(Vec<String>);

impl Errors {
    /// Adds a complaint about the value at `path`, the steps of a Python tuple.
    fn add(&mut self, path: &str, (message, kind): Complaint) {
        // Python writes a tuple of one element with a comma.
        let comma = if path.contains(", ") { "" } else { "," };
        self.0.push(format!(
            "{{'loc': ({path}{comma}), 'msg': {}, 'type': '{kind}'}}",
            python_repr(&message)
        ));
    }

    /// # Errors
    ///
    /// All complaints, as one exception.
    fn end(self, model: &str) -> Result<(), Exception> {
        if self.0.is_empty() {
            return Ok(());
        }
        let errors = self.0.join(", ");
        Err(Exception::unreadable(format!("model='{model}', errors=[{errors}]")))
    }
}

fn no_dictionary() -> Complaint {
    ("value is not a valid dict".into(), "type_error.dict")
}

/// The exception for a document in a field whose class takes none.
fn refused_document(kind: Kind) -> Exception {
    let class = kind.classes().0;
    Exception::value_error(format!("{class} is not supported for proto deserialization"))
}
