//! Properties of every policy and every series of failures.

use std::time::Duration;

use proptest::collection::vec;
use proptest::prelude::*;
use tokio::time::Instant;

use super::{Failure, Retry, RetryPolicy, Times};
use crate::address::Address;
use crate::error::{AttemptError, EVENTS};

prop_compose! {
    fn policy()(
        attempts in 1..12_u32,
        initial in 0..5_000_u64,
        max in 0..5_000_u64,
        multiplier in 0.0..4.0_f64,
        at_most_once in any::<bool>(),
    ) -> RetryPolicy {
        let policy = RetryPolicy::new()
            .max_attempts(attempts)
            .initial_backoff(Duration::from_millis(initial))
            .max_backoff(Duration::from_millis(max))
            .backoff_multiplier(multiplier);
        if at_most_once { policy.at_most_once(true) } else { policy }
    }
}

/// Runs a future in simulated time, in a runtime of its own.
fn simulated<T>(future: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .unwrap();
    runtime.block_on(future)
}

proptest! {
    #[test]
    fn no_wait_exceeds_the_formula_and_each_is_its_share_of_it(
        initial in 0.0..5.0_f64,
        max in 0.0..5.0_f64,
        multiplier in 0.0..4.0_f64,
        attempt in 1..40_u32,
        unit in 0.0..1.0_f64,
    ) {
        // Whole nanoseconds, because the policy stores whole nanoseconds and a fraction would grow
        // with the wait.
        let [initial, max] = [initial, max].map(Duration::from_secs_f64);
        let policy = RetryPolicy::new()
            .initial_backoff(initial)
            .max_backoff(max)
            .backoff_multiplier(multiplier);
        let grown = (1..attempt).fold(initial.as_secs_f64(), |wait, _| wait * multiplier);
        let longest = grown.min(max.as_secs_f64());
        let wait = policy.wait(attempt, unit).as_secs_f64();
        // A Duration stores whole nanoseconds.
        prop_assert!((wait - longest * unit).abs() <= 1e-8 * (1.0 + longest), "{wait} of {longest}");
        prop_assert!(wait <= longest + 1e-8);
    }

    #[test]
    fn attempts_and_time_keep_their_limits_and_every_failure_is_in_the_ledger(
        policy in policy(),
        events in vec(0..EVENTS.len(), 0..15),
        takes in vec(0..2_000_u64, 15),
        deadline in prop::option::of(1..10_000_u64),
        seed in any::<u64>(),
    ) {
        let deadline_after = deadline.map(Duration::from_millis);
        let (result, ledger, elapsed, calls) = simulated(async {
            let times = Times::from_now(deadline_after, None);
            let Times { started, deadline, .. } = times;
            let address = Address::parse("http://gateway", None).unwrap();
            let mut calls = 0;
            let result = Retry::seeded(&policy, times, &address, seed).run(|_| {
                calls += 1;
                let number = calls;
                let event = events.get(number - 1).map(|index| EVENTS[*index].event);
                let takes = Duration::from_millis(takes[(number - 1) % takes.len()]);
                async move {
                    // Like a transport, this ends an attempt at its deadline.
                    let end = Instant::now() + takes;
                    tokio::time::sleep_until(deadline.map_or(end, |deadline| end.min(deadline))).await;
                    match event {
                        Some(event) => Err(AttemptError::new(event, "scripted")),
                        None => Ok(number),
                    }
                }
            })
            .await;
            let (result, ledger) = match result {
                Ok((number, ledger)) => (Ok(number), ledger),
                Err(Failure { last, ledger, .. }) => (Err(last), ledger),
            };
            (result, ledger, started.elapsed(), calls)
        });
        // There are fewer events than the limit for beginning anew.
        let anew = events.iter().take(calls).filter(|index| EVENTS[**index].is_anew).count();
        let failures = calls - usize::from(result.is_ok());
        let is_late = deadline_after.is_some_and(|deadline| elapsed >= deadline);
        let counted = ledger.attempts.len();
        // No attempt begins anew after the deadline.
        prop_assert!((failures - anew..=failures - anew + usize::from(is_late)).contains(&counted));
        let most = usize::try_from(policy.attempts()).unwrap();
        prop_assert!(counted + usize::from(result.is_ok()) <= most, "{counted} of {most}");
        // tokio's clock moves in milliseconds.
        let slack = Duration::from_millis(1);
        if let Some(deadline) = deadline_after {
            prop_assert!(elapsed <= deadline + slack, "{elapsed:?}");
        }
        for (index, attempt) in ledger.attempts.iter().enumerate() {
            prop_assert_eq!(attempt.number as usize, index + 1);
            prop_assert!(attempt.started + attempt.took <= elapsed + slack);
        }
    }
}

/// The waits are uniform over their range: each of ten equal parts gets about a tenth.
#[test]
fn waits_are_even_over_their_range() {
    let policy = RetryPolicy::new()
        .initial_backoff(Duration::from_secs(1))
        .max_backoff(Duration::from_secs(1))
        .backoff_multiplier(1.0);
    let mut random = fastrand::Rng::with_seed(11);
    let mut parts = [0_u32; 10];
    for _ in 0..10_000 {
        let wait = policy.wait(1, random.f64()).as_secs_f64();
        parts[(wait * 10.0) as usize] += 1;
    }
    // Five standard deviations of a binomial distribution with n = 10,000 and p = 0.1.
    assert!(parts.iter().all(|count| count.abs_diff(1000) < 150), "{parts:?}");
}
