//! One WebSocket and the requests that are in flight on it.
//!
//! The connection has a task of its own, which always reads (pings must be answered while nobody asks
//! for anything) and writes in batches: whatever is ready goes out with one flush, and nothing waits
//! for more. It ends with its last owner, after the end-of-input marker and the server's close.

use std::collections::HashMap;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU64, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_core::Stream;
use futures_util::Sink;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::time::{Instant, Sleep};
use tokio_websockets::{Error as SocketError, Message};

use super::super::http::outcome;
use super::handshake::Socket;
use crate::error::{AttemptError, Event};
use crate::message::{RawAnswer, Request, RequestId};

/// Requests that wait to be written; whoever sends one more waits as well.
const QUEUE: usize = 64;
/// A connection on which nothing came for so long is asked whether it lives.
const IDLE: Duration = Duration::from_secs(20);
/// How long it may take to answer that.
const PONG: Duration = Duration::from_secs(20);
/// How long a gateway may take to close once all has been answered.
const CLOSING: Duration = Duration::from_secs(5);
/// The marker of the end of input: one zero byte.
const END_OF_INPUT: &[u8] = &[0];

/// Opens the envelope of an answer; its request id is one of ours, or what it says.
pub(super) type Read = Arc<dyn Fn(&Bytes) -> Result<RawAnswer, String> + Send + Sync>;

/// What connections of a transport count together.
#[derive(Debug, Default)]
pub(super) struct Tally {
    pub(super) duplicates_dropped: AtomicU64,
}

/// A handle on a connection; the last one to go lets it end.
#[derive(Debug)]
pub(super) struct Connection {
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<Option<Arc<Ending>>>,
    /// How many messages have come.
    heard: Arc<AtomicU64>,
    /// Whether new requests are better sent on another one.
    is_doubted: AtomicBool,
}

/// A request for the connection's task.
#[derive(Debug)]
struct Order {
    id: RequestId,
    body: Bytes,
    passage: Passage,
    reply: Reply,
}

/// Why a connection ended.
#[derive(Debug)]
pub(super) struct Ending {
    event: Event,
    what: String,
}

impl Ending {
    fn new(event: Event, what: impl Into<String>) -> Ending {
        Ending { event, what: what.into() }
    }

    /// What it means for a request that was on the connection.
    fn error(&self, sent: bool) -> AttemptError {
        if sent {
            return AttemptError::new(self.event, &*self.what);
        }
        AttemptError::new(Event::ClosedUnsent, format!("{} before the request was sent", self.what))
    }
}

/// Whether a request was written before it was given up: the first of the two decides, so that a
/// request that is reported as not sent is never sent afterwards.
#[derive(Clone, Debug, Default)]
pub(super) struct Passage(Arc<AtomicU8>);

const QUEUED: u8 = 0;
const SENT: u8 = 1;
const GIVEN_UP: u8 = 2;

