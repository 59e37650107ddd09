//! What each wire format can carry: data from which `docs/guarantees.md` is printed, each row with
//! the check that holds it to its word.

use bytes::Bytes;
use serde_json::json;

use crate::document::{Blob, Document, Encoder, Tensor, decode, proto};
use crate::message::{DocArray, Encoding};

/// What there is a column for; a protocol more is a column more.
const COLUMNS: [&str; 6] = [
    "v1 over HTTP",
    "v2 over HTTP",
    "v1 over WebSocket",
    "v2 over WebSocket",
    "v1 over gRPC",
    "v2 over gRPC",
];

struct Capability {
    what: &'static str,
    /// By column.
    carried: [&'static str; COLUMNS.len()],
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
        carried: [
            "yes",
            "no: success is assumed, failures are HTTP statuses",
            "yes",
            "yes",
            "yes",
            "yes",
        ],
        check: Contract("routes_name_gateway_and_executor_with_their_times"),
    },
    Capability {
        what: "the request's id",
        carried: [
            "the gateway makes its own; the client's stays on its answers",
            "yes",
            "yes",
            "yes",
            "yes",
            "yes",
        ],
        check: Contract("routes_name_gateway_and_executor_with_their_times"),
    },
    Capability {
        what: "an executor's exception",
        carried: [
            "name, arguments, traceback, executor, and the documents",
            "its `repr` alone",
            "name, arguments, traceback, executor, and the documents",
            "name, arguments, traceback, executor, and the documents",
            "name, arguments, traceback, executor, and the documents",
            "name, arguments, traceback, executor, and the documents",
        ],
        check: Contract("an_executors_exception_is_told_whole_with_the_documents"),
    },
    Capability {
        what: "an executor that is down or slow",
        carried: [
            "503 or 504, naming the deployment",
            "500 without a word",
            "close 1011, giving the deployment's address",
            "close 1011, giving the deployment's address",
            "UNAVAILABLE or DEADLINE_EXCEEDED, naming the deployment and its address",
            "UNAVAILABLE or DEADLINE_EXCEEDED, naming the deployment and its address",
        ],
        check: Contract("a_dead_executor_is_named_by_error_and_dry_run"),
    },
    Capability {
        what: "`ready()` with an executor down",
        carried: ["says so", "says that all is well", "says so", "says so", "says so", "says so"],
        check: Test("status_and_dry_run_are_read"),
    },
    Capability {
        what: "endpoints that nobody binds",
        carried: [
            "succeed, documents untouched",
            "an error that lists those that are there",
            "succeed, documents untouched",
            "succeed, documents untouched",
            "succeed, documents untouched",
            "succeed, documents untouched",
        ],
        check: Contract("an_endpoint_that_nobody_binds_leaves_documents_as_they_are"),
    },
    Capability {
        what: "documents in one request",
        carried: [
            "any number",
            "100 at most; larger requests are split",
            "any number",
            "any number",
            "any number",
            "any number",
        ],
        check: Contract("a_thousand_documents_with_parameters_come_back_once_and_in_order"),
    },
    Capability {
        what: "streams of documents",
        carried: [
            "no",
            "yes, for the document alone, without parameters and target",
            "no",
            "no",
            "no",
            "yes, with parameters",
        ],
        check: Test("jina_3_33_1_v2_streams_what_its_generators_yield"),
    },
    Capability {
        what: "a document's fields",
        carried: [
            "the fixed set of DocArray v1; another is an error before sending",
            "any; the gateway drops what its class does not have",
            "the fixed set of DocArray v1; another is an error before sending",
            "any",
            "the fixed set of DocArray v1; another is an error before sending",
            "any",
        ],
        check: Codec(fields),
    },
    Capability {
        what: "text, blob and tensor in one document",
        carried: [
            "an error before sending: all but one would be lost",
            "yes",
            "an error before sending: all but one would be lost",
            "yes",
            "an error before sending: all but one would be lost",
            "yes",
        ],
        check: Codec(contents),
    },
    Capability {
        what: "bytes",
        carried: [
            "base64",
            "UTF-8 text only; anything else is an error before sending",
            "as they are",
            "as they are",
            "as they are",
            "as they are",
        ],
        check: Codec(bytes),
    },
    Capability {
        what: "numbers in parameters",
        carried: [
            "doubles: 1 becomes 1.0, beyond 2^53 they change",
            "doubles: 1 becomes 1.0, beyond 2^53 they change",
            "doubles: 1 becomes 1.0; what a double cannot hold is an error before sending",
            "doubles: 1 becomes 1.0; what a double cannot hold is an error before sending",
            "doubles: 1 becomes 1.0; what a double cannot hold is an error before sending",
            "doubles: 1 becomes 1.0; what a double cannot hold is an error before sending",
        ],
        check: Contract("parameters_come_back_with_the_executors_result"),
    },
    Capability {
        what: "numbers in tags",
        carried: [
            "doubles; 1 and 0 become true and false",
            "as they were",
            "doubles: 1 becomes 1.0",
            "as they were; whole ones beyond 32 bits are an error before sending",
            "doubles: 1 becomes 1.0",
            "as they were; whole ones beyond 32 bits are an error before sending",
        ],
        check: Contract("empty_text_and_whole_tags_are_changed_by_v1_and_kept_by_v2"),
    },
    Capability {
        what: "element type of a tensor",
        carried: [
            "lost: whole numbers or doubles",
            "lost: whole numbers or doubles",
            "as it was",
            "as it was",
            "as it was",
            "as it was",
        ],
        check: Codec(element_types),
    },
    Capability {
        what: "shape of a tensor behind an empty dimension",
        carried: ["lost", "lost", "as it was", "as it was", "as it was", "as it was"],
        check: Codec(empty_shapes),
    },
    Capability {
        what: "NaN, infinity",
        carried: [
            "an error before sending",
            "an error before sending",
            "as they are",
            "as they are",
            "as they are",
            "as they are",
        ],
        check: Codec(not_numbers),
    },
    Capability {
        what: "single and double precision",
        carried: ["exact", "exact", "exact", "exact", "exact", "exact"],
        check: Test("numbers_survive_exactly"),
    },
    Capability {
        what: "empty text",
        carried: [
            "comes back as null",
            "comes back as it was",
            "comes back as null",
            "comes back as it was",
            "comes back as null",
            "comes back as it was",
        ],
        check: Contract("empty_text_and_whole_tags_are_changed_by_v1_and_kept_by_v2"),
    },
    Capability {
        what: "fields typed `Optional[DocList[...]]`",
        carried: [
            "",
            "the gateway loses all but the ids",
            "",
            "come back whole",
            "",
            "come back whole",
        ],
        check: Test("rich_documents_of_v2_are_read_into_a_type_of_ones_own"),
    },
];

