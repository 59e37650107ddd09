//! First attempts on connections that requests share, which are nearly all attempts. They need no
//! future and no timer each: their results come to one inbox, and one alarm watches their time.

use std::collections::{HashSet, VecDeque};
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use slab::Slab;
use tokio::task::coop;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::error::AttemptError;
use crate::message::{RawAnswer, Request};
use crate::telemetry::AttemptTrace;
use crate::transport::{Dispatched, Handle, Inbox, Mail, Patience};

/// A request that may be handed to a connection, with everything that another attempt needs.
#[derive(Debug)]
pub(super) struct Flight {
    pub(super) request: Request,
    /// Empty if the first attempt took the body.
    pub(super) body: Bytes,
    /// The size of the body.
    pub(super) bytes: usize,
    pub(super) started: Instant,
    /// The time of the first attempt. A request that began earlier never times out later.
    pub(super) patience: Patience,
    /// How long nothing may come on the connection while the request waits for its answer.
    pub(super) idle_timeout: Option<Duration>,
    /// The trace of the first attempt.
    pub(super) trace: AttemptTrace,
}

#[derive(Debug, Default)]
pub(super) struct Flights {
    under_way: Slab<(Flight, Dispatched)>,
    inbox: Inbox<RawAnswer>,
    /// The mail taken from the inbox, and the time at which it was taken: the clock is read once for
    /// all answers that came together.
    mail: VecDeque<Mail<RawAnswer>>,
    taken: Option<Instant>,
    late: VecDeque<(Flight, AttemptError)>,
    /// Rings at the earliest deadline of the attempts in flight, or earlier.
    alarm: Option<Pin<Box<Sleep>>>,
}

impl Flights {
    pub(super) fn is_empty(&self) -> bool {
        self.under_way.is_empty() && self.late.is_empty()
    }

    /// The number of attempts that have not ended.
    pub(super) fn len(&self) -> usize {
        self.under_way.len() + self.late.len()
    }

    /// Hands a request to the connection. With `keep` the body stays here for other attempts.
    /// Returns the request if there is no room.
    pub(super) fn begin(
        &mut self,
        mut flight: Flight,
        keep: bool,
        lane: &Arc<Handle>,
    ) -> Option<Flight> {
        let slot = self.under_way.vacant_entry();
        let mark = mark(slot.key(), &flight);
        let ticket = || self.inbox.ticket(mark);
        let Flight { request, body, idle_timeout, .. } = &mut flight;
        match lane.dispatch(request.id, body, keep, *idle_timeout, ticket) {
            Some(dispatched) => {
                if self.alarm.is_none() {
                    let end = end(&flight, &dispatched);
                    self.alarm = end.map(|end| Box::pin(sleep_until(end)));
                }
                slot.insert((flight, dispatched));
                None
            }
            None => Some(flight),
        }
    }

