//! Cases in which an executor dies and returns, or a gateway restarts, twice each, while requests
//! keep coming.

use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use clientlet::{Delivery, DocArray, Document, Error, ErrorKind, Response, RetryPolicy};
use tokio::sync::watch;

use crate::rows::{Breakable, Protocol, Row};

/// The number of requests that are answered before the first outage, between the outages and after
/// the second.
const FEW: usize = 200;
/// The same for a run of about 5,000 answers, on one real gateway over each protocol.
const MANY: usize = 1_700;
/// Longer than the gateway itself tries a dead executor before it gives up.
const PATIENT: Duration = Duration::from_secs(10);

pub(crate) async fn with_retries_all_is_answered_while_the_executor_dies_and_returns(
    row: &'static Row,
) {
    let policy = RetryPolicy::standard().max_attempts(500).max_backoff(Duration::from_millis(200));
    let answered = if row.is_current() { MANY } else { FEW };
    let blow = Blow::ExecutorDies;
    let Some(ends) = under_load(row, policy, answered, blow).await else { return };
    assert!(ends.len() >= 3 * answered);
    let failed: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), ends.len(), failed[0]);
    let again = ends.iter().flatten().filter(|response| response.attempts() > 1).count();
    assert!(again > 0, "no request met the dead executor");
}

pub(crate) async fn without_retries_each_request_ends_once_and_names_the_dead_executor(
    row: &'static Row,
) {
    let blow = Blow::ExecutorDies;
    let Some(ends) = under_load(row, RetryPolicy::new(), FEW, blow).await else { return };
    let mut outages = 0;
    for error in ends.iter().filter_map(|end| end.as_ref().err()) {
        if error.delivery() == Delivery::NotSent {
            // The request was about to be sent on a connection that ended.
            assert_eq!(error.kind(), ErrorKind::Transport, "{error}");
            continue;
        }
        outages += 1;
        assert_eq!(
            error.kind(),
            ErrorKind::Gateway,
            "the executor is dead, nothing else: {error:?}"
        );
        assert!(error.may_have_run(), "{error:?}");
        match (row.protocol, row.docarray) {
            (Protocol::Http, DocArray::V1) => assert!(error.message().contains("executor0")),
            (Protocol::Http, DocArray::V2) => {}
            (Protocol::Grpc | Protocol::GrpcUnary, _) => {
                let message = error.message();
                assert!(
                    message.contains("UNAVAILABLE") && message.contains("deployment"),
                    "{error}"
                );
            }
            (Protocol::Websocket | Protocol::WebsocketJson, _) => {
                let message = error.message();
                assert!(message.contains("1011") && message.contains("deployment"), "{error}");
            }
        }
    }
    assert!(outages > 0, "no request met the dead executor");
}

pub(crate) async fn with_retries_all_is_answered_while_the_gateway_restarts_in_good_order(
    row: &'static Row,
) {
    let policy = RetryPolicy::standard().max_attempts(30);
    let Some(ends) = under_load(row, policy, FEW, Blow::GatewayRestarts).await else { return };
    assert!(ends.len() >= 3 * FEW);
    let failed: Vec<_> = ends.iter().filter_map(|end| end.as_ref().err()).collect();
    assert!(failed.is_empty(), "{} of {} failed: {:?}", failed.len(), ends.len(), failed[0]);
}

/// The outage under load.
#[derive(Clone, Copy, Debug)]
enum Blow {
    ExecutorDies,
    GatewayRestarts,
}

/// Returns the results of the requests, each of one document; `None` if the gateway is not
/// installed.
async fn under_load(
    row: &'static Row,
    policy: RetryPolicy,
    answered: usize,
    blow: Blow,
) -> Option<Vec<Result<Response, Error>>> {
    let gateway = row.breakable(PATIENT).await?;
    let client = gateway.client();
    let is_over = AtomicBool::new(false);
    let input = (0..).take_while(|_| !is_over.load(Ordering::Relaxed));
    let documents = input.map(|n: u64| Document::text("x").with_id(n.to_string()));
    let call = client.post("/upper").documents(documents).request_size(1).prefetch(16);
    let mut responses = call.retry(policy).stream();

    let (counter, answers) = watch::channel(0);
    let mut ends = Vec::new();
    let requests = async {
        while let Some(end) = responses.next().await {
            counter.send_modify(|answered| *answered += usize::from(end.is_ok()));
            ends.push(end);
        }
    };
    let deaths = async {
        let gateway = strike_twice(gateway, blow, answers, answered).await;
        is_over.store(true, Ordering::Relaxed);
        gateway
    };
    // The gateway must outlive the requests.
    let ((), _gateway) = tokio::join!(requests, deaths);

    let mut places: Vec<u64> = Vec::new();
    for end in &ends {
        let input = match end {
            Ok(response) => {
                let input = response.input();
                let back: Vec<Document> = response.documents().unwrap();
                assert_eq!(back.len(), 1, "{back:?}");
                let own = (Some(input.start.to_string()), Some("X".to_owned()));
                assert_eq!((back[0].id.clone(), back[0].text.clone()), own);
                input
            }
            Err(error) => error.input().unwrap(),
        };
        places.extend(input);
    }
    places.sort_unstable();
    assert!(places.iter().copied().eq(0..ends.len() as u64), "each request ends once");
    Some(ends)
}

async fn strike_twice(
    mut gateway: Breakable,
    blow: Blow,
    mut answers: watch::Receiver<usize>,
    answered: usize,
) -> Breakable {
    for _ in 0..2 {
        wait_for(answered, &mut answers).await;
        gateway = match blow {
            Blow::ExecutorDies => kill_and_revive(gateway).await,
            Blow::GatewayRestarts => gateway.restart_gateway().await,
        };
    }
    wait_for(answered, &mut answers).await;
    gateway
}

async fn kill_and_revive(mut gateway: Breakable) -> Breakable {
    // Starting processes blocks.
    let revived = tokio::task::spawn_blocking(move || {
        gateway.kill_executor();
        std::thread::sleep(DEAD);
        gateway.revive_executor();
        gateway
    });
    revived.await.unwrap()
}

/// The minimum time for which the executor is dead.
const DEAD: Duration = Duration::from_millis(300);

async fn wait_for(more: usize, answers: &mut watch::Receiver<usize>) {
    let enough = *answers.borrow() + more;
    answers.wait_for(|answered| *answered >= enough).await.unwrap();
}
