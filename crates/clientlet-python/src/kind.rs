//! What kind of value the objects of a Python class are.

use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyDict, PyFloat, PyInt, PyMemoryView, PyString, PyType,
};

use crate::array::Numbers;
use crate::kept::name;

/// How the objects of a class are sent.
#[derive(Debug)]
pub(crate) enum Kind {
    Text,
    Integer,
    Float,
    Bytes,
    Dict,
    /// An object with the methods of a dict.
    Mapping,
    /// Anything else that is iterated over.
    List,
    /// An array of numbers with the buffer protocol.
    Array,
    /// An array of numpy of which some elements may be masked.
    Masked,
    /// A `bytearray` or `memoryview`: bytes, or an array if its elements are of another type.
    BytesOrArray,
    /// A tensor of another library.
    Dlpack,
    /// An object whose `__dict__` holds its fields: a model of pydantic, a document of DocArray v2.
    Model,
    /// A model of pydantic of which some fields are never sent (`Field(exclude=True)`), or that keeps
    /// fields which its class does not have (pydantic 2).
    ModelWith {
        excluded: Vec<String>,
        has_extra: bool,
    },
    /// A document or score of DocArray v1, whose fields are in `_data`.
    DocumentV1,
    /// An object with these fields, each with its name on the wire: dataclasses, attrs.
    Fields(Fields),
    /// An object of msgspec with these fields, and the name and value of the tag of its class.
    Struct {
        fields: Fields,
        tag: Option<(String, Py<PyAny>)>,
    },
    /// What msgspec has in place of a value that is not set. Such a field is not sent.
    Unset,
    /// A member of an enum, which is sent as its value.
    Enum,
    /// A scalar of numpy, which is sent as the Python object that it stands for.
    Scalar,
    /// A date or time, which is sent as text (ISO 8601).
    Time,
    /// An object that is sent as its text: a UUID, a path, a decimal number.
    Printed,
    Unknown,
}

/// Fields, each with its name on the wire.
type Fields = Vec<(Py<PyString>, String)>;

impl Kind {
    /// Whether an object of this kind is sent as an array.
    pub(crate) fn is_array(&self) -> bool {
        matches!(self, Kind::Array | Kind::Masked | Kind::Dlpack)
    }

    /// Whether `object`, which is of this kind, is sent as an array.
    pub(crate) fn is_array_of(&self, object: &Bound<'_, PyAny>) -> PyResult<bool> {
        Ok(match self {
            Kind::BytesOrArray => !Numbers::of(object)?.is_plain_bytes(),
            _ => self.is_array(),
        })
    }

    /// Whether an object of this kind is a document, and no collection of documents.
    pub(crate) fn is_document(&self) -> bool {
        matches!(
            self,
            Kind::Dict
                | Kind::Mapping
                | Kind::Model
                | Kind::ModelWith { .. }
                | Kind::DocumentV1
                | Kind::Fields(_)
                | Kind::Struct { .. }
        )
    }

    /// Returns the kind of `object`, found once for its class.
    pub(crate) fn of(object: &Bound<'_, PyAny>) -> PyResult<Arc<Kind>> {
        let class = object.get_type();
        let key = class.as_ptr() as usize;
        if let Some((_, kind)) = KNOWN.lock().unwrap_or_else(PoisonError::into_inner).get(&key) {
            return Ok(kind.clone());
        }
        let kind = Arc::new(Kind::of_class(&class)?);
        let mut known = KNOWN.lock().unwrap_or_else(PoisonError::into_inner);
        // They are dropped after the lock is free: the end of a class may run code.
        let forgotten =
            if known.len() < MOST_CLASSES { HashMap::new() } else { mem::take(&mut *known) };
        known.insert(key, (class.unbind(), kind.clone()));
        drop(known);
        drop(forgotten);
        Ok(kind)
    }

    fn of_class(class: &Bound<'_, PyType>) -> PyResult<Kind> {
        let py = class.py();
        let has = |name: &str| class.hasattr(name);
        if class.is_subclass(py.import(name!(py, "enum"))?.getattr("Enum")?.as_any())? {
            return Ok(Kind::Enum);
        }
        // A double of numpy is a float, and a text of numpy is a str.
        for (builtin, kind) in [
            (py.get_type::<PyString>(), Kind::Text),
            (py.get_type::<PyFloat>(), Kind::Float),
            (py.get_type::<PyInt>(), Kind::Integer),
            (py.get_type::<PyBool>(), Kind::Integer),
            (py.get_type::<PyBytes>(), Kind::Bytes),
            (py.get_type::<PyDict>(), Kind::Dict),
            (py.get_type::<PyMemoryView>(), Kind::BytesOrArray),
            (py.get_type::<PyByteArray>(), Kind::BytesOrArray),
        ] {
            if class.is_subclass(&builtin)? {
                return Ok(kind);
            }
        }
        let mut bases = Vec::new();
        for base in class.mro() {
            let module: String = base.getattr("__module__")?.extract().unwrap_or_default();
            bases.push((module, base.getattr("__name__")?.extract::<String>()?));
        }
        let derives =
            |module: &str, name: &str| bases.iter().any(|(m, n)| m == module && n == name);
        if derives("numpy", "generic") {
            return Ok(Kind::Scalar);
        }
        if derives("numpy.ma", "MaskedArray") || derives("numpy.ma.core", "MaskedArray") {
            return Ok(Kind::Masked);
        }
        if derives("msgspec", "UnsetType") {
            return Ok(Kind::Unset);
        }
        if derives("numpy", "ndarray") || derives("array", "array") {
            return Ok(Kind::Array);
        }
        if derives("docarray.base", "BaseDCType") {
            return Ok(Kind::DocumentV1);
        }
        if derives("docarray.array.any_array", "AnyDocArray") {
            return Ok(Kind::List);
        }
        if has("__pydantic_validator__")? || (has("__fields__")? && has("__config__")?) {
            let (excluded, has_extra) = (Kind::excluded(class)?, Kind::has_extra(class)?);
            return Ok(match excluded.is_empty() && !has_extra {
                true => Kind::Model,
                false => Kind::ModelWith { excluded, has_extra },
            });
        }
        if let Some(kind) = Kind::of_fields(class)? {
            return Ok(kind);
        }
        if has("__dlpack__")? {
            return Ok(Kind::Dlpack);
        }
        if has("isoformat")? {
            return Ok(Kind::Time);
        }
        if has("__fspath__")? || derives("uuid", "UUID") || derives("decimal", "Decimal") {
            return Ok(Kind::Printed);
        }
        if has("keys")? && has("__getitem__")? {
            return Ok(Kind::Mapping);
        }
        // An iterator gives its values once, and a document may be written more than once.
        Ok(if has("__iter__")? && !has("__next__")? { Kind::List } else { Kind::Unknown })
    }

