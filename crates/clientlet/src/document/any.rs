//! Values of any kind, for programs whose documents have no type in Rust.

use std::fmt;
use std::marker::PhantomData;

use serde::de::{
    self, Deserialize, DeserializeSeed, Deserializer, EnumAccess, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::blob::BLOB;
use super::tensor::TENSOR;
use super::{Blob, Tensor};

/// A visitor of any value of an answer, which gets tensors and bytes as such.
///
/// Asked for any value, serde's own formats have neither: a tensor would come as nested lists and
/// bytes as base64. [`deserialize`](AnyVisitor::deserialize) asks for any value on behalf of such a
/// visitor, from the answers of this crate or from any other format.
///
/// | | a tensor | bytes |
/// | --- | --- | --- |
/// | WebSocket, gRPC (protobuf) | `visit_tensor` | `visit_blob` |
/// | HTTP (JSON), documents v1 | `visit_tensor` for the fields `tensor` and `embedding`, else lists | `visit_blob` for the field `blob`, else text |
/// | HTTP (JSON), documents v2; other formats | lists | text |
pub trait AnyVisitor<'de>: Visitor<'de> {
    /// Takes a tensor, which shares the answer's memory.
    ///
    /// # Errors
    /// If the visitor takes no tensor.
    fn visit_tensor<E: de::Error>(self, tensor: Tensor) -> Result<Self::Value, E>;

    /// Takes bytes, which share the answer's memory.
    ///
    /// # Errors
    /// If the visitor takes no bytes.
    fn visit_blob<E: de::Error>(self, blob: Blob) -> Result<Self::Value, E>;

    /// Takes several elements of a list at once, if it was asked for them. They are doubles, each as its
    /// little-endian bytes.
    ///
    /// # Errors
    /// If the visitor takes one value at a time.
    fn visit_reals<E: de::Error>(self, reals: &[[u8; 8]]) -> Result<Self::Value, E> {
        Err(E::invalid_type(de::Unexpected::Bytes(reals.as_flattened()), &self))
    }

    /// Asks `deserializer` for any value.
    ///
    /// # Errors
    /// Those of the deserializer and of the visitor.
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_newtype_struct(ANY, Bridge(self))
    }

    /// Asks `deserializer`, which is at an element of a list, for any value or for this element and those after it
    /// ([`visit_reals`](AnyVisitor::visit_reals)). In JSON, most numbers come several at once, in half of the time.
    ///
    /// # Errors
    /// Those of the deserializer and of the visitor.
    fn deserialize_elements<D: Deserializer<'de>>(
        self,
        deserializer: D,
    ) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_newtype_struct(ELEMENTS, Bridge(self))
    }
}

/// The marker by which the decoders of this crate recognize that a tensor and bytes may be given as
/// a variant with the marker of its type.
pub(super) const ANY: &str = "clientlet::Any";

/// The marker by which the reader of JSON recognizes that several elements of a list may be given at once, as a
/// variant with the same marker.
pub(super) const REALS: &str = "clientlet::Reals";

/// The marker of an element for which both hold.
pub(super) const ELEMENTS: &str = "clientlet::Elements";

/// Asks for an element of a list, or for several numbers at once. Tensors and bytes come as in serde's own formats.
pub(super) fn reals<'de, V: AnyVisitor<'de>, D: Deserializer<'de>>(
    visitor: V,
    element: D,
) -> Result<V::Value, D::Error> {
    element.deserialize_newtype_struct(REALS, Bridge(visitor))
}

/// Passes all that serde has on, and takes a variant for the rest.
struct Bridge<V>(V);

macro_rules! handed_on {
    ($($method:ident($type:ty);)*) => {
        $(#[inline]
        fn $method<E: de::Error>(self, value: $type) -> Result<V::Value, E> {
            self.0.$method(value)
        })*
    };
}

impl<'de, V: AnyVisitor<'de>> Visitor<'de> for Bridge<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    handed_on! {
        visit_bool(bool); visit_char(char);
        visit_i8(i8); visit_i16(i16); visit_i32(i32); visit_i64(i64); visit_i128(i128);
        visit_u8(u8); visit_u16(u16); visit_u32(u32); visit_u64(u64); visit_u128(u128);
        visit_f32(f32); visit_f64(f64);
        visit_str(&str); visit_borrowed_str(&'de str); visit_string(String);
        visit_bytes(&[u8]); visit_borrowed_bytes(&'de [u8]); visit_byte_buf(Vec<u8>);
    }

    fn visit_unit<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_unit()
    }

    fn visit_none<E: de::Error>(self) -> Result<V::Value, E> {
        self.0.visit_none()
    }

    fn visit_some<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        inner.deserialize_any(self)
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<V::Value, D::Error> {
        inner.deserialize_any(self)
    }

    #[inline]
    fn visit_seq<A: SeqAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_seq(inner)
    }

    #[inline]
    fn visit_map<A: MapAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        self.0.visit_map(inner)
    }

    fn visit_enum<A: EnumAccess<'de>>(self, inner: A) -> Result<V::Value, A::Error> {
        match inner.variant()? {
            (Kept::Tensor, content) => self.0.visit_tensor(content.newtype_variant()?),
            (Kept::Blob, content) => self.0.visit_blob(content.newtype_variant()?),
            (Kept::Reals, content) => content.newtype_variant_seed(Reals(self.0)),
        }
    }
}

