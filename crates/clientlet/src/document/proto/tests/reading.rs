//! The rules for reading documents.

use std::collections::{BTreeMap, BTreeSet};

use bytes::Bytes;
use clientlet_proto::prost::Message as _;
use clientlet_proto::{v1, v2};
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;
use serde_json::{Value as Json, json};

use super::encoded;
use crate::document::proto::{decode_documents, decode_struct, put_bytes};
use crate::document::{Blob, Document, Dtype, Tensor, Value};
use crate::message::DocArray;

/// Reads a v2 document of these nodes.
fn v2<T: DeserializeOwned>(nodes: &[(&str, v2::docarray::NodeProto)]) -> Result<T, String> {
    let nodes = nodes.iter().map(|(name, node)| ((*name).to_owned(), node.clone()));
    let document = v2::docarray::DocProto { data: nodes.collect() };
    let list = v2::docarray::DocListProto { docs: vec![document] };
    decode_documents(DocArray::V2, &list.encode_to_vec().into()).map(|mut list| list.remove(0))
}

fn node(content: v2::docarray::node_proto::Content) -> v2::docarray::NodeProto {
    v2::docarray::NodeProto { content: Some(content), r#type: None }
}

fn array(dtype: &str, shape: &[u32], buffer: &[u8]) -> v2::docarray::NodeProto {
    let (dtype, shape, buffer) = (dtype.to_owned(), shape.to_vec(), buffer.to_vec().into());
    let dense = Some(v2::docarray::DenseNdArrayProto { buffer, shape, dtype });
    node(v2::docarray::node_proto::Content::Ndarray(v2::docarray::NdArrayProto {
        dense,
        parameters: None,
    }))
}

#[derive(Debug, PartialEq, Deserialize)]
struct Of<T> {
    x: T,
}

#[test]
fn an_array_of_any_type_and_byte_order_is_read_as_numbers() {
    let cases: [(&str, &[u8]); 9] = [
        ("<f4", &[0, 0, 0x80, 0x3f, 0, 0, 0, 0xc0]),
        (">f4", &[0x3f, 0x80, 0, 0, 0xc0, 0, 0, 0]),
        ("<f2", &[0, 0x3c, 0, 0xc0]),
        (">f2", &[0x3c, 0, 0xc0, 0]),
        ("<i2", &[1, 0, 0xfe, 0xff]),
        (">i2", &[0, 1, 0xff, 0xfe]),
        ("|i1", &[1, 0xfe]),
        (">i8", &[0, 0, 0, 0, 0, 0, 0, 1, 255, 255, 255, 255, 255, 255, 255, 254]),
        (">f8", &[0x3f, 0xf0, 0, 0, 0, 0, 0, 0, 0xc0, 0, 0, 0, 0, 0, 0, 0]),
    ];
    for (dtype, buffer) in cases {
        let nodes = [("x", array(dtype, &[2], buffer))];
        assert_eq!(v2::<Of<Vec<f32>>>(&nodes).unwrap().x, [1.0, -2.0], "{dtype}");
        assert_eq!(v2::<Of<(f64, f64)>>(&nodes).unwrap().x, (1.0, -2.0), "{dtype}");
        let tensor = v2::<Of<Tensor>>(&nodes).unwrap().x;
        assert_eq!(tensor.to_vec::<f32>(), [1.0, -2.0], "{dtype}");
        assert_eq!(tensor.shape(), [2]);
    }
    let truth = [("x", array("|b1", &[2], &[1, 0]))];
    assert_eq!(v2::<Of<Vec<f32>>>(&truth).unwrap().x, [1.0, 0.0]);
    assert_eq!(v2::<Of<Vec<bool>>>(&truth).unwrap().x, [true, false]);
    assert_eq!(v2::<Of<Json>>(&truth).unwrap().x, json!([true, false]));
    let image = [("x", array("|u1", &[2, 2], &[1, 2, 3, 4]))];
    assert_eq!(v2::<Of<Vec<Vec<u16>>>>(&image).unwrap().x, [[1, 2], [3, 4]]);
    let scalar = [("x", array("<u2", &[], &[7, 0]))];
    assert_eq!(v2::<Of<u16>>(&scalar).unwrap().x, 7);
    let tensor = v2::<Of<Option<Tensor>>>(&scalar).unwrap().x.unwrap();
    assert_eq!((tensor.dtype(), tensor.shape()), (Dtype::U16, &[0_usize; 0][..]));
}

#[test]
fn impossible_arrays_are_refused_in_words() {
    let cases = [
        (array("<f4", &[2], &[0; 4]), "does not fit 4 bytes"),
        (array("<f4", &[u32::MAX, u32::MAX, u32::MAX], &[]), "does not fit 0 bytes"),
        (array("<c8", &[1], &[0; 8]), "element type \"<c8\""),
        (array("", &[], &[]), "element type \"\""),
        (array("|i1", &[1; 65], &[0]), "more than 64 dimensions"),
    ];
    for (node, expected) in cases {
        for message in [
            v2::<Of<Tensor>>(&[("x", node.clone())]).unwrap_err(),
            v2::<Of<Json>>(&[("x", node.clone())]).unwrap_err(),
        ] {
            assert!(message.starts_with("[0].x") && message.contains(expected), "{message}");
        }
    }
    // Four thousand million empty lists from a few bytes.
    let empty = [("x", array("<f4", &[u32::MAX, 0], &[]))];
    assert!(v2::<Of<Json>>(&empty).unwrap_err().contains("too many lists"));
    assert_eq!(v2::<Of<Tensor>>(&empty).unwrap().x.shape(), [u32::MAX as usize, 0]);
}

#[test]
fn the_number_of_lists_is_limited_by_the_number_of_bytes() {
    // Many lists of one element, and lists without elements: harmless once, but repeated here.
    let mut deep = vec![1; 60];
    deep[0] = 1000;
    let few = array("<f4", &[4096, 0], &[]);
    let refused = [
        vec![("x", array("|u1", &deep, &[7; 1000]))],
        vec![("x", array("<f4", &[30_000, 0], &[])); 1],
        ["a", "b", "c", "d", "e"].map(|name| (name, few.clone())).to_vec(),
    ];
    for fields in refused {
        let message = v2::<Json>(&fields).unwrap_err();
        assert!(message.contains("too many lists"), "{message}");
    }
    // Shapes of real data are read: images, rows of one element, a batch of batches.
    for shape in [&[40, 25, 1][..], &[1000, 1, 1], &[1, 1, 1000], &[10, 10, 10], &[1, 1, 1, 1000]] {
        let fields = [("x", array("|u1", shape, &[7; 1000]))];
        assert!(v2::<Of<Json>>(&fields).is_ok(), "{shape:?}");
    }
    assert!(v2::<Of<Json>>(&[("x", array("<f4", &[0], &[]))]).is_ok());
    assert!(v2::<Of<Json>>(&[("x", array("<f4", &[3, 0], &[]))]).is_ok());
}

#[test]
fn a_sparse_array_is_refused_by_name() {
    use v1::docarray::{DocumentArrayProto, DocumentProto, NdArrayProto, nd_array_proto::Content};
    let sparse =
        NdArrayProto { content: Some(Content::Sparse(Default::default())), ..Default::default() };
    let document = DocumentProto { embedding: Some(sparse), ..Default::default() };
    let bytes = Bytes::from(DocumentArrayProto { docs: vec![document] }.encode_to_vec());
    let message = decode_documents::<Document>(DocArray::V1, &bytes).unwrap_err();
    assert!(message.contains("embedding") && message.contains("sparse"), "{message}");
    // A type that ignores the field is not affected.
    assert!(
        decode_documents::<BTreeMap<String, serde::de::IgnoredAny>>(DocArray::V1, &bytes).is_ok()
    );
}

#[test]
fn sets_tuples_and_lists_are_lists() {
    use v2::docarray::{ListOfAnyProto, node_proto::Content};
    let text = |text: &str| node(Content::Text(text.into()));
    let any = || ListOfAnyProto { data: vec![text("a"), text("b")] };
    for content in [Content::List(any()), Content::Set(any()), Content::Tuple(any())] {
        let nodes = [("x", node(content))];
        assert_eq!(v2::<Of<Vec<String>>>(&nodes).unwrap().x, ["a", "b"]);
        assert_eq!(v2::<Of<(String, char)>>(&nodes).unwrap().x, ("a".into(), 'b'));
        assert_eq!(v2::<Of<BTreeSet<String>>>(&nodes).unwrap().x.len(), 2);
        assert_eq!(v2::<Of<Value>>(&nodes).unwrap().x, Value::List(vec!["a".into(), "b".into()]));
    }
    let numbers =
        ListOfAnyProto { data: vec![node(Content::Integer(1)), node(Content::Float(0.5))] };
    let tensor = v2::<Of<Tensor>>(&[("x", node(Content::List(numbers)))]).unwrap().x;
    assert_eq!((tensor.dtype(), tensor.to_vec::<f64>()), (Dtype::F64, vec![1.0, 0.5]));
}

#[test]
fn bytes_are_bytes_and_become_base64_for_a_type_that_takes_any_value() {
    let nodes = [("x", node(v2::docarray::node_proto::Content::Blob(b"hi".to_vec().into())))];
    assert_eq!(v2::<Of<Blob>>(&nodes).unwrap().x.as_ref(), b"hi");
    assert_eq!(v2::<Of<Vec<u8>>>(&nodes).unwrap().x, b"hi");
    assert_eq!(v2::<Of<Value>>(&nodes).unwrap().x, Value::from("aGk="));
    #[derive(Deserialize)]
    struct Outer {
        #[serde(flatten)]
        inner: Of<Blob>,
    }
    assert_eq!(v2::<Outer>(&nodes).unwrap().inner.x.as_ref(), b"hi");
}

#[test]
fn a_value_of_the_wrong_type_is_named_by_document_and_field() {
    let document = json!({"part": {"words": ["a", 1]}});
    let bytes = encoded(DocArray::V2, &[json!({"part": {"words": []}}), document]);
    #[derive(Debug, Deserialize)]
    struct Part {
        #[allow(dead_code)]
        words: Vec<String>,
    }
    #[derive(Debug, Deserialize)]
    struct Item {
        #[allow(dead_code)]
        part: Part,
    }
    let message = decode_documents::<Item>(DocArray::V2, &bytes.into()).unwrap_err();
    assert!(message.starts_with("[1].part.words[1]: invalid type: integer `1`"), "{message}");
    let message = decode_documents::<Item>(DocArray::V2, &Bytes::from_static(b"\x0a\x05"));
    assert_eq!(message.unwrap_err(), "the message ends in the middle of a field");
}

#[test]
fn absent_fields_of_a_v1_document_have_their_defaults() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Item {
        id: String,
        text: String,
        uri: Option<String>,
        granularity: u32,
        weight: f32,
        tags: BTreeMap<String, Value>,
        scores: BTreeMap<String, Value>,
        chunks: Vec<Item>,
        location: Vec<f32>,
        blob: Blob,
        embedding: Option<Tensor>,
    }
    let item: Vec<Item> = decode_documents(DocArray::V1, &Bytes::from_static(b"\x0a\x00")).unwrap();
    assert_eq!((&*item[0].text, item[0].uri.as_ref(), item[0].weight), ("", None, 0.0));
    assert_eq!((item[0].granularity, item[0].chunks.len(), item[0].tags.len()), (0, 0, 0));
    #[derive(Debug, Deserialize)]
    struct WithTensor {
        #[allow(dead_code)]
        tensor: Tensor,
    }
    let message = decode_documents::<WithTensor>(DocArray::V1, &Bytes::from_static(b"\x0a\x00"));
    assert_eq!(message.unwrap_err(), "[0]: missing field `tensor`");
}

