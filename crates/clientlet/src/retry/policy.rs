//! The number of attempts and the waits between them.

use std::time::Duration;

use crate::error::Error;

/// The number of attempts and the waits between them.
///
/// The wait before attempt `n + 1` is random, uniform over `[0, min(initial_backoff *
/// backoff_multiplier^(n - 1), max_backoff)]`, as in Python's `jina.clients.base.helper`. By
/// default there is one attempt; if more are allowed, the waits are as in
/// [`RetryPolicy::standard`]: 0.1 s, doubling up to 5 s.
///
/// If a gateway says when to come back (`Retry-After`, `grpc-retry-pushback-ms`), its wait replaces
/// this wait, up to 60 s. A random share of up to half of it, at most 5 s, is added, so that
/// clients that were told the same wait do not return at the same instant.
///
/// The formula shows how long an outage a number of attempts bridges. With the default waits, 99 of
/// 100 requests outlast an outage of 0.1 s with 4 attempts, 0.9 s with 7, 3 s with 9, 4.5 s with
/// 10, 8 s with 12 and 23 s with 20. `docs/guarantees.md` has the table.
///
/// More than one attempt means *at least once*: a request whose answer was lost is sent again
/// although it may have run. [`at_most_once`](RetryPolicy::at_most_once) forbids this.
#[derive(Clone, Debug, PartialEq)]
pub struct RetryPolicy {
    max_attempts: u32,
    initial_backoff: Duration,
    max_backoff: Duration,
    backoff_multiplier: f64,
    at_most_once: bool,
}

impl Default for RetryPolicy {
    fn default() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 1,
            initial_backoff: Duration::from_millis(100),
            max_backoff: Duration::from_secs(5),
            backoff_multiplier: 2.0,
            at_most_once: false,
        }
    }
}

impl RetryPolicy {
    /// Returns a policy of one attempt. If more attempts are allowed later, the waits are those of
    /// [`RetryPolicy::standard`].
    pub fn new() -> RetryPolicy {
        RetryPolicy::default()
    }

    /// Returns the policy for services: 4 attempts, with waits from 0.1 s doubling up to 5 s. The
    /// waits bridge a lost connection or a moment of overload. To bridge a restart of some seconds,
    /// use [10 attempts](RetryPolicy).
    pub fn standard() -> RetryPolicy {
        RetryPolicy::default().max_attempts(4)
    }

    /// Returns the policy of Python's `jina.clients.base.helper`, which is the default of the
    /// clientlets: 1 attempt, an initial wait of 0.5 s, a multiplier of 1.5 and waits of at most
    /// 0.1 s. So every wait is at most 0.1 s.
    pub fn python() -> RetryPolicy {
        RetryPolicy {
            max_attempts: 1,
            initial_backoff: Duration::from_millis(500),
            max_backoff: Duration::from_millis(100),
            backoff_multiplier: 1.5,
            at_most_once: false,
        }
    }

