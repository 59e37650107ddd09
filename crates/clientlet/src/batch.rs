//! Splits documents into requests. Each document is encoded once, when it is read.

use std::ops::Range;
use std::sync::Arc;

use bytes::Bytes;
use serde::Serialize;

use crate::document::EncodeError;
use crate::envelope::Template;
use crate::error::Source;
use crate::message::{RequestId, Route};
use crate::unanswered::{List, Unanswered};

/// How documents become requests, known once the gateway is known.
#[derive(Debug)]
pub(crate) struct Format {
    pub(crate) route: Arc<Route>,
    pub(crate) template: Template,
    /// The maximum number of documents that the gateway takes in one request, if it has a limit.
    pub(crate) most_documents: Option<usize>,
}

/// A complete request.
#[derive(Debug)]
pub(crate) struct Batch {
    /// The request's index in its call.
    pub(crate) index: u64,
    pub(crate) documents: Range<u64>,
    pub(crate) content: Content,
}

/// The content of a batch.
#[derive(Debug)]
pub(crate) enum Content {
    /// A body to send.
    Body { body: Bytes, format: Arc<Format>, id: RequestId, id_text: String },
    /// One document that cannot be sent.
    Refused(EncodeError),
    /// The input's failure, in place of a document.
    Unread(Source),
    /// Documents that could not be encoded, because the gateway could not be asked for its
    /// generation.
    Unencoded(Option<Unanswered>),
}

/// The room that a body needs beyond the length of the last body: the bytes reserved at its front,
/// and the spare capacity that vectors ask for.
const SLACK: usize = 64;

impl Batch {
    pub(crate) fn bytes(&self) -> usize {
        match &self.content {
            Content::Body { body, .. } => body.len(),
            Content::Refused(_) | Content::Unread(_) | Content::Unencoded(_) => 0,
        }
    }
}

/// Splits a call's documents into numbered requests of `size` documents each; 0 puts all documents
/// into one request.
///
/// A document that cannot be encoded ends the batch before it and becomes a batch by itself, so
/// that only this document fails.
#[derive(Debug)]
pub(crate) struct Batcher {
    size: usize,
    /// The index of the next batch.
    index: u64,
    /// The number of the next document.
    next: u64,
    open: Option<Open>,
    /// The length of the last body, a good estimate for the next one.
    last_length: usize,
}

#[derive(Debug)]
struct Open {
    first: u64,
    /// The number of documents that complete the batch.
    size: usize,
    /// `None` if the documents are only counted.
    body: Option<(Vec<u8>, Arc<Format>)>,
    /// The documents that are only counted, if they are to be returned.
    list: Option<List>,
}

/// The batches that a pushed document completed.
#[derive(Debug, Default)]
pub(crate) struct Pushed {
    /// The batch that is now complete.
    pub(crate) complete: Option<Batch>,
    /// The document itself, if it could not be encoded. It comes after `complete`.
    pub(crate) refused: Option<Batch>,
}

impl Batcher {
    pub(crate) fn new(size: usize) -> Batcher {
        Batcher { size, index: 0, next: 0, open: None, last_length: 0 }
    }

    /// Whether a batch is begun that is not complete.
    pub(crate) fn is_open(&self) -> bool {
        self.open.is_some()
    }

    /// Whether no document was read and no batch begun.
    pub(crate) fn is_untouched(&self) -> bool {
        self.index == 0 && self.next == 0 && self.open.is_none()
    }

    /// Returns the number of documents that were read so far.
    pub(crate) fn documents(&self) -> u64 {
        self.next
    }

    /// Begins a batch. Without a format its documents are counted, not encoded. If `keep` is set,
    /// the documents are also kept, to be returned with the error of their request.
    pub(crate) fn begin(&mut self, format: Option<Arc<Format>>, keep: bool) {
        debug_assert!(self.open.is_none(), "the last batch is complete before the next begins");
        let size = if self.size == 0 { usize::MAX } else { self.size };
        let most = format.as_ref().and_then(|format| format.most_documents);
        let size = most.map_or(size, |most| size.min(most));
        let list = (format.is_none() && keep).then(List::default);
        let body = format.map(|format| {
            let mut body = Vec::with_capacity(self.last_length + self.last_length / 8 + SLACK);
            format.template.begin(&mut body);
            (body, format)
        });
        self.open = Some(Open { first: self.next, size, body, list });
    }

    /// Adds a document to the open batch.
    pub(crate) fn push<D: Serialize>(
        &mut self,
        document: &D,
        id: impl FnOnce() -> RequestId,
    ) -> Pushed {
        let open = self.open.as_mut().expect("a batch is begun before documents are added to it");
        let count = usize::try_from(self.next - open.first).unwrap_or(usize::MAX);
        let is_full = count.saturating_add(1) >= open.size;
        if let Some((body, format)) = &mut open.body
            && let Err(error) = format.template.document(document, count == 0, body)
        {
            let complete = if count > 0 { Some(self.complete(id)) } else { None };
            self.open = None;
            let refused = Some(self.alone(Content::Refused(error)));
            return Pushed { complete, refused };
        }
        if open.list.as_mut().is_some_and(|list| !list.add(document)) {
            open.list = None;
        }
        self.next += 1;
        if is_full {
            return Pushed { complete: Some(self.complete(id)), refused: None };
        }
        Pushed::default()
    }

