//! The settings of a call, fixed before its first document is read.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::HeaderMap;
use tokio::time::Instant;

use super::prepare::unsendable;
use crate::batch::{Batch, Content};
use crate::discovery::Discovery;
use crate::envelope::Template;
use crate::error::{AttemptError, Context, Error, ErrorKind, Event};
use crate::input::InputFailure;
use crate::message::{DocArray, Request, RequestId};
use crate::retry::{Failure, RetryPolicy, Times, later};
use crate::secret::Secrets;
use crate::stop::Stop;
use crate::telemetry::CallTrace;
use crate::transport::Transport;
use crate::unanswered::Unanswered;

/// The settings of a call, fixed before its first document is read.
pub(crate) struct Call {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) endpoint: String,
    pub(crate) target_executor: Option<String>,
    /// A JSON object.
    pub(crate) parameters: Option<Bytes>,
    pub(crate) headers: Arc<HeaderMap>,
    /// What no error may show.
    pub(crate) secrets: Secrets,
    pub(crate) retry: RetryPolicy,
    /// The time limit of a request over all its attempts.
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    /// How long nothing may come while a request waits for its answer.
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) request_size: usize,
    /// The time for which a request that is not full waits for documents.
    pub(crate) linger: Option<Duration>,
    /// The place where the input leaves its failure, if it can fail.
    pub(crate) input_failure: Option<InputFailure>,
    pub(crate) prefetch: usize,
    pub(crate) prefetch_bytes: usize,
    pub(crate) in_order: bool,
    pub(crate) stop_on_error: bool,
    /// Whether the error of a request contains the request's documents.
    pub(crate) keep_documents: bool,
    /// The seed of the jitter of each request's waits.
    pub(crate) seed: u64,
    /// The flag that stops the call.
    pub(crate) stop: Stop,
    pub(crate) trace: CallTrace,
}

/// The ids of a client's requests.
#[derive(Debug)]
pub(crate) struct Ids {
    nonce: u64,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new(nonce: u64) -> Ids {
        Ids { nonce, next: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> RequestId {
        RequestId { nonce: self.nonce, sequence: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

impl Call {
    /// Returns the time limits of a request that starts at `started`.
    pub(super) fn times(&self, started: Instant) -> Times {
        let deadline = later(started, self.timeout);
        Times { started, deadline, attempt: self.attempt_timeout }
    }

    pub(super) fn context(&self, request_id: Option<String>, documents: Range<u64>) -> Context {
        self.transport.facts().address.context(request_id, Some(documents))
    }

    /// Checks once that the parameters can be sent, before anything is sent and not for each batch.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the parameter.
    pub(crate) fn check_parameters(&self) -> Result<(), Error> {
        // Both generations write parameters in the same way.
        let (encoding, parameters) = (self.transport.facts().encoding, self.parameters.as_deref());
        match Template::new(encoding, DocArray::V1, &self.endpoint, None, parameters) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(ErrorKind::Encode, unsendable(&error))),
        }
    }

    /// Returns the documents of a request with this body, if they are to be returned with its
    /// error.
    pub(super) fn kept(&self, docarray: DocArray, body: &Bytes) -> Option<Unanswered> {
        let encoding = self.transport.facts().encoding;
        let kept = || Unanswered::Body { encoding, docarray, body: body.clone() };
        (self.keep_documents && !body.is_empty()).then(kept)
    }

    /// Returns the error of a request with this body.
    pub(super) fn failed(&self, failure: Failure, request: Request, body: &Bytes) -> Error {
        let kept = self.kept(request.route.docarray, body);
        let context = self.context(Some(request.id_text), request.documents);
        failure.into_error(context).with_documents(kept)
    }

    /// Returns the error of a batch that is not sent. `why` is the reason if the documents are not
    /// at fault.
    pub(super) fn unsent(&self, batch: Batch, why: impl FnOnce() -> Failure) -> Error {
        let Batch { documents, content, .. } = batch;
        let (failure, kept) = match content {
            Content::Body { body, format, .. } => (why(), self.kept(format.route.docarray, &body)),
            Content::Unencoded(kept) => (why(), kept),
            Content::Refused(refusal) => {
                let last = AttemptError::new(Event::EncodeFailed, refusal.to_string());
                (Failure::unattempted(last), None)
            }
            Content::Unread(failure) => {
                let what = format!("the document cannot be read: {failure}");
                let last = AttemptError::new(Event::InputFailed, what).with_own_source(failure);
                (Failure::unattempted(last), None)
            }
        };
        failure.into_error(self.context(None, documents)).with_documents(kept)
    }
}
