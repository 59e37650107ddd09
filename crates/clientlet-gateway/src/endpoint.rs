//! What the executor behind the gateway does, whatever the generation of documents.

use std::fmt::Write;
use std::time::Duration;

use regex_lite::Regex;
use serde_json::{Map, Value};

use crate::streaming::StreamScript;

/// The deployment's name, which `target_executor` is matched against.
pub(crate) const DEPLOYMENT: &str = "executor0";
/// The key of the deployment's results among the parameters.
pub(crate) const REPLICA: &str = "executor0/rep-0";
/// The class that an exception is said to come from.
pub(crate) const CLASS: &str = "WireExecutor";

/// An endpoint that the executor binds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Endpoint {
    Echo,
    Upper,
    Fail,
    Slow,
    Params,
    Big,
    Empty,
    Rich,
    /// `/rich`, but without bytes that are no text, which JSON of documents v2 cannot carry.
    JsonRich,
    /// `/index`, `/search`, `/update`, `/delete`.
    Crud,
    Default,
}

/// The bound paths, but for those that are options.
pub(crate) const PATHS: [(&str, Endpoint); 12] = [
    ("/upper", Endpoint::Upper),
    ("/fail", Endpoint::Fail),
    ("/slow", Endpoint::Slow),
    ("/params", Endpoint::Params),
    ("/big", Endpoint::Big),
    ("/empty", Endpoint::Empty),
    ("/rich", Endpoint::Rich),
    ("/json_rich", Endpoint::JsonRich),
    ("/index", Endpoint::Crud),
    ("/search", Endpoint::Crud),
    ("/update", Endpoint::Crud),
    ("/delete", Endpoint::Crud),
];

/// Which endpoints are bound besides those that always are.
#[derive(Clone, Debug)]
pub(crate) struct Bindings {
    pub(crate) root: bool,
    pub(crate) default: bool,
    /// The streaming ones, which executors of documents v2 alone can have.
    pub(crate) streams: Vec<(String, StreamScript)>,
}

impl Default for Bindings {
    fn default() -> Self {
        let streams = [
            ("/stream", StreamScript::new(3)),
            ("/stream_fail", StreamScript::new(1).raises(true)),
        ];
        let streams = streams.map(|(path, stream)| (path.to_owned(), stream)).into();
        Self { root: true, default: false, streams }
    }
}

impl Bindings {
    /// The endpoint bound to exactly this path.
    pub(crate) fn find(&self, path: &str) -> Option<Endpoint> {
        match path {
            "/" if self.root => Some(Endpoint::Echo),
            "/default" if self.default => Some(Endpoint::Default),
            _ => PATHS.iter().find(|(bound, _)| *bound == path).map(|(_, endpoint)| *endpoint),
        }
    }

    /// The streaming endpoint bound to exactly this path; of several the last.
    pub(crate) fn stream(&self, path: &str) -> Option<&StreamScript> {
        self.streams.iter().rev().find(|(bound, _)| bound == path).map(|(_, stream)| stream)
    }

    /// Every bound path, but for those of streaming endpoints.
    pub(crate) fn paths(&self) -> impl Iterator<Item = &'static str> + use<> {
        let root = self.root.then_some("/");
        let default = self.default.then_some("/default");
        root.into_iter().chain(default).chain(PATHS.iter().map(|(path, _)| *path))
    }
}

/// Whether a `target_executor` means the one deployment there is: a regular expression that
/// matches at the start of its name, or nothing, which means every one.
///
/// # Errors
///
/// The expression is invalid.
pub(crate) fn is_target(expression: &str) -> Result<bool, regex_lite::Error> {
    if expression.is_empty() || expression == DEPLOYMENT {
        return Ok(true);
    }
    Regex::new(&format!("^(?:{expression})")).map(|expression| expression.is_match(DEPLOYMENT))
}

/// What an endpoint does to every document on its way through.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Change {
    None,
    Upper,
    /// Sets this tag to true.
    Tag(&'static str),
}

impl Endpoint {
    pub(crate) fn change(self) -> Change {
        match self {
            Self::Upper => Change::Upper,
            Self::Crud => Change::Tag("crud"),
            Self::Default => Change::Tag("default"),
            _ => Change::None,
        }
    }

    /// Runs, and says what becomes of the documents.
    pub(crate) async fn run(self, parameters: Option<&str>) -> Outcome {
        let parameter = |name: &str| {
            let parameters: Map<String, Value> = serde_json::from_str(parameters?).ok()?;
            parameters.get(name).cloned()
        };
        match self {
            Self::Echo | Self::Upper | Self::Crud | Self::Default => Outcome::Changed,
            Self::Empty => Outcome::Documents(Bulk::Nothing),
            Self::Rich | Self::JsonRich => Outcome::Documents(Bulk::Rich),
            Self::Params => Outcome::Results,
            Self::Fail => {
                Outcome::Failed(Exception::new(parameter("kind").as_ref(), parameter("message")))
            }
            Self::Big => {
                let size = parameter("bytes").and_then(|bytes| bytes.as_f64());
                // A negative size makes Python's bytes empty too; more than a gigabyte serves no
                // test and might exhaust the memory.
                let size = size.map_or(1 << 20, |size| size as usize).min(1 << 30);
                Outcome::Documents(Bulk::Big(size))
            }
            Self::Slow => {
                let seconds = parameter("seconds").and_then(|seconds| seconds.as_f64());
                let time = Duration::try_from_secs_f64(seconds.unwrap_or(1.0)).unwrap_or_default();
                tokio::time::sleep(time).await;
                Outcome::Changed
            }
        }
    }
}

