//! Why a connection or stream ended, and what that means for the requests on it.

use crate::error::{Again, AttemptError, Detail, Event};

/// Why a connection or stream ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    event: Event,
    what: String,
    again: Again,
    /// What the gateway said.
    detail: Detail,
    closing: Closing,
    is_said: bool,
    is_fault: bool,
}

/// How a connection or stream was closed, as the protocol has it: a WebSocket's close code or a stream's
/// status, with the gateway's words, or ours if it said nothing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    pub(crate) reason: String,
}

impl Ending {
    pub(crate) fn new(event: Event, what: impl Into<String>) -> Ending {
        let what = what.into();
        Ending {
            event,
            again: Again::Unsaid,
            detail: Detail::default(),
            closing: Closing { code: 0, reason: what.clone() },
            is_said: false,
            is_fault: false,
            what,
        }
    }

    /// Adds what the gateway says about trying again.
    pub(crate) fn asking(self, again: Again) -> Ending {
        Ending { again, ..self }
    }

    pub(crate) fn with_detail(self, detail: Detail) -> Ending {
        Ending { detail, ..self }
    }

    pub(crate) fn with_code(mut self, code: u16) -> Ending {
        self.closing.code = code;
        self
    }

    pub(crate) fn with_reason(mut self, reason: impl Into<String>) -> Ending {
        self.closing.reason = reason.into();
        self
    }

    /// The gateway said that it is the end.
    pub(crate) fn said(self) -> Ending {
        Ending { is_said: true, ..self }
    }

    /// Notes whether what came was at fault, and not only the connection lost or closed.
    pub(crate) fn at_fault(self, is_fault: bool) -> Ending {
        Ending { is_fault, ..self }
    }

    pub(crate) fn closing(&self) -> &Closing {
        &self.closing
    }

    pub(crate) fn is_said(&self) -> bool {
        self.is_said
    }

    pub(crate) fn is_fault(&self) -> bool {
        self.is_fault
    }

    /// What it means for a request that was sent.
    pub(crate) fn sent(&self) -> AttemptError {
        let error = AttemptError::new(self.event, &*self.what).asking(self.again);
        error.with_detail(self.detail.clone())
    }

    /// What it means for a request that was not sent: that it ended in `event`.
    pub(crate) fn unsent(&self, event: Event) -> AttemptError {
        let error = AttemptError::new(event, format!("{} before the request was sent", self.what));
        match self.again {
            // The gateway asked for no requests for a while, this one or any other.
            Again::After(_) => error.asking(self.again),
            // What ended must not be tried again, but this request was never tried.
            Again::Never | Again::Unsaid => error,
        }
    }
}
