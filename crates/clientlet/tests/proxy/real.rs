//! Tests with real gateways: 2,000 documents each, over each protocol, in order and as they come.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use clientlet_interop::{Environment, Options, RealGateway};
use futures_util::future::join_all;

use crate::call::{Plan, Protocol, Tally, Upstream};

const DOCUMENTS: usize = 2_000;

#[test]
fn jina_3_14_1_gives_each_document_back_once_through_broken_connections() {
    run(Environment::SeedEra);
}

#[test]
fn jina_3_33_1_gives_each_v1_document_back_once_through_broken_connections() {
    run(Environment::CurrentV1);
}

#[test]
fn jina_3_33_1_gives_each_v2_document_back_once_through_broken_connections() {
    run(Environment::Current);
}

/// Runs each plan without TLS, and then each protocol once over TLS: its answers take turns to be in order.
fn run(environment: Environment) {
    for is_secure in [false, true] {
        let plans = Protocol::ALL.into_iter().enumerate().flat_map(|(place, protocol)| {
            let orders: &[bool] = match is_secure {
                false => &[true, false],
                true if place % 2 == 0 => &[true],
                true => &[false],
            };
            orders.iter().flat_map(move |in_order| {
                crate::seeds(1..2).map(move |seed| Plan {
                    protocol,
                    documents: DOCUMENTS,
                    request_size: 4,
                    in_order: *in_order,
                    at_most_once: false,
                    attempt_timeout: Duration::from_millis(500),
                    seed,
                })
            })
        });
        run_plans(environment, is_secure, plans);
    }
}

fn run_plans(environment: Environment, is_secure: bool, plans: impl Iterator<Item = Plan>) {
    let protocols = &["http", "websocket", "grpc"];
    let options = Options { protocols, tls: is_secure, ..Options::default() };
    let gateway = RealGateway::start_or_skip(environment, options);
    let Some(gateway) = gateway.unwrap_or_else(|error| panic!("{error}")) else { return };
    // The runtime and its tasks end before the gateway does.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    // The runs are concurrent, because most of their time is spent waiting for silent connections.
    let gateway = &gateway;
    let runs = runtime.block_on(join_all(plans.map(|plan| async move {
        let port = gateway.port(plan.protocol.port());
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        let began = Instant::now();
        let ended = plan.run(Upstream { address, authority: gateway.ca_pem() }).await;
        (plan, ended, began.elapsed())
    })));
    let mut complaints = Vec::new();
    for (plan, ended, took) in runs {
        let mut wrong = Vec::new();
        plan.check(&ended, &mut wrong);
        complaints.extend(wrong.into_iter().map(|what| (plan.seed, what)));
        let mut tally = Tally::default();
        tally.count(&ended);
        let order = if plan.in_order { "in order" } else { "as they come" };
        let tls = if is_secure { " over TLS" } else { "" };
        let (protocol, took) = (plan.protocol.name(), took.as_secs_f64());
        crate::say(&format!(
            "proxy, {environment}, {protocol}{tls}, {order}: {tally}, in {took:.1} s"
        ));
        assert!(tally.retried > 0, "the proxy broke nothing");
    }
    crate::report(&complaints);
}
