//! gRPC under scripted faults: a stream for each call, or a unary call for each request, over one
//! connection that is opened again when it is lost.

use std::collections::BTreeSet;
use std::time::Duration;

use clientlet::{
    Client, ClientBuilder, Connections, Delivery, Document, Error, ErrorKind, Response, RetryPolicy,
};
use clientlet_gateway::{DocArray, Gateway};

use crate::call::{SILENCE, documents, ids, in_order, one, post, retrying, with_faults};

/// The two ways of sending requests.
const BOTH: [fn(ClientBuilder) -> ClientBuilder; 2] =
    [|stream| stream, |client| client.unary(true)];

async fn gateway(docarray: DocArray, faults: &[&str]) -> Gateway {
    let builder = Gateway::builder().docarray(docarray).http(false).grpc(true);
    let builder = with_faults(builder, faults);
    builder.start().await.unwrap()
}

fn client(gateway: &Gateway, way: fn(ClientBuilder) -> ClientBuilder) -> Client {
    way(Client::builder(&gateway.grpc_url())).build().unwrap()
}

async fn streaming(docarray: DocArray, faults: &[&str]) -> (Gateway, Client) {
    let gateway = gateway(docarray, faults).await;
    let client = Client::new(&gateway.grpc_url()).unwrap();
    (gateway, client)
}

/// Returns the streams on which data arrived, by connection and number.
fn streams(gateway: &Gateway) -> BTreeSet<(u64, Option<u64>)> {
    gateway.journal().entries().iter().map(|entry| (entry.connection, entry.stream)).collect()
}

#[tokio::test]
async fn calls_have_streams_of_their_own_on_one_connection_and_headers_of_their_own_on_them() {
    let (gateway, client) = streaming(DocArray::V2, &[]).await;
    for n in 0..3 {
        let call = client.post("/upper").documents(documents(200)).request_size(1).prefetch(7 + n);
        assert_eq!(ids(call.header("x-call", n.to_string()).send().await), in_order(200));
    }
    assert_eq!(streams(&gateway).len(), 3, "one stream for each call");
    assert_eq!(gateway.journal().grpc_connections(), 1);
    for (n, entry) in gateway.journal().entries().iter().enumerate() {
        let call = n / 200;
        assert_eq!(entry.headers["x-call"], call.to_string());
        assert_eq!(entry.headers["__prefetch__"], (7 + call).to_string());
        assert!(!entry.headers.contains_key("grpc-timeout"), "a stream outlives each request");
    }
}

#[tokio::test]
async fn unary_requests_have_a_stream_each_and_tell_the_gateway_their_time_out() {
    let gateway = gateway(DocArray::V1, &[]).await;
    let client = client(&gateway, |client| client.unary(true));
    assert_eq!(ids(post(&client, 100, RetryPolicy::new()).await), in_order(100));
    assert_eq!((streams(&gateway).len(), gateway.journal().grpc_connections()), (100, 1));
    for entry in gateway.journal().entries() {
        assert!(entry.headers.contains_key("grpc-timeout") && entry.path.ends_with("_single_data"));
    }
}

#[tokio::test]
async fn a_last_attempt_that_goes_alone_tells_the_gateway_the_time_that_is_left() {
    let (gateway, client) = streaming(DocArray::V1, &["reset-after@1"]).await;
    let call = client.post("/upper").documents(documents(1)).retry(retrying(2));
    let answers = call.timeout(Duration::from_secs(600)).attempt_timeout(SILENCE).send().await;
    assert_eq!(ids(answers), in_order(1));
    let entries = gateway.journal().entries();
    let told: Vec<_> = entries.iter().map(|entry| entry.header("grpc-timeout")).collect();
    assert!(matches!(told[..], [None, Some(_)]), "{told:?}");
}

#[tokio::test]
async fn requests_arrive_compressed_if_the_client_is_set_to_gzip() {
    for way in BOTH {
        let gateway = gateway(DocArray::V2, &[]).await;
        let client = way(Client::builder(&gateway.grpc_url())).gzip(true).build().unwrap();
        assert_eq!(ids(post(&client, 20, RetryPolicy::new()).await), in_order(20));
        let entries = gateway.journal().entries();
        assert!(entries.iter().all(|entry| entry.headers["grpc-encoding"] == "gzip"));
    }
}

