//! A client of one gateway: settings, and the library's client in this process.

use std::process;
use std::sync::{Arc, Mutex, PoisonError};

use clientlet::{Client, ClientBuilder};
use opentelemetry::Context;
use pyo3::exceptions::PyTypeError;
use pyo3::prelude::*;

use crate::aside::Aside;
use crate::bridge::Await;
use crate::call::{Call, DocumentCall};
use crate::columns::Columns;
use crate::error::{made, named, raised};
use crate::feed::{Feeding, Input, Sharing};
use crate::hook::Attempts;
use crate::options::{CallOptions, ClientOptions, Seconds, documents_of_request, read};
use crate::otel;
use crate::questions::{self, Question, ask};
use crate::read::{Arrays, Value};
use crate::telling::{listen, listening};
use crate::wait::wait;

/// A client of one gateway.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Core {
    builder: ClientBuilder,
    /// The address, for a client that is closed.
    gateway: String,
    is_traced: bool,
    /// Whether documents are sent as JSON.
    is_json: bool,
    /// `before_attempt`: what starts the thread that answers [`Attempts`].
    hook: Option<Py<PyAny>>,
    /// The client; `None` once it is closed. The lock is only taken by threads that are attached, so that a
    /// child that was forked never finds it taken.
    client: Mutex<Option<Open>>,
}

/// A client, and the process that it was made in.
struct Open {
    process: u32,
    client: Client,
    /// What the thread of the hook is to answer; `None` without a hook, and once the thread has started.
    attempts: Option<Attempts>,
}

impl Open {
    fn new(py: Python<'_>, builder: ClientBuilder, has_hook: bool) -> PyResult<Open> {
        let (builder, attempts) = match has_hook {
            true => {
                let (builder, attempts) = Attempts::of(builder);
                (builder, Some(attempts))
            }
            false => (builder, None),
        };
        let client = builder.build().map_err(|error| raised(py, &error))?;
        Ok(Open { process: process::id(), client, attempts })
    }
}

impl Core {
    /// Returns the client of this process. A child that was forked shares its parent's connections
    /// and has none of its threads, so it gets a client of its own.
    fn client(&self, py: Python<'_>) -> PyResult<Client> {
        listen(py)?;
        let mut client = self.client.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(open) = &mut *client else {
            return Err(made(py, "closed", &format!("the client of {} is closed", self.gateway)));
        };
        if open.process != process::id() {
            let own = Open::new(py, self.builder.clone(), self.hook.is_some())?;
            // The parent's client is not dropped: it would close the parent's connections.
            std::mem::forget(std::mem::replace(open, own));
        }
        let (client_of_here, attempts) = (open.client.clone(), open.attempts.take());
        // Starting a thread runs code of Python, which may come back here.
        drop(client);
        if let (Some(attempts), Some(hook)) = (attempts, &self.hook) {
            hook.call1(py, (attempts,))?;
        }
        Ok(client_of_here)
    }

    /// The caller's context, if calls have spans.
    fn context(&self, py: Python<'_>) -> PyResult<Option<Context>> {
        self.is_traced.then(|| otel::current(py)).transpose()
    }
}

/// Polls a future in a context, if there is one.
pub(crate) async fn within<T>(context: Option<Context>, future: impl Future<Output = T>) -> T {
    let mut future = std::pin::pin!(future);
    std::future::poll_fn(|cx| {
        let _within = context.as_ref().map(|context| context.clone().attach());
        future.as_mut().poll(cx)
    })
    .await
}

