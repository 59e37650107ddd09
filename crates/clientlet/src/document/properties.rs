//! Properties of every document: decoding an encoded document gives it back, within the limits of
//! JSON.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use super::{Blob, Document, Dtype, Encoder, NamedScore, Tensor, Value, decode_documents};
use crate::message::DocArray;

fn text() -> impl Strategy<Value = String> {
    // Any text, with control characters and quotes.
    vec(any::<char>(), 0..12).prop_map(String::from_iter)
}

fn finite() -> impl Strategy<Value = f64> {
    any::<f64>().prop_filter("JSON has neither NaN nor infinity", |n| n.is_finite())
}

fn finite_single() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("JSON has neither NaN nor infinity", |n| n.is_finite())
}

fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i64>().prop_map(Value::Integer),
        finite().prop_map(Value::Number),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            btree_map(text(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

/// A tensor of any element type. It has at least one dimension, and no dimension is empty, because
/// the dimensions after an empty one would be lost.
fn tensor() -> impl Strategy<Value = Tensor> {
    vec(1..4_usize, 1..4).prop_flat_map(|shape| {
        let count: usize = shape.iter().product();
        prop_oneof![
            vec(any::<i8>(), count).prop_map(Numbers::I8),
            vec(any::<i64>(), count).prop_map(Numbers::I64),
            vec(any::<u16>(), count).prop_map(Numbers::U16),
            vec(finite_single(), count).prop_map(Numbers::F32),
            vec(finite(), count).prop_map(Numbers::F64),
        ]
        .prop_map(move |numbers| match numbers {
            Numbers::I8(n) => Tensor::new(&shape, &n).unwrap(),
            Numbers::I64(n) => Tensor::new(&shape, &n).unwrap(),
            Numbers::U16(n) => Tensor::new(&shape, &n).unwrap(),
            Numbers::F32(n) => Tensor::new(&shape, &n).unwrap(),
            Numbers::F64(n) => Tensor::new(&shape, &n).unwrap(),
        })
    })
}

#[derive(Clone, Debug)]
enum Numbers {
    I8(Vec<i8>),
    I64(Vec<i64>),
    U16(Vec<u16>),
    F32(Vec<f32>),
    F64(Vec<f64>),
}

fn scores() -> impl Strategy<Value = BTreeMap<String, NamedScore>> {
    let score = (option::of(finite_single()), option::of(text()))
        .prop_map(|(value, op_name)| NamedScore { value, op_name, ..NamedScore::default() });
    btree_map(text(), score, 0..3)
}

fn blob() -> impl Strategy<Value = Blob> {
    vec(any::<u8>(), 0..20).prop_map(Blob::from)
}

/// A document of v1 without children, with at most one of text, blob and tensor.
fn flat() -> impl Strategy<Value = Document> {
    let content = prop_oneof![
        Just(Document::default()),
        text().prop_map(Document::text),
        blob().prop_map(|blob| Document { blob: Some(blob), ..Document::default() }),
        tensor().prop_map(|tensor| Document { tensor: Some(tensor), ..Document::default() }),
    ];
    let fields = (
        option::of(text()),
        option::of(any::<u32>()),
        option::of(finite_single()),
        option::of(btree_map(text(), value(), 0..4)),
        option::of(vec(finite_single(), 0..4)),
        option::of(tensor()),
        option::of(scores()),
    );
    (content, fields).prop_map(|(content, fields)| {
        let (id, granularity, weight, tags, location, embedding, scores) = fields;
        Document { id, granularity, weight, tags, location, embedding, scores, ..content }
    })
}

fn document() -> impl Strategy<Value = Document> {
    flat().prop_recursive(3, 12, 3, |inner| {
        (flat(), option::of(vec(inner.clone(), 0..3)), option::of(vec(inner, 0..3)))
            .prop_map(|(flat, chunks, matches)| Document { chunks, matches, ..flat })
    })
}

/// Calls `change` with every value in the tags of a document and its children.
fn each_tag(document: &mut Document, change: &impl Fn(&mut Value)) {
    fn each(value: &mut Value, change: &impl Fn(&mut Value)) {
        change(value);
        match value {
            Value::List(list) => list.iter_mut().for_each(|value| each(value, change)),
            Value::Map(map) => map.values_mut().for_each(|value| each(value, change)),
            _ => {}
        }
    }
    let tags = document.tags.iter_mut().flat_map(BTreeMap::values_mut);
    tags.for_each(|tag| each(tag, change));
    let children = document.chunks.iter_mut().chain(document.matches.iter_mut());
    children.flatten().for_each(|child| each_tag(child, change));
}

/// What remains of a document after JSON: tensors lose their element type.
fn carried(mut document: Document) -> Document {
    document.tensor = document.tensor.map(|tensor| untyped(&tensor));
    document.embedding = document.embedding.map(|tensor| untyped(&tensor));
    let all = |list: Vec<Document>| list.into_iter().map(carried).collect();
    document.chunks = document.chunks.map(all);
    document.matches = document.matches.map(all);
    document
}

fn untyped(tensor: &Tensor) -> Tensor {
    match tensor.dtype() {
        Dtype::F32 => {
            // The shortest text of a single, read as a double. If two texts are equally short and
            // near, serde_json and std write different ones.
            let text = |n: &f32| serde_json::to_string(n).unwrap();
            let numbers = tensor.to_vec::<f32>();
            let doubles: Vec<f64> = numbers.iter().map(|n| text(n).parse().unwrap()).collect();
            Tensor::new(tensor.shape(), &doubles).unwrap()
        }
        Dtype::F64 => tensor.clone(),
        _ => Tensor::new(tensor.shape(), &tensor.to_vec::<i64>()).unwrap(),
    }
}

fn round_trip<T>(docarray: DocArray, documents: &[T]) -> Result<Vec<T>, String>
where
    T: serde::Serialize + serde::de::DeserializeOwned,
{
    let mut json = b"[".to_vec();
    for (n, document) in documents.iter().enumerate() {
        if n > 0 {
            json.push(b',');
        }
        Encoder::new(docarray).document(document, &mut json).map_err(|error| error.to_string())?;
    }
    json.push(b']');
    decode_documents(docarray, &json)
}

proptest! {
    #[test]
    fn a_v1_document_comes_back_as_json_can_carry_it(mut documents in vec(document(), 0..4)) {
        documents.iter_mut().for_each(|document| each_tag(document, &|tag| {
            if let Value::Integer(n) = tag {
                *n %= 1 << 53;
            }
        }));
        let back = round_trip(DocArray::V1, &documents);
        documents.iter_mut().for_each(|document| each_tag(document, &|tag| {
            if let Value::Number(n) = *tag
                && n.fract() == 0.0
                && n.abs() <= 9_007_199_254_740_992.0
                && n.to_bits() != (-0.0_f64).to_bits()
            {
                *tag = Value::Integer(n as i64);
            }
        }));
        let expected: Vec<Document> = documents.into_iter().map(carried).collect();
        prop_assert_eq!(back, Ok(expected));
    }

    #[test]
    fn a_v2_document_comes_back_with_its_text_as_bytes(
        mut documents in vec(document(), 0..4),
        bytes in text(),
    ) {
        fn with_text(document: &mut Document, text: &str) {
            if document.blob.is_some() {
                document.blob = Some(Blob::from(text.as_bytes().to_vec()));
            }
            let children = document.chunks.iter_mut().chain(document.matches.iter_mut());
            children.flatten().for_each(|child| with_text(child, text));
        }
        documents.iter_mut().for_each(|document| with_text(document, &bytes));
        let back = round_trip(DocArray::V2, &documents);
        let expected: Vec<Document> = documents.into_iter().map(carried).collect();
        prop_assert_eq!(back, Ok(expected));
    }

    #[test]
    fn any_map_of_values_is_a_v2_document(map in btree_map("[a-z]{1,3}", value(), 0..6)) {
        let document = Value::Map(map);
        let back = round_trip(DocArray::V2, std::slice::from_ref(&document)).unwrap();
        let Value::Map(mut fields) = back[0].clone() else { panic!("a map") };
        // The field that keeps a gateway from misreading a document of two fields.
        let added = fields.remove("_");
        let Value::Map(sent) = &document else { panic!("a map") };
        prop_assert_eq!(added, (sent.len() == 2).then_some(Value::Null));
        prop_assert_eq!(Value::Map(fields), document);
    }

    #[test]
    fn json_is_written_as_serde_json_writes_it(value in value()) {
        // In a field of its own, so that the rules for a document's own fields do not apply.
        #[derive(serde::Serialize)]
        struct Free<'a> {
            any: &'a Value,
        }
        let mut json = Vec::new();
        Encoder::new(DocArray::V2).document(&Free { any: &value }, &mut json).unwrap();
        prop_assert_eq!(json, serde_json::to_vec(&Free { any: &value }).unwrap());
    }

    #[test]
    fn numbers_survive_exactly(singles in vec(finite_single(), 0..20), doubles in vec(finite(), 0..20)) {
        #[derive(Debug, PartialEq, serde::Serialize, serde::Deserialize)]
        struct Item {
            singles: Vec<f32>,
            doubles: Vec<f64>,
        }
        let sent = [Item { singles, doubles }];
        let back = round_trip(DocArray::V2, &sent).unwrap();
        let bits = |items: &[Item]| -> (Vec<u32>, Vec<u64>) {
            let singles = items[0].singles.iter().map(|n| n.to_bits()).collect();
            (singles, items[0].doubles.iter().map(|n| n.to_bits()).collect())
        };
        prop_assert_eq!(bits(&back), bits(&sent));
    }

    #[test]
    fn any_bytes_are_decoded_or_refused_in_words(bytes in vec(any::<u8>(), 0..200)) {
        for docarray in [DocArray::V1, DocArray::V2] {
            let _ = decode_documents::<Document>(docarray, &bytes);
            let _ = decode_documents::<Value>(docarray, &bytes);
        }
    }

    #[test]
    fn a_document_that_is_refused_leaves_nothing_behind(map in btree_map("[a-z]{1,3}", value(), 1..4)) {
        let mut out = b"before".to_vec();
        let map: BTreeMap<String, Value> = map;
        if Encoder::new(DocArray::V1).document(&map, &mut out).is_err() {
            prop_assert_eq!(out, b"before");
        }
    }
}
