//! Recognizes the protocol that the other side of a connection speaks by its first bytes. The error
//! of a request to the wrong port can then name that protocol.

use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use http::Uri;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Connector;
use crate::error::Hint;

/// The protocol that was recognized. All parts that use the connection share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoken(Arc<AtomicU8>);

const NOTHING: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;
const OTHER: u8 = 3;
const TLS: u8 = 4;

/// The first bytes that an HTTP/2 client sends (RFC 9113, 3.4): the preface and an empty SETTINGS
/// frame.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The first bytes that a TLS client sends (RFC 5246, 7.4.1.2), with minimal content: version 1.2,
/// 32 bytes that should be random, two cipher suites. A server answers with a TLS record, at least
/// with an alert.
const HELLO: &[u8] = b"\x16\x03\x01\0\x2f\x01\0\0\x2b\x03\x03\
    clientlet asks what is spoken...\0\0\x04\xc0\x2f\xc0\x30\x01\0";

/// The first byte of a TLS record, which is its type.
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;

/// The longest wait for the answer to a greeting.
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

    pub(crate) fn is_tls(&self) -> bool {
        self.0.load(Ordering::Relaxed) == TLS
    }

    /// Takes the first bytes that were read. No bytes change nothing.
    pub(super) fn hear(&self, first: &[u8]) {
        if !first.is_empty() {
            self.0.store(told_by(first), Ordering::Relaxed);
        }
    }
}

impl Connector {
    /// Returns a hint if the server speaks another protocol than HTTP/1.1. If the server closed
    /// without sending anything, this asks the server with greetings of its own, unless the server
    /// is `proven` to speak HTTP/1.1.
    pub(crate) async fn instead(
        &self,
        uri: &Uri,
        spoken: &Spoken,
        is_proven: bool,
    ) -> Option<Hint> {
        let is_silent = !spoken.is_known() && !is_proven;
        if spoken.is_http2() || (is_silent && self.greets_in_http2(uri).await) {
            return Some(Hint::PortForGrpc);
        }
        let is_tls = spoken.is_tls() || (is_silent && self.greets_in_tls(uri).await);
        is_tls.then_some(Hint::PortForTls)
    }

    /// Whether the server speaks HTTP/2. Asks on a new connection, because some HTTP/2 servers
    /// close without sending anything if a connection begins with anything else.
    async fn greets_in_http2(&self, uri: &Uri) -> bool {
        self.greets(uri, GREETING, HTTP2).await
    }

    /// Whether the server speaks TLS. TLS servers often close without an answer if a connection
    /// begins with anything else.
    async fn greets_in_tls(&self, uri: &Uri) -> bool {
        self.greets(uri, HELLO, TLS).await
    }

    async fn greets(&self, uri: &Uri, hello: &[u8], spoken: u8) -> bool {
        let greeting = async {
            let mut io = TokioIo::new(self.open(uri).await.ok()?);
            io.write_all(hello).await.ok()?;
            let mut first = [0; 4];
            io.read_exact(&mut first).await.ok()?;
            Some(told_by(&first) == spoken)
        };
        matches!(tokio::time::timeout(PATIENCE, greeting).await, Ok(Some(true)))
    }
}

/// HTTP/2 begins with a SETTINGS frame: three bytes of length, type 4, on stream 0.
fn told_by(first: &[u8]) -> u8 {
    match first {
        [b'H', b'T', b'T', b'P', ..] => HTTP1,
        [0, _, _, 4, ..] => HTTP2,
        [ALERT | HANDSHAKE, 3, ..] => TLS,
        _ => OTHER,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn protocols_are_recognized_by_their_first_bytes() {
        assert_eq!(told_by(b"HTTP/1.1 400 Bad Request"), HTTP1);
        assert_eq!(told_by(&[0, 0, 18, 4, 0, 0, 0, 0, 0]), HTTP2);
        assert_eq!(told_by(b"SSH-2.0"), OTHER);
        assert_eq!(told_by(&[0x15, 3, 3, 0, 2, 2, 70]), TLS);
        assert_eq!(HELLO.len(), 5 + 0x2f);
        assert_eq!(told_by(HELLO), TLS);
        assert_eq!(told_by(b"H"), OTHER);
    }
}
