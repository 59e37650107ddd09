//! Tests of the whole codec: its rules, recordings, comparison with prost, and random bytes.

mod any;
mod differential;
mod fixtures;
mod properties;
mod reading;
mod writing;

use serde::Serialize;

use super::Encoder;
use crate::document::EncodeError;
use crate::message::DocArray;

fn encoded<T: Serialize>(docarray: DocArray, documents: &[T]) -> Vec<u8> {
    let mut out = Vec::new();
    for document in documents {
        Encoder::new(docarray).document(document, &mut out).unwrap();
    }
    out
}

/// Returns the error of a document that cannot be written, and checks that no bytes of it are left.
fn refusal<T: Serialize>(docarray: DocArray, document: &T) -> String {
    let mut out = b"before".to_vec();
    let error: EncodeError = Encoder::new(docarray).document(document, &mut out).unwrap_err();
    assert_eq!(out, b"before");
    error.to_string()
}
