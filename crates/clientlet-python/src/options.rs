//! The package's settings, checked as they become the library's.

use std::time::Duration;

use clientlet::clientlets::ClientletOptions;
use clientlet::{Client, ClientBuilder, Post, RetryPolicy, StreamDocument, Tls, TlsVersion};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyDict, PyList};

use crate::error::named;
use crate::otel::{PythonMeters, PythonTracers};
use crate::read::Value;

/// Seconds, as the package takes them everywhere. Infinity is no limit.
#[derive(Clone, Copy)]
pub(crate) struct Seconds(f64);

impl<'py> FromPyObject<'_, 'py> for Seconds {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Seconds> {
        let seconds: f64 = object.extract()?;
        if seconds.is_nan() || seconds < 0.0 {
            return Err(PyValueError::new_err(format!("{seconds} is no number of seconds")));
        }
        Ok(Seconds(seconds))
    }
}

impl Seconds {
    /// Returns the time, or `None` for no limit.
    pub(crate) fn limit(self) -> Option<Duration> {
        Duration::try_from_secs_f64(self.0).ok()
    }

    pub(crate) fn duration(self) -> Duration {
        self.limit().unwrap_or(Duration::MAX)
    }
}

/// A policy of retries, as a dict.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct Retry {
    max_attempts: u32,
    initial_backoff: Seconds,
    max_backoff: Seconds,
    backoff_multiplier: f64,
    at_most_once: bool,
}

impl Retry {
    fn policy(&self) -> RetryPolicy {
        RetryPolicy::new()
            .max_attempts(self.max_attempts)
            .initial_backoff(self.initial_backoff.duration())
            .max_backoff(self.max_backoff.duration())
            .backoff_multiplier(self.backoff_multiplier)
            .at_most_once(self.at_most_once)
    }
}

/// The settings of a client. Those that were not given are not there.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct ClientOptions {
    headers: Vec<(String, String)>,
    #[pyo3(default)]
    basic_auth: Option<(String, String)>,
    #[pyo3(default)]
    bearer_token: Option<String>,
    #[pyo3(default)]
    cookies: Vec<(String, String)>,
    #[pyo3(default)]
    cookie_jar: Option<bool>,
    #[pyo3(default)]
    port: Option<u16>,
    #[pyo3(default)]
    retry: Option<Retry>,
    #[pyo3(default)]
    connect_timeout: Option<Seconds>,
    #[pyo3(default)]
    attempt_timeout: Option<Seconds>,
    #[pyo3(default)]
    idle_timeout: Option<Seconds>,
    #[pyo3(default)]
    channels: Option<usize>,
    #[pyo3(default)]
    max_connections: Option<usize>,
    #[pyo3(default)]
    answer_limit: Option<usize>,
    #[pyo3(default)]
    docarray: Option<String>,
    #[pyo3(default)]
    unary: Option<bool>,
    #[pyo3(default)]
    gzip: Option<bool>,
    #[pyo3(default)]
    compression: Option<bool>,
    #[pyo3(default)]
    websocket_json: Option<bool>,
    #[pyo3(default)]
    proxy: Option<String>,
    #[pyo3(default)]
    no_proxy: Option<String>,
    #[pyo3(default)]
    proxy_from_env: Option<bool>,
    #[pyo3(default)]
    tls: Option<TlsOptions>,
    /// What starts the thread that runs the caller's function.
    #[pyo3(default)]
    pub(crate) before_attempt: Option<Py<PyAny>>,
    #[pyo3(default)]
    tracer_provider: Option<Py<PyAny>>,
    #[pyo3(default)]
    meter_provider: Option<Py<PyAny>>,
}

/// How TLS connections are secured. Certificates and keys are PEM, or paths of files with it.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
struct TlsOptions {
    ca: Vec<Pem>,
    #[pyo3(default)]
    without_system_roots: bool,
    #[pyo3(default)]
    client_certificate: Option<(Pem, Pem)>,
    #[pyo3(default)]
    server_name: Option<String>,
    #[pyo3(default)]
    min_version: Option<String>,
    #[pyo3(default)]
    key_log: bool,
    #[pyo3(default)]
    danger_accept_invalid_certs: bool,
}

