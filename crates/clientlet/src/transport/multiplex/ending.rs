//! The end of a connection or stream, and what it means for the requests on it.

use crate::error::{Again, AttemptError, Detail, Event};

/// The reason why a connection or stream ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    event: Event,
    what: String,
    again: Again,
    /// The gateway's answer in the terms of its protocol.
    detail: Detail,
    closing: Closing,
    is_said: bool,
    is_fault: bool,
}

/// How a connection or stream was closed, in the terms of its protocol: a WebSocket's close code or
/// a stream's status, with the gateway's reason, or the client's own if the gateway gave none.
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

    /// Adds the gateway's wish about retries.
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

    /// Notes that the gateway itself announced the end.
    pub(crate) fn said(self) -> Ending {
        Ending { is_said: true, ..self }
    }

    /// Notes whether the gateway sent something wrong, as opposed to a lost or closed connection.
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

    /// Returns the error of a request that was sent.
    pub(crate) fn sent(&self) -> AttemptError {
        let error = AttemptError::new(self.event, &*self.what).asking(self.again);
        error.with_detail(self.detail.clone())
    }

    /// Returns the error of a request that was not sent and ended in `event`.
    pub(crate) fn unsent(&self, event: Event) -> AttemptError {
        let error = AttemptError::new(event, format!("{} before the request was sent", self.what));
        match self.again {
            // The gateway asked for a pause in all requests, not only in this one.
            Again::After(_) => error.asking(self.again),
            // The call that ended must not be retried, but this request was never tried.
            Again::Never | Again::Unsaid => error,
        }
    }
}
