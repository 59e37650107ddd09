//! serde_json's own types, whose content is already JSON. serde_json marks them with these names.

use serde::Serialize;
use serde::ser::Error as _;

use super::one_kind::Text;
use super::refusal::Refusal;
use super::serializer::{Destination, To};

pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";
/// The marker of numbers if any crate in the build enables serde_json's `arbitrary_precision`.
pub(super) const RAW_NUMBER: &str = "$serde_json::private::Number";

/// Parses JSON text and writes it again, so that the encoder's rules apply inside it as well.
pub(super) fn write_again<T, D>(json: &T, destination: D) -> Result<(), Refusal>
where
    T: Serialize + ?Sized,
    D: Destination,
{
    let mut text = String::new();
    json.serialize(To(Text(&mut text)))?;
    // Numbers come first: with `arbitrary_precision`, the numbers of a `serde_json::Value` arrive
    // in this function again.
    if let Ok(whole) = text.parse::<i64>() {
        return destination.number(whole);
    }
    if let Ok(whole) = text.parse::<i128>() {
        return destination.number(whole);
    }
    let is_number = text.starts_with(|c: char| c == '-' || c.is_ascii_digit());
    if let Some(number) = text.parse().ok().filter(|_| is_number) {
        return destination.number::<f64>(number);
    }
    // `serde_json::Value` keeps the kind and value of every number. `clientlet::Value` does so only
    // within i64.
    let value: serde_json::Value = serde_json::from_str(&text).map_err(Refusal::custom)?;
    value.serialize(To(destination))
}
