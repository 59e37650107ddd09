//! The bodies of requests.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::Bytes;
use http_body::Frame;
use tonic::Status;
use tonic::body::Body;

use super::super::multiplex::{Passage, Progress};
use super::single::framed;

/// The body of a call.
#[derive(Debug)]
pub(super) enum Outgoing {
    /// Any number of messages, framed by tonic.
    Stream(Body),
    /// One message, with the end of the request in the same frame. tonic sends the end in a
    /// separate frame, and a gateway may answer before that frame.
    One(Box<One>),
    /// The end of the body.
    End,
}

/// A message that is sent unless it is given up before.
#[derive(Debug)]
pub(super) struct One {
    message: Bytes,
    is_gzipped: bool,
    progress: Progress,
    passage: Passage,
}

impl Outgoing {
    /// Returns the body of a request with one message.
    pub(super) fn of_one(
        message: Bytes,
        is_gzipped: bool,
        progress: Progress,
        passage: Passage,
    ) -> Outgoing {
        Outgoing::One(Box::new(One { message, is_gzipped, progress, passage }))
    }
}

impl http_body::Body for Outgoing {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        if let Outgoing::Stream(body) = &mut *self {
            return Pin::new(body).poll_frame(cx);
        }
        // HTTP/2 asks for the body once it can be written.
        Poll::Ready(match mem::replace(&mut *self, Outgoing::End) {
            Outgoing::One(one) if one.progress.enter(&one.passage).is_some() => {
                let framed = framed(&one.message, one.is_gzipped);
                Some(framed.map(Frame::data).map_err(|error| Status::internal(error.to_string())))
            }
            _ => None,
        })
    }

    fn is_end_stream(&self) -> bool {
        match self {
            Outgoing::Stream(body) => body.is_end_stream(),
            Outgoing::One(_) => false,
            Outgoing::End => true,
        }
    }
}
