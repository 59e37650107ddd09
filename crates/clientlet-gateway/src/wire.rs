//! The bytes of a connection, watched while they are HTTP/1.1. So a request gets its number when it
//! begins to arrive, and a connection can be reset before a request is read or after half of an
//! answer was sent.

use std::future::Future;
use std::io;
use std::mem;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker, ready};

use bytes::{Buf, Bytes};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::fault::FaultKind;
use crate::listener::Listener;
use crate::schedule::{Drawn, carries_data};
use crate::stream::Stream;
use crate::world::{Protocol, World};

/// The longest request line that is watched. hyper accepts longer ones, but no client sends them.
const LONGEST_LINE: usize = 8192;

/// The state that the bytes, the requests and the answers of one connection share.
#[derive(Debug, Default)]
pub(crate) struct Line(Mutex<State>);

#[derive(Debug, Default)]
struct State {
    phase: Phase,
    drawn: Option<Drawn>,
    reset: bool,
    reset_when_flushed: bool,
    close_when_flushed: bool,
    /// The gateway sends only the end of the connection, and ignores what it reads.
    mute: bool,
    /// Bytes to be written as soon as the bytes before them were written.
    inserted: Bytes,
    /// The waker of the reader, which waits for the end of the answer.
    reader: Option<Waker>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq)]
enum Phase {
    /// The next byte begins a request.
    #[default]
    Idle,
    /// A request is arriving.
    Arriving,
    /// A request was read; its answer has not ended.
    Answering,
    /// The connection becomes a WebSocket. Its bytes are no longer requests.
    Upgrading,
}

impl Line {
    /// The request was read to its end. Returns what was drawn for it.
    pub(crate) fn arrived(&self) -> Option<Drawn> {
        let mut state = self.lock();
        state.phase = Phase::Answering;
        state.drawn.take()
    }

    /// The status to answer before the request's body is read, if such a fault was drawn.
    pub(crate) fn early(&self) -> Option<u16> {
        let mut state = self.lock();
        let Some(Drawn { fault: Some(FaultKind::Early(code)), .. }) = state.drawn else {
            return None;
        };
        state.phase = Phase::Answering;
        state.drawn = None;
        Some(code)
    }

    /// The answer ended; another request may begin.
    pub(crate) fn answered(&self) {
        let mut state = self.lock();
        if state.phase != Phase::Upgrading {
            state.phase = Phase::Idle;
        }
        if let Some(reader) = state.reader.take() {
            reader.wake();
        }
    }

    /// The answer is the last one of HTTP on this connection.
    pub(crate) fn upgrading(&self) {
        self.lock().phase = Phase::Upgrading;
    }

    /// The connection will end by a reset.
    pub(crate) fn reset(&self) {
        self.lock().reset = true;
    }

    /// Resets the connection after everything written so far was sent.
    pub(crate) fn reset_when_flushed(&self) {
        self.lock().reset_when_flushed = true;
    }

    /// Closes the connection after everything before was sent.
    pub(crate) fn close_when_flushed(&self) {
        self.lock().close_when_flushed = true;
    }

    /// Puts a frame between the frames of h2, which flushes only behind a complete frame. A
    /// connection has one such frame at most.
    pub(crate) fn insert(&self, frame: Bytes) {
        self.lock().inserted = frame;
    }

