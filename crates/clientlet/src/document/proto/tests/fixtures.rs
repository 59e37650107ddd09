//! Reads every recorded document field by field and writes it again.

use std::collections::BTreeMap;
use std::path::Path;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use clientlet_proto::prost::Message as _;
use clientlet_proto::{v1, v2};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value as Json, json};

use super::encoded;
use crate::document::proto::{Message, decode_documents, put_bytes};
use crate::document::{Blob, Document, Dtype, Tensor, Value};
use crate::envelope::proto::read_proto_answer;
use crate::message::DocArray;

/// The document class of the recorded v2 executor.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Rich {
    id: Option<String>,
    text: Option<String>,
    url: Option<String>,
    blob: Option<Blob>,
    tensor: Option<Tensor>,
    embedding: Option<Tensor>,
    number: Option<i32>,
    ratio: Option<f64>,
    flag: Option<bool>,
    words: Vec<String>,
    tags: BTreeMap<String, Value>,
    part: Option<Part>,
    parts: Vec<Part>,
    chunks: Option<Vec<Part>>,
}

#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Part {
    id: Option<String>,
    text: Option<String>,
    tensor: Option<Tensor>,
}

/// Returns the documents of every recorded request and answer of an environment, as bytes and in
/// protobuf's own JSON view.
fn recorded(environment: &str, docarray: DocArray) -> Vec<(String, Bytes, Json)> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder.join(environment)).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let is_message = path.extension().is_some_and(|extension| extension == "bin");
        if !is_message || !(name.contains("request_") || name.contains("response_")) {
            continue;
        }
        let frame = Bytes::from(std::fs::read(&path).unwrap());
        let view = std::fs::read(path.with_extension("decoded.json")).unwrap();
        let mut view: Json = serde_json::from_slice(&view).unwrap();
        if name.starts_with("stream_") {
            // A stream has a single document, in a field of its own.
            let data = view["document"].take();
            let mut list = Vec::new();
            let mut message = Message::new(&frame);
            while let Some((number, wire)) = message.next().unwrap() {
                if number == 4 {
                    put_bytes(1, wire.bytes().unwrap(), &mut list);
                }
            }
            let documents = if data.is_null() { json!([]) } else { json!([data]) };
            found.push((name, list.into(), documents));
            continue;
        }
        let documents = read_proto_answer(docarray, &frame).unwrap().documents.clone();
        let view = view.pointer_mut("/data/docs/docs").map_or(json!([]), Json::take);
        found.push((name, documents.unwrap_or_default(), view));
    }
    assert!(found.len() >= 18, "{environment}: {}", found.len());
    found
}

/// Shows a tensor as protobuf's JSON view does.
fn array_view(tensor: &Tensor) -> Json {
    let mut dense = Map::new();
    dense.insert("dtype".into(), tensor.dtype().name().into());
    if !tensor.buffer().is_empty() {
        dense.insert("buffer".into(), STANDARD.encode(tensor.buffer()).into());
    }
    if !tensor.shape().is_empty() {
        dense.insert("shape".into(), tensor.shape().into());
    }
    Json::Object(dense)
}

fn doubles(value: &mut Json) {
    match value {
        Json::Number(n) => *value = json!(n.as_f64()),
        Json::Array(list) => list.iter_mut().for_each(doubles),
        Json::Object(map) => map.values_mut().for_each(doubles),
        _ => {}
    }
}

/// Shows a v1 document as protobuf's JSON view does: defaults are left out.
fn v1_view(document: &Document) -> Json {
    // serde_json writes a blob as base64, as the view does. Tensors and children are replaced
    // below.
    let Json::Object(mut view) = serde_json::to_value(document).unwrap() else { panic!() };
    // The view has doubles in tags, but whole doubles were read as integers.
    view.get_mut("tags").map(doubles);
    for (name, tensor) in [("tensor", &document.tensor), ("embedding", &document.embedding)] {
        if let Some(tensor) = tensor {
            let array = json!({"dense": array_view(tensor), "cls_name": "numpy"});
            view.insert(name.into(), array);
        }
    }
    for (name, children) in [("chunks", &document.chunks), ("matches", &document.matches)] {
        if let Some(children) = children {
            view.insert(name.into(), children.iter().map(v1_view).collect());
        }
    }
    Json::Object(view)
}

