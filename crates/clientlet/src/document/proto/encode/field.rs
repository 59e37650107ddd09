//! Writes the values of the fields of a v1 document and of its scores.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

use super::parts::{Parts, What};
use super::place::{Place, Slot};
use crate::document::Dtype;
use crate::document::proto::write::{FIXED32, LENGTH, VARINT, Writer, field_size, varint_size};
use crate::document::refusal::{Refusal, refuse};
use crate::document::v1_fields::{Field, Kind, Number, numeral};

impl<'w, 'o> Place<'w, 'o, '_> {
    pub(super) fn field_number(
        self,
        field: Field,
        number: Number,
        dtype: Dtype,
        bytes: &[u8],
    ) -> Result<(), Refusal> {
        match field.kind {
            Kind::Text => self.writer.field(field.number, number.text().as_bytes()),
            Kind::Count => {
                let count = number.count()?;
                self.writer.tag(field.number, VARINT);
                self.writer.varint(count.into());
            }
            Kind::Single => {
                let single = number.single()?;
                self.writer.tag(field.number, FIXED32);
                self.writer.out.extend_from_slice(&single.to_le_bytes());
            }
            Kind::Tensor => {
                self.writer.grid.clear();
                self.writer.grid.push(0, dtype, bytes)?;
                write_grid(self.writer, field.number)?;
            }
            _ => return self.misfit("a number"),
        }
        self.done()
    }

    /// Writes a boolean, as a number or as text the way Python prints it.
    pub(super) fn field_bool(self, field: Field, b: bool) -> Result<(), Refusal> {
        if field.kind == Kind::Text {
            return self.field_text(field, if b { "True" } else { "False" });
        }
        self.field_number(field, Number::Whole(b.into()), Dtype::Bool, &[u8::from(b)])
    }

    #[inline]
    pub(super) fn field_text(self, field: Field, text: &str) -> Result<(), Refusal> {
        match field.kind {
            Kind::Text => self.writer.field(field.number, text.as_bytes()),
            Kind::Blob => match STANDARD.decode(text) {
                Ok(bytes) => self.writer.field(field.number, &bytes),
                Err(error) => return refuse(format!("invalid base64: {error}")),
            },
            Kind::Count | Kind::Single => {
                let number = numeral(field.kind, text)?;
                return self.field_number(field, number, Dtype::F64, &[]);
            }
            _ => return self.misfit("text"),
        }
        self.done()
    }

    pub(super) fn field_bytes(self, field: Field, bytes: &[u8]) -> Result<(), Refusal> {
        if field.kind != Kind::Blob {
            return self.misfit("bytes");
        }
        self.writer.field(field.number, bytes);
        self.done()
    }

    pub(super) fn field_tensor(
        self,
        field: Field,
        dtype: &str,
        buffer: &[u8],
    ) -> Result<(), Refusal> {
        if !field.is_tensor() {
            return self.misfit("a tensor");
        }
        write_array(self.writer, field.number, dtype, buffer)?;
        self.done()
    }

    pub(super) fn field_list(self, field: Field) -> Result<Parts<'w, 'o>, Refusal> {
        match field.kind {
            Kind::Documents => Ok(Parts::new(self, What::Documents(field.number), 0)),
            Kind::Location => {
                self.writer.open(field.number)?;
                Ok(Parts::new(self, What::Location, 1))
            }
            Kind::Tensor => {
                self.writer.grid.clear();
                self.writer.grid.open(0)?;
                Ok(Parts::new(self, What::Rows { depth: 0, number: field.number }, 0))
            }
            _ => self.misfit("a list"),
        }
    }

    /// Begins a list within the lists of a tensor.
    pub(super) fn rows(self, depth: usize) -> Result<Parts<'w, 'o>, Refusal> {
        if depth >= crate::document::MOST_DIMENSIONS {
            return refuse("a tensor of more than 64 dimensions cannot be sent");
        }
        self.writer.grid.open(depth)?;
        Ok(Parts::new(self, What::Rows { depth, number: 0 }, 0))
    }

    pub(super) fn field_object(self, field: Field) -> Result<Parts<'w, 'o>, Refusal> {
        match field.kind {
            Kind::Tags => {
                self.writer.open(field.number)?;
                Parts::of_struct(self, 1)
            }
            Kind::Scores => Ok(Parts::new(self, What::Scores(field.number), 0)),
            _ => self.misfit("an object"),
        }
    }

    /// Begins a score, which is an entry of a map.
    pub(super) fn score(self, number: u32, name: &str) -> Result<Parts<'w, 'o>, Refusal> {
        self.writer.open(number)?;
        self.writer.field(1, name.as_bytes());
        self.writer.open(2)?;
        Ok(Parts::new(self, What::Score, 2))
    }

    /// Begins a document, whose entries are its fields.
    #[inline]
    pub(super) fn document(self) -> Result<Parts<'w, 'o>, Refusal> {
        let opened = match self.slot {
            Slot::Document(number) => {
                self.writer.open(number)?;
                1
            }
            _ => 0,
        };
        Ok(Parts::new(self, What::Document { has_content: false }, opened))
    }
}

/// Writes the gathered numbers as a v1 array.
pub(super) fn write_grid(writer: &mut Writer<'_>, number: u32) -> Result<(), Refusal> {
    let grid = std::mem::take(&mut writer.grid);
    let (dtype, shape, buffer) = grid.parts();
    writer.shape.clear();
    writer.shape.extend(shape);
    write_array(writer, number, dtype.name(), buffer)?;
    writer.grid = grid;
    Ok(())
}

/// The class into which the receiver turns a tensor. Without it, the receiver silently drops the
/// tensor.
const CLASS: &str = "numpy";

/// Writes a v1 array into this field. Its shape is the writer's.
fn write_array(
    writer: &mut Writer<'_>,
    number: u32,
    dtype: &str,
    buffer: &[u8],
) -> Result<(), Refusal> {
    let dense = Dense::new(&writer.shape, dtype, buffer)?;
    writer.tag(number, LENGTH);
    writer.length(field_size(dense.size) + field_size(CLASS.len()));
    dense.write(writer, dtype, buffer);
    writer.field(3, CLASS.as_bytes());
    Ok(())
}

/// The sizes of an array's parts, known before the array is written.
pub(super) struct Dense {
    /// The size of the whole array, without its own tag and length.
    pub(super) size: usize,
    shape: usize,
}

impl Dense {
    pub(super) fn new(shape: &[u64], dtype: &str, buffer: &[u8]) -> Result<Dense, Refusal> {
        let mut size = 0;
        for &n in shape {
            let Ok(n) = u32::try_from(n) else {
                return refuse(format!("a dimension of {n} is too large to send"));
            };
            size += varint_size(n.into());
        }
        let parts = field_size(buffer.len()) + field_size(dtype.len());
        let shape = if size == 0 { 0 } else { field_size(size) };
        Ok(Dense { size: parts + shape, shape: size })
    }

    /// Writes the array into field 1.
    pub(super) fn write(&self, writer: &mut Writer<'_>, dtype: &str, buffer: &[u8]) {
        writer.tag(1, LENGTH);
        writer.length(self.size);
        writer.field(1, buffer);
        if self.shape > 0 {
            writer.tag(2, LENGTH);
            writer.length(self.shape);
            for index in 0..writer.shape.len() {
                writer.varint(writer.shape[index]);
            }
        }
        writer.field(3, dtype.as_bytes());
    }
}
