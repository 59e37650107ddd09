//! Many requests on one connection or stream: who waits for which answer, and what becomes of them
//! all when it ends.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, timeout_at};

use super::http::outcome;
use crate::envelope::shorten;
use crate::error::{AttemptError, Event};
use crate::message::{RawAnswer, Request, RequestId};

/// Requests that wait to be written; whoever sends one more waits as well.
pub(super) const QUEUE: usize = 64;

type Reply = Result<RawAnswer, AttemptError>;

/// What the connections and streams of a transport count together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) duplicates_dropped: AtomicU64,
}

/// Whether a request was written by the time it was given up.
#[derive(Clone, Debug, Default)]
pub(super) struct Sent(Arc<AtomicBool>);

impl Sent {
    pub(super) fn is_sent(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }

    /// Said before the first byte is written.
    pub(super) fn set(&self) {
        self.0.store(true, Ordering::Release);
    }
}

/// An attempt held to its deadline, which means something else once the request was written.
pub(super) async fn within(
    deadline: Option<Instant>,
    sent: &Sent,
    exchange: impl Future<Output = Reply>,
) -> Reply {
    let Some(deadline) = deadline else { return exchange.await };
    let began = Instant::now();
    timeout_at(deadline, exchange).await.unwrap_or_else(|_| {
        let (event, what) = match sent.is_sent() {
            false => (Event::TimedOutUnsent, "no connection that takes it"),
            true => (Event::TimedOut, "no answer"),
        };
        let took = began.elapsed().as_secs_f64();
        Err(AttemptError::new(event, format!("{what} within {took:.1} s")))
    })
}

/// Why a connection or stream ended.
#[derive(Debug)]
pub(super) struct Ending {
    event: Event,
    what: String,
}

impl Ending {
    pub(super) fn new(event: Event, what: impl Into<String>) -> Ending {
        Ending { event, what: what.into() }
    }

    /// What it means for a request that was on it.
    fn error(&self, sent: bool) -> AttemptError {
        if sent {
            return AttemptError::new(self.event, &*self.what);
        }
        AttemptError::new(Event::ClosedUnsent, format!("{} before the request was sent", self.what))
    }
}

/// A handle on a connection or stream; the last one to go lets it end.
#[derive(Debug)]
pub(super) struct Handle {
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<Option<Arc<Ending>>>,
}

/// The other side of the handles: where requests come from, and how its end is made known.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) notice: Notice,
}

/// Tells all handles, and learns when there are none left.
#[derive(Debug)]
pub(super) struct Notice(watch::Sender<Option<Arc<Ending>>>);

/// A request on its way to be written.
#[derive(Debug)]
pub(super) struct Order {
    id: RequestId,
    body: Bytes,
    sent: Sent,
    reply: oneshot::Sender<Reply>,
}

pub(super) fn channel() -> (Handle, Desk) {
    let (sender, orders) = mpsc::channel(QUEUE);
    let (notice, ended) = watch::channel(None);
    (Handle { orders: sender, ended }, Desk { orders, notice: Notice(notice) })
}

impl Handle {
    pub(super) fn is_open(&self) -> bool {
        self.ended.borrow().is_none() && !self.orders.is_closed()
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(&self, request: &Request, sent: &Sent) -> Reply {
        let (reply, answer) = oneshot::channel();
        let (id, body) = (request.id, request.body.clone());
        let order = Order { id, body, sent: sent.clone(), reply };
        if self.orders.send(order).await.is_ok()
            && let Ok(result) = answer.await
        {
            return result;
        }
        // It ended without a reply of its own, and has said why before it let go.
        let ended = self.ended.borrow().clone();
        let ending = ended.unwrap_or_else(|| {
            Arc::new(Ending::new(Event::SocketDropped, "the connection was dropped"))
        });
        Err(ending.error(sent.is_sent()))
    }
}

impl Notice {
    /// Makes the end known: first the news, then the replies, since whoever gets one must not find
    /// what is dead. What is still queued was never written; its senders find the news themselves.
    pub(super) fn ended(self, ending: Ending, fail: impl FnOnce(&Ending)) {
        let ending = Arc::new(ending);
        self.0.send_replace(Some(ending.clone()));
        fail(&ending);
    }

    /// Waits until the last handle has gone.
    pub(super) async fn deserted(&self) {
        self.0.closed().await;
    }
}

/// The requests that were written and are not answered.
#[derive(Debug)]
pub(super) struct InFlight {
    nonce: u64,
    waiting: HashMap<u64, Waiting>,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Waiting {
    sent: Sent,
    reply: oneshot::Sender<Reply>,
}

impl InFlight {
    /// For requests whose ids have this nonce.
    pub(super) fn new(nonce: u64, tally: Arc<Tally>) -> InFlight {
        InFlight { nonce, waiting: HashMap::new(), tally }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes a request that is about to be written, and gives its bytes; nothing if nobody waits for
    /// it any more.
    pub(super) fn enter(&mut self, order: Order) -> Option<Bytes> {
        let Order { id, body, sent, reply } = order;
        if reply.is_closed() {
            return None;
        }
        sent.set();
        // Those that nobody waits for any more are forgotten now and then; they are few.
        if self.waiting.len() >= 2 * QUEUE && self.waiting.len().is_power_of_two() {
            self.waiting.retain(|_, waiting| !waiting.reply.is_closed());
        }
        self.waiting.insert(id.sequence, Waiting { sent, reply });
        Some(body)
    }

    /// Gives an answer to whoever waits for it. One of ours that nobody waits for is a late
    /// duplicate, and dropped.
    ///
    /// # Errors
    /// When it answers a request that was never sent: what to end with.
    pub(super) fn answer(&mut self, answer: RawAnswer) -> Result<(), Ending> {
        let id = RequestId::parse(&answer.request_id).filter(|id| id.nonce == self.nonce);
        let Some(id) = id else {
            let shown = shorten(&answer.request_id);
            let what = format!("the gateway answered a request that was not sent: id {shown:?}");
            return Err(Ending::new(Event::Unreadable, what));
        };
        match self.waiting.remove(&id.sequence) {
            // Whoever gave up meanwhile does not want it any more.
            Some(waiting) => drop(waiting.reply.send(outcome(answer))),
            None => {
                self.tally.duplicates_dropped.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(request = %id, "an answer came that nobody waits for");
            }
        }
        Ok(())
    }

    /// Fails all that wait.
    pub(super) fn fail(&mut self, ending: &Ending) {
        for (_, waiting) in self.waiting.drain() {
            let _ = waiting.reply.send(Err(ending.error(waiting.sent.is_sent())));
        }
    }
}
