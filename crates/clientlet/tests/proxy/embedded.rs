//! Tests with the embedded gateway, whose journal shows which requests arrived.

use std::collections::BTreeMap;
use std::time::Duration;

use clientlet::{Delivery, Error, Response};
use clientlet_gateway::{DocArray, Entry, Gateway, GatewayBuilder, Tls};
use futures_util::{StreamExt, stream};

use crate::call::{Ended, Plan, Protocol, Tally, Upstream};

const SEEDS: std::ops::Range<u64> = 0..30;
const REQUESTS: usize = 200;

/// One seed in this many is over TLS. Odd seeds are in order, so both orders are.
const SECURE_EACH: u64 = 11;

/// The number of seeds that run at a time. Most of the time is spent waiting for silent
/// connections.
const AT_A_TIME: usize = 4;

/// Defines the tests of a protocol.
macro_rules! over {
    ($name:ident, $protocol:expr) => {
        mod $name {
            use clientlet_gateway::DocArray;

            use crate::call::Protocol;

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn v1_documents_come_back_once_and_unchanged() {
                super::run($protocol, DocArray::V1, false).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn v2_documents_come_back_once_and_unchanged() {
                super::run($protocol, DocArray::V2, false).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn v1_requests_arrive_at_most_once_if_the_policy_asks_for_it() {
                super::run($protocol, DocArray::V1, true).await;
            }

            #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
            async fn v2_requests_arrive_at_most_once_if_the_policy_asks_for_it() {
                super::run($protocol, DocArray::V2, true).await;
            }
        }
    };
}

over!(http, Protocol::Http);
over!(websocket, Protocol::Websocket);
over!(grpc, Protocol::Grpc);
over!(grpc_unary, Protocol::GrpcUnary);

async fn run(protocol: Protocol, docarray: DocArray, at_most_once: bool) {
    let seeds = crate::seeds(SEEDS);
    let count = seeds.end - seeds.start;
    let is_stream = protocol == Protocol::Grpc;
    let plans = seeds.map(|seed| Plan {
        protocol,
        documents: REQUESTS,
        request_size: 1,
        in_order: seed % 2 == 1,
        at_most_once,
        attempt_timeout: Duration::from_millis(250),
        seed,
    });
    let runs = stream::iter(plans.map(|plan| run_one(docarray, plan)));
    let runs: Vec<_> = runs.buffer_unordered(AT_A_TIME).collect().await;

    let mut tally = Tally::default();
    let mut complaints = Vec::new();
    for (seed, ended, wrong) in runs {
        tally.count(&ended);
        complaints.extend(wrong.into_iter().map(|what| (seed, what)));
    }
    let promise = if at_most_once { "at most once" } else { "at least once" };
    let protocol = protocol.name();
    crate::say(&format!(
        "proxy, {protocol}, documents {docarray}, {promise}, {count} seeds: {tally}"
    ));
    crate::report(&complaints);
    if count > 1 {
        // At most once means that only unsent requests are sent again. On a stream these are
        // usually requests that waited in its queue. They begin anew, which does not count as
        // another attempt.
        match at_most_once && is_stream {
            true => assert!(tally.connections > count, "no connection was ever replaced"),
            false => assert!(tally.retried > 0, "nothing was ever sent again"),
        }
        assert_eq!(
            tally.failed.is_empty(),
            !at_most_once,
            "requests that the proxy breaks are of unknown delivery, and fail at most once"
        );
    }
}

async fn run_one(docarray: DocArray, plan: Plan) -> (u64, Ended, Vec<String>) {
    let builder = Gateway::builder().docarray(docarray).websocket(true).grpc(true).journal_bytes(0);
    let tls = plan.seed.is_multiple_of(SECURE_EACH).then(Tls::self_signed);
    let gateway = tls.iter().cloned().fold(builder, GatewayBuilder::tls).start().await.unwrap();
    let address = match plan.protocol {
        Protocol::Http => gateway.http_address(),
        Protocol::Websocket => gateway.websocket_address(),
        Protocol::Grpc | Protocol::GrpcUnary => gateway.grpc_address(),
    };
    let ended = plan.run(Upstream { address, authority: tls.as_ref().map(Tls::ca_pem) }).await;
    let journal = gateway.journal().clone();
    gateway.stop().await;

    let mut complaints = Vec::new();
    plan.check(&ended, &mut complaints);
    let entries = journal.entries();
    let mut arrivals = BTreeMap::<&str, Vec<&Entry>>::new();
    for entry in &entries {
        arrivals.entry(&entry.document_ids[0]).or_default().push(entry);
    }
    for result in &ended.results {
        let first = result.as_ref().map_or_else(Error::input, |response| Some(response.input()));
        let id = first.unwrap_or_default().start.to_string();
        let arrived = arrivals.get(&id[..]).map_or(0, Vec::len);
        if let Some(what) = contradiction(result, arrived, plan.at_most_once) {
            complaints.push(format!("{what}, arrived {arrived} times: {result:?}"));
        }
    }
    (plan.seed, ended, complaints)
}

/// Describes how the journal contradicts the call's result, if it does.
fn contradiction(
    result: &Result<Response, Error>,
    arrived: usize,
    at_most_once: bool,
) -> Option<&'static str> {
    if at_most_once && arrived > 1 {
        return Some("at most once");
    }
    match result {
        Ok(response) => {
            let possible = 1..=response.attempts() as usize;
            (!possible.contains(&arrived)).then_some("answered")
        }
        Err(error) => {
            let with =
                |delivery| error.attempts().iter().filter(|a| a.delivery == delivery).count();
            let possible =
                with(Delivery::Answered)..=error.attempts().len() - with(Delivery::NotSent);
            if error.delivery() == Delivery::NotSent && arrived > 0 {
                Some("reported as not sent")
            } else {
                (!possible.contains(&arrived))
                    .then_some("an attempt is reported with the wrong delivery")
            }
        }
    }
}
