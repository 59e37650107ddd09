//! Writes a value as JSON text, for types that keep the text, such as
//! `serde_json::value::RawValue`.

use std::fmt;

use serde::Deserializer;
use serde::de::{DeserializeSeed, MapAccess, SeqAccess, Visitor};
use serde_json::ser::{CompactFormatter, Formatter};

/// A visitor that appends any value to the text.
pub(super) struct JsonText<'o>(pub(super) &'o mut Vec<u8>);

impl<'de> DeserializeSeed<'de> for JsonText<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

macro_rules! numbers {
    ($($visit:ident($type:ty) => $write:ident;)*) => {
        $(fn $visit<E: serde::de::Error>(self, n: $type) -> Result<(), E> {
            CompactFormatter.$write(self.0, n).map_err(E::custom)
        })*
    };
}

macro_rules! reals {
    ($($visit:ident($type:ty) => $write:ident;)*) => {
        $(fn $visit<E: serde::de::Error>(self, n: $type) -> Result<(), E> {
            // JSON has no NaN or infinity. Like serde_json, this writes null.
            if !n.is_finite() {
                return self.visit_unit();
            }
            CompactFormatter.$write(self.0, n).map_err(E::custom)
        })*
    };
}

impl<'de> Visitor<'de> for JsonText<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value that JSON can hold")
    }

    numbers! {
        visit_i32(i32) => write_i32;
        visit_i64(i64) => write_i64;
        visit_u32(u32) => write_u32;
        visit_u64(u64) => write_u64;
    }

    reals! {
        visit_f32(f32) => write_f32;
        visit_f64(f64) => write_f64;
    }

    fn visit_unit<E>(self) -> Result<(), E> {
        self.0.extend_from_slice(b"null");
        Ok(())
    }

    fn visit_bool<E>(self, b: bool) -> Result<(), E> {
        self.0.extend_from_slice(if b { b"true" } else { b"false" });
        Ok(())
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<(), E> {
        serde_json::to_writer(self.0, text).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<(), A::Error> {
        self.0.push(b'[');
        let start = self.0.len();
        while seq.next_element_seed(JsonText(self.0))?.is_some() {
            self.0.push(b',');
        }
        self.end(start, b']');
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        self.0.push(b'{');
        let start = self.0.len();
        while map.next_key_seed(JsonText(self.0))?.is_some() {
            self.0.push(b':');
            map.next_value_seed(JsonText(self.0))?;
            self.0.push(b',');
        }
        self.end(start, b'}');
        Ok(())
    }
}

impl JsonText<'_> {
    /// Ends a list or an object whose content begins at `start`. The bracket replaces the last
    /// comma.
    fn end(self, start: usize, bracket: u8) {
        if self.0.len() > start {
            self.0.pop();
        }
        self.0.push(bracket);
    }
}
