//! A call, blocking: an iterator of answers instead of a stream.

use std::fmt;
use std::iter::Once;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use futures_core::Stream;
use http::HeaderMap;
use serde::Serialize;

use super::driver::Driver;
use super::same_options;
use crate::error::Error;
use crate::input::{Documents, Fallible, NoDocuments};
use crate::response::Response;
use crate::responses::Answers;
use crate::retry::RetryPolicy;

/// A call before it is made, with the options of [`clientlet::Post`](crate::Post):
/// [`send`](Post::send) waits for all answers, [`stream`](Post::stream) gives one after the other.
#[must_use = "a call is not made before `send` or `stream`"]
pub struct Post<S> {
    call: crate::Post<S>,
    driver: Arc<Driver>,
}

impl Post<NoDocuments> {
    pub(super) fn new(call: crate::Post<NoDocuments>, driver: Arc<Driver>) -> Post<NoDocuments> {
        Post { call, driver }
    }

    /// The documents to send, as for [`clientlet::Post::documents`](crate::Post::documents). The
    /// iterator runs on the thread that takes the answers.
    pub fn documents<I>(self, documents: I) -> Post<Documents<I::IntoIter>>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        Post { call: self.call.documents(documents), driver: self.driver }
    }

    /// The one document to send.
    pub fn document<D: Serialize + ?Sized>(self, document: &D) -> Post<Documents<Once<&D>>> {
        Post { call: self.call.document(document), driver: self.driver }
    }

    /// The documents to send, each of which may fail to be read, as for
    /// [`clientlet::Post::try_documents`](crate::Post::try_documents).
    pub fn try_documents<I, D, E>(self, documents: I) -> Post<Fallible<Documents<I::IntoIter>>>
    where
        I: IntoIterator<Item = Result<D, E>>,
        D: Serialize,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        Post { call: self.call.try_documents(documents), driver: self.driver }
    }
}

same_options! {
    Post<S> of crate::Post:
    /// Parameters for the executors: a map.
    parameters(parameters: impl Serialize);
    /// Which executors are to work: a regular expression.
    target_executor(pattern: impl Into<String>);
    /// How many documents a request carries: 100 by default, 0 for all in one.
    request_size(documents: usize);
    /// How many requests are under way at a time: 16 by default.
    prefetch(requests: usize);
    /// How many bytes of requests are under way at a time: 64 MiB by default.
    prefetch_bytes(bytes: usize);
    /// Whether the answers come in the order of the documents.
    in_order(in_order: bool);
    /// How often a request is sent and how long the waits in between are.
    retry(policy: RetryPolicy);
    /// The longest time of one request over all its attempts.
    timeout(timeout: impl Into<Option<Duration>>);
    /// The longest time of one attempt: 60 s by default.
    attempt_timeout(timeout: impl Into<Option<Duration>>);
    /// How long nothing may come while a request waits for its answer: no limit by default.
    idle_timeout(timeout: impl Into<Option<Duration>>);
    /// A header for the requests of this call.
    header(name: impl Into<String>, value: impl Into<String>);
    /// Headers for the requests of this call.
    headers(headers: HeaderMap);
    /// Whether the error of a request has the request's documents.
    keep_documents(keep: bool);
    /// Whether no more documents are read after the first request that failed.
    stop_on_error(stop: bool);
}

impl<S> Post<S>
where
    S: Stream,
    S::Item: Serialize,
{
    /// Makes the call; its answers come one after the other, and while none is taken, no further
    /// document is read. Nothing is sent before the first answer is asked for, and everything stops
    /// when the iterator is dropped. A call that cannot be made has its reason as the only item.
    pub fn stream(self) -> Responses<S> {
        Responses { responses: self.call.stream(), left: None, driver: self.driver }
    }

    /// Makes the call and waits for all answers, which come in the order of the documents.
    /// `.send().documents()?` gives the documents or the first error.
    pub fn send(self) -> Answers {
        self.driver.wait(self.call.send()).unwrap_or_else(Answers::refused)
    }
}

#[cfg(feature = "otel")]
impl<S> Post<S> {
    /// The context of which the call's span is a child; by default the one that is current on the thread
    /// that makes the call.
    pub fn parent_context(self, context: opentelemetry::Context) -> Post<S> {
        Post { call: self.call.parent_context(context), driver: self.driver }
    }
}

impl<S> fmt::Debug for Post<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.call.fmt(f)
    }
}

/// The answers of a call, as they come or in order. A failed request does not end them.
///
/// In an async task the first item is the error that says so; then come the requests that were under
/// way, each with what is known of its delivery, and the call is over.
#[must_use = "nothing is sent before the answers are asked for"]
pub struct Responses<S: Stream> {
    responses: crate::Responses<S>,
    /// What is left of a call that had to stop; `None` while it goes on.
    left: Option<vec::IntoIter<Result<Response, Error>>>,
    driver: Arc<Driver>,
}

impl<S> Responses<S>
where
    S: Stream,
    S::Item: Serialize,
{
    /// Returns the number of documents that were read from the input so far.
    pub fn documents_read(&self) -> u64 {
        self.responses.documents_read()
    }

    /// Returns the number of documents in requests that were begun so far.
    pub fn documents_sent(&self) -> u64 {
        self.responses.documents_sent()
    }

    /// Returns the number of requests in progress: sent, or answered and not taken yet.
    pub fn in_flight(&self) -> usize {
        self.responses.in_flight()
    }

    /// Stops the call and accounts for each of its requests; see
    /// [`clientlet::Responses::stop`](crate::Responses::stop).
    pub fn stop(&mut self) -> Vec<Result<Response, Error>> {
        match &mut self.left {
            Some(left) => left.collect(),
            None => self.responses.stop(),
        }
    }
}

impl<S> Iterator for Responses<S>
where
    S: Stream,
    S::Item: Serialize,
{
    type Item = Result<Response, Error>;

    fn next(&mut self) -> Option<Self::Item> {
        if let Some(left) = &mut self.left {
            return left.next();
        }
        self.driver.wait(self.responses.next()).unwrap_or_else(|error| {
            self.left = Some(self.responses.stop().into_iter());
            Some(Err(error))
        })
    }
}

impl<S: Stream> fmt::Debug for Responses<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.responses.fmt(f)
    }
}