/// Hands several numbers to a visitor.
struct Reals<V>(V);

impl<'de, V: AnyVisitor<'de>> DeserializeSeed<'de> for Reals<V> {
    type Value = V::Value;

    fn deserialize<D: Deserializer<'de>>(self, bytes: D) -> Result<V::Value, D::Error> {
        bytes.deserialize_bytes(self)
    }
}

impl<'de, V: AnyVisitor<'de>> Visitor<'de> for Reals<V> {
    type Value = V::Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.expecting(f)
    }

    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<V::Value, E> {
        let (reals, _) = bytes.as_chunks();
        self.0.visit_reals(reals)
    }
}

/// The type of a value that serde has no kind for.
#[derive(Clone, Copy, Debug)]
pub(super) enum Kept {
    Tensor,
    Blob,
    Reals,
}

impl Kept {
    pub(super) fn marker(self) -> &'static str {
        match self {
            Kept::Tensor => TENSOR,
            Kept::Blob => BLOB,
            Kept::Reals => REALS,
        }
    }
}

impl<'de> Deserialize<'de> for Kept {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Kept, D::Error> {
        struct Marker;
        impl Visitor<'_> for Marker {
            type Value = Kept;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("the marker of a tensor, of bytes or of numbers")
            }

            fn visit_str<E: de::Error>(self, marker: &str) -> Result<Kept, E> {
                match marker {
                    TENSOR => Ok(Kept::Tensor),
                    BLOB => Ok(Kept::Blob),
                    REALS => Ok(Kept::Reals),
                    other => Err(E::unknown_variant(other, &[TENSOR, BLOB, REALS])),
                }
            }
        }
        deserializer.deserialize_identifier(Marker)
    }
}

/// Gives a value as the variant of its type.
pub(super) struct KeptValue<D, E> {
    kept: Kept,
    inner: D,
    error: PhantomData<fn() -> E>,
}

impl<D, E> KeptValue<D, E> {
    pub(super) fn new(kept: Kept, inner: D) -> KeptValue<D, E> {
        KeptValue { kept, inner, error: PhantomData }
    }
}

impl<'de, D: Deserializer<'de>> EnumAccess<'de> for KeptValue<D, D::Error> {
    type Error = D::Error;
    type Variant = Content<D>;

    fn variant_seed<S: DeserializeSeed<'de>>(
        self,
        seed: S,
    ) -> Result<(S::Value, Content<D>), D::Error> {
        let marker = de::value::StrDeserializer::new(self.kept.marker());
        Ok((seed.deserialize(marker)?, Content(self.inner)))
    }
}

/// The value behind its marker.
pub(super) struct Content<D>(D);

