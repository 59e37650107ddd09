//! Assertions about what arrived.

use std::fmt::Write;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::docarray::DocArray;
use crate::journal::{Entry, Journal};
use crate::value::{BytesAs, Value, to_value};

/// The most differences that a message shows.
const MOST: usize = 10;
/// The most characters of a value that a message shows.
const LONGEST: usize = 120;

/// What arrived for an endpoint, with assertions that say where it differs from what a test expects.
/// Each assertion returns its subject, so that several can follow one another.
///
/// An assertion about documents or parameters reads them as the type of what is expected, so fields that
/// the type does not have make no difference. Fields that are null are equal to fields that are missing, and
/// numbers are equal by their values.
#[derive(Clone, Debug)]
pub struct Arrived {
    endpoint: String,
    entries: Vec<Entry>,
}

impl Journal {
    /// What arrived for an endpoint, for assertions: requests and messages, and the GETs by which
    /// documents are streamed over HTTP. Empty if the gateway keeps no journal.
    ///
    /// ```
    /// # use clientlet_gateway::Gateway;
    /// # #[tokio::main(flavor = "current_thread")]
    /// # async fn main() -> std::io::Result<()> {
    /// let gateway = Gateway::builder().start().await?;
    /// // The code under test has nothing to look for.
    /// gateway.journal().to("/search").assert_count(0);
    /// # Ok(())
    /// # }
    /// ```
    pub fn to(&self, endpoint: &str) -> Arrived {
        let is_for_it = |entry: &Entry| entry.endpoint.as_deref() == Some(endpoint);
        let mut entries = self.entries();
        entries.retain(is_for_it);
        entries.extend(self.gets().into_iter().filter(is_for_it));
        Arrived::new(endpoint, entries)
    }
}

impl Arrived {
    pub(crate) fn new(endpoint: &str, entries: Vec<Entry>) -> Self {
        Self { endpoint: endpoint.to_owned(), entries }
    }

    /// The requests, in the order in which they arrived.
    pub fn entries(&self) -> &[Entry] {
        &self.entries
    }

    /// Asserts how many requests arrived.
    ///
    /// # Panics
    ///
    /// If it was another number. The message lists the requests.
    #[track_caller]
    pub fn assert_count(&self, expected: usize) -> &Self {
        let count = self.entries.len();
        assert!(
            count == expected,
            "{} arrived for `{}`, {expected} were expected{}",
            counted(count, "request"),
            self.endpoint,
            self.listed(),
        );
        self
    }

    /// Asserts which documents arrived, in all requests together.
    ///
    /// # Panics
    ///
    /// If others arrived, or documents that are no such type. The message names the documents and
    /// fields that differ.
    #[track_caller]
    pub fn assert_documents<T>(&self, expected: &[T]) -> &Self
    where
        T: Serialize + DeserializeOwned,
    {
        let mut arrived: Vec<T> = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            match entry.documents() {
                Ok(documents) => arrived.extend(documents),
                Err(error) => self.fail(&format!("\n  request {index}: {error}")),
            }
        }
        let mut differences = Vec::new();
        for index in 0..arrived.len().max(expected.len()) {
            let place = format!("document {index}");
            match (arrived.get(index), expected.get(index)) {
                (Some(arrived), Some(expected)) => {
                    differences.extend(differing(&place, &shown(arrived), &shown(expected)));
                }
                (Some(arrived), None) => {
                    differences
                        .push(format!("{place} was not expected: {}", text(&shown(arrived))));
                }
                (None, Some(expected)) => {
                    differences.push(format!("{place} did not arrive: {}", text(&shown(expected))));
                }
                (None, None) => {}
            }
        }
        self.assert_same(&differences)
    }

    /// Asserts the parameters of every request.
    ///
    /// # Panics
    ///
    /// If nothing arrived, or if a request had others. The message names the parameters that differ.
    #[track_caller]
    pub fn assert_parameters<P>(&self, expected: &P) -> &Self
    where
        P: Serialize + DeserializeOwned,
    {
        self.assert_each(|place, entry| match entry.parameters::<P>() {
            Ok(parameters) => differing(place, &shown(&parameters), &shown(expected)),
            Err(error) => vec![format!("{place}: the parameters cannot be read: {error}")],
        })
    }

    /// Asserts a header of every request, or of the WebSocket or gRPC stream on which the request came.
    ///
    /// # Panics
    ///
    /// If nothing arrived, or if a request had no such header or another value of it.
    #[track_caller]
    pub fn assert_header(&self, name: &str, expected: &str) -> &Self {
        self.assert_each(|place, entry| match entry.header(name) {
            Some(value) if value == expected => Vec::new(),
            Some(value) => {
                let (value, expected) = (short(&format!("{value:?}")), format!("{expected:?}"));
                vec![format!("{place}, header `{name}`: {value} arrived, {expected} was expected")]
            }
            None => vec![format!("{place} has no header `{name}`")],
        })
    }

    /// Asserts which executors every request was meant for: the text of `target_executor`, or `None`.
    ///
    /// # Panics
    ///
    /// If nothing arrived, or if a request was meant for others.
    #[track_caller]
    pub fn assert_target_executor(&self, expected: Option<&str>) -> &Self {
        self.assert_each(|place, entry| match entry.target_executor() {
            target if target.as_deref() == expected => Vec::new(),
            target => vec![format!(
                "{place}: the target executor {target:?} arrived, {expected:?} was expected"
            )],
        })
    }

    #[track_caller]
    fn assert_each(&self, differences: impl Fn(&str, &Entry) -> Vec<String>) -> &Self {
        assert!(!self.entries.is_empty(), "no request arrived for `{}`", self.endpoint);
        let each = self.entries.iter().enumerate();
        let found: Vec<String> = each
            .flat_map(|(index, entry)| differences(&format!("request {index}"), entry))
            .collect();
        self.assert_same(&found)
    }

    #[track_caller]
    fn assert_same(&self, differences: &[String]) -> &Self {
        if !differences.is_empty() {
            let mut message = String::new();
            for difference in differences.iter().take(MOST) {
                // Writing to a string cannot fail.
                let _ = write!(message, "\n  {difference}");
            }
            if differences.len() > MOST {
                let _ = write!(message, "\n  and {} more", differences.len() - MOST);
            }
            self.fail(&message);
        }
        self
    }

    #[track_caller]
    #[allow(clippy::panic, reason = "an assertion of tests")]
    fn fail(&self, differences: &str) -> ! {
        panic!("what arrived for `{}` is not what was expected:{differences}", self.endpoint);
    }

    /// The requests, a line each.
    fn listed(&self) -> String {
        let mut listed = String::new();
        for entry in self.entries.iter().take(MOST) {
            let Entry { number, method, path, document_count, .. } = entry;
            // Writing to a string cannot fail.
            let documents = counted(*document_count, "document");
            let _ = write!(listed, "\n  request {number}: {method} {path} with {documents}");
        }
        listed
    }
}

