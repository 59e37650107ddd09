//! HTTP under scripted faults: the kind, the delivery and the number of arrivals that each fault
//! causes. Also the requests of discovery before the first document.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

#[path = "events/mod.rs"]
mod events;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use clientlet::{Client, Delivery, DocArray, Document, Error, ErrorKind, Response, RetryPolicy};
use clientlet_gateway::{Gateway, GatewayBuilder};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

fn builder(docarray: clientlet_gateway::DocArray, faults: &[&str]) -> GatewayBuilder {
    events::watch();
    let builder = Gateway::builder().docarray(docarray);
    faults.iter().fold(builder, |builder, fault| builder.fault(fault.parse().unwrap()))
}

async fn gateway_with(faults: &[&str]) -> (Gateway, Client) {
    let gateway = builder(clientlet_gateway::DocArray::V1, faults).start().await.unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    (gateway, client)
}

/// The time that a request waits for an answer that never comes. It is long enough for an answer
/// that does come, even on a busy machine.
const SILENCE: Duration = Duration::from_secs(2);

async fn post(client: &Client) -> Result<Response, Error> {
    post_with(client, RetryPolicy::new()).await
}

async fn post_with(client: &Client, policy: RetryPolicy) -> Result<Response, Error> {
    let call = client.post("/").documents([Document::text("x")]).retry(policy);
    let answers = call.attempt_timeout(SILENCE).send().await;
    answers.into_iter().next().unwrap()
}

#[tokio::test]
async fn each_fault_has_its_kind_its_delivery_and_its_arrivals() {
    use Delivery::{Answered, Unknown};
    use ErrorKind::{Decode, Gateway, NotFound, RateLimited, Timeout, Transport};
    // fault of the first request, kind, delivery, whether a second attempt follows, number of
    // arrivals
    let table = [
        // The first bytes are already sent before the gateway looks at them.
        ("reset-before@1", Transport, Unknown, true, 1),
        ("reset-after@1", Transport, Unknown, true, 2),
        ("reset-mid@1", Transport, Unknown, true, 2),
        ("stall@1", Timeout, Unknown, true, 2),
        ("slow:5@1", Timeout, Unknown, true, 2),
        ("malformed@1", Decode, Answered, false, 1),
        ("status:400@1", Gateway, Answered, false, 1),
        ("status:401@1", Gateway, Answered, false, 1),
        ("status:404@1", NotFound, Answered, false, 1),
        ("status:408@1", Timeout, Answered, true, 2),
        ("status:425@1", Gateway, Answered, true, 2),
        ("status:429@1", RateLimited, Answered, true, 2),
        ("status:500@1", Gateway, Answered, true, 2),
        ("status:502@1", Gateway, Answered, true, 2),
        ("status:503@1", Gateway, Answered, true, 2),
        ("status:504@1", Timeout, Answered, true, 2),
        ("status:302@1", Gateway, Answered, false, 1),
    ];
    for (fault, kind, delivery, again, arrivals) in table {
        let (_gateway, client) = gateway_with(&[fault]).await;
        let error = post(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (kind, delivery), "{fault}: {error:?}");
        assert_eq!(error.attempts().len(), 1);

        let (gateway, client) = gateway_with(&[fault]).await;
        let result = post_with(&client, RetryPolicy::standard()).await;
        assert_eq!(result.is_ok(), again, "{fault}: {result:?}");
        if let Ok(response) = &result {
            assert_eq!(response.attempts(), 2, "{fault}");
        }
        let arrived: u32 = gateway.journal().arrivals().values().sum();
        assert_eq!(arrived, arrivals, "{fault}");

        let (gateway, client) = gateway_with(&[fault]).await;
        let result = post_with(&client, RetryPolicy::standard().at_most_once(true)).await;
        let ran = error.may_have_run();
        assert_eq!(result.is_ok(), again && !ran, "{fault}: {result:?}");
        if ran {
            assert!(gateway.journal().arrivals().values().all(|count| *count == 1), "{fault}");
        }
    }
}

