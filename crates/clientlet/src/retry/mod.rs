//! Decides whether, when and how often a request is sent again.

mod policy;
#[cfg(test)]
mod properties;
#[cfg(test)]
mod tests;

use std::future::{Future, poll_fn};
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;
use tracing::field::display;

pub use policy::RetryPolicy;

use crate::address::Address;
use crate::error::{Attempt, AttemptError, Context, Error, Event};
use crate::log;
use crate::runtime;
use crate::secret::Secrets;
use crate::stop::{Stop, stopped};
use crate::telemetry::{AttemptTrace, CallTrace, Subject};

/// The longest wait that a gateway may ask for. A longer wait is not kept, and the failure is
/// final.
const LONGEST_RETRY_AFTER: Duration = Duration::from_secs(60);
/// The share of the gateway's wait up to which a random wait is added to it, at most
/// [`LONGEST_LAG`]. Otherwise all clients that were told the same wait would return at the same
/// instant.
const LAG: f64 = 0.5;
const LONGEST_LAG: Duration = Duration::from_secs(5);

/// The number of times in a row that an attempt may begin anew. After that, its failure counts like
/// any other. A proxy may take only a few of a call's requests on each connection, while all of
/// them go to the next connection.
///
/// The fuzzer's servers usually close before they are asked, so this many connections for each
/// input would limit the fuzzer to a few inputs a second.
const MOST_ANEW: u32 = if cfg!(fuzzing) { MOST_AT_ONCE + 2 } else { 256 };
/// The number of times that an attempt begins anew immediately. After that it waits for a random
/// time up to [`LONGEST_PAUSE`], because requests that are refused again and again would overload
/// the gateway.
const MOST_AT_ONCE: u32 = 16;
const LONGEST_PAUSE: Duration = Duration::from_millis(50);
/// The number of times in a row that an attempt begins anew although its time is over. If the
/// caller did not poll when the time ended, the connection may have been closed meanwhile, and a
/// slow caller does not make the gateway late.
const MOST_LATE: u32 = 4;

/// The decision about a failed attempt.
#[derive(Debug, PartialEq)]
enum Verdict {
    /// Tries again after this wait.
    Again(Duration),
    /// Gives up with this failure.
    Final,
}

/// Decides about attempt number `attempt`, which failed with `error`.
///
/// `unit` is random in `[0, 1)`. `left` is the time until the deadline.
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

/// Returns the random wait that is added to the gateway's wait. It takes at most half of the time
/// that is left after the gateway's wait.
fn lag(asked: Duration, left: Option<Duration>, unit: f64) -> Duration {
    let longest = asked.mul_f64(LAG).min(LONGEST_LAG);
    let room = left.map_or(Duration::MAX, |left| left.saturating_sub(asked) / 2);
    longest.min(room).mul_f64(unit)
}

/// The failed attempts of a request.
#[derive(Clone, Debug, Default)]
pub(crate) struct Ledger {
    attempts: Vec<Attempt>,
    may_have_run: bool,
}

impl Ledger {
    /// Returns the number of the attempt that follows the entries, counted from 1.
    pub(crate) fn next(&self) -> u32 {
        u32::try_from(self.attempts.len()).unwrap_or(u32::MAX).saturating_add(1)
    }

    /// Enters an attempt. `began` is the time from the start of its request, `took` its duration.
    fn enter(&mut self, error: &AttemptError, to: &Address, began: Duration, took: Duration) {
        self.attempts.push(error.record(self.next(), to.to_string(), began, took));
        self.may_have_run |= error.may_have_run;
    }
}

/// The failure of a request: its last failure and all attempts.
#[derive(Clone, Debug)]
pub(crate) struct Failure {
    pub(crate) last: AttemptError,
    ledger: Ledger,
    elapsed: Duration,
}

impl Failure {
    /// Makes the failure of a request that was never attempted.
    pub(crate) fn unattempted(last: AttemptError) -> Failure {
        Failure { last, ledger: Ledger::default(), elapsed: Duration::ZERO }
    }

    /// Makes the failure of an attempt that began at `began` and failed after it had begun to
    /// succeed.
    pub(crate) fn late(
        last: AttemptError,
        mut ledger: Ledger,
        address: &Address,
        started: Instant,
        began: Instant,
    ) -> Failure {
        ledger.enter(&last, address, began - started, began.elapsed());
        Failure { last, ledger, elapsed: started.elapsed() }
    }

