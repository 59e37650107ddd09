//! The reason why a document cannot be sent, and the place of the fault.

use std::fmt;

use serde::ser;

use crate::error::{Error, ErrorKind};
use crate::foreign::told;

/// The reason why a document cannot be sent, and the place of the fault.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EncodeError {
    /// The field at fault, such as `embedding[3]` or `tags.price`. Empty if the fault is in the
    /// document as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
}

impl EncodeError {
    /// Returns the error of a document, or of parameters.
    pub(crate) fn of(self, what: &str) -> Error {
        Error::new(ErrorKind::Encode, format!("the {what} cannot be sent: {self}"))
    }
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// The first fault and the path to it. The path is noted from the inside out while the error
/// returns. The fault is boxed, so that success costs nothing.
#[derive(Debug)]
pub(super) struct Refusal(Box<Wrong>);

#[derive(Debug)]
struct Wrong {
    message: String,
    path: Vec<Step>,
}

/// A longer path is shown by its first and last steps.
const MOST_STEPS: usize = FIRST_STEPS + LAST_STEPS;
const FIRST_STEPS: usize = 8;
const LAST_STEPS: usize = 2;

#[derive(Debug)]
pub(super) enum Step {
    Field(String),
    Index(usize),
}

impl Refusal {
    pub(super) fn new(message: String) -> Refusal {
        Refusal(Box::new(Wrong { message, path: Vec::new() }))
    }

    pub(super) fn at(mut self, step: Step) -> Refusal {
        self.0.path.push(step);
        self
    }
}

pub(super) fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(message.into()))
}

impl From<Refusal> for EncodeError {
    fn from(refusal: Refusal) -> EncodeError {
        let mut path = String::new();
        let steps = refusal.0.path.len();
        for (index, step) in refusal.0.path.iter().rev().enumerate() {
            // The path of a value that contains itself would be as long as the nesting may be deep.
            if steps > MOST_STEPS && (FIRST_STEPS..steps - LAST_STEPS).contains(&index) {
                if index == FIRST_STEPS {
                    path.push_str("...");
                }
                continue;
            }
            match step {
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Field(name) if path.is_empty() => path.push_str(&told(name)),
                Step::Field(name) => path.push_str(&format!(".{}", told(name))),
            }
        }
        EncodeError { path, message: refusal.0.message }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Refusal {
        Refusal::new(message.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn path(names: &[&str]) -> String {
        let mut refusal = Refusal::new("no".to_owned());
        for name in names.iter().rev() {
            refusal = refusal.at(Step::Field((*name).to_owned()));
        }
        EncodeError::from(refusal).path
    }

    #[test]
    fn a_long_path_is_shown_by_its_ends_and_names_on_one_line() {
        assert_eq!(path(&["a", "b"]), "a.b");
        assert_eq!(path(&["a\nb", &"c".repeat(1000)]).lines().count(), 1);
        assert!(path(&["a", &"c".repeat(1000)]).len() < 600);
        let names: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let names: Vec<&str> = names.iter().map(String::as_str).collect();
        assert_eq!(path(&names), "0.1.2.3.4.5.6.7....98.99");
        assert_eq!(path(&names[..10]), "0.1.2.3.4.5.6.7.8.9");
    }
}
