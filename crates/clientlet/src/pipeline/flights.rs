//! First attempts on connections that requests share: nearly all there are. They need no future and no
//! timer each, as they end in one inbox and are held to their time by one alarm.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use slab::Slab;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::AttemptError;
use crate::message::{RawAnswer, Request};
use crate::transport::{Dispatched, Handle, Inbox, Mail, Place};

/// A request that may be handed over, and all that is needed to try again.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) request: Request,
    /// Empty if it has gone with the first attempt.
    pub(super) body: Bytes,
    /// Of the body.
    pub(super) bytes: usize,
    pub(super) started: Instant,
    /// Of the first attempt: no request's is before that of one that began earlier.
    pub(super) deadline: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Slab<(Flight, Dispatched)>,
    inbox: Inbox,
    /// Taken from the inbox.
    mail: VecDeque<Mail>,
    late: VecDeque<(Flight, AttemptError)>,
    /// Set for the deadline of one that is under way or was; rings no later than the first of them.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.late.is_empty()
    }

    /// Hands a request over, its body to be kept for other attempts or not; gives it back if there is
    /// no room.
    pub(super) fn begin(
        &mut self,
        mut flight: Flight,
        keep: bool,
        lane: &Arc<Handle>,
    ) -> Option<Flight> {
        let slot = self.under_way.vacant_entry();
        let place = Place { slot: slot.key(), index: flight.request.index };
        let ticket = || self.inbox.ticket(place);
        match lane.dispatch(flight.request.id, &mut flight.body, keep, ticket) {
            Some(dispatched) => {
                if self.alarm.is_none() {
                    self.alarm = flight.deadline.map(|deadline| Box::pin(sleep_until(deadline)));
                }
                slot.insert((flight, dispatched));
                None
            }
            None => Some(flight),
        }
    }

    /// The next one that ended; pending if there is none, even if there will be none.
    pub(super) fn poll_ended(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Flight, Result<RawAnswer, AttemptError>)> {
        loop {
            while let Some(Mail { place, reply }) = self.mail.pop_front() {
                let found = self.under_way.get(place.slot);
                // One that was late may be answered yet.
                if found.is_none_or(|(flight, _)| flight.request.index != place.index) {
                    continue;
                }
                let (flight, dispatched) = self.under_way.remove(place.slot);
                let result = reply.unwrap_or_else(|| Err(dispatched.lost()));
                return Poll::Ready((flight, result));
            }
            if let Some((flight, error)) = self.late.pop_front() {
                return Poll::Ready((flight, Err(error)));
            }
            if self.inbox.poll_take(cx, &mut self.mail).is_pending() && !self.has_rung(cx) {
                return Poll::Pending;
            }
        }
    }

    /// Whether time has run out for any.
    fn has_rung(&mut self, cx: &mut Context<'_>) -> bool {
        while let Some(alarm) = &mut self.alarm {
            if alarm.as_mut().poll(cx).is_pending() {
                return false;
            }
            self.give_up_late();
            if !self.late.is_empty() {
                return true;
            }
        }
        false
    }

    /// Gives up those whose time has run out, and sets the alarm for the first of the others.
    fn give_up_late(&mut self) {
        let now = Instant::now();
        let is_late = |flight: &Flight| flight.deadline.is_some_and(|deadline| deadline <= now);
        let late = self.under_way.iter().filter(|(_, (flight, _))| is_late(flight));
        let mut late: Vec<usize> = late.map(|(slot, _)| slot).collect();
        // The oldest first: they are the first to be sent again.
        late.sort_unstable_by_key(|slot| self.under_way[*slot].0.request.index);
        for slot in late {
            let (flight, dispatched) = self.under_way.remove(slot);
            let error = dispatched.late(flight.started);
            self.late.push_back((flight, error));
        }
        let deadlines = self.under_way.iter().filter_map(|(_, (flight, _))| flight.deadline);
        self.alarm = deadlines.min().map(|deadline| Box::pin(sleep_until(deadline)));
    }
}
