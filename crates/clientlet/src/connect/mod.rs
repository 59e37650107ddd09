//! Makes connections that count the writes to them.

mod counted;
pub(crate) mod dial;
mod eyeballs;
#[cfg(any(test, fuzzing))]
#[path = "../../unit/memory.rs"]
pub(crate) mod memory;
mod names;
mod spoken;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use tokio::time::timeout;

pub(crate) use self::counted::{Counted, Written};
use self::dial::{Dial, Tcp};
pub(crate) use self::spoken::Spoken;
use crate::config::Config;
use crate::error::{AttemptError, Event};
use crate::runtime;

/// Makes connections that count the writes to them.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    dial: Arc<dyn Dial>,
    /// The time from looking up the name to the finished connection.
    timeout: Duration,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Connector {
        Connector::over(Tcp::default(), config.connect_timeout)
    }

    /// Makes a connector over any kind of network.
    pub(crate) fn over(dial: impl Dial, timeout: Duration) -> Connector {
        Connector { dial: Arc::new(dial), timeout }
    }

    /// Opens a connection to the host and port of `uri`, or to port 80 if `uri` names none.
    ///
    /// # Errors
    /// If there is no runtime, the host has no address, no address accepts the connection, or the
    /// connect time-out passes.
    pub(crate) async fn open(&self, uri: &Uri) -> Result<Counted, AttemptError> {
        runtime::here()?;
        // In a URL an IPv6 address is in brackets, which are not part of the address.
        let host = uri.host().unwrap_or_default().trim_matches(['[', ']']);
        let port = uri.port_u16().unwrap_or(HTTP);
        let dialled = timeout(self.timeout, self.dial.dial(host, port)).await;
        let io = dialled.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()));
        let io = io.map_err(|error| failed(error, uri))?;
        Ok(Counted::new(io))
    }
}

/// The port of URLs without a port.
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

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use futures_util::future::BoxFuture;
    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::dial::Io;
    use super::*;

    /// A network in which every name has these addresses.
    #[derive(Debug)]
    struct Fixed(Vec<SocketAddr>);

    impl Dial for Fixed {
        fn dial<'d>(&'d self, _: &'d str, _: u16) -> BoxFuture<'d, io::Result<Box<dyn Io>>> {
            Box::pin(async { Tcp::default().first(self.0.clone()).await })
        }
    }

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
    async fn a_name_is_connected_even_if_its_first_address_does_not_answer() {
        let (dead, _listener, _streams) = black_hole().await;
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let lives = listener.local_addr().unwrap();
        let connector = Connector::over(Fixed(vec![dead, lives]), Duration::from_secs(60));
        let _stream = connector.open(&Uri::from_static("http://name/")).await.unwrap();
        listener.accept().await.unwrap();

        let connector = Connector::over(Fixed(vec![dead]), Duration::from_millis(50));
        let error = connector.open(&Uri::from_static("http://name/")).await.unwrap_err();
        assert_eq!(error.event, Event::ConnectTimedOut);
    }

    #[tokio::test]
    async fn a_failure_to_connect_names_the_host_and_the_reason() {
        let connector = Connector::over(Tcp::default(), Duration::from_secs(60));
        let closed = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
        let uri: Uri = format!("http://{closed}/").parse().unwrap();
        let error = connector.open(&uri).await.unwrap_err();
        assert_eq!(error.message, format!("connection refused; nothing listens at {closed}"));
        let error = connector.open(&Uri::from_static("http://name.invalid/")).await.unwrap_err();
        let told = "no connection to name.invalid:80: ";
        assert!(error.message.starts_with(told), "{}", error.message);
    }
}
