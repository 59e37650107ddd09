//! Checks whether bytes are a certain message, without building it.

/// The deepest nesting of messages. Deeper ones are refused, as protobuf's own readers do.
const DEEPEST: usize = 100;

/// The fields of a message that are checked. Other fields are skipped.
pub(super) struct Shape(&'static [(u32, Kind)]);

enum Kind {
    Text,
    Message(&'static Shape),
}

use Kind::{Message, Text};

pub(super) static REQUEST_V1: Shape = Shape(&[
    (1, Message(&HEADER)),
    (2, Message(&STRUCT)),
    (3, Message(&ROUTE)),
    (4, Message(&DATA_V1)),
]);
pub(super) static REQUEST_V2: Shape = Shape(&[
    (1, Message(&HEADER)),
    (2, Message(&STRUCT)),
    (3, Message(&ROUTE)),
    (4, Message(&DATA_V2)),
]);
/// A request of one document.
pub(super) static SINGLE_V2: Shape = Shape(&[
    (1, Message(&HEADER)),
    (2, Message(&STRUCT)),
    (3, Message(&ROUTE)),
    (4, Message(&DOCUMENT_V2)),
]);
static HEADER: Shape = Shape(&[(1, Text), (2, Message(&STATUS)), (3, Text), (4, Text)]);
static STATUS: Shape = Shape(&[(2, Text), (3, Message(&EXCEPTION))]);
static EXCEPTION: Shape = Shape(&[(1, Text), (2, Text), (3, Text), (4, Text)]);
static ROUTE: Shape =
    Shape(&[(1, Text), (2, Message(&PLAIN)), (3, Message(&PLAIN)), (4, Message(&STATUS))]);
static STRUCT: Shape = Shape(&[(1, Message(&STRUCT_ENTRY))]);
static STRUCT_ENTRY: Shape = Shape(&[(1, Text), (2, Message(&VALUE))]);
static VALUE: Shape = Shape(&[(3, Text), (5, Message(&STRUCT)), (6, Message(&VALUES))]);
static VALUES: Shape = Shape(&[(1, Message(&VALUE))]);
/// A message of numbers and bytes.
static PLAIN: Shape = Shape(&[]);

static DATA_V1: Shape = Shape(&[(1, Message(&DOCUMENTS_V1))]);
static DOCUMENTS_V1: Shape = Shape(&[(1, Message(&DOCUMENT_V1))]);
static DOCUMENT_V1: Shape = Shape(&[
    (1, Text),
    (3, Message(&ARRAY_V1)),
    (4, Text),
    (7, Text),
    (9, Text),
    (10, Text),
    (11, Text),
    (14, Message(&DOCUMENT_V1)),
    (15, Message(&DOCUMENT_V1)),
    (16, Message(&ARRAY_V1)),
    (17, Message(&STRUCT)),
    (18, Message(&SCORE_ENTRY)),
    (19, Message(&SCORE_ENTRY)),
    (20, Message(&STRUCT)),
]);
static ARRAY_V1: Shape =
    Shape(&[(1, Message(&DENSE)), (2, Message(&SPARSE)), (3, Text), (4, Message(&STRUCT))]);
static DENSE: Shape = Shape(&[(3, Text)]);
static SPARSE: Shape = Shape(&[(1, Message(&DENSE)), (2, Message(&DENSE))]);
static SCORE_ENTRY: Shape = Shape(&[(1, Text), (2, Message(&SCORE))]);
static SCORE: Shape = Shape(&[(2, Text), (3, Text), (4, Text)]);

static DATA_V2: Shape = Shape(&[(1, Message(&DOCUMENTS_V2))]);
pub(super) static DOCUMENTS_V2: Shape = Shape(&[(1, Message(&DOCUMENT_V2))]);
static DOCUMENT_V2: Shape = Shape(&[(1, Message(&NODE_ENTRY))]);
static NODE_ENTRY: Shape = Shape(&[(1, Text), (2, Message(&NODE))]);
static NODE: Shape = Shape(&[
    (1, Text),
    (6, Message(&ARRAY_V2)),
    (7, Message(&DOCUMENT_V2)),
    (8, Message(&DOCUMENTS_V2)),
    (9, Message(&NODES)),
    (10, Message(&NODES)),
    (11, Message(&NODES)),
    // A dictionary has its entries where a document has them.
    (12, Message(&DOCUMENT_V2)),
    (13, Text),
]);
static NODES: Shape = Shape(&[(1, Message(&NODE))]);
static ARRAY_V2: Shape = Shape(&[(1, Message(&DENSE)), (2, Message(&STRUCT))]);

impl Shape {
    /// Whether the bytes can be read as this message.
    pub(super) fn fits(&self, bytes: &[u8]) -> bool {
        self.fits_at(bytes, 0)
    }

    fn fits_at(&self, bytes: &[u8], depth: usize) -> bool {
        if depth == DEEPEST {
            return false;
        }
        let mut fields = Fields::new(bytes);
        for field in fields.by_ref() {
            // A known field with another wire type counts as unknown.
            if field.wire != Wire::Bytes {
                continue;
            }
            let fits = match self.0.iter().find(|(number, _)| *number == field.number) {
                Some((_, Text)) => std::str::from_utf8(field.content).is_ok(),
                Some((_, Message(shape))) => shape.fits_at(field.content, depth + 1),
                None => true,
            };
            if !fits {
                return false;
            }
        }
        fields.rest.is_empty()
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wire {
    Varint,
    Fixed,
    Bytes,
}

/// A field as it is in a message.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    pub(super) number: u32,
    pub(super) wire: Wire,
    /// The content of the field.
    pub(super) content: &'a [u8],
    /// The whole field, with key and length.
    pub(super) whole: &'a [u8],
}

/// The fields of a message up to the first broken one. Behind a broken field, bytes are left.
pub(super) struct Fields<'a> {
    rest: &'a [u8],
}

impl<'a> Fields<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes }
    }
}

