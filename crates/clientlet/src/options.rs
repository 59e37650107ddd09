//! What a client and a clientlet can be told, in one list.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

#[cfg(feature = "compression")]
use http::header::ACCEPT_ENCODING;
use http::header::USER_AGENT;
use http::{HeaderMap, HeaderValue};

use crate::address::{Address, Protocol};
#[cfg(feature = "compression")]
use crate::compression::ACCEPTED;
#[cfg(feature = "proxy")]
use crate::config::ProxyConfig;
use crate::config::{Config, Credentials, GrpcOptions, Hook, Identity, NextAttempt, one_by_one};
use crate::driver::Driver;
use crate::error::Error;
use crate::log;
use crate::message::DocArray;
#[cfg(feature = "proxy")]
use crate::proxy::{ProxyKind, ProxyOptions};
use crate::retry::RetryPolicy;
use crate::secret::{OfClient, Secret, Secrets};
use crate::telemetry::{Providers, Telemetry};
#[cfg(feature = "tls")]
use crate::tls::Tls;

/// The settings of a [`HttpClientlet`](crate::clientlets::HttpClientlet),
/// [`WebsocketClientlet`](crate::clientlets::WebsocketClientlet) or [`GrpcClientlet`](crate::clientlets::GrpcClientlet), the
/// same as those of Python's `AioHttpClientlet`: retry, headers, credentials, cookies, and the limits
/// that it lacks.
///
/// Nothing is checked before the clientlet is made; then the first thing that is wrong is named.
#[derive(Clone, Debug)]
pub struct ClientletOptions {
    identity: Identity,
    hook: Option<Hook>,
    has_jar: bool,
    retry: RetryPolicy,
    port: Option<u16>,
    connect_timeout: Duration,
    #[cfg(feature = "proxy")]
    proxy: ProxyOptions,
    #[cfg(feature = "tls")]
    tls: Tls,
    /// `None` unless it was set by hand.
    attempt_timeout: Option<Option<Duration>>,
    idle_timeout: Option<Duration>,
    channels: usize,
    max_connections: usize,
    answer_limit: usize,
    docarray: Option<DocArray>,
    grpc: GrpcOptions,
    providers: Providers,
    driver: Option<Arc<dyn Driver>>,
    #[cfg(feature = "compression")]
    accepts_compression: bool,
}

/// What a gateway's log shows, unless a header says otherwise.
const NAME: &str = concat!("clientlet/", env!("CARGO_PKG_VERSION"));
const CONNECT_TIMEOUT: Duration = Duration::from_secs(10);
const ATTEMPT_TIMEOUT: Duration = Duration::from_secs(60);
/// Well below 1024, a common limit on the open files of a process.
const MAX_CONNECTIONS: usize = 256;
const ANSWER_LIMIT: usize = 64 << 20;

impl Default for ClientletOptions {
    fn default() -> ClientletOptions {
        ClientletOptions {
            identity: Identity::default(),
            hook: None,
            has_jar: true,
            retry: RetryPolicy::python(),
            port: None,
            connect_timeout: CONNECT_TIMEOUT,
            #[cfg(feature = "proxy")]
            proxy: ProxyOptions::default(),
            #[cfg(feature = "tls")]
            tls: Tls::default(),
            attempt_timeout: None,
            idle_timeout: None,
            channels: 1,
            max_connections: MAX_CONNECTIONS,
            answer_limit: ANSWER_LIMIT,
            docarray: None,
            grpc: GrpcOptions::default(),
            providers: Providers::default(),
            driver: None,
            #[cfg(feature = "compression")]
            accepts_compression: true,
        }
    }
}

impl ClientletOptions {
    /// One attempt, no headers, 10 s to connect, 60 s an attempt, 64 MiB an answer.
    pub fn new() -> ClientletOptions {
        ClientletOptions::default()
    }

    /// How often to send and how long to wait in between, all at once.
    #[must_use]
    pub fn retry(mut self, policy: RetryPolicy) -> ClientletOptions {
        self.retry = policy;
        self
    }

    /// How often a message is sent, the first time included; at least 1, which is the default.
    #[must_use]
    pub fn max_attempts(mut self, attempts: u32) -> ClientletOptions {
        self.retry = self.retry.max_attempts(attempts);
        self
    }

    /// The longest wait before the second attempt; 0.5 s by default.
    #[must_use]
    pub fn initial_backoff(mut self, wait: Duration) -> ClientletOptions {
        self.retry = self.retry.initial_backoff(wait);
        self
    }

