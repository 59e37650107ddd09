//! Learns from the bytes of a connection that the gateway takes no new requests on it. h2 keeps a GOAWAY to
//! itself until the next stream is opened; a stream that is open would go on with new requests until the
//! gateway loses patience, and those would be lost.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::super::progress::Progress;

/// Whether a GOAWAY has come; it stays so.
pub(super) type Leaving = watch::Receiver<bool>;

/// A connection whose frames are watched as they come.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: TokioIo<T>,
    frames: Frames,
    progress: Progress,
    leaving: watch::Sender<bool>,
}

impl<T> Watched<T> {
    /// With where it will be seen that new requests are better sent elsewhere.
    pub(super) fn new(io: T, progress: Progress) -> (TokioIo<Watched<T>>, Leaving) {
        let (leaving, seen) = watch::channel(false);
        let io = TokioIo::new(io);
        (TokioIo::new(Watched { io, frames: Frames::default(), progress, leaving }), seen)
    }
}

impl<T> AsyncRead for Watched<T>
where
    TokioIo<T>: AsyncRead + Unpin,
    T: Unpin,
{
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buffer))?;
        if self.frames.has_goaway(&buffer.filled()[before..]) {
            // First this, for those that the news wakes must not come back to the same connection.
            self.progress.doubt_connection();
            self.leaving.send_replace(true);
        }
        Poll::Ready(Ok(()))
    }
}

impl<T> AsyncWrite for Watched<T>
where
    TokioIo<T>: AsyncWrite + Unpin,
    T: Unpin,
{
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}

/// Before each frame: the length of its payload in three bytes, its type, flags and stream.
const HEAD: usize = 9;
const GOAWAY: u8 = 7;

/// Finds the frames in the bytes of a connection, however those are split.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    /// How much of the head has come.
    filled: usize,
    /// How much of the payload is to come.
    left: usize,
}

impl Frames {
    /// Whether one of the frames whose heads end in these bytes is a GOAWAY.
    fn has_goaway(&mut self, mut bytes: &[u8]) -> bool {
        let mut has_goaway = false;
        loop {
            let skipped = self.left.min(bytes.len());
            self.left -= skipped;
            let taken = (HEAD - self.filled).min(bytes.len() - skipped);
            if taken == 0 {
                return has_goaway;
            }
            let (next, rest) = bytes[skipped..].split_at(taken);
            self.head[self.filled..][..taken].copy_from_slice(next);
            self.filled += taken;
            bytes = rest;
            if self.filled == HEAD {
                let [high, middle, low, kind, ..] = self.head;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.filled = 0;
                has_goaway |= kind == GOAWAY;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: usize) -> Vec<u8> {
        let [.., high, middle, low] = payload.to_be_bytes();
        let mut frame = vec![high, middle, low, kind, 0, 0, 0, 0, 1];
        // What looks like a GOAWAY in a payload is none.
        frame.resize(HEAD + payload, GOAWAY);
        frame
    }

    #[test]
    fn a_goaway_is_found_when_its_head_has_come_however_the_bytes_are_split() {
        let before = [frame(4, 0), frame(0, 70_000), frame(1, 300), frame(0, 9)].concat();
        let bytes = [before.clone(), frame(GOAWAY, 8), frame(0, 5)].concat();
        for size in [1, 2, 8, 9, 10, 4_096, bytes.len()] {
            let (mut frames, mut at, mut found) = (Frames::default(), 0, Vec::new());
            for piece in bytes.chunks(size) {
                at += piece.len();
                if frames.has_goaway(piece) {
                    found.push(at);
                }
            }
            let head = before.len() + HEAD;
            assert_eq!(found, [head.next_multiple_of(size).min(bytes.len())], "pieces of {size}");
        }
    }
}
