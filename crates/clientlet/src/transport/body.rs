//! A request's body that remembers whether it went out.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::Connected;

use crate::connect::{Writes, Written};

/// A body in one piece.
pub(super) struct Outgoing {
    bytes: Option<Bytes>,
    probe: Arc<Probe>,
}

/// Tells whether any byte of a request was written.
///
/// hyper asks for the body after the head is in its buffer and before any of it is written, so
/// whatever the connection writes later than that moment is this request's.
#[derive(Debug)]
pub(super) struct Probe {
    has_body: bool,
    writes: Writes,
    /// The number of writes when the body was asked for, or one of the marks below.
    asked: AtomicU64,
}

const NEVER: u64 = u64::MAX;
const GIVEN_UP: u64 = u64::MAX - 1;

impl Probe {
    pub(super) fn new(has_body: bool, writes: Writes) -> Arc<Probe> {
        Arc::new(Probe { has_body, writes, asked: AtomicU64::new(NEVER) })
    }

    /// The connection asks for the body; `false` if the request was given up before.
    fn ask(&self) -> bool {
        let now = self.writes.count();
        self.asked.compare_exchange(NEVER, now, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives the request up; `true` if from now on no byte of it can be written. A request without
    /// a body is never asked for one, so of that it is not known.
    pub(super) fn give_up(&self) -> bool {
        let was = self.asked.compare_exchange(NEVER, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
        self.has_body && was.is_ok()
    }

    /// Whether bytes of the request may have been written, once its connection has failed.
    pub(super) fn is_written(&self, connection: Option<&Connected>) -> bool {
        match self.asked.load(Ordering::Acquire) {
            NEVER | GIVEN_UP => !self.has_body,
            asked => {
                connection.and_then(Written::of).is_none_or(|written| written.is_later_than(asked))
            }
        }
    }
}

impl Outgoing {
    pub(super) fn new(bytes: Bytes, probe: Arc<Probe>) -> Outgoing {
        Outgoing { bytes: (!bytes.is_empty()).then_some(bytes), probe }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = GivenUp;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, GivenUp>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        // An error here makes hyper close the connection with the head still in its buffer.
        Poll::Ready(Some(if self.probe.ask() { Ok(Frame::data(bytes)) } else { Err(GivenUp) }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

/// The request's time was over before its connection took it.
#[derive(Debug)]
pub(super) struct GivenUp;

impl fmt::Display for GivenUp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the request was given up before it was sent")
    }
}

impl std::error::Error for GivenUp {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_either_given_up_or_asked_for() {
        let probe = Probe::new(true, Writes::default());
        assert!(probe.give_up());
        assert!(!probe.ask(), "what was given up is not sent");
        let probe = Probe::new(true, Writes::default());
        assert!(probe.ask());
        assert!(!probe.give_up(), "what was asked for may be sent");
        let bodiless = Probe::new(false, Writes::default());
        assert!(!bodiless.give_up(), "nobody asks for a body that is not there");
    }
}
