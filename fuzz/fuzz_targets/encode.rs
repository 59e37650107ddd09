//! Any JSON as a document: it is refused, or sent unchanged.
#![no_main]

use clientlet::DocArray;
use clientlet::clientlets::DataRequest;
use clientlet_fuzz::check_error;
use libfuzzer_sys::fuzz_target;
use serde_json::{Map, Value};

fuzz_target!(|json: &[u8]| {
    let Ok(document) = serde_json::from_slice::<Value>(json) else { return };
    for docarray in [DocArray::V1, DocArray::V2] {
        let request = match DataRequest::new(docarray, "/").document(&document) {
            Ok(request) => request.to_bytes(),
            Err(error) => {
                assert!(docarray == DocArray::V1 || !document.is_object(), "{error}");
                check_error(&error);
                continue;
            }
        };
        let request: Value = serde_json::from_slice(&request).expect("what is sent is JSON");
        assert_eq!(request["data"], Value::Array(vec![as_sent(docarray, &document)]));
    }
});

/// The document as it is sent: a v2 document with two fields gets a third.
fn as_sent(docarray: DocArray, document: &Value) -> Value {
    let fields = document.as_object().map(Map::len);
    let mut sent = document.clone();
    if docarray == DocArray::V2 && fields == Some(2) {
        sent["_"] = Value::Null;
    }
    sent
}
