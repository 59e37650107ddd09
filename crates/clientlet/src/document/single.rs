//! Writes single-precision numbers as JSON.

use std::hint::select_unpredictable;

use serde_json::ser::{CompactFormatter, Formatter};

/// At least as many bytes as any number takes.
const WIDTH: usize = 24;

/// Appends `number`, which must be finite, as serde_json writes it.
#[inline]
pub(super) fn write(number: f32, out: &mut Vec<u8>) {
    let mut text = [0; WIDTH];
    let usual = write_usual(number.to_bits(), &mut text);
    let length = usual.unwrap_or_else(|| write_unusual(number, &mut text));
    out.extend_from_slice(&text[..length]);
}

/// Appends a comma and a number for each of `numbers`, which are little-endian, up to the first that is not finite.
/// Returns how many of them were appended.
pub(super) fn write_others(numbers: &[[u8; 4]], out: &mut Vec<u8>) -> usize {
    // Many numbers are written into a buffer, because it costs more to make room for each of them.
    const MANY: usize = 32;
    let mut buffer = [0; MANY * (1 + WIDTH)];
    let mut written = 0;
    for many in numbers.chunks(MANY) {
        let mut length = 0;
        for bytes in many {
            let room = buffer[length..].first_chunk_mut::<{ 1 + WIDTH }>();
            let [comma, text @ ..] = room.expect("each of so many numbers has room");
            let number = f32::from_le_bytes(*bytes);
            *comma = b',';
            length += 1 + match write_usual(number.to_bits(), text) {
                Some(length) => length,
                None if number.is_finite() => write_unusual(number, text),
                None => {
                    out.extend_from_slice(&buffer[..length]);
                    return written;
                }
            };
            written += 1;
        }
        out.extend_from_slice(&buffer[..length]);
    }
    written
}

/// Writes a finite number by serde_json, and returns the length of its text.
#[cold]
fn write_unusual(number: f32, text: &mut [u8; WIDTH]) -> usize {
    let mut rest = &mut text[..];
    CompactFormatter.write_f32(&mut rest, number).expect("no single takes more bytes");
    WIDTH - rest.len()
}

/// The bits of the numbers that are written here: those of at least 2^-13 and below 10, which most numbers of
/// embeddings are.
const LEAST: u32 = (1.0_f32 / 8192.0).to_bits();
const MOST: u32 = 10.0_f32.to_bits();

/// The way to write the numbers between two powers of two, or eight and ten.
#[derive(Clone, Copy)]
struct Scale {
    /// A power of ten, moved to the left. A number's mantissa times this is the digits of the number, with
    /// [`FRACTION`] bits behind the last digit.
    power: u64,
    /// The place of nine digits in a text of zeros. The second character of the text then becomes the digit before
    /// the point.
    at: usize,
}

const FRACTION: u32 = 36;

/// The scale for each binary exponent. With it the middle between a number and the next one is between 0.5 and 5
/// away, and all that is closer than the middle is read as the number. So a number has a text with these digits, and
/// one that is shorter if the nearest multiple of ten is closer.
const SCALES: [Scale; 17] = {
    let mut scales = [Scale { power: 0, at: 0 }; 17];
    let (mut power, mut at) = (100_000_000_000, 4);
    let mut exponent = 0;
    while exponent < scales.len() {
        if (power << exponent) >> FRACTION >= 10 {
            power /= 10;
            at -= 1;
        }
        scales[exponent] = Scale { power: power << exponent, at };
        exponent += 1;
    }
    scales
};

