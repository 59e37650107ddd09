//! How one attempt failed: what a transport gives the retry loop.

use std::ops::{Deref, DerefMut};
use std::time::Duration;

use bytes::Bytes;

use super::cause;
use super::{Attempt, Delivery, Detail, ErrorKind, Event, Hint, SharedSource, Source};
use crate::foreign::one_line;
use crate::message::{Culprit, Exception, RawAnswer};
use crate::secret::{Mask, Secrets};

/// One word wide, since every attempt's result carries its space.
#[derive(Clone, Debug)]
pub(crate) struct AttemptError(pub(crate) Box<Failed>);

#[derive(Clone, Debug)]
pub(crate) struct Failed {
    pub(crate) event: Event,
    pub(crate) kind: ErrorKind,
    pub(crate) delivery: Delivery,
    pub(crate) retryable: bool,
    pub(crate) may_have_run: bool,
    pub(crate) message: String,
    pub(crate) source: Option<SharedSource>,
    /// The request's body, if the transport had taken it and sent none of it.
    pub(crate) unsent: Option<Bytes>,
    /// How long the gateway asked to wait.
    pub(crate) retry_after: Option<Duration>,
    pub(crate) detail: Detail,
    pub(crate) exception: Option<Exception>,
    pub(crate) answer: Option<RawAnswer>,
    /// The documents that caused the failure, if only some did; the others may be sent without
    /// them.
    pub(crate) culprits: Vec<Culprit>,
}

/// What a server says about trying again.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Again {
    /// The server says nothing.
    #[default]
    Unsaid,
    /// Try again, but not before this time has passed.
    After(Duration),
    Never,
}

impl From<Option<Duration>> for Again {
    fn from(wait: Option<Duration>) -> Again {
        wait.map_or(Again::Unsaid, Again::After)
    }
}

impl Deref for AttemptError {
    type Target = Failed;

    fn deref(&self) -> &Failed {
        &self.0
    }
}

impl DerefMut for AttemptError {
    fn deref_mut(&mut self) -> &mut Failed {
        &mut self.0
    }
}

impl AttemptError {
    pub(crate) fn new(event: Event, message: impl Into<String>) -> AttemptError {
        let row = event.row();
        AttemptError(Box::new(Failed {
            event,
            kind: row.kind,
            delivery: row.delivery,
            retryable: row.retryable,
            may_have_run: row.may_have_run,
            message: message.into(),
            source: None,
            unsent: None,
            retry_after: None,
            detail: Detail::default(),
            exception: None,
            answer: None,
            culprits: Vec::new(),
        }))
    }

    /// Whether the attempt begins anew, immediately and without being counted: the gateway's
    /// application did not see it, the connection was the reason, and the gateway did not ask to
    /// wait.
    pub(crate) fn is_anew(&self) -> bool {
        self.event.row().is_anew && self.retry_after.is_none()
    }

    pub(crate) fn with_unsent(mut self, body: Bytes) -> AttemptError {
        self.unsent = Some(body);
        self
    }

    pub(crate) fn with_source(mut self, source: impl Into<Source>) -> AttemptError {
        self.source = Some(cause::keep(source.into()));
        self
    }

    /// Adds the caller's own error as it is, so that the caller can inspect it.
    pub(crate) fn with_own_source(mut self, source: Source) -> AttemptError {
        self.source = Some(source.into());
        self
    }

    /// Adds what the server says about trying again.
    pub(crate) fn asking(mut self, again: Again) -> AttemptError {
        match again {
            Again::Unsaid => {}
            Again::After(wait) => self.retry_after = Some(wait),
            Again::Never => self.retryable = false,
        }
        self
    }

    /// Adds what the gateway said; a hint that is there already stays.
    pub(crate) fn with_detail(mut self, detail: Detail) -> AttemptError {
        let hint = self.detail.hint.or(detail.hint);
        self.detail = Detail { hint, ..detail };
        self
    }

    pub(crate) fn with_hint(mut self, hint: Hint) -> AttemptError {
        self.detail.hint = Some(hint);
        self
    }

    /// Takes out the secrets that the gateway, or a proxy, has repeated.
    pub(crate) fn hide(&mut self, secrets: &Secrets) {
        let mask = secrets.mask();
        if mask.is_empty() {
            return;
        }
        let failed = &mut *self.0;
        mask.hide_in(&mut failed.message);
        failed.detail.hide(&mask);
        let hidden = failed.source.as_ref().and_then(|source| cause::hidden(&**source, &mask));
        failed.source = hidden.or(failed.source.take());
        failed.exception.iter_mut().for_each(|exception| hide_in(exception, &mask));
        failed.culprits.iter_mut().for_each(|culprit| mask.hide_in(&mut culprit.what));
        if let Some(answer) = &mut failed.answer {
            mask.hide_in(&mut answer.status.description);
            answer.status.exception.iter_mut().for_each(|exception| hide_in(exception, &mask));
        }
    }

    /// Whether the gateway, or a proxy before it, refused the request for want of credentials: with
    /// 401 or UNAUTHENTICATED.
    pub(crate) fn is_unauthorized(&self) -> bool {
        matches!(self.event, Event::Refused | Event::GrpcRefused) && self.detail.is_unauthorized()
    }

    /// Adds a hint, and its words to the message.
    pub(crate) fn asking_whether(mut self, hint: Hint) -> AttemptError {
        self.message += &format!("; {hint}");
        self.with_hint(hint)
    }

    /// The same failure, of a question that came before the request: nothing of the request was
    /// sent.
    pub(crate) fn before_sending(mut self, doing: &str) -> AttemptError {
        self.delivery = Delivery::NotSent;
        self.may_have_run = false;
        self.message.insert_str(0, ": ");
        self.message.insert_str(0, doing);
        self
    }

    /// What is kept of this attempt in the error of its request.
    pub(crate) fn record(
        &self,
        number: u32,
        gateway: String,
        started: Duration,
        took: Duration,
    ) -> Attempt {
        Attempt {
            number,
            gateway,
            started,
            took,
            kind: self.kind,
            delivery: self.delivery,
            message: one_line(self.message.clone()),
        }
    }
}

fn hide_in(exception: &mut Exception, mask: &Mask) {
    let Exception { name, args, stacks, executor } = exception;
    [name, executor].into_iter().chain(args).chain(stacks).for_each(|text| mask.hide_in(text));
}
