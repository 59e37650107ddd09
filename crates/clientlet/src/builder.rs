//! From settings to a client; the only place that knows which transports there are.

use std::error::Error as StdError;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;

use crate::address::Protocol;
use crate::client::Client;
use crate::config::{Config, NextAttempt};
use crate::connect::Connector;
use crate::error::Error;
use crate::message::DocArray;
use crate::options::ClientletOptions;
use crate::retry::RetryPolicy;
use crate::secret::Secret;
#[cfg(feature = "grpc")]
use crate::transport::grpc::GrpcTransport;
use crate::transport::http::HttpTransport;
#[cfg(feature = "websocket")]
use crate::transport::websocket::{Subprotocol, WebsocketTransport};
use crate::transport::{Channels, Transport};

/// The settings of a [`Client`].
///
/// ```
/// use clientlet::{Client, RetryPolicy};
///
/// let client = Client::builder("http://localhost:8080")
///     .bearer_token("a token that nothing will ever print")
///     .retry(RetryPolicy::standard())
///     .build()?;
/// # Ok::<(), clientlet::Error>(())
/// ```
#[derive(Clone, Debug)]
#[must_use = "a builder does nothing before `build`"]
pub struct ClientBuilder {
    /// May hold user information.
    url: Secret,
    options: ClientletOptions,
    websocket_json: bool,
}

