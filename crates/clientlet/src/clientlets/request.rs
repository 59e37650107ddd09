//! A request made by hand, in the encoding of the protocol that it is for.

use bytes::Bytes;
use serde::Serialize;

use crate::document::{EncodeError, Encoder, proto};
use crate::envelope::Template;
use crate::error::{Error, ErrorKind};
use crate::message::{DocArray, Encoding, RequestId};
use crate::target;

/// A request made by hand: [`new`](DataRequest::new) for HTTP, [`proto`](DataRequest::proto) for
/// WebSocket and gRPC.
///
/// Its documents are encoded once, as they are added, so the encoding is chosen at the beginning; a
/// clientlet refuses a request of the other one.
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
    /// Encoded documents; of JSON, commas in between.
    documents: Vec<u8>,
    count: usize,
}

impl DataRequest {
    /// A request in JSON, as HTTP takes it: without documents, for an executor's endpoint, with an id
    /// of its own.
    pub fn new(docarray: DocArray, endpoint: impl Into<String>) -> DataRequest {
        DataRequest::encoded(Encoding::Json, docarray, endpoint.into())
    }

    /// The same in protobuf, as WebSocket and gRPC take it.
    pub fn proto(docarray: DocArray, endpoint: impl Into<String>) -> DataRequest {
        DataRequest::encoded(Encoding::Proto, docarray, endpoint.into())
    }

    fn encoded(encoding: Encoding, docarray: DocArray, endpoint: String) -> DataRequest {
        DataRequest {
            encoding,
            docarray,
            endpoint,
            request_id: RequestId { nonce: fastrand::u64(..), sequence: 0 }.to_string(),
            target_executor: None,
            parameters: None,
            documents: Vec::new(),
            count: 0,
        }
    }

    /// The id that goes with the request. A v1 gateway makes its own over HTTP.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> DataRequest {
        self.request_id = id.into();
        self
    }

    /// Which executors are to work, as for [`Post`](crate::Post::target_executor). What is no regular
    /// expression is refused when it is sent.
    #[must_use]
    pub fn target_executor(mut self, pattern: impl Into<String>) -> DataRequest {
        self.target_executor = Some(pattern.into());
        self
    }

    /// Parameters for the executors: a map.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when it is no map, or holds what the encoding cannot.
    pub fn parameters<P: Serialize>(mut self, parameters: &P) -> Result<DataRequest, Error> {
        let mut json = Vec::new();
        let encoded = Encoder::new(self.docarray).map(parameters, &mut json);
        self.parameters = Some(json);
        match encoded.and_then(|()| self.template().map(drop)) {
            Ok(()) => Ok(self),
            Err(error) => Err(refused("the parameters cannot be sent", &error)),
        }
    }

    /// Adds a document, encoded now.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field that cannot be sent.
    pub fn document<D: Serialize + ?Sized>(mut self, document: &D) -> Result<DataRequest, Error> {
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
        match encoded {
            Ok(()) => {
                self.count += 1;
                Ok(self)
            }
            Err(error) => Err(refused("the document cannot be sent", &error)),
        }
    }

    /// Adds documents, encoded now.
    ///
    /// # Errors
    /// As for [`document`](DataRequest::document).
    pub fn documents<D: Serialize>(
        self,
        documents: impl IntoIterator<Item = D>,
    ) -> Result<DataRequest, Error> {
        documents.into_iter().try_fold(self, |request, document| request.document(&document))
    }

    /// The id.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The request as it goes to a gateway of its generation.
    pub fn to_bytes(&self) -> Bytes {
        let template = self.template().expect("the parameters were tried when they were given");
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

    pub(crate) fn docarray(&self) -> DocArray {
        self.docarray
    }

    pub(crate) fn count(&self) -> usize {
        self.count
    }

    /// Refuses a request that is not encoded as a protocol takes it, and says how it could be; and one
    /// whose target executor is no regular expression.
    pub(crate) fn require(&self, encoding: Encoding) -> Result<(), Error> {
        let what = match (encoding, self.encoding) {
            (Encoding::Proto, Encoding::Json) => {
                "the request is JSON, but this protocol takes protobuf: begin it with \
                 DataRequest::proto"
            }
            (Encoding::Json, Encoding::Proto) => {
                "the request is protobuf, but HTTP takes JSON: begin it with DataRequest::new"
            }
            _ => return self.target_executor.as_deref().map_or(Ok(()), target::check),
        };
        Err(Error::new(ErrorKind::Encode, what))
    }
}

fn refused(what: &str, error: &EncodeError) -> Error {
    Error::new(ErrorKind::Encode, format!("{what}: {error}"))
}
