//! The messages that arrive on a stream. Each has five bytes before it, a flag and a length.

use std::io::Read;
use std::task::{Context, Poll, ready};

use bytes::{Buf, Bytes, BytesMut};
use flate2::read::{GzDecoder, ZlibDecoder};
use h2::RecvStream;
use http::{HeaderMap, HeaderValue};

use super::status::Status;

/// The bytes before a message.
pub(super) const PREFIX: usize = 5;
/// The largest message, compressed or not, as over WebSocket.
const LARGEST: usize = 1 << 30;

/// Why no more messages are read.
#[derive(Debug)]
pub(super) enum Broken {
    /// The client reset the stream, or is gone.
    Gone,
    Status(Status),
}

/// How messages with the compression flag are compressed.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Compression {
    None,
    Gzip,
    Deflate,
}

/// The incoming side of a stream.
pub(super) struct Inbox {
    body: RecvStream,
    compression: Compression,
    parts: Parts,
}

impl Inbox {
    /// # Errors
    ///
    /// The client compresses in an unknown way.
    pub(super) fn new(headers: &HeaderMap, body: RecvStream) -> Result<Self, Status> {
        let compression = match headers.get("grpc-encoding").map(HeaderValue::as_bytes) {
            None | Some(b"identity") => Compression::None,
            Some(b"gzip") => Compression::Gzip,
            Some(b"deflate") => Compression::Deflate,
            Some(_) => return Err(Status::unimplemented("the compression is not supported")),
        };
        Ok(Self { body, compression, parts: Parts::default() })
    }

    /// Returns the body with the messages that were not read.
    pub(super) fn into_body(self) -> RecvStream {
        self.body
    }

    /// The next message; `None` at the end of the stream.
    pub(super) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Bytes, Broken>>> {
        loop {
            if let Some(message) = self.parts.next(self.compression).transpose() {
                return Poll::Ready(Some(message.map_err(Broken::Status)));
            }
            match ready!(self.body.poll_data(cx)) {
                Some(Ok(chunk)) => {
                    // The client may send the same number of bytes again. This fails if the stream
                    // has ended.
                    let _ = self.body.flow_control().release_capacity(chunk.len());
                    self.parts.chunk = chunk;
                }
                Some(Err(_)) => return Poll::Ready(Some(Err(Broken::Gone))),
                None if self.parts.partial.is_empty() => return Poll::Ready(None),
                None => {
                    let cut = Status::internal("the stream ended within a message");
                    return Poll::Ready(Some(Err(Broken::Status(cut))));
                }
            }
        }
    }
}

/// Puts messages together. A message that came in one piece is not copied.
#[derive(Default)]
struct Parts {
    chunk: Bytes,
    /// The beginning of a message that did not come whole.
    partial: BytesMut,
}

impl Parts {
    /// Returns the next message if all of it has arrived. Otherwise the chunk is used up.
    fn next(&mut self, compression: Compression) -> Result<Option<Bytes>, Status> {
        let whole = if self.partial.is_empty() {
            match length(&self.chunk)? {
                Some(length) if self.chunk.len() >= length => self.chunk.split_to(length),
                _ => {
                    self.partial.extend_from_slice(&self.chunk);
                    self.chunk.clear();
                    return Ok(None);
                }
            }
        } else {
            // First the prefix, then what it says.
            loop {
                let wanted = length(&self.partial)?.unwrap_or(PREFIX);
                let missing = wanted - self.partial.len();
                if missing == 0 {
                    break self.partial.split().freeze();
                }
                let taken = missing.min(self.chunk.len());
                if taken == 0 {
                    return Ok(None);
                }
                self.partial.extend_from_slice(&self.chunk.split_to(taken));
            }
        };
        open(whole, compression).map(Some)
    }
}

/// The length of a message with its prefix; `None` while the prefix has not arrived.
fn length(bytes: &[u8]) -> Result<Option<usize>, Status> {
    let Some(length) = bytes.get(1..PREFIX) else { return Ok(None) };
    // The slice has four bytes.
    let length = u32::from_be_bytes(length.try_into().unwrap_or_default()) as usize;
    if length > LARGEST {
        return Err(Status::new(8, "the message is too large"));
    }
    Ok(Some(PREFIX + length))
}

/// A message without its prefix and compression.
fn open(mut whole: Bytes, compression: Compression) -> Result<Bytes, Status> {
    let flag = whole[0];
    whole.advance(PREFIX);
    match (flag, compression) {
        (0, _) => Ok(whole),
        (1, Compression::Gzip) => inflate(GzDecoder::new(&*whole)),
        (1, Compression::Deflate) => inflate(ZlibDecoder::new(&*whole)),
        _ => Err(Status::internal("the message is compressed in a way that was not announced")),
    }
}

fn inflate(reader: impl Read) -> Result<Bytes, Status> {
    let mut message = Vec::new();
    let read = reader.take(LARGEST as u64 + 1).read_to_end(&mut message);
    match read {
        Ok(length) if length <= LARGEST => Ok(message.into()),
        Ok(_) => Err(Status::new(8, "the message is too large")),
        Err(_) => Err(Status::internal("the message cannot be decompressed")),
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use flate2::write::{GzEncoder, ZlibEncoder};

    use super::*;

    fn framed(flag: u8, message: &[u8]) -> Vec<u8> {
        [&[flag][..], &(message.len() as u32).to_be_bytes(), message].concat()
    }

    #[test]
    fn messages_are_found_however_they_are_cut() {
        let bytes = [framed(0, b"one"), framed(0, b""), framed(0, b"three")].concat();
        for size in 1..=bytes.len() {
            let mut parts = Parts::default();
            let mut messages = Vec::new();
            for chunk in bytes.chunks(size) {
                parts.chunk = Bytes::copy_from_slice(chunk);
                while let Some(message) = parts.next(Compression::None).unwrap() {
                    messages.push(message);
                }
            }
            assert_eq!(messages, [&b"one"[..], b"", b"three"], "{size}");
            assert!(parts.partial.is_empty());
        }
    }

    #[test]
    fn compressed_messages_are_opened_as_announced() {
        let mut gzip = GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"hello").unwrap();
        let gzip = gzip.finish().unwrap();
        let mut deflate = ZlibEncoder::new(Vec::new(), flate2::Compression::fast());
        deflate.write_all(b"hello").unwrap();
        let deflate = deflate.finish().unwrap();
        for (compression, flag, message, opened) in [
            (Compression::Gzip, 1, &gzip[..], Ok(&b"hello"[..])),
            (Compression::Deflate, 1, &deflate, Ok(b"hello")),
            (Compression::Gzip, 0, b"plain", Ok(b"plain")),
            (Compression::None, 1, &gzip, Err(13)),
            (Compression::Deflate, 1, &gzip, Err(13)),
            (Compression::None, 2, b"odd", Err(13)),
        ] {
            let opened = opened.map(Bytes::from_static);
            let found = open(framed(flag, message).into(), compression);
            assert_eq!(found.map_err(|status| status.code), opened);
        }
        assert_eq!(length(&[0, 0xff, 0, 0, 0]).unwrap_err().code, 8);
    }
}
