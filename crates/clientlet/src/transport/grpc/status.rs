//! Reads the status that ends a gRPC call from headers or trailers. The peer may put anything into
//! them, and tonic's own parser panics on some of it, so tonic gets none of them.

use std::sync::Arc;
use std::time::SystemTime;

use ::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::retry_after::retry_after;
use crate::address::decode_percent;
use crate::error::{Again, GrpcCode};
use crate::foreign::shorten;

/// The status of a call as the peer sent it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Told {
    pub(super) code: GrpcCode,
    /// The message, percent-decoded; empty if there was none.
    pub(super) message: String,
    pub(super) again: Again,
    /// The HTTP status that came with it, if it was not 200.
    pub(super) http: Option<StatusCode>,
    /// The head or the trailers that contained it; empty for OK.
    pub(super) metadata: Arc<HeaderMap>,
}

impl Told {
    /// Makes a status with only a message.
    pub(super) fn of(code: GrpcCode, message: impl Into<String>) -> Told {
        let (message, metadata) = (message.into(), Arc::default());
        Told { code, message, again: Again::Unsaid, http: None, metadata }
    }
}

pub(super) static STATUS: HeaderName = HeaderName::from_static("grpc-status");
static MESSAGE: HeaderName = HeaderName::from_static("grpc-message");
static DETAILS: HeaderName = HeaderName::from_static("grpc-status-details-bin");

/// The header in which a server asks for a wait, in milliseconds (gRFC A6).
static PUSHBACK: HeaderName = HeaderName::from_static("grpc-retry-pushback-ms");

/// Decodes binary metadata with or without padding.
const BASE64: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new()
        .with_decode_padding_mode(DecodePaddingMode::Indifferent)
        .with_decode_allow_trailing_bits(true),
);

