//! An answer to the caller. Its parts are decoded when the caller asks for them.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use bytes::Bytes;
use serde::de::DeserializeOwned;

use crate::document::proto::{decode_documents, decode_struct};
use crate::document::{self, EncodedDocument};
use crate::envelope::{read_proto_routes, read_routes};
use crate::error::{Context, Error};
use crate::message::{DocArray, Encoding, RawAnswer, RouteTimes, Status};

/// The answer to one request.
#[derive(Clone)]
pub struct Response {
    answer: RawAnswer,
    request_id: String,
    input: Range<u64>,
    attempts: u32,
    elapsed: Duration,
}

impl Response {
    pub(crate) fn new(
        answer: RawAnswer,
        request_id: String,
        input: Range<u64>,
        attempts: u32,
        elapsed: Duration,
    ) -> Response {
        Response { answer, request_id, input, attempts, elapsed }
    }

    /// Makes an answer that belongs to no call. Its id is the id that came with it.
    pub(crate) fn alone(answer: RawAnswer) -> Response {
        let request_id = answer.request_id.clone();
        Response::new(answer, request_id, 0..0, 1, Duration::ZERO)
    }

    /// Returns the request's id, as this client made it.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Returns the request's id in the gateway's logs. A v1 HTTP gateway makes its own ids.
    pub fn gateway_request_id(&self) -> &str {
        &self.answer.request_id
    }

    /// Returns the range of the call's documents that the request carried, counted from 0 in the
    /// order of the input.
    pub fn input(&self) -> Range<u64> {
        self.input.clone()
    }

    /// Returns the generation of the answer's documents.
    pub fn docarray(&self) -> DocArray {
        self.answer.docarray
    }

    /// Returns the outcome of the request. A v2 HTTP gateway does not report it; the status is then
    /// the default, success.
    pub fn status(&self) -> &Status {
        &self.answer.status
    }

    /// Returns the stations of the request, decoded again on each call. A v2 HTTP gateway does not
    /// report them; the list is then empty.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode), naming the part that is not a route.
    pub fn routes(&self) -> Result<Vec<RouteTimes>, Error> {
        let Some(routes) = &self.answer.routes else { return Ok(Vec::new()) };
        let read = match self.answer.encoding {
            Encoding::Json => read_routes(routes),
            Encoding::Proto => read_proto_routes(routes),
        };
        read.map_err(|what| self.unreadable("routes", &what))
    }

    /// Returns the parameters of the answer, including executors' results under `__results__`, as
    /// any type that serde reads from a map. All numbers in them are doubles; whole ones are read
    /// as integers.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode), naming the field that does not fit `P`.
    pub fn parameters<P: DeserializeOwned>(&self) -> Result<P, Error> {
        let answer = &self.answer;
        let read = match (&answer.parameters, answer.encoding) {
            (None, _) => document::decode_parameters(b"{}"),
            (Some(json), Encoding::Json) => document::decode_parameters(json),
            (Some(bytes), Encoding::Proto) => decode_struct(bytes),
        };
        read.map_err(|what| self.unreadable("parameters", &what))
    }

    /// Returns the documents of the answer, decoded directly into `T`, again on each call.
    ///
    /// A whole double is read as an integer if the type asks for an integer. In tags of v1, whose
    /// numbers are all doubles, it is also read as an integer if the type takes any value. (This
    /// does not apply to JSON in a build where a crate enables serde_json's `arbitrary_precision`:
    /// a type that takes any value, and everything inside `flatten` and untagged enums, then gets
    /// `5.0`.)
    ///
    /// `Box<serde_json::value::RawValue>` takes the documents as JSON text. From a JSON gateway the
    /// text is as the gateway wrote it, except for those doubles. From protobuf, tensors become
    /// nested lists, bytes become base64, and NaN and infinity become null.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode), naming the document and the field that do
    /// not fit `T`.
    pub fn documents<T: DeserializeOwned>(&self) -> Result<Vec<T>, Error> {
        let answer = &self.answer;
        let read = match (&answer.documents, answer.encoding) {
            (None, _) => Ok(Vec::new()),
            (Some(json), Encoding::Json) => document::decode_documents(answer.docarray, json),
            (Some(bytes), Encoding::Proto) => decode_documents(answer.docarray, bytes),
        };
        read.map_err(|what| self.unreadable("documents", &what))
    }

    /// Returns the documents of the answer without decoding them, to be passed on, or decoded later
    /// or on another thread. They share the answer's memory.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode), naming the part that is not a list of
    /// documents.
    pub fn encoded_documents(&self) -> Result<Vec<EncodedDocument>, Error> {
        let answer = &self.answer;
        let split = match (&answer.documents, answer.encoding) {
            (None, _) => Ok(Vec::new()),
            (Some(list), Encoding::Json) => EncodedDocument::split_json(answer.docarray, list),
            (Some(list), Encoding::Proto) => EncodedDocument::split_proto(answer.docarray, list),
        };
        split.map_err(|what| self.unreadable("documents", &what))
    }

    /// Returns the answer as it came, to be read by other code.
    pub fn encoded(&self) -> EncodedAnswer {
        let answer = &self.answer;
        if answer.encoding == Encoding::Proto {
            return EncodedAnswer::Proto(answer.whole.clone());
        }
        let whole = &answer.whole;
        let Some(documents) = &answer.documents else { return EncodedAnswer::Json(whole.clone()) };
        // The documents are a part of the whole.
        let start = (documents.as_ptr() as usize).saturating_sub(whole.as_ptr() as usize);
        let before = whole.get(..start).unwrap_or_default();
        let after = whole.get(start + documents.len()..).unwrap_or_default();
        EncodedAnswer::Json([before, b"null", after].concat().into())
    }

    /// Returns the number of times that the request was sent.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// Returns the time from the first attempt to the answer.
    pub fn elapsed(&self) -> Duration {
        self.elapsed
    }

    fn unreadable(&self, part: &str, what: &str) -> Error {
        Error::decode(format!("the {part} of the answer do not fit: {what}")).with_context(
            Context {
                request_id: Some(self.request_id.clone()),
                documents: Some(self.input.clone()),
                ..Context::default()
            },
        )
    }
}

/// An answer as it came.
#[non_exhaustive]
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EncodedAnswer {
    /// JSON, with null in place of the documents.
    Json(Bytes),
    /// A `DataRequestProto` with its documents.
    Proto(Bytes),
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("request_id", &self.request_id)
            .field("input", &self.input)
            .field("status", &self.answer.status)
            .field("attempts", &self.attempts)
            .finish_non_exhaustive()
    }
}
