//! Connections through a proxy.

use std::io;
use std::net::IpAddr;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{HOST, PROXY_AUTHORIZATION};
use http::{HeaderValue, Method, Request, StatusCode, Uri, response};
use http_body_util::Empty;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::dial::{Dial, Dialling, Io, Step, Tcp};
use super::port_of;
use crate::config::ProxyConfig;
use crate::error::{AttemptError, Event, Hint};
use crate::foreign::shorten;
use crate::proxy::{Proxy, ProxyKind};

/// The longest head of a proxy's answer, in bytes.
const HEAD_LIMIT: usize = 16 << 10;

/// A network behind a proxy.
#[derive(Debug)]
pub(super) struct Proxied {
    tcp: Tcp,
    config: ProxyConfig,
}

impl Proxied {
    pub(super) fn new(config: ProxyConfig) -> Proxied {
        Proxied { tcp: Tcp::default(), config }
    }

    async fn reach(&self, step: &Step) -> Result<Box<dyn Io>, AttemptError> {
        let proxy = &self.config.proxy;
        step.through(proxy.to_string());
        let io = self.tcp.dial(&proxy.host, proxy.port, step).await.map_err(|mut error| {
            error.message = format!("the proxy {proxy}: {}", error.message);
            error.with_hint(Hint::Proxy)
        })?;
        step.set(Step::PROXY);
        #[cfg(feature = "tls")]
        if let Some(tls) = &self.config.tls {
            let secured = super::secure::handshake(io, tls, &proxy.host).await;
            return secured.map(|(io, _)| io).map_err(|mut error| {
                error.message = format!("the proxy {proxy}: {}", error.message);
                error.with_hint(Hint::Proxy)
            });
        }
        Ok(io)
    }
}

impl Dial for Proxied {
    fn dial<'d>(&'d self, host: &'d str, port: u16, step: &'d Step) -> Dialling<'d> {
        Box::pin(async move {
            let io = self.reach(step).await?;
            let proxy = &self.config.proxy;
            match proxy.kind {
                _ if self.config.forwards => Ok(io),
                ProxyKind::Http | ProxyKind::Https => tunnel(io, proxy, host, port).await,
                ProxyKind::Socks5 => socks(io, proxy, host, port).await,
            }
        })
    }
}

/// The credentials of a proxy, as a header's value.
fn authorization(proxy: &Proxy) -> Option<HeaderValue> {
    let (user, password) = proxy.credentials.as_ref()?;
    let credentials = STANDARD.encode(format!("{user}:{}", password.reveal()));
    let mut value = HeaderValue::from_str(&format!("Basic {credentials}")).ok()?;
    value.set_sensitive(true);
    Some(value)
}

/// An HTTP proxy that passes requests on.
#[derive(Debug)]
pub(crate) struct Forwarder {
    proxy: Proxy,
    authorization: Option<HeaderValue>,
}

impl Forwarder {
    /// Returns the proxy of these settings, if it passes requests on.
    pub(crate) fn of(config: &ProxyConfig) -> Option<Forwarder> {
        let proxy = config.forwards.then(|| config.proxy.clone())?;
        Some(Forwarder { authorization: authorization(&proxy), proxy })
    }

    /// Addresses a request to the proxy: with its whole URL and the proxy's credentials.
    pub(crate) fn address<B>(&self, request: &mut Request<B>, uri: &Uri) {
        *request.uri_mut() = uri.clone();
        if let Some(authorization) = &self.authorization {
            request.headers_mut().insert(PROXY_AUTHORIZATION, authorization.clone());
        }
    }

    /// Returns the error of an answer that is the proxy's own: a 407, or an error of squid's, which
    /// names its errors.
    pub(crate) fn own(&self, head: &response::Parts, uri: &Uri) -> Option<AttemptError> {
        let status = head.status;
        let to = port_of(uri.host().unwrap_or_default(), super::port(uri));
        if status == StatusCode::PROXY_AUTHENTICATION_REQUIRED {
            return Some(refused(&self.proxy, status, &format!("a request for {to}")));
        }
        let named = head.headers.get("x-squid-error")?.to_str().ok()?;
        let name = shorten(named.split(' ').next().unwrap_or_default());
        if UNSENT.contains(&name.as_str()) {
            return Some(refused(&self.proxy, status, &format!("a request for {to}: {name}")));
        }
        let what =
            format!("the proxy {} answered {status} to a request for {to}: {name}", self.proxy);
        Some(AttemptError::new(Event::of_status(status.as_u16()), what))
    }

