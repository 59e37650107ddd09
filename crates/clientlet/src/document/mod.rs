//! Documents: any serde type and the ready-made types, and how they are written to and read from
//! the wire.

#[cfg(feature = "ndarray")]
mod array;
mod blob;
mod decode;
mod encode;
mod encoded;
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
mod refusal;
mod serializer;
mod tensor;
mod v1_fields;
mod value;

pub use blob::Blob;
pub(crate) use decode::{decode_document, decode_documents, decode_parameters};
pub(crate) use encode::Encoder;
pub use encoded::EncodedDocument;
pub use model::{Document, NamedScore};
pub(crate) use refusal::EncodeError;
pub use tensor::{Dtype, Element, Tensor, TensorError};
pub use value::Value;

/// The maximum number of dimensions of a tensor, which is numpy's limit.
const MOST_DIMENSIONS: usize = 64;
