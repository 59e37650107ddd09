//! Reads protobuf's format: the fields of a message one after the other, without copying.
//!
//! This reader accepts what prost accepts: unknown fields of every kind, and numbers in more bytes
//! than they need. Text must be UTF-8.

use std::borrow::Cow;
use std::cell::Cell;

/// The fault in the bytes, in words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Fault(pub(crate) &'static str);

const CUT: Fault = Fault("the message ends in the middle of a field");
const VARINT: Fault = Fault("a number is longer than 64 bits");
const KEY: Fault = Fault("a field has an invalid tag");
const GROUP: Fault = Fault("a group does not end as it began");
const DEEP: Fault = Fault("messages are nested too deeply");
const TYPE: Fault = Fault("a field is of the wrong type");
const TEXT: Fault = Fault("text is not UTF-8");

/// The content of a field.
#[derive(Clone, Copy, Debug, Hash, PartialEq)]
pub(crate) enum Wire<'a> {
    Varint(u64),
    Fixed64(u64),
    Bytes(&'a [u8]),
    Fixed32(u32),
    /// A group, an obsolete kind of nested message. None of our fields is a group.
    Group,
}

impl<'a> Wire<'a> {
    pub(crate) fn varint(self) -> Result<u64, Fault> {
        if let Wire::Varint(n) = self { Ok(n) } else { Err(TYPE) }
    }

    pub(crate) fn bytes(self) -> Result<&'a [u8], Fault> {
        if let Wire::Bytes(bytes) = self { Ok(bytes) } else { Err(TYPE) }
    }

    pub(crate) fn text(self) -> Result<&'a str, Fault> {
        std::str::from_utf8(self.bytes()?).map_err(|_| TEXT)
    }

    pub(crate) fn double(self) -> Result<f64, Fault> {
        if let Wire::Fixed64(raw) = self { Ok(f64::from_bits(raw)) } else { Err(TYPE) }
    }

    pub(crate) fn single(self) -> Result<f32, Fault> {
        if let Wire::Fixed32(raw) = self { Ok(f32::from_bits(raw)) } else { Err(TYPE) }
    }
}

/// The part of a message that is not read yet.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Message<'a> {
    rest: &'a [u8],
}

impl<'a> Message<'a> {
    pub(crate) fn new(bytes: &'a [u8]) -> Message<'a> {
        Message { rest: bytes }
    }

    /// Returns the number of bytes that are not read yet.
    pub(crate) fn left(&self) -> usize {
        self.rest.len()
    }

    /// Reads the next field and its number.
    #[inline]
    pub(crate) fn next(&mut self) -> Result<Option<(u32, Wire<'a>)>, Fault> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let (number, kind) = self.key()?;
        let wire = match kind {
            // Nearly all fields are bytes.
            2 => Wire::Bytes(self.bytes()?),
            4 => return Err(GROUP),
            _ => self.content(number, kind, super::MOST_DEPTH)?,
        };
        Ok(Some((number, wire)))
    }

    /// Counts the messages, texts or byte strings in the field `number`, up to the first that
    /// cannot be read.
    pub(crate) fn count(mut self, number: u32) -> usize {
        let mut count = 0;
        // The tag of a field with a low number is one byte, and most fields of a list are its
        // elements.
        let tag = u8::try_from(number << 3 | 2).ok().filter(|tag| *tag < 0x80);
        loop {
            if let Some((first, rest)) = self.rest.split_first()
                && Some(*first) == tag
            {
                self.rest = rest;
                let length = self.varint().ok().and_then(|length| usize::try_from(length).ok());
                let Some(rest) = length.and_then(|length| self.rest.get(length..)) else { break };
                self.rest = rest;
                count += 1;
                continue;
            }
            match self.next() {
                Ok(Some((found, Wire::Bytes(_)))) if found == number => count += 1,
                Ok(Some(_)) => {}
                Ok(None) | Err(_) => break,
            }
        }
        count
    }

    #[inline]
    fn key(&mut self) -> Result<(u32, u32), Fault> {
        let key = u32::try_from(self.varint()?).map_err(|_| KEY)?;
        match (key >> 3, key & 7) {
            (0, _) | (_, 6 | 7) => Err(KEY),
            known => Ok(known),
        }
    }

    fn content(&mut self, number: u32, kind: u32, depth: usize) -> Result<Wire<'a>, Fault> {
        Ok(match kind {
            0 => Wire::Varint(self.varint()?),
            1 => Wire::Fixed64(u64::from_le_bytes(self.fixed()?)),
            2 => Wire::Bytes(self.bytes()?),
            3 => {
                self.skip_group(number, depth)?;
                Wire::Group
            }
            _ => Wire::Fixed32(u32::from_le_bytes(self.fixed()?)),
        })
    }

    fn skip_group(&mut self, group: u32, depth: usize) -> Result<(), Fault> {
        let depth = depth.checked_sub(1).ok_or(DEEP)?;
        loop {
            match self.key()? {
                (number, 4) if number == group => return Ok(()),
                (_, 4) => return Err(GROUP),
                (number, kind) => self.content(number, kind, depth)?,
            };
        }
    }

