//! `WebsocketClientlet` and `GrpcClientlet` against real gateways. Without real gateways the tests
//! say that they are skipped.

use std::collections::BTreeSet;
use std::time::Duration;

use clientlet::clientlets::{ClientletOptions, DataRequest, GrpcClientlet, WebsocketClientlet};
use clientlet::{DocArray, ErrorKind, GrpcCode, Health};
use clientlet_interop::{Environment, Options, RealGateway};
use serde_json::{Value, json};

async fn started(gateway: &RealGateway, path: &str) -> WebsocketClientlet {
    let url = format!("{}{path}", gateway.url("websocket"));
    let mut clientlet = WebsocketClientlet::new(&url, &ClientletOptions::new()).unwrap();
    clientlet.start().await.unwrap();
    clientlet
}

fn request(docarray: DocArray, endpoint: &str, id: &str) -> DataRequest {
    let request = DataRequest::proto(docarray, endpoint).with_request_id(id);
    request.document(&json!({"id": id, "text": "hello"})).unwrap()
}

/// Checks everything in one test, because a real gateway takes seconds to start.
async fn clientlets_behave_as_pythons_classes(environment: Environment) {
    let options = Options { protocols: &["http", "websocket", "grpc"], ..Options::default() };
    let start = tokio::task::spawn_blocking(move || {
        RealGateway::start_or_skip(environment, options).unwrap_or_else(|error| panic!("{error}"))
    });
    let Some(mut gateway) = start.await.unwrap() else { return };
    let docarray = match environment.documents() {
        "v1" => DocArray::V1,
        _ => DocArray::V2,
    };

    let mut clientlet = started(&gateway, "/dry_run").await;
    clientlet.send_dry_run().await.unwrap();
    let mut statuses = clientlet.recv_dry_run();
    assert!(statuses.next().await.unwrap().unwrap().is_success());
    assert!(statuses.next().await.is_none());
    assert_eq!(statuses.close_code(), Some(1000));

    let mut clientlet = started(&gateway, "/").await;
    for n in 0..200 {
        clientlet.send_message(&request(docarray, "/upper", &n.to_string())).await.unwrap();
    }
    clientlet.send_message(&request(docarray, "/fail", "bad")).await.unwrap();
    clientlet.send_eoi().await.unwrap();
    let mut responses = clientlet.recv_message();
    let (mut ids, mut failed) = (BTreeSet::new(), Vec::new());
    while let Some(response) = responses.next().await {
        match response {
            Ok(response) => {
                let documents: Vec<Value> = response.documents().unwrap();
                assert_eq!(documents[0]["text"], "HELLO");
                assert!(ids.insert(response.request_id().to_owned()));
            }
            Err(error) => failed.push(error),
        }
    }
    assert_eq!((ids.len(), responses.close_code()), (200, Some(1000)));
    assert_eq!((failed[0].kind(), failed[0].request_id()), (ErrorKind::Executor, Some("bad")));
    assert_eq!(failed.len(), 1);

    let refused = format!("{}/elsewhere", gateway.url("websocket"));
    let mut clientlet = WebsocketClientlet::new(&refused, &ClientletOptions::new()).unwrap();
    let error = clientlet.start().await.unwrap_err();
    assert_eq!(error.http_status().map(|status| status.as_u16()), Some(403));
    let http = gateway.url("http").replace("http://", "ws://");
    let mut clientlet = WebsocketClientlet::new(&http, &ClientletOptions::new()).unwrap();
    let error = clientlet.start().await.unwrap_err();
    assert!(error.message().contains("did not upgrade"), "{error}");

    let mut grpc = GrpcClientlet::new(&gateway.url("grpc"), &ClientletOptions::new()).unwrap();
    grpc.start().await.unwrap();
    grpc_is_good(&grpc, docarray).await;

    gateway.kill_executor().unwrap();
    grpc_is_unavailable(&grpc, docarray).await;
    let mut clientlet = started(&gateway, "/dry_run").await;
    clientlet.send_dry_run().await.unwrap();
    assert!(clientlet.recv_dry_run().next().await.is_none());
    assert_eq!(clientlet.close_code(), Some(1011));
    assert!(clientlet.close_message().unwrap().contains("deployment"));

    let mut clientlet = started(&gateway, "/").await;
    clientlet.send_message(&request(docarray, "/", "a")).await.unwrap();
    assert!(clientlet.recv_message().next().await.is_none());
    assert_eq!(clientlet.close_code(), Some(1011));
    clientlet.close().await;
}

async fn grpc_is_good(clientlet: &GrpcClientlet, docarray: DocArray) {
    assert!(clientlet.send_dry_run().await.unwrap().is_success());
    assert_eq!(clientlet.status().await.unwrap().docarray(), Some(docarray));
    assert_eq!(clientlet.health("").await.unwrap(), Health::Serving);
    let response = clientlet.send_message(&request(docarray, "/upper", "one")).await.unwrap();
    assert_eq!(response.documents::<Value>().unwrap()[0]["text"], "HELLO");
    let error = clientlet.send_message(&request(docarray, "/fail", "bad")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Executor);

    let mut stream = clientlet.open_stream().await.unwrap();
    for n in 0..200 {
        stream.send_message(&request(docarray, "/upper", &n.to_string())).await.unwrap();
    }
    stream.send_message(&request(docarray, "/fail", "bad")).await.unwrap();
    stream.send_eoi().await.unwrap();
    let mut responses = stream.recv_message();
    let (mut ids, mut failed) = (BTreeSet::new(), Vec::new());
    while let Some(response) = responses.next().await {
        match response {
            Ok(response) => assert!(ids.insert(response.request_id().to_owned())),
            Err(error) => failed.push((error.kind(), error.request_id().map(str::to_owned))),
        }
    }
    assert_eq!((ids.len(), responses.status_code()), (200, Some(GrpcCode::Ok)));
    assert_eq!(failed, [(ErrorKind::Executor, Some("bad".to_owned()))]);
}

async fn grpc_is_unavailable(clientlet: &GrpcClientlet, docarray: DocArray) {
    assert_eq!(clientlet.send_dry_run().await.unwrap().code, 1);
    let error = clientlet.send_message(&request(docarray, "/", "a")).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Gateway, "{error}");
    let mut stream = clientlet.open_stream().await.unwrap();
    stream.send_message(&request(docarray, "/", "a")).await.unwrap();
    let mut responses = stream.recv_message();
    assert!(responses.next().await.is_none(), "the bare answer before the status is not an answer");
    assert_eq!(responses.status_code(), Some(GrpcCode::Unavailable));
    assert!(responses.status_message().unwrap().contains("deployment"));
}

macro_rules! real {
    ($($name:ident: $environment:ident;)*) => {
        $(
            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn $name() {
                let case = clientlets_behave_as_pythons_classes(Environment::$environment);
                tokio::time::timeout(Duration::from_secs(120), case).await.expect("the case ends in time");
            }
        )*
    };
}

real! {
    jina_3_14_1: SeedEra;
    jina_3_33_1_v1: CurrentV1;
    jina_3_33_1_v2: Current;
}
