//! Generates documents of any content, within what protobuf carries for both generations.

use std::collections::BTreeMap;

use proptest::collection::{btree_map, vec};
use proptest::option;
use proptest::prelude::*;

use crate::document::{Blob, Document, Dtype, NamedScore, Tensor, Value};

pub(super) fn text() -> impl Strategy<Value = String> {
    // Any text, with control characters and quotes; sometimes a long one.
    prop_oneof![
        9 => vec(any::<char>(), 0..12).prop_map(String::from_iter),
        1 => (100..400_usize).prop_map(|length| "x".repeat(length)),
    ]
}

pub(super) fn value() -> impl Strategy<Value = Value> {
    let leaf = prop_oneof![
        Just(Value::Null),
        any::<bool>().prop_map(Value::Bool),
        any::<i32>().prop_map(|n| Value::Integer(n.into())),
        any::<f64>().prop_map(Value::Number),
        text().prop_map(Value::String),
    ];
    leaf.prop_recursive(3, 24, 4, |inner| {
        prop_oneof![
            vec(inner.clone(), 0..4).prop_map(Value::List),
            btree_map(text(), inner, 0..4).prop_map(Value::Map),
        ]
    })
}

const DTYPES: [Dtype; 12] = [
    Dtype::Bool,
    Dtype::I8,
    Dtype::I16,
    Dtype::I32,
    Dtype::I64,
    Dtype::U8,
    Dtype::U16,
    Dtype::U32,
    Dtype::U64,
    Dtype::F16,
    Dtype::F32,
    Dtype::F64,
];

/// A tensor of any element type and any bits. Dimensions may be empty.
pub(super) fn tensor() -> impl Strategy<Value = Tensor> {
    (prop::sample::select(&DTYPES[..]), vec(0..5_usize, 0..4)).prop_flat_map(|(dtype, shape)| {
        let size = shape.iter().product::<usize>() * dtype.size();
        vec(any::<u8>(), size)
            .prop_map(move |bytes| Tensor::from_buffer(dtype, &shape, bytes).unwrap())
    })
}

pub(super) fn blob() -> impl Strategy<Value = Blob> {
    vec(any::<u8>(), 0..200).prop_map(Blob::from)
}

fn single() -> impl Strategy<Value = f32> {
    any::<f32>().prop_filter("equal to itself", |n| !n.is_nan())
}

fn scores() -> impl Strategy<Value = BTreeMap<String, NamedScore>> {
    let score = (option::of(single()), option::of(text()))
        .prop_map(|(value, op_name)| NamedScore { value, op_name, ..NamedScore::default() });
    btree_map(text(), score, 1..3)
}

/// A document with at most one of text, blob and tensor.
fn flat() -> impl Strategy<Value = Document> {
    let content = prop_oneof![
        Just(Document::default()),
        text().prop_map(Document::text),
        blob().prop_map(|blob| Document { blob: Some(blob), ..Document::default() }),
        tensor().prop_map(|tensor| Document { tensor: Some(tensor), ..Document::default() }),
    ];
    let fields = (
        option::of(text()),
        option::of(0..i32::MAX as u32),
        option::of(single()),
        option::of(btree_map(text(), value(), 0..4)),
        option::of(vec(single(), 0..40)),
        option::of(tensor()),
        option::of(scores()),
    );
    (content, fields).prop_map(|(content, fields)| {
        let (id, granularity, weight, tags, location, embedding, scores) = fields;
        Document { id, granularity, weight, tags, location, embedding, scores, ..content }
    })
}

pub(super) fn document() -> impl Strategy<Value = Document> {
    flat().prop_recursive(3, 12, 3, |inner| {
        (flat(), option::of(vec(inner.clone(), 1..3)), option::of(vec(inner, 1..3)))
            .prop_map(|(flat, chunks, matches)| Document { chunks, matches, ..flat })
    })
}

/// A random message: fields of small numbers, nested and repeated. By chance, much of it is a
/// document with lists and maps in several parts.
pub(super) fn message() -> impl Strategy<Value = Vec<u8>> {
    let leaf = prop_oneof![
        "[a-c]{0,2}".prop_map(String::into_bytes),
        Just(b"<f4".to_vec()),
        vec(any::<u8>(), 0..9),
    ];
    leaf.prop_recursive(8, 64, 5, |inner| {
        let number = prop_oneof![4 => 1..=2_u32, 1 => 1..=20_u32];
        let field = (number, 0..10_u8, any::<u64>(), inner).prop_map(|(number, kind, n, bytes)| {
            let mut field = Vec::new();
            match kind {
                0 => {
                    super::super::put_varint(u64::from(number) << 3, &mut field);
                    super::super::put_varint(n >> (n % 64), &mut field);
                }
                1 => {
                    super::super::put_varint(u64::from(number) << 3 | 1, &mut field);
                    field.extend_from_slice(&n.to_le_bytes());
                }
                2 => {
                    super::super::put_varint(u64::from(number) << 3 | 5, &mut field);
                    field.extend_from_slice(&(n as u32).to_le_bytes());
                }
                _ => super::super::put_bytes(number, &bytes, &mut field),
            }
            field
        });
        vec(field, 0..5).prop_map(|fields| fields.concat())
    })
}
