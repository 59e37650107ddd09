//! What each wire format can carry. `docs/guarantees.md` is printed from this table, and each row
//! names the check that proves it.

use bytes::Bytes;
use serde_json::json;

use crate::document::{Blob, Document, Encoder, Tensor, decode_documents, proto};
use crate::message::{DocArray, Encoding};

/// The columns of the table; a further protocol needs a further column.
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
    /// One cell for each column.
    carried: [&'static str; COLUMNS.len()],
    check: Check,
}

/// The proof of a row.
enum Check {
    /// A check of encoding and decoding, without a gateway.
    Codec(fn()),
    /// The name of a case of `tests/contract`, which runs against real gateways.
    Contract(&'static str),
    /// The name of another test.
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
        check: Contract("an_executors_exception_is_reported_in_full_with_the_documents"),
    },
    Capability {
        what: "an executor that is down or slow",
        carried: [
            "503 or 504, naming the deployment",
            "500 without a reason",
            "close 1011, with the deployment's address",
            "close 1011, with the deployment's address",
            "UNAVAILABLE or DEADLINE_EXCEEDED, naming the deployment and its address",
            "UNAVAILABLE or DEADLINE_EXCEEDED, naming the deployment and its address",
        ],
        check: Contract("a_dead_executor_is_named_by_error_and_dry_run"),
    },
    Capability {
        what: "`ready()` with an executor down",
        carried: [
            "reports the executor",
            "reports that all is well",
            "reports the executor",
            "reports the executor",
            "reports the executor",
            "reports the executor",
        ],
        check: Test("status_and_dry_run_are_read"),
    },
    Capability {
        what: "endpoints that no executor binds",
        carried: [
            "succeed, documents untouched",
            "an error that lists the known endpoints",
            "succeed, documents untouched",
            "succeed, documents untouched",
            "succeed, documents untouched",
            "succeed, documents untouched",
        ],
        check: Contract("an_endpoint_that_no_executor_binds_leaves_documents_unchanged"),
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
            "yes, without parameters and target executor",
            "no",
            "no",
            "no",
            "yes, with parameters",
        ],
        check: Test("jina_3_33_1_v2_streams_the_documents_of_its_generators"),
    },
    Capability {
        what: "a document's fields",
        carried: [
            "the fields of DocArray v1; any other is an error before sending",
            "any; the gateway drops fields that the executor's class does not have",
            "the fields of DocArray v1; any other is an error before sending",
            "any",
            "the fields of DocArray v1; any other is an error before sending",
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
            "unchanged",
            "unchanged",
            "unchanged",
            "unchanged",
        ],
        check: Codec(bytes),
    },
    Capability {
        what: "numbers in parameters",
        carried: [
            "doubles; whole numbers are read as integers; beyond 2^53 an error before sending",
            "doubles; whole numbers are read as integers; beyond 2^53 an error before sending",
            "doubles; whole numbers are read as integers; beyond 2^53 an error before sending",
            "doubles; whole numbers are read as integers; beyond 2^53 an error before sending",
            "doubles; whole numbers are read as integers; beyond 2^53 an error before sending",
            "doubles; whole numbers are read as integers; beyond 2^53 an error before sending",
        ],
        check: Contract("parameters_come_back_with_the_executors_result"),
    },
    Capability {
        what: "numbers in tags",
        carried: [
            "as in parameters",
            "unchanged; the gateway cannot pass on integers beyond 32 bits: their document fails alone, and the others are sent without it",
            "as in parameters",
            "unchanged; integers beyond 32 bits are an error before sending",
            "as in parameters",
            "unchanged; integers beyond 32 bits are an error before sending",
        ],
        check: Contract("empty_text_is_lost_by_v1_and_whole_tags_stay_numbers"),
    },
    Capability {
        what: "levels of nested maps in tags",
        carried: [
            "any number",
            "30; the gateway cannot pass on more: their document fails alone",
            "as many as protobuf allows; more are an error before sending",
            "about 30; more are an error before sending",
            "as many as protobuf allows; more are an error before sending",
            "about 30; more are an error before sending",
        ],
        check: Test("depth_counts_as_a_gateway_of_3_33_1_counts_it"),
    },
    Capability {
        what: "a number as `id`, or as `text` of v1",
        carried: ["comes back as text"; COLUMNS.len()],
        check: Codec(numbers_as_text),
    },
    Capability {
        what: "a struct or a map in a document, or a list of them",
        carried: [
            "only where DocArray v1 has them (tags, scores, chunks)",
            "what the executor's class makes of it: a document, a list of documents or a dictionary",
            "only where DocArray v1 has them (tags, scores, chunks)",
            "what the executor's class makes of it: a document, a list of documents or a dictionary",
            "only where DocArray v1 has them (tags, scores, chunks)",
            "what the executor's class makes of it: a document, a list of documents or a dictionary",
        ],
        check: Test("every_kind_of_serde_value_has_its_kind_of_node"),
    },
    Capability {
        what: "types with several forms (UUIDs, addresses, times)",
        carried: ["the human-readable form, usually text"; COLUMNS.len()],
        check: Codec(forms),
    },
    Capability {
        what: "bytes, read into a type that accepts anything (`Value`, `flatten`, untagged enums)",
        carried: [
            "base64 text",
            "text",
            "base64 text",
            "base64 text",
            "base64 text",
            "base64 text",
        ],
        check: Codec(bytes_as_anything),
    },
    Capability {
        what: "element type of a tensor",
        carried: [
            "lost: becomes bool, i64 or f64",
            "lost: becomes bool, i64 or f64",
            "unchanged",
            "unchanged",
            "unchanged",
            "unchanged",
        ],
        check: Codec(element_types),
    },
    Capability {
        what: "shape of a tensor after an empty dimension",
        carried: ["lost", "lost", "unchanged", "unchanged", "unchanged", "unchanged"],
        check: Codec(empty_shapes),
    },
    Capability {
        what: "a tensor without dimensions",
        carried: [
            "an error before sending",
            "an error before sending",
            "unchanged",
            "unchanged",
            "unchanged",
            "unchanged",
        ],
        check: Codec(no_dimensions),
    },
    Capability {
        what: "element type of a tensor that is read through `flatten` or an untagged enum",
        carried: ["lost: becomes bool, i64 or f64"; COLUMNS.len()],
        check: Codec(buffered_element_types),
    },
    Capability {
        what: "NaN and infinity in parameters and in tags of v1",
        carried: ["an error before sending: a gateway would turn them into text"; COLUMNS.len()],
        check: Codec(not_numbers_in_tags),
    },
    Capability {
        what: "NaN and infinity elsewhere",
        carried: [
            "an error before sending",
            "an error before sending",
            "unchanged",
            "unchanged",
            "unchanged",
            "unchanged",
        ],
        check: Codec(not_numbers),
    },
    Capability {
        what: "floats of single and double precision, read with the same precision",
        carried: ["exact", "exact", "exact", "exact", "exact", "exact"],
        check: Test("numbers_survive_exactly"),
    },
    Capability {
        what: "empty text",
        carried: [
            "comes back as null",
            "unchanged",
            "comes back as null",
            "unchanged",
            "comes back as null",
            "unchanged",
        ],
        check: Contract("empty_text_is_lost_by_v1_and_whole_tags_stay_numbers"),
    },
    Capability {
        what: "fields typed `Optional[DocList[...]]`",
        carried: ["", "the gateway drops everything but the ids", "", "unchanged", "", "unchanged"],
        check: Test("rich_documents_of_v2_are_read_into_a_type_of_ones_own"),
    },
];

