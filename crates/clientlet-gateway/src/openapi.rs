//! `GET /openapi.json`: the routes by which a client of documents v2 finds its endpoints.

use serde_json::{Map, Value, json};

use crate::docarray::DocArray;
use crate::http_reply::HttpReply;
use crate::percent::route;
use crate::schema::{self, Place, Schema, definitions};
use crate::world::{Protocol, World};

/// The description of the gateway's routes.
pub(crate) fn reply(world: &World, protocol: Protocol) -> HttpReply {
    let description = match (protocol, world.control.spoken()) {
        (Protocol::WebSocket, docarray) => websocket(docarray),
        (_, DocArray::V1) => v1(),
        (_, DocArray::V2) => v2(world),
    };
    HttpReply::json(200, description.to_string().into_bytes())
}

/// The port of WebSockets publishes no schema of its data.
fn websocket(docarray: DocArray) -> Value {
    let (openapi, version) = match docarray {
        DocArray::V1 => ("3.0.2", "3.14.1"),
        DocArray::V2 => ("3.1.0", "3.33.1"),
    };
    let paths: Map<String, Value> = ["/", "/dry_run", "/status"]
        .iter()
        .map(|path| ((*path).to_owned(), json!({"get": operation(path)})))
        .collect();
    json!({"openapi": openapi, "info": info(version), "paths": paths})
}

fn v1() -> Value {
    let paths = [
        ("/", "get"),
        ("/dry_run", "get"),
        ("/status", "get"),
        ("/post", "post"),
        ("/index", "post"),
        ("/search", "post"),
        ("/update", "put"),
        ("/delete", "delete"),
    ];
    let paths: Map<String, Value> = paths
        .iter()
        .map(|(path, method)| ((*path).to_owned(), json!({*method: operation(path)})))
        .collect();
    // The part of the schemas that shows a client which documents the gateway accepts.
    let fields = ["id", "granularity", "chunks", "matches", "text", "tags"];
    let fields: Map<String, Value> =
        fields.into_iter().map(|name| (name.to_owned(), json!({}))).collect();
    let schemas = json!({
        "JinaRequestModel": {"title": "JinaRequestModel", "type": "object"},
        "PydanticDocument": {"title": "PydanticDocument", "type": "object", "properties": fields},
    });
    json!({
        "openapi": "3.0.2",
        "info": info("3.14.1"),
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn v2(world: &World) -> Value {
    let mut paths = Map::new();
    for path in ["/", "/dry_run", "/status"] {
        paths.insert(path.into(), json!({"get": operation(path)}));
    }
    let mut classes: Vec<(String, Schema)> = Vec::new();
    let mut schemas = Map::new();
    schemas.insert("Header".into(), header());
    for shown in world.shown() {
        let path = shown.path;
        for class in [shown.takes, shown.gives] {
            if !classes.iter().any(|(name, _)| name == class.name()) {
                classes.push((class.name().to_owned(), class.clone()));
                definitions(class, &mut classes);
            }
        }
        if shown.is_stream {
            let mut operation = operation(path);
            operation["summary"] = format!("Streaming Endpoint {path}").into();
            operation["requestBody"] = json!({"content": content(shown.takes.name())});
            paths.insert(route(path), json!({"get": operation}));
            continue;
        }
        let name = path.trim_matches('/');
        for (kind, class) in [("input", shown.takes), ("output", shown.gives)] {
            let title = format!("{name}_{kind}_model");
            schemas.insert(title.clone(), model(&title, class.name()));
        }
        let mut operation = operation(path);
        operation["requestBody"] = json!({
            "content": content(&format!("{name}_input_model")),
            "required": true,
        });
        operation["responses"]["200"]["content"] = content(&format!("{name}_output_model"));
        let methods = paths.entry(route(path)).or_insert_with(|| json!({}));
        methods["post"] = operation;
    }
    for (name, class) in &classes {
        schemas.insert(name.clone(), schema::class(class, Place::Components));
    }
    json!({
        "openapi": "3.1.0",
        "info": info("3.33.1"),
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

fn info(version: &str) -> Value {
    json!({"title": "My Jina Service", "version": version})
}

fn operation(path: &str) -> Value {
    json!({
        "summary": format!("Endpoint {path}"),
        "responses": {"200": {"description": "Successful Response"}},
    })
}

fn content(model: &str) -> Value {
    json!({"application/json": {"schema": {"$ref": format!("#/components/schemas/{model}")}}})
}

fn model(title: &str, class: &str) -> Value {
    let item = json!({"$ref": format!("#/components/schemas/{class}")});
    json!({
        "title": title,
        "type": "object",
        "properties": {
            "data": {"anyOf": [{"items": item, "type": "array"}, item], "title": "Data"},
            "parameters": {"type": "object", "title": "Parameters"},
            "header": {"$ref": "#/components/schemas/Header"},
        },
        "required": ["data"],
    })
}

fn header() -> Value {
    json!({
        "title": "Header",
        "type": "object",
        "properties": {
            "requestId": {"type": "string", "title": "Requestid"},
            "targetExecutor": {"type": "string", "title": "Targetexecutor"},
        },
    })
}
