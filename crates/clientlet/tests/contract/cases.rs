//! The cases that hold on every gateway that works.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant, SystemTime};

use clientlet::{
    Answers, Blob, Client, Delivery, DocArray, Document, Error, ErrorKind, Response, Tensor, Value,
};
use futures_util::{StreamExt, stream};
use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::rows::{Protocol, Row};

/// A type as a user would write it. The executors of every row know its fields.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
struct Item {
    id: String,
    text: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    tensor: Option<Tensor>,
    #[serde(skip_serializing_if = "Option::is_none")]
    embedding: Option<Tensor>,
}

fn item(id: &str, text: &str) -> Item {
    Item { id: id.to_owned(), text: Some(text.to_owned()), ..Item::default() }
}

fn items(count: usize) -> impl Iterator<Item = Item> + Unpin {
    (0..count).map(|n| item(&n.to_string(), "a text"))
}

fn only(answers: Answers) -> Result<Response, Error> {
    assert_eq!(answers.len(), 1);
    answers.into_iter().next().unwrap()
}

macro_rules! stage {
    ($row:expr) => {
        match $row.stage().await {
            Some(stage) => stage,
            None => return,
        }
    };
}

pub(crate) async fn documents_come_back_with_their_text_changed(row: &'static Row) {
    let stage = stage!(row);
    let answers = stage.client().post("/upper").documents([item("a", "hällo")]).send().await;
    let response = only(answers).unwrap();
    assert_eq!((response.attempts(), response.input()), (1, 0..1));
    assert_eq!(response.documents::<Item>().unwrap(), [item("a", "HÄLLO")]);
    assert!(response.status().is_success());
}

pub(crate) async fn parameters_come_back_with_the_executors_result(row: &'static Row) {
    let stage = stage!(row);
    let given = json!({"a": 1, "l": [1.5, null, true, "s"], "m": {"k": "v"}});
    let call = stage.client().post("/params").documents(items(3)).parameters(given);
    let parameters: BTreeMap<String, Value> =
        only(call.send().await).unwrap().parameters().unwrap();
    assert_eq!(parameters["a"].as_f64(), Some(1.0));
    assert_eq!(parameters["m"].get("k").and_then(Value::as_str), Some("v"));
    let Value::Map(results) = &parameters["__results__"] else { panic!("{parameters:?}") };
    assert_eq!(results["executor0/rep-0"].get("count").and_then(Value::as_f64), Some(3.0));
}

pub(crate) async fn a_target_that_matches_nothing_still_answers(row: &'static Row) {
    let stage = stage!(row);
    for (target, text) in [("nobody", "a text"), ("exec", "A TEXT"), ("xecutor", "a text")] {
        let call = stage.client().post("/upper").documents(items(1)).target_executor(target);
        let documents: Vec<Item> = call.send().await.documents().unwrap();
        assert_eq!(documents[0].text.as_deref(), Some(text), "{target}");
    }
}

pub(crate) async fn documents_that_are_encoded_already_are_passed_on_as_they_are(
    row: &'static Row,
) {
    let stage = stage!(row);
    let first = only(stage.client().post("/upper").documents(items(5)).send().await).unwrap();
    let encoded = first.encoded_documents().unwrap();
    let is_json = matches!(row.protocol, Protocol::Http | Protocol::WebsocketJson);
    assert_eq!((encoded[0].is_json(), encoded[0].docarray()), (is_json, row.docarray));
    let again = only(stage.client().post("/").documents(encoded.clone()).send().await).unwrap();
    assert_eq!(again.documents::<Item>().unwrap(), first.documents::<Item>().unwrap());
    let read: Vec<Item> = encoded.iter().map(|document| document.decode().unwrap()).collect();
    assert_eq!(read, first.documents::<Item>().unwrap());
}

pub(crate) async fn an_empty_input_is_a_request(row: &'static Row) {
    let stage = stage!(row);
    let response = only(stage.client().post("/upper").send().await).unwrap();
    assert_eq!(response.documents::<Item>().unwrap(), []);
}

pub(crate) async fn a_thousand_documents_with_parameters_come_back_once_and_in_order(
    row: &'static Row,
) {
    let stage = stage!(row);
    for size in [100, 0, 999] {
        let call = stage.client().post("/upper").documents(items(1000)).request_size(size);
        let answers = call.parameters(json!({"k": 1})).send().await;
        let size = match (size, row.docarray, row.protocol) {
            // A v2 gateway would lose the documents after the 100th of a request.
            (_, DocArray::V2, Protocol::Http) => 100,
            (0, ..) => 1000,
            (size, ..) => size,
        };
        assert_eq!(answers.len(), 1000_usize.div_ceil(size));
        let documents: Vec<Item> = answers.documents().unwrap();
        let expected: Vec<Item> = (0..1000).map(|n| item(&n.to_string(), "A TEXT")).collect();
        assert!(documents == expected, "{} documents came back", documents.len());
    }
}

