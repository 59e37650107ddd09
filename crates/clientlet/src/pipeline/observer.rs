//! Observes each request as it begins and as it ends, whichever way its attempts go. Failed
//! attempts in between are events of the retry loop.

use std::ops::Range;

use tracing::field::display;

use crate::error::Error;
use crate::log;
use crate::response::Response;
use crate::telemetry::CallTrace;

/// A request with these documents begins; `index` is its index in the call.
pub(super) fn begun(call: &CallTrace, index: u64, documents: &Range<u64>) {
    call.request_begun();
    log::request_begun(index, documents.start, documents.end - documents.start);
}

/// A request has ended, or a part of a request whose documents ended separately.
pub(super) fn ended(call: &CallTrace, index: u64, end: &Result<Response, Error>) {
    call.request_ended(end);
    match end {
        Ok(response) => {
            log::request_answered(index, response.attempts(), response.elapsed().as_secs_f64());
        }
        Err(error) => {
            let (kind, delivery) = (error.kind(), error.delivery());
            log::request_failed(index, display(kind), display(delivery), error.message());
        }
    }
}
