//! The results of a call: its answers, one by one or all at once.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};

use futures_core::Stream;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::pipeline::{Call, Pipeline};
use crate::response::Response;

/// The answers of a call, as they come or in order. A failed request does not end them.
#[must_use = "nothing is sent before the answers are polled"]
// The bound is needed, because a document waits here until it is known how to encode it.
pub struct Responses<S: Stream> {
    /// `None` if the call cannot be made.
    pipeline: Option<Box<Pipeline<S>>>,
    /// The reason why the call cannot be made, which is the only item.
    refused: Option<Error>,
}

// The documents are pinned in a box of their own.
impl<S: Stream> Unpin for Responses<S> {}

impl<S> Responses<S>
where
    S: Stream,
    S::Item: Serialize,
{
    pub(crate) fn running(call: Call, documents: S) -> Responses<S> {
        Responses { pipeline: Some(Box::new(Pipeline::new(call, documents))), refused: None }
    }

    pub(crate) fn refused(error: Error) -> Responses<S> {
        Responses { pipeline: None, refused: Some(error) }
    }

    /// Returns the next answer, or the error of the request that failed; `None` after the last.
    /// Dropping the future loses no answer.
    pub async fn next(&mut self) -> Option<Result<Response, Error>> {
        poll_fn(|cx| self.poll_ended(cx)).await
    }

    /// Returns the number of documents that were read from the input so far.
    pub fn documents_read(&self) -> u64 {
        self.pipeline.as_ref().map_or(0, |pipeline| pipeline.documents())
    }

    /// Returns the number of documents in requests that were begun so far. Documents of a request
    /// that is not full yet are read, but do not count.
    pub fn documents_sent(&self) -> u64 {
        self.pipeline.as_ref().map_or(0, |pipeline| pipeline.documents_sent())
    }

    /// Stops the call: reads and sends no more, and ends each request that was not taken yet, so
    /// that all documents that were read are accounted for. Answers and errors that have come are
    /// returned, including answers that waited for an earlier one. All other requests end in errors
    /// of kind [`Cancelled`](ErrorKind::Cancelled) with their documents:
    /// [`delivery`](Error::delivery) is `Unknown` if the request may have been sent, and `NotSent`
    /// if it was not. Documents that were read and waited for the rest of their request are also
    /// `NotSent`.
    ///
    /// After that the stream has ended; [`documents_read`](Responses::documents_read) and
    /// [`documents_sent`](Responses::documents_sent) keep their values.
    pub fn stop(&mut self) -> Vec<Result<Response, Error>> {
        match &mut self.pipeline {
            Some(pipeline) => pipeline.stop(),
            None => self.refused.take().map(Err).into_iter().collect(),
        }
    }

    /// Returns the number of requests in progress: sent, or answered and not taken yet.
    pub fn in_flight(&self) -> usize {
        self.pipeline.as_ref().map_or(0, |pipeline| pipeline.in_flight())
    }

    fn poll_ended(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Response, Error>>> {
        match &mut self.pipeline {
            Some(pipeline) => pipeline.poll_ended(cx),
            None => Poll::Ready(self.refused.take().map(Err)),
        }
    }
}

impl<S> Stream for Responses<S>
where
    S: Stream,
    S::Item: Serialize,
{
    type Item = Result<Response, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_ended(cx)
    }
}

impl<S: Stream> fmt::Debug for Responses<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Responses").finish_non_exhaustive()
    }
}

/// All answers of a call, in the order of the documents.
#[derive(Debug)]
#[must_use = "a failed request is only seen in here"]
pub struct Answers {
    results: Vec<Result<Response, Error>>,
}

impl Answers {
    pub(crate) async fn of<S>(mut responses: Responses<S>) -> Answers
    where
        S: Stream,
        S::Item: Serialize,
    {
        let mut results = Vec::new();
        while let Some(result) = responses.next().await {
            results.push(result);
        }
        Answers { results }
    }

    #[cfg(feature = "blocking")]
    pub(crate) fn refused(error: Error) -> Answers {
        Answers { results: vec![Err(error)] }
    }

    /// Returns all documents of the answers, read as `T`.
    ///
    /// # Errors
    /// The first error of a request, or that a document does not fit `T`.
    pub fn documents<T: DeserializeOwned>(self) -> Result<Vec<T>, Error> {
        let mut documents = Vec::new();
        for response in self.into_result()? {
            documents.extend(response.documents()?);
        }
        Ok(documents)
    }

    /// Returns the answers, if every request was answered.
    ///
    /// # Errors
    /// The first error of a request.
    pub fn into_result(self) -> Result<Vec<Response>, Error> {
        self.results.into_iter().collect()
    }

    /// Returns the answers of the requests that were answered.
    pub fn responses(&self) -> impl Iterator<Item = &Response> {
        self.results.iter().filter_map(|result| result.as_ref().ok())
    }

    /// Returns the errors of the requests that failed.
    pub fn errors(&self) -> impl Iterator<Item = &Error> {
        self.results.iter().filter_map(|result| result.as_ref().err())
    }

    /// Returns the number of requests.
    pub fn len(&self) -> usize {
        self.results.len()
    }

    /// Always `false`, because a call makes at least one request.
    pub fn is_empty(&self) -> bool {
        self.results.is_empty()
    }
}

impl IntoIterator for Answers {
    type Item = Result<Response, Error>;
    type IntoIter = std::vec::IntoIter<Result<Response, Error>>;

    fn into_iter(self) -> Self::IntoIter {
        self.results.into_iter()
    }
}
