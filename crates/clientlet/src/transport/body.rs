//! A request's body that remembers whether it went out.

use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper_util::client::legacy::connect::CaptureConnection;

use crate::connect::Written;

/// A body in one piece.
pub(super) struct Outgoing {
    bytes: Option<Bytes>,
    probe: Arc<Probe>,
}

/// Tells whether any byte of a request was written.
///
/// hyper asks for the body after the head is in its buffer and before any of it is written, so the
/// connection's count at that moment is the count without this request.
#[derive(Debug)]
pub(super) struct Probe {
    connection: OnceLock<CaptureConnection>,
    before: AtomicU64,
}

const NEVER_ASKED: u64 = u64::MAX;

impl Probe {
    pub(super) fn new() -> Arc<Probe> {
        Arc::new(Probe { connection: OnceLock::new(), before: AtomicU64::new(NEVER_ASKED) })
    }

    /// Watches the connection that the request is given.
    pub(super) fn watch(&self, connection: CaptureConnection) {
        // A second call would be a second request; each has a probe of its own.
        let _ = self.connection.set(connection);
    }

    fn written(&self) -> Option<Written> {
        Written::of(self.connection.get()?.connection_metadata().as_ref()?)
    }

    fn begin(&self) {
        let before = self.written().map_or(0, |written| written.bytes());
        self.before.store(before, Ordering::Release);
    }

    /// Keeps the connection from being used again once this request is over.
    pub(super) fn poison(&self) {
        if let Some(connection) = self.connection.get()
            && let Some(connected) = connection.connection_metadata().as_ref()
        {
            connected.poison();
        }
    }

    /// Whether the request was given a connection at all.
    pub(super) fn has_connection(&self) -> bool {
        self.connection.get().is_some_and(|connection| connection.connection_metadata().is_some())
    }

    /// Whether bytes of the request were written, once the connection has given up on it. A
    /// request without a body is never asked for one; of that it is known only whether it was
    /// given a connection.
    pub(super) fn is_written(&self, has_body: bool) -> bool {
        match self.before.load(Ordering::Acquire) {
            NEVER_ASKED => !has_body && self.has_connection(),
            before => self.written().is_none_or(|written| written.bytes() > before),
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
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let bytes = self.bytes.take();
        if bytes.is_some() {
            self.probe.begin();
        }
        Poll::Ready(bytes.map(|bytes| Ok(Frame::data(bytes))))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.bytes.as_ref().map_or(0, |bytes| bytes.len() as u64))
    }
}
