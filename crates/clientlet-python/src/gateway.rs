//! The embedded gateway, for tests in Python.

use std::sync::{Arc, Mutex, PoisonError};

use clientlet_gateway::{Exception, GatewayBuilder, Reply, Request, Tls, TlsError};
use pyo3::exceptions::PyValueError;
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList, PyTuple};
use tokio::sync::{mpsc, oneshot};

use crate::answers::record;
use crate::options::read;
use crate::queue::Queue;
use crate::read::Document;
use crate::wait::wait;
use crate::write::Object;

/// A request for a handler, and where its reply goes.
struct Waiting {
    number: usize,
    request: Request,
    reply: oneshot::Sender<Reply>,
}

/// The requests that handlers in Python are to answer. Only threads of Python run the handlers.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Calls(Queue<Waiting>);

#[pymethods]
impl Calls {
    /// Waits for the next request; `None` once the gateway has stopped.
    fn next(&self, py: Python<'_>) -> PyResult<Option<Handling>> {
        Ok(self.0.next(py)?.map(|waiting| Handling(Mutex::new(Some(waiting)))))
    }
}

/// A request that a handler answers.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Handling(Mutex<Option<Waiting>>);

impl Handling {
    fn answer(&self, reply: Reply) {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(waiting) = waiting {
            // Nothing receives it if the client has gone.
            let _ = waiting.reply.send(reply);
        }
    }
}

#[pymethods]
impl Handling {
    /// The number of the handler, and what it is given: documents, parameters, headers, endpoint.
    #[getter]
    fn parts<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyTuple>> {
        let waiting = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(Waiting { number, request, .. }) = &*waiting else {
            return Err(PyValueError::new_err("it was answered already"));
        };
        let unreadable = |error| PyValueError::new_err(format!("{error}"));
        let documents = PyList::new(py, request.documents::<Object>().map_err(unreadable)?)?;
        let parameters: Object = request.parameters().map_err(unreadable)?;
        let headers = headers(py, request.headers())?;
        (*number, documents, parameters.into_inner(), headers, request.endpoint()).into_pyobject(py)
    }

    /// Answers with documents; `None` gives the request's documents back.
    #[pyo3(signature = (documents = None))]
    fn reply(&self, documents: Option<&Bound<'_, PyAny>>) -> PyResult<()> {
        let reply = match documents {
            None => Reply::unchanged(),
            Some(documents) => {
                let documents = documents.try_iter()?.map(|document| {
                    document.map(|document| Document::Object(document.unbind(), Arc::default()))
                });
                Reply::documents(documents.collect::<PyResult<Vec<_>>>()?)
            }
        };
        self.answer(reply);
        Ok(())
    }

    /// Answers with an executor's exception.
    fn raise_exception(&self, name: String, arguments: Vec<String>) {
        self.answer(Reply::exception(Exception::new(name, arguments)));
    }
}

/// The settings of a gateway.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct Options {
    faults: Vec<String>,
    /// The endpoints that handlers answer, in the order of their numbers.
    endpoints: Vec<String>,
    #[pyo3(default)]
    docarray: Option<String>,
    #[pyo3(default)]
    seed: Option<u64>,
    #[pyo3(default)]
    authorization: Option<String>,
    #[pyo3(default)]
    journal: Option<bool>,
    /// What TLS is spoken with, and whether clients need a certificate of its CA.
    #[pyo3(default)]
    tls: bool,
    #[pyo3(default)]
    client_certificates: bool,
}

/// Reads settings that hold nothing but what is always there, which makes the names of all.
pub(crate) fn read_smallest(py: Python<'_>) -> PyResult<()> {
    let settings = PyDict::new(py);
    for always in ["faults", "endpoints"] {
        settings.set_item(always, PyList::empty(py))?;
    }
    settings.extract::<Options>().map(drop)
}

impl Options {
    /// Returns what TLS is spoken with; `None` without TLS.
    fn tls(&self) -> PyResult<Option<Tls>> {
        let unusable = |error: TlsError| PyValueError::new_err(error.to_string());
        if !self.tls && !self.client_certificates {
            return Ok(None);
        }
        let tls = Tls::self_signed();
        Ok(Some(match self.client_certificates {
            true => {
                let authority = tls.ca_pem().to_owned();
                tls.require_client_certificate(authority).map_err(unusable)?
            }
            false => tls,
        }))
    }

