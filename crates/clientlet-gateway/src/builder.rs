//! Settings of a gateway, and starting it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;

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
use crate::world::{Protocol, World};

/// A free port of 127.0.0.1.
const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Settings of a gateway that is yet to start.
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
    http: Option<SocketAddr>,
    websocket: Option<SocketAddr>,
    grpc: Option<SocketAddr>,
    /// One port for all protocols, instead of those.
    all: Option<SocketAddr>,
}

impl Gateway {
    /// Settings of a gateway that serves HTTP and documents v1 and has no faults, unless they are
    /// changed.
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
            http: Some(FREE),
            websocket: None,
            grpc: None,
            all: None,
        }
    }
}

impl GatewayBuilder {
    /// Whether it serves HTTP, as it does unless told otherwise; on a free port of 127.0.0.1, unless
    /// [`http_address`](Self::http_address) names another.
    pub fn http(mut self, serve: bool) -> Self {
        self.http = serve.then(|| self.http.unwrap_or(FREE));
        self
    }

    /// Serves HTTP on this address.
    pub fn http_address(mut self, address: SocketAddr) -> Self {
        self.http = Some(address);
        self
    }

    /// Whether it serves WebSocket, on a port of its own as real gateways do; off unless set. The
    /// port is a free one of 127.0.0.1, unless
    /// [`websocket_address`](Self::websocket_address) names another.
    pub fn websocket(mut self, serve: bool) -> Self {
        self.websocket = serve.then(|| self.websocket.unwrap_or(FREE));
        self
    }

    /// Serves WebSocket on this address.
    pub fn websocket_address(mut self, address: SocketAddr) -> Self {
        self.websocket = Some(address);
        self
    }

    /// Whether it serves gRPC, on a port of its own as real gateways do; off unless set. The port is
    /// a free one of 127.0.0.1, unless [`grpc_address`](Self::grpc_address) names another.
    pub fn grpc(mut self, serve: bool) -> Self {
        self.grpc = serve.then(|| self.grpc.unwrap_or(FREE));
        self
    }

    /// Serves gRPC on this address.
    pub fn grpc_address(mut self, address: SocketAddr) -> Self {
        self.grpc = Some(address);
        self
    }

    /// Whether it serves HTTP, WebSocket and gRPC on one port, whatever else was set; off unless
    /// set. No real gateway does. The port is a free one of 127.0.0.1, unless
    /// [`one_port_address`](Self::one_port_address) names another.
    pub fn one_port(mut self, serve: bool) -> Self {
        self.all = serve.then(|| self.all.unwrap_or(FREE));
        self
    }

    /// Serves all protocols on this address.
    pub fn one_port_address(mut self, address: SocketAddr) -> Self {
        self.all = Some(address);
        self
    }

    /// The generation of documents that it speaks; v1 unless set.
    pub fn docarray(mut self, docarray: DocArray) -> Self {
        self.docarray = docarray;
        self
    }

    /// Adds a fault. Of several, the first that matches a request strikes it.
    pub fn fault(mut self, fault: Fault) -> Self {
        self.faults.push(fault);
        self
    }

    /// The seed of faults by probability that name none, and of the ids that the gateway makes;
    /// 0 unless set.
    pub fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    /// Whether the journal keeps entries, as it does unless told otherwise. Without, it counts
    /// only; for long runs.
    pub fn journal(mut self, keep: bool) -> Self {
        self.journal = keep;
        self
    }

    /// The most bytes of bodies that the journal keeps, 64 MiB unless set. The oldest bodies go first;
    /// all else that entries tell stays.
    pub fn journal_bytes(mut self, most: usize) -> Self {
        self.journal_bytes = most;
        self
    }

    /// Binds an endpoint of the test's own, or binds it anew: a handler, or an [`Endpoint`] with the
    /// classes of its documents. `/default` also answers requests to endpoints that are not bound.
    ///
    /// The endpoints belong to the executor `executor0`. They take the place of the endpoints that a
    /// gateway has otherwise, all of which are gone.
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

    /// Adds an executor of the test's own behind those that are there. A request goes through all
    /// executors with its endpoint that its `target_executor` means, one after the other.
    pub fn executor(mut self, executor: Executor) -> Self {
        self.executors.get_or_insert_default().0.push(executor);
        self
    }

    /// Whether the executor has an endpoint for what no other one is bound to: tags.default
    /// becomes true. With documents v2 its route is `/default`.
    pub fn with_default(mut self, bind: bool) -> Self {
        self.bindings.default = bind;
        self
    }

    /// Whether the endpoint `/` is left out.
    pub fn without_root(mut self, leave_out: bool) -> Self {
        self.bindings.root = !leave_out;
        self
    }

    /// Binds a streaming endpoint, which executors of documents v2 alone can have: `stream_doc` over
    /// gRPC, server-sent events for a GET over HTTP. `/stream` gives three documents and `/stream_fail`
    /// raises behind the first, unless they are bound anew.
    pub fn stream_endpoint(mut self, path: &str, stream: StreamScript) -> Self {
        self.bindings.streams.push((path.to_owned(), stream));
        self
    }

    /// Whether `GET /status` and `GET /openapi.json` are not there, as behind some proxies.
    pub fn hide_status(mut self, hide: bool) -> Self {
        self.hides_status = hide;
        self
    }

    /// How long a connection may be idle before the gateway closes it; for ever unless set. Real
    /// gateways close it after 5 s. WebSocket and gRPC have no such limit.
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

    /// Starts on the addresses that were set, otherwise on free ports of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// An address cannot be bound, or the gateway is to serve nothing.
    pub async fn start(self) -> io::Result<Gateway> {
        let mut listeners = Vec::new();
        for (protocol, address) in self.wanted() {
            listeners.push((protocol, TcpListener::bind(address).await?));
        }
        self.launch(listeners)
    }

    /// Starts on this address: for all protocols if they are to share a port, otherwise for the first
    /// of HTTP, WebSocket and gRPC that is on. The others are served where they would be by
    /// [`start`](Self::start).
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

    /// Starts on a listener: for the one protocol that is on, or for all if they are to share a port.
    /// Needs a running tokio runtime.
    ///
    /// # Errors
    ///
    /// The listener does not know its address, or not exactly one protocol is on:
    /// [`serve_both`](Self::serve_both), [`one_port`](Self::one_port).
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

    /// Starts on two listeners, the first for HTTP, the second for WebSocket, whatever was set.
    /// Needs a running tokio runtime.
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

    /// What is to be served where.
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
        if let Some(disagreement) = self.executors.as_ref().and_then(Executors::disagreement) {
            return Err(invalid(&disagreement));
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
        let (stop, stopping) = watch::channel(false);
        let mistakes = Mistakes::default();
        let world = Arc::new(World {
            executors: self.executors.clone(),
            mistakes: mistakes.clone(),
            bindings: self.bindings,
            hides_status: self.hides_status,
            idle_timeout: self.idle_timeout,
            control: control.clone(),
            journal: journal.clone(),
            schedule: Schedule::new(self.faults, self.seed),
            ids: Ids::new(self.seed),
            last: Mutex::default(),
            stopping,
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
