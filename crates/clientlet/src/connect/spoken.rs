//! Recognizes the protocol that the other side of a connection speaks by its first bytes. The error
//! of a request to the wrong port can then name that protocol.

use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use http::Uri;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::Connector;
use super::dial::Step;
#[cfg(feature = "tls")]
use super::is_secure;
#[cfg(feature = "tls")]
use crate::address::Protocol;
use crate::error::{AttemptError, Event, Hint};

/// The protocol that was recognized. All parts that use the connection share it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Spoken(Arc<Heard>);

#[derive(Debug, Default)]
struct Heard {
    /// What the first bytes told.
    protocol: AtomicU8,
    /// Why the server refused the client, if TLS ended with that before anything came.
    refusal: OnceLock<(String, Option<Hint>)>,
}

const NOTHING: u8 = 0;
const HTTP1: u8 = 1;
const HTTP2: u8 = 2;
const OTHER: u8 = 3;
const TLS: u8 = 4;

/// The first bytes that an HTTP/2 client sends (RFC 9113, 3.4): the preface and an empty SETTINGS
/// frame.
const GREETING: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0";

/// The first byte of a TLS record, which is its type.
const ALERT: u8 = 0x15;
const HANDSHAKE: u8 = 0x16;

/// The longest wait for the answer to a greeting.
const PATIENCE: Duration = Duration::from_secs(2);

impl Spoken {
    fn protocol(&self) -> u8 {
        self.0.protocol.load(Ordering::Relaxed)
    }

    /// Returns why the server refused the client over TLS. Then it has looked at no request.
    pub(crate) fn refusal(&self) -> Option<AttemptError> {
        let (what, hint) = self.0.refusal.get()?;
        let error = AttemptError::new(Event::TlsFailed, &**what);
        Some(hint.iter().copied().fold(error, AttemptError::with_hint))
    }

    /// Takes the error that ended reading.
    #[cfg(feature = "tls")]
    pub(super) fn end(&self, error: &std::io::Error) {
        if !self.is_known()
            && let Some(refusal) = crate::tls::of_end(error)
        {
            let _ = self.0.refusal.set(refusal);
        }
    }

    #[cfg(not(feature = "tls"))]
    pub(super) fn end(&self, _: &std::io::Error) {}

    /// Whether anything was read yet.
    pub(crate) fn is_known(&self) -> bool {
        self.protocol() != NOTHING
    }

    pub(crate) fn is_http1(&self) -> bool {
        self.protocol() == HTTP1
    }

    pub(crate) fn is_http2(&self) -> bool {
        self.protocol() == HTTP2
    }

    pub(crate) fn is_tls(&self) -> bool {
        self.protocol() == TLS
    }

    /// Takes the first bytes that were read. No bytes change nothing.
    pub(super) fn hear(&self, first: &[u8]) {
        if !first.is_empty() {
            self.0.protocol.store(told_by(first), Ordering::Relaxed);
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
        #[cfg(feature = "tls")]
        if is_secure(uri) {
            let agreed = within(self.probe(uri, Some(Protocol::Grpc))).await;
            return matches!(agreed, Some(Ok(_)));
        }
        let greeting = async {
            let mut io = self.reach(uri, &Step::default()).await.ok()?;
            io.write_all(GREETING).await.ok()?;
            let mut first = [0; 4];
            io.read_exact(&mut first).await.ok()?;
            Some(told_by(&first) == HTTP2)
        };
        within(greeting).await.flatten() == Some(true)
    }

    /// Whether the server speaks TLS. TLS servers often close without an answer if a connection
    /// begins with anything else.
    #[cfg(feature = "tls")]
    async fn greets_in_tls(&self, uri: &Uri) -> bool {
        if is_secure(uri) {
            return false;
        }
        match within(self.probe(uri, None)).await {
            Some(Ok(_)) => true,
            Some(Err(error)) => {
                error.event == Event::TlsFailed && error.detail.hint != Some(Hint::PortWithoutTls)
            }
            None => false,
        }
    }

    #[cfg(not(feature = "tls"))]
    async fn greets_in_tls(&self, _: &Uri) -> bool {
        false
    }

    /// Makes a TLS handshake with whatever server is there, over which nothing is sent.
    #[cfg(feature = "tls")]
    async fn probe(
        &self,
        uri: &Uri,
        protocol: Option<Protocol>,
    ) -> Result<Box<dyn super::dial::Io>, AttemptError> {
        let io = self.reach(uri, &Step::default()).await?;
        let probe = crate::tls::probe(protocol);
        super::secure::handshake(io, &probe, super::host(uri)).await.map(|(io, _)| io)
    }
}

async fn within<T>(greeting: impl Future<Output = T>) -> Option<T> {
    tokio::time::timeout(PATIENCE, greeting).await.ok()
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
        assert_eq!(told_by(b"H"), OTHER);
    }
}