fn encode<T: serde::Serialize>(docarray: DocArray, document: &T) -> Result<Vec<u8>, String> {
    let mut json = Vec::new();
    let encoded = Encoder::new(docarray).document(document, &mut json);
    encoded.map(|()| json).map_err(|error| error.to_string())
}

/// Encodes a document as the only document of a protobuf message.
fn encode_proto<T: serde::Serialize>(docarray: DocArray, document: &T) -> Result<Vec<u8>, String> {
    let mut message = Vec::new();
    let encoded = proto::Encoder::new(docarray).document(document, &mut message);
    encoded.map(|()| message).map_err(|error| error.to_string())
}

/// Encodes and decodes a document. Returns `None` if it cannot be encoded.
fn back(encoding: Encoding, docarray: DocArray, document: &Document) -> Option<Document> {
    match encoding {
        Encoding::Json => {
            let json = [b"[", &encode(docarray, document).ok()?[..], b"]"].concat();
            decode_documents(docarray, &json).unwrap().pop()
        }
        Encoding::Proto => {
            let message = Bytes::from(encode_proto(docarray, document).ok()?);
            proto::decode_documents(docarray, &message).unwrap().pop()
        }
    }
}

/// All ways to write a document. gRPC and WebSocket carry the same messages.
const WRITTEN: [(Encoding, DocArray); 4] = [
    (Encoding::Json, DocArray::V1),
    (Encoding::Json, DocArray::V2),
    (Encoding::Proto, DocArray::V1),
    (Encoding::Proto, DocArray::V2),
];

