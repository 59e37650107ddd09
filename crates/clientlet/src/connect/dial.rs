//! The kinds of network that connections are made on.

use std::fmt;
use std::io;
use std::net::SocketAddr;

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::eyeballs::{self, SetAside};
use super::names;

/// The client's side of a connection on any kind of network.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug + 'static> Io for T {}

/// A network.
pub(crate) trait Dial: Send + Sync + fmt::Debug + 'static {
    /// Opens a connection to a host: a name, or an address without brackets.
    fn dial<'d>(&'d self, host: &'d str, port: u16) -> BoxFuture<'d, io::Result<Box<dyn Io>>>;
}

/// TCP with Nagle's algorithm switched off.
#[derive(Debug, Default)]
pub(super) struct Tcp {
    aside: SetAside,
}

impl Tcp {
    /// Connects to the first address that answers.
    pub(super) async fn first(&self, addresses: Vec<SocketAddr>) -> io::Result<Box<dyn Io>> {
        let stream = eyeballs::first(addresses, &self.aside, TcpStream::connect).await?;
        stream.set_nodelay(true)?;
        Ok(Box::new(stream))
    }
}

impl Dial for Tcp {
    fn dial<'d>(&'d self, host: &'d str, port: u16) -> BoxFuture<'d, io::Result<Box<dyn Io>>> {
        Box::pin(async move { self.first(names::look_up(host, port).await?).await })
    }
}
