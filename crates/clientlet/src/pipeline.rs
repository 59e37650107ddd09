//! The way of a call's documents: into requests, to the gateway, back in order.
//!
//! The caller drives it by polling; it spawns nothing, so documents may be borrowed and dropping it
//! stops everything.

mod flights;

use std::collections::VecDeque;
use std::future::ready as done;
use std::iter::once;
use std::mem;
use std::ops::Range;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll, Waker, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::StreamExt;
use futures_util::future::Either;
use futures_util::stream::FuturesUnordered;
use http::HeaderMap;
use serde::Serialize;
use tokio::task::unconstrained;
use tokio::time::Instant;

use self::flights::{Flight, Flights};
use crate::batch::{Batch, Batcher, Content, Format};
use crate::discovery::{Discovery, Found, Gateway};
use crate::document::EncodeError;
use crate::envelope::Template;
use crate::envelope::inner::{self, Culprit};
use crate::error::{self, AttemptError, Error, ErrorKind, Event};
use crate::message::{DocArray, RawAnswer, Request, RequestId, Route};
use crate::order::Order;
use crate::response::Response;
use crate::retry::{Failure, Ledger, Retry, RetryPolicy, Times, Turn, later};
use crate::stop::{Stop, stopped};
use crate::transport::http::cannot_pass_on;
use crate::transport::{BoxFuture, Handle, Patience, Terms, Transport};
use crate::window::Window;

/// Everything that a call has decided before its first document is read.
pub(crate) struct Call {
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) discovery: Arc<Discovery>,
    pub(crate) ids: Arc<Ids>,
    pub(crate) endpoint: String,
    pub(crate) target_executor: Option<String>,
    /// A JSON object.
    pub(crate) parameters: Option<Bytes>,
    pub(crate) headers: Arc<HeaderMap>,
    pub(crate) retry: RetryPolicy,
    /// For one request over all its attempts.
    pub(crate) timeout: Option<Duration>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) request_size: usize,
    pub(crate) prefetch: usize,
    pub(crate) prefetch_bytes: usize,
    pub(crate) in_order: bool,
    pub(crate) stop_on_error: bool,
    /// Where each request's jitter comes from.
    pub(crate) seed: u64,
    /// The flag that stops the call.
    pub(crate) stop: Stop,
}

/// The ids of a client's requests.
#[derive(Debug)]
pub(crate) struct Ids {
    nonce: u64,
    next: AtomicU64,
}

impl Ids {
    pub(crate) fn new(nonce: u64) -> Ids {
        Ids { nonce, next: AtomicU64::new(0) }
    }

    pub(crate) fn next(&self) -> RequestId {
        RequestId { nonce: self.nonce, sequence: self.next.fetch_add(1, Ordering::Relaxed) }
    }
}

/// A request that ended, one way or the other.
struct Ended {
    index: u64,
    bytes: usize,
    result: Result<Response, Error>,
    /// The results of the request's other documents, if only some documents were at fault: in
    /// order, as if they had been requests of their own.
    rest: Vec<Result<Response, Error>>,
}

/// A failed question to the gateway, and the number of requests that share its failure.
struct Doom {
    failure: Failure,
    /// How many more requests fail with it: the requests that the window had room for and whose
    /// documents were available. If each asked the silent gateway after another, each would wait
    /// for its whole time.
    left: usize,
}

pub(crate) struct Pipeline<S: Stream> {
    call: Arc<Call>,
    /// Nothing after its end, or once no more is to be read.
    input: Option<Pin<Box<S>>>,
    /// A document whose batch cannot begin before the gateway is known.
    held: Option<S::Item>,
    asking: Option<BoxFuture<'static, Result<Prepared, Failure>>>,
    prepared: Option<Prepared>,
    /// Whether this call has had the gateway asked before.
    has_asked: bool,
    /// Why the open batch cannot be sent.
    doom: Option<Doom>,
    batcher: Batcher,
    /// Complete batches that wait for room: two at most, a batch and a document that it ended for.
    waiting: VecDeque<Batch>,
    window: Window,
    /// Documents in requests that have begun.
    sent: u64,
    /// First attempts, where connections are shared.
    flights: Flights,
    /// What these were handed to last.
    lane: Option<Arc<Handle>>,
    /// All others, from their first attempt or their second to their end.
    driven: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// Which of the two is asked first, by turns: neither must wait for the other to have nothing.
    is_flights_turn: bool,
    order: Order<Ended>,
    /// The remaining results of a request that was split.
    parts: VecDeque<Result<Response, Error>>,
}

