//! The stop of a call.

use std::sync::atomic::{AtomicBool, Ordering};

use crate::error::{AttemptError, Event};

/// Whether a call was stopped. Whatever is asked then, once, must say what became of it.
#[derive(Debug, Default)]
pub(crate) struct Stop(AtomicBool);

static NEVER: Stop = Stop(AtomicBool::new(false));

impl Stop {
    /// Of what goes on until it ends by itself.
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

/// What the stop of its call means for a request.
pub(crate) fn stopped(is_sent: bool) -> AttemptError {
    match is_sent {
        true => AttemptError::new(Event::StoppedSent, "the call was stopped before an answer came"),
        false => AttemptError::new(Event::Stopped, "the call was stopped before it was sent"),
    }
}
