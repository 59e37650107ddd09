//! What each wire format can carry: data from which `docs/guarantees.md` is printed, each row with
//! the check that holds it to its word.

use serde_json::json;

use crate::document::{Blob, Document, Encoder, Tensor, decode};
use crate::message::DocArray;

struct Capability {
    what: &'static str,
    v1: &'static str,
    v2: &'static str,
    check: Check,
}

/// What shows that a row is true.
enum Check {
    /// Encoding and decoding alone.
    Codec(fn()),
    /// A case of `tests/contract`, against real gateways.
    Contract(&'static str),
    /// A recorded answer or a test of the embedded gateway's fidelity, by the test's name.
    Test(&'static str),
}

use Check::{Codec, Contract, Test};

const CAPABILITIES: &[Capability] = &[
    Capability {
        what: "status, routes with times",
        v1: "yes",
        v2: "no: success is assumed, failures are HTTP statuses",
        check: Contract("routes_name_gateway_and_executor_with_their_times"),
    },
    Capability {
        what: "the request's id",
        v1: "the gateway makes its own; the client's stays on its answers",
        v2: "yes",
        check: Contract("routes_name_gateway_and_executor_with_their_times"),
    },
    Capability {
        what: "an executor's exception",
        v1: "name, arguments, traceback, executor, and the documents",
        v2: "its `repr` alone",
        check: Contract("an_executors_exception_is_told_whole_with_the_documents"),
    },
    Capability {
        what: "an executor that is down or slow",
        v1: "503 or 504, naming the deployment",
        v2: "500 without a word",
        check: Contract("a_dead_executor_is_named_by_error_and_dry_run"),
    },
    Capability {
        what: "`ready()` with an executor down",
        v1: "says so",
        v2: "says that all is well",
        check: Test("status_and_dry_run_are_read"),
    },
    Capability {
        what: "endpoints that nobody binds",
        v1: "succeed, documents untouched",
        v2: "an error that lists those that are there",
        check: Contract("an_endpoint_that_nobody_binds_leaves_documents_as_they_are"),
    },
    Capability {
        what: "documents in one request",
        v1: "any number",
        v2: "100 at most; larger requests are split",
        check: Contract("a_thousand_documents_with_parameters_come_back_once_and_in_order"),
    },
    Capability {
        what: "a document's fields",
        v1: "the fixed set of DocArray v1; another is an error before sending",
        v2: "any; the gateway drops what its class does not have",
        check: Codec(fields),
    },
    Capability {
        what: "text, blob and tensor in one document",
        v1: "an error before sending: all but one would be lost",
        v2: "yes",
        check: Codec(contents),
    },
    Capability {
        what: "bytes",
        v1: "base64",
        v2: "UTF-8 text only; anything else is an error before sending",
        check: Codec(bytes),
    },
    Capability {
        what: "numbers in parameters",
        v1: "doubles: 1 becomes 1.0, beyond 2^53 they change",
        v2: "doubles: 1 becomes 1.0, beyond 2^53 they change",
        check: Contract("parameters_come_back_with_the_executors_result"),
    },
    Capability {
        what: "numbers in tags",
        v1: "doubles; 1 and 0 become true and false",
        v2: "as they were",
        check: Contract("empty_text_and_whole_tags_are_changed_by_v1_and_kept_by_v2"),
    },
    Capability {
        what: "element type of a tensor",
        v1: "lost: whole numbers or doubles",
        v2: "lost: whole numbers or doubles",
        check: Codec(element_types),
    },
    Capability {
        what: "shape of a tensor behind an empty dimension",
        v1: "lost",
        v2: "lost",
        check: Codec(empty_shapes),
    },
    Capability {
        what: "NaN, infinity",
        v1: "an error before sending",
        v2: "an error before sending",
        check: Codec(not_numbers),
    },
    Capability {
        what: "single and double precision",
        v1: "exact",
        v2: "exact",
        check: Test("numbers_survive_exactly"),
    },
    Capability {
        what: "empty text",
        v1: "comes back as null",
        v2: "comes back as it was",
        check: Contract("empty_text_and_whole_tags_are_changed_by_v1_and_kept_by_v2"),
    },
    Capability {
        what: "fields typed `Optional[DocList[...]]`",
        v1: "",
        v2: "the gateway loses all but the ids",
        check: Test("rich_documents_of_v2_are_read_into_a_type_of_ones_own"),
    },
];

fn encode<T: serde::Serialize>(docarray: DocArray, document: &T) -> Result<Vec<u8>, String> {
    let mut json = Vec::new();
    let encoded = Encoder::new(docarray).document(document, &mut json);
    encoded.map(|()| json).map_err(|error| error.to_string())
}

fn fields() {
    let document = json!({"price": 1});
    assert!(encode(DocArray::V1, &document).is_err());
    assert!(encode(DocArray::V2, &document).is_ok());
}

fn contents() {
    let document = json!({"text": "t", "tensor": [1], "id": "a"});
    assert!(encode(DocArray::V1, &document).is_err());
    assert!(encode(DocArray::V2, &document).is_ok());
}

fn bytes() {
    let document =
        |bytes: &'static [u8]| Document { blob: Some(Blob::from(bytes)), ..Document::default() };
    for (docarray, bytes, is_carried) in [
        (DocArray::V1, &b"\xff\x00"[..], true),
        (DocArray::V2, b"plain", true),
        (DocArray::V2, b"\xff\x00", false),
    ] {
        let json = encode(docarray, &document(bytes));
        assert_eq!(json.is_ok(), is_carried);
        if let Ok(json) = json {
            assert_eq!(decode::<Document>(docarray, &json).unwrap(), document(bytes));
        }
    }
}

fn tensor_after(docarray: DocArray, tensor: Tensor) -> Tensor {
    let document = Document { tensor: Some(tensor), ..Document::default() };
    let json = encode(docarray, &document).unwrap();
    decode::<Document>(docarray, &json).unwrap().tensor.unwrap()
}

fn element_types() {
    for docarray in [DocArray::V1, DocArray::V2] {
        assert_eq!(tensor_after(docarray, Tensor::from([1_u8, 2])), Tensor::from([1_i64, 2]));
        assert_eq!(tensor_after(docarray, Tensor::from([0.5_f32])), Tensor::from([0.5_f64]));
    }
}

fn empty_shapes() {
    for docarray in [DocArray::V1, DocArray::V2] {
        let empty = Tensor::new::<f32>(&[0, 3], &[]).unwrap();
        assert_eq!(tensor_after(docarray, empty).shape(), [0]);
        let rows = Tensor::new::<f32>(&[2, 0], &[]).unwrap();
        assert_eq!(tensor_after(docarray, rows).shape(), [2, 0]);
    }
}

fn not_numbers() {
    for docarray in [DocArray::V1, DocArray::V2] {
        for number in [f64::NAN, f64::INFINITY] {
            let document =
                Document { embedding: Some(Tensor::from([number])), ..Document::default() };
            assert!(encode(docarray, &document).is_err());
        }
    }
}

#[test]
fn every_capability_is_checked() {
    let read = |file: &str| {
        std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let contract = read("tests/contract/main.rs");
    let tests =
        ["src/transport/fixtures.rs", "src/document/properties.rs", "src/document/encode/tests.rs"]
            .map(read)
            .concat();
    for capability in CAPABILITIES {
        match capability.check {
            Codec(check) => check(),
            Contract(case) => assert!(contract.contains(&format!("::{case}: [")), "{case}"),
            Test(name) => assert!(tests.contains(&format!("fn {name}(")), "{name}"),
        }
    }
}

#[test]
fn the_page_of_guarantees_holds_the_capabilities() {
    let mut table = String::from("| | v1 over HTTP | v2 over HTTP |\n| --- | --- | --- |\n");
    for Capability { what, v1, v2, .. } in CAPABILITIES {
        table += &format!("| {what} | {v1} | {v2} |\n");
    }
    crate::page::check("capabilities", &table);
}
