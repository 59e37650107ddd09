//! The numbers of a client, counted whether or not OpenTelemetry takes them.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use crate::error::ErrorKind;
use crate::message::Connections;

/// The upper bounds of the buckets of durations, in microseconds: those that OpenTelemetry advises for
/// requests over HTTP, with two more below and two above. A last bucket has what takes longer.
const BOUNDS: [u64; 18] = [
    1_000, 2_500, 5_000, 10_000, 25_000, 50_000, 75_000, 100_000, 250_000, 500_000, 750_000,
    1_000_000, 2_500_000, 5_000_000, 7_500_000, 10_000_000, 30_000_000, 60_000_000,
];

/// The bounds in seconds.
#[cfg(feature = "otel")]
pub(super) fn bounds() -> Vec<f64> {
    BOUNDS.iter().map(|bound| Duration::from_micros(*bound).as_secs_f64()).collect()
}

/// How many durations there were, and how long they were.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Durations {
    /// How many there were.
    pub count: u64,
    /// Their sum.
    pub sum: Duration,
    /// How many were at most as long as this bound and longer than the bound before. Those beyond the
    /// last bound, a minute, are only in `count`.
    pub buckets: Vec<(Duration, u64)>,
}

impl Durations {
    /// The average; zero if there were none.
    pub fn mean(&self) -> Duration {
        let nanos = self.sum.as_nanos().checked_div(u128::from(self.count)).unwrap_or(0);
        Duration::from_nanos(u64::try_from(nanos).unwrap_or(u64::MAX))
    }

    /// The duration that this share of all, from 0 to 1, does not exceed: 0.5 for the median, 0.99 for the
    /// slowest in a hundred. It is the upper bound of a bucket, so it may be too long, by up to the width
    /// of the bucket; `None` if there were none, or if it is beyond the last bound.
    ///
    /// ```no_run
    /// # fn example(client: &clientlet::Client) {
    /// println!("99 % within {:?}", client.statistics().requests.quantile(0.99));
    /// # }
    /// ```
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let share = share.clamp(0.0, 1.0);
        let wanted = ((self.count as f64 * share).ceil() as u64).max(1);
        let mut so_far = 0;
        let bound = self.buckets.iter().find(|(_, count)| {
            so_far += count;
            so_far >= wanted
        });
        bound.map(|(bound, _)| *bound)
    }
}

/// The numbers of a client and its clones since it was made. Each is counted by itself while requests
/// go on, so that two of them may differ by what happened in between. A stream of documents is one
/// request.
#[non_exhaustive]
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Statistics {
    /// The requests that have begun and not ended yet.
    pub requests_in_flight: u64,
    /// The requests that have ended, from their beginning to their end, all attempts and waits
    /// included.
    pub requests: Durations,
    /// The requests that ended with an error, by its kind.
    pub requests_failed: Vec<(ErrorKind, u64)>,
    /// The attempts of requests that have ended. An attempt that begins anew, because it cannot have
    /// been sent, counts once.
    pub attempts: Durations,
    /// The attempts that failed, by the kind of their error.
    pub attempts_failed: Vec<(ErrorKind, u64)>,
    /// The attempts that followed on another, after a wait.
    pub retries: u64,
    /// What became of the connections.
    pub connections: Connections,
    /// The bytes that were written to connections, before TLS.
    pub bytes_sent: u64,
    /// The bytes that were read from connections, after TLS.
    pub bytes_received: u64,
    /// The time for which calls read no documents, because all of their places
    /// ([`prefetch`](crate::Post::prefetch), [`prefetch_bytes`](crate::Post::prefetch_bytes)) were
    /// taken.
    pub waits_for_place: Durations,
}

/// All kinds of errors, each at its number.
const KINDS: [ErrorKind; 15] = [
    ErrorKind::Config,
    ErrorKind::Encode,
    ErrorKind::Input,
    ErrorKind::Connect,
    ErrorKind::Tls,
    ErrorKind::Transport,
    ErrorKind::Closed,
    ErrorKind::Timeout,
    ErrorKind::RateLimited,
    ErrorKind::NotFound,
    ErrorKind::Gateway,
    ErrorKind::Executor,
    ErrorKind::Decode,
    ErrorKind::TooLarge,
    ErrorKind::Cancelled,
];

#[derive(Debug, Default)]
struct Kinds([AtomicU64; KINDS.len()]);

impl Kinds {
    fn add(&self, kind: ErrorKind) {
        if let Some(count) = self.0.get(kind as usize) {
            add(count, 1);
        }
    }

    fn read(&self) -> Vec<(ErrorKind, u64)> {
        let all = KINDS.iter().zip(&self.0).map(|(kind, count)| (*kind, read(count)));
        all.filter(|(_, count)| *count > 0).collect()
    }
}

/// Durations as they are counted: how many are in each bucket, and their sum in nanoseconds.
#[derive(Debug, Default)]
struct Histogram {
    buckets: [AtomicU64; BOUNDS.len() + 1],
    sum: AtomicU64,
}

impl Histogram {
    fn add(&self, time: Duration) {
        let nanos = u64::try_from(time.as_nanos()).unwrap_or(u64::MAX);
        // Most requests are in one of the first buckets, so they are searched one after the other.
        let bucket = BOUNDS.iter().position(|bound| nanos <= bound * 1_000);
        add(&self.buckets[bucket.unwrap_or(BOUNDS.len())], 1);
        add(&self.sum, nanos);
    }

    /// Adds what was counted to `durations`.
    fn add_to(&self, durations: &mut Durations) {
        if durations.buckets.is_empty() {
            let bounds = BOUNDS.iter().map(|bound| (Duration::from_micros(*bound), 0));
            durations.buckets = bounds.collect();
        }
        for (own, (_, sum)) in self.buckets.iter().zip(&mut durations.buckets) {
            *sum += read(own);
        }
        durations.count += self.buckets.iter().map(read).sum::<u64>();
        durations.sum += Duration::from_nanos(read(&self.sum));
    }
}

