//! Classes of the test's own for documents v2, against what a Flow of 3.33.1 was seen to answer whose
//! executor declares these:
//!
//! ```python
//! class Sub(BaseDoc):
//!     name: str
//!     n: int = 3
//!
//! class Query(BaseDoc):
//!     text: str
//!     year: int
//!     score: float = 0.5
//!     opt: Optional[str] = None
//!     words: List[str]
//!     nums: List[int] = [1]
//!     flag: bool = False
//!     blob: bytes = b''
//!     emb: Optional[NdArray] = None
//!     sub: Optional[Sub] = None
//!     subs: DocList[Sub] = DocList[Sub]()
//!     anything: Any = None
//!     table: Dict[str, float] = {}
//!     rows: List[List[float]] = []
//!     maybe: Optional[List[int]] = None
//! ```

use clientlet_gateway::{DocArray, Endpoint, Exception, Field, Gateway, Reply, Schema};
use serde_json::{Map, Value, json};

use crate::common::Client;
use crate::streams::get;

fn query() -> Schema {
    let sub = Schema::new("Sub")
        .field("name", Field::text())
        .field("n", Field::integer().default_value(3));
    let none: [u8; 0] = [];
    Schema::new("Query")
        .field("text", Field::text())
        .field("year", Field::integer())
        .field("score", Field::float().default_value(0.5))
        .field("opt", Field::text().optional())
        .field("words", Field::list(Field::text()))
        .field("nums", Field::list(Field::integer()).default_value([1]))
        .field("flag", Field::boolean().default_value(false))
        .field("blob", Field::bytes().default_value(""))
        .field("emb", Field::array().optional())
        .field("sub", Field::document(sub.clone()).optional())
        .field("subs", Field::documents(sub).default_value(none))
        .field("anything", Field::any().optional())
        .field("table", Field::dictionary_of(Field::float()).default_value(json!({})))
        .field("rows", Field::list(Field::list(Field::float())).default_value(none))
        .field("maybe", Field::list(Field::integer()).optional())
}

async fn start() -> Gateway {
    let echo = Endpoint::new(|_| Reply::unchanged()).takes(query()).gives(query());
    let stream = Endpoint::stream(|_| Reply::unchanged()).takes(query()).gives(query());
    let builder = Gateway::builder().docarray(DocArray::V2).on("/search", echo).on("/gen", stream);
    builder.start().await.unwrap()
}

/// A document with all that must be given, and these fields.
fn with(fields: Value) -> Value {
    let mut document = json!({"id": "a", "text": "t", "year": 2000, "words": ["x"]});
    merge(&mut document, fields);
    document
}

fn merge(document: &mut Value, fields: Value) {
    let fields: Map<String, Value> = serde_json::from_value(fields).unwrap();
    document.as_object_mut().unwrap().extend(fields);
}

/// The document as it comes back, with these fields.
fn back(fields: Value) -> Value {
    let mut document = json!({
        "id": "a", "text": "t", "year": 2000, "score": 0.5, "opt": null, "words": ["x"],
        "nums": [1], "flag": false, "blob": "", "emb": null, "sub": null, "subs": [],
        "anything": null, "table": {}, "rows": [], "maybe": null,
    });
    merge(&mut document, fields);
    document
}

#[tokio::test]
async fn documents_that_fit_come_back_with_all_their_fields() {
    let gateway = start().await;
    let mut client = Client::connect(&gateway).await;
    for (sent, answered) in [
        (json!({}), json!({})),
        (
            json!({"sub": {"name": "s"}, "subs": [{"name": "a"}]}),
            json!({
                "sub": {"id": null, "n": 3, "name": "s"},
                "subs": [{"id": null, "n": 3, "name": "a"}],
            }),
        ),
        (
            json!({
                "anything": {"a": [1, 2]}, "table": {"a": 1}, "rows": [[1, 2], [3]],
                "nums": ["1", 2.7], "flag": "yes", "blob": "bb", "emb": [1, 2],
            }),
            json!({
                "anything": {"a": [1, 2]}, "table": {"a": 1.0}, "rows": [[1.0, 2.0], [3.0]],
                "nums": [1, 2], "flag": true, "blob": "bb", "emb": [1, 2],
            }),
        ),
        (json!({"anything": 5}), json!({"anything": 5})),
        (json!({"maybe": null, "blob": 5}), json!({"blob": "5"})),
        (json!({"unknown": 5}), json!({})),
        // Python makes dictionaries of these.
        (json!({"table": []}), json!({})),
        (json!({"table": ""}), json!({})),
        (json!({"table": [["a", 1]]}), json!({"table": {"a": 1.0}})),
    ] {
        let body = json!({"data": [with(sent.clone())]});
        let answer = client.post("/search", &body).await.unwrap();
        assert_eq!((answer.status, &answer.json()["data"][0]), (200, &back(answered)), "{sent}");
    }
}

