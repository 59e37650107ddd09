//! Before real gateways: 2,000 documents each, in order and as they come.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::{Duration, Instant};

use clientlet_interop::{Environment, Options, RealGateway};

use crate::call::{Plan, Tally};

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

fn run(environment: Environment) {
    let gateway = RealGateway::start_or_skip(environment, Options::default());
    let Some(gateway) = gateway.unwrap_or_else(|error| panic!("{error}")) else { return };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, gateway.port("http")));
    // Ends before the gateway does, its tasks with it.
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let mut complaints = Vec::new();
    for seed in crate::seeds(1..2) {
        for in_order in [true, false] {
            let plan = Plan {
                documents: DOCUMENTS,
                request_size: 4,
                in_order,
                at_most_once: false,
                attempt_timeout: Duration::from_millis(500),
                seed,
            };
            let began = Instant::now();
            let ended = runtime.block_on(plan.run(address));
            let mut wrong = Vec::new();
            plan.check(&ended, &mut wrong);
            complaints.extend(wrong.into_iter().map(|what| (seed, what)));
            let mut tally = Tally::default();
            tally.count(&ended);
            let order = if in_order { "in order" } else { "as they come" };
            let took = began.elapsed().as_secs_f64();
            crate::say(&format!("proxy, {environment}, {order}: {tally}, in {took:.1} s"));
            assert!(tally.retried > 0, "the proxy broke nothing");
        }
    }
    crate::report(&complaints);
}
