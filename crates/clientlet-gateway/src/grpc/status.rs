//! The status with which a call ends, and the deadline of its client.

use std::borrow::Cow;
use std::fmt::Write;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue};

const GRPC_STATUS: HeaderName = HeaderName::from_static("grpc-status");
const GRPC_MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
const PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// The status with which a gateway that stops ends its streams.
pub(super) const SHUTDOWN: Status = Status::unavailable("Server shutting down");
/// The status of a call whose client's deadline has passed.
pub(super) const DEADLINE: Status = Status::deadline_exceeded("Deadline Exceeded");
/// HTTP/2's error code for a stream that was not processed.
pub(super) const REFUSED: u32 = 7;

/// A status as trailers carry it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Status {
    pub(super) code: u16,
    pub(super) message: Cow<'static, str>,
    /// When to try again, in milliseconds. A text that is no number means never.
    pub(super) pushback: Option<String>,
}

impl Status {
    pub(super) const OK: Self = Self::new(0, "");

    pub(super) const fn new(code: u16, message: &'static str) -> Self {
        Self { code, message: Cow::Borrowed(message), pushback: None }
    }

    pub(super) const fn unknown(message: &'static str) -> Self {
        Self::new(2, message)
    }

    pub(super) const fn deadline_exceeded(message: &'static str) -> Self {
        Self::new(4, message)
    }

    pub(super) const fn not_found() -> Self {
        Self::new(5, "")
    }

    pub(super) const fn unimplemented(message: &'static str) -> Self {
        Self::new(12, message)
    }

    pub(super) const fn internal(message: &'static str) -> Self {
        Self::new(13, message)
    }

    pub(super) const fn unavailable(message: &'static str) -> Self {
        Self::new(14, message)
    }

    pub(super) const fn unauthenticated(message: &'static str) -> Self {
        Self::new(16, message)
    }

    pub(super) fn write(&self, trailers: &mut HeaderMap) {
        trailers.insert(GRPC_STATUS, HeaderValue::from(self.code));
        let values = [
            (GRPC_MESSAGE, (!self.message.is_empty()).then(|| percent_encoded(&self.message))),
            (PUSHBACK, self.pushback.clone()),
        ];
        for (name, value) in values {
            // What was encoded is plain text; a pushback was checked when its fault was parsed.
            if let Some(Ok(value)) = value.map(HeaderValue::try_from) {
                trailers.insert(name, value);
            }
        }
    }
}

/// A message as `grpc-message` carries it: in printable ASCII, the rest by percent signs.
fn percent_encoded(message: &str) -> String {
    let mut encoded = String::with_capacity(message.len());
    for byte in message.bytes() {
        if matches!(byte, b' '..=b'~') && byte != b'%' {
            encoded.push(char::from(byte));
        } else {
            // Writing to a string cannot fail.
            let _ = write!(encoded, "%{byte:02X}");
        }
    }
    encoded
}

/// The time that the client waits, from `grpc-timeout`: at most eight digits and a unit.
pub(super) fn time_out(headers: &HeaderMap) -> Option<Duration> {
    let text = headers.get("grpc-timeout")?.to_str().ok()?;
    let (digits, unit) = text.split_at_checked(text.len().checked_sub(1)?)?;
    if digits.len() > 8 || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let number: u64 = digits.parse().ok()?;
    Some(match unit {
        "H" => Duration::from_secs(number * 3_600),
        "M" => Duration::from_secs(number * 60),
        "S" => Duration::from_secs(number),
        "m" => Duration::from_millis(number),
        "u" => Duration::from_micros(number),
        "n" => Duration::from_nanos(number),
        _ => return None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn messages_are_sent_in_ascii() {
        assert_eq!(percent_encoded("at {'h:1'} |100 %\n\u{e9}"), "at {'h:1'} |100 %25%0A%C3%A9");
    }

    #[test]
    fn timeouts_are_digits_and_a_unit() {
        for (text, time) in [
            ("1H", Some(Duration::from_secs(3600))),
            ("2M", Some(Duration::from_secs(120))),
            ("99999999S", Some(Duration::from_secs(99_999_999))),
            ("250m", Some(Duration::from_millis(250))),
            ("7u", Some(Duration::from_micros(7))),
            ("0n", Some(Duration::ZERO)),
            ("", None),
            ("S", None),
            ("1", None),
            ("-1S", None),
            ("123456789S", None),
            ("1\u{e9}", None),
        ] {
            let value = HeaderValue::from_bytes(text.as_bytes()).unwrap();
            let headers = HeaderMap::from_iter([(HeaderName::from_static("grpc-timeout"), value)]);
            assert_eq!(time_out(&headers), time, "{text}");
        }
    }
}
