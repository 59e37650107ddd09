//! Passes on JSON that a type keeps as text.

use std::iter::once;

use serde::Deserialize;
use serde::de::value::MapDeserializer;
use serde::de::{DeserializeSeed, Deserializer, Error, Visitor};
use serde_json::value::RawValue;

use super::{Lenient, Place};
use crate::document::json_text::JsonText;
use crate::document::raw::RAW_VALUE;

/// Passes the text on as serde_json does. The text is rewritten only if it may contain a whole
/// double.
pub(super) fn deserialize<'de, D: Deserializer<'de>, V: Visitor<'de>>(
    inner: D,
    place: Place,
    visitor: V,
) -> Result<V::Value, D::Error> {
    let raw: Box<str> = Box::<RawValue>::deserialize(inner)?.into();
    let mut text = String::from(raw);
    if has_whole_double(&text) {
        let mut anew = Vec::with_capacity(text.len());
        let mut json = serde_json::Deserializer::from_str(&text);
        JsonText(&mut anew)
            .deserialize(Lenient::new(&mut json, place))
            .map_err(D::Error::custom)?;
        text = String::from_utf8(anew).map_err(D::Error::custom)?;
    }
    visitor.visit_map(MapDeserializer::new(once((RAW_VALUE, text))))
}

/// Whether the text may contain a whole double as Python writes it: `7.0`.
fn has_whole_double(json: &str) -> bool {
    // Points are rare, and a search for one byte is several times faster than one for two.
    json.match_indices('.').any(|(at, _)| match &json.as_bytes()[at + 1..] {
        [b'0'] => true,
        [b'0', b, ..] => matches!(b, b',' | b']' | b'}') || b.is_ascii_whitespace(),
        _ => false,
    })
}
