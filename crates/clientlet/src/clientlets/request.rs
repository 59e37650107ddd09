//! A request made by hand, in the encoding of its protocol.

use bytes::Bytes;
use serde::Serialize;

use crate::document::{Again, EncodeError, Encoder, proto};
use crate::envelope::{Template, read_proto_target};
use crate::error::{Error, ErrorKind};
use crate::message::{DocArray, Encoding, RequestId};
use crate::response::Response;
use crate::target;

/// The most that is reserved for documents that are still to come, in bytes.
const AHEAD: usize = 1 << 20;

/// A request made by hand: [`new`](DataRequest::new) for HTTP, [`proto`](DataRequest::proto) for
/// WebSocket and gRPC.
///
/// Documents are encoded when they are added, so the encoding is chosen at the beginning. A
/// clientlet refuses a request in the wrong encoding.
///
/// ```
/// use clientlet::clientlets::DataRequest;
/// use clientlet::{DocArray, Document};
///
/// let hello = Document::text("hello");
/// let json = DataRequest::new(DocArray::V1, "/upper").document(&hello)?;
/// assert!(json.to_bytes().starts_with(b"{\"data\":["));
///
/// let binary = DataRequest::proto(DocArray::V1, "/upper").document(&hello)?;
/// assert!(binary.to_bytes().len() < json.to_bytes().len());
/// # Ok::<(), clientlet::Error>(())
/// ```
#[derive(Clone, Debug)]
pub struct DataRequest {
    encoding: Encoding,
    docarray: DocArray,
    endpoint: String,
    request_id: String,
    target_executor: Option<String>,
    /// A JSON object that the encoding can hold.
    parameters: Option<Vec<u8>>,
    /// The encoded documents; in JSON with commas between them.
    documents: Vec<u8>,
    count: usize,
    /// The whole body, of a request that was made elsewhere.
    ready: Option<Bytes>,
}

impl DataRequest {
    /// Begins a request in JSON, for HTTP: without documents, for an executor's endpoint, with an
    /// id of its own.
    pub fn new(docarray: DocArray, endpoint: impl Into<String>) -> DataRequest {
        DataRequest::encoded(Encoding::Json, docarray, endpoint.into())
    }

    /// Begins a request in protobuf, for WebSocket and gRPC.
    pub fn proto(docarray: DocArray, endpoint: impl Into<String>) -> DataRequest {
        DataRequest::encoded(Encoding::Proto, docarray, endpoint.into())
    }

    fn encoded(encoding: Encoding, docarray: DocArray, endpoint: String) -> DataRequest {
        let request_id = RequestId { nonce: fastrand::u64(..), sequence: 0 }.to_string();
        DataRequest { endpoint, request_id, ..DataRequest::empty(encoding, docarray) }
    }

    fn empty(encoding: Encoding, docarray: DocArray) -> DataRequest {
        DataRequest {
            encoding,
            docarray,
            endpoint: String::new(),
            request_id: String::new(),
            target_executor: None,
            parameters: None,
            documents: Vec::new(),
            count: 0,
            ready: None,
        }
    }

    /// Makes a request of a body in JSON that is ready, with this number of documents in it. The body
    /// is sent as it is.
    ///
    /// The request's id, for logs and errors, can be set by [`with_request_id`](Self::with_request_id).
    /// Documents, parameters and the target executor are in the body, so adding them is an error.
    pub fn from_json(docarray: DocArray, documents: usize, body: impl Into<Bytes>) -> DataRequest {
        DataRequest::of_body(Encoding::Json, docarray, documents, body.into())
    }

    /// Makes a request of a body in protobuf that is ready, like [`from_json`](Self::from_json).
    pub fn from_proto(docarray: DocArray, documents: usize, body: impl Into<Bytes>) -> DataRequest {
        DataRequest::of_body(Encoding::Proto, docarray, documents, body.into())
    }

    fn of_body(encoding: Encoding, docarray: DocArray, count: usize, body: Bytes) -> DataRequest {
        DataRequest { count, ready: Some(body), ..DataRequest::empty(encoding, docarray) }
    }