/// Writes the shortest text that is read as the number with these bits again, and of such texts the one closest to
/// it. Returns its length; `None` for numbers that are not written here.
#[inline(always)]
fn write_usual(bits: u32, text: &mut [u8; WIDTH]) -> Option<usize> {
    let sign = (bits >> 31) as usize;
    let bits = bits & 0x7fff_ffff;
    let mantissa = bits & 0x7f_ffff;
    // Below a power of two the next number is closer than above it.
    if !(LEAST..MOST).contains(&bits) || mantissa == 0 {
        return None;
    }
    let Scale { power, at } = SCALES[((bits - LEAST) >> 23) as usize];
    let scaled = u64::from(mantissa | 0x80_0000) * power;
    let ones = ((scaled + (1 << (FRACTION - 1))) >> FRACTION) as u32;
    let tens = ((scaled >> FRACTION) as u32 + 5) / 10 * 10;
    let to_tens = scaled.wrapping_sub(u64::from(tens) << FRACTION).cast_signed().unsigned_abs();
    let to_middle = power / 2;
    let is_between_ones = scaled << (64 - FRACTION) == 1 << 63;
    if to_tens == to_middle || is_between_ones {
        return None;
    }
    // A branch would be guessed wrong for many numbers.
    let digits = select_unpredictable(to_tens < to_middle, tens, ones);
    let first = u32::from(digits >= 100_000_000);
    let others = eight_digits(digits - first * 100_000_000);
    text[0] = b'-';
    let text: &mut [u8; 16] = text[sign..].first_chunk_mut()?;
    *text = [b'0'; 16];
    // Always below 8; this saves the check of the bounds.
    let at = at & 7;
    text[at] = b'0' + first as u8;
    text[at + 1..at + 9].copy_from_slice(&(others + 0x3030_3030_3030_3030).to_le_bytes());
    text[0] = text[1];
    text[1] = b'.';
    // Zeros at the end are left out, except for one after the point.
    let zeros = others.leading_zeros() as usize / 8;
    Some(sign + (at + 9 - zeros).max(3))
}

/// Returns the eight digits of a number, each in a byte, the first in the lowest.
#[inline(always)]
fn eight_digits(number: u32) -> u64 {
    // The number is split three times: into fours, into pairs, into digits. Each time the upper part keeps its place,
    // and the rest moves behind it.
    let upper = u64::from(number / 10_000);
    let fours = (u64::from(number) << 32) - upper * ((10_000 << 32) - 1);
    let upper = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = (fours << 16) - upper * ((100 << 16) - 1);
    let upper = ((pairs * 103) >> 10) & 0x0f_000f_000f_000f;
    (pairs << 8) - upper * ((10 << 8) - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(number: f32) -> String {
        let mut text = Vec::new();
        write(number, &mut text);
        String::from_utf8(text).unwrap()
    }

    /// Compares with serde_json, in steps of a prime: all numbers take minutes. They were compared once.
    #[test]
    fn numbers_are_written_as_serde_json_writes_them() {
        let mut usual = 0;
        let steps = (LEAST..MOST).step_by(997).chain((0..f32::INFINITY.to_bits()).step_by(99_991));
        let bounds = [LEAST - 1, LEAST, LEAST + 1, MOST - 1, MOST, MOST + 1, f32::MAX.to_bits()];
        let longest = [f32::MIN_POSITIVE, 1e16_f32.next_down(), 1.0e-45].map(f32::to_bits);
        for bits in steps.chain(bounds).chain(longest) {
            for number in [f32::from_bits(bits), -f32::from_bits(bits)] {
                assert_eq!(written(number), serde_json::to_string(&number).unwrap());
                usual += u32::from(write_usual(number.to_bits(), &mut [0; WIDTH]).is_some());
            }
        }
        // Most of the usual numbers are not left to serde_json.
        assert!(usual > 2 * (MOST - LEAST) / 997 * 99 / 100, "{usual}");
        for (number, expected) in [
            (0.75_f32, "0.75"),
            (1.5, "1.5"),
            (3.0, "3.0"),
            (0.1, "0.1"),
            (-0.001_2, "-0.0012"),
            (9.999_999, "9.999999"),
        ] {
            assert!(write_usual(number.to_bits(), &mut [0; WIDTH]).is_some());
            assert_eq!(written(number), expected);
        }
    }

    #[test]
    fn a_list_is_written_up_to_the_first_number_that_is_not_finite() {
        for length in [0, 1, 31, 32, 33, 100] {
            let numbers: Vec<f32> = (0..length).map(|n| 0.3 * n as f32 - 12.0).collect();
            let expected: String = numbers.iter().map(|n| format!(",{}", written(*n))).collect();
            for end in [None, Some(f32::NAN), Some(f32::NEG_INFINITY)] {
                let bytes: Vec<[u8; 4]> =
                    numbers.iter().chain(&end).chain(&[0.5; 70]).map(|n| n.to_le_bytes()).collect();
                let numbers = if end.is_some() { &bytes[..] } else { &bytes[..length] };
                let mut text = b"[0".to_vec();
                assert_eq!(write_others(numbers, &mut text), length);
                assert_eq!(String::from_utf8(text).unwrap(), format!("[0{expected}"));
            }
        }
    }
}
