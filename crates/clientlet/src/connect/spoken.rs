//! What the other side of a connection speaks, by its first bytes: so that whoever came to the wrong
//! port is told which one it is.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::task::{Poll, ready};

use hyper::rt::{ReadBuf, ReadBufCursor};
use hyper_util::client::legacy::connect::Connected;

/// Shared with whoever reads the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoken(Arc<AtomicU8>);

const NOTHING: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;
const OTHER: u8 = 3;

/// Enough to tell; the first read is no larger.
const FIRST: usize = 16;

impl Spoken {
    /// Whether anything was read yet.
    pub(crate) fn is_known(&self) -> bool {
        self.0.load(Ordering::Relaxed) != NOTHING
    }

    pub(crate) fn is_http1(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HTTP1
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.0.load(Ordering::Relaxed) == HTTP2
    }

    /// That of a connection that a pool tells of.
    pub(crate) fn of(connected: &Connected) -> Option<Spoken> {
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        extras.remove::<Spoken>()
    }

    /// Reads for the first time, no more than a glance.
    pub(super) fn poll_first(
        &self,
        mut buffer: ReadBufCursor<'_>,
        read: impl FnOnce(ReadBufCursor<'_>) -> Poll<io::Result<()>>,
    ) -> Poll<io::Result<()>> {
        let mut bytes = [0; FIRST];
        let room = buffer.remaining().min(FIRST);
        let mut first = ReadBuf::new(&mut bytes[..room]);
        ready!(read(first.unfilled()))?;
        let first = first.filled();
        if !first.is_empty() {
            self.0.store(told_by(first), Ordering::Relaxed);
            buffer.put_slice(first);
        }
        Poll::Ready(Ok(()))
    }
}

/// HTTP/2 begins with a SETTINGS frame: three bytes of length, type 4, on stream 0.
fn told_by(first: &[u8]) -> u8 {
    match first {
        [b'H', b'T', b'T', b'P', ..] => HTTP1,
        [0, _, _, 4, ..] => HTTP2,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_told_by_their_first_bytes() {
        assert_eq!(told_by(b"HTTP/1.1 400 Bad Request"), HTTP1);
        assert_eq!(told_by(&[0, 0, 18, 4, 0, 0, 0, 0, 0]), HTTP2);
        assert_eq!(told_by(b"SSH-2.0"), OTHER);
        assert_eq!(told_by(b"H"), OTHER);
    }
}
