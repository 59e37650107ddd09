//! The seam for streams of documents: one document in, many out, on the two protocols that have
//! them.

use std::pin::Pin;
use std::sync::Arc;

use ::http::{HeaderMap, Uri};
use bytes::Bytes;
use futures_core::Stream;
use tokio::time::Instant;

use super::Answer;
use crate::error::AttemptError;
use crate::message::Encoding;
use crate::telemetry::AttemptTrace;

/// An encoded request for a stream.
#[derive(Clone, Debug)]
pub(crate) struct StreamRequest {
    pub(crate) body: Bytes,
    pub(crate) uri: Uri,
    pub(crate) headers: Arc<HeaderMap>,
    /// The time by which the stream must have ended, for gateways that can be told.
    pub(crate) until: Option<Instant>,
    pub(crate) trace: AttemptTrace,
}

/// A document as it came: a JSON object, or a `DocProto`.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct RawDocument {
    pub(crate) encoding: Encoding,
    pub(crate) bytes: Bytes,
}

/// The documents of a stream, read as they are asked for. It ends when the executor's stream ends.
/// Dropping it cancels the executor's stream.
pub(crate) type RawDocuments =
    Pin<Box<dyn Stream<Item = Result<RawDocument, AttemptError>> + Send>>;

/// A protocol with streams of documents, which can make one attempt of a stream.
pub(crate) trait Streams: Send + Sync {
    /// Sends the request once and waits until the gateway has begun to answer.
    fn open<'a>(
        &'a self,
        request: &'a StreamRequest,
        deadline: Option<Instant>,
    ) -> Answer<'a, RawDocuments>;
}
