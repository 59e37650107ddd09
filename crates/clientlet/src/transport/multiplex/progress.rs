//! The progress of requests: whether each was sent or given up, and how far the answers have come.

use std::mem;
use std::ops::Deref;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;

use crate::connect::Heard;
use crate::error::AttemptError;
use crate::transport::Time;

/// Decides whether a request was written or given up. The first of the two decides, so a request
/// that is reported as not sent is never sent afterwards. The side that decides may take the body,
/// if the passage carries one. The task that writes the request holds the passage; the sender holds
/// a [`Claim`] on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct Passage(Arc<State>);

#[derive(Debug, Default)]
struct State {
    mark: AtomicU64,
    body: Mutex<Bytes>,
}

// The bits below are the number with which the request was written, 0 until then.
const QUEUED: u64 = 0;
const GIVEN_UP: u64 = 1 << 63;

impl Passage {
    /// Takes the body, for the task that wrote the request or gave it up before it was written.
    pub(crate) fn take_body(&self) -> Bytes {
        mem::take(&mut *self.0.body.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Notes that the request is about to be written; `false` if it was given up.
    pub(crate) fn enter(&self) -> bool {
        self.enter_as(1)
    }

    /// Like `enter`, for the request with this number on its connection, from 1.
    fn enter_as(&self, number: u64) -> bool {
        self.0.mark.compare_exchange(QUEUED, number, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// Gives the request up. Returns whether it was sent by then.
    pub(crate) fn give_up(&self) -> bool {
        self.0.mark.fetch_or(GIVEN_UP, Ordering::AcqRel) & !GIVEN_UP != QUEUED
    }

    pub(crate) fn is_given_up(&self) -> bool {
        self.0.mark.load(Ordering::Acquire) & GIVEN_UP != 0
    }

    /// Returns the number with which the request was written.
    fn number(&self) -> Option<u64> {
        Some(self.0.mark.load(Ordering::Acquire) & !GIVEN_UP).filter(|number| *number != QUEUED)
    }
}

/// The sender's side of a passage. Dropping it gives the request up.
#[derive(Debug, Default)]
pub(crate) struct Claim(Passage);

impl Claim {
    /// Makes a passage that carries the request's body, and the claim on it.
    pub(crate) fn carrying(body: Bytes) -> Claim {
        Claim(Passage(Arc::new(State { mark: AtomicU64::default(), body: Mutex::new(body) })))
    }

    /// Returns the writer's side.
    pub(crate) fn passage(&self) -> Passage {
        self.0.clone()
    }
}

impl Deref for Claim {
    type Target = Passage;

    fn deref(&self) -> &Passage {
        &self.0
    }
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.0.give_up();
    }
}

/// How far the answers have come on a connection or stream, in the order in which requests were
/// sent.
#[derive(Clone, Debug, Default)]
pub(crate) struct Progress {
    connection: Arc<Way>,
    /// The progress of the stream, if the connection has streams.
    stream: Option<Arc<Way>>,
}

#[derive(Debug, Default)]
struct Way {
    /// The number of requests that were sent on the connection, which is the number of the last
    /// one.
    sent: AtomicU64,
    /// The highest number of an answered request.
    answered: AtomicU64,
    /// Whether new requests should be sent elsewhere.
    is_doubted: AtomicBool,
    /// What the connection has brought.
    heard: Heard,
}

impl Progress {
    /// Makes the progress of a new connection.
    pub(crate) fn on(heard: Heard) -> Progress {
        let connection = Arc::new(Way { heard, ..Way::default() });
        Progress { connection, stream: None }
    }

    pub(crate) fn heard(&self) -> &Heard {
        &self.connection.heard
    }

    /// Returns the progress of a new stream on the connection.
    pub(crate) fn of_stream(&self) -> Progress {
        Progress { connection: self.connection.clone(), stream: Some(Arc::default()) }
    }

    /// Lets a request pass that is about to be written, and numbers it.
    pub(crate) fn enter(&self, passage: &Passage) -> Option<u64> {
        let number = self.connection.sent.fetch_add(1, Ordering::Relaxed) + 1;
        passage.enter_as(number).then_some(number)
    }

    pub(crate) fn answered(&self, passage: &Passage) {
        if let Some(number) = passage.number() {
            self.answer(number);
        }
    }

    /// Notes that the request with this number was answered.
    pub(crate) fn answer(&self, number: u64) {
        for way in self.ways() {
            way.answered.fetch_max(number, Ordering::Relaxed);
        }
    }

    /// Waits for `answer` as long as `time` allows, then gives the request up.
    ///
    /// # Errors
    /// If the time is over, or the call was stopped.
    pub(crate) async fn in_time<F>(
        &self,
        time: &mut Time<'_>,
        claim: &Claim,
        answer: F,
    ) -> Result<F::Output, AttemptError>
    where
        F: Future + Unpin,
    {
        time.idle.as_ref().inspect(|idle| idle.wait_on(self.heard()));
        time.exchange(answer, || claim.give_up()).await.map_err(|over| {
            if !over.is_stopped {
                self.doubt(claim);
            }
            time.error(over, "no answer")
        })
    }

    /// Notes that a request timed out. If no later request was answered either, the connection or
    /// stream may be dead, long before a ping can tell. New requests then use another one; the
    /// requests in flight stay.
    pub(crate) fn doubt(&self, passage: &Passage) {
        for way in self.ways() {
            let answered = way.answered.load(Ordering::Relaxed);
            // The same applies to a request that was never written.
            if passage.number().is_none_or(|number| answered < number) {
                way.is_doubted.store(true, Ordering::Relaxed);
            }
        }
    }

    /// Notes that the connection failed in some way, so that the next request uses another.
    pub(crate) fn doubt_connection(&self) {
        self.connection.is_doubted.store(true, Ordering::Relaxed);
    }

    /// Whether new requests should be sent elsewhere.
    pub(crate) fn is_doubted(&self) -> bool {
        self.stream.as_ref().unwrap_or(&self.connection).is_doubted.load(Ordering::Relaxed)
    }

    fn ways(&self) -> impl Iterator<Item = &Way> {
        [Some(&*self.connection), self.stream.as_deref()].into_iter().flatten()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_request_is_either_sent_or_given_up() {
        let passage = Passage::default();
        assert!(passage.enter());
        assert!(passage.give_up(), "the request was sent");
        let passage = Passage::default();
        assert!(!passage.give_up(), "the request was not sent");
        assert!(!passage.enter(), "the request will never be sent");
        assert!(!passage.give_up());
    }

    #[test]
    fn a_connection_is_doubted_unless_the_request_or_a_later_one_was_answered() {
        let sent = |progress: &Progress| {
            let passage = Passage::default();
            let number = progress.enter(&passage).unwrap();
            (passage, number)
        };
        let connection = Progress::default();
        let (one, other) = (connection.of_stream(), connection.of_stream());
        let ((first, _), (second, number), (third, _)) = (sent(&one), sent(&other), sent(&one));
        one.answer(number);
        one.doubt(&first);
        one.doubt(&second);
        assert!(!one.is_doubted(), "the second request was answered");
        other.doubt(&first);
        assert!(other.is_doubted(), "no request was answered on this stream");
        assert!(!connection.is_doubted(), "a request was answered on the other stream");
        one.doubt(&third);
        assert!(one.is_doubted() && connection.is_doubted());
    }

    #[test]
    fn a_connection_that_does_not_take_a_request_in_its_time_is_doubted() {
        let connection = Progress::default();
        connection.doubt(&Passage::default());
        assert!(connection.is_doubted());
    }
}
