//! Makes connections, and counts what is written to them.

mod spoken;

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::client::legacy::connect::{Connected, Connection, HttpConnector};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tower_service::Service;

pub(crate) use self::spoken::Spoken;

/// Makes connections that count what is written to them.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    network: Network,
    writes: Writes,
    opened: Opened,
}

#[derive(Clone, Debug)]
enum Network {
    /// TCP with Nagle's algorithm off, both address families tried as RFC 8305 says.
    Tcp(HttpConnector),
    #[cfg(test)]
    Simulated(Duration),
}

impl Connector {
    pub(crate) fn new(timeout: Duration) -> Connector {
        let mut tcp = HttpConnector::new();
        tcp.set_nodelay(true);
        tcp.set_connect_timeout(Some(timeout));
        Connector::over(Network::Tcp(tcp))
    }

    #[cfg(test)]
    pub(crate) fn simulated(timeout: Duration) -> Connector {
        Connector::over(Network::Simulated(timeout))
    }

    fn over(network: Network) -> Connector {
        Connector { network, writes: Writes::default(), opened: Opened::default() }
    }

    /// The count of the connections that were made.
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// The count of all writes to this connector's connections.
    pub(crate) fn writes(&self) -> &Writes {
        &self.writes
    }
}

type TcpError = <HttpConnector as Service<Uri>>::Error;
type ConnectError = Box<dyn std::error::Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = Counted<Stream>;
    type Error = ConnectError;
    type Future = Pin<Box<dyn Future<Output = Result<Counted<Stream>, ConnectError>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), ConnectError>> {
        match &mut self.network {
            Network::Tcp(tcp) => tcp.poll_ready(cx).map_err(Into::into),
            #[cfg(test)]
            Network::Simulated(_) => Poll::Ready(Ok(())),
        }
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let (writes, opened) = (self.writes.clone(), self.opened.clone());
        match &mut self.network {
            Network::Tcp(tcp) => {
                let connecting = tcp.call(uri);
                Box::pin(async move {
                    let connected: Result<_, TcpError> = connecting.await;
                    let stream = Stream::Tcp(connected?);
                    opened.add();
                    Ok(Counted::new(stream, writes))
                })
            }
            #[cfg(test)]
            Network::Simulated(timeout) => {
                let timeout = *timeout;
                Box::pin(async move {
                    let address = (uri.host().unwrap_or_default(), uri.port_u16().unwrap_or(80));
                    let connecting = turmoil::net::TcpStream::connect(address);
                    let connected = tokio::time::timeout(timeout, connecting)
                        .await
                        .map_err(|_| io::Error::from(io::ErrorKind::TimedOut))?;
                    let stream = Stream::Simulated(TokioIo::new(connected?));
                    opened.add();
                    Ok(Counted::new(stream, writes))
                })
            }
        }
    }
}

/// A connection as it was made.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TokioIo<TcpStream>),
    #[cfg(test)]
    Simulated(TokioIo<turmoil::net::TcpStream>),
}

/// Calls the same method of whichever stream it is, pinned.
macro_rules! delegate {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match &mut *$stream {
            Stream::Tcp(io) => Pin::new(io).$method($($argument),*),
            #[cfg(test)]
            Stream::Simulated(io) => Pin::new(io).$method($($argument),*),
        }
    };
}

/// Counts the connections of a connector.
#[derive(Clone, Debug, Default)]
pub(crate) struct Opened(Arc<AtomicU64>);

impl Opened {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }

    fn add(&self) {
        self.0.fetch_add(1, Ordering::Relaxed);
    }
}

/// Numbers the writes to all connections of a connector, so that of two moments on different
/// connections the later one is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Writes(Arc<AtomicU64>);

impl Writes {
    pub(crate) fn count(&self) -> u64 {
        self.0.load(Ordering::Acquire)
    }

    fn next(&self) -> u64 {
        self.0.fetch_add(1, Ordering::AcqRel) + 1
    }
}

/// The number of the last write to one connection.
#[derive(Clone, Debug, Default)]
pub(crate) struct Written(Arc<AtomicU64>);

impl Written {
    /// That of a connection that a pool tells of.
    pub(crate) fn of(connected: &Connected) -> Option<Written> {
        let mut extras = http::Extensions::new();
        connected.get_extras(&mut extras);
        extras.remove::<Written>()
    }

    /// Whether anything was written to the connection after so many writes in all.
    pub(crate) fn is_later_than(&self, writes: u64) -> bool {
        self.0.load(Ordering::Acquire) > writes
    }
}

/// A connection that counts what is written to it: the difference between a request that was
/// certainly not sent and one that may have arrived.
#[derive(Debug)]
pub(crate) struct Counted<T> {
    io: T,
    written: Written,
    writes: Writes,
    spoken: Spoken,
}

impl<T> Counted<T> {
    fn new(io: T, writes: Writes) -> Counted<T> {
        Counted { io, written: Written::default(), writes, spoken: Spoken::default() }
    }

    pub(crate) fn spoken(&self) -> Spoken {
        self.spoken.clone()
    }

    /// Counts what was written of so many bytes. Whoever closes before it has read all may have said why,
    /// and in which protocol: as long as nothing was read, writing does not fail, and reading ends it.
    fn count(&self, result: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(1..)) => self.written.0.store(self.writes.next(), Ordering::Release),
            Poll::Ready(Err(error)) if !self.spoken.is_known() && is_closed(error) => {
                return Poll::Ready(Ok(of));
            }
            _ => {}
        }
        result
    }
}

/// Whether the other side has closed.
fn is_closed(error: &io::Error) -> bool {
    use io::ErrorKind::{BrokenPipe, ConnectionAborted, ConnectionReset};
    matches!(error.kind(), BrokenPipe | ConnectionAborted | ConnectionReset)
}

impl<T> Connection for Counted<T> {
    fn connected(&self) -> Connected {
        Connected::new().extra(self.written.clone()).extra(self.spoken.clone())
    }
}

impl Read for Counted<Stream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        if self.spoken.is_known() {
            return delegate!(&mut self.io, poll_read(cx, buffer));
        }
        let this = &mut *self;
        this.spoken.poll_first(buffer, |first| delegate!(&mut this.io, poll_read(cx, first)))
    }
}

impl Write for Counted<Stream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = delegate!(&mut self.io, poll_write(cx, bytes));
        self.count(result, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = delegate!(&mut self.io, poll_write_vectored(cx, slices));
        self.count(result, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Stream::Tcp(io) => io.is_write_vectored(),
            #[cfg(test)]
            Stream::Simulated(_) => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.io, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.io, poll_shutdown(cx))
    }
}
