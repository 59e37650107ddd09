//! Both protocols against the embedded gateway, whose journal shows the end of each stream.

use std::time::Duration;

use clientlet::{Client, Delivery, ErrorKind, RetryPolicy};
use clientlet_gateway::{DocArray, Gateway, GatewayBuilder, StreamScript};
use serde_json::{Value, json};

use super::{LIMIT, texts};

fn v2() -> GatewayBuilder {
    crate::events::watch();
    Gateway::builder().docarray(DocArray::V2).grpc(true)
}

/// Returns a client for each protocol that has streams.
fn clients(gateway: &Gateway) -> [Client; 2] {
    [gateway.http_url(), gateway.grpc_url()].map(|url| Client::new(&url).unwrap())
}

async fn wait_for_cancelled(gateway: &Gateway, streams: u64) {
    let waiting = gateway.journal().wait_for_cancelled(streams);
    tokio::time::timeout(LIMIT, waiting).await.expect("the streams are cancelled in time");
}

#[tokio::test]
async fn documents_come_in_order_and_repeats_are_dropped() {
    let long = StreamScript::new(1000).raises(true);
    let gateway = v2().stream_endpoint("/long", long).start().await.unwrap();
    for client in clients(&gateway) {
        let document = json!({"id": "in", "text": "hey"});
        for (endpoint, count, dropped) in
            [("/stream", 3, 0), ("/stream_fail", 1, 3), ("/long", 1000, 3000)]
        {
            let mut documents = client.stream_document(endpoint, &document).stream();
            let (given, error) = texts(&mut documents).await;
            assert!(error.is_none(), "{endpoint}: {error:?}");
            let expected: Vec<String> = (0..count).map(|n| format!("hey {n}")).collect();
            assert_eq!(given, expected, "{endpoint}");
            assert_eq!(documents.repeats_dropped(), dropped, "{endpoint}");
        }
    }
}

#[tokio::test]
async fn an_endpoint_that_does_not_stream_is_not_found() {
    let gateway = v2().start().await.unwrap();
    let v1 = Gateway::builder().grpc(true).start().await.unwrap();
    for (client, v1) in clients(&gateway).into_iter().zip(clients(&v1)) {
        for (client, endpoint) in [(&client, "/nowhere"), (&client, "/upper"), (&v1, "/stream")] {
            let call = client.stream_document(endpoint, &json!({"text": "hey"}));
            let (given, error) = texts(&mut call.stream()).await;
            let error = error.unwrap();
            assert_eq!((given.len(), error.kind()), (0, ErrorKind::NotFound), "{error}");
            assert_eq!(error.delivery(), Delivery::NotSent, "{error}");
        }
    }
    assert!(gateway.journal().entries().is_empty());
}

#[tokio::test]
async fn dropping_a_stream_stops_the_executor_and_leaves_other_calls_alone() {
    let endless = StreamScript::new(u64::MAX).pause(Duration::from_millis(1));
    let gateway = v2().stream_endpoint("/endless", endless).start().await.unwrap();
    let mut cancelled = 0;
    for client in clients(&gateway) {
        let call = client.stream_document("/endless", &json!({"text": "hey"}));
        let mut dropped = call.stream::<Value>();
        let call = client.stream_document("/endless", &json!({"text": "hey"}));
        let mut kept = call.stream::<Value>();
        for _ in 0..3 {
            dropped.next().await.unwrap().unwrap();
            kept.next().await.unwrap().unwrap();
        }
        drop(dropped);
        cancelled += 1;
        wait_for_cancelled(&gateway, cancelled).await;
        for _ in 0..100 {
            kept.next().await.unwrap().unwrap();
        }
        drop(kept);
        cancelled += 1;
        wait_for_cancelled(&gateway, cancelled).await;
    }
    assert_eq!(gateway.journal().grpc_connections(), 1, "streams share a connection");
}

#[tokio::test]
async fn a_stalled_stream_times_out_and_its_executor_is_stopped() {
    let slow = StreamScript::new(2).pause(Duration::from_secs(600));
    let gateway = v2().stream_endpoint("/slowly", slow).start().await.unwrap();
    let soon = Duration::from_millis(200);
    for client in clients(&gateway) {
        let call = || client.stream_document("/slowly", &json!({"text": "hey"}));
        for call in [call().idle_timeout(soon), call().timeout(soon)] {
            let (given, error) = texts(&mut call.stream()).await;
            let error = error.unwrap();
            assert_eq!((given.len(), error.kind()), (0, ErrorKind::Timeout), "{error}");
            assert_eq!(error.delivery(), Delivery::Unknown, "{error}");
        }
    }
    wait_for_cancelled(&gateway, 4).await;
}

#[tokio::test]
async fn streams_that_are_not_read_do_not_hold_up_others() {
    let gateway = v2().stream_endpoint("/many", StreamScript::new(40)).start().await.unwrap();
    let text = "x".repeat(100_000);
    for client in clients(&gateway) {
        let mut unread = Vec::new();
        for _ in 0..8 {
            let call = client.stream_document("/many", &json!({"text": text}));
            let mut documents = call.stream::<Value>();
            documents.next().await.unwrap().unwrap();
            unread.push(documents);
        }
        // By then each of the streams has a full HTTP/2 window waiting.
        let call = client.stream_document("/many", &json!({"text": text}));
        assert_eq!(texts(&mut call.stream()).await.0.len(), 40);
        assert_eq!(texts(&mut unread[0]).await.0.len(), 39);
    }
}

