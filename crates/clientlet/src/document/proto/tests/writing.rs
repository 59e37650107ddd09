//! The rules for writing documents.

use std::collections::BTreeMap;

use clientlet_proto::prost::Message as _;
use clientlet_proto::v1::docarray::{DocumentArrayProto, document_proto};
use clientlet_proto::v2::docarray::{DocListProto, NodeProto, node_proto::Content};
use serde::Serialize;
use serde_json::json;

use super::{encoded, refusal};
use crate::document::proto::Encoder;
use crate::document::{Blob, Document, Tensor, Value};
use crate::message::DocArray;

/// Returns the nodes of a v2 document.
fn nodes<T: Serialize>(document: &T) -> BTreeMap<String, NodeProto> {
    let bytes = encoded(DocArray::V2, &[document]);
    let mut list = DocListProto::decode(bytes.as_slice()).unwrap();
    list.docs.remove(0).data.into_iter().collect()
}

fn v1_document<T: Serialize>(document: &T) -> clientlet_proto::v1::docarray::DocumentProto {
    let bytes = encoded(DocArray::V1, &[document]);
    DocumentArrayProto::decode(bytes.as_slice()).unwrap().docs.remove(0)
}

#[test]
fn bytes_that_are_a_documents_id_are_text_or_refused() {
    #[derive(Serialize)]
    struct Named {
        id: Blob,
    }
    let named = |id: &'static [u8]| Named { id: Blob::from(id) };
    assert_eq!(nodes(&named(b"hi")), nodes(&json!({"id": "hi"})));
    let refused = Encoder::new(DocArray::V2).document(&named(b"\xff"), &mut Vec::new());
    assert!(refused.unwrap_err().to_string().contains("not UTF-8"));
}

