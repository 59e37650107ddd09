//! Documents v2 (`docarray.DocProto`) on their way through the executor: they become an `Item`, the
//! class that the executor declares, every field of which is in the answer.

mod python;

use std::borrow::Cow;

use bytes::Bytes;

use self::python::{
    Classes, Complaint, Python, TAKEN, TYPES, boolean_node, float_node, integer_node, list_node,
    ndarray,
};

use super::shape::{Field, Fields, Wire, varint};
use super::structs::{copy_without, entry_parts, write_entry};
use super::{documents, write_bytes, write_head};
use crate::exception::{Exception, python_repr};
use crate::identity::Ids;
use crate::sample::{Bulk, Change};
use crate::schema::{Field as Declared, ITEM, Kind, Presence, Schema};
use crate::value::Value;

/// Documents for `/rich`, as a real executor makes them.
const RICH: &[u8] = include_bytes!("rich_v2.bin");
/// The encoded node true.
const TRUE: &[u8] = &[0x20, 1];

/// The types of arrays that an executor without torch and the like knows.
const ARRAYS: &[&[u8]] =
    &[b"ndarray", b"ndarray_embedding", b"image_ndarray", b"audio_ndarray", b"video_ndarray"];

/// Python's names of a field's class and of its element's class.
fn classes(class: &Schema, kind: &Kind) -> Classes {
    let both = |name: String| (Cow::from(name.clone()), Cow::from(name));
    let plain = |name: &'static str| (Cow::from(name), Cow::from(name));
    match kind {
        Kind::Text => plain("<class 'str'>"),
        Kind::Id => ("<class 'docarray.typing.id.ID'>".into(), "<class 'str'>".into()),
        Kind::Url => plain("<class 'docarray.typing.url.any_url.AnyUrl'>"),
        Kind::Bytes | Kind::Base64 => plain("<class 'bytes'>"),
        Kind::Integer => plain("<class 'int'>"),
        Kind::Float => plain("<class 'float'>"),
        Kind::Boolean => plain("<class 'bool'>"),
        Kind::Array => plain("<class 'docarray.typing.tensor.ndarray.NdArray'>"),
        Kind::Any => plain("typing.Any"),
        Kind::List(element) | Kind::Dictionary(element) => {
            (annotation(kind).into(), classes(class, element).0)
        }
        Kind::Document(inner) => (python_class(inner).into(), TAKEN.into()),
        Kind::Own => (python_class(class).into(), TAKEN.into()),
        Kind::Documents(inner) => both(python_list(inner)),
        Kind::OwnList => both(python_list(class)),
    }
}

fn python_class(class: &Schema) -> String {
    format!("<class '__main__.{}'>", class.name())
}

fn python_list(class: &Schema) -> String {
    format!("<class 'docarray.array.any_array.DocList[{}]'>", class.name())
}

