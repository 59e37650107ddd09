//! The modes in which a call can be made.

use std::fmt;
use std::time::Duration;

use clientlet::RetryPolicy;

/// Enough attempts for faults that strike one request in ten: the chance that all of them are
/// struck is 1 in 10^20 for each request.
const MANY: u32 = 20;

/// A mode of a call.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Mode {
    pub(crate) in_order: bool,
    pub(crate) retries: bool,
    pub(crate) at_most_once: bool,
    /// Stops the call after this number of answers.
    pub(crate) stops_after: Option<usize>,
}

const fn mode(in_order: bool, retries: bool, at_most_once: bool) -> Mode {
    Mode { in_order, retries, at_most_once, stops_after: None }
}

/// The number of answers after which a call is stopped: enough for most faults to strike before.
const STOP: usize = 1_000;

const fn stopped(mode: Mode) -> Mode {
    Mode { stops_after: Some(STOP), ..mode }
}

/// All modes.
pub(crate) const MODES: [Mode; 11] = [
    mode(false, false, false),
    mode(true, false, false),
    mode(false, false, true),
    mode(true, false, true),
    mode(false, true, false),
    mode(true, true, false),
    mode(false, true, true),
    mode(true, true, true),
    stopped(mode(false, false, false)),
    stopped(mode(false, true, true)),
    stopped(mode(true, true, false)),
];

impl Mode {
    /// Returns the policy, whose waits take no time.
    pub(crate) fn policy(self) -> RetryPolicy {
        let policy = RetryPolicy::new()
            .max_attempts(self.max_attempts())
            .initial_backoff(Duration::ZERO)
            .max_backoff(Duration::ZERO);
        if self.at_most_once { policy.at_most_once(true) } else { policy }
    }

    pub(crate) fn max_attempts(self) -> u32 {
        if self.retries { MANY } else { 1 }
    }

    pub(crate) fn order(self) -> &'static str {
        if self.in_order { "in order" } else { "as they come" }
    }

    pub(crate) fn attempts(self) -> &'static str {
        if self.retries { "retries" } else { "one attempt" }
    }

    pub(crate) fn end(self) -> &'static str {
        if self.stops_after.is_some() { ", stopped" } else { "" }
    }

    pub(crate) fn promise(self) -> &'static str {
        if self.at_most_once { "at most once" } else { "at least once" }
    }
}

impl fmt::Display for Mode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}, {}{}", self.attempts(), self.promise(), self.order(), self.end())
    }
}
