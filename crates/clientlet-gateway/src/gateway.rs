//! Starting a gateway, and stopping it.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, ToSocketAddrs};
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::connection;
use crate::control::{Control, Documents};
use crate::endpoint::Bindings;
use crate::fault::Fault;
use crate::identity::Ids;
use crate::journal::Journal;
use crate::listener::Listener;
use crate::schedule::Schedule;

/// How long [`Gateway::stop`] waits for requests that are running.
const GRACE: Duration = Duration::from_secs(5);
/// How long accepting rests after an error such as too many open files, which stays for a while.
const REST: Duration = Duration::from_millis(10);

/// What all connections of a gateway share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) bindings: Bindings,
    pub(crate) hides_status: bool,
    pub(crate) idle_timeout: Option<Duration>,
    pub(crate) control: Control,
    pub(crate) journal: Journal,
    pub(crate) schedule: Schedule,
    pub(crate) ids: Ids,
    stopping: watch::Receiver<bool>,
}

impl World {
    /// Waits until the gateway is to stop.
    pub(crate) async fn stops(&self) {
        // An error would mean that the gateway is gone, which is the same.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }
}

/// A running gateway. Dropping it stops it, connections included, as soon as its runtime runs again;
/// until then its port may still take a connection. [`stop`](Gateway::stop) waits for the end.
#[derive(Debug)]
pub struct Gateway {
    address: SocketAddr,
    journal: Journal,
    control: Control,
    stop: watch::Sender<bool>,
    task: JoinHandle<()>,
}

impl Gateway {
    /// A gateway with documents v1, without faults, unless told otherwise.
    pub fn builder() -> GatewayBuilder {
        GatewayBuilder {
            documents: Documents::V1,
            faults: Vec::new(),
            seed: 0,
            journal: true,
            bindings: Bindings { root: true, default: false },
            hides_status: false,
            idle_timeout: None,
            executor_down: false,
            executor_slow: false,
        }
    }

    /// Where it listens for HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.address
    }

    /// Its URL, such as `http://127.0.0.1:41234`.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// What arrived.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Changes the world while the gateway runs.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// Stops in good order: accepts nothing more, closes idle and stalled connections, lets
    /// running requests end, though not for longer than 5 s.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        // An error would mean that the task was aborted, but that is for drop alone to do.
        let _ = (&mut self.task).await;
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // The task owns the listener and all connections.
        self.task.abort();
    }
}

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
}

impl GatewayBuilder {
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

    /// Starts on a free port of 127.0.0.1.
    ///
    /// # Errors
    ///
    /// The port cannot be bound.
    pub async fn start(self) -> io::Result<Gateway> {
        self.bind((std::net::Ipv4Addr::LOCALHOST, 0)).await
    }

    /// Starts on this address.
    ///
    /// # Errors
    ///
    /// The address cannot be bound.
    pub async fn bind(self, address: impl ToSocketAddrs) -> io::Result<Gateway> {
        self.serve(TcpListener::bind(address).await?)
    }

    /// Starts on a listener. Needs a running tokio runtime.
    ///
    /// # Errors
    ///
    /// The listener does not know its address.
    ///
    /// # Panics
    ///
    /// If called outside a tokio runtime.
    pub fn serve(self, listener: impl Listener) -> io::Result<Gateway> {
        let address = listener.local_addr()?;
        let journal = Journal::new(self.journal);
        let control = Control::new(self.documents);
        control.executor_down(self.executor_down);
        control.executor_slow(self.executor_slow);
        let (stop, stopping) = watch::channel(false);
        let world = World {
            bindings: self.bindings,
            hides_status: self.hides_status,
            idle_timeout: self.idle_timeout,
            control: control.clone(),
            journal: journal.clone(),
            schedule: Schedule::new(self.faults, self.seed),
            ids: Ids::new(self.seed),
            stopping,
        };
        let task = tokio::spawn(accept(Arc::new(world), listener));
        Ok(Gateway { address, journal, control, stop, task })
    }
}

/// Serves every connection in a task of its own until the gateway stops.
async fn accept<L: Listener>(world: Arc<World>, mut listener: L) {
    let mut connections = JoinSet::new();
    let mut stops = pin!(world.stops());
    loop {
        let io = tokio::select! {
            biased;
            () = &mut stops => break,
            io = listener.accept() => io,
        };
        // Those that have ended are forgotten here, so the set grows no larger than the most
        // connections ever open at once, and those ended since the last was accepted.
        while connections.try_join_next().is_some() {}
        match io {
            Ok(io) => {
                let number = world.journal.connected();
                if world.schedule.refuses(number) {
                    world.journal.refuse();
                    L::reset_on_drop(&io);
                } else {
                    connections.spawn(connection::serve::<L>(Arc::clone(&world), io, number));
                }
            }
            Err(_) => tokio::time::sleep(REST).await,
        }
    }
    drop(listener);
    let ended = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(GRACE, ended).await.is_err() {
        connections.shutdown().await;
    }
}
