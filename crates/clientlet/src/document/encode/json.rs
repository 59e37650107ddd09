//! The JSON written so far, and the kind of value that may come next.
//!
//! The functions that are called for each value are `inline`. Their callers are in other files, and
//! so in other codegen units; without `inline`, encoding numbers was almost a third slower.

use serde::Serialize;
use serde::ser;

use super::Slot;
use super::parts::Parts;
use super::row::Row;
use crate::document::blob::{BLOB, check_base64, write_base64};
use crate::document::encoded;
use crate::document::one_kind::BlobContent;
use crate::document::refusal::{Refusal, refuse};
use crate::document::serializer::{Destination, Num, To};
use crate::document::tensor::{SINGLES, TENSOR};
use crate::document::v1_fields::{Field, Kind, Number, numeral};
use crate::message::{DocArray, Encoding};

/// The reason why such a tensor is refused: v1 gateways reject it, and v2 gateways answer with
/// memory that was never written.
const NO_DIMENSIONS: &str = "a tensor without dimensions cannot be sent as JSON";

pub(super) struct Json<'o> {
    pub(super) docarray: DocArray,
    pub(super) slot: Slot,
    pub(super) out: &'o mut Vec<u8>,
    /// Whether the last name written is a content field of a v1 document.
    pub(super) is_content: bool,
    /// Whether the last name written is that of a tag of a v1 document.
    is_tag: bool,
    /// The depth at which the numbers of the current tensor are. `lengths` holds the lengths of its
    /// lists, by depth.
    leaves: Option<usize>,
    pub(super) lengths: Vec<Option<usize>>,
}

impl<'o> Json<'o> {
    pub(super) fn new(docarray: DocArray, slot: Slot, out: &'o mut Vec<u8>) -> Json<'o> {
        Json {
            docarray,
            slot,
            out,
            is_content: false,
            is_tag: false,
            leaves: None,
            lengths: Vec::new(),
        }
    }

    /// Checks a value that is neither an object nor a list; `what` describes it.
    fn scalar(&mut self, what: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Free | Slot::Value => Ok(()),
            Slot::Document => refuse(format!("a document must be an object, not {what}")),
            Slot::Map => refuse(format!("parameters must be an object, not {what}")),
            Slot::Field(kind) => refuse(kind.misfit(what)),
            Slot::Tensor(_) => refuse(Kind::Tensor.misfit(what)),
            Slot::Coordinate => refuse(format!("a location is made of numbers, not {what}")),
            Slot::Score => refuse(format!("a score must be an object, not {what}")),
        }
    }

    /// Checks a number before it is written.
    #[inline]
    fn check(&mut self, number: Number) -> Result<(), Refusal> {
        match self.slot {
            Slot::Free => Ok(()),
            Slot::Tensor(_) => self.leaf(),
            Slot::Value => number.double().map(drop),
            Slot::Coordinate | Slot::Field(Kind::Single) => number.single().map(drop),
            Slot::Field(Kind::Count) => number.count().map(drop),
            // The gateway converts the number to text.
            Slot::Field(Kind::Text) => Ok(()),
            _ => self.scalar("a number"),
        }
    }

    /// Checks a number or a boolean in a tensor.
    #[inline]
    fn leaf(&mut self) -> Result<(), Refusal> {
        match self.slot {
            Slot::Tensor(0) => refuse(NO_DIMENSIONS),
            Slot::Tensor(depth) if *self.leaves.get_or_insert(depth) == depth => Ok(()),
            _ => refuse("the lists of a tensor are not all nested to the same depth"),
        }
    }

    #[inline]
    fn quoted(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).expect("writing text to memory cannot fail");
    }

    /// Writes `{"Variant":` of an enum, before its content.
    fn begin_variant(&mut self, name: &'static str) -> Result<Slot, Refusal> {
        let slot = self.object()?.slot;
        self.key(slot, name)?;
        Ok(slot)
    }

    /// Writes the name of a field of an object in `slot`, and notes what may follow it.
    #[inline]
    pub(super) fn key(&mut self, slot: Slot, name: &str) -> Result<(), Refusal> {
        self.is_content = false;
        self.is_tag = slot == Slot::Field(Kind::Tags);
        self.slot = match slot {
            Slot::Document if self.docarray == DocArray::V1 => {
                let field = Field::of_document(name)?;
                self.is_content = field.is_content();
                if field.is_tensor() {
                    self.leaves = None;
                    self.lengths.clear();
                    Slot::Tensor(0)
                } else {
                    Slot::Field(field.kind)
                }
            }
            Slot::Map | Slot::Value | Slot::Field(Kind::Tags) => Slot::Value,
            Slot::Field(Kind::Scores) => Slot::Score,
            Slot::Score => Slot::Field(Field::of_score(name)?.kind),
            _ => Slot::Free,
        };
        self.quoted(name);
        self.out.push(b':');
        Ok(())
    }
}

impl<'j, 'o> Destination for &'j mut Json<'o> {
    type Seq = Parts<'j, 'o>;
    type Tuple = Parts<'j, 'o>;
    type Object = Parts<'j, 'o>;

    // It has a method for every kind.
    const ONLY: &'static str = "";

