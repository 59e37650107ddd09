//! The client and the embedded gateway on a simulated network: partitions, repairs, crashes, by
//! seed. `CLIENTLET_SEED=N cargo test -p clientlet --lib simulation` runs one seed again.

use std::collections::BTreeSet;
use std::io;
use std::net::SocketAddr;
use std::ops::Range;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use clientlet_gateway::{Documents, Gateway, Journal, Listener};
use serde_json::{Value, json};
use turmoil::net::{TcpListener, TcpStream};

use crate::connect::Connector;
use crate::options::ClientletOptions;
use crate::transport::HttpSession;
use crate::transport::http::HttpTransport;
use crate::{Client, Delivery, RetryPolicy};

const DOCUMENTS: usize = 60;
const SEEDS: u64 = 1000;

struct Simulated(TcpListener);

impl Listener for Simulated {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        Ok(self.0.accept().await?.0)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.0.local_addr()
    }
}

/// What a run looked like to the client.
#[derive(Default)]
struct Outcome {
    /// The documents of each request that ended.
    ended: Vec<Range<u64>>,
    answered: usize,
    /// Requests that failed as not sent.
    not_sent: Vec<String>,
    attempts: u32,
    order_kept: bool,
}

/// The journals of the gateway's lives, one a start.
type Journals = Arc<Mutex<Vec<Journal>>>;

fn client() -> Client {
    let options = ClientletOptions::new().connect_timeout(Duration::from_secs(1)).max_attempts(1);
    let config = options.check("http://gateway:80").unwrap();
    let connector = Connector::simulated(config.connect_timeout);
    let session = HttpSession::over(connector, &config);
    Client::new(config.clone(), Arc::new(HttpTransport::over(session, &config)))
}

/// One simulated run: the network and the gateway fail and heal as the seed has it.
fn run(seed: u64, policy: &RetryPolicy, in_order: bool) -> (Outcome, Journals) {
    // Ids and jitter are drawn from this thread's generator, in which all of the simulation runs.
    fastrand::seed(seed);
    let mut sim = turmoil::Builder::new()
        .rng_seed(seed)
        .simulation_duration(Duration::from_secs(600))
        .tick_duration(Duration::from_millis(5))
        .min_message_latency(Duration::from_millis(1))
        .max_message_latency(Duration::from_millis(50))
        .build();
    let journals = Journals::default();
    let kept = journals.clone();
    sim.host("gateway", move || {
        let kept = kept.clone();
        async move {
            let listener = TcpListener::bind(("0.0.0.0", 80)).await?;
            let generation = if seed.is_multiple_of(2) { Documents::V1 } else { Documents::V2 };
            let gateway = Gateway::builder().documents(generation).serve(Simulated(listener))?;
            kept.lock().unwrap().push(gateway.journal().clone());
            std::future::pending().await
        }
    });
    let outcome = Arc::new(Mutex::new(Outcome::default()));
    let seen = outcome.clone();
    let policy = policy.clone();
    sim.client("client", async move {
        let documents = (0..DOCUMENTS).map(|n| json!({"id": n.to_string(), "text": "x"}));
        let mut call = client()
            .post("/upper")
            .documents(documents)
            .request_size(3)
            .prefetch(4)
            .retry(policy)
            .attempt_timeout(Duration::from_secs(2));
        if in_order {
            call = call.in_order();
        }
        let mut responses = call.stream();
        while let Some(result) = responses.next().await {
            let mut seen = seen.lock().unwrap();
            let range = match result {
                Ok(response) => {
                    let documents: Vec<Value> = response.documents().unwrap();
                    let ids: Vec<u64> = documents
                        .iter()
                        .map(|document| document["id"].as_str().unwrap().parse().unwrap())
                        .collect();
                    assert_eq!(ids, response.input().collect::<Vec<_>>());
                    seen.answered += 1;
                    seen.attempts += response.attempts();
                    response.input()
                }
                Err(error) => {
                    seen.attempts += u32::try_from(error.attempts().len()).unwrap();
                    if error.delivery() == Delivery::NotSent {
                        seen.not_sent.extend(error.request_id().map(str::to_owned));
                    }
                    error.documents().unwrap()
                }
            };
            seen.ended.push(range);
        }
        Ok(())
    });

    // The world has a seed of its own, so that it does not change with the library's choices.
    let mut world = fastrand::Rng::with_seed(seed);
    let mut broken = false;
    loop {
        for _ in 0..world.u32(1..60) {
            if sim.step().unwrap_or_else(|error| panic!("seed {seed}: {error}")) {
                let mut outcome = std::mem::take(&mut *outcome.lock().unwrap());
                outcome.order_kept = outcome.ended.windows(2).all(|w| w[0].start < w[1].start);
                return (outcome, journals);
            }
        }
        match world.u32(0..8) {
            _ if broken => {
                sim.repair("client", "gateway");
                broken = false;
            }
            0 => {
                sim.partition("client", "gateway");
                broken = true;
            }
            1 => {
                sim.crash("gateway");
                sim.bounce("gateway");
            }
            _ => {}
        }
    }
}