impl Passage {
    /// Whether it may be written: not if it was given up.
    fn enter(&self) -> bool {
        self.0.compare_exchange(QUEUED, SENT, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives it up; whether it was sent by then.
    pub(super) fn give_up(&self) -> bool {
        let found = self.0.compare_exchange(QUEUED, GIVEN_UP, Ordering::AcqRel, Ordering::Acquire);
        found == Err(SENT)
    }
}

impl Connection {
    /// Starts the connection's task.
    pub(super) fn start(socket: Socket, nonce: u64, read: Read, tally: Arc<Tally>) -> Connection {
        let (orders, queue) = mpsc::channel(QUEUE);
        let (announce, ended) = watch::channel(None);
        let heard = Arc::<AtomicU64>::default();
        let task = Task {
            socket,
            nonce,
            read,
            tally,
            heard: heard.clone(),
            queue: Some(queue),
            next: None,
            waiting: HashMap::new(),
            is_dirty: false,
            is_closing: false,
            alarm: Box::pin(tokio::time::sleep(IDLE)),
            is_asked: false,
        };
        tokio::spawn(async move {
            let (ending, task) = task.run().await;
            let ending = Arc::new(ending);
            // First the news, then the replies: whoever gets one must not find the dead connection.
            announce.send_replace(Some(ending.clone()));
            task.fail_all(&ending);
        });
        Connection { orders, ended, heard, is_doubted: AtomicBool::new(false) }
    }

    /// Whether it takes new requests.
    pub(super) fn is_open(&self) -> bool {
        self.ended.borrow().is_none()
            && !self.orders.is_closed()
            && !self.is_doubted.load(Ordering::Relaxed)
    }

    /// How many messages have come.
    pub(super) fn heard(&self) -> u64 {
        self.heard.load(Ordering::Relaxed)
    }

    /// A request's time ran out. If nothing at all came on the connection meanwhile it may be dead,
    /// long before a ping can tell: new requests go on another one, those in flight stay.
    pub(super) fn doubt(&self, heard_before: u64) {
        if self.heard() == heard_before {
            self.is_doubted.store(true, Ordering::Relaxed);
        }
    }

    /// Sends a request and waits for its answer.
    pub(super) async fn exchange(
        &self,
        request: &Request,
        passage: &Passage,
    ) -> Result<RawAnswer, AttemptError> {
        let (reply, answer) = oneshot::channel();
        let (id, body) = (request.id, request.body.clone());
        let order = Order { id, body, passage: passage.clone(), reply };
        if self.orders.send(order).await.is_ok()
            && let Ok(result) = answer.await
        {
            return result;
        }
        // The task ended without a reply of its own; it has said why before it let go.
        let ended = self.ended.borrow().clone();
        let ending = ended.unwrap_or_else(|| {
            Arc::new(Ending::new(Event::SocketDropped, "the connection was dropped"))
        });
        Err(ending.error(passage.give_up()))
    }
}

type Reply = oneshot::Sender<Result<RawAnswer, AttemptError>>;

struct Task {
    socket: Socket,
    nonce: u64,
    read: Read,
    tally: Arc<Tally>,
    heard: Arc<AtomicU64>,
    /// Nothing once the last handle has gone.
    queue: Option<mpsc::Receiver<Order>>,
    /// Taken from the queue, not yet taken by the socket.
    next: Option<Order>,
    /// Those that were sent and not answered, by their sequence.
    waiting: HashMap<u64, Reply>,
    /// Whether something was written and not flushed.
    is_dirty: bool,
    /// Whether the end of input was sent.
    is_closing: bool,
    alarm: Pin<Box<Sleep>>,
    /// Whether the peer was asked for a sign of life.
    is_asked: bool,
}

impl Task {
    async fn run(mut self) -> (Ending, Task) {
        let ending = std::future::poll_fn(|cx| self.poll(cx)).await;
        (ending, self)
    }

    /// Reads, writes and watches the clock, until the connection ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            if let Poll::Ready(ending) = self.poll_read(cx) {
                return Poll::Ready(ending);
            }
            if let Poll::Ready(Err(error)) = self.poll_write(cx) {
                return Poll::Ready(dropped(&error));
            }
            match self.poll_alarm(cx) {
                Poll::Ready(Some(ending)) => return Poll::Ready(ending),
                // The alarm was set anew and must be polled, or there is a ping to write.
                Poll::Ready(None) => {}
                Poll::Pending => return Poll::Pending,
            }
        }
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            match Pin::new(&mut self.socket).poll_next(cx) {
                Poll::Pending => return Poll::Pending,
                Poll::Ready(None) => {
                    return Poll::Ready(Ending::new(
                        Event::SocketDropped,
                        "the connection was closed without a close frame (1006)",
                    ));
                }
                Poll::Ready(Some(Err(error))) => return Poll::Ready(dropped(&error)),
                Poll::Ready(Some(Ok(message))) => {
                    self.heard.fetch_add(1, Ordering::Relaxed);
                    self.is_asked = false;
                    self.set_alarm(if self.is_closing { CLOSING } else { IDLE });
                    if let Some(ending) = self.take(message) {
                        return Poll::Ready(ending);
                    }
                }
            }
        }
    }

    /// Gives an answer to whoever waits for it.
    fn take(&mut self, message: Message) -> Option<Ending> {
        if let Some((code, reason)) = message.as_close() {
            return Some(closed(code.into(), reason));
        }
        if message.is_ping() || message.is_pong() {
            return None;
        }
        if message.is_text() {
            let what = "the gateway sent text where bytes were agreed on";
            return Some(Ending::new(Event::SocketGarbled, what));
        }
        let frame = BytesMut::from(message.into_payload()).freeze();
        let answer = match (self.read)(&frame) {
            Ok(answer) => answer,
            Err(what) => {
                let what = format!("an answer cannot be read: {what}");
                return Some(Ending::new(Event::SocketGarbled, what));
            }
        };
        match RequestId::parse(&answer.request_id) {
            Some(id) if id.nonce == self.nonce => match self.waiting.remove(&id.sequence) {
                Some(reply) => {
                    // Whoever gave up meanwhile does not want it any more.
                    let _ = reply.send(outcome(answer));
                }
                None if self.is_closing || self.queue.is_none() => {}
                None => {
                    self.tally.duplicates_dropped.fetch_add(1, Ordering::Relaxed);
                    tracing::debug!(request = %id, "an answer came that nobody waits for");
                }
            },
            _ => {
                let what = format!(
                    "the gateway answered a request that was not sent: id {:?}",
                    crate::envelope::shorten(&answer.request_id)
                );
                return Some(Ending::new(Event::SocketGarbled, what));
            }
        }
        None
    }

    /// Hands over to the socket whatever is there, then flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), SocketError>> {
        loop {
            if self.next.is_none() {
                match self.queue.as_mut().map(|queue| queue.poll_recv(cx)) {
                    Some(Poll::Ready(Some(order))) => self.next = Some(order),
                    Some(Poll::Ready(None)) => {
                        // The last handle has gone, and with it whoever waits.
                        self.queue = None;
                        self.waiting.clear();
                    }
                    Some(Poll::Pending) | None => {}
                }
            }
            let wants_to_close =
                self.queue.is_none() && !self.is_closing && self.waiting.is_empty();
            if self.next.is_none() && !wants_to_close {
                break;
            }
            match Pin::new(&mut self.socket).poll_ready(cx) {
                Poll::Ready(Ok(())) => {}
                other => return other,
            }
            let body = match self.next.take() {
                Some(order) if order.reply.is_closed() || !order.passage.enter() => continue,
                Some(order) => self.enter(order),
                None => {
                    self.is_closing = true;
                    self.set_alarm(CLOSING);
                    Bytes::from_static(END_OF_INPUT)
                }
            };
            Pin::new(&mut self.socket).start_send(Message::binary(body))?;
            self.is_dirty = true;
        }
        if self.is_dirty {
            match Pin::new(&mut self.socket).poll_flush(cx) {
                Poll::Ready(Ok(())) => self.is_dirty = false,
                other => return other,
            }
        }
        Poll::Pending
    }

    fn enter(&mut self, order: Order) -> Bytes {
        // Those that nobody waits for any more are forgotten now and then; they are few.
        if self.waiting.len() >= 2 * QUEUE && self.waiting.len().is_power_of_two() {
            self.waiting.retain(|_, reply| !reply.is_closed());
        }
        self.waiting.insert(order.id.sequence, order.reply);
        order.body
    }

    /// Ready with an ending when the peer has been silent too long, with nothing when there is
    /// something new to do.
    fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Option<Ending>> {
        std::task::ready!(self.alarm.as_mut().poll(cx));
        if self.is_closing {
            return Poll::Ready(Some(Ending::new(
                Event::SocketDropped,
                "the gateway did not close",
            )));
        }
        if self.is_asked {
            let silent = (IDLE + PONG).as_secs();
            let what = format!("the gateway was silent for {silent} s and answered no ping");
            return Poll::Ready(Some(Ending::new(Event::SocketDropped, what)));
        }
        self.is_asked = true;
        self.set_alarm(PONG);
        // Queued beside what is being written; a socket that cannot take it is as silent.
        if let Poll::Ready(Ok(())) = Pin::new(&mut self.socket).poll_ready(cx)
            && Pin::new(&mut self.socket).start_send(Message::ping(Bytes::new())).is_ok()
        {
            self.is_dirty = true;
        }
        Poll::Ready(None)
    }

    fn set_alarm(&mut self, after: Duration) {
        self.alarm.as_mut().reset(Instant::now() + after);
    }

    fn fail_all(self, ending: &Ending) {
        // The oldest first: they are the first to be sent again.
        let mut waiting: Vec<_> = self.waiting.into_iter().collect();
        waiting.sort_unstable_by_key(|(sequence, _)| *sequence);
        for (_, reply) in waiting {
            let _ = reply.send(Err(ending.error(true)));
        }
        // What is still queued was never written; its senders find the ending by themselves.
    }
}

