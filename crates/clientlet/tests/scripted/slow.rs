//! A caller that is slower than the gateway, so that an answer is always waiting.

use std::time::Duration;

use clientlet::Client;
use clientlet_gateway::Gateway;
use tokio::time::sleep;

use crate::call::{documents, retrying, with_faults};

/// Returns the indices of `count` requests in the order in which their answers were given out.
async fn given_out(url: &str, count: usize, attempt_timeout: Duration) -> Vec<u64> {
    let client = Client::new(url).unwrap();
    let call = client.post("/upper").documents(documents(count)).request_size(1);
    let mut answers = call.retry(retrying(3)).attempt_timeout(attempt_timeout).stream();
    let mut order = Vec::new();
    while let Some(answer) = answers.next().await {
        order.push(answer.unwrap().input().start);
        sleep(Duration::from_millis(2)).await;
    }
    order
}

#[tokio::test]
async fn no_answer_has_to_wait_for_the_end_of_the_call() {
    let gateway = Gateway::builder().http(false).websocket(true).grpc(true).start().await.unwrap();
    for url in [gateway.websocket_url(), gateway.grpc_url()] {
        let order = given_out(&url, 200, Duration::from_secs(10)).await;
        // The first requests had to wait for a connection to be opened, the later ones did not.
        let last = order.iter().rposition(|index| *index < 16).unwrap();
        assert!(last < 64, "{url}: the first 16 were given out among the first {last}");
    }
}

#[tokio::test]
async fn a_request_that_times_out_is_retried_while_the_caller_is_slow() {
    let builder = Gateway::builder().http(false).websocket(true).grpc(true);
    for over in [Gateway::websocket_url, Gateway::grpc_url] {
        let gateway = with_faults(builder.clone(), &["stall@30"]).start().await.unwrap();
        let order = given_out(&over(&gateway), 1000, Duration::from_millis(100)).await;
        let entries = gateway.journal().entries();
        let stalled = entries.iter().find(|entry| entry.fault.is_some()).unwrap();
        let stalled: u64 = stalled.document_ids[0].parse().unwrap();
        let place = order.iter().position(|index| *index == stalled).unwrap();
        // The others take two seconds or more. If the end of the time is noticed too late, as on a
        // busy machine, the time is extended up to four times.
        assert!(place < 900, "{stalled} was given out as number {place} of 1000");
    }
}
