//! The pipeline over a transport for tests: one multiplexed connection that answers out of order,
//! dies with requests in flight, and is opened again. Time is paused and every choice has a seed,
//! so a run is the same each time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Stream, StreamExt as _, stream};
use serde::Serialize;
use serde_json::{Value, json};
use tokio::sync::watch;
use tokio::time::{Instant, sleep, timeout};

use crate::address::Address;
use crate::error::{AttemptError, Event};
use crate::message::{
    AnswerParts, Connections, DocArray, Encoding, GatewayStatus, RawAnswer, Request, Status,
};
use crate::options::ClientletOptions;
use crate::telemetry::Medium;
use crate::transport::{Answer, Ask, Facts, Questions, Terms, Transport};
use crate::{Client, Delivery, ErrorKind, Responses, RetryPolicy};

/// The gateway at the other end: its behaviour, and what it has seen.
struct Multiplexed {
    facts: Facts,
    script: Script,
    state: Mutex<State>,
    /// The number of the connection. A change ends everything in flight on it.
    connection: watch::Sender<u64>,
    reconnecting: tokio::sync::Mutex<()>,
}

#[derive(Clone, Default)]
struct Script {
    seed: u64,
    /// The longest time of an answer, in milliseconds. Each answer has a random time.
    slowest: u64,
    /// The number of requests after whose arrival the connection dies.
    dies_after: Option<u64>,
    /// Documents with this id are never answered.
    stalls: Option<&'static str>,
    /// Whether only the first attempt of a document stalls.
    stalls_once: bool,
    /// The time until which nothing listens.
    is_down_until: Option<Instant>,
    /// The number of times that the question for the status fails.
    hides: usize,
}

#[derive(Default)]
struct State {
    random: Option<fastrand::Rng>,
    on_connection: u64,
    connections: u64,
    arrivals: BTreeMap<u64, u32>,
    /// The ids of the documents that arrived, if they are numbers.
    documents: BTreeSet<u64>,
    answered: BTreeSet<u64>,
    /// The number of requests that came again although they had been answered.
    needless: u32,
    in_flight: usize,
    most_in_flight: usize,
    asked: usize,
}

/// Counts an attempt as in flight until it is dropped, however it ends.
struct InFlight<'a>(&'a Mutex<State>);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.lock().unwrap().in_flight -= 1;
    }
}

impl Multiplexed {
    fn new(script: Script) -> Arc<Multiplexed> {
        let random = Some(fastrand::Rng::with_seed(script.seed));
        let address = Address::parse("http://gateway", None).unwrap();
        let facts = Facts { has_paths: true, ..Facts::new(&address, Medium::Http, Encoding::Json) };
        Arc::new(Multiplexed {
            facts,
            script,
            state: Mutex::new(State { random, connections: 1, ..State::default() }),
            connection: watch::Sender::new(0),
            reconnecting: tokio::sync::Mutex::new(()),
        })
    }

    /// Opens the connection again after a death. Only one is opened, however many attempts wait.
    async fn connected(&self) -> watch::Receiver<u64> {
        let _one = self.reconnecting.lock().await;
        let mut state = self.state.lock().unwrap();
        if state.on_connection == u64::MAX {
            state.on_connection = 0;
            state.connections += 1;
        }
        let mut connection = self.connection.subscribe();
        connection.borrow_and_update();
        connection
    }

