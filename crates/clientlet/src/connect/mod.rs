//! Makes connections, and counts what is written to them.

mod dial;
#[cfg(any(test, fuzzing))]
pub(crate) mod memory;
mod names;
mod spoken;

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use http::Uri;
use hyper::rt::{Read, ReadBuf, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use self::dial::SetAside;
pub(crate) use self::spoken::Spoken;
use crate::error::{AttemptError, Event};
use crate::runtime;

/// Makes connections that count what is written to them.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    network: Network,
    /// The time from looking up the name to the finished connection.
    timeout: Duration,
    opened: Opened,
}

#[derive(Clone, Debug)]
enum Network {
    /// TCP with Nagle's algorithm switched off.
    Tcp(Names, Arc<SetAside>),
    #[cfg(test)]
    Simulated,
    #[cfg(any(test, fuzzing))]
    Memory(memory::Dial),
}

/// The source of a name's addresses.
#[derive(Clone, Debug)]
enum Names {
    System,
    #[cfg(test)]
    Fixed(Vec<SocketAddr>),
}

impl Connector {
    pub(crate) fn new(timeout: Duration) -> Connector {
        Connector::over(Network::Tcp(Names::System, Arc::default()), timeout)
    }

    #[cfg(test)]
    pub(crate) fn simulated(timeout: Duration) -> Connector {
        Connector::over(Network::Simulated, timeout)
    }

    /// Makes a connector for which every name has these addresses.
    #[cfg(test)]
    pub(crate) fn to(addresses: Vec<SocketAddr>, timeout: Duration) -> Connector {
        Connector::over(Network::Tcp(Names::Fixed(addresses), Arc::default()), timeout)
    }

    /// Makes a connector whose connections come from `dial`.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn memory<T: memory::Io>(dial: impl Fn() -> T + Send + Sync + 'static) -> Connector {
        Connector::over(Network::Memory(memory::Dial::new(dial)), Duration::from_secs(1))
    }

    fn over(network: Network, timeout: Duration) -> Connector {
        Connector { network, timeout, opened: Opened::default() }
    }

    /// The count of the connections that were made.
    pub(crate) fn opened(&self) -> &Opened {
        &self.opened
    }

    /// Opens a connection to the host and port of `uri`, or to port 80 if `uri` names none.
    ///
    /// # Errors
    /// When there is no runtime, the host has no address, no address accepts the connection, or the
    /// connect time-out passes.
    pub(crate) async fn open(&self, uri: &Uri) -> Result<Counted<Stream>, AttemptError> {
        runtime::here()?;
        let opening = timeout(self.timeout, self.connect(uri)).await;
        let stream = opening.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let stream = stream.map_err(|error| failed(error, uri))?;
        self.opened.add();
        Ok(Counted::new(stream))
    }

    async fn connect(&self, uri: &Uri) -> io::Result<Stream> {
        // In a URL an IPv6 address has brackets around it, which are no part of the address.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(HTTP);
        match &self.network {
            Network::Tcp(names, aside) => {
                let addresses = names.addresses(host, port).await?;
                let stream = dial::first(addresses, aside, TcpStream::connect).await?;
                stream.set_nodelay(true)?;
                Ok(Stream::Tcp(TokioIo::new(stream)))
            }
            #[cfg(test)]
            Network::Simulated => {
                let stream = turmoil::net::TcpStream::connect((host, port)).await?;
                Ok(Stream::Simulated(TokioIo::new(stream)))
            }
            #[cfg(any(test, fuzzing))]
            Network::Memory(dial) => Ok(Stream::Memory(TokioIo::new(dial.dial()))),
        }
    }
}

impl Names {
    async fn addresses(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        match self {
            Names::System => names::look_up(host, port).await,
            #[cfg(test)]
            Names::Fixed(addresses) => Ok(addresses.clone()),
        }
    }
}

/// The port of URLs that name none.
const HTTP: u16 = 80;

