//! Requests that make the gateway drop the connection, among ten thousand that do not.

use clientlet::{Client, Document, ErrorKind, RetryPolicy};
use clientlet_gateway::DocArray;

use crate::cell::REQUESTS;
use crate::mode::{MODES, Mode};
use crate::protocol::Protocol;

/// How many are sent one after the other, and how often each is tried.
const POISONED: usize = 20;
const ATTEMPTS: u32 = 3;

#[tokio::test]
async fn a_poisoned_request_fails_alone_and_named_and_its_neighbours_are_answered() {
    for protocol in [Protocol::Websocket, Protocol::Grpc] {
        for (docarray, in_order) in [(DocArray::V1, false), (DocArray::V2, true)] {
            check(protocol, docarray, Mode { in_order, retries: true, ..MODES[0] }).await;
        }
    }
}

async fn check(protocol: Protocol, docarray: DocArray, mode: Mode) {
    let (gateway, url) = protocol.start(docarray, []).await;
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

/// What the embedded gateway drops the connection for, though nobody would think so, as real ones do
/// for what is no regular expression: it knows no look-ahead.
async fn poison(protocol: Protocol, client: &Client) {
    for n in 0..POISONED {
        let document = Document::default().with_id(format!("poison-{n}"));
        let call = client.post("/").documents([document]).target_executor("(?=x)");
        let error = call.retry(RetryPolicy::new().max_attempts(ATTEMPTS)).send().await;
        let error = error.into_result().unwrap_err();
        let kind = match protocol {
            // It says that something failed, but not what.
            Protocol::Grpc => ErrorKind::Gateway,
            _ => ErrorKind::Transport,
        };
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!(error.attempts().len(), ATTEMPTS as usize, "{error}");
    }
}
