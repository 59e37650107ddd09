//! What a client learns about a server before its first document: the generation of its documents,
//! the names of its endpoints. Also the errors if the server does not tell.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use clientlet::{Client, Delivery, DocArray, Document, Error, ErrorKind, RetryPolicy};
use clientlet_gateway::Gateway;
use clientlet_interop::{Environment, Nginx, Options, RealGateway};
use serde_json::{Value, json};

async fn start(environment: Environment, options: Options) -> Option<RealGateway> {
    events::watch();
    let start = tokio::task::spawn_blocking(move || {
        RealGateway::start_or_skip(environment, options).unwrap_or_else(|error| panic!("{error}"))
    });
    start.await.unwrap()
}

async fn post(client: &Client, endpoint: &str) -> Result<Value, Error> {
    events::watch();
    let answers = client.post(endpoint).documents([Document::text("a")]).send().await;
    Ok(answers.documents::<Value>()?.remove(0))
}

/// Streams one document and returns what came back.
async fn stream(client: &Client, endpoint: &str) -> Result<Vec<Value>, Error> {
    let mut documents = client.stream_document(endpoint, &json!({"id": "a", "text": "a"})).stream();
    let mut all = Vec::new();
    while let Some(document) = documents.next().await {
        all.push(document?);
    }
    Ok(all)
}

/// Tests a server of a bare executor without a gateway, which has neither a status nor a dry run.
async fn a_bare_deployment(environment: Environment, docarray: DocArray) {
    let options = Options { deployment: true, odd_names: true, ..Options::default() };
    let Some(server) = start(environment, options).await else { return };
    let url = server.url("http");
    let client = Client::new(&url).unwrap();
    assert_eq!(post(&client, "/upper").await.unwrap()["text"], "A");
    for endpoint in ["index2", "/index2", "/with space", "/with%20space", "/文本"] {
        assert_eq!(post(&client, endpoint).await.unwrap()["tags"]["odd"], true, "{endpoint}");
    }
    let endpoints = client.endpoints().await.unwrap();
    assert_eq!((endpoints.docarray, endpoints.takes_any), (docarray, false));
    assert!(endpoints.paths.contains(&"/upper".to_owned()), "{:?}", endpoints.paths);

    let error = post(&client, "/nowhere").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotSent));
    let error = post(&client, "/fail").await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Executor, "{error}");
    assert_eq!(error.exception().unwrap().name, "ValueError");

    // More documents than a v2 gateway takes in one request, with two fields each.
    let documents = (0..250).map(|n| json!({"id": n.to_string(), "text": "b"}));
    let answers = client.post("/upper").documents(documents).request_size(0).send().await;
    let documents = answers.documents::<Value>().unwrap();
    assert_eq!(documents.len(), 250);
    assert!(documents.iter().all(|document| document["text"] == "B"));

    for (error, lacks) in [
        (client.status().await.unwrap_err(), "/status"),
        (client.ready().await.unwrap_err(), "/dry_run"),
    ] {
        assert_eq!(error.kind(), ErrorKind::NotFound);
        assert!(error.message().starts_with(&format!("GET {lacks}: ")), "{error}");
        assert!(
            error.message().ends_with("a bare Deployment served over HTTP does not"),
            "{error}"
        );
    }

    let (other, set) = match docarray {
        DocArray::V1 => (DocArray::V2, "documents v2"),
        DocArray::V2 => (DocArray::V1, "documents v1"),
    };
    let client = Client::builder(&url).docarray(other).build().unwrap();
    let error = post(&client, "/upper").await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Config, Delivery::NotSent));
    assert!(error.message().contains(set), "{error}");
    assert!(error.message().contains(&format!("shows documents {docarray}")), "{error}");
    let client = Client::builder(&url).docarray(docarray).build().unwrap();
    assert_eq!(post(&client, "/upper").await.unwrap()["text"], "A");
}

#[tokio::test]
async fn a_bare_deployment_of_3_33_1_takes_documents_v2_without_a_setting() {
    a_bare_deployment(Environment::Current, DocArray::V2).await;
}

#[tokio::test]
async fn a_bare_deployment_of_3_33_1_takes_documents_v1_without_a_setting() {
    a_bare_deployment(Environment::CurrentV1, DocArray::V1).await;
}

const PROTOCOLS: [&str; 3] = ["http", "websocket", "grpc"];

/// If endpoints are listed, both spellings of a name reach them. Otherwise the name is sent as the
/// caller wrote it.
async fn odd_names(environment: Environment) {
    let options = Options { protocols: &PROTOCOLS, odd_names: true, ..Options::default() };
    let Some(gateway) = start(environment, options).await else { return };
    let is_v2 = environment == Environment::Current;
    for protocol in PROTOCOLS {
        let client = Client::new(&gateway.url(protocol)).unwrap();
        // A gateway puts names into gRPC's metadata, so names beyond ASCII do not reach executors
        // behind a gateway.
        for endpoint in ["index2", "/with space"] {
            let document = post(&client, endpoint).await.unwrap();
            assert_eq!(document["tags"]["odd"], true, "{protocol} {endpoint}");
        }
        let is_listed = is_v2 && protocol != "websocket";
        for endpoint in ["/index2", "with space", "/with%20space"] {
            let document = post(&client, endpoint).await.unwrap();
            let ran = document["tags"]["odd"] == true;
            assert_eq!(ran, is_listed, "{protocol} {endpoint}");
        }
        if is_listed {
            for endpoint in ["sten", "/sten", "/st en", "/st%20en"] {
                let documents = stream(&client, endpoint).await.unwrap();
                assert_eq!(documents.len(), 1, "{protocol} {endpoint}");
                assert_eq!(documents[0]["id"], "odd", "{protocol} {endpoint}");
            }
        }
    }
}

