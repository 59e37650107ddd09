//! What can be changed while a gateway runs.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use crate::docarray::DocArray;
use crate::ingress::{Ingress, cookie};

/// Changes what stands behind a running gateway. A change counts for requests that are answered
/// after it. Clones change the same gateway.
#[derive(Clone, Debug)]
pub struct Control(Arc<Switches>);

#[derive(Debug)]
struct Switches {
    v2: AtomicBool,
    executor_down: AtomicBool,
    executor_slow: AtomicBool,
    ingress: Ingress,
}

impl Control {
    pub(crate) fn new(docarray: DocArray) -> Self {
        Self(Arc::new(Switches {
            v2: AtomicBool::new(docarray == DocArray::V2),
            executor_down: AtomicBool::new(false),
            executor_slow: AtomicBool::new(false),
            ingress: Ingress::default(),
        }))
    }

    /// Takes the executors down, or up again. While they are down, requests over HTTP are answered
    /// with 503 (v1) or with 500 in plain text (v2); the dry run of v1 shows it, that of v2 does
    /// not. The next request on a WebSocket closes it with 1011, the next request on a gRPC stream
    /// ends it with UNAVAILABLE, and dry runs on both show it. Streams of documents break off.
    pub fn executor_down(&self, down: bool) {
        self.0.executor_down.store(down, Ordering::Relaxed);
    }

    /// Makes the executors too slow for the gateway's own time-out, or quick again. While they are
    /// slow, requests are answered at once as if that time-out had passed: with 504 (v1) or 500 in
    /// plain text (v2) over HTTP. A WebSocket is closed with 1011, and a gRPC stream ends with
    /// DEADLINE_EXCEEDED.
    pub fn executor_slow(&self, slow: bool) {
        self.0.executor_slow.store(slow, Ordering::Relaxed);
    }

    /// Speaks this generation of documents from now on, as if another gateway had been deployed.
    pub fn docarray(&self, docarray: DocArray) {
        self.0.v2.store(docarray == DocArray::V2, Ordering::Relaxed);
    }

    /// Accepts only requests whose `Authorization` header is this text, such as `Bearer TOKEN`;
    /// with `None`, all requests. Any other request is answered with 401, before it is looked at:
    /// over HTTP for all paths, over WebSocket in place of the upgrade, over gRPC with
    /// UNAUTHENTICATED. It is not in the journal, but [`Journal::unauthorized`] counts it. Over HTTP
    /// faults count it too, and those that strike before a request is read strike it.
    /// WebSockets and gRPC streams that are open stay open.
    ///
    /// [`Journal::unauthorized`]: crate::Journal::unauthorized
    pub fn require_authorization(&self, value: Option<&str>) {
        self.0.ingress.require_authorization(value);
    }

    /// Sets these cookies with every answer, in place of the cookies before; see
    /// [`GatewayBuilder::set_cookie`](crate::GatewayBuilder::set_cookie).
    ///
    /// # Panics
    ///
    /// If a text cannot be sent in a header.
    pub fn set_cookies<'t>(&self, cookies: impl IntoIterator<Item = &'t str>) {
        self.0.ingress.set_cookies(cookies.into_iter().map(cookie).collect());
    }

    pub(crate) fn ingress(&self) -> &Ingress {
        &self.0.ingress
    }

    pub(crate) fn is_executor_down(&self) -> bool {
        self.0.executor_down.load(Ordering::Relaxed)
    }

    pub(crate) fn is_executor_slow(&self) -> bool {
        self.0.executor_slow.load(Ordering::Relaxed)
    }

    pub(crate) fn spoken(&self) -> DocArray {
        if self.0.v2.load(Ordering::Relaxed) { DocArray::V2 } else { DocArray::V1 }
    }
}