#[tokio::test]
async fn a_stream_is_retried_until_the_executor_is_back() {
    let gateway = v2().executor_down(true).start().await.unwrap();
    for client in clients(&gateway) {
        gateway.control().executor_down(true);
        let call = || client.stream_document("/stream", &json!({"text": "hey"}));
        let (given, error) = texts(&mut call().stream()).await;
        let error = error.unwrap();
        assert!(given.is_empty() && error.may_have_run(), "{error}");
        let hasty = RetryPolicy::new().max_attempts(1000).initial_backoff(Duration::from_millis(5));
        let mut documents = call().retry(hasty).stream();
        let back = async {
            tokio::time::sleep(Duration::from_millis(50)).await;
            gateway.control().executor_down(false);
        };
        let ((given, error), ()) = tokio::join!(texts(&mut documents), back);
        assert_eq!(given.len(), 3, "{error:?}");
    }
}

#[tokio::test]
async fn documents_are_sent_and_read_as_any_type() {
    #[derive(serde::Serialize)]
    struct Question<'q> {
        text: &'q str,
    }
    #[derive(Debug, PartialEq, serde::Deserialize)]
    struct Piece {
        id: String,
        text: String,
    }
    let gateway = v2().start().await.unwrap();
    for client in clients(&gateway) {
        let call = client.stream_document("/stream", &Question { text: "hey" });
        let mut pieces = call.stream::<Piece>();
        let first = pieces.next().await.unwrap().unwrap();
        assert_eq!(first, Piece { id: "s0".into(), text: "hey 0".into() });
        let call = client.stream_document("/stream", &Question { text: "hey" });
        let mut raw = call.stream::<Box<serde_json::value::RawValue>>();
        let first: Value = serde_json::from_str(raw.next().await.unwrap().unwrap().get()).unwrap();
        assert_eq!((&first["id"], &first["text"]), (&json!("s0"), &json!("hey 0")));
    }
}

/// Each fault strikes a stream once: the protocol, the fault, and the result of a call with two
/// attempts.
#[tokio::test]
async fn each_fault_is_retried_or_reported_as_for_requests() {
    use Outcome::{Again, Empty, Told};
    enum Outcome {
        /// The second attempt succeeds.
        Again,
        /// The stream is read as one without documents.
        Empty,
        Told(ErrorKind, Delivery),
    }
    let table = [
        ("http", "reset-before@1,path=/stream", Again),
        ("http", "reset-after@1,path=/stream", Again),
        ("http", "reset-mid@1,path=/stream", Again),
        ("http", "stall@1,path=/stream", Again),
        ("http", "status:503@1,path=/stream", Again),
        ("http", "status:429@1,path=/stream", Again),
        ("http", "status:404@1,path=/stream", Told(ErrorKind::NotFound, Delivery::Answered)),
        ("http", "status:401@1,path=/stream", Told(ErrorKind::Gateway, Delivery::Answered)),
        ("grpc", "reset-before@1", Again),
        ("grpc", "reset-after@1", Again),
        ("grpc", "reset-mid@1", Again),
        ("grpc", "stall@1", Again),
        ("grpc", "half-open@1", Again),
        ("grpc", "drop@1", Again),
        ("grpc", "reset-stream@1", Again),
        ("grpc", "reset-stream:7@1", Again),
        ("grpc", "goaway-after@1", Again),
        ("grpc", "goaway:2@1", Again),
        ("grpc", "grpc-status:14@1", Again),
        ("grpc", "grpc-status:8@1", Again),
        ("grpc", "grpc-status:10@1", Again),
        ("grpc", "grpc-status:3@1", Told(ErrorKind::Gateway, Delivery::Answered)),
        ("grpc", "grpc-status:13@1", Told(ErrorKind::Gateway, Delivery::Answered)),
        ("grpc", "malformed@1", Told(ErrorKind::Decode, Delivery::Answered)),
        ("grpc", "oversize:100000@1", Told(ErrorKind::TooLarge, Delivery::Answered)),
        ("grpc", "wrong-type@1", Told(ErrorKind::Decode, Delivery::Answered)),
        ("grpc", "half-close@1", Empty),
    ];
    for (protocol, fault, outcome) in table {
        let gateway = v2().fault(fault.parse().unwrap()).start().await.unwrap();
        let url = if protocol == "http" { gateway.http_url() } else { gateway.grpc_url() };
        let policy = RetryPolicy::new().max_attempts(2).initial_backoff(Duration::from_millis(1));
        let client = Client::builder(&url).retry(policy).answer_limit(50_000).build().unwrap();
        client.status().await.unwrap();
        let call = client.stream_document("/stream", &json!({"text": "hey"}));
        let call = call.idle_timeout(Duration::from_millis(500));
        let (given, error) = texts(&mut call.stream()).await;
        let what = format!("{protocol} {fault}: {given:?} {error:?}");
        let told = error.as_ref().map(|error| (error.kind(), error.delivery()));
        let gets = gateway.journal().gets();
        let tries = match protocol {
            "http" => {
                let read = gets.iter().filter(|get| get.path == "/stream").count();
                read + usize::try_from(gateway.journal().refused()).unwrap()
            }
            _ => usize::try_from(gateway.journal().grpc_streams()).unwrap(),
        };
        assert_eq!(tries, if matches!(outcome, Again) { 2 } else { 1 }, "{what}");
        match outcome {
            Again => assert_eq!((given.len(), told), (3, None), "{what}"),
            Empty => assert_eq!((given.len(), told), (0, None), "{what}"),
            Told(kind, delivery) => {
                assert_eq!((given.len(), told), (0, Some((kind, delivery))), "{what}");
                assert_eq!(error.unwrap().attempts().len(), 1, "{what}");
            }
        }
    }
}
