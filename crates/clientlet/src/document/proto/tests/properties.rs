//! Properties of every document, and of every sequence of bytes.

use bytes::Bytes;
use proptest::collection::{btree_map, vec};
use proptest::prelude::*;

use super::any::{blob, document, message, tensor, text, value};
use super::encoded;
use crate::document::lenient::whole;
use crate::document::proto::{Encoder, decode_documents, decode_struct};
use crate::document::{Blob, Document, Tensor, Value};
use crate::message::DocArray;

/// A class of documents as a user may write it.
#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
struct Item {
    id: String,
    embedding: Tensor,
    image: Option<Blob>,
    part: Option<Box<Item>>,
    parts: Vec<Item>,
    numbers: Vec<i32>,
    any: std::collections::BTreeMap<String, Value>,
    choice: Choice,
    pair: (bool, Option<f32>),
}

#[derive(Clone, Debug, PartialEq, serde::Serialize, serde::Deserialize)]
enum Choice {
    Unit,
    Newtype(Tensor),
    Tuple(u8, String),
    Struct { a: i8, inner: Option<Box<Choice>> },
}

fn choice() -> impl Strategy<Value = Choice> {
    prop_oneof![
        Just(Choice::Unit),
        tensor().prop_map(Choice::Newtype),
        (any::<u8>(), text()).prop_map(|(n, text)| Choice::Tuple(n, text)),
        any::<i8>().prop_map(|a| Choice::Struct { a, inner: None }),
        any::<i8>().prop_map(|a| Choice::Struct {
            a,
            inner: Some(Box::new(Choice::Tuple(1, "x".into())))
        }),
    ]
}

fn item() -> impl Strategy<Value = Item> {
    let flat = (
        (text(), tensor(), prop::option::of(blob()), vec(any::<i32>(), 0..5)),
        (btree_map(text(), value(), 0..3), choice(), any::<bool>(), prop::option::of(0_f32..1.0)),
    )
        .prop_map(|((id, embedding, image, numbers), (any, choice, flag, share))| Item {
            id,
            embedding,
            image,
            part: None,
            parts: Vec::new(),
            numbers,
            any,
            choice,
            pair: (flag, share),
        });
    let flat = flat.boxed();
    flat.clone().prop_recursive(3, 10, 3, move |inner| {
        (flat.clone(), prop::option::of(inner.clone()), vec(inner, 0..3))
            .prop_map(|(flat, part, parts)| Item { part: part.map(Box::new), parts, ..flat })
    })
}

/// What remains of a v1 document: numbers in tags become doubles, and whole doubles are read as
/// integers.
fn carried(mut document: Document) -> Document {
    fn integers(value: &mut Value) {
        match value {
            Value::Number(n) => {
                *value = whole(*n).map_or(Value::Number(*n), Value::Integer);
            }
            Value::List(list) => list.iter_mut().for_each(integers),
            Value::Map(map) => map.values_mut().for_each(integers),
            _ => {}
        }
    }
    document.tags.iter_mut().flat_map(|tags| tags.values_mut()).for_each(integers);
    let all = |list: Vec<Document>| list.into_iter().map(carried).collect();
    document.chunks = document.chunks.map(all);
    document.matches = document.matches.map(all);
    document
}

/// Whether two values are equal, with NaN equal to NaN.
fn same<T: std::fmt::Debug>(a: &T, b: &T) -> bool {
    format!("{a:?}") == format!("{b:?}")
}

/// Returns the tensors of a document, with their content.
fn tensors(document: &Document) -> Vec<&Tensor> {
    let children = document.chunks.iter().chain(&document.matches).flatten();
    document.tensor.iter().chain(&document.embedding).chain(children.flat_map(tensors)).collect()
}

