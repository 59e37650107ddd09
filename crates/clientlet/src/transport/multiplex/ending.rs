//! The end of a connection or stream, and what it means for the requests on it.

use crate::error::{Again, AttemptError, Delivery, Detail, Event, SharedSource};
#[cfg(feature = "clientlets")]
use crate::secret::Secrets;

/// The reason why a connection or stream ended.
#[derive(Debug)]
pub(crate) struct Ending {
    pub(crate) event: Event,
    pub(crate) what: String,
    /// The gateway's wish about retries.
    pub(crate) again: Again,
    /// The gateway's answer in the terms of its protocol.
    pub(crate) detail: Detail,
    pub(crate) source: Option<SharedSource>,
    /// The close code of a WebSocket, or the status of a gRPC stream.
    pub(crate) code: u16,
    /// The gateway's own words, if it announced the end.
    pub(crate) said: Option<String>,
    /// Whether the gateway sent something wrong, as opposed to a lost or closed connection.
    pub(crate) is_fault: bool,
}

impl Ending {
    pub(crate) fn new(event: Event, what: impl Into<String>) -> Ending {
        Ending {
            event,
            what: what.into(),
            again: Again::Unsaid,
            detail: Detail::default(),
            source: None,
            code: 0,
            said: None,
            is_fault: false,
        }
    }

    /// Takes out the secrets that the gateway has repeated.
    #[cfg(feature = "clientlets")]
    pub(crate) fn hide(&mut self, secrets: &Secrets) {
        let mask = secrets.mask();
        mask.hide_in(&mut self.what);
        self.detail.hide(&mask);
        self.said.iter_mut().for_each(|said| mask.hide_in(said));
    }

    /// Returns the gateway's reason, which is often empty, or the client's own if the gateway gave
    /// none.
    pub(crate) fn reason(&self) -> &str {
        self.said.as_ref().unwrap_or(&self.what)
    }

    /// Returns the error of a request that was sent.
    pub(crate) fn sent(&self) -> AttemptError {
        let error = AttemptError::new(self.event, &*self.what).asking(self.again);
        let mut error = error.with_detail(self.detail.clone());
        error.source.clone_from(&self.source);
        error
    }

    /// Returns the error of a request that was not sent and ended in `event`.
    pub(crate) fn unsent(&self, event: Event) -> AttemptError {
        if matches!(self.event, Event::TlsFailed | Event::NotGrpc) {
            // No request can be answered there.
            let mut error = self.sent();
            (error.delivery, error.may_have_run) = (Delivery::NotSent, false);
            return error;
        }
        let error = AttemptError::new(event, format!("{} before the request was sent", self.what));
        match self.again {
            // The gateway asked for a pause in all requests, not only in this one.
            Again::After(_) => error.asking(self.again),
            // The call that ended must not be retried, but this request was never tried.
            Again::Never | Again::Unsaid => error,
        }
    }
}