#[derive(Clone)]
struct Pem(clientlet::Pem);

impl<'py> FromPyObject<'_, 'py> for Pem {
    type Error = PyErr;

    fn extract(object: Borrowed<'_, 'py, PyAny>) -> PyResult<Pem> {
        if let Ok(bytes) = object.extract::<Vec<u8>>() {
            return Ok(Pem(clientlet::Pem::text(bytes)));
        }
        match object.extract::<String>() {
            Ok(text) if text.contains("-----BEGIN") => Ok(Pem(clientlet::Pem::text(text))),
            _ => Ok(Pem(clientlet::Pem::file(object.extract::<std::path::PathBuf>()?))),
        }
    }
}

impl TlsOptions {
    fn tls(&self) -> PyResult<Tls> {
        let version = match self.min_version.as_deref() {
            None | Some("1.2") => TlsVersion::V1_2,
            Some("1.3") => TlsVersion::V1_3,
            Some(other) => {
                return Err(PyValueError::new_err(format!(
                    "min_version is \"1.2\" or \"1.3\", not {other:?}"
                )));
            }
        };
        let mut tls = Tls::new()
            .without_system_roots(self.without_system_roots)
            .min_version(version)
            .key_log(self.key_log)
            .danger_accept_invalid_certs(self.danger_accept_invalid_certs);
        for Pem(ca) in self.ca.clone() {
            tls = tls.ca(ca);
        }
        if let Some((Pem(chain), Pem(key))) = self.client_certificate.clone() {
            tls = tls.client_certificate(chain, key);
        }
        Ok(match &self.server_name {
            Some(name) => tls.server_name(name),
            None => tls,
        })
    }
}

/// Reads options from a dict.
///
/// # Errors
/// The type or value that is wrong, behind the option's name.
pub(crate) fn read<'a, 'py, T>(options: &'a Bound<'py, PyAny>) -> PyResult<T>
where
    T: FromPyObject<'a, 'py, Error = PyErr>,
{
    options.extract().map_err(|error: PyErr| {
        // PyO3 says "failed to extract field Options.name", and why in the cause, which may be such an error
        // itself.
        let py = options.py();
        let mut names = Vec::new();
        let mut reason = error;
        while let Some(cause) = reason.cause(py) {
            let text = reason.value(py).to_string();
            let Some(field) = text.strip_prefix("failed to extract field ") else { break };
            names.push(field.rsplit('.').next().unwrap_or_default().to_owned());
            reason = cause;
        }
        named(py, &names.join("."), reason)
    })
}

/// Reads options that hold the least of all that has names, which makes these names.
pub(crate) fn read_smallest(py: Python<'_>) -> PyResult<()> {
    let tls = PyDict::new(py);
    tls.set_item("ca", PyList::empty(py))?;
    let retry = PyDict::new(py);
    retry.set_item("max_attempts", 1)?;
    for number in ["initial_backoff", "max_backoff", "backoff_multiplier"] {
        retry.set_item(number, 1.0)?;
    }
    retry.set_item("at_most_once", false)?;
    let options = PyDict::new(py);
    options.set_item("headers", PyList::empty(py))?;
    options.set_item("tls", tls)?;
    options.set_item("retry", retry)?;
    let options = options.into_any();
    read::<ClientOptions>(&options)?;
    read::<CallOptions<'_>>(&options)?;
    Ok(())
}

/// Sets what was given.
fn set<B, T>(builder: B, value: Option<T>, set: impl FnOnce(B, T) -> B) -> B {
    match value {
        Some(value) => set(builder, value),
        None => builder,
    }
}

impl ClientOptions {
    /// Whether calls have spans, or hand on those of the caller.
    pub(crate) fn is_traced(&self) -> bool {
        self.tracer_provider.is_some()
    }

