//! This codec reads whatever prost reads, with the same result: split messages, repeated keys,
//! fields in any order, random bytes.

use std::collections::{BTreeMap, HashMap};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clientlet_proto::prost::Message as _;
use clientlet_proto::{v1, v2};
use proptest::collection::vec;
use proptest::prelude::*;

use super::any::{document, message};
use super::encoded;
use crate::document::lenient::whole;
use crate::document::number::{Scalar, WireDtype};
use crate::document::proto::decode_documents;
use crate::document::{Blob, Document, MOST_DIMENSIONS, NamedScore, Tensor, Value};
use crate::message::DocArray;

/// Returns a dense array as this codec should read it.
fn tensor(buffer: &Bytes, shape: &[u32], dtype: &str) -> Result<Tensor, ()> {
    let wire: WireDtype = dtype.parse().map_err(drop)?;
    let mut buffer = buffer.to_vec();
    if wire.is_swapped {
        buffer.chunks_exact_mut(wire.dtype.size()).for_each(<[u8]>::reverse);
    }
    let shape: Vec<usize> = shape.iter().map(|n| *n as usize).collect();
    if shape.len() > MOST_DIMENSIONS {
        return Err(());
    }
    Tensor::from_buffer(wire.dtype, &shape, buffer).map_err(drop)
}

fn lists(tensor: &Tensor) -> Result<Value, ()> {
    let empty: usize = tensor.shape().iter().take_while(|n| **n > 0).product();
    if tensor.is_empty() && empty > 4096 {
        return Err(());
    }
    let elements = tensor.buffer().chunks_exact(tensor.dtype().size());
    let mut numbers = elements.map(|bytes| match Scalar::read(tensor.dtype(), bytes) {
        Scalar::Bool(b) => Value::Bool(b),
        Scalar::Signed(n) => Value::Integer(n),
        Scalar::Unsigned(n) => i64::try_from(n).map_or(Value::Number(n as f64), Value::Integer),
        Scalar::Single(n) => Value::Number(n.into()),
        Scalar::Double(n) => Value::Number(n),
    });
    fn rows_of(shape: &[usize], numbers: &mut dyn Iterator<Item = Value>) -> Value {
        match shape.split_first() {
            Some((rows, inner)) => {
                Value::List((0..*rows).map(|_| rows_of(inner, numbers)).collect())
            }
            None => numbers.next().unwrap(),
        }
    }
    Ok(rows_of(tensor.shape(), &mut numbers))
}

fn map_of<'a, V: 'a, T>(
    map: impl IntoIterator<Item = (&'a String, &'a V)>,
    read: impl Fn(&V) -> Result<T, ()>,
) -> Result<BTreeMap<String, T>, ()> {
    map.into_iter().map(|(name, value)| Ok((name.clone(), read(value)?))).collect()
}

fn node(node: &v2::docarray::NodeProto) -> Result<Value, ()> {
    use v2::docarray::node_proto::Content;
    let list = |list: &[v2::docarray::NodeProto]| {
        list.iter().map(self::node).collect::<Result<_, _>>().map(Value::List)
    };
    Ok(match &node.content {
        None => Value::Null,
        Some(Content::Text(text)) => Value::String(text.clone()),
        Some(Content::Integer(n)) => Value::Integer((*n).into()),
        Some(Content::Float(n)) => Value::Number(*n),
        Some(Content::Boolean(b)) => Value::Bool(*b),
        Some(Content::Blob(bytes)) => Value::String(STANDARD.encode(bytes)),
        Some(Content::Ndarray(array)) => {
            let dense = array.dense.clone().unwrap_or_default();
            lists(&tensor(&dense.buffer, &dense.shape, &dense.dtype)?)?
        }
        Some(Content::Doc(document)) => v2_document(document)?,
        Some(Content::DocArray(array)) => {
            Value::List(array.docs.iter().map(v2_document).collect::<Result<_, _>>()?)
        }
        Some(Content::List(any) | Content::Set(any) | Content::Tuple(any)) => list(&any.data)?,
        Some(Content::Dict(dict)) => Value::Map(map_of(&dict.data, self::node)?),
    })
}

fn v2_document(document: &v2::docarray::DocProto) -> Result<Value, ()> {
    map_of(&document.data, node).map(Value::Map)
}

