//! Turns a call's documents into requests, sends the requests to the gateway, and returns the
//! answers, in order if asked for.
//!
//! The caller drives the pipeline by polling. The pipeline spawns no tasks, so documents may be
//! borrowed, and dropping it stops everything.

mod call;
mod flights;
mod observer;
mod prepare;
mod send;

use std::collections::VecDeque;
use std::iter::once;
use std::mem;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Waker, ready};

use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use serde::Serialize;
use tokio::task::unconstrained;
use tokio::time::{Instant, Sleep, sleep};

pub(crate) use self::call::{Call, Ids};
use self::flights::{Flight, Flights};
use self::prepare::{Prepared, prepare};
use self::send::{Ended, response, send};
use crate::batch::{Batch, Batcher, Content, Format};
use crate::error::{AttemptError, Error, ErrorKind, Source};
use crate::input::InputFailure;
use crate::message::{RawAnswer, Request};
use crate::order::Order;
use crate::response::Response;
use crate::retry::Failure;
use crate::runtime;
use crate::stop::stopped;
use crate::telemetry::Subject;
use crate::transport::{BoxFuture, Handle, Patience};
use crate::window::Window;

/// A failed question to the gateway, and the number of requests that share its failure.
struct Doom {
    failure: Failure,
    /// The number of further requests that fail with it: the window had room for them, and their
    /// documents were available. If each of them asked the silent gateway again, each would wait
    /// for its whole time.
    left: usize,
}

pub(crate) struct Pipeline<S: Stream> {
    call: Arc<Call>,
    /// `None` after the end of the input, or once no more documents are to be read.
    input: Option<Pin<Box<S>>>,
    /// The failure of the input, until it is reported.
    failed: Option<Source>,
    /// A document whose batch can only begin once the gateway is known.
    held: Option<S::Item>,
    /// Rings when the open batch has waited long enough for documents.
    alarm: Option<Pin<Box<Sleep>>>,
    asking: Option<BoxFuture<'static, Result<Prepared, Failure>>>,
    prepared: Option<Prepared>,
    /// Whether this call has asked the gateway before.
    has_asked: bool,
    /// The reason why the open batch cannot be sent.
    doom: Option<Doom>,
    batcher: Batcher,
    /// Complete batches that wait for room. There are at most two: a batch, and the refused
    /// document that ended it.
    waiting: VecDeque<Batch>,
    window: Window,
    /// The number of documents in requests that have begun.
    sent: u64,
    /// First attempts on shared connections.
    flights: Flights,
    /// The connection that took the last of the first attempts.
    lane: Option<Arc<Handle>>,
    /// All other requests, each in a future that runs its first or later attempts to the end.
    driven: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Which of the two sets is polled first. They alternate, because neither must wait until the
    /// other has nothing ready.
    is_flights_turn: bool,
    order: Order<Ended>,
    /// When the last place was taken, while no documents are read because all are.
    full_since: Option<Instant>,
    /// The remaining results of a request that was split.
    parts: VecDeque<Result<Response, Error>>,
}

