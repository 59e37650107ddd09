//! Numbers.

use std::str::FromStr;

/// A number, in the type in which serde_json gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Real(f64),
}

/// A number as it is written.
pub(super) struct Decimal<'a> {
    /// The number, and what comes after it.
    json: &'a [u8],
    pub(super) length: usize,
    is_negative: bool,
    /// The digits before the point, if they fit.
    whole: u64,
    /// The numbers of digits before and after the point.
    before: usize,
    after: usize,
    /// The power of ten that is written behind the digits.
    power: Option<i64>,
}

/// The number of digits that always fit into 64 bits.
const MOST_DIGITS: usize = 19;

/// The limit up to which a power is counted. To a double, all powers above it are the same.
const MOST_POWER: i64 = 1 << 40;

/// The powers of ten that are exact as doubles.
pub(super) const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The limit up to which all integers are exact as doubles.
const MOST_EXACT: u64 = 1 << 53;

impl<'a> Decimal<'a> {
    /// Finds the number at the beginning of `json`; `None` if there is none.
    #[inline(always)]
    pub(super) fn scan(json: &'a [u8]) -> Option<Decimal<'a>> {
        let is_negative = json.first() == Some(&b'-');
        let start = usize::from(is_negative);
        let mut at = start;
        let mut whole = 0_u64;
        while let Some(digit @ b'0'..=b'9') = json.get(at) {
            whole = append(whole, *digit);
            at += 1;
        }
        let before = at - start;
        if before == 0 || (before > 1 && json[start] == b'0') {
            return None;
        }
        let mut after = 0;
        if json.get(at) == Some(&b'.') {
            after = digits_in(&json[at + 1..]);
            at += 1 + after;
            if after == 0 {
                return None;
            }
        }
        let mut power = None;
        if let Some(b'e' | b'E') = json.get(at) {
            let (written, length) = written_power(&json[at + 1..])?;
            power = Some(written);
            at += 1 + length;
        }
        Some(Decimal { json, length: at, is_negative, whole, before, after, power })
    }

    /// Returns the number; `None` if it is beyond all doubles.
    #[inline(always)]
    pub(super) fn number(&self) -> Option<Number> {
        match self.integer() {
            Some(integer) => Some(integer),
            None => self.double().filter(|n| n.is_finite()).map(Number::Real),
        }
    }

    /// Returns the number for a type that asks for a single: rounded once, to a single. `None` if it is beyond
    /// all singles.
    pub(super) fn single(&self) -> Option<Number> {
        if let Some(integer) = self.integer() {
            return Some(integer);
        }
        let double = self.double()?;
        // Where a double lies in the middle between two singles, it is not known to which of them the number is
        // closer. Below the normal singles such middles are elsewhere.
        let is_between = double.to_bits() & 0x1fff_ffff == 0x1000_0000;
        let is_tiny = double != 0.0 && double.abs() < f64::from(f32::MIN_POSITIVE);
        let single = if is_between || is_tiny { self.parse()? } else { double as f32 };
        single.is_finite().then_some(Number::Real(single.into()))
    }

    /// Returns the number if it is written as an integer, and is one for serde_json.
    #[inline(always)]
    fn integer(&self) -> Option<Number> {
        if self.after > 0 || self.power.is_some() {
            return None;
        }
        let digits = match self.digits() {
            Some(digits) => digits,
            None => parse(&self.json[usize::from(self.is_negative)..self.length])?,
        };
        match (self.is_negative, digits) {
            (false, _) => Some(Number::Unsigned(digits)),
            // It is a double, because there is no negative zero of integers.
            (true, 0) => None,
            (true, _) => 0_i64.checked_sub_unsigned(digits).map(Number::Signed),
        }
    }

    #[inline(always)]
    fn double(&self) -> Option<f64> {
        let exponent = self.power.unwrap_or_default() - self.after as i64;
        let Some(digits) = self.digits() else { return self.parse() };
        let number = match POWERS.get(exponent.unsigned_abs() as usize) {
            // Both are exact, so the one operation rounds as it should.
            Some(power) if digits <= MOST_EXACT && exponent < 0 => digits as f64 / power,
            Some(power) if digits <= MOST_EXACT => digits as f64 * power,
            // The first of them is for an exponent of minus one.
            _ => match RECIPROCALS.get(!exponent as usize) {
                Some(reciprocal) if digits > 0 => divided(digits, -exponent, *reciprocal),
                _ => return self.parse(),
            },
        };
        // A branch on the sign would mostly be guessed wrong.
        Some(f64::from_bits(number.to_bits() | u64::from(self.is_negative) << 63))
    }

    /// Returns the digits as an integer; `None` if they may be too many for one.
    #[inline(always)]
    fn digits(&self) -> Option<u64> {
        if self.before + self.after > MOST_DIGITS {
            return None;
        }
        let after = self.json.get(usize::from(self.is_negative) + self.before + 1..);
        let after = after.unwrap_or_default();
        let append_all = |digits, after: &[u8]| after.iter().fold(digits, |n, d| append(n, *d));
        let Some(sixteen) = after.first_chunk() else {
            return Some(append_all(self.whole, &after[..self.after]));
        };
        // The digits move to the end, behind zeros, and what comes after them drops out.
        let count = self.after.min(16);
        let aligned = u128::from_le_bytes(*sixteen).checked_shl(128 - 8 * count as u32);
        let aligned = aligned.unwrap_or_default();
        let first = value_of_eight(aligned as u64);
        let last = value_of_eight((aligned >> 64) as u64);
        let digits = self.whole * POWERS_OF_INTEGERS[count] + first * 100_000_000 + last;
        Some(append_all(digits, &after[count..self.after]))
    }

    /// Reads the text as a number of type `T`.
    pub(super) fn parse<T: FromStr>(&self) -> Option<T> {
        parse(&self.json[..self.length])
    }
}

/// The number of places after the point up to which [`divided`] is always right.
const MOST_PLACES: usize = 27;

/// Five to the power of minus one, minus two and so on, as 128 bits of which the highest is 1, rounded up.
const RECIPROCALS: [u128; MOST_PLACES] = {
    let mut reciprocals = [0; MOST_PLACES];
    let (mut power, mut n) = (5_u128, 0);
    while n < MOST_PLACES {
        // A long division of a power of two.
        let (mut quotient, mut rest) = (0, 1);
        let mut bits = 127 + power.next_power_of_two().trailing_zeros();
        while bits > 0 {
            rest *= 2;
            quotient = quotient << 1 | (rest >= power) as u128;
            rest %= power;
            bits -= 1;
        }
        reciprocals[n] = quotient + 1;
        power *= 5;
        n += 1;
    }
    reciprocals
};

/// Returns the double that is closest to `digits`, which are not zero, with this many `places` after the point. There
/// is at least one. `reciprocal` belongs to them.
///
/// This is the method of Daniel Lemire, "Number Parsing at a Gigabyte per Second" (2021).
#[inline]
fn divided(digits: u64, places: i64, reciprocal: u128) -> f64 {
    let zeros = digits.leading_zeros();
    let digits = u128::from(digits << zeros);
    let mut product = digits * (reciprocal >> 64);
    // The lower half of the reciprocal is left out, unless it could change the bits that count.
    if product >> 64 & 0x1ff == 0x1ff {
        product += (digits * (reciprocal & u128::from(u64::MAX))) >> 64;
    }
    let (high, low) = ((product >> 64) as u64, product as u64);
    // A double has 53 bits. One more says how they are rounded.
    let upper = high >> 63;
    let mut mantissa = high >> (upper + 9);
    // In the middle between two doubles, the even one is right. With more than four places, no digits lie there.
    if low <= 1 && places <= 4 && mantissa & 3 == 1 && mantissa << (upper + 9) == high {
        mantissa -= 1;
    }
    let mantissa = (mantissa + (mantissa & 1)) >> 1;
    // The power of two of the first bit. 217,706 / 2^16 is the logarithm of ten to the base of two.
    let exponent = ((-217_706 * places) >> 16) + 63 - i64::from(zeros) + upper as i64;
    // The highest bit of the mantissa is not written, so it is taken from the exponent.
    f64::from_bits((((exponent + 1022) as u64) << 52) + mantissa)
}

#[cold]
fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

pub(super) const POWERS_OF_INTEGERS: [u64; 17] = {
    let mut powers = [1; 17];
    let mut n = 1;
    while n < powers.len() {
        powers[n] = powers[n - 1] * 10;
        n += 1;
    }
    powers
};

#[inline(always)]
fn append(digits: u64, digit: u8) -> u64 {
    digits.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
}

/// Reads the power of ten behind an `e`. Returns it and the length of its text.
#[cold]
fn written_power(json: &[u8]) -> Option<(i64, usize)> {
    let sign = usize::from(matches!(json.first(), Some(b'+' | b'-')));
    let length = digits_in(&json[sign..]);
    let append = |power: i64, digit: &u8| (power * 10 + i64::from(digit - b'0')).min(MOST_POWER);
    let power = json[sign..sign + length].iter().fold(0, append);
    let power = if json.first() == Some(&b'-') { -power } else { power };
    (length > 0).then_some((power, sign + length))
}

pub(super) const ONES: u64 = u64::MAX / 255;

/// Returns the number of digits at the beginning of `json`.
#[inline(always)]
fn digits_in(json: &[u8]) -> usize {
    const ONES: u128 = u128::MAX / 255;
    let mut count = 0;
    // Sixteen at once: a branch after eight would be guessed wrong for every other single.
    for chunk in json.as_chunks().0 {
        // Digits have the upper half 3, and keep it when 6 is added.
        let zeros = u128::from_le_bytes(*chunk) ^ (ONES * 0x30);
        let others = (zeros | zeros.wrapping_add(ONES * 6)) & (ONES * 0xf0);
        let length = others.trailing_zeros() as usize / 8;
        count += length;
        if length < 16 {
            return count;
        }
    }
    count + json[count..].iter().take_while(|b| b.is_ascii_digit()).count()
}

/// Returns the value of eight digits, the first of them in the lowest byte.
#[inline(always)]
pub(super) fn value_of_eight(digits: u64) -> u64 {
    // Neighbours are joined three times: digits to pairs, pairs to fours, fours to eight.
    let pairs = (digits & (ONES * 0x0f)).wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    (fours & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32
}
