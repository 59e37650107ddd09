//! Python objects as documents: any object is written by serde as it is, without a tree in between.

use std::sync::{Arc, Mutex, PoisonError};

use clientlet::EncodedDocument;
use pyo3::exceptions::{PyRuntimeError, PyTypeError};
use pyo3::prelude::*;
use pyo3::types::dict::BoundDictIterator;
use pyo3::types::{PyBool, PyBytes, PyDict, PyFloat, PyInt, PyList, PyString, PyTuple};
use serde::ser::{Error, Serialize, SerializeMap, SerializeSeq, Serializer};

use crate::array::{Numbers, from_dlpack, unmasked};
use crate::columns::Columns;
use crate::kept::name;
use crate::kind::Kind;

/// A document of the caller's.
pub(crate) enum Document {
    Object(Py<PyAny>, Arc<Arrays>),
    Row(Arc<Columns>, usize),
    Encoded(EncodedDocument),
}

impl Serialize for Document {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        // A document is only written by a thread of Python that polls, so it is attached already.
        match self {
            Document::Object(object, arrays) => Python::attach(|py| {
                let object = object.bind(py);
                Value { arrays: Some(arrays), ..Value::new(object) }.serialize(serializer)
            }),
            Document::Row(columns, index) => {
                Python::attach(|py| columns.row(py, *index, serializer))
            }
            Document::Encoded(document) => document.serialize(serializer),
        }
    }
}

/// The names of the fields that a call sends as arrays. JSON has no arrays of numbers, so an answer's
/// fields of these names are read as such, as on the other protocols.
#[derive(Default)]
pub(crate) struct Arrays {
    names: Mutex<Vec<Box<str>>>,
    /// Whether jina's own client makes the call. Its documents v1 and parameters may have integers that a
    /// double cannot hold, which are rounded, and the arrays of its answers may be changed.
    is_for_jina: bool,
}

/// Documents with more arrays than this get the others as lists.
const MOST_ARRAYS: usize = 64;

impl Arrays {
    pub(crate) fn new(is_for_jina: bool) -> Arrays {
        Arrays { is_for_jina, ..Arrays::default() }
    }

    pub(crate) fn is_for_jina(&self) -> bool {
        self.is_for_jina
    }

    pub(crate) fn note(&self, name: &str) {
        let mut names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        if names.len() < MOST_ARRAYS && !names.iter().any(|known| **known == *name) {
            names.push(name.into());
        }
    }

    pub(crate) fn has(&self, name: &str) -> bool {
        let names = self.names.lock().unwrap_or_else(PoisonError::into_inner);
        names.iter().any(|known| **known == *name)
    }
}

/// The largest integer up to which a double holds all.
const MOST_EXACT: u64 = 1 << 53;

/// How deeply values may be nested; deeper ones mostly contain themselves. Gateways read no more.
const MOST_DEPTH: u8 = 100;

/// An object, and how deep it lies in the document.
pub(crate) struct Value<'a, 'py> {
    object: &'a Bound<'py, PyAny>,
    depth: u8,
    /// Whether integers that a double cannot hold are rounded.
    rounds: bool,
    /// Where a document notes which of its fields are arrays.
    arrays: Option<&'a Arrays>,
}

impl<'a, 'py> Value<'a, 'py> {
    pub(crate) fn new(object: &'a Bound<'py, PyAny>) -> Value<'a, 'py> {
        Value { object, depth: 0, rounds: false, arrays: None }
    }

    pub(crate) fn of_parameters(
        object: &'a Bound<'py, PyAny>,
        is_for_jina: bool,
    ) -> Value<'a, 'py> {
        Value { rounds: is_for_jina, ..Value::new(object) }
    }