/// Classifies the failure to open a connection.
fn failed(error: io::Error, uri: &Uri) -> AttemptError {
    let host = uri.host().unwrap_or_default();
    let port = uri.port_u16().unwrap_or(HTTP);
    let (event, message) = match error.kind() {
        io::ErrorKind::TimedOut => {
            let what = format!("no connection to {host}:{port} within the connect time-out");
            (Event::ConnectTimedOut, what)
        }
        io::ErrorKind::ConnectionRefused => {
            let what = format!("connection refused; nothing listens at {host}:{port}");
            (Event::ConnectFailed, what)
        }
        _ => (Event::ConnectFailed, format!("no connection to {host}:{port}: {error}")),
    };
    AttemptError::new(event, message).with_source(error)
}

/// A connection as it was made.
#[derive(Debug)]
pub(crate) enum Stream {
    Tcp(TokioIo<TcpStream>),
    #[cfg(test)]
    Simulated(TokioIo<turmoil::net::TcpStream>),
    #[cfg(any(test, fuzzing))]
    Memory(TokioIo<Box<dyn memory::Io>>),
}

/// Calls the same method of whichever stream it is, pinned.
macro_rules! delegate {
    ($stream:expr, $method:ident($($argument:expr),*)) => {
        match &mut *$stream {
            Stream::Tcp(io) => Pin::new(io).$method($($argument),*),
            #[cfg(test)]
            Stream::Simulated(io) => Pin::new(io).$method($($argument),*),
            #[cfg(any(test, fuzzing))]
            Stream::Memory(io) => Pin::new(io).$method($($argument),*),
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

/// A connection that counts what is written to it: the difference between a request that was
/// certainly not sent and one that may have arrived.
///
/// The connection keeps reading after the other side has closed. A gateway that answers before it
/// has read a request, and closes, makes the next write fail, although its answer is there to be
/// read. So a write that fails because the other side has closed counts as done; reading delivers
/// the answer, then the end, and ends the connection. (The answer can still be lost: some systems
/// drop received data when a connection is reset. Linux does not.) Bytes that come before anything
/// was sent, such as the 503 of a proxy with too many connections, are kept until the request is
/// written, and are read as its answer.
pub(crate) struct Counted<T> {
    io: T,
    written: Written,
    spoken: Spoken,
    /// Bytes that came before anything was sent.
    early: Early,
}

/// The state of bytes that come on a connection before anything is written to it.
#[derive(Debug)]
enum Early {
    /// Nothing was written yet. Holds the first bytes, if any came, and the waker of the task that
    /// reads.
    Held(Vec<u8>, Option<Waker>),
    /// A request was written; these bytes are read next.
    Due(Vec<u8>),
    /// The bytes were read, or none came.
    Read,
}

impl<T> Counted<T> {
    fn new(io: T) -> Counted<T> {
        Counted {
            io,
            written: Written::default(),
            spoken: Spoken::default(),
            early: Early::Held(Vec::new(), None),
        }
    }

    pub(crate) fn spoken(&self) -> Spoken {
        self.spoken.clone()
    }

    /// The write counter of this connection.
    pub(crate) fn written(&self) -> Written {
        self.written.clone()
    }

    /// Marks the beginning of writing: from now on bytes are handed over as they come.
    fn begin(&mut self) {
        if let Early::Held(bytes, reader) = &mut self.early {
            let (bytes, reader) = (std::mem::take(bytes), reader.take());
            self.early = if bytes.is_empty() { Early::Read } else { Early::Due(bytes) };
            if let Some(reader) = reader {
                reader.wake();
            }
        }
    }

    /// Counts a write of `of` bytes, if it wrote any. If the other side has closed, the caller is
    /// told that all bytes were written, and nothing is counted.
    fn count(&self, result: Poll<io::Result<usize>>, of: usize) -> Poll<io::Result<usize>> {
        match &result {
            Poll::Ready(Ok(1..)) => self.written.add(),
            Poll::Ready(Err(error)) if is_closed(error) => return Poll::Ready(Ok(of)),
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

impl<T: fmt::Debug> fmt::Debug for Counted<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Counted").field("io", &self.io).finish_non_exhaustive()
    }
}

/// The size limit of a connection's first read.
const GLANCE: usize = 16;

impl Counted<Stream> {
    /// Reads before anything was written. The end and errors are reported immediately; bytes are
    /// kept.
    fn poll_early(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Early::Held(held, reader) = &mut self.early else { return Poll::Pending };
        if held.is_empty() {
            let mut bytes = [0; GLANCE];
            let mut first = ReadBuf::new(&mut bytes);
            if let Poll::Ready(read) = delegate!(&mut self.io, poll_read(cx, first.unfilled())) {
                read?;
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
        ready!(delegate!(&mut self.io, poll_read(cx, first.unfilled())))?;
        self.spoken.hear(first.filled());
        buffer.put_slice(first.filled());
        Poll::Ready(Ok(()))
    }
}

impl Read for Counted<Stream> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let this = &mut *self;
        match &mut this.early {
            Early::Read if this.spoken.is_known() => {
                delegate!(&mut this.io, poll_read(cx, buffer))
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

impl Write for Counted<Stream> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let result = delegate!(&mut self.io, poll_write(cx, bytes));
        self.count(result, bytes.len())
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.begin();
        let result = delegate!(&mut self.io, poll_write_vectored(cx, slices));
        self.count(result, slices.iter().map(|slice| slice.len()).sum())
    }

    fn is_write_vectored(&self) -> bool {
        match &self.io {
            Stream::Tcp(io) => io.is_write_vectored(),
            #[cfg(test)]
            Stream::Simulated(_) => false,
            #[cfg(any(test, fuzzing))]
            Stream::Memory(_) => false,
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.io, poll_flush(cx))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        delegate!(&mut self.io, poll_shutdown(cx))
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::{TcpListener, TcpSocket};

    use super::*;

    /// An address that never answers, because its backlog is full. The streams and the listener
    /// keep the backlog full.
    async fn black_hole() -> (SocketAddr, TcpListener, Vec<TcpStream>) {
        let socket = TcpSocket::new_v4().unwrap();
        socket.bind("127.0.0.1:0".parse().unwrap()).unwrap();
        let listener = socket.listen(1).unwrap();
        let address = listener.local_addr().unwrap();
        let mut streams = Vec::new();
        while let Ok(stream) =
            timeout(Duration::from_millis(300), TcpStream::connect(address)).await
        {
            streams.push(stream.unwrap());
        }
        (address, listener, streams)
    }

    #[tokio::test]
    async fn a_name_whose_first_address_does_not_answer_is_connected_all_the_same() {
        let (dead, _listener, _streams) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lives = listener.local_addr().unwrap();
        let connector = Connector::to(vec![dead, lives], Duration::from_secs(60));
        let stream = connector.open(&Uri::from_static("http://name/")).await.unwrap();
        let Stream::Tcp(stream) = stream.io else { panic!("it is TCP") };
        assert_eq!(stream.inner().peer_addr().unwrap(), lives);

        let connector = Connector::to(vec![dead], Duration::from_millis(50));
        let error = connector.open(&Uri::from_static("http://name/")).await.unwrap_err();
        assert_eq!(error.event, Event::ConnectTimedOut);
    }

    #[tokio::test]
    async fn what_cannot_be_connected_is_told() {
        let connector = Connector::new(Duration::from_secs(60));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let uri: Uri = format!("http://{closed}/").parse().unwrap();
        let error = connector.open(&uri).await.unwrap_err();
        assert_eq!(error.message, format!("connection refused; nothing listens at {closed}"));
        let error = connector.open(&Uri::from_static("http://name.invalid/")).await.unwrap_err();
        let told = "no connection to name.invalid:80: ";
        assert!(error.message.starts_with(told), "{}", error.message);
        assert_eq!(connector.opened().count(), 0);
    }
}