pub(crate) async fn unordered_answers_hold_each_document_once(row: &'static Row) {
    let stage = stage!(row);
    let mut responses =
        stage.client().post("/").documents(items(500)).request_size(7).prefetch(8).stream();
    let mut seen = Vec::new();
    let mut requests = BTreeSet::new();
    while let Some(response) = responses.next().await {
        let response = response.unwrap();
        assert!(requests.insert(response.request_id().to_owned()), "each request ends once");
        let ids = response.documents::<Item>().unwrap().into_iter();
        let ids: Vec<u64> = ids.map(|item| item.id.parse().unwrap()).collect();
        assert_eq!(ids, response.input().collect::<Vec<_>>());
        seen.extend(ids);
    }
    seen.sort_unstable();
    assert_eq!(seen, (0..500).collect::<Vec<_>>());
}

pub(crate) async fn an_executors_exception_is_an_error_with_its_name(row: &'static Row) {
    let stage = stage!(row);
    let client = stage.client();
    for (kind, name) in [("value", "ValueError"), ("key", "KeyError")] {
        let parameters = json!({"message": "boom", "kind": kind});
        let call = client.post("/fail").documents(items(2)).parameters(parameters);
        let error = only(call.send().await).unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Executor, "{error}");
        assert_eq!(error.delivery(), Delivery::Answered);
        assert!(error.may_have_run());
        let exception = error.exception().unwrap();
        assert_eq!((exception.name.as_str(), &exception.args), (name, &vec!["boom".to_owned()]));
        assert_eq!(error.input(), Some(0..2));
        assert!(error.request_id().is_some());
        assert!(error.to_string().contains("boom") && !error.to_string().contains('\n'));
    }
    only(client.post("/").documents(items(1)).send().await).unwrap();
}

pub(crate) async fn an_executors_exception_is_reported_in_full_with_the_documents(
    row: &'static Row,
) {
    let stage = stage!(row);
    let call = stage.client().post("/fail").documents(items(2));
    let error = only(call.parameters(json!({"message": "boom"})).send().await).unwrap_err();
    let exception = error.exception().unwrap();
    assert_eq!(exception.executor, "WireExecutor");
    assert!(exception.stacks.iter().any(|line| line.contains("boom")), "{exception:?}");
    assert!(error.message().starts_with("WireExecutor raised"), "{error}");
    let response = error.response().unwrap();
    assert_eq!(response.documents::<Item>().unwrap(), items(2).collect::<Vec<_>>());
    let routes = response.routes().unwrap();
    let failed = routes.iter().find(|route| route.executor == "executor0").unwrap();
    assert_eq!(failed.status.as_ref().map(|status| status.code), Some(1));
}

pub(crate) async fn a_failed_request_does_not_end_the_stream(row: &'static Row) {
    let stage = stage!(row);
    // The third request's document has a value that no executor accepts.
    let bad = |n: usize| if n == 2 { json!([1]) } else { json!("a text") };
    let documents = (0..6).map(|n| json!({"id": n.to_string(), "text": bad(n)}));
    let call = stage.client().post("/upper").documents(documents).request_size(1);
    let results: Vec<_> = call.send().await.into_iter().collect();
    let failed: Vec<_> = (0..6).filter(|n| results[*n].is_err()).collect();
    assert_eq!(failed, [2]);
}

pub(crate) async fn routes_name_gateway_and_executor_with_their_times(row: &'static Row) {
    let stage = stage!(row);
    let response = only(stage.client().post("/").documents(items(1)).send().await).unwrap();
    let routes = response.routes().unwrap();
    let names: Vec<_> = routes.iter().map(|route| route.executor.as_str()).collect();
    assert_eq!(names, ["gateway", "executor0"]);
    for route in routes {
        let (start, end) = (route.start_time.unwrap(), route.end_time.unwrap());
        assert!(start <= end && end <= SystemTime::now() + Duration::from_secs(1), "{route:?}");
    }
    assert!(!response.gateway_request_id().is_empty());
}

pub(crate) async fn tensors_and_unicode_survive_an_echo(row: &'static Row) {
    let stage = stage!(row);
    let sent = Item {
        embedding: Some(Tensor::from([0.1_f64, -1.25, 1.0e-20])),
        ..item("ü", "h\u{e9}llo \u{4e16}\u{754c} \u{1f600} \" \\ \n")
    };
    let numbers = [0.5_f64, 1.0, 2.0, -3.0, 4.0, 5.25];
    let tensor =
        Item { text: None, tensor: Some(Tensor::new(&[2, 3], &numbers).unwrap()), ..item("t", "") };
    let sent = [sent, tensor];
    let back: Vec<Item> =
        stage.client().post("/").documents(&sent).send().await.documents().unwrap();
    assert_eq!(back, sent);
}

