//! Lists of documents, which are read into no more memory than is stated.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::blob::length_of_frame;

/// A list that has room for all of its elements at once where it is known how many there are, and grows
/// by a quarter elsewhere. Doubled, as serde's own are, it would take three times its memory at its worst;
/// and an empty document, two bytes on the wire, takes half a KiB.
pub(super) struct List<T>(pub(super) Vec<T>);

impl<'de, T: Deserialize<'de>> Deserialize<'de> for List<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<List<T>, D::Error> {
        deserializer.deserialize_seq(ListVisitor(PhantomData))
    }
}

struct ListVisitor<T>(PhantomData<T>);

impl<'de, T: Deserialize<'de>> Visitor<'de> for ListVisitor<T> {
    type Value = List<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In serde's words.
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<List<T>, A::Error> {
        // No element takes less than two bytes of a frame; of what is no frame of ours nothing is believed.
        let most = length_of_frame() / 2;
        let mut list = Vec::with_capacity(elements.size_hint().unwrap_or_default().min(most));
        while let Some(element) = elements.next_element()? {
            if list.len() == list.capacity() {
                list.reserve_exact((list.len() / 4).max(1));
            }
            list.push(element);
        }
        Ok(List(list))
    }
}

/// Such a list, or null.
pub(super) fn maybe<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list = Option::<List<T>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.0))
}
