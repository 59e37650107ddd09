//! Documents: any serde type and the ready-made types, and how they are written to and read from
//! the wire.

#[cfg(feature = "clientlets")]
mod again;
mod any;
#[cfg(feature = "ndarray")]
mod array;
mod blob;
mod decode;
mod encode;
mod encoded;
mod grid;
mod json_text;
mod lenient;
mod list;
mod model;
mod number;
mod one_kind;
#[cfg(test)]
mod properties;
pub(crate) mod proto;
mod raw;
pub(crate) mod reader;
mod refusal;
mod serializer;
mod single;
mod tensor;
mod v1_fields;
mod value;

use bytes::Bytes;
use serde::Serialize;

#[cfg(feature = "clientlets")]
pub(crate) use again::Again;
pub use any::AnyVisitor;
pub use blob::Blob;
pub(crate) use decode::{decode_document, decode_documents, decode_parameters};
pub(crate) use encode::Encoder;
pub use encoded::EncodedDocument;
pub use model::{Document, NamedScore};
pub(crate) use refusal::EncodeError;
pub use tensor::{Dtype, Element, Tensor, TensorError, TensorRef};
pub use value::Value;

use crate::error::Error;
use crate::message::DocArray;

/// Encodes parameters as a JSON object. Both generations write parameters in the same way.
pub(crate) fn encode_parameters<P: Serialize>(parameters: &P) -> Result<Bytes, Error> {
    let mut json = Vec::new();
    let encoded = Encoder::new(DocArray::V1).map(parameters, &mut json);
    encoded.map(|()| json.into()).map_err(|error| error.of("parameters"))
}

/// The maximum number of dimensions of a tensor, which is numpy's limit.
const MOST_DIMENSIONS: usize = 64;
