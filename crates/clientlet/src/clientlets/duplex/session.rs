//! A connection or stream as its senders have it; its task writes what is sent and keeps what comes.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use super::mailbox::Mailbox;
use crate::error::{AttemptError, Event};
use crate::transport::{Claim, Desk, Ending, Notice, Order, Orders, Queue, Time};

/// Messages that wait to be written; a sender with one more waits as well.
const QUEUE: usize = 16;

/// What is sent.
#[derive(Clone, Debug)]
pub(in crate::clientlets) enum Outgoing {
    Message(Bytes),
    EndOfInput,
}

pub(in crate::clientlets) type Session = Queue<Outgoing, ()>;

/// Makes a session that brings what comes to the mailbox; its task is yet to be started.
pub(in crate::clientlets) fn session(
    mailbox: &Arc<Mailbox>,
) -> (Session, Orders<Outgoing, ()>, Report) {
    let (session, Desk { orders, notice }) = Queue::new(QUEUE);
    (session, orders, Report { mailbox: mailbox.clone(), notice, is_live: false })
}

/// Refuses a message that came behind the end of input, so that the gateway would never read it.
pub(in crate::clientlets) fn refuse(order: Order<Outgoing, ()>, again: &str) {
    let what = format!("the end of input was sent; {again}");
    order.ticket.send(Err(AttemptError::new(Event::SessionClosed, what)));
}

/// Makes the session's end known to the receiver and to the senders.
#[derive(Debug)]
pub(in crate::clientlets) struct Report {
    mailbox: Arc<Mailbox>,
    notice: Notice,
    /// Whether answers may still come, so that the end must be reported to the receiver.
    is_live: bool,
}

impl Report {
    /// Makes known that something may come.
    pub(in crate::clientlets) fn begin(&mut self) {
        self.is_live = true;
        self.mailbox.begin();
    }

    /// Makes the end known; only then may what is still queued be let go.
    pub(in crate::clientlets) fn end(mut self, ending: Ending) {
        self.tell(ending);
    }

    fn tell(&mut self, ending: Ending) {
        self.is_live = false;
        let ending = Arc::new(ending);
        // First the end of what came: a sender that finds the session dead may open the next.
        self.mailbox.end(ending.clone());
        self.notice.tell(ending);
    }
}

impl Drop for Report {
    /// Runs when the session's task is dropped with its runtime. The receiver may live on another
    /// one.
    fn drop(&mut self) {
        if self.is_live {
            self.tell(dropped());
        }
    }
}

impl Session {
    /// Sends a message and waits until it is out, as long as `time` allows.
    pub(super) async fn send(
        &self,
        what: Outgoing,
        time: &mut Time<'_>,
    ) -> Result<(), AttemptError> {
        let claim = Claim::default();
        let sending = pin!(async {
            if let Some(result) = self.exchange(what, &claim).await {
                return result;
            }
            // The task lets go of what it did not write after it has said why.
            let ending = self.ended().await.unwrap_or_else(|| Arc::new(dropped()));
            Err(match claim.give_up() {
                true => ending.sent(),
                false => ending.unsent(Event::SessionLost),
            })
        });
        time.sending(sending, || claim.give_up()).await
    }
}

/// The end of a session whose task went without a word, with the runtime that it ran on.
fn dropped() -> Ending {
    Ending::new(Event::ConnectionLost, "the connection was dropped")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::mailbox::Item;
    use super::*;
    use crate::error::Delivery;

    #[tokio::test]
    async fn the_receiver_hears_of_a_task_that_was_dropped() {
        let mailbox = Arc::new(Mailbox::new(10));
        let (session, orders, mut report) = session(&mailbox);
        report.begin();
        drop((orders, report));
        let taken = poll_fn(|cx| mailbox.poll_take(cx)).await;
        let said = |ending: &Ending| ending.closing().reason.contains("dropped");
        assert!(matches!(taken, Some(Item::End(ending)) if said(&ending)));
        assert!(session.ending().is_some());
        let sent = session.send(Outgoing::EndOfInput, &mut Time::until(None)).await;
        assert_eq!(sent.unwrap_err().delivery, Delivery::NotSent);
    }

    #[tokio::test]
    async fn a_session_that_never_began_has_no_end_to_be_heard() {
        let mailbox = Arc::new(Mailbox::new(10));
        drop(session(&mailbox));
        assert!(poll_fn(|cx| mailbox.poll_take(cx)).await.is_none());
    }
}