    fn within<'b>(&self, object: &'b Bound<'py, PyAny>) -> Value<'b, 'py> {
        Value { object, depth: self.depth + 1, rounds: self.rounds, arrays: None }
    }

    fn entry<M: SerializeMap>(
        &self,
        map: &mut M,
        name: &str,
        value: &Bound<'py, PyAny>,
    ) -> Result<(), M::Error> {
        if let Some(arrays) = self.arrays
            && !is_plain(value)
            && Kind::of(value).and_then(|kind| kind.is_array_of(value)).map_err(told)?
        {
            arrays.note(name);
        }
        map.serialize_entry(name, &self.within(value))
    }

    /// Writes the entries of a dict.
    fn dict<S: Serializer>(&self, dict: &Bound<'py, PyDict>, s: S) -> Result<S::Ok, S::Error> {
        let mut map = s.serialize_map(Some(dict.len()))?;
        for entry in Entries::of(dict) {
            let (name, value) = entry.map_err(told)?;
            self.entry(&mut map, text(&name)?, &value)?;
        }
        map.end()
    }

    fn list<S: Serializer>(
        &self,
        values: impl ExactSizeIterator<Item = Bound<'py, PyAny>>,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        let mut list = s.serialize_seq(Some(values.len()))?;
        for value in values {
            list.serialize_element(&self.within(&value))?;
        }
        list.end()
    }

    /// Writes an object of any other class than the usual ones.
    fn other<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let object = self.object;
        let py = object.py();
        let call = |name| object.call_method0(name).map_err(told);
        match &*Kind::of(object).map_err(told)? {
            Kind::Text => s.serialize_str(text(object)?),
            Kind::Integer => self.integer(s),
            Kind::Float => s.serialize_f64(object.extract().map_err(told)?),
            Kind::Bytes => s.serialize_bytes(object.extract().map_err(told)?),
            Kind::Dict => self.dict(object.cast().map_err(told)?, s),
            Kind::Mapping => {
                let mut map = s.serialize_map(None)?;
                for item in call(name!(py, "items"))?.try_iter().map_err(told)? {
                    let (name, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
                        item.and_then(|item| item.extract()).map_err(told)?;
                    self.entry(&mut map, text(&name)?, &value)?;
                }
                map.end()
            }
            Kind::List => {
                let mut list = s.serialize_seq(None)?;
                for value in object.try_iter().map_err(told)? {
                    list.serialize_element(&self.within(&value.map_err(told)?))?;
                }
                list.end()
            }
            Kind::Array => numbers(object, s),
            Kind::Masked => numbers(unmasked(object).map_err(told)?, s),
            Kind::BytesOrArray => {
                let numbers = Numbers::of(object).map_err(told)?;
                match numbers.is_plain_bytes() {
                    true => s.serialize_bytes(numbers.bytes(py)),
                    false => numbers.as_tensor(py).map_err(told)?.serialize(s),
                }
            }
            Kind::Dlpack => numbers(&from_dlpack(object).map_err(told)?, s),
            Kind::Model => {
                let fields = object.getattr(name!(py, "__dict__")).map_err(told)?;
                self.dict(fields.cast().map_err(told)?, s)
            }
            Kind::ModelWith { excluded, has_extra } => self.model_with(excluded, *has_extra, s),
            Kind::DocumentV1 => self.document_v1(s),
            Kind::Fields(fields) => {
                let mut map = s.serialize_map(Some(fields.len()))?;
                for (attribute, name) in fields {
                    let value = object.getattr(attribute.bind(py)).map_err(told)?;
                    self.entry(&mut map, name, &value)?;
                }
                map.end()
            }
            Kind::Struct { fields, tag } => {
                let mut map = s.serialize_map(None)?;
                // The tag tells the classes of a union apart. A document is no part of a union.
                if let Some((name, tag)) = tag
                    && self.depth > 0
                {
                    self.entry(&mut map, name, tag.bind(py))?;
                }
                for (attribute, name) in fields {
                    let value = object.getattr(attribute.bind(py)).map_err(told)?;
                    if is_plain(&value) || !matches!(*Kind::of(&value).map_err(told)?, Kind::Unset)
                    {
                        self.entry(&mut map, name, &value)?;
                    }
                }
                map.end()
            }
            Kind::Enum => {
                self.within(&object.getattr(name!(py, "value")).map_err(told)?).serialize(s)
            }
            Kind::Scalar => {
                let item = call(name!(py, "item"))?;
                // Times in nanoseconds are integers for Python.
                if item.is_instance_of::<PyInt>() && is_time(object).map_err(told)? {
                    return s.serialize_str(text(object.str().map_err(told)?.as_any())?);
                }
                // A number that is too precise for Python stands for nothing but itself.
                if item.get_type().is(object.get_type()) {
                    unsendable(object)
                } else {
                    self.within(&item).serialize(s)
                }
            }
            Kind::Time => s.serialize_str(text(&call(name!(py, "isoformat"))?)?),
            Kind::Printed => s.serialize_str(object.str().map_err(told)?.to_str().map_err(told)?),
            Kind::Unset | Kind::Unknown => unsendable(object),
        }
    }

    fn integer<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let object = self.object;
        if let Ok(n) = object.extract::<i64>()
            && (!self.rounds || n.unsigned_abs() <= MOST_EXACT)
        {
            return s.serialize_i64(n);
        }
        if self.rounds {
            return s.serialize_f64(object.extract().map_err(told)?);
        }
        match object.extract::<u64>() {
            Ok(n) => s.serialize_u64(n),
            Err(_) => Err(S::Error::custom("the integer has more than 64 bits")),
        }
    }

    /// Writes the fields of a model of pydantic but those that are excluded, and what it has beside them.
    fn model_with<S: Serializer>(
        &self,
        excluded: &[String],
        has_extra: bool,
        s: S,
    ) -> Result<S::Ok, S::Error> {
        let py = self.object.py();
        let fields = self.object.getattr(name!(py, "__dict__")).map_err(told)?;
        let fields = fields.cast::<PyDict>().map_err(told)?;
        let mut map = s.serialize_map(None)?;
        for entry in Entries::of(fields) {
            let (name, value) = entry.map_err(told)?;
            let name = text(&name)?;
            if !excluded.iter().any(|excluded| excluded == name) {
                self.entry(&mut map, name, &value)?;
            }
        }
        if !has_extra {
            return map.end();
        }
        let extra = self.object.getattr(name!(py, "__pydantic_extra__")).map_err(told)?;
        if let Ok(extra) = extra.cast::<PyDict>() {
            for entry in Entries::of(extra) {
                let (name, value) = entry.map_err(told)?;
                if !fields.contains(&name).map_err(told)? {
                    self.entry(&mut map, text(&name)?, &value)?;
                }
            }
        }
        map.end()
    }

    /// Writes the fields of a v1 document that are set.
    fn document_v1<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let py = self.object.py();
        let rounds = self.rounds || self.arrays.is_some_and(|arrays| arrays.is_for_jina);
        let document = Value { rounds, ..*self };
        let fields = self.object.getattr(name!(py, "_data"));
        let fields = fields.and_then(|data| data.getattr(name!(py, "__dict__"))).map_err(told)?;
        let mut map = s.serialize_map(None)?;
        for entry in Entries::of(fields.cast().map_err(told)?) {
            let (name, value) = entry.map_err(told)?;
            let name = text(&name)?;
            // The document that it belongs to, and what DocArray keeps for itself.
            if !value.is_none() && !name.starts_with('_') {
                document.entry(&mut map, name, &value)?;
            }
        }
        map.end()
    }
}