fn dropped(error: &SocketError) -> Ending {
    match error {
        SocketError::PayloadTooLong { max_len, .. } => {
            let what = format!("an answer is larger than the limit of {max_len} bytes");
            Ending::new(Event::SocketOversize, what)
        }
        SocketError::Io(error) => {
            Ending::new(Event::SocketDropped, format!("the connection was lost: {error}"))
        }
        SocketError::Protocol(error) => {
            let what = format!("the gateway broke the WebSocket protocol: {error}");
            Ending::new(Event::SocketDropped, what)
        }
        error => Ending::new(Event::SocketDropped, format!("the connection failed: {error}")),
    }
}

/// What the gateway's close frame means for what is in flight.
fn closed(code: u16, reason: &str) -> Ending {
    let reason = crate::envelope::shorten(reason);
    let what = match reason.as_str() {
        "" => format!("the gateway closed with {code}"),
        reason => format!("the gateway closed with {code}: {reason}"),
    };
    let names_deployment = reason.contains("deployment");
    let event = match code {
        1011 if names_deployment && reason.contains("timed out") => Event::SocketTimeout1011,
        1011 if names_deployment => Event::SocketOutage1011,
        1013 => Event::SocketTryAgain1013,
        1000 | 1001 | 1005 | 1006 | 1011 | 1012 => Event::SocketDropped,
        _ => Event::SocketClosed,
    };
    Ending::new(event, what)
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
}
