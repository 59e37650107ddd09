//! What all connections of a gateway share.

use std::sync::Mutex;
use std::time::Duration;

use tokio::sync::watch;

use crate::control::Control;
use crate::endpoint::Bindings;
use crate::identity::Ids;
use crate::journal::Journal;
use crate::schedule::Schedule;

/// What a port speaks.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    /// WebSocket, and the few GETs that a gateway answers on the same port.
    WebSocket,
    /// gRPC alone.
    Grpc,
    /// HTTP and WebSocket, and gRPC if HTTP/2's preface comes first. HTTP is answered as on a port of
    /// its own.
    All,
}

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
    /// The last answer that was given, if a fault may repeat it.
    pub(crate) last: Mutex<Option<Vec<u8>>>,
    pub(crate) stopping: watch::Receiver<bool>,
}

impl World {
    /// Waits until the gateway is to stop.
    pub(crate) async fn stops(&self) {
        // An error would mean that the gateway is gone, which is the same.
        let _ = self.stopping.clone().wait_for(|stop| *stop).await;
    }

    /// Waits for as long as a connection may be idle.
    pub(crate) async fn idles(&self) {
        match self.idle_timeout {
            Some(limit) => tokio::time::sleep(limit).await,
            None => std::future::pending().await,
        }
    }

    #[cfg(test)]
    pub(crate) fn for_tests() -> (Self, watch::Sender<bool>) {
        let (stop, stopping) = watch::channel(false);
        let world = Self {
            bindings: Bindings::default(),
            hides_status: false,
            idle_timeout: None,
            control: Control::new(crate::docarray::DocArray::V2),
            journal: Journal::new(true),
            schedule: Schedule::new(Vec::new(), 0),
            ids: Ids::new(0),
            last: Mutex::default(),
            stopping,
        };
        (world, stop)
    }
}
