//! br (RFC 7932).

use brotli_decompressor::{
    Allocator, BrotliDecompressStream, BrotliResult, BrotliState, HuffmanCode, SliceWrapper,
    SliceWrapperMut,
};

use super::{Codec, Step};

pub(super) struct Br {
    state: Box<BrotliState<Heap, Heap, Heap>>,
    is_ended: bool,
}

impl Br {
    pub(super) fn new() -> Br {
        // Strict: without windows beyond 16 MiB, which are not in the RFC.
        Br { state: Box::new(BrotliState::new_strict(Heap, Heap, Heap)), is_ended: false }
    }
}

impl Codec for Br {
    fn step(&mut self, input: &[u8], room: &mut [u8]) -> Result<Step, &'static str> {
        if self.is_ended {
            return match input {
                [] => Ok(Step { read: 0, written: 0 }),
                _ => Err("more follows behind their end"),
            };
        }
        let (mut read, mut written, mut total) = (0, 0, 0);
        let (mut unread, mut left) = (input.len(), room.len());
        let result = BrotliDecompressStream(
            &mut unread,
            &mut read,
            input,
            &mut left,
            &mut written,
            room,
            &mut total,
            &mut self.state,
        );
        match result {
            BrotliResult::ResultFailure => return Err("they are damaged"),
            BrotliResult::ResultSuccess => self.is_ended = true,
            BrotliResult::NeedsMoreInput | BrotliResult::NeedsMoreOutput => {}
        }
        Ok(Step { read, written })
    }

    fn is_complete(&self) -> bool {
        self.is_ended
    }
}

/// Allocates as `Vec` does. The decoder asks for no more than its window and a few hundred KiB.
struct Heap;

#[derive(Default)]
struct Cells<T>(Vec<T>);

impl<T> SliceWrapper<T> for Cells<T> {
    fn slice(&self) -> &[T] {
        &self.0
    }
}

impl<T> SliceWrapperMut<T> for Cells<T> {
    fn slice_mut(&mut self) -> &mut [T] {
        &mut self.0
    }
}

macro_rules! allocates {
    ($($cell:ty),*) => {
        $(impl Allocator<$cell> for Heap {
            type AllocatedMemory = Cells<$cell>;

            fn alloc_cell(&mut self, count: usize) -> Cells<$cell> {
                Cells(vec![<$cell>::default(); count])
            }

            fn free_cell(&mut self, _: Cells<$cell>) {}
        })*
    };
}

allocates!(u8, u32, HuffmanCode);