    /// Completes the open batch with the documents it has, because the input has ended or must
    /// wait.
    pub(crate) fn complete(&mut self, id: impl FnOnce() -> RequestId) -> Batch {
        let open = self.open.take().expect("only an open batch can be completed");
        let content = match open.body {
            None => Content::Unencoded(open.list.map(List::complete)),
            Some((body, format)) => {
                let id = id();
                let id_text = id.text();
                let body = format.template.finish(&id_text, body);
                self.last_length = body.len();
                Content::Body { body, format, id, id_text }
            }
        };
        self.batch(open.first..self.next, content)
    }

    /// Counts a document that was read but belongs to no open batch. It becomes a batch by itself.
    pub(crate) fn leave_out<D: Serialize>(&mut self, document: &D, keep: bool) -> Batch {
        let mut list = List::default();
        let kept = (keep && list.add(document)).then(|| list.complete());
        self.alone(Content::Unencoded(kept))
    }

    /// Makes a batch that takes the place of the next document alone.
    pub(crate) fn alone(&mut self, content: Content) -> Batch {
        let document = self.next;
        self.next += 1;
        self.batch(document..self.next, content)
    }

    fn batch(&mut self, documents: Range<u64>, content: Content) -> Batch {
        let index = self.index;
        self.index += 1;
        Batch { index, documents, content }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::{DocArray, Encoding};

    fn format() -> Arc<Format> {
        limited(None)
    }

    fn limited(most_documents: Option<usize>) -> Arc<Format> {
        let uri = http::Uri::from_static("/post");
        let headers = Arc::default();
        let route = Arc::new(Route { docarray: DocArray::V1, uri, is_by_name: true, headers });
        let template = Template::new(Encoding::Json, DocArray::V1, "/", None, None).unwrap();
        Arc::new(Format { route, template, most_documents })
    }

    fn id() -> RequestId {
        RequestId { nonce: 1, sequence: 1 }
    }

    fn split(size: usize, documents: &[serde_json::Value]) -> Vec<Batch> {
        let mut batcher = Batcher::new(size);
        let mut batches = Vec::new();
        for document in documents {
            if !batcher.is_open() {
                batcher.begin(Some(format()), false);
            }
            let pushed = batcher.push(document, id);
            batches.extend(pushed.complete);
            batches.extend(pushed.refused);
        }
        if batcher.is_open() {
            batches.push(batcher.complete(id));
        }
        batches
    }

    fn documents(count: u64) -> Vec<serde_json::Value> {
        (0..count).map(|n| serde_json::json!({"id": n.to_string()})).collect()
    }

    fn ids_in(batch: &Batch) -> Vec<u64> {
        let Content::Body { body, .. } = &batch.content else { panic!("a body") };
        let json: serde_json::Value = serde_json::from_slice(body).unwrap();
        let ids = json["data"].as_array().unwrap().iter();
        ids.map(|d| d["id"].as_str().unwrap().parse().unwrap()).collect()
    }

    #[test]
    fn batches_are_numbered_and_hold_each_document_once_in_order() {
        for size in 0..7 {
            for count in 0..20 {
                let batches = split(size, &documents(count));
                let expected = if size == 0 { count.min(1) } else { count.div_ceil(size as u64) };
                assert_eq!(batches.len() as u64, expected, "{count} by {size}");
                assert!(batches.iter().enumerate().all(|(n, b)| b.index == n as u64));
                let ids: Vec<u64> = batches.iter().flat_map(ids_in).collect();
                assert_eq!(ids, (0..count).collect::<Vec<_>>());
                let numbers: Vec<u64> = batches.iter().flat_map(|b| b.documents.clone()).collect();
                assert_eq!(numbers, ids);
            }
        }
    }

    #[test]
    fn a_gateways_limit_applies_if_the_size_is_larger_or_unlimited() {
        for (size, expected) in [(0, 3), (5, 3), (2, 2)] {
            let mut batcher = Batcher::new(size);
            batcher.begin(Some(limited(Some(3))), false);
            let complete = documents(9).iter().find_map(|d| batcher.push(d, id).complete).unwrap();
            assert_eq!(complete.documents, 0..expected, "{size}");
        }
    }

    #[test]
    fn a_document_that_cannot_be_encoded_fails_alone() {
        let mut documents = documents(5);
        documents[2] = serde_json::json!({"unknown": 1});
        let batches = split(4, &documents);
        let ranges: Vec<_> = batches.iter().map(|batch| batch.documents.clone()).collect();
        assert_eq!(ranges, [0..2, 2..3, 3..5]);
        assert!(
            matches!(&batches[1].content, Content::Refused(error) if error.message.contains("unknown"))
        );
        assert_eq!((ids_in(&batches[0]), ids_in(&batches[2])), (vec![0, 1], vec![3, 4]));
    }

    #[test]
    fn the_first_document_of_a_batch_can_be_the_one_that_fails() {
        let batches = split(2, &[serde_json::json!(1), serde_json::json!({"id": "1"})]);
        let ranges: Vec<_> = batches.iter().map(|batch| batch.documents.clone()).collect();
        assert_eq!(ranges, [0..1, 1..2]);
    }
}
