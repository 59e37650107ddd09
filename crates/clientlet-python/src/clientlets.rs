//! The library's clientlets for `clientlet.helper`: bytes out, bytes in.

use std::fmt::Write;
use std::pin::pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use bytes::Bytes;
use clientlet::clientlets::{
    ClientletOptions, DataRequest, HttpClientlet, WebsocketClientlet, WebsocketSender,
};
use clientlet::{DocArray, Error, StatusMessage};
use opentelemetry::Context as Parent;
use pyo3::exceptions::PyRuntimeError;
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyList};

use crate::answers::{self, Response};
use crate::bridge::Await;
use crate::client::within;
use crate::driver::{LoopDriver, Place};
use crate::error::{made, raised};
use crate::options::{ClientOptions, Seconds, read};
use crate::otel;
use crate::read::Value;
use crate::telling::{generation, listen, listening};

/// The gateways that one session keeps connections for. The one that was not used for the longest time
/// goes when there are more.
const MOST_GATEWAYS: usize = 64;

/// Settings, and whether calls have spans.
struct Settings {
    options: ClientletOptions,
    is_traced: bool,
}

impl Settings {
    fn read(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Settings> {
        listen(py)?;
        let options = read::<ClientOptions>(options)?;
        let is_traced = options.is_traced();
        Ok(Settings { options: options.clientlet()?, is_traced })
    }

    /// The caller's context, if calls have spans.
    fn parent(&self, py: Python<'_>) -> PyResult<Option<Parent>> {
        self.is_traced.then(|| otel::current(py)).transpose()
    }
}

/// A session over HTTP with any number of gateways.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct HttpSession {
    settings: Settings,
    open: Mutex<Option<Open>>,
}

/// The clientlets of a session by their gateways, and the process that they were made in. The last was
/// used most recently.
struct Open {
    generation: usize,
    clientlets: Vec<Known>,
}

/// The clientlet for a gateway, whose connections an event loop drives.
struct Known {
    gateway: String,
    driver: Arc<LoopDriver>,
    clientlet: Arc<HttpClientlet>,
}

impl Open {
    fn new() -> Open {
        Open { generation: generation(), clientlets: Vec::new() }
    }
}

impl HttpSession {
    fn open(&self) -> MutexGuard<'_, Option<Open>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Returns the running event loop, which mostly is that of the message before.
    fn place(&self, py: Python<'_>) -> PyResult<Place> {
        let last = |open: &Open| open.clientlets.last().map(|known| known.driver.clone());
        let last = self.open().as_ref().and_then(last);
        match last {
            Some(driver) => LoopDriver::place(&driver, py),
            None => Place::here(py),
        }
    }

    /// Returns the clientlet for a gateway.
    fn clientlet(
        &self,
        py: Python<'_>,
        gateway: &str,
        driver: &Arc<LoopDriver>,
    ) -> PyResult<Arc<HttpClientlet>> {
        let mut open = self.open();
        let Some(session) = &mut *open else {
            return Err(made(
                py,
                "closed",
                "the clientlet is closed; await its start() to open it again",
            ));
        };
        if session.generation != generation() {
            // A child that was forked shares its parent's connections and has none of its threads.
            std::mem::forget(std::mem::replace(session, Open::new()));
        }
        let known = &mut session.clientlets;
        let is_it = |known: &Known| Arc::ptr_eq(&known.driver, driver) && known.gateway == gateway;
        if let Some(at) = known.iter().rposition(is_it) {
            if at + 1 < known.len() {
                known[at..].rotate_left(1);
            }
        } else {
            known.retain(|known| !known.driver.is_over());
            if known.len() >= MOST_GATEWAYS {
                known.remove(0);
            }
            let options = LoopDriver::drive(driver, &self.settings.options);
            let made = listening(py, || started(gateway, &options));
            let clientlet = Arc::new(made.map_err(|error| raised(py, &error))?);
            let (gateway, driver) = (gateway.to_owned(), driver.clone());
            known.push(Known { gateway, driver, clientlet });
        }
        Ok(known.last().expect("it was moved or pushed there").clientlet.clone())
    }
}

/// Makes a clientlet and opens it, which makes no connection yet.
fn started(gateway: &str, options: &ClientletOptions) -> Result<HttpClientlet, Error> {
    let mut clientlet = HttpClientlet::new(gateway, options)?;
    if let Poll::Ready(opened) =
        pin!(clientlet.start()).poll(&mut Context::from_waker(Waker::noop()))
    {
        opened?;
    }
    Ok(clientlet)
}

