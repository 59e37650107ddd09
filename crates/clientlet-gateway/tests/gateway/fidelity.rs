//! The embedded gateway against captures of real ones: the same request gets the same answer,
//! except ids, times and stack traces.

#![allow(clippy::print_stdout, reason = "what is left out is to be seen")]

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use clientlet_gateway::{DocArray, Gateway};
use serde_json::{Value, json};

use crate::common::{Client, message, start};

/// Captures of `http_*.json` that are not compared, and the reasons.
const LEFT_OUT: &[(&str, &str)] = &[
    ("*/http_status", "versions and environment are of another machine; compared apart"),
    ("current/http_openapi", "compared apart"),
    ("current-v1/http_bad_json", "the embedded gateway words it as 3.14.1 does"),
    ("current-v1/http_executor_down_search", "503 there, 500 with 3.14.1"),
    ("current-v1/http_executor_down", "the description is worded as 3.14.1 does"),
    ("current-v1/http_dry_run_executor_down", "the description is worded as 3.14.1 does"),
    ("current-v1/http_target", "skipped deployments have an end time there"),
    ("current-v1/http_unknown_endpoint", "skipped deployments have an end time there"),
    ("current-v1/http_timeout_send", "the description has the gateway's other wording"),
];

fn fixtures(folder: &str) -> BTreeMap<String, Value> {
    let root = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../interop/fixtures");
    let mut fixtures = BTreeMap::new();
    for file in fs::read_dir(root.join(folder)).unwrap() {
        let path = file.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        if name.starts_with("http_") && path.extension().is_some_and(|e| e == "json") {
            fixtures.insert(name, serde_json::from_slice(&fs::read(path).unwrap()).unwrap());
        }
    }
    fixtures
}

async fn compare(folder: &str, docarray: DocArray) {
    let gateway = start(docarray, &[]).await;
    let mut client = Client::connect(&gateway).await;
    let mut compared = 0;
    for (name, fixture) in fixtures(folder) {
        let left_out = LEFT_OUT.iter().find(|(left_out, _)| {
            [format!("*/{name}"), format!("{folder}/{name}")].iter().any(|n| n == left_out)
        });
        if let Some((_, reason)) = left_out {
            println!("{folder}/{name} left out: {reason}");
            continue;
        }
        gateway.control().executor_down(name.contains("executor_down"));
        gateway.control().executor_slow(name.contains("timeout_send"));
        let request = &fixture["request"];
        let body = match &request["body"] {
            Value::Null => String::new(),
            Value::String(raw) => raw.clone(),
            body => body.to_string(),
        };
        let (method, path) =
            (request["method"].as_str().unwrap(), request["path"].as_str().unwrap());
        let headers = if body.is_empty() { "" } else { "content-type: application/json\r\n" };
        client.send(&message(method, path, headers, body.as_bytes())).await.unwrap();
        let answer = client.answer(true).await.unwrap();

        assert_eq!(answer.status, fixture["status"].as_u64().unwrap() as u16, "{folder}/{name}");
        assert_eq!(answer.headers["content-type"], fixture["content_type"], "{folder}/{name}");
        let mut expected = fixture["response"].clone();
        let mut body = match &expected {
            Value::String(_) => String::from_utf8(answer.body).unwrap().into(),
            _ => answer.json(),
        };
        level(&mut expected);
        level(&mut body);
        assert_eq!(body, expected, "{folder}/{name}");
        compared += 1;
    }
    println!("{folder}: {compared} compared");
    assert!(compared >= 13, "{folder}: only {compared} compared");
}

/// Replaces what differs from run to run: ids that the gateway made, times, stack traces.
fn level(value: &mut Value) {
    match value {
        Value::Object(fields) => {
            for (key, field) in fields {
                match (key.as_str(), &field) {
                    ("requestId", Value::String(id)) if is_hex(id) => *field = "id".into(),
                    ("startTime" | "endTime", Value::String(time)) if is_time(time) => {
                        *field = "time".into();
                    }
                    ("stacks", Value::Array(_)) => *field = "stacks".into(),
                    _ => level(field),
                }
            }
        }
        Value::Array(elements) => elements.iter_mut().for_each(level),
        _ => {}
    }
}

