//! Bytes in a document.

use std::cell::{Cell, RefCell};
use std::fmt;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use serde::de::Visitor;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use crate::message::DocArray;

/// Bytes in a document. Clones share the memory and never copy the bytes.
///
/// JSON for v1 gateways carries a blob as standard base64. JSON for v2 gateways has no bytes, so a
/// blob travels as text and must be UTF-8.
///
/// In serde formats outside this crate, a blob is base64 text in human-readable formats and bytes
/// in all others.
#[derive(Clone, Default, PartialEq, Eq, Hash)]
pub struct Blob(Bytes);

impl Blob {
    /// Returns the bytes.
    pub fn as_bytes(&self) -> &Bytes {
        &self.0
    }

    /// Returns the bytes without the wrapper.
    pub fn into_bytes(self) -> Bytes {
        self.0
    }
}

macro_rules! from {
    ($($bytes:ty),*) => {
        $(impl From<$bytes> for Blob {
            fn from(bytes: $bytes) -> Blob {
                Blob(bytes.into())
            }
        })*
    };
}

from!(Bytes, Vec<u8>, Box<[u8]>, String, &'static [u8], &'static str);

impl<const N: usize> From<&'static [u8; N]> for Blob {
    fn from(bytes: &'static [u8; N]) -> Blob {
        Blob(Bytes::from_static(bytes))
    }
}

impl From<Blob> for Bytes {
    fn from(blob: Blob) -> Bytes {
        blob.0
    }
}

impl AsRef<[u8]> for Blob {
    fn as_ref(&self) -> &[u8] {
        &self.0
    }
}

impl fmt::Debug for Blob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Blob({} bytes)", self.0.len())
    }
}

/// The marker by which this crate's encoders recognize a blob.
pub(super) const BLOB: &str = "clientlet::Blob";

impl Serialize for Blob {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(BLOB, &Content(&self.0))
    }
}

struct Content<'a>(&'a [u8]);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            serializer.serialize_str(&STANDARD.encode(self.0))
        } else {
            serializer.serialize_bytes(self.0)
        }
    }
}

thread_local! {
    /// How text is read as a blob. serde passes a type only the text, and an answer is decoded on
    /// one thread, so the thread-local holds the generation of the answer. A deserializer of our
    /// own around serde_json's could carry the generation as well, but it would have to wrap every
    /// kind of access.
    static READ_AS: Cell<DocArray> = const { Cell::new(DocArray::V1) };

    /// The memory that bytes are read from. serde hands over a slice of it, and a blob or tensor
    /// shares the memory behind that slice.
    static READ_FROM: RefCell<Bytes> = const { RefCell::new(Bytes::new()) };
}

/// Runs `decode` with blobs read as `docarray` writes them.
pub(super) fn reading_as<R>(docarray: DocArray, decode: impl FnOnce() -> R) -> R {
    struct Restore(DocArray);
    impl Drop for Restore {
        fn drop(&mut self) {
            READ_AS.set(self.0);
        }
    }
    let _restore = Restore(READ_AS.replace(docarray));
    decode()
}

/// Runs `decode` with blobs and tensors sharing the memory of `frame`, and with text read as
/// base64.
pub(super) fn reading_from<R>(frame: &Bytes, decode: impl FnOnce() -> R) -> R {
    struct Restore(Bytes);
    impl Drop for Restore {
        fn drop(&mut self) {
            READ_FROM.replace(std::mem::take(&mut self.0));
        }
    }
    let _restore = Restore(READ_FROM.replace(frame.clone()));
    reading_as(DocArray::V1, decode)
}

/// Returns the length in bytes of the frame that is being read; 0 if the source is not one of our
/// frames.
pub(super) fn length_of_frame() -> usize {
    READ_FROM.with_borrow(Bytes::len)
}

/// Returns `bytes` as a share of the memory that is being read, or as a copy if they lie elsewhere.
fn share(bytes: &[u8]) -> Bytes {
    READ_FROM.with_borrow(|frame| {
        let (frame_is, wanted) = (frame.as_ptr_range(), bytes.as_ptr_range());
        if frame_is.start <= wanted.start && wanted.end <= frame_is.end {
            frame.slice_ref(bytes)
        } else {
            Bytes::copy_from_slice(bytes)
        }
    })
}

impl<'de> Deserialize<'de> for Blob {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Blob, D::Error> {
        deserializer.deserialize_newtype_struct(BLOB, BlobVisitor)
    }
}

struct BlobVisitor;

impl<'de> Visitor<'de> for BlobVisitor {
    type Value = Blob;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("bytes, or text that holds them")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Blob, D::Error> {
        if inner.is_human_readable() {
            inner.deserialize_str(self)
        } else {
            inner.deserialize_byte_buf(self)
        }
    }

    fn visit_str<E: serde::de::Error>(self, text: &str) -> Result<Blob, E> {
        match READ_AS.get() {
            DocArray::V1 => match STANDARD.decode(text) {
                Ok(bytes) => Ok(bytes.into()),
                Err(error) => Err(E::custom(format_args!("invalid base64: {error}"))),
            },
            DocArray::V2 => Ok(text.as_bytes().to_vec().into()),
        }
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Blob, E> {
        Ok(share(bytes).into())
    }

    fn visit_byte_buf<E>(self, bytes: Vec<u8>) -> Result<Blob, E> {
        Ok(bytes.into())
    }
}

/// Appends bytes as base64 to `out`.
pub(super) fn write_base64(bytes: &[u8], out: &mut Vec<u8>) {
    let start = out.len();
    // Each three bytes, or part of three, take four characters. The result cannot overflow usize.
    out.resize(start + bytes.len().div_ceil(3) * 4, 0);
    STANDARD
        .encode_slice(bytes, &mut out[start..])
        .expect("the room was made for exactly this many characters");
}

/// Checks that `text` is standard, padded base64; the error tells why it is not.
pub(super) fn check_base64<E: serde::ser::Error>(text: &str) -> Result<(), E> {
    // The decoded bytes are not needed, but the crate has no call that only checks, and blobs as
    // text are rare.
    match STANDARD.decode(text) {
        Ok(_) => Ok(()),
        Err(error) => Err(E::custom(format_args!("invalid base64: {error}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blob_converts_from_bytes_and_to_bytes() {
        let made: [Blob; 6] = [
            Bytes::from_static(b"abc").into(),
            vec![b'a', b'b', b'c'].into(),
            String::from("abc").into(),
            "abc".into(),
            (&b"abc"[..]).into(),
            b"abc".into(),
        ];
        for blob in made {
            assert_eq!(Bytes::from(blob), "abc");
        }
    }

    #[test]
    fn text_is_read_as_the_generation_says_and_as_base64_elsewhere() {
        let read = |text: &str| serde_json::from_str::<Blob>(text);
        assert_eq!(read(r#""aGk=""#).unwrap().as_ref(), b"hi");
        assert_eq!(reading_as(DocArray::V2, || read(r#""aGk=""#)).unwrap().as_ref(), b"aGk=");
        assert_eq!(read(r#""aGk=""#).unwrap().as_ref(), b"hi", "the setting is taken back");
        assert!(read(r#""aGk""#).unwrap_err().to_string().contains("invalid base64"));
    }

    #[test]
    fn base64_appended_is_base64() {
        let mut out = b"x".to_vec();
        write_base64(b"hello", &mut out);
        assert_eq!(out, b"xaGVsbG8=");
    }
}