#[test]
fn every_kind_of_serde_value_has_its_kind_of_node() {
    #[derive(Serialize)]
    struct Part {
        id: &'static str,
    }
    #[derive(Serialize)]
    struct Everything {
        id: &'static str,
        image_url: &'static str,
        whole: i64,
        real: f32,
        flag: bool,
        letter: char,
        blob: Blob,
        tensor: Tensor,
        scalar: Tensor,
        part: Part,
        parts: [Part; 2],
        no_parts: [Part; 0],
        numbers: Vec<f32>,
        mixed: (u8, Option<u8>, Part),
        map: BTreeMap<i32, Vec<u8>>,
        none: Option<u8>,
    }
    let nodes = nodes(&Everything {
        id: "a",
        image_url: "http://x/y.png",
        whole: -1,
        real: 0.5,
        flag: true,
        letter: 'é',
        blob: Blob::from(&b"\xff"[..]),
        tensor: Tensor::new(&[1, 2], &[1_u8, 2]).unwrap(),
        scalar: Tensor::new(&[], &[1.5_f64]).unwrap(),
        part: Part { id: "p" },
        parts: [Part { id: "q" }, Part { id: "r" }],
        no_parts: [],
        numbers: vec![1.0],
        mixed: (1, None, Part { id: "m" }),
        map: BTreeMap::from([(-5, vec![1])]),
        none: None,
    });
    let content = |name: &str| nodes[name].content.clone();
    let kind = |name: &str| nodes[name].r#type.as_deref();
    assert_eq!(content("id"), Some(Content::Text("a".into())));
    assert_eq!((kind("id"), kind("image_url"), kind("blob")), (Some("id"), None, None));
    assert_eq!(content("whole"), Some(Content::Integer(-1)));
    assert_eq!(content("real"), Some(Content::Float(0.5)));
    assert_eq!(content("flag"), Some(Content::Boolean(true)));
    assert_eq!(content("letter"), Some(Content::Text("é".into())));
    assert_eq!(content("blob"), Some(Content::Blob(vec![0xff].into())));
    let Some(Content::Ndarray(array)) = content("tensor") else { panic!("an ndarray") };
    let dense = array.dense.unwrap();
    assert_eq!(
        (&*dense.dtype, &dense.shape[..], &dense.buffer[..]),
        ("|u1", &[1, 2][..], &[1, 2][..])
    );
    assert_eq!((kind("tensor"), kind("scalar")), (Some("ndarray"), Some("ndarray")));
    let Some(Content::Dict(part)) = content("part") else { panic!("a dictionary") };
    assert_eq!(part.data["id"].r#type, None);
    let Some(Content::List(parts)) = content("parts") else { panic!("a list") };
    assert_eq!(parts.data.len(), 2);
    assert!(parts.data.iter().all(|part| matches!(part.content, Some(Content::Dict(_)))));
    assert!(matches!(content("no_parts"), Some(Content::List(list)) if list.data.is_empty()));
    assert!(matches!(content("numbers"), Some(Content::List(list)) if list.data.len() == 1));
    let Some(Content::List(mixed)) = content("mixed") else { panic!("a list") };
    assert_eq!(mixed.data[1], NodeProto::default());
    assert!(matches!(mixed.data[2].content, Some(Content::Dict(_))));
    let Some(Content::Dict(map)) = content("map") else { panic!("a dictionary") };
    assert!(map.data.contains_key("-5"));
    assert_eq!(nodes["none"], NodeProto::default());
}

#[test]
fn a_map_within_a_document_is_a_dictionary_whose_id_is_plain_text() {
    let nodes = nodes(&json!({"id": "a", "inner": {"id": "b"}, "list": [{"id": "c"}]}));
    assert_eq!(nodes["id"].r#type.as_deref(), Some("id"));
    let Some(Content::Dict(inner)) = &nodes["inner"].content else { panic!("a dictionary") };
    assert_eq!(inner.data["id"].r#type, None);
    let Some(Content::List(list)) = &nodes["list"].content else { panic!("a list") };
    assert!(matches!(list.data[0].content, Some(Content::Dict(_))));
}

#[test]
fn v2_refuses_values_that_it_cannot_hold_and_names_the_field() {
    let cases = [
        (json!({"n": 2_147_483_648_u64}), "n: 2147483648 is beyond the 32 bits"),
        (json!({"a": {"b": [1, -2_147_483_649_i64]}}), "a.b[1]: -2147483649 is beyond"),
        (json!([1]), "a document must be an object, not a list"),
        (json!("x"), "a document must be an object, not text"),
        (json!(null), "a document must be an object, not null"),
    ];
    for (document, expected) in cases {
        let message = refusal(DocArray::V2, &document);
        assert!(message.starts_with(expected), "{message}");
    }
    let bytes_as_key = BTreeMap::from([(vec![1_u8], 1)]);
    assert!(refusal(DocArray::V2, &bytes_as_key).contains("the key of a map must be text"));
}

#[test]
fn v1_refuses_values_that_its_gateway_would_lose() {
    let cases = [
        (json!({"txet": "typo"}), "has no field \"txet\""),
        (json!({"chunks": [{"id": "c"}, {"x": 1}]}), "chunks[1]: a v1 document has no field"),
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
        (json!({"tags": {"a": [{"b": 9_007_199_254_740_993_i64}]}}), "tags.a[0].b: 90071992547"),
        (json!({"tags": [1]}), "tags: tags must be an object, not a list"),
        (json!({"scores": {"s": {"x": 1}}}), "scores.s: a score has no field \"x\""),
        (json!({"scores": {"s": 1}}), "scores.s: a score must be an object, not a number"),
        (json!({"granularity": -1}), "granularity: -1 is not between 0 and 4294967295"),
        (json!({"granularity": 1.5}), "granularity: the field must be a whole number"),
        (json!({"weight": 1e300}), "weight: 1"),
        (json!({"location": [1, "x"]}), "location[1]: a location is made of numbers, not text"),
        (json!({"text": [5]}), "text: the field must be text, not a list"),
        (json!({"weight": "heavy"}), "weight: the field must be a number, not text"),
        (json!({"granularity": "1.5"}), "granularity: the field must be a whole number, not text"),
        (json!([1]), "a document must be an object, not a list"),
    ];
    for (document, expected) in cases {
        let message = refusal(DocArray::V1, &document);
        assert!(message.contains(expected), "{document}: {message}");
    }
}

#[test]
fn v1_tensors_have_the_type_of_their_numbers_and_a_class() {
    #[derive(Serialize)]
    struct Item<T> {
        embedding: T,
    }
    fn check<T: Serialize>(embedding: T, dtype: &str, shape: &[u32]) {
        let array = v1_document(&Item { embedding }).embedding.unwrap();
        assert_eq!(array.cls_name, "numpy");
        let Some(clientlet_proto::v1::docarray::nd_array_proto::Content::Dense(dense)) =
            array.content
        else {
            panic!("a dense array");
        };
        assert_eq!((&*dense.dtype, &dense.shape[..]), (dtype, shape));
    }
    check(vec![1.0_f32, 2.0], "<f4", &[2]);
    check([[1_i64, 2], [3, 4]], "<i8", &[2, 2]);
    check((1_i8, 2_u8), "<i8", &[2]);
    check((1_i8, 2.5_f64), "<f8", &[2]);
    check((1_i8, u64::MAX), "<f8", &[2]);
    check((u64::MAX, 1_i8), "<f8", &[2]);
    check((true, false), "|b1", &[2]);
    check((true, 2_u8), "<i8", &[2]);
    check(json!([1, -1]), "<i8", &[2]);
    check(json!([1, 0.5]), "<f8", &[2]);
    check(7_u16, "<u2", &[]);
    check([0_u8; 0], "<f8", &[0]);
    check([[0_u8; 0]; 2], "<f8", &[2, 0]);
    check(Tensor::new(&[2], &[1_u16, 2]).unwrap(), "<u2", &[2]);
    check(Some(Tensor::new(&[], &[1_u16]).unwrap()), "<u2", &[]);
}

#[test]
fn content_that_is_not_set_excludes_nothing() {
    let document = json!({"text": "", "blob": null, "tensor": [1], "chunks": [{"text": "t"}]});
    assert!(matches!(v1_document(&document).content, Some(document_proto::Content::Tensor(_))));
    let document = json!({"tensor": [1], "text": "", "blob": ""});
    assert!(matches!(v1_document(&document).content, Some(document_proto::Content::Tensor(_))));
    assert!(matches!(
        v1_document(&json!({"text": ""})).content,
        Some(document_proto::Content::Text(_))
    ));
}

#[test]
fn tags_are_written_as_json_has_them() {
    #[derive(Serialize)]
    struct Tags {
        blob: Blob,
        tensor: Tensor,
        choice: Result<u8, u8>,
    }
    #[derive(Serialize)]
    struct Item {
        tags: Tags,
    }
    let tags =
        Tags { blob: Blob::from(&b"hi"[..]), tensor: Tensor::from([1.5_f32]), choice: Ok(1) };
    let bytes = bytes::Bytes::from(encoded(DocArray::V1, &[Item { tags }]));
    let back: Vec<Document> =
        crate::document::proto::decode_documents(DocArray::V1, &bytes).unwrap();
    let back = serde_json::to_value(back[0].tags.as_ref().unwrap()).unwrap();
    assert_eq!(back, json!({"blob": "aGk=", "tensor": [1.5], "choice": {"Ok": 1}}));
}

#[test]
fn raw_json_is_checked_like_any_other_value() {
    let raw = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
    assert_eq!(v1_document(&raw(r#"{"id": "a"}"#)).id, "a");
    assert!(refusal(DocArray::V1, &raw(r#"{"x": 1}"#)).contains("has no field \"x\""));
}

#[test]
fn depth_is_bounded_by_the_limit_of_gateways() {
    fn nested(depth: usize) -> Document {
        (0..depth).fold(Document::text("x"), |inner, _| Document {
            chunks: Some(vec![inner]),
            ..Document::default()
        })
    }
    let mut out = Vec::new();
    Encoder::new(DocArray::V1).document(&nested(90), &mut out).unwrap();
    assert!(DocumentArrayProto::decode(out.as_slice()).is_ok());
    assert!(refusal(DocArray::V1, &nested(95)).contains("nested too deeply"));
    assert!(refusal(DocArray::V2, &nested(30)).contains("nested too deeply"));
    let deep = (0..5000).fold(Value::Null, |inner, _| Value::List(vec![inner]));
    let tensor = BTreeMap::from([("tensor", &deep)]);
    assert!(refusal(DocArray::V1, &tensor).contains("more than 64 dimensions"));
    std::mem::forget(deep);
}
