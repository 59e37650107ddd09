//! Reads JSON in the forms that gateways write, in about half of the time where there are many numbers.
//!
//! The reader takes only JSON that serde_json takes, and reads it as serde_json does. All else it declines without
//! saying why: serde_json then reads the same JSON again, and decides whether it is wrong and what is wrong with it.
//! So a mistake in JSON costs a second reading, and errors have one source.

mod access;
mod number;
#[cfg(test)]
mod tests;
mod text;
mod usual;

use std::fmt;
use std::iter::once;
use std::sync::LazyLock;

use serde::de::value::{BorrowedStrDeserializer, MapAccessDeserializer, MapDeserializer};
use serde::de::{Deserialize, Deserializer, IntoDeserializer, Visitor};

use self::access::{List, Object};
use self::number::{Decimal, Number};
use super::any::{ELEMENTS, REALS};
use super::raw::RAW_VALUE;

/// Reads a value as serde_json does.
///
/// # Errors
/// Those of serde_json.
pub(crate) fn from_slice<'de, T: Deserialize<'de>>(json: &'de [u8]) -> serde_json::Result<T> {
    let mut reader = Reader::new(json);
    match T::deserialize(&mut reader) {
        Ok(value) if reader.is_at_end() => Ok(value),
        _ => serde_json::from_slice(json),
    }
}

/// The limit of nesting; serde_json has the same.
const MOST_DEPTH: u8 = 127;

pub(crate) struct Reader<'de> {
    json: &'de [u8],
    at: usize,
    /// The number of lists and objects around the next value.
    depth: u8,
    /// Whether the next value is an element of a list, of which several may be given at once.
    is_element: bool,
    /// Whether serde_json gives numbers to types that take any value as text.
    has_text_numbers: bool,
}

/// Whether a crate in the build enables serde_json's `arbitrary_precision`.
static HAS_TEXT_NUMBERS: LazyLock<bool> = LazyLock::new(|| {
    struct IsText;
    impl<'de> Visitor<'de> for IsText {
        type Value = bool;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("a number")
        }

        fn visit_f64<E>(self, _: f64) -> Result<bool, E> {
            Ok(false)
        }
    }
    // As text it comes in a map.
    serde_json::Deserializer::from_str("0.5").deserialize_any(IsText).is_err()
});

/// The reader left this JSON to serde_json.
#[derive(Debug)]
pub(crate) struct Declined;

impl fmt::Display for Declined {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("serde_json is to read this")
    }
}

impl std::error::Error for Declined {}

impl serde::de::Error for Declined {
    fn custom<T: fmt::Display>(_: T) -> Declined {
        Declined
    }
}

impl<'de> Reader<'de> {
    pub(crate) fn new(json: &'de [u8]) -> Reader<'de> {
        Reader { json, at: 0, depth: 0, is_element: false, has_text_numbers: *HAS_TEXT_NUMBERS }
    }

    /// Whether nothing but white space is left.
    pub(crate) fn is_at_end(&mut self) -> bool {
        self.peek().is_none()
    }

    /// Returns the first byte after white space, without taking it.
    #[inline(always)]
    fn peek(&mut self) -> Option<u8> {
        loop {
            let byte = *self.json.get(self.at)?;
            if !matches!(byte, b' ' | b'\n' | b'\t' | b'\r') {
                return Some(byte);
            }
            self.at += 1;
        }
    }

    /// Takes the literal `text`.
    fn literal(&mut self, text: &[u8]) -> Result<(), Declined> {
        if !self.json[self.at..].starts_with(text) {
            return Err(Declined);
        }
        self.at += text.len();
        Ok(())
    }

    /// Takes a bracket that opens a list or an object.
    fn open(&mut self) -> Result<(), Declined> {
        if self.depth == MOST_DEPTH {
            return Err(Declined);
        }
        self.depth += 1;
        self.at += 1;
        Ok(())
    }

    /// Takes the bracket `end`, which closes a list or an object.
    fn close(&mut self, end: u8) -> Result<(), Declined> {
        if self.peek() != Some(end) {
            return Err(Declined);
        }
        self.depth -= 1;
        self.at += 1;
        Ok(())
    }

    /// Whether another element or entry comes before the bracket `end`. Takes the comma before it, and leaves the
    /// bracket.
    #[inline(always)]
    fn has_more(&mut self, is_first: &mut bool, end: u8) -> Result<bool, Declined> {
        let byte = self.peek().ok_or(Declined)?;
        if byte == end {
            return Ok(false);
        }
        if !std::mem::take(is_first) {
            if byte != b',' {
                return Err(Declined);
            }
            self.at += 1;
        }
        Ok(true)
    }

    #[inline(always)]
    fn decimal(&mut self) -> Result<Decimal<'de>, Declined> {
        let decimal = Decimal::scan(&self.json[self.at..]).ok_or(Declined)?;
        self.at += decimal.length;
        Ok(decimal)
    }

    #[inline(always)]
    fn skip_number(&mut self) -> Result<(), Declined> {
        self.decimal()?;
        Ok(())
    }

    fn list<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Declined> {
        self.open()?;
        let value = visitor.visit_seq(List::new(self))?;
        self.close(b']')?;
        Ok(value)
    }

    fn object<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Declined> {
        self.open()?;
        let value = visitor.visit_map(Object::new(self))?;
        self.close(b'}')?;
        Ok(value)
    }

