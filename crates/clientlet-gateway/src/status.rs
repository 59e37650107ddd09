//! `GET /status`: the versions by which a client tells the generation of documents.

use serde_json::json;

use crate::control::Documents;
use crate::reply::Reply;

/// The status of a gateway of this generation.
pub(crate) fn reply(generation: Documents) -> Reply {
    // docarray 0.41 calls itself 0.40.1 there.
    let (jina, docarray, proto) = match generation {
        Documents::V1 => ("3.14.1", "0.21.0", "0.1.13"),
        Documents::V2 => ("3.33.1", "0.40.1", "0.1.27"),
    };
    let status = json!({
        "jina": {
            "jina": jina,
            "docarray": docarray,
            "jina-proto": proto,
            "platform": "clientlet-gateway",
            "internal": "False",
        },
        "envs": {"JINA_LOG_LEVEL": "(unset)"},
    });
    Reply::json(200, status.to_string().into_bytes())
}
