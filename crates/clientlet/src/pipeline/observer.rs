//! Observes each request as it begins and as it ends, whichever way its attempts go. Failed
//! attempts in between are events of the retry loop.

use std::ops::Range;

use crate::error::Error;
use crate::response::Response;

/// A request with these documents begins; `index` is its index in the call.
pub(super) fn begun(index: u64, documents: &Range<u64>) {
    tracing::trace!(index, ?documents, "a request begins");
}

/// A request has ended, or a part of a request whose documents ended separately.
pub(super) fn ended(index: u64, end: &Result<Response, Error>) {
    match end {
        Ok(response) => {
            let (attempts, elapsed) = (response.attempts(), response.elapsed());
            tracing::trace!(index, attempts, ?elapsed, "a request is answered");
        }
        Err(error) => {
            let (kind, delivery) = (error.kind(), error.delivery());
            tracing::debug!(index, %kind, %delivery, "a request fails: {}", error.message());
        }
    }
}
