//! Detects a GOAWAY in the bytes of a connection. h2 does not report a GOAWAY until the next stream
//! is opened. Without this detection, an open stream would send requests until the gateway's grace
//! period ends, and those requests would be lost.

use std::fmt;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use h2::Reason;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;

use super::super::multiplex::Progress;
use super::interim::Interim;
use crate::foreign::shorten;

/// The last GOAWAY that came. `None` until one comes.
pub(super) type Leaving = watch::Receiver<Option<GoAway>>;

/// Why a gateway leaves a connection.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct GoAway {
    reason: Reason,
    /// The text that came with the reason, at most [`SAID`] bytes. Empty if there was none.
    said: String,
}

/// The maximum number of bytes of a GOAWAY's text that are kept.
const SAID: usize = 64;

impl GoAway {
    /// Reads the beginning of a payload: the last stream, the reason, and a text.
    fn read(payload: &[u8]) -> Option<GoAway> {
        let (_, rest) = payload.split_at_checked(4)?;
        let (reason, said) = rest.split_first_chunk::<4>()?;
        let said = shorten(&String::from_utf8_lossy(said));
        Some(GoAway { reason: u32::from_be_bytes(*reason).into(), said })
    }
}

impl fmt::Display for GoAway {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // `Debug` prints the name in the specification's spelling.
        write!(f, "a GOAWAY with {:?}", self.reason)?;
        if self.said.is_empty() { Ok(()) } else { write!(f, ": {}", self.said) }
    }
}

/// A connection whose incoming frames are watched.
#[derive(Debug)]
pub(super) struct Watched<T> {
    io: TokioIo<T>,
    frames: Frames,
    progress: Progress,
    leaving: watch::Sender<Option<GoAway>>,
}

impl<T> Watched<T> {
    /// Wraps a connection. A GOAWAY is also noted in `progress`, so that new requests go elsewhere.
    pub(super) fn new(io: T, progress: Progress) -> (TokioIo<Watched<T>>, Leaving) {
        let (leaving, seen) = watch::channel(None);
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
        let this = &mut *self;
        let goaway = this.frames.find_goaway(&buffer.filled()[before..]);
        this.progress.heard().answer(this.frames.take_answered());
        if this.frames.is_flooded {
            return Poll::Ready(Err(io::Error::other(
                "the gateway sends interim answers without end",
            )));
        }
        if let Some(goaway) = goaway {
            // This comes first, because the tasks that the next line wakes must not return to the
            // same connection.
            this.progress.doubt_connection();
            this.leaving.send_replace(Some(goaway));
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

/// The length of a frame's head: payload length in three bytes, type, flags, stream.
const HEAD: usize = 9;
/// The type of a GOAWAY.
const GOAWAY: u8 = 7;
/// The types of DATA, HEADERS, CONTINUATION and WINDOW_UPDATE. The last one shows that a gateway takes a
/// long request.
const ANSWERS: [u8; 4] = [0, 1, 9, 8];

/// Finds the frames in the bytes of a connection, however the bytes are split.
#[derive(Debug, Default)]
struct Frames {
    head: [u8; HEAD],
    /// The number of bytes of the head that have come.
    filled: usize,
    /// The number of bytes of the payload that are still to come.
    left: usize,
    /// The beginning of a GOAWAY's payload, as far as it has come.
    payload: Vec<u8>,
    /// The bytes of frames that belong to answers and were not taken yet.
    answered: u64,
    interim: Interim,
    /// Whether more interim answers have come than may come.
    is_flooded: bool,
}

impl Frames {
    /// Returns the last GOAWAY that ends in these bytes.
    fn find_goaway(&mut self, mut bytes: &[u8]) -> Option<GoAway> {
        let mut found = None;
        loop {
            let (payload, rest) = bytes.split_at(self.left.min(bytes.len()));
            self.left -= payload.len();
            if ANSWERS.contains(&self.kind()) {
                self.answered += payload.len() as u64;
            }
            if self.kind() == GOAWAY && self.filled == 0 {
                let room = (8 + SAID).saturating_sub(self.payload.len());
                self.payload.extend_from_slice(&payload[..room.min(payload.len())]);
                if self.left == 0 {
                    found = GoAway::read(&std::mem::take(&mut self.payload)).or(found);
                }
            }
            let (next, rest) = rest.split_at((HEAD - self.filled).min(rest.len()));
            if next.is_empty() {
                return found;
            }
            self.head[self.filled..][..next.len()].copy_from_slice(next);
            self.filled += next.len();
            bytes = rest;
            if self.filled == HEAD {
                let [high, middle, low, ..] = self.head;
                self.left = usize::from(high) << 16 | usize::from(middle) << 8 | usize::from(low);
                self.filled = 0;
                self.is_flooded |= !self.interim.may_go_on(self.head);
            }
        }
    }

    /// Takes the number of bytes that belong to answers.
    fn take_answered(&mut self) -> u64 {
        std::mem::take(&mut self.answered)
    }

    /// Returns the type of the frame whose head came last.
    fn kind(&self) -> u8 {
        self.head[3]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn frame(kind: u8, payload: &[u8]) -> Vec<u8> {
        let [.., high, middle, low] = payload.len().to_be_bytes();
        [&[high, middle, low, kind, 0, 0, 0, 0, 1], payload].concat()
    }

    #[test]
    fn a_goaway_is_found_however_its_bytes_are_split() {
        // Bytes in a payload that look like a GOAWAY are not one.
        let filler = vec![GOAWAY; 70_000];
        let before =
            [frame(4, &[]), frame(0, &filler), frame(1, &filler[..300]), frame(0, &filler[..9])];
        let payload = [&[0, 0, 0, 9, 0, 0, 0, 11][..], b"too many"].concat();
        let before = [before.concat(), frame(GOAWAY, &payload)].concat();
        let bytes = [before.clone(), frame(0, &filler[..5])].concat();
        for size in [1, 2, 8, 9, 10, 4_096, bytes.len()] {
            let (mut frames, mut at, mut found) = (Frames::default(), 0, Vec::new());
            for piece in bytes.chunks(size) {
                at += piece.len();
                if let Some(goaway) = frames.find_goaway(piece) {
                    found.push((at, goaway.to_string()));
                }
            }
            let at = before.len().next_multiple_of(size).min(bytes.len());
            let goaway = "a GOAWAY with ENHANCE_YOUR_CALM: too many".to_owned();
            assert_eq!(found, [(at, goaway)], "pieces of {size}");
        }
    }

    #[test]
    fn only_the_useful_beginning_of_a_goaway_is_kept() {
        let payload = [&[0; 8][..], &[b'x'; 16_000]].concat();
        let mut frames = Frames::default();
        let found = frames.find_goaway(&frame(GOAWAY, &payload)).unwrap();
        assert_eq!(found.to_string(), format!("a GOAWAY with NO_ERROR: {}", "x".repeat(SAID)));
        assert_eq!(frames.find_goaway(&frame(GOAWAY, &[0; 7])), None, "too short to be one");
        let last = [frame(GOAWAY, &[0; 8]), frame(GOAWAY, &[0, 0, 0, 0, 0, 0, 0, 2])].concat();
        let last = frames.find_goaway(&last).map(|goaway| goaway.to_string());
        assert_eq!(last.as_deref(), Some("a GOAWAY with INTERNAL_ERROR"));
    }
}
