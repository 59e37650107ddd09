//! A gateway that sends pings forever and reads no pong, over WebSocket or HTTP/2, takes no memory
//! of the client. This test has a binary of its own, because the counting allocator applies to the
//! whole process, including the embedded gateway.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

use std::time::Duration;

use clientlet::{Client, DocArray, Document, ErrorKind, RetryPolicy};
use clientlet_gateway::Gateway;
use peak_alloc::PeakAlloc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

#[global_allocator]
static PEAK: PeakAlloc = PeakAlloc;

const REQUESTS: usize = 8;
const ATTEMPTS: u32 = 6;
/// The time of an attempt, each on a connection whose gateway only sends pings. In this time the
/// gateway sends far more than the system can buffer, if the client reads it.
const ATTEMPT: Duration = Duration::from_millis(400);
/// The limit covers the buffers of all connections, including replaced ones. A client that goes on
/// reading would keep its pongs without bound.
const MOST: usize = 8 << 20;

/// Starts a server that never answers and sends HTTP/2 pings forever. It reads only the preface.
async fn flood_grpc() -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("grpc://{}", listener.local_addr().unwrap());
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.read_exact(&mut [0; 24]).await?;
                stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await?;
                let ping = [&[0, 0, 8, 6, 0, 0, 0, 0, 0][..], &[7; 8]].concat();
                let pings = ping.repeat(1 << 10);
                loop {
                    stream.write_all(&pings).await?;
                }
                #[expect(unreachable_code, reason = "this line gives the task its type")]
                std::io::Result::Ok(())
            });
        }
    });
    url
}

/// Returns the peak memory of a call whose attempts are not answered.
async fn peak_of(client: &Client) -> usize {
    let waits = RetryPolicy::new().initial_backoff(Duration::ZERO).max_backoff(Duration::ZERO);
    let before = PEAK.current_usage();
    PEAK.reset_peak_usage();
    let mut answers = client
        .post("/")
        .documents(vec![Document::text("hey"); REQUESTS])
        .request_size(1)
        .prefetch(REQUESTS)
        .attempt_timeout(ATTEMPT)
        .retry(waits.max_attempts(ATTEMPTS))
        .stream();
    while let Some(answer) = answers.next().await {
        assert_eq!(answer.unwrap_err().kind(), ErrorKind::Timeout);
    }
    PEAK.peak_usage().saturating_sub(before)
}

// There is only one test, because another test at the same time would allocate memory, too.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn endless_pings_whose_pongs_are_never_read_take_no_memory() {
    let client = Client::builder(&flood_grpc().await).docarray(DocArray::V1).build().unwrap();
    let peak = peak_of(&client).await;
    let connections = client.connections().opened;
    println!("gRPC: {peak} bytes on {connections} connections");
    assert!(peak <= MOST && connections > 0, "gRPC: {peak} bytes on {connections} connections");

    let gateway = Gateway::builder()
        .http(false)
        .websocket(true)
        .fault("ping-flood@/1".parse().unwrap())
        .start()
        .await
        .unwrap();
    let client = Client::new(&gateway.websocket_url()).unwrap();
    let peak = peak_of(&client).await;
    let connections = gateway.journal().websocket_connections();
    println!("{peak} bytes on {connections} connections");
    // With only one connection, the attempts would not have ended by their time-out.
    assert!(connections > 1 && !gateway.journal().is_empty());
    assert!(peak <= MOST, "{peak} bytes on {connections} connections");
}
