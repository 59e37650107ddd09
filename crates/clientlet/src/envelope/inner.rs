//! Finds documents that a v2 gateway accepts over HTTP but cannot pass on. The gateway and its
//! executors speak protobuf, whose integers have 32 bits and whose messages nest at most 100 deep.
//! If a request contains such a document, the gateway answers a bare 500 for all documents of the
//! request.

use std::ops::Range;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};

use crate::document::proto::Encoder;
use crate::message::{Culprit, DocArray};

#[derive(Deserialize)]
struct BodyJson<'a> {
    #[serde(borrow)]
    data: Vec<&'a RawValue>,
}

/// Finds the documents of a request that the gateway cannot pass on. `fields` describes the fields
/// that the executor takes (a schema of openapi.json and the schemas it refers to). Fields that the
/// executor drops, or reads as anything but an integer, do no harm. Without `fields` every field
/// counts.
pub(crate) fn culprits(body: &[u8], fields: Option<&Fields>) -> Vec<Culprit> {
    let Ok(BodyJson { data }) = serde_json::from_slice(body) else { return Vec::new() };
    let what = |document: &RawValue| {
        // This client wrote the document, so no other fault is possible.
        let Ok(document) = serde_json::from_str(document.get()) else {
            return Some("it is nested too deeply".to_owned());
        };
        let passed = match fields {
            Some(Fields { schema, all }) => passed(document, schema, all, 0)?,
            None => document,
        };
        let mut out = Vec::new();
        let written = Encoder::new(DocArray::V2).document(&passed, &mut out);
        written.err().map(|error| error.to_string())
    };
    let culprit = |(index, document)| Some(Culprit { index, what: what(document)? });
    data.into_iter().enumerate().filter_map(culprit).collect()
}

/// The schema of an executor's documents.
#[derive(Clone, Debug)]
pub(crate) struct Fields {
    pub(crate) schema: Value,
    /// The schemas that other schemas refer to, by name.
    pub(crate) all: Map<String, Value>,
}

/// The maximum number of references that are followed, because schemas may refer to themselves.
const MOST_REFERENCES: usize = 64;

/// Returns the part of a value that the gateway passes on unchanged; `None` if the gateway drops
/// the value or reads it as text, a number with a fraction, or a tensor.
fn passed(value: Value, schema: &Value, all: &Map<String, Value>, depth: usize) -> Option<Value> {
    if let Some(name) = schema["$ref"].as_str().and_then(|name| name.rsplit('/').next()) {
        return match all.get(name) {
            Some(schema) if depth < MOST_REFERENCES => passed(value, schema, all, depth + 1),
            _ => Some(value),
        };
    }
    match (schema["type"].as_str(), value) {
        (Some("string" | "number" | "boolean"), _) => None,
        (Some("integer"), value) => Some(as_integer(value)),
        (Some("array"), Value::Array(items)) => {
            let passed = |item| passed(item, &schema["items"], all, depth);
            Some(Value::Array(items.into_iter().filter_map(passed).collect()))
        }
        (Some("object"), Value::Object(fields)) => {
            let properties = schema["properties"].as_object();
            let passed = |(name, value): (String, Value)| {
                let own = properties.map(|properties| properties.get(&name));
                let schema = match (own, &schema["additionalProperties"]) {
                    (Some(Some(schema)), _) => schema,
                    // Fields that the class does not have are dropped, unless it takes any.
                    (Some(None), Value::Null | Value::Bool(false)) => return None,
                    (Some(None) | None, others) => others,
                };
                Some((name, passed(value, schema, all, depth)?))
            };
            Some(Value::Object(fields.into_iter().filter_map(passed).collect()))
        }
        (_, value) => Some(value),
    }
}

/// Converts a value as an integer field reads it: whole numbers with a point and text become
/// integers.
fn as_integer(value: Value) -> Value {
    let whole = match &value {
        Value::Number(number) => number.as_f64().filter(|n| n.fract() == 0.0).and_then(|n| {
            // Within these bounds the conversion is exact. Integers themselves are left unchanged.
            (number.is_f64() && n.abs() < 1e18).then_some(n as i64)
        }),
        Value::String(text) => text.trim().parse().ok(),
        _ => None,
    };
    whole.map_or(value, Value::from)
}

/// Builds a request from the documents in `range`, with everything else as in `body` except the id;
/// `None` if `body` was not written by this client.
pub(crate) fn part(body: &Bytes, range: Range<usize>, old_id: &str, id: &str) -> Option<Bytes> {
    let BodyJson { data } = serde_json::from_slice(body).ok()?;
    let (first, last) = (data.get(range.start)?.get(), data.get(range.end.checked_sub(1)?)?.get());
    let place = |text: &str| text.as_ptr() as usize - body.as_ptr() as usize;
    let begin = place(data.first()?.get());
    let all = data.last()?.get();
    let end = place(all) + all.len();
    let tail = std::str::from_utf8(&body[end..]).ok()?;
    // The header is the last part of the request.
    let (before, after) = tail.rsplit_once(old_id)?;
    let documents = &body[place(first)..place(last) + last.len()];
    let parts = [&body[..begin], documents, before.as_bytes(), id.as_bytes(), after.as_bytes()];
    Some(parts.concat().into())
}