    /// Ends this side of the connection by FIN, and reads what the client still sends. A connection
    /// that is dropped with unread bytes would end by a reset.
    pub(crate) fn mute(&self) {
        self.lock().mute = true;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        // No step between lock and unlock can panic half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection's byte stream.
pub(crate) struct Wire<L: Listener> {
    io: Stream<L>,
    line: Arc<Line>,
    world: Arc<World>,
    /// The beginning of a request line that has not arrived completely.
    start: Vec<u8>,
    /// Bytes that arrived before the last answer ended, from clients that pipeline.
    ahead: Vec<u8>,
    /// The rest of a frame that is inserted between others.
    inserted: Bytes,
    /// Ends a connection on which no request begins.
    idle: Option<Pin<Box<Sleep>>>,
    protocol: Protocol,
    /// The bytes are not HTTP/1.1, so they are not watched.
    is_raw: bool,
}

impl<L: Listener> Wire<L> {
    pub(crate) fn new(
        io: Stream<L>,
        protocol: Protocol,
        line: Arc<Line>,
        world: Arc<World>,
    ) -> Self {
        let (start, ahead) = (Vec::new(), Vec::new());
        let inserted = Bytes::new();
        Self { io, line, world, start, ahead, inserted, idle: None, protocol, is_raw: false }
    }

    /// From now on the bytes are WebSocket or HTTP/2.
    pub(crate) fn raw(&mut self) {
        self.is_raw = true;
    }

    /// These bytes were read already.
    pub(crate) fn put_back(&mut self, read: &[u8]) {
        self.ahead.splice(0..0, read.iter().copied());
    }

    /// Draws for a request with this line. Returns `None` if a GET may be an upgrade, because then
    /// its headers must be read first.
    fn draw(&self, method: &[u8], path: &[u8]) -> Option<Drawn> {
        (self.protocol == Protocol::Http || carries_data(method))
            .then(|| self.world.schedule.draw(method, path))
    }

    /// Waits until the connection has been idle for too long.
    fn poll_idle(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(limit) = self.world.idle_timeout else {
            return Poll::Pending;
        };
        let idle = self.idle.get_or_insert_with(|| Box::pin(sleep(limit)));
        idle.as_mut().poll(cx)
    }

    /// Writes the rest of an inserted frame. It must be written before any other bytes.
    fn poll_insert(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        while !self.inserted.is_empty() {
            let written = ready!(Pin::new(&mut self.io).poll_write(cx, &self.inserted))?;
            if written == 0 {
                return Poll::Ready(Err(io::ErrorKind::WriteZero.into()));
            }
            self.inserted.advance(written);
        }
        Poll::Ready(Ok(()))
    }

    fn poll_read_raw(
        &mut self,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.line.lock().mute {
            ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
            let before = buffer.filled().len();
            loop {
                ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
                if buffer.filled().len() == before {
                    return Poll::Ready(Ok(()));
                }
                buffer.set_filled(before);
            }
        }
        if self.ahead.is_empty() {
            return Pin::new(&mut self.io).poll_read(cx, buffer);
        }
        let taken = self.ahead.len().min(buffer.remaining());
        buffer.put_slice(&self.ahead[..taken]);
        self.ahead.drain(..taken);
        Poll::Ready(Ok(()))
    }

    /// Reads the beginning of a request. Faults are drawn as soon as the request line is complete.
    fn begin(&mut self, bytes: &[u8]) -> io::Result<()> {
        let drawn = if self.start.is_empty() {
            request_line(bytes).map(|(method, path)| self.draw(method, path))
        } else {
            None
        };
        let drawn = drawn.or_else(|| {
            self.start.extend_from_slice(bytes);
            match request_line(&self.start) {
                Some((method, path)) => Some(self.draw(method, path)),
                None if self.start.len() > LONGEST_LINE => Some(self.draw(b"", b"")),
                None => None,
            }
        });
        let Some(drawn) = drawn else {
            return Ok(());
        };
        self.start.clear();
        let mut state = self.line.lock();
        if drawn.as_ref().is_some_and(|drawn| drawn.fault == Some(FaultKind::ResetBefore)) {
            state.reset = true;
            self.world.journal.refuse();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        state.drawn = drawn;
        state.phase = Phase::Arriving;
        Ok(())
    }
}

/// Method and path (without a query) of a request line, once the path is complete.
fn request_line(bytes: &[u8]) -> Option<(&[u8], &[u8])> {
    // Empty lines before a request are to be ignored (RFC 9112, 2.2).
    let skipped = bytes.iter().take_while(|b| matches!(b, b'\r' | b'\n')).count();
    let mut words = bytes[skipped..].split(|b| matches!(b, b' ' | b'\n'));
    let (method, target) = (words.next()?, words.next()?);
    // The path is whole if something follows it.
    words.next()?;
    Some((method, target.split(|&b| b == b'?').next().unwrap_or(target)))
}

impl<L: Listener> AsyncRead for Wire<L> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.is_raw {
            return this.poll_read_raw(cx, buffer);
        }
        let phase = this.line.lock().phase;
        if phase == Phase::Answering && !this.ahead.is_empty() {
            this.line.lock().reader = Some(cx.waker().clone());
            return Poll::Pending;
        }
        let before = buffer.filled().len();
        if this.ahead.is_empty() {
            match Pin::new(&mut this.io).poll_read(cx, buffer) {
                // To hyper, an empty read is the end of the connection.
                Poll::Pending if phase == Phase::Idle => return this.poll_idle(cx).map(Ok),
                Poll::Pending => {
                    // hyper waits for bytes now, but the idle time begins when the answer ends.
                    if phase == Phase::Answering && this.world.idle_timeout.is_some() {
                        this.line.lock().reader = Some(cx.waker().clone());
                    }
                    return Poll::Pending;
                }
                Poll::Ready(result) => result?,
            }
            this.idle = None;
        } else {
            let taken = this.ahead.len().min(buffer.remaining());
            buffer.put_slice(&this.ahead[..taken]);
            this.ahead.drain(..taken);
        }
        let bytes = &buffer.filled()[before..];
        if bytes.is_empty() {
            // The client is gone.
            return Poll::Ready(Ok(()));
        }
        match phase {
            Phase::Arriving | Phase::Upgrading => Poll::Ready(Ok(())),
            Phase::Idle => {
                let result = this.begin(bytes);
                if result.is_err() {
                    buffer.set_filled(before);
                }
                Poll::Ready(result)
            }
            Phase::Answering => {
                this.ahead.extend_from_slice(bytes);
                buffer.set_filled(before);
                this.line.lock().reader = Some(cx.waker().clone());
                Poll::Pending
            }
        }
    }
}

impl<L: Listener> AsyncWrite for Wire<L> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        if self.is_raw && self.line.lock().mute {
            return Poll::Ready(Ok(bytes.len()));
        }
        ready!(self.poll_insert(cx))?;
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if self.is_raw && self.line.lock().mute {
            return Poll::Ready(Ok(slices.iter().map(|slice| slice.len()).sum()));
        }
        ready!(self.poll_insert(cx))?;
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_insert(cx))?;
        let inserted = mem::take(&mut self.line.lock().inserted);
        self.inserted = inserted;
        ready!(self.poll_insert(cx))?;
        ready!(Pin::new(&mut self.io).poll_flush(cx))?;
        let mut state = self.line.lock();
        if state.reset_when_flushed {
            state.reset = true;
            return Poll::Ready(Err(io::ErrorKind::ConnectionReset.into()));
        }
        if !state.close_when_flushed {
            return Poll::Ready(Ok(()));
        }
        drop(state);
        // TLS may announce the end.
        ready!(Pin::new(&mut self.io).poll_shutdown(cx))?;
        Poll::Ready(Err(io::ErrorKind::ConnectionAborted.into()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper shuts a connection down even after an error of reading. A reset would come too late
        // then.
        if self.line.lock().reset {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

impl<L: Listener> Drop for Wire<L> {
    fn drop(&mut self) {
        if self.line.lock().reset {
            self.io.reset_on_drop();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_line_counts_once_its_path_is_whole() {
        let whole = Some((&b"POST"[..], &b"/post"[..]));
        assert_eq!(request_line(b"POST /post HTTP/1.1\r\n"), whole);
        assert_eq!(request_line(b"\r\nPOST /post?x=1 HTTP"), whole);
        assert_eq!(request_line(b"POST /post "), whole);
        for part in [&b""[..], b"\r\n", b"POST", b"POST ", b"POST /post"] {
            assert_eq!(request_line(part), None);
        }
    }
}