pub(crate) async fn bytes_survive_an_echo(row: &'static Row) {
    let stage = stage!(row);
    let bytes: Vec<u8> = (0..=255).collect();
    let sent = Document { blob: Some(Blob::from(bytes)), ..Document::default() }.with_id("b");
    let back: Vec<Document> =
        stage.client().post("/").documents([&sent]).send().await.documents().unwrap();
    // A v2 executor's class gives other fields their defaults.
    assert_eq!((&back[0].id, &back[0].blob), (&sent.id, &sent.blob));
}

pub(crate) async fn tags_survive_an_echo(row: &'static Row) {
    let stage = stage!(row);
    let tags: BTreeMap<String, Value> = BTreeMap::from([
        ("number".into(), Value::from(2.5)),
        ("text".into(), Value::from("x")),
        ("flag".into(), Value::from(true)),
        ("list".into(), Value::from(vec![Value::from(1.5), Value::Null, Value::from("two")])),
        ("map".into(), Value::from(BTreeMap::from([("k".into(), Value::from("v"))]))),
    ]);
    let sent = Document { tags: Some(tags.clone()), ..Document::text("t") }.with_id("t");
    let back: Vec<Document> =
        stage.client().post("/").documents([&sent]).send().await.documents().unwrap();
    assert_eq!(back[0].tags, Some(tags));
}

pub(crate) async fn empty_text_is_lost_by_v1_and_whole_tags_stay_numbers(row: &'static Row) {
    let stage = stage!(row);
    let tags = BTreeMap::from([("one".to_owned(), Value::from(1)), ("seven".into(), 7.into())]);
    let sent = Document { tags: Some(tags), ..Document::text("") }.with_id("e");
    let back: Vec<Document> =
        stage.client().post("/").documents([sent]).send().await.documents().unwrap();
    let tags = back[0].tags.as_ref().unwrap();
    let found = (&tags["one"], tags["seven"].as_f64());
    assert_eq!(found, (&Value::Integer(1), Some(7.0)));
    let text = if row.docarray == DocArray::V1 { None } else { Some("") };
    assert_eq!(back[0].text.as_deref(), text);
}

pub(crate) async fn an_endpoint_that_no_executor_binds_leaves_documents_unchanged(
    row: &'static Row,
) {
    let stage = stage!(row);
    let back: Vec<Item> =
        stage.client().post("/nobody").documents(items(1)).send().await.documents().unwrap();
    assert_eq!(back, items(1).collect::<Vec<_>>());
}

pub(crate) async fn an_unknown_endpoint_is_an_error_that_lists_the_known_ones(row: &'static Row) {
    let stage = stage!(row);
    let client = stage.client();
    let error = only(client.post("/uper").documents(items(3)).send().await).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotSent));
    assert!(error.message().contains("no endpoint /uper; it has /, "), "{error}");
    assert!(error.message().contains("/upper"), "{error}");
    let endpoints = client.endpoints().await.unwrap();
    assert_eq!(endpoints.docarray, DocArray::V2);
    assert!(endpoints.paths.contains(&"/upper".to_owned()) && !endpoints.takes_any);
}

pub(crate) async fn a_value_of_the_wrong_type_is_refused_with_its_place(row: &'static Row) {
    let stage = stage!(row);
    let documents =
        [json!({"id": "a", "text": "fine"}), json!({"id": "b", "text": {"no": "text"}})];
    let answers = stage.client().post("/upper").documents(documents).send().await;
    let error = answers.errors().next().unwrap();
    match row.docarray {
        // The client knows the fields of v1.
        DocArray::V1 => {
            assert_eq!(
                (error.kind(), error.http_status().map(|status| status.as_u16())),
                (ErrorKind::Encode, None),
                "{error}"
            );
            assert!(
                error.message().contains("text: the field must be text, not an object"),
                "{error}"
            );
            assert_eq!(error.input(), Some(1..2));
        }
        DocArray::V2 if row.protocol == Protocol::Http => {
            assert_eq!(
                (error.kind(), error.http_status().map(|status| status.as_u16())),
                (ErrorKind::Gateway, Some(422))
            );
            assert!(error.message().contains("body.data.1.text"), "{error}");
        }
        DocArray::V2 => {
            assert_eq!(error.kind(), ErrorKind::Executor, "{error}");
            assert!(error.message().contains("'text'"), "{error}");
        }
    }
    assert_eq!(error.may_have_run(), error.kind() == ErrorKind::Executor);
}

