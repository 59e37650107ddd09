//! Writes a tensor from its parts: element type, shape, elements.

use serde::Serialize;
use serde::ser::{Impossible, SerializeSeq, SerializeTuple, Serializer};

use super::parts::Parts;
use super::place::Place;
use crate::document::one_kind::refuse_others;
use crate::document::refusal::{Refusal, refuse};

/// Takes the parts of a tensor one after the other: element type, shape, elements. The last part
/// writes the tensor.
pub(super) struct TensorParts<'w, 'o, 'k> {
    place: Option<Place<'w, 'o, 'k>>,
    dtype: String,
}

impl<'w, 'o, 'k> TensorParts<'w, 'o, 'k> {
    pub(super) fn new(place: Place<'w, 'o, 'k>) -> TensorParts<'w, 'o, 'k> {
        TensorParts { place: Some(place), dtype: String::new() }
    }
}

const PARTS: &str = "a tensor must be made of element type, shape and elements";

/// Writes numbers outside arrays. serde's own buffers (`flatten` around an enum) are
/// human-readable, so a tensor in such a buffer is nested lists, which are written like any other
/// lists.
macro_rules! numbers {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(mut self, n: $type) -> Result<(), Refusal> {
            match self.place.take() {
                Some(place) => place.$method(n),
                None => refuse(PARTS),
            }
        })*
    };
}

impl<'w, 'o> Serializer for TensorParts<'w, 'o, '_> {
    type SerializeSeq = Parts<'w, 'o>;
    type SerializeTuple = Self;

    refuse_others! { (), PARTS;
        serialize_char(char); serialize_bytes(&[u8]); serialize_none(); serialize_unit();
        serialize_str(&str); serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    numbers! {
        serialize_bool(bool);
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64);
    }

    fn serialize_seq(mut self, length: Option<usize>) -> Result<Parts<'w, 'o>, Refusal> {
        match self.place.take() {
            Some(place) => place.serialize_seq(length),
            None => refuse(PARTS),
        }
    }

    fn serialize_tuple(mut self, _: usize) -> Result<Self, Refusal> {
        if let Some(place) = &mut self.place {
            place.writer.shape.clear();
        }
        Ok(self)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl SerializeTuple for TensorParts<'_, '_, '_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        value.serialize(TensorPart(self))
    }

    fn end(self) -> Result<(), Refusal> {
        match self.place {
            None => Ok(()),
            Some(_) => refuse(PARTS),
        }
    }
}

/// One part, or one dimension of the shape.
struct TensorPart<'a, 'w, 'o, 'k>(&'a mut TensorParts<'w, 'o, 'k>);

impl Serializer for TensorPart<'_, '_, '_, '_> {
    type SerializeSeq = Self;
    type SerializeTuple = Impossible<(), Refusal>;

    refuse_others! { (), PARTS;
        serialize_bool(bool); serialize_char(char); serialize_none();
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32);
        serialize_f32(f32); serialize_f64(f64); serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_str(self, dtype: &str) -> Result<(), Refusal> {
        dtype.clone_into(&mut self.0.dtype);
        Ok(())
    }

    fn serialize_seq(self, _: Option<usize>) -> Result<Self, Refusal> {
        Ok(self)
    }

    fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Refusal> {
        refuse(PARTS)
    }

    fn serialize_u64(self, dimension: u64) -> Result<(), Refusal> {
        if let Some(place) = &mut self.0.place {
            place.writer.shape.push(dimension);
        }
        Ok(())
    }

    fn serialize_bytes(self, buffer: &[u8]) -> Result<(), Refusal> {
        match self.0.place.take() {
            Some(place) => place.tensor(&self.0.dtype, buffer),
            None => refuse(PARTS),
        }
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

impl SerializeSeq for TensorPart<'_, '_, '_, '_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, dimension: &T) -> Result<(), Refusal> {
        dimension.serialize(TensorPart(self.0))
    }

    fn end(self) -> Result<(), Refusal> {
        Ok(())
    }
}
