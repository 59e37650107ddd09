//! Messages that are encoded already, through tonic as they are.

use bytes::{Buf, BufMut, Bytes};
use tonic::Status;
use tonic::codec::{BufferSettings, Codec, DecodeBuf, Decoder, EncodeBuf, Encoder};

/// Bytes in, bytes out.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw {
    /// The sizes of the buffers that are made before the first message, in bytes.
    to_send: usize,
    to_receive: usize,
}

/// Room for a small message and its frame; a larger one makes its own.
const BUFFER: usize = 1 << 10;
/// The bytes that stand before a message.
const PREFIX: usize = 5;

impl Raw {
    /// For any number of messages.
    pub(super) const STREAM: Raw = Raw { to_send: BUFFER, to_receive: BUFFER };

    /// For a request of one message with this length. Its buffers are no larger than the messages:
    /// calls come and go by the thousand, and what they allocate counts.
    pub(super) fn of_one(length: usize) -> Raw {
        Raw { to_send: PREFIX.saturating_add(length), to_receive: 0 }
    }
}

/// Messages that are ready together are written together, up to so many bytes.
const TOGETHER: usize = 32 << 10;

impl Codec for Raw {
    type Encode = Bytes;
    type Decode = Bytes;
    type Encoder = Raw;
    type Decoder = Raw;

    fn encoder(&mut self) -> Raw {
        *self
    }

    fn decoder(&mut self) -> Raw {
        *self
    }
}

impl Encoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn encode(&mut self, message: Bytes, out: &mut EncodeBuf<'_>) -> Result<(), Status> {
        out.reserve(message.len());
        out.put(message);
        Ok(())
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(self.to_send, TOGETHER)
    }
}

impl Decoder for Raw {
    type Item = Bytes;
    type Error = Status;

    fn decode(&mut self, buffer: &mut DecodeBuf<'_>) -> Result<Option<Bytes>, Status> {
        // The buffer's own memory, not a copy.
        Ok(Some(buffer.copy_to_bytes(buffer.remaining())))
    }

    fn buffer_settings(&self) -> BufferSettings {
        BufferSettings::new(self.to_receive, TOGETHER)
    }
}
