//! The queue between the senders of a connection or stream and the task that writes, and the notice
//! of the end.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, watch};

use super::inbox::{Reply, Ticket};
use super::{Claim, Ending, Inbox, Passage};

/// A request on its way to be written: `W` identifies it, `R` is the result that its sender waits
/// for.
#[derive(Debug)]
pub(crate) struct Order<W, R> {
    pub(crate) what: W,
    /// Also carries the body.
    pub(crate) passage: Passage,
    pub(crate) ticket: Ticket<R>,
}

/// The senders' side.
#[derive(Debug)]
pub(crate) struct Queue<W, R> {
    orders: mpsc::Sender<Order<W, R>>,
    room: Arc<Notify>,
    ended: watch::Receiver<Option<Arc<Ending>>>,
}

impl<W, R> Queue<W, R> {
    /// Makes a queue of at most `size` orders, with the task's side of it. A sender with one more
    /// order waits.
    pub(crate) fn new(size: usize) -> (Queue<W, R>, Orders<W, R>, Notice) {
        let (sender, receiver) = mpsc::channel(size);
        let (notice, ended) = watch::channel(None);
        let room = Arc::new(Notify::new());
        let orders = Orders { orders: receiver, room: room.clone() };
        (Queue { orders: sender, room, ended }, orders, Notice(notice))
    }

    /// Whether the queue takes new orders.
    pub(crate) fn is_open(&self) -> bool {
        // The only change is the notice of the end. Every request asks, and this takes no lock.
        matches!(self.ended.has_changed(), Ok(false)) && !self.orders.is_closed()
    }

    /// Returns the reason why the connection or stream ended, if it has ended.
    pub(crate) fn ending(&self) -> Option<Arc<Ending>> {
        self.ended.borrow().clone()
    }

    /// Waits until the connection or stream has ended; `None` if its task ended without a report.
    pub(crate) async fn ended(&self) -> Option<Arc<Ending>> {
        let mut ended = self.ended.clone();
        ended.wait_for(Option::is_some).await.ok().and_then(|ended| ended.clone())
    }

    /// Returns a place in the queue, if one is free now.
    pub(super) fn place_now(&self) -> Option<mpsc::Permit<'_, Order<W, R>>> {
        self.orders.try_reserve().ok()
    }

    /// Sends an order and waits for its result. Returns `None` if the connection or stream ended
    /// without a result.
    pub(crate) async fn exchange(&self, what: W, claim: &Claim) -> Option<Reply<R>> {
        let place = self.place().await?;
        let inbox = Inbox::default();
        let (passage, ticket) = (claim.passage(), inbox.ticket(0));
        place.send(Order { what, passage, ticket });
        inbox.only().await
    }

    /// Waits for a place; `None` once the queue is closed. A task that waits reserves no place,
    /// because it may never be polled again, and other tasks wait after it.
    async fn place(&self) -> Option<mpsc::Permit<'_, Order<W, R>>> {
        // Mostly there is one, and then listening for room is not needed.
        if let Some(place) = self.place_now() {
            return Some(place);
        }
        loop {
            let mut room = pin!(self.room.notified());
            // From here on no notification is missed.
            room.as_mut().enable();
            match self.orders.try_reserve() {
                Ok(place) => return Some(place),
                Err(TrySendError::Full(())) => room.await,
                Err(TrySendError::Closed(())) => return None,
            }
        }
    }
}

/// The orders that wait to be written.
#[derive(Debug)]
pub(crate) struct Orders<W, R> {
    orders: mpsc::Receiver<Order<W, R>>,
    /// Tells senders that there is room in the queue.
    room: Arc<Notify>,
}

impl<W, R> Orders<W, R> {
    /// Returns the next order; `None` if no more orders will come.
    pub(crate) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Order<W, R>>> {
        let order = ready!(self.orders.poll_recv(cx));
        if self.orders.capacity() == 1 {
            // The queue was full.
            self.room.notify_waiters();
        }
        Poll::Ready(order)
    }

    /// Closes the queue for new orders.
    pub(crate) fn close(&mut self) {
        self.orders.close();
        self.room.notify_waiters();
    }

    /// Closes the queue, and drops the orders in it, so that their senders look for the notice.
    /// Dropping the queue would not suffice: an order that comes in at that moment would stay in it
    /// unseen, and its sender would wait.
    pub(crate) fn poll_let_go(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.close();
        while ready!(self.orders.poll_recv(cx)).is_some() {}
        Poll::Ready(())
    }
}

impl<W, R> Drop for Orders<W, R> {
    fn drop(&mut self) {
        self.close();
    }
}

/// Reports the end to all senders, and learns when no sender is left.
#[derive(Debug)]
pub(crate) struct Notice(watch::Sender<Option<Arc<Ending>>>);

impl Notice {
    /// Reports the end. Senders must learn from this notice first that their orders failed, because
    /// they send again and must not find the dead connection or stream.
    pub(crate) fn tell(&self, ending: Arc<Ending>) {
        self.0.send_replace(Some(ending));
    }

    /// Waits until the last sender is dropped.
    pub(crate) async fn deserted(&self) {
        self.0.closed().await;
    }
}