fn encode<T: serde::Serialize>(docarray: DocArray, document: &T) -> Result<Vec<u8>, String> {
    let mut json = Vec::new();
    let encoded = Encoder::new(docarray).document(document, &mut json);
    encoded.map(|()| json).map_err(|error| error.to_string())
}

/// As the only document of a message.
fn encode_proto<T: serde::Serialize>(docarray: DocArray, document: &T) -> Result<Vec<u8>, String> {
    let mut message = Vec::new();
    let encoded = proto::Encoder::new(docarray).document(document, &mut message);
    encoded.map(|()| message).map_err(|error| error.to_string())
}

/// A document as it comes back, where it can be sent.
fn back(encoding: Encoding, docarray: DocArray, document: &Document) -> Option<Document> {
    match encoding {
        Encoding::Json => Some(decode(docarray, &encode(docarray, document).ok()?).unwrap()),
        Encoding::Proto => {
            let message = Bytes::from(encode_proto(docarray, document).ok()?);
            proto::decode_documents(docarray, &message).unwrap().pop()
        }
    }
}

/// The columns of the table: what is written how. gRPC carries the messages of WebSocket.
const WRITTEN: [(Encoding, DocArray); 4] = [
    (Encoding::Json, DocArray::V1),
    (Encoding::Json, DocArray::V2),
    (Encoding::Proto, DocArray::V1),
    (Encoding::Proto, DocArray::V2),
];

