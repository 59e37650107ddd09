//! An answer's body: whole, or trickling, or ending in the middle.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use tokio::time::{Instant, Sleep, sleep};

use crate::wire::Line;

/// A slow body comes in so many pieces.
const PIECES: u32 = 10;

/// The body of an answer; its end, or its drop, is the end of the answer.
pub(crate) struct AnswerBody {
    rest: Bytes,
    pace: Pace,
    line: Arc<Line>,
}

enum Pace {
    Whole,
    Half { sent: bool },
    Slow { piece: usize, pause: Duration, sleep: Pin<Box<Sleep>> },
}

impl AnswerBody {
    pub(crate) fn whole(bytes: Vec<u8>, line: Arc<Line>) -> Self {
        Self { rest: bytes.into(), pace: Pace::Whole, line }
    }

    /// Half of the bytes, then a reset.
    pub(crate) fn half(bytes: Vec<u8>, line: Arc<Line>) -> Self {
        Self { rest: bytes.into(), pace: Pace::Half { sent: false }, line }
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
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        let this = &mut *self;
        if this.rest.is_empty() {
            return Poll::Ready(None);
        }
        let size = match &mut this.pace {
            Pace::Whole => this.rest.len(),
            Pace::Half { sent } if !*sent && this.rest.len() > 1 => {
                *sent = true;
                this.rest.len() / 2
            }
            Pace::Half { .. } => {
                this.line.reset_when_flushed();
                // Nothing will wake this: flushing, which comes next, ends the connection.
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
        self.rest.is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::with_exact(self.rest.len() as u64)
    }
}

impl Drop for AnswerBody {
    fn drop(&mut self) {
        self.line.answered();
    }
}
