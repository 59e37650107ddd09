//! The place where the answers to a call's requests come together. However many answers have come,
//! they take one lock and one wake-up.

use std::collections::VecDeque;
use std::future::poll_fn;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::AttemptError;

pub(crate) type Reply<R> = Result<R, AttemptError>;

/// The results of a call's requests. All clones share the same results.
#[derive(Debug)]
pub(crate) struct Inbox<R>(Arc<Mutex<State<R>>>);

#[derive(Debug)]
struct State<R> {
    mail: VecDeque<Mail<R>>,
    /// The waker of the call, if it waits.
    reader: Option<Waker>,
    /// Whether the call is gone.
    is_closed: bool,
}

/// The result of a request on a connection or stream.
#[derive(Debug)]
pub(crate) struct Mail<R> {
    /// The mark of the request's ticket.
    pub(crate) mark: u64,
    /// `None` if the connection or stream ended without a result.
    pub(crate) reply: Option<Reply<R>>,
}

/// A request's right to one mail in an inbox. The mail comes in any case. The owner of the inbox
/// tells requests apart by their marks.
#[derive(Debug)]
pub(crate) struct Ticket<R> {
    inbox: Inbox<R>,
    mark: u64,
    is_used: bool,
}

impl<R> Default for Inbox<R> {
    fn default() -> Inbox<R> {
        Inbox(Arc::new(Mutex::new(State::default())))
    }
}

impl<R> Default for State<R> {
    fn default() -> State<R> {
        State { mail: VecDeque::new(), reader: None, is_closed: false }
    }
}

impl<R> Inbox<R> {
    pub(crate) fn ticket(&self, mark: u64) -> Ticket<R> {
        Ticket { inbox: Inbox(self.0.clone()), mark, is_used: false }
    }

    /// Takes all mail that has come, in exchange for an empty queue.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, into: &mut VecDeque<Mail<R>>) -> Poll<()> {
        let mut state = self.state();
        if !state.mail.is_empty() {
            mem::swap(&mut state.mail, into);
            return Poll::Ready(());
        }
        if !state.reader.as_ref().is_some_and(|reader| reader.will_wake(cx.waker())) {
            state.reader = Some(cx.waker().clone());
        }
        Poll::Pending
    }

    /// Waits for the result of the only request that has a ticket.
    pub(super) async fn only(self) -> Option<Reply<R>> {
        let mut mail = VecDeque::new();
        poll_fn(|cx| self.poll_take(cx, &mut mail)).await;
        mail.pop_front().and_then(|mail| mail.reply)
    }

    /// Takes all mail that has come.
    pub(crate) fn take(&self) -> VecDeque<Mail<R>> {
        mem::take(&mut self.state().mail)
    }

    /// Closes the inbox. Mail that comes from now on is dropped.
    pub(crate) fn close(&self) {
        let closed = State { is_closed: true, ..State::default() };
        // The old mail is dropped after the lock is released.
        let _held = mem::replace(&mut *self.state(), closed);
    }

    fn put(&self, mail: Mail<R>) {
        let mut state = self.state();
        if state.is_closed {
            return;
        }
        state.mail.push_back(mail);
        let reader = state.reader.take();
        drop(state);
        if let Some(reader) = reader {
            reader.wake();
        }
    }

    fn state(&self) -> MutexGuard<'_, State<R>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl<R> Ticket<R> {
    pub(crate) fn send(mut self, reply: Reply<R>) {
        self.is_used = true;
        self.inbox.put(Mail { mark: self.mark, reply: Some(reply) });
    }
}

impl<R> Drop for Ticket<R> {
    fn drop(&mut self) {
        if !self.is_used {
            self.inbox.put(Mail { mark: self.mark, reply: None });
        }
    }
}