fn is_hex(id: &str) -> bool {
    id.len() == 32 && id.bytes().all(|b| b.is_ascii_hexdigit())
}

fn is_time(time: &str) -> bool {
    // 2026-11-24T06:01:45.617485+00:00
    let shape: String = time.chars().map(|c| if c.is_ascii_digit() { '0' } else { c }).collect();
    shape == "0000-00-00T00:00:00.000000+00:00"
}

#[tokio::test]
async fn v1_answers_as_3_14_1_does() {
    compare("seed-era", DocArray::V1).await;
}

#[tokio::test]
async fn v1_answers_as_3_33_1_does_but_for_known_differences() {
    compare("current-v1", DocArray::V1).await;
}

#[tokio::test]
async fn v2_answers_as_3_33_1_does() {
    compare("current", DocArray::V2).await;
}

#[tokio::test]
async fn status_names_the_versions_by_which_generations_are_told() {
    for (folder, docarray) in [("seed-era", DocArray::V1), ("current", DocArray::V2)] {
        let gateway = start(docarray, &[]).await;
        let status = Client::connect(&gateway).await.get("/status").await.unwrap().json();
        let expected = &fixtures(folder)["http_status"]["response"];
        for key in ["jina", "docarray", "jina-proto"] {
            assert_eq!(status["jina"][key], expected["jina"][key]);
        }
        assert!(status["envs"].as_object().unwrap().values().all(Value::is_string));
    }
}

/// A description without prose and examples, and without summaries that the capture leaves out.
fn told(value: &Value, expected: &Value) -> Value {
    match value {
        Value::Object(fields) => {
            let is_told = |name: &str| match name {
                "example" => false,
                // What is described is a text; a property of this name is an object.
                "description" => fields[name].is_object(),
                "summary" => expected[name] != "left out",
                _ => true,
            };
            let fields = fields.iter().filter(|(name, _)| is_told(name));
            fields.map(|(name, field)| (name.clone(), told(field, &expected[name]))).collect()
        }
        Value::Array(items) => {
            items.iter().enumerate().map(|(at, item)| told(item, &expected[at])).collect()
        }
        value => value.clone(),
    }
}

#[tokio::test]
async fn openapi_lists_the_bound_endpoints_as_post_paths() {
    let expected = fixtures("current")["http_openapi"].clone();
    let gateway = start(DocArray::V2, &[]).await;
    let openapi = Client::connect(&gateway).await.get("/openapi.json").await.unwrap().json();
    assert_eq!(openapi["openapi"], expected["openapi"]);
    let paths = openapi["paths"].as_object().unwrap();
    for (path, methods) in paths {
        let keys =
            |value: &Value| value.as_object().map(|map| map.keys().cloned().collect::<Vec<_>>());
        assert_eq!(keys(methods), keys(&expected["paths"][path]), "{path}");
    }
    for path in ["/", "/dry_run", "/status", "/upper", "/stream"] {
        let (ours, theirs) = (&openapi["paths"][path], &expected["paths"][path]);
        assert_eq!(told(ours, theirs), told(theirs, theirs), "{path}");
    }
    let (ours, theirs) = (&openapi["components"]["schemas"], &expected["components"]["schemas"]);
    // The classes of documents are compared in `schema::publish`.
    for name in [
        "ExceptionProto",
        "HTTPValidationError",
        "Header",
        "JinaHealthModel",
        "JinaInfoModel",
        "StatusCode",
        "StatusProto",
        "ValidationError",
        "_input_model",
        "upper_output_model",
    ] {
        assert_eq!(told(&ours[name], &theirs[name]), told(&theirs[name], &theirs[name]), "{name}");
    }
    assert!(paths.contains_key("/upper") && !paths.contains_key("/post"));
}

async fn post(gateway: &Gateway, path: &str, body: Value) -> (u16, Value) {
    let answer = Client::connect(gateway).await.post(path, &body).await.unwrap();
    let body = serde_json::from_slice(&answer.body)
        .unwrap_or_else(|_| String::from_utf8(answer.body).unwrap().into());
    (answer.status, body)
}