    /// Whether an executor may have worked on the request.
    pub(crate) fn may_have_run(&self) -> bool {
        self.ledger.may_have_run
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
    /// The time by which all attempts must have ended.
    pub(crate) deadline: Option<Instant>,
    /// The time limit of each attempt.
    pub(crate) attempt: Option<Duration>,
}

impl Times {
    /// Returns the limits of a request that starts now: `all` for all attempts together, `attempt`
    /// for each.
    pub(crate) fn from_now(all: Option<Duration>, attempt: Option<Duration>) -> Times {
        let started = Instant::now();
        Times { started, deadline: later(started, all), attempt }
    }

    /// Returns the time by which an attempt that began at `began` must have ended.
    pub(crate) fn attempt_deadline(&self, began: Instant) -> Option<Instant> {
        [later(began, self.attempt), self.deadline].into_iter().flatten().min()
    }
}

/// Returns `start` plus `after`; `None` without a time-out, or if the sum cannot be represented.
pub(crate) fn later(start: Instant, after: Option<Duration>) -> Option<Instant> {
    start.checked_add(after?)
}

/// One attempt of a request.
#[derive(Debug)]
pub(crate) struct Turn {
    /// The time at which the attempt began.
    pub(crate) began: Instant,
    /// The time by which the attempt must have ended.
    pub(crate) deadline: Option<Instant>,
    /// Whether the policy allows no attempt after this one.
    pub(crate) is_last: bool,
    /// The event that ended the previous attempt.
    pub(crate) after: Option<Event>,
    /// The request's body, if the transport had taken it and returned it.
    pub(crate) unsent: Option<Bytes>,
    pub(crate) trace: AttemptTrace,
}

/// The attempts of one request: their maximum number, their time, and the flag that stops them.
#[derive(Debug)]
pub(crate) struct Retry<'a> {
    policy: &'a RetryPolicy,
    times: Times,
    address: &'a Address,
    random: fastrand::Rng,
    stop: &'a Stop,
    /// What must not be shown.
    secrets: Option<&'a Secrets>,
    traces: Option<Traces<'a>>,
}

/// Where the attempts of a request are traced.
#[derive(Clone, Copy, Debug)]
struct Traces<'a> {
    call: &'a CallTrace,
    of: &'a Subject<'a>,
}

