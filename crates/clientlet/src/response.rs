//! An answer as the caller has it: its parts are read when they are asked for.

use std::fmt;
use std::ops::Range;
use std::time::Duration;

use serde::de::DeserializeOwned;

use crate::document;
use crate::document::proto::{decode_documents, decode_struct};
use crate::envelope::{read_proto_routes, read_routes};
use crate::error::{Context, Error};
use crate::message::{Encoding, RawAnswer, RouteTimes, Status};

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

    /// An answer that belongs to no call; its id is the one that came with it.
    pub(crate) fn alone(answer: RawAnswer) -> Response {
        let request_id = answer.request_id.clone();
        Response::new(answer, request_id, 0..0, 1, Duration::ZERO)
    }

    /// The request's id, as this client gave it.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The request's id in the gateway's logs: a v1 HTTP gateway makes its own.
    pub fn gateway_request_id(&self) -> &str {
        &self.answer.request_id
    }

    /// Which documents of the call the request carried, counted from 0 in the order of the input.
    pub fn input(&self) -> Range<u64> {
        self.input.clone()
    }

    /// How the request fared. A v2 HTTP gateway does not say; there it is the default, success.
    pub fn status(&self) -> &Status {
        &self.answer.status
    }

    /// The stations of the request, read anew on every call. A v2 HTTP gateway does not say; there it
    /// is empty.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`](crate::ErrorKind::Decode), naming what is no route.
    pub fn routes(&self) -> Result<Vec<RouteTimes>, Error> {
        let Some(routes) = &self.answer.routes else { return Ok(Vec::new()) };
        let read = match self.answer.encoding {
            Encoding::Json => read_routes(routes),
            Encoding::Proto => read_proto_routes(routes),
        };
        read.map_err(|what| self.unreadable("routes", &what))
    }

    /// The parameters that came back, including executors' results under `__results__`, as any type
    /// that serde reads from a map. All numbers in them are doubles; whole ones are read as
    /// integers.
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

    /// The documents that came back, read straight into `T`; read anew on every call.
    ///
    /// A whole double is read as an integer if the type asks for one. In tags of v1, whose numbers
    /// are all doubles, it is also read as an integer if the type takes anything. (Not from JSON in a
    /// build where some crate enables serde_json's `arbitrary_precision`: there a type that takes
    /// anything, and all that `flatten` and untagged enums hold, gets `5.0`.)
    ///
    /// `Box<serde_json::value::RawValue>` takes the documents as JSON text: from a JSON gateway as
    /// the gateway wrote them, except for those doubles; from protobuf with tensors as nested
    /// lists, bytes as base64, and NaN and infinity as null.
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

    /// How often the request was sent.
    pub fn attempts(&self) -> u32 {
        self.attempts
    }

    /// From the first attempt to the answer.
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
