//! Calls that are under way, and reading their results one by one.

use std::process;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use clientlet::{DocArray, DocumentStream, Fallible, Responses};
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::PyList;

use crate::answers::Response;
use crate::aside::Aside;
use crate::bridge::Await;
use crate::error::{exception, made, raised};
use crate::read::Arrays;
use crate::telling::listening;
use crate::wait::wait;
use crate::write::{Dict, reading};

/// What has results to be read one after the other, by one reader at a time.
///
/// A child that was forked inherits it, but not the threads that bring the results.
struct Shared<T>(Arc<Mutex<Option<T>>>, u32);

impl<T> Clone for Shared<T> {
    fn clone(&self) -> Shared<T> {
        Shared(self.0.clone(), self.1)
    }
}

impl<T> Shared<T> {
    fn new(reader: T) -> Shared<T> {
        Shared(Arc::new(Mutex::new(Some(reader))), process::id())
    }

    fn lock(&self) -> MutexGuard<'_, Option<T>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the reader until the result of this function is dropped.
    ///
    /// # Errors
    /// `RuntimeError` while another task or thread has it, `ClosedError` in a child that was forked.
    fn take(&self, py: Python<'_>) -> PyResult<Taken<T>> {
        if self.1 != process::id() {
            let what = "the stream belongs to the parent process; post again here";
            return Err(made(py, "closed", what));
        }
        match self.lock().take() {
            Some(reader) => Ok(Taken { reader: Some(reader), home: self.clone() }),
            None => Err(PyRuntimeError::new_err("another task or thread is reading this stream")),
        }
    }
}

struct Taken<T> {
    reader: Option<T>,
    home: Shared<T>,
}

impl<T> Taken<T> {
    fn reader(&mut self) -> &mut T {
        self.reader.as_mut().expect("only `drop` gives it back")
    }
}

impl<T> Drop for Taken<T> {
    fn drop(&mut self) {
        *self.home.lock() = self.reader.take();
    }
}

/// A call that is under way.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Call {
    responses: Shared<Responses<Fallible<Aside>>>,
    convert: Option<Py<PyAny>>,
    arrays: Arc<Arrays>,
}

impl Call {
    pub(crate) fn new(
        responses: Responses<Fallible<Aside>>,
        convert: Option<Py<PyAny>>,
        arrays: Arc<Arrays>,
    ) -> Call {
        Call { responses: Shared::new(responses), convert, arrays }
    }

    /// Returns the future of the next result: a response, an exception that is not raised, or `None`.
    fn result(
        &self,
        py: Python<'_>,
    ) -> PyResult<impl Future<Output = PyResult<Py<PyAny>>> + Send + use<>> {
        let mut taken = self.responses.take(py)?;
        let convert = self.convert.as_ref().map(|convert| convert.clone_ref(py));
        let arrays = self.arrays.clone();
        Ok(async move {
            let result = taken.reader().next().await;
            Python::attach(|py| result_object(py, result, convert, arrays))
        })
    }
}

fn result_object(
    py: Python<'_>,
    result: Option<Result<clientlet::Response, clientlet::Error>>,
    convert: Option<Py<PyAny>>,
    arrays: Arc<Arrays>,
) -> PyResult<Py<PyAny>> {
    match result {
        None => Ok(py.None()),
        Some(Ok(response)) => Ok(Py::new(py, Response::new(response, convert, arrays))?.into_any()),
        Some(Err(error)) => exception(py, &error).map(Bound::unbind),
    }
}

#[pymethods]
impl Call {
    /// Waits for the next result.
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wait(py, Box::pin(self.result(py)?))
    }

    /// The next result, to be awaited.
    fn next_async(&self, py: Python<'_>) -> PyResult<Await> {
        Ok(Await::new(self.result(py)?))
    }

    /// Ends the call, and returns what becomes of the requests that were not taken yet.
    fn stop<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let mut taken = self.responses.take(py)?;
        let results = listening(py, || taken.reader().stop());
        drop(taken);
        let convert = || self.convert.as_ref().map(|convert| convert.clone_ref(py));
        let list = PyList::empty(py);
        for result in results {
            list.append(result_object(py, Some(result), convert(), self.arrays.clone())?)?;
        }
        Ok(list)
    }

    /// Ends the call at once. Until then a traceback, which keeps its variables, would keep it running.
    fn close(&self, py: Python<'_>) {
        let ended = self.responses.lock().take();
        listening(py, || drop(ended));
    }

    /// The number of documents that were read from the input, and that were sent, so far.
    #[getter]
    fn documents(&self, py: Python<'_>) -> PyResult<(u64, u64)> {
        let mut taken = self.responses.take(py)?;
        Ok((taken.reader().documents_read(), taken.reader().documents_sent()))
    }
}

/// A call of a streaming endpoint.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct DocumentCall(Shared<DocumentStream<Dict>>);

impl DocumentCall {
    pub(crate) fn new(documents: DocumentStream<Dict>) -> DocumentCall {
        DocumentCall(Shared::new(documents))
    }

    /// Returns the future of the next document, or of `None`.
    fn result(
        &self,
        py: Python<'_>,
    ) -> PyResult<impl Future<Output = PyResult<Py<PyAny>>> + Send + use<>> {
        let mut taken = self.0.take(py)?;
        Ok(async move {
            let next = std::future::poll_fn(|cx| {
                let next = std::pin::pin!(taken.reader().next());
                // Only documents v2 are streamed. The document is read within this poll.
                reading(DocArray::V2, Arc::default(), || next.poll(cx))
            });
            let next = next.await;
            Python::attach(|py| match next {
                None => Ok(py.None()),
                Some(Ok(document)) => Ok(document.into_inner()),
                Some(Err(error)) => Err(raised(py, &error)),
            })
        })
    }
}

#[pymethods]
impl DocumentCall {
    fn next(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        wait(py, Box::pin(self.result(py)?))
    }

    fn next_async(&self, py: Python<'_>) -> PyResult<Await> {
        Ok(Await::new(self.result(py)?))
    }
}
