//! Makes connections that count the writes to them.

mod counted;
pub(crate) mod dial;
mod eyeballs;
mod heard;
#[cfg(any(test, fuzzing))]
#[path = "../../unit/memory.rs"]
pub(crate) mod memory;
mod names;
#[cfg(feature = "proxy")]
pub(crate) mod proxied;
#[cfg(feature = "tls")]
mod secure;
mod socket;
mod spoken;

use std::sync::Arc;
use std::time::Duration;

use http::Uri;
use http::uri::Scheme;
use tokio::time::{Instant, timeout};

pub(crate) use self::counted::{Counted, Written};
use self::dial::{Dial, Io, Step, Tcp, port_of};
pub(crate) use self::heard::Heard;
pub(crate) use self::spoken::Spoken;
use crate::config::Config;
use crate::driver::{self, Driver, Task};
use crate::error::{AttemptError, Event, Hint};
use crate::telemetry::Telemetry;
use crate::{log, runtime};

/// Makes connections that count the writes to them.
#[derive(Clone, Debug)]
pub(crate) struct Connector {
    dial: Arc<dyn Dial>,
    /// The time from looking up the name to the finished connection, TLS included.
    timeout: Duration,
    #[cfg(feature = "tls")]
    tls: Option<crate::tls::Prepared>,
    /// `None` in tests.
    telemetry: Option<Telemetry>,
    /// What drives the connections, if the runtime does not.
    driver: Option<Arc<dyn Driver>>,
}

impl Connector {
    pub(crate) fn new(config: &Config) -> Connector {
        Connector {
            dial: network(config),
            timeout: config.connect_timeout,
            #[cfg(feature = "tls")]
            tls: config.tls.clone(),
            telemetry: Some(config.telemetry.clone()),
            driver: config.driver.clone(),
        }
    }

    /// Makes a connector over any kind of network, without TLS.
    #[cfg(any(test, fuzzing))]
    pub(crate) fn over(dial: impl Dial, timeout: Duration) -> Connector {
        Connector {
            dial: Arc::new(dial),
            timeout,
            #[cfg(feature = "tls")]
            tls: None,
            telemetry: None,
            driver: None,
        }
    }

    /// The same connector with the TLS of these settings.
    #[cfg(all(test, feature = "tls"))]
    pub(crate) fn secured(self, config: &Config) -> Connector {
        Connector { tls: config.tls.clone(), ..self }
    }

    /// Opens a connection to the host and port of `uri`, or to its scheme's port if `uri` names none,
    /// with TLS if the scheme is `https`.
    ///
    /// # Errors
    /// If there is no runtime, the host has no address, no address accepts the connection, the TLS
    /// handshake fails, or the connect time-out passes.
    pub(crate) async fn open(&self, uri: &Uri) -> Result<Counted, AttemptError> {
        runtime::here()?;
        let step = Step::default();
        let began = Instant::now();
        let opening = async {
            let io = self.reach(uri, &step).await?;
            #[cfg(feature = "tls")]
            if let (Some(tls), true) = (&self.tls, is_secure(uri)) {
                step.set(Step::TLS);
                let secured = secure::handshake(io, tls, host(uri)).await;
                let (io, version) = secured.map_err(|error| step.behind(error))?;
                return Ok((io, Some(version)));
            }
            Ok((io, None::<&str>))
        };
        let opened = timeout(self.timeout, opening).await;
        let (io, tls) = opened.unwrap_or_else(|_| Err(late(uri, &step, self.timeout)))?;
        let address = port_of(host(uri), port(uri));
        log::connection_opened(&*address, step.proxy(), tls, began.elapsed().as_secs_f64());
        Ok(Counted::new(io, self.telemetry.clone()))
    }

    /// Runs the task of a connection.
    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> Task {
        driver::spawn(self.driver.as_ref(), task)
    }

    /// Opens a connection without TLS.
    async fn reach(&self, uri: &Uri, step: &Step) -> Result<Box<dyn Io>, AttemptError> {
        self.dial.dial(host(uri), port(uri), step).await
    }
}

#[cfg(feature = "proxy")]
fn network(config: &Config) -> Arc<dyn Dial> {
    match &config.proxy {
        Some(proxy) => Arc::new(proxied::Proxied::new(proxy.clone())),
        None => Arc::new(Tcp::driven(config.driver.is_some())),
    }
}

#[cfg(not(feature = "proxy"))]
fn network(config: &Config) -> Arc<dyn Dial> {
    Arc::new(Tcp::driven(config.driver.is_some()))
}

/// The host of a URL: a name, or an address without the brackets that IPv6 has in a URL.
fn host(uri: &Uri) -> &str {
    uri.host().unwrap_or_default().trim_matches(['[', ']'])
}

/// The port of a URL, or its scheme's port.
fn port(uri: &Uri) -> u16 {
    uri.port_u16().unwrap_or(if is_secure(uri) { 443 } else { 80 })
}

fn is_secure(uri: &Uri) -> bool {
    uri.scheme() == Some(&Scheme::HTTPS)
}

fn late(uri: &Uri, step: &Step, timeout: Duration) -> AttemptError {
    let (to, late) = (port_of(host(uri), port(uri)), step.late());
    let what = format!("no connection to {to} within the connect time-out of {timeout:?}{late}");
    let error = AttemptError::new(Event::ConnectTimedOut, what);
    if step.is_of_proxy() { error.with_hint(Hint::Proxy) } else { error }
}

#[cfg(test)]
mod tests {
    use std::net::SocketAddr;

    use tokio::net::{TcpListener, TcpSocket, TcpStream};

    use super::dial::Dialling;
    use super::*;

    /// A network in which every name has these addresses.
    #[derive(Debug)]
    struct Fixed(Vec<SocketAddr>);

    impl Dial for Fixed {
        fn dial<'d>(&'d self, _: &'d str, _: u16, _: &'d Step) -> Dialling<'d> {
            Box::pin(async {
                let first = Tcp::default().first(self.0.clone()).await;
                first.map_err(|error| dial::failed(error, "name", 80))
            })
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
        let told = "no connection to name:80 within the connect time-out of 50ms; no address answered by then";
        assert_eq!(error.message, told);
    }

    /// A network that waits in this step forever.
    #[derive(Debug)]
    struct Slow(u8);

    impl Dial for Slow {
        fn dial<'d>(&'d self, _: &'d str, _: u16, step: &'d Step) -> Dialling<'d> {
            step.set(self.0);
            Box::pin(std::future::pending())
        }
    }

    #[tokio::test(start_paused = true)]
    async fn the_connect_time_out_says_which_part_was_slow() {
        for (step, slow) in [
            (Step::LOOK_UP, "the name was not found by then"),
            (Step::TCP, "no address answered by then"),
            (Step::TLS, "the TLS handshake was not complete by then"),
        ] {
            let connector = Connector::over(Slow(step), Duration::from_secs(10));
            let error = connector.open(&Uri::from_static("http://name/")).await.unwrap_err();
            let told =
                format!("no connection to name:80 within the connect time-out of 10s; {slow}");
            assert_eq!((error.event, &error.message), (Event::ConnectTimedOut, &told));
        }
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
