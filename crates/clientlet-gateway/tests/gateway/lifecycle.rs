//! Start and stop, and the journal in between.

use std::io::ErrorKind::UnexpectedEof;
use std::net::SocketAddr;
use std::time::Duration;

use clientlet_gateway::{DocArray, Gateway};
use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::mpsc;

use crate::common::Pipes;
use crate::common::{Client, message, request, start};

/// Waits until the port refuses: the runtime drops an aborted task soon, not at once.
async fn refuses(address: SocketAddr) {
    let refused = async {
        while TcpStream::connect(address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(Duration::from_secs(10), refused).await.unwrap();
}

#[tokio::test]
async fn drop_closes_the_port_and_every_connection() {
    let gateway = start(DocArray::V1, &["stall@2"]).await;
    let address = gateway.http_address();
    let mut idle = Client::connect(&gateway).await;
    idle.post("/post", &request("r", "/")).await.unwrap();
    let mut stalled = Client::connect(&gateway).await;
    let body = request("s", "/").to_string();
    stalled.send(&message("POST", "/post", "", body.as_bytes())).await.unwrap();
    gateway.journal().wait_for(2).await;
    let journal = gateway.journal().clone();
    drop(gateway);
    assert_eq!(idle.end().await, UnexpectedEof);
    assert_eq!(stalled.end().await, UnexpectedEof);
    refuses(address).await;
    // The journal can be read afterwards.
    assert_eq!(journal.len(), 2);
}

#[tokio::test]
async fn stop_lets_running_requests_end() {
    let gateway = start(DocArray::V1, &[]).await;
    let address = gateway.http_address();
    let mut idle = Client::connect(&gateway).await;
    idle.get("/").await.unwrap();
    let mut running = Client::connect(&gateway).await;
    let slow = json!({"data": [], "execEndpoint": "/slow", "parameters": {"seconds": 0.05}});
    running.send(&message("POST", "/post", "", slow.to_string().as_bytes())).await.unwrap();
    gateway.journal().wait_for(1).await;
    gateway.stop().await;
    assert_eq!(running.answer(true).await.unwrap().status, 200);
    assert_eq!(idle.end().await, UnexpectedEof);
    assert!(TcpStream::connect(address).await.is_err());
}

#[tokio::test]
async fn idle_connections_are_closed_when_their_time_is_up() {
    let builder = Gateway::builder().idle_timeout(Duration::from_millis(500));
    let gateway = builder.start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    // A request that runs longer is not idle.
    let slow = json!({"data": [], "execEndpoint": "/slow", "parameters": {"seconds": 0.7}});
    assert_eq!(client.post("/post", &slow).await.unwrap().status, 200);
    assert_eq!(client.end().await, UnexpectedEof);
}

#[tokio::test]
async fn two_gateways_live_side_by_side() {
    let (one, other) = tokio::join!(start(DocArray::V1, &[]), start(DocArray::V2, &[]));
    assert_ne!(one.http_address(), other.http_address());
    assert_eq!(one.http_url(), format!("http://{}", one.http_address()));
    Client::connect(&one).await.post("/post", &request("r", "/upper")).await.unwrap();
    let answer = Client::connect(&other).await.post("/upper", &request("r", "")).await.unwrap();
    assert_eq!(answer.json()["header"]["requestId"], "r");
    drop(one);
    Client::connect(&other).await.post("/upper", &request("s", "")).await.unwrap();
    assert_eq!(other.journal().len(), 2);
}

#[tokio::test]
async fn the_journal_tells_who_asked_for_what() {
    let gateway = start(DocArray::V1, &[]).await;
    let mut client = Client::connect(&gateway).await;
    client.send(&message("GET", "/status", "authorization: Bearer t\r\n", b"")).await.unwrap();
    client.answer(true).await.unwrap();
    let body = json!({
        "data": [{"id": "a"}, {"text": "x"}],
        "header": {"request_id": "r"},
        "exec_endpoint": "/upper",
    });
    let body = body.to_string();
    client.send(&message("POST", "/post", "cookie: k=v\r\n", body.as_bytes())).await.unwrap();
    client.answer(true).await.unwrap();
    client.exchange("PUT", "/update", Some(&json!({"data": []}))).await.unwrap();

    let journal = gateway.journal();
    let get = &journal.gets()[0];
    assert_eq!((get.method.as_str(), get.path.as_str()), ("GET", "/status"));
    assert_eq!(get.headers["authorization"], "Bearer t");
    let [post, put] = journal.entries().try_into().unwrap();
    assert_eq!((post.number, post.connection, post.answered), (1, 1, Some(200)));
    assert_eq!(post.headers["cookie"], "k=v");
    assert_eq!(post.endpoint.as_deref(), Some("/upper"));
    assert_eq!(post.request_id.as_deref(), Some("r"));
    assert_eq!((post.document_count, post.document_ids), (2, vec!["a".to_owned()]));
    assert_eq!((put.number, put.method.as_str()), (2, "PUT"));
    assert_eq!(put.endpoint.as_deref(), Some("/update"));
    assert_eq!(put.request_id, None);
    assert_eq!((journal.len(), journal.connections(), journal.refused()), (2, 1, 0));
}

#[tokio::test]
async fn repeated_requests_are_counted_as_often_as_they_arrive() {
    let gateway = start(DocArray::V2, &["status:503@1"]).await;
    let mut client = Client::connect(&gateway).await;
    for id in ["a", "a", "b"] {
        client.post("/upper", &request(id, "")).await.unwrap();
    }
    let arrivals: Vec<_> = gateway.journal().arrivals().into_iter().collect();
    assert_eq!(arrivals, [("a".to_owned(), 2), ("b".to_owned(), 1)]);
}

#[tokio::test]
async fn without_a_journal_arrivals_are_only_counted() {
    let gateway = Gateway::builder().journal(false).start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    client.post("/post", &request("r", "/")).await.unwrap();
    let journal = gateway.journal();
    journal.wait_for(1).await;
    assert_eq!((journal.len(), journal.connections()), (1, 1));
    assert!(journal.entries().is_empty() && journal.arrivals().is_empty());
}

#[tokio::test]
async fn pipelined_requests_are_answered_and_numbered_in_order() {
    let gateway = start(DocArray::V1, &["status:503@2"]).await;
    let mut client = Client::connect(&gateway).await;
    let mut bytes = Vec::new();
    for id in ["a", "b", "c"] {
        let body = request(id, "/").to_string();
        bytes.extend_from_slice(&message("POST", "/post", "", body.as_bytes()));
    }
    client.send(&bytes).await.unwrap();
    for status in [200, 503, 200] {
        assert_eq!(client.answer(true).await.unwrap().status, status);
    }
    let ids: Vec<_> = gateway
        .journal()
        .entries()
        .into_iter()
        .map(|e| (e.number, e.request_id.unwrap()))
        .collect();
    assert_eq!(ids, [(1, "a".into()), (2, "b".into()), (3, "c".into())]);
}

#[tokio::test]
async fn control_takes_the_executor_down_and_up_again() {
    let gateway = Gateway::builder().executor_down(true).start().await.unwrap();
    let mut client = Client::connect(&gateway).await;
    assert_eq!(client.post("/post", &request("r", "/")).await.unwrap().status, 503);
    assert_eq!(client.get("/dry_run").await.unwrap().json()["code"], 1);
    gateway.control().executor_down(false);
    gateway.control().executor_slow(true);
    assert_eq!(client.post("/post", &request("r", "/")).await.unwrap().status, 504);
    // No request is sent to an executor that does not bind the endpoint.
    assert_eq!(client.post("/post", &request("r", "/unbound")).await.unwrap().status, 200);
    gateway.control().executor_slow(false);
    assert_eq!(client.post("/post", &request("r", "/")).await.unwrap().status, 200);
    assert_eq!(client.get("/dry_run").await.unwrap().json()["code"], 0);
}

#[tokio::test(start_paused = true)]
async fn any_listener_and_simulated_time_will_do() {
    let (connect, pipes) = mpsc::channel(1);
    let fault = "reset-after@2".parse().unwrap();
    let gateway = Gateway::builder().fault(fault).serve(Pipes(pipes)).unwrap();
    let (mut client, server) = tokio::io::duplex(1 << 16);
    connect.send(server).await.unwrap();
    let slow = json!({"data": [], "execEndpoint": "/slow", "parameters": {"seconds": 3600}});
    let message = message("POST", "/post", "", slow.to_string().as_bytes());
    client.write_all(&message).await.unwrap();
    let mut answer = [0; 4096];
    let n = client.read(&mut answer).await.unwrap();
    assert!(answer[..n].starts_with(b"HTTP/1.1 200 OK\r\n"));
    // Connections in memory have no RST, so the connection just ends.
    client.write_all(&message).await.unwrap();
    assert_eq!(client.read(&mut answer).await.unwrap(), 0);
    drop(gateway);
}