#[test]
fn a_whole_number_in_parameters_is_read_as_an_integer_by_a_type_that_asks_for_one() {
    #[derive(Debug, PartialEq, Deserialize)]
    struct Parameters {
        count: u8,
        share: f64,
        map: BTreeMap<i64, Option<i32>>,
    }
    let mut bytes = Vec::new();
    let json = br#"{"count":3,"share":2,"map":{"-7":1,"8":null}}"#;
    crate::document::proto::Encoder::new(DocArray::V1).parameters(json, &mut bytes).unwrap();
    let bytes = Bytes::from(bytes);
    let expected =
        Parameters { count: 3, share: 2.0, map: BTreeMap::from([(-7, Some(1)), (8, None)]) };
    assert_eq!(decode_struct::<Parameters>(&bytes).unwrap(), expected);
    assert_eq!(decode_struct::<Json>(&bytes).unwrap()["count"], json!(3));
}

#[test]
fn the_last_of_several_entries_with_one_name_counts() {
    for count in [2, 20, 2000] {
        let mut document = Vec::new();
        for n in 0..count {
            let mut node = Vec::new();
            super::super::put_varint(2 << 3, &mut node);
            super::super::put_varint(n, &mut node);
            let mut entry = Vec::new();
            put_bytes(1, if n % 2 == 0 { b"x" } else { b"y" }, &mut entry);
            put_bytes(2, &node, &mut entry);
            put_bytes(1, &entry, &mut document);
        }
        let mut list = Vec::new();
        put_bytes(1, &document, &mut list);
        let back: Vec<BTreeMap<String, u64>> =
            decode_documents(DocArray::V2, &list.into()).unwrap();
        assert_eq!(back[0], BTreeMap::from([("x".into(), count - 2), ("y".into(), count - 1)]));
    }
}

