//! Decompresses a message.

use std::task::{Context, Poll, ready};

use bytes::{Bytes, BytesMut};
use tokio::task::coop;

use super::super::multiplex::Ending;
use super::failure;
use crate::compression::{Coding, Decoder, Fault};

/// What the head and the blocks of gzip or deflate take beside their content, at most: nothing that cannot be compressed grows
/// by more than a part of itself.
const HEAD: usize = 1 << 10;
const PART: usize = 1 << 7;

/// A message on its way through its decoder.
#[derive(Debug)]
pub(super) struct Inflating {
    decoder: Decoder,
    message: BytesMut,
    limit: usize,
}

impl Inflating {
    /// `limit` is the maximum size of the message without its compression, in bytes.
    pub(super) fn new(coding: Coding, compressed: Bytes, limit: usize) -> Inflating {
        let mut decoder = Decoder::new(coding);
        decoder.add(compressed);
        Inflating { decoder, message: BytesMut::new(), limit }
    }

    /// The maximum size of a compressed message, in bytes, for this limit without its compression.
    pub(super) fn most(limit: usize) -> usize {
        limit.saturating_add(limit / PART).saturating_add(HEAD)
    }

    /// Decompresses a part of the message, and all of it once that is done. It waits for nothing but the turns of
    /// other tasks.
    pub(super) fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Result<Bytes, Ending>> {
        loop {
            ready!(coop::poll_proceed(cx)).made_progress();
            if !self.decoder.step(&mut self.message).map_err(unreadable)? {
                self.decoder.finish().map_err(unreadable)?;
                return Poll::Ready(Ok(std::mem::take(&mut self.message).freeze()));
            }
            if self.message.len() > self.limit {
                return Poll::Ready(Err(failure::inflates_too_much(self.limit)));
            }
        }
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for `map_err`")]
fn unreadable(fault: Fault) -> Ending {
    failure::unreadable(&fault.what())
}
