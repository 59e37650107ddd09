//! Writes protobuf's format, front to back.

use super::MOST_DEPTH;
use crate::document::grid::Grid;
use crate::document::refusal::Refusal;
use crate::message::DocArray;

/// The wire types: how a value lies on the wire.
pub(super) const VARINT: u32 = 0;
pub(super) const FIXED64: u32 = 1;
pub(super) const LENGTH: u32 = 2;
pub(super) const FIXED32: u32 = 5;

/// The depth of a document below the outermost message: request, data, list, document. `INSIDE` is
/// the depth of a value below the last message that [`Writer::open`] checks: entry, node, array,
/// dense array.
const AROUND: usize = 3;
const INSIDE: usize = 4;

/// Returns the number of bytes that a varint takes.
pub(crate) fn varint_size(n: u64) -> usize {
    ((n | 1).ilog2() as usize / 7) + 1
}

pub(crate) fn put_varint(mut n: u64, out: &mut Vec<u8>) {
    while n >= 0x80 {
        out.push(n as u8 | 0x80);
        n >>= 7;
    }
    out.push(n as u8);
}

/// Writes the tag of a field and the length of its content, which follows.
pub(crate) fn put_length(number: u32, length: usize, out: &mut Vec<u8>) {
    put_varint((number << 3 | LENGTH).into(), out);
    put_varint(length as u64, out);
}

/// Writes a field of text, bytes or an encoded message.
pub(crate) fn put_bytes(number: u32, bytes: &[u8], out: &mut Vec<u8>) {
    put_length(number, bytes.len(), out);
    out.extend_from_slice(bytes);
}

/// Returns the size of a field with `length` bytes of content, in a message with few fields.
pub(super) fn field_size(length: usize) -> usize {
    1 + varint_size(length as u64) + length
}

/// A document while it is written. The length of a message stands before the message. One byte is
/// reserved for it; if the length needs more, the message moves.
#[derive(Debug)]
pub(super) struct Writer<'o> {
    pub(super) docarray: DocArray,
    pub(super) out: &'o mut Vec<u8>,
    /// The places of the lengths of the messages that are still open.
    open: Vec<usize>,
    /// The tensor that is read from lists.
    pub(super) grid: Grid,
    /// The shape of the tensor that is written.
    pub(super) shape: Vec<u64>,
}

impl<'o> Writer<'o> {
    pub(super) fn new(docarray: DocArray, out: &'o mut Vec<u8>) -> Writer<'o> {
        Writer { docarray, out, open: Vec::new(), grid: Grid::default(), shape: Vec::new() }
    }

    pub(super) fn tag(&mut self, number: u32, wire: u32) {
        put_varint((number << 3 | wire).into(), self.out);
    }

    pub(super) fn length(&mut self, length: usize) {
        put_varint(length as u64, self.out);
    }

    pub(super) fn varint(&mut self, n: u64) {
        put_varint(n, self.out);
    }

    pub(super) fn field(&mut self, number: u32, bytes: &[u8]) {
        put_bytes(number, bytes, self.out);
    }

    /// Begins a message in a field.
    pub(super) fn open(&mut self, number: u32) -> Result<(), Refusal> {
        if self.open.len() + AROUND + INSIDE >= MOST_DEPTH {
            return Err(Refusal::new(format!(
                "it is nested too deeply: a gateway reads at most {MOST_DEPTH} levels of messages"
            )));
        }
        self.tag(number, LENGTH);
        self.open.push(self.out.len());
        self.out.push(0);
        Ok(())
    }

    /// Ends the `count` innermost messages and writes their lengths before them. Most values end none.
    #[inline]
    pub(super) fn close(&mut self, count: usize) {
        if count > 0 {
            self.close_messages(count);
        }
    }

    fn close_messages(&mut self, count: usize) {
        let first = self.open.len() - count;
        // From the inside out, the messages whose length fits the reserved byte: most messages.
        while self.open.len() > first {
            let place = self.open[self.open.len() - 1];
            let length = self.out.len() - place - 1;
            if length >= 0x80 {
                break;
            }
            self.out[place] = length as u8;
            self.open.pop();
        }
        // All other messages grow together, so that their content moves only once.
        let mut end = self.out.len();
        let mut extra = 0;
        for place in self.open[first..].iter().rev() {
            extra += varint_size((self.out.len() + extra - place - 1) as u64) - 1;
        }
        self.out.resize(end + extra, 0);
        let all = self.out.len();
        while self.open.len() > first {
            let place = self.open.pop().expect("the loop's condition says that one is open");
            self.out.copy_within(place + 1..end, place + 1 + extra);
            let begin = place + 1 + extra;
            let mut length = all - begin;
            let size = varint_size(length as u64);
            extra -= size - 1;
            for byte in &mut self.out[begin - size..begin] {
                *byte = (length as u8 & 0x7f) | 0x80;
                length >>= 7;
            }
            self.out[begin - 1] &= 0x7f;
            end = place;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_varint_has_the_computed_size() {
        for n in [0, 1, 127, 128, 16_383, 16_384, 2_097_151, 2_097_152, u64::MAX] {
            let mut out = Vec::new();
            put_varint(n, &mut out);
            assert_eq!(out.len(), varint_size(n), "{n}");
        }
    }

    #[test]
    fn lengths_are_put_before_messages_of_any_size() {
        for size in
            [0, 1, 120, 124, 125, 126, 127, 128, 200, 16_370, 16_379, 16_380, 16_384, 40_000]
        {
            let content = vec![7; size];
            let mut out = b"before".to_vec();
            let mut writer = Writer::new(DocArray::V2, &mut out);
            writer.open(1).unwrap();
            writer.field(2, b"key");
            writer.open(3).unwrap();
            writer.open(20).unwrap();
            writer.out.extend_from_slice(&content);
            writer.close(3);
            let (mut inner, mut middle, mut outer) = (Vec::new(), Vec::new(), b"before".to_vec());
            put_bytes(20, &content, &mut inner);
            put_bytes(2, b"key", &mut middle);
            put_bytes(3, &inner, &mut middle);
            put_bytes(1, &middle, &mut outer);
            assert!(out == outer, "{size}");
        }
    }
}