/// Splits a URL into the gateway's part, and the path with the query.
fn split(url: &str) -> (&str, &str) {
    let authority = url.find("://").map_or(0, |at| at + "://".len());
    let path = url[authority..].find(['/', '?', '#']).map_or(url.len(), |at| authority + at);
    let end = url[path..].find('#').map_or(url.len(), |at| path + at);
    (&url[..path], &url[path..end])
}

/// A path and query as they are sent: what cannot be in a URL is percent-encoded.
fn quoted(path: &str) -> String {
    let mut out = String::with_capacity(path.len() + 1);
    if !path.starts_with('/') {
        out.push('/');
    }
    for byte in path.bytes() {
        match byte {
            b'!'..=b'~' if !b"\"<>\\^`{|}".contains(&byte) => out.push(char::from(byte)),
            _ => {
                let _ = write!(out, "%{byte:02X}");
            }
        }
    }
    out
}

#[pymethods]
impl HttpSession {
    #[new]
    fn new(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<HttpSession> {
        let settings = Settings::read(py, options)?;
        Ok(HttpSession { settings, open: Mutex::new(Some(Open::new())) })
    }

    /// Checks that a URL and the settings go together, before anything is sent.
    fn check(&self, py: Python<'_>, url: &str) -> PyResult<()> {
        let place = Place::here(py)?;
        self.clientlet(py, split(url).0, &place.driver).map(drop)
    }

    /// Posts a body, or asks with GET without one. Gives an [`HttpAnswer`].
    #[pyo3(signature = (url, body, documents, is_v2, headers, timeout, retry_statuses))]
    #[expect(clippy::too_many_arguments, reason = "the package names them where it calls")]
    fn send(
        &self,
        py: Python<'_>,
        url: &str,
        body: Option<&[u8]>,
        documents: usize,
        is_v2: bool,
        headers: Vec<(String, String)>,
        timeout: Option<Seconds>,
        retry_statuses: bool,
    ) -> PyResult<Await> {
        let (gateway, path) = split(url);
        let path = quoted(path);
        let place = self.place(py)?;
        let clientlet = self.clientlet(py, gateway, &place.driver)?;
        let docarray = if is_v2 { DocArray::V2 } else { DocArray::V1 };
        let body = body.map(Bytes::copy_from_slice);
        let request = body.map(|body| DataRequest::from_json(docarray, documents, body));
        let sent = async move {
            let exchange = match &request {
                Some(request) => clientlet.message(request),
                None => clientlet.dry_run(),
            };
            let mut exchange = exchange.path(path).retry_statuses(retry_statuses);
            for (name, value) in headers {
                exchange = exchange.header(name, value);
            }
            if let Some(timeout) = timeout {
                exchange = exchange.timeout(timeout.limit());
            }
            let answer = exchange.send().await;
            Python::attach(|py| match answer {
                Ok(answer) => Ok(Py::new(py, HttpAnswer(answer))?.into_any()),
                Err(error) => Err(raised(py, &error)),
            })
        };
        Ok(Await::driven(place, within(self.settings.parent(py)?, sent)))
    }

    /// Closes the connections once the messages that are under way have ended.
    fn close(&self) {
        let open = self.open().take();
        match open {
            Some(open) if open.generation != generation() => std::mem::forget(open),
            open => drop(open),
        }
    }

    /// Whether the session is closed.
    #[getter]
    fn closed(&self) -> bool {
        self.open().is_none()
    }
}

/// An answer over HTTP, as it came.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct HttpAnswer(clientlet::clientlets::HttpAnswer);

#[pymethods]
impl HttpAnswer {
    #[getter]
    fn status(&self) -> u16 {
        self.0.status().as_u16()
    }

    #[getter]
    fn reason(&self) -> &str {
        self.0.status().canonical_reason().unwrap_or_default()
    }

    /// The headers as pairs, their names in lower case.
    #[getter]
    fn headers<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let pairs =
            self.0.headers().iter().map(|(name, value)| (name.as_str(), text(value.as_bytes())));
        PyList::new(py, pairs.collect::<Vec<_>>())
    }

    #[getter]
    fn content_type(&self) -> Option<String> {
        let value = self.0.headers().get(http::header::CONTENT_TYPE)?;
        Some(String::from_utf8_lossy(value.as_bytes()).into_owned())
    }

    /// The body as text, if the answer says that it is JSON and it is valid UTF-8, as most answers are.
    #[getter]
    fn json_text(&self) -> Option<&str> {
        let value = self.0.headers().get(http::header::CONTENT_TYPE)?;
        let body =
            Some(self.0.body()).filter(|body| !body.is_empty() && value == "application/json")?;
        std::str::from_utf8(body).ok()
    }

