//! Tells documents apart by a hash of their content.

use std::hash::{BuildHasher, RandomState};

use serde::Deserialize;
use serde::de::IgnoredAny;

use crate::document::proto::{Fault, MOST_DEPTH, Message, each_entry};
use crate::message::Encoding;
use crate::transport::RawDocument;

/// Hashes documents with a random key, so that a peer cannot make two documents with the same hash
/// on purpose.
#[derive(Debug, Default)]
pub(super) struct Fingerprints(RandomState);

#[derive(Deserialize)]
struct Identified {
    id: Option<IgnoredAny>,
}

impl Fingerprints {
    /// Whether a document has an id that is not null.
    pub(super) fn has_id(&self, document: &RawDocument) -> bool {
        match document.encoding {
            Encoding::Json => {
                serde_json::from_slice(&document.bytes).is_ok_and(|Identified { id }| id.is_some())
            }
            Encoding::Proto => entry_of_id(&document.bytes).is_ok_and(|node| !node.is_empty()),
        }
    }

    pub(super) fn of(&self, document: &RawDocument) -> u64 {
        match document.encoding {
            // A gateway writes a document's fields in the order of its class.
            Encoding::Json => self.0.hash_one(&document.bytes),
            // An unreadable document equals only documents with the same bytes.
            Encoding::Proto => self
                .map(&document.bytes, MOST_DEPTH)
                .unwrap_or_else(|_| self.0.hash_one(&document.bytes)),
        }
    }

    /// Hashes a `DocProto` or a `DictOfAnyProto`: a map, whose entries come in any order.
    fn map(&self, bytes: &[u8], depth: usize) -> Result<u64, Fault> {
        let mut sum = self.0.hash_one("map");
        self.each(bytes, |number, part| {
            let (mut key, mut value) = (0, 0);
            self.each(part, |number, part| {
                match number {
                    2 => value = self.node(part, depth)?,
                    _ => key = self.0.hash_one((number, part)),
                }
                Ok(())
            })?;
            sum = sum.wrapping_add(self.0.hash_one((number, key, value)));
            Ok(())
        })?;
        Ok(sum)
    }

    /// Hashes a `NodeProto`, which may contain maps at any depth.
    fn node(&self, bytes: &[u8], depth: usize) -> Result<u64, Fault> {
        let depth = depth.checked_sub(1).ok_or(Fault("messages are nested too deeply"))?;
        let mut print = 0;
        let mut message = Message::new(bytes);
        while let Some((number, wire)) = message.next()? {
            let part = match number {
                7 | 12 => self.map(wire.bytes()?, depth)?,
                8 => self.list(wire.bytes()?, |part| self.map(part, depth))?,
                9..=11 => self.list(wire.bytes()?, |part| self.node(part, depth))?,
                _ => self.0.hash_one(wire),
            };
            print = self.0.hash_one((print, number, part));
        }
        Ok(print)
    }

    fn list(
        &self,
        bytes: &[u8],
        element: impl Fn(&[u8]) -> Result<u64, Fault>,
    ) -> Result<u64, Fault> {
        let mut print = 0;
        self.each(bytes, |number, part| {
            print = self.0.hash_one((print, number, element(part)?));
            Ok(())
        })?;
        Ok(print)
    }

    /// Visits the fields of a message that contains only messages, text and bytes.
    fn each<'a>(
        &self,
        bytes: &'a [u8],
        mut then: impl FnMut(u32, &'a [u8]) -> Result<(), Fault>,
    ) -> Result<(), Fault> {
        let mut message = Message::new(bytes);
        while let Some((number, wire)) = message.next()? {
            then(number, wire.bytes()?)?;
        }
        Ok(())
    }
}

/// Returns the `NodeProto` of a document's id; empty if the document has no id.
fn entry_of_id(document: &[u8]) -> Result<&[u8], Fault> {
    let mut id = &b""[..];
    each_entry(document, |name, node| {
        if name == "id" {
            id = node;
        }
        Ok(())
    })?;
    Ok(id)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use serde_json::{Value, json};

    use super::*;
    use crate::document::proto::{Encoder, put_bytes};
    use crate::message::DocArray;

    /// Writes a map's entries, and those of inner maps, in this order or in reverse.
    fn proto(document: &Value, is_reversed: bool) -> Bytes {
        let mut entries: Vec<(&String, &Value)> = document.as_object().unwrap().iter().collect();
        if is_reversed {
            entries.reverse();
        }
        let mut out = Vec::new();
        for (key, value) in entries {
            let mut node = Vec::new();
            match value {
                Value::Object(_) => put_bytes(12, &proto(value, is_reversed), &mut node),
                Value::String(text) => put_bytes(1, text.as_bytes(), &mut node),
                _ => {}
            }
            let mut entry = Vec::new();
            put_bytes(1, key.as_bytes(), &mut entry);
            put_bytes(2, &node, &mut entry);
            put_bytes(1, &entry, &mut out);
        }
        out.into()
    }

    fn raw(bytes: Bytes) -> RawDocument {
        RawDocument { encoding: Encoding::Proto, bytes }
    }

    #[test]
    fn the_order_of_maps_at_any_depth_makes_no_difference_and_all_else_does() {
        let prints = Fingerprints::default();
        let of = |document: &Value, is_reversed| prints.of(&raw(proto(document, is_reversed)));
        let document =
            json!({"id": "a", "text": "t", "tags": {"x": "1", "y": {"z": "2", "w": "3"}}});
        assert_eq!(of(&document, false), of(&document, true));
        let others = [
            json!({"id": "b", "text": "t", "tags": {"x": "1", "y": {"z": "2", "w": "3"}}}),
            json!({"id": "a", "text": "t", "tags": {"x": "1", "y": {"z": "3", "w": "2"}}}),
            json!({"id": "t", "text": "a", "tags": {"x": "1", "y": {"z": "2", "w": "3"}}}),
            json!({"id": "a", "text": "t", "tags": {"x": "1"}}),
            json!({"id": "a", "text": "t"}),
        ];
        for other in others {
            assert_ne!(of(&document, false), of(&other, false), "{other}");
        }
    }

    #[test]
    fn an_id_is_one_that_is_not_null() {
        let prints = Fingerprints::default();
        for (document, has_id) in
            [(json!({"id": "a"}), true), (json!({"id": null, "x": "y"}), false), (json!({}), false)]
        {
            assert_eq!(prints.has_id(&raw(proto(&document, false))), has_id, "{document}");
            let json = RawDocument { encoding: Encoding::Json, bytes: document.to_string().into() };
            assert_eq!(prints.has_id(&json), has_id, "{document}");
        }
    }

    #[test]
    fn bytes_that_are_not_protobuf_equal_only_themselves() {
        let prints = Fingerprints::default();
        let mut deep = Vec::new();
        let list = json!({"id": "a", "list": ["x", {"y": [1, 2]}], "n": 3, "f": 0.5});
        Encoder::new(DocArray::V2).document_field(1, &list, &mut deep).unwrap();
        for bytes in [&b"\x0a\x05"[..], b"\xff", b"", &deep] {
            let document = raw(Bytes::copy_from_slice(bytes));
            assert_eq!(prints.of(&document), prints.of(&document));
            let _ = prints.has_id(&document);
        }
    }
}
