//! Many requests on one connection or stream: who waits for which answer, and what becomes of them
//! all when it ends.

use std::mem;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use rustc_hash::FxHashMap;
use tokio::sync::mpsc::error::TrySendError;
use tokio::sync::{Notify, mpsc, oneshot, watch};

use super::http::outcome;
use super::inbox::{Reply, Ticket};
use super::progress::{Passage, Progress};
use super::time::{Over, Patience, Time};
use crate::error::{Again, AttemptError, Detail, Event};
use crate::foreign::shorten;
use crate::message::{Connections, RawAnswer, RequestId};
use crate::stop::stopped;

/// Requests that wait to be written; whoever sends one more waits as well.
pub(super) const QUEUE: usize = 64;

/// What the connections and streams of a transport count together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    opened: AtomicU64,
    reconnects: AtomicU64,
    duplicates_dropped: AtomicU64,
}

impl Tally {
    /// Counts a connection that was made; `again` if it takes the place of another.
    pub(super) fn opened(&self, again: bool) {
        self.opened.fetch_add(1, Ordering::Relaxed);
        self.reconnects.fetch_add(u64::from(again), Ordering::Relaxed);
    }

    pub(super) fn connections(&self) -> Connections {
        Connections {
            opened: self.opened.load(Ordering::Relaxed),
            reconnects: self.reconnects.load(Ordering::Relaxed),
            duplicates_dropped: self.duplicates_dropped.load(Ordering::Relaxed),
        }
    }
}

/// Why a connection or stream ended.
#[derive(Debug)]
pub(super) struct Ending {
    event: Event,
    what: String,
    again: Again,
    /// What the gateway said.
    detail: Detail,
}

impl Ending {
    pub(super) fn new(event: Event, what: impl Into<String>) -> Ending {
        Ending { event, what: what.into(), again: Again::Unsaid, detail: Detail::default() }
    }

    /// Adds what the gateway says about trying again.
    pub(super) fn asking(self, again: Again) -> Ending {
        Ending { again, ..self }
    }

    pub(super) fn with_detail(self, detail: Detail) -> Ending {
        Ending { detail, ..self }
    }

    /// What it means for a request that was on it.
    pub(super) fn error(&self, sent: bool) -> AttemptError {
        if sent {
            let error = AttemptError::new(self.event, &*self.what).asking(self.again);
            return error.with_detail(self.detail.clone());
        }
        let what = format!("{} before the request was sent", self.what);
        let error = AttemptError::new(Event::ClosedUnsent, what);
        match self.again {
            // The gateway asked for no requests for a while, this one or any other.
            Again::After(_) => error.asking(self.again),
            // What ended must not be tried again, but this request was never tried.
            Again::Never | Again::Unsaid => error,
        }
    }
}

/// A handle on a connection or stream; the last one to go lets it end.
#[derive(Debug)]
pub(crate) struct Handle {
    orders: mpsc::Sender<Order>,
    room: Arc<Notify>,
    ended: watch::Receiver<Option<Arc<Ending>>>,
    progress: Progress,
    /// Whether bodies are copied when they are written, so that one is better shared than taken.
    is_copying: bool,
}

/// The other side of the handles: where requests come from, and how its end is made known.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) orders: Orders,
    pub(super) notice: Notice,
}

/// Requests that wait to be written.
#[derive(Debug)]
pub(super) struct Orders {
    queue: mpsc::Receiver<Order>,
    /// For those who wait for room in the queue.
    room: Arc<Notify>,
}

impl Orders {
    /// The next one; nothing once there will be no more.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Order>> {
        let order = ready!(self.queue.poll_recv(cx));
        if self.queue.capacity() == 1 {
            // It was full.
            self.room.notify_waiters();
        }
        Poll::Ready(order)
    }

    /// Takes no more.
    pub(super) fn close(&mut self) {
        self.queue.close();
        self.room.notify_waiters();
    }

    /// Takes no more, and lets go of what is queued.
    pub(super) fn poll_let_go(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.close();
        poll_let_go(&mut self.queue, cx)
    }
}

impl Drop for Orders {
    fn drop(&mut self) {
        self.close();
    }
}

/// Lets go of what is still queued, so that its senders find the news. Dropping the queue would not
/// do: an order that comes in at that very moment lies in it unseen, and its sender waits.
pub(crate) fn poll_let_go<T>(orders: &mut mpsc::Receiver<T>, cx: &mut Context<'_>) -> Poll<()> {
    orders.close();
    while ready!(orders.poll_recv(cx)).is_some() {}
    Poll::Ready(())
}

