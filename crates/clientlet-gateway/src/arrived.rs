//! Assertions about what arrived.

use std::collections::{BTreeMap, HashMap};
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
/// the type does not have make no difference. Fields that are null are equal to fields that are missing,
/// numbers are equal by their values, NaN is equal to NaN, and arrays are equal if their element types are.
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
    /// The documents of one request must be in the order of what is expected. If there were several
    /// requests, the documents may have come in any order, since it is not certain which request is
    /// first.
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
        let mut arrived: Vec<Value> = Vec::new();
        for (index, entry) in self.entries.iter().enumerate() {
            match entry.documents::<T>() {
                Ok(documents) => arrived.extend(documents.iter().map(shown)),
                Err(error) => self.fail(&format!("\n  request {index}: {error}")),
            }
        }
        let mut arrived: Vec<_> = arrived.iter().enumerate().collect();
        let wanted: Vec<Value> = expected.iter().map(shown).collect();
        let mut wanted: Vec<_> = wanted.iter().enumerate().collect();
        if self.entries.len() > 1 {
            cancel(&mut arrived, &mut wanted);
        }
        let mut differences = Vec::new();
        for pair in 0..arrived.len().max(wanted.len()) {
            match (arrived.get(pair), wanted.get(pair)) {
                (Some((index, arrived)), Some((place, wanted))) => {
                    let place = match index == place {
                        true => format!("document {index}"),
                        false => format!("document {index}, expected as {place}"),
                    };
                    differences.extend(differing(&place, arrived, wanted));
                }
                (Some((index, arrived)), None) => {
                    let arrived = text(arrived);
                    differences.push(format!("document {index} was not expected: {arrived}"));
                }
                (None, Some((place, wanted))) => {
                    let wanted = text(wanted);
                    differences.push(format!("document {place} did not arrive: {wanted}"));
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
            None if entry.is_stripped => {
                vec![format!("{place}: the journal no longer has the headers, there are too many")]
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

/// Removes what is equal in both, in whatever order it is.
fn cancel(arrived: &mut Vec<(usize, &Value)>, wanted: &mut Vec<(usize, &Value)>) {
    // Differing values may have the same key, equal values do not have different ones.
    let mut by_key: HashMap<String, Vec<usize>> = HashMap::new();
    for (place, (_, value)) in wanted.iter().enumerate() {
        by_key.entry(text_of(&levelled(value))).or_default().push(place);
    }
    let mut is_found = vec![false; wanted.len()];
    arrived.retain(|(_, value)| {
        let places = by_key.get_mut(&text_of(&levelled(value)));
        let equal = places.and_then(|places| {
            let index = places.iter().position(|place| {
                wanted
                    .get(*place)
                    .is_some_and(|(_, wanted)| differing("", value, wanted).is_empty())
            })?;
            Some(places.remove(index))
        });
        if let Some(place) = equal {
            is_found[place] = true;
        }
        equal.is_none()
    });
    let mut found = is_found.into_iter();
    wanted.retain(|_| found.next() == Some(false));
}

/// A value in the form that all equal values have: without nulls, with sorted keys, and with whole
/// numbers as integers.
fn levelled(value: &Value) -> Value {
    match value {
        Value::List(list) => list.iter().map(levelled).collect(),
        Value::Map(entries) => {
            let given = entries.iter().filter(|(_, value)| *value != Value::Null);
            let entries: BTreeMap<_, _> =
                given.map(|(key, value)| (key.clone(), levelled(value))).collect();
            Value::Map(entries.into_iter().collect())
        }
        // Whole and below 2^63, where doubles are integers.
        Value::Float(n) if n.fract() == 0.0 && n.abs() < 9.2e18 => Value::Integer(*n as i64),
        value => value.clone(),
    }
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
        (Value::Float(n), Value::Float(m)) if n.is_nan() && m.is_nan() => {}
        _ if arrived == expected => {}
        _ => {
            let (at, (arrived, expected)) = (at(), told_apart(arrived, expected));
            differences.push(format!("{at}: {arrived} arrived, {expected} was expected"));
        }
    }
}

/// Two values that differ, shortened so that the difference is seen.
fn told_apart(arrived: &Value, expected: &Value) -> (String, String) {
    let (one, other) = (text_of(arrived), text_of(expected));
    if one == other {
        // They look the same and are of different kinds.
        return (format!("{} {one}", arrived.kind()), format!("{} {other}", expected.kind()));
    }
    let same = one.chars().zip(other.chars()).take_while(|(one, other)| one == other).count();
    if same < LONGEST / 2 || one.len().max(other.len()) <= LONGEST {
        return (short(&one), short(&other));
    }
    let from_difference = |text: &str| {
        let rest: String = text.chars().skip(same - LONGEST / 4).collect();
        short(&format!("...{rest}"))
    };
    (from_difference(&one), from_difference(&other))
}

/// A value as JSON, shortened.
fn text(value: &Value) -> String {
    short(&text_of(value))
}

/// A value as JSON, with the names of numbers that JSON does not have, and with the element types and
/// shapes of arrays.
fn text_of(value: &Value) -> String {
    let mut text = String::new();
    write_text(&mut text, value);
    text
}

fn write_text(out: &mut String, value: &Value) {
    let mut list = |ends: (char, char), each: &mut dyn Iterator<Item = (Option<&str>, &Value)>| {
        out.push(ends.0);
        for (index, (key, value)) in each.enumerate() {
            out.push_str(if index > 0 { "," } else { "" });
            if let Some(key) = key {
                out.push_str(&serde_json::Value::from(key).to_string());
                out.push(':');
            }
            write_text(out, value);
        }
        out.push(ends.1);
    };
    // Writing to a string cannot fail.
    let _ = match value {
        Value::List(elements) => {
            list(('[', ']'), &mut elements.iter().map(|value| (None, value)));
            Ok(())
        }
        Value::Map(entries) => {
            list(('{', '}'), &mut entries.iter().map(|(key, value)| (Some(&**key), value)));
            Ok(())
        }
        Value::Array(array) => {
            let _ = write!(out, "{} {:?} ", array.dtype, array.shape);
            write_text(out, &array.to_list());
            Ok(())
        }
        Value::Float(n) if !n.is_finite() => write!(out, "{n}"),
        scalar => write!(out, "{}", scalar.to_json(BytesAs::of(DocArray::V1))),
    };
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
    use crate::value::Array;

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

    fn array(dtype: &str, buffer: &[u8]) -> Value {
        let buffer = bytes::Bytes::copy_from_slice(buffer);
        Value::Array(Array { dtype: dtype.into(), shape: vec![1], buffer })
    }

    #[test]
    fn differences_can_be_seen() {
        let long = |end: &str| Value::Text("x".repeat(500) + end);
        let single = array("<f4", &1.5_f32.to_le_bytes());
        let double = array("<f8", &1.5_f64.to_le_bytes());
        let bytes = Value::Bytes("a".into());
        let nan = Value::Float(f64::NAN);
        for (arrived, expected, difference) in [
            (&nan, &nan, None),
            (&nan, &Value::Null, Some("NaN arrived, null was expected")),
            (&nan, &Value::Float(f64::INFINITY), Some("NaN arrived, inf was expected")),
            (&single, &double, Some("<f4 [1] [1.5] arrived, <f8 [1] [1.5] was expected")),
            (
                &bytes,
                &Value::Text("YQ==".into()),
                Some("bytes \"YQ==\" arrived, text \"YQ==\" was expected"),
            ),
            (
                &long("1"),
                &long("2"),
                Some(&*format!("...{0}1\" arrived, ...{0}2\" was expected", "x".repeat(30))),
            ),
        ] {
            let found = differing("d", arrived, expected);
            let expected = difference.map(|difference| format!("d: {difference}"));
            assert_eq!(found.first(), expected.as_ref());
        }
    }

    #[test]
    fn what_is_equal_cancels_in_any_order() {
        let values = |json: serde_json::Value| match shown(&json) {
            Value::List(list) => list,
            _ => panic!("a list is needed"),
        };
        let arrived = values(json!([{"a": 1, "b": null}, {"a": 2}, {"a": 2}, {"a": 3}]));
        let wanted = values(json!([{"a": 2.0}, {"a": 4}, {"a": 1.0}]));
        let mut arrived: Vec<_> = arrived.iter().enumerate().collect();
        let mut wanted: Vec<_> = wanted.iter().enumerate().collect();
        cancel(&mut arrived, &mut wanted);
        let places = |left: &[(usize, &Value)]| left.iter().map(|(at, _)| *at).collect::<Vec<_>>();
        assert_eq!((places(&arrived), places(&wanted)), (vec![2, 3], vec![1]));
    }
}
