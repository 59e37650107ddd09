//! One WebSocket and the requests that are in flight on it.
//!
//! The connection has a task of its own, which always reads (pings must be answered while nobody asks
//! for anything) and writes in batches: whatever is ready goes out with one flush, and nothing waits
//! for more. It ends with its last owner, after the end-of-input marker and the server's close.

use std::future::poll_fn;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;

use super::super::multiplex::{Desk, Handle, InFlight, Order, Orders, channel};
use super::ending::Ending;
use super::line::Line;
use crate::message::RawAnswer;

/// Opens the envelope of an answer.
pub(super) type Read = Arc<dyn Fn(&Bytes) -> Result<RawAnswer, String> + Send + Sync>;

/// Starts the task of a connection.
pub(super) fn start(line: Line, in_flight: InFlight, read: Read) -> Handle {
    let (handle, Desk { orders, notice }) = channel(in_flight.progress(), false);
    let task = Task { line, in_flight, read, queue: Some(orders), next: None };
    tokio::spawn(async move {
        let (ending, mut task) = task.run().await;
        notice.ended(ending.into(), |ending| task.in_flight.fail(ending));
        let Task { line, queue, next, .. } = task;
        drop(next);
        if let Some(mut queue) = queue {
            poll_fn(|cx| queue.poll_let_go(cx)).await;
        }
        line.finish().await;
    });
    handle
}

struct Task {
    line: Line,
    in_flight: InFlight,
    read: Read,
    /// Nothing once the last handle has gone.
    queue: Option<Orders>,
    /// Taken from the queue, not yet taken by the socket.
    next: Option<Order>,
}

impl Task {
    async fn run(mut self) -> (Ending, Task) {
        let ending = poll_fn(|cx| self.poll(cx)).await;
        (ending, self)
    }

    /// Reads, writes and watches the clock, until the connection ends.
    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        if let Poll::Ready(ending) = self.poll_read(cx) {
            return Poll::Ready(ending);
        }
        if let Poll::Ready(Err(ending)) = self.poll_write(cx) {
            return Poll::Ready(ending);
        }
        self.line.poll_alarm(cx)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        loop {
            let taken = match ready!(self.line.poll_message(cx)) {
                Ok(message) => self.take(&message),
                Err(ending) => Err(ending),
            };
            if let Err(ending) = taken {
                return Poll::Ready(ending);
            }
        }
    }

    /// Gives an answer to whoever waits for it.
    fn take(&mut self, message: &Bytes) -> Result<(), Ending> {
        let answer = (self.read)(message)
            .map_err(|what| Ending::garbled(format!("an answer cannot be read: {what}")))?;
        self.in_flight.answer(answer).map_err(Ending::garbled)
    }

    /// Hands over to the socket whatever is there, then flushes once.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        loop {
            if self.next.is_none() {
                match self.queue.as_mut().map(|queue| queue.poll_next(cx)) {
                    Some(Poll::Ready(Some(order))) => self.next = Some(order),
                    Some(Poll::Ready(None)) => {
                        // The last handle has gone, and with it whoever waits.
                        self.queue = None;
                        self.in_flight.desert();
                    }
                    Some(Poll::Pending) | None => {}
                }
            }
            let wants_to_close = self.queue.is_none() && !self.line.is_closing();
            if self.next.is_none() && !wants_to_close {
                return self.line.poll_flush(cx);
            }
            ready!(self.line.poll_room(cx))?;
            match self.next.take() {
                Some(order) => {
                    if let Some(body) = self.in_flight.enter(order) {
                        self.line.send(body)?;
                    }
                }
                None => {
                    self.line.send_end()?;
                    self.line.expect_close();
                }
            }
        }
    }
}