fn counted(count: usize, what: &str) -> String {
    format!("{count} {what}{}", if count == 1 { "" } else { "s" })
}

/// What is compared: anything as serde writes it.
fn shown(value: &impl Serialize) -> Value {
    to_value(value).unwrap_or_else(|error| Value::Text(error.to_string()))
}

/// The places at which two values differ, each as a line.
fn differing(place: &str, arrived: &Value, expected: &Value) -> Vec<String> {
    let mut differences = Vec::new();
    compare(place, "", arrived, expected, &mut differences);
    differences
}

fn compare(
    place: &str,
    field: &str,
    arrived: &Value,
    expected: &Value,
    differences: &mut Vec<String>,
) {
    let at = || match field {
        "" => place.to_owned(),
        field => format!("{place}, `{field}`"),
    };
    let within = |key: &str| match field {
        "" => key.to_owned(),
        field => format!("{field}.{key}"),
    };
    match (arrived, expected) {
        (Value::Map(ours), Value::Map(theirs)) => {
            for (key, value) in ours {
                match expected.get(key) {
                    Some(wanted) => compare(place, &within(key), value, wanted, differences),
                    None if *value == Value::Null => {}
                    None => {
                        let (field, value) = (within(key), text(value));
                        differences.push(format!(
                            "{place}, `{field}`: {value} arrived, nothing was expected"
                        ));
                    }
                }
            }
            let missing = theirs
                .iter()
                .filter(|(key, value)| arrived.get(key).is_none() && *value != Value::Null);
            differences.extend(missing.map(|(key, value)| {
                let (field, value) = (within(key), text(value));
                format!("{place}, `{field}`: it is missing, {value} was expected")
            }));
        }
        (Value::List(ours), Value::List(theirs)) if ours.len() == theirs.len() => {
            for (index, (value, wanted)) in ours.iter().zip(theirs).enumerate() {
                compare(place, &format!("{field}[{index}]"), value, wanted, differences);
            }
        }
        (Value::List(ours), Value::List(theirs)) => {
            let (ours, theirs) = (ours.len(), theirs.len());
            let at = at();
            differences.push(format!("{at}: {ours} elements arrived, {theirs} were expected"));
        }
        (Value::Integer(n), Value::Float(m)) | (Value::Float(m), Value::Integer(n))
            if *n as f64 == *m => {}
        _ if arrived == expected => {}
        _ => {
            let (at, arrived, expected) = (at(), text(arrived), text(expected));
            differences.push(format!("{at}: {arrived} arrived, {expected} was expected"));
        }
    }
}

/// A value as JSON, shortened.
fn text(value: &Value) -> String {
    short(&value.to_json(BytesAs::of(DocArray::V1)).to_string())
}

fn short(text: &str) -> String {
    match text.char_indices().nth(LONGEST) {
        Some((end, _)) => format!("{}...", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn differences_name_their_places() {
        let arrived = json!({"a": 1, "b": [1, {"c": "x"}], "d": null, "e": [1], "f": "more"});
        let expected = json!({"a": 1.0, "b": [1, {"c": "y"}], "e": [1, 2], "g": true, "h": null});
        assert_eq!(
            differing("document 3", &shown(&arrived), &shown(&expected)),
            [
                "document 3, `b[1].c`: \"x\" arrived, \"y\" was expected",
                "document 3, `e`: 1 elements arrived, 2 were expected",
                "document 3, `f`: \"more\" arrived, nothing was expected",
                "document 3, `g`: it is missing, true was expected",
            ]
        );
        assert_eq!(short(&"\u{e9}".repeat(200)).chars().count(), LONGEST + 3);
    }
}