#[tokio::test]
async fn v1_keeps_what_protobuf_keeps_of_a_document() {
    let gateway = start(DocArray::V1, &[]).await;
    let document = json!({
        "id": "a",
        "text": "hidden",
        "blob": "AAE=",
        "granularity": 0,
        "adjacency": 3,
        "weight": 0.1,
        "mime_type": "",
        "uri": 7,
        "tags": {"one": 1, "none": 0, "seven": 7, "float": 1.0, "list": [1, 0], "null": null},
        "location": [0.5, 2],
        "scores": {"c": {"value": 2, "op_name": "x"}},
        "embedding": [1, 2.5],
        "chunks": [{"id": "b", "chunks": [{"text": "deep"}]}],
        "matches": [{"id": "m"}],
        "unknown": 1,
    });
    let (status, answer) = post(&gateway, "/post", json!({"data": [document]})).await;
    assert_eq!(status, 200);
    let document = &answer["data"][0];
    assert_eq!(document.as_object().unwrap().len(), 19);
    // Two numbers that are equal in 32 bits come back as the longer one.
    assert_eq!(document["weight"], json!(0.10000000149011612));
    for (field, expected) in [
        ("text", Value::Null),
        ("blob", json!("AAE=")),
        ("granularity", Value::Null),
        ("adjacency", json!(3)),
        ("mime_type", Value::Null),
        ("uri", json!("7")),
        ("location", json!([0.5, 2.0])),
        ("embedding", json!([1.0, 2.5])),
        (
            "tags",
            json!({
                "one": true, "none": false, "seven": 7.0, "float": 1.0, "list": [1.0, 0.0],
                "null": null,
            }),
        ),
        (
            "scores",
            json!({"c": {"value": 2.0, "op_name": "x", "description": null, "ref_id": null}}),
        ),
    ] {
        assert_eq!(document[field], expected, "{field}");
    }
    let chunk = &document["chunks"][0];
    assert_eq!((&chunk["parent_id"], &chunk["granularity"]), (&json!("a"), &json!(1)));
    let deep = &chunk["chunks"][0];
    assert_eq!((&deep["parent_id"], &deep["granularity"]), (&json!("b"), &json!(2)));
    assert!(is_hex(deep["id"].as_str().unwrap()));
    assert_eq!(document["matches"][0]["adjacency"], json!(4));
}

#[tokio::test]
async fn v1_complains_of_data_as_pydantic_does() {
    let gateway = start(DocArray::V1, &[]).await;
    let list = json!({"loc": ["body", "data"], "msg": "value is not a valid list", "type": "type_error.list"});
    let dict = json!({"loc": ["body", "data"], "msg": "value is not a valid dict", "type": "type_error.dict"});
    let at = |path: Value, msg: &str, kind: &str| json!({"loc": path, "msg": msg, "type": kind});
    let document = json!({"id": "d0", "text": "hi"});
    for (data, expected) in [
        (
            json!([document, document, "x"]),
            vec![
                at(json!(["body", "data", 2]), "value is not a valid dict", "type_error.dict"),
                dict.clone(),
            ],
        ),
        (
            json!([{"text": {}}, document, {"weight": "x"}]),
            vec![
                at(json!(["body", "data", 0, "text"]), "str type expected", "type_error.str"),
                at(
                    json!(["body", "data", 2, "weight"]),
                    "value is not a valid float",
                    "type_error.float",
                ),
                dict.clone(),
            ],
        ),
        (
            document.clone(),
            vec![
                list.clone(),
                at(json!(["body", "data", "id"]), "value is not a valid list", "type_error.list"),
                at(json!(["body", "data", "text"]), "value is not a valid list", "type_error.list"),
            ],
        ),
        (json!(5), vec![list.clone(), dict.clone()]),
    ] {
        let (status, answer) = post(&gateway, "/post", json!({"data": data})).await;
        assert_eq!((status, &answer["detail"]), (422, &json!(expected)));
    }
    let (status, answer) =
        post(&gateway, "/post", json!({"data": [{"tensor": [[1, 2], [3]]}]})).await;
    assert_eq!(status, 422);
    assert_eq!(answer["detail"][0]["loc"], json!(["body", "data", 0, "tensor"]));
    assert_eq!(answer["detail"][0]["type"], "value_error");
    for broken in [json!({"other": [document]}), json!([{"blob": "A-_="}])] {
        let (status, answer) = post(&gateway, "/post", json!({"data": broken})).await;
        assert_eq!((status, answer), (500, json!("Internal Server Error")));
    }
}

