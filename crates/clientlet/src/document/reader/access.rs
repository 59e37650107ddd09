//! Lists and objects while they are read, and the names of entries.

use serde::de::value::CowStrDeserializer;
use serde::de::{DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::{Declined, Reader};

pub(super) struct List<'a, 'de> {
    reader: &'a mut Reader<'de>,
    is_first: bool,
}

impl<'a, 'de> List<'a, 'de> {
    pub(super) fn new(reader: &'a mut Reader<'de>) -> List<'a, 'de> {
        List { reader, is_first: true }
    }
}

impl<'de> SeqAccess<'de> for List<'_, 'de> {
    type Error = Declined;

    #[inline]
    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Declined> {
        if !self.reader.has_more(&mut self.is_first, b']')? {
            return Ok(None);
        }
        self.reader.is_element = true;
        seed.deserialize(&mut *self.reader).map(Some)
    }
}

pub(super) struct Object<'a, 'de> {
    reader: &'a mut Reader<'de>,
    is_first: bool,
}

impl<'a, 'de> Object<'a, 'de> {
    pub(super) fn new(reader: &'a mut Reader<'de>) -> Object<'a, 'de> {
        Object { reader, is_first: true }
    }
}

impl<'de> MapAccess<'de> for Object<'_, 'de> {
    type Error = Declined;

    #[inline]
    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Declined> {
        if !self.reader.has_more(&mut self.is_first, b'}')? {
            return Ok(None);
        }
        seed.deserialize(Name { reader: self.reader }).map(Some)
    }

    #[inline]
    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Declined> {
        self.reader.take_colon()?;
        self.reader.is_element = false;
        seed.deserialize(&mut *self.reader)
    }
}

/// The name of an entry, which is text. Types may ask for a number or a boolean in it.
struct Name<'a, 'de> {
    reader: &'a mut Reader<'de>,
}

impl<'de> Name<'_, 'de> {
    /// Reads the text as a value.
    fn value<V: Visitor<'de>>(
        self,
        read: impl FnOnce(&mut Reader<'de>) -> Result<V::Value, Declined>,
    ) -> Result<V::Value, Declined> {
        let (text, has_escapes) = self.reader.take_raw_text()?;
        // White space before a number would be passed over.
        if has_escapes || !matches!(text.first(), Some(b'-' | b'0'..=b'9' | b't' | b'f')) {
            return Err(Declined);
        }
        let mut within = Reader::new(text);
        let value = read(&mut within)?;
        if within.at == text.len() { Ok(value) } else { Err(Declined) }
    }
}

macro_rules! values {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
            self.value::<V>(|reader| reader.$method(visitor))
        })*
    };
}

impl<'de> Deserializer<'de> for Name<'_, 'de> {
    type Error = Declined;

    #[inline]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        match self.reader.peek() {
            Some(b'"') => self.reader.text(visitor),
            _ => Err(Declined),
        }
    }

    values! {
        deserialize_bool
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Declined> {
        visitor.visit_newtype_struct(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Declined> {
        visitor.visit_enum(CowStrDeserializer::new(self.reader.take_text()?))
    }

    /// Bytes as a name are left to serde_json.
    fn deserialize_bytes<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Declined> {
        Err(Declined)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, _: V) -> Result<V::Value, Declined> {
        Err(Declined)
    }

    forward_to_deserialize_any! {
        char str string unit unit_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}
