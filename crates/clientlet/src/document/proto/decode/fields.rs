//! Reads messages whose fields have names of their own: a v1 document, a score.

use std::borrow::Cow;

use super::Context;
use super::array::Array;
use super::view::{Kind, Repeated, View};
use crate::document::proto::wire::{Fault, Message, Run, Wire};

/// A message with named fields.
#[derive(Clone, Copy, Debug)]
pub(super) struct Fields<'a> {
    pub(super) kind: Kind,
    pub(super) bytes: &'a [u8],
    pub(super) context: Context<'a>,
}

/// The content of a field.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Holds {
    Text,
    Count,
    Single,
    Blob,
    Array,
    Singles,
    Documents,
    Struct,
    Scores,
}

/// The default of an absent field.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Default {
    Text,
    Count,
    Single,
    Blob,
    List,
    Map,
}

/// A field's name, number and content.
type Field = (&'static str, u32, Holds);

const DOCUMENT: &[Field] = &[
    ("id", 1, Holds::Text),
    ("blob", 2, Holds::Blob),
    ("tensor", 3, Holds::Array),
    ("text", 4, Holds::Text),
    ("granularity", 5, Holds::Count),
    ("adjacency", 6, Holds::Count),
    ("parent_id", 7, Holds::Text),
    ("weight", 8, Holds::Single),
    ("uri", 9, Holds::Text),
    ("modality", 10, Holds::Text),
    ("mime_type", 11, Holds::Text),
    ("offset", 12, Holds::Single),
    ("location", 13, Holds::Singles),
    ("chunks", 14, Holds::Documents),
    ("matches", 15, Holds::Documents),
    ("embedding", 16, Holds::Array),
    ("tags", 17, Holds::Struct),
    ("scores", 18, Holds::Scores),
    ("evaluations", 19, Holds::Scores),
];

const SCORE: &[Field] = &[
    ("value", 1, Holds::Single),
    ("op_name", 2, Holds::Text),
    ("description", 3, Holds::Text),
    ("ref_id", 4, Holds::Text),
];

const MOST_FIELDS: usize = DOCUMENT.len();

impl Holds {
    /// Checks content of the field that is set again later. The check covers the wire type and
    /// text, because no other part of overwritten content is read.
    fn check(self, wire: Wire<'_>) -> Result<(), Fault> {
        match self {
            Holds::Text => wire.text().map(drop),
            Holds::Count => wire.varint().map(drop),
            Holds::Single => wire.single().map(drop),
            Holds::Blob | Holds::Array | Holds::Documents | Holds::Struct | Holds::Scores => {
                wire.bytes().map(drop)
            }
            Holds::Singles => Ok(()),
        }
    }

    fn default(self) -> Option<Default> {
        match self {
            Holds::Text => Some(Default::Text),
            Holds::Count => Some(Default::Count),
            Holds::Single => Some(Default::Single),
            Holds::Blob => Some(Default::Blob),
            Holds::Singles | Holds::Documents => Some(Default::List),
            Holds::Struct | Holds::Scores => Some(Default::Map),
            Holds::Array => None,
        }
    }
}

/// The places of the fields of a message.
pub(super) struct Found<'a> {
    fields: Fields<'a>,
    table: &'static [Field],
    spots: [Spot; MOST_FIELDS],
}

/// The place of a field: offsets in the message. It is small, because documents nest and each level
/// has its own places.
#[derive(Clone, Copy, Default)]
struct Spot {
    start: u32,
    end: u32,
    /// Where the field's last occurrence begins.
    last: u32,
    /// The number of occurrences.
    count: u32,
}

/// The mutually exclusive fields of a document.
const CONTENT: [u32; 3] = [2, 3, 4];