/// Tells all handles, and learns when there are none left.
#[derive(Debug)]
pub(super) struct Notice(watch::Sender<Option<Arc<Ending>>>);

/// A request on its way to be written.
#[derive(Debug)]
pub(super) struct Order {
    id: RequestId,
    /// Carries the body as well.
    passage: Passage,
    reply: ReplyTo,
}

/// Who waits for the answer.
#[derive(Debug)]
enum ReplyTo {
    Attempt(oneshot::Sender<Reply>),
    Call(Ticket, Passage),
}

impl ReplyTo {
    /// Whether nobody waits any more.
    fn is_given_up(&self) -> bool {
        match self {
            ReplyTo::Attempt(reply) => reply.is_closed(),
            ReplyTo::Call(_, passage) => passage.is_given_up(),
        }
    }

    fn send(self, reply: Reply) {
        match self {
            // Whoever gave up meanwhile does not want it any more.
            ReplyTo::Attempt(sender) => drop(sender.send(reply)),
            ReplyTo::Call(_, passage) if passage.is_given_up() => {}
            ReplyTo::Call(ticket, _) => ticket.send(reply),
        }
    }
}

/// A request that was handed over, its answer to come to the inbox of its call. Dropped, it is given
/// up.
#[derive(Debug)]
pub(crate) struct Dispatched {
    handle: Arc<Handle>,
    passage: Passage,
}

impl Dispatched {
    /// What the end of its time means.
    pub(crate) fn late(&self, patience: &Patience) -> AttemptError {
        let is_sent = self.passage.give_up();
        self.handle.progress.doubt(&self.passage);
        patience.late(is_sent, "no answer")
    }

    /// The error of a request whose call was stopped.
    pub(crate) fn stopped(&self) -> AttemptError {
        stopped(self.passage.give_up())
    }

    /// Why its connection ended without a reply.
    pub(crate) fn lost(&self) -> AttemptError {
        self.handle.lost(&self.passage)
    }
}

impl Drop for Dispatched {
    fn drop(&mut self) {
        self.passage.give_up();
    }
}

pub(super) fn channel(progress: Progress, is_copying: bool) -> (Handle, Desk) {
    let (sender, queue) = mpsc::channel(QUEUE);
    let (notice, ended) = watch::channel(None);
    let room = Arc::new(Notify::new());
    let orders = Orders { queue, room: room.clone() };
    let handle = Handle { orders: sender, room, ended, progress, is_copying };
    (handle, Desk { orders, notice: Notice(notice) })
}

impl Handle {
    /// Whether it takes new requests.
    pub(crate) fn is_open(&self) -> bool {
        self.ended.borrow().is_none() && !self.orders.is_closed() && !self.progress.is_doubted()
    }

    /// The error of a request that is not waited for any longer.
    pub(super) fn given_up(&self, over: Over, time: &Time<'_>, passage: &Passage) -> AttemptError {
        if !over.is_stopped {
            self.progress.doubt(passage);
        }
        time.error(over, "no answer")
    }

    /// Takes a request if there is room for it at once, and its body with it unless that is to be kept
    /// or taking it would save nothing.
    pub(crate) fn dispatch(
        self: &Arc<Self>,
        id: RequestId,
        body: &mut Bytes,
        keep: bool,
        ticket: impl FnOnce() -> Ticket,
    ) -> Option<Dispatched> {
        let room = self.orders.try_reserve().ok()?;
        let body = if keep || self.is_copying { body.clone() } else { mem::take(body) };
        let passage = Passage::carrying(body);
        let reply = ReplyTo::Call(ticket(), passage.clone());
        room.send(Order { id, passage: passage.clone(), reply });
        Some(Dispatched { handle: self.clone(), passage })
    }

    /// Sends the request that the passage carries, and waits for its answer.
    pub(super) async fn exchange(&self, id: RequestId, passage: &Passage) -> Reply {
        let (reply, answer) = oneshot::channel();
        let reply = ReplyTo::Attempt(reply);
        let order = Order { id, passage: passage.clone(), reply };
        if let Some(place) = self.place().await {
            place.send(order);
            if let Ok(result) = answer.await {
                return result;
            }
        }
        Err(self.lost(passage))
    }

