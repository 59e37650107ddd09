//! Writes values that carry their own kind: `google.protobuf.Value` in tags and parameters, and the
//! `NodeProto` of v2. Both are in a map or in a list, framed alike.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::field::Dense;
use super::parts::{Parts, What};
use super::place::Place;
use crate::document::proto::NDARRAY;
use crate::document::proto::write::{FIXED64, LENGTH, VARINT, Writer, field_size, varint_size};
use crate::document::refusal::{Refusal, refuse};
use crate::document::v1_fields::Number;

/// The place of the message: field 1 of a map or of a list.
#[derive(Clone, Copy, Debug)]
pub(super) enum Seat<'k> {
    /// The value of an entry with this name.
    Entry(&'k str),
    /// An element.
    Element,
}

impl Seat<'_> {
    /// Frames a message of this size, which is written next.
    fn frame(self, size: usize, writer: &mut Writer<'_>) {
        writer.tag(1, LENGTH);
        if let Seat::Entry(name) = self {
            writer.length(field_size(name.len()) + field_size(size));
            writer.field(1, name.as_bytes());
            writer.tag(2, LENGTH);
        }
        writer.length(size);
    }

    /// Opens the frame of a message, and returns the number of levels to close after the message.
    fn open(self, writer: &mut Writer<'_>) -> Result<usize, Refusal> {
        writer.open(1)?;
        let Seat::Entry(name) = self else { return Ok(1) };
        writer.field(1, name.as_bytes());
        writer.open(2)?;
        Ok(2)
    }
}

impl<'w, 'o> Place<'w, 'o, '_> {
    pub(super) fn value_null(self, seat: Seat<'_>) -> Result<(), Refusal> {
        self.varint(seat, 1, 0)
    }

    pub(super) fn value_number(self, seat: Seat<'_>, number: Number) -> Result<(), Refusal> {
        self.double(seat, 2, number.double()?)
    }

    pub(super) fn value_text(self, seat: Seat<'_>, text: &str) -> Result<(), Refusal> {
        self.bytes(seat, 3, text.as_bytes())
    }

    pub(super) fn value_bool(self, seat: Seat<'_>, b: bool) -> Result<(), Refusal> {
        self.varint(seat, 4, b.into())
    }

    /// Writes bytes. `google.protobuf.Value` has no bytes, so they become base64, as everywhere in
    /// v1's JSON.
    pub(super) fn value_bytes(self, seat: Seat<'_>, bytes: &[u8]) -> Result<(), Refusal> {
        self.value_text(seat, &STANDARD.encode(bytes))
    }

    pub(super) fn value_object(self, seat: Seat<'_>) -> Result<Parts<'w, 'o>, Refusal> {
        let levels = seat.open(self.writer)?;
        self.writer.open(5)?;
        Parts::of_struct(self, levels + 1)
    }

    pub(super) fn value_list(self, seat: Seat<'_>) -> Result<Parts<'w, 'o>, Refusal> {
        let levels = seat.open(self.writer)?;
        self.writer.open(6)?;
        Ok(Parts::new(self, What::Values, levels + 1))
    }

    pub(super) fn node_null(self, seat: Seat<'_>) -> Result<(), Refusal> {
        seat.frame(0, self.writer);
        self.done()
    }

    /// Writes a number. A document's `id` is written as text, as a gateway does over HTTP.
    pub(super) fn node_number(
        self,
        seat: Seat<'_>,
        is_field: bool,
        number: Number,
    ) -> Result<(), Refusal> {
        if is_field && matches!(seat, Seat::Entry("id")) {
            return self.node_text(seat, is_field, &number.text());
        }
        let Number::Whole(n) = number else { return self.double(seat, 3, number.to_f64()) };
        match i32::try_from(n) {
            // A negative number takes ten bytes: the format extends the sign to 64 bits.
            Ok(n) => self.varint(seat, 2, i64::from(n) as u64),
            Err(_) => refuse(format!("{n} is beyond the 32 bits of an integer in a v2 document")),
        }
    }

    pub(super) fn node_bool(self, seat: Seat<'_>, b: bool) -> Result<(), Refusal> {
        self.varint(seat, 4, b.into())
    }

    /// Writes bytes. A document's `id` is text, as it is over HTTP.
    pub(super) fn node_bytes(
        self,
        seat: Seat<'_>,
        is_field: bool,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        if !(is_field && matches!(seat, Seat::Entry("id"))) {
            return self.bytes(seat, 5, bytes);
        }
        match std::str::from_utf8(bytes) {
            Ok(text) => self.node_text(seat, is_field, text),
            Err(_) => refuse("an id must be text, and these bytes are not UTF-8"),
        }
    }

    /// Writes text. A document's `id` has a type name, as docarray's own ids have.
    pub(super) fn node_text(
        self,
        seat: Seat<'_>,
        is_field: bool,
        text: &str,
    ) -> Result<(), Refusal> {
        if !(is_field && matches!(seat, Seat::Entry("id"))) {
            return self.bytes(seat, 1, text.as_bytes());
        }
        seat.frame(field_size(text.len()) + field_size("id".len()), self.writer);
        self.writer.field(1, text.as_bytes());
        self.writer.field(13, b"id");
        self.done()
    }

    /// Writes an ndarray, always with its type name, because executors refuse an ndarray without
    /// it.
    pub(super) fn node_tensor(
        self,
        seat: Seat<'_>,
        dtype: &str,
        buffer: &[u8],
    ) -> Result<(), Refusal> {
        let dense = Dense::new(&self.writer.shape, dtype, buffer)?;
        let array = field_size(dense.size);
        self.writer.out.reserve(array + 64);
        seat.frame(field_size(array) + field_size(NDARRAY.len()), self.writer);
        self.writer.tag(6, LENGTH);
        self.writer.length(array);
        dense.write(self.writer, dtype, buffer);
        self.writer.field(13, NDARRAY.as_bytes());
        self.done()
    }

    /// Begins a dictionary, for structs and maps alike. An executor turns a dictionary into the
    /// document that its class declares, but never a document into a dictionary.
    pub(super) fn node_object(self, seat: Seat<'_>) -> Result<Parts<'w, 'o>, Refusal> {
        let levels = seat.open(self.writer)?;
        self.writer.open(12)?;
        Ok(Parts::new(self, What::Dict, levels + 1))
    }

    pub(super) fn node_list(self, seat: Seat<'_>) -> Result<Parts<'w, 'o>, Refusal> {
        let levels = seat.open(self.writer)?;
        self.writer.open(9)?;
        Ok(Parts::new(self, What::Nodes, levels + 1))
    }

    fn varint(self, seat: Seat<'_>, number: u32, n: u64) -> Result<(), Refusal> {
        seat.frame(1 + varint_size(n), self.writer);
        self.writer.tag(number, VARINT);
        self.writer.varint(n);
        self.done()
    }

    fn double(self, seat: Seat<'_>, number: u32, n: f64) -> Result<(), Refusal> {
        seat.frame(9, self.writer);
        self.writer.tag(number, FIXED64);
        self.writer.out.extend_from_slice(&n.to_le_bytes());
        self.done()
    }

    fn bytes(self, seat: Seat<'_>, number: u32, bytes: &[u8]) -> Result<(), Refusal> {
        seat.frame(field_size(bytes.len()), self.writer);
        self.writer.field(number, bytes);
        self.done()
    }
}
