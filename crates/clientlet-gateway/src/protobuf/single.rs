//! Requests of one document, which streaming endpoints answer with one document after another.

use bytes::Bytes;
use prost::Message as _;

use super::shape::SINGLE_V2;
use super::{Data, Header, Message, Request, Route, Timestamp, answer, v2, write_bytes};
use crate::docarray::DocArray;
use crate::endpoint::Exception;
use crate::identity::Ids;
use crate::streaming::Given;

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
    /// The same as any other request.
    request: Request,
}

impl SingleRequest {
    /// Reads a request; `None` if it is no such message, down to its document.
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

    /// The document's text as Python shows it.
    pub(crate) fn text(&self) -> String {
        v2::text_of(self.message.document.as_deref().unwrap_or_default())
    }

    /// The answer of an endpoint that nobody binds.
    pub(crate) fn untouched(&self) -> Bytes {
        self.back(None)
    }

    /// The answer of an endpoint that is no generator.
    pub(crate) fn no_generator(&self) -> Bytes {
        self.back(Some(&Exception::value_error("endpoint must be generator".into())))
    }

    fn back(&self, failure: Option<&Exception>) -> Bytes {
        let mut message = self.message.clone();
        let status = failure.map(answer::status).map(|mut status| {
            // It is the gateway that raises this one.
            status.exception.iter_mut().for_each(|raised| raised.executor.clear());
            status
        });
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
pub(crate) fn answer_of(given: &Given, ids: &Ids) -> Bytes {
    Single {
        header: Some(Header { request_id: ids.make(), ..Header::default() }),
        document: Some(v2::part(&given.id, &given.text)),
        ..Single::default()
    }
    .encode_to_vec()
    .into()
}
