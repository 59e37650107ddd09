//! `HttpClientlet`: each behaviour of Python's `AioHttpClientlet` and `HTTPClientlet` by name.

use std::time::{Duration, Instant};

use clientlet::clientlets::{ClientletOptions, DataRequest, HttpClientlet};
use clientlet::{Delivery, DocArray, Document, ErrorKind, StatusMessage};
use clientlet_gateway::Gateway;
use serde_json::{Value, json};

async fn gateway_with(faults: &[&str]) -> Gateway {
    crate::events::watch();
    let builder = faults
        .iter()
        .fold(Gateway::builder(), |builder, fault| builder.fault(fault.parse().unwrap()));
    builder.start().await.unwrap()
}

async fn started(gateway: &Gateway, path: &str, options: &ClientletOptions) -> HttpClientlet {
    let url = format!("{}{path}", gateway.http_url());
    let mut clientlet = HttpClientlet::new(&url, options).unwrap();
    clientlet.start().await.unwrap();
    clientlet
}

fn request() -> DataRequest {
    DataRequest::new(DocArray::V1, "/upper").document(&Document::text("hello")).unwrap()
}

fn hasty(attempts: u32) -> ClientletOptions {
    ClientletOptions::new().max_attempts(attempts).initial_backoff(Duration::from_millis(1))
}

#[tokio::test]
async fn send_message_posts_the_request_to_the_url_as_json() {
    let gateway = gateway_with(&[]).await;
    let clientlet = started(&gateway, "/post", &ClientletOptions::new()).await;
    let answer = clientlet.send_message(&request()).await.unwrap();
    assert_eq!(answer.status(), 200);
    assert_eq!(answer.headers()["content-type"], "application/json");
    let response = answer.response(DocArray::V1).unwrap();
    let documents: Vec<Document> = response.documents().unwrap();
    assert_eq!(documents[0].text.as_deref(), Some("HELLO"));
    let entry = &gateway.journal().entries()[0];
    assert_eq!((entry.method.as_str(), entry.path.as_str()), ("POST", "/post"));
    assert_eq!(entry.headers["content-type"], "application/json");
}

#[tokio::test]
async fn endpoint_and_target_executor_are_at_the_top_of_the_request() {
    let request = request().target_executor("first").parameters(&json!({"k": 1})).unwrap();
    let sent: Value = serde_json::from_slice(&request.to_bytes()).unwrap();
    assert_eq!(sent["execEndpoint"], "/upper");
    assert_eq!(sent["targetExecutor"], "first");
    assert_eq!(sent["parameters"], json!({"k": 1}));
    assert_eq!(sent["header"]["requestId"], request.request_id());
    let plain: Value = serde_json::from_slice(&self::request().to_bytes()).unwrap();
    assert_eq!(plain.get("targetExecutor"), None, "the field is absent without a target");
}

#[tokio::test]
async fn a_bad_status_is_an_answer_and_is_not_retried() {
    let gateway = gateway_with(&["status:503@1"]).await;
    let clientlet = started(&gateway, "/post", &hasty(5)).await;
    let answer = clientlet.send_message(&request()).await.unwrap();
    assert_eq!(answer.status(), 503);
    assert_eq!(answer.response(DocArray::V1).unwrap_err().kind(), ErrorKind::Gateway);
    assert_eq!(gateway.journal().len(), 1);
}

#[tokio::test]
async fn sending_is_retried_up_to_max_attempts_including_the_first() {
    let gateway = gateway_with(&["reset-after@1-2"]).await;
    let clientlet = started(&gateway, "/post", &hasty(3)).await;
    assert_eq!(clientlet.send_message(&request()).await.unwrap().status(), 200);
    assert_eq!(gateway.journal().len(), 3);

    let gateway = gateway_with(&["reset-after@1-9"]).await;
    let clientlet = started(&gateway, "/post", &hasty(3)).await;
    let error = clientlet.send_message(&request()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Transport, Delivery::Unknown));
    assert_eq!((error.attempts().len(), gateway.journal().len()), (3, 3));
}

