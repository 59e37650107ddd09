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
use crate::mistakes::{Mistake, Mistakes, report};
use crate::world::{Protocol, World};

/// How long [`Gateway::stop`] waits for requests that are running.
const GRACE: Duration = Duration::from_secs(5);
/// How long accepting rests after an error such as too many open files, which stays for a while.
const REST: Duration = Duration::from_millis(10);

/// A running gateway. Dropping it stops it, connections included, as soon as its runtime runs again;
/// until then its port may still take a connection. [`stop`](Gateway::stop) waits for the end.
#[derive(Debug)]
pub struct Gateway {
    pub(crate) http: Option<SocketAddr>,
    pub(crate) websocket: Option<SocketAddr>,
    pub(crate) grpc: Option<SocketAddr>,
    pub(crate) journal: Journal,
    pub(crate) control: Control,
    pub(crate) mistakes: Mistakes,
    pub(crate) stop: watch::Sender<bool>,
    /// One for each listener.
    pub(crate) tasks: Vec<JoinHandle<()>>,
}

impl Gateway {
    /// Where it listens for HTTP.
    ///
    /// # Panics
    ///
    /// If the gateway was built not to serve HTTP.
    pub fn http_address(&self) -> SocketAddr {
        self.http.expect("the gateway was built without HTTP")
    }

    /// Its URL for HTTP, such as `http://127.0.0.1:41234`.
    ///
    /// # Panics
    ///
    /// If the gateway was built not to serve HTTP.
    pub fn http_url(&self) -> String {
        format!("http://{}", self.http_address())
    }

    /// Where it listens for WebSocket.
    ///
    /// # Panics
    ///
    /// If the gateway was not built to serve WebSocket.
    pub fn websocket_address(&self) -> SocketAddr {
        self.websocket.expect("the gateway was built without `websocket(true)`")
    }

    /// Its URL for WebSocket, such as `ws://127.0.0.1:41235`.
    ///
    /// # Panics
    ///
    /// If the gateway was not built to serve WebSocket.
    pub fn websocket_url(&self) -> String {
        format!("ws://{}", self.websocket_address())
    }

    /// Where it listens for gRPC.
    ///
    /// # Panics
    ///
    /// If the gateway was not built to serve gRPC.
    pub fn grpc_address(&self) -> SocketAddr {
        self.grpc.expect("the gateway was built without `grpc(true)`")
    }

    /// Its URL for gRPC, such as `grpc://127.0.0.1:41236`.
    ///
    /// # Panics
    ///
    /// If the gateway was not built to serve gRPC.
    pub fn grpc_url(&self) -> String {
        format!("grpc://{}", self.grpc_address())
    }

    /// What arrived.
    pub fn journal(&self) -> &Journal {
        &self.journal
    }

    /// Changes the world while the gateway runs.
    pub fn control(&self) -> &Control {
        &self.control
    }

    /// The mistakes that handlers made since this was called last. A test that takes them deals with
    /// them itself; those that are left when the gateway is dropped or stopped fail the test.
    pub fn take_mistakes(&self) -> Vec<Mistake> {
        self.mistakes.take()
    }

    /// Fails the test if handlers made mistakes, unless it has failed already.
    #[track_caller]
    fn verify(&self) {
        let mistakes = self.mistakes.take();
        assert!(mistakes.is_empty() || std::thread::panicking(), "{}", report(&mistakes));
    }

    /// Stops in good order: accepts nothing more, closes idle and stalled connections, a WebSocket
    /// with 1012 as real gateways do, a gRPC stream with UNAVAILABLE behind a GOAWAY; lets running
    /// requests end, though not for longer than 5 s.
    pub async fn stop(mut self) {
        self.stop.send_replace(true);
        for task in &mut self.tasks {
            // An error would mean that the task was aborted, but that is for drop alone to do.
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
