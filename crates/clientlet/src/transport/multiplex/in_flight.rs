//! The requests that were sent on a connection or stream and are not answered yet.

use std::sync::Arc;

use bytes::Bytes;
use rustc_hash::FxHashMap;

use super::handle::QUEUE;
use super::inbox::{Reply, Ticket};
use super::{Ending, Order, Passage, Progress};
use crate::envelope::outcome;
use crate::foreign::shorten;
use crate::log;
use crate::message::{RawAnswer, RequestId};
use crate::transport::Tally;

/// How an answer finds its request.
#[derive(Debug)]
enum Matching {
    /// By its id, which begins with this text.
    ById(String),
    /// By order, because only one request is in flight and the gateway makes the ids. The text is
    /// the id of the last answer, which may come twice.
    InTurn(String),
}

/// The requests that were sent and not answered, by their sequence number.
#[derive(Debug)]
pub(crate) struct InFlight {
    matching: Matching,
    /// Whether the last handle was dropped, so that no answer is wanted any more.
    is_deserted: bool,
    waiting: FxHashMap<u64, Waiting>,
    progress: Progress,
    tally: Arc<Tally>,
}

#[derive(Debug)]
struct Waiting {
    /// The number of the request in the order of sending.
    number: u64,
    passage: Passage,
    ticket: Ticket<RawAnswer>,
}

impl Waiting {
    /// Drops the reply if the sender has given up.
    fn end(self, reply: Reply<RawAnswer>) {
        if !self.passage.is_given_up() {
            self.ticket.send(reply);
        }
    }
}

impl InFlight {
    /// For requests whose ids have this nonce.
    pub(crate) fn new(nonce: u64, progress: Progress, tally: Arc<Tally>) -> InFlight {
        InFlight::matching(Matching::ById(RequestId::prefix(nonce)), progress, tally)
    }

    /// For one request at a time, whatever the ids of the answers.
    pub(crate) fn in_turn(progress: Progress, tally: Arc<Tally>) -> InFlight {
        InFlight::matching(Matching::InTurn(String::new()), progress, tally)
    }

    fn matching(matching: Matching, progress: Progress, tally: Arc<Tally>) -> InFlight {
        InFlight { matching, is_deserted: false, waiting: FxHashMap::default(), progress, tally }
    }

    pub(crate) fn progress(&self) -> Progress {
        self.progress.clone()
    }

    /// Forgets all requests, because no sender waits for the answers.
    pub(crate) fn desert(&mut self) {
        self.is_deserted = true;
        self.waiting.clear();
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.waiting.is_empty()
    }

    /// Notes a request that is about to be written and returns its bytes; `None` if it was given
    /// up.
    pub(crate) fn enter(&mut self, order: Order<RequestId, RawAnswer>) -> Option<Bytes> {
        let Order { what: id, passage, ticket } = order;
        let number = self.progress.enter(&passage)?;
        // From time to time the requests that were given up are forgotten. There are few of them.
        if self.waiting.len() >= 2 * QUEUE && self.waiting.len().is_power_of_two() {
            self.waiting.retain(|_, waiting| !waiting.passage.is_given_up());
        }
        let body = passage.take_body();
        self.waiting.insert(id.sequence, Waiting { number, passage, ticket });
        Some(body)
    }

    /// Gives an answer to its request. An answer with an id of this client for which no request
    /// waits is a late duplicate, and is dropped.
    ///
    /// # Errors
    /// The message about an answer to a request that was never sent.
    pub(crate) fn answer(&mut self, answer: RawAnswer) -> Result<(), String> {
        let id = &answer.request_id;
        let found = match &mut self.matching {
            Matching::ById(prefix) => id
                .strip_prefix(prefix.as_str())
                .and_then(|sequence| sequence.parse().ok())
                .map(|sequence: u64| self.waiting.remove(&sequence)),
            Matching::InTurn(last) if last == id => Some(None),
            Matching::InTurn(last) => {
                last.clone_from(id);
                let only = self.waiting.drain().next();
                only.map(|(_, waiting)| Some(waiting))
            }
        };
        match found {
            Some(Some(waiting)) => {
                self.progress.answer(waiting.number);
                waiting.end(outcome(answer));
            }
            _ if self.is_deserted => {}
            Some(None) => {
                self.tally.duplicate_dropped();
                // An id that is not of the client's form may be any text.
                let own = matches!(self.matching, Matching::ById(_)).then_some(id);
                log::answer_unclaimed(own);
            }
            None => {
                let id = shorten(id);
                return Err(format!("the gateway answered a request that was not sent: id {id:?}"));
            }
        }
        Ok(())
    }

    /// Fails all waiting requests, the oldest first, because the oldest are the first to be sent
    /// again.
    pub(crate) fn fail(&mut self, ending: &Ending) {
        let mut waiting: Vec<_> = self.waiting.drain().collect();
        waiting.sort_unstable_by_key(|(sequence, _)| *sequence);
        for (_, waiting) in waiting {
            waiting.end(Err(ending.sent()));
        }
    }
}
