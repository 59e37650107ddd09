//! Reads the messages that answer a call, and how the call ends.

use std::future::poll_fn;
use std::mem::take;
use std::ops::Range;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use ::http::HeaderMap;
use bytes::{Bytes, BytesMut};
use http_body::Body;
use hyper::body::Incoming;

use super::super::multiplex::Ending;
use super::head::Head;
#[cfg(feature = "compression")]
use super::inflating::Inflating;
use super::outgoing::PREFIX;
use super::{failure, status};
#[cfg(feature = "compression")]
use crate::compression::Coding;

/// The size from which the messages of a stream share the buffer they were read into. Smaller ones
/// are copied, because they would keep a buffer of many times their size from being reused.
pub(super) const SHARED_FROM: usize = 4 << 10;

/// The answers of a call, message by message. Any end other than status OK is an error.
#[derive(Debug)]
pub(super) struct Answers {
    body: Incoming,
    end: End,
    frames: Frames,
    /// The message that is being decompressed.
    #[cfg(feature = "compression")]
    inflating: Option<Inflating>,
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
    /// Reads the body of an answer with this head. A status that the head contains is OK. `limit` is the
    /// maximum size of a message without its compression, in bytes.
    pub(super) fn new(body: Incoming, head: Head, limit: usize) -> Answers {
        let end = if head.is_told { End::Told } else { End::Open };
        let frames = Frames {
            #[cfg(feature = "compression")]
            coding: head.coding,
            ..Frames::new(limit)
        };
        Answers {
            body,
            end,
            frames,
            #[cfg(feature = "compression")]
            inflating: None,
        }
    }

    /// Copies messages that are smaller than [`SHARED_FROM`].
    pub(super) fn copying(mut self) -> Answers {
        self.frames.shared_from = SHARED_FROM;
        self
    }

    /// Returns the next message; `None` once the call has ended well. Dropping the future loses
    /// nothing.
    pub(super) async fn message(&mut self) -> Result<Option<Bytes>, Ending> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Result<Option<Bytes>, Ending>> {
        loop {
            #[cfg(feature = "compression")]
            if let Some(inflating) = &mut self.inflating {
                let message = ready!(inflating.poll(cx));
                self.inflating = None;
                return Poll::Ready(message.map(Some));
            }
            match self.frames.next()? {
                Some((Flag::Plain, message)) => return Poll::Ready(Ok(Some(message))),
                #[cfg(feature = "compression")]
                Some((Flag::Compressed, message)) => {
                    let Frames { limit, coding, .. } = self.frames;
                    self.inflating = coding.map(|coding| Inflating::new(coding, message, limit));
                    continue;
                }
                None => {}
            }
            if self.end == End::Over {
                return Poll::Ready(Ok(None));
            }
            let frame = match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(frame) => frame.map_err(failure::lost)?,
                None => return Poll::Ready(self.finish(None).map(|()| None)),
            };
            match frame.into_data() {
                Ok(data) => self.frames.add(data),
                // In HTTP/2 a body has no other frames than data and trailers.
                Err(frame) => {
                    if let Ok(trailers) = frame.into_trailers() {
                        return Poll::Ready(self.finish(Some(&trailers)).map(|()| None));
                    }
                }
            }
        }
    }

    /// Decides what the end of the body means, with or without trailers.
    fn finish(&mut self, trailers: Option<&HeaderMap>) -> Result<(), Ending> {
        let told = trailers.and_then(status::read).transpose()?;
        if !self.frames.is_whole() {
            return Err(failure::cut("the stream ended within a message"));
        }
        if told.is_none() && self.end == End::Open {
            return Err(failure::cut("the stream ended without a status"));
        }
        self.end = End::Over;
        Ok(())
    }
}

/// Whether a message is compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Flag {
    Plain,
    #[cfg(feature = "compression")]
    Compressed,
}

/// The bytes of messages that have come and were not taken.
#[derive(Debug)]
struct Frames {
    /// The maximum size of a message without its compression.
    limit: usize,
    /// How messages may be compressed.
    #[cfg(feature = "compression")]
    coding: Option<Coding>,
    /// The size from which the messages share the bytes that have come.
    shared_from: usize,
    /// Bytes that are divided without copying them.
    shared: Bytes,
    /// Bytes of messages that came in pieces or are copied. Empty while `shared` is not.
    copied: BytesMut,
}

