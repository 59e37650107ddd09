//! One connection of a clientlet: its task writes what is sent, keeps what comes and answers pings.

use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::inbox::Inbox;
use crate::error::{AttemptError, Event};
use crate::transport::websocket::{Ending, Line, Passage, let_go};

/// Messages that wait to be written; whoever sends one more waits as well.
const QUEUE: usize = 16;

/// What is sent.
#[derive(Clone, Debug)]
pub(super) enum Outgoing {
    Message(Bytes),
    EndOfInput,
}

/// A message for the connection's task.
#[derive(Debug)]
struct Order {
    what: Outgoing,
    passage: Passage,
    /// Told when the message is out, or refused.
    done: oneshot::Sender<Result<(), AttemptError>>,
}

/// A handle on the connection.
#[derive(Debug)]
pub(super) struct Session {
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<Option<Arc<Ending>>>,
}

impl Session {
    /// Starts the connection's task, which ends when the inbox is hung up, or with the last handle.
    pub(super) fn start(line: Line, inbox: Arc<Inbox>) -> Session {
        let (orders, queue) = mpsc::channel(QUEUE);
        let (announce, ended) = watch::channel(None);
        inbox.begin();
        let task = Task {
            line,
            inbox,
            queue,
            next: None,
            flushing: Vec::new(),
            has_ended: false,
            has_closed: false,
        };
        tokio::spawn(async move {
            let (ending, task) = task.run().await;
            let Task { line, inbox, queue, next, flushing, .. } = task;
            let ending = Arc::new(ending);
            // First the end of what came: whoever finds the connection dead may open the next.
            inbox.end(ending.clone());
            announce.send_replace(Some(ending));
            drop((next, flushing));
            let_go(queue).await;
            line.finish().await;
        });
        Session { orders, ended }
    }

    /// Sends a message and waits until it is out.
    pub(super) async fn send(&self, what: Outgoing, passage: &Passage) -> Result<(), AttemptError> {
        let (done, is_out) = oneshot::channel();
        let order = Order { what, passage: passage.clone(), done };
        if self.orders.send(order).await.is_ok()
            && let Ok(result) = is_out.await
        {
            return result;
        }
        // Whatever it did not write it let go of after it had said why.
        let mut ended = self.ended.clone();
        let ending = ended.wait_for(Option::is_some).await;
        Err(match ending.as_deref() {
            Ok(Some(ending)) => Ending::clone(ending).error(passage.give_up()),
            _ => Ending::dropped("the connection was dropped").error(passage.give_up()),
        })
    }

    /// Why the connection ended, if it has.
    pub(super) fn ending(&self) -> Option<Arc<Ending>> {
        self.ended.borrow().clone()
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        let _ = self.ended.clone().wait_for(Option::is_some).await;
    }
}

struct Task {
    line: Line,
    inbox: Arc<Inbox>,
    queue: mpsc::Receiver<Order>,
    /// Taken from the queue, not yet taken by the socket.
    next: Option<Order>,
    /// Taken by the socket, not yet out.
    flushing: Vec<oneshot::Sender<Result<(), AttemptError>>>,
    /// Whether the end of input was sent.
    has_ended: bool,
    /// Whether our close frame was sent.
    has_closed: bool,
}

impl Task {
    async fn run(mut self) -> (Ending, Task) {
        let ending = std::future::poll_fn(|cx| self.poll(cx)).await;
        (ending, self)
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        let is_reading = match self.poll_read(cx) {
            Poll::Ready(Err(ending)) => return Poll::Ready(ending),
            Poll::Ready(Ok(())) => false,
            Poll::Pending => true,
        };
        if let Poll::Ready(Err(ending)) = self.poll_write(cx) {
            return Poll::Ready(ending);
        }
        if !is_reading {
            self.line.rest();
        }
        self.line.poll_alarm(cx)
    }

    /// Keeps what comes; ready without an ending when there is no room for more.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        loop {
            let has_room = self.inbox.poll_room(cx).is_ready();
            if !has_room && !self.line.is_closing() {
                return Poll::Ready(Ok(()));
            }
            match ready!(self.line.poll_message(cx)) {
                // Nobody will ask for it.
                Ok(_) if self.line.is_closing() => {}
                Ok(message) => self.inbox.push(message),
                Err(ending) => return Poll::Ready(Err(ending)),
            }
        }
    }

    /// Hands over to the socket whatever is there, then flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        let mut is_over = self.inbox.is_hung_up();
        loop {
            if self.next.is_none() {
                match self.queue.poll_recv(cx) {
                    Poll::Ready(Some(order)) => self.next = Some(order),
                    Poll::Ready(None) => is_over = true,
                    Poll::Pending => {}
                }
            }
            if is_over && !self.line.is_closing() {
                self.line.expect_close();
            }
            let wants_to_close = self.line.is_closing() && !self.has_closed;
            if !wants_to_close && (self.next.is_none() || self.has_closed) {
                break;
            }
            ready!(self.line.poll_room(cx))?;
            if wants_to_close {
                self.has_closed = true;
                self.line.send_close()?;
            } else if let Some(order) = self.next.take() {
                self.enter(order)?;
            }
        }
        ready!(self.line.poll_flush(cx))?;
        for done in self.flushing.drain(..) {
            // Whoever gave up meanwhile need not know.
            let _ = done.send(Ok(()));
        }
        Poll::Ready(Ok(()))
    }

    /// Sends a message whole or not at all.
    fn enter(&mut self, Order { what, passage, done }: Order) -> Result<(), Ending> {
        if self.has_ended && matches!(what, Outgoing::Message(_)) {
            // The gateway would never read it.
            let what = "the end of input was sent; start the clientlet again";
            let _ = done.send(Err(AttemptError::new(Event::SessionClosed, what)));
            return Ok(());
        }
        if done.is_closed() || !passage.enter() {
            return Ok(());
        }
        self.flushing.push(done);
        match what {
            Outgoing::Message(body) => self.line.send(body),
            Outgoing::EndOfInput => {
                self.has_ended = true;
                self.line.send_end()
            }
        }
    }
}