/// The message about a document that a gateway cannot pass on.
pub(crate) fn cannot_pass_on(document: u64, what: &str) -> String {
    format!(
        "the gateway answered 500: it takes document {document} over HTTP, but cannot pass it on to \
         its executors in protobuf: {what}"
    )
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn body(documents: &Value) -> Bytes {
        let body = json!({"data": documents, "header": {"requestId": "old-1"}});
        // The parts are in the order in which requests are written.
        let (data, header) = (body["data"].to_string(), body["header"].to_string());
        format!("{{\"data\":{data},\"parameters\":{{\"old-1\":1}},\"header\":{header}}}").into()
    }

    fn nested(depth: usize) -> Value {
        (0..depth).fold(json!(1), |inner, _| json!({"k": inner}))
    }

    #[test]
    fn integers_that_protobuf_cannot_hold_are_found_in_any_notation() {
        let schema = json!({"type": "object", "properties": {"number": {"type": "integer"}}});
        let fields = Fields { schema, all: Map::new() };
        let documents = json!([
            {"number": 1.0}, {"number": "7"}, {"number": 1_700_000_000_000.0}, {"number": 0.5},
            {"number": "99999999999"}, {"number": "x"}, {"number": null}, {"number": 4_294_967_296.5},
        ]);
        let found = culprits(&body(&documents), Some(&fields));
        let places: Vec<_> = found.iter().map(|it| (it.index, it.what.as_str())).collect();
        assert_eq!(found.iter().map(|it| it.index).collect::<Vec<_>>(), [2, 4], "{places:?}");
        assert!(places[0].1.contains("1700000000000 is beyond"), "{places:?}");
    }

    #[test]
    fn values_that_protobuf_cannot_hold_are_found_by_document_and_place() {
        let documents = json!([
            {"id": "0", "tags": {"n": 2_147_483_647}},
            {"id": "1", "tags": {"n": 1_700_000_000_000_u64}},
            {"id": "2", "tags": {"list": [1, -2_147_483_649_i64]}},
            {"id": "3", "tags": {"k": nested(40)}},
            {"id": "4", "tags": {"n": 1.7e300}},
        ]);
        let found = culprits(&body(&documents), None);
        let places: Vec<_> = found.iter().map(|it| (it.index, it.what.as_str())).collect();
        assert_eq!(found.iter().map(|it| it.index).collect::<Vec<_>>(), [1, 2, 3], "{places:?}");
        assert!(places[0].1.contains("tags.n"), "{places:?}");
        assert!(places[2].1.contains("nested too deeply"), "{places:?}");
    }

    #[test]
    fn depth_counts_as_a_gateway_of_3_33_1_counts_it() {
        for (depth, is_carried) in [(30, true), (31, false), (200, false)] {
            let documents = json!([{"id": "0", "tags": {"k": nested(depth)}}]);
            assert_eq!(culprits(&body(&documents), None).is_empty(), is_carried, "{depth}");
        }
    }

    #[test]
    fn values_that_the_executor_drops_or_reads_as_another_type_do_no_harm() {
        let schema = json!({"type": "object", "properties": {
            "ratio": {"type": "number"},
            "number": {"type": "integer"},
            "tensor": {"type": "array", "items": {"type": "number"}},
            "counts": {"type": "array", "items": {"type": "integer"}},
            "tags": {"type": "object"},
            "part": {"$ref": "#/components/schemas/Part"},
            "parts": {"type": "array", "items": {"$ref": "#/components/schemas/Part"}},
            "any": {},
        }});
        let part = json!({"type": "object", "properties": {"n": {"type": "integer"}, "r": {"type": "number"}}});
        let all = Map::from_iter([("Part".to_owned(), part)]);
        let open = json!({
            "type": "object", "properties": {"id": {"type": "string"}}, "additionalProperties": true,
        });
        let open = Fields { schema: open, all: Map::new() };
        let fields = Fields { schema, all };
        let big = 1_u64 << 40;
        let taken =
            culprits(&body(&json!([{"unknown": 1}, {"id": big}, {"unknown": big}])), Some(&open));
        assert_eq!(taken.iter().map(|it| it.index).collect::<Vec<_>>(), [2]);
        let table = [
            (json!({"ratio": big, "tensor": [1, big], "unknown": big}), true),
            (json!({"part": {"r": big, "unknown": big}, "parts": [{"r": big}]}), true),
            (json!({"number": big}), false),
            (json!({"counts": [big]}), false),
            (json!({"tags": {"n": big}}), false),
            (json!({"any": {"n": [big]}}), false),
            (json!({"part": {"n": big}}), false),
            (json!({"parts": [{"n": 1}, {"n": big}]}), false),
        ];
        for (document, is_carried) in table {
            let found = culprits(&body(&json!([document])), Some(&fields));
            assert_eq!(found.is_empty(), is_carried, "{document} {found:?}");
        }
    }

    #[test]
    fn a_part_of_a_request_has_its_documents_and_an_id_of_its_own() {
        let whole = body(&json!([{"id": "0"}, {"id": "1"}, {"id": "2"}, {"id": "3"}]));
        let part: Value =
            serde_json::from_slice(&part(&whole, 1..3, "old-1", "new-2").unwrap()).unwrap();
        assert_eq!(part["data"], json!([{"id": "1"}, {"id": "2"}]));
        assert_eq!(part["header"]["requestId"], "new-2");
        assert_eq!(part["parameters"], json!({"old-1": 1}));
    }
}