impl<'de, D: Deserializer<'de>> VariantAccess<'de> for Content<D> {
    type Error = D::Error;

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, D::Error> {
        seed.deserialize(self.0)
    }

    fn unit_variant(self) -> Result<(), D::Error> {
        Deserialize::deserialize(self.0)
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, visitor: V) -> Result<V::Value, D::Error> {
        self.0.deserialize_seq(visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, D::Error> {
        self.0.deserialize_map(visitor)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use bytes::Bytes;
    use serde::Serialize;

    use super::*;
    use crate::document::{Dtype, Encoder, TensorRef, decode_document, proto};
    use crate::message::DocArray;

    /// A value, with what it was read as.
    #[derive(Debug, PartialEq)]
    enum Read {
        Tensor(Tensor),
        Blob(Blob),
        List(Vec<Read>),
        Map(BTreeMap<String, Read>),
        Text(String),
        Number(f64),
        Null,
    }

    impl<'de> Deserialize<'de> for Read {
        fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Read, D::Error> {
            ReadVisitor.deserialize(deserializer)
        }
    }

    struct ReadVisitor;

    impl<'de> Visitor<'de> for ReadVisitor {
        type Value = Read;

        fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            f.write_str("any value")
        }

        fn visit_unit<E>(self) -> Result<Read, E> {
            Ok(Read::Null)
        }

        fn visit_none<E>(self) -> Result<Read, E> {
            Ok(Read::Null)
        }

        fn visit_i64<E>(self, n: i64) -> Result<Read, E> {
            Ok(Read::Number(n as f64))
        }

        fn visit_u64<E>(self, n: u64) -> Result<Read, E> {
            Ok(Read::Number(n as f64))
        }

        fn visit_f64<E>(self, n: f64) -> Result<Read, E> {
            Ok(Read::Number(n))
        }

        fn visit_str<E>(self, text: &str) -> Result<Read, E> {
            Ok(Read::Text(text.to_owned()))
        }

        fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Read, A::Error> {
            let mut list = Vec::new();
            while let Some(value) = seq.next_element()? {
                list.push(value);
            }
            Ok(Read::List(list))
        }

        fn visit_map<A: MapAccess<'de>>(self, mut access: A) -> Result<Read, A::Error> {
            let mut map = BTreeMap::new();
            while let Some((name, value)) = access.next_entry()? {
                map.insert(name, value);
            }
            Ok(Read::Map(map))
        }
    }

    impl<'de> AnyVisitor<'de> for ReadVisitor {
        fn visit_tensor<E>(self, tensor: Tensor) -> Result<Read, E> {
            Ok(Read::Tensor(tensor))
        }

        fn visit_blob<E>(self, blob: Blob) -> Result<Read, E> {
            Ok(Read::Blob(blob))
        }
    }

    #[derive(Serialize)]
    struct Sent<'a> {
        id: &'a str,
        embedding: TensorRef<'a>,
        blob: Option<Blob>,
    }

    const NUMBERS: [u8; 8] = [0, 0, 0x80, 0x3f, 0, 0, 0, 0x40];

    fn sent() -> Sent<'static> {
        let embedding = TensorRef::new(Dtype::F32, &[2], &NUMBERS).unwrap();
        Sent { id: "a", embedding, blob: Some(b"hi".into()) }
    }

    fn document(embedding: Read, blob: Read) -> Read {
        let id = Read::Text("a".to_owned());
        let fields = [("id", id), ("embedding", embedding), ("blob", blob)];
        Read::Map(fields.into_iter().map(|(name, value)| (name.to_owned(), value)).collect())
    }

    #[test]
    fn protobuf_gives_tensors_and_bytes_as_such() {
        for docarray in [DocArray::V1, DocArray::V2] {
            let mut bytes = Vec::new();
            proto::Encoder::new(docarray).message(&sent(), &mut bytes).unwrap();
            let read: Read = proto::decode_document(docarray, &Bytes::from(bytes)).unwrap();
            let tensor = Read::Tensor(Tensor::from([1.0_f32, 2.0]));
            assert_eq!(read, document(tensor, Read::Blob(b"hi".into())));
        }
    }

    #[test]
    fn json_of_v1_gives_them_by_the_names_of_the_fields() {
        let mut json = Vec::new();
        Encoder::new(DocArray::V1).document(&sent(), &mut json).unwrap();
        let read: Read = decode_document(DocArray::V1, &json).unwrap();
        let tensor = Read::Tensor(Tensor::from([1.0_f64, 2.0]));
        assert_eq!(read, document(tensor, Read::Blob(b"hi".into())));
        let nulls = br#"{"id":"a","embedding":null,"blob":null}"#;
        let read: Read = decode_document(DocArray::V1, nulls).unwrap();
        assert_eq!(read, document(Read::Null, Read::Null));
    }

    #[test]
    fn json_of_v2_gives_lists_and_text() {
        let json = br#"{"id":"a","embedding":[1.0,2.0],"blob":"hi"}"#;
        let read: Read = decode_document(DocArray::V2, json).unwrap();
        let list = Read::List(vec![Read::Number(1.0), Read::Number(2.0)]);
        assert_eq!(read, document(list, Read::Text("hi".to_owned())));
    }

    #[test]
    fn a_borrowed_tensor_is_written_as_a_tensor_and_must_fit_its_shape() {
        let tensor = Tensor::from([1.0_f32, 2.0]);
        let borrowed = TensorRef::new(Dtype::F32, &[2], &NUMBERS).unwrap();
        let (whole, part) = (serde_json::to_string(&tensor), serde_json::to_string(&borrowed));
        assert_eq!(whole.unwrap(), part.unwrap());
        assert!(TensorRef::new(Dtype::F32, &[3], &NUMBERS).is_err());
    }
}
