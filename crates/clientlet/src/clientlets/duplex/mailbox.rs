//! The messages that have come and were not taken yet. Their number is bounded, so that a receiver
//! that pauses stops the gateway.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_util::task::AtomicWaker;

use crate::secret::Secrets;
use crate::transport::Ending;

/// The maximum number of messages that are kept. A gateway works on this many requests of one
/// connection at a time, so all of them may be answered before one answer is taken.
const MOST_MESSAGES: usize = 1024;

/// An item for a receiver.
#[derive(Debug)]
pub(super) enum Item {
    Message(Bytes),
    /// A connection ended. The items after this one came on another connection.
    End(Arc<Ending>),
}

/// The messages between the connections of a clientlet, which has one connection at a time, and its
/// receiver.
#[derive(Debug)]
pub(in crate::clientlets) struct Mailbox {
    state: Mutex<State>,
    most_bytes: usize,
    secrets: Secrets,
    receiver: AtomicWaker,
    connection: AtomicWaker,
}

#[derive(Debug, Default)]
struct State {
    items: VecDeque<Item>,
    bytes: usize,
    /// Whether a connection may still bring messages.
    is_live: bool,
    /// Whether no more messages are wanted.
    is_hung_up: bool,
    /// The end of the last connection that ended.
    ending: Option<Arc<Ending>>,
}

impl State {
    fn has_room(&self, most_bytes: usize) -> bool {
        self.items.len() < MOST_MESSAGES && self.bytes < most_bytes
    }
}

impl Mailbox {
    /// Makes a mailbox for `most_bytes`, plus the message that exceeds them. No ending shows these
    /// secrets.
    pub(super) fn new(most_bytes: usize, secrets: Secrets) -> Mailbox {
        Mailbox {
            state: Mutex::default(),
            most_bytes,
            secrets,
            receiver: AtomicWaker::new(),
            connection: AtomicWaker::new(),
        }
    }

    /// Notes that a connection begins.
    pub(super) fn begin(&self) {
        self.state().is_live = true;
    }

    /// Ready when a connection may bring another message.
    pub(in crate::clientlets) fn poll_room(&self, cx: &mut Context<'_>) -> Poll<()> {
        // This comes before the check; otherwise room that is made in between would be missed.
        self.connection.register(cx.waker());
        match self.state().has_room(self.most_bytes) {
            true => Poll::Ready(()),
            false => Poll::Pending,
        }
    }

    pub(in crate::clientlets) fn push(&self, message: Bytes) {
        let mut state = self.state();
        state.bytes += message.len();
        state.items.push_back(Item::Message(message));
        drop(state);
        self.receiver.wake();
    }

    /// Notes that a connection has ended, and returns its end without secrets. Of several connections in a row without messages, only
    /// the last counts.
    pub(super) fn end(&self, mut ending: Ending) -> Arc<Ending> {
        ending.hide(&self.secrets);
        let ending = Arc::new(ending);
        let mut state = self.state();
        state.is_live = false;
        state.ending = Some(ending.clone());
        if let Some(Item::End(_)) = state.items.back() {
            state.items.pop_back();
        }
        state.items.push_back(Item::End(ending.clone()));
        drop(state);
        self.receiver.wake();
        ending
    }

    /// Returns the next item; `None` if no more will come.
    pub(super) fn poll_take(&self, cx: &mut Context<'_>) -> Poll<Option<Item>> {
        self.receiver.register(cx.waker());
        let mut state = self.state();
        let had_room = state.has_room(self.most_bytes);
        let Some(item) = state.items.pop_front() else {
            return if state.is_live { Poll::Pending } else { Poll::Ready(None) };
        };
        if let Item::Message(message) = &item {
            state.bytes -= message.len();
        }
        drop(state);
        if !had_room {
            self.connection.wake();
        }
        Poll::Ready(Some(item))
    }

    /// Asks the connection to close, because no more messages are wanted.
    pub(super) fn hang_up(&self) {
        self.state().is_hung_up = true;
        self.connection.wake();
    }

    /// Ready when no more messages are wanted.
    pub(in crate::clientlets) fn poll_hung_up(&self, cx: &mut Context<'_>) -> Poll<()> {
        self.connection.register(cx.waker());
        if self.is_hung_up() { Poll::Ready(()) } else { Poll::Pending }
    }

    pub(in crate::clientlets) fn is_hung_up(&self) -> bool {
        self.state().is_hung_up
    }

    /// Whether there is a message to take, or may be one later.
    pub(super) fn has_more(&self) -> bool {
        let state = self.state();
        let is_message = |item: &Item| matches!(item, Item::Message(_));
        state.is_live || state.items.iter().any(is_message)
    }

    /// Returns the end of the last connection that ended.
    pub(in crate::clientlets) fn ending(&self) -> Option<Arc<Ending>> {
        self.state().ending.clone()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use std::task::Waker;

    use super::*;
    use crate::error::Event;

    fn take(mailbox: &Mailbox) -> Poll<Option<Item>> {
        mailbox.poll_take(&mut Context::from_waker(Waker::noop()))
    }

    fn has_room(mailbox: &Mailbox) -> bool {
        mailbox.poll_room(&mut Context::from_waker(Waker::noop())).is_ready()
    }

    #[test]
    fn messages_and_bytes_are_bounded_and_taking_makes_room() {
        let mailbox = Mailbox::new(10, Secrets::default());
        mailbox.begin();
        mailbox.push(Bytes::from_static(b"123456"));
        assert!(has_room(&mailbox));
        mailbox.push(Bytes::from_static(b"123456"));
        assert!(!has_room(&mailbox));
        assert!(matches!(take(&mailbox), Poll::Ready(Some(Item::Message(_)))));
        assert!(has_room(&mailbox));
        for _ in 0..MOST_MESSAGES {
            mailbox.push(Bytes::new());
        }
        assert!(!has_room(&mailbox));
    }

    #[test]
    fn messages_before_an_end_are_taken_before_it_and_later_ones_after_it() {
        let mailbox = Mailbox::new(10, Secrets::default());
        let end = |what: &str| {
            let ending = Ending { code: 1006, ..Ending::new(Event::SocketDropped, what) };
            mailbox.end(ending);
        };
        mailbox.begin();
        mailbox.push(Bytes::from_static(b"1"));
        end("first");
        end("second");
        mailbox.begin();
        mailbox.push(Bytes::from_static(b"2"));
        assert!(matches!(take(&mailbox), Poll::Ready(Some(Item::Message(m))) if m == "1"));
        assert!(
            matches!(take(&mailbox), Poll::Ready(Some(Item::End(e))) if e.reason() == "second")
        );
        assert!(matches!(take(&mailbox), Poll::Ready(Some(Item::Message(m))) if m == "2"));
        assert!(take(&mailbox).is_pending());
        end("third");
        assert!(!mailbox.has_more());
        assert!(matches!(take(&mailbox), Poll::Ready(Some(Item::End(_)))));
        assert!(matches!(take(&mailbox), Poll::Ready(None)));
    }
}