    fn builder(self, requests: &mpsc::UnboundedSender<Waiting>) -> PyResult<GatewayBuilder> {
        let mut builder = clientlet_gateway::Gateway::builder().websocket(true).grpc(true);
        if let Some(generation) = self.docarray {
            let generation = generation
                .parse()
                .map_err(|error| PyValueError::new_err(format!("docarray: {error}")))?;
            builder = builder.docarray(generation);
        }
        for fault in self.faults {
            let fault = fault
                .parse()
                .map_err(|error| PyValueError::new_err(format!("fault {fault:?}: {error}")))?;
            builder = builder.fault(fault);
        }
        if let Some(seed) = self.seed {
            builder = builder.seed(seed);
        }
        if let Some(value) = self.authorization {
            builder = builder.require_authorization(value);
        }
        if let Some(keep) = self.journal {
            builder = builder.journal(keep);
        }
        for (number, path) in self.endpoints.into_iter().enumerate() {
            let requests = requests.clone();
            builder = builder.on(path, move |request: Request| {
                let (reply, replied) = oneshot::channel();
                // Nothing receives it once the gateway has stopped.
                let _ = requests.send(Waiting { number, request, reply });
                async move { replied.await.unwrap_or_else(|_| Reply::status(500)) }
            });
        }
        Ok(builder)
    }
}

/// A gateway that runs in this process, on free ports of 127.0.0.1.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Gateway {
    gateway: Mutex<Option<clientlet_gateway::Gateway>>,
    calls: Queue<Waiting>,
    tls: Option<Tls>,
}

impl Gateway {
    /// Runs `ask` with the gateway.
    ///
    /// # Errors
    /// `ValueError` once it has stopped.
    fn with<T>(&self, ask: impl FnOnce(&clientlet_gateway::Gateway) -> T) -> PyResult<T> {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        match &*gateway {
            Some(gateway) => Ok(ask(gateway)),
            None => Err(PyValueError::new_err("the gateway has stopped")),
        }
    }
}

#[pymethods]
impl Gateway {
    #[new]
    fn new(py: Python<'_>, options: &Bound<'_, PyAny>) -> PyResult<Gateway> {
        let options: Options = read(options)?;
        let (requests, calls) = Queue::new();
        let tls = options.tls()?;
        let builder = options.builder(&requests)?;
        let builder = match &tls {
            Some(tls) => builder.tls(tls.clone()),
            None => builder,
        };
        let gateway = wait(py, Box::pin(async move { Ok(builder.start().await?) }))?;
        Ok(Gateway { gateway: Mutex::new(Some(gateway)), calls, tls })
    }

    /// The requests for handlers.
    #[getter]
    fn calls(&self) -> Calls {
        Calls(self.calls.clone())
    }

    /// The URLs for HTTP, WebSocket and gRPC.
    #[getter]
    fn urls(&self) -> PyResult<(String, String, String)> {
        self.with(|gateway| (gateway.http_url(), gateway.websocket_url(), gateway.grpc_url()))
    }

    /// The certificate of the CA that clients are to trust, in PEM; `None` without TLS.
    #[getter]
    fn ca(&self) -> Option<&str> {
        self.tls.as_ref().map(Tls::ca_pem)
    }

    /// Makes a certificate of the CA for a client; returns it with its key, both in PEM.
    ///
    /// # Errors
    /// `ValueError` without TLS.
    fn client_certificate(&self, name: &str) -> PyResult<(String, String)> {
        let Some(tls) = &self.tls else {
            return Err(PyValueError::new_err("the gateway speaks no TLS"));
        };
        let identity = tls.client_identity(name);
        Ok((identity.certificate, identity.key))
    }

    /// What arrived.
    #[getter]
    fn journal<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let entries = self.with(|gateway| gateway.journal().entries())?;
        let list = PyList::empty(py);
        for entry in entries {
            let documents = match entry.documents::<Object>() {
                Ok(documents) => Some(PyList::new(py, documents)?),
                Err(_) => None,
            };
            let parameters = entry.parameters::<Object>().ok().map(Object::into_inner);
            let headers = headers(py, &entry.headers)?;
            let (count, ids) = (entry.document_count, entry.document_ids);
            list.append(record(py, "Arrival")?.call1((
                entry.method,
                entry.endpoint,
                entry.request_id,
                count,
                ids,
                documents,
                parameters,
                headers,
                entry.answered,
            ))?)?;
        }
        Ok(list)
    }

    /// Turns the executor off or on.
    fn executor_down(&self, down: bool) -> PyResult<()> {
        self.with(|gateway| gateway.control().executor_down(down))
    }

    /// Makes the executor too slow, or as fast as before.
    fn executor_slow(&self, slow: bool) -> PyResult<()> {
        self.with(|gateway| gateway.control().executor_slow(slow))
    }

    /// Stops the gateway at once. Returns what handlers did wrong.
    fn stop(&self) -> Vec<String> {
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner).take();
        // Its handlers go with it, so that the loop that answers for them ends as well.
        let mistakes = gateway.map(|gateway| gateway.take_mistakes()).unwrap_or_default();
        mistakes.iter().map(ToString::to_string).collect()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A gateway panics when it is dropped with mistakes that were not taken.
        let gateway = self.gateway.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(gateway) = &*gateway {
            gateway.take_mistakes();
        }
    }
}

pub(crate) fn headers<'py>(py: Python<'py>, map: &http::HeaderMap) -> PyResult<Bound<'py, PyDict>> {
    let headers = PyDict::new(py);
    for (name, value) in map {
        headers.set_item(name.as_str(), value.to_str().unwrap_or_default())?;
    }
    Ok(headers)
}
