//! The body of a request. tonic ends a body with a frame of its own, even behind the only message there is:
//! one more frame for both sides, between which a gateway may answer already.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Frame, SizeHint};
use tonic::Status;
use tonic::body::Body;

/// What is sent in a call. A body of one message ends with the frame that holds the message's end.
#[derive(Debug)]
pub(super) struct Outgoing {
    body: Body,
    ahead: Ahead,
}

/// What is known of the frames behind the last one that was handed out.
#[derive(Debug)]
enum Ahead {
    /// Nothing: the body goes on when its messages are there. They count as sent when they are asked for,
    /// so none is asked for early.
    Unknown,
    /// Nothing yet, or that there are these bytes. A request has no trailers.
    Wanted(Option<Bytes>),
    /// There are none.
    End,
}

impl Outgoing {
    /// `is_single` if the body has one message, which is there.
    pub(super) fn new(body: Body, is_single: bool) -> Outgoing {
        let ahead = if is_single { Ahead::Wanted(None) } else { Ahead::Unknown };
        Outgoing { body, ahead }
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Outgoing { body, ahead } = &mut *self;
        let mut body = Pin::new(body);
        let next = match ahead {
            Ahead::Unknown => return body.poll_frame(cx),
            Ahead::End => return Poll::Ready(None),
            Ahead::Wanted(next) => next.take(),
        };
        let frame = match next {
            Some(bytes) => Frame::data(bytes),
            None => match ready!(body.as_mut().poll_frame(cx)?) {
                Some(frame) => frame,
                None => return Poll::Ready(None),
            },
        };
        match body.poll_frame(cx)? {
            Poll::Ready(Some(behind)) => *ahead = Ahead::Wanted(behind.into_data().ok()),
            Poll::Ready(None) => *ahead = Ahead::End,
            Poll::Pending => {}
        }
        Poll::Ready(Some(Ok(frame)))
    }

    fn is_end_stream(&self) -> bool {
        match &self.ahead {
            Ahead::Unknown | Ahead::Wanted(None) => self.body.is_end_stream(),
            Ahead::Wanted(Some(_)) => false,
            Ahead::End => true,
        }
    }

    fn size_hint(&self) -> SizeHint {
        SizeHint::default()
    }
}