/// A type as Python annotates it.
fn annotation(kind: &Kind) -> String {
    match kind {
        Kind::Any => "typing.Any".into(),
        Kind::List(element) => format!("typing.List[{}]", annotation(element)),
        Kind::Dictionary(value) => format!("typing.Dict[str, {}]", annotation(value)),
        plain => plain.shown(),
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

/// A document as a value. It was found to be one, no deeper than is safe.
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

/// A document of a class that it fits.
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
        // One that does not fit was refused before.
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
            // Such a document has nothing to complain of.
            change(&docs.into(), &ITEM, Change::None, ids).unwrap_or_default()
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
        class: &Schema,
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
        class: &Schema,
    ) -> Result<(), Exception> {
        let mut errors = Errors::default();
        self.write_fields(out, document, class, "", &mut errors)?;
        errors.end(class.name())
    }

    /// Writes every field of the class from the entries of a document or a dictionary at `path`.
    fn write_fields(
        &mut self,
        out: &mut Vec<u8>,
        document: &[u8],
        class: &Schema,
        path: &str,
        errors: &mut Errors,
    ) -> Result<(), Exception> {
        let entries = entries(document);
        for (name, field) in class.fields() {
            let path = format!("{path}'{name}'");
            let node = match find(&entries, name) {
                Some(sent) => self.node(sent, class, field, &path, errors)?,
                None => self.missing(class, field, &path, errors),
            };
            write_entry(out, name, &node);
        }
        if class.is_open() {
            for (key, node) in entries.iter().filter(|(key, _)| *key != b"id") {
                write_entry(out, &String::from_utf8_lossy(key), node);
            }
        }
        Ok(())
    }

    /// Writes a field as it comes back: unchanged if its value has the field's own kind, else as
    /// the executor converts it. A value that cannot be converted is a complaint, which ends the
    /// request after everything was read.
    fn node<'d>(
        &mut self,
        sent: &'d [u8],
        class: &Schema,
        declared: &Declared,
        path: &str,
        errors: &mut Errors,
    ) -> Result<Cow<'d, [u8]>, Exception> {
        let kind = &declared.kind;
        let node = Node::read(sent);
        if let Some(content) = node.content.filter(|_| node.kind.is_none()) {
            match (kind, content.number) {
                (Kind::Text, TEXT) if self.is_upper() => {
                    return Ok(upper(&String::from_utf8_lossy(content.content)).into());
                }
                (Kind::Text, TEXT)
                | (Kind::Bytes, BLOB)
                | (Kind::Integer, INTEGER)
                | (Kind::Float, FLOAT)
                | (Kind::Boolean, BOOLEAN) => return Ok(Cow::Borrowed(sent)),
                (Kind::Document(_) | Kind::Own, DOCUMENT) => {
                    // Whatever is wrong inside of it, the executor says that the class is not
                    // supported.
                    let inner = inner_class(class, kind);
                    let document = self.inner_document(content.content, inner);
                    let document = document.map_err(|_| refused_document(inner))?;
                    return Ok(field(DOCUMENT, &document).into());
                }
                (Kind::Url, DOCUMENTS) => {
                    let mut errors = Errors::default();
                    errors.add("'__root__'", ("str type expected".into(), "type_error.str"));
                    errors.end("ParsingModel[AnyUrl]")?;
                }
                (Kind::Documents(_) | Kind::OwnList, DOCUMENTS) => {
                    let mut docs = Vec::new();
                    let inner = inner_class(class, kind);
                    self.inner().write_documents(&mut docs, content.content, inner)?;
                    return Ok(field(DOCUMENTS, &docs).into());
                }
                _ => {}
            }
        }
        match (kind, node.kind, node.content) {
            (Kind::Id, Some(b"id"), Some(Field { number: TEXT, .. }))
            | (Kind::Url, Some(b"any_url"), Some(Field { number: TEXT, .. }))
            | (Kind::Array, Some(b"ndarray"), Some(Field { number: ARRAY, .. })) => {
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
        let value = Python::read(sent, &classes(class, kind))?;
        if let Python::None = value {
            return Ok(self.none(declared, path, errors).into());
        }
        if matches!((kind, &value), (Kind::Any, _)) {
            return Ok(Cow::Borrowed(sent));
        }
        let written = match self.coerced(&value, class, kind, path, errors)? {
            Ok(written) => written,
            Err(complaint) => {
                errors.add(path, complaint);
                Vec::new()
            }
        };
        Ok(match kind {
            Kind::Dictionary(_) if written.is_empty() => Cow::Borrowed(sent),
            _ => written.into(),
        })
    }

    /// The node of a field that is None: empty if the field may be None.
    fn none(&self, declared: &Declared, path: &str, errors: &mut Errors) -> Vec<u8> {
        if declared.kind == Kind::Text && self.is_upper() {
            return text(b"");
        }
        if declared.presence != Presence::Optional {
            errors.add(path, no_none());
        }
        Vec::new()
    }

    /// Converts a value of any kind but None for a field; returns its node.
    fn coerced(
        &mut self,
        value: &Python<'_>,
        class: &Schema,
        kind: &Kind,
        path: &str,
        errors: &mut Errors,
    ) -> Result<Result<Vec<u8>, Complaint>, Exception> {
        Ok(match kind {
            Kind::Id => Ok(typed(value.shown().as_bytes(), "id")),
            Kind::Url => value.to_text().map(|text| typed(text.as_bytes(), "any_url")),
            Kind::Text if self.is_upper() => value.to_text().map(|text| upper(&text)),
            Kind::Text => value.to_text().map(|sent| text(sent.as_bytes())),
            Kind::Bytes | Kind::Base64 => value.to_bytes().map(|bytes| field(BLOB, &bytes)),
            Kind::Integer => match value.to_integer().map(|n| (n, i32::try_from(n))) {
                Ok((_, Ok(n))) => Ok(integer_node(n)),
                Ok((n, Err(_))) => {
                    return Err(Exception::value_error(format!("Value out of range: {n}")));
                }
                Err(complaint) => Err(complaint),
            },
            Kind::Float => value.to_float().map(float_node),
            Kind::Boolean => value.to_boolean().map(boolean_node),
            Kind::Array => value.to_array(),
            Kind::Any => Ok(value.to_node()),
            Kind::List(kind) => match value {
                Python::List(list) | Python::Set(list) | Python::Tuple(list) => {
                    let mut nodes = Vec::with_capacity(list.len());
                    for (index, element) in list.iter().enumerate() {
                        let path = format!("{path}, {index}");
                        nodes.extend(self.element(element, class, kind, &path, errors)?);
                    }
                    Ok(list_node(&nodes))
                }
                _ => Err(("value is not a valid list".into(), "type_error.list")),
            },
            Kind::Dictionary(kind) => match value {
                Python::Dictionary(entries) if **kind == Kind::Any => match self.change {
                    Change::Tag(_) => Ok(self.tags(entries, &[]).into_owned()),
                    _ => Ok(Vec::new()),
                },
                Python::Dictionary(entries) => {
                    let mut dictionary = Vec::new();
                    for entry in Fields::new(entries).filter(|field| field.number == 1) {
                        let (key, node) = entry_parts(entry.content);
                        let key = String::from_utf8_lossy(key);
                        let path = format!("{path}, {}", python_repr(&key));
                        let element = Python::read(node, &classes(class, kind))?;
                        let node = self.element(&element, class, kind, &path, errors)?;
                        write_entry(&mut dictionary, &key, &node.unwrap_or_default());
                    }
                    Ok(field(DICTIONARY, &dictionary))
                }
                value if value.is_empty() => match self.change {
                    Change::Tag(_) => Ok(self.tags(&[], &[]).into_owned()),
                    _ => Ok(field(DICTIONARY, &[])),
                },
                _ => Err(no_dictionary()),
            },
            Kind::Document(_) | Kind::Own => match value {
                value if value.is_empty() || matches!(value, Python::Dictionary(_)) => {
                    self.part(value, inner_class(class, kind), path, errors)?
                }
                _ => Err(no_dictionary()),
            },
            Kind::Documents(_) | Kind::OwnList => {
                let inner = inner_class(class, kind);
                let path = format!("{path}, '__root__'");
                let parts = match value {
                    Python::List(list) | Python::Set(list) | Python::Tuple(list) => list,
                    Python::Integer(_) | Python::Float(_) | Python::Boolean(_) => {
                        let what = format!("Expecting an Iterable of {}", python_class(inner));
                        return Ok(Err((what, "type_error")));
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
                                inner,
                                &path,
                                errors,
                            )?;
                        }
                        Python::None => errors.add(&path, no_none()),
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

    /// The node of an element of a list or a dictionary; `None` if there is a complaint about it.
    fn element(
        &mut self,
        element: &Python<'_>,
        class: &Schema,
        kind: &Kind,
        path: &str,
        errors: &mut Errors,
    ) -> Result<Option<Vec<u8>>, Exception> {
        let node = match element {
            Python::None if *kind == Kind::Any => Ok(Vec::new()),
            Python::None => Err(no_none()),
            // Endpoints change no texts within lists.
            element => self.inner().coerced(element, class, kind, path, errors)?,
        };
        Ok(node.map_err(|complaint| errors.add(path, complaint)).ok())
    }

    /// Converts a dictionary to a document; anything without elements becomes a document of
    /// defaults.
    fn part(
        &mut self,
        value: &Python<'_>,
        class: &Schema,
        path: &str,
        errors: &mut Errors,
    ) -> Result<Result<Vec<u8>, Complaint>, Exception> {
        let entries = if let Python::Dictionary(entries) = value { entries } else { &[][..] };
        let mut document = Vec::new();
        let path = format!("{path}, ");
        self.inner().write_fields(&mut document, entries, class, &path, errors)?;
        Ok(Ok(field(DOCUMENT, &document)))
    }

    fn inner_document(&mut self, document: &[u8], class: &Schema) -> Result<Vec<u8>, Exception> {
        let mut written = Vec::new();
        self.inner().write_document(&mut written, document, class)?;
        Ok(written)
    }

    /// Endpoints change no documents within documents.
    fn inner(&self) -> Self {
        Self { change: Change::None, ids: self.ids }
    }

    fn is_upper(&self) -> bool {
        self.change == Change::Upper
    }

    /// What becomes of a field that was left out.
    fn missing(
        &mut self,
        class: &Schema,
        declared: &Declared,
        path: &str,
        errors: &mut Errors,
    ) -> Cow<'static, [u8]> {
        match (&declared.kind, &declared.presence) {
            (Kind::Id, _) => typed(self.ids.make().as_bytes(), "id").into(),
            (Kind::Text, _) if self.is_upper() => text(b"").into(),
            (Kind::Dictionary(_), _) if matches!(self.change, Change::Tag(_)) => {
                self.tags(&[], &[]).into_owned().into()
            }
            (_, Presence::Optional) => Cow::Borrowed(&[]),
            (kind, Presence::Default(value)) => write_node(class, kind, value).into(),
            (_, Presence::Required) => {
                errors.add(path, ("field required".into(), "value_error.missing"));
                Cow::Borrowed(&[])
            }
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

/// The class of the documents in a field of a class.
fn inner_class<'c>(class: &'c Schema, kind: &'c Kind) -> &'c Schema {
    match kind {
        Kind::Document(inner) | Kind::Documents(inner) => inner,
        _ => class,
    }
}

fn no_none() -> Complaint {
    ("none is not an allowed value".into(), "type_error.none.not_allowed")
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

/// The exception for a document that is not of its class.
fn refused_document(class: &Schema) -> Exception {
    let class = python_class(class);
    Exception::value_error(format!("{class} is not supported for proto deserialization"))
}