impl Serialize for Value<'_, '_> {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let object = self.object;
        if self.depth > MOST_DEPTH {
            return Err(S::Error::custom("it is nested too deeply, or contains itself"));
        }
        // The usual classes first, by identity.
        if object.is_exact_instance_of::<PyString>() {
            s.serialize_str(text(object)?)
        } else if object.is_none() {
            s.serialize_unit()
        } else if let Ok(number) = object.cast_exact::<PyFloat>() {
            s.serialize_f64(number.extract().map_err(told)?)
        } else if object.is_exact_instance_of::<PyInt>() {
            self.integer(s)
        } else if let Ok(boolean) = object.cast_exact::<PyBool>() {
            s.serialize_bool(boolean.is_true())
        } else if let Ok(dict) = object.cast_exact::<PyDict>() {
            self.dict(dict, s)
        } else if let Ok(list) = object.cast_exact::<PyList>() {
            self.list(list.iter(), s)
        } else if let Ok(tuple) = object.cast_exact::<PyTuple>() {
            self.list(tuple.iter(), s)
        } else if let Ok(bytes) = object.cast_exact::<PyBytes>() {
            s.serialize_bytes(bytes.as_bytes())
        } else {
            self.other(s)
        }
    }
}

/// The entries of a dict that code of Python may change meanwhile, for which PyO3's iterator panics.
struct Entries<'a, 'py> {
    dict: &'a Bound<'py, PyDict>,
    entries: BoundDictIterator<'py>,
    /// How many entries the dict had.
    length: usize,
    given: usize,
}