/// How a run ended.
#[derive(Debug)]
pub(crate) enum Outcome {
    /// The request's documents go back, as [`Endpoint::change`] made them.
    Changed,
    /// The request's documents go back, and results are among the parameters.
    Results,
    /// Other documents go back.
    Documents(Bulk),
    /// The executor raised an exception.
    Failed(Exception),
}

/// Documents that an endpoint makes.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Bulk {
    Nothing,
    /// A document for each kind of content.
    Rich,
    /// One document of so many letters x, called `big`.
    Big(usize),
}

/// A Python exception with one argument.
#[derive(Debug)]
pub(crate) struct Exception {
    pub(crate) name: &'static str,
    /// The argument as `str` shows it.
    pub(crate) argument: String,
    /// The argument as `repr` shows it.
    shown: String,
}

impl Exception {
    fn new(kind: Option<&Value>, message: Option<Value>) -> Self {
        let name = match kind.and_then(Value::as_str) {
            Some("key") => "KeyError",
            Some("runtime") => "RuntimeError",
            _ => "ValueError",
        };
        let (argument, shown) = match message {
            None => ("this endpoint always fails".into(), "'this endpoint always fails'".into()),
            Some(Value::String(text)) => {
                let shown = python_repr(&text);
                (text, shown)
            }
            // Numbers are floats once they have been in a Struct; the rest is close enough to
            // what Python shows.
            Some(Value::Number(number)) => {
                let text = format!("{:?}", number.as_f64().unwrap_or_default());
                (text.clone(), text)
            }
            Some(other) => (other.to_string(), other.to_string()),
        };
        Self { name, argument, shown }
    }

    /// The executor cannot make documents of what it was sent.
    pub(crate) fn value_error(message: String) -> Self {
        let shown = python_repr(&message);
        Self { name: "ValueError", argument: message, shown }
    }

    /// A field does not hold what its class declares.
    pub(crate) fn unreadable(errors: String) -> Self {
        Self { name: "ValidationError", shown: errors.clone(), argument: errors }
    }

    /// Python's error for an attribute that an object does not have.
    pub(crate) fn attribute_error(name: &str) -> Self {
        Self { name: "AttributeError", argument: name.to_owned(), shown: python_repr(name) }
    }

    /// Bytes are no pickle.
    pub(crate) fn unpickling() -> Self {
        let message = "pickle data was truncated";
        Self { name: "UnpicklingError", argument: message.into(), shown: python_repr(message) }
    }

    /// Bytes are no list of documents v2.
    pub(crate) fn decoding() -> Self {
        let message = "Error parsing message with type 'docarray.DocListProto'";
        Self { name: "DecodeError", argument: message.into(), shown: python_repr(message) }
    }

    /// The exception as `repr` shows it: what a gateway describes a failure with.
    pub(crate) fn description(&self) -> String {
        format!("{}({})", self.name, self.shown)
    }

    /// The last line of the traceback. A KeyError shows its argument with quotes.
    pub(crate) fn last_line(&self) -> String {
        let shown = if self.name == "KeyError" { &self.shown } else { &self.argument };
        format!("{}: {shown}\n", self.name)
    }
}

/// A text as Python's `repr` shows it.
pub(crate) fn python_repr(text: &str) -> String {
    let quote = if text.contains('\'') && !text.contains('"') { '"' } else { '\'' };
    let mut shown = String::with_capacity(text.len() + 2);
    shown.push(quote);
    for character in text.chars() {
        match character {
            '\n' => shown.push_str("\\n"),
            '\r' => shown.push_str("\\r"),
            '\t' => shown.push_str("\\t"),
            '\\' => shown.push_str("\\\\"),
            c if c == quote => shown.extend(['\\', c]),
            c if c.is_ascii_control() => {
                // Writing to a string cannot fail.
                let _ = write!(shown, "\\x{:02x}", u32::from(c));
            }
            c => shown.push(c),
        }
    }
    shown.push(quote);
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_is_quoted_as_python_does() {
        for (text, shown) in [
            ("boom", "'boom'"),
            ("bo'om", "\"bo'om\""),
            ("a\n\"'\\\u{e9}\u{1}", "'a\\n\"\\'\\\\\u{e9}\\x01'"),
        ] {
            assert_eq!(python_repr(text), shown);
        }
    }
}
