//! The sequence of a request's attempts.

use std::sync::LazyLock;

use super::*;
use crate::error::EVENTS;

static ADDRESS: LazyLock<Address> =
    LazyLock::new(|| Address::parse("http://gateway:1", None).unwrap());

fn policy(attempts: u32) -> RetryPolicy {
    RetryPolicy::standard().max_attempts(attempts)
}

#[test]
fn failures_that_the_table_calls_final_are_never_retried() {
    for row in EVENTS {
        let error = AttemptError::new(row.event, "");
        let verdict = judge(&policy(9), 1, &error, None, 0.5);
        assert_eq!(verdict == Verdict::Final, !row.retryable, "{:?}", row.event);
    }
}

#[test]
fn at_most_once_retries_only_requests_that_cannot_have_run() {
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
fn clients_that_are_told_the_same_wait_do_not_return_at_the_same_instant() {
    let wait = |asked, left: Option<u64>, unit| {
        let mut error = AttemptError::new(Event::RateLimited429, "");
        error.retry_after = Some(Duration::from_millis(asked));
        let left = left.map(Duration::from_millis);
        match judge(&policy(3), 1, &error, left, unit) {
            Verdict::Again(wait) => wait.as_millis(),
            Verdict::Final => panic!("the wait fits"),
        }
    };
    // Up to half as much is added, and at most 5 s. The wait is never shorter than the gateway
    // asked for.
    for (asked, latest) in [(0, 0), (2_000, 3_000), (10_000, 15_000), (60_000, 65_000)] {
        assert_eq!([0.0, 1.0].map(|unit| wait(asked, None, unit)), [asked.into(), latest]);
        let middle = (u128::from(asked) + latest) / 2;
        assert_eq!(wait(asked, None, 0.5), middle, "spread evenly");
    }
    // An attempt keeps at least half of the time that is left after the wait.
    assert_eq!(wait(2_000, Some(2_400), 1.0), 2_200);
    assert_eq!(wait(2_000, Some(60_000), 1.0), 3_000);
}

/// Runs attempts that fail with these events, one after the other, and then succeed. Returns the
/// number of attempts, the result and the ledger.
async fn ran(
    policy: RetryPolicy,
    deadline: Option<Duration>,
    events: &[Event],
) -> (usize, Result<(), AttemptError>, Ledger) {
    let times = Times::from_now(deadline, None);
    let mut calls = 0;
    let result = Retry::seeded(&policy, times, &ADDRESS, 1).run(|_| {
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
async fn an_unprocessed_attempt_begins_anew_at_once_without_being_counted() {
    for event in EVENTS.iter().filter(|row| row.is_anew).map(|row| row.event) {
        for policy in [policy(1), policy(1).at_most_once(true)] {
            let started = Instant::now();
            let (calls, result, ledger) = ran(policy, None, &[event; MOST_AT_ONCE as usize]).await;
            assert!(result.is_ok(), "{event:?}");
            assert_eq!((calls, ledger.attempts.len()), (17, 0), "{event:?}");
            assert_eq!(started.elapsed(), Duration::ZERO, "{event:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_is_never_processed_counts_as_a_failure_in_the_end() {
    let most = MOST_ANEW as usize;
    let started = Instant::now();
    let (calls, result, ledger) = ran(policy(1), None, &[Event::ClosedUnsent; 1000]).await;
    assert_eq!((calls, ledger.attempts.len()), (most + 1, 1));
    assert_eq!(result.unwrap_err().message, "gone (257 times in a row)");
    let pauses = started.elapsed().div_duration_f64(LONGEST_PAUSE);
    assert!((60.0..180.0).contains(&pauses), "no storm: {pauses}");
    // Each attempt may begin anew the maximum number of times.
    let (calls, result, ledger) = ran(policy(3), None, &[Event::ClosedUnsent; 1000]).await;
    assert_eq!((calls, ledger.attempts.len()), (3 * (most + 1), 3));
    assert!(!ledger.may_have_run && result.is_err());
}

#[tokio::test(start_paused = true)]
async fn no_attempt_begins_anew_after_the_deadline_or_if_the_gateway_asks_to_wait() {
    let (calls, result, _) = ran(policy(9), Some(Duration::ZERO), &[Event::ClosedUnsent]).await;
    assert_eq!((calls, result.is_err()), (1, true));
    let mut error = AttemptError::new(Event::ClosedUnsent, "");
    assert!(error.is_anew());
    error.retry_after = Some(Duration::ZERO);
    assert!(!error.is_anew());
}

/// Runs attempts of at most 1 s, each of which a gateway ends unprocessed after `each` ms. Returns
/// the time until the request fails, and the number of beginnings.
async fn never_seen(policy: RetryPolicy, all: u64, each: u64) -> (Duration, usize) {
    let [all, each] = [all, each].map(Duration::from_millis);
    let times = Times::from_now(Some(all), Some(Duration::from_secs(1)));
    let mut calls = 0;
    let result: Result<((), _), _> = Retry::seeded(&policy, times, &ADDRESS, 1)
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
async fn an_unprocessed_attempt_begins_anew_only_within_its_time() {
    let policy = |attempts| policy(attempts).initial_backoff(Duration::ZERO);
    let millis = |range: std::ops::Range<u64>, time: Duration| {
        assert!(range.contains(&(time.as_millis() as u64)), "{time:?} is not in {range:?}");
    };
    // 16 times immediately, then with pauses of 25 ms on average.
    let (took, calls) = never_seen(policy(1), 60_000, 1).await;
    millis(900..1_001, took);
    assert!((40..70).contains(&calls), "{calls}");
    // Each attempt has its own time limit, and all of them together have one.
    millis(2_800..3_001, never_seen(policy(3), 60_000, 1).await.0);
    millis(400..501, never_seen(policy(1), 500, 1).await.0);
    // A caller that did not poll does not make the gateway late, but beginning anew must still end.
    assert_eq!(never_seen(policy(1), 60_000, 2_000).await.1, 1 + MOST_LATE as usize);
    assert_eq!(never_seen(policy(1), 3_000, 2_000).await.1, 2);
}

#[tokio::test(start_paused = true)]
async fn an_attempt_that_begins_anew_keeps_its_number_its_time_and_its_body() {
    let started = Instant::now();
    let (policy, mut calls) = (policy(1), 0);
    let times = Times::from_now(None, Some(Duration::from_secs(9)));
    let result = Retry::seeded(&policy, times, &ADDRESS, 1).run(|turn| {
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
async fn the_ledger_has_each_failure_with_its_time() {
    let policy = RetryPolicy::new()
        .max_attempts(3)
        .initial_backoff(Duration::from_secs(2))
        .max_backoff(Duration::from_secs(2));
    let mut number = 0;
    let times = Times::from_now(None, None);
    let result = Retry::seeded(&policy, times, &ADDRESS, 1).run(|_| {
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
    assert_eq!(ledger.attempts[0].gateway, "http://gateway:1");
    assert_eq!(ledger.attempts[0].took, Duration::from_secs(1));
    assert!(ledger.attempts[1].started >= Duration::from_secs(1));
    assert!(ledger.attempts[1].started <= Duration::from_secs(3));
    assert!(ledger.may_have_run);
}