/// Whether a document can be encoded in each of the [`WRITTEN`] ways.
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

/// The document after encoding and decoding in each of the [`WRITTEN`] ways, read as any JSON.
fn any_after(document: &impl serde::Serialize) -> [Option<serde_json::Value>; 4] {
    WRITTEN.map(|(encoding, docarray)| match encoding {
        Encoding::Json => {
            let json = [b"[", &encode(docarray, document).ok()?[..], b"]"].concat();
            decode_documents(docarray, &json).unwrap().pop()
        }
        Encoding::Proto => {
            let message = Bytes::from(encode_proto(docarray, document).ok()?);
            proto::decode_documents(docarray, &message).unwrap().pop()
        }
    })
}

fn numbers_as_text() {
    let document = json!({"id": 7, "text": 2.5, "tags": {}});
    let [json_v1, json_v2, proto_v1, proto_v2] = any_after(&document).map(Option::unwrap);
    // Over HTTP the gateway converts the number to text; a v2 executor does so for its text fields.
    assert_eq!((&json_v1["id"], &json_v2["id"]), (&json!(7), &json!(7)));
    assert_eq!((&proto_v1["id"], &proto_v2["id"]), (&json!("7"), &json!("7")));
    assert_eq!((&proto_v1["text"], &proto_v2["text"]), (&json!("2.5"), &json!(2.5)));
}

fn forms() {
    #[derive(serde::Serialize)]
    struct Item {
        id: std::net::IpAddr,
        tags: std::collections::BTreeMap<std::net::IpAddr, std::net::IpAddr>,
        text: std::net::SocketAddr,
    }
    let address = std::net::IpAddr::from([10, 0, 0, 7]);
    let tags = std::collections::BTreeMap::from([(address, address)]);
    let item = Item { id: address, tags, text: (address, 80).into() };
    let expected =
        json!({"id": "10.0.0.7", "tags": {"10.0.0.7": "10.0.0.7"}, "text": "10.0.0.7:80"});
    assert!(any_after(&item).iter().all(|back| back.as_ref() == Some(&expected)));
}

fn bytes_as_anything() {
    let document = Document { blob: Some(Blob::from(&b"hi"[..])), ..Document::default() };
    let found = any_after(&document).map(|back| back.unwrap()["blob"].clone());
    assert_eq!(found, ["aGk=", "hi", "aGk=", "aGk="]);
}

fn no_dimensions() {
    let tensor = Some(Tensor::new(&[], &[1.5_f32]).unwrap());
    let document = Document { tensor, ..Document::default() };
    let found = WRITTEN.map(|(encoding, docarray)| back(encoding, docarray, &document).is_some());
    assert_eq!(found, [false, false, true, true]);
}

fn buffered_element_types() {
    #[derive(serde::Deserialize)]
    struct Flat {
        #[serde(flatten)]
        inner: Inner,
    }
    #[derive(serde::Deserialize)]
    struct Inner {
        embedding: Tensor,
    }
    let document = Document { embedding: Some(Tensor::from([0.5_f32])), ..Document::default() };
    for docarray in [DocArray::V1, DocArray::V2] {
        let json = [b"[", &encode(docarray, &document).unwrap()[..], b"]"].concat();
        let message = Bytes::from(encode_proto(docarray, &document).unwrap());
        let [json, proto]: [Vec<Flat>; 2] = [
            decode_documents(docarray, &json).unwrap(),
            proto::decode_documents(docarray, &message).unwrap(),
        ];
        for flat in [json, proto] {
            assert_eq!(flat[0].inner.embedding, Tensor::from([0.5_f64]));
        }
    }
}

fn not_numbers_in_tags() {
    for number in [f64::NAN, f64::INFINITY] {
        let tags = std::collections::BTreeMap::from([("n".to_owned(), number.into())]);
        let document = Document { tags: Some(tags.clone()), ..Document::default() };
        let expected =
            format!("tags.n: {number} cannot be sent here: a gateway would turn it into text");
        assert_eq!(encode(DocArray::V1, &document).unwrap_err(), expected);
        assert_eq!(encode_proto(DocArray::V1, &document).unwrap_err(), expected);
        let refused = Encoder::new(DocArray::V1).map(&tags, &mut Vec::new()).unwrap_err();
        assert_eq!(format!("tags.{refused}"), expected);
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
        "src/envelope/inner.rs",
        "unit/fixtures.rs",
        "src/document/properties.rs",
        "src/document/encode/tests.rs",
        "src/document/proto/tests/writing.rs",
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
    crate::page::check("guarantees.md", "capabilities", &table);
}
