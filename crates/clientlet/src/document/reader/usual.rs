//! Numbers as embeddings have them: a digit, a point, some digits, and a comma behind them.
//!
//! Thousands of these are most of an answer with embeddings, and each is passed twice: with the envelope and with its
//! document. The end of a number is found here without a look at its digits, so that the processor can begin with the
//! next number meanwhile.

use std::hint::select_unpredictable;

use serde::de::Visitor;
use serde::de::value::BytesDeserializer;

use super::number::{ONES, POWERS, POWERS_OF_INTEGERS, value_of_eight};
use super::{Declined, Reader};
use crate::document::any::{Kept, KeptValue};

/// The number of bytes that are read for a number. The comma is one of the first sixteen.
const WINDOW: usize = 24;

/// The maximum number of numbers that are given at once.
const MANY: usize = 64;

/// A number of this form.
pub(super) struct Usual {
    /// The number of bytes before the comma.
    length: usize,
    is_negative: bool,
    /// The digit before the point.
    first: u64,
    /// The number of digits after the point: at most 13, because the comma is near.
    after: usize,
    /// The first eight of these digits, and the others. Each is a byte, the last in the highest one; lower bytes that
    /// no digit needs are zero.
    eight: u64,
    more: u64,
}

impl Usual {
    /// Finds such a number at the beginning of `json`.
    #[inline(always)]
    fn find(json: &[u8]) -> Option<Usual> {
        let window = json.first_chunk()?;
        let (near, far) = (commas(word(window, 0)), commas(word(window, 8)));
        let is_near = near != 0;
        let comma = select_unpredictable(is_near, near, far);
        let length = comma.trailing_zeros() as usize / 8 + if is_near { 0 } else { 8 };
        let is_negative = window[0] == b'-';
        let sign = usize::from(is_negative);
        let first = window[sign].wrapping_sub(b'0');
        let after = length.wrapping_sub(sign + 2);
        if comma == 0 || first > 9 || window[sign + 1] != b'.' || !(1..16).contains(&after) {
            return None;
        }
        // What comes after the last digit drops out, and zeros come in before the first one.
        let eight = word(window, sign + 2) ^ (ONES * 0x30);
        let (eight, more) = match after {
            ..=8 => (eight << (64 - 8 * after), 0),
            _ => (eight, (word(window, sign + 10) ^ (ONES * 0x30)) << (128 - 8 * after)),
        };
        if others(eight) | others(more) != 0 {
            return None;
        }
        Some(Usual { length, is_negative, first: first.into(), after, eight, more })
    }

    #[inline(always)]
    fn value(&self) -> f64 {
        let Usual { first, after, eight, more, .. } = *self;
        let first = first * POWERS_OF_INTEGERS[after];
        let digits = match after {
            ..=8 => first + value_of_eight(eight),
            _ => {
                let eight = value_of_eight(eight) * POWERS_OF_INTEGERS[after - 8];
                first + eight + value_of_eight(more)
            }
        };
        // Both are exact, so the one operation rounds as it should.
        let number = digits as f64 / POWERS[after];
        f64::from_bits(number.to_bits() | u64::from(self.is_negative) << 63)
    }
}

#[inline(always)]
fn word(window: &[u8; WINDOW], at: usize) -> u64 {
    let word = window[at..].first_chunk();
    u64::from_le_bytes(*word.expect("a word begins at most 16 bytes before the window's end"))
}

/// Marks the bytes that are commas. Marks behind the first may be wrong.
#[inline(always)]
fn commas(word: u64) -> u64 {
    let zeros = word ^ (ONES * u64::from(b','));
    zeros.wrapping_sub(ONES) & !zeros & (ONES << 7)
}

/// Returns zero if all bytes are below ten.
#[inline(always)]
fn others(digits: u64) -> u64 {
    (digits | digits.wrapping_add(ONES * 6)) & (ONES * 0xf0)
}

impl<'de> Reader<'de> {
    #[inline(always)]
    pub(super) fn usual(&self) -> Option<Usual> {
        Usual::find(self.json.get(self.at..)?)
    }

    /// Passes over the elements of a list that are usual numbers. Another element must follow.
    #[inline]
    pub(super) fn skip_usual(&mut self) {
        while let Some(usual) = self.usual() {
            self.at += usual.length + 1;
        }
    }

    /// Gives the next elements of a list, of which `first` is the first, as far as they are usual numbers.
    #[inline]
    pub(super) fn take_usual<V: Visitor<'de>>(
        &mut self,
        first: Usual,
        visitor: V,
    ) -> Result<V::Value, Declined> {
        let mut reals = [[0; 8]; MANY];
        let (mut usual, mut count) = (Some(first), 0);
        while let (Some(found), Some(real)) = (usual, reals.get_mut(count)) {
            *real = found.value().to_le_bytes();
            self.at += found.length + 1;
            count += 1;
            usual = self.usual();
        }
        // The list takes the comma itself.
        self.at -= 1;
        let reals = BytesDeserializer::new(reals[..count].as_flattened());
        visitor.visit_enum(KeptValue::new(Kept::Reals, reals))
    }
}
