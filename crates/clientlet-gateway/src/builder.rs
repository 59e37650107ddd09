//! Settings of a gateway, and starting it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;

use crate::compression::Compression;
use crate::control::Control;
use crate::docarray::DocArray;
use crate::endpoint::IntoEndpoint;
use crate::executor::{Executor, Executors};
use crate::fault::Fault;
use crate::gateway::{self, Gateway};
use crate::identity::Ids;
use crate::journal::{Journal, MOST_BYTES};
use crate::listener::Listener;
use crate::mistakes::Mistakes;
use crate::sample::Bindings;
use crate::schedule::Schedule;
use crate::script::StreamScript;
#[cfg(feature = "tls")]
use crate::tls::{Server, Tls};
use crate::world::{Protocol, World};

/// A free port of 127.0.0.1.
const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// The settings of a gateway, which [`start`](Self::start) starts.
#[derive(Clone, Debug)]
#[must_use]
pub struct GatewayBuilder {
    docarray: DocArray,
    faults: Vec<Fault>,
    seed: u64,
    journal: bool,
    journal_bytes: usize,
    /// The test's own executors, in place of the sample.
    executors: Option<Executors>,
    bindings: Bindings,
    hides_status: bool,
    idle_timeout: Option<Duration>,
    executor_down: bool,
    executor_slow: bool,
    authorization: Option<String>,
    cookies: Vec<String>,
    compressions: Vec<Compression>,
    http: Option<SocketAddr>,
    websocket: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    /// The address that all protocols share, in place of the addresses above.
    all: Option<SocketAddr>,
    #[cfg(feature = "tls")]
    tls: Option<Tls>,
}

impl Gateway {
    /// Begins with the default settings: HTTP on a free port, documents v1, the sample executor, no
    /// faults.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder {
            docarray: DocArray::V1,
            faults: Vec::new(),
            seed: 0,
            journal: true,
            journal_bytes: MOST_BYTES,
            executors: None,
            bindings: Bindings::default(),
            hides_status: false,
            idle_timeout: None,
            executor_down: false,
            executor_slow: false,
            authorization: None,
            cookies: Vec::new(),
            compressions: Vec::new(),
            http: Some(FREE),
            websocket: None,
            grpc: None,
            all: None,
            #[cfg(feature = "tls")]
            tls: None,
        }
    }
}

impl GatewayBuilder {
    /// Whether the gateway serves HTTP; on by default. The port is a free one of 127.0.0.1 unless
    /// [`http_address`](Self::http_address) sets an address.
    pub fn http(mut self, serve: bool) -> Self {
        self.http = serve.then(|| self.http.unwrap_or(FREE));
        self
    }

    /// Serves HTTP on this address.
    pub fn http_address(mut self, address: SocketAddr) -> Self {
        self.http = Some(address);
        self
    }

    /// Whether the gateway serves WebSocket, on a port of its own as real gateways do; off by
    /// default. The port is a free one of 127.0.0.1 unless
    /// [`websocket_address`](Self::websocket_address) sets an address.
    pub fn websocket(mut self, serve: bool) -> Self {
        self.websocket = serve.then(|| self.websocket.unwrap_or(FREE));
        self
    }

    /// Serves WebSocket on this address.
    pub fn websocket_address(mut self, address: SocketAddr) -> Self {
        self.websocket = Some(address);
        self
    }

    /// Whether the gateway serves gRPC, on a port of its own as real gateways do; off by default.
    /// The port is a free one of 127.0.0.1 unless [`grpc_address`](Self::grpc_address) sets an
    /// address.
    pub fn grpc(mut self, serve: bool) -> Self {
        self.grpc = serve.then(|| self.grpc.unwrap_or(FREE));
        self
    }

    /// Serves gRPC on this address.
    pub fn grpc_address(mut self, address: SocketAddr) -> Self {
        self.grpc = Some(address);
        self
    }

