//! Large documents, encoded by another thread while the interpreter runs other code.
//!
//! Numbers become text in JSON, which takes longer than all else that is done with a request. Protobuf has
//! their bytes: what another thread needs first, a copy of them, costs as much as encoding.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use clientlet::{DocumentEncoder, EncodedDocument};
use futures_core::Stream;
use pyo3::prelude::*;
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

use crate::feed::Sharing;
use crate::read::Document;
use crate::runtime;
use crate::tree::Tree;

/// From how many numbers on the documents of a request are encoded aside. To write these takes some 90 us; to hand them
/// over and to be woken takes the thread that polls half of that.
const MANY: usize = 10_000;

/// A call's documents. Large ones are encoded already when they come.
pub(crate) struct Aside {
    documents: Sharing,
    request_size: usize,
    /// `None` if all documents are to be encoded by the thread that polls.
    encoder: Option<DocumentEncoder>,
    /// The number of documents that were given.
    given: usize,
    ready: VecDeque<Document>,
    working: Option<Working>,
    /// What comes behind these documents: the failure of the input, or its end.
    end: Option<Option<PyErr>>,
}

/// Documents that are being encoded, and the future of the result: `None` for each that cannot be encoded.
struct Working {
    documents: Vec<Document>,
    encoded: Pin<Box<dyn Future<Output = Vec<Option<EncodedDocument>>> + Send>>,
}

impl Aside {
    pub(crate) fn new(
        documents: Sharing,
        request_size: usize,
        encoder: Option<DocumentEncoder>,
    ) -> Aside {
        Aside {
            documents,
            request_size,
            encoder,
            given: 0,
            ready: VecDeque::new(),
            working: None,
            end: None,
        }
    }

    /// Returns the documents that are there of those that the open request still takes: a request that is begun
    /// is not made to wait by documents that are encoded aside, after which it could be sent early.
    fn poll_request(&mut self, cx: &mut Context<'_>) -> Poll<Vec<Document>> {
        let room = match self.request_size {
            0 => usize::MAX,
            size => size - self.given % size,
        };
        let mut request = Vec::new();
        while request.len() < room && self.end.is_none() {
            match Pin::new(&mut self.documents).poll_next(cx) {
                Poll::Ready(Some(Ok(document))) => request.push(document),
                Poll::Ready(Some(Err(error))) => self.end = Some(Some(error)),
                Poll::Ready(None) => self.end = Some(None),
                Poll::Pending if request.is_empty() => return Poll::Pending,
                Poll::Pending => break,
            }
        }
        Poll::Ready(request)
    }

    /// Takes the next documents, and has them encoded aside if that pays.
    fn take(&mut self, encoder: &DocumentEncoder, documents: Vec<Document>) {
        // Before the first answer it is not known what the gateway takes.
        let trees = if encoder.docarray().is_some() { large(&documents) } else { None };
        let Some(trees) = trees else {
            self.ready.extend(documents);
            return;
        };
        let encoder = encoder.clone();
        let Ok(places) = Python::attach(runtime::encoding) else {
            self.ready.extend(documents);
            return;
        };
        let encoded = Box::pin(encode(places, encoder, trees));
        self.working = Some(Working { documents, encoded });
    }
}

/// Takes documents out of Python's objects if they have many numbers, by the first and the last one. There is no tree
/// for a document that cannot be sent.
fn large(documents: &[Document]) -> Option<Vec<Option<Tree>>> {
    let grow = |document: &Document| Tree::of(document).ok();
    let (first, others) = documents.split_first()?;
    let first = grow(first);
    let last = others.split_last().map(|(last, between)| (grow(last), between));
    let weight = |tree: &Option<Tree>| tree.as_ref().map_or(0, Tree::weight);
    let most = weight(&first).max(last.as_ref().map_or(0, |(last, _)| weight(last)));
    if most.saturating_mul(documents.len()) < MANY {
        return None;
    }
    let mut trees = vec![first];
    if let Some((last, between)) = last {
        trees.extend(between.iter().map(grow));
        trees.push(last);
    }
    Some(trees)
}

async fn encode(
    places: &'static Semaphore,
    encoder: DocumentEncoder,
    trees: Vec<Option<Tree>>,
) -> Vec<Option<EncodedDocument>> {
    let _place = places.acquire().await;
    let encode = move |tree: Option<Tree>| encoder.encode(&tree?)?.ok();
    let encoding = spawn_blocking(move || trees.into_iter().map(encode).collect());
    // It ends early only by a panic. The thread that polls then encodes everything, and tells of it.
    encoding.await.unwrap_or_default()
}

impl Stream for Aside {
    type Item = Result<Document, PyErr>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        let Some(encoder) = this.encoder.clone() else {
            return Pin::new(&mut this.documents).poll_next(cx);
        };
        loop {
            if let Some(document) = this.ready.pop_front() {
                this.given += 1;
                return Poll::Ready(Some(Ok(document)));
            }
            if let Some(working) = &mut this.working {
                let encoded = ready!(working.encoded.as_mut().poll(cx));
                let documents = this.working.take().map(|working| working.documents);
                let mut encoded = encoded.into_iter();
                // What cannot be encoded is left to the call, which then says why.
                let result = |document| match encoded.next().flatten() {
                    Some(encoded) => Document::Encoded(encoded),
                    None => document,
                };
                this.ready.extend(documents.into_iter().flatten().map(result));
            } else if let Some(end) = &mut this.end {
                return Poll::Ready(end.take().map(Err));
            } else {
                let documents = ready!(this.poll_request(cx));
                this.take(&encoder, documents);
            }
        }
    }
}
