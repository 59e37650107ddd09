//! Writes any serde type as the protobuf that a gateway reads, directly to bytes.
//!
//! The serde kind of a value decides how it is written. In v2 the outermost struct or map is the
//! document. Structs and maps inside it are dictionaries, from which an executor makes what its
//! class declares: documents, lists of documents or dictionaries. A [`Tensor`](crate::Tensor) is an
//! ndarray. In v1 the name of a field decides.
//!
//! Documents are human-readable here, as in JSON: types that check `is_human_readable` (a UUID, an
//! IP address) write the text that executors know. Tensors and blobs are recognized by their
//! markers.

mod field;
mod node;
mod parts;
mod place;
mod tensor_parts;

use serde::Serialize;

use place::{Place, Slot};

use super::write::{LENGTH, Writer, put_varint, varint_size};
use crate::document::serializer::To;
use crate::document::{EncodeError, Value};
use crate::message::DocArray;

/// Writes documents for one generation of DocArray.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    docarray: DocArray,
}

/// The bytes reserved for a document's length: enough for most documents. Documents so small that
/// the bytes are too many cost little to move.
const LEFT: usize = 2;

impl Encoder {
    pub(crate) fn new(docarray: DocArray) -> Encoder {
        Encoder { docarray }
    }

    /// Appends a document to `out`, as an entry of a list of documents. On an error `out` is left
    /// unchanged.
    pub(crate) fn document<T: Serialize + ?Sized>(
        self,
        document: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.document_field(1, document, out)
    }

    /// Appends a document as the field `number` of any message. On an error `out` is left
    /// unchanged.
    pub(crate) fn document_field<T: Serialize + ?Sized>(
        self,
        number: u32,
        document: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        put_varint((number << 3 | LENGTH).into(), out);
        let place = out.len();
        out.resize(place + LEFT, 0);
        self.write(Slot::Root, document, start, out)?;
        let length = out.len() - place - LEFT;
        let size = varint_size(length as u64);
        if size < LEFT {
            out.copy_within(place + LEFT.., place + size);
            out.truncate(place + size + length);
        } else if size > LEFT {
            out.resize(place + size + length, 0);
            out.copy_within(place + LEFT..place + LEFT + length, place + size);
        }
        let mut left = length;
        for byte in &mut out[place..place + size] {
            *byte = (left as u8 & 0x7f) | 0x80;
            left >>= 7;
        }
        out[place + size - 1] &= 0x7f;
        Ok(())
    }

    /// Appends a document to `out`, as a message of its own.
    pub(crate) fn message<T: Serialize + ?Sized>(
        self,
        document: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        self.write(Slot::Root, document, start, out)
    }

    /// Appends parameters to `out`: a `google.protobuf.Struct` with the entries of a JSON object.
    pub(crate) fn parameters(self, json: &[u8], out: &mut Vec<u8>) -> Result<(), EncodeError> {
        let value: Value = serde_json::from_slice(json)
            .map_err(|error| EncodeError { path: String::new(), message: error.to_string() })?;
        let start = out.len();
        self.write(Slot::Parameters, &value, start, out)
    }

    fn write<T: Serialize + ?Sized>(
        self,
        slot: Slot<'_>,
        value: &T,
        start: usize,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let mut writer = Writer::new(self.docarray, out);
        value.serialize(To(Place::new(&mut writer, slot))).map_err(|refusal| {
            out.truncate(start);
            refusal.into()
        })
    }
}