#[tokio::test]
async fn names_without_a_slash_or_with_odd_letters_reach_jina_3_14_1() {
    odd_names(Environment::SeedEra).await;
}

#[tokio::test]
async fn names_without_a_slash_or_with_odd_letters_reach_jina_3_33_1_v1() {
    odd_names(Environment::CurrentV1).await;
}

#[tokio::test]
async fn names_without_a_slash_or_with_odd_letters_reach_jina_3_33_1_v2() {
    odd_names(Environment::Current).await;
}

#[tokio::test]
async fn a_setting_that_the_status_contradicts_is_an_error_before_anything_is_sent() {
    for (spoken, set, is) in [
        (clientlet_gateway::DocArray::V1, DocArray::V2, "v1"),
        (clientlet_gateway::DocArray::V2, DocArray::V1, "v2"),
    ] {
        let builder = Gateway::builder().docarray(spoken).websocket(true).grpc(true);
        let gateway = builder.http(true).start().await.unwrap();
        for url in [gateway.http_url(), gateway.websocket_url(), gateway.grpc_url()] {
            let client = Client::builder(&url).docarray(set).build().unwrap();
            let error = post(&client, "/").await.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (ErrorKind::Config, Delivery::NotSent));
            let message = error.message();
            assert!(
                message.starts_with(&format!("the client is set to documents {set}")),
                "{error}"
            );
            assert!(message.ends_with(&format!("which is {is}")), "{error}");
        }
        assert_eq!(gateway.journal().len(), 0);
    }
}

#[tokio::test]
async fn the_status_is_requested_once_for_any_number_of_requests() {
    let gateway =
        Gateway::builder().docarray(clientlet_gateway::DocArray::V1).start().await.unwrap();
    let client = Client::builder(&gateway.http_url()).docarray(DocArray::V1).build().unwrap();
    for _ in 0..3 {
        post(&client, "/").await.unwrap();
    }
    let asked = gateway.journal().gets().iter().filter(|get| get.path == "/status").count();
    assert_eq!((asked, gateway.journal().len()), (1, 3));
}

#[tokio::test]
async fn a_setting_is_used_if_the_gateway_hides_its_status() {
    for fault in ["status:404@/1", "status:401@/1", "status:500@/1", "reset-after@/1"] {
        for protocol in PROTOCOLS {
            let path = if protocol == "grpc" { "/jina.JinaInfoRPC/_status" } else { "/status" };
            let fault = format!("{fault},path={path}").parse().unwrap();
            let builder = Gateway::builder().websocket(true).grpc(true).fault(fault);
            let gateway = builder.http(true).start().await.unwrap();
            let url = match protocol {
                "http" => gateway.http_url(),
                "websocket" => gateway.websocket_url(),
                _ => gateway.grpc_url(),
            };
            let client = Client::builder(&url).docarray(DocArray::V1).build().unwrap();
            assert_eq!(post(&client, "/upper").await.unwrap()["text"], "A", "{protocol}");
        }
    }
}

/// Behind a proxy that lets one request pass in 50 ms, the second of two successive requests is
/// refused.
#[tokio::test]
async fn discovery_completes_under_a_rate_limit_of_one_request_at_a_time() {
    let builder = Gateway::builder().docarray(clientlet_gateway::DocArray::V2).grpc(true);
    let gateway = builder.start().await.unwrap();
    let (http, grpc) = (gateway.http_url(), gateway.grpc_url());
    for (listen, scheme, pass) in [
        ("", "http", format!("proxy_pass {http};")),
        ("http2", "grpc", format!("grpc_pass {grpc};")),
    ] {
        let server =
            format!("limit_req zone=twenty; limit_req_status 429; location / {{ {pass} }}");
        let start = tokio::task::spawn_blocking(move || Nginx::start_or_skip(listen, &server));
        let Some(nginx) = start.await.unwrap().unwrap() else { return };
        let url = format!("{scheme}://127.0.0.1:{}", nginx.port());
        let client = Client::builder(&url).unary(true);
        // Waits are random: some are shorter than 50 ms.
        let client = client.retry(RetryPolicy::standard().max_attempts(20)).build().unwrap();
        let answer = post(&client, "/upper").await;
        let answer = answer.unwrap_or_else(|error| panic!("{scheme}: {error}\n{}", nginx.log()));
        assert_eq!(answer["text"], "A");
    }
}