#[test]
fn depth_is_bounded() {
    let mut bytes = Vec::new();
    for _ in 0..10_000 {
        let mut outer = Vec::new();
        put_bytes(14, &bytes, &mut outer);
        bytes = outer;
    }
    let mut list = Vec::new();
    put_bytes(1, &bytes, &mut list);
    let message = decode_documents::<Document>(DocArray::V1, &list.into()).unwrap_err();
    assert!(message.ends_with("messages are nested too deeply"), "{message}");
}

#[test]
fn messages_in_too_many_parts_are_refused_before_they_take_much_memory() {
    // Each level comes in two parts, so each level would be copied.
    let mut node = Vec::new();
    for _ in 0..30 {
        let (mut entry, mut dict, mut outer) = (Vec::new(), Vec::new(), Vec::new());
        put_bytes(1, b"x", &mut entry);
        put_bytes(2, &node, &mut entry);
        put_bytes(2, &[b'p'; 4], &mut dict);
        put_bytes(1, &entry, &mut dict);
        put_bytes(12, &dict, &mut outer);
        put_bytes(12, b"", &mut outer);
        node = outer;
        if node.len() < 100_000 {
            put_bytes(3, &vec![0; 100_000], &mut node.split_off(node.len()));
        }
    }
    let (mut entry, mut document, mut list) = (Vec::new(), Vec::new(), Vec::new());
    put_bytes(2, &node, &mut entry);
    put_bytes(1, &entry, &mut document);
    put_bytes(1, &document, &mut list);
    let message = decode_documents::<Value>(DocArray::V2, &list.into()).unwrap_err();
    assert!(message.contains("too many parts"), "{message}");
}

