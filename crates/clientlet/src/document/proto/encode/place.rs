//! Writes the value that serde hands over at its place.

use serde::Serialize;
use serde::ser::Serializer;

use super::node::Seat;
use super::parts::{Fields, Parts};
use super::tensor_parts::TensorParts;
use crate::document::Dtype;
use crate::document::blob::BLOB;
use crate::document::encoded;
use crate::document::one_kind::BlobContent;
use crate::document::proto::write::Writer;
use crate::document::raw::{RAW_NUMBER, RAW_VALUE};
use crate::document::refusal::{Refusal, refuse};
use crate::document::tensor::TENSOR;
use crate::document::v1_fields::{Field, Number};
use crate::message::Encoding;

/// The kind of value that may be written at a place.
#[derive(Clone, Copy, Debug)]
pub(super) enum Slot<'k> {
    /// The document itself. The caller writes its tag and length.
    Root,
    /// The entries of a `google.protobuf.Struct`, without tag and length.
    Parameters,
    /// A document in this field of the surrounding message.
    Document(u32),
    /// The value of a v1 field.
    Field(Field),
    /// A score with this name, in this field.
    Score { number: u32, name: &'k str },
    /// A number of a location.
    Coordinate,
    /// A part of a v1 tensor at this depth.
    Leaf(usize),
    /// A `google.protobuf.Value`, in tags and parameters.
    Value(Seat<'k>),
    /// A `NodeProto` of v2. `is_field` is true directly inside a document.
    Node { seat: Seat<'k>, is_field: bool },
}

/// A place that takes one value.
#[derive(Debug)]
pub(super) struct Place<'w, 'o, 'k> {
    pub(super) writer: &'w mut Writer<'o>,
    pub(super) slot: Slot<'k>,
    /// The number of messages that end with the value: those of a surrounding enum variant.
    pub(super) around: usize,
}

impl<'w, 'o, 'k> Place<'w, 'o, 'k> {
    pub(super) fn new(writer: &'w mut Writer<'o>, slot: Slot<'k>) -> Place<'w, 'o, 'k> {
        Place { writer, slot, around: 0 }
    }

    /// Ends the messages around a value that is complete.
    pub(super) fn done(self) -> Result<(), Refusal> {
        self.writer.close(self.around);
        Ok(())
    }

    /// Whether this place has only JSON's kinds of values, so that a tensor becomes nested lists.
    fn is_json(&self) -> bool {
        matches!(self.slot, Slot::Value(_) | Slot::Parameters)
    }

    /// Refuses a value of the wrong kind, which `what` describes.
    pub(super) fn misfit<T>(&self, what: &str) -> Result<T, Refusal> {
        refuse(match self.slot {
            Slot::Root | Slot::Document(_) => format!("a document must be an object, not {what}"),
            Slot::Parameters => format!("parameters must be an object, not {what}"),
            Slot::Score { .. } => format!("a score must be an object, not {what}"),
            Slot::Coordinate => format!("a location is made of numbers, not {what}"),
            Slot::Leaf(_) => format!("a tensor is made of numbers, not {what}"),
            Slot::Field(field) => field.misfit(what),
            Slot::Value(_) | Slot::Node { .. } => {
                format!("a document cannot contain {what}")
            }
        })
    }

    fn number(self, number: Number, dtype: Dtype, bytes: &[u8]) -> Result<(), Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_number(field, number, dtype, bytes),
            Slot::Leaf(depth) => {
                self.writer.grid.push(depth, dtype, bytes)?;
                self.done()
            }
            Slot::Coordinate => {
                let single = number.single()?;
                self.writer.out.extend_from_slice(&single.to_le_bytes());
                self.done()
            }
            Slot::Value(seat) => self.value_number(seat, number),
            Slot::Node { seat, is_field } => self.node_number(seat, is_field, number),
            _ => self.misfit("a number"),
        }
    }

    fn text(self, text: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_text(field, text),
            Slot::Value(seat) => self.value_text(seat, text),
            Slot::Node { seat, is_field } => self.node_text(seat, is_field, text),
            _ => self.misfit("text"),
        }
    }

    fn null(self) -> Result<(), Refusal> {
        match self.slot {
            // Fields that are not set are not sent.
            Slot::Field(_) => self.done(),
            Slot::Value(seat) => self.value_null(seat),
            Slot::Node { seat, .. } => self.node_null(seat),
            _ => self.misfit("null"),
        }
    }

    /// Begins an object, from a struct or a map.
    fn object(self) -> Result<Parts<'w, 'o>, Refusal> {
        match self.slot {
            Slot::Root | Slot::Document(_) => self.document(),
            Slot::Parameters => Parts::of_struct(self, 0),
            Slot::Field(field) => self.field_object(field),
            Slot::Score { number, name } => self.score(number, name),
            Slot::Value(seat) => self.value_object(seat),
            Slot::Node { seat, .. } => self.node_object(seat),
            Slot::Coordinate | Slot::Leaf(_) => self.misfit("an object"),
        }
    }

    fn list(self) -> Result<Parts<'w, 'o>, Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_list(field),
            Slot::Leaf(depth) => self.rows(depth),
            Slot::Value(seat) => self.value_list(seat),
            Slot::Node { seat, .. } => self.node_list(seat),
            _ => self.misfit("a list"),
        }
    }

    /// Writes an array of numbers whose parts are known.
    pub(super) fn tensor(self, dtype: &str, buffer: &[u8]) -> Result<(), Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_tensor(field, dtype, buffer),
            Slot::Node { seat, .. } => self.node_tensor(seat, dtype, buffer),
            _ => self.misfit("a tensor"),
        }
    }

    /// Begins an object whose only entry has the variant's name, and returns the place of its
    /// value.
    fn variant(self, variant: &'static str) -> Result<Place<'w, 'o, 'static>, Refusal> {
        let parts = self.object()?;
        let slot = parts.slot_of(variant)?;
        Ok(Place { writer: parts.writer, slot, around: parts.opened })
    }
}

