//! Reads lists of documents within the documented amount of memory.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, SeqAccess, Visitor};

use super::blob::length_of_frame;

/// A list that reserves room for all its elements if their number is known. Otherwise it grows by a
/// quarter at a time. serde's own list doubles, so at worst it takes three times the memory of its
/// elements; an empty document, two bytes on the wire, takes half a KiB in memory.
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
        // The same words as serde's own lists use.
        f.write_str("a sequence")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut elements: A) -> Result<List<T>, A::Error> {
        // An element takes at least two bytes of a frame. The size hint of any other source is
        // ignored.
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

/// Reads a [`List`], or `None` from null.
pub(super) fn maybe<'de, T, D>(deserializer: D) -> Result<Option<Vec<T>>, D::Error>
where
    T: Deserialize<'de>,
    D: Deserializer<'de>,
{
    let list = Option::<List<T>>::deserialize(deserializer)?;
    Ok(list.map(|list| list.0))
}
