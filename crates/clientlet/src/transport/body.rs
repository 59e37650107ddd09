//! A request's body that remembers whether it was sent.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};

use crate::connect::Written;

/// A body in one piece.
pub(super) struct Outgoing {
    bytes: Option<Bytes>,
    probe: Arc<Probe>,
    /// The write counter of the connection on which the body is sent.
    written: Written,
}

/// Knows whether any byte of a request was written.
///
/// hyper asks for the body after it has buffered the head and before it writes any of it, so
/// everything written to the connection after that moment belongs to this request.
#[derive(Debug)]
pub(super) struct Probe {
    has_body: bool,
    /// The connection's write counter when the body was asked for, or one of the marks below.
    asked: AtomicU64,
    is_given_up: AtomicBool,
}

const NEVER: u64 = u64::MAX;
const GIVEN_UP: u64 = u64::MAX - 1;

/// The error if the request was given up before its connection took it.
const GIVEN_UP_UNSENT: &str = "the request was given up before it was sent";

impl Probe {
    pub(super) fn new(has_body: bool) -> Arc<Probe> {
        let (asked, is_given_up) = (AtomicU64::new(NEVER), AtomicBool::new(false));
        Arc::new(Probe { has_body, asked, is_given_up })
    }

    /// Notes that the connection asks for the body; `false` if the request was given up before.
    fn ask(&self, written: &Written) -> bool {
        let now = written.count();
        self.asked.compare_exchange(NEVER, now, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives the request up; `true` if no byte of it can be written from now on. If the request has
    /// no body, hyper never asks for it, so it can be given up only before it has a connection.
    pub(super) fn give_up(&self, has_connection: bool) -> bool {
        self.is_given_up.store(true, Ordering::Release);
        let was = self.asked.compare_exchange(NEVER, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
        was.is_ok() && (self.has_body || !has_connection)
    }

    /// Begins again when the request is sent once more, after a redirect for example; `false` if it was given up.
    pub(super) fn renew(&self) -> bool {
        self.asked.store(NEVER, Ordering::Release);
        !self.is_given_up.load(Ordering::Acquire)
    }

    /// Whether bytes of the request may have been written, once its connection has failed. `before`
    /// is the connection's write counter at the time when the request was handed over.
    pub(super) fn is_written(&self, written: &Written, before: u64) -> bool {
        match self.asked.load(Ordering::Acquire) {
            NEVER | GIVEN_UP => !self.has_body && written.count() > before,
            asked => written.count() > asked,
        }
    }
}

impl Outgoing {
    pub(super) fn new(bytes: Bytes, probe: Arc<Probe>, written: Written) -> Outgoing {
        Outgoing { bytes: (!bytes.is_empty()).then_some(bytes), probe, written }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = &'static str;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, &'static str>>> {
        let Some(bytes) = self.bytes.take() else { return Poll::Ready(None) };
        // An error here makes hyper close the connection with the head still in its buffer.
        let is_wanted = self.probe.ask(&self.written);
        Poll::Ready(Some(if is_wanted { Ok(Frame::data(bytes)) } else { Err(GIVEN_UP_UNSENT) }))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_either_given_up_or_asked_for() {
        let written = Written::default();
        let probe = Probe::new(true);
        assert!(probe.give_up(true));
        assert!(!probe.ask(&written), "a request that was given up is not sent");
        let probe = Probe::new(true);
        assert!(probe.ask(&written));
        assert!(!probe.give_up(true), "a body that was asked for may be sent");
        assert!(!Probe::new(false).give_up(true), "a request without a body is never asked for it");
        assert!(Probe::new(false).give_up(false), "there is no connection that could have sent it");
    }

    #[test]
    fn a_request_is_sent_again_unless_it_was_given_up() {
        let written = Written::default();
        let probe = Probe::new(true);
        assert!(probe.ask(&written) && probe.renew() && probe.ask(&written));
        assert!(!probe.give_up(true) && !probe.renew());
    }

    #[test]
    fn bytes_written_before_a_request_do_not_count_as_its_own() {
        let written = Written::default();
        written.add();
        let (with, without) = (Probe::new(true), Probe::new(false));
        assert!(!with.is_written(&written, 1), "the body was never asked for");
        assert!(with.ask(&written));
        assert!(!with.is_written(&written, 1) && !without.is_written(&written, 1));
        written.add();
        assert!(with.is_written(&written, 1) && without.is_written(&written, 1));
    }
}