    /// Returns the next attempt that ended. Pending if there is none, even if there will be none.
    pub(super) fn poll_ended(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<(Flight, Result<RawAnswer, AttemptError>)> {
        // An inbox that always has mail must not keep the caller's task from other work.
        let turn = ready!(coop::poll_proceed(cx));
        loop {
            if let Some(ended) = self.next_ended() {
                turn.made_progress();
                return Poll::Ready(ended);
            }
            // Some attempts may time out while others are answered all the time.
            let has_mail = self.inbox.poll_take(cx, &mut self.mail).is_ready();
            if has_mail {
                self.taken = Some(Instant::now());
            }
            if !self.has_rung(cx) && !has_mail {
                return Poll::Pending;
            }
        }
    }

    /// Stops all attempts. Returns each with its result, or with the error that tells whether it
    /// was sent.
    pub(super) fn stop(&mut self) -> Vec<(Flight, Result<RawAnswer, AttemptError>)> {
        self.mail.append(&mut self.inbox.take());
        self.taken = Some(Instant::now());
        let mut ended: Vec<_> = std::iter::from_fn(|| self.next_ended()).collect();
        for (_, (flight, dispatched)) in mem::take(&mut self.under_way) {
            ended.push((flight, Err(dispatched.stopped())));
        }
        ended
    }

    /// Returns the time from the beginning of an answered request until its answer was taken.
    pub(super) fn elapsed(&self, flight: &Flight) -> Duration {
        self.taken.unwrap_or_else(Instant::now).duration_since(flight.started)
    }

    /// Returns one of the attempts that are known to have ended.
    fn next_ended(&mut self) -> Option<(Flight, Result<RawAnswer, AttemptError>)> {
        if let Some((flight, error)) = self.late.pop_front() {
            return Some((flight, Err(error)));
        }
        while let Some(Mail { mark, reply }) = self.mail.pop_front() {
            // A request that has timed out may still be answered.
            if let Some(slot) = self.slot(mark) {
                let (flight, dispatched) = self.under_way.remove(slot);
                let result = reply.unwrap_or_else(|| Err(dispatched.lost()));
                return Some((flight, result));
            }
        }
        None
    }

    /// Returns the slot of an attempt in flight.
    fn slot(&self, of: u64) -> Option<usize> {
        let slot = of as u32 as usize;
        let (flight, _) = self.under_way.get(slot)?;
        (mark(slot, flight) == of).then_some(slot)
    }

    /// Whether any attempt has timed out.
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

    /// Gives up the attempts that have timed out, and sets the alarm to the first deadline of the
    /// others.
    fn give_up_late(&mut self) {
        let answered = self.mail.iter().filter_map(|mail| self.slot(mail.mark));
        let answered: HashSet<usize> = answered.collect();
        let under_way = self.under_way.iter_mut().filter(|(slot, _)| !answered.contains(slot));
        let now = Instant::now();
        let mut first: Option<Instant> = None;
        let mut late = Vec::new();
        for (slot, (flight, dispatched)) in under_way {
            let is_over = flight.patience.deadline().is_some_and(|deadline| deadline <= now);
            let error = match is_over && !flight.patience.excuse_once(now) {
                true => Some(dispatched.late(&flight.patience)),
                false => dispatched.silent(now),
            };
            match error {
                Some(error) => late.push((flight.request.index, slot, error)),
                None => first = [first, end(flight, dispatched)].into_iter().flatten().min(),
            }
        }
        // The oldest requests come first, because they are sent again first.
        late.sort_unstable_by_key(|(index, ..)| *index);
        for (_, slot, error) in late {
            let (flight, _) = self.under_way.remove(slot);
            self.late.push_back((flight, error));
        }
        self.alarm = first.map(|end| Box::pin(sleep_until(end)));
    }
}

/// Returns the time at which an attempt times out, unless it is answered or the time is extended.
fn end(flight: &Flight, dispatched: &Dispatched) -> Option<Instant> {
    [flight.patience.deadline(), dispatched.silent_from()].into_iter().flatten().min()
}

/// Returns the mark of a request's mail: its slot, together with its index in the call because
/// slots are used again.
fn mark(slot: usize, flight: &Flight) -> u64 {
    flight.request.index << 32 | slot as u64
}

impl Drop for Flights {
    fn drop(&mut self) {
        self.inbox.close();
    }
}

#[cfg(test)]
mod tests {
    use http::Uri;
    use std::future::poll_fn;

    use super::*;
    use crate::error::Event;
    use crate::message::{AnswerParts, DocArray, Encoding, RequestId, Route, Status};
    use crate::transport::FarEnd;

    const NONCE: u64 = 7;

    /// Makes request number `index`, with `allowed` milliseconds of time.
    fn flight(index: u64, allowed: u64) -> Flight {
        let route = Route {
            docarray: DocArray::V2,
            uri: Uri::from_static("ws://gateway"),
            is_by_name: true,
            headers: Arc::default(),
        };
        let id = RequestId { nonce: NONCE, sequence: index };
        let request = Request {
            id,
            id_text: id.to_string(),
            index,
            documents: index..index + 1,
            route: Arc::new(route),
        };
        let started = Instant::now();
        let patience = Patience::new(started, Some(started + Duration::from_millis(allowed)));
        let body = Bytes::from(vec![index as u8]);
        Flight {
            request,
            body,
            bytes: 1,
            started,
            patience,
            idle_timeout: None,
            trace: AttemptTrace::default(),
        }
    }

    fn answer(index: u64) -> RawAnswer {
        answer_with(index, None)
    }

