//! Measures the CPU time and the memory of this process and its children.

use std::io;
use std::time::{Duration, Instant};

use nix::sys::resource::{Usage, UsageWho, getrusage};
use nix::sys::time::{TimeVal, TimeValLike};

/// Time by the clock, and CPU time of this process, kernel included.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Cost {
    pub(crate) wall: Duration,
    pub(crate) cpu: Duration,
}

/// Measures the cost between [`start`](Stopwatch::start) and [`stop`](Stopwatch::stop).
#[derive(Debug)]
pub(crate) struct Stopwatch {
    wall: Instant,
    cpu: Duration,
}

impl Stopwatch {
    /// # Errors
    /// As the system reports them.
    pub(crate) fn start() -> io::Result<Stopwatch> {
        let cpu = cpu_time()?;
        Ok(Stopwatch { wall: Instant::now(), cpu })
    }

    /// # Errors
    /// As the system reports them.
    pub(crate) fn stop(self) -> io::Result<Cost> {
        let wall = self.wall.elapsed();
        Ok(Cost { wall, cpu: cpu_time()?.saturating_sub(self.cpu) })
    }
}

/// The CPU time of all threads of this process so far, without its children.
fn cpu_time() -> io::Result<Duration> {
    Ok(sum(getrusage(UsageWho::RUSAGE_SELF)?))
}

/// The CPU time of all children of this process that have ended, including their own children.
pub(crate) fn children_cpu_time() -> io::Result<Duration> {
    Ok(sum(getrusage(UsageWho::RUSAGE_CHILDREN)?))
}

fn sum(usage: Usage) -> Duration {
    duration(usage.user_time()) + duration(usage.system_time())
}

/// The peak of this process's resident memory, in KiB.
pub(crate) fn own_peak_kib() -> io::Result<i64> {
    Ok(peak_kib(getrusage(UsageWho::RUSAGE_SELF)?))
}

/// The highest peak of resident memory among the children of this process that have ended, in KiB.
pub(crate) fn children_peak_kib() -> io::Result<i64> {
    Ok(peak_kib(getrusage(UsageWho::RUSAGE_CHILDREN)?))
}

fn peak_kib(usage: Usage) -> i64 {
    // Linux reports KiB, Apple's systems report bytes.
    if cfg!(target_vendor = "apple") { usage.max_rss() / 1024 } else { usage.max_rss() }
}

fn duration(time: TimeVal) -> Duration {
    Duration::from_micros(u64::try_from(time.num_microseconds()).unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use std::hint::black_box;

    use super::*;

    #[test]
    fn sleeping_costs_time_and_working_costs_cpu_as_well() {
        let nap = Duration::from_millis(50);
        let stopwatch = Stopwatch::start().unwrap();
        std::thread::sleep(nap);
        let asleep = stopwatch.stop().unwrap();
        assert!(asleep.wall >= nap);

        let stopwatch = Stopwatch::start().unwrap();
        let began = cpu_time().unwrap();
        while cpu_time().unwrap() - began < nap {
            black_box((0..1000).fold(0u64, |sum, n| sum.wrapping_add(black_box(n))));
        }
        assert!(stopwatch.stop().unwrap().cpu >= nap);
    }
}
