//! `GET /openapi.json`: the routes by which a client of documents v2 finds its endpoints.

use serde_json::{Map, Value, json};

use crate::docarray::DocArray;
use crate::reply::Reply;
use crate::world::{Protocol, World};

/// The description of the gateway's routes.
pub(crate) fn reply(world: &World, protocol: Protocol) -> Reply {
    let description = match (protocol, world.control.spoken()) {
        (Protocol::WebSocket, docarray) => websocket(docarray),
        (_, DocArray::V1) => v1(),
        (_, DocArray::V2) => v2(world),
    };
    Reply::json(200, description.to_string().into_bytes())
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
    // The part of the schemas that tells a client which documents are taken, and how.
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
    let mut schemas = Map::new();
    schemas.insert("Item".into(), item());
    schemas.insert("Header".into(), header());
    for path in world.bindings.paths() {
        let name = path.trim_start_matches('/');
        for kind in ["input", "output"] {
            let title = format!("{name}_{kind}_model");
            schemas.insert(title.clone(), model(&title));
        }
        let mut operation = operation(path);
        operation["requestBody"] = json!({
            "content": content(&format!("{name}_input_model")),
            "required": true,
        });
        operation["responses"]["200"]["content"] = content(&format!("{name}_output_model"));
        let methods = paths.entry(path).or_insert_with(|| json!({}));
        methods["post"] = operation;
    }
    for (path, _) in &world.bindings.streams {
        let mut operation = operation(path);
        operation["summary"] = format!("Streaming Endpoint {path}").into();
        operation["requestBody"] = json!({"content": content("Item")});
        paths.insert(path.clone(), json!({"get": operation}));
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

fn model(title: &str) -> Value {
    let item = json!({"$ref": "#/components/schemas/Item"});
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

fn item() -> Value {
    let array = json!({"items": {"type": "number"}, "type": "array"});
    json!({
        "title": "Item",
        "type": "object",
        "properties": {
            "id": {"type": "string"},
            "tags": {"type": "object", "default": {}},
            "ratio": {"type": "number"},
            "words": {"items": {"type": "string"}, "type": "array", "default": []},
            "url": {"type": "string", "format": "uri"},
            "embedding": array,
            "tensor": array,
            "flag": {"type": "boolean"},
            "number": {"type": "integer"},
            "blob": {"type": "string", "format": "binary"},
            "text": {"type": "string"},
            "part": {"type": "object"},
            "parts": {"items": {"type": "object"}, "type": "array"},
            "chunks": {"items": {"type": "object"}, "type": "array"},
        },
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
