//! A stream of documents for one document: the documents that an executor's generator yields, as it
//! yields them.

mod content;
mod fingerprint;
mod flow;
mod repeats;
mod stream;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use self::content::Content;
use self::flow::Call;
pub use self::stream::DocumentStream;
use crate::client::Client;
use crate::config::one_by_one;
use crate::document::{self, EncodeError, encode_parameters};
use crate::envelope::SINGLE_DOCUMENT;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::message::{DocArray, Encoding};
use crate::retry::RetryPolicy;
use crate::secret::Secret;
use crate::target;
use crate::telemetry::{Medium, Parent};

/// A call for a stream of documents that is not made yet. [`stream`](StreamDocument::stream) makes
/// it.
///
/// The document is encoded when the call is made, as v2: gateways with v1 documents have no
/// streams. Over HTTP a call can carry only the document, which is the body of a GET. Some proxies
/// drop the body of a GET. So the document's text, numbers and booleans are sent a second time, in
/// the query of the address, up to 2 KiB. If a proxy drops the body:
///
/// * The gateway makes the document from the query.
/// * The gateway refuses the request if the executor needs a field that is not in the query.
/// * Fields beyond the 2 KiB may be lost silently. `tracing` warns of documents that long.
///
/// Servers may show a query in their logs.
#[must_use = "a call is not made before `stream`"]
pub struct StreamDocument {
    client: Client,
    endpoint: String,
    document: Result<Vec<u8>, Error>,
    target_executor: Option<String>,
    parameters: Option<Result<Bytes, Error>>,
    headers: Vec<(String, Secret)>,
    retry: Option<RetryPolicy>,
    timeout: Option<Duration>,
    idle_timeout: Option<Option<Duration>>,
    parent: Parent,
}

impl StreamDocument {
    pub(crate) fn new<D>(client: Client, endpoint: String, document: &D) -> StreamDocument
    where
        D: Serialize + ?Sized,
    {
        let document = write(client.shared().transport.facts().encoding, document)
            .map_err(|error| error.of("document"));
        StreamDocument {
            client,
            endpoint,
            document,
            target_executor: None,
            parameters: None,
            headers: Vec::new(),
            retry: None,
            timeout: None,
            idle_timeout: None,
            parent: Parent::current(),
        }
    }

    /// Sets parameters for the executor, a map; only over gRPC. On their way all numbers become
    /// doubles.
    pub fn parameters<P: Serialize>(mut self, parameters: P) -> StreamDocument {
        self.parameters = Some(encode_parameters(&parameters));
        self
    }

    /// Selects the executors that work on the document; only over gRPC. The pattern is a regular
    /// expression that must match the beginning of a deployment's name. Jina 3.33.1 accepts the
    /// pattern and ignores it.
    pub fn target_executor(mut self, pattern: impl Into<String>) -> StreamDocument {
        self.target_executor = Some(pattern.into());
        self
    }

    /// Sets the number of attempts and the waits between them. The default is the client's policy.
    /// The call is not retried after the first document has come.
    pub fn retry(mut self, policy: RetryPolicy) -> StreamDocument {
        self.retry = Some(policy);
        self
    }

    /// Sets the time limit of the stream from the first poll to its end, including all attempts.
    /// The default, `None`, is no limit. Over gRPC the gateway is told the limit.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> StreamDocument {
        self.timeout = timeout.into();
        self
    }

    /// Sets the longest wait for a document. For the first document the wait includes connecting.
    /// The default is the client's attempt time-out, 60 s; `None` means no limit. For the first
    /// document the default is at most half of [`timeout`](StreamDocument::timeout) if another
    /// attempt could follow.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> StreamDocument {
        self.idle_timeout = Some(timeout.into());
        self
    }

    /// Adds a header for this call; may be called several times. The header replaces the client's
    /// header of the same name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> StreamDocument {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Adds headers for this call, as if each was given to [`header`](StreamDocument::header).
    pub fn headers(mut self, headers: HeaderMap) -> StreamDocument {
        self.headers.extend(one_by_one(headers));
        self
    }

    /// The context of which the call's span is a child. By default it is the context that is current
    /// when the call begins.
    #[cfg(feature = "otel")]
    pub fn parent_context(mut self, context: opentelemetry::Context) -> StreamDocument {
        self.parent = Parent(Some(context));
        self
    }

    /// Makes the call and returns its documents, read as `T`. The request is sent when the stream
    /// is first polled. Dropping the stream stops the executor. If the call cannot be made, the
    /// error is the only item.
    pub fn stream<T: DeserializeOwned>(self) -> DocumentStream<T> {
        self.try_stream().unwrap_or_else(DocumentStream::refused)
    }

    /// Makes the call like [`stream`](StreamDocument::stream), but returns the error at once if the
    /// call cannot be made.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] or [`ErrorKind::Encode`], naming the option that is wrong.
    pub fn try_stream<T: DeserializeOwned>(self) -> Result<DocumentStream<T>, Error> {
        let call = self.check()?;
        let context = call.context();
        Ok(DocumentStream::of(flow::documents(call), context))
    }

    fn check(self) -> Result<Call, Error> {
        let shared = self.client.shared();
        let transport = shared.transport.clone();
        transport.facts().check_endpoint(&self.endpoint)?;
        self.target_executor.as_deref().map_or(Ok(()), target::check)?;
        if transport.streams().is_none() {
            let what = "this protocol has no streams of documents; use http:// or grpc://";
            return Err(Error::config(what));
        }
        let retry = self.retry.unwrap_or_else(|| shared.config.retry.clone());
        retry.check()?;
        let headers = shared.config.headers_with(&self.headers)?;
        let id = shared.ids.next();
        let (document, parameters) = (self.document?, self.parameters.transpose()?);
        let (target, encoding) = (self.target_executor, transport.facts().encoding);
        let content = Content::new(encoding, document, target, parameters)?;
        // A stream is a request by itself, with headers of its own on both protocols that have streams.
        let (name, endpoint) = ("stream_document", Some(&*self.endpoint));
        let telemetry = &shared.config.telemetry;
        let trace = telemetry.call(name, endpoint, Medium::Http, &headers, self.parent);
        Ok(Call {
            trace: Arc::new(trace),
            transport,
            discovery: shared.discovery(&headers),
            secrets: shared.config.secrets.of_call(headers.clone()),
            headers,
            endpoint: self.endpoint,
            content,
            id,
            timeout: self.timeout,
            first_timeout: self
                .idle_timeout
                .unwrap_or_else(|| shared.config.attempt_timeout_within(self.timeout, &retry)),
            idle_timeout: self.idle_timeout.unwrap_or(shared.config.attempt_timeout),
            retry,
        })
    }
}

/// Writes the document by itself, or as the field of a request.
fn write<D: Serialize + ?Sized>(encoding: Encoding, document: &D) -> Result<Vec<u8>, EncodeError> {
    let mut out = Vec::new();
    match encoding {
        Encoding::Json => document::Encoder::new(DocArray::V2).document(document, &mut out)?,
        Encoding::Proto => {
            let encoder = document::proto::Encoder::new(DocArray::V2);
            encoder.document_field(SINGLE_DOCUMENT, document, &mut out)?;
        }
    }
    Ok(out)
}

impl fmt::Debug for StreamDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDocument")
            .field("endpoint", &self.endpoint)
            .field("headers", &self.headers)
            .finish_non_exhaustive()
    }
}
