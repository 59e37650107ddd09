//! One document in, many out, blocking.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::driver::{Driver, Items};
use super::same_options;
use crate::error::Error;
use crate::retry::RetryPolicy;

/// A call for a stream of documents that is not made yet, with the options of
/// [`clientlet::StreamDocument`](crate::StreamDocument). [`stream`](StreamDocument::stream) makes it.
#[must_use = "a call is not made before `stream`"]
pub struct StreamDocument {
    call: crate::StreamDocument,
    driver: Arc<Driver>,
}

impl StreamDocument {
    pub(super) fn new(call: crate::StreamDocument, driver: Arc<Driver>) -> StreamDocument {
        StreamDocument { call, driver }
    }

    /// The context of which the call's span is a child; by default the one that is current on the thread
    /// that makes the call.
    #[cfg(feature = "otel")]
    pub fn parent_context(self, context: opentelemetry::Context) -> StreamDocument {
        let call = self.call.parent_context(context);
        StreamDocument { call, driver: self.driver }
    }

    /// Makes the call and returns its documents, read as `T`. The request is sent when the first
    /// document is asked for. Dropping the iterator stops the executor.
    pub fn stream<T: DeserializeOwned>(self) -> DocumentStream<T> {
        DocumentStream { documents: Items::of(self.call.stream()), driver: self.driver }
    }
}

same_options! {
    StreamDocument of crate::StreamDocument:
    /// Parameters for the executor, a map; only over gRPC.
    parameters(parameters: impl Serialize);
    /// Selects the executors that work on the document; only over gRPC.
    target_executor(pattern: impl Into<String>);
    /// The number of attempts and the waits between them.
    retry(policy: RetryPolicy);
    /// The time limit of the stream, including all attempts.
    timeout(timeout: impl Into<Option<Duration>>);
    /// The longest wait for a document.
    idle_timeout(timeout: impl Into<Option<Duration>>);
    /// A header for this call.
    header(name: impl Into<String>, value: impl Into<String>);
    /// Headers for this call.
    headers(headers: HeaderMap);
}

impl fmt::Debug for StreamDocument {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

/// The documents that an executor's generator yields, as they come. See
/// [`clientlet::DocumentStream`](crate::DocumentStream) for documents that a gateway repeats. In an
/// async task the only item is the error that says so.
#[must_use = "nothing is sent before a document is asked for"]
#[derive(Debug)]
pub struct DocumentStream<T> {
    documents: Items<crate::DocumentStream<T>>,
    driver: Arc<Driver>,
}

impl<T> DocumentStream<T> {
    /// Returns the number of documents that were dropped because the gateway had given them before.
    pub fn repeats_dropped(&self) -> u64 {
        self.documents.stream.repeats_dropped()
    }

    /// Returns the number of documents given so far, including those that do not fit `T`.
    pub fn documents_given(&self) -> u64 {
        self.documents.stream.documents_given()
    }
}

impl<T: DeserializeOwned> Iterator for DocumentStream<T> {
    type Item = Result<T, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        self.documents.next(&self.driver)
    }
}