    /// Reads a number of one to ten bytes.
    #[inline]
    pub(crate) fn varint(&mut self) -> Result<u64, Fault> {
        // Nearly all numbers are tags and lengths of one or two bytes.
        match *self.rest {
            [first @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(first.into())
            }
            [first, second @ ..0x80, ref rest @ ..] => {
                self.rest = rest;
                Ok(u64::from(first & 0x7f) | u64::from(second) << 7)
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Fault> {
        let mut n = 0;
        for (index, &byte) in self.rest.iter().take(10).enumerate() {
            n |= u64::from(byte & 0x7f) << (7 * index);
            if byte < 0x80 {
                if index == 9 && byte > 1 {
                    return Err(VARINT);
                }
                self.rest = &self.rest[index + 1..];
                return Ok(n);
            }
        }
        Err(if self.rest.len() < 10 { CUT } else { VARINT })
    }

    fn fixed<const N: usize>(&mut self) -> Result<[u8; N], Fault> {
        let (raw, rest) = self.rest.split_first_chunk().ok_or(CUT)?;
        self.rest = rest;
        Ok(*raw)
    }

    /// Reads a length and as many bytes.
    #[inline]
    fn bytes(&mut self) -> Result<&'a [u8], Fault> {
        let length = usize::try_from(self.varint()?).map_err(|_| CUT)?;
        let (taken, rest) = self.rest.split_at_checked(length).ok_or(CUT)?;
        self.rest = rest;
        Ok(taken)
    }
}

/// The place of a field that is one message. Protobuf lets such a message come in several parts,
/// which together are the message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Run<'a> {
    /// The offset of the first part in the surrounding message. `end` is the offset after the last
    /// part; other fields may lie in between.
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) last: &'a [u8],
    pub(crate) parts: usize,
}

impl<'a> Run<'a> {
    /// Begins with the field's first part, which lies between these offsets.
    pub(crate) fn new(start: usize, end: usize, part: &'a [u8]) -> Run<'a> {
        Run { start, end, last: part, parts: 1 }
    }

    /// Adds a part that ends at `end`.
    pub(crate) fn extend(&mut self, end: usize, part: &'a [u8]) {
        self.end = end;
        self.last = part;
        self.parts += 1;
    }

    /// Returns the bytes from the first part to the end of the last, with other fields in between.
    pub(crate) fn range(&self, whole: &'a [u8]) -> &'a [u8] {
        &whole[self.start..self.end]
    }

    /// Returns the message, joined if it came in several parts of field `number` of `whole`.
    /// `budget` limits the number of bytes that may be copied to join parts.
    pub(crate) fn message(
        &self,
        whole: &'a [u8],
        number: u32,
        budget: &Cell<usize>,
    ) -> Result<Cow<'a, [u8]>, Fault> {
        if self.parts == 1 {
            return Ok(Cow::Borrowed(self.last));
        }
        let range = self.range(whole);
        let left = budget.get().checked_sub(range.len());
        budget.set(left.ok_or(Fault("the messages are split into too many parts"))?);
        let mut together = Vec::with_capacity(range.len());
        let mut message = Message::new(range);
        while let Some((found, wire)) = message.next()? {
            if found == number {
                together.extend_from_slice(wire.bytes()?);
            }
        }
        Ok(Cow::Owned(together))
    }
}

/// Adds a part to the run of a field that may have been met before.
pub(crate) fn add_part<'a>(run: &mut Option<Run<'a>>, start: usize, end: usize, part: &'a [u8]) {
    match run {
        Some(run) => run.extend(end, part),
        None => *run = Some(Run::new(start, end, part)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(bytes: &[u8]) -> Result<Vec<(u32, Wire<'_>)>, Fault> {
        let mut message = Message::new(bytes);
        let mut fields = Vec::new();
        while let Some(field) = message.next()? {
            fields.push(field);
        }
        Ok(fields)
    }

    #[test]
    fn every_kind_of_field_is_read() {
        let bytes = b"\x08\x96\x01\x11\x00\x00\x00\x00\x00\x00\xf0\x3f\x1a\x02hi\x25\x00\x00\x80\x3f\x2b\x08\x01\x2c";
        let expected = [
            (1, Wire::Varint(150)),
            (2, Wire::Fixed64(1.0_f64.to_bits())),
            (3, Wire::Bytes(b"hi")),
            (4, Wire::Fixed32(1.0_f32.to_bits())),
            (5, Wire::Group),
        ];
        assert_eq!(fields(bytes).unwrap(), expected);
    }

    #[test]
    fn elements_are_counted_up_to_the_first_that_cannot_be_read() {
        let bytes = b"\x0a\x01a\x10\x05\x0a\x00\x82\x01\x01b\x8a\x00\x00\x0a\x02x";
        for (number, cut, count) in [(1, 0, 3), (1, 3, 3), (1, 7, 2), (2, 0, 0), (16, 0, 1)] {
            let message = Message::new(&bytes[..bytes.len() - cut]);
            assert_eq!(message.count(number), count, "field {number} without {cut} bytes");
        }
    }

    #[test]
    fn bytes_that_are_not_a_message_are_refused_in_words() {
        let cases: [(&[u8], Fault); 9] = [
            (b"\x08", CUT),
            (b"\x08\x80", CUT),
            (b"\x0a\x05abc", CUT),
            (b"\x0a\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", CUT),
            (b"\x08\xff\xff\xff\xff\xff\xff\xff\xff\xff\x02", VARINT),
            (b"\x00\x01", KEY),
            (b"\x0f", KEY),
            (b"\x0c", GROUP),
            (b"\x0b\x14", GROUP),
        ];
        for (bytes, fault) in cases {
            assert_eq!(fields(bytes), Err(fault), "{bytes:?}");
        }
        assert_eq!(fields(&[0x0b; 200]), Err(DEEP));
    }
}
