//! What `/openapi.json` tells about a server: its endpoints, and which documents they take.

use std::collections::BTreeMap;

use serde::Deserialize;
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

/// The part of a server's description that is used. The description may be long, so the rest is not
/// parsed.
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

/// What an operation takes; all of it may be missing.
#[derive(Deserialize)]
struct Operation {
    #[serde(rename = "requestBody")]
    body: Option<Value>,
}

impl<'a> OpenApi<'a> {
    /// # Errors
    /// The parse error, as the failure of the question.
    pub(crate) fn read(body: &'a [u8]) -> Result<OpenApi<'a>, AttemptError> {
        serde_json::from_slice(body).map_err(|error| {
            AttemptError::new(Event::Unreadable, format!("it cannot be read: {}", told(&error)))
                .before_sending("GET /openapi.json")
        })
    }

    /// The paths that documents can be posted to.
    pub(crate) fn paths(&self) -> Vec<String> {
        self.with("post")
    }

    /// The paths that give streams of documents.
    pub(crate) fn streams(&self) -> Vec<String> {
        let mut paths = self.with("get");
        paths.retain(|path| !QUESTIONS.contains(&path.as_str()));
        paths
    }

    /// Which documents the endpoints take; `None` if no endpoint shows it.
    pub(crate) fn docarray(&self) -> Option<DocArray> {
        if self.components.schemas.get(V1_DOCUMENT).is_some_and(|schema| is_v1(schema)) {
            return Some(DocArray::V1);
        }
        let takes_documents = |(path, methods): (&String, &BTreeMap<String, &RawValue>)| {
            let body = |method| {
                let operation: Operation = serde_json::from_str(methods.get(method)?.get()).ok()?;
                operation.body
            };
            let posted = body("post").is_some_and(|body| {
                let schema = &body["content"]["application/json"]["schema"]["$ref"];
                schema.as_str().is_some_and(|schema| schema.ends_with("_input_model"))
            });
            posted || (!QUESTIONS.contains(&path.as_str()) && body("get").is_some())
        };
        self.paths.iter().any(takes_documents).then_some(DocArray::V2)
    }

    /// Whether all endpoints share one path, so that requests name their endpoint.
    pub(crate) fn is_by_name(&self) -> bool {
        self.components.schemas.contains_key(BY_NAME)
    }

    /// The schema of the documents that are posted to a path.
    pub(crate) fn fields(&self, path: &str) -> Option<Fields> {
        let operation = self.paths.get(path)?.get("post")?;
        let Operation { body } = serde_json::from_str(operation.get()).ok()?;
        let named = |schema: &Value| Some(schema["$ref"].as_str()?.rsplit('/').next()?.to_owned());
        let model = named(&body?["content"]["application/json"]["schema"])?;
        let model: Value = serde_json::from_str(self.components.schemas.get(&model)?.get()).ok()?;
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
    let schema: Value = serde_json::from_str(schema.get()).unwrap_or_default();
    ["granularity", "chunks"].iter().all(|field| schema["properties"].get(field).is_some())
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
    fn the_generation_shows_in_the_schemas() {
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
    fn paths_are_told_apart_by_their_methods() {
        let openapi = read(
            r#"{"paths": {"/": {"get": {}, "post": {}}, "/status": {"get": {}}, "/s": {"get": {}},
                "/p": {"post": {}}}}"#,
        );
        assert_eq!(openapi.paths(), ["/", "/p"]);
        assert_eq!(openapi.streams(), ["/s"]);
    }
}
