//! The flag that stops a call.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{AttemptError, Event};

/// Whether a call was stopped. Once it is set, every future of the call must report the end of its
/// request when it is polled.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

static NEVER: Stop = Stop(AtomicBool::new(false));

impl Stop {
    /// Returns a flag that is never set, for work that always runs to its end.
    pub(crate) fn never() -> &'static Stop {
        &NEVER
    }

    pub(crate) fn set(&self) {
        self.0.store(true, Ordering::Relaxed);
    }

    pub(crate) fn is_set(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }
}

/// Returns the error of a request whose call was stopped.
pub(crate) fn stopped(is_sent: bool) -> AttemptError {
    match is_sent {
        true => AttemptError::new(Event::StoppedSent, "the call was stopped before an answer came"),
        false => AttemptError::new(Event::Stopped, "the call was stopped before it was sent"),
    }
}
