//! An HTTP answer that the caller reads.

use std::fmt;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::envelope::{outcome, read_proto_answer, read_proto_status, read_status};
use crate::error::{AttemptError, Context, Error, ErrorKind, Event};
use crate::message::{DocArray, RawAnswer, Status, StatusMessage};
use crate::response::Response;
use crate::retry::Failure;
use crate::secret::Secrets;
use crate::transport::RawHttpAnswer;

/// An HTTP answer as it came, whatever its status. Errors that are made of it show no secret of the
/// client that the server repeats in it.
pub struct HttpAnswer(pub(super) RawHttpAnswer, pub(super) Secrets);

/// Makes an answer from one that came by other means, or that a test made up.
impl From<http::Response<Bytes>> for HttpAnswer {
    fn from(response: http::Response<Bytes>) -> HttpAnswer {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        let raw = RawHttpAnswer { status, headers, body, unfollowed: None };
        HttpAnswer(raw, Secrets::default())
    }
}

impl HttpAnswer {
    /// Returns the status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// Returns the headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// Returns the body.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// Reads the answer to a data request. A failure of any kind is an error.
    ///
    /// # Errors
    /// The failure that the HTTP status or the answer's own status reports, or that the answer
    /// cannot be read.
    pub fn response(&self, docarray: DocArray) -> Result<Response, Error> {
        let read = self.0.read(docarray, docarray == DocArray::V1);
        alone(read.map_err(|mut error| {
            error.hide(&self.1);
            error
        }))
    }

    /// Reads the answer to a dry run. The status may report a failure.
    ///
    /// # Errors
    /// If the HTTP status is not a success, or the body is not a status.
    pub fn status_message(&self) -> Result<StatusMessage, Error> {
        if !self.0.status.is_success() {
            let what = format!("the dry run was answered with {}", self.0.status);
            return Err(Error::new(ErrorKind::Gateway, what));
        }
        read_status(&self.0.body)
            .map_err(|what| Error::decode(format!("the dry run's answer cannot be read: {what}")))
    }
}

impl fmt::Debug for HttpAnswer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpAnswer")
            .field("status", &self.0.status)
            .field("body", &format_args!("{} bytes", self.0.body.len()))
            .finish_non_exhaustive()
    }
}

impl Response {
    /// Reads an answer in protobuf, as WebSocket and gRPC carry it, that came by other means or
    /// that a test made up.
    ///
    /// # Errors
    /// The failure that the answer's status reports, or that the answer cannot be read.
    pub fn from_proto(docarray: DocArray, message: &Bytes) -> Result<Response, Error> {
        let unreadable = |what| {
            AttemptError::new(Event::Unreadable, format!("the answer cannot be read: {what}"))
        };
        alone(read_proto_answer(docarray, message).map_err(unreadable).and_then(outcome))
    }
}

impl Status {
    /// Reads a status in protobuf, as WebSocket and gRPC carry the answer to a dry run.
    ///
    /// # Errors
    /// If the bytes are no `StatusProto`.
    pub fn from_proto(message: &[u8]) -> Result<Status, Error> {
        read_proto_status(message)
            .map_err(|what| Error::decode(format!("the status cannot be read: {what}")))
    }
}

fn alone(read: Result<RawAnswer, AttemptError>) -> Result<Response, Error> {
    let failed = |error| Failure::unattempted(error).into_error(Context::default());
    read.map(Response::alone).map_err(failed)
}