#[test]
fn every_v1_document_is_read_field_by_field() {
    for environment in ["seed-era", "current-v1"] {
        for (name, bytes, view) in recorded(environment, DocArray::V1) {
            let documents: Vec<Document> = decode_documents(DocArray::V1, &bytes).unwrap();
            let views: Json = documents.iter().map(v1_view).collect();
            assert_eq!(views, view, "{environment}/{name}");
        }
    }
}

#[test]
fn every_v1_document_is_written_with_its_recorded_content() {
    use v1::docarray::DocumentArrayProto;
    for environment in ["seed-era", "current-v1"] {
        for (name, bytes, _) in recorded(environment, DocArray::V1) {
            let documents: Vec<Document> = decode_documents(DocArray::V1, &bytes).unwrap();
            let written = encoded(DocArray::V1, &documents);
            let again = DocumentArrayProto::decode(written.as_slice()).unwrap();
            assert_eq!(again, DocumentArrayProto::decode(bytes).unwrap(), "{environment}/{name}");
        }
    }
}

/// Shows a field of a v2 document as protobuf's JSON view does.
fn plain(value: &Json) -> Json {
    match value {
        Json::Null => json!({}),
        Json::Bool(b) => json!({"boolean": b}),
        Json::Number(n) if n.is_f64() => json!({"float": n}),
        Json::Number(n) => json!({"integer": n}),
        Json::String(text) => json!({"text": text}),
        Json::Array(list) if list.is_empty() => json!({"list": {}}),
        Json::Array(list) => {
            json!({"list": {"data": list.iter().map(plain).collect::<Json>()}})
        }
        Json::Object(map) if map.is_empty() => json!({"dict": {}}),
        Json::Object(map) => {
            let data: Map<String, Json> = map.iter().map(|(k, v)| (k.clone(), plain(v))).collect();
            json!({"dict": {"data": data}})
        }
    }
}

fn tensor_node(tensor: Option<&Tensor>) -> Json {
    tensor.map_or(
        json!({}),
        |tensor| json!({"ndarray": {"dense": array_view(tensor)}, "type": "ndarray"}),
    )
}

fn part_view(part: &Part) -> Json {
    json!({"data": {
        "id": {"text": part.id, "type": "id"},
        "text": plain(&json!(part.text)),
        "tensor": tensor_node(part.tensor.as_ref()),
    }})
}

fn parts_node(parts: &[Part]) -> Json {
    if parts.is_empty() {
        return json!({"doc_array": {}});
    }
    json!({"doc_array": {"docs": parts.iter().map(part_view).collect::<Json>()}})
}

fn v2_view(document: &Rich) -> Json {
    let url = document.url.as_ref();
    let blob = document.blob.as_ref();
    let part = document.part.as_ref();
    json!({"data": {
        "id": {"text": document.id, "type": "id"},
        "text": plain(&json!(document.text)),
        "url": url.map_or(json!({}), |url| json!({"text": url, "type": "any_url"})),
        "blob": blob.map_or(json!({}), |blob| json!({"blob": STANDARD.encode(blob)})),
        "tensor": tensor_node(document.tensor.as_ref()),
        "embedding": tensor_node(document.embedding.as_ref()),
        "number": plain(&json!(document.number)),
        "ratio": plain(&json!(document.ratio)),
        "flag": plain(&json!(document.flag)),
        "words": plain(&json!(document.words)),
        "tags": plain(&serde_json::to_value(&document.tags).unwrap()),
        "part": part.map_or(json!({}), |part| json!({"doc": part_view(part)})),
        "parts": parts_node(&document.parts),
        "chunks": document.chunks.as_deref().map_or(json!({}), parts_node),
    }})
}

/// Whether the documents have all fields of the class, as an executor's answers do.
fn is_whole(view: &Json) -> bool {
    view.as_array().unwrap().iter().all(|document| document["data"].get("parts").is_some())
}

