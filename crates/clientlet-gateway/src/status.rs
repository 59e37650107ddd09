//! `GET /status`, and the same over gRPC: the versions from which a client knows the generation of
//! documents.

use serde_json::{Map, Value, json};

use crate::docarray::DocArray;
use crate::http_reply::HttpReply;

/// The environment variables that a gateway tells of.
pub(crate) const ENVS: [(&str, &str); 1] = [("JINA_LOG_LEVEL", "(unset)")];

/// What a gateway of this generation says that it is made of.
pub(crate) fn versions(docarray: DocArray) -> [(&'static str, &'static str); 5] {
    // docarray 0.41 calls itself 0.40.1 there.
    let (jina, docarray, proto) = match docarray {
        DocArray::V1 => ("3.14.1", "0.21.0", "0.1.13"),
        DocArray::V2 => ("3.33.1", "0.40.1", "0.1.27"),
    };
    [
        ("jina", jina),
        ("docarray", docarray),
        ("jina-proto", proto),
        ("platform", "clientlet-gateway"),
        ("internal", "False"),
    ]
}

/// The status of a gateway of this generation.
pub(crate) fn reply(docarray: DocArray) -> HttpReply {
    let map = |pairs: &[(&str, &str)]| -> Map<String, Value> {
        pairs.iter().map(|(name, value)| ((*name).to_owned(), (*value).into())).collect()
    };
    let status = json!({"jina": map(&versions(docarray)), "envs": map(&ENVS)});
    HttpReply::json(200, status.to_string().into_bytes())
}
