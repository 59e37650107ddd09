//! An idle WebSocket stays open: after two minutes of silence before a real gateway, the next
//! request uses the same connection. The simulation tests ten minutes of virtual time.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use clientlet::{Client, Document};
use clientlet_interop::{Environment, Options, RealGateway};
use tokio::net::{TcpListener, TcpStream};

/// Longer than two pings of either side, and longer than two minutes.
const IDLE: Duration = Duration::from_secs(125);

/// One release represents all, because their web server and its pings are the same.
#[test]
#[ignore = "takes two minutes; `cargo xtask test` runs it beside the other tests"]
fn an_idle_connection_is_the_same_after_two_minutes() {
    let options = Options { protocols: &["websocket"], ..Options::default() };
    let gateway = RealGateway::start_or_skip(Environment::Current, options);
    let Some(gateway) = gateway.unwrap_or_else(|error| panic!("{error}")) else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.port("websocket")));
        let (url, accepted) = count_connections(address).await;
        let client = Client::new(&url).unwrap();
        post(&client).await;
        let before = accepted.load(Ordering::SeqCst);
        assert!(before > 0);
        tokio::time::sleep(IDLE).await;
        post(&client).await;
        assert_eq!(accepted.load(Ordering::SeqCst), before, "the connection was opened again");
    });
}

async fn post(client: &Client) {
    let answers = client.post("/upper").documents([Document::text("x")]).send().await;
    let documents: Vec<Document> = answers.documents().unwrap();
    assert_eq!(documents[0].text.as_deref(), Some("X"));
}

/// Passes connections to the gateway unchanged, and counts them.
async fn count_connections(gateway: SocketAddr) -> (String, Arc<AtomicUsize>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}", listener.local_addr().unwrap());
    let accepted = Arc::<AtomicUsize>::default();
    let counted = accepted.clone();
    tokio::spawn(async move {
        loop {
            let (mut client, _) = listener.accept().await.unwrap();
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(async move {
                let mut gateway = TcpStream::connect(gateway).await?;
                tokio::io::copy_bidirectional(&mut client, &mut gateway).await
            });
        }
    });
    (url, accepted)
}