    /// Returns a builder with these settings.
    ///
    /// # Errors
    /// `ValueError` that names the setting.
    pub(crate) fn builder(self, url: &str) -> PyResult<ClientBuilder> {
        let mut builder = Client::builder(url);
        for (name, value) in self.headers {
            builder = builder.header(name, value);
        }
        for (name, value) in self.cookies {
            builder = builder.cookie(name, value);
        }
        if let Some(generation) = self.docarray {
            let generation = generation
                .parse()
                .map_err(|error| PyValueError::new_err(format!("docarray: {error}")))?;
            builder = builder.docarray(generation);
        }
        if let Some(tls) = self.tls {
            builder = builder.tls(tls.tls()?);
        }
        if self.proxy_from_env == Some(true) {
            builder = builder.proxy_from_env();
        }
        let (tracers, meters) = (self.tracer_provider, self.meter_provider);
        builder = set(builder, tracers.map(PythonTracers), ClientBuilder::tracer_provider);
        builder = set(builder, meters.map(PythonMeters), ClientBuilder::meter_provider);
        let limit = |seconds: Seconds| seconds.limit();
        builder = set(builder, self.basic_auth, |b, (user, word)| b.basic_auth(user, word));
        builder = set(builder, self.bearer_token, ClientBuilder::bearer_token);
        builder = set(builder, self.cookie_jar, ClientBuilder::cookie_jar);
        builder = set(builder, self.port, ClientBuilder::port);
        builder = set(builder, self.retry, |b, retry| b.retry(retry.policy()));
        builder = set(builder, self.connect_timeout, |b, t| b.connect_timeout(t.duration()));
        builder = set(builder, self.attempt_timeout.map(limit), ClientBuilder::attempt_timeout);
        builder = set(builder, self.idle_timeout.map(limit), ClientBuilder::idle_timeout);
        builder = set(builder, self.channels, ClientBuilder::channels);
        builder = set(builder, self.max_connections, ClientBuilder::max_connections);
        builder = set(builder, self.answer_limit, ClientBuilder::answer_limit);
        builder = set(builder, self.unary, ClientBuilder::unary);
        builder = set(builder, self.gzip, ClientBuilder::gzip);
        builder = set(builder, self.compression, ClientBuilder::compression);
        builder = set(builder, self.websocket_json, ClientBuilder::websocket_json);
        builder = set(builder, self.proxy, ClientBuilder::proxy);
        Ok(set(builder, self.no_proxy, ClientBuilder::no_proxy))
    }
}

impl ClientOptions {
    /// Returns the settings of a clientlet, which has fewer of them.
    ///
    /// # Errors
    /// `ValueError` that names the setting.
    pub(crate) fn clientlet(self) -> PyResult<ClientletOptions> {
        let mut options = ClientletOptions::new();
        for (name, value) in self.headers {
            options = options.header(name, value);
        }
        for (name, value) in self.cookies {
            options = options.cookie(name, value);
        }
        if let Some(tls) = self.tls {
            options = options.tls(tls.tls()?);
        }
        if self.proxy_from_env == Some(true) {
            options = options.proxy_from_env();
        }
        let limit = |seconds: Seconds| seconds.limit();
        let tracers = self.tracer_provider.map(PythonTracers);
        options = set(options, tracers, ClientletOptions::tracer_provider);
        options = set(options, self.basic_auth, |o, (user, word)| o.basic_auth(user, word));
        options = set(options, self.retry, |o, retry| o.retry(retry.policy()));
        options = set(options, self.connect_timeout, |o, t| o.connect_timeout(t.duration()));
        options = set(options, self.attempt_timeout.map(limit), ClientletOptions::attempt_timeout);
        options = set(options, self.idle_timeout.map(limit), ClientletOptions::idle_timeout);
        options = set(options, self.max_connections, ClientletOptions::max_connections);
        options = set(options, self.answer_limit, ClientletOptions::answer_limit);
        Ok(set(options, self.proxy, ClientletOptions::proxy))
    }
}