#[test]
fn a_document_is_read_as_json_text_where_the_type_is_raw() {
    use v2::docarray::node_proto::Content;
    let raw = |content: v2::docarray::NodeProto| {
        v2::<Of<Box<RawValue>>>(&[("x", content)]).unwrap().x.get().to_owned()
    };
    let nothing = v2::docarray::NodeProto { content: None, r#type: None };
    for (content, json) in [
        (nothing.clone(), "null"),
        (node(Content::Text("a\"\n\u{1F600}".into())), "\"a\\\"\\n\u{1F600}\""),
        (node(Content::Integer(-7)), "-7"),
        (node(Content::Float(1.0)), "1.0"),
        // JSON has no such number. serde_json reads it the same way.
        (node(Content::Float(f64::NAN)), "null"),
        (node(Content::Boolean(true)), "true"),
        (node(Content::Blob(Bytes::from_static(b"\xff\x00"))), "\"/wA=\""),
        (array("<f4", &[2, 1], &[0xcd, 0xcc, 0xcc, 0x3d, 0, 0, 0x80, 0x7f]), "[[0.1],[null]]"),
        (array("|b1", &[2], &[1, 0]), "[true,false]"),
        (array("|u1", &[0], &[]), "[]"),
        (
            node(Content::List(v2::docarray::ListOfAnyProto {
                data: vec![nothing, node(Content::Text(String::new()))],
            })),
            "[null,\"\"]",
        ),
        (
            node(Content::Dict(v2::docarray::DictOfAnyProto {
                data: [("k".to_owned(), node(Content::Doc(v2::docarray::DocProto::default())))]
                    .into(),
            })),
            "{\"k\":{}}",
        ),
    ] {
        assert_eq!(raw(content), json);
    }
    let faulty = v2::<Of<Box<RawValue>>>(&[("x", array("<f4", &[3], &[0; 4]))]).unwrap_err();
    assert!(faulty.starts_with("[0].x: the shape [3] of <f4 does not fit 4 bytes"), "{faulty}");
}
