//! Checks answers and documents in protobuf: the codec reads them as prost does.

use clientlet::fuzzing::{read_documents, read_message, write_documents};
use clientlet::{DocArray, Document, Value};
use clientlet_proto::prost::Message;
use clientlet_proto::{v1, v2};

use crate::{Typed, checked};

/// Reads a message as an answer in every way there is.
pub fn check_message(docarray: DocArray, frame: &[u8]) {
    let Some(response) = read_message(docarray, frame) else { return };
    let _ = format!("{response:?} {:?} {:?}", response.routes(), response.status());
    checked(response.parameters::<Value>());
    checked(response.parameters::<serde_json::Value>());
    checked(response.documents::<serde_json::Value>());
    for typed in checked(response.documents::<Typed>()).into_iter().flatten() {
        if let Some(tensor) = typed.tensor {
            assert_eq!(tensor.to_vec::<f64>().len(), tensor.len());
        }
    }
    if let Some(documents) = checked(response.documents::<Document>()) {
        // Some documents can be read and not written, such as a v2 integer beyond 32 bits. All others
        // come back unchanged.
        let Ok(list) = write_documents(docarray, &documents) else { return };
        let back = read_documents::<Document>(docarray, &list).expect("our own documents");
        assert_eq!(format!("{back:?}"), format!("{documents:?}"));
    }
}

/// Checks that our codec and prost agree on a list of documents. A message may split or repeat its
/// fields: prost reads it and writes it again in one piece, and our codec must read both alike.
pub fn check_documents(docarray: DocArray, list: &[u8]) {
    let ours = read_documents::<Value>(docarray, list);
    let whole = match docarray {
        DocArray::V1 => v1::docarray::DocumentArrayProto::decode(list).map(|l| l.encode_to_vec()),
        DocArray::V2 => v2::docarray::DocListProto::decode(list).map(|l| l.encode_to_vec()),
    };
    let Ok(whole) = whole else { return };
    let again = read_documents::<Value>(docarray, &whole);
    let shown = |documents: &Result<Vec<Value>, String>| match documents {
        Ok(documents) => {
            let plain: Vec<_> =
                documents.iter().map(|document| plain(docarray, document)).collect();
            format!("{plain:?}")
        }
        Err(_) => "refused".to_owned(),
    };
    assert_eq!(shown(&ours), shown(&again), "{ours:?} {again:?}");
}

/// Removes v1 fields with their default values, which prost does not write.
fn plain(docarray: DocArray, value: &Value) -> Value {
    let is_default = |value: &Value| match value {
        Value::Null | Value::Integer(0) => true,
        Value::Number(n) => n.to_bits() == 0,
        Value::String(text) => text.is_empty(),
        Value::List(list) => list.is_empty(),
        Value::Map(map) => map.is_empty(),
        _ => false,
    };
    match value {
        Value::List(list) => Value::List(list.iter().map(|value| plain(docarray, value)).collect()),
        Value::Map(map) => Value::Map(
            map.iter()
                .map(|(name, value)| (name.clone(), plain(docarray, value)))
                .filter(|(_, value)| docarray == DocArray::V2 || !is_default(value))
                .collect(),
        ),
        value => value.clone(),
    }
}