proptest! {
    #[test]
    fn a_v1_document_comes_back_with_its_tensors(documents in vec(document(), 0..4)) {
        let bytes = Bytes::from(encoded(DocArray::V1, &documents));
        let back: Vec<Document> = decode_documents(DocArray::V1, &bytes).unwrap();
        let expected: Vec<Document> = documents.into_iter().map(carried).collect();
        prop_assert!(same(&back, &expected), "{back:?}\n{expected:?}");
        prop_assert!(back.iter().flat_map(tensors).eq(expected.iter().flat_map(tensors)));
    }

    #[test]
    fn a_v2_document_comes_back_unchanged(documents in vec(document(), 0..4)) {
        let bytes = Bytes::from(encoded(DocArray::V2, &documents));
        let back: Vec<Document> = decode_documents(DocArray::V2, &bytes).unwrap();
        prop_assert!(same(&back, &documents), "{back:?}\n{documents:?}");
        prop_assert!(back.iter().flat_map(tensors).eq(documents.iter().flat_map(tensors)));
    }

    #[test]
    fn a_document_of_a_users_own_class_comes_back_unchanged(items in vec(item(), 0..4)) {
        let bytes = Bytes::from(encoded(DocArray::V2, &items));
        let back: Vec<Item> = decode_documents(DocArray::V2, &bytes).unwrap();
        prop_assert!(same(&back, &items), "{back:?}\n{items:?}");
    }

    #[test]
    fn a_document_read_as_json_text_equals_one_read_as_values(items in vec(item(), 0..4)) {
        fn singles(json: &mut serde_json::Value) {
            use serde_json::Value as Json;
            match json {
                // The text of a single is the shortest text that reads as the same single.
                Json::Number(n) if n.is_f64() => *json = (n.as_f64().unwrap() as f32).into(),
                Json::Array(list) => list.iter_mut().for_each(singles),
                Json::Object(map) => map.values_mut().for_each(singles),
                _ => {}
            }
        }
        let bytes = Bytes::from(encoded(DocArray::V2, &items));
        let raw: Vec<Box<serde_json::value::RawValue>> =
            decode_documents(DocArray::V2, &bytes).unwrap();
        let mut values: Vec<serde_json::Value> = decode_documents(DocArray::V2, &bytes).unwrap();
        for (raw, value) in raw.iter().zip(&mut values) {
            let mut parsed: serde_json::Value = serde_json::from_str(raw.get()).unwrap();
            singles(&mut parsed);
            singles(value);
            prop_assert_eq!(&parsed, &*value);
        }
        prop_assert_eq!(raw.len(), values.len());
    }

    #[test]
    fn any_map_of_values_is_a_v2_document(map in btree_map(text(), value(), 0..40)) {
        let document = Value::Map(map);
        let bytes = Bytes::from(encoded(DocArray::V2, std::slice::from_ref(&document)));
        let back: Vec<Value> = decode_documents(DocArray::V2, &bytes).unwrap();
        prop_assert!(same(&back[0], &document));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_in_words(bytes in prop_oneof![vec(any::<u8>(), 0..200), message()]) {
        let bytes = Bytes::from(bytes);
        for docarray in [DocArray::V1, DocArray::V2] {
            let _ = decode_documents::<Document>(docarray, &bytes);
            let _ = decode_documents::<Value>(docarray, &bytes);
            let _ = decode_documents::<Item>(docarray, &bytes);
            let _ = crate::envelope::proto::read_proto_answer(docarray, &bytes);
        }
        let _ = decode_struct::<Value>(&bytes);
        let _ = crate::envelope::proto::read_proto_routes(&bytes);
        let _ = crate::envelope::proto::read_proto_status(&bytes);
    }

    #[test]
    fn a_document_that_is_refused_leaves_nothing_behind(map in btree_map("[a-z]{1,3}", value(), 1..4)) {
        let mut out = b"before".to_vec();
        if Encoder::new(DocArray::V1).document(&map, &mut out).is_err() {
            prop_assert_eq!(out, b"before");
        }
    }
}
