//! A running gateway, and stopping it.

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

use crate::connection;
use crate::control::Control;
use crate::journal::Journal;
use crate::listener::Listener;
use crate::mistakes::{Mistake, Mistakes};
use crate::world::{Protocol, World};

/// How long [`Gateway::stop`] waits for requests that are running.
const GRACE: Duration = Duration::from_secs(5);
/// How long the gateway waits after accepting has failed, as with too many open files.
const REST: Duration = Duration::from_millis(10);

/// A running gateway. Dropping it stops the gateway and its connections as soon as its runtime runs
/// again; until then its port may still accept a connection. [`stop`](Gateway::stop) waits for the
/// end.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) websocket: Option<SocketAddr>,
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) speaks_tls: bool,
    pub(crate) journal: Journal,
    pub(crate) control: Control,
    pub(crate) mistakes: Mistakes,
    pub(crate) stop: watch::Sender<bool>,
    /// One for each listener.
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// The address for HTTP.
    ///
    /// # Panics
    ///
    /// If the gateway was built not to serve HTTP.
    #[track_caller]
    pub fn http_address(&self) -> SocketAddr {
        self.http.expect("the gateway was built without HTTP")
    }

    /// The URL for HTTP, such as `http://127.0.0.1:41234`; with TLS `https://`.
    ///
    /// # Panics
    ///
    /// If the gateway was built not to serve HTTP.
    #[track_caller]
    pub fn http_url(&self) -> String {
        self.url("http", self.http_address())
    }

    /// The address for WebSocket.
    ///
    /// # Panics
    ///
    /// If the gateway was not built with [`websocket(true)`](crate::GatewayBuilder::websocket).
    #[track_caller]
    pub fn websocket_address(&self) -> SocketAddr {
        self.websocket.expect("the gateway was built without `websocket(true)`")
    }

    /// The URL for WebSocket, such as `ws://127.0.0.1:41235`; with TLS `wss://`.
    ///
    /// # Panics
    ///
    /// If the gateway was not built with [`websocket(true)`](crate::GatewayBuilder::websocket).
    #[track_caller]
    pub fn websocket_url(&self) -> String {
        self.url("ws", self.websocket_address())
    }

    /// The address for gRPC.
    ///
    /// # Panics
    ///
    /// If the gateway was not built with [`grpc(true)`](crate::GatewayBuilder::grpc).
    #[track_caller]
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.expect("the gateway was built without `grpc(true)`")
    }

    /// The URL for gRPC, such as `grpc://127.0.0.1:41236`; with TLS `grpcs://`.
    ///
    /// # Panics
    ///
    /// If the gateway was not built with [`grpc(true)`](crate::GatewayBuilder::grpc).
    #[track_caller]
    pub fn grpc_url(&self) -> String {
        self.url("grpc", self.grpc_address())
    }

    fn url(&self, scheme: &str, address: SocketAddr) -> String {
        let secure = if self.speaks_tls { "s" } else { "" };
        format!("{scheme}{secure}://{address}")
    }

    /// The record of what arrived.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// The switches that change the gateway while it runs.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The mistakes that handlers have made since the last call. If mistakes are left when the
    /// gateway is dropped or stopped, the gateway panics with them, so that the test fails.
    pub fn take_mistakes(&self) -> Vec<Mistake> {
        self.mistakes.take()
    }

    /// Fails the test if handlers made mistakes, unless it has failed already.
    #[track_caller]
    fn verify(&self) {
        let report = self.mistakes.report().filter(|_| !std::thread::panicking());
        assert!(report.is_none(), "{}", report.unwrap_or_default());
    }

    /// Stops the gateway in good order. It accepts no more connections and closes idle and stalled
    /// ones: a WebSocket with 1012 as real gateways do, a gRPC stream with UNAVAILABLE behind a
    /// GOAWAY. Running requests have 5 s to end.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in &mut self.tasks {
            // An error would mean that the task was aborted, which only `drop` does.
            let _ = task.await;
        }
        self.verify();
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        // A task owns its listener and all connections.
        for task in &self.tasks {
            task.abort();
        }
        self.verify();
    }
}

/// Serves every connection in a task of its own until the gateway stops.
pub(crate) async fn accept<L: Listener>(world: Arc<World>, mut listener: L, protocol: Protocol) {
    let mut connections = JoinSet::new();
    let mut stops = pin!(world.stops());
    loop {
        let io = tokio::select! {
            biased;
            () = &mut stops => break,
            io = listener.accept() => io,
        };
        // Connections that have ended are removed here, so that the set does not grow for ever.
        while connections.try_join_next().is_some() {}
        match io {
            Ok(io) => {
                let number = world.journal.connected();
                if world.schedule.refuses(number) {
                    world.journal.refuse();
                    L::reset_on_drop(&io);
                } else {
                    let world = Arc::clone(&world);
                    connections.spawn(connection::serve::<L>(world, io, protocol, number));
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