    /// Whether the gateway serves HTTP, WebSocket and gRPC on one port, in place of separate ports;
    /// off by default. Real gateways do not. The port is a free one of 127.0.0.1 unless
    /// [`one_port_address`](Self::one_port_address) sets an address.
    pub fn one_port(mut self, serve: bool) -> Self {
        self.all = serve.then(|| self.all.unwrap_or(FREE));
        self
    }

    /// Serves all protocols on this one address.
    pub fn one_port_address(mut self, address: SocketAddr) -> Self {
        self.all = Some(address);
        self
    }

    /// Speaks TLS on all ports. The gateway agrees on `http/1.1` for HTTP and WebSocket and on `h2`
    /// for gRPC (ALPN), and on either of them on one port for all. Clients that offer no protocol
    /// are served as well. [`Journal::handshakes`] shows the handshakes.
    #[cfg(feature = "tls")]
    pub fn tls(mut self, tls: Tls) -> Self {
        self.tls = Some(tls);
        self
    }

    /// The generation of documents that the gateway speaks; v1 by default.
    pub fn docarray(mut self, docarray: DocArray) -> Self {
        self.docarray = docarray;
        self
    }

    /// Adds a fault. If several faults match a request, the first of them strikes it.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The seed of the ids that the gateway makes, and of faults by probability that have no seed
    /// of their own; 0 by default.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether the journal keeps entries; on by default. A journal without entries still counts,
    /// which is enough for long runs.
    pub fn journal(mut self, keep: bool) -> Self {
        self.journal = keep;
        self
    }

    /// The most bytes of bodies that the journal keeps; 64 MiB by default. If there are more, the
    /// oldest bodies are dropped, and their entries stay.
    pub fn journal_bytes(mut self, most: usize) -> Self {
        self.journal_bytes = most;
        self
    }

    /// Binds a handler to an endpoint: a function or closure, or an [`Endpoint`] that names the
    /// classes of its documents. Binding the same endpoint again replaces the handler. `/default`
    /// also answers requests to endpoints that are not bound.
    ///
    /// The endpoints belong to the executor `executor0`. They replace the sample executor with all
    /// of its endpoints.
    ///
    /// By convention an endpoint starts with a slash. Over HTTP with documents v2 its route has one
    /// slash at the start and none at the end whatever it is called; over the other protocols clients
    /// name it as it is bound.
    ///
    /// ```
    /// use clientlet_gateway::{Gateway, Reply, Request};
    /// use serde_json::json;
    ///
    /// async fn index(request: Request) -> Reply {
    ///     assert!(!request.is_empty(), "an index of nothing");
    ///     Reply::unchanged()
    /// }
    ///
    /// let builder = Gateway::builder()
    ///     .on("/index", index)
    ///     .on("/search", |_| [json!({"text": "found"})]);
    /// ```
    ///
    /// [`Endpoint`]: crate::Endpoint
    pub fn on<M>(mut self, path: impl Into<String>, endpoint: impl IntoEndpoint<M>) -> Self {
        self.executors.get_or_insert_default().bind(path.into(), endpoint.into_endpoint());
        self
    }

