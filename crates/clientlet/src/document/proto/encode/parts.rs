//! Writes the parts of lists and objects.

use serde::Serialize;
use serde::ser::SerializeMap;

use super::field::write_grid;
use super::node::Seat;
use super::place::{Place, Slot};
use crate::document::one_kind::Key;
use crate::document::proto::write::Writer;
use crate::document::refusal::{Refusal, Step, refuse};
use crate::document::serializer::{Entries, To, list_parts};
use crate::document::v1_fields::Field;
use crate::message::DocArray;

/// The list or object that the parts belong to.
#[derive(Clone, Copy, Debug)]
pub(super) enum What {
    /// A document. `has_content` is true once one of the mutually exclusive fields of a v1 document
    /// is set.
    Document {
        has_content: bool,
    },
    /// A list of documents in this field of a v1 document.
    Documents(u32),
    /// A map of scores in this field. `Score` is one of its scores.
    Scores(u32),
    Score,
    Location,
    /// A list of a tensor. The outermost list knows the tensor's field.
    Rows {
        depth: usize,
        number: u32,
    },
    /// A `google.protobuf.Struct`. `Values` is a `ListValue`.
    Struct,
    Values,
    /// A dictionary of v2. `Nodes` is a list of v2.
    Dict,
    Nodes,
}

#[derive(Debug)]
pub(super) struct Parts<'w, 'o> {
    pub(super) writer: &'w mut Writer<'o>,
    what: What,
    /// The number of messages that end with the last part.
    pub(super) opened: usize,
    count: usize,
    /// The name of the next value's entry, in maps that write names and values separately.
    key: String,
}

impl<'w, 'o> Parts<'w, 'o> {
    /// Begins the parts of the value at `place`, for which `levels` messages were opened.
    #[inline]
    pub(super) fn new(place: Place<'w, 'o, '_>, what: What, levels: usize) -> Parts<'w, 'o> {
        let Place { writer, around, .. } = place;
        Parts { writer, what, opened: around + levels, count: 0, key: String::new() }
    }

    pub(super) fn of_struct(
        place: Place<'w, 'o, '_>,
        levels: usize,
    ) -> Result<Parts<'w, 'o>, Refusal> {
        Ok(Parts::new(place, What::Struct, levels))
    }

    /// Returns the slot of the entry with this name.
    #[inline]
    pub(super) fn slot_of<'k>(&self, name: &'k str) -> Result<Slot<'k>, Refusal> {
        Ok(match self.what {
            What::Document { .. } if self.writer.docarray == DocArray::V1 => {
                Slot::Field(Field::of_document(name)?)
            }
            What::Document { .. } => Slot::Node { seat: Seat::Entry(name), is_field: true },
            What::Dict => Slot::Node { seat: Seat::Entry(name), is_field: false },
            What::Scores(number) => Slot::Score { number, name },
            What::Score => Slot::Field(Field::of_score(name)?),
            _ => Slot::Value(Seat::Entry(name)),
        })
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        let slot = match self.what {
            What::Documents(number) => Slot::Document(number),
            What::Location => Slot::Coordinate,
            What::Rows { depth, .. } => Slot::Leaf(depth + 1),
            What::Nodes => Slot::Node { seat: Seat::Element, is_field: false },
            _ => Slot::Value(Seat::Element),
        };
        let index = self.count;
        self.count += 1;
        value
            .serialize(To(Place::new(self.writer, slot)))
            .map_err(|refusal| refusal.at(Step::Index(index)))?;
        Ok(())
    }

    #[inline]
    fn finish(self) -> Result<(), Refusal> {
        if let What::Rows { depth, number } = self.what {
            close_rows(self.writer, depth, number, self.count)?;
        }
        self.writer.close(self.opened);
        Ok(())
    }
}

/// Ends a list of a tensor, which had this number of elements. The outermost one writes the tensor.
fn close_rows(
    writer: &mut Writer<'_>,
    depth: usize,
    number: u32,
    count: usize,
) -> Result<(), Refusal> {
    writer.grid.close(depth, count)?;
    if depth == 0 {
        write_grid(writer, number)?;
    }
    Ok(())
}

list_parts!(Parts<'_, '_>, element, finish);

impl Entries for Parts<'_, '_> {
    fn entry<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refusal> {
        let slot = self.slot_of(name)?;
        let start = self.writer.out.len();
        value
            .serialize(To(Place::new(self.writer, slot)))
            .map_err(|refusal| refusal.at(Step::Field(name.to_owned())))?;
        match (slot, &mut self.what) {
            (Slot::Field(field), What::Document { has_content }) if field.is_content() => {
                // An empty text or blob is a tag and a length, and counts as absent.
                match self.writer.out.len() - start {
                    0 => {}
                    2 if *has_content => self.writer.out.truncate(start),
                    2 => {}
                    _ if *has_content => {
                        return refuse(
                            "text, blob and tensor exclude each other in a v1 document: all but \
                             one of them would be lost",
                        );
                    }
                    _ => *has_content = true,
                }
            }
            _ => {}
        }
        Ok(())
    }
}

impl SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.key.clear();
        key.serialize(To(Key(|name: &str| {
            self.key.push_str(name);
            Ok(())
        })))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        let key = std::mem::take(&mut self.key);
        self.entry(&key, value)?;
        self.key = key;
        Ok(())
    }

    fn end(self) -> Result<(), Refusal> {
        self.finish()
    }
}
