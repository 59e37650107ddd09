//! An executor of 3.33.1 that reads documents as its class declares them, with the conversions and the
//! complaints of pydantic.

use std::borrow::Cow;

use super::python::{
    Classes, Complaint, Python, TAKEN, TYPES, boolean_node, float_node, integer_node, list_node,
};
use super::{
    ARRAY, BLOB, BOOLEAN, DICTIONARY, DOCUMENT, DOCUMENTS, FLOAT, INTEGER, Node, TEXT, TRUE,
    entries, field, find, text, typed, upper, write_node,
};
use crate::exception::{Exception, ValidationError, python_repr};
use crate::identity::Ids;
use crate::protobuf::shape::{Field, Fields};
use crate::protobuf::structs::{copy_without, entry_parts, write_entry};
use crate::protobuf::{documents, write_bytes};
use crate::sample::Change;
use crate::schema::{Field as Declared, Kind, Presence, Schema};

/// Reads documents, and changes those at the top level.
pub(super) struct Executor<'a> {
    pub(super) change: Change,
    pub(super) ids: &'a Ids,
}

impl Executor<'_> {
    /// Writes documents as the class has them.
    ///
    /// # Errors
    ///
    /// What the executor raises that cannot read them.
    pub(super) fn write_documents(
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
        errors.end(class.name(), &python_class(class))
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

    /// Writes a field as it comes back: unchanged if its value has the kind of the field, and
    /// otherwise as the executor converts it. A value that cannot be converted is a complaint,
    /// which fails the request after the whole document was read.
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
                    // Whatever is wrong inside the document, the executor says that the class is
                    // not supported.
                    let inner = inner_class(class, kind);
                    let document = self.inner_document(content.content, inner);
                    let document = document.map_err(|_| refused_document(inner))?;
                    return Ok(field(DOCUMENT, &document).into());
                }
                (Kind::Url, DOCUMENTS) => {
                    let mut errors = Errors::default();
                    errors.add("'__root__'", ("str type expected".into(), "type_error.str"));
                    errors.end(
                        "ParsingModel[AnyUrl]",
                        "<class 'pydantic.main.ParsingModel[AnyUrl]'>",
                    )?;
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
        if !matches!(declared.presence, Presence::Optional | Presence::Own) {
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

    /// The node of a field that was left out.
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
            (_, Presence::Optional | Presence::Own) => Cow::Borrowed(&[]),
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

/// Pydantic's complaints about one document.
#[derive(Default)]
struct Errors(Vec<ValidationError>);

impl Errors {
    /// Adds a complaint about the value at `path`, the steps of a Python tuple.
    fn add(&mut self, path: &str, (message, kind): Complaint) {
        self.0.push(ValidationError { path: path.to_owned(), message, kind });
    }

    /// # Errors
    ///
    /// All complaints, as one exception.
    fn end(self, model: &str, class: &str) -> Result<(), Exception> {
        if self.0.is_empty() {
            return Ok(());
        }
        Err(Exception::validation(model, class, &self.0))
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