    /// Reads a value that begins with the byte `first`, and is no number.
    fn other<V: Visitor<'de>>(&mut self, first: u8, visitor: V) -> Result<V::Value, Declined> {
        match first {
            b'"' => self.text(visitor),
            b'[' => self.list(visitor),
            b'{' => self.object(visitor),
            b'n' => {
                self.literal(b"null")?;
                visitor.visit_unit()
            }
            b't' => {
                self.literal(b"true")?;
                visitor.visit_bool(true)
            }
            b'f' => {
                self.literal(b"false")?;
                visitor.visit_bool(false)
            }
            _ => Err(Declined),
        }
    }

    /// Passes over a value.
    fn skip(&mut self) -> Result<(), Declined> {
        match self.peek().ok_or(Declined)? {
            b'-' | b'0'..=b'9' => self.skip_number(),
            b'"' => self.skip_text().map(drop),
            b'[' => {
                self.open()?;
                let mut is_first = true;
                while self.has_more(&mut is_first, b']')? {
                    self.skip_usual();
                    match self.peek() {
                        // Without a call for each number.
                        Some(b'-' | b'0'..=b'9') => self.skip_number()?,
                        _ => self.skip()?,
                    }
                }
                self.close(b']')
            }
            b'{' => {
                self.open()?;
                let mut is_first = true;
                while self.has_more(&mut is_first, b'}')? {
                    self.skip_name()?;
                    self.skip()?;
                }
                self.close(b'}')
            }
            b'n' => self.literal(b"null"),
            b't' => self.literal(b"true"),
            b'f' => self.literal(b"false"),
            _ => Err(Declined),
        }
    }
}

/// Reads a value of the kinds that begin with these bytes.
macro_rules! kinds {
    ($($method:ident($($argument:ident: $type:ty),*) => $first:pat,)*) => {
        $(#[inline]
        fn $method<V: Visitor<'de>>(
            self,
            $($argument: $type,)*
            visitor: V,
        ) -> Result<V::Value, Declined> {
            match self.peek() {
                Some($first) => self.deserialize_any(visitor),
                _ => Err(Declined),
            }
        })*
    };
}

/// Reads an integer of 128 bits.
macro_rules! wide_integers {
    ($($method:ident => $visit:ident;)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
            self.peek();
            visitor.$visit(self.decimal()?.parse().ok_or(Declined)?)
        })*
    };
}

impl<'de> Deserializer<'de> for &mut Reader<'de> {
    type Error = Declined;

    #[inline(always)]
    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        match self.peek().ok_or(Declined)? {
            b'-' | b'0'..=b'9' => match self.decimal()?.number().ok_or(Declined)? {
                Number::Unsigned(n) => visitor.visit_u64(n),
                Number::Signed(n) => visitor.visit_i64(n),
                Number::Real(_) if self.has_text_numbers => Err(Declined),
                Number::Real(n) => visitor.visit_f64(n),
            },
            first => self.other(first, visitor),
        }
    }

    kinds! {
        deserialize_bool() => b't' | b'f',
        deserialize_i8() => b'-' | b'0'..=b'9',
        deserialize_i16() => b'-' | b'0'..=b'9',
        deserialize_i32() => b'-' | b'0'..=b'9',
        deserialize_i64() => b'-' | b'0'..=b'9',
        deserialize_u8() => b'-' | b'0'..=b'9',
        deserialize_u16() => b'-' | b'0'..=b'9',
        deserialize_u32() => b'-' | b'0'..=b'9',
        deserialize_u64() => b'-' | b'0'..=b'9',
        deserialize_f64() => b'-' | b'0'..=b'9',
        deserialize_char() => b'"',
        deserialize_str() => b'"',
        deserialize_string() => b'"',
        deserialize_identifier() => b'"',
        deserialize_unit() => b'n',
        deserialize_unit_struct(_name: &'static str) => b'n',
        deserialize_seq() => b'[',
        deserialize_tuple(_length: usize) => b'[',
        deserialize_tuple_struct(_name: &'static str, _length: usize) => b'[',
        deserialize_map() => b'{',
        deserialize_struct(_name: &'static str, _fields: &'static [&'static str]) => b'{' | b'[',
    }

    wide_integers! {
        deserialize_i128 => visit_i128;
        deserialize_u128 => visit_u128;
    }

    fn deserialize_f32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        self.peek();
        match self.decimal()?.single().ok_or(Declined)? {
            Number::Unsigned(n) => visitor.visit_u64(n),
            Number::Signed(n) => visitor.visit_i64(n),
            Number::Real(n) => visitor.visit_f64(n),
        }
    }

    fn deserialize_bytes<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        match self.peek() {
            Some(b'"') => self.bytes(visitor),
            Some(b'[') => self.list(visitor),
            _ => Err(Declined),
        }
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        self.deserialize_bytes(visitor)
    }

    #[inline]
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        if self.peek() == Some(b'n') {
            self.literal(b"null")?;
            return visitor.visit_none();
        }
        visitor.visit_some(self)
    }

    #[inline]
    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Declined> {
        if matches!(name, ELEMENTS | REALS) && self.is_element && !self.has_text_numbers {
            self.peek();
            if let Some(first) = self.usual() {
                return self.take_usual(first, visitor);
            }
        }
        if name != RAW_VALUE {
            return visitor.visit_newtype_struct(self);
        }
        self.peek();
        let start = self.at;
        self.skip()?;
        let text = std::str::from_utf8(&self.json[start..self.at]).map_err(|_| Declined)?;
        let entry = (RAW_VALUE, BorrowedStrDeserializer::new(text));
        visitor.visit_map(MapDeserializer::new(once(entry)))
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Declined> {
        match self.peek() {
            Some(b'"') => visitor.visit_enum(self.take_text()?.into_deserializer()),
            Some(b'{') => {
                self.open()?;
                let object = MapAccessDeserializer::new(Object::new(self));
                let value = visitor.visit_enum(object)?;
                self.close(b'}')?;
                Ok(value)
            }
            _ => Err(Declined),
        }
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Declined> {
        self.skip()?;
        visitor.visit_unit()
    }
}