    /// Makes a request in JSON, for HTTP, of one in protobuf: with its id, endpoint, target executor, parameters and
    /// documents.
    ///
    /// # Errors
    /// [`ErrorKind::Decode`] if the message is no request with documents of this generation, and
    /// [`ErrorKind::Encode`] if JSON cannot hold what is in it.
    pub fn json_of_proto(docarray: DocArray, message: &Bytes) -> Result<DataRequest, Error> {
        let read = Response::from_proto(docarray, message)?;
        let target = read_proto_target(message);
        let (endpoint, target_executor) =
            target.map_err(|what| Error::decode(format!("the request cannot be read: {what}")))?;
        let request = DataRequest {
            endpoint,
            target_executor,
            request_id: read.request_id().to_owned(),
            ..DataRequest::empty(Encoding::Json, docarray)
        };
        let parameters: Again = read.parameters()?;
        let request = match parameters.is_empty() {
            true => request,
            false => request.parameters(&parameters)?,
        };
        request.documents(read.documents::<Again>()?)
    }

    /// Sets the request's id. Over HTTP a v1 gateway makes its own id.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> DataRequest {
        self.request_id = id.into();
        self
    }

    /// Selects the executors that work on the request, as
    /// [`Post::target_executor`](crate::Post::target_executor) does. A pattern that is not a
    /// regular expression is refused when the request is sent.
    #[must_use]
    pub fn target_executor(mut self, pattern: impl Into<String>) -> DataRequest {
        self.target_executor = Some(pattern.into());
        self
    }

    /// Sets the parameters for the executors, a map.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] if the value is not a map, or the encoding cannot hold it.
    pub fn parameters<P: Serialize>(mut self, parameters: &P) -> Result<DataRequest, Error> {
        self.require_unready("parameters")?;
        let mut json = Vec::new();
        let encoded = Encoder::new(self.docarray).map(parameters, &mut json);
        self.parameters = Some(json);
        match encoded.and_then(|()| self.template().map(drop)) {
            Ok(()) => Ok(self),
            Err(error) => Err(error.of("parameters")),
        }
    }

    /// Adds a document, which is encoded immediately.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field that cannot be sent.
    pub fn document<D: Serialize + ?Sized>(mut self, document: &D) -> Result<DataRequest, Error> {
        self.add(document)?;
        Ok(self)
    }

    /// Adds documents, which are encoded immediately.
    ///
    /// # Errors
    /// As for [`document`](DataRequest::document).
    pub fn documents<D: Serialize>(
        mut self,
        documents: impl IntoIterator<Item = D>,
    ) -> Result<DataRequest, Error> {
        let mut documents = documents.into_iter();
        if let Some(first) = documents.next() {
            let start = self.documents.len();
            self.add(&first)?;
            // Documents of one request are mostly alike. Growing by doubling would copy them again
            // and again.
            let length = (self.documents.len() - start).saturating_mul(documents.size_hint().0);
            self.documents.reserve(length.saturating_add(length / 8).min(AHEAD));
        }
        for document in documents {
            self.add(&document)?;
        }
        Ok(self)
    }

    fn add<D: Serialize + ?Sized>(&mut self, document: &D) -> Result<(), Error> {
        self.require_unready("documents")?;
        let encoded = match self.encoding {
            Encoding::Json => {
                if self.count > 0 {
                    self.documents.push(b',');
                }
                Encoder::new(self.docarray).document(document, &mut self.documents)
            }
            Encoding::Proto => {
                proto::Encoder::new(self.docarray).document(document, &mut self.documents)
            }
        };
        encoded.map_err(|error| error.of("document"))?;
        self.count += 1;
        Ok(())
    }

    /// Returns the request's id.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// Returns the bytes of the request, as a gateway of its generation takes them.
    pub fn to_bytes(&self) -> Bytes {
        if let Some(ready) = &self.ready {
            return ready.clone();
        }
        let template = self.template().expect("the parameters were checked when they were set");
        let mut body = Vec::with_capacity(self.documents.len() + 256);
        template.begin(&mut body);
        body.extend_from_slice(&self.documents);
        template.finish(&self.request_id, body)
    }

    fn template(&self) -> Result<Template, EncodeError> {
        Template::new(
            self.encoding,
            self.docarray,
            &self.endpoint,
            self.target_executor.as_deref(),
            self.parameters.as_deref(),
        )
    }

    /// The id, unless the body was made elsewhere and its id was not told.
    pub(crate) fn known_id(&self) -> Option<&str> {
        Some(&*self.request_id).filter(|id| !id.is_empty())
    }

    pub(crate) fn docarray(&self) -> DocArray {
        self.docarray
    }

    /// Returns the number of documents, as far as it is known.
    pub fn count(&self) -> usize {
        self.count
    }

    fn require_unready(&self, what: &str) -> Result<(), Error> {
        match self.ready {
            None => Ok(()),
            Some(_) => Err(Error::new(
                ErrorKind::Encode,
                format!("the request's body is ready, so no {what} can be added to it"),
            )),
        }
    }

    /// Refuses a request in another encoding than the protocol's, with advice, and a request whose
    /// target executor is not a regular expression.
    pub(crate) fn require(&self, encoding: Encoding) -> Result<(), Error> {
        let what = match (encoding, self.encoding) {
            (Encoding::Proto, Encoding::Json) => {
                "the request is JSON, but this protocol takes protobuf: begin it with \
                 DataRequest::proto"
            }
            (Encoding::Json, Encoding::Proto) => {
                "the request is protobuf, but HTTP takes JSON: begin it with DataRequest::new"
            }
            _ => {
                let Some(pattern) = &self.target_executor else { return Ok(()) };
                self.require_unready("target executor")?;
                return target::check(pattern);
            }
        };
        Err(Error::new(ErrorKind::Encode, what))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::document::{Document, Tensor};

    #[test]
    fn a_request_in_protobuf_becomes_the_same_request_in_json() {
        for docarray in [DocArray::V1, DocArray::V2] {
            let made = |request: DataRequest| {
                let blob = Document { blob: Some(b"hi".into()), ..Document::default() };
                let tags =
                    BTreeMap::from([("n".to_owned(), 5.into()), ("t".to_owned(), "x".into())]);
                let outer = Document {
                    embedding: Some(Tensor::from([1.5_f32, -2.0])),
                    weight: Some(0.25),
                    tags: Some(tags),
                    chunks: Some(vec![blob]),
                    ..Document::text("h\u{e9}llo \"you\"")
                };
                let parameters = BTreeMap::from([("top", 3)]);
                let request = request.with_request_id("a-1").target_executor("exec.*");
                request.parameters(&parameters).unwrap().document(&outer).unwrap().to_bytes()
            };
            let proto = made(DataRequest::proto(docarray, "/search"));
            let again = DataRequest::json_of_proto(docarray, &proto).unwrap();
            assert_eq!((again.request_id(), again.count()), ("a-1", 1));
            let json = |bytes: Bytes| serde_json::from_slice::<serde_json::Value>(&bytes).unwrap();
            let direct = json(made(DataRequest::new(docarray, "/search")));
            assert_eq!(json(again.to_bytes()), direct, "{docarray}");
        }
        assert!(
            DataRequest::json_of_proto(DocArray::V1, &Bytes::from_static(b"\x0a\x05")).is_err()
        );
    }

    #[test]
    fn a_ready_body_is_sent_as_it_is_and_takes_nothing_more() {
        let ready = || DataRequest::from_proto(DocArray::V1, 1, &b"\x0a\x00"[..]);
        assert_eq!(ready().to_bytes(), &b"\x0a\x00"[..]);
        assert!(ready().require(Encoding::Proto).is_ok());
        assert!(ready().require(Encoding::Json).is_err());
        let refused = ready().document(&Document::text("a")).unwrap_err();
        assert!(refused.to_string().contains("no documents can be added"), "{refused}");
        assert!(ready().parameters(&std::collections::HashMap::from([("a", 1)])).is_err());
        assert!(ready().target_executor("a").require(Encoding::Proto).is_err());
    }
}