/// Whether a document can be sent, by column.
fn can_be_sent(document: &serde_json::Value) -> [bool; 4] {
    WRITTEN.map(|(encoding, docarray)| match encoding {
        Encoding::Json => encode(docarray, document).is_ok(),
        Encoding::Proto => encode_proto(docarray, document).is_ok(),
    })
}

fn fields() {
    assert_eq!(can_be_sent(&json!({"price": 1})), [false, true, false, true]);
}

fn contents() {
    let document = json!({"text": "t", "tensor": [1], "id": "a"});
    assert_eq!(can_be_sent(&document), [false, true, false, true]);
}

fn bytes() {
    for (bytes, is_carried) in
        [(&b"plain"[..], [true; 4]), (b"\xff\x00", [true, false, true, true])]
    {
        let sent = Document { blob: Some(Blob::from(bytes)), ..Document::default() };
        for ((encoding, docarray), is_carried) in WRITTEN.into_iter().zip(is_carried) {
            assert_eq!(back(encoding, docarray, &sent), is_carried.then(|| sent.clone()));
        }
    }
}

fn tensors_after(tensor: &Tensor) -> [Tensor; 4] {
    let document = Document { tensor: Some(tensor.clone()), ..Document::default() };
    WRITTEN.map(|(encoding, docarray)| back(encoding, docarray, &document).unwrap().tensor.unwrap())
}

fn element_types() {
    let small = Tensor::from([1_u8, 2]);
    let wide = || Tensor::from([1_i64, 2]);
    assert_eq!(tensors_after(&small), [wide(), wide(), small.clone(), small.clone()]);
    let single = Tensor::from([0.5_f32]);
    let double = || Tensor::from([0.5_f64]);
    assert_eq!(tensors_after(&single), [double(), double(), single.clone(), single.clone()]);
}

fn empty_shapes() {
    let empty = Tensor::new::<f32>(&[0, 3], &[]).unwrap();
    let shapes = tensors_after(&empty).map(|tensor| tensor.shape().to_vec());
    assert_eq!(shapes, [vec![0], vec![0], vec![0, 3], vec![0, 3]]);
    let rows = Tensor::new::<f32>(&[2, 0], &[]).unwrap();
    assert!(tensors_after(&rows).iter().all(|tensor| tensor.shape() == [2, 0]));
}

fn not_numbers() {
    for number in [f64::NAN, f64::INFINITY] {
        let document = Document { embedding: Some(Tensor::from([number])), ..Document::default() };
        for (encoding, docarray) in WRITTEN {
            let back = back(encoding, docarray, &document);
            assert_eq!(back.is_some(), encoding == Encoding::Proto);
            let bits =
                |document: Document| document.embedding.unwrap().to_vec::<f64>()[0].to_bits();
            assert!(back.is_none_or(|back| bits(back) == number.to_bits()));
        }
    }
}

#[test]
fn every_capability_is_checked() {
    let read = |file: &str| {
        std::fs::read_to_string(format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))).unwrap()
    };
    let contract = read("tests/contract/main.rs");
    let tests = [
        "src/transport/fixtures.rs",
        "src/document/properties.rs",
        "src/document/encode/tests.rs",
        "tests/streams/real.rs",
    ]
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
    let line = |cells: &[&str]| format!("| {} |\n", cells.join(" | "));
    let mut table = line(&[&[""][..], &COLUMNS].concat());
    table += &line(&["---"; COLUMNS.len() + 1]);
    for Capability { what, carried, .. } in CAPABILITIES {
        table += &line(&[&[*what][..], carried].concat());
    }
    crate::page::check("capabilities", &table);
}