impl<'a> Found<'a> {
    /// Nothing is found before [`Found::read`].
    pub(super) fn new(fields: Fields<'a>) -> Found<'a> {
        let table = if fields.kind == Kind::Score { SCORE } else { DOCUMENT };
        Found { fields, table, spots: [Spot::default(); MOST_FIELDS] }
    }

    /// Finds the fields of the message.
    pub(super) fn read(&mut self) -> Result<(), Fault> {
        let bytes = self.fields.bytes;
        let mut message = Message::new(bytes);
        loop {
            let start = (bytes.len() - message.left()) as u32;
            let Some((number, _)) = message.next()? else { return Ok(()) };
            let index = number as usize - 1;
            if index >= self.table.len() {
                continue;
            }
            let end = (bytes.len() - message.left()) as u32;
            self.check_before_overwrite(index)?;
            let known = &mut self.spots[index];
            if known.count == 0 {
                known.start = start;
            }
            *known = Spot { end, last: start, count: known.count + 1, ..*known };
            if self.fields.kind == Kind::DocumentV1 && CONTENT.contains(&number) {
                // The content field that is set last wins.
                for other in CONTENT.map(|number| number as usize - 1) {
                    if other != index && self.spots[other].count > 0 {
                        self.check_before_overwrite(other)?;
                        self.spots[other] = Spot::default();
                    }
                }
            }
        }
    }

    /// Returns the first field at or after `index` that is present.
    pub(super) fn at(&self, index: usize) -> Option<(usize, &'static str)> {
        let index = (index..self.table.len()).find(|&index| self.spots[index].count > 0)?;
        Some((index, self.table[index].0))
    }

    /// Returns the default of this field if the field is absent.
    pub(super) fn default(&self, name: &str) -> Option<Default> {
        let index = self.table.iter().position(|(known, ..)| *known == name)?;
        if self.spots[index].count > 0 { None } else { self.table[index].2.default() }
    }

    /// Returns the content of the field at `index`.
    pub(super) fn view(&self, index: usize) -> Result<View<'a>, Fault> {
        let spot = self.spots[index];
        let Some(wire) = self.last(spot)? else { return Ok(View::Null) };
        let (_, number, holds) = self.table[index];
        let (bytes, context) = (self.fields.bytes, self.fields.context);
        let (start, end) = (spot.start as usize, spot.end as usize);
        let message = || -> Result<Cow<'a, [u8]>, Fault> {
            let run = Run { start, end, last: wire.bytes()?, parts: spot.count as usize };
            run.message(bytes, number, context.budget())
        };
        let range = &bytes[start..end];
        let repeated = |of| Repeated { bytes: range.into(), number, of, context };
        Ok(match holds {
            Holds::Text => View::Text(wire.text()?),
            Holds::Count => View::Count(wire.varint()? as u32),
            Holds::Single => View::Single(wire.single()?),
            Holds::Blob => View::Blob(wire.bytes()?),
            Holds::Array => View::Array(Array::v1(message()?, context.within(1)?)),
            Holds::Singles => View::Singles { bytes: range, number },
            Holds::Documents => View::List(repeated(Kind::DocumentV1)),
            Holds::Scores => View::Entries(repeated(Kind::Score)),
            Holds::Struct => View::Entries(Repeated {
                bytes: message()?,
                number: 1,
                of: Kind::Value,
                context: context.within(1)?,
            }),
        })
    }

    /// Returns the last content of the field; `None` if the field is absent.
    #[inline]
    fn last(&self, spot: Spot) -> Result<Option<Wire<'a>>, Fault> {
        if spot.count == 0 {
            return Ok(None);
        }
        let field = Message::new(&self.fields.bytes[spot.last as usize..]).next()?;
        Ok(field.map(|(_, wire)| wire))
    }

    /// Checks the content that is about to be replaced, because prost does so too.
    #[inline]
    fn check_before_overwrite(&self, index: usize) -> Result<(), Fault> {
        match self.last(self.spots[index])? {
            Some(wire) => self.table[index].2.check(wire),
            None => Ok(()),
        }
    }
}