#[tokio::test]
async fn a_plain_500_of_a_v2_gateway_is_retried_and_its_connection_is_not_used_again() {
    let gateway =
        builder(clientlet_gateway::DocArray::V2, &["status:500@1"]).start().await.unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    let response = post_with(&client, RetryPolicy::standard()).await.unwrap();
    assert_eq!(response.attempts(), 2);
    assert_eq!(gateway.journal().connections(), 2, "one for discovery and the 500, one after it");
}

#[tokio::test]
async fn a_refused_connection_is_reported_as_not_sent_after_one_or_all_attempts() {
    // The listener is dropped immediately, so nothing listens there.
    let address = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{address}")).unwrap();
    let error = post(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Connect, Delivery::NotSent));
    assert!(!error.may_have_run());
    assert!(error.message().contains("connection refused"), "{error}");
    let error = post_with(&client, RetryPolicy::standard().max_attempts(3)).await.unwrap_err();
    assert_eq!(error.attempts().len(), 3);
    assert!(client.ready().await.unwrap_err().is_connect());
}

#[tokio::test]
async fn with_ten_attempts_a_gateway_that_is_still_starting_is_waited_for() {
    let address: SocketAddr = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    let client = Client::new(&format!("http://{address}")).unwrap();
    let policy = RetryPolicy::new()
        .max_attempts(10)
        .initial_backoff(Duration::from_millis(200))
        .max_backoff(Duration::from_secs(5))
        .backoff_multiplier(2.0);
    let late = async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        builder(clientlet_gateway::DocArray::V1, &[]).bind(address).await.unwrap()
    };
    let (response, _gateway) = tokio::join!(post_with(&client, policy), late);
    response.unwrap();
}

#[tokio::test]
async fn a_connection_closed_right_after_it_was_made_is_retried_even_at_most_once() {
    // Discovery takes the first connection; the gateway closes it, so the request needs another.
    let (gateway, client) = gateway_with(&["refuse@1-3"]).await;
    let policy = RetryPolicy::standard().max_attempts(8).at_most_once(true);
    let response = post_with(&client, policy).await.unwrap();
    assert_eq!(response.attempts(), 1, "the refusals met the question before it");
    assert!(gateway.journal().connections() >= 4);
}

#[tokio::test]
async fn the_wait_of_retry_after_is_kept() {
    let (_gateway, client) = gateway_with(&["status:429:1@1"]).await;
    let started = Instant::now();
    let response = post_with(&client, RetryPolicy::standard()).await.unwrap();
    assert_eq!(response.attempts(), 2);
    assert!(started.elapsed() >= Duration::from_secs(1));
    let (gateway, client) = gateway_with(&["status:429:3600@1"]).await;
    let error = post_with(&client, RetryPolicy::standard()).await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::RateLimited, 1));
    assert_eq!(gateway.journal().len(), 1);
}

#[tokio::test]
async fn connections_are_used_again_and_idle_ones_dropped_before_the_gateway_does() {
    let (gateway, client) = gateway_with(&[]).await;
    for _ in 0..20 {
        post(&client).await.unwrap();
    }
    assert_eq!(gateway.journal().connections(), 1, "one for discovery and all requests");
    // uvicorn closes idle connections after 5 s; the client closes them after 4.
    tokio::time::sleep(Duration::from_millis(4300)).await;
    post(&client).await.unwrap();
    assert_eq!(gateway.journal().connections(), 2);
}

#[tokio::test]
async fn without_faults_every_request_arrives_exactly_once() {
    let (gateway, client) = gateway_with(&[]).await;
    let documents = (0..1000).map(|n| Document::text("x").with_id(n.to_string()));
    let answers = client.post("/upper").documents(documents).request_size(7).send().await;
    assert_eq!(answers.len(), 143);
    let arrivals = gateway.journal().arrivals();
    for response in answers.into_result().unwrap() {
        assert_eq!(arrivals.get(response.request_id()), Some(&1));
        assert_ne!(response.gateway_request_id(), response.request_id(), "v1 makes its own");
    }
    assert_eq!(arrivals.len(), 143);
}