#[tokio::test]
async fn by_default_there_is_one_attempt() {
    let gateway = gateway_with(&["reset-after@1"]).await;
    let clientlet = started(&gateway, "/post", &ClientletOptions::new()).await;
    assert_eq!(clientlet.send_message(&request()).await.unwrap_err().attempts().len(), 1);
    assert_eq!(gateway.journal().len(), 1);
}

#[tokio::test]
async fn waits_lie_between_zero_and_the_formulas_cap() {
    let gateway = gateway_with(&["reset-after@1-3"]).await;
    // Each wait is at most max_backoff, 0.1 s by default. Without this cap the waits would take
    // minutes.
    let options =
        ClientletOptions::new().max_attempts(3).initial_backoff(Duration::from_secs(3600));
    let clientlet = started(&gateway, "/post", &options).await;
    let began = Instant::now();
    let error = clientlet.send_message(&request()).await.unwrap_err();
    assert_eq!(error.attempts().len(), 3);
    assert!(began.elapsed() < Duration::from_secs(10), "two waits of 0.1 s at most");
}

#[tokio::test]
async fn headers_auth_and_cookies_of_the_session_go_with_every_message() {
    let gateway = gateway_with(&[]).await;
    let options = ClientletOptions::new()
        .header("x-session", "s")
        .basic_auth("user", "password")
        .cookie("a", "1")
        .cookie("b", "2");
    let clientlet = started(&gateway, "/post", &options).await;
    clientlet.send_message(&request()).await.unwrap();
    clientlet.send_dry_run().await.unwrap();
    let journal = gateway.journal();
    for entry in journal.entries().iter().chain(&journal.gets()) {
        assert_eq!(entry.headers["x-session"], "s");
        assert_eq!(entry.headers["authorization"], "Basic dXNlcjpwYXNzd29yZA==");
        assert_eq!(entry.headers["cookie"], "a=1; b=2");
    }
    assert_eq!((journal.len(), journal.gets().len()), (1, 1));
}

#[tokio::test]
async fn a_bearer_token_is_sent() {
    let gateway = gateway_with(&[]).await;
    let options = ClientletOptions::new().bearer_token("t");
    let clientlet = started(&gateway, "/post", &options).await;
    clientlet.send_message(&request()).await.unwrap();
    assert_eq!(gateway.journal().entries()[0].headers["authorization"], "Bearer t");
}

#[tokio::test]
async fn headers_of_a_call_replace_the_sessions_for_that_call_only() {
    let gateway = gateway_with(&[]).await;
    let options = ClientletOptions::new().header("x-who", "session");
    let clientlet = started(&gateway, "/post", &options).await;
    clientlet.message(&request()).header("x-who", "call").send().await.unwrap();
    clientlet.send_message(&request()).await.unwrap();
    let who: Vec<_> =
        gateway.journal().entries().iter().map(|entry| entry.headers["x-who"].clone()).collect();
    assert_eq!(who, ["call", "session"]);
}

#[tokio::test]
async fn send_dry_run_gets_the_url_and_answers_a_status_message() {
    let gateway = gateway_with(&[]).await;
    let clientlet = started(&gateway, "/dry_run", &ClientletOptions::new()).await;
    let answer = clientlet.dry_run().header("x-call", "1").send().await.unwrap();
    assert_eq!(answer.status_message().unwrap(), StatusMessage::default());
    let get = &gateway.journal().gets()[0];
    assert_eq!((get.method.as_str(), get.path.as_str()), ("GET", "/dry_run"));
    assert!(get.headers.contains_key("x-call"));

    gateway.control().executor_down(true);
    let status = clientlet.send_dry_run().await.unwrap().status_message().unwrap();
    assert_eq!(status.code, 1);
    assert!(status.description.contains("executor0"), "{status:?}");
}

#[tokio::test]
async fn send_dry_run_has_a_time_out_of_its_own_and_is_not_retried() {
    let gateway = gateway_with(&["stall@1,path=/dry_run"]).await;
    let clientlet = started(&gateway, "/dry_run", &hasty(5)).await;
    let began = Instant::now();
    let error = clientlet.dry_run().timeout(Duration::from_millis(100)).send().await.unwrap_err();
    assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Timeout, 1));
    assert!(began.elapsed() < Duration::from_secs(10));
}

