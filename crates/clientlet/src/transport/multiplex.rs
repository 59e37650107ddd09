//! Many requests on one connection or stream: who waits for which answer, and what becomes of them
//! all when it ends.

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, sleep_until};

use super::http::outcome;
use crate::envelope::shorten;
use crate::error::{AttemptError, Event};
use crate::message::{Connections, RawAnswer, RequestId};

/// Requests that wait to be written; whoever sends one more waits as well.
pub(super) const QUEUE: usize = 64;

type Reply = Result<RawAnswer, AttemptError>;

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

/// Whether a request was written before it was given up: the first of the two decides, so that a
/// request that is reported as not sent is never sent afterwards.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passage(Arc<AtomicU64>);

// Anything in between is the number under which it was written.
const QUEUED: u64 = 0;
const GIVEN_UP: u64 = u64::MAX;

impl Passage {
    /// Whether it may be written: not if it was given up.
    pub(crate) fn enter(&self) -> bool {
        self.enter_as(1)
    }

    /// The same for the connection's request with this number, from 1.
    fn enter_as(&self, number: u64) -> bool {
        self.0.compare_exchange(QUEUED, number, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives it up; whether it was sent by then.
    pub(crate) fn give_up(&self) -> bool {
        let found = self.0.compare_exchange(QUEUED, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
        found.is_err_and(|found| found != GIVEN_UP)
    }

    /// The number under which it was written.
    fn number(&self) -> Option<u64> {
        Some(self.0.load(Ordering::Acquire)).filter(|number| ![QUEUED, GIVEN_UP].contains(number))
    }
}

/// Nothing if the deadline is sooner.
pub(super) async fn within<F: Future>(deadline: Option<Instant>, what: F) -> Option<F::Output> {
    let mut what = pin!(what);
    // Made only for what has to wait.
    let mut timer = pin!(None);
    poll_fn(|cx| {
        if let Poll::Ready(output) = what.as_mut().poll(cx) {
            return Poll::Ready(Some(output));
        }
        let Some(deadline) = deadline else { return Poll::Pending };
        if timer.is_none() {
            timer.set(Some(sleep_until(deadline)));
        }
        let timer = timer.as_mut().as_pin_mut().expect("it was set a line ago");
        timer.poll(cx).map(|()| None)
    })
    .await
}

/// What the end of an attempt's time means.
pub(super) fn late(began: Instant, is_sent: bool) -> AttemptError {
    let (event, what) = match is_sent {
        false => (Event::TimedOutUnsent, "no connection that takes it"),
        true => (Event::TimedOut, "no answer"),
    };
    let took = began.elapsed().as_secs_f64();
    AttemptError::new(event, format!("{what} within {took:.1} s"))
}

/// Why a connection or stream ended.
#[derive(Debug)]
pub(super) struct Ending {
    event: Event,
    what: String,
    retry_after: Option<Duration>,
}

impl Ending {
    pub(super) fn new(event: Event, what: impl Into<String>) -> Ending {
        Ending { event, what: what.into(), retry_after: None }
    }

    /// With how long the gateway asks to be left alone.
    pub(super) fn retry_after(self, retry_after: Option<Duration>) -> Ending {
        Ending { retry_after, ..self }
    }

    /// What it means for a request that was on it.
    pub(super) fn error(&self, sent: bool) -> AttemptError {
        let mut error = match sent {
            true => AttemptError::new(self.event, &*self.what),
            false => {
                let what = format!("{} before the request was sent", self.what);
                AttemptError::new(Event::ClosedUnsent, what)
            }
        };
        error.retry_after = self.retry_after;
        error
    }
}

/// A handle on a connection or stream; the last one to go lets it end.
#[derive(Debug)]
pub(super) struct Handle {
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<Option<Arc<Ending>>>,
    progress: Progress,
    /// Whether new requests are better sent elsewhere.
    is_doubted: AtomicBool,
}

/// How far the answers have come on a connection or stream, by the order in which requests were sent.
#[derive(Clone, Debug, Default)]
pub(super) struct Progress {
    connection: Arc<Counts>,
    /// The highest number that was answered on this stream, if it is a stream's.
    answered: Option<Arc<AtomicU64>>,
}

#[derive(Debug, Default)]
struct Counts {
    /// How many requests were sent on the connection: the number of the last.
    sent: AtomicU64,
    /// The highest number that was answered.
    answered: AtomicU64,
}

impl Progress {
    /// That of a new stream on the connection.
    pub(super) fn of_stream(&self) -> Progress {
        Progress { connection: self.connection.clone(), answered: Some(Arc::default()) }
    }

    /// Lets a request pass that is about to be written, and numbers it.
    pub(super) fn enter(&self, passage: &Passage) -> Option<u64> {
        let number = self.connection.sent.fetch_add(1, Ordering::Relaxed) + 1;
        passage.enter_as(number).then_some(number)
    }

    pub(super) fn answered(&self, passage: &Passage) {
        if let Some(number) = passage.number() {
            self.answer(number);
        }
    }

    fn answer(&self, number: u64) {
        self.connection.answered.fetch_max(number, Ordering::Relaxed);
        if let Some(answered) = &self.answered {
            answered.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// Whether neither this request was answered nor one that was sent after it; so it is with one that
    /// was never written, too.
    pub(super) fn is_stuck_at(&self, passage: &Passage) -> bool {
        let answered = self.answered.as_deref().unwrap_or(&self.connection.answered);
        passage.number().is_none_or(|number| answered.load(Ordering::Relaxed) < number)
    }
}

/// The other side of the handles: where requests come from, and how its end is made known.
#[derive(Debug)]
pub(super) struct Desk {
    pub(super) orders: mpsc::Receiver<Order>,
    pub(super) notice: Notice,
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
    body: Bytes,
    passage: Passage,
    reply: oneshot::Sender<Reply>,
}

pub(super) fn channel(progress: Progress) -> (Handle, Desk) {
    let (sender, orders) = mpsc::channel(QUEUE);
    let (notice, ended) = watch::channel(None);
    let is_doubted = AtomicBool::new(false);
    let handle = Handle { orders: sender, ended, progress, is_doubted };
    (handle, Desk { orders, notice: Notice(notice) })
}

impl Handle {
    /// Whether it takes new requests.
    pub(super) fn is_open(&self) -> bool {
        self.ended.borrow().is_none()
            && !self.orders.is_closed()
            && !self.is_doubted.load(Ordering::Relaxed)
    }

    /// A request's time ran out. If no later one was answered, either, the connection may be dead, long
    /// before a ping can tell: new requests go on another one, those in flight stay.
    pub(super) fn doubt(&self, passage: &Passage) {
        if self.progress.is_stuck_at(passage) {
            self.is_doubted.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(&self, id: RequestId, body: Bytes, passage: &Passage) -> Reply {
        let (reply, answer) = oneshot::channel();
        let order = Order { id, body, passage: passage.clone(), reply };
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
        Err(ending.error(passage.give_up()))
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
    waiting: HashMap<u64, Waiting>,
    progress: Progress,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Waiting {
    /// Its place in the order of what was sent.
    number: u64,
    reply: oneshot::Sender<Reply>,
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
        InFlight { matching, is_deserted: false, waiting: HashMap::new(), progress, tally }
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
        let Order { id, body, passage, reply } = order;
        if reply.is_closed() {
            return None;
        }
        let number = self.progress.enter(&passage)?;
        // Those that nobody waits for any more are forgotten now and then; they are few.
        if self.waiting.len() >= 2 * QUEUE && self.waiting.len().is_power_of_two() {
            self.waiting.retain(|_, waiting| !waiting.reply.is_closed());
        }
        self.waiting.insert(id.sequence, Waiting { number, reply });
        Some(body)
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
            // Whoever gave up meanwhile does not want it any more.
            Some(Some(Waiting { number, reply })) => {
                self.progress.answer(number);
                let _ = reply.send(outcome(answer));
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
            let _ = waiting.reply.send(Err(ending.error(true)));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_either_sent_or_given_up_before() {
        let passage = Passage::default();
        assert!(passage.enter());
        assert!(passage.give_up(), "it was sent");
        let passage = Passage::default();
        assert!(!passage.give_up(), "it was not sent");
        assert!(!passage.enter(), "and never will be");
        assert!(!passage.give_up());
    }

    #[test]
    fn a_request_is_stuck_unless_it_or_a_later_one_was_answered() {
        let connection = Progress::default();
        let (one, other) = (connection.of_stream(), connection.of_stream());
        let sent = |progress: &Progress| {
            let passage = Passage::default();
            let number = progress.enter(&passage).unwrap();
            (passage, number)
        };
        let ((first, _), (second, number), (third, _)) = (sent(&one), sent(&other), sent(&one));
        one.answer(number);
        assert!(!one.is_stuck_at(&first), "the second was answered");
        assert!(!one.is_stuck_at(&second) && one.is_stuck_at(&third));
        assert!(!connection.is_stuck_at(&first) && connection.is_stuck_at(&third));
        assert!(other.is_stuck_at(&first), "nothing was answered on this stream");
        assert!(connection.is_stuck_at(&Passage::default()), "it was never written");
    }
}
