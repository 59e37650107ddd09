//! Decodes JSON directly into the caller's type.

use serde::de::DeserializeOwned;

use super::blob::reading_as;
use super::lenient::{Lenient, Place};
use super::reader::Reader;
use crate::foreign::told;
use crate::message::DocArray;

/// Decodes the documents in `json`, which is a list.
///
/// # Errors
/// A sentence that names the document and the field that does not fit `T`.
pub(crate) fn decode_documents<T: DeserializeOwned>(
    docarray: DocArray,
    json: &[u8],
) -> Result<Vec<T>, String> {
    decode(docarray, Place::of_documents(docarray), json)
}

/// Decodes `json` as one document.
///
/// # Errors
/// A sentence that names the field that does not fit `T`.
pub(crate) fn decode_document<T: DeserializeOwned>(
    docarray: DocArray,
    json: &[u8],
) -> Result<T, String> {
    decode(docarray, Place::of_document(docarray), json)
}

/// Decodes the object `json` as parameters. Both generations write parameters alike, with bytes as
/// base64.
///
/// # Errors
/// A sentence that names the field that does not fit `T`.
pub(crate) fn decode_parameters<T: DeserializeOwned>(json: &[u8]) -> Result<T, String> {
    decode(DocArray::V1, Place::Values, json)
}

fn decode<T: DeserializeOwned>(docarray: DocArray, place: Place, json: &[u8]) -> Result<T, String> {
    reading_as(docarray, || {
        let mut reader = Reader::new(json);
        if let Ok(value) = T::deserialize(Lenient::new(&mut reader, place))
            && reader.is_at_end()
        {
            return Ok(value);
        }
        let mut reader = serde_json::Deserializer::from_slice(json);
        let read = T::deserialize(Lenient::new(&mut reader, place));
        read.and_then(|value| reader.end().map(|()| value)).map_err(|plain| {
            // Only a failure pays for tracking the path. The second reading fails like the first,
            // unless `T` itself decides differently.
            let mut reader = serde_json::Deserializer::from_slice(json);
            let lenient = Lenient::new(&mut reader, place);
            match serde_path_to_error::deserialize::<_, T>(lenient) {
                Ok(_) => told(&plain),
                Err(error) => format!("{}: {}", told(error.path()), told(error.inner())),
            }
        })
    })
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;
    use crate::document::{Blob, Document};

    #[test]
    fn a_value_of_the_wrong_type_is_named_by_document_and_field() {
        #[derive(Debug, Deserialize)]
        struct Item {
            #[allow(dead_code)]
            embedding: Vec<f32>,
        }
        let error =
            decode_documents::<Item>(DocArray::V1, br#"[{"embedding":[1]},{"embedding":[1,"x"]}]"#);
        let message = error.unwrap_err();
        assert!(message.starts_with("[1].embedding[1]: invalid type"), "{message}");
    }

    #[test]
    fn bytes_are_base64_for_v1_and_text_for_v2() {
        #[derive(Deserialize)]
        struct Item {
            blob: Blob,
        }
        let json = br#"[{"blob":"aGk="}]"#;
        let v1: Vec<Item> = decode_documents(DocArray::V1, json).unwrap();
        let v2: Vec<Item> = decode_documents(DocArray::V2, json).unwrap();
        assert_eq!(v1[0].blob.as_ref(), b"hi");
        assert_eq!(v2[0].blob.as_ref(), b"aGk=");
    }

    #[test]
    fn depth_is_bounded() {
        let deep = format!("{}{}{}", "[{\"chunks\":".repeat(100), "[]", "}]".repeat(100));
        let message = decode_documents::<Document>(DocArray::V1, deep.as_bytes()).unwrap_err();
        assert!(message.contains("recursion limit"), "{message}");
    }

    #[test]
    fn numbers_come_back_exactly() {
        let singles = [0.1_f32, 16_777_217.0, 1.0e-45, f32::MAX, 0.333_333_34];
        let doubles = [0.1_f64, 1.0 / 3.0, 5e-324, f64::MAX, 9_007_199_254_740_993.0];
        let json = serde_json::to_vec(&(singles, doubles)).unwrap();
        let back: (Vec<f32>, Vec<f64>) = decode_document(DocArray::V2, &json).unwrap();
        assert_eq!(back, (singles.to_vec(), doubles.to_vec()));
    }
}
