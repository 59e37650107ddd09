//! The ids that the gateway makes, and the times that it writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

use crate::fault::scramble;

/// Makes ids of 32 hexadecimal digits, for requests and documents that have none. The ids depend on
/// the seed and a count alone, so that a simulated run can be repeated.
#[derive(Debug)]
pub(crate) struct Ids {
    seed: u64,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new(seed: u64) -> Self {
        Self { seed, next: AtomicU64::new(1) }
    }

    pub(crate) fn make(&self) -> String {
        let count = self.next.fetch_add(1, Ordering::Relaxed);
        let low = scramble(self.seed ^ scramble(count));
        format!("{:016x}{low:016x}", scramble(low))
    }
}

/// A time as `2026-11-24T05:46:39.607039` and the zone, `+00:00` or `Z`.
pub(crate) fn written_time(time: SystemTime, zone: &str) -> String {
    let mut out = Vec::with_capacity(32);
    // A clock before 1970 counts as 1970.
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    write_time(&mut out, since.as_secs(), since.subsec_micros());
    // Times are digits and signs.
    String::from_utf8_lossy(&out).into_owned() + zone
}

fn write_time(out: &mut Vec<u8>, seconds: u64, micros: u32) {
    let (days, second) = (seconds / 86_400, seconds % 86_400);
    // Days to a date of the Gregorian calendar, in eras of 400 years that begin on March 1st, so
    // that the leap day ends a year (Hinnant, "chrono-Compatible Low-Level Date Algorithms").
    let shifted = days + 719_468;
    let (era, day_of_era) = (shifted / 146_097, shifted % 146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1_460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let month_from_march = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * month_from_march + 2) / 5 + 1;
    let month = if month_from_march < 10 { month_from_march + 3 } else { month_from_march - 9 };
    let year = year_of_era + era * 400 + u64::from(month <= 2);

    for (number, width, end) in [
        (year, 4, b'-'),
        (month, 2, b'-'),
        (day, 2, b'T'),
        (second / 3_600, 2, b':'),
        (second / 60 % 60, 2, b':'),
        (second % 60, 2, b'.'),
    ] {
        write_number(out, number, width);
        out.push(end);
    }
    write_number(out, u64::from(micros), 6);
}

fn write_number(out: &mut Vec<u8>, number: u64, width: u32) {
    for place in (0..width).rev() {
        // A single digit fits.
        out.push(b'0' + (number / 10_u64.pow(place) % 10) as u8);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_written_as_dates() {
        for (seconds, micros, written) in [
            (0, 0, "1970-01-01T00:00:00.000000"),
            (951_782_399, 999_999, "2000-02-28T23:59:59.999999"),
            (951_782_400, 1, "2000-02-29T00:00:00.000001"),
            (1_795_499_199, 607_039, "2026-11-24T05:46:39.607039"),
        ] {
            let mut out = Vec::new();
            write_time(&mut out, seconds, micros);
            assert_eq!(String::from_utf8(out).unwrap(), written);
        }
    }

    #[test]
    fn ids_differ_and_repeat_with_the_seed() {
        let (one, other) = (Ids::new(1), Ids::new(1));
        let ids: std::collections::BTreeSet<String> = (0..1000).map(|_| one.make()).collect();
        assert_eq!(ids.len(), 1000);
        assert!(ids.contains(&other.make()));
        assert!(ids.iter().all(|id| id.len() == 32));
    }
}