    /// Adds an executor behind the executors that were added before. A request goes through them in
    /// this order, as far as they bind its endpoint and its `target_executor` means them. Executors
    /// replace the sample executor.
    ///
    /// With documents v2 each executor must bind the endpoints of the one before, or `/default`, and
    /// take what that one gives. As a real Flow, the gateway does not start otherwise.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executors.get_or_insert_default().0.push(executor);
        self
    }

    /// Whether the sample executor has a default endpoint, which sets tags.default to true; off by
    /// default. The endpoint answers requests to endpoints that are not bound. With documents v2
    /// its route is `/default`.
    pub fn with_default(mut self, bind: bool) -> Self {
        self.bindings.default = bind;
        self
    }

    /// Whether the sample executor lacks the endpoint `/`.
    pub fn without_root(mut self, leave_out: bool) -> Self {
        self.bindings.root = !leave_out;
        self
    }

    /// Binds a streaming endpoint of the sample executor with a scripted stream, for documents v2:
    /// `stream_doc` over gRPC, server-sent events for a GET over HTTP. Without this, `/stream`
    /// gives three documents, and `/stream_fail` raises an exception behind the first.
    pub fn stream_endpoint(mut self, path: &str, stream: StreamScript) -> Self {
        self.bindings.streams.push((path.to_owned(), stream));
        self
    }

    /// Whether `GET /status`, `GET /openapi.json` and gRPC's `_status` are not found, as behind
    /// some proxies.
    pub fn hide_status(mut self, hide: bool) -> Self {
        self.hides_status = hide;
        self
    }

    /// How long an HTTP connection may be idle before the gateway closes it; without a limit by
    /// default. Real gateways close it after 5 s. WebSocket and gRPC have no such limit.
    pub fn idle_timeout(mut self, limit: Duration) -> Self {
        self.idle_timeout = Some(limit);
        self
    }

    /// Starts with the executor down; see [`Control::executor_down`].
    pub fn executor_down(mut self, down: bool) -> Self {
        self.executor_down = down;
        self
    }

    /// Starts with the executor too slow; see [`Control::executor_slow`].
    pub fn executor_slow(mut self, slow: bool) -> Self {
        self.executor_slow = slow;
        self
    }

    /// Accepts only requests whose `Authorization` header is this text, such as `Bearer TOKEN`; see
    /// [`Control::require_authorization`], with which the text can be changed later.
    pub fn require_authorization(mut self, value: impl Into<String>) -> Self {
        self.authorization = Some(value.into());
        self
    }

    /// Sets a cookie with every answer over HTTP and gRPC, errors included, and with every answer to
    /// an upgrade. The text is a cookie with its attributes, as `Set-Cookie` has them:
    /// `route=1; Path=/; HttpOnly`. Each call adds a cookie; [`Control::set_cookies`] changes them
    /// later.
    ///
    /// # Panics
    ///
    /// When the gateway is started, if the text cannot be sent in a header.
    pub fn set_cookie(mut self, cookie: impl Into<String>) -> Self {
        self.cookies.push(cookie.into());
        self
    }

    /// Compresses answers in this way if the client accepts it: over HTTP by `Accept-Encoding`, over
    /// gRPC by `grpc-accept-encoding`. Of several calls, the first way that the client accepts is taken. Answers on WebSockets are never compressed. The faults
    /// `gzip` and `bomb` compress without being asked.
    pub fn compress(mut self, compression: Compression) -> Self {
        self.compressions.push(compression);
        self
    }

    /// Starts the gateway on the addresses that were set, and otherwise on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, no protocol is on, the classes of two executors disagree about an
    /// endpoint, as no Flow of such executors would start, the minimum version of TLS is newer than
    /// the maximum, or a fault for handshakes lacks TLS or the CA's key.
    pub async fn start(self) -> io::Result<Gateway> {
        let mut listeners = Vec::new();
        for (protocol, address) in self.wanted() {
            listeners.push((protocol, TcpListener::bind(address).await?));
        }
        self.launch(listeners)
    }

    /// Starts the gateway with this address for all protocols if they share a port, and otherwise
    /// for the first of HTTP, WebSocket and gRPC that is on. The other protocols get the addresses
    /// that [`start`](Self::start) gives them.
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn bind(self, address: impl ToSocketAddrs) -> io::Result<Gateway> {
        let mut wanted = self.wanted().into_iter();
        let (first, _) = wanted.next().ok_or_else(nothing)?;
        let mut listeners = vec![(first, TcpListener::bind(address).await?)];
        for (protocol, address) in wanted {
            listeners.push((protocol, TcpListener::bind(address).await?));
        }
        self.launch(listeners)
    }

    /// Starts the gateway on a listener, for the one protocol that is on, or for all protocols if
    /// they share a port.
    ///
    /// # Errors
    ///
    /// The listener does not know its address, or the number of protocols that are on is not one;
    /// see [`serve_both`](Self::serve_both) and [`one_port`](Self::one_port).
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    pub fn serve(self, listener: impl Listener) -> io::Result<Gateway> {
        match self.wanted()[..] {
            [] => Err(nothing()),
            [(protocol, _)] => self.launch(vec![(protocol, listener)]),
            _ => Err(invalid("protocols need a listener each, or one port for all")),
        }
    }

    /// Starts the gateway on two listeners, the first for HTTP and the second for WebSocket.
    /// Settings of protocols and addresses have no effect.
    ///
    /// # Errors
    ///
    /// A listener does not know its address.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    pub fn serve_both<L: Listener>(self, http: L, websocket: L) -> io::Result<Gateway> {
        self.launch(vec![(Protocol::Http, http), (Protocol::WebSocket, websocket)])
    }

    /// The protocols that are on, with their addresses.
    fn wanted(&self) -> Vec<(Protocol, SocketAddr)> {
        if let Some(address) = self.all {
            return vec![(Protocol::All, address)];
        }
        let each = [
            (Protocol::Http, self.http),
            (Protocol::WebSocket, self.websocket),
            (Protocol::Grpc, self.grpc),
        ];
        each.into_iter().filter_map(|(protocol, address)| Some((protocol, address?))).collect()
    }

    fn launch<L: Listener>(self, listeners: Vec<(Protocol, L)>) -> io::Result<Gateway> {
        if listeners.is_empty() {
            return Err(nothing());
        }
        let flaw = |executors: &Executors| executors.flaw(self.docarray);
        if let Some(flaw) = self.executors.as_ref().and_then(flaw) {
            return Err(invalid(&flaw));
        }
        let mut addresses = Vec::new();
        for (protocol, listener) in &listeners {
            addresses.push((*protocol, listener.local_addr()?));
        }
        let address = |wanted| {
            let serves = |protocol| protocol == wanted || protocol == Protocol::All;
            addresses.iter().find(|(protocol, _)| serves(*protocol)).map(|(_, address)| *address)
        };
        let journal = Journal::new(self.journal, self.journal_bytes);
        let control = Control::new(self.docarray);
        control.executor_down(self.executor_down);
        control.executor_slow(self.executor_slow);
        control.require_authorization(self.authorization.as_deref());
        control.set_cookies(self.cookies.iter().map(String::as_str));
        #[cfg(feature = "tls")]
        let tls = self.tls.as_ref().map(|tls| Server::new(tls, &self.faults)).transpose()?;
        #[cfg(not(feature = "tls"))]
        let tls: Option<()> = None;
        let on_handshake = self.faults.iter().find(|fault| fault.is_for_handshakes());
        if let Some(fault) = on_handshake.filter(|_| tls.is_none()) {
            return Err(invalid(&format!("fault `{fault}` needs a gateway that speaks TLS")));
        }
        let (stop, stopping) = watch::channel(false);
        let mistakes = Mistakes::default();
        let world = Arc::new(World {
            executors: self.executors.clone(),
            mistakes: mistakes.clone(),
            bindings: self.bindings,
            hides_status: self.hides_status,
            idle_timeout: self.idle_timeout,
            compressions: self.compressions,
            control: control.clone(),
            journal: journal.clone(),
            schedule: Schedule::new(self.faults, self.seed),
            ids: Ids::new(self.seed),
            last: Mutex::default(),
            stopping,
            #[cfg(feature = "tls")]
            tls,
        });
        let tasks = listeners
            .into_iter()
            .map(|(protocol, listener)| {
                tokio::spawn(gateway::accept(Arc::clone(&world), listener, protocol))
            })
            .collect();
        Ok(Gateway {
            http: address(Protocol::Http),
            websocket: address(Protocol::WebSocket),
            grpc: address(Protocol::Grpc),
            speaks_tls: world.speaks_tls(),
            journal,
            control,
            mistakes,
            stop,
            tasks,
        })
    }
}

fn nothing() -> io::Error {
    invalid("none of HTTP, WebSocket and gRPC is to be served")
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
