//! A connection or stream, as its senders see it. Its task writes the messages and keeps the
//! incoming ones.

use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;

use super::mailbox::Mailbox;
use crate::error::{AttemptError, Event};
use crate::transport::{Claim, Ending, Notice, Order, Orders, Queue, Time};

/// The number of messages that wait to be written. A sender with one more message waits as well.
const QUEUE: usize = 16;

/// A message to send.
#[derive(Clone, Debug)]
pub(in crate::clientlets) enum Outgoing {
    Message(Bytes),
    EndOfInput,
}

pub(in crate::clientlets) type Session = Queue<Outgoing, ()>;

/// Makes a session whose incoming messages go to the mailbox. Its task is not started yet.
pub(in crate::clientlets) fn session(
    mailbox: &Arc<Mailbox>,
) -> (Session, Orders<Outgoing, ()>, Report) {
    let (session, orders, notice) = Queue::new(QUEUE);
    (session, orders, Report { mailbox: mailbox.clone(), notice, is_live: false })
}

/// Refuses a message that came after the end of input, because the gateway would never read it.
pub(in crate::clientlets) fn refuse(order: Order<Outgoing, ()>, again: &str) {
    let what = format!("the end of input was sent; {again}");
    order.ticket.send(Err(AttemptError::new(Event::SessionClosed, what)));
}

/// Reports the end of the session to the receiver and to the senders.
#[derive(Debug)]
pub(in crate::clientlets) struct Report {
    mailbox: Arc<Mailbox>,
    notice: Notice,
    /// Whether answers may still come, so that the end must be reported to the receiver.
    is_live: bool,
}

impl Report {
    /// Notes that messages may come.
    pub(in crate::clientlets) fn begin(&mut self) {
        self.is_live = true;
        self.mailbox.begin();
    }

    /// Reports the end. Queued messages must be released only after this.
    pub(in crate::clientlets) fn end(mut self, ending: Ending) {
        self.tell(ending);
    }

    fn tell(&mut self, ending: Ending) {
        self.is_live = false;
        // The receiver comes first, because a sender that finds the session dead may open the next
        // one.
        let ending = self.mailbox.end(ending);
        self.notice.tell(ending);
    }
}

impl Drop for Report {
    /// Runs when the session's task is dropped with its runtime. The receiver may live on another
    /// runtime.
    fn drop(&mut self) {
        if self.is_live {
            self.tell(dropped());
        }
    }
}

impl Session {
    /// Sends a message and waits until it is written, as long as `time` allows.
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
            // The task reports its end before it releases the messages that it did not write.
            let ending = self.ended().await.unwrap_or_else(|| Arc::new(dropped()));
            Err(match claim.give_up() {
                true => ending.sent(),
                false => ending.unsent(Event::SessionLost),
            })
        });
        time.sending(sending, || claim.give_up()).await
    }
}

/// The ending of a session whose task was dropped together with its runtime.
fn dropped() -> Ending {
    Ending::new(Event::ConnectionLost, "the connection was dropped")
}

#[cfg(test)]
mod tests {
    use std::future::poll_fn;

    use super::super::mailbox::Item;
    use super::*;
    use crate::error::Delivery;
    use crate::secret::Secrets;

    #[tokio::test]
    async fn the_receiver_hears_of_a_task_that_was_dropped() {
        let mailbox = Arc::new(Mailbox::new(10, Secrets::default()));
        let (session, orders, mut report) = session(&mailbox);
        report.begin();
        drop((orders, report));
        let taken = poll_fn(|cx| mailbox.poll_take(cx)).await;
        let said = |ending: &Ending| ending.reason().contains("dropped");
        assert!(matches!(taken, Some(Item::End(ending)) if said(&ending)));
        assert!(session.ending().is_some());
        let sent = session.send(Outgoing::EndOfInput, &mut Time::until(None)).await;
        assert_eq!(sent.unwrap_err().delivery, Delivery::NotSent);
    }

    #[tokio::test]
    async fn a_session_that_never_began_has_no_end_to_be_heard() {
        let mailbox = Arc::new(Mailbox::new(10, Secrets::default()));
        drop(session(&mailbox));
        assert!(poll_fn(|cx| mailbox.poll_take(cx)).await.is_none());
    }
}
