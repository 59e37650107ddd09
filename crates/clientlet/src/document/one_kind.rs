//! Destinations that take one kind of value and refuse all others: the keys of maps, text, the
//! content of blobs.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::ser::Impossible;

use super::refusal::{Refusal, refuse};
use super::serializer::{Destination, Num};

/// Takes the key of a map. Numbers and booleans become text, as is usual in JSON.
pub(super) struct Key<F>(pub(super) F);

impl<F: FnOnce(&str) -> Result<(), Refusal>> Destination for Key<F> {
    type Seq = Impossible<(), Refusal>;
    type Tuple = Impossible<(), Refusal>;
    type Object = Impossible<(), Refusal>;

    const ONLY: &'static str = "the key of a map must be text";

    /// Writes numbers with a fraction as serde_json does: `1.0` keeps its point.
    fn number<N: Num>(self, key: N) -> Result<(), Refusal> {
        if !key.number().is_finite() {
            return refuse(format!("{key} cannot be the key of a map"));
        }
        let mut text = Vec::new();
        key.write_json(&mut text).expect("writing a number to memory cannot fail");
        (self.0)(str::from_utf8(&text).expect("a number in JSON is ASCII"))
    }

    fn boolean(self, key: bool) -> Result<(), Refusal> {
        (self.0)(if key { "true" } else { "false" })
    }

    #[inline]
    fn text(self, key: &str) -> Result<(), Refusal> {
        (self.0)(key)
    }
}

/// Takes only text.
pub(super) struct Text<'t>(pub(super) &'t mut String);

impl Destination for Text<'_> {
    type Seq = Impossible<(), Refusal>;
    type Tuple = Impossible<(), Refusal>;
    type Object = Impossible<(), Refusal>;

    const ONLY: &'static str = "raw JSON must be text";

    fn text(self, text: &str) -> Result<(), Refusal> {
        text.clone_into(self.0);
        Ok(())
    }
}

/// Takes the content of a `Blob` and passes its bytes to the blob's destination.
pub(super) struct BlobContent<D>(pub(super) D);

impl<D: Destination> Destination for BlobContent<D> {
    type Seq = Impossible<(), Refusal>;
    type Tuple = Impossible<(), Refusal>;
    type Object = Impossible<(), Refusal>;

    const ONLY: &'static str = "a blob must be made of bytes";
    const IS_HUMAN_READABLE: bool = false;

    fn bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0.bytes(bytes)
    }

    /// Takes base64. serde's own buffers (`flatten` around an enum) are human-readable, so a blob
    /// in such a buffer is base64 text.
    fn text(self, base64: &str) -> Result<(), Refusal> {
        match STANDARD.decode(base64) {
            Ok(bytes) => self.0.bytes(&bytes),
            Err(error) => refuse(format!("invalid base64: {error}")),
        }
    }
}

/// Takes the content of an `EncodedDocument` and appends its bytes as they are.
pub(super) struct EncodedContent<'o>(pub(super) &'o mut Vec<u8>);

impl Destination for EncodedContent<'_> {
    type Seq = Impossible<(), Refusal>;
    type Tuple = Impossible<(), Refusal>;
    type Object = Impossible<(), Refusal>;

    const ONLY: &'static str = "an encoded document is made of bytes";

    fn bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0.extend_from_slice(bytes);
        Ok(())
    }
}
