//! Why a connection or stream ended, and what that means for the requests on it.

use crate::error::{Again, AttemptError, Detail, Event};

/// Why a connection or stream ended.
#[derive(Debug)]
pub(crate) struct Ending {
    event: Event,
    what: String,
    again: Again,
    /// What the gateway said.
    detail: Detail,
}

impl Ending {
    pub(crate) fn new(event: Event, what: impl Into<String>) -> Ending {
        Ending { event, what: what.into(), again: Again::Unsaid, detail: Detail::default() }
    }

    /// Adds what the gateway says about trying again.
    pub(crate) fn asking(self, again: Again) -> Ending {
        Ending { again, ..self }
    }

    pub(crate) fn with_detail(self, detail: Detail) -> Ending {
        Ending { detail, ..self }
    }

    /// What it means for a request that was on it.
    pub(crate) fn error(&self, sent: bool) -> AttemptError {
        if sent {
            let error = AttemptError::new(self.event, &*self.what).asking(self.again);
            return error.with_detail(self.detail.clone());
        }
        let what = format!("{} before the request was sent", self.what);
        let error = AttemptError::new(Event::ClosedUnsent, what);
        match self.again {
            // The gateway asked for no requests for a while, this one or any other.
            Again::After(_) => error.asking(self.again),
            // What ended must not be tried again, but this request was never tried.
            Again::Never | Again::Unsaid => error,
        }
    }
}
