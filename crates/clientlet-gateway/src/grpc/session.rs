//! The messages of one stream: read, run at once, and answered as they are ready or in order. A
//! unary call is a stream of one message. The stream ends only when the client's half has ended,
//! because h2 counts frames for a forgotten stream as errors and ends the connection after 1,024 of
//! them.

use std::collections::VecDeque;
use std::future::Future;
use std::mem;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use http::HeaderValue;
use tokio::time::{Sleep, sleep};

use super::finish::{Finish, compressed};
use super::inbox::Broken;
use super::outbox::COMPRESSED;
use super::services::{Asked, Service};
use super::status::{DEADLINE, SHUTDOWN, Status, time_out};
use super::stream::Stream;
use super::{End, Unheard};
use crate::fault::FaultKind;
use crate::journal::{Place, Sent};
use crate::outage::Outage;
use crate::protobuf;

/// The most requests in flight on one stream, as with real gateways. A client can ask for another
/// number.
const MOST: usize = 1000;
/// The most bytes of answers that wait for the client to read.
const MOST_BYTES: usize = 256 << 20;
/// The most messages that are read before their answers are written.
const BATCH: usize = 64;
/// The bytes of answers that are sent together, if there are that many.
const TOGETHER: usize = 16 << 10;
/// How long an answer is held back to be sent after the next one.
const HOLD: Duration = Duration::from_secs(1);

/// A stream of messages.
pub(super) struct Session {
    stream: Stream,
    service: Service,
    /// The most requests in flight.
    most: usize,
    running: FuturesUnordered<BoxFuture<'static, Ended>>,
    /// What has ended out of order, if answers keep the order of requests.
    turns: Option<Turns>,
    /// Answers to be written.
    ready: VecDeque<Answer>,
    ready_bytes: usize,
    /// Answers that a fault holds back until the next one was sent.
    held: Vec<Answer>,
    hold: Option<Pin<Box<Sleep>>>,
    taken: u64,
    /// The number of requests that a fault leaves without an answer.
    stalled: usize,
    is_draining: bool,
    is_stopping: bool,
    stops: BoxFuture<'static, ()>,
    deadline: Option<Pin<Box<Sleep>>>,
}

/// A request on its way.
struct Flight {
    /// Its number on the stream, from 0.
    turn: u64,
    place: Place,
    fault: Option<FaultKind>,
    /// The bare answer that is sent before the status of an outage.
    omen: Option<Bytes>,
}

type Ended = (Result<Bytes, Finish>, Flight);

#[derive(Default)]
struct Turns {
    next: u64,
    ended: VecDeque<Option<Ended>>,
    /// The number of requests that have ended.
    waiting: usize,
}

/// A message for the client, and the place in the journal where its sending is noted.
struct Answer {
    flag: u8,
    message: Bytes,
    place: Option<Place>,
}

impl Session {
    pub(super) fn new(stream: Stream, service: Service) -> Self {
        let is_call = service == Service::Call;
        let metadata =
            |name| stream.headers().get(name).and_then(|v: &HeaderValue| v.to_str().ok());
        let in_order = is_call && metadata("__results_in_order__") == Some("true");
        let most = metadata("__prefetch__").and_then(|most| most.parse().ok());
        let most = most.filter(|most| *most > 0).unwrap_or(MOST);
        let deadline = time_out(stream.headers()).map(|limit| Box::pin(sleep(limit)));
        let world = Arc::clone(&stream.shared.world);
        Self {
            stream,
            service,
            most,
            running: FuturesUnordered::new(),
            turns: in_order.then(Turns::default),
            ready: VecDeque::new(),
            ready_bytes: 0,
            held: Vec::new(),
            hold: None,
            taken: 0,
            stalled: 0,
            is_draining: false,
            is_stopping: false,
            stops: Box::pin(async move { world.stops().await }),
            deadline,
        }
    }

    /// Serves messages until the stream is to end, and ends it.
    pub(super) async fn run(mut self) -> Option<Unheard> {
        let finish = std::future::poll_fn(|cx| self.poll(cx)).await;
        // Answers that are ready belong to requests before the end, so they are still sent.
        self.release();
        self.push_ready(usize::MAX);
        self.stream.finish(finish).await
    }

