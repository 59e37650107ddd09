//! Writes the value that serde hands over at its place.
//!
//! What runs for each document and field is `inline`, as in JSON: a place or its parts that were just made
//! would otherwise be copied, and the copy waits for the stores before it. That cost 20 ns a document.

use serde::Serialize;

use super::node::Seat;
use super::parts::Parts;
use super::tensor_parts::TensorParts;
use crate::document::Dtype;
use crate::document::blob::BLOB;
use crate::document::encoded;
use crate::document::one_kind::BlobContent;
use crate::document::proto::write::Writer;
use crate::document::refusal::{Refusal, refuse};
use crate::document::serializer::{Destination, Num, To};
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
    #[inline]
    pub(super) fn new(writer: &'w mut Writer<'o>, slot: Slot<'k>) -> Place<'w, 'o, 'k> {
        Place { writer, slot, around: 0 }
    }

    /// Ends the messages around a value that is complete.
    #[inline]
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

    fn put_number(self, number: Number, dtype: Dtype, bytes: &[u8]) -> Result<(), Refusal> {
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
    fn of_variant(self, name: &'static str) -> Result<Place<'w, 'o, 'static>, Refusal> {
        let parts = self.object()?;
        let slot = parts.slot_of(name)?;
        Ok(Place { writer: parts.writer, slot, around: parts.opened })
    }
}

impl<'w, 'o> Destination for Place<'w, 'o, '_> {
    type Seq = Parts<'w, 'o>;
    type Tuple = Parts<'w, 'o>;
    type Object = Parts<'w, 'o>;

    // It has a method for every kind.
    const ONLY: &'static str = "";

    fn number<N: Num>(self, n: N) -> Result<(), Refusal> {
        if let Some(dtype) = N::DTYPE {
            return self.put_number(n.number(), dtype, n.to_bytes().as_ref());
        }
        let Number::Whole(whole) = n.number() else { return self.misfit("a number") };
        match (i64::try_from(whole), u64::try_from(whole)) {
            (Ok(n), _) => self.number(n),
            (_, Ok(n)) => self.number(n),
            _ => refuse(format!("{n} is too large for any number in a document")),
        }
    }

    fn boolean(self, b: bool) -> Result<(), Refusal> {
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

    #[inline]
    fn text(self, text: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_text(field, text),
            Slot::Value(seat) => self.value_text(seat, text),
            Slot::Node { seat, is_field } => self.node_text(seat, is_field, text),
            _ => self.misfit("text"),
        }
    }

    fn bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_bytes(field, bytes),
            Slot::Value(seat) => self.value_bytes(seat, bytes),
            Slot::Node { seat, is_field } => self.node_bytes(seat, is_field, bytes),
            _ => self.misfit("bytes"),
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

    #[inline]
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

    fn seq(self, _: Option<usize>) -> Result<Parts<'w, 'o>, Refusal> {
        match self.slot {
            Slot::Field(field) => self.field_list(field),
            Slot::Leaf(depth) => self.rows(depth),
            Slot::Value(seat) => self.value_list(seat),
            Slot::Node { seat, .. } => self.node_list(seat),
            _ => self.misfit("a list"),
        }
    }

    fn tuple(self, _: usize) -> Result<Parts<'w, 'o>, Refusal> {
        self.seq(None)
    }

    fn marked<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Refusal> {
        match name {
            TENSOR if !self.is_json() => value.serialize(To(TensorParts::new(self))),
            BLOB => value.serialize(To(BlobContent(self))),
            _ if encoded::is_encoded(name) => match self.slot {
                Slot::Root => {
                    let docarray = self.writer.docarray;
                    encoded::write(name, value, docarray, Encoding::Proto, self.writer.out)?;
                    self.done()
                }
                _ => refuse(encoded::WITHIN),
            },
            _ => value.serialize(To(self)),
        }
    }

    fn variant<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Refusal> {
        value.serialize(To(self.of_variant(name)?))
    }

    fn tuple_variant(self, name: &'static str, _: usize) -> Result<Parts<'w, 'o>, Refusal> {
        self.of_variant(name)?.seq(None)
    }

    fn object_variant(self, name: &'static str) -> Result<Parts<'w, 'o>, Refusal> {
        self.of_variant(name)?.object()
    }
}
