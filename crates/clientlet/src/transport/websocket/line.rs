//! A socket with a clock: messages in and out, and the detection of a dead peer.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use futures_util::Sink;
use tokio::task::coop::unconstrained;
use tokio::time::{Instant, Sleep, timeout};
use tokio_websockets::{CloseCode, Message};

use super::super::multiplex::Ending;
use super::Subprotocol;
use super::handshake::Socket;
use crate::connect::Heard;

/// The time without any message after which the peer is asked for a sign of life.
const IDLE: Duration = Duration::from_secs(20);
/// The longest time for the answer to a ping.
const PONG: Duration = Duration::from_secs(20);
/// The size from which messages share the buffer they were read into. Smaller messages are copied,
/// because they would keep a buffer of many times their size from being reused.
const SHARED_FROM: usize = 4 << 10;
/// The longest time for a gateway to close once everything has been answered.
const CLOSING: Duration = Duration::from_secs(5);
/// The number of unwritten pongs at which reading stops. The socket answers each ping by itself,
/// and keeps the pongs that the gateway does not take. A few are allowed, because a gateway that is
/// about to read may wait for the client to read first.
const MOST_PONGS: usize = 64;

/// The bytes of a gateway's ping or pong before its payload (RFC 6455, 5.2 and 5.5).
const CONTROL_HEAD: u64 = 2;

/// A WebSocket with its timers. The task that drives it must poll all of it: reading answers pings,
/// and the alarm detects a silent peer.
pub(crate) struct Line {
    socket: Socket,
    subprotocol: Subprotocol,
    /// What the connection has brought.
    heard: Heard,
    /// The bytes of pings, pongs and the answer to the upgrade, and those of messages that were counted.
    uncounted: u64,
    counted: u64,
    /// Whether something was written but not flushed.
    is_dirty: bool,
    /// Whether the gateway should close now.
    is_closing: bool,
    /// Whether a close frame of the client may still have to be sent.
    is_answering: bool,
    /// The number of pings since everything was last written.
    pongs: usize,
    alarm: Pin<Box<Sleep>>,
    /// Whether anything has come since the alarm was set.
    is_alive: bool,
    /// Whether the peer was asked for a sign of life.
    is_asked: bool,
}

impl Line {
    pub(super) fn new(socket: Socket, subprotocol: Subprotocol, heard: Heard) -> Line {
        heard.in_frames();
        Line {
            socket,
            subprotocol,
            uncounted: heard.raw(),
            counted: 0,
            heard,
            is_dirty: false,
            is_closing: false,
            is_answering: false,
            pongs: 0,
            alarm: Box::pin(tokio::time::sleep(IDLE)),
            is_alive: false,
            is_asked: false,
        }
    }

