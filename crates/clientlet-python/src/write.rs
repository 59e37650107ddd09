//! Answers as Python objects, made directly from the bytes of the answer.

use std::cell::RefCell;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, LazyLock, Mutex, PoisonError};

use clientlet::{AnyVisitor, Blob, DocArray, Tensor};
use pyo3::BoundObject;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use crate::array;
use crate::columns::CellVisitor;
use crate::read::Arrays;

/// A document, or a value in it, as a Python object. It is read by a thread of Python.
#[derive(IntoPyObject)]
#[pyo3(transparent)]
pub(crate) struct Object(Py<PyAny>);

impl Object {
    pub(crate) fn into_inner(self) -> Py<PyAny> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Object {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Object, D::Error> {
        Python::attach(|py| AnyVisitor::deserialize(Making(py), deserializer)).map(Object)
    }
}

/// Makes an object of the interpreter that this thread is attached to. Values within a value are made by
/// copies of it, which need not look whether the thread is attached.
#[derive(Clone, Copy)]
struct Making<'py>(Python<'py>);

impl<'de> DeserializeSeed<'de> for Making<'_> {
    type Value = Py<PyAny>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Py<PyAny>, D::Error> {
        AnyVisitor::deserialize(self, deserializer)
    }
}

fn made<'py, T, E>(py: Python<'py>, value: T) -> Result<Py<PyAny>, E>
where
    T: IntoPyObject<'py>,
    E: de::Error,
{
    match value.into_pyobject(py) {
        Ok(object) => Ok(object.into_bound().into_any().unbind()),
        Err(error) => Err(E::custom(error.into())),
    }
}

impl<'de> Visitor<'de> for Making<'_> {
    type Value = Py<PyAny>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Py<PyAny>, E> {
        Ok(self.0.None())
    }

    fn visit_none<E: de::Error>(self) -> Result<Py<PyAny>, E> {
        Ok(self.0.None())
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<Py<PyAny>, E> {
        made(self.0, b)
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Py<PyAny>, E> {
        made(self.0, n)
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Py<PyAny>, E> {
        made(self.0, n)
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Py<PyAny>, E> {
        made(self.0, n)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Py<PyAny>, E> {
        made(self.0, text)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<Py<PyAny>, E> {
        Ok(PyBytes::new(self.0, bytes).into_any().unbind())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Py<PyAny>, A::Error> {
        let list = PyList::empty(self.0);
        while let Some(value) = seq.next_element_seed(self)? {
            list.append(value).map_err(de::Error::custom)?;
        }
        Ok(list.into_any().unbind())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Py<PyAny>, A::Error> {
        let dict = PyDict::new(self.0);
        while let Some(Name(name)) = map.next_key()? {
            let value = map.next_value_seed(self)?;
            dict.set_item(name, value).map_err(de::Error::custom)?;
        }
        Ok(dict.into_any().unbind())
    }
}

impl<'de> AnyVisitor<'de> for Making<'_> {
    fn visit_tensor<E: de::Error>(self, tensor: Tensor) -> Result<Py<PyAny>, E> {
        let array = array_of(self.0, &tensor);
        array.map(Bound::unbind).map_err(E::custom)
    }

    fn visit_blob<E: de::Error>(self, blob: Blob) -> Result<Py<PyAny>, E> {
        Ok(PyBytes::new(self.0, blob.as_bytes()).into_any().unbind())
    }
}

/// The name of a field. Documents of one answer share the objects of their names.
pub(crate) struct Name(pub(crate) Py<PyString>);

impl<'de> Deserialize<'de> for Name {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Name, D::Error> {
        struct NameVisitor;
        impl Visitor<'_> for NameVisitor {
            type Value = Name;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a name")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<Name, E> {
                Ok(Name(Python::attach(|py| shared_name(py, name))))
            }
        }
        deserializer.deserialize_str(NameVisitor)
    }
}

/// Names that were read. A peer chooses them, so their number and length have bounds.
static NAMES: LazyLock<Mutex<HashMap<Box<str>, Py<PyString>>>> = LazyLock::new(Mutex::default);
const MOST_NAMES: usize = 256;
const LONGEST_NAME: usize = 64;

fn shared_name(py: Python<'_>, name: &str) -> Py<PyString> {
    let mut names = NAMES.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(known) = names.get(name) {
        return known.clone_ref(py);
    }
    let object = PyString::new(py, name).unbind();
    if names.len() < MOST_NAMES && name.len() <= LONGEST_NAME {
        names.insert(name.into(), object.clone_ref(py));
    }
    object
}

thread_local! {
    /// What is known of the documents that this thread reads: serde passes a type only the content.
    static READING: RefCell<Reading> = const { RefCell::new(Reading(DocArray::V2, None)) };
}

/// The generation of documents, and the fields that hold arrays.
struct Reading(DocArray, Option<Arc<Arrays>>);

/// Runs `read` with documents of `docarray`, whose fields named in `arrays` hold arrays.
pub(crate) fn reading<R>(docarray: DocArray, arrays: Arc<Arrays>, read: impl FnOnce() -> R) -> R {
    struct Restore(Option<Reading>);
    impl Drop for Restore {
        fn drop(&mut self) {
            if let Some(before) = self.0.take() {
                READING.replace(before);
            }
        }
    }
    let _restore = Restore(Some(READING.replace(Reading(docarray, Some(arrays)))));
    read()
}

/// Whether documents v1 are read.
fn is_v1() -> bool {
    READING.with_borrow(|reading| reading.0 == DocArray::V1)
}

fn is_array(name: &str) -> bool {
    READING.with_borrow(|reading| reading.1.as_ref().is_some_and(|arrays| arrays.has(name)))
}

/// Makes an array of `tensor`, which the caller may change if jina's own client makes the call.
pub(crate) fn array_of<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let is_for_jina = |reading: &Reading| reading.1.as_ref().is_some_and(|a| a.is_for_jina());
    match READING.with_borrow(is_for_jina) {
        true => array::to_change(py, tensor),
        false => array::to_python(py, tensor),
    }
}

/// A document as a dict.
pub(crate) struct Dict(Py<PyAny>);

impl Dict {
    pub(crate) fn into_inner(self) -> Py<PyAny> {
        self.0
    }
}

impl<'de> Deserialize<'de> for Dict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Dict, D::Error> {
        struct DictVisitor<'py>(Python<'py>);
        impl<'de> Visitor<'de> for DictVisitor<'_> {
            type Value = Py<PyAny>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Py<PyAny>, A::Error> {
                let py = self.0;
                let is_v1 = is_v1();
                let dict = PyDict::new(py);
                while let Some(Name(name)) = map.next_key()? {
                    let value = match name.to_str(py) {
                        Ok("chunks" | "matches") if is_v1 => {
                            let list: Option<Vec<Dict>> = map.next_value()?;
                            let list = list.map(|list| list.into_iter().map(Dict::into_inner));
                            made(py, list.map(Iterator::collect::<Vec<_>>))?
                        }
                        Ok(name) if is_array(name) => {
                            let cell = map.next_value_seed(CellVisitor(py))?;
                            cell.into_object(py).map_err(de::Error::custom)?
                        }
                        _ => map.next_value_seed(Making(py))?,
                    };
                    // Over HTTP a v1 gateway writes all fields, also those that are not set.
                    if !(is_v1 && value.is_none(py)) {
                        dict.set_item(name, value).map_err(de::Error::custom)?;
                    }
                }
                Ok(dict.into_any().unbind())
            }
        }
        Python::attach(|py| deserializer.deserialize_map(DictVisitor(py))).map(Dict)
    }
}
