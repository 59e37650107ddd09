//! A client of one gateway: settings, and the library's client in this process.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use clientlet::{Client, ClientBuilder};
use pyo3::prelude::*;

use crate::bridge::Await;
use crate::call::{Call, DocumentCall};
use crate::columns::Columns;
use crate::error::{made, raised};
use crate::feed::{Feeding, Input};
use crate::options::{CallOptions, ClientOptions, Seconds, documents_of_request, read};
use crate::questions::{self, Question, ask};
use crate::read::{Arrays, Value};
use crate::wait::wait;

/// A client of one gateway.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Core {
    builder: ClientBuilder,
    /// The address, for a client that is closed.
    gateway: String,
    /// The client, with the process that it was made in; `None` once it is closed. The lock is only taken by threads that are
    /// attached, so that a child that was forked never finds it taken.
    client: Mutex<Option<(u32, Client)>>,
}

impl Core {
    /// Returns the client of this process. A child that was forked shares its parent's connections
    /// and has none of its threads, so it gets a client of its own.
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let here = process::id();
        match &*client {
            None => Err(made(py, "closed", &format!("the client of {} is closed", self.gateway))),
            Some((process, client)) if *process == here => Ok(client.clone()),
            Some(_) => {
                let own = self.builder.clone().build().map_err(|error| raised(py, &error))?;
                // The parent's client is not dropped: it would close the parent's connections.
                std::mem::forget(client.replace((here, own.clone())));
                Ok(own)
            }
        }
    }
}

#[pymethods]
impl Core {
    #[new]
    fn new(py: Python<'_>, url: &str, options: &Bound<'_, PyAny>) -> PyResult<Core> {
        let builder = read::<ClientOptions>(options)?.builder(url)?;
        let client = builder.clone().build().map_err(|error| raised(py, &error))?;
        let gateway = client.gateway();
        Ok(Core { builder, gateway, client: Mutex::new(Some((process::id(), client))) })
    }

    /// The gateway's address, without user information.
    #[getter]
    fn gateway(&self) -> &str {
        &self.gateway
    }

    /// Closes the client; calls that are under way go on to their end.
    fn close(&self) {
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        match client.take() {
            Some((process, inherited)) if process != process::id() => std::mem::forget(inherited),
            closed => drop(closed),
        }
    }

    /// Begins a call. `kind` says what `inputs` is: `none`, `documents`, an iterable, `feed`, which
    /// begins the task that reads an asynchronous input, or `columns`, a dict.
    #[pyo3(signature = (endpoint, kind, inputs, options, convert))]
    fn post(
        &self,
        py: Python<'_>,
        endpoint: String,
        kind: &str,
        inputs: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        convert: Option<Py<PyAny>>,
    ) -> PyResult<Call> {
        let options: CallOptions<'_> = read(options)?;
        let arrays = Arc::<Arrays>::default();
        let input = match kind {
            "documents" => Input::Iterator(inputs.try_iter()?.unbind(), arrays.clone()),
            "feed" => {
                let request_size = documents_of_request(options.request_size);
                Input::Feed(Feeding::new(py, inputs, request_size, arrays.clone())?)
            }
            "columns" => Input::Rows(Arc::new(Columns::of(inputs.cast()?, &arrays)?), 0),
            _ => Input::Ended,
        };
        let post = options.post(self.client(py)?.post(endpoint));
        let responses = post.try_document_stream(input).try_stream();
        Ok(Call::new(responses.map_err(|error| raised(py, &error))?, convert, arrays))
    }

    /// Begins a call of a streaming endpoint.
    fn stream_doc(
        &self,
        py: Python<'_>,
        endpoint: String,
        document: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<DocumentCall> {
        let options: CallOptions<'_> = read(options)?;
        let call = self.client(py)?.stream_document(endpoint, &Value::new(document));
        let documents = options.stream_document(call)?.try_stream();
        Ok(DocumentCall::new(documents.map_err(|error| raised(py, &error))?))
    }

    /// Asks the gateway a question and waits for the answer.
    #[pyo3(signature = (question, argument = None))]
    fn ask(
        &self,
        py: Python<'_>,
        question: &str,
        argument: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        wait(py, Box::pin(ask(self.client(py)?, parse(question, argument)?)))
    }

    /// The answer to a question, to be awaited.
    #[pyo3(signature = (question, argument = None))]
    fn ask_async(
        &self,
        py: Python<'_>,
        question: &str,
        argument: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Await> {
        Ok(Await::new(ask(self.client(py)?, parse(question, argument)?)))
    }

    /// The numbers of this client, counted from its beginning in this process.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        questions::statistics(py, &self.client(py)?.statistics())
    }
}

/// Reads the package's name of a question.
fn parse(question: &str, argument: Option<&Bound<'_, PyAny>>) -> PyResult<Question> {
    let missing = || pyo3::exceptions::PyTypeError::new_err("an argument is missing");
    let argument = || argument.ok_or_else(missing);
    Ok(match question {
        "wait_ready" => Question::WaitReady(argument()?.extract::<Seconds>()?.duration()),
        "status" => Question::Status,
        "endpoints" => Question::Endpoints,
        "health" => Question::Health(argument()?.extract()?),
        _ => Question::Ready,
    })
}
