//! A request around its documents, in either encoding.

use bytes::Bytes;
use serde::Serialize;

use super::JsonTemplate;
use super::proto::ProtoTemplate;
use crate::document::{EncodeError, Encoder, proto};
use crate::message::{DocArray, Encoding};

/// The part that is the same for every request of a call, and the way its documents are written.
#[derive(Debug)]
pub(crate) enum Template {
    Json(JsonTemplate, Encoder),
    Proto(ProtoTemplate, proto::Encoder),
}

impl Template {
    /// Makes a template; `parameters` is a JSON object.
    ///
    /// # Errors
    /// If the encoding cannot hold the parameters.
    pub(crate) fn new(
        encoding: Encoding,
        docarray: DocArray,
        endpoint: &str,
        target_executor: Option<&str>,
        parameters: Option<&[u8]>,
    ) -> Result<Template, EncodeError> {
        Ok(match encoding {
            Encoding::Json => {
                let template = JsonTemplate::new(docarray, endpoint, target_executor, parameters);
                Template::Json(template, Encoder::new(docarray))
            }
            Encoding::Proto => {
                let template = ProtoTemplate::new(docarray, endpoint, target_executor, parameters)?;
                Template::Proto(template, proto::Encoder::new(docarray))
            }
        })
    }

    pub(crate) fn begin(&self, body: &mut Vec<u8>) {
        match self {
            Template::Json(template, _) => template.begin(body),
            Template::Proto(template, _) => template.begin(body),
        }
    }

    /// Appends a document. On an error the body is left unchanged.
    pub(crate) fn document<D: Serialize>(
        &self,
        document: &D,
        is_first: bool,
        body: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        match self {
            Template::Json(_, encoder) => {
                let before = body.len();
                if !is_first {
                    body.push(b',');
                }
                let written = encoder.document(document, body);
                if written.is_err() {
                    body.truncate(before);
                }
                written
            }
            Template::Proto(_, encoder) => encoder.document(document, body),
        }
    }

    /// Ends a request and returns its bytes.
    pub(crate) fn finish(&self, id: &str, mut body: Vec<u8>) -> Bytes {
        match self {
            Template::Json(template, _) => {
                template.finish(id, &mut body);
                body.into()
            }
            Template::Proto(template, _) => {
                let start = template.finish(id, &mut body);
                Bytes::from(body).slice(start..)
            }
        }
    }
}