impl Frames {
    fn new(limit: usize) -> Frames {
        Frames {
            limit,
            #[cfg(feature = "compression")]
            coding: None,
            shared_from: 0,
            shared: Bytes::new(),
            copied: BytesMut::new(),
        }
    }

    /// Adds bytes, once no whole message is left.
    fn add(&mut self, data: Bytes) {
        if self.copied.is_empty() && data.len() >= self.shared_from {
            self.shared = data;
        } else {
            self.copied.extend_from_slice(&data);
        }
    }

    /// Returns the next message, if all of it has come.
    fn next(&mut self) -> Result<Option<(Flag, Bytes)>, Ending> {
        if !self.shared.is_empty() {
            let whole = self.place(&self.shared)?;
            if let Some((flag, place)) = whole.filter(|(_, place)| place.end <= self.shared.len()) {
                return Ok(Some((flag, self.shared.split_to(place.end).slice(place))));
            }
            self.copied.extend_from_slice(&take(&mut self.shared));
        }
        match self.place(&self.copied)? {
            Some((flag, place)) if place.end <= self.copied.len() => {
                Ok(Some((flag, self.copied.split_to(place.end).freeze().slice(place))))
            }
            Some((_, place)) => {
                self.copied.reserve(place.end - self.copied.len());
                Ok(None)
            }
            None => Ok(None),
        }
    }

    fn is_whole(&self) -> bool {
        self.shared.is_empty() && self.copied.is_empty()
    }

    /// Returns the place of the first message in these bytes, once its prefix has come.
    fn place(&self, bytes: &[u8]) -> Result<Option<(Flag, Range<usize>)>, Ending> {
        let Some((&[flag, ref length @ ..], _)) = bytes.split_first_chunk::<PREFIX>() else {
            return Ok(None);
        };
        let (flag, most) = match flag {
            0 => (Flag::Plain, self.limit),
            #[cfg(feature = "compression")]
            1 if self.coding.is_some() => (Flag::Compressed, Inflating::most(self.limit)),
            _ => {
                let what = format!(
                    "its message has flag {flag}, for a compression that was not announced"
                );
                return Err(failure::unreadable(&what));
            }
        };
        // Saturates if a usize has 16 bits. Such a message is beyond any limit.
        let length = usize::try_from(u32::from_be_bytes(*length)).unwrap_or(usize::MAX);
        if length > most {
            return Err(failure::too_large(length, self.limit));
        }
        Ok(Some((flag, PREFIX..PREFIX + length)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Event;

    #[test]
    fn messages_are_whole_however_they_are_split() {
        let stream = [&[0, 0, 0, 0, 3][..], b"abc", &[0, 0, 0, 0, 0], &[0, 0, 0, 1, 0], &[7; 256]];
        let ends = [0, 8, 13, 13 + 5 + 256];
        let stream = stream.concat();
        for (size, shared_from) in (1..=stream.len()).flat_map(|n| [(n, 0), (n, 9), (n, 999)]) {
            let mut frames = Frames { shared_from, ..Frames::new(256) };
            let (mut messages, mut at) = (Vec::new(), 0);
            for piece in stream.chunks(size) {
                frames.add(Bytes::copy_from_slice(piece));
                let next = || frames.next().unwrap().map(|(_, message)| message);
                messages.extend(std::iter::from_fn(next));
                at += piece.len();
                assert_eq!(frames.is_whole(), ends.contains(&at), "{at} in pieces of {size}");
            }
            assert_eq!(messages, [&b"abc"[..], b"", &[7; 256]]);
        }
    }

    #[test]
    fn a_message_beyond_the_limit_or_with_a_flag_is_an_error() {
        let five = Frames::new(5);
        assert!(matches!(five.place(&[0, 0, 0, 0]), Ok(None)));
        assert_eq!(five.place(&[0, 0, 0, 0, 5]).unwrap(), Some((Flag::Plain, 5..10)));
        let large = Frames::new(4).place(&[0, 0, 0, 0, 5]).unwrap_err();
        assert_eq!(large.event, Event::TooLarge);
        assert_eq!(large.what, "an answer of 5 bytes is larger than the limit of 4 bytes");
        assert_eq!(five.place(b"\x01\0\0\0\0").unwrap_err().event, Event::Unreadable);
        #[cfg(feature = "compression")]
        let five = Frames { coding: Some(Coding::Gzip), ..five };
        assert_eq!(five.place(b"\x02\0\0\0\0").unwrap_err().event, Event::Unreadable);
    }
}
