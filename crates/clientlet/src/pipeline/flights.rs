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

#[cfg(test)]
mod tests {
    use std::future::poll_fn;
    use std::time::Duration;

    use http::{HeaderMap, Uri};

    use super::*;
    use crate::error::Event;
    use crate::message::{AnswerParts, DocArray, Encoding, RequestId, Route, Status};
    use crate::transport::FarEnd;

    const NONCE: u64 = 7;

    /// Request number `index`, which may take so many milliseconds.
    fn flight(index: u64, allowed: u64) -> Flight {
        let route = Route { docarray: DocArray::V2, uri: Uri::from_static("ws://gateway") };
        let id = RequestId { nonce: NONCE, sequence: index };
        let request = Request {
            id,
            id_text: id.to_string(),
            index,
            documents: index..index + 1,
            route: Arc::new(route),
            headers: Arc::new(HeaderMap::new()),
        };
        let started = Instant::now();
        let deadline = Some(started + Duration::from_millis(allowed));
        Flight { request, body: Bytes::from(vec![index as u8]), bytes: 1, started, deadline }
    }

    fn answer(index: u64) -> RawAnswer {
        RawAnswer::from(AnswerParts {
            docarray: DocArray::V2,
            encoding: Encoding::Proto,
            request_id: RequestId { nonce: NONCE, sequence: index }.to_string(),
            status: Status::default(),
            routes: None,
            parameters: None,
            documents: None,
        })
    }

    async fn ended(flights: &mut Flights) -> (u64, Result<RawAnswer, Event>) {
        let (flight, result) = poll_fn(|cx| flights.poll_ended(cx)).await;
        (flight.request.index, result.map_err(|error| error.event))
    }

    #[tokio::test(start_paused = true)]
    async fn answers_come_as_they_end() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        for index in 0..3 {
            assert!(flights.begin(flight(index, 100), true, &lane).is_none());
        }
        assert_eq!(far.write().concat(), [0, 1, 2]);
        for index in [2, 0] {
            far.answer(answer(index));
            assert!(matches!(ended(&mut flights).await, (ended, Ok(_)) if ended == index));
        }
        assert!(!flights.is_empty());
        far.end();
        assert!(matches!(ended(&mut flights).await, (1, Err(Event::SocketDropped))));
        assert!(flights.is_empty() && !lane.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn each_has_its_own_time() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        let began = Instant::now();
        for index in 0..2 {
            flights.begin(flight(index, 100), true, &lane);
            tokio::time::advance(Duration::from_millis(40)).await;
        }
        far.write();
        for (index, after) in [(0, 100), (1, 140)] {
            assert!(
                matches!(ended(&mut flights).await, (late, Err(Event::TimedOut)) if late == index)
            );
            let took = began.elapsed().as_millis();
            assert!((after..after + 5).contains(&took), "{index} ended after {took} ms");
        }
        assert!(!lane.is_open(), "nothing was answered: the next ones go elsewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn one_that_ran_out_of_time_before_it_was_written_never_is() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        flights.begin(flight(0, 100), true, &lane);
        assert!(matches!(ended(&mut flights).await, (0, Err(Event::TimedOutUnsent))));
        assert!(far.write().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_not_taken_for_the_next_one_in_its_place() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        flights.begin(flight(0, 100), true, &lane);
        far.write();
        assert!(matches!(ended(&mut flights).await, (0, Err(Event::TimedOut))));
        flights.begin(flight(1, 100), true, &lane);
        far.write();
        far.answer(answer(0));
        far.answer(answer(1));
        assert!(matches!(ended(&mut flights).await, (1, Ok(_))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_queued_when_its_connection_ends_was_never_sent() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        flights.begin(flight(0, 100), true, &lane);
        far.write();
        flights.begin(flight(1, 100), true, &lane);
        far.end();
        assert!(matches!(ended(&mut flights).await, (0, Err(Event::SocketDropped))));
        assert!(matches!(ended(&mut flights).await, (1, Err(Event::ClosedUnsent))));
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_queued_when_its_call_is_dropped_is_never_sent() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        flights.begin(flight(0, 100), true, &lane);
        drop(flights);
        assert!(far.write().is_empty());
    }

    #[tokio::test]
    async fn a_request_without_room_is_given_back_with_its_body() {
        let (lane, _far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        let given_back = (0..).find_map(|index| flights.begin(flight(index, 100), false, &lane));
        assert!(given_back.is_some_and(|flight| !flight.body.is_empty()));
    }
}
