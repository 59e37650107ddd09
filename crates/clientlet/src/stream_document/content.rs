//! The content of a request for a stream.

use bytes::Bytes;
use serde_json::{Map, Value};

use crate::address::encode_percent;
use crate::envelope::ProtoTemplate;
use crate::error::Error;
use crate::log;
use crate::message::{DocArray, Encoding, RequestId};

/// The maximum size of a document in the query, in bytes: some servers accept addresses of at most
/// 4 or 8 KiB.
const LONGEST_QUERY: usize = 2 << 10;

/// The content of a request without the name of its endpoint. The gateway may have to be asked for
/// that name.
#[derive(Debug)]
pub(super) enum Content {
    /// Only the document, because HTTP can carry nothing else.
    Alone { document: Bytes, query: String },
    /// The document as a field of the request.
    Enclosed { document: Vec<u8>, target: Option<String>, parameters: Option<Bytes> },
}

impl Content {
    /// Makes the content of a request.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) or
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode), naming the part that the protocol cannot
    /// carry.
    pub(super) fn new(
        encoding: Encoding,
        document: Vec<u8>,
        target: Option<String>,
        parameters: Option<Bytes>,
    ) -> Result<Content, Error> {
        if encoding == Encoding::Proto {
            let content = Content::Enclosed { document, target, parameters };
            // This body is written only as a check, so that parameters that cannot be sent are
            // refused immediately.
            content.body("/", RequestId { nonce: 0, sequence: 0 })?;
            return Ok(content);
        }
        let what = match (target, parameters) {
            (None, None) => {
                let query = query(&document);
                return Ok(Content::Alone { document: document.into(), query });
            }
            (Some(_), _) => "a target executor",
            (None, Some(_)) => "parameters",
        };
        Err(Error::config(format!(
            "over HTTP a stream of documents cannot have {what}; use grpc://"
        )))
    }

    /// Returns the body of the request.
    ///
    /// # Errors
    /// If a parameter cannot be sent.
    pub(super) fn body(&self, endpoint: &str, id: RequestId) -> Result<Bytes, Error> {
        match self {
            Content::Alone { document, .. } => Ok(document.clone()),
            Content::Enclosed { document, target, parameters } => {
                let (target, parameters) = (target.as_deref(), parameters.as_deref());
                let template = ProtoTemplate::new(DocArray::V2, endpoint, target, parameters)
                    .map_err(|error| error.of("parameters"))?;
                Ok(template.around(&id.to_string(), document))
            }
        }
    }

    /// Returns the query that follows the path.
    pub(super) fn query(&self) -> &str {
        match self {
            Content::Alone { query, .. } => query,
            Content::Enclosed { .. } => "",
        }
    }
}

/// Writes the document's fields as a query, which a gateway reads if a proxy has dropped the body
/// of the GET. A query cannot hold lists and objects. Text takes their place; their fields refuse
/// the text, so that no executor works on half of a document.
fn query(document: &[u8]) -> String {
    let fields: Map<String, Value> = serde_json::from_slice(document).unwrap_or_default();
    let (mut query, mut is_whole) = (String::new(), true);
    for (name, value) in &fields {
        let text = match value {
            Value::Null => continue,
            Value::String(text) => text.clone(),
            Value::Array(_) => {
                is_whole = false;
                "(a list, in the body)".to_owned()
            }
            Value::Object(_) => {
                is_whole = false;
                "(an object, in the body)".to_owned()
            }
            Value::Bool(_) | Value::Number(_) => value.to_string(),
        };
        let separator = if query.is_empty() { '?' } else { '&' };
        let pair = format!("{separator}{}={}", encode_query(name), encode_query(&text));
        if query.len() + pair.len() > LONGEST_QUERY {
            is_whole = false;
            continue;
        }
        query += &pair;
    }
    if !is_whole {
        log::long_document();
    }
    query
}

/// Percent-encodes text as in a path, and also the characters that have a meaning in a query.
fn encode_query(text: &str) -> String {
    let path = encode_percent(text);
    path.replace('&', "%26").replace('+', "%2B").replace('=', "%3D").replace(';', "%3B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_query_has_scalars_and_for_lists_and_objects_text_that_their_fields_refuse() {
        let table = [
            (r#"{"text":"a b&c=d+e%ä/"}"#, "?text=a%20b%26c%3Dd%2Be%25%C3%A4/"),
            (r#"{"n":1,"r":-2.5,"b":true,"none":null}"#, "?b=true&n=1&r=-2.5"),
            (r#"{"a b":""}"#, "?a%20b="),
            (
                r#"{"l":[1],"o":{}}"#,
                "?l=(a%20list,%20in%20the%20body)&o=(an%20object,%20in%20the%20body)",
            ),
            ("{}", ""),
        ];
        for (document, expected) in table {
            assert_eq!(query(document.as_bytes()), expected, "{document}");
        }
    }

    #[test]
    fn fields_too_long_for_an_address_are_only_in_the_body() {
        let long = format!(r#"{{"id":"a","text":"{}","z":1}}"#, "x".repeat(LONGEST_QUERY));
        assert_eq!(query(long.as_bytes()), "?id=a&z=1");
    }
}