#[pymethods]
impl Core {
    #[new]
    fn new(py: Python<'_>, url: &Bound<'_, PyAny>, options: &Bound<'_, PyAny>) -> PyResult<Core> {
        let url: String = argument("url", url)?;
        listen(py)?;
        let mut options = read::<ClientOptions>(options)?;
        let is_traced = options.is_traced();
        let hook = options.before_attempt.take();
        let builder = options.builder(&url)?;
        let open = listening(py, || Open::new(py, builder.clone(), hook.is_some()))?;
        let gateway = open.client.gateway();
        let encoder = open.client.post("/").encoder().map_err(|error| raised(py, &error))?;
        let is_json = encoder.is_json();
        Ok(Core { builder, gateway, is_traced, is_json, hook, client: Mutex::new(Some(open)) })
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
            Some(open) if open.process != process::id() => std::mem::forget(open),
            closed => drop(closed),
        }
    }

    /// Begins a call. `kind` says what `inputs` is: `none`, `documents`, an iterable, `feed`, which
    /// begins the task that reads an asynchronous input, or `columns`, a dict. With `aside`, other code of Python
    /// can run while large documents are encoded.
    #[pyo3(signature = (endpoint, kind, inputs, options, convert, aside))]
    #[expect(clippy::too_many_arguments, reason = "they are those of the package's `post`")]
    fn post(
        &self,
        py: Python<'_>,
        endpoint: &Bound<'_, PyAny>,
        kind: &str,
        inputs: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
        convert: Option<Py<PyAny>>,
        aside: bool,
    ) -> PyResult<Call> {
        let endpoint: String = argument("on", endpoint)?;
        let options: CallOptions<'_> = read(options)?;
        let arrays = Arc::new(Arrays::new(options.is_for_jina));
        let request_size = documents_of_request(options.request_size);
        let input = match kind {
            "documents" => Input::Iterator(inputs.try_iter()?.unbind(), arrays.clone()),
            "feed" => Input::Feed(Feeding::new(py, inputs, request_size, arrays.clone())?),
            "columns" => Input::Rows(Arc::new(Columns::of(inputs.cast()?, &arrays)?), 0),
            _ => Input::Ended,
        };
        let mut post = options.post(self.client(py)?.post(endpoint));
        if let Some(context) = self.context(py)? {
            post = post.parent_context(context);
        }
        let encoder = match aside && self.is_json {
            true => Some(post.encoder().map_err(|error| raised(py, &error))?),
            false => None,
        };
        let input = Aside::new(Sharing::new(input, request_size), request_size, encoder);
        let responses = listening(py, || post.try_document_stream(input).try_stream());
        Ok(Call::new(responses.map_err(|error| raised(py, &error))?, convert, arrays))
    }

    /// Begins a call of a streaming endpoint.
    fn stream_doc(
        &self,
        py: Python<'_>,
        endpoint: &Bound<'_, PyAny>,
        document: &Bound<'_, PyAny>,
        options: &Bound<'_, PyAny>,
    ) -> PyResult<DocumentCall> {
        let endpoint: String = argument("on", endpoint)?;
        let options: CallOptions<'_> = read(options)?;
        let call = self.client(py)?.stream_document(endpoint, &Value::new(document));
        let mut call = options.stream_document(call)?;
        if let Some(context) = self.context(py)? {
            call = call.parent_context(context);
        }
        let documents = listening(py, || call.try_stream());
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
        let asked = ask(self.client(py)?, parse(question, argument)?);
        wait(py, Box::pin(within(self.context(py)?, asked)))
    }

    /// The answer to a question, to be awaited.
    #[pyo3(signature = (question, argument = None))]
    fn ask_async(
        &self,
        py: Python<'_>,
        question: &str,
        argument: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Await> {
        let asked = ask(self.client(py)?, parse(question, argument)?);
        Ok(Await::new(within(self.context(py)?, asked)))
    }

    /// The numbers of this client, counted from its beginning in this process.
    fn statistics<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        questions::statistics(py, &self.client(py)?.statistics())
    }
}

/// Reads an argument.
///
/// # Errors
/// `TypeError` or `ValueError` that names it.
fn argument<T>(name: &str, object: &Bound<'_, PyAny>) -> PyResult<T>
where
    T: for<'a, 'py> FromPyObject<'a, 'py, Error = PyErr>,
{
    object.extract().map_err(|error| named(object.py(), name, error))
}

/// Reads the package's name of a question.
fn parse(question: &str, given: Option<&Bound<'_, PyAny>>) -> PyResult<Question> {
    let given = |name: &str| {
        let missing = || PyTypeError::new_err(format!("{name}: a value is expected, not None"));
        given.ok_or_else(missing)
    };
    Ok(match question {
        "wait_ready" => {
            Question::WaitReady(argument::<Seconds>("timeout", given("timeout")?)?.duration())
        }
        "status" => Question::Status,
        "endpoints" => Question::Endpoints,
        "health" => Question::Health(argument("service", given("service")?)?),
        _ => Question::Ready,
    })
}