#[tokio::test]
async fn a_lost_stream_resends_only_unanswered_requests() {
    let faults = [
        "drop@/50",
        "reset-after@/50",
        "reset-stream@/50",
        "goaway:2@/50",
        "half-close@/50",
        "truncated@/50",
        "grpc-status:14@/50",
        "grpc-status:2@/50",
        "malformed@/50",
        "unknown-id@/50",
    ];
    for fault in faults {
        let (gateway, client) = streaming(DocArray::V1, &[fault]).await;
        let answers = post(&client, 500, retrying(20)).await;
        let sent: u32 = answers.responses().map(Response::attempts).sum();
        assert_eq!(ids(answers), in_order(500), "{fault}");
        let arrived: u32 = gateway.journal().arrivals().values().sum();
        assert!(arrived > 500 && arrived <= sent, "{fault}: {arrived} arrived of {sent} sent");
        assert!(streams(&gateway).len() > 5, "{fault}");
    }
}

#[tokio::test]
async fn at_most_once_resends_no_request_that_may_have_run() {
    for way in BOTH {
        let gateway = gateway(DocArray::V1, &["reset-stream@30"]).await;
        let answers = post(&client(&gateway, way), 200, retrying(20).at_most_once(true)).await;
        let errors: Vec<&Error> = answers.errors().collect();
        assert!(!errors.is_empty());
        for error in &errors {
            let found = (error.kind(), error.delivery());
            assert_eq!(found, (ErrorKind::Transport, Delivery::Unknown), "{error}");
        }
        assert!(gateway.journal().arrivals().values().all(|count| *count == 1));
        assert_eq!(answers.responses().count() + errors.len(), 200);
    }
}

#[tokio::test]
async fn each_fault_has_its_kind_and_its_delivery() {
    use Delivery::{Answered, Unknown};
    use ErrorKind::{Decode, NotFound, RateLimited, Timeout, TooLarge, Transport};
    // On a stream, and as a unary call.
    let table = [
        ("drop@1", Transport, [Unknown, Unknown]),
        ("reset-after@1", Transport, [Unknown, Unknown]),
        ("reset-stream@1", Transport, [Unknown, Unknown]),
        ("goaway:2@1", Transport, [Unknown, Unknown]),
        ("truncated@1", Transport, [Unknown, Unknown]),
        ("stall@1", Timeout, [Unknown, Unknown]),
        ("half-open@1", Timeout, [Unknown, Unknown]),
        ("grpc-status:14@1", Transport, [Unknown, Unknown]),
        ("grpc-status:14:deployment executor0@1", ErrorKind::Gateway, [Unknown, Unknown]),
        ("grpc-status:4:deployment executor0@1", Timeout, [Unknown, Unknown]),
        ("grpc-status:8@1", RateLimited, [Unknown, Unknown]),
        ("grpc-status:2@1", ErrorKind::Gateway, [Unknown, Answered]),
        ("grpc-status:13@1", ErrorKind::Gateway, [Unknown, Answered]),
        ("grpc-status:16:who are you@1", ErrorKind::Gateway, [Answered, Answered]),
        ("grpc-status:12:Method not found!@1", NotFound, [Answered, Answered]),
        ("status:503@1", ErrorKind::Gateway, [Answered, Answered]),
        ("status:429@1", RateLimited, [Answered, Answered]),
        ("status:404@1", NotFound, [Answered, Answered]),
        ("status:401@1", ErrorKind::Gateway, [Answered, Answered]),
        ("unknown-id@1", Decode, [Unknown, Answered]),
        ("malformed@1", Decode, [Unknown, Answered]),
        ("wrong-type@1", Decode, [Answered, Answered]),
        ("oversize:100000000@1", TooLarge, [Unknown, Answered]),
    ];
    for (fault, kind, deliveries) in table {
        for (way, delivery) in BOTH.into_iter().zip(deliveries) {
            let gateway = gateway(DocArray::V1, &[fault]).await;
            let client = client(&gateway, way);
            let error = one(&client, RetryPolicy::new()).await.unwrap_err();
            assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{fault}: {error}");
            // The next request is answered, on a new connection if the old one is gone or silent.
            one(&client, RetryPolicy::new()).await.unwrap();
        }
    }
}

#[tokio::test]
async fn errors_show_the_gateways_message_and_the_name_of_its_status() {
    let faults = ["grpc-status:12:Method not found!@1", "grpc-status:4@2", "wrong-type@3"];
    let (_gateway, client) = streaming(DocArray::V2, &faults).await;
    for what in ["UNIMPLEMENTED: Method not found!", "DEADLINE_EXCEEDED", "not application/grpc"] {
        let error = one(&client, RetryPolicy::new()).await.unwrap_err();
        assert!(error.message().contains(what), "{error}");
    }
}