    /// Whether there was no answer yet.
    fn is_fresh(&self) -> bool {
        self.ready.is_empty() && self.stream.outbox.is_fresh()
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Finish> {
        loop {
            let mut read = 0;
            while read < BATCH && self.reads() {
                match self.stream.inbox.poll_message(cx) {
                    Poll::Ready(Some(Ok(message))) => {
                        read += 1;
                        if let Some(finish) = self.take(&message) {
                            return Poll::Ready(finish);
                        }
                    }
                    Poll::Ready(Some(Err(Broken::Status(status)))) => {
                        return Poll::Ready(Finish::Status(status));
                    }
                    Poll::Ready(Some(Err(Broken::Gone))) => return Poll::Ready(Finish::Gone),
                    Poll::Ready(None) => self.is_draining = true,
                    Poll::Pending => break,
                }
            }
            let was_full = !self.has_room();
            while let Poll::Ready(Some(ended)) = self.running.poll_next_unpin(cx) {
                if let Some(finish) = self.deliver_in_turn(ended) {
                    return Poll::Ready(finish);
                }
            }
            if let Some(finish) = self.poll_clocks(cx) {
                return Poll::Ready(finish);
            }
            let written = self.poll_write(cx);
            if matches!(written, Poll::Ready(Err(_)))
                || self.stream.outbox.poll_reset(cx).is_ready()
            {
                return Poll::Ready(Finish::Gone);
            }
            if written.is_ready() && self.running.is_empty() && self.held.is_empty() {
                if self.is_draining && self.stalled == 0 {
                    return Poll::Ready(Finish::Status(self.natural_end()));
                }
                if self.is_stopping {
                    return Poll::Ready(Finish::Status(SHUTDOWN));
                }
            }
            // More messages may be there, or there is room for them again.
            if read < BATCH && !(was_full && self.has_room()) {
                return Poll::Pending;
            }
        }
    }

    fn reads(&self) -> bool {
        !self.is_draining && !self.is_stopping && self.has_room()
    }

    /// Whether there is room for another request.
    fn has_room(&self) -> bool {
        let waiting = self.turns.as_ref().map_or(0, |turns| turns.waiting);
        let in_flight =
            self.running.len() + waiting + self.ready.len() + self.held.len() + self.stalled;
        in_flight < self.most && self.ready_bytes < MOST_BYTES
    }

    fn natural_end(&self) -> Status {
        if self.service.is_unary() && self.taken == 0 {
            return Status::internal("the request has no message");
        }
        Status::OK
    }

    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Option<Finish> {
        if !self.is_stopping && self.stops.as_mut().poll(cx).is_ready() {
            self.is_stopping = true;
            self.release();
        }
        if let Some(hold) = &mut self.hold
            && hold.as_mut().poll(cx).is_ready()
        {
            self.release();
        }
        // On a draining stream no answer will follow the ones that are held back.
        if self.is_draining && self.running.is_empty() {
            self.release();
        }
        let deadline = self.deadline.as_mut()?;
        deadline.as_mut().poll(cx).is_ready().then_some(Finish::Status(DEADLINE))
    }

    /// Writes the answers that are ready, in few pieces.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            self.push_ready(TOGETHER);
            ready!(self.stream.outbox.poll_write(cx))?;
            if self.ready.is_empty() {
                return Poll::Ready(Ok(()));
            }
        }
    }

    /// Pushes answers until `most` bytes wait.
    fn push_ready(&mut self, most: usize) {
        while self.stream.outbox.len() < most
            && let Some(Answer { flag, message, place }) = self.ready.pop_front()
        {
            self.ready_bytes -= message.len();
            self.stream.outbox.push(flag, &message, message.len());
            if let Some(place) = place {
                self.stream.shared.world.journal.answered(&place, 200);
            }
        }
    }

    /// Takes a message that has arrived, and runs it unless a fault prevents that.
    fn take(&mut self, message: &Bytes) -> Option<Finish> {
        let turn = self.taken;
        self.taken += 1;
        if turn > 0 && self.service.is_unary() {
            let status = Status::internal("a unary request has one message");
            return Some(Finish::Status(status));
        }
        let world = Arc::clone(&self.stream.shared.world);
        let asked = Asked::read(self.service, &world, message.clone());
        let drawn = match self.stream.draw(self.service, turn == 0) {
            Ok(drawn) => drawn,
            Err(finish) => return Some(finish),
        };
        let request = asked.as_ref().ok().and_then(Asked::request);
        let sent = |docarray| {
            self.service.carries_data().then(|| Sent::new(docarray, message, protobuf::content))
        };
        let place = self.stream.note(&drawn, request, sent);
        let mut asked = match asked {
            Ok(asked) => asked,
            Err(status) => return Some(Finish::Status(status)),
        };
        let mut late = None;
        match &drawn.fault {
            Some(FaultKind::Stall) => {
                self.stalled += 1;
                return None;
            }
            Some(FaultKind::Slow(time)) => late = Some(*time),
            Some(FaultKind::UnknownId) => asked.rename(world.ids.make()),
            // The GOAWAY is announced, and the message is answered.
            Some(FaultKind::GoAway(0)) => self.stream.shared.end(End::GoAway(0)),
            Some(fault) => {
                if let Some(finish) = Finish::by(fault) {
                    return Some(finish);
                }
            }
            None => {}
        }
        let fails = self.service == Service::Call && Outage::now(&world.control).is_some();
        let omen = if fails { asked.request().map(protobuf::Request::bare_answer) } else { None };
        let flight = Flight { turn, place, fault: drawn.fault, omen };
        if asked.takes_time(&world) || late.is_some() {
            let headers = self.stream.headers().clone();
            self.running.push(Box::pin(async move {
                let answer = asked.answer(&world, &headers).await;
                sleep(late.unwrap_or_default()).await;
                (answer, flight)
            }));
            return None;
        }
        // All other requests end at once.
        let broken = || Finish::Status(Status::internal("the request did not run at once"));
        let answer = asked.answer(&world, self.stream.headers()).now_or_never();
        let answer = answer.unwrap_or_else(|| Err(broken()));
        self.deliver_in_turn((answer, flight))
    }

    fn deliver_in_turn(&mut self, ended: Ended) -> Option<Finish> {
        let Some(turns) = &mut self.turns else { return self.deliver(ended) };
        // No more requests are in flight than fit a usize.
        let place = (ended.1.turn - turns.next) as usize;
        if turns.ended.len() <= place {
            turns.ended.resize_with(place + 1, || None);
        }
        turns.ended[place] = Some(ended);
        turns.waiting += 1;
        while let Some(turns) = &mut self.turns
            && let Some(ended) = turns.ended.front_mut().and_then(Option::take)
        {
            turns.ended.pop_front();
            turns.next += 1;
            turns.waiting -= 1;
            if let Some(finish) = self.deliver(ended) {
                return Some(finish);
            }
        }
        None
    }

    /// Makes the answer ready, changed by a fault if there is one.
    fn deliver(&mut self, (answer, flight): Ended) -> Option<Finish> {
        let message = match answer {
            Ok(message) => message,
            Err(finish) => {
                if let Some(message) = flight.omen {
                    self.push(Answer { flag: 0, message, place: None });
                }
                return Some(finish);
            }
        };
        let Flight { place, fault, .. } = flight;
        let (flag, message, place) = match fault {
            Some(kind @ (FaultKind::Truncated | FaultKind::ResetMid)) => {
                return Some(Finish::Cut { message, reset: kind == FaultKind::ResetMid });
            }
            // No key of a field is this long, so the message cannot be decoded.
            Some(FaultKind::Malformed) => (0, Bytes::from_static(&[0xff; 16]), Some(place)),
            Some(FaultKind::Oversize(bytes)) => (0, vec![0; bytes].into(), None),
            Some(FaultKind::WrongType) if self.is_fresh() => {
                return Some(Finish::http(200, None));
            }
            // This flag is no compression.
            Some(FaultKind::WrongType) => (0xff, message, None),
            Some(FaultKind::UnknownId) => (0, message, None),
            Some(FaultKind::Twice) => {
                self.push(Answer { flag: 0, message: message.clone(), place: None });
                (0, message, Some(place))
            }
            Some(FaultKind::Reorder) => {
                self.held.push(Answer { flag: 0, message, place: Some(place) });
                self.hold.get_or_insert_with(|| Box::pin(sleep(HOLD)));
                return None;
            }
            Some(kind) => match compressed(&kind, &message) {
                Some(packed) => (COMPRESSED, packed, Some(place)),
                None => (0, message, Some(place)),
            },
            None => (0, message, Some(place)),
        };
        self.push(Answer { flag, message, place });
        self.release();
        None
    }

    fn push(&mut self, mut answer: Answer) {
        if answer.flag == 0 {
            (answer.flag, answer.message) = self.stream.outbox.pack(answer.message);
        }
        self.ready_bytes += answer.message.len();
        self.ready.push_back(answer);
    }

    /// Makes the answers ready that were held back.
    fn release(&mut self) {
        self.hold = None;
        for answer in mem::take(&mut self.held) {
            self.push(answer);
        }
    }
}
