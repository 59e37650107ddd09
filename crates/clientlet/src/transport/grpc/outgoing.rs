//! The bodies of requests.

use std::io::{self, Write as _};
use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll};

use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_core::Stream;
use http_body::{Body, Frame};

use super::super::multiplex::{Passage, Progress};

/// The flag and the length before a message, in bytes.
pub(super) const PREFIX: usize = 5;
/// The capacity for a few small messages. A larger message allocates its own.
const BUFFER: usize = 1 << 10;
/// The size at which no more messages are written together because they are ready together.
const TOGETHER: usize = 32 << 10;

/// The body of a call.
pub(super) struct Outgoing {
    messages: Messages,
    is_gzipped: bool,
}

enum Messages {
    /// Any number of messages, as they come.
    Stream(Pin<Box<dyn Stream<Item = Bytes> + Send>>, BytesMut),
    /// One message, with the end of the request in the same frame.
    One(Box<One>),
    /// The end of the body.
    End,
}

/// A message that is sent unless it is given up before.
struct One {
    message: Bytes,
    progress: Progress,
    passage: Passage,
}

impl Outgoing {
    pub(super) fn of_one(message: Bytes, progress: Progress, passage: Passage) -> Outgoing {
        let messages = Messages::One(Box::new(One { message, progress, passage }));
        Outgoing { messages, is_gzipped: false }
    }

    pub(super) fn of_stream(messages: impl Stream<Item = Bytes> + Send + 'static) -> Outgoing {
        let messages = Messages::Stream(Box::pin(messages), BytesMut::with_capacity(BUFFER));
        Outgoing { messages, is_gzipped: false }
    }

    /// Compresses the messages if `is_gzipped`.
    pub(super) fn gzipped(self, is_gzipped: bool) -> Outgoing {
        Outgoing { is_gzipped, ..self }
    }
}

impl Body for Outgoing {
    type Data = Bytes;
    type Error = io::Error;

    /// Returns all messages that are ready. HTTP/2 asks for them once they can be written.
    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<io::Result<Frame<Bytes>>>> {
        let Outgoing { messages, is_gzipped } = &mut *self;
        let frame = match messages {
            Messages::Stream(stream, buffer) => loop {
                match stream.as_mut().poll_next(cx) {
                    Poll::Ready(Some(message)) => put(message, *is_gzipped, buffer)?,
                    Poll::Pending if buffer.is_empty() => return Poll::Pending,
                    Poll::Pending => break buffer.split(),
                    Poll::Ready(None) => {
                        let frame = buffer.split();
                        *messages = Messages::End;
                        break frame;
                    }
                }
                if buffer.len() >= TOGETHER {
                    break buffer.split();
                }
            },
            Messages::One(one) => {
                let One { message, progress, passage } = &mut **one;
                let mut frame = BytesMut::new();
                if progress.enter(passage).is_some() {
                    put(mem::take(message), *is_gzipped, &mut frame)?;
                }
                *messages = Messages::End;
                frame
            }
            Messages::End => BytesMut::new(),
        };
        let frame = Some(frame).filter(|frame| !frame.is_empty());
        Poll::Ready(frame.map(|frame| Ok(Frame::data(frame.freeze()))))
    }

    fn is_end_stream(&self) -> bool {
        matches!(self.messages, Messages::End)
    }
}

/// Appends a message with its prefix.
fn put(message: Bytes, is_gzipped: bool, out: &mut BytesMut) -> io::Result<()> {
    let message = match is_gzipped {
        false => message,
        true => {
            let mut zipped = GzEncoder::new(Vec::new(), Compression::default());
            zipped.write_all(&message)?;
            zipped.finish()?.into()
        }
    };
    out.reserve(PREFIX.saturating_add(message.len()));
    out.put_u8(is_gzipped.into());
    out.put_u32(u32::try_from(message.len()).map_err(io::Error::other)?);
    out.put(message);
    Ok(())
}

#[cfg(test)]
mod tests {
    use std::io::Read as _;
    use std::task::Waker;

    use flate2::read::GzDecoder;
    use futures_util::stream;

    use super::*;

    fn frames(mut body: Outgoing) -> Vec<Bytes> {
        let mut cx = Context::from_waker(Waker::noop());
        let mut frames = Vec::new();
        while !body.is_end_stream() {
            match Pin::new(&mut body).poll_frame(&mut cx) {
                Poll::Ready(Some(frame)) => frames.extend(frame.unwrap().into_data()),
                Poll::Ready(None) => break,
                Poll::Pending => panic!("the stream is always ready"),
            }
        }
        frames
    }

    #[test]
    fn messages_that_are_ready_go_together_and_the_end_with_the_last() {
        let message = |n: usize| Bytes::from(vec![b'x'; n]);
        let sizes = [1, 2, TOGETHER, 3];
        let frames = frames(Outgoing::of_stream(stream::iter(sizes.map(message))));
        let lengths: Vec<usize> = frames.iter().map(Bytes::len).collect();
        assert_eq!(lengths, [1 + 2 + TOGETHER + 3 * PREFIX, 3 + PREFIX]);
        assert_eq!(frames[1], &b"\0\0\0\0\x03xxx"[..]);
    }

    #[test]
    fn a_compressed_message_has_its_flag_and_length() {
        let message = Bytes::from(vec![b'x'; 10_000]);
        let mut bytes = BytesMut::new();
        put(message.clone(), true, &mut bytes).unwrap();
        let length = u32::from_be_bytes(bytes[1..PREFIX].try_into().unwrap());
        assert_eq!((bytes[0], length as usize), (1, bytes.len() - PREFIX));
        assert!(bytes.len() < 200);
        let mut opened = Vec::new();
        GzDecoder::new(&bytes[PREFIX..]).read_to_end(&mut opened).unwrap();
        assert_eq!(opened, message);
    }
}