/// Reads the status from trailers, or from the head of an answer without messages. `None` if there
/// is no status.
///
/// # Errors
/// A description of the part that cannot be read.
pub(super) fn read(headers: &HeaderMap) -> Result<Option<Told>, String> {
    let Some(status) = headers.get(&STATUS) else { return Ok(None) };
    let code = match status.as_bytes() {
        b"0" => GrpcCode::Ok,
        status => {
            let text = std::str::from_utf8(status).ok();
            // Only digits, because a sign would parse, too.
            let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
            let number = digits
                .and_then(|text| text.parse::<u32>().ok())
                .ok_or_else(|| format!("its {} is {:?}, not a number", STATUS, shown(status)))?;
            GrpcCode::of_number(number)
        }
    };
    if let Some(details) = headers.get(&DETAILS)
        && !is_binary(details.as_bytes())
    {
        let shown = shorten(&lossy(details.as_bytes()));
        return Err(format!("its {DETAILS} is {shown:?}, not base64"));
    }
    if code == GrpcCode::Ok {
        return Ok(Some(Told::of(code, "")));
    }
    let message = headers.get(&MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
    let told = Told::of(code, decode_percent(message));
    Ok(Some(Told { again: again(headers), metadata: Arc::new(headers.clone()), ..told }))
}

/// Whether the value is valid binary metadata: base64, or several values separated by commas.
fn is_binary(value: &[u8]) -> bool {
    value.split(|byte| *byte == b',').all(|part| BASE64.decode(part.trim_ascii()).is_ok())
}

/// Reads whether and when the peer wants the call to be retried. A pushback that is negative or not
/// a number means never.
fn again(headers: &HeaderMap) -> Again {
    let Some(pushback) = headers.get(&PUSHBACK) else {
        return retry_after(headers, SystemTime::now()).into();
    };
    let milliseconds = pushback.to_str().ok().and_then(|text| text.trim().parse().ok());
    milliseconds.map_or(Again::Never, |milliseconds| {
        Again::After(std::time::Duration::from_millis(milliseconds))
    })
}

/// Returns the text as it came, with blanks at its ends.
fn shown(bytes: &[u8]) -> String {
    let text = lossy(bytes);
    if text.len() > 40 { shorten(&text) } else { text }
}

fn lossy(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    fn headers(pairs: &[(&HeaderName, &[u8])]) -> HeaderMap {
        let pair = |(name, value): &(&HeaderName, &[u8])| {
            ((*name).clone(), HeaderValue::from_bytes(value).unwrap())
        };
        pairs.iter().map(pair).collect()
    }

    fn told(pairs: &[(&HeaderName, &[u8])]) -> Told {
        read(&headers(pairs)).unwrap().unwrap()
    }

    #[test]
    fn codes_are_numbers_and_unknown_ones_are_unknown() {
        assert_eq!(read(&headers(&[(&MESSAGE, b"x")])), Ok(None));
        for (status, code) in [
            (&b"0"[..], GrpcCode::Ok),
            (b"14", GrpcCode::Unavailable),
            (b"16", GrpcCode::Unauthenticated),
            (b"17", GrpcCode::Unknown),
            (b"4294967295", GrpcCode::Unknown),
        ] {
            assert_eq!(told(&[(&STATUS, status)]).code, code);
        }
        for status in [&b""[..], b"ok", b"-1", b"1.0", b"\xff"] {
            let error = read(&headers(&[(&STATUS, status)])).unwrap_err();
            assert!(error.contains("not a number"), "{error}");
        }
    }

    #[test]
    fn messages_are_percent_decoded_as_far_as_they_are_valid() {
        let table = [
            (&b"caf%C3%A9"[..], "caf\u{e9}"),
            (b"100%", "100%"),
            (b"%zz%4", "%zz%4"),
            (b"%ff", "\u{fffd}"),
            (b"plain", "plain"),
            (b"", ""),
        ];
        for (given, decoded) in table {
            assert_eq!(told(&[(&STATUS, b"2"), (&MESSAGE, given)]).message, decoded);
        }
    }

    #[test]
    fn details_are_base64_or_the_status_cannot_be_read() {
        for details in [&b""[..], b"CAM", b"CAM=", b"CAM, CAM=", b"AAECAw"] {
            assert_eq!(
                told(&[(&STATUS, b"3"), (&DETAILS, details)]).code,
                GrpcCode::InvalidArgument
            );
        }
        for (status, details) in
            [(b"3", &b"!!!"[..]), (b"0", b"!!!"), (b"3", b"\xff"), (b"3", b"A")]
        {
            let error = read(&headers(&[(&STATUS, status), (&DETAILS, details)])).unwrap_err();
            assert!(error.contains("not base64"), "{error}");
        }
    }

    #[test]
    fn a_pushback_is_milliseconds_and_anything_else_means_never() {
        let again =
            |pairs: &[(&HeaderName, &[u8])]| told(&[&[(&STATUS, &b"8"[..])], pairs].concat()).again;
        assert_eq!(again(&[]), Again::Unsaid);
        assert_eq!(again(&[(&PUSHBACK, b"250")]), Again::After(Duration::from_millis(250)));
        assert_eq!(again(&[(&PUSHBACK, b"0")]), Again::After(Duration::ZERO));
        for never in [&b"-1"[..], b"-250", b"soon", b"", b"1.5", b"99999999999999999999"] {
            assert_eq!(again(&[(&PUSHBACK, never)]), Again::Never);
        }
        let seconds = (&::http::header::RETRY_AFTER, &b"7"[..]);
        assert_eq!(again(&[seconds]), Again::After(Duration::from_secs(7)));
        assert_eq!(again(&[seconds, (&PUSHBACK, b"-1")]), Again::Never);
    }

    proptest! {
        #[test]
        fn whatever_comes_is_read_without_a_panic(
            status in any::<Vec<u8>>(),
            message in any::<Vec<u8>>(),
            details in any::<Vec<u8>>(),
            pushback in any::<Vec<u8>>(),
        ) {
            let given = [(&STATUS, status), (&MESSAGE, message), (&DETAILS, details), (&PUSHBACK, pushback)];
            let values = given.into_iter().filter_map(|(name, value)| {
                Some((name.clone(), HeaderValue::from_bytes(&value).ok()?))
            });
            let _ = read(&values.collect());
        }
    }
}
