//! What handlers give, and how it reaches clients: the same on every protocol, and what real executors
//! cannot send is the exception that they raise.

use std::time::Duration;

use clientlet_gateway::{DocArray, Endpoint, Exception, Executor, Field, Gateway, Reply, Schema};
use futures_util::StreamExt;
use prost::Message;
use serde_json::{Value, json};

use crate::common::Client;
use crate::common::grpc::{Channel, SINGLE, STREAM};
use crate::common::proto::{self, Header, v2};
use crate::common::websocket::{BINARY, Socket};
use crate::streams::get;

/// A request of one document without fields.
fn request(endpoint: &str, target: &str) -> v2::DataRequest {
    let header = Header {
        request_id: "r".into(),
        exec_endpoint: Some(endpoint.into()),
        target_executor: Some(target.into()),
        ..Header::default()
    };
    let docs = v2::DocArray { docs: vec![v2::Document::default()] };
    let data = v2::Data { docs: Some(docs), docs_bytes: None };
    v2::DataRequest { header: Some(header), data: Some(data), ..v2::DataRequest::default() }
}

fn status(answer: &[u8]) -> proto::Status {
    proto::read_v2(answer).header.unwrap().status.unwrap_or_default()
}

/// How an endpoint answers over HTTP, WebSocket and gRPC: the description of its failure, empty if there
/// is none.
async fn failures(gateway: &Gateway, endpoint: &str, target: &str) -> [String; 3] {
    let body = json!({"data": [{}], "header": {"targetExecutor": target}});
    let answer = Client::connect(gateway).await.post(endpoint, &body).await.unwrap();
    let http = match answer.status {
        200 => String::new(),
        _ => answer.json()["detail"].as_str().unwrap().to_owned(),
    };
    let mut socket = Socket::connect(gateway).await;
    socket.send(&request(endpoint, target)).await;
    let frame = socket.frame().await.unwrap();
    assert_eq!(frame.opcode, BINARY);
    let message = request(endpoint, target).encode_to_vec();
    let grpc = Channel::connect(gateway).await.unary(SINGLE, &message).await.unwrap();
    [http, status(&frame.content).description, status(&grpc).description]
}

fn number() -> Schema {
    let part = Schema::new("Part").field("n", Field::integer());
    Schema::new("Number")
        .field("n", Field::integer().default_value(0))
        .field("any", Field::any().optional())
        .field("list", Field::list(Field::integer()).default_value([0; 0]))
        .field("counts", Field::dictionary_of(Field::integer()).default_value(json!({})))
        .field("part", Field::document(part.clone()).optional())
        .field("parts", Field::documents(part).default_value([0; 0]))
        .field("score", Field::float().default_value(0.5))
}

async fn start(builder: clientlet_gateway::GatewayBuilder) -> Gateway {
    builder.docarray(DocArray::V2).websocket(true).grpc(true).start().await.unwrap()
}

/// Nested lists with this many levels.
fn nested(depth: usize) -> Value {
    (0..depth).fold(json!(1), |inner, _| json!([inner]))
}

#[tokio::test]
async fn what_protobuf_cannot_carry_fails_on_every_protocol_as_in_a_real_executor() {
    let wide = 1_u64 << 40;
    let range = "Value out of range: 1099511627776";
    let depth = "Error parsing message with type 'docarray.ListOfAnyProto'";
    let cases = [
        (json!({"n": wide}), "n", format!("ValueError('Field `n` is problematic', '{range}')")),
        (
            json!({"any": {"ts": -2_147_483_649_i64}}),
            "any.ts",
            "ValueError('Field `any` is problematic', 'Value out of range: -2147483649')".into(),
        ),
        (
            json!({"list": [1, wide]}),
            "list[1]",
            format!("ValueError('Field `list` is problematic', '{range}')"),
        ),
        (
            json!({"counts": {"a": wide}}),
            "counts.a",
            format!("ValueError('Field `counts` is problematic', '{range}')"),
        ),
        (
            json!({"part": {"n": wide}}),
            "part.n",
            format!(
                "ValueError('Field `part` is problematic', 'Field `n` is problematic', '{range}')"
            ),
        ),
        (
            json!({"parts": [{"n": 1}, {"n": wide}]}),
            "parts[1].n",
            format!(
                "ValueError('Field `parts` is problematic', 'Field `n` is problematic', '{range}')"
            ),
        ),
        (
            json!({"any": nested(60)}),
            &format!("any{}", "[0]".repeat(48)),
            format!("DecodeError('Field `any` is problematic', \"{depth}\")"),
        ),
        // These fit.
        (json!({"n": i32::MIN, "any": nested(40), "score": wide}), "", String::new()),
    ];
    for (document, field, expected) in cases {
        let given = document.clone();
        let endpoint = Endpoint::new(move |_| vec![json!({"id": "0"}), given.clone()]);
        let gateway = start(Gateway::builder().on("/a", endpoint.gives(number()))).await;
        let found = failures(&gateway, "/a", "").await;
        assert_eq!(found, [(); 3].map(|()| expected.clone()), "{document}");
        let mistakes = gateway.take_mistakes();
        assert_eq!(mistakes.len(), if field.is_empty() { 0 } else { 3 });
        for mistake in mistakes {
            let start =
                format!("the handler of `/a` in `executor0` returned document 1, `{field}`: ");
            assert!(mistake.to_string().starts_with(&start), "{mistake}");
        }
    }
}

