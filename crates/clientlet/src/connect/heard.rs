//! What a connection has brought, and when.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use super::dial::Io;
use crate::telemetry::Telemetry;

/// Counts the bytes of answers that a connection brings. Once a request with an idle time-out waits on the
/// connection, the time of the last sign of life is noted as well; until then the clock is not read.
///
/// Signs of life are bytes of answers, and the end of a wait for room to write, because a gateway that
/// takes a long request is not silent. Pings and their answers are none: an alive connection says
/// nothing about the answer.
#[derive(Clone, Debug, Default)]
pub(crate) struct Heard(Arc<Sounds>);

#[derive(Debug)]
struct Sounds {
    opened: Instant,
    /// All bytes, if those of answers come in frames, among those of pings.
    raw: AtomicU64,
    /// The bytes of answers.
    bytes: AtomicU64,
    /// The nanoseconds from the opening to the last sign of life.
    last: AtomicU64,
    is_watched: AtomicBool,
    /// Whether the bytes of answers come in frames. Then the part that knows the frames counts them.
    has_frames: AtomicBool,
}

impl Default for Sounds {
    fn default() -> Sounds {
        Sounds {
            opened: Instant::now(),
            raw: AtomicU64::new(0),
            bytes: AtomicU64::new(0),
            last: AtomicU64::new(0),
            is_watched: AtomicBool::new(false),
            has_frames: AtomicBool::new(false),
        }
    }
}

impl Heard {
    /// Takes bytes that the connection has brought.
    fn read(&self, bytes: usize) {
        match self.0.has_frames.load(Ordering::Relaxed) {
            true => drop(self.0.raw.fetch_add(bytes as u64, Ordering::Relaxed)),
            false => self.answer(bytes as u64),
        }
    }

    /// Counts bytes of answers.
    pub(crate) fn answer(&self, bytes: u64) {
        if bytes > 0 {
            self.0.bytes.fetch_add(bytes, Ordering::Relaxed);
            self.note();
        }
    }

    /// The number of all bytes since [`in_frames`](Heard::in_frames).
    #[cfg(feature = "websocket")]
    pub(crate) fn raw(&self) -> u64 {
        self.0.raw.load(Ordering::Relaxed)
    }

    /// Notes a sign of life, if it matters to a request.
    fn note(&self) {
        if self.0.is_watched.load(Ordering::Relaxed) {
            let since = u64::try_from(self.0.opened.elapsed().as_nanos()).unwrap_or(u64::MAX);
            self.0.last.store(since, Ordering::Relaxed);
        }
    }

    /// Leaves it to the part that knows the frames to count the bytes of answers.
    #[cfg(any(feature = "grpc", feature = "websocket"))]
    pub(crate) fn in_frames(&self) {
        self.0.has_frames.store(true, Ordering::Relaxed);
    }

    /// Begins to note the time.
    pub(crate) fn watch(&self) {
        self.0.is_watched.store(true, Ordering::Relaxed);
    }

    /// The number of bytes of answers that have come.
    pub(crate) fn bytes(&self) -> u64 {
        self.0.bytes.load(Ordering::Relaxed)
    }

    /// When the last sign of life was noted.
    pub(crate) fn last(&self) -> Instant {
        self.0.opened + Duration::from_nanos(self.0.last.load(Ordering::Relaxed))
    }
}

/// A connection that tells what it brings.
pub(super) struct Listening {
    pub(super) io: Box<dyn Io>,
    pub(super) heard: Heard,
    /// Whether a write waits for room.
    is_blocked: bool,
    /// Counts the bytes in both directions.
    telemetry: Option<Telemetry>,
}

impl Listening {
    pub(super) fn new(io: Box<dyn Io>, telemetry: Option<Telemetry>) -> Listening {
        Listening { io, heard: Heard::default(), is_blocked: false, telemetry }
    }

    fn count(&self, result: &Poll<io::Result<usize>>) {
        if let (Some(telemetry), Poll::Ready(Ok(bytes))) = (&self.telemetry, result) {
            telemetry.transmitted(*bytes);
        }
    }

    /// Notes whether a write or a flush has to wait. The end of a wait is a sign of life.
    fn written<T>(&mut self, result: Poll<T>) -> Poll<T> {
        if std::mem::replace(&mut self.is_blocked, result.is_pending()) && result.is_ready() {
            self.heard.note();
        }
        result
    }
}

impl AsyncRead for Listening {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.io).poll_read(cx, buffer);
        let bytes = buffer.filled().len() - before;
        self.heard.read(bytes);
        if let Some(telemetry) = self.telemetry.as_ref().filter(|_| bytes > 0) {
            telemetry.received(bytes);
        }
        read
    }
}

impl AsyncWrite for Listening {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.count(&result);
        self.written(result)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count(&result);
        self.written(result)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let result = Pin::new(&mut self.io).poll_flush(cx);
        self.written(result)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
