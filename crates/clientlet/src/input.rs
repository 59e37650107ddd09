//! The sources of a call's documents.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use futures_core::Stream;

use crate::error::Source;

/// The input of a call without documents, which makes one request.
#[derive(Clone, Copy, Debug, Default)]
pub struct NoDocuments;

impl Stream for NoDocuments {
    type Item = ();

    fn poll_next(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<()>> {
        Poll::Ready(None)
    }
}

/// Documents that already exist, or are made on demand.
#[derive(Clone, Debug)]
pub struct Documents<I>(I);

// The iterator is never pinned.
impl<I> Unpin for Documents<I> {}

impl<I: Iterator> Documents<I> {
    pub(crate) fn new(documents: impl IntoIterator<IntoIter = I>) -> Documents<I> {
        Documents(documents.into_iter())
    }
}

impl<I: Iterator> Stream for Documents<I> {
    type Item = I::Item;

    fn poll_next(mut self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<Option<I::Item>> {
        Poll::Ready(self.0.next())
    }
}

/// Documents that are read one by one, and each may fail to be read. The first failure ends the
/// input.
#[derive(Debug)]
pub struct Fallible<S> {
    documents: Pin<Box<S>>,
    failure: InputFailure,
}

/// The error that ended an input, left here for the pipeline.
#[derive(Clone, Debug, Default)]
pub(crate) struct InputFailure(Arc<Mutex<Option<Source>>>);

impl InputFailure {
    pub(crate) fn take(&self) -> Option<Source> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    fn set(&self, error: Source) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(error);
    }
}

impl<S> Fallible<S> {
    pub(crate) fn new(documents: S) -> (Fallible<S>, InputFailure) {
        let failure = InputFailure::default();
        (Fallible { documents: Box::pin(documents), failure: failure.clone() }, failure)
    }
}

impl<S, D, E> Stream for Fallible<S>
where
    S: Stream<Item = Result<D, E>>,
    E: Into<Source>,
{
    type Item = D;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<D>> {
        Poll::Ready(match ready!(self.documents.as_mut().poll_next(cx)) {
            Some(Ok(document)) => Some(document),
            Some(Err(error)) => {
                self.failure.set(error.into());
                None
            }
            None => None,
        })
    }
}
