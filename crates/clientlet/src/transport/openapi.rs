//! Reads `/openapi.json` of a server: its endpoints, and the documents that they take.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

use serde::Deserialize;
use serde::de::{Deserializer as _, MapAccess, Visitor};
use serde_json::Value;
use serde_json::value::RawValue;

use crate::envelope::inner::Fields;
use crate::error::{AttemptError, Event};
use crate::foreign::told;
use crate::message::DocArray;

/// A gateway's own paths that take GET, as streams of documents do.
const QUESTIONS: [&str; 3] = ["/", "/status", "/dry_run"];
/// The name of the schema of documents on servers with documents v1.
const V1_DOCUMENT: &str = "PydanticDocument";
/// The name of the schema of a v1 gateway's requests, which name their endpoint. A bare Deployment
/// has a path for each endpoint instead, whichever documents it takes.
const BY_NAME: &str = "JinaRequestModel";

/// The part of a server's description that is used. The rest is not parsed, because the description
/// may be long.
#[derive(Debug, Deserialize)]
pub(crate) struct OpenApi<'a> {
    /// The operations by path, then by method in lower case.
    #[serde(borrow)]
    paths: BTreeMap<String, BTreeMap<String, &'a RawValue>>,
    #[serde(borrow, default)]
    components: Components<'a>,
}

#[derive(Debug, Default, Deserialize)]
struct Components<'a> {
    #[serde(borrow, default)]
    schemas: BTreeMap<String, &'a RawValue>,
}

/// The place at which an operation names the schema of its input.
const SCHEMA: [&str; 5] = ["requestBody", "content", "application/json", "schema", "$ref"];

impl<'a> OpenApi<'a> {
    /// Reads a server's description.
    ///
    /// # Errors
    /// The parse error, as the failure of the question.
    pub(crate) fn read(body: &'a [u8]) -> Result<OpenApi<'a>, AttemptError> {
        serde_json::from_slice(body).map_err(|error| {
            AttemptError::new(Event::Unreadable, format!("it cannot be read: {}", told(&error)))
                .before_sending("GET /openapi.json")
        })
    }

    /// Returns the paths that documents can be posted to.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.with("post")
    }

    /// Returns the paths that give streams of documents.
    pub(crate) fn streams(&self) -> Vec<String> {
        let mut paths = self.with("get");
        paths.retain(|path| !QUESTIONS.contains(&path.as_str()));
        paths
    }

    /// Returns which documents the endpoints take; `None` if no endpoint shows it.
    pub(crate) fn docarray(&self) -> Option<DocArray> {
        if self.components.schemas.get(V1_DOCUMENT).is_some_and(|schema| is_v1(schema)) {
            return Some(DocArray::V1);
        }
        let takes_documents = |(path, methods): (&String, &BTreeMap<String, &RawValue>)| {
            let schema = methods.get("post").and_then(|operation| text_at(operation, &SCHEMA));
            let has_body = || {
                let body = methods.get("get").and_then(|operation| at(operation, &SCHEMA[..1]));
                body.is_some_and(|body| body.get() != "null")
            };
            schema.is_some_and(|schema| schema.ends_with("_input_model"))
                || (!QUESTIONS.contains(&path.as_str()) && has_body())
        };
        self.paths.iter().any(takes_documents).then_some(DocArray::V2)
    }

    /// Whether all endpoints share one path, so that requests name their endpoint.
    pub(crate) fn is_by_name(&self) -> bool {
        self.components.schemas.contains_key(BY_NAME)
    }

    /// Returns the schema of the documents that are posted to a path.
    pub(crate) fn fields(&self, path: &str) -> Option<Fields> {
        let operation = self.paths.get(path)?.get("post")?;
        let schema = text_at(operation, &SCHEMA)?;
        let model = schema.rsplit('/').next()?;
        let model: Value = serde_json::from_str(self.components.schemas.get(model)?.get()).ok()?;
        let read = |(name, schema): (&String, &&RawValue)| {
            Some((name.clone(), serde_json::from_str(schema.get()).ok()?))
        };
        let all = self.components.schemas.iter().filter_map(read).collect();
        // The schema allows a list of documents or a single one.
        let schema = model["properties"]["data"]["anyOf"][0]["items"].clone();
        (!schema.is_null()).then_some(Fields { schema, all })
    }

