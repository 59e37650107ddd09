//! A connection that counts the writes to it.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};

use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;

use super::Spoken;
use super::dial::Io;
use super::heard::{Heard, Listening};
use crate::telemetry::Telemetry;

/// Counts the writes to one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<AtomicU64>);

impl Written {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    pub(crate) fn add(&self) {
        self.0.fetch_add(1, Ordering::AcqRel);
    }
}

/// A connection that counts the writes to it. The count tells a request that was certainly not sent
/// from a request that may have arrived.
///
/// The connection keeps reading after the other side has closed. If a gateway answers before it has
/// read a request, and closes, the next write fails although the answer can still be read. So a
/// write that fails because the other side has closed counts as done; reading delivers the answer,
/// then the end, and ends the connection. (The answer can still be lost: some systems drop received
/// data when a connection is reset. Linux does not.)
///
/// Bytes that come before anything was sent, such as the 503 of a proxy with too many connections,
/// are kept until the request is written, and are then read as its answer.
pub(crate) struct Counted {
    io: TokioIo<Listening>,
    written: Written,
    spoken: Spoken,
    /// Bytes that came before anything was sent.
    early: Early,
}

/// The state of bytes that come on a connection before anything is written to it.
#[derive(Debug)]
enum Early {
    /// Nothing was written yet. Holds the first bytes, if any came, and the waker of the reading
    /// task.
    Held(Vec<u8>, Option<Waker>),
    /// A request was written. These bytes are read next.
    Due(Vec<u8>),
    /// The bytes were read, or none came.
    Read,
}

impl Counted {
    pub(super) fn new(io: Box<dyn Io>, telemetry: Option<Telemetry>) -> Counted {
        Counted {
            io: TokioIo::new(Listening::new(io, telemetry)),
            written: Written::default(),
            spoken: Spoken::default(),
            early: Early::Held(Vec::new(), None),
        }
    }

    pub(crate) fn spoken(&self) -> Spoken {
        self.spoken.clone()
    }

    /// Returns the write counter of this connection.
    pub(crate) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Returns what this connection has brought.
    pub(crate) fn heard(&self) -> Heard {
        self.io.inner().heard.clone()
    }

    /// Begins writing: from now on bytes are handed over as they come.
    fn begin(&mut self) {
        if let Early::Held(bytes, reader) = &mut self.early {
            let (bytes, reader) = (std::mem::take(bytes), reader.take());
            self.early = if bytes.is_empty() { Early::Read } else { Early::Due(bytes) };
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }

    /// Counts a write of `of` bytes if any were written. If the other side has closed, reports that
    /// all bytes were written, and counts nothing.
    fn count(&self, result: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(1..)) => self.written.add(),
            Poll::Ready(Err(error)) if is_closed(error) => return Poll::Ready(Ok(of)),
            _ => {}
        }
        result
    }
}

/// Says in short that a connection ended without the `close_notify` of TLS; rustls's text is for programmers.
fn in_short(error: io::Error) -> io::Error {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => {
            io::Error::new(error.kind(), "it ended without a close_notify of TLS")
        }
        _ => error,
    }
}

/// Whether the other side has closed.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

impl fmt::Debug for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("io", &self.io.inner().io).finish_non_exhaustive()
    }
}

/// The maximum size of a connection's first read.
const GLANCE: usize = 16;

impl Counted {
    /// Reads before anything was written. The end and errors are reported immediately; bytes are
    /// kept.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Early::Held(held, reader) = &mut self.early else { return Poll::Pending };
        if held.is_empty() {
            let mut bytes = [0; GLANCE];
            let mut first = ReadBuf::new(&mut bytes);
            if let Poll::Ready(read) = Pin::new(&mut self.io).poll_read(cx, first.unfilled()) {
                read.inspect_err(|error| self.spoken.end(error)).map_err(in_short)?;
                if first.filled().is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.spoken.hear(first.filled());
                held.extend_from_slice(first.filled());
            }
        }
        *reader = Some(cx.waker().clone());
        Poll::Pending
    }

    /// Reads for the first time, at most [`GLANCE`] bytes.
    fn poll_first(
        &mut self,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; GLANCE];
        let room = buffer.remaining().min(GLANCE);
        let mut first = ReadBuf::new(&mut bytes[..room]);
        let read = ready!(Pin::new(&mut self.io).poll_read(cx, first.unfilled()));
        read.inspect_err(|error| self.spoken.end(error)).map_err(in_short)?;
        self.spoken.hear(first.filled());
        buffer.put_slice(first.filled());
        Poll::Ready(Ok(()))
    }
}

impl Read for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.early {
            Early::Read if this.spoken.is_known() => {
                Pin::new(&mut this.io).poll_read(cx, buffer).map_err(in_short)
            }
            Early::Read => this.poll_first(cx, buffer),
            Early::Held(..) => this.poll_early(cx),
            Early::Due(bytes) => {
                let now = bytes.len().min(buffer.remaining());
                buffer.put_slice(&bytes[..now]);
                bytes.drain(..now);
                if bytes.is_empty() {
                    this.early = Early::Read;
                }
                Poll::Ready(Ok(()))
            }
        }
    }
}

impl Write for Counted {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let result = Pin::new(&mut self.io).poll_write(cx, bytes);
        self.count(result, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, slices);
        self.count(result, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // TLS writes here what it had taken before.
        match ready!(Pin::new(&mut self.io).poll_flush(cx)) {
            Err(error) if is_closed(&error) => Poll::Ready(Ok(())),
            flushed => Poll::Ready(flushed),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
