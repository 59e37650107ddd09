//! Lists and objects while their parts are written.

use serde::Serialize;
use serde::ser::SerializeMap;

use super::Slot;
use super::json::Json;
use crate::document::one_kind::Key;
use crate::document::refusal::{Refusal, Step, refuse};
use crate::document::serializer::{Entries, To, list_parts};
use crate::message::DocArray;

/// A list or an object while its parts are written.
pub(super) struct Parts<'j, 'o> {
    pub(super) json: &'j mut Json<'o>,
    /// The slot of the list or object itself.
    pub(super) slot: Slot,
    pub(super) count: usize,
    /// The number of brackets that end it: 2 for the content of an enum's variant.
    pub(super) ends: u8,
    /// Where the name of the last entry was written.
    pub(super) key_start: usize,
    /// Whether one of the mutually exclusive fields of a v1 document is set.
    pub(super) has_content: bool,
}

impl Parts<'_, '_> {
    fn comma(&mut self) {
        if self.count > 0 {
            self.json.out.push(b',');
        }
        self.count += 1;
    }

    pub(super) fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        self.comma();
        let index = self.count - 1;
        value.serialize(To(&mut *self.json)).map_err(|refusal| refusal.at(Step::Index(index)))
    }

    /// Writes the value of the entry whose name is at `key_start`.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        let is_content = self.json.is_content;
        let start = self.json.out.len();
        let written = value.serialize(To(&mut *self.json));
        written.map_err(|refusal| refusal.at(Step::Field(self.name_at(self.key_start))))?;
        // A v1 gateway treats empty text as absent.
        if is_content && !matches!(&self.json.out[start..], b"null" | b"\"\"") {
            if self.has_content {
                return refuse(
                    "text, blob and tensor exclude each other in a v1 document: all but one of \
                     them would be lost",
                );
            }
            self.has_content = true;
        }
        Ok(())
    }

    /// Reads the name of the entry whose value failed from the written bytes.
    fn name_at(&self, start: usize) -> String {
        let mut names =
            serde_json::Deserializer::from_slice(&self.json.out[start..]).into_iter::<String>();
        names.next().and_then(Result::ok).unwrap_or_default()
    }

    pub(super) fn close_list(self) -> Result<(), Refusal> {
        if let Slot::Tensor(depth) = self.slot {
            let length = *self.json.lengths[depth].get_or_insert(self.count);
            if length != self.count {
                return refuse(format!(
                    "the lists of a tensor differ in length: {length} and {} at depth {depth}",
                    self.count
                ));
            }
        }
        self.close(b']')
    }

    fn close(self, bracket: u8) -> Result<(), Refusal> {
        self.json.slot = self.slot;
        self.json.out.push(bracket);
        if self.ends == 2 {
            self.json.out.push(b'}');
        }
        Ok(())
    }
}

list_parts!(Parts<'_, '_>, element, close_list);

impl Entries for Parts<'_, '_> {
    fn entry<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refusal> {
        self.comma();
        self.key_start = self.json.out.len();
        self.json.key(self.slot, name)?;
        self.value(value)
    }
}

impl SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.comma();
        self.key_start = self.json.out.len();
        key.serialize(To(Key(|name: &str| self.json.key(self.slot, name))))
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        self.value(value)
    }

    fn end(self) -> Result<(), Refusal> {
        if self.count == 2 && self.slot == Slot::Document && self.json.docarray == DocArray::V2 {
            self.json.out.extend_from_slice(THIRD_FIELD);
        }
        self.close(b'}')
    }
}

/// A third field that keeps a gateway from misreading documents of two fields. If a v2 gateway
/// finds a fault in a list of documents, it tries to read the list as one document, and Python
/// turns any list of pairs into a dictionary. Documents of two fields each then become one
/// meaningless document, and the answer is a success. With a third field the fault stays a fault.
/// The gateway drops fields that its class does not have, and no class can have a field of this
/// name.
pub(in crate::document) const THIRD_FIELD: &[u8] = b",\"_\":null";