#[tokio::test]
async fn the_wait_of_a_pushback_is_kept() {
    for way in BOTH {
        let gateway = gateway(DocArray::V1, &["grpc-status:8@1,pushback=300"]).await;
        let client = client(&gateway, way);
        let response = one(&client, retrying(2)).await.unwrap();
        assert_eq!(response.attempts(), 2);
        assert!(response.elapsed() >= Duration::from_millis(300), "{:?}", response.elapsed());
    }
}

#[tokio::test]
async fn answers_in_any_order_and_twice_reach_their_own_requests_once() {
    let (_gateway, client) =
        streaming(DocArray::V2, &["twice@10%,seed=1", "reorder@30%,seed=2"]).await;
    assert_eq!(ids(post(&client, 300, RetryPolicy::new()).await), in_order(300));
    assert!(client.connections().duplicates_dropped > 0);
}

#[tokio::test]
async fn a_goaway_moves_a_call_to_another_connection_and_costs_no_request() {
    for way in BOTH {
        for fault in ["goaway@30", "goaway@/50"] {
            let gateway = gateway(DocArray::V1, &[fault]).await;
            let answers =
                post(&client(&gateway, way), 200, RetryPolicy::new().at_most_once(true)).await;
            assert!(answers.responses().all(|response| response.attempts() == 1));
            assert_eq!(ids(answers), in_order(200), "{fault}");
            let connections = if fault == "goaway@30" { 2 } else { 5 };
            // The last request may have left its connection without opening another.
            let opened = gateway.journal().grpc_connections();
            assert!(opened == connections || opened + 1 == connections, "{opened}");
            assert!(gateway.journal().arrivals().values().all(|count| *count == 1));
        }
    }
}

/// A request that the gateway did not process, by its GOAWAY or REFUSED_STREAM, begins anew.
#[tokio::test]
async fn an_unprocessed_request_arrives_once_with_one_attempt() {
    let faults = [
        "goaway-after@1",
        "goaway-after@30",
        "goaway-after:11@30",
        "goaway-after@/7",
        "goaway-after:11@/50",
        "goaway-after@10%,seed=1",
        "reset-stream:7@1",
    ];
    let policies = [RetryPolicy::new(), RetryPolicy::new().at_most_once(true)];
    for (way, name) in BOTH.into_iter().zip(["stream", "unary"]) {
        for fault in faults {
            for policy in &policies {
                let gateway = gateway(DocArray::V1, &[fault]).await;
                let answers = post(&client(&gateway, way), 200, policy.clone()).await;
                assert!(answers.responses().all(|response| response.attempts() == 1));
                assert_eq!(ids(answers), in_order(200), "{name} {fault}");
                let arrivals = gateway.journal().arrivals();
                assert!(arrivals.len() == 200 && arrivals.values().all(|count| *count == 1));
                // Only the first message of a stream can be refused.
                let is_first = name == "unary" || fault.ends_with("@1");
                assert!(gateway.journal().refused() > 0 || !is_first, "{name} {fault}");
                let others = gateway.journal().grpc_connections() - 1;
                assert_eq!(others > 0, fault.starts_with("goaway"), "{name} {fault}: {others}");
            }
        }
    }
}

#[tokio::test]
async fn an_unprocessed_stream_of_documents_begins_anew_with_one_attempt() {
    for fault in ["goaway-after@1", "goaway-after:11@1-3", "reset-stream:7@1-2"] {
        let (gateway, client) = streaming(DocArray::V2, &[fault]).await;
        let call = client.stream_document("/stream", &Document::text("x"));
        let call = call.retry(RetryPolicy::new().at_most_once(true));
        let mut documents = call.stream::<Document>();
        let mut given = 0;
        while let Some(document) = documents.next().await {
            given += document.map(|_| 1).unwrap_or_else(|error| panic!("{fault}: {error}"));
        }
        assert_eq!((given, gateway.journal().len()), (3, 1), "{fault}");
        assert!(gateway.journal().refused() > 0);
    }
}

#[tokio::test]
async fn a_slow_request_is_answered_on_its_connection_after_a_goaway() {
    for way in BOTH {
        let gateway = gateway(DocArray::V1, &["slow:0.5@1", "goaway@2"]).await;
        let answers = post(&client(&gateway, way), 50, RetryPolicy::new()).await;
        assert!(answers.responses().all(|response| response.attempts() == 1));
        assert_eq!(ids(answers), in_order(50));
        assert_eq!(gateway.journal().grpc_connections(), 2);
    }
}

