//! gzip (RFC 1952), and deflate with and without the envelope of zlib (RFC 1951, RFC 1950).

use flate2::{Decompress, FlushDecompress, Status};

use super::{Codec, Step};

/// The largest window of deflate, 32 KiB, as a power of two.
const WINDOW: u8 = 15;

/// The reason if no codec says more.
const WRONG: &str = "they are damaged";

/// One or more members of gzip, each with its checksum.
pub(super) struct Gzip {
    member: Decompress,
    is_ended: bool,
}

impl Gzip {
    pub(super) fn new() -> Gzip {
        Gzip { member: Decompress::new_gzip(WINDOW), is_ended: false }
    }
}

impl Codec for Gzip {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, &'static str> {
        if self.is_ended && !input.is_empty() {
            *self = Gzip::new();
        }
        let (step, is_ended) = step(&mut self.member, input, room)?;
        self.is_ended = is_ended;
        Ok(step)
    }

    fn is_complete(&self) -> bool {
        self.is_ended
    }
}

#[derive(Default)]
pub(super) struct Deflate {
    /// The first byte, while it is not known what follows.
    first: Option<u8>,
    content: Option<Decompress>,
    is_ended: bool,
}

impl Codec for Deflate {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, &'static str> {
        if self.is_ended && !input.is_empty() {
            return Err("more follows behind their end");
        }
        if let Some(content) = &mut self.content {
            let (step, is_ended) = step(content, input, room)?;
            self.is_ended = is_ended;
            return Ok(step);
        }
        let Some((&next, _)) = input.split_first() else {
            return Ok(Step { read: 0, written: 0 });
        };
        if let Some(first) = self.first {
            let content = self.content.insert(Decompress::new(is_zlib(first, next)));
            // One byte gives nothing yet.
            step(content, &[first], room)?;
            return self.step(input, room);
        }
        self.first = Some(next);
        Ok(Step { read: 1, written: 0 })
    }

    fn is_complete(&self) -> bool {
        self.is_ended
    }
}

/// Whether content that begins with these bytes is in the format of zlib: method 8, a window of at most 32 KiB, and
/// a check by which both bytes are a multiple of 31. As bare deflate they would be a block without compression
/// and with bits set that encoders leave clear.
fn is_zlib(first: u8, second: u8) -> bool {
    first & 0x0f == 8 && first >> 4 <= 7 && u16::from_be_bytes([first, second]).is_multiple_of(31)
}

fn step(
    content: &mut Decompress,
    input: &[u8],
    room: &mut [u8],
) -> Result<(Step, bool), &'static str> {
    let (taken, given) = (content.total_in(), content.total_out());
    let status = content.decompress(input, room, FlushDecompress::None).map_err(|_| WRONG)?;
    // Neither is more than what was passed.
    let read = usize::try_from(content.total_in() - taken).unwrap_or(input.len());
    let written = usize::try_from(content.total_out() - given).unwrap_or(room.len());
    Ok((Step { read, written }, status == Status::StreamEnd))
}
