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
    /// What Python says of it in other words than those of its arguments.
    words: Option<Box<Words>>,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Words {
    /// What `repr` shows between the parentheses.
    shown: String,
    /// The last line of the traceback.
    last_line: String,
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
        Self { name: name.into(), arguments: arguments.collect(), words: None }
    }

    /// An exception whose one argument is no text: its text is what `repr` shows.
    pub(crate) fn shown(name: &'static str, text: String) -> Self {
        let arguments = vec![Argument { shown: text.clone(), text }];
        Self { name: name.into(), arguments, words: None }
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

    /// Pydantic's complaints about a document: the place of each as the steps of a Python tuple, what
    /// is wrong and its type. `class` is the class as Python shows it, `model` its name.
    pub(crate) fn validation(model: &str, class: &str, errors: &[ValidationError]) -> Self {
        let (mut shown, mut wrapped, mut lines) = (Vec::new(), Vec::new(), String::new());
        for ValidationError { path, message, kind } in errors {
            // Python writes a tuple of one element with a comma.
            let comma = if path.contains(", ") { "" } else { "," };
            let (quoted, exception) = (python_repr(message), pydantic_class(message, kind));
            shown.push(format!("{{'loc': ({path}{comma}), 'msg': {quoted}, 'type': '{kind}'}}"));
            wrapped.push(format!("ErrorWrapper(exc={exception}, loc=({path}{comma}))"));
            let steps: Vec<&str> = path.split(", ").map(|step| step.trim_matches('\'')).collect();
            // Writing to a string cannot fail.
            let _ = write!(lines, "\n{}\n  {message} (type={kind})", steps.join(" -> "));
        }
        let plural = if errors.len() == 1 { "" } else { "s" };
        let words = Words {
            shown: format!("model='{model}', errors=[{}]", shown.join(", ")),
            last_line: format!(
                "pydantic.error_wrappers.ValidationError: {} validation error{plural} for \
                 {model}{lines}\n",
                errors.len(),
            ),
        };
        let arguments = [format!("[{}]", wrapped.join(", ")), class.to_owned()];
        Self { words: Some(Box::new(words)), ..Self::new("ValidationError", arguments) }
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
        if let Some(words) = &self.words {
            return words.last_line.clone();
        }
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
        if let Some(words) = &self.words {
            return write!(f, "{}({})", self.name, words.shown);
        }
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

/// A complaint of pydantic.
#[derive(Debug)]
pub(crate) struct ValidationError {
    /// The place, as the steps of a Python tuple.
    pub(crate) path: String,
    pub(crate) message: String,
    pub(crate) kind: &'static str,
}

/// The exception within a complaint of pydantic, as `repr` shows it.
fn pydantic_class(message: &str, kind: &str) -> String {
    let name = match kind {
        "value_error.missing" => "MissingError",
        "type_error.none.not_allowed" => "NoneIsNotAllowedError",
        "type_error.integer" => "IntegerError",
        "type_error.float" => "FloatError",
        "type_error.str" => "StrError",
        "type_error.bool" => "BoolError",
        "type_error.bytes" => "BytesError",
        "type_error.dict" => "DictError",
        "type_error.list" => "ListError",
        kind if kind.starts_with("type_error") => {
            return format!("TypeError({})", python_repr(message));
        }
        _ => return format!("ValueError({})", python_repr(message)),
    };
    format!("{name}()")
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

    #[test]
    fn complaints_of_pydantic_are_shown_as_an_executor_was_seen_to_show_them() {
        let error = ValidationError {
            path: "'reqd'".into(),
            message: "field required".into(),
            kind: "value_error.missing",
        };
        let exception = Exception::validation("K", "<class '__main__.K'>", &[error]);
        let arguments: Vec<&str> = exception.arguments().collect();
        assert_eq!(
            arguments,
            ["[ErrorWrapper(exc=MissingError(), loc=('reqd',))]", "<class '__main__.K'>"]
        );
        assert_eq!(
            exception.to_string(),
            "ValidationError(model='K', errors=[{'loc': ('reqd',), 'msg': 'field required', 'type': \
             'value_error.missing'}])"
        );
        assert_eq!(
            exception.last_line(),
            "pydantic.error_wrappers.ValidationError: 1 validation error for K\nreqd\n  field \
             required (type=value_error.missing)\n"
        );
    }
}
