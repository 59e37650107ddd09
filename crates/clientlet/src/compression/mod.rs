//! Decompresses content piece by piece, as it comes.
//!
//! One step takes and gives at most [`PIECE`] bytes, so no content, however it was made, holds up the task that
//! reads it. The memory of a decoder does not depend on the content: a window of at most 32 KiB for gzip and deflate,
//! 8 MiB for zstd and 16 MiB for br, which is the most that the format has.

mod br;
mod zlib;
mod zstd;

use bytes::{Buf, Bytes, BytesMut};

/// The maximum number of bytes that a step takes, and the maximum number that it gives.
pub(crate) const PIECE: usize = 16 << 10;
/// The minimum room for a step, so that short content does not keep a large buffer.
const LEAST_ROOM: usize = 1 << 10;

/// What no honest content exceeds: this many compressed bytes for each decompressed byte, and [`SPARE`] bytes
/// beside. Otherwise empty blocks, which give nothing, could be sent without an end. A server that flushes after
/// each byte sends seven.
const MOST_FOR_A_BYTE: u64 = 8;
const SPARE: u64 = 64 << 10;

/// The codings that can be read, for `Accept-Encoding`.
pub(crate) const ACCEPTED: &str = "gzip, deflate, br, zstd";

/// A way in which content may be compressed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Coding {
    Gzip,
    /// In the format of zlib, as RFC 9110 wants it, or bare, as some servers send it.
    Deflate,
    Brotli,
    Zstd,
}

impl Coding {
    /// The coding of this name in `Content-Encoding`.
    pub(crate) fn of(name: &str) -> Option<Coding> {
        let is = |other: &str| name.eq_ignore_ascii_case(other);
        [Coding::Gzip, Coding::Deflate, Coding::Brotli, Coding::Zstd]
            .into_iter()
            .find(|coding| is(coding.name()) || *coding == Coding::Gzip && is("x-gzip"))
    }

    pub(crate) fn name(self) -> &'static str {
        match self {
            Coding::Gzip => "gzip",
            Coding::Deflate => "deflate",
            Coding::Brotli => "br",
            Coding::Zstd => "zstd",
        }
    }
}

/// The reason why content cannot be decompressed.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Fault {
    /// The content ends too early.
    Cut(Coding),
    /// The content breaks the rules of its coding.
    Broken(Coding, &'static str),
    /// There is far more compressed content than it gives.
    Padded(Coding),
}

impl Fault {
    pub(crate) fn what(&self) -> String {
        match self {
            Fault::Cut(coding) => format!("its {} data end too early", coding.name()),
            Fault::Broken(coding, why) => {
                format!("its {} data cannot be decompressed: {why}", coding.name())
            }
            Fault::Padded(coding) => {
                format!("its {} data are much longer than what they give", coding.name())
            }
        }
    }
}

/// One way of decompressing. A step reads from the input and writes to the beginning of the room, which is
/// never empty.
trait Codec {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, &'static str>;

    /// Whether the content may end after what was read and written.
    fn is_complete(&self) -> bool;
}

/// The number of bytes that a step read and wrote.
#[derive(Clone, Copy, Debug)]
struct Step {
    read: usize,
    written: usize,
}

/// Content on its way through a codec.
pub(crate) struct Decoder {
    coding: Coding,
    codec: Box<dyn Codec + Send + Sync>,
    /// The bytes that have come and were not taken.
    input: Bytes,
    /// Whether the last step filled its room, so that the codec may have more without further input.
    is_filled: bool,
    /// The number of bytes that were taken, and of bytes that were given.
    taken: u64,
    given: u64,
}

impl Decoder {
    pub(crate) fn new(coding: Coding) -> Decoder {
        let codec: Box<dyn Codec + Send + Sync> = match coding {
            Coding::Gzip => Box::new(zlib::Gzip::new()),
            Coding::Deflate => Box::new(zlib::Deflate::default()),
            Coding::Brotli => Box::new(br::Br::new()),
            Coding::Zstd => Box::new(zstd::Zstd::new()),
        };
        Decoder { coding, codec, input: Bytes::new(), is_filled: false, taken: 0, given: 0 }
    }

    /// Adds the bytes that came next, once `step` has returned `false`.
    pub(crate) fn add(&mut self, bytes: Bytes) {
        debug_assert!(self.input.is_empty(), "the bytes before these would be lost");
        self.input = bytes;
    }

    /// Decompresses a little and appends the result. Returns `false` if there is nothing to decompress until
    /// further bytes are added.
    pub(crate) fn step(&mut self, out: &mut BytesMut) -> Result<bool, Fault> {
        if self.input.is_empty() && !self.is_filled {
            return Ok(false);
        }
        let input = &self.input[..self.input.len().min(PIECE)];
        let room = match self.is_filled {
            true => PIECE,
            false => input.len().saturating_mul(4).clamp(LEAST_ROOM, PIECE),
        };
        let before = out.len();
        out.resize(before + room, 0);
        let step = self.codec.step(input, &mut out[before..]);
        let step = step.map_err(|why| Fault::Broken(self.coding, why))?;
        out.truncate(before + step.written);
        let is_stuck = step.read == 0 && step.written == 0 && !input.is_empty();
        self.input.advance(step.read);
        self.is_filled = step.written == room;
        self.taken += step.read as u64;
        self.given += step.written as u64;
        if is_stuck {
            return Err(Fault::Broken(self.coding, "they cannot be read further"));
        }
        if self.taken > self.given.saturating_mul(MOST_FOR_A_BYTE).saturating_add(SPARE) {
            return Err(Fault::Padded(self.coding));
        }
        Ok(true)
    }

    /// Checks that the content is complete, once no more bytes come. No bytes at all are complete: they are the
    /// empty content of an answer that has none.
    pub(crate) fn finish(&self) -> Result<(), Fault> {
        match self.taken == 0 || self.codec.is_complete() {
            true => Ok(()),
            false => Err(Fault::Cut(self.coding)),
        }
    }
}

impl std::fmt::Debug for Decoder {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Decoder").field("coding", &self.coding).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
