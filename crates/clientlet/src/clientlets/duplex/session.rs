//! A handle on a connection or stream, whose task writes what is sent and keeps what comes.

use std::sync::Arc;

use bytes::Bytes;
use tokio::sync::{mpsc, oneshot, watch};

use super::inbox::Inbox;
use super::{Closing, Ending};
use crate::error::{AttemptError, Event};
use crate::transport::Passage;

/// Messages that wait to be written; whoever sends one more waits as well.
const QUEUE: usize = 16;

/// What is sent.
#[derive(Clone, Debug)]
pub(in crate::clientlets) enum Outgoing {
    Message(Bytes),
    EndOfInput,
}

/// A message for the session's task.
#[derive(Debug)]
pub(in crate::clientlets) struct Order {
    pub(in crate::clientlets) what: Outgoing,
    passage: Passage,
    /// Told when the message is out, or refused.
    pub(in crate::clientlets) done: oneshot::Sender<Result<(), AttemptError>>,
}

impl Order {
    /// Whether it may be written: not if it was given up.
    pub(in crate::clientlets) fn enter(&self) -> bool {
        !self.done.is_closed() && self.passage.enter()
    }

    /// It came behind the end of input, so that the gateway would never read it.
    pub(in crate::clientlets) fn refuse(self, again: &str) {
        let what = format!("the end of input was sent; {again}");
        // Whoever gave up meanwhile need not know.
        let _ = self.done.send(Err(AttemptError::new(Event::SessionClosed, what)));
    }
}

/// The handle.
#[derive(Debug)]
pub(in crate::clientlets) struct Session {
    orders: mpsc::Sender<Order>,
    ended: watch::Receiver<Option<Arc<Ending>>>,
}

/// The other side of the handle: where messages come from, and how the end is made known.
#[derive(Debug)]
pub(in crate::clientlets) struct Desk {
    pub(in crate::clientlets) queue: mpsc::Receiver<Order>,
    pub(in crate::clientlets) notice: Notice,
}

#[derive(Debug)]
pub(in crate::clientlets) struct Notice {
    inbox: Arc<Inbox>,
    announce: watch::Sender<Option<Arc<Ending>>>,
    /// Whether answers may still come, so that the end must be reported to the receiver.
    is_live: bool,
}

impl Notice {
    /// Makes known that something may come.
    pub(in crate::clientlets) fn begin(&mut self) {
        self.is_live = true;
        self.inbox.begin();
    }

    /// Makes the end known; only then may what is still queued be let go.
    pub(in crate::clientlets) fn end(mut self, ending: Ending) {
        self.tell(ending);
    }

    fn tell(&mut self, ending: Ending) {
        self.is_live = false;
        let ending = Arc::new(ending);
        // First the end of what came: whoever finds the session dead may open the next.
        self.inbox.end(ending.clone());
        self.announce.send_replace(Some(ending));
    }
}

impl Drop for Notice {
    /// Runs when the session's task is dropped with its runtime. The receiver may live on another
    /// one.
    fn drop(&mut self) {
        if self.is_live {
            self.tell(dropped());
        }
    }
}

impl Session {
    /// A session that brings what comes to the inbox; its task is yet to be started.
    pub(in crate::clientlets) fn new(inbox: &Arc<Inbox>) -> (Session, Desk) {
        let (orders, queue) = mpsc::channel(QUEUE);
        let (announce, ended) = watch::channel(None);
        let notice = Notice { inbox: inbox.clone(), announce, is_live: false };
        (Session { orders, ended }, Desk { queue, notice })
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
            Ok(Some(ending)) => ending.error(passage),
            _ => dropped().error(passage),
        })
    }

    /// Why it ended, if it has.
    pub(super) fn ending(&self) -> Option<Arc<Ending>> {
        self.ended.borrow().clone()
    }

    /// Waits for the end.
    pub(super) async fn ended(&self) {
        let _ = self.ended.clone().wait_for(Option::is_some).await;
    }
}

/// Of a session whose task went without a word, with the runtime that it ran on.
fn dropped() -> Ending {
    let what = "the connection was dropped".to_owned();
    let closing = Closing { code: 0, reason: what.clone() };
    let event = Event::ConnectionLost;
    Ending { event, what, closing, is_said: false, is_fault: false }
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::inbox::Item;
    use super::*;
    use crate::error::Delivery;

    #[tokio::test]
    async fn the_receiver_hears_of_a_task_that_was_dropped() {
        let inbox = Arc::new(Inbox::new(10));
        let (session, Desk { queue, mut notice }) = Session::new(&inbox);
        notice.begin();
        drop((queue, notice));
        let taken = poll_fn(|cx| inbox.poll_take(cx)).await;
        assert!(matches!(taken, Some(Item::End(ending)) if ending.what.contains("dropped")));
        assert!(session.ending().is_some());
        let sent = session.send(Outgoing::EndOfInput, &Passage::default()).await;
        assert_eq!(sent.unwrap_err().delivery, Delivery::NotSent);
    }

    #[tokio::test]
    async fn a_session_that_never_began_has_no_end_to_be_heard() {
        let inbox = Arc::new(Inbox::new(10));
        drop(Session::new(&inbox));
        assert!(poll_fn(|cx| inbox.poll_take(cx)).await.is_none());
    }
}
