//! zstd (RFC 8878): one or more frames, of which some may be skipped.

use zstd_safe::{DCtx, DParameter, InBuffer, OutBuffer, get_error_name};

use super::{Codec, Step};

/// The largest window for content of HTTP, 8 MiB (RFC 9659), as a power of two.
const WINDOW: u32 = 23;

pub(super) struct Zstd {
    context: DCtx<'static>,
    is_between_frames: bool,
}

impl Zstd {
    pub(super) fn new() -> Zstd {
        let mut context = DCtx::create();
        // Fails only for a number that zstd does not know.
        let set = context.set_parameter(DParameter::WindowLogMax(WINDOW));
        debug_assert!(set.is_ok(), "zstd takes windows of this size");
        Zstd { context, is_between_frames: true }
    }
}

impl Codec for Zstd {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, &'static str> {
        if input.is_empty() && self.is_between_frames {
            // zstd would take this for the beginning of another frame.
            return Ok(Step { read: 0, written: 0 });
        }
        let (mut input, mut room) = (InBuffer::around(input), OutBuffer::around(room));
        let left = self.context.decompress_stream(&mut room, &mut input).map_err(get_error_name)?;
        self.is_between_frames = left == 0;
        Ok(Step { read: input.pos, written: room.pos() })
    }

    fn is_complete(&self) -> bool {
        self.is_between_frames
    }
}
