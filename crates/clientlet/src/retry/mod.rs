//! Whether, when and how often a request is sent again.

mod policy;
#[cfg(test)]
mod properties;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

pub use policy::RetryPolicy;

use crate::error::{Attempt, AttemptError, Context, Error, Event};
use crate::runtime;
use crate::stop::{Stop, stopped};

/// A gateway that asks to wait longer than this is not waited for.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// A random wait of up to this share of the gateway's wait, at most [`LONGEST_LAG`], is added to it.
/// Otherwise all clients that were told the same wait would return at the same instant.
const LAG: f64 = 0.5;
const LONGEST_LAG: Duration = Duration::from_secs(5);

/// How often in a row an attempt begins anew; after that the failure counts like any other. A proxy
/// may take only a few of a call's requests on each connection, while all of them go to the next
/// one.
///
/// The fuzzer's servers mostly close before they were asked, so this many connections for each
/// input would limit it to a few inputs a second.
const MOST_ANEW: u32 = if cfg!(fuzzing) { MOST_AT_ONCE + 2 } else { 256 };
/// How often it begins anew immediately. After that it waits for a random time up to
/// [`LONGEST_PAUSE`], since requests that are refused again and again would storm the gateway.
const MOST_AT_ONCE: u32 = 16;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// How often in a row it begins anew although the attempt's time is over. A caller that did not
/// poll when the time ended may find that its connection was closed meanwhile, and a slow caller is
/// not a slow gateway.
const MOST_LATE: u32 = 4;

/// What follows from a failed attempt.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Try again after this wait.
    Again(Duration),
    /// The failure stands.
    Final,
}

/// Decides on attempt number `attempt`, which failed in `error`.
///
/// `unit` is random in `[0, 1)`; `left` is the time until the deadline.
fn judge(
    policy: &RetryPolicy,
    attempt: u32,
    error: &AttemptError,
    left: Option<Duration>,
    unit: f64,
) -> Verdict {
    let ran = policy.is_at_most_once() && error.may_have_run;
    if !error.retryable || ran || attempt >= policy.attempts() {
        return Verdict::Final;
    }
    let wait = error.retry_after.unwrap_or_else(|| policy.wait(attempt, unit));
    let too_long = wait > LONGEST_RETRY_AFTER && error.retry_after.is_some();
    if too_long || left.is_some_and(|left| wait >= left) {
        return Verdict::Final;
    }
    Verdict::Again(match error.retry_after {
        Some(asked) => asked + lag(asked, left, unit),
        None => wait,
    })
}

/// The random wait that is added to the gateway's. It takes at most half of the time that is left after
/// the gateway's wait.
fn lag(asked: Duration, left: Option<Duration>, unit: f64) -> Duration {
    let longest = asked.mul_f64(LAG).min(LONGEST_LAG);
    let room = left.map_or(Duration::MAX, |left| left.saturating_sub(asked) / 2);
    longest.min(room).mul_f64(unit)
}

/// The attempts of a request that failed.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    attempts: Vec<Attempt>,
    may_have_run: bool,
}

impl Ledger {
    /// The number of the attempt that follows the entries, from 1.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Enters an attempt that began this long after its request and took this long.
    fn enter(&mut self, error: &AttemptError, began: Duration, took: Duration) {
        self.attempts.push(error.record(self.next(), began, took));
        self.may_have_run |= error.may_have_run;
    }
}

/// Why a request failed: its last failure, with all that came before.
#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) last: AttemptError,
    ledger: Ledger,
    elapsed: Duration,
}

impl Failure {
    /// The failure of a request that was never attempted.
    pub(crate) fn unattempted(last: AttemptError) -> Failure {
        Failure { last, ledger: Ledger::default(), elapsed: Duration::ZERO }
    }

    /// The failure of an attempt that began to succeed at `began`, after those of the ledger.
    pub(crate) fn late(
        last: AttemptError,
        mut ledger: Ledger,
        started: Instant,
        began: Instant,
    ) -> Failure {
        ledger.enter(&last, began - started, began.elapsed());
        Failure { last, ledger, elapsed: started.elapsed() }
    }

    /// Whether an executor may have worked on the request.
    pub(crate) fn may_have_run(&self) -> bool {
        self.ledger.may_have_run
    }

