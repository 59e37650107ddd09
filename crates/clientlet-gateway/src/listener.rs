//! Sources of connections.

use std::future::Future;
use std::io;
use std::net::SocketAddr;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};

/// A source of connections: tokio's TCP, a simulated network, a pipe in memory.
pub trait Listener: Send + 'static {
    /// A connection.
    type Io: AsyncRead + AsyncWrite + Send + Unpin + 'static;

    /// Waits for the next connection. The future must be cancel-safe, because an unfinished wait
    /// may be dropped.
    fn accept(&mut self) -> impl Future<Output = io::Result<Self::Io>> + Send;

    /// The address of the listener.
    ///
    /// # Errors
    ///
    /// As the system reports them.
    fn local_addr(&self) -> io::Result<SocketAddr>;

    /// Prepares the connection so that dropping it is a reset and not an orderly end. By default
    /// this does nothing.
    fn reset_on_drop(connection: &Self::Io) {
        let _ = connection;
    }
}

impl Listener for TcpListener {
    type Io = TcpStream;

    async fn accept(&mut self) -> io::Result<TcpStream> {
        let (stream, _) = TcpListener::accept(self).await?;
        // Without it the kernel holds back the pieces of a slow answer.
        stream.set_nodelay(true)?;
        Ok(stream)
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        TcpListener::local_addr(self)
    }

    fn reset_on_drop(connection: &TcpStream) {
        // A zero linger time turns closing into RST. Fails only if the peer is gone already.
        let _ = connection.set_zero_linger();
    }
}
