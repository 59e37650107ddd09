//! Writes single-precision numbers as JSON.

/// The bits of the numbers that are written here: those of at least 2^-13 and below 10, which most numbers of
/// embeddings are.
const LEAST: u32 = (1.0_f32 / 8192.0).to_bits();
const MOST: u32 = 10.0_f32.to_bits();

/// The way to write the numbers between two powers of two, or two and ten.
#[derive(Clone, Copy)]
struct Scale {
    /// The power of ten that gives them nine digits before the point.
    power: f64,
    /// Half the distance between two of them, times `power`. What is closer to a number is read as that number.
    half: f64,
    /// The number of zeros before the nine digits, the one before the point included.
    zeros: usize,
}

/// For each binary exponent: the scale of the numbers below the next power of ten, and that of the others.
const SCALES: [[Scale; 2]; 17] = {
    let mut scales = [[Scale { power: 0.0, half: 0.0, zeros: 0 }; 2]; 17];
    let mut exponent = 0;
    let (mut power, mut zeros) = (1e12, 4);
    while exponent < scales.len() {
        let least = f32::from_bits(LEAST + ((exponent as u32) << 23)) as f64;
        if least * power >= 1e9 {
            power /= 10.0;
            zeros -= 1;
        }
        let half = least / 16_777_216.0;
        scales[exponent][0] = Scale { power, half: half * power, zeros };
        if zeros > 0 {
            let power = power / 10.0;
            scales[exponent][1] = Scale { power, half: half * power, zeros: zeros - 1 };
        }
        exponent += 1;
    }
    scales
};

/// For each binary exponent: the bits of the next power of ten.
const NEXT: [u32; 17] = {
    let mut next = [0; 17];
    let mut exponent = 0;
    while exponent < next.len() {
        let power = [10.0, 1.0, 0.1, 0.01, 0.001_f32][SCALES[exponent][0].zeros];
        next[exponent] = power.to_bits();
        exponent += 1;
    }
    next
};

/// How close a distance may be to its bound before it is in doubt on which side it is. The error of a distance is
/// below a tenth of this.
const DOUBT: f64 = 1e-6;

/// This and an integer below 2^32 make a double whose lowest bits are the integer.
const TO_INTEGER: f64 = 4_503_599_627_370_496.0;

/// Appends the shortest text that is read as `number` again, and of such texts the one closest to it. Returns `false`,
/// and appends nothing, if it cannot tell which text this is.
#[inline]
pub(super) fn write(number: f32, out: &mut Vec<u8>) -> bool {
    let bits = number.to_bits() & 0x7fff_ffff;
    // Below a power of two the next number is closer than above it.
    if !(LEAST..MOST).contains(&bits) || bits & 0x7f_ffff == 0 {
        return false;
    }
    let exponent = ((bits - LEAST) >> 23) as usize;
    let Scale { power, half, zeros } = SCALES[exponent][usize::from(bits >= NEXT[exponent])];
    let scaled = f64::from(f32::from_bits(bits)) * power;
    let distance = |rounded: u32| (scaled - f64::from(rounded)).abs();
    // The lowest bits of this sum are `scaled`, rounded to an integer.
    let ones = (scaled + TO_INTEGER).to_bits() as u32;
    let floor = ones - u32::from(f64::from(ones) > scaled);
    let tens = (floor + 5) / 10 * 10;
    let hundreds = (floor + 50) / 100 * 100;
    let (to_tens, to_hundreds) = (distance(tens), distance(hundreds));
    let digits = if to_tens < half { tens } else { ones };
    let digits = if to_hundreds < half { hundreds } else { digits };
    // Above 49, there may be two multiples of 100 to choose from.
    let is_close = |distance: f64, bound: f64| (distance - bound).abs() < DOUBT;
    if (half > 49.0)
        | is_close(to_hundreds, half)
        | is_close(to_tens, half)
        | (to_tens > 5.0 - DOUBT)
        | is_close(distance(ones), 0.5)
        | (digits >= 1_000_000_000)
    {
        return false;
    }
    // Each digit in a byte, the first in the lowest. Zeros at the end are left out.
    let (first, last) = (eight_digits(digits / 10), digits % 10);
    let count = if last > 0 { 9 } else { 8 - first.leading_zeros() as usize / 8 };
    let start = out.len() + usize::from(number.is_sign_negative());
    out.extend_from_slice(b"-00000000000000000000000");
    let text = &mut out[start..start + 16];
    let at = zeros + 1;
    text[at..at + 8].copy_from_slice(&(first + 0x3030_3030_3030_3030).to_le_bytes());
    text[at + 8] = b'0' + last as u8;
    // The digit before the point is the first of them, or a zero.
    text[0] = text[1];
    text[1] = b'.';
    out.truncate(start + (at + count).max(3));
    true
}

/// Returns the eight digits of a number, each in a byte, the first in the lowest.
#[inline]
fn eight_digits(number: u32) -> u64 {
    // The number is split three times: into fours, into pairs, into digits.
    let fours = u64::from(number / 10_000) | u64::from(number % 10_000) << 32;
    let upper = ((fours * 10_486) >> 20) & 0x7f_0000_007f;
    let pairs = upper | (fours - upper * 100) << 16;
    let upper = ((pairs * 103) >> 10) & 0x0f_000f_000f_000f;
    upper | (pairs - upper * 10) << 8
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Compares with serde_json, in steps of a prime: all numbers take minutes. They were compared once.
    #[test]
    fn numbers_are_written_as_serde_json_writes_them() {
        let mut written = 0;
        let usual = (LEAST..MOST).step_by(997);
        let all = (0..=f32::MAX.to_bits()).step_by(99_991);
        for bits in usual.chain(all).chain([LEAST - 1, LEAST, LEAST + 1, MOST - 1, MOST, MOST + 1])
        {
            for number in [f32::from_bits(bits), -f32::from_bits(bits)] {
                let mut text = b"1,".to_vec();
                if write(number, &mut text) {
                    let expected = format!("1,{}", serde_json::to_string(&number).unwrap());
                    assert_eq!(std::str::from_utf8(&text), Ok(&*expected));
                    written += 1;
                } else {
                    assert_eq!(text, b"1,");
                }
            }
        }
        // Most of the usual numbers are written here.
        assert!(written > 2 * (MOST - LEAST) / 997 * 9 / 10, "{written}");
        for (number, expected) in [
            (0.75, "0.75"),
            (1.5, "1.5"),
            (3.0, "3.0"),
            (-0.001_2, "-0.0012"),
            (9.999_999, "9.999999"),
        ] {
            let mut text = Vec::new();
            assert!(write(number, &mut text));
            assert_eq!(String::from_utf8(text).unwrap(), expected);
        }
    }
}