impl<'a, 'py> Entries<'a, 'py> {
    fn of(dict: &'a Bound<'py, PyDict>) -> Entries<'a, 'py> {
        Entries { dict, entries: dict.iter(), length: dict.len(), given: 0 }
    }
}

impl<'py> Iterator for Entries<'_, 'py> {
    type Item = PyResult<(Bound<'py, PyAny>, Bound<'py, PyAny>)>;

    fn next(&mut self) -> Option<Self::Item> {
        // A dict of the same length gives more entries than that if others took the place of some.
        if self.dict.len() != self.length || self.given > self.length {
            let what = "the dict was changed while it was read";
            return Some(Err(PyRuntimeError::new_err(what)));
        }
        self.given += 1;
        self.entries.next().map(Ok)
    }
}

/// Whether this is text, a number or `None`, as most values are.
fn is_plain(object: &Bound<'_, PyAny>) -> bool {
    object.is_exact_instance_of::<PyString>()
        || object.is_none()
        || object.is_exact_instance_of::<PyFloat>()
        || object.is_exact_instance_of::<PyInt>()
}

/// Whether a scalar of numpy is a point in time.
fn is_time(scalar: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = scalar.py();
    let kind = scalar.getattr(name!(py, "dtype"))?.getattr(name!(py, "kind"))?;
    Ok(kind.extract::<&str>()? == "M")
}

fn unsendable<T, E: Error>(object: &Bound<'_, PyAny>) -> Result<T, E> {
    let name = object.get_type().fully_qualified_name().map_err(told)?;
    Err(E::custom(format_args!("an object of the class {name} cannot be sent")))
}

fn numbers<S: Serializer>(array: &Bound<'_, PyAny>, s: S) -> Result<S::Ok, S::Error> {
    Numbers::of(array).map_err(told)?.as_tensor(array.py()).map_err(told)?.serialize(s)
}

fn text<'a, E: Error>(object: &'a Bound<'_, PyAny>) -> Result<&'a str, E> {
    let Ok(text) = object.cast::<PyString>() else {
        let name = object.get_type().name().map_err(told)?;
        return Err(E::custom(format_args!("a name must be a str, not {name}")));
    };
    text.to_str()
        .map_err(|_| E::custom("the text holds half of a surrogate pair, which is no text"))
}

/// The error of a document, from an exception that was raised while it was read.
pub(crate) fn told<E: Error>(error: impl Into<PyErr>) -> E {
    let error = error.into();
    Python::attach(|py| match error.is_instance_of::<PyTypeError>(py) {
        true => E::custom(error.value(py)),
        false => E::custom(error),
    })
}
