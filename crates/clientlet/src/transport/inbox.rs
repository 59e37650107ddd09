//! Where the answers to a call's requests come together: one lock and one wake-up for as many as have
//! come.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use crate::error::AttemptError;
use crate::message::RawAnswer;

pub(crate) type Reply = Result<RawAnswer, AttemptError>;

/// The inbox of a call; a clone is another door to the same.
#[derive(Clone, Debug, Default)]
pub(crate) struct Inbox(Arc<Mutex<State>>);

#[derive(Debug, Default)]
struct State {
    mail: VecDeque<Mail>,
    /// The call, if it waits.
    reader: Option<Waker>,
    /// Whether the call has gone.
    is_closed: bool,
}

/// What became of a request on a connection.
#[derive(Debug)]
pub(crate) struct Mail {
    pub(crate) place: Place,
    /// Nothing if the connection ended without one.
    pub(crate) reply: Option<Reply>,
}

/// A request's place among those that its call waits for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Place {
    pub(crate) slot: usize,
    /// The request's number in its call: a slot is used again.
    pub(crate) index: u64,
}

/// A request's claim on a place in its call's inbox, where something will come in any case.
#[derive(Debug)]
pub(crate) struct Ticket {
    inbox: Inbox,
    place: Place,
    is_used: bool,
}

impl Inbox {
    pub(crate) fn ticket(&self, place: Place) -> Ticket {
        Ticket { inbox: self.clone(), place, is_used: false }
    }

    /// Takes all that has come, in exchange for an empty queue.
    pub(crate) fn poll_take(&self, cx: &Context<'_>, into: &mut VecDeque<Mail>) -> Poll<()> {
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

    /// Takes all that has come.
    pub(crate) fn take(&self) -> VecDeque<Mail> {
        mem::take(&mut self.state().mail)
    }

    /// Whatever comes from now on is dropped.
    pub(crate) fn close(&self) {
        let closed = State { is_closed: true, ..State::default() };
        // What it held is dropped without the lock.
        let _held = mem::replace(&mut *self.state(), closed);
    }

    fn put(&self, mail: Mail) {
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

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket {
    pub(crate) fn send(mut self, reply: Reply) {
        self.is_used = true;
        self.inbox.put(Mail { place: self.place, reply: Some(reply) });
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        if !self.is_used {
            self.inbox.put(Mail { place: self.place, reply: None });
        }
    }
}