/// A call's format, and the gateway that it is meant for.
#[derive(Clone)]
struct Prepared {
    gateway: Arc<Gateway>,
    format: Arc<Format>,
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
            input: Some(Box::pin(input)),
            held: None,
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

    /// How many documents were read so far.
    pub(crate) fn documents(&self) -> u64 {
        self.batcher.documents()
    }

    /// How many of them are in requests that have begun.
    pub(crate) fn documents_sent(&self) -> u64 {
        self.sent
    }

    /// Ends every request that was read but not given to the caller: with its result, if it has
    /// ended by now, else as stopped.
    pub(crate) fn stop(&mut self) -> Vec<Result<Response, Error>> {
        self.call.stop.set();
        (self.input, self.asking) = (None, None);
        for (flight, result) in self.flights.stop() {
            self.land(flight, result);
        }
        // Each future is polled once and then says how its request ended.
        let mut cx = Context::from_waker(Waker::noop());
        for driven in mem::take(&mut self.driven) {
            if let Poll::Ready(ended) = pin!(unconstrained(driven)).poll(&mut cx) {
                self.end(ended);
            }
        }
        for batch in mem::take(&mut self.waiting) {
            self.end_unbegun(batch);
        }
        if self.batcher.is_open() {
            let batch = self.batcher.complete(|| self.call.ids.next());
            self.end_unbegun(batch);
        }
        if self.held.take().is_some() {
            let batch = self.batcher.leave_out();
            self.end_unbegun(batch);
        }
        self.window = Window::new(self.call.prefetch, self.call.prefetch_bytes);
        let order = mem::replace(&mut self.order, Order::new(self.call.in_order));
        let parts = mem::take(&mut self.parts).into_iter();
        let ended = order.into_iter();
        parts.chain(ended.flat_map(|ended| once(ended.result).chain(ended.rest))).collect()
    }

    /// Ends a batch that was never begun, because the call was stopped.
    fn end_unbegun(&mut self, batch: Batch) {
        let Batch { index, documents, content } = batch;
        let error = match content {
            Content::Refused(refusal) => self.call.refused(&refusal, documents),
            Content::Body { .. } | Content::Unencoded => {
                let failure = Failure::unattempted(stopped(false));
                failure.into_error(self.call.context(None, documents))
            }
        };
        self.end(Ended { index, bytes: 0, result: Err(error), rest: Vec::new() });
    }

    /// How many requests have begun and were not given to the caller yet.
    pub(crate) fn in_flight(&self) -> usize {
        self.window.requests()
    }

