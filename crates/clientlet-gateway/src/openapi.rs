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
    for (path, summary, description, name, model) in OWN_ROUTES {
        let mut operation = json!({
            "summary": summary,
            "description": description,
            "operationId": operation_id(name, path, "get"),
            "responses": {"200": {"description": "Successful Response", "content": content(model)}},
        });
        if path == "/status" {
            operation["tags"] = json!(["Debug"]);
        }
        paths.insert(path.into(), json!({"get": operation}));
    }
    let mut classes: Vec<(String, Schema)> = Vec::new();
    let mut schemas = own_schemas();
    for shown in world.shown() {
        let path = shown.path;
        for class in [shown.takes, shown.gives] {
            if !classes.iter().any(|(name, _)| name == class.name()) {
                classes.push((class.name().to_owned(), class.clone()));
                definitions(class, &mut classes);
            }
        }
        let route = route(path);
        if shown.is_stream {
            let operation = json!({
                "summary": format!("Streaming Endpoint {path}"),
                "operationId": operation_id("streaming_get", &route, "get"),
                "requestBody": {"content": content(shown.takes.name())},
                "responses": responses(&json!({"application/json": {"schema": {}}})),
            });
            paths.insert(route, json!({"get": operation}));
            continue;
        }
        let name = path.trim_matches('/');
        for (kind, class) in [("input", shown.takes), ("output", shown.gives)] {
            let title = format!("{name}_{kind}_model");
            schemas.insert(title.clone(), model(&title, class.name()));
        }
        let operation = json!({
            "summary": format!("Endpoint {path}"),
            "operationId": operation_id("post", &route, "post"),
            "requestBody": {
                "content": content(&format!("{name}_input_model")),
                "required": true,
            },
            "responses": responses(&content(&format!("{name}_output_model"))),
        });
        let methods = paths.entry(route).or_insert_with(|| json!({}));
        methods["post"] = operation;
    }
    for (name, class) in &classes {
        schemas.insert(name.clone(), schema::class(class, Place::Components));
    }
    let mut info = info("3.33.1");
    info["description"] = "The embedded gateway of a test.".into();
    json!({
        "openapi": "3.1.0",
        "info": info,
        "paths": paths,
        "components": {"schemas": schemas},
    })
}

/// The routes of every gateway: path, summary, description, FastAPI's name and the model of the answer.
const OWN_ROUTES: [(&str, &str, &str, &str, &str); 3] = [
    (
        "/",
        "Get the health of Jina Gateway service",
        "Get the health of this Gateway service.",
        "_gateway_health",
        "JinaHealthModel",
    ),
    (
        "/dry_run",
        "Get the readiness of Jina Flow service",
        "Get the readiness of the executors behind this gateway.",
        "_flow_health",
        "StatusProto",
    ),
    (
        "/status",
        "Get the status of Jina service",
        "Get the versions of the packages of this gateway.",
        "_status",
        "JinaInfoModel",
    ),
];

/// The id that FastAPI gives an operation.
fn operation_id(name: &str, route: &str, method: &str) -> String {
    let is_word = |c: char| if c.is_alphanumeric() { c } else { '_' };
    let id: String = format!("{name}{route}").chars().map(is_word).collect();
    format!("{id}_{method}")
}

/// The answers of an endpoint.
fn responses(content: &Value) -> Value {
    json!({
        "200": {"description": "Successful Response", "content": content},
        "422": {
            "description": "Validation Error",
            "content": self::content("HTTPValidationError"),
        },
    })
}

/// The schemas of every gateway.
fn own_schemas() -> Map<String, Value> {
    let text = |title: &str| json!({"type": "string", "title": title, "default": ""});
    let texts = |title: &str| json!({"items": {"type": "string"}, "type": "array", "title": title, "default": []});
    let refer = |name: &str| json!({"$ref": format!("#/components/schemas/{name}")});
    let object = |title: &str, properties: Value| json!({"properties": properties, "type": "object", "title": title});
    let required = |names: Value, mut schema: Value| {
        schema["required"] = names;
        schema
    };
    let mut code = json!({"allOf": [refer("StatusCode")]});
    code["default"] = 0.into();
    let schemas = [
        ("Header", header()),
        (
            "ExceptionProto",
            object(
                "ExceptionProto",
                json!({
                    "name": text("Name"),
                    "args": texts("Args"),
                    "stacks": texts("Stacks"),
                    "executor": text("Executor"),
                }),
            ),
        ),
        (
            "HTTPValidationError",
            object(
                "HTTPValidationError",
                json!({
                    "detail": {
                        "items": refer("ValidationError"), "type": "array", "title": "Detail",
                    },
                }),
            ),
        ),
        ("JinaHealthModel", object("JinaHealthModel", json!({}))),
        (
            "JinaInfoModel",
            required(
                json!(["jina", "envs"]),
                object(
                    "JinaInfoModel",
                    json!({
                        "jina": {"type": "object", "title": "Jina"},
                        "envs": {"type": "object", "title": "Envs"},
                    }),
                ),
            ),
        ),
        ("StatusCode", json!({"enum": [0, 1], "title": "StatusCode"})),
        (
            "StatusProto",
            object(
                "StatusProto",
                json!({
                    "code": code,
                    "description": text("Description"),
                    "exception": refer("ExceptionProto"),
                }),
            ),
        ),
        (
            "ValidationError",
            required(
                json!(["loc", "msg", "type"]),
                object(
                    "ValidationError",
                    json!({
                        "loc": {
                            "items": {"anyOf": [{"type": "string"}, {"type": "integer"}]},
                            "type": "array",
                            "title": "Location",
                        },
                        "msg": {"type": "string", "title": "Message"},
                        "type": {"type": "string", "title": "Error Type"},
                    }),
                ),
            ),
        ),
    ];
    schemas.into_iter().map(|(name, schema)| (name.to_owned(), schema)).collect()
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
