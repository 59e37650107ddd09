//! Errors as exceptions of the package.

use std::any::Any;
use std::error::Error as _;
use std::sync::Arc;

use clientlet::{Attempt, Error};
use pyo3::exceptions::{
    PyException, PyOverflowError, PyTypeError, PyUnicodeEncodeError, PyValueError,
};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::answers;
use crate::hook::Raised;
use crate::kept::Kept;
use crate::write::Object;

/// Makes the exception for `error`, of the class for its kind.
pub(crate) fn raised(py: Python<'_>, error: &Error) -> PyErr {
    exception(py, error).map_or_else(|failed| failed, PyErr::from_value)
}

/// Makes the exception for `error`, to be raised or handed to the caller.
///
/// # Errors
/// What the caller's code raised if it is no `Exception`.
pub(crate) fn exception<'py>(py: Python<'py>, error: &Error) -> PyResult<Bound<'py, PyAny>> {
    let source = error.source().and_then(|source| {
        let raised = source.downcast_ref::<Raised>().map(|raised| &raised.exception);
        raised.or_else(|| source.downcast_ref::<PyErr>())
    });
    // What ends a program or a task (`KeyboardInterrupt`, `SystemExit`, `CancelledError`) is no failure of a request,
    // and no `except` for failures may keep it.
    if let Some(leaving) = source.filter(|source| !source.is_instance_of::<PyException>(py)) {
        return Err(leaving.clone_ref(py));
    }
    let fields = PyDict::new(py);
    fields.set_item("message", error.message())?;
    fields.set_item("delivery", error.delivery().name())?;
    fields.set_item("may_have_run", error.may_have_run())?;
    fields.set_item("is_retryable", error.is_retryable())?;
    fields.set_item("retry_after", error.retry_after().map(|after| after.as_secs_f64()))?;
    fields.set_item("request_id", error.request_id())?;
    fields.set_item("gateway", error.gateway())?;
    fields.set_item("protocol", error.protocol())?;
    fields.set_item("elapsed", error.elapsed().as_secs_f64())?;
    fields.set_item("hint", error.hint().map(|hint| hint.to_string()))?;
    fields.set_item("http_status", error.http_status().map(|status| status.as_u16()))?;
    fields.set_item("grpc_code", error.grpc_code().map(|code| code.to_string()))?;
    fields.set_item("close_code", error.close_code())?;
    if let Some(input) = error.input() {
        fields.set_item("input", answers::range(py, &input)?)?;
    }
    if let Some(exception) = error.exception() {
        let (name, executor) = (&exception.name, &exception.executor);
        fields.set_item("exception", (name, &exception.args, &exception.stacks, executor))?;
    }
    let attempts = error.attempts().iter().map(attempt);
    fields.set_item("attempts", PyList::new(py, attempts.collect::<Vec<_>>())?)?;
    if let Some(Ok(documents)) = error.documents::<Object>() {
        fields.set_item("documents", PyList::new(py, documents)?)?;
    }
    if let Some(response) = error.response() {
        fields
            .set_item("response", answers::Response::new(response.clone(), None, Arc::default()))?;
    }
    let exception =
        class_maker(py, "of_kind")?.call1((error.kind().name(), error.to_string(), fields))?;
    if let Some(source) = source {
        // A `PyErr` holds the traceback apart until it becomes an object.
        exception.setattr("__cause__", source.clone_ref(py).into_value(py))?;
    }
    Ok(exception)
}

/// The parts of an attempt, in the order of the package's class.
fn attempt(attempt: &Attempt) -> (u32, &str, f64, f64, &str, &str, &str) {
    let (started, took) = (attempt.started.as_secs_f64(), attempt.took.as_secs_f64());
    let (kind, delivery) = (attempt.kind.name(), attempt.delivery.name());
    (attempt.number, &attempt.gateway, started, took, kind, delivery, &attempt.message)
}

/// Names the argument that `error` is about: `TypeError` and `ValueError` stay what they are, and an integer
/// beyond the argument's range is a `ValueError`. Other exceptions are the caller's own.
pub(crate) fn named(py: Python<'_>, name: &str, error: PyErr) -> PyErr {
    let text = |error: &PyErr| format!("{name}: {}", error.value(py));
    let named = match () {
        () if error.is_instance_of::<PyUnicodeEncodeError>(py) => PyValueError::new_err(format!(
            "{name}: the text holds half of a surrogate pair, which is no text"
        )),
        () if error.is_instance_of::<PyTypeError>(py) => PyTypeError::new_err(text(&error)),
        () if error.is_instance_of::<PyValueError>(py)
            || error.is_instance_of::<PyOverflowError>(py) =>
        {
            PyValueError::new_err(text(&error))
        }
        () => return error,
    };
    named.set_cause(py, Some(error));
    named
}

/// Makes the exception for a panic: a mistake in this package.
pub(crate) fn internal(py: Python<'_>, panic: &(dyn Any + Send)) -> PyErr {
    let said = panic.downcast_ref::<String>().map(String::as_str);
    let said = said.or_else(|| panic.downcast_ref::<&str>().copied());
    made(py, "internal", &format!("this is a bug of clientlet: {}", said.unwrap_or("it panicked")))
}

/// Makes an exception that has nothing but a kind and a message.
pub(crate) fn made(py: Python<'_>, kind: &str, message: &str) -> PyErr {
    let made =
        class_maker(py, "of_kind").and_then(|make| make.call1((kind, message, PyDict::new(py))));
    made.map_or_else(|failed| failed, PyErr::from_value)
}

/// A function of the module that has the classes of exceptions.
fn class_maker<'py>(py: Python<'py>, name: &str) -> PyResult<Bound<'py, PyAny>> {
    static MODULE: Kept<Py<PyModule>> = Kept::new();
    let module = MODULE.get_or_make(py, || py.import("clientlet._errors").map(Bound::unbind))?;
    module.bind(py).getattr(name)
}