    /// Names the proxy in the error of a connection on which no answer came: the proxy has the other end of
    /// it, and would answer if the gateway had failed.
    pub(crate) fn failed(&self, mut error: AttemptError) -> AttemptError {
        error.message = format!("the proxy {}: {}", self.proxy, error.message);
        error.with_hint(Hint::Proxy)
    }
}

/// The errors of squid for requests that it did not pass on.
const UNSENT: [&str; 7] = [
    "ERR_ACCESS_DENIED",
    "ERR_CACHE_ACCESS_DENIED",
    "ERR_CANNOT_FORWARD",
    "ERR_CONNECT_FAIL",
    "ERR_DNS_FAIL",
    "ERR_FORWARDING_DENIED",
    "ERR_UNSUP_REQ",
];

/// Asks an HTTP proxy for a connection (RFC 9110, 9.3.6).
async fn tunnel(
    io: Box<dyn Io>,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Box<dyn Io>, AttemptError> {
    let lost = |error: hyper::Error| {
        if error.is_parse() {
            let what = format!(
                "the proxy {proxy} does not answer as an HTTP proxy does; is the scheme of its URL right?"
            );
            return AttemptError::new(Event::ProxyRefused, what)
                .with_hint(Hint::Proxy)
                .with_source(error);
        }
        let what = format!("the connection to the proxy {proxy} was lost before it had answered");
        AttemptError::new(Event::ProxyFailed, what).with_hint(Hint::Proxy).with_source(error)
    };
    let to = port_of(host, port);
    let uri: Uri = to.parse().map_err(|_| {
        let what = format!("the proxy {proxy} cannot be asked for {to:?}");
        AttemptError::new(Event::ProxyRefused, what)
    })?;
    let mut request = Request::new(Empty::<Bytes>::new());
    *request.method_mut() = Method::CONNECT;
    *request.uri_mut() = uri;
    if let Ok(to) = HeaderValue::from_str(&to) {
        request.headers_mut().insert(HOST, to);
    }
    if let Some(credentials) = authorization(proxy) {
        request.headers_mut().insert(PROXY_AUTHORIZATION, credentials);
    }
    let builder = http1::Builder::new().max_buf_size(HEAD_LIMIT).handshake(TokioIo::new(io));
    let (mut sender, connection) = builder.await.map_err(lost)?;
    // The task ends with the connection, which the upgrade takes over.
    tokio::spawn(connection.with_upgrades());
    let response = sender.send_request(request).await.map_err(lost)?;
    if !response.status().is_success() {
        return Err(refused(proxy, response.status(), &format!("CONNECT {to}")));
    }
    let upgraded = hyper::upgrade::on(response).await.map_err(lost)?;
    Ok(Box::new(TokioIo::new(upgraded)))
}

/// The error of a proxy's own answer.
fn refused(proxy: &Proxy, status: StatusCode, to: &str) -> AttemptError {
    let event = if status.is_server_error() { Event::ProxyFailed } else { Event::ProxyRefused };
    let hint = match status {
        StatusCode::PROXY_AUTHENTICATION_REQUIRED => Hint::ProxyCredentials,
        _ => Hint::Proxy,
    };
    let mut what = format!("the proxy {proxy} answered {status} to {to}");
    if hint == Hint::ProxyCredentials && proxy.credentials.is_some() {
        what += "; it does not accept the credentials";
    }
    AttemptError::new(event, what).with_hint(hint)
}

/// Asks a SOCKS proxy for a connection (RFC 1928, and RFC 1929 for credentials). The proxy looks the name
/// up. Nothing is read beyond the proxy's answer: a gRPC gateway may speak first, and its bytes can come
/// with that answer.
async fn socks(
    mut io: Box<dyn Io>,
    proxy: &Proxy,
    host: &str,
    port: u16,
) -> Result<Box<dyn Io>, AttemptError> {
    let lost = |error: io::Error| {
        let what = format!("the connection to the proxy {proxy} was lost before it had answered");
        AttemptError::new(Event::ProxyFailed, what).with_hint(Hint::Proxy).with_source(error)
    };
    let refused = |event: Event, hint: Hint, what: &str| {
        AttemptError::new(event, format!("the proxy {proxy} {what}")).with_hint(hint)
    };
    let no_socks = || refused(Event::ProxyRefused, Hint::Proxy, "does not speak SOCKS version 5");
    // A proxy that asks for no credentials is not told them.
    let methods: &[u8] = match &proxy.credentials {
        Some(_) => &[VERSION, 2, FREE, BY_PASSWORD],
        None => &[VERSION, 1, FREE],
    };
    io.write_all(methods).await.map_err(lost)?;
    let [version, chosen] = read(&mut io).await.map_err(lost)?;
    if version != VERSION {
        return Err(no_socks());
    }
    let credentials = match (chosen, &proxy.credentials) {
        (FREE, _) => None,
        (BY_PASSWORD, Some(credentials)) => Some(credentials),
        (_, given) => {
            let what = match given {
                None => "wants credentials",
                Some(_) => "takes no user and password",
            };
            return Err(refused(Event::ProxyRefused, Hint::ProxyCredentials, what));
        }
    };
    if let Some((user, password)) = credentials {
        let mut message = vec![PASSWORD_VERSION];
        for text in [user.as_str(), password.reveal()] {
            let length = u8::try_from(text.len()).map_err(|_| {
                let what = "takes a user and a password of at most 255 bytes each";
                refused(Event::ProxyRefused, Hint::ProxyCredentials, what)
            })?;
            message.push(length);
            message.extend_from_slice(text.as_bytes());
        }
        io.write_all(&message).await.map_err(lost)?;
        let [_, status] = read(&mut io).await.map_err(lost)?;
        if status != 0 {
            let what = "does not accept the credentials";
            return Err(refused(Event::ProxyRefused, Hint::ProxyCredentials, what));
        }
    }
    let mut message = vec![VERSION, CONNECT, 0];
    match (host.parse::<IpAddr>(), u8::try_from(host.len())) {
        (Ok(IpAddr::V4(ip)), _) => {
            message.push(IPV4);
            message.extend_from_slice(&ip.octets());
        }
        (Ok(IpAddr::V6(ip)), _) => {
            message.push(IPV6);
            message.extend_from_slice(&ip.octets());
        }
        (Err(_), Ok(length)) => {
            message.extend_from_slice(&[NAME, length]);
            message.extend_from_slice(host.as_bytes());
        }
        (Err(_), Err(_)) => {
            let what = "takes names of at most 255 bytes";
            return Err(refused(Event::ProxyRefused, Hint::Proxy, what));
        }
    }
    message.extend_from_slice(&port.to_be_bytes());
    io.write_all(&message).await.map_err(lost)?;
    let [version, reply, _, kind] = read(&mut io).await.map_err(lost)?;
    if version != VERSION {
        return Err(no_socks());
    }
    let (event, why) = match reply {
        0 => {
            skip_address(&mut io, kind).await.map_err(lost)?;
            return Ok(io);
        }
        2 => (Event::ProxyRefused, "its rules do not allow it"),
        3 => (Event::ProxyFailed, "the network is not reachable"),
        4 => (Event::ProxyFailed, "the host is not reachable"),
        5 => (Event::ProxyFailed, "the connection was refused"),
        6 => (Event::ProxyFailed, "the host is too far away (TTL expired)"),
        7 | 8 => (Event::ProxyRefused, "it does not support such connections"),
        _ => (Event::ProxyFailed, "it had a failure of its own"),
    };
    let what =
        format!("made no connection to {}: {why} (SOCKS reply {reply})", port_of(host, port));
    Err(refused(event, Hint::Proxy, &what))
}

const VERSION: u8 = 5;
const PASSWORD_VERSION: u8 = 1;
/// How the client is known to the proxy: not at all, or by user and password.
const FREE: u8 = 0;
const BY_PASSWORD: u8 = 2;
const CONNECT: u8 = 1;
/// Kinds of addresses.
const IPV4: u8 = 1;
const NAME: u8 = 3;
const IPV6: u8 = 4;

async fn read<const N: usize>(io: &mut Box<dyn Io>) -> io::Result<[u8; N]> {
    let mut bytes = [0; N];
    io.read_exact(&mut bytes).await?;
    Ok(bytes)
}

/// Reads the address from which the proxy connects, and its port.
async fn skip_address(io: &mut Box<dyn Io>, kind: u8) -> io::Result<()> {
    let length = match kind {
        IPV4 => 4,
        IPV6 => 16,
        NAME => usize::from(read::<1>(io).await?[0]),
        _ => return Err(io::Error::new(io::ErrorKind::InvalidData, "an address of no known kind")),
    };
    let mut rest = [0; 255 + 2];
    io.read_exact(&mut rest[..length + 2]).await.map(drop)
}