    /// Whether a class of pydantic 2 keeps what it has no fields for. With pydantic 1 that is kept among
    /// the fields.
    fn has_extra(class: &Bound<'_, PyType>) -> PyResult<bool> {
        let Some(settings) = class.getattr_opt("model_config")? else { return Ok(false) };
        let Ok(settings) = settings.cast_into::<PyDict>() else { return Ok(false) };
        let extra = settings.get_item("extra")?;
        Ok(extra.is_some_and(|extra| extra.eq("allow").unwrap_or(false)))
    }

    /// The fields of a class of pydantic that are not part of what is made of an object.
    fn excluded(class: &Bound<'_, PyType>) -> PyResult<Vec<String>> {
        let py = class.py();
        // Pydantic 2 has the second as well, and warns of it.
        let fields = match class.getattr_opt("model_fields")? {
            Some(fields) => fields,
            None => class.getattr("__fields__")?,
        };
        let mut excluded = Vec::new();
        for entry in fields.call_method0(name!(py, "items"))?.try_iter()? {
            let (name, field): (String, Bound<'_, PyAny>) = entry?.extract()?;
            let field = field.getattr_opt("field_info")?.unwrap_or(field);
            // Pydantic 1 also takes `...` for `True`, and a set of what is left out of a field's value.
            let exclude = field.getattr("exclude")?;
            if exclude.is(PyBool::new(py, true)) || exclude.is(py.Ellipsis()) {
                excluded.push(name);
            }
        }
        Ok(excluded)
    }

    /// The kind of a class that lists its fields.
    fn of_fields(class: &Bound<'_, PyType>) -> PyResult<Option<Kind>> {
        let py = class.py();
        let field = |name: Bound<'_, PyAny>| -> PyResult<(Py<PyString>, String)> {
            let name = name.cast_into::<PyString>()?;
            let text = name.to_str()?.to_owned();
            Ok((name.unbind(), text))
        };
        let mut fields = Vec::new();
        if let Some(own) = class.getattr_opt(name!(py, "__struct_fields__"))? {
            let encoded = class.getattr_opt(name!(py, "__struct_encode_fields__"))?;
            let encoded = encoded.unwrap_or_else(|| own.clone());
            for (name, encoded) in own.try_iter()?.zip(encoded.try_iter()?) {
                fields.push((field(name?)?.0, encoded?.extract()?));
            }
            let settings = class.getattr("__struct_config__")?;
            let (name, tag) = (settings.getattr("tag_field")?, settings.getattr("tag")?);
            let has_tag = !name.is_none() && !tag.is_none();
            let tag =
                has_tag.then(|| Ok::<_, PyErr>((name.extract()?, tag.unbind()))).transpose()?;
            return Ok(Some(Kind::Struct { fields, tag }));
        }
        if let Some(own) = class.getattr_opt(name!(py, "__attrs_attrs__"))? {
            for attribute in own.try_iter()? {
                fields.push(field(attribute?.getattr("name")?)?);
            }
        } else if class.hasattr(name!(py, "__dataclass_fields__"))? {
            // `fields` leaves out what is no field of an object: ClassVar and InitVar.
            for own in py.import("dataclasses")?.call_method1("fields", (class,))?.try_iter()? {
                fields.push(field(own?.getattr("name")?)?);
            }
        } else {
            return Ok(None);
        }
        Ok(Some(Kind::Fields(fields)))
    }
}

/// The kinds that were found, by the address of the class. The class is kept, so that no other class
/// gets its address.
static KNOWN: LazyLock<Mutex<Known>> = LazyLock::new(Mutex::default);

type Known = HashMap<usize, (Py<PyType>, Arc<Kind>)>;

/// Programs that make classes as they run must not fill the memory.
const MOST_CLASSES: usize = 1024;

/// Whether `object` is a document, and no collection of documents.
#[pyfunction]
pub(crate) fn is_document(object: &Bound<'_, PyAny>) -> PyResult<bool> {
    Ok(Kind::of(object)?.is_document())
}
