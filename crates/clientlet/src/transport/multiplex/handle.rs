//! A handle on a connection or stream that requests share.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tokio::time::Instant;

use super::inbox::{Reply, Ticket};
use super::{Claim, Ending, Notice, Order, Orders, Progress, Queue};
use crate::error::{AttemptError, Event};
use crate::message::{RawAnswer, RequestId};
use crate::stop::stopped;
use crate::transport::idle::Silence;
use crate::transport::{Patience, Time};

/// The number of requests that wait to be written. A sender with one more request waits as well.
pub(super) const QUEUE: usize = 64;

/// A handle on a connection or stream. The connection or stream ends with its last handle.
#[derive(Debug)]
pub(crate) struct Handle {
    queue: Queue<RequestId, RawAnswer>,
    progress: Progress,
    /// Whether bodies are copied when they are written. Then it is better to share a body than to
    /// take it.
    is_copying: bool,
}

/// A request that was handed over and whose answer comes to an inbox. Dropping it gives the request
/// up.
#[derive(Debug)]
pub(crate) struct Dispatched {
    handle: Arc<Handle>,
    claim: Claim,
    /// Boxed, because few requests have an idle time-out.
    silence: Option<Box<Silence>>,
}

impl Handle {
    pub(crate) fn new(
        progress: Progress,
        is_copying: bool,
    ) -> (Handle, Orders<RequestId, RawAnswer>, Notice) {
        let (queue, orders, notice) = Queue::new(QUEUE);
        (Handle { queue, progress, is_copying }, orders, notice)
    }

    /// Whether the connection or stream ended because the gateway wanted other credentials.
    pub(crate) fn was_refused(&self) -> bool {
        self.queue.ending().is_some_and(|ending| ending.detail.is_unauthorized())
    }

    /// Whether the handle takes new requests.
    pub(crate) fn is_open(&self) -> bool {
        self.queue.is_open() && !self.progress.is_doubted()
    }

    /// Takes a request if there is room for it now. Takes its body as well, unless `keep` is set or
    /// taking it would save nothing. The answer comes to the inbox of the ticket.
    pub(crate) fn dispatch(
        self: &Arc<Self>,
        id: RequestId,
        body: &mut Bytes,
        keep: bool,
        idle_timeout: Option<Duration>,
        ticket: impl FnOnce() -> Ticket<RawAnswer>,
    ) -> Option<Dispatched> {
        let place = self.queue.place_now()?;
        let body = if keep || self.is_copying { body.clone() } else { mem::take(body) };
        let mut dispatched = self.dispatched(body);
        let silence = |timeout| Box::new(Silence::new(timeout, self.progress.heard()));
        dispatched.silence = idle_timeout.map(silence);
        let passage = dispatched.claim.passage();
        place.send(Order { what: id, passage, ticket: ticket() });
        Some(dispatched)
    }

    /// Sends a request and waits for its answer, as long as `time` allows. If the connection ended
    /// before the body was sent, the body is returned with the error.
    pub(crate) async fn exchange(
        self: &Arc<Self>,
        id: RequestId,
        body: Bytes,
        time: &mut Time<'_>,
    ) -> Reply<RawAnswer> {
        let dispatched = self.dispatched(body);
        let reply = pin!(self.queue.exchange(id, &dispatched.claim));
        match self.progress.in_time(time, &dispatched.claim, reply).await? {
            Some(reply) => reply,
            None => Err(dispatched.lost()),
        }
    }

    fn dispatched(self: &Arc<Self>, body: Bytes) -> Dispatched {
        Dispatched { handle: self.clone(), claim: Claim::carrying(body), silence: None }
    }
}

impl Dispatched {
    /// Returns the error of a request that timed out.
    pub(crate) fn late(&self, patience: &Patience) -> AttemptError {
        let is_sent = self.claim.give_up();
        self.handle.progress.doubt(&self.claim);
        patience.late(is_sent, "no answer")
    }

    /// Returns the end of the idle time-out, if nothing more comes.
    pub(crate) fn silent_from(&self) -> Option<Instant> {
        self.silence.as_ref().and_then(|silence| silence.end())
    }

    /// Returns the error of a request if its idle time-out is over.
    pub(crate) fn silent(&mut self, now: Instant) -> Option<AttemptError> {
        let silence = self.silence.as_mut()?;
        if !silence.is_over(now) {
            return None;
        }
        let error = silence.error(self.claim.give_up());
        self.handle.progress.doubt(&self.claim);
        Some(error)
    }

