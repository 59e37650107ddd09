//! The kinds of network that connections are made on.

use std::fmt;
use std::io;
use std::net::SocketAddr;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicU8, Ordering};

use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use super::eyeballs::{self, SetAside};
use super::names;
use super::socket::Socket;
use crate::error::{AttemptError, Event};

/// The client's side of a connection on any kind of network.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug + 'static {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin + fmt::Debug + 'static> Io for T {}

/// What the opening of a connection is waiting for.
#[derive(Debug, Default)]
pub(crate) struct Step {
    now: AtomicU8,
    /// The proxy that is to make the connection.
    proxy: OnceLock<String>,
}

impl Step {
    pub(super) const LOOK_UP: u8 = 1;
    pub(super) const TCP: u8 = 2;
    pub(super) const TLS: u8 = 3;
    pub(super) const PROXY: u8 = 4;

    pub(super) fn set(&self, step: u8) {
        self.now.store(step, Ordering::Relaxed);
    }

    /// Notes that a proxy is to make the connection. The steps up to TLS with the gateway are about it.
    #[cfg(feature = "proxy")]
    pub(super) fn through(&self, proxy: String) {
        // An error says that this was noted before.
        let _ = self.proxy.set(proxy);
    }

    /// The proxy that is to make the connection, if there is one.
    pub(super) fn proxy(&self) -> Option<&str> {
        self.proxy.get().map(String::as_str)
    }

    /// Names the proxy, if any, in the error of a handshake with the gateway: the other side may have been the
    /// proxy, which answered as if it had made the connection, or broke it.
    #[cfg(feature = "tls")]
    pub(super) fn behind(&self, mut error: AttemptError) -> AttemptError {
        if let Some(proxy) = self.proxy.get() {
            error.message = format!("through the proxy {proxy}: {}", error.message);
        }
        error
    }

    /// Whether the opening is waiting for a proxy.
    pub(super) fn is_of_proxy(&self) -> bool {
        self.proxy.get().is_some() && self.now.load(Ordering::Relaxed) != Step::TLS
    }

    /// Says which step took too long.
    pub(super) fn late(&self) -> String {
        match (self.now.load(Ordering::Relaxed), self.proxy.get()) {
            (Step::TLS, _) => "; the TLS handshake was not complete by then".to_owned(),
            (Step::LOOK_UP, None) => "; the name was not found by then".to_owned(),
            (Step::LOOK_UP, Some(proxy)) => {
                format!("; the name of the proxy {proxy} was not found by then")
            }
            (Step::PROXY, Some(proxy)) => format!("; the proxy {proxy} had not answered by then"),
            (_, Some(proxy)) => format!("; the proxy {proxy} was not reached by then"),
            (_, None) => "; no address answered by then".to_owned(),
        }
    }
}

/// The opening of a connection.
pub(crate) type Dialling<'d> = BoxFuture<'d, Result<Box<dyn Io>, AttemptError>>;

/// A network.
pub(crate) trait Dial: Send + Sync + fmt::Debug + 'static {
    /// Opens a connection to a host: a name, or an address without brackets. Notes in `step` what it
    /// is waiting for.
    fn dial<'d>(&'d self, host: &'d str, port: u16, step: &'d Step) -> Dialling<'d>;
}

/// TCP with Nagle's algorithm switched off.
#[derive(Debug, Default)]
pub(super) struct Tcp {
    aside: SetAside,
    /// Whether a driver may take over the sockets.
    is_driven: bool,
}

impl Tcp {
    pub(super) fn driven(is_driven: bool) -> Tcp {
        Tcp { is_driven, ..Tcp::default() }
    }

    /// Connects to the first address that answers.
    pub(super) async fn first(&self, addresses: Vec<SocketAddr>) -> io::Result<Box<dyn Io>> {
        let stream = eyeballs::first(addresses, &self.aside, TcpStream::connect).await?;
        stream.set_nodelay(true)?;
        Ok(match self.is_driven {
            true => Box::new(Socket::OfRuntime(stream)),
            false => Box::new(stream),
        })
    }
}

impl Dial for Tcp {
    fn dial<'d>(&'d self, host: &'d str, port: u16, step: &'d Step) -> Dialling<'d> {
        Box::pin(async move {
            step.set(Step::LOOK_UP);
            let dialled = async {
                let addresses = names::look_up(host, port).await?;
                step.set(Step::TCP);
                self.first(addresses).await
            };
            dialled.await.map_err(|error| failed(error, host, port))
        })
    }
}

/// Classifies the failure to open a connection.
pub(crate) fn failed(error: io::Error, host: &str, port: u16) -> AttemptError {
    let to = port_of(host, port);
    let message = match error.kind() {
        io::ErrorKind::ConnectionRefused => format!("connection refused; nothing listens at {to}"),
        _ => format!("no connection to {to}: {error}"),
    };
    AttemptError::new(Event::ConnectFailed, message).with_source(error)
}

/// A host and a port, as a URL writes them.
pub(super) fn port_of(host: &str, port: u16) -> String {
    match host.contains(':') {
        true => format!("[{host}]:{port}"),
        false => format!("{host}:{port}"),
    }
}
