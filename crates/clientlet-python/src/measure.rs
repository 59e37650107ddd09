//! Parts of the work by themselves, for the benchmark of the wheel.

use clientlet::{DocArray, EncodedDocument};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::bridge::Await;
use crate::error::raised;
use crate::read::Value;
use crate::runtime;

/// Encodes documents of `docarray`, `v1` or `v2`, as protobuf, or as JSON if `is_json`.
#[pyfunction]
pub(crate) fn encode<'py>(
    documents: &Bound<'py, PyAny>,
    docarray: &str,
    is_json: bool,
) -> PyResult<Bound<'py, PyList>> {
    let py = documents.py();
    let docarray: DocArray =
        docarray.parse().map_err(|_| PyValueError::new_err("docarray: v1 or v2 is expected"))?;
    let list = PyList::empty(py);
    for document in documents.try_iter()? {
        let document = document?;
        let document = Value::new(&document);
        let encoded = match is_json {
            true => EncodedDocument::json(docarray, &document),
            false => EncodedDocument::protobuf(docarray, &document),
        };
        let encoded = encoded.map_err(|error| raised(py, &error))?;
        list.append(PyBytes::new(py, encoded.as_bytes()))?;
    }
    Ok(list)
}

/// An awaitable that is ready at once, or, if it is to be `pending`, when the runtime's thread has woken it.
#[pyfunction]
pub(crate) fn pause(py: Python<'_>, pending: bool) -> PyResult<Await> {
    let handle = runtime::handle(py)?;
    Ok(Await::new(async move {
        if pending {
            // It fails only at the end of the runtime.
            let _ = handle.spawn(tokio::task::yield_now()).await;
        }
        Python::attach(|py| Ok(py.None()))
    }))
}