    async fn serve(&self, request: &Request, body: &[u8]) -> Result<RawAnswer, AttemptError> {
        if self.script.is_down_until.is_some_and(|until| Instant::now() < until) {
            return Err(AttemptError::new(Event::ConnectFailed, "connection refused"));
        }
        let mut connection = self.connected().await;
        let sequence = request.id.sequence;
        let (wait, is_first, _in_flight) = {
            let mut state = self.state.lock().unwrap();
            let arrivals = state.arrivals.entry(sequence).or_default();
            *arrivals += 1;
            let is_first = *arrivals == 1;
            state.needless += u32::from(state.answered.contains(&sequence));
            state.in_flight += 1;
            state.most_in_flight = state.most_in_flight.max(state.in_flight);
            state.on_connection += 1;
            if self.script.dies_after == Some(state.on_connection) {
                state.on_connection = u64::MAX;
                self.connection.send_modify(|number| *number += 1);
            }
            let random = state.random.as_mut().unwrap();
            let wait = Duration::from_millis(random.u64(0..=self.script.slowest));
            (wait, is_first, InFlight(&self.state))
        };
        let body: Value = serde_json::from_slice(body).unwrap();
        let ids = body["data"].as_array().into_iter().flatten();
        let ids = ids.filter_map(|document| document["id"].as_str()?.parse().ok());
        self.state.lock().unwrap().documents.extend::<Vec<u64>>(ids.collect());
        let is_stalling = is_first || !self.script.stalls_once;
        let id = body["data"][0]["id"].as_str();
        if is_stalling && id.is_some() && id == self.script.stalls {
            std::future::pending::<()>().await;
        }
        tokio::select! {
            biased;
            _ = connection.changed() => {
                Err(AttemptError::new(Event::ConnectionLost, "the connection died"))
            }
            () = sleep(wait) => {
                self.state.lock().unwrap().answered.insert(sequence);
                Ok(RawAnswer::from(AnswerParts {
                    docarray: DocArray::V2,
                    encoding: Encoding::Json,
                    request_id: request.id.to_string(),
                    status: Status::default(),
                    whole: Bytes::new(),
                    routes: None,
                    parameters: None,
                    documents: Some(Bytes::from(body["data"].to_string())),
                }))
            }
        }
    }
}

impl Transport for Multiplexed {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> Answer<'a, RawAnswer> {
        Box::pin(async move {
            let Some(deadline) = terms.deadline else { return self.serve(request, &body).await };
            tokio::time::timeout_at(deadline, self.serve(request, &body))
                .await
                .unwrap_or_else(|_| Err(AttemptError::new(Event::TimedOut, "no answer")))
        })
    }

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn questions(&self) -> &dyn Questions {
        self
    }

    fn connections(&self) -> Connections {
        Connections::default()
    }
}

impl Questions for Multiplexed {
    fn status<'a>(&'a self, _: Ask<'a>) -> Answer<'a, GatewayStatus> {
        Box::pin(async move {
            let mut state = self.state.lock().unwrap();
            state.asked += 1;
            if state.asked <= self.script.hides {
                let error = AttemptError::new(Event::TimedOut, "no status");
                return Err(error.before_sending("GET /status"));
            }
            let release = ("docarray".to_owned(), "0.40.0".to_owned());
            Ok(GatewayStatus { jina: [release].into(), ..GatewayStatus::default() })
        })
    }

    fn dry_run<'a>(&'a self, _: Ask<'a>) -> Answer<'a, Status> {
        Box::pin(async { Ok(Status::default()) })
    }
}

fn client(transport: &Arc<Multiplexed>) -> Client {
    let config = ClientletOptions::new().check("http://127.0.0.1:1").unwrap();
    Client::over(config, transport.clone())
}

fn documents(count: usize) -> impl Iterator<Item = Value> {
    (0..count).map(|n| json!({"id": n.to_string()}))
}

fn retrying(attempts: u32) -> RetryPolicy {
    RetryPolicy::standard().max_attempts(attempts)
}

