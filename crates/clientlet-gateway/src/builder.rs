//! Settings of a gateway, and starting it.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;

use crate::control::{Control, Documents};
use crate::endpoint::Bindings;
use crate::fault::Fault;
use crate::gateway::{self, Gateway, Protocol, World};
use crate::identity::Ids;
use crate::journal::Journal;
use crate::listener::Listener;
use crate::schedule::Schedule;

/// A free port of 127.0.0.1.
const FREE: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 0);

/// Settings of a gateway that is yet to start.
#[derive(Clone, Debug)]
#[must_use]
pub struct GatewayBuilder {
    documents: Documents,
    faults: Vec<Fault>,
    seed: u64,
    journal: bool,
    bindings: Bindings,
    hides_status: bool,
    idle_timeout: Option<Duration>,
    executor_down: bool,
    executor_slow: bool,
    http: Option<SocketAddr>,
    websocket: Option<SocketAddr>,
}

impl GatewayBuilder {
    pub(crate) fn new() -> Self {
        Self {
            documents: Documents::V1,
            faults: Vec::new(),
            seed: 0,
            journal: true,
            bindings: Bindings { root: true, default: false },
            hides_status: false,
            idle_timeout: None,
            executor_down: false,
            executor_slow: false,
            http: Some(FREE),
            websocket: None,
        }
    }

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

    /// The generation of documents that it speaks; v1 unless set.
    pub fn documents(mut self, documents: Documents) -> Self {
        self.documents = documents;
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

    /// Whether `GET /status` and `GET /openapi.json` are not there, as behind some proxies.
    pub fn hide_status(mut self, hide: bool) -> Self {
        self.hides_status = hide;
        self
    }

    /// How long a connection may be idle before the gateway closes it; for ever unless set. Real
    /// gateways close it after 5 s.
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
        let http = bind(self.http).await?;
        let websocket = bind(self.websocket).await?;
        self.launch(http, websocket)
    }

    /// Starts on this address: for HTTP, or for WebSocket if HTTP is off. If both are on, WebSocket
    /// is served where it would be by [`start`](Self::start).
    ///
    /// # Errors
    ///
    /// As for [`start`](Self::start).
    pub async fn bind(self, address: impl ToSocketAddrs) -> io::Result<Gateway> {
        let listener = Some(TcpListener::bind(address).await?);
        match self.http {
            Some(_) => {
                let websocket = bind(self.websocket).await?;
                self.launch(listener, websocket)
            }
            None => self.launch(None, listener),
        }
    }

    /// Starts on a listener: for HTTP, or for WebSocket if HTTP is off. Needs a running tokio
    /// runtime.
    ///
    /// # Errors
    ///
    /// The listener does not know its address, or both protocols are on, which takes two listeners:
    /// [`serve_both`](Self::serve_both).
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    pub fn serve(self, listener: impl Listener) -> io::Result<Gateway> {
        match (self.http, self.websocket) {
            (Some(_), Some(_)) => Err(invalid("HTTP and WebSocket need a listener each")),
            (Some(_), None) => self.launch(Some(listener), None),
            (None, _) => self.launch(None, Some(listener)),
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
        self.launch(Some(http), Some(websocket))
    }

    fn launch<L: Listener>(self, http: Option<L>, websocket: Option<L>) -> io::Result<Gateway> {
        if http.is_none() && websocket.is_none() {
            return Err(invalid("neither HTTP nor WebSocket is to be served"));
        }
        let address = |listener: &Option<L>| listener.as_ref().map(L::local_addr).transpose();
        let (http_address, websocket_address) = (address(&http)?, address(&websocket)?);
        let journal = Journal::new(self.journal);
        let control = Control::new(self.documents);
        control.executor_down(self.executor_down);
        control.executor_slow(self.executor_slow);
        let (stop, stopping) = watch::channel(false);
        let world = Arc::new(World {
            bindings: self.bindings,
            hides_status: self.hides_status,
            idle_timeout: self.idle_timeout,
            control: control.clone(),
            journal: journal.clone(),
            schedule: Schedule::new(self.faults, self.seed),
            ids: Ids::new(self.seed),
            stopping,
        });
        let tasks = [(http, Protocol::Http), (websocket, Protocol::WebSocket)]
            .into_iter()
            .filter_map(|(listener, protocol)| Some((listener?, protocol)))
            .map(|(listener, protocol)| {
                tokio::spawn(gateway::accept(Arc::clone(&world), listener, protocol))
            })
            .collect();
        Ok(Gateway {
            http: http_address,
            websocket: websocket_address,
            journal,
            control,
            stop,
            tasks,
        })
    }
}

async fn bind(address: Option<SocketAddr>) -> io::Result<Option<TcpListener>> {
    match address {
        Some(address) => TcpListener::bind(address).await.map(Some),
        None => Ok(None),
    }
}

fn invalid(message: &str) -> io::Error {
    io::Error::new(io::ErrorKind::InvalidInput, message)
}