    fn with(&self, method: &str) -> Vec<String> {
        let paths = self.paths.iter().filter(|(_, methods)| methods.contains_key(method));
        paths.map(|(path, _)| path.clone()).collect()
    }
}

/// Whether the schema has the fields of v1 documents. An executor's own class may have the same
/// name, but hardly the same fields.
fn is_v1(schema: &RawValue) -> bool {
    ["granularity", "chunks"].iter().all(|field| at(schema, &["properties", field]).is_some())
}

/// Returns the text at the end of a path of members.
fn text_at(json: &RawValue, path: &[&str]) -> Option<String> {
    serde_json::from_str(at(json, path)?.get()).ok()
}

/// Returns the value at the end of a path of members; `None` if a part of the path is missing. No
/// tree is built, because a tree takes many times the memory of its text.
fn at<'a>(json: &'a RawValue, path: &[&str]) -> Option<&'a RawValue> {
    path.iter().try_fold(json, |json, name| {
        serde_json::Deserializer::from_str(json.get()).deserialize_map(Member(name)).ok()?
    })
}

/// Finds a member of an object, the last one of several.
struct Member<'n>(&'n str);

impl<'de> Visitor<'de> for Member<'_> {
    type Value = Option<&'de RawValue>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut entries: A) -> Result<Self::Value, A::Error> {
        let mut found = None;
        while let Some((name, value)) = entries.next_entry::<Cow<'_, str>, &RawValue>()? {
            if name == self.0 {
                found = Some(value);
            }
        }
        Ok(found)
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(description: &str) -> OpenApi<'_> {
        OpenApi::read(description.as_bytes()).unwrap()
    }

    fn posted(schema: &str) -> Value {
        let schema = json!({"$ref": format!("#/components/schemas/{schema}")});
        json!({"post": {"requestBody": {"content": {"application/json": {"schema": schema}}}}})
    }

    fn v1_document() -> Value {
        json!({"properties": {"granularity": {}, "chunks": {}}})
    }

    #[test]
    fn the_schemas_show_the_generation() {
        let v1_gateway = json!({
            "paths": {"/post": posted("JinaRequestModel"), "/status": {"get": {}}},
            "components": {"schemas": {"JinaRequestModel": {}, "PydanticDocument": v1_document()}},
        });
        let v1_deployment = json!({
            "paths": {"/post": posted("post_input_model")},
            "components": {"schemas": {"PydanticDocument": v1_document()}},
        });
        let v2 = json!({
            "paths": {"/upper": posted("upper_input_model")},
            "components": {"schemas": {"PydanticDocument": {"properties": {"text": {}}}}},
        });
        let only_streams = json!({"paths": {"/": {"get": {}}, "/s": {"get": {"requestBody": {}}}}});
        let websocket = json!({"paths": {"/": {"get": {}}, "/dry_run": {"get": {}}}});
        let another = json!({"paths": {"/pets": posted("Pet")}});
        let table = [
            (v1_gateway, Some(DocArray::V1), true),
            (v1_deployment, Some(DocArray::V1), false),
            (v2, Some(DocArray::V2), false),
            (only_streams, Some(DocArray::V2), false),
            (websocket, None, false),
            (another, None, false),
        ];
        for (description, docarray, is_by_name) in table {
            let description = description.to_string();
            let openapi = read(&description);
            assert_eq!((openapi.docarray(), openapi.is_by_name()), (docarray, is_by_name));
        }
    }

    #[test]
    fn paths_are_classified_by_their_methods() {
        let openapi = read(
            r#"{"paths": {"/": {"get": {}, "post": {}}, "/status": {"get": {}}, "/s": {"get": {}},
                "/p": {"post": {}}}}"#,
        );
        assert_eq!(openapi.paths(), ["/", "/p"]);
        assert_eq!(openapi.streams(), ["/s"]);
    }
}