fn ids(response: &crate::Response) -> Vec<usize> {
    let documents: Vec<Value> = response.documents().unwrap();
    documents.iter().map(|d| d["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[tokio::test(start_paused = true)]
async fn a_lost_connection_resends_only_unanswered_requests() {
    for seed in 0..50 {
        let script =
            Script { seed, slowest: 20, dies_after: Some(10 + seed % 7), ..Script::default() };
        let gateway = Multiplexed::new(script);
        let answers = client(&gateway)
            .post("/")
            .documents(documents(300))
            .request_size(3)
            .prefetch(8)
            .retry(retrying(100))
            .send()
            .await;
        assert_eq!(answers.len(), 100);
        let back: Vec<usize> = answers.responses().flat_map(ids).collect();
        assert_eq!(back, (0..300).collect::<Vec<_>>(), "seed {seed}");
        let state = gateway.state.lock().unwrap();
        assert_eq!(state.needless, 0, "seed {seed}: an answered request was sent again");
        assert!(state.connections > 5, "seed {seed}: the connection died");
        assert!(state.arrivals.values().any(|count| *count > 1), "seed {seed}");
        assert!(state.most_in_flight <= 8, "seed {seed}");
    }
}

#[tokio::test(start_paused = true)]
async fn every_request_ends_exactly_once_whatever_the_mode() {
    for seed in 0..40 {
        for (in_order, attempts) in [(false, 1), (true, 1), (false, 3), (true, 3)] {
            let script = Script { seed, slowest: 30, dies_after: Some(13), ..Script::default() };
            let gateway = Multiplexed::new(script);
            let mut call = client(&gateway)
                .post("/")
                .documents(documents(200))
                .request_size(2)
                .retry(retrying(attempts));
            if in_order {
                call = call.in_order(true);
            }
            let mut responses = call.stream();
            let mut ended: Vec<std::ops::Range<u64>> = Vec::new();
            while let Some(result) = responses.next().await {
                match result {
                    Ok(response) => {
                        let expected: Vec<usize> =
                            response.input().map(|n| n.try_into().unwrap()).collect();
                        assert_eq!(ids(&response), expected, "the answer is its own request's");
                        ended.push(response.input());
                    }
                    Err(error) => {
                        assert_eq!(error.delivery(), Delivery::Unknown);
                        assert_eq!(error.attempts().len() as u32, attempts);
                        ended.push(error.input().unwrap());
                    }
                }
            }
            if !in_order {
                ended.sort_by_key(|range| range.start);
            }
            let expected: Vec<_> = (0..100).map(|n| n * 2..n * 2 + 2).collect();
            assert_eq!(ended, expected, "seed {seed}, in order {in_order}, {attempts} attempts");
            assert!(gateway.state.lock().unwrap().arrivals.values().all(|n| *n <= attempts));
        }
    }
}

#[tokio::test(start_paused = true)]
async fn at_most_once_never_resends_a_request_that_may_have_run() {
    let script = Script { seed: 3, slowest: 30, dies_after: Some(7), ..Script::default() };
    let gateway = Multiplexed::new(script);
    let answers = client(&gateway)
        .post("/")
        .documents(documents(100))
        .request_size(1)
        .retry(retrying(10).at_most_once(true))
        .send()
        .await;
    assert!(answers.errors().count() > 0);
    assert!(answers.errors().all(|error| error.delivery() == Delivery::Unknown));
    assert!(gateway.state.lock().unwrap().arrivals.values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn a_time_out_leaves_time_for_a_second_attempt_unless_the_attempt_time_out_is_set() {
    let once = Script { stalls: Some("0"), stalls_once: true, ..Script::default() };
    let (timeout, by_hand) = (Duration::from_secs(5), Duration::from_secs(60));
    let standard = RetryPolicy::standard();
    // The last column is the expected number of attempts.
    for (retry, attempt_timeout, is_answered, attempts) in [
        (standard.clone(), None, true, 2),
        (standard.clone(), Some(by_hand), false, 1),
        (standard.clone().at_most_once(true), None, false, 1),
        (standard.max_attempts(1), None, false, 1),
    ] {
        let gateway = Multiplexed::new(once.clone());
        let mut call =
            client(&gateway).post("/").documents(documents(1)).retry(retry).timeout(timeout);
        if let Some(time) = attempt_timeout {
            call = call.attempt_timeout(time);
        }
        let started = Instant::now();
        let result = call.stream().next().await.unwrap();
        assert_eq!(result.is_ok(), is_answered, "{attempts}");
        match result {
            Ok(response) => assert_eq!(response.attempts(), attempts),
            Err(error) => {
                assert_eq!((error.kind(), error.attempts().len()), (ErrorKind::Timeout, 1));
                assert_eq!(started.elapsed(), timeout, "the attempt has all of the time");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_default_waits_bridge_a_restart_and_pythons_do_not() {
    for (policy, is_bridged) in [(RetryPolicy::new(), true), (RetryPolicy::python(), false)] {
        let until = Instant::now() + Duration::from_secs(3);
        let gateway = Multiplexed::new(Script { is_down_until: Some(until), ..Script::default() });
        let call = client(&gateway).post("/").documents(documents(1000)).request_size(1);
        // With 12 attempts about one request in 100,000 fails.
        let answers = call.retry(policy.max_attempts(12)).send().await;
        assert_eq!(answers.errors().count() == 0, is_bridged);
        assert_eq!(answers.len(), 1000);
    }
}

/// Documents and streams of any type can be posted, also from generic code.
#[tokio::test(start_paused = true)]
async fn documents_and_streams_need_no_unpin() {
    struct Pinned<D>(D, std::marker::PhantomPinned);

    impl<D: Iterator> Iterator for Pinned<D> {
        type Item = D::Item;

        fn next(&mut self) -> Option<D::Item> {
            self.0.next()
        }
    }

    async fn all<T: Serialize>(client: &Client, documents: Vec<T>) -> usize {
        let owned = client.post("/").documents(&documents).request_size(1).send().await.len();
        let pinned = Pinned(documents.into_iter(), std::marker::PhantomPinned);
        owned + client.post("/").documents(pinned).request_size(1).send().await.len()
    }

    async fn streamed<S>(client: &Client, documents: S) -> usize
    where
        S: Stream<Item: Serialize>,
    {
        let mut responses = client.post("/").document_stream(documents).request_size(1).stream();
        let mut count = 0;
        while responses.next().await.is_some() {
            count += 1;
        }
        count
    }

    let client = client(&Multiplexed::new(Script::default()));
    assert_eq!(all(&client, documents(2).collect()).await, 4);
    let later = stream::iter(0..3).then(async |n| json!({"id": n.to_string()}));
    assert_eq!(streamed(&client, later).await, 3);
}

#[tokio::test(start_paused = true)]
async fn a_stalled_first_request_stops_the_input_and_times_out() {
    let script = Script { stalls: Some("0"), ..Script::default() };
    let gateway = Multiplexed::new(script);
    let read = AtomicUsize::new(0);
    let input = (0..1000).map(|n| {
        read.fetch_add(1, Ordering::Relaxed);
        json!({"id": n.to_string()})
    });
    let mut responses = client(&gateway)
        .post("/")
        .documents(input)
        .request_size(1)
        .prefetch(16)
        .in_order(true)
        .attempt_timeout(Duration::from_secs(60))
        .stream();
    let early = timeout(Duration::from_secs(59), responses.next()).await;
    assert!(early.is_err(), "nothing can be given out before the head");
    assert_eq!(read.load(Ordering::Relaxed), 16, "the input stands still after the window");
    assert_eq!(responses.in_flight(), 16);
    let head = responses.next().await.unwrap().unwrap_err();
    assert_eq!((head.kind(), head.input()), (ErrorKind::Timeout, Some(0..1)));
    for n in 1..1000 {
        assert_eq!(responses.next().await.unwrap().unwrap().input(), n..n + 1);
    }
    assert!(responses.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn stopping_gives_out_the_answers_that_waited_for_a_late_one() {
    let gateway = Multiplexed::new(Script { stalls: Some("0"), ..Script::default() });
    let mut responses = client(&gateway)
        .post("/")
        .documents(documents(100))
        .request_size(1)
        .prefetch(8)
        .in_order(true)
        .stream();
    assert!(timeout(Duration::from_secs(1), responses.next()).await.is_err());
    assert_eq!((responses.documents_read(), responses.documents_sent()), (8, 8));
    let mut ended = responses.stop().into_iter();
    let head = ended.next().unwrap().unwrap_err();
    assert_eq!((head.kind(), head.input()), (ErrorKind::Cancelled, Some(0..1)));
    assert_eq!(head.delivery(), Delivery::Unknown);
    let ended: Vec<_> = ended.map(|r| r.unwrap().input().start).collect();
    assert_eq!(ended, [1, 2, 3, 4, 5, 6, 7]);
    assert_eq!(gateway.state.lock().unwrap().in_flight, 0);
    assert_eq!((responses.documents_read(), responses.documents_sent()), (8, 8));
    assert_eq!(responses.in_flight(), 0);
    assert!(responses.next().await.is_none());
    assert!(responses.stop().is_empty());
}

/// Whenever a call is stopped, each document that was read ends once, and a document that is
/// reported as not sent never arrives.
#[tokio::test(start_paused = true)]
async fn each_document_that_was_read_ends_once_whenever_the_call_is_stopped() {
    for seed in 0..300 {
        let mut random = fastrand::Rng::with_seed(seed);
        let script = Script { seed, slowest: 30, dies_after: Some(13), ..Script::default() };
        let gateway = Multiplexed::new(script);
        let policy = retrying(random.u32(1..4));
        let policy = if random.bool() { policy.at_most_once(true) } else { policy };
        // Documents come one by one, so that some have been read but not sent.
        let input = stream::iter(0..60).then(async |n: u64| {
            sleep(Duration::from_millis(n % 3)).await;
            if n == 25 { json!("no object") } else { json!({"id": n.to_string()}) }
        });
        let mut call = client(&gateway).post("/").document_stream(Box::pin(input));
        call = call.request_size(random.usize(1..4)).prefetch(random.usize(1..9)).retry(policy);
        if random.bool() {
            call = call.in_order(true);
        }
        let mut responses = call.stream();
        let taken = random.usize(0..30);
        let mut results = Vec::new();
        while results.len() < taken
            && let Ok(Some(result)) = timeout(Duration::from_secs(9), responses.next()).await
        {
            results.push(result);
        }
        // The stop may also come between two answers.
        let _ = timeout(Duration::from_millis(random.u64(0..20)), async {
            while let Some(result) = responses.next().await {
                results.push(result);
            }
        })
        .await;
        results.extend(responses.stop());
        let (read, sent) = (responses.documents_read(), responses.documents_sent());
        let mut ends: Vec<_> = results
            .iter()
            .map(|result| match result {
                Ok(response) => response.input(),
                Err(error) => error.input().unwrap(),
            })
            .collect();
        ends.sort_by_key(|documents| documents.start);
        let documents: Vec<u64> = ends.into_iter().flatten().collect();
        assert_eq!(documents, (0..read).collect::<Vec<_>>(), "seed {seed}");
        let arrived = gateway.state.lock().unwrap().documents.clone();
        for error in results.iter().filter_map(|result| result.as_ref().err()) {
            let documents = error.input().unwrap();
            let has_arrived = documents.clone().any(|n| arrived.contains(&n));
            match (error.kind(), error.delivery()) {
                (_, Delivery::NotSent) => assert!(!has_arrived, "seed {seed}: {error}"),
                (ErrorKind::Cancelled, _) => assert!(documents.end <= sent, "seed {seed}: {error}"),
                _ => {}
            }
        }
        assert!(responses.next().await.is_none() && responses.stop().is_empty());
        let arrivals = gateway.state.lock().unwrap().arrivals.clone();
        sleep(Duration::from_secs(9)).await;
        assert_eq!(gateway.state.lock().unwrap().arrivals, arrivals, "nothing is sent after it");
    }
}

#[tokio::test(start_paused = true)]
async fn an_answer_that_is_not_taken_keeps_its_place() {
    let gateway = Multiplexed::new(Script::default());
    let read = AtomicUsize::new(0);
    let input = (0..100).map(|n| {
        read.fetch_add(1, Ordering::Relaxed);
        json!({"id": n.to_string()})
    });
    let mut responses =
        client(&gateway).post("/").documents(input).request_size(1).prefetch(4).stream();
    for taken in 0..100 {
        responses.next().await.unwrap().unwrap();
        assert!(read.load(Ordering::Relaxed) <= taken + 4);
    }
    assert!(responses.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn with_prefetch_one_each_document_is_answered_before_the_next_is_read() {
    let gateway = Multiplexed::new(Script { slowest: 5, ..Script::default() });
    let seen = Mutex::new(Vec::new());
    let input = stream::iter(0..5).then(|n| {
        let (seen, gateway) = (&seen, &gateway);
        async move {
            sleep(Duration::from_millis(1)).await;
            seen.lock().unwrap().push((n, gateway.state.lock().unwrap().answered.len()));
            json!({"id": n.to_string()})
        }
    });
    let call = client(&gateway).post("/").document_stream(input).request_size(1).prefetch(1);
    assert_eq!(call.send().await.responses().count(), 5);
    let expected: Vec<_> = (0..5).map(|n| (n, n)).collect();
    assert_eq!(*seen.lock().unwrap(), expected);
}

/// Gives documents at these times, in milliseconds, and then none for an hour.
fn trickle(times: &[u64]) -> impl Stream<Item = Value> + use<> {
    let began = Instant::now();
    let times: Vec<u64> = times.iter().copied().chain([3_600_000]).collect();
    stream::iter(times.into_iter().enumerate()).then(move |(n, time)| async move {
        tokio::time::sleep_until(began + Duration::from_millis(time)).await;
        json!({"id": n.to_string()})
    })
}

/// Returns the answers that come within a second: for each, the number of documents and the time in
/// milliseconds.
async fn within_a_second<S>(mut responses: Responses<S>) -> Vec<(u64, u128)>
where
    S: Stream<Item = Value>,
{
    let began = Instant::now();
    let mut answered = Vec::new();
    while let Ok(response) = timeout(Duration::from_secs(1), responses.next()).await {
        let input = response.unwrap().unwrap().input();
        answered.push((input.end - input.start, began.elapsed().as_millis()));
    }
    answered
}

#[tokio::test(start_paused = true)]
async fn a_request_that_is_not_full_is_sent_when_it_has_lingered() {
    for (linger, times, answered) in [
        // The time runs from the moment at which no document was ready.
        (Some(50), &[0, 10, 20, 49][..], &[(4, 50)][..]),
        (Some(50), &[0, 10, 60, 200], &[(2, 50), (1, 110), (1, 250)]),
        // A full request is sent immediately.
        (Some(50), &[0, 0, 0, 0, 0, 70], &[(5, 0), (1, 120)]),
        (Some(50), &[0, 20, 30, 31, 32, 60], &[(5, 32), (1, 110)]),
        (Some(200), &[0, 10, 190], &[(3, 200)]),
        (Some(0), &[0, 0, 10, 10], &[(2, 0), (2, 10)]),
        (None, &[0, 10, 20, 900], &[]),
    ] {
        let gateway = Multiplexed::new(Script::default());
        let post = client(&gateway).post("/").document_stream(trickle(times)).request_size(5);
        let linger = linger.map(Duration::from_millis);
        let ended = within_a_second(post.linger(linger).stream()).await;
        // A timer rings up to a millisecond late.
        let about = |ended: &[(u64, u128)]| -> Vec<(u64, u128)> {
            ended.iter().map(|(count, time)| (*count, time / 10)).collect()
        };
        assert_eq!(about(&ended), about(answered), "{linger:?} {times:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stream_lingers_by_default_unless_all_its_documents_go_into_one_request() {
    for (size, answered) in [(5, 2), (0, 0)] {
        let gateway = Multiplexed::new(Script::default());
        let post = client(&gateway).post("/").document_stream(trickle(&[0, 200]));
        let ended = within_a_second(post.request_size(size).stream()).await;
        assert_eq!(ended.len(), answered, "{size}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_stopped_call_tells_of_an_input_that_had_failed() {
    let gateway = Multiplexed::new(Script { stalls: Some("0"), ..Script::default() });
    let input = (0..4).map(|n| match n {
        3 => Err("the disk is gone"),
        n => Ok(json!({"id": n.to_string()})),
    });
    let post = client(&gateway).post("/").try_documents(input).request_size(3).in_order(true);
    let mut responses = post.stream();
    assert!(timeout(Duration::from_secs(1), responses.next()).await.is_err());
    let ended: Vec<_> = responses.stop().into_iter().map(|ended| ended.unwrap_err()).collect();
    let ended: Vec<_> = ended.iter().map(|error| (error.kind(), error.input().unwrap())).collect();
    assert_eq!(ended, [(ErrorKind::Cancelled, 0..3), (ErrorKind::Input, 3..4)]);
    assert!(responses.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn dropping_the_stream_stops_everything() {
    let gateway = Multiplexed::new(Script { slowest: 1000, seed: 1, ..Script::default() });
    let mut responses =
        client(&gateway).post("/").documents(documents(100)).request_size(1).stream();
    responses.next().await.unwrap().unwrap();
    assert!(gateway.state.lock().unwrap().in_flight > 0);
    drop(responses);
    let arrived = {
        let state = gateway.state.lock().unwrap();
        assert_eq!(state.in_flight, 0, "nothing is left in flight");
        state.arrivals.len()
    };
    sleep(Duration::from_secs(10)).await;
    assert_eq!(gateway.state.lock().unwrap().arrivals.len(), arrived, "nothing more is sent");
}

#[tokio::test(start_paused = true)]
async fn dropping_a_future_of_next_loses_no_answer() {
    let gateway = Multiplexed::new(Script { slowest: 50, seed: 9, ..Script::default() });
    let mut responses =
        client(&gateway).post("/").documents(documents(50)).request_size(1).stream();
    let mut back = BTreeSet::new();
    loop {
        match timeout(Duration::from_millis(1), responses.next()).await {
            Err(_) => {}
            Ok(Some(response)) => back.extend(ids(&response.unwrap())),
            Ok(None) => break,
        }
    }
    assert_eq!(back, (0..50).collect());
    assert!(gateway.state.lock().unwrap().arrivals.values().all(|count| *count == 1));
}

#[tokio::test(start_paused = true)]
async fn bytes_in_flight_are_bounded_and_an_oversized_request_goes_alone() {
    let gateway = Multiplexed::new(Script { slowest: 10, seed: 2, ..Script::default() });
    let big = |n: usize| json!({"id": n.to_string(), "text": "x".repeat(1000)});
    let call = client(&gateway).post("/").documents((0..20).map(big)).request_size(1);
    let answers = call.prefetch_bytes(2500).send().await;
    assert_eq!(answers.responses().count(), 20);
    assert_eq!(gateway.state.lock().unwrap().most_in_flight, 2);

    let gateway = Multiplexed::new(Script { slowest: 10, seed: 2, ..Script::default() });
    let call = client(&gateway).post("/").documents((0..5).map(big)).request_size(1);
    assert_eq!(call.prefetch_bytes(10).send().await.responses().count(), 5);
    assert_eq!(gateway.state.lock().unwrap().most_in_flight, 1);
}

#[tokio::test(start_paused = true)]
async fn an_empty_input_is_one_request() {
    let gateway = Multiplexed::new(Script::default());
    let client = client(&gateway);
    for answers in [
        client.post("/").send().await,
        client.post("/").documents(documents(0)).send().await,
        client.post("/").documents(documents(0)).request_size(0).send().await,
    ] {
        assert_eq!(answers.len(), 1);
        let responses = answers.into_result().unwrap();
        assert_eq!(responses[0].documents::<Value>().unwrap(), Vec::<Value>::new());
        assert_eq!(responses[0].input(), 0..0);
    }
}

#[tokio::test(start_paused = true)]
async fn after_an_error_stop_on_error_reads_no_more_and_finishes_the_requests_that_were_sent() {
    let script = Script { seed: 4, slowest: 10, dies_after: Some(20), ..Script::default() };
    let gateway = Multiplexed::new(script);
    let mut responses = client(&gateway)
        .post("/")
        .documents(documents(1000))
        .request_size(1)
        .prefetch(4)
        .stop_on_error(true)
        .stream();
    let mut ended = 0;
    let mut failed = 0;
    while let Some(result) = responses.next().await {
        ended += 1;
        failed += u64::from(result.is_err());
    }
    assert!(failed > 0);
    assert_eq!(responses.documents_read(), ended, "each document that was read has its end");
    assert!(ended < 40, "{ended} were read after an error near the 20th");
}

#[tokio::test(start_paused = true)]
async fn the_gateway_is_asked_once_however_many_calls_wait() {
    let gateway = Multiplexed::new(Script::default());
    let client = client(&gateway);
    let calls = (0..10).map(|_| client.post("/").documents(documents(3)).send());
    let answers = futures_util::future::join_all(calls).await;
    assert!(answers.iter().all(|answers| answers.errors().count() == 0));
    assert_eq!(gateway.state.lock().unwrap().asked, 1);
}

#[tokio::test(start_paused = true)]
async fn a_gateway_that_cannot_be_asked_fails_each_request_as_not_sent() {
    let gateway = Multiplexed::new(Script { hides: 2, ..Script::default() });
    let call = client(&gateway).post("/").documents(documents(50)).request_size(10).prefetch(2);
    let answers = call.send().await;
    assert_eq!(answers.len(), 5);
    let errors: Vec<_> = answers.errors().collect();
    assert_eq!(errors.len(), 4, "two share each failure, and the fifth batch is answered");
    assert_eq!(gateway.state.lock().unwrap().asked, 3);
    for (n, error) in errors.iter().enumerate() {
        let n = n as u64;
        assert_eq!(error.delivery(), Delivery::NotSent);
        assert_eq!(error.input(), Some(n * 10..n * 10 + 10));
        assert!(!error.may_have_run());
        assert_eq!(error.attempts().len(), 1);
        assert!(error.to_string().contains("GET /status: no status"), "{error}");
    }
    let retried = Multiplexed::new(Script { hides: 2, ..Script::default() });
    let call = client(&retried).post("/").documents(documents(50)).request_size(10);
    assert_eq!(call.retry(retrying(3)).send().await.errors().count(), 0);
}

#[tokio::test(start_paused = true)]
async fn documents_that_come_after_a_failed_question_ask_the_gateway_again() {
    let gateway = Multiplexed::new(Script { hides: 1, ..Script::default() });
    let late = stream::once(async {
        sleep(Duration::from_secs(1)).await;
        json!({"id": "1"})
    });
    let input = stream::iter([json!({"id": "0"})]).chain(late);
    let answers = client(&gateway).post("/").document_stream(input).request_size(1).send().await;
    let ends: Vec<_> = answers.into_iter().map(|result| result.is_ok()).collect();
    assert_eq!(ends, [false, true]);
}

#[tokio::test(start_paused = true)]
async fn a_document_that_cannot_be_sent_fails_alone() {
    let gateway = Multiplexed::new(Script::default());
    let documents = [json!({"id": "0"}), json!("no object"), json!({"id": "2"})];
    let answers = client(&gateway).post("/").documents(documents).send().await;
    let ends: Vec<_> = answers
        .into_iter()
        .map(|result| match result {
            Ok(response) => (response.input(), None),
            Err(error) => (error.input().unwrap(), Some(error.kind())),
        })
        .collect();
    assert_eq!(ends, [(0..1, None), (1..2, Some(ErrorKind::Encode)), (2..3, None)]);
}

#[tokio::test(start_paused = true)]
async fn time_never_exceeds_the_deadline_of_a_request() {
    for seed in 0..30 {
        let script = Script { seed, slowest: 400, dies_after: Some(5), ..Script::default() };
        let gateway = Multiplexed::new(script);
        let deadline = Duration::from_millis(700);
        let call = client(&gateway).post("/").documents(documents(60)).request_size(1);
        let answers = call.retry(retrying(1000)).timeout(deadline).send().await;
        for result in answers {
            let elapsed = match &result {
                Ok(response) => response.elapsed(),
                Err(error) => error.elapsed(),
            };
            // The test clock moves in milliseconds.
            assert!(elapsed <= deadline + Duration::from_millis(1), "{elapsed:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_slow_input_does_not_hold_back_the_answers() {
    let gateway = Multiplexed::new(Script::default());
    let input = stream::unfold(0, async |n| {
        if n == 2 {
            sleep(Duration::from_secs(3600)).await;
        }
        (n < 4).then(|| (json!({"id": n.to_string()}), n + 1))
    });
    let mut responses =
        client(&gateway).post("/").document_stream(Box::pin(input)).request_size(2).stream();
    let first = timeout(Duration::from_secs(1), responses.next()).await.unwrap();
    assert_eq!(first.unwrap().unwrap().input(), 0..2);
    assert!(timeout(Duration::from_secs(1), responses.next()).await.is_err());
    assert_eq!(responses.next().await.unwrap().unwrap().input(), 2..4);
    assert!(responses.next().await.is_none());
}

#[tokio::test(start_paused = true)]
async fn documents_may_be_borrowed_and_the_stream_is_send() {
    fn is_send<T: Send>(value: T) -> T {
        value
    }
    let gateway = Multiplexed::new(Script::default());
    let owned = vec![json!({"id": "0"}), json!({"id": "1"})];
    let client = is_send(client(&gateway));
    let mut responses = is_send(client.post("/").documents(&owned).stream());
    assert_eq!(ids(&responses.next().await.unwrap().unwrap()), [0, 1]);
    drop(responses);
    assert_eq!(owned.len(), 2);
}
