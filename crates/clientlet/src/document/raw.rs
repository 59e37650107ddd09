//! serde_json's own types, whose content is already JSON. serde_json marks them with these names.

use serde::Serialize;
use serde::ser::{Error as _, Serializer};

use super::one_kind::Text;
use super::refusal::Refusal;

pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";
/// The marker of numbers if any crate in the build enables serde_json's `arbitrary_precision`.
pub(super) const RAW_NUMBER: &str = "$serde_json::private::Number";

/// Parses JSON text and writes it again, so that the encoder's rules apply inside it as well.
pub(super) fn write_again<T, S>(json: &T, serializer: S) -> Result<(), Refusal>
where
    T: Serialize + ?Sized,
    S: Serializer<Ok = (), Error = Refusal>,
{
    let text = json.serialize(Text)?;
    // Numbers come first: with `arbitrary_precision`, the numbers of a `serde_json::Value` arrive
    // in this function again.
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
    // `serde_json::Value` keeps the kind and value of every number. `clientlet::Value` does so only
    // within i64.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(Refusal::custom)?;
    value.serialize(serializer)
}
