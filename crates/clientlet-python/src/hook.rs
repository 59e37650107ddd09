//! The caller's function that is asked for headers before each attempt.
//!
//! The library asks on the runtime's threads, which never attach to the interpreter. So a thread of Python
//! takes the questions one after the other, runs the function and hands back the headers.

use std::error::Error;
use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};

use clientlet::{ClientBuilder, NextAttempt};
use http::{HeaderMap, HeaderName, HeaderValue};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyTuple};
use tokio::sync::{mpsc, oneshot};

use crate::gateway::headers;
use crate::queue::Queue;

/// An attempt that waits for its headers.
struct Waiting {
    attempt: NextAttempt,
    reply: oneshot::Sender<Result<HeaderMap, Raised>>,
}

/// An exception of the caller's function, with its text: tasks of the runtime show it, and must not attach
/// to the interpreter.
pub(crate) struct Raised {
    text: String,
    pub(crate) exception: PyErr,
}

impl fmt::Display for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Raised {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl Error for Raised {}

/// The attempts of one client in one process that are to get headers.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Attempts(Queue<Waiting>);

impl Attempts {
    /// Has the client that `builder` makes ask for headers.
    pub(crate) fn of(builder: ClientBuilder) -> (ClientBuilder, Attempts) {
        let (asked, queue) = Queue::new();
        let builder = builder.before_attempt(move |attempt| ask(&asked, attempt));
        (builder, Attempts(queue))
    }
}

fn ask(
    asked: &mpsc::UnboundedSender<Waiting>,
    attempt: NextAttempt,
) -> impl Future<Output = Result<HeaderMap, Box<dyn Error + Send + Sync>>> + Send + use<> {
    let (reply, replied) = oneshot::channel();
    // If nothing receives it, the reply's sender is dropped.
    let _ = asked.send(Waiting { attempt, reply });
    async move { Ok(replied.await.map_err(|_| "the thread that runs it has ended")??) }
}

#[pymethods]
impl Attempts {
    /// Waits for the next attempt; `None` once the client is gone.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Asked>> {
        loop {
            match self.0.next(py)? {
                // The attempt timed out, or its call was given up, while it waited.
                Some(waiting) if waiting.reply.is_closed() => {}
                next => return Ok(next.map(|waiting| Asked(Mutex::new(Some(waiting))))),
            }
        }
    }
}

/// An attempt that is to get headers.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Asked(Mutex<Option<Waiting>>);

impl Asked {
    fn waiting(&self) -> MutexGuard<'_, Option<Waiting>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn answer(&self, headers: Result<HeaderMap, Raised>) {
        let waiting = self.waiting().take();
        if let Some(waiting) = waiting {
            // Nothing receives it if the attempt was given up meanwhile.
            let _ = waiting.reply.send(headers);
        }
    }
}

#[pymethods]
impl Asked {
    /// The parts of the attempt, in the order of the package's class.
    #[getter]
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let waiting = self.waiting();
        let Some(Waiting { attempt, .. }) = &*waiting else {
            return Err(PyValueError::new_err("it was answered already"));
        };
        let (method, url) = (attempt.method.as_str(), attempt.uri.to_string());
        let (headers, body) = (headers(py, &attempt.headers)?, PyBytes::new(py, &attempt.body));
        (method, url, headers, body, attempt.was_refused).into_pyobject(py)
    }

    /// Hands over the headers.
    ///
    /// # Errors
    /// `ValueError` that names the header that cannot be sent.
    fn reply(&self, pairs: Vec<(String, String)>) -> PyResult<()> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            let wrong =
                |what| PyValueError::new_err(format!("the header {name:?} has a wrong {what}"));
            let value = HeaderValue::try_from(value).map_err(|_| wrong("value"))?;
            headers.append(HeaderName::try_from(&name).map_err(|_| wrong("name"))?, value);
        }
        self.answer(Ok(headers));
        Ok(())
    }

    /// Fails the attempt.
    fn fail(&self, exception: Bound<'_, PyAny>) {
        let exception = PyErr::from_value(exception);
        self.answer(Err(Raised { text: exception.to_string(), exception }));
    }
}