pub(crate) async fn an_answer_of_twenty_megabytes_comes_through(row: &'static Row) {
    let stage = stage!(row);
    let size = 20 << 20;
    let response = only(big(&stage.client(), size).await).unwrap();
    let document = &response.documents::<Document>().unwrap()[0];
    let length = match row.docarray {
        DocArray::V1 => document.blob.as_ref().unwrap().as_bytes().len(),
        DocArray::V2 => document.text.as_ref().unwrap().len(),
    };
    assert_eq!(length, size);
}

pub(crate) async fn an_answer_beyond_the_limit_names_the_limit(row: &'static Row) {
    let stage = stage!(row);
    let client = stage.builder().answer_limit(1 << 20).build().unwrap();
    let error = only(big(&client, 2 << 20).await).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TooLarge);
    assert!(error.message().contains("1048576 bytes"), "{error}");
    assert!(error.may_have_run());
    only(big(&client, 1000).await).unwrap();
}

async fn big(client: &Client, bytes: usize) -> Answers {
    client.post("/big").documents(items(1)).parameters(json!({"bytes": bytes})).send().await
}

pub(crate) async fn documents_that_do_not_fit_the_type_name_document_and_field(row: &'static Row) {
    #[derive(Debug, Deserialize)]
    struct Wrong {
        #[allow(dead_code)]
        id: u32,
    }
    let stage = stage!(row);
    let documents = [item("1", "x"), item("a", "x")];
    let response = only(stage.client().post("/").documents(documents).send().await).unwrap();
    let error = response.documents::<Wrong>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Decode);
    assert!(error.message().contains("[0].id: invalid type: string"), "{error}");
    assert_eq!(error.request_id(), Some(response.request_id()));
}

pub(crate) async fn slow_inputs_are_answered_one_by_one(row: &'static Row) {
    let stage = stage!(row);
    let answered = AtomicUsize::new(0);
    let input = stream::iter(0..4).then(|n| {
        let answered = answered.load(Ordering::SeqCst);
        async move {
            assert_eq!(answered, n, "document {n} is read after the answers before it");
            tokio::time::sleep(Duration::from_millis(20)).await;
            item(&n.to_string(), "x")
        }
    });
    let mut responses =
        stage.client().post("/").document_stream(input).request_size(1).prefetch(1).stream();
    while let Some(response) = responses.next().await {
        response.unwrap();
        answered.fetch_add(1, Ordering::SeqCst);
    }
    assert_eq!(answered.load(Ordering::SeqCst), 4);
}

pub(crate) async fn a_slow_executor_stops_the_input_after_prefetch(row: &'static Row) {
    let stage = stage!(row);
    let read = AtomicUsize::new(0);
    let input = (0..50).map(|n| {
        read.fetch_add(1, Ordering::SeqCst);
        item(&n.to_string(), "x")
    });
    let mut responses = stage
        .client()
        .post("/slow")
        .parameters(json!({"seconds": 0.3}))
        .documents(input)
        .request_size(1)
        .prefetch(5)
        .stream();
    responses.next().await.unwrap().unwrap();
    let most = if row.protocol == Protocol::WebsocketJson { 1 } else { 5 };
    assert_eq!(read.load(Ordering::SeqCst), most);
}

pub(crate) async fn large_and_small_calls_on_one_client_are_all_answered(row: &'static Row) {
    let stage = stage!(row);
    let client = stage.client();
    let flood = client.post("/").documents(items(300)).request_size(1).prefetch(64).send();
    let polite = async {
        for _ in 0..5 {
            only(client.post("/upper").documents(items(1)).send().await).unwrap();
        }
    };
    let (flood, ()) = tokio::join!(flood, polite);
    assert_eq!(flood.documents::<Item>().unwrap().len(), 300);
}

pub(crate) async fn the_gateway_is_ready_and_reports_its_releases(row: &'static Row) {
    let stage = stage!(row);
    let client = stage.client();
    client.ready().await.unwrap();
    let status = client.status().await.unwrap();
    assert_eq!(status.docarray(), Some(row.docarray));
    assert!(status.jina_release().is_some());
    assert_eq!(client.endpoints().await.unwrap().docarray, row.docarray);
}

pub(crate) async fn an_attempt_ends_at_its_time_out(row: &'static Row) {
    let stage = stage!(row);
    let client = stage.client();
    // Asks for the status and connects first, then measures the time of a request on this machine.
    let began = Instant::now();
    only(client.post("/upper").documents(items(1)).send().await).unwrap();
    let time = Duration::from_millis(300) + 5 * began.elapsed();

    let began = Instant::now();
    let call = client.post("/slow").documents(items(1)).parameters(json!({"seconds": 60}));
    let error = only(call.attempt_timeout(time).send().await).unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Timeout, Delivery::Unknown));
    assert!((time..Duration::from_secs(60)).contains(&began.elapsed()), "{:?}", began.elapsed());
}
