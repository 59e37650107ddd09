//! Writes any serde type as the JSON that a gateway reads, directly to bytes.
//!
//! serde_json is not enough, because a gateway silently loses three things that it writes: NaN and
//! infinity (as null), fields that a v1 document does not have (dropped), and bytes (as a list of
//! numbers).

mod json;
mod parts;
mod row;
#[cfg(test)]
mod tests;

use serde::Serialize;

use self::json::Json;
pub(super) use self::parts::THIRD_FIELD;
use super::refusal::EncodeError;
use super::serializer::To;
use super::v1_fields::Kind;
use crate::message::DocArray;

/// Writes documents for one generation of DocArray.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    docarray: DocArray,
}

impl Encoder {
    pub(crate) fn new(docarray: DocArray) -> Encoder {
        Encoder { docarray }
    }

    /// Appends a document to `out`. On an error `out` is left unchanged.
    pub(crate) fn document<T: Serialize + ?Sized>(
        self,
        document: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.write(Slot::Document, document, out)
    }

    /// Appends a map without rules of its own: parameters.
    pub(crate) fn map<T: Serialize + ?Sized>(
        self,
        map: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.write(Slot::Map, map, out)
    }

    fn write<T: Serialize + ?Sized>(
        self,
        slot: Slot,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        value.serialize(To(&mut Json::new(self.docarray, slot, out))).map_err(|refusal| {
            out.truncate(start);
            refusal.into()
        })
    }
}

/// The kind of value that may be written at a place.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    /// A document: an object, in v1 with known fields.
    Document,
    /// An object: parameters.
    Map,
    /// A value in parameters or in the tags of v1.
    Value,
    /// The value of a field of a v1 document or score.
    Field(Kind),
    /// A part of a tensor at this depth (v1).
    Tensor(usize),
    /// A number in a location (v1).
    Coordinate,
    /// A score (v1).
    Score,
    /// Anything.
    Free,
}
