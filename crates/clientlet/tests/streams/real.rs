//! The same calls over both protocols, against real gateways.

use std::time::Duration;

use clientlet::{Client, Delivery, Error, ErrorKind, RetryPolicy};
use clientlet_interop::{Environment, Nginx, Options, RealGateway};
use serde_json::{Value, json};

use super::texts;

const PROTOCOLS: [&str; 2] = ["http", "grpc"];

async fn start(environment: Environment) -> Option<RealGateway> {
    let options = Options { protocols: &["http", "websocket", "grpc"], ..Options::default() };
    tokio::task::spawn_blocking(move || RealGateway::start_or_skip(environment, options))
        .await
        .unwrap()
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn jina_3_33_1_v2_streams_the_documents_of_its_generators() {
    let Some(mut gateway) = start(Environment::Current).await else { return };
    for protocol in PROTOCOLS {
        let client = Client::new(&gateway.url(protocol)).unwrap();
        let document = json!({"id": "in", "text": "hey"});
        let call = |endpoint: &str| client.stream_document(endpoint, &document);

        let mut documents = call("/stream").stream();
        let (given, error) = texts(&mut documents).await;
        assert_eq!(given, ["hey 0", "hey 1", "hey 2"], "{protocol}: {error:?}");
        assert!(error.is_none(), "{protocol}: {error:?}");
        assert_eq!((documents.repeats_dropped(), documents.documents_given()), (0, 3));

        // The generator raises after its first document, each time that the gateway calls it.
        let mut documents = call("/stream_fail").stream();
        let (given, error) = texts(&mut documents).await;
        assert_eq!((given, error.is_none()), (vec!["hey 0".to_owned()], true), "{protocol}");
        assert_eq!(documents.repeats_dropped(), 3, "{protocol}");

        for endpoint in ["/upper", "/nowhere"] {
            let (given, error) = texts(&mut call(endpoint).stream()).await;
            let error = error.unwrap();
            assert!(given.is_empty(), "{protocol} {endpoint}");
            assert_eq!(error.kind(), ErrorKind::NotFound, "{protocol}: {error}");
            assert_eq!(error.delivery(), Delivery::NotSent, "{protocol}: {error}");
            let what = format!(
                "{endpoint} gives no stream of documents; the endpoints that do are /stream, /stream_fail"
            );
            assert_eq!(error.message(), what);
        }

        let bad = json!({"id": "b", "text": ["no", "text"]});
        let (given, error) = texts(&mut client.stream_document("/stream", &bad).stream()).await;
        assert!(given.is_empty(), "{protocol}");
        // If a generator raises before its first document, the stream is empty over gRPC.
        let status = error.and_then(|error| error.http_status()).map(|status| status.as_u16());
        assert_eq!(status, (protocol == "http").then_some(422));
    }

    let client = Client::new(&gateway.url("grpc")).unwrap();
    let document = json!({"text": "hey"});
    let call = client.stream_document("/stream", &document);
    // The gateway ignores the target.
    let call = call.parameters(json!({"a": 1})).target_executor("nobody").header("x-note", "y");
    assert_eq!(texts(&mut call.timeout(Duration::from_secs(30)).stream()).await.0.len(), 3);

    let dropped = client.stream_document("/stream", &document);
    let mut documents = dropped.stream::<Value>();
    assert_eq!(documents.next().await.unwrap().unwrap()["text"], "hey 0");
    drop(documents);
    assert_eq!(texts(&mut client.stream_document("/stream", &document).stream()).await.0.len(), 3);

    gateway.kill_executor().unwrap();
    for protocol in PROTOCOLS {
        let policy = RetryPolicy::new().max_attempts(2).initial_backoff(Duration::from_millis(1));
        let client = Client::builder(&gateway.url(protocol)).retry(policy).build().unwrap();
        let (given, error) =
            texts(&mut client.stream_document("/stream", &document).stream()).await;
        let error = error.unwrap();
        let kind = if protocol == "http" { ErrorKind::Transport } else { ErrorKind::Gateway };
        assert!(given.is_empty() && error.may_have_run(), "{protocol}: {error}");
        assert_eq!((error.kind(), error.attempts().len()), (kind, 2), "{protocol}: {error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn gateways_with_documents_v1_and_websocket_have_no_streams() {
    for environment in [Environment::SeedEra, Environment::CurrentV1] {
        let Some(gateway) = start(environment).await else { continue };
        for protocol in PROTOCOLS {
            let client = Client::new(&gateway.url(protocol)).unwrap();
            let document = json!({"text": "hey"});
            let (_, error) =
                texts(&mut client.stream_document("/stream", &document).stream()).await;
            let error = error.unwrap();
            assert_eq!(error.kind(), ErrorKind::NotFound, "{error}");
            assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
            assert!(error.message().contains("documents v1"), "{error}");
        }
    }
    let client = Client::new("ws://127.0.0.1:1").unwrap();
    let error = client.stream_document("/stream", &json!({})).try_stream::<Value>().unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Config);
    assert!(error.message().contains("http://") && error.message().contains("grpc://"), "{error}");
}

/// This nginx sends no bodies to the gateway, as some proxies drop the body of a GET.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_field_is_lost_silently_if_a_proxy_drops_the_body_of_a_get() {
    let Some(gateway) = start(Environment::Current).await else { return };
    let server = format!(
        "location / {{ proxy_pass {}; proxy_pass_request_body off; proxy_set_header Content-Length \"\"; }}",
        gateway.url("http")
    );
    let start = tokio::task::spawn_blocking(move || Nginx::start_or_skip("", &server));
    let Some(nginx) = start.await.unwrap().unwrap() else { return };
    let client = Client::new(&format!("http://127.0.0.1:{}", nginx.port())).unwrap();
    for (text, first) in [
        ("hey", "hey 0"),
        ("a b&c=d+e%41;\u{e4}\u{6587}/?#", "a b&c=d+e%41;\u{e4}\u{6587}/?# 0"),
        ("", " 0"),
        ("7", "7 0"),
    ] {
        let document = json!({"id": "in", "text": text});
        let call = client.stream_document("/stream", &document);
        let (given, error) = texts(&mut call.stream()).await;
        assert_eq!(given.first().map(String::as_str), Some(first), "{error:?}\n{}", nginx.log());
        assert!(error.is_none(), "{error:?}");
    }
    // Fields that a query cannot hold are not left out. Each of them refuses the text in its place
    // (for an array this gateway raises an exception of its own).
    let document = json!({"text": "hey", "tensor": [1.0, 2.0]});
    let (given, error) = texts(&mut client.stream_document("/stream", &document).stream()).await;
    let status = error.as_ref().and_then(Error::http_status).map(|status| status.as_u16());
    assert_eq!((given.len(), status), (0, Some(500)), "{error:?}");
}
