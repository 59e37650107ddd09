//! Hands over the elements of lists and the entries of maps one by one.

use std::cmp::Reverse;

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::Problem;
use super::fields::{Default, Found};
use super::view::{Kind, Repeated, View, entry_name, entry_value, open};
use crate::document::proto::wire::{Fault, Message, Wire};

/// Messages in a repeated field.
pub(super) struct Elements<'a> {
    message: Message<'a>,
    repeated: &'a Repeated<'a>,
}

impl<'a> Elements<'a> {
    pub(super) fn new(repeated: &'a Repeated<'a>) -> Elements<'a> {
        Elements { message: Message::new(&repeated.bytes), repeated }
    }

    fn next_bytes(&mut self) -> Result<Option<&'a [u8]>, Fault> {
        while let Some((number, wire)) = self.message.next()? {
            if number == self.repeated.number {
                return wire.bytes().map(Some);
            }
        }
        Ok(None)
    }
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(bytes) = self.next_bytes()? else { return Ok(None) };
        let context = self.repeated.context.within(1)?;
        seed.deserialize(open(self.repeated.of, bytes, context)?).map(Some)
    }

    /// The number of documents, up to the first that cannot be read. Skipping a document costs
    /// little compared with reading it. For smaller elements counting does not pay.
    fn size_hint(&self) -> Option<usize> {
        if !matches!(self.repeated.of, Kind::DocumentV1 | Kind::DocumentV2) {
            return None;
        }
        Some(self.message.count(self.repeated.number))
    }
}

/// Numbers in a repeated field: packed, one by one, or both.
pub(super) struct Singles<'a> {
    message: Message<'a>,
    number: u32,
    pack: &'a [u8],
}

impl<'a> Singles<'a> {
    pub(super) fn new(bytes: &'a [u8], number: u32) -> Singles<'a> {
        Singles { message: Message::new(bytes), number, pack: &[] }
    }

    fn next_number(&mut self) -> Result<Option<f32>, Fault> {
        loop {
            if let Some((raw, rest)) = self.pack.split_first_chunk() {
                self.pack = rest;
                return Ok(Some(f32::from_le_bytes(*raw)));
            }
            if !self.pack.is_empty() {
                return Err(Fault("a list of numbers ends in the middle of a number"));
            }
            match self.message.next()? {
                Some((number, Wire::Bytes(pack))) if number == self.number => self.pack = pack,
                Some((number, wire)) if number == self.number => return wire.single().map(Some),
                Some(_) => {}
                None => return Ok(None),
            }
        }
    }
}

impl<'de> SeqAccess<'de> for Singles<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        match self.next_number()? {
            Some(n) => seed.deserialize(View::Single(n)).map(Some),
            None => Ok(None),
        }
    }
}

/// The entries of a map, each name once.
pub(super) struct Entries<'a> {
    entries: std::vec::IntoIter<(&'a str, &'a [u8])>,
    next: &'a [u8],
    repeated: &'a Repeated<'a>,
}

/// The maximum number of entries that are compared each with each.
const FEW: usize = 32;

impl<'a> Entries<'a> {
    pub(super) fn new(repeated: &'a Repeated<'a>) -> Result<Entries<'a>, Fault> {
        let mut elements = Elements::new(repeated);
        let mut entries = Vec::new();
        while let Some(entry) = elements.next_bytes()? {
            entries.push((entry_name(entry)?, entry));
        }
        drop_overridden(&mut entries);
        repeated.context.within(1)?;
        Ok(Entries { entries: entries.into_iter(), next: &[], repeated })
    }

    /// Returns the name and value of a map that has exactly one entry: a variant of an enum.
    pub(super) fn single(mut self) -> Option<(&'a str, &'a [u8])> {
        self.entries.next().filter(|_| self.entries.len() == 0)
    }
}

/// Drops all entries of the same name except the last.
fn drop_overridden(entries: &mut Vec<(&str, &[u8])>) {
    if entries.len() <= FEW {
        for index in (0..entries.len()).rev() {
            let name = entries[index].0;
            if entries[index + 1..].iter().any(|(later, _)| *later == name) {
                entries.remove(index);
            }
        }
        return;
    }
    let mut order: Vec<u32> = (0..entries.len() as u32).collect();
    order.sort_unstable_by_key(|&at| (entries[at as usize].0, Reverse(at)));
    // In this order the last entry of a name comes first.
    let mut last: Vec<bool> = vec![false; entries.len()];
    let mut before = None;
    for at in order {
        let name = entries[at as usize].0;
        last[at as usize] = before != Some(name);
        before = Some(name);
    }
    let mut keep = last.into_iter();
    entries.retain(|_| keep.next().unwrap_or(true));
}