/// The counters. Each is written alone, without regard to the others.
#[derive(Debug, Default)]
pub(super) struct Counts {
    begun: AtomicU64,
    dropped: AtomicU64,
    /// The requests that their first attempt answered, which are nearly all: one entry is their
    /// request and their attempt.
    at_once: Histogram,
    /// All other requests that have ended.
    requests: Histogram,
    requests_failed: Kinds,
    /// All other attempts that have ended.
    attempts: Histogram,
    attempts_failed: Kinds,
    retries: AtomicU64,
    sent: AtomicU64,
    received: AtomicU64,
    waits: Histogram,
}

impl Counts {
    pub(super) fn begun(&self, requests: u64) {
        add(&self.begun, requests);
    }

    pub(super) fn dropped(&self, requests: u64) {
        add(&self.dropped, requests);
    }

    pub(super) fn answered_at_once(&self, elapsed: Duration) {
        self.at_once.add(elapsed);
    }

    pub(super) fn ended(&self, failed: Option<ErrorKind>, elapsed: Duration) {
        self.requests.add(elapsed);
        failed.inspect(|kind| self.requests_failed.add(*kind));
    }

    pub(super) fn attempted(&self, failed: Option<ErrorKind>, took: Duration) {
        self.attempts.add(took);
        failed.inspect(|kind| self.attempts_failed.add(*kind));
    }

    pub(super) fn retried(&self) {
        add(&self.retries, 1);
    }

    pub(super) fn transmitted(&self, bytes: usize) {
        add(&self.sent, bytes as u64);
    }

    pub(super) fn received(&self, bytes: usize) {
        add(&self.received, bytes as u64);
    }

    pub(super) fn waited(&self, time: Duration) {
        self.waits.add(time);
    }

    pub(super) fn statistics(&self, connections: Connections) -> Statistics {
        let sum = |parts: &[&Histogram]| {
            let mut durations = Durations::default();
            parts.iter().for_each(|part| part.add_to(&mut durations));
            durations
        };
        let requests = sum(&[&self.at_once, &self.requests]);
        // Read after the ends, so that no request has ended that was not begun.
        let begun = read(&self.begun);
        Statistics {
            requests_in_flight: begun.saturating_sub(requests.count + read(&self.dropped)),
            requests,
            requests_failed: self.requests_failed.read(),
            attempts: sum(&[&self.at_once, &self.attempts]),
            attempts_failed: self.attempts_failed.read(),
            retries: read(&self.retries),
            connections,
            bytes_sent: read(&self.sent),
            bytes_received: read(&self.received),
            waits_for_place: sum(&[&self.waits]),
        }
    }
}

fn add(count: &AtomicU64, more: u64) {
    count.fetch_add(more, Ordering::Relaxed);
}

fn read(count: &AtomicU64) -> u64 {
    count.load(Ordering::Relaxed)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_kind_of_error_is_counted_at_its_number() {
        let kinds = Kinds::default();
        KINDS.iter().for_each(|kind| kinds.add(*kind));
        assert_eq!(kinds.read(), KINDS.map(|kind| (kind, 1)));
    }

    #[test]
    fn a_duration_is_in_the_first_bucket_that_holds_it() {
        let histogram = Histogram::default();
        for micros in [0, 1_000, 1_001, 60_000_000, 60_000_001] {
            histogram.add(Duration::from_micros(micros));
        }
        let mut durations = Durations::default();
        histogram.add_to(&mut durations);
        assert_eq!(durations.count, 5);
        assert_eq!(durations.sum, Duration::from_micros(120_002_002));
        let full = durations.buckets.iter().filter(|(_, count)| *count > 0).copied();
        let seconds = Duration::from_secs;
        let expected = [(seconds(1) / 1000, 2), (seconds(1) / 400, 1), (seconds(60), 1)];
        assert_eq!(full.collect::<Vec<_>>(), expected);
    }

    #[test]
    fn a_quantile_is_the_bound_of_the_bucket_that_reaches_it() {
        let histogram = Histogram::default();
        let quantile = |share| {
            let mut durations = Durations::default();
            histogram.add_to(&mut durations);
            durations.quantile(share)
        };
        assert_eq!(quantile(0.5), None);
        for _ in 0..99 {
            histogram.add(Duration::from_millis(4));
        }
        histogram.add(Duration::from_secs(2));
        for (share, millis) in [(0.0, 5), (0.5, 5), (0.99, 5), (0.995, 2_500), (1.0, 2_500)] {
            assert_eq!(quantile(share), Some(Duration::from_millis(millis)), "{share}");
        }
        histogram.add(Duration::from_secs(100));
        assert_eq!(quantile(1.0), None);
    }

    #[test]
    fn a_request_that_is_answered_at_once_is_one_request_and_one_attempt() {
        let counts = Counts::default();
        counts.begun(4);
        counts.answered_at_once(Duration::from_millis(3));
        counts.attempted(Some(ErrorKind::Timeout), Duration::from_millis(10));
        counts.attempted(None, Duration::from_millis(10));
        counts.ended(None, Duration::from_millis(30));
        counts.dropped(1);
        let Statistics { requests, attempts, requests_in_flight, attempts_failed, .. } =
            counts.statistics(Connections::default());
        assert_eq!((requests.count, attempts.count, requests_in_flight), (2, 3, 1));
        assert_eq!(attempts_failed, [(ErrorKind::Timeout, 1)]);
        assert_eq!(requests.sum, Duration::from_millis(33));
    }
}
