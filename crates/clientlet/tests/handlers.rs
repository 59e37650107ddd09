//! Handlers of the embedded gateway: what they get and give is the same on every protocol and with
//! both generations of documents.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::time::Duration;

use clientlet::{Blob, Client, Document, Error, ErrorKind, Tensor};
use clientlet_gateway::{
    DocArray, Endpoint, Exception, Executor, Field, Gateway, GatewayBuilder, Reply, Request, Schema,
};
use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

#[derive(Clone, Copy, Debug, PartialEq)]
enum Protocol {
    Http,
    WebSocket,
    Grpc,
    GrpcUnary,
}

use Protocol::{Grpc, GrpcUnary, Http, WebSocket};

const PROTOCOLS: [Protocol; 4] = [Http, WebSocket, Grpc, GrpcUnary];

fn both() -> impl Iterator<Item = (DocArray, Protocol)> {
    let each = |docarray| PROTOCOLS.into_iter().map(move |protocol| (docarray, protocol));
    [DocArray::V1, DocArray::V2].into_iter().flat_map(each)
}

fn v2() -> GatewayBuilder {
    Gateway::builder().docarray(DocArray::V2)
}

async fn start(builder: GatewayBuilder, protocol: Protocol) -> (Gateway, Client) {
    let gateway = builder.websocket(true).grpc(true).start().await.unwrap();
    let url = match protocol {
        Http => gateway.http_url(),
        WebSocket => gateway.websocket_url(),
        Grpc | GrpcUnary => gateway.grpc_url(),
    };
    let client = Client::builder(&url).unary(protocol == GrpcUnary).build().unwrap();
    (gateway, client)
}

/// The first error of a call.
async fn error_of(client: &Client, endpoint: &str, document: &Value) -> Error {
    let answers = client.post(endpoint).document(document).send().await;
    answers.into_result().unwrap_err()
}

