//! The documents of a stream, as the caller reads them.

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
use crate::message::{DocArray, Encoding};
use crate::transport::RawDocument;

/// The documents that an executor's generator yields, read as `T`, as they come. A document is read
/// from the connection only when the caller asks for it. An error ends the stream, except that of a
/// document that does not fit `T`.
///
/// # Repeats
///
/// If a generator raises, a gateway does not report it. The gateway calls the generator again, up
/// to four times in all, so documents repeat; then it ends the stream as if all were well. Repeats
/// are dropped if they can be recognized, and [`repeats_dropped`](DocumentStream::repeats_dropped)
/// counts them:
///
/// * The first document must have an id. A repeat begins with a document that equals the first one
///   in id and content. If executors make ids at random, as DocArray does for documents without
///   ids, no document is dropped.
/// * The documents that follow are compared with the documents given before, one by one. A repeat
///   is recognized once all documents given so far, or 16 of them, or 64 KiB, have come again.
///   Until then its documents are held back. If one differs, or the stream ends, they are given
///   after all. So text that comes word by word under one id loses no word.
/// * 65,536 documents are remembered. If a longer stream repeats, the documents beyond these are
///   given again.
///
/// Two cases cannot be recognized. A stream does not show that a generator raised: if the generator
/// raised before its first document, the stream is empty and ends as if all were well. And a
/// generator that yields all of its documents a second time on purpose, with the same ids, is taken
/// for a repeat.
#[must_use = "nothing is sent before the documents are polled"]
pub struct DocumentStream<T> {
    /// `None` after the end of the documents.
    documents: Option<Raw>,
    repeats: Repeats,
    /// The error that comes after the last document.
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

    /// Returns the number of documents that were dropped because the gateway had given them before.
    pub fn repeats_dropped(&self) -> u64 {
        self.repeats.dropped()
    }

    /// Returns the number of documents given so far, including those that do not fit `T`.
    pub fn documents_given(&self) -> u64 {
        self.given
    }
}

impl<T: DeserializeOwned> DocumentStream<T> {
    /// Returns the next document, or the error that ends the stream; `None` after the last.
    /// Dropping the future loses no document.
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
        Encoding::Json => document::decode_document(DocArray::V2, &document.bytes),
        Encoding::Proto => decode_document(DocArray::V2, &document.bytes),
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