/// The options of a call. Those that were not given are not there.
#[derive(FromPyObject)]
#[pyo3(from_item_all)]
pub(crate) struct CallOptions<'py> {
    #[pyo3(default)]
    parameters: Option<Bound<'py, PyAny>>,
    #[pyo3(default)]
    target_executor: Option<String>,
    #[pyo3(default)]
    pub(crate) request_size: Option<i64>,
    #[pyo3(default)]
    prefetch: Option<usize>,
    #[pyo3(default)]
    prefetch_bytes: Option<usize>,
    #[pyo3(default)]
    in_order: Option<bool>,
    #[pyo3(default)]
    linger: Option<Seconds>,
    #[pyo3(default)]
    stop_on_error: Option<bool>,
    #[pyo3(default)]
    keep_documents: Option<bool>,
    #[pyo3(default)]
    retry: Option<Retry>,
    #[pyo3(default)]
    timeout: Option<Seconds>,
    #[pyo3(default)]
    attempt_timeout: Option<Seconds>,
    #[pyo3(default)]
    idle_timeout: Option<Seconds>,
    /// Whether jina's own client makes the call.
    #[pyo3(default)]
    pub(crate) is_for_jina: bool,
    headers: Vec<(String, String)>,
}

/// The number of documents in a request. As in Jina, a number below 1 puts all into one.
pub(crate) fn documents_of_request(request_size: Option<i64>) -> usize {
    request_size.map_or(100, |size| usize::try_from(size).unwrap_or(0))
}

impl CallOptions<'_> {
    pub(crate) fn post<S>(self, post: Post<S>) -> Post<S> {
        let mut post = post.request_size(documents_of_request(self.request_size));
        for (name, value) in self.headers {
            post = post.header(name, value);
        }
        let limit = |seconds: Seconds| seconds.limit();
        let is_for_jina = self.is_for_jina;
        post = set(post, self.parameters, |p, object| {
            p.parameters(Value::of_parameters(&object, is_for_jina))
        });
        post = set(post, self.target_executor, Post::target_executor);
        post = set(post, self.prefetch, Post::prefetch);
        post = set(post, self.prefetch_bytes, Post::prefetch_bytes);
        post = set(post, self.in_order, Post::in_order);
        post = set(post, self.linger.map(limit), Post::linger);
        post = set(post, self.stop_on_error, Post::stop_on_error);
        post = set(post, self.keep_documents, Post::keep_documents);
        post = set(post, self.retry, |p, retry| p.retry(retry.policy()));
        post = set(post, self.timeout.map(limit), Post::timeout);
        post = set(post, self.attempt_timeout.map(limit), Post::attempt_timeout);
        set(post, self.idle_timeout.map(limit), Post::idle_timeout)
    }

    /// Sets the options that the call of a streaming endpoint has.
    ///
    /// # Errors
    /// `TypeError` for an option that it does not have.
    pub(crate) fn stream_document(self, mut call: StreamDocument) -> PyResult<StreamDocument> {
        let others = self.request_size.is_some()
            || self.prefetch.is_some()
            || self.prefetch_bytes.is_some()
            || self.in_order.is_some()
            || self.linger.is_some()
            || self.stop_on_error.is_some()
            || self.keep_documents.is_some()
            || self.attempt_timeout.is_some();
        if others {
            return Err(PyTypeError::new_err("a stream of documents has no such option"));
        }
        for (name, value) in self.headers {
            call = call.header(name, value);
        }
        let limit = |seconds: Seconds| seconds.limit();
        let is_for_jina = self.is_for_jina;
        call = set(call, self.parameters, |c, object| {
            c.parameters(Value::of_parameters(&object, is_for_jina))
        });
        call = set(call, self.target_executor, StreamDocument::target_executor);
        call = set(call, self.retry, |c, retry| c.retry(retry.policy()));
        call = set(call, self.timeout.map(limit), StreamDocument::timeout);
        Ok(set(call, self.idle_timeout.map(limit), StreamDocument::idle_timeout))
    }
}