impl<'a> Iterator for Fields<'a> {
    type Item = Field<'a>;

    fn next(&mut self) -> Option<Field<'a>> {
        let (key, after_key) = varint(self.rest)?;
        let number = u32::try_from(key >> 3).ok().filter(|&number| number > 0)?;
        let (wire, start, length) = match key & 7 {
            0 => {
                let (_, after) = varint(after_key)?;
                (Wire::Varint, after_key, after_key.len() - after.len())
            }
            1 => (Wire::Fixed, after_key, 8),
            2 => {
                let (length, after) = varint(after_key)?;
                (Wire::Bytes, after, usize::try_from(length).ok()?)
            }
            5 => (Wire::Fixed, after_key, 4),
            // Groups went out of use before proto3.
            _ => return None,
        };
        let (content, rest) = start.split_at_checked(length)?;
        let whole = &self.rest[..self.rest.len() - rest.len()];
        self.rest = rest;
        Some(Field { number, wire, content, whole })
    }
}

/// Reads a number. Returns the number and the bytes behind it.
pub(super) fn varint(bytes: &[u8]) -> Option<(u64, &[u8])> {
    let mut value = 0;
    for (index, byte) in bytes.iter().take(10).enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            return Some((value, &bytes[index + 1..]));
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_message_does_not_fit() {
        for (bytes, fits) in [
            (&b""[..], true),
            (b"\x01", false),                 // field 0
            (b"\x00", false),                 // the end marker
            (b"\x0a\x03\x0a\x01a", true),     // a header with an id
            (b"\x0a\x03\x0a\x01\xff", false), // that is no text
            (b"\x0a\x04\x0a\x01a", false),    // and breaks off
            (b"\x08\x05", true),              // another wire type
            (b"\x98\x06\x05", true),          // an unknown field
            (b"\x0b\x0c", false),             // a group
            (b"\x22\x02\x0a\x05", false),     // broken documents
            (b"\xff\xff\xff", false),
        ] {
            assert_eq!(REQUEST_V1.fits(bytes), fits, "{bytes:?}");
            assert_eq!(REQUEST_V2.fits(bytes), fits, "{bytes:?}");
        }
    }

    #[test]
    fn messages_that_are_too_deep_are_refused() {
        let nested = |depth| {
            let mut document = Vec::new();
            for _ in 0..depth {
                let mut outer = Vec::new();
                crate::protobuf::write_bytes(&mut outer, 14, &document);
                document = outer;
            }
            document
        };
        assert!(DOCUMENT_V1.fits(&nested(99)));
        assert!(!DOCUMENT_V1.fits(&nested(100)));
    }
}
