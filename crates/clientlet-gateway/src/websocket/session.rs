//! The messages of one WebSocket: read, run at once, answered as they are ready.

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
use futures_util::{FutureExt, SinkExt, StreamExt};
use tokio::time::{Instant, Sleep, sleep};
use tokio_websockets::Message;

use super::ending::End;
use super::messages::{Asked, Request, Started};
use super::{Link, Subprotocol};
use crate::fault::FaultKind;
use crate::journal::{Entry, Place};
use crate::listener::Listener;
use crate::protobuf::Verdict;
use crate::schedule::Drawn;

/// The most requests in flight on one connection, as with real gateways.
const MOST: usize = 1000;
/// The most bytes of answers that wait for the client to read.
const MOST_BYTES: usize = 256 << 20;
/// The most messages that are read before their answers are written.
const BATCH: usize = 64;
/// The time between pings, and the time in which a pong must arrive.
const PING: Duration = Duration::from_secs(20);
/// How long an answer is held back to be sent after the next one.
const HOLD: Duration = Duration::from_secs(1);

/// A WebSocket for data.
pub(super) struct Session<L: Listener> {
    link: Link<L>,
    running: FuturesUnordered<BoxFuture<'static, (Verdict, Flight)>>,
    /// Answers to be written.
    ready: VecDeque<Answer>,
    ready_bytes: usize,
    /// Answers that a fault holds back until the next one was sent.
    held: Vec<Answer>,
    hold: Option<Pin<Box<Sleep>>>,
    /// The number of requests that a fault leaves without an answer.
    stalled: usize,
    /// A message that arrived when there was no room. No message is read after it.
    waiting: Option<Message>,
    /// The end marker has arrived. Only control frames are read from now on.
    is_draining: bool,
    is_stopping: bool,
    stops: Pin<Box<dyn Future<Output = ()> + Send>>,
    ping: Pin<Box<Sleep>>,
    pings: u32,
    /// The last ping was not answered yet.
    awaits_pong: bool,
}

/// A request on its way.
struct Flight {
    place: Place,
    fault: Option<FaultKind>,
}

/// A message for the client, and the place in the journal where its sending is noted.
struct Answer {
    message: Message,
    place: Option<Place>,
}

impl<L: Listener> Session<L> {
    pub(super) fn new(link: Link<L>) -> Self {
        let world = Arc::clone(&link.world);
        Self {
            link,
            running: FuturesUnordered::new(),
            ready: VecDeque::new(),
            ready_bytes: 0,
            held: Vec::new(),
            hold: None,
            stalled: 0,
            waiting: None,
            is_draining: false,
            is_stopping: false,
            stops: Box::pin(async move { world.stops().await }),
            ping: Box::pin(sleep(PING)),
            pings: 0,
            awaits_pong: false,
        }
    }

    /// Serves requests until the connection is to end.
    pub(super) async fn run(&mut self) -> End {
        let end = std::future::poll_fn(|cx| self.poll(cx)).await;
        // Answers that are ready belong to requests before the end, so they are still sent.
        self.release();
        while let Some(answer) = self.take_ready() {
            if self.send(answer).is_err() {
                return End::Gone;
            }
        }
        end
    }

