//! The frames of gRPC messages, counted. tonic takes a stream that ends well for a whole one, even with
//! half a message at its end: the last document of a stream would be lost without a word.

use std::pin::Pin;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http_body::{Body, Frame};
use hyper::body::Incoming;

use super::channel::ChannelError;

/// The answers of a stream, which fails if it ends within one, unless with a status that tells why.
#[derive(Debug)]
pub(super) struct Answers {
    body: Incoming,
    frames: Frames,
}

impl Answers {
    pub(super) fn new(body: Incoming) -> Answers {
        Answers { body, frames: Frames::default() }
    }
}

impl Body for Answers {
    type Data = Bytes;
    type Error = ChannelError;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, ChannelError>>> {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(cx));
        let frame = frame.transpose().map_err(ChannelError::Lost)?;
        let ends_well = match &frame {
            None => true,
            Some(frame) => match frame.data_ref() {
                Some(data) => {
                    self.frames.advance(data);
                    false
                }
                None => frame.trailers_ref().is_none_or(|trailers| {
                    trailers.get("grpc-status").is_none_or(|status| status == "0")
                }),
            },
        };
        if ends_well && !self.frames.is_whole() {
            return Poll::Ready(Some(Err(ChannelError::Cut)));
        }
        Poll::Ready(frame.map(Ok))
    }
}

/// A flag and a length, in four bytes.
const PREFIX: usize = 5;

/// Where the bytes that have come end.
#[derive(Debug, Default)]
struct Frames {
    prefix: [u8; PREFIX],
    /// How much of the prefix has come.
    filled: usize,
    /// How much of the message is to come.
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
                // Saturating where a usize has 16 bits: such a message is beyond any limit.
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
    fn frames_are_whole_at_their_ends_alone_however_they_are_split() {
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
