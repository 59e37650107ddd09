//! Serializers that take one kind of value and refuse all others: the keys of maps, text, the
//! content of blobs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::{Error as _, Serializer};

use super::refusal::{Refusal, refuse};

/// Implements the methods of a serializer that takes one or two kinds of value; `$method`s are the
/// kinds that it refuses.
macro_rules! refuse_others {
    ($ok:ty, $message:expr; $($method:ident($($type:ty),*);)*) => {
        type Ok = $ok;
        type Error = $crate::document::refusal::Refusal;
        type SerializeTupleStruct = serde::ser::Impossible<$ok, $crate::document::refusal::Refusal>;
        type SerializeTupleVariant = serde::ser::Impossible<$ok, $crate::document::refusal::Refusal>;
        type SerializeMap = serde::ser::Impossible<$ok, $crate::document::refusal::Refusal>;
        type SerializeStruct = serde::ser::Impossible<$ok, $crate::document::refusal::Refusal>;
        type SerializeStructVariant = serde::ser::Impossible<$ok, $crate::document::refusal::Refusal>;

        $(fn $method(self, $(_: $type),*) -> Result<$ok, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        })*

        fn serialize_some<T: serde::Serialize + ?Sized>(self, value: &T) -> Result<$ok, $crate::document::refusal::Refusal> {
            value.serialize(self)
        }

        fn serialize_newtype_struct<T: serde::Serialize + ?Sized>(
            self,
            _: &'static str,
            value: &T,
        ) -> Result<$ok, $crate::document::refusal::Refusal> {
            value.serialize(self)
        }

        fn serialize_newtype_variant<T: serde::Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<$ok, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }

        fn serialize_tuple_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }

        fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }

        fn serialize_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStruct, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }
    };
}

/// The same for serializers that refuse lists as well.
macro_rules! refuse_lists {
    ($ok:ty, $message:expr) => {
        type SerializeSeq = serde::ser::Impossible<$ok, $crate::document::refusal::Refusal>;
        type SerializeTuple = serde::ser::Impossible<$ok, $crate::document::refusal::Refusal>;

        fn serialize_seq(
            self,
            _: Option<usize>,
        ) -> Result<Self::SerializeSeq, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }

        fn serialize_tuple(
            self,
            _: usize,
        ) -> Result<Self::SerializeTuple, $crate::document::refusal::Refusal> {
            $crate::document::refusal::refuse($message)
        }
    };
}

pub(super) use refuse_others;

/// Takes the key of a map. Numbers and booleans become text, as is usual in JSON.
pub(super) struct Key<F>(pub(super) F);

macro_rules! printed_keys {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, key: $type) -> Result<(), Refusal> {
            (self.0)(&key.to_string())
        })*
    };
}

/// Writes numbers with a fraction as serde_json does: `1.0` keeps its point.
macro_rules! real_keys {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, key: $type) -> Result<(), Refusal> {
            if !key.is_finite() {
                return refuse(format!("{key} cannot be the key of a map"));
            }
            (self.0)(&serde_json::to_string(&key).map_err(Refusal::custom)?)
        })*
    };
}

const KEY: &str = "the key of a map must be text";

impl<F: FnOnce(&str) -> Result<(), Refusal>> Serializer for Key<F> {
    refuse_others! { (), KEY;
        serialize_bytes(&[u8]); serialize_none(); serialize_unit();
        serialize_unit_struct(&'static str);
    }
    refuse_lists! { (), KEY }

    printed_keys! {
        serialize_bool(bool); serialize_char(char);
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_u128(u128);
    }

    real_keys! { serialize_f32(f32); serialize_f64(f64); }

    fn serialize_str(self, key: &str) -> Result<(), Refusal> {
        (self.0)(key)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Refusal> {
        (self.0)(variant)
    }
}

/// Takes only text.
pub(super) struct Text;

const RAW: &str = "raw JSON must be text";

impl Serializer for Text {
    refuse_others! { String, RAW;
        serialize_bool(bool); serialize_char(char); serialize_bytes(&[u8]); serialize_none();
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64); serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }
    refuse_lists! { String, RAW }

    fn serialize_str(self, text: &str) -> Result<String, Refusal> {
        Ok(text.to_owned())
    }
}

/// Takes the content of a `Blob` and passes its bytes to the serializer that writes the blob.
pub(super) struct BlobContent<S>(pub(super) S);

const BYTES: &str = "a blob must be made of bytes";

impl<S: Serializer<Ok = (), Error = Refusal>> Serializer for BlobContent<S> {
    refuse_lists! { (), BYTES }
    refuse_others! { (), BYTES;
        serialize_bool(bool); serialize_char(char); serialize_none();
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64); serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0.serialize_bytes(bytes)
    }

    /// Takes base64. serde's own buffers (`flatten` around an enum) are human-readable, so a blob
    /// in such a buffer is base64 text.
    fn serialize_str(self, base64: &str) -> Result<(), Refusal> {
        match STANDARD.decode(base64) {
            Ok(bytes) => self.0.serialize_bytes(&bytes),
            Err(error) => refuse(format!("invalid base64: {error}")),
        }
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Takes the content of an `EncodedDocument` and appends its bytes as they are.
pub(super) struct EncodedContent<'o>(pub(super) &'o mut Vec<u8>);

const ENCODED: &str = "an encoded document is made of bytes";

impl Serializer for EncodedContent<'_> {
    refuse_lists! { (), ENCODED }
    refuse_others! { (), ENCODED;
        serialize_bool(bool); serialize_char(char); serialize_str(&str); serialize_none();
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64); serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