    /// The next request that ended.
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
                // The caller may not poll again for a long time, so everything that can proceed
                // does so first.
                while self.poll_driven(cx).is_ready() {}
                return Poll::Ready(Some(ended.result));
            }
            let begun = self.poll_begin(cx);
            // Whatever has just begun goes on its way while the next batch is encoded.
            match self.poll_attempts(cx) {
                Poll::Ready(()) => {}
                Poll::Pending => match begun {
                    Poll::Ready(Some(())) => {}
                    Poll::Ready(None) if self.has_none_under_way() => return Poll::Ready(None),
                    Poll::Ready(None) | Poll::Pending => return Poll::Pending,
                },
            }
        }
    }

    /// Brings one request to its end, or on from its first attempt.
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

    /// Begins one request, if there are documents and room for it; ready with nothing when no more
    /// will ever begin.
    fn poll_begin(&mut self, cx: &mut Context<'_>) -> Poll<Option<()>> {
        loop {
            if let Some(batch) = self.waiting.front() {
                if !self.window.fits(batch.bytes()) {
                    return Poll::Pending;
                }
                let batch = self.waiting.pop_front().expect("it was there a line ago");
                self.begin(batch);
                return Poll::Ready(Some(()));
            }
            if !self.window.has_place() && self.has_more() {
                return Poll::Pending;
            }
            match ready!(self.poll_document(cx)) {
                Some(document) => self.add(&document),
                None if self.batcher.is_open() => {
                    let batch = self.batcher.complete(|| self.call.ids.next());
                    self.waiting.push_back(batch);
                }
                None => return Poll::Ready(None),
            }
        }
    }

    fn has_more(&self) -> bool {
        self.input.is_some()
            || self.held.is_some()
            || self.batcher.is_open()
            || self.is_without_documents()
    }

    /// Whether the input ended before its first document: that is a request, too.
    fn is_without_documents(&self) -> bool {
        self.input.is_none() && self.batcher.is_untouched()
    }

    /// The next document, its batch open; nothing at the end of the input.
    fn poll_document(&mut self, cx: &mut Context<'_>) -> Poll<Option<S::Item>> {
        if self.held.is_none()
            && let Some(input) = &mut self.input
        {
            let Poll::Ready(next) = input.as_mut().poll_next(cx) else {
                // Documents that come later did not wait for the answer.
                self.doom.iter_mut().for_each(|doom| doom.left = 0);
                return Poll::Pending;
            };
            self.held = next;
            if self.held.is_none() {
                self.input = None;
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
            self.batcher.begin(format);
        }
        Poll::Ready(self.held.take())
    }

    /// Whether the next batch was waiting for a question that failed.
    fn is_doomed(&self) -> bool {
        self.doom.as_ref().is_some_and(|doom| doom.left > 0)
            && self.asking.is_none()
            && self.call.discovery.known().is_none()
    }

    /// The format for the gateway as it is known now; asks for it where nothing is known.
    fn poll_prepared(&mut self, cx: &mut Context<'_>) -> Poll<Result<Arc<Format>, Failure>> {
        if self.asking.is_none() {
            let known = self.call.discovery.known();
            if let (Some(prepared), Some(known)) = (&self.prepared, &known)
                && Arc::ptr_eq(&prepared.gateway, known)
            {
                return Poll::Ready(Ok(prepared.format.clone()));
            }
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
        // Asked one by one: most documents complete nothing, and this is done for each.
        if let Some(batch) = pushed.complete {
            self.waiting.push_back(batch);
        }
        if let Some(batch) = pushed.refused {
            self.waiting.push_back(batch);
        }
    }

    fn begin(&mut self, batch: Batch) {
        let bytes = batch.bytes();
        self.window.enter(bytes);
        let Batch { index, documents, content } = batch;
        self.sent = documents.end;
        let error = match content {
            Content::Body { body, format, id, id_text } => {
                let (route, headers) = (format.route.clone(), self.call.headers.clone());
                let request = Request { id, id_text, index, documents, route, headers };
                let started = Instant::now();
                let deadline = self.call.times(started).attempt_deadline(started);
                let patience = Patience::new(started, deadline);
                self.depart(Flight { request, body, bytes, started, patience });
                return;
            }
            Content::Refused(refusal) => self.call.refused(&refusal, documents),
            Content::Unencoded => {
                let doom = self.doom.as_ref().expect("a batch is left unencoded for a reason");
                doom.failure.share().into_error(self.call.context(None, documents))
            }
        };
        self.end(Ended { index, bytes, result: Err(error), rest: Vec::new() });
    }

    /// Hands a request to a connection that is open, or leaves it to a future that opens one.
    fn depart(&mut self, flight: Flight) {
        if !self.lane.as_ref().is_some_and(|lane| lane.is_open()) {
            self.lane = self.call.transport.lane(&flight.request);
        }
        let keep = self.call.retry.attempts() > 1;
        let refused = match &self.lane {
            Some(lane) => self.flights.begin(flight, keep, lane),
            None => Some(flight),
        };
        if let Some(flight) = refused {
            self.drive(flight, None);
        }
    }

    /// A first attempt ended.
    fn land(&mut self, flight: Flight, result: Result<RawAnswer, AttemptError>) {
        match result {
            Ok(answer) => {
                let Flight { request, bytes, started, .. } = flight;
                let index = request.index;
                let result = Ok(response(request, answer, 1, started));
                self.end(Ended { index, bytes, result, rest: Vec::new() });
            }
            Err(error) => self.drive(flight, Some(error)),
        }
    }

    /// Leaves a request to a future of its own, with the failure of its first attempt if there was one.
    fn drive(&mut self, flight: Flight, failed: Option<AttemptError>) {
        let gateway = self.prepared.as_ref().map(|prepared| prepared.gateway.clone());
        self.driven.push(Box::pin(send(self.call.clone(), gateway, flight, failed)));
    }

    fn end(&mut self, ended: Ended) {
        let is_error = ended.result.is_err() || ended.rest.iter().any(Result::is_err);
        if is_error && self.call.stop_on_error {
            // What was begun is brought to its end; nothing more is read.
            self.input = None;
            self.held = None;
            self.asking = None;
        }
        self.order.push(ended.index, ended);
    }
}

impl Batch {
    fn bytes(&self) -> usize {
        match &self.content {
            Content::Body { body, .. } => body.len(),
            Content::Refused(_) | Content::Unencoded => 0,
        }
    }
}

/// Learns what the gateway speaks and makes the call's format of it, under the call's policy. With
/// `again` an endpoint that the gateway is not known to have is asked for once more: it may have
/// been deployed since.
async fn prepare(call: Arc<Call>, again: bool) -> Result<Prepared, Failure> {
    let times = call.times(Instant::now());
    let was_known = if again { call.discovery.known() } else { None };
    let attempts = Retry::seeded(&call.retry, times, call.seed).run(async |turn| {
        let ask = || call.discovery.ask(&call.transport, &call.headers, turn.deadline);
        let gateway = ask().await?;
        match call.format(&gateway) {
            Err(error) if was_known.as_ref().is_some_and(|was| Arc::ptr_eq(was, &gateway)) => {
                call.discovery.forget(&gateway);
                let gateway = ask().await.map_err(|_| error)?;
                Ok(Prepared { format: call.format(&gateway)?, gateway })
            }
            format => Ok(Prepared { format: format?, gateway }),
        }
    });
    attempts.await.map(|(prepared, _)| prepared)
}

impl Call {
    /// The time of what starts then.
    fn times(&self, started: Instant) -> Times {
        let deadline = later(started, self.timeout);
        Times { started, deadline, attempt: self.attempt_timeout }
    }

    fn context(&self, request_id: Option<String>, documents: Range<u64>) -> error::Context {
        error::Context {
            protocol: Some(self.transport.protocol()),
            gateway: Some(self.transport.address()),
            request_id,
            documents: Some(documents),
        }
    }

    /// Checks that the parameters can be sent: once, before anything is sent, and not for each
    /// batch.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the parameter.
    pub(crate) fn check_parameters(&self) -> Result<(), Error> {
        // Both generations write parameters alike.
        let (encoding, parameters) = (self.transport.encoding(), self.parameters.as_deref());
        match Template::new(encoding, DocArray::V1, &self.endpoint, None, parameters) {
            Ok(_) => Ok(()),
            Err(error) => Err(Error::new(ErrorKind::Encode, unsendable(&error))),
        }
    }

    fn refused(&self, refusal: &EncodeError, documents: Range<u64>) -> Error {
        let last = AttemptError::new(Event::EncodeFailed, refusal.to_string());
        Failure::unattempted(last).into_error(self.context(None, documents))
    }

    fn format(&self, gateway: &Gateway) -> Result<Arc<Format>, AttemptError> {
        let Found { name, path } = gateway.find(&self.endpoint)?;
        let uri = self
            .transport
            .uri(&path)
            .map_err(|error| AttemptError::new(Event::EncodeFailed, error.message()))?;
        let (docarray, is_by_name) = (gateway.docarray, gateway.is_by_name);
        let route = Arc::new(Route { docarray, uri, is_by_name });
        let template = Template::new(
            self.transport.encoding(),
            docarray,
            &name,
            self.target_executor.as_deref(),
            self.parameters.as_deref(),
        )
        .map_err(|error| AttemptError::new(Event::EncodeFailed, unsendable(&error)))?;
        let most_documents = self.transport.most_documents(docarray);
        Ok(Arc::new(Format { route, template, most_documents }))
    }
}

fn unsendable(error: &EncodeError) -> String {
    format!("the parameters cannot be sent: {error}")
}

/// Sends a request until it is answered or its failure is final. `failed` is the failure of its
/// first attempt, if that was made already. If only some of its documents are at fault, those fail
/// by themselves, and the others are sent without them.
async fn send(
    call: Arc<Call>,
    gateway: Option<Arc<Gateway>>,
    flight: Flight,
    failed: Option<AttemptError>,
) -> Ended {
    let Flight { request, mut body, bytes, started, .. } = flight;
    let index = request.index;
    let result = run(&call, &request, &mut body, started, failed).await;
    let mut results = match result {
        Err(failure) if may_be_split(&call, &failure) => {
            Box::pin(send_parts(&call, &request, &body, started, failure)).await
        }
        Err(failure) => {
            if let (Event::NotFound404, Some(gateway)) = (failure.last.event, &gateway) {
                // The path was right when the gateway was asked. The gateway has changed and is
                // asked again.
                call.discovery.forget(gateway);
            }
            let context = call.context(Some(request.id_text), request.documents);
            let result = Err(failure.into_error(context));
            return Ended { index, bytes, result, rest: Vec::new() };
        }
        Ok((answer, ledger)) => {
            let result = Ok(response(request, answer, ledger.next(), started));
            return Ended { index, bytes, result, rest: Vec::new() };
        }
    };
    let rest = results.split_off(1);
    let result = results.pop().expect("a request that is split has parts");
    Ended { index, bytes, result, rest }
}

/// Runs one request's attempts; returns its answer and the failures before it.
async fn run(
    call: &Call,
    request: &Request,
    body: &mut Bytes,
    started: Instant,
    mut failed: Option<AttemptError>,
) -> Result<(RawAnswer, Ledger), Failure> {
    let attempt = |turn: Turn| {
        if let Some(error) = failed.take() {
            return Either::Left(done(Err(error)));
        }
        if call.stop.is_set() {
            return Either::Left(done(Err(stopped(false))));
        }
        let is_suspect = turn.after.is_some_and(Event::is_anyones);
        let Turn { began, deadline, is_last, .. } = turn;
        let terms = Terms { began, deadline, is_alone: is_last && is_suspect, stop: &call.stop };
        if let Some(unsent) = turn.unsent {
            *body = unsent;
        }
        debug_assert!(!body.is_empty(), "a body that was not sent comes back");
        // The last attempt needs no second copy of the body, so the transport may mask this one.
        let is_lent = turn.is_last && call.transport.is_masking();
        let body = if is_lent { mem::take(body) } else { body.clone() };
        Either::Right(call.transport.attempt(request, body, terms))
    };
    let seed = call.seed ^ request.id.sequence;
    Retry::seeded(&call.retry, call.times(started), seed).until(&call.stop).run(attempt).await
}

fn response(request: Request, answer: RawAnswer, attempts: u32, started: Instant) -> Response {
    let Request { id_text, documents, .. } = request;
    Response::new(answer, id_text, documents, attempts, started.elapsed())
}

/// Whether the other documents may be sent without the documents at fault.
fn may_be_split(call: &Call, failure: &Failure) -> bool {
    let ran = call.retry.is_at_most_once() && failure.may_have_run();
    !failure.last.culprits.is_empty() && !ran
}

/// Fails the documents at fault one by one, sends those between them, and returns all results in
/// order.
async fn send_parts(
    call: &Call,
    request: &Request,
    body: &Bytes,
    started: Instant,
    failure: Failure,
) -> Vec<Result<Response, Error>> {
    let first = request.documents.start;
    let mut results = Vec::new();
    let count = usize::try_from(request.documents.end - first).unwrap_or(usize::MAX);
    let mut next = 0;
    for Culprit { index, what } in &failure.last.culprits {
        if *index > next {
            results.push(send_part(call, request, body, started, next..*index).await);
        }
        let number = first + *index as u64;
        let mut alone = failure.share();
        alone.last.message = cannot_pass_on(number, what);
        let context = call.context(Some(request.id_text.clone()), number..number + 1);
        results.push(Err(alone.into_error(context)));
        next = index + 1;
    }
    if next < count {
        results.push(send_part(call, request, body, started, next..count).await);
    }
    results
}

/// Sends some of a request's documents as a separate request, in what is left of the request's time.
async fn send_part(
    call: &Call,
    whole: &Request,
    body: &Bytes,
    started: Instant,
    range: Range<usize>,
) -> Result<Response, Error> {
    let id = call.ids.next();
    let id_text = id.to_string();
    let first = whole.documents.start;
    let documents = first + range.start as u64..first + range.end as u64;
    let Some(mut body) = inner::part(body, range, &whole.id_text, &id_text) else {
        let what = "the documents could not be sent without those at fault";
        let last = AttemptError::new(Event::EncodeFailed, what);
        let context = call.context(Some(id_text), documents);
        return Err(Failure::unattempted(last).into_error(context));
    };
    let request = Request {
        id,
        id_text,
        index: whole.index,
        documents,
        route: whole.route.clone(),
        headers: whole.headers.clone(),
    };
    match run(call, &request, &mut body, started, None).await {
        Ok((answer, ledger)) => Ok(response(request, answer, ledger.next(), started)),
        Err(failure) => {
            Err(failure.into_error(call.context(Some(request.id_text), request.documents)))
        }
    }
}

#[cfg(test)]
mod tests;
