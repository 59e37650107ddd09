//! The documents of a failed request, kept in encoded form for callers who want them back.

use bytes::Bytes;
use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::document::{self, EncodedDocument, proto};
use crate::envelope::{read_answer, read_proto_answer};
use crate::message::{DocArray, Encoding};

/// The documents of a failed request.
#[derive(Clone, Debug)]
pub(crate) enum Unanswered {
    /// The request's body.
    Body { encoding: Encoding, docarray: DocArray, body: Bytes },
    /// The documents of a request that was never made, because the gateway was not known.
    List(Bytes),
}

impl Unanswered {
    pub(crate) fn documents<T: DeserializeOwned>(&self) -> Result<Vec<T>, String> {
        match self {
            // A request has its documents in the same place as an answer.
            Unanswered::Body { encoding: Encoding::Json, docarray, body } => {
                let documents = read_answer(*docarray, body)?.documents.clone();
                let read = |json: Bytes| {
                    let given = as_given(*docarray, &json)?;
                    document::decode_documents(*docarray, &given)
                };
                documents.map_or_else(|| Ok(Vec::new()), read)
            }
            Unanswered::Body { encoding: Encoding::Proto, docarray, body } => {
                let documents = read_proto_answer(*docarray, body)?.documents.clone();
                let read = |list: Bytes| proto::decode_documents(*docarray, &list);
                documents.map_or_else(|| Ok(Vec::new()), read)
            }
            Unanswered::List(list) => proto::decode_documents(LIST, list),
        }
    }
}

/// The documents of a request without the fields that the encoder added.
fn as_given(docarray: DocArray, list: &Bytes) -> Result<Vec<u8>, String> {
    let mut given = Vec::with_capacity(list.len());
    given.push(b'[');
    for document in EncodedDocument::split_json(docarray, list)? {
        if given.len() > 1 {
            given.push(b',');
        }
        given.extend_from_slice(document.as_bytes());
    }
    given.push(b']');
    Ok(given)
}

/// The generation in which lists are encoded, because its documents can have any fields.
const LIST: DocArray = DocArray::V2;

/// Documents that are kept although they cannot be encoded for a gateway yet.
#[derive(Debug, Default)]
pub(crate) struct List(Vec<u8>);

impl List {
    /// Adds a document; `false` if it cannot be kept.
    pub(crate) fn add<D: Serialize>(&mut self, document: &D) -> bool {
        proto::Encoder::new(LIST).document(document, &mut self.0).is_ok()
    }

    pub(crate) fn complete(self) -> Unanswered {
        Unanswered::List(self.0.into())
    }
}