    #[inline]
    fn number<N: Num>(self, n: N) -> Result<(), Refusal> {
        let number = n.number();
        self.check(number)?;
        if !number.is_finite() {
            return refuse(format!("{n} cannot be sent as JSON"));
        }
        n.write_json(self.out).map_err(ser::Error::custom)?;
        // A v1 gateway reads these two integers as booleans there, and as doubles with a point.
        if self.is_tag && matches!(number, Number::Whole(0 | 1)) {
            self.out.extend_from_slice(b".0");
        }
        Ok(())
    }

    fn boolean(self, b: bool) -> Result<(), Refusal> {
        match self.slot {
            Slot::Tensor(_) => self.leaf()?,
            Slot::Field(Kind::Text | Kind::Count | Kind::Single) => {}
            _ => self.scalar("a boolean")?,
        }
        self.out.extend_from_slice(if b { b"true" } else { b"false" });
        Ok(())
    }

    fn null(self) -> Result<(), Refusal> {
        match self.slot {
            Slot::Document | Slot::Map | Slot::Tensor(1..) | Slot::Coordinate | Slot::Score => {
                self.scalar("null")?;
            }
            Slot::Field(_) | Slot::Tensor(0) | Slot::Value | Slot::Free => {}
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    #[inline]
    fn text(self, text: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Free | Slot::Value | Slot::Field(Kind::Text) => {}
            Slot::Field(Kind::Blob) => check_base64(text)?,
            Slot::Field(kind @ (Kind::Count | Kind::Single)) => {
                let number = numeral(kind, text)?;
                self.check(number)?;
            }
            _ => self.scalar("text")?,
        }
        self.quoted(text);
        Ok(())
    }

    fn bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
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

    #[inline]
    fn seq(self, length: Option<usize>) -> Result<Parts<'j, 'o>, Refusal> {
        let slot = match self.slot {
            Slot::Free | Slot::Value => self.slot,
            Slot::Field(Kind::Documents) => Slot::Document,
            Slot::Field(Kind::Location) => Slot::Coordinate,
            Slot::Tensor(depth) => {
                if self.leaves.is_some_and(|leaves| leaves <= depth) {
                    return refuse("the lists of a tensor are not all nested to the same depth");
                }
                if self.lengths.len() <= depth {
                    self.lengths.resize(depth + 1, None);
                }
                Slot::Tensor(depth + 1)
            }
            Slot::Document | Slot::Map | Slot::Field(_) | Slot::Coordinate | Slot::Score => {
                self.scalar("a list")?;
                Slot::Free
            }
        };
        // A number takes at least two bytes: this avoids repeated growth.
        self.out.reserve(length.unwrap_or(0).min(1 << 16) * 2);
        self.out.push(b'[');
        Ok(Parts {
            slot: std::mem::replace(&mut self.slot, slot),
            json: self,
            count: 0,
            ends: 1,
            key_start: 0,
            has_content: false,
        })
    }

    #[inline]
    fn tuple(self, length: usize) -> Result<Parts<'j, 'o>, Refusal> {
        self.seq(Some(length))
    }

    #[inline]
    fn object(self) -> Result<Parts<'j, 'o>, Refusal> {
        match self.slot {
            Slot::Free | Slot::Document | Slot::Map | Slot::Value | Slot::Score => {}
            Slot::Field(Kind::Tags | Kind::Scores) => {}
            Slot::Field(_) | Slot::Tensor(_) | Slot::Coordinate => self.scalar("an object")?,
        }
        self.out.push(b'{');
        Ok(Parts {
            slot: self.slot,
            json: self,
            count: 0,
            ends: 1,
            key_start: 0,
            has_content: false,
        })
    }

    #[inline]
    fn marked<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Refusal> {
        match name {
            BLOB => value.serialize(To(BlobContent(self))),
            TENSOR if self.slot == Slot::Free => {
                let start = self.out.len();
                value.serialize(To(&mut *self))?;
                if self.out.get(start) == Some(&b'[') { Ok(()) } else { refuse(NO_DIMENSIONS) }
            }
            SINGLES => value.serialize(To(Row(self))),
            _ if encoded::is_encoded(name) => match self.slot {
                Slot::Document => {
                    encoded::write(name, value, self.docarray, Encoding::Json, self.out)
                }
                _ => refuse(encoded::WITHIN),
            },
            _ => value.serialize(To(self)),
        }
    }

    fn variant<T: Serialize + ?Sized>(self, name: &'static str, value: &T) -> Result<(), Refusal> {
        let slot = self.begin_variant(name)?;
        value.serialize(To(&mut *self))?;
        self.slot = slot;
        self.out.push(b'}');
        Ok(())
    }

    fn tuple_variant(self, name: &'static str, length: usize) -> Result<Parts<'j, 'o>, Refusal> {
        let slot = self.begin_variant(name)?;
        Ok(Parts { slot, ends: 2, ..self.tuple(length)? })
    }

    fn object_variant(self, name: &'static str) -> Result<Parts<'j, 'o>, Refusal> {
        let slot = self.begin_variant(name)?;
        Ok(Parts { slot, ends: 2, ..self.object()? })
    }
}