impl<S> Pipeline<S>
where
    S: Stream,
    S::Item: Serialize,
{
    pub(crate) fn new(call: Call, input: S) -> Pipeline<S> {
        Pipeline {
            batcher: Batcher::new(call.request_size),
            window: Window::new(call.prefetch, call.prefetch_bytes),
            order: Order::new(call.in_order),
            parts: VecDeque::new(),
            full_since: None,
            input: Some(Box::pin(input)),
            failed: None,
            held: None,
            alarm: None,
            sent: 0,
            asking: None,
            prepared: None,
            has_asked: false,
            doom: None,
            waiting: VecDeque::new(),
            flights: Flights::default(),
            lane: None,
            is_flights_turn: false,
            driven: FuturesUnordered::new(),
            call: Arc::new(call),
        }
    }

    /// Returns the number of documents that were read so far.
    pub(crate) fn documents(&self) -> u64 {
        self.batcher.documents()
    }

    /// Returns the number of documents in requests that have begun.
    pub(crate) fn documents_sent(&self) -> u64 {
        self.sent
    }

    /// Ends every request that was read but not given to the caller: with its result if it has
    /// ended, otherwise as stopped.
    pub(crate) fn stop(&mut self) -> Vec<Result<Response, Error>> {
        self.call.stop.set();
        (self.input, self.asking) = (None, None);
        for (flight, result) in self.flights.stop() {
            self.land(flight, result);
        }
        // Each future is polled once, and then reports the end of its request.
        let mut cx = Context::from_waker(Waker::noop());
        for driven in mem::take(&mut self.driven) {
            match pin!(unconstrained(driven)).poll(&mut cx) {
                Poll::Ready(ended) => self.end(ended),
                Poll::Pending => self.call.trace.requests_dropped(1),
            }
        }
        let mut unbegun = mem::take(&mut self.waiting);
        if self.batcher.is_open() {
            unbegun.push_back(self.batcher.complete(|| self.call.ids.next()));
        }
        if let Some(document) = self.held.take() {
            unbegun.push_back(self.batcher.leave_out(&document, self.call.keep_documents));
        }
        if let Some(failure) = self.failed.take() {
            unbegun.push_back(self.batcher.alone(Content::Unread(failure)));
        }
        for batch in unbegun {
            let index = batch.index;
            let error = self.call.unsent(batch, || Failure::unattempted(stopped(false)));
            self.order.push(index, Ended::whole(index, 0, Err(error)));
        }
        self.window = Window::new(self.call.prefetch, self.call.prefetch_bytes);
        let order = mem::replace(&mut self.order, Order::new(self.call.in_order));
        self.call.trace.end();
        let parts = mem::take(&mut self.parts).into_iter();
        let ended = order.into_iter();
        parts.chain(ended.flat_map(|ended| once(ended.result).chain(ended.rest))).collect()
    }

    /// Returns the number of requests that have begun and were not given to the caller.
    pub(crate) fn in_flight(&self) -> usize {
        self.window.requests()
    }

    /// Returns the next request that ended.
    pub(crate) fn poll_ended(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Response, Error>>> {
        if self.call.stop.is_set() {
            return Poll::Ready(None);
        }
        loop {
            if let Some(result) = self.parts.pop_front() {
                return Poll::Ready(Some(result));
            }
            if let Some(ended) = self.order.pop() {
                self.window.leave(ended.bytes);
                self.parts.extend(ended.rest);
                // The caller may not poll again for a long time, so all requests that can proceed
                // do so first.
                while self.poll_driven(cx).is_ready() {}
                return Poll::Ready(Some(ended.result));
            }
            let begun = self.poll_begin(cx);
            // A request that has just begun is sent while the next batch is encoded.
            match self.poll_attempts(cx) {
                Poll::Ready(()) => {}
                Poll::Pending => match begun {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) if self.has_none_under_way() => {
                        self.call.trace.end();
                        return Poll::Ready(None);
                    }
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Makes progress on one request: ends it, or moves it on from its first attempt.
    fn poll_attempts(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        self.is_flights_turn = !self.is_flights_turn;
        let is_ready = match self.is_flights_turn {
            true => self.poll_flights(cx).is_ready() || self.poll_driven(cx).is_ready(),
            false => self.poll_driven(cx).is_ready() || self.poll_flights(cx).is_ready(),
        };
        if is_ready { Poll::Ready(()) } else { Poll::Pending }
    }

    fn poll_flights(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let (flight, result) = ready!(self.flights.poll_ended(cx));
        self.land(flight, result);
        Poll::Ready(())
    }

    fn poll_driven(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        // Even without a future, polling the set would cost as much as a step of a request.
        if self.driven.is_empty() {
            return Poll::Pending;
        }
        match self.driven.poll_next_unpin(cx) {
            Poll::Ready(Some(ended)) => {
                self.end(ended);
                Poll::Ready(())
            }
            Poll::Ready(None) | Poll::Pending => Poll::Pending,
        }
    }

    fn has_none_under_way(&self) -> bool {
        self.flights.is_empty() && self.driven.is_empty()
    }

    /// Begins one request if there are documents and room for it. Ready with `None` if no more
    /// requests will ever begin.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            if let Some(batch) = self.waiting.front() {
                if !self.window.fits(batch.bytes()) {
                    self.full_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
                let batch =
                    self.waiting.pop_front().expect("the queue had a first batch a line ago");
                self.begin(batch);
                return Poll::Ready(Some(()));
            }
            if !self.window.has_place() && self.has_more() {
                self.full_since.get_or_insert_with(Instant::now);
                return Poll::Pending;
            }
            if let Some(since) = self.full_since.take() {
                self.call.trace.telemetry().waited(since.elapsed());
            }
            let complete = match self.poll_document(cx) {
                Poll::Ready(Some(document)) => {
                    self.add(&document);
                    continue;
                }
                Poll::Ready(None) => true,
                Poll::Pending => self.poll_linger(cx).is_ready(),
            };
            if !complete {
                return Poll::Pending;
            }
            if self.batcher.is_open() {
                let batch = self.batcher.complete(|| self.call.ids.next());
                self.push(batch);
            } else if let Some(failure) = self.failed.take() {
                let batch = self.batcher.alone(Content::Unread(failure));
                self.push(batch);
            } else {
                return Poll::Ready(None);
            }
        }
    }

    /// Ready when the open batch has waited long enough for the next document, which has not come.
    fn poll_linger(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let Some(linger) = self.call.linger.filter(|_| self.batcher.is_open()) else {
            return Poll::Pending;
        };
        // Outside a runtime there is no clock, and every request fails anyway.
        if linger.is_zero() || runtime::here().is_err() {
            return Poll::Ready(());
        }
        self.alarm.get_or_insert_with(|| Box::pin(sleep(linger))).as_mut().poll(cx)
    }

    fn push(&mut self, batch: Batch) {
        self.alarm = None;
        self.waiting.push_back(batch);
    }

    fn has_more(&self) -> bool {
        self.input.is_some()
            || self.held.is_some()
            || self.failed.is_some()
            || self.batcher.is_open()
            || self.is_without_documents()
    }

    /// Whether the input ended before its first document. This also makes a request.
    fn is_without_documents(&self) -> bool {
        self.input.is_none() && self.failed.is_none() && self.batcher.is_untouched()
    }

    /// Returns the next document and opens a batch for it; `None` at the end of the input.
    fn poll_document(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.held.is_none()
            && let Some(input) = &mut self.input
        {
            let Poll::Ready(next) = input.as_mut().poll_next(cx) else {
                // Documents that come later were not waiting for the failed question.
                self.doom.iter_mut().for_each(|doom| doom.left = 0);
                return Poll::Pending;
            };
            self.held = next;
            if self.held.is_none() {
                self.input = None;
                self.failed = self.call.input_failure.as_ref().and_then(InputFailure::take);
            }
        }
        let wants_batch = self.held.is_some() || self.is_without_documents();
        if wants_batch && !self.batcher.is_open() {
            let format = match self.is_doomed() {
                true => None,
                false => match ready!(self.poll_prepared(cx)) {
                    Ok(format) => Some(format),
                    Err(failure) => {
                        let is_silent = failure.last.kind == ErrorKind::Timeout;
                        let left = if is_silent { self.call.prefetch } else { 0 };
                        self.doom = Some(Doom { failure, left });
                        None
                    }
                },
            };
            if let (None, Some(doom)) = (&format, &mut self.doom) {
                doom.left = doom.left.saturating_sub(1);
            }
            self.batcher.begin(format, self.call.keep_documents);
        }
        Poll::Ready(self.held.take())
    }

    /// Whether the next batch was waiting for a question that failed.
    fn is_doomed(&self) -> bool {
        self.doom.as_ref().is_some_and(|doom| doom.left > 0)
            && self.asking.is_none()
            && self.call.discovery.known().is_none()
    }

    /// Returns the format for the gateway as it is known now. If the gateway is not known, asks it.
    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arc<Format>, Failure>> {
        if let (None, Some(prepared)) = (&self.asking, &self.prepared)
            && self.call.discovery.is_known(&prepared.gateway)
        {
            return Poll::Ready(Ok(prepared.format.clone()));
        }
        let again = !self.has_asked;
        let asking = self.asking.get_or_insert_with(|| Box::pin(prepare(self.call.clone(), again)));
        let prepared = ready!(asking.as_mut().poll(cx));
        self.asking = None;
        self.has_asked = true;
        Poll::Ready(prepared.map(|prepared| self.prepared.insert(prepared).format.clone()))
    }

    fn add(&mut self, document: &S::Item) {
        let pushed = self.batcher.push(document, || self.call.ids.next());
        // Two separate checks, because this runs for each document and most documents complete no
        // batch.
        if let Some(batch) = pushed.complete {
            self.push(batch);
        }
        if let Some(batch) = pushed.refused {
            self.push(batch);
        }
    }

    fn begin(&mut self, batch: Batch) {
        let bytes = batch.bytes();
        self.window.enter(bytes);
        self.sent = batch.documents.end;
        observer::begun(&self.call.trace, batch.index, &batch.documents);
        if let Batch { index, documents, content: Content::Body { body, format, id, id_text } } =
            batch
        {
            let route = format.route.clone();
            let request = Request { id, id_text, index, documents, route };
            let started = Instant::now();
            let deadline = self.call.times(started).attempt_deadline(started);
            let patience = Patience::new(started, deadline);
            let idle_timeout = self.call.idle_timeout;
            let trace = self.call.trace.attempt(&Subject::request(&request), 1);
            self.depart(Flight { request, body, bytes, started, patience, idle_timeout, trace });
            return;
        }
        let doom = || self.doom.as_ref().expect("a batch is left unencoded for a reason");
        let index = batch.index;
        let error = self.call.unsent(batch, || doom().failure.clone());
        self.end(Ended::whole(index, bytes, Err(error)));
    }

    /// Hands a request to an open connection, or leaves it to a future that opens a connection.
    fn depart(&mut self, flight: Flight) {
        let is_kept = !self.call.transport.facts().has_channels;
        if !self.lane.as_ref().is_some_and(|lane| is_kept && lane.is_open()) {
            self.lane = self.call.transport.lane(&flight.request);
        }
        let keep = self.call.retry.attempts() > 1 || self.call.keep_documents;
        let refused = match &self.lane {
            Some(lane) => self.flights.begin(flight, keep, lane),
            None => Some(flight),
        };
        if let Some(flight) = refused {
            self.drive(flight, None);
        }
    }

    /// Takes the result of a first attempt.
    fn land(&mut self, flight: Flight, result: Result<RawAnswer, AttemptError>) {
        match result {
            Ok(answer) => {
                let elapsed = self.flights.elapsed(&flight);
                let Flight { request, bytes, trace, .. } = flight;
                self.call.trace.answered(&trace, &Subject::request(&request), 1, || elapsed);
                let index = request.index;
                let result = Ok(response(request, answer, 1, elapsed));
                self.end(Ended::whole(index, bytes, result));
            }
            Err(error) => self.drive(flight, Some(error)),
        }
    }

    /// Leaves a request to a future of its own, with the failure of its first attempt, if any.
    fn drive(&mut self, flight: Flight, failed: Option<AttemptError>) {
        let gateway = self.prepared.as_ref().map(|prepared| prepared.gateway.clone());
        self.driven.push(Box::pin(send(self.call.clone(), gateway, flight, failed)));
    }

    fn end(&mut self, ended: Ended) {
        let trace = &self.call.trace;
        if !ended.rest.is_empty() {
            trace.request_split(ended.rest.len());
        }
        let ends = once(&ended.result).chain(&ended.rest);
        ends.for_each(|end| observer::ended(trace, ended.index, end));
        let is_error = ended.result.is_err() || ended.rest.iter().any(Result::is_err);
        if is_error && self.call.stop_on_error {
            // Requests that have begun run to their end, but no more documents are read.
            self.input = None;
            self.held = None;
            self.asking = None;
        }
        self.order.push(ended.index, ended);
    }
}

impl<S: Stream> Drop for Pipeline<S> {
    fn drop(&mut self) {
        let dropped = self.flights.len() + self.driven.len();
        if dropped > 0 {
            self.call.trace.requests_dropped(dropped);
        }
    }
}

#[cfg(test)]
mod tests;