impl<'a> Retry<'a> {
    pub(crate) fn new(policy: &'a RetryPolicy, times: Times, address: &'a Address) -> Retry<'a> {
        Retry::seeded(policy, times, address, fastrand::u64(..))
    }

    /// Takes the jitter of the waits from this seed.
    pub(crate) fn seeded(
        policy: &'a RetryPolicy,
        times: Times,
        address: &'a Address,
        seed: u64,
    ) -> Retry<'a> {
        let random = fastrand::Rng::with_seed(seed);
        let (stop, secrets, traces) = (Stop::never(), None, None);
        Retry { policy, times, address, random, stop, secrets, traces }
    }

    /// Ends the attempts once `stop` is set and [`run`](Retry::run) is polled again.
    pub(crate) fn until(self, stop: &'a Stop) -> Retry<'a> {
        Retry { stop, ..self }
    }

    /// Takes these secrets out of each failure, before anything is made of it.
    pub(crate) fn hiding(self, secrets: &'a Secrets) -> Retry<'a> {
        Retry { secrets: Some(secrets), ..self }
    }

    /// Traces and counts the attempts.
    pub(crate) fn traced(self, call: &'a CallTrace, of: &'a Subject<'a>) -> Retry<'a> {
        Retry { traces: Some(Traces { call, of }), ..self }
    }

    /// Runs `attempt` until it succeeds or its failure is final. Returns its value and the failures
    /// before it.
    ///
    /// An attempt may fail because of its connection before the gateway's application saw it. Such
    /// an attempt begins [anew](AttemptError::is_anew): immediately, with the same number and the
    /// same time, and without an entry in the ledger. Once its time is over, such a failure counts
    /// like any other. Outside a tokio runtime no attempt is made.
    pub(crate) async fn run<T, F>(
        self,
        attempt: impl FnMut(Turn) -> F,
    ) -> Result<(T, Ledger), Failure>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let first = self.traces.map_or_else(AttemptTrace::default, |traces| traces.begin(1));
        self.run_from(first, attempt).await
    }

    /// The same, with a first attempt whose trace has begun.
    pub(crate) async fn run_from<T, F>(
        mut self,
        first: AttemptTrace,
        attempt: impl FnMut(Turn) -> F,
    ) -> Result<(T, Ledger), Failure>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let mut ledger = Ledger::default();
        match self.attempts(&mut ledger, first, attempt).await {
            Ok(value) => Ok((value, ledger)),
            Err(last) => Err(Failure { last, ledger, elapsed: self.times.started.elapsed() }),
        }
    }

    async fn attempts<T, F>(
        &mut self,
        ledger: &mut Ledger,
        mut trace: AttemptTrace,
        mut attempt: impl FnMut(Turn) -> F,
    ) -> Result<T, AttemptError>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let Retry { policy, times, address, ref mut random, stop, secrets, traces } = *self;
        // Without a runtime no attempt is possible, and waiting would panic.
        if !stop.is_set() {
            runtime::here()?;
        }
        let Times { started, deadline, .. } = times;
        let mut after = None;
        let mut unsent = None;
        // The first attempt begins together with the request, so nearly all requests read the clock
        // once less.
        let (mut number, mut began, mut anew) = (1, started, 0);
        loop {
            let (is_last, until) = (number >= policy.attempts(), times.attempt_deadline(began));
            let (unsent_body, trace_of) = (unsent.take(), trace.clone());
            let turn = Turn {
                began,
                deadline: until,
                is_last,
                after,
                unsent: unsent_body,
                trace: trace_of,
            };
            // Transports report a stop themselves, and more precisely.
            let attempt = unless_stopped(stop, pin!(attempt(turn))).await;
            let mut error = match attempt.unwrap_or_else(|| Err(stopped(true))) {
                Ok(value) => {
                    traces.inspect(|traces| traces.answered(&trace, number, began));
                    return Ok(value);
                }
                Err(error) => error,
            };
            error.event.tell(address.protocol().name());
            secrets.inspect(|secrets| error.hide(secrets));
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
                    log::attempt_anew(number, &*error.message);
                    trace.anew(&error);
                    if pause > Duration::ZERO {
                        rest(stop, pause).await.ok_or_else(|| stopped(false))?;
                    }
                    continue;
                }
                if anew > 0 {
                    error.message += &format!(" ({} times in a row)", anew + 1);
                }
            }
            ledger.enter(&error, address, began - started, now - began);
            after = Some(error.event);
            let left = deadline.map(|deadline| deadline.saturating_duration_since(now));
            let verdict = judge(policy, number, &error, left, random.f64());
            traces.inspect(|traces| traces.failed(&trace, &error, now - began, &verdict));
            match verdict {
                Verdict::Final => return Err(error),
                Verdict::Again(wait) => {
                    let (kind, delivery) = (display(&error.kind), display(&error.delivery));
                    let wait_seconds = wait.as_secs_f64();
                    log::attempt_again(number, kind, delivery, wait_seconds, &*error.message);
                    rest(stop, wait).await.ok_or_else(|| stopped(false))?;
                    (number, began, anew) = (number + 1, Instant::now(), 0);
                    traces.inspect(|traces| trace = traces.retry(number));
                }
            }
        }
    }
}

impl Traces<'_> {
    fn begin(&self, number: u32) -> AttemptTrace {
        self.call.attempt(self.of, number)
    }

    fn retry(&self, number: u32) -> AttemptTrace {
        self.call.retried(self.of);
        self.begin(number)
    }

    fn answered(&self, trace: &AttemptTrace, number: u32, began: Instant) {
        self.call.answered(trace, self.of, number, || began.elapsed());
    }

    fn failed(
        &self,
        trace: &AttemptTrace,
        error: &AttemptError,
        took: Duration,
        verdict: &Verdict,
    ) {
        if let Verdict::Again(wait) = verdict {
            trace.again(*wait, error);
        }
        self.call.failed(trace, self.of, error, took);
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

/// Waits for `what`; `None` if the call is stopped and `what` is not ready.
async fn unless_stopped<F: Future>(stop: &Stop, mut what: Pin<&mut F>) -> Option<F::Output> {
    poll_fn(|cx| match what.as_mut().poll(cx) {
        Poll::Ready(output) => Poll::Ready(Some(output)),
        Poll::Pending if stop.is_set() => Poll::Ready(None),
        Poll::Pending => Poll::Pending,
    })
    .await
}