    fn answer_with(index: u64, documents: Option<Bytes>) -> RawAnswer {
        RawAnswer::from(AnswerParts {
            docarray: DocArray::V2,
            encoding: Encoding::Proto,
            request_id: RequestId { nonce: NONCE, sequence: index }.to_string(),
            status: Status::default(),
            whole: Bytes::new(),
            routes: None,
            parameters: None,
            documents,
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
        far.end().await;
        assert!(matches!(ended(&mut flights).await, (1, Err(Event::SocketDropped))));
        assert!(flights.is_empty() && !lane.is_open());
    }

    #[tokio::test(start_paused = true)]
    async fn each_request_has_its_own_time() {
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
        assert!(!lane.is_open(), "no request was answered, so new ones go elsewhere");
    }

    #[tokio::test(start_paused = true)]
    async fn a_request_that_timed_out_before_it_was_written_is_never_written() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        flights.begin(flight(0, 100), true, &lane);
        assert!(matches!(ended(&mut flights).await, (0, Err(Event::TimedOutUnsent))));
        assert!(far.write().is_empty());
    }

    #[tokio::test(start_paused = true)]
    async fn a_late_answer_is_not_taken_for_the_next_request_in_its_slot() {
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
    async fn requests_queued_when_their_connection_ends_are_never_sent() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        flights.begin(flight(0, 100), true, &lane);
        far.write();
        flights.begin(flight(1, 100), true, &lane);
        far.end().await;
        assert!(matches!(ended(&mut flights).await, (0, Err(Event::SocketDropped))));
        assert!(matches!(ended(&mut flights).await, (1, Err(Event::ClosedUnsent))));
    }

    #[tokio::test(start_paused = true)]
    async fn requests_queued_when_their_call_is_dropped_are_never_sent() {
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
    #[tokio::test(start_paused = true)]
    async fn a_request_times_out_while_others_are_answered_all_the_time() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        let began = Instant::now();
        flights.begin(flight(0, 100), true, &lane);
        // Two are answered for each that is taken, so that an answer is always waiting.
        for pair in 0.. {
            for index in [2 * pair + 1, 2 * pair + 2] {
                flights.begin(flight(index, 100), true, &lane);
                far.write();
                far.answer(answer(index));
            }
            tokio::time::advance(Duration::from_millis(5)).await;
            if let (0, result) = ended(&mut flights).await {
                assert!(matches!(result, Err(Event::TimedOut)));
                break;
            }
            assert!(began.elapsed() < Duration::from_millis(500), "the time-out was not noticed");
        }
        // The requests that were answered by then do not time out.
        while !flights.is_empty() {
            assert!(ended(&mut flights).await.1.is_ok());
        }
    }

    #[tokio::test]
    async fn when_the_call_stops_answers_are_given_out_and_other_requests_say_whether_they_were_sent()
     {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        for index in 0..3 {
            flights.begin(flight(index, 100), true, &lane);
        }
        far.write();
        flights.begin(flight(3, 100), true, &lane);
        for index in [2, 0] {
            far.answer(answer(index));
        }
        let ended = flights.stop().into_iter();
        let ended: Vec<_> = ended
            .map(|(flight, result)| {
                (flight.request.index, result.map_err(|error| error.event).err())
            })
            .collect();
        let [sent, unsent] = [Event::StoppedSent, Event::Stopped].map(Some);
        assert_eq!(ended, [(2, None), (0, None), (1, sent), (3, unsent)]);
        assert!(far.write().is_empty(), "no more requests are sent");
    }

    #[tokio::test]
    async fn no_answer_is_kept_for_a_dropped_call() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        for index in 0..2 {
            flights.begin(flight(index, 100), true, &lane);
        }
        far.write();
        let documents = Bytes::from(vec![0; 10]);
        far.answer(answer_with(0, Some(documents.clone())));
        drop(flights);
        far.answer(answer_with(1, Some(documents.clone())));
        assert!(documents.is_unique());
    }
    #[tokio::test]
    async fn a_caller_that_always_finds_an_answer_still_lets_other_tasks_run() {
        let (lane, mut far) = FarEnd::open(NONCE);
        let mut flights = Flights::default();
        for index in 0..200 {
            flights.begin(flight(index, 10_000), true, &lane);
            far.write();
            far.answer(answer(index));
            tokio::task::yield_now().await;
        }
        let at_a_time = poll_fn(|cx| {
            let ended = std::iter::from_fn(|| match flights.poll_ended(cx) {
                Poll::Ready(ended) => Some(ended),
                Poll::Pending => None,
            });
            Poll::Ready(ended.count())
        });
        let at_a_time = at_a_time.await;
        assert!((1..200).contains(&at_a_time), "{at_a_time} answers without a pause");
    }
}