    /// What the connection has brought.
    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }

    /// Whether the gateway should close now.
    pub(crate) fn is_closing(&self) -> bool {
        self.is_closing
    }

    /// Returns the next message with data.
    pub(crate) fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Ending>> {
        loop {
            if self.is_held_up() {
                ready!(self.poll_flush(cx))?;
            }
            let message = match ready!(Pin::new(&mut self.socket).poll_next(cx)) {
                Some(Ok(message)) => message,
                Some(Err(error)) => {
                    self.is_answering = true;
                    return Poll::Ready(Err(Ending::of_error(&error)));
                }
                None => {
                    return Poll::Ready(Err(Ending::vanished()));
                }
            };
            self.is_alive = true;
            if let Some(ending) = Ending::of_frame(&message) {
                self.is_answering = true;
                return Poll::Ready(Err(ending));
            }
            match (self.subprotocol, message.is_text(), message.is_binary()) {
                (Subprotocol::Bytes, _, true) | (Subprotocol::Json, true, _) => {
                    return Poll::Ready(Ok(apart(message.into_payload().into())));
                }
                (Subprotocol::Bytes, true, _) => {
                    return Poll::Ready(Err(Ending::wrong_type("text", "bytes")));
                }
                (Subprotocol::Json, _, true) => {
                    return Poll::Ready(Err(Ending::wrong_type("bytes", "text")));
                }
                (_, false, false) => {
                    self.uncounted += CONTROL_HEAD + message.as_payload().len() as u64;
                    if message.is_ping() {
                        self.pongs += 1;
                        self.is_dirty = true;
                    }
                }
            }
        }
    }

    /// Ready when another message can be sent.
    pub(crate) fn poll_room(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        Pin::new(&mut self.socket).poll_ready(cx).map_err(|error| Ending::of_error(&error))
    }

    /// Sends a message. Its bytes may stay in the buffer until a flush.
    pub(crate) fn send(&mut self, body: Bytes) -> Result<(), Ending> {
        self.start(match self.subprotocol {
            Subprotocol::Bytes => Message::binary(body),
            Subprotocol::Json => Message::text(body),
        })
    }

    /// Announces the end of input. The gateway answers the remaining requests, then closes.
    pub(crate) fn send_end(&mut self) -> Result<(), Ending> {
        self.send(Bytes::from_static(self.subprotocol.end_of_input()))
    }

    /// Closes from this side. Requests that the gateway has not answered are lost.
    pub(crate) fn send_close(&mut self) -> Result<(), Ending> {
        self.start(Message::close(Some(CloseCode::NORMAL_CLOSURE), ""))
    }

    /// Gives the gateway some seconds to close, whatever it sends before that.
    pub(crate) fn expect_close(&mut self) {
        self.is_closing = true;
        self.is_alive = false;
        self.set_alarm(CLOSING);
    }

    fn start(&mut self, message: Message) -> Result<(), Ending> {
        self.is_dirty = true;
        Pin::new(&mut self.socket).start_send(message).map_err(|error| Ending::of_error(&error))
    }

    /// Ready when everything that was sent is written.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Ending>> {
        if self.is_dirty {
            let flushed = ready!(Pin::new(&mut self.socket).poll_flush(cx));
            flushed.map_err(|error| Ending::of_error(&error))?;
            self.is_dirty = false;
            self.pongs = 0;
        }
        Poll::Ready(Ok(()))
    }

    /// Ready when the peer has been silent for too long, after it was asked for a sign of life. It
    /// must be polled after the messages, so that the alarm is set once for all messages that came
    /// together.
    pub(crate) fn poll_alarm(&mut self, cx: &mut Context<'_>) -> Poll<Ending> {
        // A ping of which a part has come counts until its rest has come.
        let answers = self.heard.raw().saturating_sub(self.uncounted);
        if answers > self.counted {
            self.heard.answer(answers - self.counted);
            self.counted = answers;
        }
        if self.is_alive && !self.is_closing {
            self.is_alive = false;
            self.is_asked = false;
            self.set_alarm(IDLE);
        }
        loop {
            // This ignores tokio's budget for a task. Otherwise a gateway that sends endlessly
            // would use up the budget, and the alarm would never be noticed.
            ready!(Pin::new(&mut unconstrained(self.alarm.as_mut())).poll(cx));
            if self.is_closing {
                return Poll::Ready(Ending::dropped("the gateway did not close"));
            }
            if self.is_asked {
                let silent = (IDLE + PONG).as_secs();
                let what = match self.is_held_up() {
                    true => format!("the gateway sent pings and took no pong for {silent} s"),
                    false => {
                        format!("the gateway was silent for {silent} s and answered no ping")
                    }
                };
                return Poll::Ready(Ending::dropped(what));
            }
            self.is_asked = true;
            self.set_alarm(PONG);
            // The ping is queued with the other messages. A socket that cannot take it counts as
            // silent.
            if let Poll::Ready(Ok(())) = self.poll_room(cx)
                && self.start(Message::ping(Bytes::new())).is_ok()
                && let Poll::Ready(Err(ending)) = self.poll_flush(cx)
            {
                return Poll::Ready(ending);
            }
        }
    }

    /// Whether reading waits until the gateway takes the pongs.
    fn is_held_up(&self) -> bool {
        self.pongs >= MOST_PONGS
    }

    /// Restarts the clock. Nothing was read meanwhile, so the peer's silence has no meaning.
    pub(crate) fn rest(&mut self) {
        self.is_asked = false;
        self.set_alarm(IDLE);
    }

    /// Sends the answer to a close frame, if one is due.
    pub(crate) async fn finish(mut self) {
        if self.is_answering {
            let answered = std::future::poll_fn(|cx| {
                while let Some(Ok(_)) = ready!(Pin::new(&mut self.socket).poll_next(cx)) {}
                Poll::Ready(())
            });
            // Waiting for a gateway that does not take the frame is useless.
            let _ = timeout(CLOSING, answered).await;
        }
    }

    fn set_alarm(&mut self, after: Duration) {
        self.alarm.as_mut().reset(Instant::now() + after);
    }
}

/// Returns a message in a form that may be kept.
fn apart(message: Bytes) -> Bytes {
    if message.len() < SHARED_FROM { Bytes::copy_from_slice(&message) } else { message }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_message_does_not_keep_the_buffer_that_it_was_read_into_and_a_large_one_is_not_copied()
     {
        let buffer = Bytes::from(vec![0; 2 * SHARED_FROM]);
        assert!(apart(buffer.slice(..SHARED_FROM - 1)).is_unique());
        assert_eq!(apart(buffer.slice(..SHARED_FROM)).as_ptr(), buffer.as_ptr());
    }
}
