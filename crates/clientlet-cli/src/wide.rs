//! Finds whole numbers in JSON that a reader would round.

/// The fewest digits of a whole number beyond 64 bits.
const FEWEST: usize = 19;

/// The first whole number in a JSON text that does not fit into 64 bits, and its first byte's place.
/// A reader would take such a number for a float and round it. Numbers that are written with a point or
/// an exponent are meant as floats.
pub(crate) fn find(json: &str) -> Option<(usize, &str)> {
    let bytes = json.as_bytes();
    let mut text = Text::default();
    let mut at = FEWEST - 1;
    while at < bytes.len() {
        // A run of FEWEST digits has a digit at one of the places that are FEWEST bytes apart.
        if !bytes[at].is_ascii_digit() {
            at += FEWEST;
            continue;
        }
        let digits = |byte: &&u8| byte.is_ascii_digit();
        let start = at - bytes[..at].iter().rev().take_while(digits).count();
        let end = at + bytes[at..].iter().take_while(digits).count();
        if end - start >= FEWEST && !text.reaches(start, bytes) {
            let start = start - usize::from(bytes[..start].last() == Some(&b'-'));
            let before = bytes[..start].last();
            let is_part = matches!(before, Some(b'.' | b'e' | b'E' | b'+'))
                || matches!(bytes.get(end), Some(b'.' | b'e' | b'E'));
            let number = &json[start..end];
            let fits = number.parse::<u64>().is_ok() || number.parse::<i64>().is_ok();
            if !is_part && !fits {
                return Some((start, number));
            }
        }
        at = end + FEWEST;
    }
    None
}

/// Tells whether bytes of a JSON text are inside quotes. It reads the text once, from the beginning.
#[derive(Default)]
struct Text {
    at: usize,
    is_inside: bool,
    is_escaped: bool,
}

impl Text {
    /// Whether the byte at this place is inside quotes. Each call must ask for a later place.
    fn reaches(&mut self, at: usize, json: &[u8]) -> bool {
        for byte in &json[self.at..at] {
            match byte {
                _ if self.is_escaped => self.is_escaped = false,
                b'\\' => self.is_escaped = self.is_inside,
                b'"' => self.is_inside = !self.is_inside,
                _ => {}
            }
        }
        self.at = at;
        self.is_inside
    }
}

/// The message that refuses such a number and says what to write.
pub(crate) fn refusal(number: &str) -> String {
    let shown: String = number.chars().take(40).collect();
    format!("{shown} is beyond 64 bits and would be rounded; write it as text: \"{shown}\"")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whole_numbers_beyond_64_bits_are_found_at_any_place() {
        let wide = "18446744073709551616";
        for spaces in 0..40 {
            let json = format!("{{{}\"a\": [1, {wide}]}}", " ".repeat(spaces));
            assert_eq!(find(&json), Some((json.find(wide).unwrap(), wide)), "{spaces}");
        }
        for (json, number) in [
            (r#"{"a":-9223372036854775809}"#, "-9223372036854775809"),
            (r#"{"18446744073709551616":123456789012345678901}"#, "123456789012345678901"),
            (
                r#"{"a\"":100000000000000000000000000000000000000000}"#,
                "100000000000000000000000000000000000000000",
            ),
        ] {
            assert_eq!(find(json).map(|(_, found)| found), Some(number), "{json}");
        }
    }

    #[test]
    fn numbers_that_fit_or_are_written_as_floats_and_text_are_accepted() {
        for json in [
            r#"{"a":18446744073709551615,"b":-9223372036854775808}"#,
            r#"{"a":18446744073709551616.0}"#,
            r#"{"a":18446744073709551616e2}"#,
            r#"{"a":0.18446744073709551616,"b":1.5e-18446744073709551616}"#,
            r#"{"18446744073709551616":"18446744073709551616","c":"\"18446744073709551616"}"#,
            "1844674407370955161",
            "",
        ] {
            assert_eq!(find(json), None, "{json}");
        }
    }
}