    /// The longest wait before any attempt; 0.1 s by default, which is the shorter one.
    #[must_use]
    pub fn max_backoff(mut self, wait: Duration) -> ClientletOptions {
        self.retry = self.retry.max_backoff(wait);
        self
    }

    /// By how much the longest wait grows from attempt to attempt; 1.5 by default.
    #[must_use]
    pub fn backoff_multiplier(mut self, multiplier: f64) -> ClientletOptions {
        self.retry = self.retry.backoff_multiplier(multiplier);
        self
    }

    /// A header for every request; may be given again for another.
    #[must_use]
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> ClientletOptions {
        self.identity.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Headers for every request, beside those that were given already.
    #[must_use]
    pub fn headers(mut self, headers: HeaderMap) -> ClientletOptions {
        self.identity.headers.extend(one_by_one(headers));
        self
    }

    /// A user and a password for every request, as the URL's user information would be.
    #[must_use]
    pub fn basic_auth(
        mut self,
        user: impl Into<String>,
        password: impl Into<String>,
    ) -> ClientletOptions {
        self.identity.basic = Some((user.into(), Secret::new(password)));
        self
    }

    /// A token for every request.
    #[must_use]
    pub fn bearer_token(mut self, token: impl Into<String>) -> ClientletOptions {
        self.identity.bearer = Some(Secret::new(token));
        self
    }

    /// A cookie for every request; may be given again for another. It wins over a cookie of the same
    /// name that the gateway sets.
    #[must_use]
    pub fn cookie(mut self, name: impl Into<String>, value: impl Into<String>) -> ClientletOptions {
        self.identity.cookies.push((name.into(), Secret::new(value)));
        self
    }

    /// Whether cookies that the gateway sets are kept and sent back; so by default. A proxy that keeps
    /// a client at one gateway by a cookie needs them. See
    /// [`ClientBuilder::cookie_jar`](crate::ClientBuilder::cookie_jar).
    #[cfg(feature = "cookies")]
    #[must_use]
    pub fn cookie_jar(mut self, keep: bool) -> ClientletOptions {
        self.has_jar = keep;
        self
    }

    /// A function that is asked for headers before each attempt. See
    /// [`ClientBuilder::before_attempt`](crate::ClientBuilder::before_attempt). A
    /// [`GrpcStream`](crate::clientlets::GrpcStream) that is refused ends with code 16, since its
    /// messages are not kept; when the next stream is opened, the function is told.
    #[must_use]
    pub fn before_attempt<F, Fut>(mut self, hook: F) -> ClientletOptions
    where
        F: Fn(NextAttempt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HeaderMap, Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.hook = Some(Hook::new(hook));
        self
    }

    /// The port, if it is not in the URL.
    #[must_use]
    pub fn port(mut self, port: u16) -> ClientletOptions {
        self.port = Some(port);
        self
    }

    /// How long making a connection may take; 10 s by default.
    #[must_use]
    pub fn connect_timeout(mut self, timeout: Duration) -> ClientletOptions {
        self.connect_timeout = timeout;
        self
    }

    /// The proxy through which the gateway is reached: `http://`, `https://` or `socks5h://`, with a user
    /// and a password if it wants them. A SOCKS proxy looks names up itself. Requests in HTTP without TLS
    /// are given to an HTTP proxy to pass on; for all others the proxy is asked for a connection.
    ///
    /// By default no proxy is used, whatever the environment says.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy(mut self, url: impl Into<String>) -> ClientletOptions {
        self.proxy.url(url.into());
        self
    }