/// What FastAPI says of a field of the first document.
fn complaint(path: &[Value], message: &str, kind: &str) -> Value {
    let path: Vec<Value> =
        ["body".into(), "data".into(), 0.into()].into_iter().chain(path.iter().cloned()).collect();
    json!({"loc": path, "msg": message, "type": kind})
}

#[tokio::test]
async fn the_gateway_refuses_what_its_model_does_not_take() {
    let no_list = ("value is not a valid list", "type_error.list");
    let no_dict = ("value is not a valid dict", "type_error.dict");
    let none = ("none is not an allowed value", "type_error.none.not_allowed");
    let gateway = start().await;
    let mut client = Client::connect(&gateway).await;
    for (document, complaints) in [
        (
            with(json!({"year": "y", "words": "no"})),
            vec![
                complaint(&["year".into()], "value is not a valid integer", "type_error.integer"),
                complaint(&["words".into()], no_list.0, no_list.1),
            ],
        ),
        (with(json!({"table": [1]})), vec![complaint(&["table".into()], no_dict.0, no_dict.1)]),
        (with(json!({"table": 0})), vec![complaint(&["table".into()], no_dict.0, no_dict.1)]),
        (
            with(json!({"rows": [1]})),
            vec![complaint(&["rows".into(), 0.into()], no_list.0, no_list.1)],
        ),
        (
            with(json!({"nums": [null]})),
            vec![complaint(&["nums".into(), 0.into()], none.0, none.1)],
        ),
        (
            // Those without a default pass.
            with(json!({"score": null, "text": null, "words": null, "flag": null})),
            vec![
                complaint(&["score".into()], none.0, none.1),
                complaint(&["flag".into()], none.0, none.1),
            ],
        ),
    ] {
        let answer = client.post("/search", &json!({"data": [document]})).await.unwrap();
        let mut expected = complaints;
        expected.push(json!({
            "loc": ["body", "data"],
            "msg": "value is not a valid dict",
            "type": "type_error.dict",
        }));
        assert_eq!((answer.status, answer.json()["detail"].clone()), (422, expected.into()));
    }
}

#[tokio::test]
async fn the_executor_refuses_what_only_its_class_does_not_take() {
    let gateway = start().await;
    let mut client = Client::connect(&gateway).await;
    let none = "'msg': 'none is not an allowed value', 'type': 'type_error.none.not_allowed'";
    for (document, detail) in [
        (
            json!({}),
            format!(
                "ValidationError(model='Query', errors=[{{'loc': ('text',), {none}}}, {{'loc': \
                 ('year',), {none}}}, {{'loc': ('words',), {none}}}])"
            ),
        ),
        (
            with(json!({"sub": {"n": 1}})),
            "ValueError(\"<class '__main__.Sub'> is not supported for proto deserialization\")"
                .to_owned(),
        ),
        (
            with(json!({"subs": [{"name": "a"}, {"n": 2}]})),
            format!("ValidationError(model='Sub', errors=[{{'loc': ('name',), {none}}}])"),
        ),
        (
            with(json!({"table": {"a": "x"}})),
            "ValidationError(model='Query', errors=[{'loc': ('table', 'a'), 'msg': 'value is not a \
             valid float', 'type': 'type_error.float'}])"
                .to_owned(),
        ),
    ] {
        let answer = client.post("/search", &json!({"data": [document]})).await.unwrap();
        assert_eq!((answer.status, answer.json()), (500, json!({"detail": detail})));
    }
}

