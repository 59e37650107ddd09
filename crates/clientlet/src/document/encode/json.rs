//! The JSON as far as it is written, and what may come next.
//!
//! What is called for each value is `inline`: the callers are in other files, and so in other units of
//! code generation, which made encoding numbers almost a third slower.

use super::Slot;
use super::parts::Parts;
use crate::document::blob::check_base64;
use crate::document::model::is_v1_field;
use crate::document::refusal::{Refusal, refuse};
use crate::message::DocArray;

pub(super) struct Json<'o> {
    pub(super) docarray: DocArray,
    pub(super) slot: Slot,
    pub(super) out: &'o mut Vec<u8>,
    /// Whether the last name written is that of a v1 document's content.
    pub(super) is_content: bool,
    /// The tensor being written: where its numbers stand and how long its lists are, by depth.
    leaves: Option<usize>,
    pub(super) lengths: Vec<Option<usize>>,
}

impl<'o> Json<'o> {
    pub(super) fn new(docarray: DocArray, slot: Slot, out: &'o mut Vec<u8>) -> Json<'o> {
        Json { docarray, slot, out, is_content: false, leaves: None, lengths: Vec::new() }
    }

    /// A value that is neither object nor list; `what` says what it is.
    pub(super) fn scalar(&mut self, what: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Free => Ok(()),
            Slot::Document => refuse(format!("a document must be an object, not {what}")),
            Slot::Map => refuse(format!("parameters must be an object, not {what}")),
            Slot::Documents => refuse(format!("here must be a list of documents, not {what}")),
            Slot::Blob => refuse(format!("a blob must be base64 text, not {what}")),
            Slot::Tensor(_) => refuse(format!("a tensor is made of numbers, not {what}")),
        }
    }

    #[inline]
    pub(super) fn number(&mut self) -> Result<(), Refusal> {
        match self.slot {
            Slot::Tensor(depth) if *self.leaves.get_or_insert(depth) == depth => Ok(()),
            Slot::Tensor(_) => refuse("the lists of a tensor are not all equally deep"),
            _ => self.scalar("a number"),
        }
    }

    pub(super) fn null(&mut self) -> Result<(), Refusal> {
        match self.slot {
            Slot::Document | Slot::Map => self.scalar("null")?,
            Slot::Tensor(1..) => refuse("a tensor is made of numbers, not null")?,
            Slot::Documents | Slot::Blob | Slot::Tensor(0) | Slot::Free => {}
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    #[inline]
    pub(super) fn text(&mut self, text: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Free => {}
            Slot::Blob => check_base64(text)?,
            _ => self.scalar("text")?,
        }
        self.quoted(text);
        Ok(())
    }

    #[inline]
    pub(super) fn quoted(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).expect("writing text to memory cannot fail");
    }

    #[inline]
    pub(super) fn list(&mut self, length: Option<usize>) -> Result<Parts<'_, 'o>, Refusal> {
        let slot = match self.slot {
            Slot::Free => Slot::Free,
            Slot::Documents => Slot::Document,
            Slot::Tensor(depth) => {
                if self.leaves.is_some_and(|leaves| leaves <= depth) {
                    return refuse("the lists of a tensor are not all equally deep");
                }
                if self.lengths.len() <= depth {
                    self.lengths.resize(depth + 1, None);
                }
                Slot::Tensor(depth + 1)
            }
            Slot::Document | Slot::Map | Slot::Blob => {
                self.scalar("a list")?;
                Slot::Free
            }
        };
        // Numbers take some bytes each: one growth instead of many.
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
    pub(super) fn object(&mut self) -> Result<Parts<'_, 'o>, Refusal> {
        match self.slot {
            Slot::Free | Slot::Document | Slot::Map => {}
            Slot::Documents | Slot::Blob | Slot::Tensor(_) => self.scalar("an object")?,
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

    /// `{"Variant":` of an enum, before its content.
    pub(super) fn variant(&mut self, variant: &'static str) -> Result<Slot, Refusal> {
        let slot = self.object()?.slot;
        self.key(slot, variant)?;
        Ok(slot)
    }

    /// Writes the name of a field of an object in `slot`, and notes what may stand behind it.
    #[inline]
    pub(super) fn key(&mut self, slot: Slot, name: &str) -> Result<(), Refusal> {
        self.slot = Slot::Free;
        self.is_content = false;
        if slot == Slot::Document && self.docarray == DocArray::V1 {
            self.is_content = matches!(name, "text" | "blob" | "tensor");
            self.slot = match name {
                "chunks" | "matches" => Slot::Documents,
                "blob" => Slot::Blob,
                "tensor" | "embedding" => {
                    self.leaves = None;
                    self.lengths.clear();
                    Slot::Tensor(0)
                }
                _ if is_v1_field(name) => Slot::Free,
                _ => {
                    return refuse(format!(
                        "a v1 document has no field {name:?}; what is not in its schema belongs into \"tags\""
                    ));
                }
            };
        }
        self.quoted(name);
        self.out.push(b':');
        Ok(())
    }
}
