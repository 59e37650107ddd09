//! The values that are written as JSON, and those that are refused.

use std::collections::BTreeMap;

use serde_json::json;

use serde::Serialize;

use super::{EncodeError, Encoder};
use crate::document::{Blob, Document, NamedScore, Tensor, Value};
use crate::message::DocArray;

fn encode<T: Serialize>(docarray: DocArray, document: &T) -> Result<String, EncodeError> {
    let mut out = b"before".to_vec();
    let result = Encoder::new(docarray).document(document, &mut out);
    let text = String::from_utf8(out).unwrap();
    let text = text.strip_prefix("before").unwrap();
    assert!(result.is_ok() || text.is_empty(), "an error leaves nothing behind");
    result.map(|()| text.to_owned())
}

fn refusal<T: Serialize>(docarray: DocArray, document: &T) -> String {
    encode(docarray, document).unwrap_err().to_string()
}

#[test]
fn every_kind_of_serde_value_is_written_as_serde_json_writes_it() {
    #[derive(Serialize)]
    struct Unit;
    #[derive(Serialize)]
    struct Wrapped(i32);
    #[derive(Serialize)]
    struct Pair(i32, char);
    #[derive(Serialize)]
    enum Choice {
        Unit,
        Newtype(u8),
        Tuple(u8, u8),
        Struct { a: u8 },
    }
    #[derive(Serialize)]
    struct Everything {
        numbers: (i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, i128),
        text: &'static str,
        unit: Unit,
        none: Option<u8>,
        some: Option<u8>,
        wrapped: Wrapped,
        pair: Pair,
        choices: Vec<Choice>,
        map: BTreeMap<i32, bool>,
        empty: [u8; 0],
    }
    let everything = Everything {
        numbers: (-1, -2, -3, -4, 1, 2, 3, u64::MAX, 0.1, 1.0 / 3.0, i128::MIN),
        text: "quote \" backslash \\ newline \n é 😀",
        unit: Unit,
        none: None,
        some: Some(1),
        wrapped: Wrapped(5),
        pair: Pair(1, 'x'),
        choices: vec![
            Choice::Unit,
            Choice::Newtype(1),
            Choice::Tuple(1, 2),
            Choice::Struct { a: 1 },
        ],
        map: BTreeMap::from([(1, true), (2, false)]),
        empty: [],
    };
    let expected = serde_json::to_string(&everything).unwrap();
    assert_eq!(encode(DocArray::V2, &everything).unwrap(), expected);
}

#[test]
fn a_document_of_v1_is_written_with_the_fields_that_are_set() {
    let document = Document {
        id: Some("a".into()),
        blob: Some(Blob::from(&b"hi"[..])),
        embedding: Some(Tensor::from([0.5_f32, 1.0])),
        tags: Some(BTreeMap::from([("k".into(), Value::from(1.5))])),
        scores: Some(BTreeMap::from([(
            "cos".into(),
            NamedScore { value: Some(0.75), ..NamedScore::default() },
        )])),
        chunks: Some(vec![Document::text("chunk")]),
        ..Document::default()
    };
    assert_eq!(
        encode(DocArray::V1, &document).unwrap(),
        r#"{"id":"a","blob":"aGk=","tags":{"k":1.5},"embedding":[0.5,1.0],"#.to_owned()
            + r#""scores":{"cos":{"value":0.75}},"chunks":[{"text":"chunk"}]}"#
    );
}

#[test]
fn nan_and_infinity_are_refused_by_field_and_index() {
    #[derive(Serialize)]
    struct Item {
        embedding: Vec<f32>,
    }
    let item = Item { embedding: vec![1.0, f32::NAN] };
    for docarray in [DocArray::V1, DocArray::V2] {
        assert_eq!(refusal(docarray, &item), "embedding[1]: NaN cannot be sent as JSON");
    }
    let tensor = Document { tensor: Some(Tensor::from([f64::INFINITY])), ..Document::default() };
    assert_eq!(refusal(DocArray::V1, &tensor), "tensor[0]: inf cannot be sent as JSON");
}

