//! Requests of one document, which streaming endpoints answer with one document after another.

use bytes::Bytes;
use http::HeaderMap;
use prost::Message as _;

use super::shape::SINGLE_V2;
use super::{Data, Header, Message, Request, Route, Timestamp, answer, structs, v2, write_bytes};
use crate::docarray::DocArray;
use crate::exception::Exception;
use crate::identity::Ids;
use crate::request::{About, Content};
use crate::sample::Change;
use crate::schema::Schema;
use crate::value::Value;

/// A `jina.SingleDocumentRequestProto` of documents v2, the message in both directions.
#[derive(Clone, PartialEq, prost::Message)]
struct Single {
    #[prost(message, optional, tag = "1")]
    header: Option<Header>,
    /// A Struct, still encoded.
    #[prost(bytes = "bytes", optional, tag = "2")]
    parameters: Option<Bytes>,
    #[prost(message, repeated, tag = "3")]
    routes: Vec<Route>,
    /// A document, still encoded.
    #[prost(bytes = "bytes", optional, tag = "4")]
    document: Option<Bytes>,
}

/// A request of one document that was read.
#[derive(Debug)]
pub(crate) struct SingleRequest {
    message: Single,
    /// The same as a request of a list.
    request: Request,
}

/// What a message carries.
pub(crate) fn content(_: DocArray, message: &Bytes) -> Option<Content> {
    let asked = SingleRequest::read(message.clone())?;
    let About { parameters, target_executor, .. } = asked.about(&HeaderMap::new());
    let documents = asked.message.document.iter().map(|document| v2::read(document)).collect();
    Some(Content { documents, parameters, target_executor })
}

impl SingleRequest {
    /// Reads a request. Returns `None` if the bytes are no such message, document included.
    pub(crate) fn read(bytes: Bytes) -> Option<Self> {
        if !SINGLE_V2.fits(&bytes) {
            return None;
        }
        let message = Single::decode(bytes).ok()?;
        let mut docs = Vec::new();
        if let Some(document) = &message.document {
            write_bytes(&mut docs, 1, document);
        }
        let as_any_other = Message {
            header: message.header.clone(),
            data: Some(Data { docs: Some(docs.into()), docs_bytes: None }),
            ..Message::default()
        };
        let docarray = DocArray::V2;
        let request = Request { docarray, message: as_any_other, began: Timestamp::now() };
        Some(Self { message, request })
    }

    pub(crate) fn request(&self) -> &Request {
        &self.request
    }

    /// The document, in the class that an endpoint takes.
    ///
    /// # Errors
    ///
    /// The exception of an executor that cannot read the document.
    pub(crate) fn document(&self, class: &Schema, ids: &Ids) -> Result<Value, Exception> {
        let docs = v2::change(&self.request.docs()?, class, Change::None, ids)?;
        Ok(super::documents(&docs).next().map(v2::read).unwrap_or_default())
    }

    /// The request, as a handler finds it.
    pub(crate) fn about(&self, headers: &HeaderMap) -> About {
        let header = self.message.header.as_ref();
        About {
            docarray: DocArray::V2,
            endpoint: self.request.endpoint().to_owned(),
            parameters: structs::read(self.message.parameters.as_deref().unwrap_or_default()),
            headers: headers.clone(),
            request_id: self.request.id().map(str::to_owned),
            target_executor: header.and_then(|header| header.target_executor.clone()),
        }
    }

    /// The answer of an endpoint that is not bound.
    pub(crate) fn untouched(&self) -> Bytes {
        self.back(None)
    }

    /// The answer of an endpoint that is no generator.
    pub(crate) fn no_generator(&self) -> Bytes {
        self.back(Some(&Exception::value_error("endpoint must be generator".into())))
    }

    fn back(&self, failure: Option<&Exception>) -> Bytes {
        let mut message = self.message.clone();
        // The gateway raises this exception, so it has no executor.
        let status = failure.map(|exception| answer::status(exception, ""));
        if status.is_some() {
            message.header.get_or_insert_default().status = status;
        }
        message.routes = vec![Route {
            executor: "gateway".into(),
            start_time: Some(self.request.began),
            ..Route::default()
        }];
        message.encode_to_vec().into()
    }
}

/// A document that an endpoint gave, in a message with an id of its own.
pub(crate) fn answer_of(class: &Schema, given: &Value, ids: &Ids) -> Bytes {
    Single {
        header: Some(Header { request_id: ids.make(), ..Header::default() }),
        document: Some(v2::write(class, given).into()),
        ..Single::default()
    }
    .encode_to_vec()
    .into()
}