    #[getter]
    fn body<'py>(&self, py: Python<'py>) -> Bound<'py, PyBytes> {
        PyBytes::new(py, self.0.body())
    }
}

/// A message of a WebSocket; `None` at its end.
fn received(py: Python<'_>, message: Option<Result<Bytes, Error>>) -> PyResult<Py<PyAny>> {
    match message {
        None => Ok(py.None()),
        Some(Ok(message)) => Ok(PyBytes::new(py, &message).into_any().unbind()),
        Some(Err(error)) => Err(raised(py, &error)),
    }
}

/// A WebSocket of the package's.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct WebSocket {
    settings: Settings,
    /// The event loop in which it was made, which drives its connections.
    driver: Arc<LoopDriver>,
    /// `None` while a task starts it or receives.
    clientlet: Shared,
    sender: Arc<Mutex<WebsocketSender>>,
}

type Shared = Arc<Mutex<Option<WebsocketClientlet>>>;

/// The clientlet, until this is dropped.
struct Taken(Option<WebsocketClientlet>, Shared);

impl Taken {
    fn clientlet(&mut self) -> &mut WebsocketClientlet {
        self.0.as_mut().expect("only `drop` gives it back")
    }
}

impl Drop for Taken {
    fn drop(&mut self) {
        *lock(&self.1) = self.0.take();
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl WebSocket {
    /// Takes the clientlet, in its place. Nothing else may receive or start it meanwhile.
    fn take(&self, py: Python<'_>) -> PyResult<(Taken, Place)> {
        let place = self.place(py)?;
        match lock(&self.clientlet).take() {
            Some(clientlet) => Ok((Taken(Some(clientlet), self.clientlet.clone()), place)),
            None => Err(PyRuntimeError::new_err(
                "another task receives from this WebSocket already; there is one receiver at a time",
            )),
        }
    }

    fn sender(&self) -> WebsocketSender {
        lock(&self.sender).clone()
    }

    /// The running event loop. Refuses to be used elsewhere than where it was opened.
    fn place(&self, py: Python<'_>) -> PyResult<Place> {
        if !self.driver.is_of_this_process() {
            let what = "the WebSocket was opened in the parent process; start another one here";
            return Err(made(py, "closed", what));
        }
        let here = LoopDriver::place(&self.driver, py)?;
        if !Arc::ptr_eq(&self.driver, &here.driver) {
            let what = "the WebSocket was opened in another event loop; start another one here";
            return Err(PyRuntimeError::new_err(what));
        }
        Ok(here)
    }

    fn awaited<F>(&self, py: Python<'_>, place: Place, future: F) -> PyResult<Await>
    where
        F: Future<Output = Result<(), Error>> + Send + 'static,
    {
        let sent = async move {
            let result = future.await;
            Python::attach(|py| match result {
                Ok(()) => Ok(py.None()),
                Err(error) => Err(raised(py, &error)),
            })
        };
        Ok(Await::driven(place, within(self.settings.parent(py)?, sent)))
    }
}

#[pymethods]
impl WebSocket {
    #[new]
    fn new(py: Python<'_>, url: &str, options: &Bound<'_, PyAny>) -> PyResult<WebSocket> {
        let (settings, Place { driver, .. }) = (Settings::read(py, options)?, Place::here(py)?);
        let options = LoopDriver::drive(&driver, &settings.options);
        let made = listening(py, || WebsocketClientlet::new(url, &options));
        let clientlet = made.map_err(|error| raised(py, &error))?;
        let sender = Arc::new(Mutex::new(clientlet.sender()));
        let clientlet = Arc::new(Mutex::new(Some(clientlet)));
        Ok(WebSocket { settings, driver, clientlet, sender })
    }

    /// Connects, unless there is a connection; with `retrying` as often as the settings say.
    fn start(&self, py: Python<'_>, retrying: bool) -> PyResult<Await> {
        let ((mut taken, place), sender) = (self.take(py)?, self.sender.clone());
        self.awaited(py, place, async move {
            let clientlet = taken.clientlet();
            match retrying {
                true => clientlet.start_retrying().await?,
                false => clientlet.start().await?,
            }
            *lock(&sender) = clientlet.sender();
            Ok(())
        })
    }

    /// Sends a request in protobuf.
    fn send(&self, py: Python<'_>, message: &[u8]) -> PyResult<Py<PyAny>> {
        let (place, sender) = (self.place(py)?, self.sender());
        // The answers are not read here, so the generation does not matter.
        let message = Bytes::copy_from_slice(message);
        let request = DataRequest::from_proto(DocArray::V1, 0, message);
        self.awaited(py, place, async move { sender.send_message(&request).await })?
            .now_or_later(py)
    }

    /// Sends the empty message that asks for a dry run.
    fn send_dry_run(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (place, sender) = (self.place(py)?, self.sender());
        self.awaited(py, place, async move { sender.send_dry_run().await })?.now_or_later(py)
    }

    /// Announces the end of input.
    fn send_eoi(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (place, sender) = (self.place(py)?, self.sender());
        self.awaited(py, place, async move { sender.send_eoi().await })?.now_or_later(py)
    }

    /// The next message as bytes, or to be awaited; `None` when the connection has ended.
    fn receive(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        let (mut taken, place) = self.take(py)?;
        // Several messages often come together, and then only the first has to be waited for.
        let mut messages = taken.clientlet().recv_bytes();
        let here =
            listening(py, || pin!(messages.next()).poll(&mut Context::from_waker(Waker::noop())));
        if let Poll::Ready(message) = here {
            return received(py, message);
        }
        let receiving = Await::driven(place, async move {
            let message = taken.clientlet().recv_bytes().next().await;
            drop(taken);
            Python::attach(|py| received(py, message))
        });
        Ok(Py::new(py, receiving)?.into_any())
    }

    /// Closes the connection.
    fn close(&self, py: Python<'_>) -> PyResult<Await> {
        let (place, sender) = (self.place(py)?, self.sender());
        self.awaited(py, place, async move {
            sender.close().await;
            Ok(())
        })
    }

    /// Whether there is a connection, or a message that was not taken.
    #[getter]
    fn is_open(&self) -> bool {
        self.driver.is_of_this_process() && lock(&self.sender).is_open()
    }

    #[getter]
    fn close_code(&self) -> Option<u16> {
        lock(&self.sender).close_code()
    }

    #[getter]
    fn close_message(&self) -> Option<String> {
        lock(&self.sender).close_message()
    }
}

/// Reads the answer to a request from protobuf. An answer that reports a failure is an answer as well.
#[pyfunction]
pub(crate) fn answer_of(py: Python<'_>, message: &[u8], is_v2: bool) -> PyResult<Response> {
    let docarray = if is_v2 { DocArray::V2 } else { DocArray::V1 };
    let read = clientlet::Response::from_proto(docarray, &Bytes::copy_from_slice(message));
    let response = read.or_else(|error| match error.response() {
        Some(response) => Ok(response.clone()),
        None => Err(raised(py, &error)),
    });
    Ok(Response::new(response?, None, Arc::default()))
}

/// Reads the answer to a dry run from protobuf.
#[pyfunction]
pub(crate) fn status_of<'py>(py: Python<'py>, message: &[u8]) -> PyResult<Bound<'py, PyAny>> {
    let status = StatusMessage::from_proto(message).map_err(|error| raised(py, &error))?;
    answers::status(py, &status)
}

/// Makes a request's body in JSON of its protobuf. Returns the number of its documents, too.
///
/// # Errors
/// What cannot be read or written.
#[pyfunction]
pub(crate) fn json_of_proto<'py>(
    py: Python<'py>,
    message: &[u8],
    is_v2: bool,
) -> PyResult<(Bound<'py, PyBytes>, usize)> {
    let docarray = if is_v2 { DocArray::V2 } else { DocArray::V1 };
    let request = DataRequest::json_of_proto(docarray, &Bytes::copy_from_slice(message));
    let request = request.map_err(|error| raised(py, &error))?;
    Ok((PyBytes::new(py, &request.to_bytes()), request.count()))
}

/// Writes a request as protobuf.
#[pyfunction]
pub(crate) fn request_of<'py>(
    py: Python<'py>,
    is_v2: bool,
    endpoint: String,
    request_id: Option<String>,
    target_executor: Option<String>,
    parameters: Option<&Bound<'py, PyAny>>,
    documents: &Bound<'py, PyList>,
) -> PyResult<Bound<'py, PyBytes>> {
    let docarray = if is_v2 { DocArray::V2 } else { DocArray::V1 };
    let mut request = DataRequest::proto(docarray, endpoint);
    if let Some(id) = request_id {
        request = request.with_request_id(id);
    }
    if let Some(pattern) = target_executor {
        request = request.target_executor(pattern);
    }
    let failed = |error: Error| raised(py, &error);
    if let Some(parameters) = parameters {
        request = request.parameters(&Value::new(parameters)).map_err(failed)?;
    }
    let documents: Vec<_> = documents.iter().collect();
    let request = request.documents(documents.iter().map(Value::new)).map_err(failed)?;
    Ok(PyBytes::new(py, &request.to_bytes()))
}