macro_rules! numbers {
    ($($method:ident($type:ty) => $kind:ident, $dtype:ident;)*) => {
        $(fn $method(self, n: $type) -> Result<(), Refusal> {
            self.number(Number::$kind(n.into()), Dtype::$dtype, &n.to_le_bytes())
        })*
    };
}

impl<'w, 'o, 'k> Serializer for Place<'w, 'o, 'k> {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = Parts<'w, 'o>;
    type SerializeTuple = Parts<'w, 'o>;
    type SerializeTupleStruct = Parts<'w, 'o>;
    type SerializeTupleVariant = Parts<'w, 'o>;
    type SerializeMap = Parts<'w, 'o>;
    type SerializeStruct = Fields<'w, 'o, 'k>;
    type SerializeStructVariant = Fields<'w, 'o, 'k>;

    numbers! {
        serialize_i8(i8) => Whole, I8;
        serialize_i16(i16) => Whole, I16;
        serialize_i32(i32) => Whole, I32;
        serialize_i64(i64) => Whole, I64;
        serialize_u8(u8) => Whole, U8;
        serialize_u16(u16) => Whole, U16;
        serialize_u32(u32) => Whole, U32;
        serialize_u64(u64) => Whole, U64;
        serialize_f32(f32) => Single, F32;
        serialize_f64(f64) => Double, F64;
    }

    fn serialize_i128(self, n: i128) -> Result<(), Refusal> {
        match (i64::try_from(n), u64::try_from(n)) {
            (Ok(n), _) => self.serialize_i64(n),
            (_, Ok(n)) => self.serialize_u64(n),
            _ => refuse(format!("{n} is too large for any number in a document")),
        }
    }

    fn serialize_u128(self, n: u128) -> Result<(), Refusal> {
        match u64::try_from(n) {
            Ok(n) => self.serialize_u64(n),
            Err(_) => refuse(format!("{n} is too large for any number in a document")),
        }
    }

    fn serialize_bool(self, b: bool) -> Result<(), Refusal> {
        match self.slot {
            Slot::Field(field) if field.takes_bool() => self.field_bool(field, b),
            Slot::Leaf(depth) => {
                self.writer.grid.push(depth, Dtype::Bool, &[u8::from(b)])?;
                self.done()
            }
            Slot::Value(seat) => self.value_bool(seat, b),
            Slot::Node { seat, .. } => self.node_bool(seat, b),
            _ => self.misfit("a boolean"),
        }
    }

    fn serialize_char(self, c: char) -> Result<(), Refusal> {
        self.text(c.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Refusal> {
        self.text(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_bytes(field, bytes),
            Slot::Value(seat) => self.value_bytes(seat, bytes),
            Slot::Node { seat, is_field } => self.node_bytes(seat, is_field, bytes),
            _ => self.misfit("bytes"),
        }
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
            TENSOR if !self.is_json() => value.serialize(TensorParts::new(self)),
            BLOB => value.serialize(BlobContent(self)),
            _ if encoded::is_encoded(name) => match self.slot {
                Slot::Root => {
                    let docarray = self.writer.docarray;
                    encoded::write(name, value, docarray, Encoding::Proto, self.writer.out)?;
                    self.done()
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
        value.serialize(self.variant(variant)?)
    }

    fn serialize_seq(self, _length: Option<usize>) -> Result<Parts<'w, 'o>, Refusal> {
        self.list()
    }

    fn serialize_tuple(self, _length: usize) -> Result<Parts<'w, 'o>, Refusal> {
        self.list()
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        _length: usize,
    ) -> Result<Parts<'w, 'o>, Refusal> {
        self.list()
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Parts<'w, 'o>, Refusal> {
        self.variant(variant)?.list()
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Parts<'w, 'o>, Refusal> {
        self.object()
    }

    fn serialize_struct(
        self,
        name: &'static str,
        _length: usize,
    ) -> Result<Fields<'w, 'o, 'k>, Refusal> {
        if name == RAW_VALUE || name == RAW_NUMBER {
            return Ok(Fields::Raw(Some(self)));
        }
        self.object().map(Fields::Object)
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Fields<'w, 'o, 'k>, Refusal> {
        self.variant(variant)?.object().map(Fields::Object)
    }
}
