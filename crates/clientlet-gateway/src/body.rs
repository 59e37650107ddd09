//! The body of an answer: whole, in slow pieces, as events, or cut off in the middle.

use std::future::Future;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use futures_util::stream::{self, StreamExt};
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::events::Events;
use crate::wire::Line;

/// The number of pieces of a slow body.
const PIECES: u32 = 10;

/// The body of an answer. The answer ends when its body ends or is dropped.
pub(crate) struct AnswerBody {
    rest: Bytes,
    pace: Pace,
    line: Arc<Line>,
}

enum Pace {
    Whole,
    /// The whole body is sent, then the connection ends; with `reset` by a reset.
    Last {
        reset: bool,
    },
    Half {
        sent: bool,
    },
    /// If the events are cut off, the connection ends; with `reset` by a reset.
    Events {
        events: Events,
        has_ended: bool,
        reset: bool,
    },
    Slow {
        piece: usize,
        pause: Duration,
        sleep: Pin<Box<Sleep>>,
    },
}

impl AnswerBody {
    pub(crate) fn whole(bytes: Vec<u8>, line: Arc<Line>) -> Self {
        Self { rest: bytes.into(), pace: Pace::Whole, line }
    }

    /// A body of these bytes, followed by the end of the connection.
    pub(crate) fn last(bytes: Vec<u8>, reset: bool, line: Arc<Line>) -> Self {
        Self { rest: bytes.into(), pace: Pace::Last { reset }, line }
    }

    /// Half of the bytes, then a reset.
    pub(crate) fn half(bytes: Vec<u8>, line: Arc<Line>) -> Self {
        Self { rest: bytes.into(), pace: Pace::Half { sent: false }, line }
    }

    /// Events as they come.
    pub(crate) fn events(events: Events, reset: bool, line: Arc<Line>) -> Self {
        Self { rest: Bytes::new(), pace: Pace::Events { events, has_ended: false, reset }, line }
    }

    /// The bytes in pieces, spread over this time.
    pub(crate) fn slow(bytes: Vec<u8>, time: Duration, line: Arc<Line>) -> Self {
        let pause = time / PIECES;
        let piece = bytes.len().div_ceil(PIECES as usize);
        let pace = Pace::Slow { piece, pause, sleep: Box::pin(sleep(pause)) };
        Self { rest: bytes.into(), pace, line }
    }
}

impl Body for AnswerBody {
    type Data = Bytes;
    type Error = io::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let this = &mut *self;
        if let Pace::Events { events, has_ended, reset } = &mut this.pace {
            return Poll::Ready(match ready!(events.poll_next_unpin(cx)) {
                Some(Err(_)) if *reset => {
                    this.line.reset_when_flushed();
                    *events = stream::pending().boxed();
                    return Poll::Pending;
                }
                Some(event) => Some(event.map(Frame::data)),
                None => {
                    *has_ended = true;
                    None
                }
            });
        }
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let size = match &mut this.pace {
            Pace::Whole | Pace::Events { .. } => this.rest.len(),
            Pace::Last { reset } => {
                // The flush comes next.
                match reset {
                    true => this.line.reset_when_flushed(),
                    false => this.line.close_when_flushed(),
                }
                this.rest.len()
            }
            Pace::Half { sent } if !*sent && this.rest.len() > 1 => {
                *sent = true;
                this.rest.len() / 2
            }
            Pace::Half { .. } => {
                this.line.reset_when_flushed();
                // This task is never woken again: the flush that comes next ends the connection.
                return Poll::Pending;
            }
            Pace::Slow { piece, pause, sleep } => {
                ready!(sleep.as_mut().poll(cx));
                sleep.as_mut().reset(Instant::now() + *pause);
                (*piece).min(this.rest.len())
            }
        };
        Poll::Ready(Some(Ok(Frame::data(this.rest.split_to(size)))))
    }

    fn is_end_stream(&self) -> bool {
        match self.pace {
            Pace::Events { has_ended, .. } => has_ended,
            _ => self.rest.is_empty(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        if let Pace::Events { .. } = self.pace {
            return SizeHint::default();
        }
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.line.answered();
    }
}