#[tokio::test]
async fn v2_coerces_and_completes_a_document() {
    let gateway = start(DocArray::V2, &[]).await;
    let item = json!({
        "id": 5, "text": 5, "number": "7", "ratio": 2, "flag": "true", "words": [1, "a"],
        "tags": {"n": 1}, "part": {"text": "p"}, "parts": [{"id": "q"}],
        "chunks": [{"id": "c", "text": "lost"}], "unknown": 1,
    });
    let (status, answer) = post(&gateway, "/", json!({"data": item})).await;
    assert_eq!(status, 200);
    assert_eq!(
        answer["data"][0],
        json!({
            "id": "5", "tags": {"n": 1}, "ratio": 2.0, "words": ["1", "a"], "url": null,
            "embedding": null, "tensor": null, "flag": true, "number": 7, "blob": null,
            "text": "5", "part": {"id": null, "text": "p", "tensor": null},
            "parts": [{"id": "q", "text": null, "tensor": null}], "chunks": [{"id": "c"}],
        })
    );
    assert_eq!(answer["header"]["requestId"], "5");
    assert_eq!(post(&gateway, "/upper", json!({"data": [{}]})).await.1["data"][0]["text"], "");
    let wide = post(&gateway, "/", json!({"data": [{"number": 1_u64 << 31}]})).await;
    assert_eq!(wide, (500, json!("Internal Server Error")));
}

#[tokio::test]
async fn target_executor_matches_at_the_start_of_the_name() {
    let gateway = start(DocArray::V1, &[]).await;
    for (target, text) in [("", "HI"), ("exec", "HI"), (".*0", "HI"), ("0", "hi"), ("other", "hi")]
    {
        for key in ["targetExecutor", "target_executor"] {
            let request = json!({"data": [{"text": "hi"}], "exec_endpoint": "/upper", key: target});
            let (_, answer) = post(&gateway, "/post", request).await;
            assert_eq!(answer["data"][0]["text"], text, "{target}");
            assert_eq!(answer["routes"][1]["endTime"].is_null(), text == "hi");
        }
    }
    let invalid = json!({"data": [], "targetExecutor": "("});
    assert_eq!(post(&gateway, "/post", invalid).await.0, 500);
    gateway.control().docarray(DocArray::V2);
    for (target, status) in [("exec", 500), ("other", 200), ("(", 500)] {
        let request = json!({"data": [], "header": {"target_executor": target}});
        assert_eq!(post(&gateway, "/fail", request).await.0, status, "{target}");
    }
}

#[tokio::test]
async fn bodies_that_are_no_json_are_told_apart() {
    for docarray in [DocArray::V1, DocArray::V2] {
        let gateway = start(docarray, &[]).await;
        let path = if docarray == DocArray::V1 { "/post" } else { "/upper" };
        let mut client = Client::connect(&gateway).await;
        let json = br#"{"data": []}"#;
        for (headers, body, status) in [
            ("", &json[..], 200),
            ("content-type: application/vnd.api+json; charset=utf-8\r\n", json, 200),
            ("content-type: text/plain\r\n", json, 422),
            ("content-type: application/json\r\n", b"[1]", 422),
            ("content-type: application/json\r\n", b"null", 422),
            ("content-type: application/json\r\n", b"", 422),
            ("content-type: application/json\r\n", b"\x1f\x8b\x08\x00", 400),
        ] {
            client.send(&message("POST", path, headers, body)).await.unwrap();
            let answer = client.answer(true).await.unwrap();
            assert_eq!(answer.status, status, "{headers}{body:?}");
            assert_eq!(answer.headers["content-type"], "application/json");
        }
    }
}