fn struct_value(value: &clientlet_proto::prost_types::Value) -> Result<Value, ()> {
    use clientlet_proto::prost_types::value::Kind;
    Ok(match &value.kind {
        None | Some(Kind::NullValue(_)) => Value::Null,
        Some(Kind::NumberValue(n)) => whole(*n).map_or(Value::Number(*n), Value::Integer),
        Some(Kind::StringValue(text)) => Value::String(text.clone()),
        Some(Kind::BoolValue(b)) => Value::Bool(*b),
        Some(Kind::StructValue(fields)) => Value::Map(map_of(&fields.fields, struct_value)?),
        Some(Kind::ListValue(list)) => {
            Value::List(list.values.iter().map(struct_value).collect::<Result<_, _>>()?)
        }
    })
}

fn v1_array(array: &v1::docarray::NdArrayProto) -> Result<Tensor, ()> {
    use v1::docarray::nd_array_proto::Content;
    match &array.content {
        Some(Content::Dense(dense)) => tensor(&dense.buffer, &dense.shape, &dense.dtype),
        Some(Content::Sparse(_)) | None => Err(()),
    }
}

fn given<T: Default + PartialEq>(value: T) -> Option<T> {
    (value != T::default()).then_some(value)
}

fn scores(
    map: &HashMap<String, v1::docarray::NamedScoreProto>,
) -> Result<Option<BTreeMap<String, NamedScore>>, ()> {
    let score = |score: &v1::docarray::NamedScoreProto| {
        Ok(NamedScore {
            value: given(score.value),
            op_name: given(score.op_name.clone()),
            description: given(score.description.clone()),
            ref_id: given(score.ref_id.clone()),
        })
    };
    map_of(map, score).map(given)
}

fn v1_document(proto: &v1::docarray::DocumentProto) -> Result<Document, ()> {
    use v1::docarray::document_proto::Content;
    let mut document = Document {
        id: given(proto.id.clone()),
        parent_id: given(proto.parent_id.clone()),
        granularity: given(proto.granularity),
        adjacency: given(proto.adjacency),
        mime_type: given(proto.mime_type.clone()),
        weight: given(proto.weight),
        uri: given(proto.uri.clone()),
        modality: given(proto.modality.clone()),
        offset: given(proto.offset),
        location: given(proto.location.clone()),
        embedding: proto.embedding.as_ref().map(v1_array).transpose()?,
        tags: match &proto.tags {
            Some(tags) => Some(map_of(&tags.fields, struct_value)?),
            None => None,
        },
        scores: scores(&proto.scores)?,
        evaluations: scores(&proto.evaluations)?,
        chunks: given(proto.chunks.iter().map(v1_document).collect::<Result<_, _>>()?),
        matches: given(proto.matches.iter().map(v1_document).collect::<Result<_, _>>()?),
        ..Document::default()
    };
    match &proto.content {
        Some(Content::Blob(bytes)) => document.blob = Some(Blob::from(bytes.clone())),
        Some(Content::Tensor(array)) => document.tensor = Some(v1_array(array)?),
        Some(Content::Text(text)) => document.text = Some(text.clone()),
        None => {}
    }
    Ok(document)
}

/// Removes fields that were sent with their default value, because prost cannot tell them from
/// absent fields.
fn without_defaults(document: Document) -> Document {
    fn all(list: Option<Vec<Document>>) -> Option<Vec<Document>> {
        given(list?.into_iter().map(without_defaults).collect())
    }
    fn scores(map: Option<BTreeMap<String, NamedScore>>) -> Option<BTreeMap<String, NamedScore>> {
        let score = |(name, score): (String, NamedScore)| {
            let value = score.value.and_then(given);
            let op_name = score.op_name.and_then(given);
            let description = score.description.and_then(given);
            (name, NamedScore { value, op_name, description, ref_id: score.ref_id.and_then(given) })
        };
        given(map?.into_iter().map(score).collect())
    }
    Document {
        id: document.id.and_then(given),
        parent_id: document.parent_id.and_then(given),
        granularity: document.granularity.and_then(given),
        adjacency: document.adjacency.and_then(given),
        mime_type: document.mime_type.and_then(given),
        weight: document.weight.and_then(given),
        uri: document.uri.and_then(given),
        modality: document.modality.and_then(given),
        offset: document.offset.and_then(given),
        location: document.location.and_then(given),
        scores: scores(document.scores),
        evaluations: scores(document.evaluations),
        chunks: all(document.chunks),
        matches: all(document.matches),
        ..document
    }
}

