//! Gateways in this process, whose journals the tests can read.

use std::net::Ipv4Addr;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use clientlet_gateway::{DocArray, Gateway, GatewayBuilder, Journal};
use tokio::runtime::Runtime;

pub(crate) static RUNTIME: LazyLock<Runtime> = LazyLock::new(|| {
    tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap()
});

/// A running gateway, which stops when this value is dropped.
pub(crate) struct Served {
    gateway: Gateway,
}

/// Starts a gateway with these faults.
pub(crate) fn serve(docarray: DocArray, faults: &[&str]) -> Served {
    Served::start(builder(docarray, faults))
}

/// Starts a gateway whose port no other test gets after it has stopped: it has an address of its own, if
/// the loopback network has more than one.
pub(crate) fn serve_apart(docarray: DocArray, faults: &[&str]) -> Served {
    static NEXT: AtomicU8 = AtomicU8::new(2);
    let last = if cfg!(target_os = "linux") { NEXT.fetch_add(1, Ordering::Relaxed) } else { 1 };
    let address = (Ipv4Addr::new(127, 0, 0, last), 0);
    Served { gateway: RUNTIME.block_on(builder(docarray, faults).bind(address)).unwrap() }
}

/// The URL of a gateway that has stopped.
pub(crate) fn gone() -> String {
    let served = serve_apart(DocArray::V1, &[]);
    let url = served.url();
    // A dropped gateway would go on listening for a moment.
    RUNTIME.block_on(served.gateway.stop());
    url
}

fn builder(docarray: DocArray, faults: &[&str]) -> GatewayBuilder {
    let builder = Gateway::builder().docarray(docarray);
    faults.iter().fold(builder, |builder, fault| builder.fault(fault.parse().unwrap()))
}

pub(crate) fn v1() -> Served {
    serve(DocArray::V1, &[])
}

impl Served {
    pub(crate) fn start(builder: GatewayBuilder) -> Served {
        Served { gateway: RUNTIME.block_on(builder.websocket(true).start()).unwrap() }
    }

    pub(crate) fn url(&self) -> String {
        self.gateway.http_url()
    }

    pub(crate) fn websocket_url(&self) -> String {
        self.gateway.websocket_url()
    }

    pub(crate) fn grpc_url(&self) -> String {
        self.gateway.grpc_url()
    }

    pub(crate) fn journal(&self) -> &Journal {
        self.gateway.journal()
    }

    /// Waits until this many requests have arrived.
    pub(crate) fn wait_for(&self, requests: usize) {
        let arrived = self.journal().wait_for(requests);
        let limit = Duration::from_secs(60);
        let waited = RUNTIME.block_on(async { tokio::time::timeout(limit, arrived).await });
        waited.unwrap_or_else(|_| panic!("{} requests arrived", self.journal().len()));
    }

    /// Waits until this many streams of documents were cancelled.
    pub(crate) fn wait_for_cancelled(&self, streams: u64) {
        let cancelled = self.journal().wait_for_cancelled(streams);
        let limit = Duration::from_secs(60);
        let waited = RUNTIME.block_on(async { tokio::time::timeout(limit, cancelled).await });
        waited.unwrap_or_else(|_| panic!("{} were cancelled", self.journal().cancelled()));
    }

    /// Whether no request of any kind has arrived.
    pub(crate) fn is_untouched(&self) -> bool {
        self.journal().is_empty() && self.journal().gets().is_empty()
    }
}