    pub(super) fn into_link(self) -> Link<L> {
        self.link
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            let mut read = 0;
            while read < BATCH {
                let message = match self.waiting.take() {
                    Some(message) => message,
                    None => match self.link.stream.poll_next_unpin(cx) {
                        Poll::Ready(Some(Ok(message))) => message,
                        Poll::Ready(Some(Err(_)) | None) => return Poll::Ready(End::Gone),
                        Poll::Pending => break,
                    },
                };
                if is_data(&message) && !self.has_room() {
                    self.waiting = Some(message);
                    break;
                }
                read += 1;
                if let Some(end) = self.take(message) {
                    return Poll::Ready(end);
                }
            }
            while let Poll::Ready(Some((verdict, flight))) = self.running.poll_next_unpin(cx) {
                if let Some(end) = self.deliver(verdict, flight) {
                    return Poll::Ready(end);
                }
            }
            if let Some(end) = self.poll_clocks(cx) {
                return Poll::Ready(end);
            }
            let written = self.poll_write(cx);
            if let Poll::Ready(Err(end)) = written {
                return Poll::Ready(end);
            }
            let is_idle = written.is_ready() && self.running.is_empty() && self.held.is_empty();
            if is_idle && self.is_stopping {
                return Poll::Ready(End::Close { code: 1012, reason: String::new() });
            }
            if is_idle && self.is_draining && self.stalled == 0 {
                return Poll::Ready(End::Close { code: 1000, reason: String::new() });
            }
            // More messages may be there, or there is room again for the message that waits.
            if read < BATCH && !(self.waiting.is_some() && self.has_room()) {
                return Poll::Pending;
            }
        }
    }

    /// Whether there is room for another request.
    fn has_room(&self) -> bool {
        let in_flight = self.running.len() + self.ready.len() + self.held.len() + self.stalled;
        in_flight < MOST && self.ready_bytes < MOST_BYTES
    }

    fn poll_clocks(&mut self, cx: &mut Context<'_>) -> Option<End> {
        if !self.is_stopping && self.stops.as_mut().poll(cx).is_ready() {
            self.is_stopping = true;
            self.release();
        }
        if let Some(hold) = &mut self.hold
            && hold.as_mut().poll(cx).is_ready()
        {
            self.release();
        }
        // In a draining session no answer will follow the ones that are held back.
        if self.is_draining && self.running.is_empty() {
            self.release();
        }
        while self.ping.as_mut().poll(cx).is_ready() {
            if self.awaits_pong {
                let reason = "keepalive ping timeout".to_owned();
                return Some(End::Close { code: 1011, reason });
            }
            self.pings = self.pings.wrapping_add(1);
            let ping = Message::ping(Bytes::copy_from_slice(&self.pings.to_be_bytes()));
            if self.link.stream.start_send_unpin(ping).is_err() {
                return Some(End::Gone);
            }
            self.awaits_pong = true;
            self.ping.as_mut().reset(Instant::now() + PING);
        }
        None
    }

    /// Writes the answers that are ready, in few pieces.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), End>> {
        loop {
            if ready!(self.link.stream.poll_ready_unpin(cx)).is_err() {
                return Poll::Ready(Err(End::Gone));
            }
            let Some(answer) = self.take_ready() else { break };
            if self.send(answer).is_err() {
                return Poll::Ready(Err(End::Gone));
            }
        }
        self.link.stream.poll_flush_unpin(cx).map_err(|_| End::Gone)
    }

    fn take_ready(&mut self) -> Option<Answer> {
        let answer = self.ready.pop_front()?;
        self.ready_bytes -= answer.message.as_payload().len();
        Some(answer)
    }

    fn send(&mut self, answer: Answer) -> Result<(), tokio_websockets::Error> {
        self.link.stream.start_send_unpin(answer.message)?;
        if let Some(place) = answer.place {
            self.link.world.journal.answered(&place, 200);
        }
        Ok(())
    }

    /// Takes a message that has arrived.
    fn take(&mut self, message: Message) -> Option<End> {
        if message.is_pong() {
            if **message.as_payload() == self.pings.to_be_bytes() && self.awaits_pong {
                self.awaits_pong = false;
                self.ping.as_mut().reset(Instant::now() + PING);
            }
            return None;
        }
        if message.is_close() {
            // Requests in flight are lost.
            self.ready.clear();
            self.held.clear();
            return Some(End::Gone);
        }
        if !is_data(&message) || self.is_draining || self.is_stopping {
            return None;
        }
        let docarray = self.link.world.control.spoken();
        match Asked::read(self.link.subprotocol, docarray, message) {
            Asked::Request(request) => self.accept(request),
            Asked::EndOfInput => {
                self.is_draining = true;
                None
            }
            Asked::Nothing => None,
            Asked::Unreadable => {
                let drawn = self.link.world.schedule.draw_message();
                self.note(&drawn, None);
                Some(End::Drop)
            }
        }
    }

    /// Begins a request, unless a fault prevents that.
    fn accept(&mut self, mut request: Request) -> Option<End> {
        let drawn = self.link.world.schedule.draw_message();
        let place = self.note(&drawn, Some(&request));
        match &drawn.fault {
            Some(FaultKind::Drop) => return Some(End::Drop),
            Some(FaultKind::ResetAfter) => return Some(End::Reset),
            Some(FaultKind::HalfOpen) => return Some(End::HalfOpen),
            Some(FaultKind::PingFlood) => return Some(End::PingFlood),
            Some(FaultKind::Close { code, reason }) => {
                return Some(End::Close { code: *code, reason: reason.clone() });
            }
            Some(FaultKind::Stall) => {
                self.stalled += 1;
                return None;
            }
            Some(FaultKind::UnknownId) => request.rename(self.link.world.ids.make()),
            _ => {}
        }
        let late = match drawn.fault {
            Some(FaultKind::Slow(time)) => Some(time),
            _ => None,
        };
        let flight = Flight { place, fault: drawn.fault };
        match (request.start(&self.link.world, &self.link.headers), late) {
            (Started::Done(verdict), None) => return self.deliver(verdict, flight),
            (Started::Done(verdict), Some(late)) => {
                self.running.push(sleep(late).map(move |()| (verdict, flight)).boxed());
            }
            (Started::Running(running), late) => self.running.push(
                async move {
                    let verdict = running.await;
                    sleep(late.unwrap_or_default()).await;
                    (verdict, flight)
                }
                .boxed(),
            ),
        }
        None
    }

    fn note(&self, drawn: &Drawn, request: Option<&Request>) -> Place {
        self.link.world.journal.arrived(|| Entry {
            number: drawn.number,
            connection: self.link.number,
            stream: None,
            method: "WS".into(),
            path: "/".into(),
            headers: self.link.headers.clone(),
            endpoint: request.and_then(Request::endpoint),
            request_id: request.and_then(Request::id),
            document_count: request.map_or(0, Request::documents),
            document_ids: request.map(Request::document_ids).unwrap_or_default(),
            fault: drawn.fault.clone(),
            answered: None,
            streamed: 0,
            is_cancelled: false,
            arrived_at: Duration::ZERO,
            answered_at: None,
            is_stripped: false,
            sent: request.map(|request| request.sent(self.link.world.control.spoken())),
        })
    }

    /// Makes the answer ready, changed by a fault if there is one.
    fn deliver(&mut self, verdict: Verdict, flight: Flight) -> Option<End> {
        let content = match verdict {
            Verdict::Answer(content) => content,
            Verdict::Outage(outage) => {
                return Some(End::Close { code: 1011, reason: outage.close_reason().into() });
            }
            // WebSocket has no statuses.
            Verdict::Status(code, _) => {
                return Some(End::Close { code: 1011, reason: format!("status {code}") });
            }
            Verdict::Broken => return Some(End::Drop),
        };
        let subprotocol = self.link.subprotocol;
        let Flight { place, fault } = flight;
        let (message, place) = match fault {
            Some(kind @ (FaultKind::Truncated | FaultKind::ResetMid)) => {
                let is_text = subprotocol == Subprotocol::Json;
                let reset = kind == FaultKind::ResetMid;
                return Some(End::Cut { message: content, is_text, reset });
            }
            Some(FaultKind::Malformed) => {
                (subprotocol.message(undecodable(subprotocol, &content)), Some(place))
            }
            Some(FaultKind::Oversize(bytes)) => (subprotocol.message(vec![0; bytes]), None),
            Some(FaultKind::WrongType) => (wrong_type(subprotocol, content), None),
            Some(FaultKind::UnknownId) => (subprotocol.message(content), None),
            Some(FaultKind::Twice) => {
                let message = subprotocol.message(content);
                self.push(Answer { message: message.clone(), place: None });
                (message, Some(place))
            }
            Some(FaultKind::Reorder) => {
                self.held
                    .push(Answer { message: subprotocol.message(content), place: Some(place) });
                self.hold.get_or_insert_with(|| Box::pin(sleep(HOLD)));
                return None;
            }
            _ => (subprotocol.message(content), Some(place)),
        };
        self.push(Answer { message, place });
        self.release();
        None
    }

    fn push(&mut self, answer: Answer) {
        self.ready_bytes += answer.message.as_payload().len();
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

fn is_data(message: &Message) -> bool {
    message.is_binary() || message.is_text()
}

/// A message that cannot be decoded.
fn undecodable(subprotocol: Subprotocol, answer: &Bytes) -> Bytes {
    match subprotocol {
        // No key of a field is this long, so the message cannot be decoded.
        Subprotocol::Bytes => Bytes::from_static(&[0xff; 16]),
        Subprotocol::Json => answer.slice(..answer.len() / 2),
    }
}

fn wrong_type(subprotocol: Subprotocol, answer: Bytes) -> Message {
    match subprotocol {
        // The content of a text message must be text.
        Subprotocol::Bytes => subprotocol.other().message("{}"),
        Subprotocol::Json => subprotocol.other().message(answer),
    }
}
