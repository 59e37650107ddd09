//! The documents of a stream as the caller has them.

use std::fmt;
use std::future::poll_fn;
use std::marker::PhantomData;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use futures_core::Stream;
use serde::de::DeserializeOwned;

use super::repeats::Repeats;
use crate::document;
use crate::document::proto::decode_document;
use crate::error::{Context as Place, Error};
use crate::message::Encoding;
use crate::transport::RawDocument;

/// What an executor's generator yields, read as `T`, as it comes: no document is read from the
/// connection before it is asked for. An error ends it, but that a document does not fit `T`.
///
/// # Repeats
///
/// When a generator raises, a gateway says nothing of it: it calls it again, up to four times in all, so
/// that documents repeat, and then ends the stream as if all were well. Such repeats are dropped
/// where they can be told, by [`repeats_dropped`](DocumentStream::repeats_dropped) many:
///
/// * The first document must have an id, and a repeat begins with a document like it, id and content.
///   Where executors make ids at random, as DocArray does for documents without one, nothing is dropped.
/// * What follows is dropped as long as it is like the documents that came before, one by one: all of
///   them, or 16 of them, or 64 KiB. Up to there it is held back; if it turns out to be
///   something else, or the stream ends, it is given after all, so that text that comes word by
///   word under one id loses none.
/// * 65,536 documents are remembered. Of a longer stream's repeat all behind those is given again.
///
/// What cannot be told: that a generator raised at all, above all one that raised before its first
/// document, whose stream is empty and ends as if all were well; and one that means to yield
/// all that it has yielded so far once more, ids and all, which is taken for a repeat.
#[must_use = "nothing is sent before the documents are polled"]
pub struct DocumentStream<T> {
    /// Nothing after its end.
    documents: Option<Raw>,
    repeats: Repeats,
    /// Comes last.
    error: Option<Error>,
    given: u64,
    /// The place to name in the error if a document does not fit `T`.
    place: Place,
    of: PhantomData<fn() -> T>,
}

type Raw = Pin<Box<dyn Stream<Item = Result<RawDocument, Error>> + Send>>;

impl<T> DocumentStream<T> {
    pub(super) fn of(
        documents: impl Stream<Item = Result<RawDocument, Error>> + Send + 'static,
        place: Place,
    ) -> DocumentStream<T> {
        DocumentStream::new(Some(Box::pin(documents)), None, place)
    }

    pub(super) fn refused(error: Error) -> DocumentStream<T> {
        DocumentStream::new(None, Some(error), Place::default())
    }

    fn new(documents: Option<Raw>, error: Option<Error>, place: Place) -> DocumentStream<T> {
        let (repeats, of) = (Repeats::default(), PhantomData);
        DocumentStream { documents, repeats, error, given: 0, place, of }
    }

    /// How many documents were dropped since the gateway had given them before.
    pub fn repeats_dropped(&self) -> u64 {
        self.repeats.dropped()
    }

    /// How many documents were given so far, those that do not fit `T` included.
    pub fn documents_given(&self) -> u64 {
        self.given
    }
}

impl<T: DeserializeOwned> DocumentStream<T> {
    /// The next document, or why there are no more; nothing after the last. Dropping the future loses
    /// nothing.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| self.poll_document(cx)).await
    }

    fn poll_document(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        loop {
            if let Some(document) = self.repeats.pop() {
                self.given += 1;
                let read = read(&document, self.given);
                return Poll::Ready(Some(
                    read.map_err(|error| error.with_context(self.place.clone())),
                ));
            }
            let Some(documents) = &mut self.documents else {
                return Poll::Ready(self.error.take().map(Err));
            };
            match ready!(documents.as_mut().poll_next(cx)) {
                Some(Ok(document)) => self.repeats.push(document),
                ended => {
                    self.documents = None;
                    self.repeats.end();
                    self.error = ended.and_then(Result::err);
                }
            }
        }
    }
}

fn read<T: DeserializeOwned>(document: &RawDocument, number: u64) -> Result<T, Error> {
    let read = match document.encoding {
        Encoding::Json => document::decode_document(&document.bytes),
        Encoding::Proto => decode_document(&document.bytes),
    };
    read.map_err(|what| {
        Error::decode(format!("document {number} of the stream does not fit: {what}"))
    })
}

impl<T: DeserializeOwned> Stream for DocumentStream<T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_document(cx)
    }
}

impl<T> fmt::Debug for DocumentStream<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DocumentStream").field("given", &self.given).finish_non_exhaustive()
    }
}