#[tokio::test]
async fn a_stream_refuses_wrong_types_and_is_empty_where_fields_are_missing() {
    let gateway = start().await;
    let wrong = json!({"text": "x", "year": "n", "words": []}).to_string();
    let complaint = json!({
        "loc": ["body", "year"],
        "msg": "value is not a valid integer",
        "type": "type_error.integer",
    });
    let (status, _, body) = get(&gateway, "/gen", &wrong).await;
    let body: Value = serde_json::from_str(&body.unwrap()).unwrap();
    assert_eq!((status, body), (422, json!({"detail": [complaint]})));
    let (status, _, body) = get(&gateway, "/gen", r#"{"text": "x"}"#).await;
    assert_eq!((status, body.as_deref()), (200, Some("event: end\r\n\r\n")));
}

#[tokio::test]
async fn classes_are_published_with_what_must_be_given_and_defaults() {
    let gateway = start().await;
    let mut client = Client::connect(&gateway).await;
    let openapi = client.get("/openapi.json").await.unwrap().json();
    let schemas = &openapi["components"]["schemas"];
    let class = &schemas["Query"];
    assert_eq!(class["required"], json!(["text", "year", "words"]));
    for (field, published) in [
        ("year", json!({"type": "integer", "title": "Year"})),
        ("score", json!({"type": "number", "title": "Score", "default": 0.5})),
        ("opt", json!({"type": "string", "title": "Opt"})),
        ("blob", json!({"type": "string", "format": "binary", "title": "Blob", "default": ""})),
        ("subs", json!({"items": {}, "type": "array", "title": "Subs", "default": []})),
        ("anything", json!({"title": "Anything"})),
        ("maybe", json!({"items": {"type": "integer"}, "type": "array", "title": "Maybe"})),
        (
            "rows",
            json!({
                "items": {"items": {"type": "number"}, "type": "array"},
                "type": "array", "title": "Rows", "default": [],
            }),
        ),
        (
            "table",
            json!({
                "additionalProperties": {"type": "number"},
                "type": "object", "title": "Table", "default": {},
            }),
        ),
    ] {
        assert_eq!(class["properties"][field], published);
    }
    assert_eq!(schemas["Sub"]["required"], json!(["name"]));
    let model = &schemas["search_input_model"]["properties"]["data"]["anyOf"][1];
    assert_eq!(model, &json!({"$ref": "#/components/schemas/Query"}));
    let body = &openapi["paths"]["/gen"]["get"]["requestBody"]["content"]["application/json"];
    assert_eq!(body["schema"], json!({"$ref": "#/components/schemas/Query"}));
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Part {
    #[serde(default = "seven")]
    n: i32,
}

fn seven() -> i32 {
    7
}

#[derive(serde::Deserialize, serde::Serialize)]
struct Own {
    id: String,
    #[serde(default = "seven")]
    n: i32,
    #[serde(alias = "titel", default)]
    title: String,
    list: Vec<Option<i32>>,
    parts: Vec<Part>,
}

#[tokio::test]
async fn the_defaults_of_a_type_hold_where_its_fields_are_left_out() {
    let class = Schema::of::<Own>();
    let read =
        |request: clientlet_gateway::Request| Ok::<_, Exception>(request.documents::<Own>()?);
    let endpoint = Endpoint::new(read).takes(class.clone()).gives(class);
    let gateway =
        Gateway::builder().docarray(DocArray::V2).on("/a", endpoint).start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    let document = json!({"id": "a", "list": [1, null], "parts": [{}, {"n": 1}]});
    let answer = client.post("/a", &json!({"data": [document]})).await.unwrap().json();
    let given = &answer["data"][0];
    assert_eq!(
        (&given["n"], &given["title"], &given["list"]),
        (&json!(7), &json!(""), &json!([1, null]))
    );
    assert_eq!((&given["parts"][0]["n"], &given["parts"][1]["n"]), (&json!(7), &json!(1)));
    let openapi = client.get("/openapi.json").await.unwrap().json();
    let class = &openapi["components"]["schemas"]["Own"];
    assert_eq!(class["properties"]["n"], json!({"type": "integer", "title": "N"}));
    assert_eq!(class["required"], json!(["list", "parts"]));
    assert!(class["properties"].get("titel").is_none());
}