#[tokio::test]
async fn paths_and_methods_are_those_of_the_generation() {
    let gateway = start(DocArray::V1, &[]).await;
    for (docarray, method, path, status, allow) in [
        (DocArray::V1, "GET", "/", 200, None),
        (DocArray::V1, "POST", "/", 405, Some("GET")),
        (DocArray::V1, "GET", "/post", 405, Some("POST")),
        (DocArray::V1, "HEAD", "/status", 405, Some("GET")),
        (DocArray::V1, "POST", "/update", 405, Some("PUT")),
        (DocArray::V1, "PUT", "/update", 200, None),
        (DocArray::V1, "DELETE", "/delete", 200, None),
        (DocArray::V1, "POST", "/upper", 404, None),
        (DocArray::V1, "POST", "/post/", 307, None),
        (DocArray::V2, "GET", "/", 200, None),
        (DocArray::V2, "POST", "/", 200, None),
        (DocArray::V2, "POST", "/update", 200, None),
        (DocArray::V2, "PUT", "/update", 405, Some("POST")),
        (DocArray::V2, "GET", "/upper", 405, Some("POST")),
        (DocArray::V2, "POST", "/post", 404, None),
        (DocArray::V2, "POST", "/default", 404, None),
    ] {
        gateway.control().docarray(docarray);
        let body = json!({"data": []});
        let body = (!matches!(method, "GET" | "HEAD")).then_some(&body);
        let mut client = Client::connect(&gateway).await;
        let answer = client.exchange(method, path, body).await.unwrap();
        assert_eq!(answer.status, status, "{docarray} {method} {path}");
        assert_eq!(answer.headers.get("allow").map(String::as_str), allow);
        assert_eq!(answer.headers["server"], "uvicorn");
        assert!(answer.headers.contains_key("date"));
        if status == 307 {
            assert_eq!(answer.headers["location"], "http://gateway/post");
        }
    }
}

#[tokio::test]
async fn options_bind_endpoints_and_hide_the_status() {
    let builder = Gateway::builder().with_default(true).without_root(true).hide_status(true);
    let gateway = builder.start().await.unwrap();
    for path in ["/status", "/openapi.json"] {
        assert_eq!(Client::connect(&gateway).await.get(path).await.unwrap().status, 404);
    }
    let unknown = json!({"data": [{"id": "a"}], "execEndpoint": "/unknown"});
    let (_, answer) = post(&gateway, "/post", unknown.clone()).await;
    assert_eq!(answer["data"][0]["tags"], json!({"default": true}));
    gateway.control().docarray(DocArray::V2);
    let (_, answer) = post(&gateway, "/default", unknown.clone()).await;
    assert_eq!(answer["data"][0]["tags"], json!({"default": true}));
    assert_eq!(post(&gateway, "/", unknown).await.0, 405);
}

#[tokio::test]
async fn big_answers_so_many_bytes() {
    let gateway = start(DocArray::V1, &[]).await;
    let request =
        |size: usize| json!({"data": [], "execEndpoint": "/big", "parameters": {"bytes": size}});
    let (_, answer) = post(&gateway, "/post", request(5)).await;
    assert_eq!(
        (&answer["data"][0]["id"], &answer["data"][0]["blob"]),
        (&json!("big"), &json!("eHh4eHg="))
    );
    gateway.control().docarray(DocArray::V2);
    let (_, answer) = post(&gateway, "/big", request(20 << 20)).await;
    assert_eq!(answer["data"][0]["text"].as_str().unwrap().len(), 20 << 20);
}

#[tokio::test]
async fn bodies_of_20_mb_go_through() {
    for (docarray, path) in [(DocArray::V1, "/post"), (DocArray::V2, "/upper")] {
        let gateway = start(docarray, &[]).await;
        let text = "x".repeat(20_000_000);
        let request = json!({"data": [{"id": "a", "text": text}], "execEndpoint": "/upper"});
        let (status, answer) = post(&gateway, path, request).await;
        assert_eq!(status, 200);
        assert_eq!(answer["data"][0]["text"], text.to_uppercase());
    }
}

