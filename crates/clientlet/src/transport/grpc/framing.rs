//! Counts the frames of gRPC messages and checks how a call ends. tonic accepts a stream that ends
//! within a message, so the last document of a stream could be lost silently. tonic also reads
//! trailers with an `expect`, so tonic gets none of the peer's trailers.

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::channel::ChannelError;
use super::status;
use crate::error::GrpcCode;

/// The answers of a call: messages, then trailers of our own if the call ended well. Any other end
/// is an error.
#[derive(Debug)]
pub(super) struct Answers {
    body: Incoming,
    frames: Frames,
    end: End,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum End {
    /// The status must come in the trailers.
    Open,
    /// The head has the status OK. The call must end without trailers.
    Told,
    /// The status has come.
    Over,
}

impl Answers {
    /// Wraps the body of an answer. `is_told` means that the head already contains a status, which
    /// is OK.
    pub(super) fn new(body: Incoming, is_told: bool) -> Answers {
        let end = if is_told { End::Told } else { End::Open };
        Answers { body, frames: Frames::default(), end }
    }

    /// Returns the next bytes of messages; `None` once the call has ended well.
    pub(super) async fn data(&mut self) -> Result<Option<Bytes>, ChannelError> {
        poll_fn(|cx| self.poll_data(cx)).await
    }

    fn poll_data(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, ChannelError>> {
        if self.end == End::Over {
            return Poll::Ready(Ok(None));
        }
        loop {
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => frame.map_err(ChannelError::lost)?,
                None => return Poll::Ready(self.finish(None).map(|()| None)),
            };
            let frame = match frame.into_data() {
                Ok(data) => {
                    self.frames.advance(&data);
                    return Poll::Ready(Ok(Some(data)));
                }
                Err(frame) => frame,
            };
            // In HTTP/2 a body has no other frames.
            if let Ok(trailers) = frame.into_trailers() {
                return Poll::Ready(self.finish(Some(&trailers)).map(|()| None));
            }
        }
    }

    /// Decides what the end of the body means, with or without trailers.
    fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), ChannelError> {
        let told = trailers.map(status::read).transpose().map_err(ChannelError::Unreadable)?;
        match told.flatten() {
            Some(told) if told.code != GrpcCode::Ok => return Err(ChannelError::Told(told)),
            _ if !self.frames.is_whole() => {
                return Err(ChannelError::Cut("the stream ended within a message"));
            }
            None if self.end == End::Open => {
                return Err(ChannelError::Cut("the stream ended without a status"));
            }
            _ => {}
        }
        self.end = End::Over;
        Ok(())
    }
}

/// For tonic, which takes the status from trailers.
impl Body for Answers {
    type Data = Bytes;
    type Error = ChannelError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ChannelError>>> {
        if self.end == End::Over {
            return Poll::Ready(None);
        }
        Poll::Ready(Some(Ok(match ready!(self.poll_data(cx))? {
            Some(data) => Frame::data(data),
            None => {
                let ok = HeaderValue::from_static("0");
                Frame::trailers(HeaderMap::from_iter([(status::STATUS.clone(), ok)]))
            }
        })))
    }
}

/// The bytes before a message: a flag, and a length in four bytes.
const PREFIX: usize = 5;

/// The position in the frames of messages after the bytes that have come.
#[derive(Debug, Default)]
struct Frames {
    prefix: [u8; PREFIX],
    /// The number of bytes of the prefix that have come.
    filled: usize,
    /// The number of bytes of the message that are still to come.
    left: usize,
}

impl Frames {
    fn advance(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let taken = self.left.min(bytes.len());
                self.left -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (PREFIX - self.filled).min(bytes.len());
            let (next, rest) = bytes.split_at(taken);
            self.prefix[self.filled..][..taken].copy_from_slice(next);
            self.filled += taken;
            bytes = rest;
            if self.filled == PREFIX {
                let [_, length @ ..] = self.prefix;
                // Saturates if a usize has 16 bits. Such a message is beyond any limit.
                self.left = usize::try_from(u32::from_be_bytes(length)).unwrap_or(usize::MAX);
                self.filled = 0;
            }
        }
    }

    fn is_whole(&self) -> bool {
        self.left == 0 && self.filled == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_are_whole_only_at_their_ends_however_they_are_split() {
        let stream = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[1, 0, 0, 1, 0], &[7; 256]];
        let ends = [0, 8, 13, 13 + 5 + 256];
        let stream = stream.concat();
        for size in 1..=stream.len() {
            let (mut frames, mut at) = (Frames::default(), 0);
            for piece in stream.chunks(size) {
                assert_eq!(frames.is_whole(), ends.contains(&at), "{at} in pieces of {size}");
                frames.advance(piece);
                at += piece.len();
            }
            assert!(frames.is_whole());
        }
    }
}