impl<'de> MapAccess<'de> for Entries<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        let Some((name, entry)) = self.entries.next() else { return Ok(None) };
        self.next = entry;
        seed.deserialize(Name(name)).map(Some)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        let context = self.repeated.context.within(2)?;
        let value = entry_value(self.next, context)?;
        seed.deserialize(open(self.repeated.of, &value, context)?)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.entries.len())
    }
}

/// The fields of a message that has field names. Fields of `wanted` that are absent have their
/// defaults.
pub(super) struct Named<'a> {
    found: &'a Found<'a>,
    index: usize,
    wanted: std::slice::Iter<'static, &'static str>,
    next: Next,
}

/// The field whose value is read next.
#[derive(Clone, Copy)]
enum Next {
    Present(usize),
    Absent(Default),
}

impl<'a> Named<'a> {
    pub(super) fn new(found: &'a Found<'a>, wanted: &'static [&'static str]) -> Named<'a> {
        Named { found, index: 0, wanted: wanted.iter(), next: Next::Present(0) }
    }
}

impl<'de> MapAccess<'de> for Named<'_> {
    type Error = Problem;

    fn next_key_seed<K: DeserializeSeed<'de>>(
        &mut self,
        seed: K,
    ) -> Result<Option<K::Value>, Problem> {
        if let Some((index, name)) = self.found.at(self.index) {
            self.index = index + 1;
            self.next = Next::Present(index);
            return seed.deserialize(Name(name)).map(Some);
        }
        self.index = usize::MAX;
        for name in self.wanted.by_ref() {
            if let Some(default) = self.found.default(name) {
                self.next = Next::Absent(default);
                return seed.deserialize(Name(name)).map(Some);
            }
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Problem> {
        match self.next {
            Next::Present(index) => seed.deserialize(self.found.view(index)?),
            Next::Absent(default) => seed.deserialize(View::Unset(default)),
        }
    }
}

/// The name of an entry. In a map whose keys are numbers or booleans the name is read as one.
pub(super) struct Name<'a>(pub(super) &'a str);

macro_rules! parsed_names {
    ($($method:ident => $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            match self.0.parse() {
                Ok(key) => visitor.$visit(key),
                Err(_) => visitor.visit_str(self.0),
            }
        })*
    };
}

impl<'de> Deserializer<'de> for Name<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_str(self.0)
    }

    parsed_names! {
        deserialize_bool => visit_bool;
        deserialize_i8 => visit_i8; deserialize_i16 => visit_i16; deserialize_i32 => visit_i32;
        deserialize_i64 => visit_i64;
        deserialize_u8 => visit_u8; deserialize_u16 => visit_u16; deserialize_u32 => visit_u32;
        deserialize_u64 => visit_u64;
        deserialize_i128 => visit_i128; deserialize_u128 => visit_u128;
        deserialize_f32 => visit_f32; deserialize_f64 => visit_f64;
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_enum(StrDeserializer::new(self.0))
    }

    forward_to_deserialize_any! {
        char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map
        struct identifier ignored_any
    }
}

/// A variant of an enum: its name and its content.
pub(super) struct Variant<'a> {
    pub(super) name: &'a str,
    pub(super) content: View<'a>,
}

impl<'a, 'de> de::EnumAccess<'de> for Variant<'a> {
    type Error = Problem;
    type Variant = View<'a>;

    fn variant_seed<V: DeserializeSeed<'de>>(
        self,
        seed: V,
    ) -> Result<(V::Value, View<'a>), Problem> {
        Ok((seed.deserialize(Name(self.name))?, self.content))
    }
}

impl<'de> de::VariantAccess<'de> for View<'_> {
    type Error = Problem;

    fn unit_variant(self) -> Result<(), Problem> {
        de::Deserialize::deserialize(self)
    }

    fn newtype_variant_seed<T: DeserializeSeed<'de>>(self, seed: T) -> Result<T::Value, Problem> {
        seed.deserialize(self)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        _length: usize,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Problem> {
        self.deserialize_struct("", fields, visitor)
    }
}
