//! Wraps the visitors of the types that are read.

use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::de::{Deserializer, EnumAccess, Error, MapAccess, SeqAccess, Visitor};

use super::access::{Elements, Entries, Enum};
use super::{Lenient, Place, visit_integer, whole};
use crate::document::any::{Kept, KeptValue};

/// Passes values that contain no other values to the wrapped visitor.
macro_rules! handed_on {
    ($visitor:tt: $($method:ident($type:ty);)*) => {
        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            self.$visitor.expecting(f)
        }

        $(#[inline]
        fn $method<E: Error>(self, value: $type) -> Result<V::Value, E> {
            self.$visitor.$method(value)
        })*

        fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
            self.$visitor.visit_unit()
        }

        fn visit_none<E: Error>(self) -> Result<V::Value, E> {
            self.$visitor.visit_none()
        }
    };
}

/// Wraps the elements and entries of a value.
pub(super) struct Wrapped<V> {
    pub(super) visitor: V,
    pub(super) place: Place,
}

impl<'de, V: Visitor<'de>> Visitor<'de> for Wrapped<V> {
    type Value = V::Value;

    handed_on! { visitor:
        visit_bool(bool); visit_char(char);
        visit_i8(i8); visit_i16(i16); visit_i32(i32); visit_i64(i64); visit_i128(i128);
        visit_u8(u8); visit_u16(u16); visit_u32(u32); visit_u64(u64); visit_u128(u128);
        visit_f32(f32); visit_str(&str); visit_borrowed_str(&'de str); visit_string(String);
        visit_bytes(&[u8]); visit_borrowed_bytes(&'de [u8]); visit_byte_buf(Vec<u8>);
    }

    #[inline]
    fn visit_f64<E: Error>(self, n: f64) -> Result<V::Value, E> {
        // Whether a number is whole costs a call for each, so it is asked only where it matters.
        match self.place == Place::Values {
            true => match whole(n) {
                Some(n) => self.visitor.visit_i64(n),
                None => self.visitor.visit_f64(n),
            },
            false => self.visitor.visit_f64(n),
        }
    }

    #[inline]
    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_some(Lenient { inner, place: self.place })
    }

    #[inline]
    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.visitor.visit_newtype_struct(Lenient { inner, place: self.place })
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_seq(Elements { inner, place: self.place.element() })
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_map(Entries::new(inner, self.place))
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.visitor.visit_enum(Enum { inner, place: self.place })
    }
}

/// Reads a whole double as an integer, for types that ask for one.
pub(super) struct Integer<V>(pub(super) V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Integer<V> {
    type Value = V::Value;

    handed_on! { 0:
        visit_bool(bool);
        visit_i8(i8); visit_i16(i16); visit_i32(i32); visit_i64(i64); visit_i128(i128);
        visit_u8(u8); visit_u16(u16); visit_u32(u32); visit_u64(u64); visit_u128(u128);
        visit_str(&str); visit_borrowed_str(&'de str); visit_string(String);
    }

    fn visit_f64<E: Error>(self, n: f64) -> Result<V::Value, E> {
        visit_integer(n, self.0)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(inner)
    }

    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(inner)
    }
}

/// Reads null, or a value whose place tells its type.
pub(super) struct Kind<V>(pub(super) Kept, pub(super) V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Kind<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.1.expecting(f)
    }

    fn visit_unit<E: Error>(self) -> Result<V::Value, E> {
        self.1.visit_unit()
    }

    fn visit_none<E: Error>(self) -> Result<V::Value, E> {
        self.1.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        self.1.visit_enum(KeptValue::new(self.0, inner))
    }
}

/// Reads base64 as bytes, for types that ask for bytes.
pub(super) struct Bytes<V>(pub(super) V);

impl<'de, V: Visitor<'de>> Visitor<'de> for Bytes<V> {
    type Value = V::Value;

    handed_on! { 0: visit_str(&str); visit_byte_buf(Vec<u8>); }

    /// Decodes text into bytes. serde_json calls this for types that ask for bytes.
    fn visit_bytes<E: Error>(self, text: &[u8]) -> Result<V::Value, E> {
        match STANDARD.decode(text) {
            Ok(bytes) => self.0.visit_byte_buf(bytes),
            Err(error) => Err(E::custom(format_args!("invalid base64: {error}"))),
        }
    }

    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(inner)
    }
}
