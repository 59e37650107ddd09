//! serde_json's own types, whose content is JSON already; they announce themselves by these names.

use serde::Serialize;
use serde::ser::{Error as _, Serializer};

use super::one_kind::Text;
use super::refusal::Refusal;

pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";
/// A number, where some crate of the build turned serde_json's `arbitrary_precision` on.
pub(super) const RAW_NUMBER: &str = "$serde_json::private::Number";

/// Reads JSON that is written already and writes it again, so that the rules hold inside it as well.
pub(super) fn write_again<T, S>(json: &T, serializer: S) -> Result<(), Refusal>
where
    T: Serialize + ?Sized,
    S: Serializer<Ok = (), Error = Refusal>,
{
    let text = json.serialize(Text)?;
    // Numbers first: with `arbitrary_precision` those of a `serde_json::Value` come here again.
    if let Ok(whole) = text.parse() {
        return serializer.serialize_i64(whole);
    }
    if let Ok(whole) = text.parse() {
        return serializer.serialize_i128(whole);
    }
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if let Some(number) = text.parse().ok().filter(|_| is_number) {
        return serializer.serialize_f64(number);
    }
    // Every number keeps its kind and its value, which those of `clientlet::Value` beyond i64 do not.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(Refusal::custom)?;
    value.serialize(serializer)
}