    /// Copies the failure for another request that failed with it.
    pub(crate) fn share(&self) -> Failure {
        Failure { last: self.last.share(), ledger: self.ledger.clone(), elapsed: self.elapsed }
    }

    pub(crate) fn into_error(self, context: Context) -> Error {
        let Failure { last, ledger, elapsed } = self;
        Error::of_request(last, ledger.attempts, ledger.may_have_run, context, elapsed)
    }
}

/// The time limits of a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) started: Instant,
    /// When all its attempts must have ended.
    pub(crate) deadline: Option<Instant>,
    /// For each attempt.
    pub(crate) attempt: Option<Duration>,
}

impl Times {
    /// The limits of a request that starts now: `all` for all attempts together, `attempt` for each.
    pub(crate) fn from_now(all: Option<Duration>, attempt: Option<Duration>) -> Times {
        let started = Instant::now();
        Times { started, deadline: later(started, all), attempt }
    }

    /// When an attempt that began at `began` must have ended.
    pub(crate) fn attempt_deadline(&self, began: Instant) -> Option<Instant> {
        [later(began, self.attempt), self.deadline].into_iter().flatten().min()
    }
}

/// `start` plus `after`. Returns `None` without a time-out and if the sum cannot be represented.
pub(crate) fn later(start: Instant, after: Option<Duration>) -> Option<Instant> {
    start.checked_add(after?)
}

/// One attempt in the row of a request's attempts.
#[derive(Debug)]
pub(crate) struct Turn {
    /// When it began.
    pub(crate) began: Instant,
    /// When it must have ended.
    pub(crate) deadline: Option<Instant>,
    /// Whether the policy allows none after it.
    pub(crate) is_last: bool,
    /// What ended the attempt before it.
    pub(crate) after: Option<Event>,
    /// The request's body, if the transport had taken it and returned it.
    pub(crate) unsent: Option<Bytes>,
}

/// The attempts of one request: how many there may be, in which time, and what stops them.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    policy: &'a RetryPolicy,
    times: Times,
    random: fastrand::Rng,
    stop: &'a Stop,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy, times: Times) -> Retry<'a> {
        Retry::seeded(policy, times, fastrand::u64(..))
    }

    /// The waits take their jitter from this seed.
    pub(crate) fn seeded(policy: &'a RetryPolicy, times: Times, seed: u64) -> Retry<'a> {
        Retry { policy, times, random: fastrand::Rng::with_seed(seed), stop: Stop::never() }
    }

    /// Ends once the call is stopped and [`run`](Retry::run) is polled again.
    pub(crate) fn until(self, stop: &'a Stop) -> Retry<'a> {
        Retry { stop, ..self }
    }

    /// Runs `attempt` until it succeeds or its failure is final. Returns its value and the failures
    /// that came before it.
    ///
    /// An attempt that the gateway's application did not see because of its connection begins
    /// [anew](AttemptError::is_anew): immediately, with the same number and the same time, and without
    /// an entry in the ledger. When its time is over, such a failure counts like any other. Outside of
    /// a tokio runtime nothing is attempted.
    pub(crate) async fn run<T, F>(
        mut self,
        attempt: impl FnMut(Turn) -> F,
    ) -> Result<(T, Ledger), Failure>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let mut ledger = Ledger::default();
        match self.attempts(&mut ledger, attempt).await {
            Ok(value) => Ok((value, ledger)),
            Err(last) => Err(Failure { last, ledger, elapsed: self.times.started.elapsed() }),
        }
    }

    async fn attempts<T, F>(
        &mut self,
        ledger: &mut Ledger,
        mut attempt: impl FnMut(Turn) -> F,
    ) -> Result<T, AttemptError>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let Retry { policy, times, ref mut random, stop } = *self;
        // Without a runtime nothing could be done, and waiting would panic.
        if !stop.is_set() {
            runtime::here()?;
        }
        let Times { started, deadline, .. } = times;
        let mut after = None;
        let mut unsent = None;
        // The first attempt begins with the request, which saves nearly all requests one look at the
        // clock.
        let (mut number, mut began, mut anew) = (1, started, 0);
        loop {
            let (is_last, until) = (number >= policy.attempts(), times.attempt_deadline(began));
            let turn = Turn { began, deadline: until, is_last, after, unsent: unsent.take() };
            // Transports report a stop themselves, and more precisely.
            let attempt = unless_stopped(stop, pin!(attempt(turn))).await;
            let mut error = match attempt.unwrap_or_else(|| Err(stopped(true))) {
                Ok(value) => return Ok(value),
                Err(error) => error,
            };
            let now = Instant::now();
            unsent = error.unsent.take();
            if error.is_anew() {
                if stop.is_set() {
                    return Err(stopped(false));
                }
                let pause = match anew < MOST_AT_ONCE {
                    true => Duration::ZERO,
                    false => LONGEST_PAUSE.mul_f64(random.f64()),
                };
                let is_in_time =
                    |until: Option<Instant>| until.is_none_or(|until| now + pause < until);
                let may_begin = match anew < MOST_LATE {
                    true => is_in_time(deadline),
                    false => anew < MOST_ANEW && is_in_time(until),
                };
                if may_begin {
                    anew += 1;
                    tracing::debug!(attempt = number, "beginning anew: {}", error.message);
                    if pause > Duration::ZERO {
                        rest(stop, pause).await.ok_or_else(|| stopped(false))?;
                    }
                    continue;
                }
                if anew > 0 {
                    error.message += &format!(" ({} times in a row)", anew + 1);
                }
            }
            ledger.enter(&error, began - started, now - began);
            after = Some(error.event);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            match judge(policy, number, &error, left, random.f64()) {
                Verdict::Final => return Err(error),
                Verdict::Again(wait) => {
                    tracing::debug!(
                        attempt = number, kind = %error.kind, delivery = %error.delivery, ?wait,
                        "trying again: {}", error.message
                    );
                    rest(stop, wait).await.ok_or_else(|| stopped(false))?;
                    (number, began, anew) = (number + 1, Instant::now(), 0);
                }
            }
        }
    }
}