#[tokio::test]
async fn a_request_that_fails_its_stream_fails_alone_and_its_neighbours_are_answered() {
    let (_gateway, client) = streaming(DocArray::V1, &[]).await;
    // This pattern is too large for the embedded gateway, which ends the stream on which it comes.
    let poison = client.post("/upper").documents(documents(1)).target_executor("(?:x{1000}){1000}");
    let poison = poison.retry(retrying(3)).send();
    let (poison, others) = tokio::join!(poison, post(&client, 300, RetryPolicy::new()));
    let error = poison.into_result().unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Gateway, 3), "{error}");
    assert_eq!(ids(others), in_order(300));
}

#[tokio::test]
async fn requests_fail_with_a_gateway_error_until_the_executor_is_back() {
    for way in BOTH {
        let gateway = gateway(DocArray::V2, &[]).await;
        let client = client(&gateway, way);
        one(&client, RetryPolicy::new()).await.unwrap();
        gateway.control().executor_down(true);
        let error = one(&client, RetryPolicy::new()).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::Gateway);
        assert!(error.message().contains("UNAVAILABLE") && error.may_have_run(), "{error}");
        gateway.control().executor_down(false);
        one(&client, RetryPolicy::new()).await.unwrap();
    }
}

#[tokio::test]
async fn a_silent_connection_is_left_when_a_request_times_out() {
    for way in BOTH {
        let gateway = gateway(DocArray::V1, &["half-open@3"]).await;
        let client = client(&gateway, way);
        let call = client.post("/upper").documents(documents(20)).request_size(1);
        let call = call.retry(retrying(3)).attempt_timeout(SILENCE);
        let answers = call.send().await;
        let attempts = answers.responses().map(Response::attempts).max();
        assert_eq!(attempts, Some(2), "no request times out on the connection twice");
        assert_eq!(ids(answers), in_order(20));
        assert_eq!(gateway.journal().grpc_connections(), 2);
    }
}

#[tokio::test]
async fn a_connection_that_answers_other_requests_is_kept_when_one_times_out() {
    for way in BOTH {
        let gateway = gateway(DocArray::V1, &["stall@1"]).await;
        let client = client(&gateway, way);
        let stalled = client.post("/upper").documents(documents(1));
        let stalled = stalled.attempt_timeout(SILENCE).send();
        let (stalled, others) = tokio::join!(stalled, post(&client, 20, RetryPolicy::new()));
        assert_eq!(stalled.into_result().unwrap_err().kind(), ErrorKind::Timeout);
        assert_eq!(ids(others), in_order(20));
        one(&client, RetryPolicy::new()).await.unwrap();
        assert_eq!(gateway.journal().grpc_connections(), 1);
    }
}

#[tokio::test]
async fn every_failing_request_is_reported_and_the_stream_continues() {
    let (gateway, client) = streaming(DocArray::V1, &[]).await;
    let call = client.post("/fail").documents(documents(200)).request_size(1);
    let answers = call.send().await;
    assert_eq!(answers.errors().filter(|error| error.is_executor()).count(), 200);
    assert_eq!(streams(&gateway).len(), 1);
}

#[tokio::test]
async fn dropping_a_call_ends_its_stream_and_not_the_connection() {
    let (gateway, client) = streaming(DocArray::V1, &["stall@3"]).await;
    let mut call = client.post("/upper").documents(documents(3)).request_size(1).stream();
    for _ in 0..2 {
        call.next().await.unwrap().unwrap();
    }
    drop(call);
    one(&client, RetryPolicy::new()).await.unwrap();
    assert_eq!(gateway.journal().grpc_connections(), 1);
    // A gateway waits for its streams, so it stops at once only if they have ended.
    tokio::time::timeout(Duration::from_secs(4), gateway.stop()).await.unwrap();
}

#[tokio::test]
async fn connections_are_counted() {
    let (gateway, client) = streaming(DocArray::V1, &["drop@/50"]).await;
    assert_eq!(client.connections(), Connections::default());
    assert_eq!(ids(post(&client, 200, retrying(20)).await), in_order(200));
    let counts = client.connections();
    assert_eq!(counts.opened, gateway.journal().grpc_connections());
    assert_eq!(counts.reconnects, counts.opened - 1);
    assert!(counts.reconnects >= 4, "{counts:?}");
}

#[tokio::test]
async fn a_stream_that_is_cut_within_a_document_is_an_error() {
    let (_gateway, client) = streaming(DocArray::V2, &["truncated@1"]).await;
    let mut documents =
        client.stream_document("/stream", &Document::text("x")).stream::<Document>();
    let mut end = None;
    while let Some(document) = documents.next().await {
        end = document.err();
    }
    let error: Error = end.expect("the stream does not end as if all were well");
    assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
}
