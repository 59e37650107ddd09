//! The answer to one request, for the caller.

use std::ops::Range;
use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use clientlet::{DocArray, EncodedAnswer};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyModule};
use serde::de::DeserializeOwned;

use crate::columns::{self, Cells};
use crate::error::raised;
use crate::kept::{Kept, name};
use crate::read::Arrays;
use crate::write::{Dict, Object, reading};

/// The answer to one request.
#[pyclass(frozen, generic, module = "clientlet", name = "Response")]
pub(crate) struct Response {
    response: clientlet::Response,
    /// Makes what the caller asked for of a list of dicts.
    convert: Option<Py<PyAny>>,
    arrays: Arc<Arrays>,
}

impl Response {
    pub(crate) fn new(
        response: clientlet::Response,
        convert: Option<Py<PyAny>>,
        arrays: Arc<Arrays>,
    ) -> Response {
        Response { response, convert, arrays }
    }

    /// Notes in an error of the package which request's answer it is about.
    fn placed(&self, py: Python<'_>, error: PyErr) -> PyErr {
        let value = error.value(py);
        let noted = match value.hasattr(name!(py, "request_id")) {
            Ok(true) => {
                value.setattr(name!(py, "request_id"), self.response.request_id()).and_then(|()| {
                    value.setattr(name!(py, "input"), range(py, &self.response.input())?)
                })
            }
            _ => Ok(()),
        };
        noted.err().unwrap_or(error)
    }

    fn read<T: DeserializeOwned>(&self, py: Python<'_>) -> PyResult<Vec<T>> {
        let read = || self.response.documents::<T>();
        reading(self.response.docarray(), self.arrays.clone(), read)
            .map_err(|error| raised(py, &error))
    }
}

#[pymethods]
impl Response {
    /// The documents of the answer, read anew at each call.
    #[getter]
    fn docs<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        let documents = self.read::<Dict>(py)?;
        let list = PyList::new(py, documents.into_iter().map(Dict::into_inner))?;
        match &self.convert {
            Some(convert) => {
                convert.bind(py).call1((list,)).map_err(|error| self.placed(py, error))
            }
            None => Ok(list.into_any()),
        }
    }

    /// The documents as columns: a dict with an array of shape (documents, ...), or a list, for each field.
    #[getter]
    fn columns<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyDict>> {
        let is_v1 = self.response.docarray() == DocArray::V1;
        columns::of_rows(py, self.read::<Cells>(py)?, is_v1)
    }

    /// The parameters of the answer, with the executors' results under `__results__`.
    #[getter]
    fn parameters(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let read = self.response.parameters::<Object>();
        read.map(Object::into_inner).map_err(|error| raised(py, &error))
    }

    /// The id of the request, as this client made it.
    #[getter]
    fn request_id(&self) -> &str {
        self.response.request_id()
    }

    /// The id of the request in the gateway's logs.
    #[getter]
    fn gateway_request_id(&self) -> &str {
        self.response.gateway_request_id()
    }

    /// The range of the call's documents that the request carried, counted from 0.
    #[getter]
    fn input<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        range(py, &self.response.input())
    }

    /// The outcome of the request.
    #[getter]
    fn status<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        status(py, self.response.status())
    }

    /// The stations of the request.
    #[getter]
    fn routes<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let routes = self.response.routes().map_err(|error| raised(py, &error))?;
        let list = PyList::empty(py);
        for route in routes {
            let status = route.status.as_ref().map(|of| status(py, of)).transpose()?;
            let (start, end) = (seconds(route.start_time), seconds(route.end_time));
            list.append(record(py, "Route")?.call1((route.executor, start, end, status))?)?;
        }
        Ok(list)
    }

    /// The answer as it came: whether it is a `DataRequestProto`, and its bytes. JSON is without the
    /// documents, which are null.
    #[getter]
    fn encoded<'py>(&self, py: Python<'py>) -> (bool, Bound<'py, PyBytes>) {
        match self.response.encoded() {
            EncodedAnswer::Proto(bytes) => (true, PyBytes::new(py, &bytes)),
            EncodedAnswer::Json(bytes) => (false, PyBytes::new(py, &bytes)),
            _ => (false, PyBytes::new(py, b"null")),
        }
    }

    /// The code of the status, which is 0 for success.
    #[getter]
    fn code(&self) -> i32 {
        self.response.status().code
    }

    /// How often the request was sent.
    #[getter]
    fn attempts(&self) -> u32 {
        self.response.attempts()
    }

    /// Seconds from the first attempt to the answer.
    #[getter]
    fn elapsed(&self) -> f64 {
        self.response.elapsed().as_secs_f64()
    }

    /// The documents that the gateway speaks: `v1` or `v2`.
    #[getter]
    fn docarray(&self) -> String {
        self.response.docarray().to_string()
    }

    fn __repr__(&self) -> String {
        let (id, input) = (self.response.request_id(), self.response.input());
        format!("Response(request_id={id:?}, input=range({}, {}))", input.start, input.end)
    }
}

pub(crate) fn status<'py>(
    py: Python<'py>,
    status: &clientlet::Status,
) -> PyResult<Bound<'py, PyAny>> {
    let exception = status.exception.as_ref().map(|exception| {
        let clientlet::Exception { name, args, stacks, executor, .. } = exception;
        record(py, "ExecutorException")?.call1((name, args, stacks, executor))
    });
    let exception = exception.transpose()?;
    record(py, "Status")?.call1((status.code, &status.description, exception))
}

/// Seconds since 1970.
fn seconds(time: Option<SystemTime>) -> Option<f64> {
    time?.duration_since(UNIX_EPOCH).ok().map(|since| since.as_secs_f64())
}

/// A class of the package for facts that come together.
pub(crate) fn record<'py>(py: Python<'py>, class: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: Kept<Py<PyModule>> = Kept::new();
    let module = MODULE.get_or_make(py, || py.import("clientlet._records").map(Bound::unbind))?;
    module.bind(py).getattr(class)
}

pub(crate) fn range<'py>(py: Python<'py>, range: &Range<u64>) -> PyResult<Bound<'py, PyAny>> {
    let builtins = py.import(name!(py, "builtins"))?;
    builtins.call_method1(name!(py, "range"), (range.start, range.end))
}