    /// Returns the error of a request whose call was stopped.
    pub(crate) fn stopped(&self) -> AttemptError {
        stopped(self.claim.give_up())
    }

    /// Returns the error of a request whose connection or stream ended without an answer to it. The
    /// notice of the end comes before the requests are released. A body that was not sent is
    /// returned with the error.
    pub(crate) fn lost(&self) -> AttemptError {
        let ending = self.handle.queue.ending().unwrap_or_else(|| {
            Arc::new(Ending::new(Event::SocketDropped, "the connection was dropped"))
        });
        match self.claim.give_up() {
            true => ending.sent(),
            false => ending.unsent(Event::ClosedUnsent).with_unsent(self.claim.take_body()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::Inbox;
    use crate::transport::multiplex::FarEnd;

    #[tokio::test]
    async fn a_request_that_waits_for_room_does_not_block_others() {
        let (handle, mut far) = FarEnd::open(7);
        let dispatch = |sequence| {
            let id = RequestId { nonce: 7, sequence };
            let ticket = || Inbox::default().ticket(sequence);
            handle.dispatch(id, &mut Bytes::new(), false, None, ticket)
        };
        let queued: Vec<_> = (0..QUEUE as u64).map_while(dispatch).collect();
        assert_eq!(queued.len(), QUEUE);
        let id = RequestId { nonce: 7, sequence: 1000 };
        let mut time = Time::until(None);
        let mut waiting = pin!(handle.exchange(id, Bytes::new(), &mut time));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(dispatch(1001).is_none(), "there is no room");
        far.write();
        // This future is not polled, as if its caller was busy.
        let overtaking: Vec<_> = (0..QUEUE as u64).map_while(dispatch).collect();
        assert_eq!(overtaking.len(), QUEUE);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        far.write();
        // tokio lets a task read only this many messages at a time.
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(far.write().len(), 1, "the request took the free place");
        far.end().await;
        assert_eq!(waiting.await.unwrap_err().event, Event::SocketDropped);
    }

    #[tokio::test]
    async fn an_unsent_request_comes_back_with_its_body() {
        let (handle, mut far) = FarEnd::open(7);
        let body = Bytes::from_static(b"body");
        let dispatch = |sequence| {
            let id = RequestId { nonce: 7, sequence };
            let ticket = || Inbox::default().ticket(sequence);
            handle.dispatch(id, &mut body.clone(), false, None, ticket).unwrap()
        };
        let written = dispatch(1);
        assert_eq!(far.write().concat(), *b"body");
        let queued = dispatch(2);
        let id = RequestId { nonce: 7, sequence: 3 };
        let mut time = Time::until(None);
        let mut waiting = pin!(handle.exchange(id, body.clone(), &mut time));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        far.end().await;
        assert_eq!(queued.lost().unsent, Some(body.clone()));
        assert_eq!(waiting.await.unwrap_err().unsent, Some(body));
        assert_eq!(written.lost().unsent, None);
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_waits_for_room_is_woken_by_room_and_by_the_end() {
        for is_end in [false, true] {
            let (handle, mut far) = FarEnd::open(7);
            let exchange = |sequence| {
                let handle = handle.clone();
                tokio::spawn(async move {
                    let id = RequestId { nonce: 7, sequence };
                    handle.exchange(id, Bytes::new(), &mut Time::until(None)).await
                })
            };
            let exchanges: Vec<_> = (0..QUEUE as u64 + 1).map(exchange).collect();
            tokio::task::yield_now().await;
            let mut written = if is_end { 0 } else { far.write().len() };
            while !is_end && written < exchanges.len() {
                tokio::task::yield_now().await;
                written += far.write().len();
            }
            far.end().await;
            let expected = if is_end { Event::ClosedUnsent } else { Event::SocketDropped };
            for exchange in exchanges {
                assert_eq!(exchange.await.unwrap().unwrap_err().event, expected);
            }
        }
    }

    #[tokio::test]
    async fn a_request_whose_attempt_is_dropped_is_never_sent() {
        let (handle, mut far) = FarEnd::open(7);
        let mut time = Time::until(None);
        let id = RequestId { nonce: 7, sequence: 1 };
        {
            let body = Bytes::from_static(b"body");
            let mut waiting = pin!(handle.exchange(id, body, &mut time));
            assert!(futures_util::poll!(&mut waiting).is_pending());
        }
        assert!(far.write().is_empty());
    }
}
