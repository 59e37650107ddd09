//! What the other side of a connection speaks, by its first bytes: a request that came to the wrong
//! port can then be told which one it is.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Connector;

/// Shared by all that have to do with the connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoken(Arc<AtomicU8>);

const NOTHING: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;
const OTHER: u8 = 3;

/// What a client of HTTP/2 begins with (RFC 9113, 3.4): the preface and an empty SETTINGS frame.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// How long a server may take to answer the greeting.
const PATIENCE: Duration = Duration::from_secs(2);

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

    /// Takes the first bytes that were read; none are none.
    pub(super) fn hear(&self, first: &[u8]) {
        if !first.is_empty() {
            self.0.store(told_by(first), Ordering::Relaxed);
        }
    }
}

impl Connector {
    /// Whether HTTP/2 is spoken there, by a connection of its own on which we speak it. For a server
    /// that closed without a word: some that speak HTTP/2 do so to whatever begins otherwise.
    pub(crate) async fn greets_in_http2(&self, uri: &Uri) -> bool {
        let greeting = async {
            let mut io = TokioIo::new(self.open(uri).await.ok()?);
            io.write_all(GREETING).await.ok()?;
            let mut first = [0; 4];
            io.read_exact(&mut first).await.ok()?;
            Some(told_by(&first) == HTTP2)
        };
        matches!(tokio::time::timeout(PATIENCE, greeting).await, Ok(Some(true)))
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
