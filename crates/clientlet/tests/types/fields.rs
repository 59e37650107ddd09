//! Values of other crates' types as fields of documents.

use std::collections::BTreeMap;
use std::net::IpAddr;

use clientlet::DocArray::{V1, V2};
use clientlet::{Blob, Tensor};
use serde::{Deserialize, Serialize};

use crate::case::Case;
use crate::case::Fate::{Becomes, Failed, Refused, Same};
use crate::case::document;

/// A document with an id and one more field.
macro_rules! documents {
    ($($name:ident: $field:ident;)*) => {
        $(#[derive(Clone, Debug, Serialize, Deserialize)]
        struct $name<I, T> {
            id: I,
            $field: T,
        })*
    };
}

documents! {
    Texts: text;
    Blobs: blob;
    Tensors: tensor;
    Embeddings: embedding;
    Weights: weight;
    Counts: granularity;
    Locations: location;
    Scores: scores;
    Tags: tags;
    Numbers: number;
    Ratios: ratio;
    Flags: flag;
    Urls: url;
    Words: words;
    Singles: part;
    Lists: parts;
    Optionals: chunks;
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Part {
    id: String,
    text: Option<String>,
    tensor: Option<Tensor>,
}

fn part(id: &str) -> Part {
    Part { id: id.into(), text: Some("t".into()), tensor: Some(Tensor::from([0.5_f64, 1.5])) }
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Mine {
    year: i32,
    who: uuid::Uuid,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Score {
    value: f32,
    op_name: String,
}

/// Fields inside `flatten`, which serde buffers.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Flat {
    #[serde(flatten)]
    head: Head,
    #[serde(flatten)]
    rest: Rest,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Head {
    id: uuid::Uuid,
}

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Rest {
    embedding: Tensor,
    tags: Mine,
}

pub(crate) fn cases() -> Vec<Case> {
    let uuid = uuid::Uuid::from_u128(0x1234_5678_9abc_def0_1234_5678_9abc_def0);
    let mine = Mine { year: 2026, who: uuid };
    let id = || "a".to_owned();
    let (both, v1, v2) = (&[V1, V2][..], &[V1][..], &[V2][..]);
    vec![
        document("an id that is a UUID", both, Texts { id: uuid, text: id() }),
        document("a text that is an address", both, Texts { id: id(), text: IpAddr::from([1, 2, 3, 4]) }),
        document("a text that is a version", both, Texts { id: id(), text: semver::Version::new(1, 2, 3) }),
        document("a text that is a decimal", both, Texts { id: id(), text: rust_decimal::Decimal::new(15, 1) }),
        document("a text that is a time", both, Texts { id: id(), text: chrono::DateTime::UNIX_EPOCH }),
        document("a text that is a char", both, Texts { id: id(), text: 'x' }),
        document("a text that is an enum", both, Texts { id: id(), text: Level::High }),
        document("a tag that is a struct", both, Tags { id: id(), tags: mine.clone() }),
        document("tags that are a map of structs", both, Tags {
            id: id(),
            tags: BTreeMap::from([("k".to_owned(), mine.clone())]),
        }),
        document("fields by flatten", both, Flat {
            head: Head { id: uuid },
            rest: Rest { embedding: Tensor::from([0.5_f64, 1.5]), tags: mine },
        }),
        document("a numeric id", both, Texts { id: Lax::Number(7), text: id() })
            .always(Becomes("Texts { id: Text(\"7\"), text: \"a\" }")),
        document("a numeric id beyond 32 bits", both, Texts { id: Lax::Number(5_000_000_000), text: id() })
            .always(Becomes("Texts { id: Text(\"5000000000\"), text: \"a\" }")),
        document("an id with a fraction", both, Texts { id: Lax::Real(2.5), text: id() })
            .always(Becomes("Texts { id: Text(\"2.5\"), text: \"a\" }")),
        document("a text that is a number", both, Texts { id: id(), text: Lax::Number(7) })
            .always(Becomes("Texts { id: \"a\", text: Text(\"7\") }")),
        document("a text that is a truth value", both, Texts { id: id(), text: Lax::Flag(true) })
            .always(Becomes("Texts { id: \"a\", text: Text(\"True\") }")),
        document("a blob of serde_bytes", both, Blobs {
            id: id(),
            blob: serde_bytes::ByteBuf::from(b"plain".to_vec()),
        }),
        document("a blob of bytes", both, Blobs { id: id(), blob: bytes::Bytes::from_static(b"plain") }),
        document("a blob", both, Blobs { id: id(), blob: Blob::from(b"plain".to_vec()) }),
        document("a blob that is no text", both, Blobs { id: id(), blob: serde_bytes::ByteBuf::from(vec![255]) })
            .by(|docarray, protocol| match (docarray, protocol.is_json) {
                (V2, true) => Refused("bytes that are not UTF-8 cannot be sent as JSON"),
                _ => Same,
            }),
        document("an embedding that is a list", both, Embeddings { id: id(), embedding: vec![0.5_f32, 1.0, -2.25] }),
        document("an embedding of half precision", both, Embeddings {
            id: id(),
            embedding: Tensor::from_buffer(clientlet::Dtype::F16, &[1], vec![0, 0x3e]).unwrap(),
        })
        .by(|_, protocol| if protocol.is_json {
            Becomes("Embeddings { id: \"a\", embedding: Tensor(<f8 [1]) }")
        } else {
            Same
        }),
        document("a matrix", both, Tensors { id: id(), tensor: [[0.5_f64, 1.5], [2.5, -1.0]] }),
        document("a tensor without dimensions", both, Tensors {
            id: id(),
            tensor: Tensor::new(&[], &[1.5_f64]).unwrap(),
        })
        .by(|_, protocol| if protocol.is_json {
            Refused("a tensor without dimensions cannot be sent as JSON")
        } else {
            Same
        }),
        document("NaN in an embedding", both, Embeddings { id: id(), embedding: vec![f64::NAN, 1.0] })
            .by(|docarray, protocol| match (docarray, protocol.is_json) {
                (_, true) => Refused("NaN cannot be sent as JSON"),
                _ => Same,
            }),
        // Fields that exist only in v1.
        document("a weight", v1, Weights { id: id(), weight: 0.1_f32 }),
        document("a whole weight", v1, Weights { id: id(), weight: 7_u8 }),
        document("a weight that is a decimal", v1, Weights { id: id(), weight: Lax::Text("2.5".into()) })
            .always(Becomes("Weights { id: \"a\", weight: Real(2.5) }")),
        document("a weight that is too large", v1, Weights { id: id(), weight: 1e300_f64 })
            .always(Refused("is too large for this field")),
        document("a weight that is none", v1, Weights { id: id(), weight: Lax::Text("heavy".into()) })
            .always(Refused("weight: the field must be a number, not text")),
        document("a count", v1, Counts { id: id(), granularity: 7_u64 }),
        document("a count that is a whole double", v1, Counts { id: id(), granularity: 7.0_f64 }),
        document("a count with a fraction", v1, Counts { id: id(), granularity: 2.5_f64 })
            .always(Refused("granularity: the field must be a whole number, not a number with a fraction")),
        document("a negative count", v1, Counts { id: id(), granularity: -1 })
            .always(Refused("granularity: -1 is not between 0 and 4294967295")),
        document("a location", v1, Locations { id: id(), location: (1_u8, 2.5_f32) }),
        document("scores", v1, Scores {
            id: id(),
            scores: BTreeMap::from([("cos".to_owned(), Score { value: 0.5, op_name: "cos".into() })]),
        }),
        document("a score that is a number", v1, Scores {
            id: id(),
            scores: BTreeMap::from([("cos".to_owned(), 0.5)]),
        })
        .always(Refused("scores.cos: a score must be an object, not a number")),
        document("a field that v1 does not have", v1, Numbers { id: id(), number: 7 })
            .always(Refused("a v1 document has no field \"number\"")),
        document("text that is a list", v1, Texts { id: id(), text: vec!["a".to_owned()] })
            .always(Refused("text: the field must be text, not a list")),
        document("tags that are no object", v1, Tags { id: id(), tags: vec![7] })
            .always(Refused("tags: tags must be an object, not a list")),
        // Fields of the executor's class in v2.
        document("an integer", v2, Numbers { id: id(), number: -7_i64 }),
        document("an integer of 128 bits", v2, Numbers { id: id(), number: 7_i128 }),
        document("a float", v2, Ratios { id: id(), ratio: 0.1_f32 }),
        document("a float that is whole", v2, Ratios { id: id(), ratio: 7_u8 }),
        document("a flag", v2, Flags { id: id(), flag: true }),
        document("a url", v2, Urls { id: id(), url: url::Url::parse("http://example.org/a").unwrap() }),
        document("words that are UUIDs", v2, Words { id: id(), words: vec![uuid; 2] }),
        document("words that are no list", v2, Words { id: id(), words: id() })
            .always(Failed("value is not a valid list")),
        document("a tensor that is an object", v2, Tensors { id: id(), tensor: part("p") })
            .always(Failed("compatible type")),
        document("a document in a document", v2, Singles { id: id(), part: part("p") }),
        document("none in place of a document", v2, Singles { id: id(), part: None::<Part> }),
        document("a map in place of a document", v2, Singles {
            id: id(),
            part: serde_json::json!({"id": "p", "text": "t", "tensor": null}),
        }),
        document("a list of documents", v2, Lists { id: id(), parts: vec![part("p"), part("q")] }),
        document("an empty list of documents", v2, Lists { id: id(), parts: Vec::<Part>::new() }),
        document("an optional list of documents", v2, Optionals { id: id(), chunks: Some(vec![part("p")]) })
            .by(|_, protocol| if protocol.is_json {
                // The gateway loses everything but the ids.
                Becomes("Optionals { id: \"a\", chunks: Some([Part { id: \"p\", text: None, tensor: None }]) }")
            } else {
                Same
            }),
        document("text that is an object", v2, Texts { id: id(), text: part("p") })
            .always(Failed("str type expected")),
    ]
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Level {
    High,
}

/// A scalar of any kind.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Lax {
    Flag(bool),
    Number(u64),
    Real(f64),
    Text(String),
}