#[tokio::test]
async fn resets_with_retries_lose_no_request_and_resend_only_failed_ones() {
    let (gateway, client) = gateway_with(&["reset-after@20%,seed=7"]).await;
    let documents = (0..2000).map(|n| Document::text("x").with_id(n.to_string()));
    let call = client.post("/upper").documents(documents).request_size(10);
    let policy = RetryPolicy::standard().max_attempts(12).initial_backoff(Duration::ZERO);
    let answers = call.retry(policy).send().await;
    let retried = answers.responses().filter(|response| response.attempts() > 1).count();
    assert!(retried > 10, "{retried}");
    let sent: u32 = answers.responses().map(Response::attempts).sum();
    assert_eq!(gateway.journal().arrivals().values().sum::<u32>(), sent);
    let documents: Vec<Document> = answers.documents().unwrap();
    let ids: Vec<_> = documents.iter().map(|d| d.id.clone().unwrap()).collect();
    assert_eq!(ids, (0..2000).map(|n| n.to_string()).collect::<Vec<_>>());
}

#[tokio::test]
async fn credentials_go_with_discovery_and_every_request_and_are_never_shown() {
    let gateway =
        builder(clientlet_gateway::DocArray::V2, &["status:500@1"]).start().await.unwrap();
    let url = gateway.http_url().replace("http://", "http://user:s3cr3t@");
    let client = Client::builder(&url)
        .header("x-tenant", "t3n4nt")
        .cookie("session", "c00kie")
        .build()
        .unwrap();
    let call = client.post("/").documents([Document::text("x")]).header("x-call", "only");
    let error = call.send().await.into_result().unwrap_err();
    client.ready().await.unwrap();
    let journal = gateway.journal();
    let paths: Vec<_> = journal.gets().iter().map(|get| get.path.clone()).collect();
    assert_eq!(paths, ["/status", "/openapi.json", "/dry_run"]);
    for entry in journal.gets().iter().chain(&journal.entries()) {
        assert_eq!(entry.headers["authorization"], "Basic dXNlcjpzM2NyM3Q=");
        assert_eq!(entry.headers["cookie"], "session=c00kie");
        assert_eq!(entry.headers["x-tenant"], "t3n4nt");
        let is_of_call = entry.path != "/dry_run";
        assert_eq!(entry.headers.contains_key("x-call"), is_of_call, "{}", entry.path);
    }
    let shown = format!("{error} {error:?} {client:?} {:?}", Client::builder(&url));
    for secret in ["s3cr3t", "t3n4nt", "c00kie", "dXNlcjpzM2NyM3Q"] {
        assert!(!shown.contains(secret), "{shown}");
    }
}

#[tokio::test]
async fn options_of_one_call_are_not_seen_by_another() {
    let (gateway, client) = gateway_with(&[]).await;
    let first = client.post("/params").documents([Document::text("x")]).header("x-call", "1");
    first
        .parameters(serde_json::json!({"a": 1}))
        .target_executor("none")
        .send()
        .await
        .into_result()
        .unwrap();
    post(&client).await.unwrap();
    let entries = gateway.journal().entries();
    assert!(
        entries[0].headers.contains_key("x-call") && !entries[1].headers.contains_key("x-call")
    );
    assert_eq!(entries[1].endpoint.as_deref(), Some("/"));
}