#[tokio::test]
async fn slow_takes_its_seconds() {
    let gateway = start(DocArray::V1, &[]).await;
    let began = std::time::Instant::now();
    let request = json!({"data": [], "execEndpoint": "/slow", "parameters": {"seconds": 0.05}});
    assert_eq!(post(&gateway, "/post", request).await.0, 200);
    assert!(began.elapsed().as_secs_f64() >= 0.05);
}

#[tokio::test]
async fn any_bytes_get_an_answer() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut bodies = Vec::new();
    for folder in ["seed-era", "current"] {
        for fixture in fixtures(folder).values() {
            bodies.push(fixture["request"]["body"].to_string().into_bytes());
            let response = &fixture["response"];
            bodies.push(json!({"data": response["data"]}).to_string().into_bytes());
        }
    }
    // A linear congruential generator (Knuth's MMIX) is random enough here.
    let mut state = 7_u64;
    let mut below = |n: usize| {
        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (state >> 33) as usize % n
    };
    let mut client = Client::connect(&gateway).await;
    for round in 0..2000 {
        let docarray = if round % 2 == 0 { DocArray::V1 } else { DocArray::V2 };
        gateway.control().docarray(docarray);
        let mut body = bodies[below(bodies.len())].clone();
        for _ in 0..=below(4) {
            let (at, other) = (below(body.len()), below(body.len()));
            match below(4) {
                0 => body[at] = body[other],
                1 => body[at] = below(256) as u8,
                2 => body.truncate(at + 1),
                _ => body.insert(at, body[other]),
            }
        }
        let path = if docarray == DocArray::V1 { "/post" } else { "/upper" };
        client.send(&message("POST", path, "", &body)).await.unwrap();
        let answer = client.answer(true).await.unwrap();
        assert!([200, 400, 422, 500].contains(&answer.status), "{}", answer.status);
        if answer.headers["content-type"] == "application/json" {
            answer.json();
        }
    }
}

#[tokio::test]
async fn chunks_too_deep_break_the_gateway_but_not_its_process() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut client = Client::connect(&gateway).await;
    let body = format!(
        "{{\"data\":{}{}}}",
        "[{\"chunks\":".repeat(100),
        "[]".to_owned() + &"}]".repeat(100)
    );
    client.send(&message("POST", "/post", "", body.as_bytes())).await.unwrap();
    assert_eq!(client.answer(true).await.unwrap().status, 500);
    assert_eq!(client.get("/").await.unwrap().status, 200);
}

#[tokio::test]
async fn v2_answers_with_the_first_hundred_documents_of_a_request() {
    let gateway = start(DocArray::V2, &[]).await;
    let documents: Vec<Value> = (0..250).map(|n| json!({"id": n.to_string()})).collect();
    let (status, answer) = post(&gateway, "/upper", json!({"data": documents})).await;
    let back = answer["data"].as_array().unwrap();
    assert_eq!((status, back.len(), &back[99]["id"]), (200, 100, &json!("99")));
    let (_, answer) = post(&gateway, "/params", json!({"data": documents})).await;
    assert_eq!(answer["parameters"]["__results__"]["executor0/rep-0"]["count"], 100.0);
}

#[tokio::test]
async fn v2_makes_one_document_of_a_faulty_list_of_pairs() {
    let gateway = start(DocArray::V2, &[]).await;
    let pairs = json!({"data": [{"id": "a", "text": "x"}, {"id": "b", "text": {"no": "text"}}]});
    let (status, answer) = post(&gateway, "/", pairs).await;
    let back = answer["data"].as_array().unwrap();
    assert_eq!((status, back.len(), &back[0]["id"]), (200, 1, &json!("text")));
    let three = json!({"data": [{"id": "b", "text": {"no": "text"}, "_": null}]});
    assert_eq!(post(&gateway, "/", three).await.0, 422);
}
