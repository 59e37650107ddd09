//! An HTTP answer that the caller reads.

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

use crate::envelope::{outcome, read_proto_answer, read_status};
use crate::error::{AttemptError, Context, Error, ErrorKind, Event};
use crate::message::{DocArray, RawAnswer, StatusMessage};
use crate::response::Response;
use crate::retry::Failure;
use crate::transport::RawHttpAnswer;

/// An HTTP answer as it came, whatever its status.
#[derive(Debug)]
pub struct HttpAnswer(pub(super) RawHttpAnswer);

/// Makes an answer from one that came by other means, or that a test made up.
impl From<http::Response<Bytes>> for HttpAnswer {
    fn from(response: http::Response<Bytes>) -> HttpAnswer {
        let (head, body) = response.into_parts();
        let (status, headers) = (head.status, head.headers);
        HttpAnswer(RawHttpAnswer { status, headers, body, unfollowed: None })
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
        alone(self.0.read(docarray, docarray == DocArray::V1))
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

fn alone(read: Result<RawAnswer, AttemptError>) -> Result<Response, Error> {
    let failed = |error| Failure::unattempted(error).into_error(Context::default());
    read.map(Response::alone).map_err(failed)
}
