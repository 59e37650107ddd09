//! Percent-encoding of paths and queries.

use std::borrow::Cow;

/// A part of a URL, decoded. What is no code stays as it is; what is not UTF-8 is replaced.
pub(crate) fn decoded(part: &str) -> Cow<'_, str> {
    if !part.contains('%') {
        return Cow::Borrowed(part);
    }
    let bytes = part.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let code = part.get(place + 1..place + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                place += 2;
            }
            _ => out.push(byte),
        }
        place += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The route of an endpoint over HTTP with documents v2: its name between one slash and none.
pub(crate) fn route(endpoint: &str) -> String {
    format!("/{}", endpoint.trim_matches('/'))
}