#[test]
fn every_v2_document_is_read_field_by_field() {
    let mut whole = 0;
    for (name, bytes, view) in recorded("current", DocArray::V2) {
        if is_whole(&view) {
            let documents: Vec<Rich> = decode_documents(DocArray::V2, &bytes).unwrap();
            let views: Json = documents.iter().map(v2_view).collect();
            assert_eq!(views, view, "{name}");
            whole += documents.len();
        } else {
            let documents: Vec<Part> = decode_documents(DocArray::V2, &bytes).unwrap();
            for (document, view) in documents.iter().zip(view.as_array().unwrap()) {
                assert_eq!(json!(document.id), view["data"]["id"]["text"], "{name}");
                assert_eq!(json!(document.text), view["data"]["text"]["text"], "{name}");
            }
        }
    }
    assert!(whole > 12, "{whole}");
}

/// Removes differences that an executor ignores: a url without its type, a dictionary in place of a
/// document whose id has no type, and a list of such dictionaries in place of a list of documents.
fn alike(mut list: v2::docarray::DocListProto) -> v2::docarray::DocListProto {
    for node in list.docs.iter_mut().flat_map(|document| document.data.values_mut()) {
        node.r#type = node.r#type.take().filter(|kind| kind != "any_url");
        as_dictionaries(node);
    }
    list
}

fn as_dictionaries(node: &mut v2::docarray::NodeProto) {
    use v2::docarray::node_proto::Content;
    use v2::docarray::{DictOfAnyProto, DocProto, ListOfAnyProto, NodeProto};
    let dictionary = |DocProto { mut data }: DocProto| {
        for node in data.values_mut() {
            node.r#type = node.r#type.take().filter(|kind| kind != "id");
            as_dictionaries(node);
        }
        Content::Dict(DictOfAnyProto { data })
    };
    node.content = node.content.take().map(|content| match content {
        Content::Doc(document) => dictionary(document),
        Content::DocArray(list) => {
            let documents = list.docs.into_iter();
            let data = documents
                .map(|document| NodeProto { content: Some(dictionary(document)), r#type: None });
            Content::List(ListOfAnyProto { data: data.collect() })
        }
        other => other,
    });
}

#[test]
fn every_v2_document_is_written_with_its_recorded_content() {
    use v2::docarray::DocListProto;
    for (name, bytes, view) in recorded("current", DocArray::V2) {
        if !is_whole(&view) {
            continue;
        }
        let documents: Vec<Rich> = decode_documents(DocArray::V2, &bytes).unwrap();
        let written = encoded(DocArray::V2, &documents);
        let again = DocListProto::decode(written.as_slice()).unwrap();
        assert_eq!(alike(again), alike(DocListProto::decode(bytes).unwrap()), "{name}");
    }
}

#[test]
fn tensors_and_blobs_of_a_recorded_answer_lie_in_its_frame() {
    let files = [("seed-era", DocArray::V1), ("current", DocArray::V2)];
    for (environment, docarray) in files {
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
        let file = folder.join(environment).join("response_rich.bin");
        let frame = Bytes::from(std::fs::read(file).unwrap());
        let documents = read_proto_answer(docarray, &frame).unwrap().documents.clone().unwrap();
        let documents: Vec<Document> = decode_documents(docarray, &documents).unwrap();
        let lies_within = |bytes: &Bytes| frame.as_ptr_range().contains(&bytes.as_ptr());
        let blob = documents[1].blob.as_ref().unwrap();
        assert!(blob.as_ref().iter().copied().eq(0..=255) && lies_within(blob.as_bytes()));
        let tensor = documents[2].tensor.as_ref().unwrap();
        assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::F32, &[2, 3][..]));
        assert_eq!(tensor.to_vec::<i32>(), [0, 1, 2, 3, 4, 5]);
        assert!(lies_within(tensor.buffer()));
        assert_eq!(documents[3].tensor.as_ref().unwrap().to_vec::<i8>(), [-1, 0, 127]);
    }
}