#[tokio::test]
async fn the_generation_must_be_set_for_a_gateway_that_hides_its_status() {
    for (spoken, docarray) in [
        (clientlet_gateway::DocArray::V1, DocArray::V1),
        (clientlet_gateway::DocArray::V2, DocArray::V2),
    ] {
        let gateway = builder(spoken, &[]).hide_status(true).start().await.unwrap();
        let client = Client::new(&gateway.http_url()).unwrap();
        let error = post(&client).await.unwrap_err();
        assert_eq!((error.kind(), error.delivery()), (ErrorKind::NotFound, Delivery::NotSent));
        assert!(error.message().contains("must be set by hand"), "{error}");
        let client = Client::builder(&gateway.http_url()).docarray(docarray).build().unwrap();
        post(&client).await.unwrap();
    }
}

#[tokio::test]
async fn a_failed_discovery_is_reported_with_its_own_status_as_not_sent() {
    let faults = ["status:401@1-9,path=/status", "status:401@1-9,path=/openapi.json"];
    let gateway = builder(clientlet_gateway::DocArray::V1, &faults).start().await.unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    let error = post(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Gateway, Delivery::NotSent));
    assert_eq!(error.http_status().map(|status| status.as_u16()), Some(401));
    assert!(error.message().starts_with("GET /status: "), "{error}");
    assert_eq!(gateway.journal().len(), 0);
}

#[tokio::test]
async fn a_redeployed_gateway_is_asked_again_after_one_404() {
    let (gateway, client) = gateway_with(&[]).await;
    post(&client).await.unwrap();
    gateway.control().docarray(clientlet_gateway::DocArray::V2);
    let error = post(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.may_have_run()), (ErrorKind::NotFound, false));
    post(&client).await.unwrap();
    let statuses = gateway.journal().gets().iter().filter(|get| get.path == "/status").count();
    assert_eq!(statuses, 2);
}

#[tokio::test]
async fn a_call_to_an_unknown_endpoint_asks_the_gateway_once_more() {
    let gateway = builder(clientlet_gateway::DocArray::V2, &[]).start().await.unwrap();
    let client = Client::new(&gateway.http_url()).unwrap();
    post(&client).await.unwrap();
    let documents = (0..50).map(|_| Document::text("x"));
    let answers = client.post("/nobody").documents(documents).request_size(1).send().await;
    assert!(answers.errors().all(|error| error.kind() == ErrorKind::NotFound));
    assert_eq!((answers.len(), answers.errors().count()), (50, 50));
    let asked = gateway.journal().gets().iter().filter(|get| get.path == "/status").count();
    assert_eq!(asked, 2);
}

#[tokio::test]
async fn v2_uses_root_or_else_the_default_endpoint() {
    let with_root =
        builder(clientlet_gateway::DocArray::V2, &[]).with_default(true).start().await.unwrap();
    let client = Client::new(&with_root.http_url()).unwrap();
    post(&client).await.unwrap();
    let call = client.post("/nobody").documents([Document::text("x")]);
    call.send().await.into_result().unwrap();
    let default_alone = builder(clientlet_gateway::DocArray::V2, &[])
        .with_default(true)
        .without_root(true)
        .start()
        .await
        .unwrap();
    let client = Client::new(&default_alone.http_url()).unwrap();
    post(&client).await.unwrap();
    let paths = |gateway: &Gateway| -> Vec<String> {
        gateway.journal().entries().iter().map(|entry| entry.path.clone()).collect()
    };
    assert_eq!(paths(&with_root), ["/", "/default"]);
    assert_eq!(paths(&default_alone), ["/default"]);
}

#[tokio::test]
async fn an_answer_that_came_while_the_call_was_not_polled_does_not_time_out() {
    let (gateway, client) = gateway_with(&[]).await;
    let parameters = serde_json::json!({"bytes": 20 << 20});
    let mut responses =
        client.post("/big").parameters(parameters).attempt_timeout(Duration::from_secs(3)).stream();
    let busy = async {
        gateway.journal().wait_for(1).await;
        tokio::time::sleep(Duration::from_secs(4)).await;
    };
    // The call is polled until the request has arrived, and then not until its time is over.
    tokio::select! {
        biased;
        () = gateway.journal().wait_for(1) => {}
        _ = responses.next() => panic!("20 MB are not there at once"),
    }
    busy.await;
    let response = responses.next().await.unwrap().unwrap();
    assert_eq!(response.attempts(), 1);
}