#[tokio::test(start_paused = true)]
async fn recv_message_and_recv_dry_run_are_pending_forever() {
    let mut clientlet =
        HttpClientlet::new("http://127.0.0.1:1/post", &ClientletOptions::new()).unwrap();
    let ages = Duration::from_secs(10_000_000);
    assert!(tokio::time::timeout(ages, clientlet.recv_message()).await.is_err());
    assert!(tokio::time::timeout(ages, clientlet.recv_dry_run()).await.is_err());
}

#[tokio::test]
async fn a_clientlet_is_open_between_start_and_close_and_can_be_started_again() {
    let gateway = gateway_with(&[]).await;
    let url = format!("{}/post", gateway.http_url());
    let mut clientlet = HttpClientlet::new(&url, &ClientletOptions::new()).unwrap();
    let error = clientlet.send_message(&request()).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Closed, Delivery::NotSent));
    for _ in 0..2 {
        clientlet.start().await.unwrap();
        assert!(clientlet.is_open());
        clientlet.send_message(&request()).await.unwrap();
        clientlet.close().await;
        assert!(!clientlet.is_open());
        assert_eq!(clientlet.send_message(&request()).await.unwrap_err().kind(), ErrorKind::Closed);
    }
    assert_eq!(gateway.journal().connections(), 2, "close() closed the first connection");
}

#[tokio::test]
async fn one_session_serves_many_messages_over_one_connection() {
    let gateway = gateway_with(&[]).await;
    let clientlet = started(&gateway, "/post", &ClientletOptions::new()).await;
    for _ in 0..20 {
        clientlet.send_message(&request()).await.unwrap();
    }
    assert_eq!(gateway.journal().connections(), 1);
}

#[tokio::test]
async fn a_redirect_without_a_location_is_an_answer() {
    let gateway = gateway_with(&["status:307@1"]).await;
    let clientlet = started(&gateway, "/post", &ClientletOptions::new()).await;
    assert_eq!(clientlet.send_message(&request()).await.unwrap().status(), 307);
    assert_eq!(gateway.journal().len(), 1);
}

#[tokio::test]
async fn a_v2_request_that_the_gateway_would_cut_is_refused() {
    let builder = Gateway::builder().docarray(clientlet_gateway::DocArray::V2);
    let gateway = builder.start().await.unwrap();
    let clientlet = started(&gateway, "/upper", &ClientletOptions::new()).await;
    let of = |count: usize| {
        let documents = (0..count).map(|_| Document::text("x"));
        DataRequest::new(DocArray::V2, "/upper").documents(documents).unwrap()
    };
    let error = clientlet.send_message(&of(101)).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Encode, Delivery::NotSent));
    assert!(error.to_string().contains("send at most 100 in a request"), "{error}");
    let answer = clientlet.send_message(&of(100)).await.unwrap();
    let documents: Vec<Document> = answer.response(DocArray::V2).unwrap().documents().unwrap();
    assert_eq!(documents.len(), 100);
}

#[test]
fn every_wrong_option_is_named() {
    let refuse = |url: &str, options: ClientletOptions| {
        HttpClientlet::new(url, &options).unwrap_err().to_string()
    };
    let options = ClientletOptions::new;
    let ok = "http://h/post";
    assert!(refuse("h:80", options()).contains("no scheme"));
    assert!(refuse(ok, options().max_attempts(0)).contains("max_attempts is 0"));
    assert!(refuse(ok, options().backoff_multiplier(f64::NAN)).contains("backoff_multiplier"));
    assert!(refuse("http://h:1/", options().port(2)).contains("port"));
    assert!(refuse(ok, options().header("no good", "x")).contains("not a valid name of a header"));
}

#[tokio::test]
async fn a_request_of_another_protocol_is_refused_with_advice() {
    let gateway = gateway_with(&[]).await;
    let clientlet = started(&gateway, "/post", &ClientletOptions::new()).await;
    let request = DataRequest::proto(DocArray::V1, "/upper");
    let error = clientlet.send_message(&request).await.unwrap_err();
    assert_eq!((error.kind(), error.delivery()), (ErrorKind::Encode, Delivery::NotSent));
    assert!(error.message().contains("DataRequest::new"), "{error}");
    assert!(gateway.journal().is_empty());
}
