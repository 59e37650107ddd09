//! The parameters of an answer: those of the request, as a protobuf Struct keeps them.

use crate::endpoint::REPLICA;
use crate::json::{Entries, write as write_json, write_floats};

/// The key under which executors' results stand.
const RESULTS: &str = "__results__";

/// Writes parameters as sent, numbers made floats; with `results`, what `/params` reports: the
/// parameters that it got and so many documents.
pub(crate) fn write(body: &mut Vec<u8>, sent: Option<&str>, results: Option<usize>) {
    let sent = sent.unwrap_or("{}");
    let Some(count) = results else {
        write_floats(body, sent);
        return;
    };
    // Whoever calls has checked that parameters are an object, and they were read as JSON.
    let entries: Entries<'_> = serde_json::from_str(sent).unwrap_or_default();
    body.push(b'{');
    for (name, value) in entries.0.iter().filter(|(name, _)| name != RESULTS) {
        write_json(body, &**name);
        body.push(b':');
        write_floats(body, value.given().unwrap_or("null"));
        body.push(b',');
    }
    write_json(body, RESULTS);
    body.extend_from_slice(b":{");
    write_json(body, REPLICA);
    body.extend_from_slice(b":{\"got\":");
    write_floats(body, sent);
    // A count fits a float exactly up to 2^53.
    body.extend_from_slice(format!(",\"count\":{:?}}}}}}}", count as f64).as_bytes());
}