/// The seeds of a test, or the one that is asked for.
fn seeds(count: u64) -> impl Iterator<Item = u64> {
    let one = std::env::var("CLIENTLET_SEED").ok().map(|seed| seed.parse::<u64>().unwrap());
    let range = one.map_or(0..count, |seed| seed..seed + 1);
    range.inspect(|seed| {
        // Shown by the harness if the test fails: the last line names the seed.
        println!("CLIENTLET_SEED={seed}");
    })
}

fn check(outcome: &Outcome, journals: &Journals, seed: u64) {
    let mut numbers: Vec<u64> = outcome.ended.iter().cloned().flatten().collect();
    numbers.sort_unstable();
    assert_eq!(numbers, (0..DOCUMENTS as u64).collect::<Vec<_>>(), "seed {seed}: each ends once");
    let journals = journals.lock().unwrap();
    let arrived: BTreeSet<String> =
        journals.iter().flat_map(|journal| journal.arrivals().into_keys()).collect();
    for id in &outcome.not_sent {
        assert!(!arrived.contains(id), "seed {seed}: {id} was reported as not sent and arrived");
    }
}

#[test]
fn a_seed_is_the_same_run_each_time() {
    let policy = RetryPolicy::standard().max_attempts(50);
    for seed in [3, 17, 42] {
        let runs = [0; 2].map(|_| {
            let (outcome, journals) = run(seed, &policy, false);
            let arrivals: Vec<_> = journals.lock().unwrap().iter().map(Journal::arrivals).collect();
            (outcome.ended, outcome.attempts, arrivals)
        });
        assert_eq!(runs[0], runs[1], "seed {seed}");
    }
}

#[test]
fn partitions_and_crashes_lose_nothing_with_retries() {
    let policy = RetryPolicy::standard().max_attempts(50);
    let mut again = 0;
    for seed in seeds(SEEDS) {
        let (outcome, journals) = run(seed, &policy, seed % 3 == 0);
        check(&outcome, &journals, seed);
        assert_eq!(outcome.answered, DOCUMENTS / 3, "seed {seed}: all are answered");
        assert!(outcome.order_kept || seed % 3 != 0, "seed {seed}: in order");
        again += outcome.attempts as usize - outcome.answered;
    }
    assert!(again > 0 || std::env::var_os("CLIENTLET_SEED").is_some(), "something went wrong");
}

#[test]
fn partitions_and_crashes_never_send_twice_what_may_have_run_at_most_once() {
    let policy = RetryPolicy::standard().max_attempts(50).at_most_once();
    for seed in seeds(SEEDS / 4) {
        let (outcome, journals) = run(seed, &policy, false);
        check(&outcome, &journals, seed);
        let mut arrived = BTreeSet::new();
        for journal in journals.lock().unwrap().iter() {
            for (id, count) in journal.arrivals() {
                assert_eq!(count, 1, "seed {seed}: {id} arrived {count} times");
                assert!(arrived.insert(id), "seed {seed}: it arrived at two gateways");
            }
        }
    }
}