/// Waits; `None` if the call is stopped meanwhile.
async fn rest(stop: &Stop, wait: Duration) -> Option<()> {
    // A stop may come where there is no runtime and no clock.
    if stop.is_set() {
        return None;
    }
    unless_stopped(stop, pin!(tokio::time::sleep(wait))).await
}

/// Waits for `what`; `None` if it has not ended when it is polled after the stop.
async fn unless_stopped<F: Future>(stop: &Stop, mut what: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if stop.is_set() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::EVENTS;

    fn policy(attempts: u32) -> RetryPolicy {
        RetryPolicy::standard().max_attempts(attempts)
    }

    #[test]
    fn what_the_table_calls_final_is_never_tried_again() {
        for row in EVENTS {
            let error = AttemptError::new(row.event, "");
            let verdict = judge(&policy(9), 1, &error, None, 0.5);
            assert_eq!(verdict == Verdict::Final, !row.retryable, "{:?}", row.event);
        }
    }

    #[test]
    fn at_most_once_tries_again_only_what_cannot_have_run() {
        for row in EVENTS {
            let error = AttemptError::new(row.event, "");
            let verdict = judge(&policy(9).at_most_once(true), 1, &error, None, 0.5);
            let again = row.retryable && !row.may_have_run;
            assert_eq!(verdict == Verdict::Final, !again, "{:?}", row.event);
        }
    }

    #[test]
    fn attempts_are_limited() {
        let error = AttemptError::new(Event::ConnectFailed, "");
        assert_ne!(judge(&policy(3), 2, &error, None, 0.5), Verdict::Final);
        assert_eq!(judge(&policy(3), 3, &error, None, 0.5), Verdict::Final);
    }

    #[test]
    fn a_wait_that_ends_after_the_deadline_is_not_begun() {
        let error = AttemptError::new(Event::ConnectFailed, "");
        let left = Some(Duration::from_millis(49));
        assert_eq!(judge(&policy(3), 1, &error, left, 0.5), Verdict::Final);
        let left = Some(Duration::from_millis(51));
        let wait = Duration::from_millis(50);
        assert_eq!(judge(&policy(3), 1, &error, left, 0.5), Verdict::Again(wait));
    }

    #[test]
    fn retry_after_is_obeyed_unless_it_is_too_long() {
        let asked = |seconds| {
            let mut error = AttemptError::new(Event::RateLimited429, "");
            error.retry_after = Some(Duration::from_secs(seconds));
            error
        };
        let verdict = judge(&policy(3), 1, &asked(7), None, 0.0);
        assert_eq!(verdict, Verdict::Again(Duration::from_secs(7)));
        assert_eq!(judge(&policy(3), 1, &asked(61), None, 0.5), Verdict::Final);
        let left = Some(Duration::from_secs(6));
        assert_eq!(judge(&policy(3), 1, &asked(7), left, 0.5), Verdict::Final);
    }

    #[test]
    fn clients_that_are_told_the_same_wait_do_not_come_back_in_one_instant() {
        let wait = |asked, left: Option<u64>, unit| {
            let mut error = AttemptError::new(Event::RateLimited429, "");
            error.retry_after = Some(Duration::from_millis(asked));
            let left = left.map(Duration::from_millis);
            match judge(&policy(3), 1, &error, left, unit) {
                Verdict::Again(wait) => wait.as_millis(),
                Verdict::Final => panic!("the wait fits"),
            }
        };
        // Up to half as much again, and no more than 5 s; never sooner than asked.
        for (asked, latest) in [(0, 0), (2_000, 3_000), (10_000, 15_000), (60_000, 65_000)] {
            assert_eq!([0.0, 1.0].map(|unit| wait(asked, None, unit)), [asked.into(), latest]);
            let middle = (u128::from(asked) + latest) / 2;
            assert_eq!(wait(asked, None, 0.5), middle, "spread evenly");
        }
        // Of what is left behind the wait, an attempt keeps at least half.
        assert_eq!(wait(2_000, Some(2_400), 1.0), 2_200);
        assert_eq!(wait(2_000, Some(60_000), 1.0), 3_000);
    }

    /// Runs attempts that fail with these events, one after the other, and then succeed; returns
    /// the number of attempts, the result and the ledger.
    async fn ran(
        policy: RetryPolicy,
        deadline: Option<Duration>,
        events: &[Event],
    ) -> (usize, Result<(), AttemptError>, Ledger) {
        let times = Times::from_now(deadline, None);
        let mut calls = 0;
        let result = Retry::seeded(&policy, times, 1).run(|_| {
            let event = events.get(calls);
            calls += 1;
            async move { event.map_or(Ok(()), |event| Err(AttemptError::new(*event, "gone"))) }
        });
        let (result, ledger) = match result.await {
            Ok(((), ledger)) => (Ok(()), ledger),
            Err(Failure { last, ledger, .. }) => (Err(last), ledger),
        };
        (calls, result, ledger)
    }

    #[tokio::test(start_paused = true)]
    async fn what_was_never_seen_begins_anew_at_once_without_being_counted() {
        for event in EVENTS.iter().filter(|row| row.is_anew).map(|row| row.event) {
            for policy in [policy(1), policy(1).at_most_once(true)] {
                let started = Instant::now();
                let (calls, result, ledger) =
                    ran(policy, None, &[event; MOST_AT_ONCE as usize]).await;
                assert!(result.is_ok(), "{event:?}");
                assert_eq!((calls, ledger.attempts.len()), (17, 0), "{event:?}");
                assert_eq!(started.elapsed(), Duration::ZERO, "{event:?}");
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_seen_time_and_again_counts_as_a_failure_in_the_end() {
        let most = MOST_ANEW as usize;
        let started = Instant::now();
        let (calls, result, ledger) = ran(policy(1), None, &[Event::ClosedUnsent; 1000]).await;
        assert_eq!((calls, ledger.attempts.len()), (most + 1, 1));
        assert_eq!(result.unwrap_err().message, "gone (257 times in a row)");
        let pauses = started.elapsed().div_duration_f64(LONGEST_PAUSE);
        assert!((60.0..180.0).contains(&pauses), "no storm: {pauses}");
        // Each attempt may begin anew as many times.
        let (calls, result, ledger) = ran(policy(3), None, &[Event::ClosedUnsent; 1000]).await;
        assert_eq!((calls, ledger.attempts.len()), (3 * (most + 1), 3));
        assert!(!ledger.may_have_run && result.is_err());
    }

    #[tokio::test(start_paused = true)]
    async fn nothing_begins_anew_after_the_deadline_or_where_the_gateway_asks_to_wait() {
        let (calls, result, _) = ran(policy(9), Some(Duration::ZERO), &[Event::ClosedUnsent]).await;
        assert_eq!((calls, result.is_err()), (1, true));
        let mut error = AttemptError::new(Event::ClosedUnsent, "");
        assert!(error.is_anew());
        error.retry_after = Some(Duration::ZERO);
        assert!(!error.is_anew());
    }

    /// Runs attempts of at most 1 s, each of which a gateway ends unprocessed after `each` ms. Returns the
    /// time until the request fails and the number of beginnings.
    async fn never_seen(policy: RetryPolicy, all: u64, each: u64) -> (Duration, usize) {
        let [all, each] = [all, each].map(Duration::from_millis);
        let times = Times::from_now(Some(all), Some(Duration::from_secs(1)));
        let mut calls = 0;
        let result: Result<((), _), _> = Retry::seeded(&policy, times, 1)
            .run(|_| {
                calls += 1;
                async move {
                    tokio::time::sleep(each).await;
                    Err(AttemptError::new(Event::Unprocessed, "GOAWAY"))
                }
            })
            .await;
        let Failure { last, ledger, .. } = result.unwrap_err();
        assert_eq!(ledger.attempts.len(), policy.attempts() as usize);
        assert!(last.message.starts_with("GOAWAY (") && !ledger.may_have_run, "{last:?}");
        (times.started.elapsed(), calls)
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_never_seen_begins_anew_no_longer_than_an_attempt_may_take() {
        let policy = |attempts| policy(attempts).initial_backoff(Duration::ZERO);
        let millis = |range: std::ops::Range<u64>, time: Duration| {
            assert!(range.contains(&(time.as_millis() as u64)), "{time:?} is not in {range:?}");
        };
        // 16 times at once, then a pause of 25 ms on average.
        let (took, calls) = never_seen(policy(1), 60_000, 1).await;
        millis(900..1_001, took);
        assert!((40..70).contains(&calls), "{calls}");
        // Each attempt has its time, and all of them have theirs.
        millis(2_800..3_001, never_seen(policy(3), 60_000, 1).await.0);
        millis(400..501, never_seen(policy(1), 500, 1).await.0);
        // A caller that looked away is no slow gateway; nor is that a reason to go on without end.
        assert_eq!(never_seen(policy(1), 60_000, 2_000).await.1, 1 + MOST_LATE as usize);
        assert_eq!(never_seen(policy(1), 3_000, 2_000).await.1, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn what_begins_anew_keeps_its_number_its_time_and_its_body() {
        let started = Instant::now();
        let (policy, mut calls) = (policy(1), 0);
        let times = Times::from_now(None, Some(Duration::from_secs(9)));
        let result = Retry::seeded(&policy, times, 1).run(|turn| {
            calls += 1;
            assert!(turn.is_last && turn.began == started);
            assert_eq!(turn.deadline, Some(started + Duration::from_secs(9)));
            assert_eq!(turn.after, None);
            let body = turn.unsent;
            assert_eq!(body.is_some(), calls > 1);
            let is_sent = calls == 3;
            async move {
                tokio::time::sleep(Duration::from_secs(1)).await;
                let body = body.unwrap_or(Bytes::from_static(b"body"));
                match is_sent {
                    true => Ok(body),
                    false => Err(AttemptError::new(Event::Unprocessed, "").with_unsent(body)),
                }
            }
        });
        assert_eq!(result.await.unwrap().0, "body");
    }

    #[tokio::test(start_paused = true)]
    async fn each_failure_is_entered_with_its_time() {
        let policy = RetryPolicy::new()
            .max_attempts(3)
            .initial_backoff(Duration::from_secs(2))
            .max_backoff(Duration::from_secs(2));
        let mut number = 0;
        let times = Times::from_now(None, None);
        let result = Retry::seeded(&policy, times, 1).run(|_| {
            number += 1;
            let result = match number {
                3 => Ok(number),
                _ => Err(AttemptError::new(Event::ConnectionLost, "reset")),
            };
            async {
                tokio::time::sleep(Duration::from_secs(1)).await;
                result
            }
        });
        let (value, ledger) = result.await.unwrap();
        assert_eq!((value, ledger.next()), (3, 3));
        assert_eq!(ledger.attempts.len(), 2);
        assert_eq!(ledger.attempts[0].took, Duration::from_secs(1));
        assert!(ledger.attempts[1].started >= Duration::from_secs(1));
        assert!(ledger.attempts[1].started <= Duration::from_secs(3));
        assert!(ledger.may_have_run);
    }
}
