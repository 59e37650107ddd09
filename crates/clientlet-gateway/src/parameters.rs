//! The parameters of an answer: the parameters of the request, as a protobuf Struct keeps them.

use crate::json::{Entries, write as write_json, write_floats};
use crate::value::{BytesAs, Value};

/// The key under which executors' results stand.
pub(crate) const RESULTS: &str = "__results__";

/// The parameters of a request as a value; an empty map if there are none.
pub(crate) fn read(sent: Option<&str>) -> Value {
    // The parameters were read as JSON before.
    let read = sent.and_then(|sent| serde_json::from_str(sent).ok());
    read.unwrap_or_else(|| Value::Map(Vec::new()))
}

/// Parameters that may be missing or null: an empty map then.
pub(crate) fn of(sent: Option<&Value>) -> Value {
    match sent {
        None | Some(Value::Null) => Value::Map(Vec::new()),
        Some(sent) => sent.clone(),
    }
}

/// Writes parameters as they were sent, with numbers as floats, and the results of executors by
/// their keys.
pub(crate) fn write(body: &mut Vec<u8>, sent: Option<&str>, results: Vec<(String, Value)>) {
    let sent = sent.unwrap_or("{}");
    if results.is_empty() {
        write_floats(body, sent);
        return;
    }
    // The caller has checked that parameters are an object, and they were read as JSON.
    let entries: Entries<'_> = serde_json::from_str(sent).unwrap_or_default();
    body.push(b'{');
    for (name, value) in entries.0.iter().filter(|(name, _)| name != RESULTS) {
        write_json(body, &**name);
        body.push(b':');
        write_floats(body, value.given().unwrap_or("null"));
        body.push(b',');
    }
    write_json(body, RESULTS);
    body.push(b':');
    let mut written = Vec::new();
    Value::Map(results).write_json(&mut written, BytesAs::Text);
    // JSON is text.
    write_floats(body, &String::from_utf8_lossy(&written));
    body.push(b'}');
}
