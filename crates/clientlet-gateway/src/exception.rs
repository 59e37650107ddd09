//! Exceptions that executors raise.

use std::borrow::Cow;
use std::fmt::{self, Write};

use crate::value::ReadError;

/// A Python exception, which an executor raises.
///
/// ```
/// use clientlet_gateway::Exception;
///
/// let exception = Exception::new("KeyError", ["shelf"]);
/// assert_eq!(exception.to_string(), "KeyError('shelf')");
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Exception {
    name: Cow<'static, str>,
    arguments: Vec<Argument>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Argument {
    /// The argument as `str` shows it.
    text: String,
    /// The argument as `repr` shows it.
    shown: String,
}

impl Exception {
    /// An exception of the class with this name, such as `ValueError`, with texts as its arguments.
    pub fn new<A: Into<String>>(
        name: impl Into<Cow<'static, str>>,
        arguments: impl IntoIterator<Item = A>,
    ) -> Self {
        let arguments = arguments.into_iter().map(|text| {
            let text = text.into();
            Argument { shown: python_repr(&text), text }
        });
        Self { name: name.into(), arguments: arguments.collect() }
    }

    /// An exception whose one argument is no text: its text is what `repr` shows.
    pub(crate) fn shown(name: &'static str, text: String) -> Self {
        let arguments = vec![Argument { shown: text.clone(), text }];
        Self { name: name.into(), arguments }
    }

    /// The name of its class.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its arguments, as Python's `str` shows them.
    pub fn arguments(&self) -> impl Iterator<Item = &str> {
        self.arguments.iter().map(|argument| argument.text.as_str())
    }

    /// The executor cannot make documents of what it was sent.
    pub(crate) fn value_error(message: String) -> Self {
        Self::new("ValueError", [message])
    }

    /// A field does not hold what its class declares.
    pub(crate) fn unreadable(errors: String) -> Self {
        Self::shown("ValidationError", errors)
    }

    /// Python's error for an attribute that an object does not have.
    pub(crate) fn attribute_error(name: &str) -> Self {
        Self::new("AttributeError", [name])
    }

    /// Bytes are no pickle.
    pub(crate) fn unpickling() -> Self {
        Self::new("UnpicklingError", ["pickle data was truncated"])
    }

    /// Bytes are no list of documents v2.
    pub(crate) fn decoding() -> Self {
        Self::new("DecodeError", ["Error parsing message with type 'docarray.DocListProto'"])
    }

    /// The last line of the traceback. A KeyError shows its argument with quotes.
    pub(crate) fn last_line(&self) -> String {
        match self.arguments.as_slice() {
            [] => format!("{}\n", self.name),
            [one] if self.name == "KeyError" => format!("{}: {}\n", self.name, one.shown),
            [one] => format!("{}: {}\n", self.name, one.text),
            several => {
                let shown: Vec<&str> = several.iter().map(|one| one.shown.as_str()).collect();
                format!("{}: ({})\n", self.name, shown.join(", "))
            }
        }
    }
}

impl fmt::Display for Exception {
    /// As Python's `repr` shows it, which is what a gateway describes a failure with.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let shown: Vec<&str> = self.arguments.iter().map(|one| one.shown.as_str()).collect();
        write!(f, "{}({})", self.name, shown.join(", "))
    }
}

impl std::error::Error for Exception {}

impl From<ReadError> for Exception {
    /// A `ValueError` that says what cannot be read.
    fn from(error: ReadError) -> Self {
        Self::value_error(error.to_string())
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

    #[test]
    fn exceptions_are_shown_as_python_does() {
        for (exception, shown, last_line) in [
            (Exception::new("StopIteration", [""; 0]), "StopIteration()", "StopIteration\n"),
            (Exception::new("ValueError", ["no"]), "ValueError('no')", "ValueError: no\n"),
            (Exception::new("KeyError", ["k"]), "KeyError('k')", "KeyError: 'k'\n"),
            (Exception::new("E", ["a", "b"]), "E('a', 'b')", "E: ('a', 'b')\n"),
        ] {
            assert_eq!((&*exception.to_string(), &*exception.last_line()), (shown, last_line));
        }
    }
}