#[test]
fn singles_that_are_written_at_once_are_checked_one_by_one() {
    let numbers: Vec<f32> = (0..200).map(|n| n as f32 / 64.0 - 1.0).collect();
    let tensor = |shape: &[usize], numbers: &[f32]| Document {
        embedding: Some(Tensor::new(shape, numbers).unwrap()),
        ..Document::default()
    };
    let lists: Vec<&[f32]> = numbers.chunks(100).collect();
    let lists = serde_json::to_string(&lists).unwrap();
    for docarray in [DocArray::V1, DocArray::V2] {
        let written = encode(docarray, &tensor(&[2, 100], &numbers)).unwrap();
        assert_eq!(written, format!(r#"{{"embedding":{lists}}}"#));
        for (at, named) in [(0, "[0][0]"), (99, "[0][99]"), (100, "[1][0]"), (142, "[1][42]")] {
            let mut numbers = numbers.clone();
            numbers[at] = f32::NEG_INFINITY;
            let refused = refusal(docarray, &tensor(&[2, 100], &numbers));
            assert_eq!(refused, format!("embedding{named}: -inf cannot be sent as JSON"));
        }
        assert_eq!(encode(docarray, &tensor(&[2, 0], &[])).unwrap(), r#"{"embedding":[[],[]]}"#);
    }
    #[derive(Serialize)]
    struct Tags {
        tags: BTreeMap<&'static str, Tensor>,
    }
    let tags = |number: f32| Tags { tags: [("a", Tensor::from([0.5, number]))].into() };
    assert_eq!(encode(DocArray::V1, &tags(0.25)).unwrap(), r#"{"tags":{"a":[0.5,0.25]}}"#);
    let refused = refusal(DocArray::V1, &tags(f32::NAN));
    assert!(refused.starts_with("tags.a[1]: NaN cannot be sent here"), "{refused}");
}

#[test]
fn ones_and_zeros_in_tags_of_v1_are_not_taken_for_booleans() {
    let tags =
        json!({"a": 1, "b": 0, "c": -1, "d": 1.5, "e": true, "f": {"g": 1}, "h": "1", "i": 10});
    let document = json!({"tags": tags, "granularity": 1, "id": "a"});
    let v1 = r#"{"granularity":1,"id":"a","tags":{"a":1.0,"b":0.0,"c":-1,"d":1.5,"e":true,"f":{"g":1},"h":"1","i":10}}"#;
    assert_eq!(encode(DocArray::V1, &document).unwrap(), v1);
    let v2 = serde_json::to_string(&document).unwrap();
    assert_eq!(encode(DocArray::V2, &document).unwrap(), v2);
}

#[test]
fn a_tensor_in_a_buffer_of_serde_is_written_as_lists() {
    #[derive(Serialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(Serialize)]
    enum Inner {
        Embedded { embedding: Tensor },
    }
    let embedding = Tensor::new(&[1, 2], &[0.5_f32, 3.0]).unwrap();
    let written = encode(DocArray::V2, &Outer { inner: Inner::Embedded { embedding } });
    assert_eq!(written.unwrap(), r#"{"Embedded":{"embedding":[[0.5,3.0]]}}"#);
}

#[test]
fn v1_refuses_values_that_its_gateway_would_lose() {
    let cases = [
        (json!({"txet": "typo"}), "has no field \"txet\""),
        (json!({"chunks": [{"id": "c"}, {"x": 1}]}), "chunks[1]"),
        (json!({"blob": "not base64"}), "blob: invalid base64"),
        (json!({"blob": [1, 2]}), "blob: a blob must be bytes or base64 text, not a list"),
        (json!({"tensor": [[1, 2], [3]]}), "tensor[1]: the lists of a tensor differ in length"),
        (json!({"tensor": [1, [2]]}), "tensor[1]: the lists of a tensor are not all nested"),
        (json!({"embedding": [1, null]}), "embedding[1]: a tensor is made of numbers"),
        (json!({"embedding": "x"}), "embedding: a tensor is made of numbers, not text"),
        (json!({"matches": 5}), "matches: the field must be a list of documents, not a number"),
        (json!({"matches": [5]}), "matches[0]: a document must be an object, not a number"),
        (json!({"text": "t", "tensor": [1]}), "exclude each other"),
        (json!({"chunks": [{"blob": "aGk=", "text": "t"}]}), "chunks[0]: text, blob"),
        (json!([1]), "a document must be an object, not a list"),
        (json!(null), "a document must be an object, not null"),
    ];
    for (document, expected) in cases {
        let message = refusal(DocArray::V1, &document);
        assert!(message.contains(expected), "{document}: {message}");
    }
}

#[test]
fn two_tensors_in_one_document_have_shapes_of_their_own() {
    let document = json!({"tensor": [[1, 2]], "embedding": [1, 2, 3], "blob": null,
        "chunks": [{"tensor": [1]}, {"tensor": [[1], [2]]}], "matches": null});
    assert!(encode(DocArray::V1, &document).is_ok());
}

#[test]
fn content_that_is_not_set_excludes_nothing() {
    let document = json!({"text": "", "blob": null, "tensor": [1], "chunks": [{"text": "t"}]});
    assert!(encode(DocArray::V1, &document).is_ok());
}

#[test]
fn a_v2_document_never_has_two_fields() {
    let written = |document: Value| encode(DocArray::V2, &document).unwrap();
    let two = Value::from(BTreeMap::from([("a".into(), 1.into()), ("b".into(), 2.into())]));
    assert_eq!(written(two), r#"{"a":1,"b":2,"_":null}"#);
    #[derive(Serialize)]
    struct Two {
        id: &'static str,
        part: (u8, u8),
    }
    let two = Two { id: "x", part: (1, 2) };
    assert_eq!(encode(DocArray::V2, &two).unwrap(), r#"{"id":"x","part":[1,2],"_":null}"#);
}

#[test]
fn v2_takes_any_object_and_only_text_as_bytes() {
    let free = json!({"anything": {"goes": [1, [2]]}, "blob": "text", "more": null});
    assert_eq!(encode(DocArray::V2, &free).unwrap(), free.to_string());
    #[derive(Serialize)]
    struct Item {
        blob: Blob,
    }
    let text = Item { blob: Blob::from(&b"plain"[..]) };
    assert_eq!(encode(DocArray::V2, &text).unwrap(), r#"{"blob":"plain"}"#);
    let binary = Item { blob: Blob::from(&b"\xff"[..]) };
    let message = refusal(DocArray::V2, &binary);
    assert!(message.starts_with("blob: bytes that are not UTF-8"), "{message}");
    assert!(refusal(DocArray::V2, &"text").contains("must be an object, not text"));
}

#[test]
fn raw_json_is_checked_like_any_other_value() {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
    assert_eq!(encode(DocArray::V1, &raw(r#"{"id": "a"}"#)).unwrap(), r#"{"id":"a"}"#);
    assert!(refusal(DocArray::V1, &raw(r#"{"x": 1}"#)).contains("has no field \"x\""));
}