/// Answers each connection with `answer` once a request came, then closes the connection.
async fn answering(answer: Vec<u8>) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut request = [0; 4096];
            let _ = stream.read(&mut request).await;
            let _ = stream.write_all(&answer).await;
        }
    });
    format!("http://{address}")
}

#[tokio::test]
async fn answers_that_cannot_be_read_are_described() {
    let head = |name: &str, value: &str| {
        format!("HTTP/1.1 200 OK\r\n{name}: {value}\r\ncontent-length: 2\r\n\r\n{{}}").into_bytes()
    };
    let many: String = (0..101).map(|n| format!("x-{n}: v\r\n")).collect();
    let table = [
        (b"SSH-2.0-OpenSSH\r\n".to_vec(), ErrorKind::Decode, "not HTTP/1.1"),
        (
            head("x", &"v".repeat(1 << 20)),
            ErrorKind::TooLarge,
            "or its head is longer than 262144 bytes",
        ),
        (
            format!("HTTP/1.1 200 OK\r\n{many}\r\n").into_bytes(),
            ErrorKind::TooLarge,
            "more than 100 headers",
        ),
        (head("x", "v"), ErrorKind::Decode, "header nor data"),
        (b"HTTP/1.1 204 No Content\r\n\r\n".to_vec(), ErrorKind::Decode, "cannot be read"),
        (
            b"HTTP/1.1 200 OK\r\ncontent-length: 99999999999\r\n\r\n".to_vec(),
            ErrorKind::TooLarge,
            "limit of 67108864 bytes",
        ),
    ];
    for (answer, kind, message) in table {
        let client =
            Client::builder(&answering(answer).await).docarray(DocArray::V1).build().unwrap();
        let error = post(&client).await.unwrap_err();
        assert_eq!(error.kind(), kind, "{error:?}");
        assert!(error.message().contains(message), "{error}");
        assert!(error.may_have_run());
    }
}

#[tokio::test]
async fn a_status_that_does_not_come_from_a_jina_gateway_is_named() {
    let page = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\n<html>".to_vec();
    let client = Client::new(&answering(page).await).unwrap();
    let error = post(&client).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Decode, Delivery::NotSent));
    assert!(error.message().contains("not the status of a Jina gateway"), "{error}");
}

#[tokio::test]
async fn wrong_settings_are_named_before_anything_is_sent() {
    let (gateway, client) = gateway_with(&[]).await;
    let no_name = client.post("").send().await.into_result().unwrap_err();
    assert!(no_name.message().contains("the endpoint has no name"), "{no_name}");
    let header = client.post("/").header("a b", "x").send().await.into_result().unwrap_err();
    assert!(header.message().contains("not a valid name of a header"), "{header}");
    let parameters = client.post("/").parameters([1, 2]).send().await.into_result().unwrap_err();
    assert_eq!(parameters.kind(), ErrorKind::Encode);
    assert!(parameters.message().contains("must be an object"), "{parameters}");
    let nan = client
        .post("/")
        .parameters(serde_json::json!({}))
        .retry(RetryPolicy::new().backoff_multiplier(f64::NAN));
    assert_eq!(nan.send().await.into_result().unwrap_err().kind(), ErrorKind::Config);
    assert_eq!((gateway.journal().len(), gateway.journal().connections()), (0, 0));
}

#[tokio::test]
async fn connections_are_counted_and_none_counts_as_a_reconnect() {
    let (gateway, client) = gateway_with(&["reset-after@2"]).await;
    for _ in 0..3 {
        post_with(&client, RetryPolicy::standard()).await.unwrap();
    }
    let counts = client.connections();
    assert_eq!((counts.opened, gateway.journal().connections()), (2, 2));
    assert_eq!((counts.reconnects, counts.duplicates_dropped), (0, 0));
}
