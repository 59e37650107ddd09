//! Numbers.

use std::str::FromStr;

/// A number, in the type in which serde_json gives it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Number {
    Unsigned(u64),
    Signed(i64),
    Real(f64),
}

/// A number as it is written: `digits` times ten to the power of `exponent`.
pub(super) struct Decimal<'a> {
    pub(super) text: &'a [u8],
    is_negative: bool,
    digits: u64,
    exponent: i64,
    /// Whether there are more digits than `digits` can hold.
    is_long: bool,
    /// Whether it has neither a point nor an exponent.
    is_whole: bool,
}

/// The number of digits that always fit into 64 bits.
const MOST_DIGITS: usize = 19;

/// The limit below which an exponent is counted. Any exponent above it is the same to a double.
const MOST_EXPONENT: i64 = 1 << 40;

/// The powers of ten that are exact as doubles.
const POWERS: [f64; 23] = [
    1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15, 1e16,
    1e17, 1e18, 1e19, 1e20, 1e21, 1e22,
];

/// The limit up to which all integers are exact as doubles.
const MOST_EXACT: u64 = 1 << 53;

impl<'a> Decimal<'a> {
    /// Finds the number at the beginning of `json`; `None` if there is none.
    #[inline]
    pub(super) fn scan(json: &'a [u8]) -> Option<Decimal<'a>> {
        let is_negative = json.first() == Some(&b'-');
        let start = usize::from(is_negative);
        let mut digits = 0;
        let mut at = start;
        while let Some(digit @ b'0'..=b'9') = json.get(at) {
            digits = append(digits, *digit);
            at += 1;
        }
        let mut count = at - start;
        if count == 0 || (count > 1 && json[start] == b'0') {
            return None;
        }
        let mut exponent = 0;
        let mut is_whole = true;
        if json.get(at) == Some(&b'.') {
            is_whole = false;
            at += 1;
            let point = at;
            loop {
                let (value, length) = leading_digits(&json[at..]);
                digits = digits.wrapping_mul(INTEGER_POWERS[length]).wrapping_add(value);
                at += length;
                if length < 8 {
                    break;
                }
            }
            if at == point {
                return None;
            }
            count += at - point;
            exponent = -((at - point) as i64);
        }
        if let Some(b'e' | b'E') = json.get(at) {
            is_whole = false;
            let is_below = json.get(at + 1) == Some(&b'-');
            at += if matches!(json.get(at + 1), Some(b'+' | b'-')) { 2 } else { 1 };
            let first = at;
            let mut power = 0;
            while let Some(digit @ b'0'..=b'9') = json.get(at) {
                power = (power * 10 + i64::from(digit - b'0')).min(MOST_EXPONENT);
                at += 1;
            }
            if at == first {
                return None;
            }
            exponent += if is_below { -power } else { power };
        }
        let (text, is_long) = (&json[..at], count > MOST_DIGITS);
        Some(Decimal { text, is_negative, digits, exponent, is_long, is_whole })
    }

    /// Returns the number; `None` if it is beyond all doubles.
    #[inline]
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
    #[inline]
    fn integer(&self) -> Option<Number> {
        if !self.is_whole {
            return None;
        }
        let digits = match self.is_long {
            true => parse(&self.text[usize::from(self.is_negative)..])?,
            false => self.digits,
        };
        match (self.is_negative, digits) {
            (false, _) => Some(Number::Unsigned(digits)),
            // It is a double, because there is no negative zero of integers.
            (true, 0) => None,
            (true, _) => 0_i64.checked_sub_unsigned(digits).map(Number::Signed),
        }
    }

    #[inline]
    fn double(&self) -> Option<f64> {
        if self.is_long || self.digits > MOST_EXACT || self.exponent.unsigned_abs() > 22 {
            return self.parse();
        }
        // Both are exact, so the one operation rounds as it should.
        let digits = self.digits as f64;
        let power = POWERS[self.exponent.unsigned_abs() as usize];
        let number = if self.exponent < 0 { digits / power } else { digits * power };
        Some(if self.is_negative { -number } else { number })
    }

    /// Reads the text as a number of type `T`.
    pub(super) fn parse<T: FromStr>(&self) -> Option<T> {
        parse(self.text)
    }
}

#[cold]
fn parse<T: FromStr>(text: &[u8]) -> Option<T> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

#[inline]
fn append(digits: u64, digit: u8) -> u64 {
    digits.wrapping_mul(10).wrapping_add(u64::from(digit - b'0'))
}

const INTEGER_POWERS: [u64; 9] =
    [1, 10, 100, 1_000, 10_000, 100_000, 1_000_000, 10_000_000, 100_000_000];

/// Returns the value of the digits at the beginning of `text`, of eight at most, and their number.
#[inline]
fn leading_digits(text: &[u8]) -> (u64, usize) {
    const ONES: u64 = u64::MAX / 255;
    let Some(eight) = text.first_chunk() else {
        let length = text.iter().take_while(|b| b.is_ascii_digit()).count();
        return (text[..length].iter().fold(0, |digits, digit| append(digits, *digit)), length);
    };
    let bytes = u64::from_le_bytes(*eight);
    // Digits have the upper half 3, and keep it when 6 is added.
    let zeros = bytes ^ (ONES * 0x30);
    let others = (zeros | zeros.wrapping_add(ONES * 6)) & (ONES * 0xf0);
    let length = others.trailing_zeros() as usize / 8;
    // The digits move to the end, behind zeros.
    let aligned = zeros.checked_shl(64 - 8 * length as u32).unwrap_or(0);
    // Neighbours are joined three times: digits to pairs, pairs to fours, fours to eight.
    let pairs = aligned.wrapping_mul(2561) >> 8;
    let fours = (pairs & 0x00ff_00ff_00ff_00ff).wrapping_mul(6_553_601) >> 16;
    ((fours & 0x0000_ffff_0000_ffff).wrapping_mul(42_949_672_960_001) >> 32, length)
}
