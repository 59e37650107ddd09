//! Reports failures: one line with the failure and its causes, and a line with a hint.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};

use clientlet::{Error, ErrorKind};

use crate::args::Object;
use crate::hint::{self, Advice, Task};
use crate::standard;

/// How the command ends. If several apply, the later one takes precedence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Success,
    /// A request failed, or the gateway is not ready.
    Failed,
    /// Wrong usage or bad input.
    BadInput,
    Interrupted,
}

impl Exit {
    pub(crate) fn code(self) -> u8 {
        match self {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::BadInput => 2,
            // The status that a shell reports for a process that SIGINT ended.
            Exit::Interrupted => 130,
        }
    }
}

/// The reason why the command ends before its work is done.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    /// The kind of the error; `None` if something beside the call failed, such as stdout.
    kind: Option<ErrorKind>,
    advice: Option<Advice>,
}

impl Failure {
    /// A failure of something that should have worked.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into(), kind: None, advice: None }
    }

    /// A wrong option, file or content.
    pub(crate) fn bad_input(message: impl Into<String>) -> Failure {
        let kind = Some(ErrorKind::Config);
        Failure { exit: Exit::BadInput, message: message.into(), kind, advice: None }
    }

    /// Reports an error of the library, with a hint if there is one.
    pub(crate) fn of(error: &Error, task: Task) -> Failure {
        let message = format!("{error}{}", Causes(error));
        let advice = hint::advice(error, task, true);
        Failure { exit: exit_of(error), message, kind: Some(error.kind()), advice }
    }

    /// With `--json`, writes the failure to stdout as an object: the given fields, the failure in words
    /// and its kind.
    ///
    /// # Errors
    /// The failure itself without `--json`, or if it is not an answer to the command.
    pub(crate) fn written(self, is_json: bool, mut fields: Object) -> Result<Exit, Failure> {
        let (true, Some(kind)) = (is_json, self.kind) else { return Err(self) };
        fields.insert("reason".to_owned(), self.message.into());
        fields.insert("kind".to_owned(), kind.name().into());
        answer(&serde_json::Value::Object(fields).to_string())?;
        Ok(self.exit)
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The line of the failure, and a line for the hint if there is one.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let hint = self.advice.map(|advice| format!("  hint: {advice}"));
        [Some(format!("error: {}", self.message)), hint].into_iter().flatten()
    }
}

/// The exit status after an error of the library.
pub(crate) fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::Config | ErrorKind::Encode => Exit::BadInput,
        _ => Exit::Failed,
    }
}

/// The line about a request that failed, with the place of its documents and the number of
/// attempts.
pub(crate) fn failed(error: &Error, place: &str, attempts: u64) -> String {
    let mut line = "failed: ".to_owned();
    // A failure before the request was made has no id.
    if let Some(id) = error.request_id() {
        line += &format!("request {id}, ");
    }
    line += &format!("{place}, kind {}, delivery {}", error.kind(), error.delivery());
    if attempts > 0 {
        line += &format!(", {}", count(attempts, "attempt"));
    }
    line + &format!(": {}{}", one_line(error.message()), Causes(error))
}

/// The causes of an error, each after a colon, without causes that the line already contains.
pub(crate) struct Causes<'e>(pub(crate) &'e Error);

impl fmt::Display for Causes<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut said = self.0.message().to_owned();
        let mut next = std::error::Error::source(self.0);
        while let Some(cause) = next {
            let text = one_line(&cause.to_string());
            if !said.contains(&text) {
                write!(f, ": {text}")?;
                said.push_str(&text);
            }
            next = cause.source();
        }
        Ok(())
    }
}

/// Joins the lines of a text, since a gateway's text may have several and a report has only one.
pub(crate) fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" | ")
}

/// Escapes the characters of a line on which a terminal would act.
pub(crate) fn escape(line: &str) -> Cow<'_, str> {
    if !line.contains(is_unruly) {
        return Cow::Borrowed(line);
    }
    let mut escaped = String::with_capacity(line.len() + 16);
    for character in line.chars() {
        match character {
            '\n' => escaped.push_str("\\n"),
            '\r' => escaped.push_str("\\r"),
            '\t' => escaped.push_str("\\t"),
            unruly if is_unruly(unruly) => escaped.extend(unruly.escape_unicode()),
            plain => escaped.push(plain),
        }
    }
    Cow::Owned(escaped)
}

/// Whether this is a control character, a line end of Unicode, or a character that is invisible or
/// changes the direction of the text after it.
fn is_unruly(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// A number with its noun, such as `1 document` or `2 documents`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Prints an escaped line to stderr. A closed stderr is not an error.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(line));
}

/// Writes a command's short answer to stdout unchanged, for programs.
///
/// # Errors
/// When stdout is closed or full.
pub(crate) fn answer(text: &str) -> Result<(), Failure> {
    to_stdout(|| writeln!(io::stdout(), "{text}"))
}

/// Writes a command's answer for people: one item on each line, escaped.
///
/// # Errors
/// When stdout is closed or full.
pub(crate) fn answer_lines<'t>(lines: impl IntoIterator<Item = &'t str>) -> Result<(), Failure> {
    let mut text = String::new();
    for line in lines {
        text.push_str(&escape(line));
        text.push('\n');
    }
    to_stdout(|| io::stdout().write_all(text.as_bytes()))
}

/// Writes to stdout and flushes it.
///
/// # Errors
/// When stdout is closed or full.
pub(crate) fn to_stdout(write: impl FnOnce() -> io::Result<()>) -> Result<(), Failure> {
    let written = standard::check(standard::Stream::Stdout).and_then(|()| write());
    written
        .and_then(|()| io::stdout().flush())
        .map_err(|error| Failure::failed(format!("stdout: {error}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_that_a_terminal_would_obey_are_escaped() {
        for (text, expected) in [
            ("plain text, é 文书", "plain text, é 文书"),
            ("\u{1b}[2J\u{7}", "\\u{1b}[2J\\u{7}"),
            ("a\nb\r\tc", "a\\nb\\r\\tc"),
            ("\u{9b}31m \u{7f}", "\\u{9b}31m \\u{7f}"),
            ("\u{202e}abc\u{2069}\u{200b}", "\\u{202e}abc\\u{2069}\\u{200b}"),
        ] {
            assert_eq!(escape(text), expected);
        }
    }
}