#[derive(Clone, Debug, Deserialize, PartialEq, Serialize)]
struct Query {
    id: String,
    text: String,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Search {
    limit: u32,
    exact: bool,
}

#[tokio::test]
async fn a_handler_gets_what_was_sent_and_the_client_what_it_gives() {
    for (docarray, protocol) in both() {
        let search = async |request: Request| {
            let queries: Vec<Query> = request.documents()?;
            let search: Search = request.parameters()?;
            assert_eq!((request.endpoint(), request.executor()), ("/search", "executor0"));
            assert_eq!(request.target_executor(), Some("exec"));
            assert_eq!(request.header("x-user"), Some("ada"));
            assert!(request.request_id().is_some());
            let found = queries.into_iter().map(|query| Query {
                text: format!("{} {} {}", query.text, search.limit, search.exact),
                ..query
            });
            Ok(found.collect::<Vec<Query>>())
        };
        let builder = Gateway::builder().docarray(docarray).on("/search", search);
        let (gateway, client) = start(builder, protocol).await;
        let queries: Vec<Query> =
            (0..3).map(|n| Query { id: n.to_string(), text: format!("query {n}") }).collect();
        let call = client
            .post("/search")
            .documents(&queries)
            .parameters(Search { limit: 10, exact: true })
            .header("x-user", "ada")
            .target_executor("exec");
        let found: Vec<Query> = call.send().await.documents().unwrap();
        let texts: Vec<_> = found.iter().map(|query| query.text.as_str()).collect();
        let expected = ["query 0 10 true", "query 1 10 true", "query 2 10 true"];
        assert_eq!(texts, expected, "{docarray} over {protocol:?}");
        assert_eq!(found[1].id, "1");

        let journal = gateway.journal();
        journal
            .to("/search")
            .assert_count(1)
            .assert_documents(&queries)
            .assert_parameters(&Search { limit: 10, exact: true })
            .assert_header("x-user", "ada")
            .assert_target_executor(Some("exec"));
        let arrived = journal.to("/search");
        let entry = &arrived.entries()[0];
        assert!(!entry.body().unwrap().is_empty());
        assert!(entry.answered_at.unwrap() >= entry.arrived_at);
    }
}

#[tokio::test]
async fn every_kind_of_content_passes_through_a_handler() {
    for (docarray, protocol) in both() {
        // Over HTTP element types are lost, and bytes of documents v2 are text.
        let tensor = Tensor::new(&[2, 2], &[1.5_f64, 2.0, -3.0, 4.25]).unwrap();
        let content = Document {
            id: Some("a".into()),
            blob: (docarray == DocArray::V2).then(|| Blob::from(b"plain bytes".to_vec())),
            tensor: Some(tensor.clone()),
            embedding: Some(tensor),
            ..Document::default()
        };
        let expected = content.clone();
        let check = move |request: Request| {
            let documents: Vec<Document> = request.documents().unwrap();
            assert_eq!(documents[0].tensor, expected.tensor);
            assert_eq!(documents[0].embedding, expected.embedding);
            assert_eq!(documents[0].blob, expected.blob);
            documents
        };
        let class = Schema::of::<Document>();
        let endpoint = Endpoint::new(check).takes(class.clone()).gives(class);
        let builder = Gateway::builder().docarray(docarray).on("/", endpoint);
        let (_gateway, client) = start(builder, protocol).await;
        let answers = client.post("/").document(&content).send().await;
        let back: Vec<Document> = answers.documents().unwrap();
        assert_eq!(back[0].tensor, content.tensor, "{docarray} over {protocol:?}");
        assert_eq!((&back[0].blob, &back[0].embedding), (&content.blob, &content.embedding));
    }
}

#[tokio::test]
async fn element_types_and_bytes_of_documents_v1_pass_through_a_handler() {
    for protocol in [WebSocket, Grpc] {
        let content = Document {
            blob: Some(Blob::from(vec![0, 255, 7])),
            embedding: Some(Tensor::new(&[2], &[1.5_f32, -2.0]).unwrap()),
            tags: serde_json::from_value(json!({"year": 1999, "note": null})).unwrap(),
            chunks: Some(vec![Document::text("within").with_id("c")]),
            ..Document::default()
        };
        let echo = |request: Request| request.documents::<Document>().unwrap();
        let (_gateway, client) = start(Gateway::builder().on("/", echo), protocol).await;
        let back: Vec<Document> =
            client.post("/").document(&content).send().await.documents().unwrap();
        assert_eq!(back[0].blob, content.blob);
        assert_eq!(back[0].embedding, content.embedding);
        assert_eq!(back[0].tags, content.tags);
        assert_eq!(back[0].chunks.as_ref().unwrap()[0].text.as_deref(), Some("within"));
    }
}

#[tokio::test]
async fn json_over_websocket_reaches_handlers_too() {
    let search = |request: Request| {
        let mut queries: Vec<Query> = request.documents()?;
        queries.iter_mut().for_each(|query| query.text.push('!'));
        Ok::<_, Exception>(queries)
    };
    let builder = Gateway::builder().websocket(true).on("/search", search);
    let gateway = builder.start().await.unwrap();
    let client = Client::builder(&gateway.websocket_url()).websocket_json(true).build().unwrap();
    let query = Query { id: "q".into(), text: "x".into() };
    let found: Vec<Query> =
        client.post("/search").document(&query).send().await.documents().unwrap();
    assert_eq!(found[0].text, "x!");
    gateway.journal().to("/search").assert_documents(&[query]);
}

#[tokio::test]
async fn an_executor_that_is_down_runs_no_handler() {
    for (docarray, protocol) in both() {
        let never = |_| -> Vec<Value> { unreachable!("the executor is down") };
        let builder = Gateway::builder().docarray(docarray).on("/search", never);
        let (gateway, client) = start(builder.executor_down(true), protocol).await;
        let error = error_of(&client, "/search", &json!({"id": "a", "text": "x"})).await;
        assert!(error.is_retryable(), "{docarray} over {protocol:?}: {error}");
        gateway.control().executor_down(false);
        gateway.control().executor_slow(true);
        let error = error_of(&client, "/search", &json!({"id": "a", "text": "x"})).await;
        assert!(error.is_retryable(), "{docarray} over {protocol:?}: {error}");
        // That a handler ran would be a mistake.
        assert_eq!(gateway.take_mistakes(), []);
    }
}

#[tokio::test]
async fn an_exception_comes_with_its_name_and_arguments() {
    for (docarray, protocol) in both() {
        let fail = |_| Exception::new("KeyError", ["shelf", "row"]);
        let builder = Gateway::builder().docarray(docarray).on("/update", fail);
        let (gateway, client) = start(builder, protocol).await;
        let error = error_of(&client, "/update", &json!({"text": "x"})).await;
        assert_eq!(error.kind(), ErrorKind::Executor, "{docarray} over {protocol:?}: {error}");
        assert!(error.to_string().contains("KeyError('shelf', 'row')"), "{error}");
        if (docarray, protocol) != (DocArray::V2, Http) {
            let exception = error.exception().unwrap();
            assert_eq!(
                (&*exception.name, &*exception.args),
                ("KeyError", &["shelf".to_owned(), "row".to_owned()][..])
            );
            assert_eq!(exception.executor, "executor0");
        }
        gateway.journal().to("/update").assert_count(1);
    }
}

#[tokio::test]
async fn a_status_is_told_as_each_protocol_can() {
    for (docarray, protocol) in both() {
        let busy = |_| Reply::status(503).retry_after("7");
        let builder = Gateway::builder().docarray(docarray).on("/search", busy);
        let (_gateway, client) = start(builder, protocol).await;
        let error = error_of(&client, "/search", &json!({"text": "x"})).await;
        if protocol == WebSocket {
            assert_eq!(error.close_code(), Some(1011), "{error}");
        } else {
            let status = error.http_status().map(|status| status.as_u16());
            assert_eq!(status, Some(503), "{docarray} over {protocol:?}: {error}");
            assert_eq!(error.retry_after(), Some(Duration::from_secs(7)));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_reply_comes_after_its_delay() {
    let late = |_| Reply::unchanged().after(Duration::from_secs(3600));
    let gateway = Gateway::builder().on("/search", late).start().await.unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    let began = tokio::time::Instant::now();
    let document = json!({"text": "x"});
    let call = client.post("/search").document(&document);
    let error = call.attempt_timeout(Duration::from_secs(1800)).send().await;
    assert!(error.into_result().unwrap_err().is_timeout());
    assert!(began.elapsed() < Duration::from_secs(3600));
    let call = client.post("/search").document(&document).attempt_timeout(None);
    assert_eq!(call.send().await.documents::<Value>().unwrap().len(), 1);
    assert!(began.elapsed() >= Duration::from_secs(5400));
}

#[tokio::test]
async fn results_are_among_the_parameters() {
    for (docarray, protocol) in both() {
        let count = |request: Request| {
            Reply::unchanged().results(json!({"indexed": request.len(), "names": ["a", null]}))
        };
        let builder = Gateway::builder().docarray(docarray).on("/index", count);
        let (_gateway, client) = start(builder, protocol).await;
        let call = client.post("/index").documents([json!({"text": "x"}), json!({"text": "y"})]);
        let responses = call.parameters(json!({"shelf": 3})).send().await.into_result().unwrap();
        let parameters: Value = responses[0].parameters().unwrap();
        assert_eq!(parameters["shelf"].as_f64(), Some(3.0), "{docarray} over {protocol:?}");
        let results = &parameters["__results__"]["executor0/rep-0"];
        assert_eq!(results["indexed"].as_f64(), Some(2.0));
        assert_eq!(results["names"], json!(["a", null]));
    }
}

/// The class of `/search`, with a field of each kind.
#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Article {
    id: String,
    text: String,
    year: i32,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    words: Vec<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    score: Option<f64>,
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    parts: Vec<Part>,
}

#[derive(Debug, Deserialize, PartialEq, Serialize)]
struct Part {
    id: Option<String>,
    name: String,
}

fn typed() -> GatewayBuilder {
    let echo = |request: Request| request.documents::<Article>();
    let echo = move |request: Request| echo(request).map_err(Exception::from);
    let class = Schema::of::<Article>();
    v2().on("/search", Endpoint::new(echo).takes(class.clone()).gives(class))
}

#[tokio::test]
async fn one_integer_beyond_32_bits_is_one_error_with_a_class_and_without() {
    let echo = || Endpoint::new(|_| Reply::unchanged());
    let class = Schema::new("Number").field("n", Field::integer());
    let builder = v2().on("/open", echo()).on("/class", echo().takes(class.clone()).gives(class));
    let (_gateway, client) = start(builder, Http).await;
    for endpoint in ["/open", "/class"] {
        let sent = [json!({"n": 1}), json!({"n": 1_u64 << 40}), json!({"n": 2})];
        let mut results = client.post(endpoint).documents(sent).stream();
        let mut given = Vec::new();
        let mut kinds = Vec::new();
        while let Some(result) = results.next().await {
            match result {
                Ok(response) => {
                    let documents: Vec<Value> = response.documents().unwrap();
                    given.extend(documents.iter().map(|document| document["n"].clone()));
                }
                Err(error) => kinds.push(error.kind()),
            }
        }
        given.sort_by_key(Value::as_u64);
        assert_eq!(given, [json!(1), json!(2)], "{endpoint}: {kinds:?}");
        assert_eq!(kinds, [ErrorKind::Encode], "{endpoint}");
    }
}

#[tokio::test]
async fn a_document_that_fits_its_class_is_read_and_given() {
    for protocol in PROTOCOLS {
        let (_gateway, client) = start(typed(), protocol).await;
        let article = Article {
            id: "a".into(),
            text: "text".into(),
            year: 1999,
            words: vec!["x".into()],
            score: Some(0.5),
            parts: vec![Part { id: Some("p".into()), name: "n".into() }],
        };
        let answers = client.post("/search").document(&article).send().await;
        assert_eq!(answers.documents::<Article>().unwrap(), [article], "{protocol:?}");
    }
}

#[tokio::test]
async fn what_does_not_fit_its_class_is_refused_as_3_33_1_refuses_it() {
    // Recorded from a Flow of 3.33.1 whose executor has such a class.
    let cases = [
        (
            json!({"id": "a", "text": "t", "year": "y"}),
            "value is not a valid integer",
            "'loc': ('year',), 'msg': 'value is not a valid integer', 'type': 'type_error.integer'",
        ),
        (
            json!({"id": "a", "text": "t", "year": 1, "words": "no"}),
            "value is not a valid list",
            "'loc': ('words',), 'msg': 'value is not a valid list', 'type': 'type_error.list'",
        ),
        // Over HTTP the gateway tells the executor null for what is missing.
        (
            json!({"id": "a", "text": "t", "score": 1.0}),
            "ValidationError(model='Article', errors=[{'loc': ('year',), 'msg': 'none is not an \
             allowed value', 'type': 'type_error.none.not_allowed'}])",
            "'loc': ('year',), 'msg': 'field required', 'type': 'value_error.missing'",
        ),
    ];
    for (document, over_http, otherwise) in &cases {
        for protocol in PROTOCOLS {
            let (gateway, client) = start(typed(), protocol).await;
            let error = error_of(&client, "/search", document).await;
            let expected = if protocol == Http { over_http } else { otherwise };
            assert!(error.to_string().contains(expected), "{protocol:?}: {error}");
            // The handler was not to blame.
            assert_eq!(gateway.take_mistakes(), []);
        }
    }
}

#[tokio::test]
async fn classes_are_published_where_clients_look_for_them() {
    for protocol in [Http, Grpc] {
        let (_gateway, client) = start(typed(), protocol).await;
        assert_eq!(client.endpoints().await.unwrap().paths, ["/search"], "{protocol:?}");
    }
}

#[tokio::test]
async fn a_handler_that_panics_is_named_and_the_gateway_goes_on() {
    for (docarray, protocol) in both() {
        let pick = |request: Request| {
            let documents: Vec<Value> = request.documents().unwrap();
            assert_ne!(documents[0]["text"], "bad", "no bad words");
            documents
        };
        let builder = Gateway::builder().docarray(docarray).on("/search", pick);
        let (gateway, client) = start(builder, protocol).await;
        let error = error_of(&client, "/search", &json!({"id": "a", "text": "bad"})).await;
        assert!(error.to_string().contains("the handler of `/search`"), "{protocol:?}: {error}");
        let good = json!({"id": "a", "text": "good"});
        let answers = client.post("/search").document(&good).send().await;
        assert_eq!(answers.documents::<Value>().unwrap()[0]["text"], "good");

        let mistakes = gateway.take_mistakes();
        assert_eq!(mistakes.len(), 1, "{docarray} over {protocol:?}");
        let message = mistakes[0].to_string();
        assert!(
            message.starts_with("the handler of `/search` in `executor0` panicked: ")
                && message.contains("no bad words"),
            "{message}"
        );
    }
}

#[tokio::test]
async fn a_handler_whose_documents_do_not_fit_is_named_with_the_field() {
    let wrong = |_| vec![json!({"id": "a", "text": "t", "year": "soon"})];
    let wrong_v1 = |_| vec![json!({"id": "a", "year": 1999})];
    for (docarray, protocol) in both() {
        let (builder, expected) = match docarray {
            DocArray::V1 => (
                Gateway::builder().on("/search", wrong_v1),
                "returned document 0, `year`: it does not fit the class `Document`: the class has \
                 no such field",
            ),
            DocArray::V2 => (
                v2().on("/search", Endpoint::new(wrong).gives(Schema::of::<Article>())),
                "returned document 0, `year`: it does not fit the class `Article`: it is text, not \
                 int",
            ),
        };
        let (gateway, client) = start(builder, protocol).await;
        let error = error_of(&client, "/search", &json!({"id": "a", "text": "x"})).await;
        assert!(error.to_string().contains("year"), "{docarray} over {protocol:?}: {error}");
        let mistakes = gateway.take_mistakes();
        let message = format!("the handler of `/search` in `executor0` {expected}");
        assert_eq!(mistakes[0].to_string(), message);
    }
}

#[test]
fn a_test_whose_handler_made_a_mistake_fails_although_its_code_hides_the_error() {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let test = || {
        runtime.block_on(async {
            let broken = |_| -> Vec<Value> { panic!("forgot to write this") };
            let (_gateway, client) = start(Gateway::builder().on("/search", broken), Http).await;
            // The code under test ignores errors.
            let _ = client.post("/search").document(&json!({"text": "x"})).send().await;
        });
    };
    let panic = catch_unwind(AssertUnwindSafe(test)).unwrap_err();
    let message = panic.downcast_ref::<String>().unwrap();
    assert_eq!(
        message,
        "handlers of the embedded gateway made mistakes:\n  the handler of `/search` in `executor0` \
         panicked: forgot to write this"
    );
}

#[tokio::test]
async fn a_request_goes_through_all_executors_that_it_is_meant_for() {
    let adding = |word: &'static str| {
        move |request: Request| {
            let mut queries: Vec<Query> = request.documents().unwrap();
            queries.iter_mut().for_each(|query| query.text.push_str(word));
            queries
        }
    };
    for (docarray, protocol) in both() {
        let encoder = Executor::new("encoder").on("/search", adding(" encoded"));
        let ranker = Executor::new("ranker")
            .on("/search", adding(" ranked"))
            .on("/default", adding(" by default"));
        let builder = Gateway::builder().docarray(docarray).executor(encoder).executor(ranker);
        let (gateway, client) = start(builder, protocol).await;
        for (endpoint, target, text) in [
            ("/search", "", "x encoded ranked"),
            ("/search", "rank", "x ranked"),
            ("/search", "encoder", "x encoded"),
            ("/search", "nobody", "x"),
            ("/other", "", "x by default"),
        ] {
            if (docarray, protocol, endpoint) == (DocArray::V2, Http, "/other") {
                // Its endpoints are routes; the client knows that of the default one.
                continue;
            }
            let query = Query { id: "q".into(), text: "x".into() };
            let call = client.post(endpoint).document(&query).target_executor(target);
            let responses = call.send().await.into_result().unwrap();
            let found: Vec<Query> = responses[0].documents().unwrap();
            assert_eq!(found[0].text, text, "{endpoint} {target}, {docarray} over {protocol:?}");
            if (docarray, protocol) != (DocArray::V2, Http) {
                let routes = responses[0].routes().unwrap();
                let routes: Vec<_> = routes.iter().map(|route| &*route.executor).collect();
                assert_eq!(routes, ["gateway", "encoder", "ranker"]);
            }
        }
        gateway.journal().to("/search").assert_count(4);
    }
}

#[tokio::test]
async fn a_failed_executor_is_the_last_one() {
    for (docarray, protocol) in both() {
        let first = Executor::new("first")
            .class("Finder")
            .on("/search", |_| Exception::new("ValueError", ["no"]));
        let second = Executor::new("second").on("/search", |_| Reply::status(503));
        let builder = Gateway::builder().docarray(docarray).executor(first).executor(second);
        let (_gateway, client) = start(builder, protocol).await;
        let error = error_of(&client, "/search", &json!({"id": "a", "text": "x"})).await;
        assert_eq!(error.kind(), ErrorKind::Executor, "{docarray} over {protocol:?}: {error}");
        if (docarray, protocol) != (DocArray::V2, Http) {
            assert_eq!(error.exception().unwrap().executor, "Finder");
        }
    }
}

#[tokio::test]
async fn executors_whose_classes_disagree_do_not_start() {
    let gives = Endpoint::new(|_| Reply::unchanged())
        .gives(Schema::new("Found").field("text", Field::text()));
    let takes = Endpoint::new(|_| Reply::unchanged()).takes(Schema::new("Query"));
    let builder = v2()
        .executor(Executor::new("first").on("/search", gives))
        .executor(Executor::new("second").on("/search", takes));
    let error = builder.start().await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "`/search` of `first` gives `Found`, but that of `second` takes `Query`"
    );
}

#[tokio::test]
async fn a_gateway_with_handlers_has_no_other_endpoints() {
    let builder = v2().on("/search", |_| Reply::unchanged());
    let (_gateway, client) = start(builder, Http).await;
    let error = error_of(&client, "/upper", &json!({"id": "a", "text": "x"})).await;
    assert!(error.is_not_found(), "{error}");
}

fn streaming() -> GatewayBuilder {
    let count = |request: Request| {
        let query: Query = request.document().unwrap();
        let words =
            (0..3).map(move |n| Query { id: n.to_string(), text: format!("{} {n}", query.text) });
        Reply::stream(futures_util::stream::iter(words))
    };
    let class = Schema::new("Query").field("text", Field::text());
    v2().on("/count", Endpoint::stream(count).takes(class.clone()).gives(class.clone()))
        .on(
            "/raises",
            Endpoint::stream(|_| {
                Reply::documents([json!({"id": "only"})])
                    .raising(Exception::new("ValueError", ["no"]))
            }),
        )
        .on("/busy", Endpoint::stream(|_| Reply::status(503)))
        .on("/wrong", Endpoint::stream(|_| [json!({"text": 5})]).gives(class))
}

#[tokio::test]
async fn a_stream_gives_its_documents_one_by_one() {
    for protocol in [Http, Grpc] {
        let (gateway, client) = start(streaming(), protocol).await;
        let query = Query { id: "q".into(), text: "x".into() };
        let mut stream = client.stream_document("/count", &query).stream::<Query>();
        let mut texts = Vec::new();
        while let Some(found) = stream.next().await {
            texts.push(found.unwrap().text);
        }
        assert_eq!(texts, ["x 0", "x 1", "x 2"], "{protocol:?}");
        let arrived = gateway.journal().to("/count");
        arrived.assert_count(1).assert_documents(&[query]);
        assert_eq!(arrived.entries()[0].streamed, 3);
    }
}

#[tokio::test]
async fn a_stream_that_raises_repeats_and_ends_as_if_all_were_well() {
    for protocol in [Http, Grpc] {
        let (_gateway, client) = start(streaming(), protocol).await;
        let query = Query { id: "q".into(), text: "x".into() };
        let mut stream = client.stream_document("/raises", &query).stream::<Value>();
        let mut ids = Vec::new();
        while let Some(found) = stream.next().await {
            ids.push(found.unwrap()["id"].clone());
        }
        // The client drops the three repeats.
        assert_eq!((ids, stream.repeats_dropped()), (vec![json!("only")], 3), "{protocol:?}");
    }
}

#[tokio::test]
async fn a_stream_can_answer_a_status_and_its_mistakes_are_named() {
    for protocol in [Http, Grpc] {
        let (gateway, client) = start(streaming(), protocol).await;
        let query = Query { id: "q".into(), text: "x".into() };
        let mut busy = client.stream_document("/busy", &query).stream::<Value>();
        let error = busy.next().await.unwrap().unwrap_err();
        assert_eq!(error.http_status().map(|status| status.as_u16()), Some(503), "{error}");
        let mut wrong = client.stream_document("/wrong", &query).stream::<Value>();
        assert!(wrong.next().await.is_none());
        let mistakes = gateway.take_mistakes();
        assert_eq!(
            mistakes[0].to_string(),
            "the handler of `/wrong` in `executor0` gave document 0, `text`: it does not fit the \
             class `Query`: it is an integer, not str"
        );
    }
}

#[tokio::test]
async fn an_assertion_says_what_is_different() {
    for (docarray, protocol) in both() {
        let builder = Gateway::builder().docarray(docarray).on("/index", |_| Reply::unchanged());
        let (gateway, client) = start(builder, protocol).await;
        let sent = [
            Query { id: "a".into(), text: "one".into() },
            Query { id: "b".into(), text: "two".into() },
        ];
        let call = client.post("/index").documents(&sent).parameters(json!({"shelf": 1}));
        call.send().await.into_result().unwrap();

        let arrived = gateway.journal().to("/index");
        let message = |assertion: &dyn Fn() -> usize| {
            let panic = catch_unwind(AssertUnwindSafe(assertion)).unwrap_err();
            panic.downcast_ref::<String>().unwrap().clone()
        };
        assert_eq!(
            message(&|| arrived.assert_count(2).entries().len()),
            format!(
                "1 request arrived for `/index`, 2 were expected\n  request 1: {} with 2 documents",
                match (docarray, protocol) {
                    (DocArray::V1, Http) => "POST /post",
                    (DocArray::V2, Http) => "POST /index",
                    (_, WebSocket) => "WS /",
                    (_, Grpc) => "GRPC /jina.JinaRPC/Call",
                    (_, GrpcUnary) => "GRPC /jina.JinaSingleDataRequestRPC/process_single_data",
                }
            )
        );
        let expected = [sent[0].clone(), Query { id: "b".into(), text: "three".into() }];
        assert_eq!(
            message(&|| arrived.assert_documents(&expected).entries().len()),
            "what arrived for `/index` is not what was expected:\n  document 1, `text`: \"two\" arrived, \
             \"three\" was expected"
        );
        let shelf = message(&|| arrived.assert_parameters(&json!({"shelf": 2})).entries().len());
        assert!(shelf.contains("request 0, `shelf`: 1"), "{shelf}");
        assert!(shelf.contains("arrived, 2 was expected"), "{shelf}");
    }
}