    /// Hosts that are reached without a proxy: names, which stand for all names below them as well,
    /// addresses and networks, separated by commas, each with a port if it is meant for that port alone.
    /// `*` is every host.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn no_proxy(mut self, hosts: impl Into<String>) -> ClientletOptions {
        self.proxy.no_proxy(hosts.into());
        self
    }

    /// Takes the proxy from the environment: `http_proxy`, or `https_proxy` for addresses over TLS, or
    /// else `all_proxy`, unless `no_proxy` lists the host. Each may be in capitals. `localhost` and
    /// loopback addresses need no proxy. The variables are read when the client is built.
    #[cfg(feature = "proxy")]
    #[must_use]
    pub fn proxy_from_env(mut self) -> ClientletOptions {
        self.proxy.environment();
        self
    }

    /// How connections to `https://`, `wss://` and `grpcs://` addresses are secured.
    #[cfg(feature = "tls")]
    #[must_use]
    pub fn tls(mut self, tls: Tls) -> ClientletOptions {
        self.tls = tls;
        self
    }

    /// How long one attempt may take, connecting included; 60 s by default, `None` for ever.
    #[must_use]
    pub fn attempt_timeout(mut self, timeout: impl Into<Option<Duration>>) -> ClientletOptions {
        self.attempt_timeout = Some(timeout.into());
        self
    }

    /// How long nothing may come while a request waits for its answer; `None`, the default, for ever. See
    /// [`ClientBuilder::idle_timeout`](crate::ClientBuilder::idle_timeout). It applies to everything
    /// that is answered: requests and questions. What comes on a
    /// [`WebsocketClientlet`](crate::clientlets::WebsocketClientlet) or a
    /// [`GrpcStream`](crate::clientlets::GrpcStream) need not be an answer, so a receiver there waits as
    /// long as it likes.
    #[must_use]
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> ClientletOptions {
        self.idle_timeout = timeout.into();
        self
    }

    /// The event loop that drives the connections of an [`HttpClientlet`](crate::clientlets::HttpClientlet) or
    /// a [`WebsocketClientlet`](crate::clientlets::WebsocketClientlet), in place of the runtime's threads. The
    /// clientlet is then used on the thread of that event loop. Through a proxy the runtime still watches the
    /// sockets.
    #[must_use]
    pub fn driver(mut self, driver: Arc<dyn Driver>) -> ClientletOptions {
        self.driver = Some(driver);
        self
    }

    pub(crate) fn channels(mut self, channels: usize) -> ClientletOptions {
        self.channels = channels;
        self
    }

    /// The maximum number of connections at a time; 256 by default. See
    /// [`ClientBuilder::max_connections`](crate::ClientBuilder::max_connections).
    #[must_use]
    pub fn max_connections(mut self, connections: usize) -> ClientletOptions {
        self.max_connections = connections;
        self
    }

    /// The largest answer that is accepted, in bytes of its body; 64 MiB by default.
    #[must_use]
    pub fn answer_limit(mut self, bytes: usize) -> ClientletOptions {
        self.answer_limit = bytes;
        self
    }

    /// Which documents the gateway speaks, for those that do not show their status.
    #[must_use]
    pub fn docarray(mut self, docarray: DocArray) -> ClientletOptions {
        self.docarray = Some(docarray);
        self
    }

    /// Over gRPC, whether each request is sent by itself, with its deadline, instead of all of a call on one
    /// stream. Other protocols do so anyway.
    #[must_use]
    pub fn unary(mut self, unary: bool) -> ClientletOptions {
        self.grpc.is_unary = unary;
        self
    }

    /// Over gRPC, whether requests are compressed. Gateways take no compressed requests over the other
    /// protocols, where this changes nothing.
    #[must_use]
    pub fn gzip(mut self, gzip: bool) -> ClientletOptions {
        self.grpc.is_gzipped = gzip;
        self
    }

    /// Whether compressed answers are asked for; so by default, like aiohttp. See
    /// [`ClientBuilder::compression`](crate::ClientBuilder::compression).
    #[cfg(feature = "compression")]
    #[must_use]
    pub fn compression(mut self, accept: bool) -> ClientletOptions {
        self.accepts_compression = accept;
        self
    }

    #[cfg(feature = "proxy")]
    fn proxy_for(&self, address: &Address) -> Result<Option<ProxyConfig>, Error> {
        let uri = address.at("/")?;
        let Some(proxy) = self.proxy.choose(&uri, |name| std::env::var_os(name))? else {
            return Ok(None);
        };
        let is_plain = address.protocol() == Protocol::Http && !address.is_secure();
        #[cfg(not(feature = "tls"))]
        if proxy.kind == ProxyKind::Https {
            return Err(Error::config(format!(
                "the proxy {proxy} needs the feature \"tls\" of the crate clientlet, which this program was \
                 built without"
            )));
        }
        Ok(Some(ProxyConfig {
            forwards: is_plain && proxy.kind != ProxyKind::Socks5,
            #[cfg(feature = "tls")]
            tls: match proxy.kind {
                ProxyKind::Https => Some(self.tls.prepare_for_proxy()?),
                ProxyKind::Http | ProxyKind::Socks5 => None,
            },
            proxy,
        }))
    }

    /// The provider of the tracer that takes spans: one for each call, and one for each attempt. By
    /// default the provider that is global in `opentelemetry` when the client or clientlet is made.
    ///
    /// The context of a span goes with what is sent, in the headers `traceparent`, `tracestate` and
    /// `baggage`: over HTTP and unary gRPC with each request, the context of the attempt's span; over
    /// WebSocket and on a gRPC stream with the handshake or the start of the stream, the context of
    /// the call's span, since requests there have no headers. If the program has set a global
    /// propagator, it writes the headers instead. Headers of these names that the caller sets win.
    #[cfg(feature = "otel")]
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a setting is given away, as all others are")]
    pub fn tracer_provider<P>(mut self, provider: P) -> ClientletOptions
    where
        P: opentelemetry::trace::TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        self.providers.trace(&provider);
        self
    }

    /// The provider of the meter that takes metrics: by default the one that is global in
    /// `opentelemetry` when the client or clientlet is made.
    #[cfg(feature = "otel")]
    #[must_use]
    #[expect(clippy::needless_pass_by_value, reason = "a setting is given away, as all others are")]
    pub fn meter_provider(
        mut self,
        provider: impl opentelemetry::metrics::MeterProvider,
    ) -> ClientletOptions {
        self.providers.measure(&provider);
        self
    }

    /// Checks everything. The URL must be of this protocol.
    #[cfg(feature = "clientlets")]
    pub(crate) fn check_as(&self, url: &str, protocol: Protocol) -> Result<Arc<Config>, Error> {
        let config = self.check(url)?;
        match config.address.protocol() == protocol {
            true => Ok(Arc::new(config)),
            false => {
                let (address, scheme) = (&config.address, protocol.name());
                Err(Error::config(format!("{address} is not an address of {scheme}://")))
            }
        }
    }

    /// Checks everything.
    pub(crate) fn check(&self, url: &str) -> Result<Config, Error> {
        let address = Address::parse(url, self.port)?;
        self.retry.check()?;
        if self.retry.is_capped_from_the_start() {
            log::retry_capped();
        }
        if self.channels == 0 {
            return Err(Error::config("channels is 0; nothing could be sent without a connection"));
        }
        if self.max_connections == 0 {
            let what = "max_connections is 0; nothing could be sent without a connection";
            return Err(Error::config(what));
        }
        let mut headers = self.identity.to_headers(&address)?;
        headers.entry(USER_AGENT).or_insert(HeaderValue::from_static(NAME));
        #[cfg(feature = "compression")]
        if self.accepts_compression && address.protocol() == Protocol::Http {
            headers.entry(ACCEPT_ENCODING).or_insert(HeaderValue::from_static(ACCEPTED));
        }
        #[cfg(feature = "proxy")]
        let proxy = self.proxy_for(&address)?;
        #[cfg(feature = "tls")]
        let tls = address.is_secure().then(|| self.tls.prepare(address.protocol())).transpose()?;
        #[cfg(feature = "proxy")]
        let of_proxy = proxy.as_ref().and_then(|proxy| proxy.proxy.credentials.clone());
        #[cfg(not(feature = "proxy"))]
        let of_proxy = None;
        let of_client = Arc::new(OfClient::new(of_proxy));
        let (protocol, hook) = (address.protocol(), self.hook.clone());
        let credentials = Credentials::new(protocol, hook, self.has_jar, of_client.clone());
        let headers = Arc::new(headers);
        Ok(Config {
            secrets: Secrets::new(of_client, headers.clone()),
            telemetry: Telemetry::new(&self.providers, &address),
            headers,
            credentials: Arc::new(credentials),
            #[cfg(feature = "proxy")]
            proxy,
            #[cfg(feature = "tls")]
            tls,
            address,
            driver: self.driver.clone(),
            retry: self.retry.clone(),
            connect_timeout: self.connect_timeout,
            attempt_timeout: self.attempt_timeout.unwrap_or(Some(ATTEMPT_TIMEOUT)),
            is_attempt_timeout_set: self.attempt_timeout.is_some(),
            idle_timeout: self.idle_timeout,
            channels: self.channels,
            max_connections: self.max_connections,
            answer_limit: self.answer_limit,
            docarray: self.docarray,
            grpc: self.grpc,
            #[cfg(feature = "compression")]
            accepts_compression: self.accepts_compression,
        })
    }
}
