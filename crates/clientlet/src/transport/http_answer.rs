//! An HTTP answer, and its meaning for the request.

use std::time::SystemTime;

use bytes::Bytes;
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderValue, StatusCode};

use super::http_session::shown;
use super::redirect::{Unfollowed, describe};
use super::retry_after::retry_after;
use crate::envelope::{outcome, read_answer, read_failure};
use crate::error::{AttemptError, Detail, Event, Hint};
use crate::message::{DocArray, RawAnswer};

/// A v2 gateway splits a request over HTTP into requests of 100 documents and answers with the
/// first of them. The documents after the 100th are lost.
pub(crate) const MOST_V2_DOCUMENTS: usize = 100;

/// A status, headers and a body within the limit.
#[derive(Debug)]
pub(crate) struct RawHttpAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
    /// The reason why a redirect was not followed.
    pub(crate) unfollowed: Option<Unfollowed>,
}

impl RawHttpAnswer {
    pub(crate) fn is_json(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        kind.starts_with(b"application/json")
    }

    /// Describes the answer for a message that says that it cannot be read.
    pub(crate) fn shown(&self) -> String {
        shown(&self.headers, &self.body)
    }

    /// The hint at what the answer's content says. An ingress before a port for gRPC answers HTTP/1.1 as
    /// well, with empty content of gRPC's type.
    pub(super) fn hint(&self) -> Option<Hint> {
        let kind = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        kind.starts_with(b"application/grpc").then_some(Hint::PortForGrpc)
    }

    /// Reads the answer to a posted request. Everything except a result is an error.
    pub(crate) fn read(
        &self,
        docarray: DocArray,
        is_by_name: bool,
    ) -> Result<RawAnswer, AttemptError> {
        if !self.status.is_success() {
            return Err(self.failure(docarray, is_by_name));
        }
        let detail = || Detail::of_http(self.status, &self.headers);
        let raw = read_answer(docarray, &self.body).map_err(|what| {
            let what = format!("the answer cannot be read: {what}; {}", self.shown());
            AttemptError::new(Event::Unreadable, what).with_detail(detail())
        })?;
        outcome(raw).map_err(|error| error.with_detail(detail()))
    }

    pub(crate) fn failure(&self, docarray: DocArray, is_by_name: bool) -> AttemptError {
        let status = self.status.as_u16();
        let error = read_failure(docarray, is_by_name, status, self.is_json(), &self.body);
        let mut error = error.with_detail(Detail::of_http(self.status, &self.headers));
        error.retry_after = retry_after(&self.headers, SystemTime::now());
        if let (Event::Redirect, Some(why)) = (error.event, self.unfollowed) {
            let to = describe(&self.headers, why);
            error.message = format!("the gateway answered {status}{to}");
        }
        error
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn content_of_grpc_is_a_hint_at_a_port_for_grpc() {
        let answer = |kind: &'static str| RawHttpAnswer {
            status: StatusCode::OK,
            headers: HeaderMap::from_iter([(CONTENT_TYPE, HeaderValue::from_static(kind))]),
            body: Bytes::new(),
            unfollowed: None,
        };
        assert_eq!(answer("application/grpc").hint(), Some(Hint::PortForGrpc));
        assert_eq!(answer("application/json").hint(), None);
    }
}
