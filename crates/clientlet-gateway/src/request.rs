//! A request as a handler finds it.

use std::sync::Arc;

use http::HeaderMap;
use serde::de::DeserializeOwned;

use crate::docarray::DocArray;
use crate::value::{ReadError, Value, read};

/// A request for an endpoint, as its [`Endpoint`](crate::Endpoint) finds it. Clones share the
/// documents.
///
/// ```
/// use clientlet_gateway::{Exception, Request};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Query {
///     text: String,
/// }
///
/// #[derive(Deserialize)]
/// struct Search {
///     limit: usize,
/// }
///
/// /// A handler for `/search`.
/// fn search(request: Request) -> Result<Vec<serde_json::Value>, Exception> {
///     let queries: Vec<Query> = request.documents()?;
///     let search: Search = request.parameters()?;
///     if request.header("authorization") != Some("Bearer secret") {
///         return Err(Exception::new("PermissionError", ["who are you?"]));
///     }
///     let found = queries.iter().take(search.limit);
///     Ok(found.map(|query| serde_json::json!({"text": query.text})).collect())
/// }
/// ```
#[derive(Clone, Debug)]
pub struct Request {
    pub(crate) documents: Arc<Vec<Value>>,
    pub(crate) about: Arc<About>,
    /// The executor that it has come to.
    pub(crate) executor: Arc<str>,
}

/// What stays the same of a request on its way through the executors.
#[derive(Debug)]
pub(crate) struct About {
    pub(crate) docarray: DocArray,
    pub(crate) endpoint: String,
    pub(crate) parameters: Value,
    pub(crate) headers: HeaderMap,
    pub(crate) request_id: Option<String>,
    pub(crate) target_executor: Option<String>,
}

impl Request {
    /// The documents, read as a type.
    ///
    /// What a document lacks is left out or null, as serde expects it for an `Option`. Numbers of
    /// tags and parameters are doubles on most protocols; a whole one can be read as an integer.
    ///
    /// # Errors
    ///
    /// A document is no such type. The error names the document and the field.
    pub fn documents<T: DeserializeOwned>(&self) -> Result<Vec<T>, ReadError> {
        read_documents(&self.documents, self.about.docarray)
    }

    /// The one document of a request to a streaming endpoint; otherwise the first.
    ///
    /// # Errors
    ///
    /// There is none, or it is no such type.
    pub fn document<T: DeserializeOwned>(&self) -> Result<T, ReadError> {
        match self.documents.first() {
            Some(document) => read(document, self.about.docarray),
            None => Err(ReadError::new("the request has no documents")),
        }
    }

    /// How many documents there are.
    pub fn len(&self) -> usize {
        self.documents.len()
    }

    /// Whether there are no documents.
    pub fn is_empty(&self) -> bool {
        self.documents.is_empty()
    }

    /// The parameters, read as a type; without parameters an empty object.
    ///
    /// # Errors
    ///
    /// They are no such type. The error names the parameter.
    pub fn parameters<P: DeserializeOwned>(&self) -> Result<P, ReadError> {
        read(&self.about.parameters, self.about.docarray)
    }

    /// A header as text; `None` if it is missing or no text. Over WebSocket these are the headers of
    /// the handshake, over gRPC the metadata of the call.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.about.headers.get(name).and_then(|value| value.to_str().ok())
    }

    /// All headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.about.headers
    }

    /// The endpoint that was asked for, such as `/search`.
    pub fn endpoint(&self) -> &str {
        &self.about.endpoint
    }

    /// The name of the executor that the request has come to.
    pub fn executor(&self) -> &str {
        &self.executor
    }

    /// The regular expression by which the client chose executors; `None` if it did not.
    pub fn target_executor(&self) -> Option<&str> {
        self.about.target_executor.as_deref().filter(|target| !target.is_empty())
    }

    /// The id that the client gave the request. Over HTTP with documents v1 the client has none that
    /// an executor would learn; the id is what the client sent all the same.
    pub fn request_id(&self) -> Option<&str> {
        self.about.request_id.as_deref()
    }
}

/// What a request carries, as it was sent.
#[derive(Debug, Default)]
pub(crate) struct Content {
    pub(crate) documents: Vec<Value>,
    pub(crate) parameters: Value,
    pub(crate) target_executor: Option<String>,
}

/// Reads documents as a type.
///
/// # Errors
///
/// A document is no such type. The error names the document and the field.
pub(crate) fn read_documents<T: DeserializeOwned>(
    documents: &[Value],
    docarray: DocArray,
) -> Result<Vec<T>, ReadError> {
    let read = |(index, document)| {
        read(document, docarray)
            .map_err(|error| ReadError::new(format!("document {index}, {error}")))
    };
    documents.iter().enumerate().map(read).collect()
}
