//! The JSON of a request around its documents. It is the same for every request of a call, except
//! for the id.

use std::fmt::{Display, Write as _};
use std::io::Write as _;

use crate::message::DocArray;

/// `{"data":[` documents `],` everything else, with the request's id near the end.
#[derive(Debug)]
pub(crate) struct JsonTemplate {
    /// The text between the last document and the id.
    before_id: Vec<u8>,
    /// The text after the id.
    after_id: Vec<u8>,
}

const BEGIN: &[u8] = b"{\"data\":[";

impl JsonTemplate {
    /// Makes a template; `parameters` is a JSON object.
    pub(crate) fn new(
        docarray: DocArray,
        endpoint: &str,
        target_executor: Option<&str>,
        parameters: Option<&[u8]>,
    ) -> JsonTemplate {
        let quoted =
            |text: &str| serde_json::to_string(text).expect("text can always be written as JSON");
        let target = target_executor
            .map(|target| format!(",\"targetExecutor\":{}", quoted(target)))
            .unwrap_or_default();
        let mut before_id = "]".to_owned();
        if docarray == DocArray::V1 {
            // In v1, endpoint and target are at the top, because v1 uses the header only for its
            // own logs. In v2, the endpoint is in the path and the target in the header.
            write!(before_id, ",\"execEndpoint\":{}{target}", quoted(endpoint))
                .expect("writing to a string cannot fail");
        }
        let mut before_id = before_id.into_bytes();
        if let Some(parameters) = parameters {
            before_id.extend_from_slice(b",\"parameters\":");
            before_id.extend_from_slice(parameters);
        }
        before_id.extend_from_slice(b",\"header\":{\"requestId\":\"");
        let after_id = match docarray {
            DocArray::V1 => "\"}}".to_owned(),
            DocArray::V2 => format!("\"{target}}}}}"),
        };
        JsonTemplate { before_id, after_id: after_id.into_bytes() }
    }

    pub(crate) fn begin(&self, out: &mut Vec<u8>) {
        out.extend_from_slice(BEGIN);
    }

    /// Ends a request; `id` is the client's own id, or text that the caller chose.
    pub(crate) fn finish(&self, id: impl Display, out: &mut Vec<u8>) {
        out.reserve(self.before_id.len() + self.after_id.len() + 40);
        out.extend_from_slice(&self.before_id);
        let start = out.len();
        write!(out, "{id}").expect("writing to memory cannot fail");
        escape(out, start);
        out.extend_from_slice(&self.after_id);
    }
}

/// Escapes the text after `start` for JSON's quotes. The client's own ids never need escapes.
fn escape(out: &mut Vec<u8>, start: usize) {
    let is_plain = |b: &u8| (0x20..0x7f).contains(b) && !matches!(b, b'"' | b'\\');
    if out[start..].iter().all(is_plain) {
        return;
    }
    let text = String::from_utf8_lossy(&out.split_off(start)).into_owned();
    let quoted = serde_json::to_string(&text).expect("text can always be written as JSON");
    out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;
    use crate::message::RequestId;

    fn written(docarray: DocArray, target: Option<&str>, parameters: Option<&[u8]>) -> Value {
        let template = JsonTemplate::new(docarray, "/s\"x", target, parameters);
        let mut out = Vec::new();
        template.begin(&mut out);
        out.extend_from_slice(b"{\"id\":\"a\"}");
        template.finish(RequestId { nonce: 1, sequence: 2 }, &mut out);
        serde_json::from_slice(&out).unwrap()
    }

    #[test]
    fn v1_has_endpoint_and_target_at_the_top() {
        assert_eq!(
            written(DocArray::V1, Some("first"), Some(b"{\"k\":1}")),
            json!({"data": [{"id": "a"}], "execEndpoint": "/s\"x", "targetExecutor": "first",
                "parameters": {"k": 1}, "header": {"requestId": "0000000000000001-2"}})
        );
    }

    #[test]
    fn v2_has_the_target_in_the_header_and_no_endpoint() {
        assert_eq!(
            written(DocArray::V2, Some("first"), None),
            json!({"data": [{"id": "a"}],
                "header": {"requestId": "0000000000000001-2", "targetExecutor": "first"}})
        );
    }

    #[test]
    fn an_id_that_the_caller_chose_is_escaped() {
        let template = JsonTemplate::new(DocArray::V2, "/", None, None);
        let mut out = Vec::new();
        template.begin(&mut out);
        template.finish("a\"b\\é\n", &mut out);
        let json: Value = serde_json::from_slice(&out).unwrap();
        assert_eq!(json["header"]["requestId"], "a\"b\\é\n");
    }

    #[test]
    fn target_and_parameters_that_are_not_set_are_left_out() {
        assert_eq!(
            written(DocArray::V2, None, None),
            json!({"data": [{"id": "a"}], "header": {"requestId": "0000000000000001-2"}})
        );
    }
}
