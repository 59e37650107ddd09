//! Reads the status that ends a gRPC call from headers or trailers. The peer may put anything into
//! them.

use std::sync::Arc;
use std::time::SystemTime;

use ::http::{HeaderMap, HeaderName, HeaderValue};
use base64::Engine;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};

use super::super::multiplex::Ending;
use super::super::retry_after::retry_after;
use super::failure;
use crate::address::decode_percent;
use crate::error::{Again, GrpcCode};
use crate::foreign::shorten;

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

/// Reads the status from trailers, or from the head of an answer without messages: an error unless
/// it is OK. `None` if there is no status.
pub(super) fn read(headers: &HeaderMap) -> Option<Result<(), Ending>> {
    let status = headers.get(&STATUS)?.as_bytes();
    let text = std::str::from_utf8(status).ok();
    // Only digits, because a sign would parse, too.
    let digits = text.filter(|text| text.bytes().all(|byte| byte.is_ascii_digit()));
    let Some(code) = digits.and_then(|text| text.parse().ok()).map(GrpcCode::of_number) else {
        let what = format!("its {STATUS} is {:?}, not a number", shown(status));
        return Some(Err(failure::unreadable(&what)));
    };
    if let Some(details) = headers.get(&DETAILS)
        && !is_binary(details.as_bytes())
    {
        let shown = shorten(&lossy(details.as_bytes()));
        let what = format!("its {DETAILS} is {shown:?}, not base64");
        return Some(Err(failure::unreadable(&what)));
    }
    if code == GrpcCode::Ok {
        return Some(Ok(()));
    }
    let message = headers.get(&MESSAGE).map(HeaderValue::as_bytes).unwrap_or_default();
    let mut ending = failure::told(code, decode_percent(message));
    ending.again = again(headers);
    ending.detail.headers = Some(Arc::new(headers.clone()));
    Some(Err(ending))
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

    fn told(pairs: &[(&HeaderName, &[u8])]) -> Ending {
        read(&headers(pairs)).unwrap().unwrap_err()
    }

    #[test]
    fn codes_are_numbers_and_unknown_ones_are_unknown() {
        assert!(read(&headers(&[(&MESSAGE, b"x")])).is_none());
        for ok in [&b"0"[..], b"00"] {
            assert!(read(&headers(&[(&STATUS, ok)])).unwrap().is_ok());
        }
        for (status, code) in [
            (&b"14"[..], GrpcCode::Unavailable),
            (b"16", GrpcCode::Unauthenticated),
            (b"17", GrpcCode::Unknown),
            (b"4294967295", GrpcCode::Unknown),
        ] {
            assert_eq!(told(&[(&STATUS, status)]).detail.grpc, Some(code));
        }
        for status in [&b""[..], b"ok", b"-1", b"1.0", b"\xff"] {
            let what = told(&[(&STATUS, status)]).what;
            assert!(what.contains("not a number"), "{what}");
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
            let said = told(&[(&STATUS, b"2"), (&MESSAGE, given)]).said;
            assert_eq!(said.as_deref(), Some(decoded));
        }
    }

    #[test]
    fn details_are_base64_or_the_status_cannot_be_read() {
        for details in [&b""[..], b"CAM", b"CAM=", b"CAM, CAM=", b"AAECAw"] {
            let code = told(&[(&STATUS, b"3"), (&DETAILS, details)]).detail.grpc;
            assert_eq!(code, Some(GrpcCode::InvalidArgument));
        }
        for (status, details) in
            [(b"3", &b"!!!"[..]), (b"0", b"!!!"), (b"3", b"\xff"), (b"3", b"A")]
        {
            let what = told(&[(&STATUS, status), (&DETAILS, details)]).what;
            assert!(what.contains("not base64"), "{what}");
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
