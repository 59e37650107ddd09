//! Reads the `OTEL_*` variables. A value that is not of its variable's form is an error, which names the
//! variable and never shows the value, since values may be secrets.

use std::ffi::OsString;
use std::time::Duration;

use http::{HeaderMap, HeaderName, HeaderValue, header};

use crate::report::Failure;

/// What is exported.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Signal {
    Traces,
    Metrics,
}

impl Signal {
    pub(super) fn name(self) -> &'static str {
        match self {
            Signal::Traces => "traces",
            Signal::Metrics => "metrics",
        }
    }

    /// The name of the variable for this signal alone.
    pub(super) fn variable(self, what: &str) -> String {
        format!("OTEL_EXPORTER_OTLP_{}_{what}", self.name().to_uppercase())
    }
}

/// The environment, as a function from a variable's name to its value.
pub(crate) struct Variables<'e>(pub(crate) &'e dyn Fn(&str) -> Option<OsString>);

/// A value with the name of its variable or option.
#[derive(Clone)]
pub(super) struct Named {
    pub(super) name: String,
    pub(super) value: String,
}

impl Named {
    pub(super) fn malformed(&self, what: &str) -> Failure {
        malformed(&self.name, what)
    }

    /// # Errors
    /// When the value is not one of these words; upper and lower case are the same.
    pub(super) fn one_of<T: Copy>(&self, words: &[(&str, T)]) -> Result<T, Failure> {
        let known = words.iter().find(|(word, _)| self.value.eq_ignore_ascii_case(word));
        known.map(|(_, meaning)| *meaning).ok_or_else(|| {
            let words: Vec<_> = words.iter().map(|(word, _)| *word).collect();
            self.malformed(&format!("it must be {}", listed(&words)))
        })
    }

    /// # Errors
    /// When the value is not a whole number in this range.
    pub(super) fn whole(&self, least: u32, most: u32) -> Result<u32, Failure> {
        let number = self.value.parse().ok().filter(|number| (least..=most).contains(number));
        number.ok_or_else(|| {
            self.malformed(&format!("it must be a whole number from {least} to {most}"))
        })
    }

    /// A time limit in milliseconds; 0 means no limit.
    ///
    /// # Errors
    /// When the value is not a whole number.
    pub(super) fn limit(&self) -> Result<Duration, Failure> {
        let milliseconds = self.whole(0, u32::MAX)?;
        let no_limit = Duration::from_millis(u32::MAX.into());
        Ok(if milliseconds == 0 { no_limit } else { Duration::from_millis(milliseconds.into()) })
    }

    /// A list such as `name=value,name=value`, whose values are percent-encoded.
    ///
    /// # Errors
    /// When an entry has another form.
    pub(super) fn pairs(&self) -> Result<Vec<(String, String)>, Failure> {
        // A list may end with a comma.
        let entries = self.value.split(',').filter(|entry| !entry.trim().is_empty());
        let pair = |(index, entry): (usize, &str)| {
            let pair = entry.split_once('=').and_then(|(name, value)| {
                let name = Some(name.trim()).filter(|name| !name.is_empty())?;
                Some((name.to_owned(), decoded(value.trim())?))
            });
            pair.ok_or_else(|| {
                let form = "name=value, with a percent-encoded value";
                self.malformed(&format!("entry {} is not of the form {form}", index + 1))
            })
        };
        entries.enumerate().map(pair).collect()
    }

    /// # Errors
    /// When an entry cannot be a header.
    pub(super) fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        for (index, (name, value)) in self.pairs()?.into_iter().enumerate() {
            let name = HeaderName::try_from(name).ok().filter(|name| !FRAMING.contains(name));
            let value = HeaderValue::try_from(value).ok();
            let (Some(name), Some(mut value)) = (name, value) else {
                return Err(self.malformed(&format!("entry {} cannot be a header", index + 1)));
            };
            value.set_sensitive(true);
            headers.append(name, value);
        }
        Ok(headers)
    }
}

impl Variables<'_> {
    /// Returns `None` if the variable is unset or empty, which is the same by OpenTelemetry's rules.
    ///
    /// # Errors
    /// When the value is not UTF-8.
    pub(super) fn read(&self, name: &str) -> Result<Option<Named>, Failure> {
        let Some(value) = (self.0)(name).filter(|value| !value.is_empty()) else { return Ok(None) };
        match value.into_string() {
            Ok(value) => Ok(Some(Named { name: name.to_owned(), value })),
            Err(_) => Err(malformed(name, "it is not UTF-8")),
        }
    }

    /// Reads the variable for the exporter of one signal, such as `OTEL_EXPORTER_OTLP_TRACES_TIMEOUT`, and
    /// without it the variable for all signals.
    ///
    /// # Errors
    /// When the value is not UTF-8.
    pub(super) fn of_exporter(&self, signal: Signal, what: &str) -> Result<Option<Named>, Failure> {
        match self.read(&signal.variable(what))? {
            None => self.read(&format!("OTEL_EXPORTER_OTLP_{what}")),
            own => Ok(own),
        }
    }
}

fn malformed(name: &str, what: &str) -> Failure {
    Failure::bad_input(format!("{name}: {what}"))
}

/// Headers that belong to the connection, and would break it.
const FRAMING: [HeaderName; 5] = [
    header::CONNECTION,
    header::CONTENT_LENGTH,
    header::TE,
    header::TRANSFER_ENCODING,
    header::UPGRADE,
];

/// Words as an enumeration, such as `a, b or c`.
fn listed(words: &[&str]) -> String {
    match words {
        [] => String::new(),
        [word] => (*word).to_owned(),
        [words @ .., last] => format!("{} or {last}", words.join(", ")),
    }
}

/// Decodes percent-encoding. Returns `None` if the text is not encoded rightly, or not UTF-8.
fn decoded(text: &str) -> Option<String> {
    let mut parts = text.split('%');
    let mut bytes = parts.next()?.as_bytes().to_vec();
    for part in parts {
        // A sign is not a digit, but `from_str_radix` takes it for a part of the number.
        let (code, rest) = part.split_at_checked(2).filter(|(code, _)| !code.starts_with('+'))?;
        bytes.push(u8::from_str_radix(code, 16).ok()?);
        bytes.extend_from_slice(rest.as_bytes());
    }
    String::from_utf8(bytes).ok()
}
