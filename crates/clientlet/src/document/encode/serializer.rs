//! Writes the values that serde hands over as JSON, if their place allows them.

use serde::Serialize;
use serde::ser::{self, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use super::Slot;
use super::json::{Json, NO_DIMENSIONS};
use super::parts::{Fields, Parts};
use crate::document::blob::{BLOB, write_base64};
use crate::document::encoded;
use crate::document::one_kind::BlobContent;
use crate::document::raw::{RAW_NUMBER, RAW_VALUE};
use crate::document::refusal::{Refusal, refuse};
use crate::document::tensor::TENSOR;
use crate::document::v1_fields::{Kind, Number};
use crate::message::{DocArray, Encoding};

macro_rules! whole_numbers {
    ($($method:ident($type:ty) => $write:ident;)*) => {
        $(#[inline]
        fn $method(self, n: $type) -> Result<(), Refusal> {
            self.number(Number::Whole(n.into()))?;
            CompactFormatter.$write(&mut self.out, n).map_err(ser::Error::custom)
        })*
    };
}

macro_rules! real_numbers {
    ($($method:ident($type:ty) => $write:ident, $kind:ident;)*) => {
        $(#[inline]
        fn $method(self, n: $type) -> Result<(), Refusal> {
            self.number(Number::$kind(n))?;
            if !n.is_finite() {
                return refuse(format!("{n} cannot be sent as JSON"));
            }
            CompactFormatter.$write(&mut self.out, n).map_err(ser::Error::custom)
        })*
    };
}

impl<'j, 'o> Serializer for &'j mut Json<'o> {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = Parts<'j, 'o>;
    type SerializeTuple = Parts<'j, 'o>;
    type SerializeTupleStruct = Parts<'j, 'o>;
    type SerializeTupleVariant = Parts<'j, 'o>;
    type SerializeMap = Parts<'j, 'o>;
    type SerializeStruct = Fields<'j, 'o>;
    type SerializeStructVariant = Fields<'j, 'o>;

    whole_numbers! {
        serialize_i8(i8) => write_i8;
        serialize_i16(i16) => write_i16;
        serialize_i32(i32) => write_i32;
        serialize_i64(i64) => write_i64;
        serialize_i128(i128) => write_i128;
        serialize_u8(u8) => write_u8;
        serialize_u16(u16) => write_u16;
        serialize_u32(u32) => write_u32;
        serialize_u64(u64) => write_u64;
    }

    fn serialize_u128(self, n: u128) -> Result<(), Refusal> {
        // A number beyond i128 is also beyond every limit that is checked.
        self.number(Number::Whole(i128::try_from(n).unwrap_or(i128::MAX)))?;
        CompactFormatter.write_u128(&mut self.out, n).map_err(ser::Error::custom)
    }

    real_numbers! {
        serialize_f32(f32) => write_f32, Single;
        serialize_f64(f64) => write_f64, Double;
    }

    fn serialize_bool(self, b: bool) -> Result<(), Refusal> {
        self.boolean()?;
        self.out.extend_from_slice(if b { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_char(self, c: char) -> Result<(), Refusal> {
        self.text(c.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Refusal> {
        self.text(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        if !matches!(self.slot, Slot::Field(Kind::Blob) | Slot::Value | Slot::Free) {
            self.scalar("bytes")?;
        }
        match self.docarray {
            DocArray::V1 => {
                self.out.push(b'"');
                write_base64(bytes, self.out);
                self.out.push(b'"');
            }
            DocArray::V2 => match std::str::from_utf8(bytes) {
                Ok(text) => self.quoted(text),
                Err(_) => {
                    return refuse(
                        "bytes that are not UTF-8 cannot be sent as JSON to a v2 gateway",
                    );
                }
            },
        }
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Refusal> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refusal> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refusal> {
        self.null()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refusal> {
        self.null()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Refusal> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        match name {
            BLOB => value.serialize(BlobContent(self)),
            TENSOR if self.slot == Slot::Free => {
                let start = self.out.len();
                value.serialize(&mut *self)?;
                if self.out.get(start) == Some(&b'[') { Ok(()) } else { refuse(NO_DIMENSIONS) }
            }
            _ if encoded::is_encoded(name) => match self.slot {
                Slot::Document => {
                    encoded::write(name, value, self.docarray, Encoding::Json, self.out)
                }
                _ => refuse(encoded::WITHIN),
            },
            _ => value.serialize(self),
        }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        let slot = self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.slot = slot;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'j, 'o>, Refusal> {
        self.list(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Parts<'j, 'o>, Refusal> {
        self.list(Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<Parts<'j, 'o>, Refusal> {
        self.list(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'j, 'o>, Refusal> {
        let slot = self.variant(variant)?;
        Ok(Parts { slot, ends: 2, ..self.list(Some(length))? })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Parts<'j, 'o>, Refusal> {
        self.object()
    }

    fn serialize_struct(
        self,
        name: &'static str,
        _length: usize,
    ) -> Result<Fields<'j, 'o>, Refusal> {
        if name == RAW_VALUE || name == RAW_NUMBER {
            return Ok(Fields::Raw(self));
        }
        Ok(Fields::Object(self.object()?))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Fields<'j, 'o>, Refusal> {
        let slot = self.variant(variant)?;
        Ok(Fields::Object(Parts { slot, ends: 2, ..self.object()? }))
    }
}