    /// Sets the maximum number of attempts, including the first; at least 1. A request that the
    /// gateway did not see because its connection was already gone is sent again without being
    /// counted.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> RetryPolicy {
        self.max_attempts = attempts;
        self
    }

    /// Sets the longest wait before the second attempt.
    #[must_use]
    pub fn initial_backoff(mut self, wait: Duration) -> RetryPolicy {
        self.initial_backoff = wait;
        self
    }

    /// Sets the longest wait before any attempt. If it is below `initial_backoff`, it takes
    /// precedence.
    #[must_use]
    pub fn max_backoff(mut self, wait: Duration) -> RetryPolicy {
        self.max_backoff = wait;
        self
    }

    /// Sets the factor by which the longest wait grows from attempt to attempt; finite and not
    /// negative.
    #[must_use]
    pub fn backoff_multiplier(mut self, multiplier: f64) -> RetryPolicy {
        self.backoff_multiplier = multiplier;
        self
    }

    /// Sets whether a request is sent again only if it cannot have run; `false` by default.
    #[must_use]
    pub fn at_most_once(mut self, at_most_once: bool) -> RetryPolicy {
        self.at_most_once = at_most_once;
        self
    }

    pub(crate) fn is_at_most_once(&self) -> bool {
        self.at_most_once
    }

    pub(crate) fn attempts(&self) -> u32 {
        self.max_attempts
    }

    /// Whether a request is sent again after an attempt that was sent and timed out.
    pub(crate) fn repeats_late(&self) -> bool {
        self.max_attempts > 1 && !self.at_most_once
    }

    pub(crate) fn check(&self) -> Result<(), Error> {
        if self.max_attempts == 0 {
            return Err(Error::config(
                "max_attempts is 0; it includes the first attempt, so it must be at least 1",
            ));
        }
        if !self.backoff_multiplier.is_finite() || self.backoff_multiplier < 0.0 {
            let given = self.backoff_multiplier;
            return Err(Error::config(format!(
                "backoff_multiplier is {given}; it must be a number that is not negative"
            )));
        }
        Ok(())
    }

    /// Whether the cap is below the first wait, so that no wait ever grows.
    pub(crate) fn is_capped_from_the_start(&self) -> bool {
        self.max_attempts > 1 && self.max_backoff < self.initial_backoff
    }

    /// Returns the wait after attempt `attempt` (1 for the first), for a random `unit` in `[0, 1)`.
    pub(super) fn wait(&self, attempt: u32, unit: f64) -> Duration {
        let growth = self.backoff_multiplier.powf(f64::from(attempt.saturating_sub(1)));
        let longest = self.initial_backoff.as_secs_f64() * growth;
        // 0 times infinity is not a number, but an initial wait of 0 must stay 0.
        let longest = if longest.is_nan() { 0.0 } else { longest };
        let wait = longest.min(self.max_backoff.as_secs_f64()) * unit;
        // The result is at most max_backoff, which is a Duration. Rounding may exceed the last
        // value of a Duration.
        Duration::try_from_secs_f64(wait).unwrap_or(self.max_backoff)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(initial: f64, max: f64, multiplier: f64) -> RetryPolicy {
        RetryPolicy::new()
            .initial_backoff(Duration::from_secs_f64(initial))
            .max_backoff(Duration::from_secs_f64(max))
            .backoff_multiplier(multiplier)
    }

    #[test]
    fn the_longest_wait_follows_the_formula() {
        let policy = seconds(0.1, 5.0, 2.0);
        let longest = |attempt| policy.wait(attempt, 1.0).as_secs_f64();
        for (attempt, expected) in
            [(1, 0.1), (2, 0.2), (3, 0.4), (6, 3.2), (7, 5.0), (u32::MAX, 5.0)]
        {
            assert!((longest(attempt) - expected).abs() < 1e-9, "{attempt}: {}", longest(attempt));
        }
        assert_eq!(policy.wait(3, 0.0), Duration::ZERO);
        assert_eq!(policy.wait(3, 0.5), Duration::from_millis(200));
    }

    #[test]
    fn with_pythons_defaults_every_wait_is_at_most_a_tenth_of_a_second() {
        for attempt in 1..20 {
            assert_eq!(RetryPolicy::python().wait(attempt, 1.0), Duration::from_millis(100));
        }
    }

    #[test]
    fn the_default_waits_are_the_standard_ones() {
        assert_eq!(RetryPolicy::new().max_attempts(4), RetryPolicy::standard());
        assert_eq!(RetryPolicy::new().attempts(), 1);
        assert!(!RetryPolicy::standard().is_capped_from_the_start());
    }

    /// Returns the total of the waits between this many attempts that 99 of 100 requests reach: the
    /// sum of uniform distributions, in steps of 1 ms.
    fn outlasted(policy: &RetryPolicy, attempts: u32) -> Duration {
        let mut shares = vec![1.0_f64];
        for attempt in 1..attempts {
            let longest = policy.wait(attempt, 1.0).as_millis() as usize;
            let mut sums = vec![0.0; shares.len() + longest];
            let mut sum = 0.0;
            for (end, into) in sums.iter_mut().enumerate() {
                sum += shares.get(end).unwrap_or(&0.0);
                *into = sum / (longest + 1) as f64;
                if let Some(gone) = end.checked_sub(longest) {
                    sum -= shares.get(gone).unwrap_or(&0.0);
                }
            }
            shares = sums;
        }
        let mut below = 0.0;
        let millis = shares.iter().take_while(|share| {
            below += **share;
            below < 0.01
        });
        Duration::from_millis(millis.count() as u64)
    }

    #[test]
    fn the_page_of_guarantees_lists_the_outages_that_are_bridged() {
        let policy = RetryPolicy::standard();
        let mut table = String::from(
            "| attempts | all waits together, at most | on average | 99 of 100 requests outlast |\n\
             | --- | --- | --- | --- |\n",
        );
        for attempts in [2, 3, 4, 5, 6, 7, 8, 9, 10, 12, 15, 20, 30] {
            let most: Duration = (1..attempts).map(|attempt| policy.wait(attempt, 1.0)).sum();
            let most = most.as_secs_f64();
            let outlasted = outlasted(&policy, attempts).as_secs_f64();
            let mean = most / 2.0;
            table += &format!("| {attempts} | {most:.1} s | {mean:.2} s | {outlasted:.2} s |\n");
        }
        crate::page::check("guarantees.md", "waits", &table);
    }

    #[test]
    fn extreme_settings_do_not_break_the_formula() {
        assert_eq!(seconds(0.0, 1.0, 1e300).wait(9, 0.9), Duration::ZERO);
        assert_eq!(seconds(1.0, 1.0, 0.0).wait(2, 0.9), Duration::ZERO);
        let longest = RetryPolicy::new().initial_backoff(Duration::MAX).max_backoff(Duration::MAX);
        assert!(longest.wait(5, 1.0) <= Duration::MAX);
    }

    #[test]
    fn impossible_settings_are_named() {
        let message = |policy: RetryPolicy| policy.check().unwrap_err().to_string();
        assert!(message(RetryPolicy::new().max_attempts(0)).contains("max_attempts is 0"));
        for multiplier in [f64::NAN, f64::INFINITY, -1.0] {
            let policy = RetryPolicy::new().backoff_multiplier(multiplier);
            assert!(message(policy).contains("backoff_multiplier is"));
        }
        assert!(RetryPolicy::standard().check().is_ok());
    }
}
