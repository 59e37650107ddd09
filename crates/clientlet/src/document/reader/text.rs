//! Text, and what surrounds it.

use std::borrow::Cow;

use serde::de::Visitor;

use super::{Declined, Reader};

impl<'de> Reader<'de> {
    /// Passes over a text, which begins with a quote. Returns whether it has escapes.
    #[inline]
    pub(super) fn skip_text(&mut self) -> Result<bool, Declined> {
        self.at += 1;
        let mut has_escapes = false;
        loop {
            self.at += plain(self.json.get(self.at..).ok_or(Declined)?);
            match self.json.get(self.at) {
                Some(b'"') => {
                    self.at += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.at += escape(&self.json[self.at + 1..]).ok_or(Declined)?;
                }
                // A control character, or the end.
                _ => return Err(Declined),
            }
        }
    }

    /// Takes a text, which must come next. Returns what is between the quotes, and whether it has escapes.
    #[inline]
    pub(super) fn take_raw_text(&mut self) -> Result<(&'de [u8], bool), Declined> {
        if self.peek() != Some(b'"') {
            return Err(Declined);
        }
        let start = self.at + 1;
        let has_escapes = self.skip_text()?;
        Ok((&self.json[start..self.at - 1], has_escapes))
    }

    /// Takes a text, which must come next.
    #[inline]
    pub(super) fn take_text(&mut self) -> Result<Cow<'de, str>, Declined> {
        let (text, has_escapes) = self.take_raw_text()?;
        if has_escapes {
            let quoted = &self.json[self.at - text.len() - 2..self.at];
            return serde_json::from_slice(quoted).map(Cow::Owned).map_err(|_| Declined);
        }
        std::str::from_utf8(text).map(Cow::Borrowed).map_err(|_| Declined)
    }

    #[inline]
    pub(super) fn text<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Declined> {
        match self.take_text()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_str(text),
            Cow::Owned(text) => visitor.visit_string(text),
        }
    }

    /// Reads a text for a type that asks for bytes.
    pub(super) fn bytes<V: Visitor<'de>>(&mut self, visitor: V) -> Result<V::Value, Declined> {
        match self.take_text()? {
            Cow::Borrowed(text) => visitor.visit_borrowed_bytes(text.as_bytes()),
            Cow::Owned(text) => visitor.visit_bytes(text.as_bytes()),
        }
    }

    /// Passes over the name of an entry and its colon.
    pub(super) fn skip_name(&mut self) -> Result<(), Declined> {
        self.take_raw_text()?;
        self.take_colon()
    }

    #[inline]
    pub(super) fn take_colon(&mut self) -> Result<(), Declined> {
        if self.peek() != Some(b':') {
            return Err(Declined);
        }
        self.at += 1;
        Ok(())
    }
}

const ONES: u64 = u64::MAX / 255;

/// Returns the number of bytes before the first quote, backslash or control character.
#[inline]
fn plain(text: &[u8]) -> usize {
    let (chunks, _) = text.as_chunks::<8>();
    let mut at = 0;
    for chunk in chunks {
        // The highest bit of each byte that is one of these. A bit above the first such byte may be wrong.
        let bytes = u64::from_le_bytes(*chunk);
        let is = |byte: u8| {
            let zero = bytes ^ (ONES * u64::from(byte));
            zero.wrapping_sub(ONES) & !zero
        };
        let is_control = bytes.wrapping_sub(ONES * 0x20) & !bytes;
        let found = (is_control | is(b'"') | is(b'\\')) & (ONES << 7);
        if found != 0 {
            return at + found.trailing_zeros() as usize / 8;
        }
        at += 8;
    }
    let is_other = |byte: &u8| *byte < 0x20 || matches!(byte, b'"' | b'\\');
    at + text[at..].iter().position(is_other).unwrap_or(text.len() - at)
}

/// Returns the length of the escape whose backslash comes before `after`.
fn escape(after: &[u8]) -> Option<usize> {
    match after {
        [b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't', ..] => Some(2),
        [b'u', a, b, c, d, ..] if [a, b, c, d].iter().all(|b| b.is_ascii_hexdigit()) => Some(6),
        _ => None,
    }
}
