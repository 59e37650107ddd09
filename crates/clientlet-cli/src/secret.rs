//! Values that no message shows.

use std::convert::Infallible;
use std::fs;
use std::str::FromStr;

use crate::report::Failure;

/// A value as it was given; it has no `Debug`, and no message shows it.
#[derive(Clone)]
pub(crate) struct Secret(String);

// Every text is one, so that clap never has to show a value that it refuses.
impl FromStr for Secret {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Secret, Infallible> {
        Ok(Secret::new(text))
    }
}

impl Secret {
    pub(crate) fn new(text: impl Into<String>) -> Secret {
        Secret(text.into())
    }

    /// The file that holds the value, if it is in one.
    pub(crate) fn file(&self) -> Option<&str> {
        self.0.strip_prefix('@')
    }

    /// The value itself, read from its file if it names one; `place` is how messages call it.
    pub(crate) fn reveal(self, place: &str) -> Result<String, Failure> {
        let Some(file) = self.file() else { return Ok(self.0) };
        let mut text = fs::read_to_string(file)
            .map_err(|error| Failure::bad_input(format!("{place}: cannot read {file}: {error}")))?;
        text.truncate(text.trim_end_matches(['\r', '\n']).len());
        Ok(text)
    }
}