macro_rules! same_as_options {
    ($($(#[$doc:meta])* $name:ident($($argument:ident: $type:ty),*);)*) => {
        $($(#[$doc])*
        pub fn $name(mut self, $($argument: $type),*) -> ClientBuilder {
            self.options = self.options.$name($($argument),*);
            self
        })*
    };
}

impl ClientBuilder {
    pub(crate) fn new(url: &str) -> ClientBuilder {
        let options = ClientletOptions::default().retry(RetryPolicy::default());
        ClientBuilder { url: Secret::new(url), options, websocket_json: false }
    }

    same_as_options! {
        /// The number of attempts and the waits between them. By default there is one attempt; if
        /// more are allowed, the waits grow from 0.1 s to 5 s.
        retry(policy: RetryPolicy);
        /// A header for every request; may be given again for another.
        header(name: impl Into<String>, value: impl Into<String>);
        /// Headers for every request, beside those that were given already.
        headers(headers: HeaderMap);
        /// A user and a password for every request.
        basic_auth(user: impl Into<String>, password: impl Into<String>);
        /// A token for every request.
        bearer_token(token: impl Into<String>);
        /// A cookie for every request; may be given again for another. It wins over a cookie of the
        /// same name that the gateway sets.
        cookie(name: impl Into<String>, value: impl Into<String>);
        /// The port, if it is not in the URL.
        port(port: u16);
        /// How long making a connection may take; 10 s by default.
        connect_timeout(timeout: Duration);
        /// The longest time of one attempt, connecting included; `None` for no limit. By default
        /// 60 s, and at most half of a call's [`timeout`](crate::Post::timeout) if another attempt
        /// could follow.
        attempt_timeout(timeout: impl Into<Option<Duration>>);
        /// How long nothing may come while a request waits for its answer; `None`, the default, for
        /// no limit. It finds a gateway that has vanished sooner than the attempt's time ends, and
        /// lets an answer that goes on coming take its time.
        ///
        /// **A gateway sends nothing while an executor computes.** So this time has to be longer than
        /// the longest computation, and is of most use for answers that come in many parts, such as
        /// streams of documents and large answers.
        ///
        /// The time begins when the request was handed to a connection, and again with each byte that
        /// comes. A wait for a free connection or for the hook does not count, and neither does a long
        /// request while the gateway takes it. Over WebSocket and gRPC requests share a connection, so a
        /// byte of any answer counts for all of them; pings and their answers do not count, since they
        /// only show that the connection lives. The idle time-out of an attempt is an
        /// [`ErrorKind::Timeout`](crate::ErrorKind::Timeout) like the other time-outs, is retried like
        /// them, and is named in the message.
        idle_timeout(timeout: impl Into<Option<Duration>>);
        /// The number of connections that calls share over WebSocket and gRPC, for each runtime and each
        /// set of headers; 1 by default. Requests take turns between them, those of one call as well:
        /// over gRPC the call has a stream on each. More than one helps where a single connection is
        /// the limit, or where a proxy balances connections and not requests. Over HTTP each request
        /// has a connection for itself anyway.
        channels(channels: usize);
        /// The maximum number of connections at a time, for each runtime that uses the client; 256
        /// by default. Further requests wait for a connection in order of arrival, within their own
        /// time. A request that times out while it waits was not sent.
        ///
        /// Over HTTP each request has a connection for itself, so this is also the maximum number
        /// of requests in flight. Over WebSocket and gRPC calls share one connection (one for each
        /// set of headers), and this limit applies to the connections beside it: after a shared
        /// connection was dropped, a request's last attempt goes on a connection of its own.
        max_connections(connections: usize);
        /// The largest answer that is accepted, in bytes of its body without compression; 64 MiB by default. At most
        /// `prefetch` answers are held at a time.
        answer_limit(bytes: usize);
        /// Which documents the gateway speaks, for those that do not show their status.
        docarray(docarray: DocArray);
        /// Over gRPC, whether each request is sent by itself, with its deadline, instead of all of a call on
        /// one stream. Other protocols do so anyway.
        unary(unary: bool);
        /// Over gRPC, whether requests are compressed. Gateways take no compressed requests over the other
        /// protocols, where this changes nothing.
        gzip(gzip: bool);
    }

    /// Whether compressed answers are asked for; so by default, like aiohttp. Over HTTP requests have
    /// `Accept-Encoding: gzip, deflate, br, zstd`, unless they have such a header of the caller's; over gRPC
    /// calls have `grpc-accept-encoding: gzip`. Ingresses compress what is asked for. Gateways themselves compress
    /// nothing, except over gRPC if a Flow's `grpc_server_options` say so, and then without being asked. Compression
    /// saves traffic and costs time; where the network is fast, `false` is faster.
    ///
    /// A compressed answer is read in any case, asked for or not. All limits, such as
    /// [`answer_limit`](ClientBuilder::answer_limit), count bytes without compression. Content that breaks
    /// the rules of its compression is an error of the kind [`Decode`](crate::ErrorKind::Decode).
    #[cfg(feature = "compression")]
    pub fn compression(mut self, accept: bool) -> ClientBuilder {
        self.options = self.options.compression(accept);
        self
    }

    /// A function that is asked for headers before each attempt: tokens that expire, or signatures
    /// over the body. Its headers replace others of the same names.
    ///
    /// It is called
    /// * over HTTP before each request that is sent, questions and followed redirects included,
    /// * over WebSocket and on a gRPC stream when the connection or stream is opened, and not again for
    ///   the requests on it,
    /// * for unary gRPC, and for questions over gRPC, before each call.
    ///
    /// Its time is part of the attempt's. After a 401, or `UNAUTHENTICATED` over gRPC, it is called
    /// once more with [`was_refused`](NextAttempt::was_refused), and the request is sent once more,
    /// however many attempts the [policy](ClientBuilder::retry) allows: a request that was refused did
    /// not run. If the function fails, panics, or returns a header that cannot be sent, or that the
    /// client sets itself, the request fails with that reason, and nothing is sent.
    ///
    /// ```
    /// use clientlet::{Client, NextAttempt};
    /// use http::HeaderMap;
    /// use http::header::AUTHORIZATION;
    ///
    /// async fn token(renew: bool) -> Result<String, std::io::Error> {
    ///     // Asks the token's issuer, if `renew` is set or the last token has expired.
    ///     # drop(renew);
    ///     Ok("t0k3n".to_owned())
    /// }
    ///
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let gateway = clientlet_gateway::Gateway::builder().require_authorization("Bearer t0k3n");
    /// # let gateway = gateway.start().await?;
    /// # let url = gateway.http_url();
    /// // let url = "http://localhost:8080";
    /// let client = Client::builder(&url)
    ///     .before_attempt(|next: NextAttempt| async move {
    ///         let token = token(next.was_refused).await?;
    ///         Ok(HeaderMap::from_iter([(AUTHORIZATION, format!("Bearer {token}").parse()?)]))
    ///     })
    ///     .build()?;
    /// client.ready().await?;
    /// # Ok(())
    /// # }
    /// ```
    pub fn before_attempt<F, Fut>(mut self, hook: F) -> ClientBuilder
    where
        F: Fn(NextAttempt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Result<HeaderMap, Box<dyn StdError + Send + Sync>>> + Send + 'static,
    {
        self.options = self.options.before_attempt(hook);
        self
    }

    /// Whether cookies that the gateway sets are kept and sent back (RFC 6265); so by default. All
    /// calls of a client share them, on every protocol: the cookie with which a proxy keeps a client at
    /// one gateway is sent with each request, upgrade and gRPC call. A client keeps at most 50 cookies,
    /// of at most 4096 bytes each, and sends each to no host but its own.
    #[cfg(feature = "cookies")]
    pub fn cookie_jar(mut self, keep: bool) -> ClientBuilder {
        self.options = self.options.cookie_jar(keep);
        self
    }

    /// The proxy through which the gateway is reached: `http://`, `https://` or `socks5h://`, with a user
    /// and a password if it wants them: `http://user:password@proxy.example:3128`. See [`ClientletOptions::proxy`].
    #[cfg(feature = "proxy")]
    pub fn proxy(mut self, url: impl Into<String>) -> ClientBuilder {
        self.options = self.options.proxy(url);
        self
    }

    /// Hosts that are reached without a proxy. See [`ClientletOptions::no_proxy`].
    #[cfg(feature = "proxy")]
    pub fn no_proxy(mut self, hosts: impl Into<String>) -> ClientBuilder {
        self.options = self.options.no_proxy(hosts);
        self
    }

    /// Takes the proxy from the environment. See [`ClientletOptions::proxy_from_env`].
    #[cfg(feature = "proxy")]
    pub fn proxy_from_env(mut self) -> ClientBuilder {
        self.options = self.options.proxy_from_env();
        self
    }

    /// How connections to `https://`, `wss://` and `grpcs://` addresses are secured.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: crate::tls::Tls) -> ClientBuilder {
        self.options = self.options.tls(tls);
        self
    }

    /// The provider of the tracer that takes spans. See [`ClientletOptions::tracer_provider`].
    #[cfg(feature = "otel")]
    pub fn tracer_provider<P>(mut self, provider: P) -> ClientBuilder
    where
        P: opentelemetry::trace::TracerProvider,
        P::Tracer: Send + Sync + 'static,
        <P::Tracer as opentelemetry::trace::Tracer>::Span: Send + Sync + 'static,
    {
        self.options = self.options.tracer_provider(provider);
        self
    }

    /// The provider of the meter that takes metrics. See [`ClientletOptions::meter_provider`].
    #[cfg(feature = "otel")]
    pub fn meter_provider(
        mut self,
        provider: impl opentelemetry::metrics::MeterProvider,
    ) -> ClientBuilder {
        self.options = self.options.meter_provider(provider);
        self
    }

    /// Whether messages over WebSocket are JSON and not protobuf, as some proxies want it; for
    /// gateways with documents v1 alone.
    ///
    /// The gateway gives the requests ids of its own then, so that answers can only be told apart by
    /// their order: **one request is in flight at a time**, whatever
    /// [`prefetch`](crate::Post::prefetch) says, and one that is given up, at its time-out for
    /// example, takes the connection along. A tensor's element type is lost, as over HTTP.
    pub fn websocket_json(mut self, json: bool) -> ClientBuilder {
        self.websocket_json = json;
        self
    }

    /// Checks the settings.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the first setting that is wrong.
    pub fn build(self) -> Result<Client, Error> {
        let config = self.options.check(self.url.reveal())?;
        if config.address.has_query() {
            return Err(Error::config("a gateway's URL has no query; use a header instead"));
        }
        #[cfg(not(feature = "tls"))]
        if config.address.is_secure() {
            return Err(missing(&config.address, "tls"));
        }
        let is_websocket = config.address.protocol() == Protocol::Websocket;
        if self.websocket_json && !is_websocket {
            return Err(Error::config("websocket_json is for URLs that begin with ws://"));
        }
        if self.websocket_json && config.docarray == Some(DocArray::V2) {
            let what = "websocket_json is for documents v1: documents v2 are not sent as JSON over WebSocket";
            return Err(Error::config(what));
        }
        let transport = match config.channels {
            1 => self.transport(&config)?,
            _ if config.address.protocol() == Protocol::Http => self.transport(&config)?,
            channels => {
                let members = (0..channels).map(|_| self.transport(&config));
                Arc::new(Channels::new(members.collect::<Result<_, _>>()?))
            }
        };
        Ok(Client::over(config, transport))
    }

    fn transport(&self, config: &Config) -> Result<Arc<dyn Transport>, Error> {
        transport(Connector::new(config), config, self.websocket_json)
    }
}

/// Makes the transport of the address's protocol over these connections.
pub(crate) fn transport(
    connector: Connector,
    config: &Config,
    is_json: bool,
) -> Result<Arc<dyn Transport>, Error> {
    match config.address.protocol() {
        Protocol::Http => Ok(Arc::new(HttpTransport::new(connector, config))),
        #[cfg(feature = "websocket")]
        Protocol::Websocket => {
            let subprotocol = if is_json { Subprotocol::Json } else { Subprotocol::Bytes };
            Ok(Arc::new(WebsocketTransport::new(connector, config, subprotocol)))
        }
        #[cfg(feature = "grpc")]
        Protocol::Grpc => Ok(Arc::new(GrpcTransport::new(connector, config))),
        #[cfg(not(all(feature = "grpc", feature = "websocket")))]
        protocol => {
            let feature = if protocol == Protocol::Grpc { "grpc" } else { "websocket" };
            Err(missing(&config.address, feature))
        }
    }
}

/// The error of an address that needs a feature which is not there.
#[cfg(not(all(feature = "grpc", feature = "tls", feature = "websocket")))]
fn missing(address: &crate::address::Address, feature: &str) -> Error {
    Error::config(format!(
        "{address} needs the feature {feature:?} of the crate clientlet, which this program was built \
         without"
    ))
}
