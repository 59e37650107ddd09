//! Requests that make the gateway drop the connection, among ten thousand that do not.

use clientlet::{Client, Document, ErrorKind, RetryPolicy};
use clientlet_gateway::DocArray;

use crate::cell::REQUESTS;
use crate::mode::{MODES, Mode};
use crate::protocol::Protocol;

/// The number of poisoned requests, sent one after the other, and the number of attempts of each.
const POISONED: usize = 20;
const ATTEMPTS: u32 = 3;

#[tokio::test]
async fn a_poisoned_request_fails_alone_with_its_reason_and_all_others_are_answered() {
    for protocol in [Protocol::Websocket, Protocol::Grpc] {
        for (docarray, in_order) in [(DocArray::V1, false), (DocArray::V2, true)] {
            check(protocol, docarray, Mode { in_order, retries: true, ..MODES[0] }).await;
        }
    }
}

async fn check(protocol: Protocol, docarray: DocArray, mode: Mode) {
    let (gateway, url) = protocol.start(docarray, false, []).await;
    let client = Client::new(&url).unwrap();
    let numbered = (0..REQUESTS).map(|n| Document::default().with_id(n.to_string()));
    let call = client.post("/").documents(numbered).request_size(1).retry(mode.policy());
    let call = if mode.in_order { call.in_order(true) } else { call };
    let mut neighbours = call.stream();
    let neighbours = async {
        let mut answered = vec![0; REQUESTS];
        while let Some(response) = neighbours.next().await {
            answered[usize::try_from(response.unwrap().input().start).unwrap()] += 1;
        }
        answered
    };
    let (answered, ()) = tokio::join!(neighbours, poison(protocol, &client));
    assert!(answered.iter().all(|times| *times == 1), "{docarray} {mode}");

    drop(client);
    let journal = gateway.journal().clone();
    gateway.stop().await;
    let arrivals = journal.entries().into_iter().flat_map(|entry| entry.document_ids);
    let poisoned = arrivals.filter(|id| id.starts_with("poison")).count();
    assert_eq!(poisoned, POISONED * ATTEMPTS as usize, "each arrived with each attempt");
}

/// Sends requests for which the embedded gateway drops the connection. Their pattern is larger than
/// what it takes. Real gateways do the same for text that is not a regular expression.
async fn poison(protocol: Protocol, client: &Client) {
    for n in 0..POISONED {
        let document = Document::default().with_id(format!("poison-{n}"));
        let call = client.post("/").documents([document]).target_executor("(?:x{1000}){1000}");
        let error = call.retry(RetryPolicy::new().max_attempts(ATTEMPTS)).send().await;
        let error = error.into_result().unwrap_err();
        let kind = match protocol {
            // Over gRPC the gateway reports a failure without its cause.
            Protocol::Grpc => ErrorKind::Gateway,
            _ => ErrorKind::Transport,
        };
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.attempts().len(), ATTEMPTS as usize, "{error}");
    }
}