    /// A place in the queue; nothing once it is closed. Whoever waits for one does not hold it: it may
    /// be that nobody polls him, while others wait behind.
    async fn place(&self) -> Option<mpsc::Permit<'_, Order>> {
        loop {
            let mut room = pin!(self.room.notified());
            // From here on nothing is missed.
            room.as_mut().enable();
            match self.orders.try_reserve() {
                Ok(place) => return Some(place),
                Err(TrySendError::Full(())) => room.await,
                Err(TrySendError::Closed(())) => return None,
            }
        }
    }

    /// The error of a request whose connection or stream ended without an answer to it. The reason
    /// of the end is set before the requests are released. A body that was not sent is returned
    /// with the error.
    fn lost(&self, passage: &Passage) -> AttemptError {
        let ended = self.ended.borrow().clone();
        let ending = ended.unwrap_or_else(|| {
            Arc::new(Ending::new(Event::SocketDropped, "the connection was dropped"))
        });
        match passage.give_up() {
            true => ending.error(true),
            false => ending.error(false).with_unsent(passage.take_body()),
        }
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

/// How an answer finds its request.
#[derive(Debug)]
enum Matching {
    /// By its id, which has this nonce.
    ById(u64),
    /// There is one request at a time, whose answer it must be, since the gateway makes the ids. This
    /// is that of the last answer, which may come twice.
    InTurn(String),
}

/// The requests that were sent and not answered, by their sequence.
#[derive(Debug)]
pub(super) struct InFlight {
    matching: Matching,
    /// Whether nobody wants an answer any more.
    is_deserted: bool,
    waiting: FxHashMap<u64, Waiting>,
    progress: Progress,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Waiting {
    /// Its place in the order of what was sent.
    number: u64,
    reply: ReplyTo,
}

impl InFlight {
    /// For requests whose ids have this nonce.
    pub(super) fn new(nonce: u64, progress: Progress, tally: Arc<Tally>) -> InFlight {
        InFlight::matching(Matching::ById(nonce), progress, tally)
    }

    /// For one request at a time, whatever the ids of their answers.
    pub(super) fn in_turn(tally: Arc<Tally>) -> InFlight {
        InFlight::matching(Matching::InTurn(String::new()), Progress::default(), tally)
    }

    fn matching(matching: Matching, progress: Progress, tally: Arc<Tally>) -> InFlight {
        InFlight { matching, is_deserted: false, waiting: FxHashMap::default(), progress, tally }
    }

    pub(super) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Forgets all that wait: nobody is there for the answers.
    pub(super) fn desert(&mut self) {
        self.is_deserted = true;
        self.waiting.clear();
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes a request that is about to be written, and gives its bytes; nothing if it was given up.
    pub(super) fn enter(&mut self, order: Order) -> Option<Bytes> {
        let Order { id, passage, reply } = order;
        if reply.is_given_up() {
            return None;
        }
        let number = self.progress.enter(&passage)?;
        // Those that nobody waits for any more are forgotten now and then; they are few.
        if self.waiting.len() >= 2 * QUEUE && self.waiting.len().is_power_of_two() {
            self.waiting.retain(|_, waiting| !waiting.reply.is_given_up());
        }
        self.waiting.insert(id.sequence, Waiting { number, reply });
        Some(passage.take_body())
    }

    /// Gives an answer to whoever waits for it. One of ours that nobody waits for is a late
    /// duplicate, and dropped.
    ///
    /// # Errors
    /// When it answers a request that was never sent: what to say of that.
    pub(super) fn answer(&mut self, answer: RawAnswer) -> Result<(), String> {
        let id = &answer.request_id;
        let found = match &mut self.matching {
            Matching::ById(nonce) => RequestId::parse(id)
                .filter(|id| id.nonce == *nonce)
                .map(|id| self.waiting.remove(&id.sequence)),
            Matching::InTurn(last) if last == id => Some(None),
            Matching::InTurn(last) => {
                last.clone_from(id);
                let only = self.waiting.drain().next();
                only.map(|(_, waiting)| Some(waiting))
            }
        };
        match found {
            Some(Some(Waiting { number, reply })) => {
                self.progress.answer(number);
                reply.send(outcome(answer));
            }
            _ if self.is_deserted => {}
            Some(None) => {
                self.tally.duplicates_dropped.fetch_add(1, Ordering::Relaxed);
                tracing::debug!(request = id, "an answer came that nobody waits for");
            }
            None => {
                let id = shorten(id);
                return Err(format!("the gateway answered a request that was not sent: id {id:?}"));
            }
        }
        Ok(())
    }

    /// Fails all that wait, the oldest first: they are the first to be sent again.
    pub(super) fn fail(&mut self, ending: &Ending) {
        let mut waiting: Vec<_> = self.waiting.drain().collect();
        waiting.sort_unstable_by_key(|(sequence, _)| *sequence);
        for (_, waiting) in waiting {
            waiting.reply.send(Err(ending.error(true)));
        }
    }
}

/// The other end of a handle, in the hands of a test.
#[cfg(test)]
#[derive(Debug)]
pub(crate) struct FarEnd {
    desk: Desk,
    in_flight: InFlight,
}

#[cfg(test)]
impl FarEnd {
    /// With the ids of this nonce.
    pub(crate) fn open(nonce: u64) -> (Arc<Handle>, FarEnd) {
        let in_flight = InFlight::new(nonce, Progress::default(), Arc::default());
        let (handle, desk) = channel(in_flight.progress(), false);
        (Arc::new(handle), FarEnd { desk, in_flight })
    }

    /// Writes what is queued; gives the bytes.
    pub(crate) fn write(&mut self) -> Vec<Bytes> {
        use std::task::Waker;

        let mut cx = Context::from_waker(Waker::noop());
        let orders = std::iter::from_fn(|| match self.desk.orders.poll_next(&mut cx) {
            Poll::Ready(order) => order,
            Poll::Pending => None,
        });
        orders.filter_map(|order| self.in_flight.enter(order)).collect()
    }

    pub(crate) fn answer(&mut self, answer: RawAnswer) {
        self.in_flight.answer(answer).expect("it was sent");
    }

    /// The connection ends: what was written is failed, what is queued let go.
    pub(crate) async fn end(mut self) {
        let ending = Ending::new(Event::SocketDropped, "the connection was dropped");
        let Desk { mut orders, notice } = self.desk;
        notice.ended(ending, |ending| self.in_flight.fail(ending));
        std::future::poll_fn(|cx| orders.poll_let_go(cx)).await;
        // It may live on for a while, as that of a gRPC stream does; nobody must wait for it.
        mem::forget(orders);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::transport::{Inbox, Place};

    #[tokio::test]
    async fn whoever_waits_for_room_keeps_it_from_nobody_else() {
        let (handle, mut far) = FarEnd::open(7);
        let dispatch = |sequence| {
            let id = RequestId { nonce: 7, sequence };
            let ticket = || Inbox::default().ticket(Place { slot: 0, index: sequence });
            handle.dispatch(id, &mut Bytes::new(), false, ticket)
        };
        let queued: Vec<_> = (0..QUEUE as u64).map_while(dispatch).collect();
        assert_eq!(queued.len(), QUEUE);
        let passage = Passage::default();
        let id = RequestId { nonce: 7, sequence: 1000 };
        let mut waiting = pin!(handle.exchange(id, &passage));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert!(dispatch(1001).is_none(), "there is no room");
        far.write();
        // It is not polled, as if its caller had something else to do.
        let overtaking: Vec<_> = (0..QUEUE as u64).map_while(dispatch).collect();
        assert_eq!(overtaking.len(), QUEUE);
        assert!(futures_util::poll!(&mut waiting).is_pending());
        far.write();
        // So many at a time is all that tokio lets a task read.
        tokio::task::yield_now().await;
        assert!(futures_util::poll!(&mut waiting).is_pending());
        assert_eq!(far.write().len(), 1, "it took its place");
        far.end().await;
        assert_eq!(waiting.await.unwrap_err().event, Event::SocketDropped);
    }

    #[tokio::test]
    async fn what_was_not_sent_comes_back_with_its_body() {
        let (handle, mut far) = FarEnd::open(7);
        let body = Bytes::from_static(b"body");
        let dispatch = |sequence| {
            let id = RequestId { nonce: 7, sequence };
            let ticket = || Inbox::default().ticket(Place { slot: 0, index: sequence });
            handle.dispatch(id, &mut body.clone(), false, ticket).unwrap()
        };
        let written = dispatch(1);
        assert_eq!(far.write().concat(), *b"body");
        let (queued, passage) = (dispatch(2), Passage::carrying(body.clone()));
        let id = RequestId { nonce: 7, sequence: 3 };
        let mut waiting = pin!(handle.exchange(id, &passage));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        far.end().await;
        assert_eq!(queued.lost().unsent, Some(body.clone()));
        assert_eq!(waiting.await.unwrap_err().unsent, Some(body));
        assert_eq!(written.lost().unsent, None);
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_waits_for_room_is_woken_by_room_and_by_the_end() {
        for is_end in [false, true] {
            let (handle, mut far) = FarEnd::open(7);
            let exchange = |sequence| {
                let handle = handle.clone();
                tokio::spawn(async move {
                    let id = RequestId { nonce: 7, sequence };
                    handle.exchange(id, &Passage::default()).await
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
}