#[tokio::test]
async fn an_integer_that_is_too_wide_fails_without_a_class_too() {
    let gateway = start(Gateway::builder().on("/a", |_| [json!({"n": 1_u64 << 31})])).await;
    let expected = "ValueError('Field `n` is problematic', 'Value out of range: 2147483648')";
    assert_eq!(failures(&gateway, "/a", "").await, [expected; 3]);
    assert_eq!(gateway.take_mistakes().len(), 3);
}

/// The numbers of documents that a streaming endpoint gives over gRPC and by events.
async fn streamed(gateway: &Gateway, endpoint: &str) -> (usize, usize) {
    let mut channel = Channel::connect(gateway).await;
    let mut call = channel.open(STREAM).await;
    call.send_bytes(&crate::streams::request(endpoint));
    call.end();
    let mut count = 0;
    while call.message().await.unwrap().is_some() {
        count += 1;
    }
    assert_eq!(call.status().await.unwrap(), (0, String::new()));
    let (status, _, body) = get(gateway, endpoint, r#"{"id": "in"}"#).await;
    let body = body.unwrap();
    assert_eq!((status, body.ends_with("event: end\r\n\r\n")), (200, true));
    (count, body.matches("event: update").count())
}

#[tokio::test]
async fn a_stream_that_protobuf_cannot_carry_is_called_again_as_one_that_raises() {
    let documents = |_| vec![json!({"n": 1}), json!({"n": 1_u64 << 40}), json!({"n": 2})];
    let first = |_| vec![json!({"n": 1_u64 << 40})];
    let builder = Gateway::builder()
        .on("/later", Endpoint::stream(documents).gives(number()))
        .on("/first", Endpoint::stream(first));
    let gateway = start(builder).await;
    assert_eq!(streamed(&gateway, "/later").await, (4, 4));
    assert_eq!(streamed(&gateway, "/first").await, (0, 0));
    let mistakes = gateway.take_mistakes();
    assert_eq!(mistakes.len(), 16);
    assert!(mistakes[0].to_string().contains("gave document 1, `n`: 1099511627776"));
}

#[tokio::test]
async fn a_panic_inside_a_stream_ends_that_stream_alone_and_is_a_mistake() {
    let broken = |_| {
        let numbers = futures_util::stream::iter(0..3);
        Reply::stream(numbers.map(|n| {
            assert!(n < 2, "no more than two");
            json!({"n": n})
        }))
    };
    let calm = |_| {
        let numbers = futures_util::stream::iter(0..3);
        Reply::stream(numbers.map(|n| json!({"n": n}))).pause(Duration::from_millis(1))
    };
    let builder = Gateway::builder()
        .on("/broken", Endpoint::stream(broken))
        .on("/calm", Endpoint::stream(calm));
    let gateway = start(builder).await;

    let mut channel = Channel::connect(&gateway).await;
    let mut neighbour = channel.open(STREAM).await;
    neighbour.send_bytes(&crate::streams::request("/calm"));
    let mut call = channel.open(STREAM).await;
    call.send_bytes(&crate::streams::request("/broken"));
    call.end();
    neighbour.end();
    for (call, expected) in [(&mut call, 2), (&mut neighbour, 3)] {
        let mut count = 0;
        while call.message().await.unwrap().is_some() {
            count += 1;
        }
        assert_eq!((count, call.status().await.unwrap()), (expected, (0, String::new())));
    }
    assert_eq!(streamed(&gateway, "/broken").await, (2, 2));
    let mistakes: Vec<String> = gateway.take_mistakes().iter().map(ToString::to_string).collect();
    let expected = "the handler of `/broken` in `executor0` panicked before document 2: no more than \
                    two";
    assert_eq!(mistakes, [expected; 3]);
}

#[tokio::test]
async fn endpoints_are_reached_whatever_they_are_called() {
    let names = ["search", "/a b", "/a?b", "/\u{6587}", "/x/", "/100%"];
    let routes = ["/search", "/a%20b", "/a%3Fb", "/%E6%96%87", "/x", "/100%25"];
    let mut builder = Gateway::builder();
    for name in names {
        builder = builder.on(name, move |_| [json!({"text": name})]);
    }
    let words = |_| [json!({"text": "one"})];
    let gateway = start(builder.on("words", Endpoint::stream(words))).await;
    let mut client = Client::connect(&gateway).await;
    for (name, route) in names.iter().zip(routes) {
        let answer = client.post(route, &json!({"data": [{}]})).await.unwrap();
        assert_eq!((answer.status, &answer.json()["data"][0]["text"]), (200, &json!(name)));
        gateway.journal().to(name).assert_count(1);
    }
    let (status, _, body) = get(&gateway, "/words", "{}").await;
    assert_eq!((status, body.unwrap().matches("event: update").count()), (200, 1));
    let paths = client.get("/openapi.json").await.unwrap().json()["paths"].clone();
    let mut paths: Vec<&String> = paths.as_object().unwrap().keys().collect();
    paths.sort();
    let expected = [
        "/",
        "/100%",
        "/a b",
        "/a?b",
        "/dry_run",
        "/search",
        "/status",
        "/words",
        "/x",
        "/\u{6587}",
    ];
    assert_eq!(paths, expected);
}

fn class(name: &str, text: Field) -> Schema {
    Schema::new(name).field("text", text)
}

#[tokio::test]
async fn a_gateway_starts_with_the_executors_that_a_real_flow_starts_with() {
    let echo = || Endpoint::new(|_| Reply::unchanged());
    let of = |class: Schema| echo().takes(class.clone()).gives(class);
    let first = || Executor::new("first");
    let second = || Executor::new("second");
    let classes =
        |one: Schema, other: Schema| vec![first().on("/a", of(one)), second().on("/a", of(other))];
    let text = || class("One", Field::text());
    let cannot_stand = "`second` cannot stand behind `first`, which binds `/a`";
    for (executors, refusal) in [
        (vec![first().on("/a", echo()), second().on("/b", echo())], cannot_stand),
        (vec![first().on("/a", echo()), second()], cannot_stand),
        (vec![first().on("/a", echo()), second().on("/default", echo())], ""),
        (vec![first().on("/a", echo()), second().on("/a", echo()).on("/b", echo())], ""),
        (vec![first().on("/default", echo()), second().on("/a", echo())], ""),
        // Names, defaults and what lies inside are not compared.
        (classes(text(), class("Two", Field::text().default_value("x"))), ""),
        (classes(text(), class("Two", Field::text().optional())), ""),
        (classes(text(), class("Two", Field::url())), ""),
        (
            classes(text(), class("Two", Field::integer())),
            "gives `One`, but that of `second` takes",
        ),
        (classes(text(), Schema::new("Two")), "gives `One`, but that of `second` takes"),
        (classes(text(), Schema::open()), ""),
        (vec![first().on("", echo())], "an endpoint of `first` has no name"),
        (
            vec![
                first().on("/a", echo()),
                second().on("/a", echo()).on("/s", Endpoint::stream(|_| Reply::unchanged())),
            ],
            "`/s` of `second` streams",
        ),
    ] {
        let shown = format!("{executors:?}");
        let mut builder = Gateway::builder().docarray(DocArray::V2);
        for executor in executors {
            builder = builder.executor(executor);
        }
        match builder.start().await {
            Ok(_) => assert_eq!(refusal, "", "{shown}"),
            Err(error) => {
                let message = error.to_string();
                assert!(!refusal.is_empty() && message.contains(refusal), "{message}: {shown}");
            }
        }
    }
}

#[tokio::test]
async fn documents_v1_have_no_classes_that_executors_must_share() {
    let echo = || Endpoint::new(|_| Reply::unchanged());
    let first = Executor::new("first").on("/a", echo());
    let second = Executor::new("second").on("/b", echo());
    assert!(Gateway::builder().executor(first).executor(second).start().await.is_ok());
}

#[tokio::test]
async fn a_target_that_only_python_can_read_is_a_mistake_of_the_test() {
    let gateway = start(Gateway::builder().on("/a", |_| Reply::unchanged())).await;
    let message = "a request for `/a` has the target executor `(?!enc).*`, a regular expression that \
                   the embedded gateway does not know";
    let expected = Exception::new("RuntimeError", [message]).to_string();
    assert_eq!(failures(&gateway, "/a", "(?!enc).*").await, [(); 3].map(|()| expected.clone()));
    let mistakes: Vec<String> = gateway.take_mistakes().iter().map(ToString::to_string).collect();
    assert_eq!(mistakes, [message; 3]);
    assert_eq!(failures(&gateway, "/a", r"exec\w+\Z").await, [""; 3]);
}