/// Returns debug text that shows every field and tells NaN from other numbers. Tensors are compared
/// by content.
fn shown(document: &Document) -> String {
    fn tensors(document: &Document, out: &mut Vec<Tensor>) {
        out.extend(document.tensor.iter().chain(&document.embedding).cloned());
        let children = document.chunks.iter().chain(&document.matches).flatten();
        children.for_each(|child| tensors(child, out));
    }
    let mut all = Vec::new();
    tensors(document, &mut all);
    let buffers: Vec<&Bytes> = all.iter().map(Tensor::buffer).collect();
    format!("{document:?} {buffers:?}")
}

/// Reads `bytes` with both codecs. This codec may accept bytes that prost refuses, if the fault is
/// in a part that does not count, because it is set again later.
fn agree(bytes: &[u8]) -> Result<(), TestCaseError> {
    let frame = Bytes::copy_from_slice(bytes);
    if let Ok(list) = v2::docarray::DocListProto::decode(bytes) {
        let expected: Result<Vec<Value>, ()> = list.docs.iter().map(v2_document).collect();
        let ours = decode_documents::<Value>(DocArray::V2, &frame);
        let same =
            format!("{:?}", ours.as_ref().map_err(drop)) == format!("{:?}", expected.as_ref());
        prop_assert!(same, "v2 {ours:?} {expected:?} {list:?}");
    }
    if let Ok(list) = v1::docarray::DocumentArrayProto::decode(bytes) {
        let expected: Result<Vec<Document>, ()> = list.docs.iter().map(v1_document).collect();
        let ours = decode_documents::<Document>(DocArray::V1, &frame);
        let shown_all = |list: Vec<Document>| list.iter().map(shown).collect::<Vec<_>>();
        let plain = ours.clone().map(|list| list.into_iter().map(without_defaults).collect());
        let same = plain.map(shown_all).map_err(drop) == expected.clone().map(shown_all);
        prop_assert!(same, "v1 {ours:?} {expected:?} {list:?}");
    }
    Ok(())
}

/// Whether prost reads these bytes as documents.
fn prost_reads(docarray: DocArray, bytes: &[u8]) -> bool {
    match docarray {
        DocArray::V1 => v1::docarray::DocumentArrayProto::decode(bytes).is_ok(),
        DocArray::V2 => v2::docarray::DocListProto::decode(bytes).is_ok(),
    }
}

/// Cuts, doubles, replaces and moves bytes.
fn mutated(mut bytes: Vec<u8>, mutations: &[(u8, usize, u8)]) -> Vec<u8> {
    for &(kind, at, byte) in mutations {
        if bytes.is_empty() {
            break;
        }
        let at = at % bytes.len();
        match kind % 4 {
            0 => bytes[at] = byte,
            1 => drop(bytes.remove(at)),
            2 => bytes.insert(at, byte),
            _ => bytes[at] ^= 1 << (byte % 8),
        }
    }
    bytes
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1000))]

    #[test]
    fn random_messages_are_read_as_prost_reads_them(bytes in message()) {
        // As a list of documents, and as a value within a document.
        agree(&bytes)?;
        let (mut node, mut entry, mut document) = (Vec::new(), Vec::new(), Vec::new());
        super::super::put_bytes(2, &bytes, &mut node);
        super::super::put_bytes(1, &node, &mut entry);
        super::super::put_bytes(1, &entry, &mut document);
        agree(&document)?;
        for number in [3, 14, 16, 17, 18, 19] {
            let (mut field, mut document) = (Vec::new(), Vec::new());
            super::super::put_bytes(number, &bytes, &mut field);
            super::super::put_bytes(1, &field, &mut document);
            agree(&document)?;
        }
    }

    #[test]
    fn mutated_documents_are_read_as_prost_reads_them(
        documents in vec(document(), 1..3),
        mutations in vec(any::<(u8, usize, u8)>(), 0..4),
        is_v1: bool,
    ) {
        let docarray = if is_v1 { DocArray::V1 } else { DocArray::V2 };
        agree(&mutated(encoded(docarray, &documents), &mutations))?;
    }

    #[test]
    fn a_document_that_is_cut_short_is_refused_as_prost_refuses_it(
        documents in vec(document(), 1..3),
        cut: prop::sample::Index,
        is_v1: bool,
    ) {
        let docarray = if is_v1 { DocArray::V1 } else { DocArray::V2 };
        let bytes = encoded(docarray, &documents);
        let bytes = &bytes[..cut.index(bytes.len() + 1)];
        let frame = Bytes::copy_from_slice(bytes);
        let ours = decode_documents::<Value>(docarray, &frame).is_ok();
        prop_assert_eq!(ours, prost_reads(docarray, bytes));
    }
}
