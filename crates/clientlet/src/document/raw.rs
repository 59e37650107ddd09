//! serde_json's own types, whose content is JSON already; they announce themselves by these names.

pub(super) const RAW_VALUE: &str = "$serde_json::private::RawValue";
pub(super) const RAW_NUMBER: &str = "$serde_json::private::Number";
