//! How failures are told: one line, its causes behind it, a hint below it.

use std::borrow::Cow;
use std::fmt;
use std::io::{self, Write};
use std::process::ExitCode;

use clientlet::{Error, ErrorKind};

/// How the command ends; of several, the later one wins.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Exit {
    Success,
    /// A request failed, or what was asked is not so.
    Failed,
    /// Wrong usage or bad input.
    BadInput,
    Interrupted,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(match exit {
            Exit::Success => 0,
            Exit::Failed => 1,
            Exit::BadInput => 2,
            // As a shell reports a process that SIGINT has ended.
            Exit::Interrupted => 130,
        })
    }
}

/// The kind of command that runs. A hint names only options that the command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Post,
    Stream,
    /// `ready`, `status`, `endpoints`.
    Ask,
}

/// Why the command ends before its work is done.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<Hint>,
}

/// A hint at what may help.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Hint {
    /// The part that identifies the hint: each hint is given once in a run.
    pub(crate) what: &'static str,
    /// An addition for this error.
    also: &'static str,
}

impl From<&'static str> for Hint {
    fn from(what: &'static str) -> Hint {
        Hint { what, also: "" }
    }
}

impl fmt::Display for Hint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.what, self.also)
    }
}

impl Failure {
    /// Something that should have worked did not.
    pub(crate) fn failed(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::Failed, message: message.into(), hint: None }
    }

    /// An option, a file or its content is wrong.
    pub(crate) fn bad_input(message: impl Into<String>) -> Failure {
        Failure { exit: Exit::BadInput, message: message.into(), hint: None }
    }

    /// Reports an error of the library, with a hint if there is one.
    pub(crate) fn of(error: &Error, task: Task) -> Failure {
        let message = format!("{error}{}", Causes(error));
        Failure { exit: exit_of(error), message, hint: hint(error, task, true) }
    }

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }

    /// The line of the failure, and another one for the hint.
    pub(crate) fn lines(&self) -> impl Iterator<Item = String> {
        let hint = self.hint.map(|hint| format!("  hint: {hint}"));
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
    // A failure that comes before there is a request has no id.
    if let Some(id) = error.request_id() {
        line += &format!("request {id}, ");
    }
    line += &format!("{place}, kind {}, delivery {}", error.kind(), error.delivery());
    if attempts > 0 {
        line += &format!(", {}", count(attempts, "attempt"));
    }
    line + &format!(": {}{}", one_line(error.message()), Causes(error))
}

/// The hint for an error, if there is one; `is_first` as long as nothing was answered.
pub(crate) fn hint(error: &Error, task: Task, is_first: bool) -> Option<Hint> {
    let may_be_tls = is_first && error.kind() == ErrorKind::Transport;
    match fixed_hint(error, task) {
        Some(hint) => Some(hint.into()),
        None if !is_passing(error) => None,
        None if error.attempts().len() == 1 => Some(again(task, may_be_tls)),
        None => may_be_tls.then(|| TLS.into()),
    }
}

/// The hint that depends only on the kind of the error.
fn fixed_hint(error: &Error, task: Task) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::Connect => {
            Some("is the gateway running there? `clientlet gateway` starts one to try")
        }
        _ if speaks_tls(error.message()) => Some(
            "this release does not speak TLS: give the gateway's own port, or a proxy that takes plain connections",
        ),
        ErrorKind::Timeout => match task {
            Task::Post => Some(
                "--attempt-timeout gives an attempt more time, and --timeout all attempts of a request; without \
                 the first, with --max-attempts, an attempt has half of the second",
            ),
            Task::Stream => {
                Some("--timeout, --attempt-timeout and --idle-timeout give it more time")
            }
            Task::Ask => None,
        },
        ErrorKind::Gateway if error.message().contains("did not upgrade to WebSocket") => Some(
            "a port for HTTP and a path other than / are refused so; credentials are given with --auth, \
             --bearer, --cookie or --header",
        ),
        _ if port_hint(error.message()).is_some() => port_hint(error.message()),
        _ if wants_credentials(error) => {
            Some("credentials are given with --auth, --bearer, --cookie or --header")
        }
        _ if is_too_much(error) => match task {
            Task::Post => Some(
                "the gateway, or a proxy before it, limits the size of requests (nginx: client_max_body_size); \
                 --request-size 10 makes smaller ones of several documents, for one document the limit must be \
                 raised there",
            ),
            Task::Stream => Some(
                "the gateway, or a proxy before it, limits the size of requests (nginx: client_max_body_size); \
                 it must be raised there",
            ),
            Task::Ask => None,
        },
        _ if error.message().ends_with("must be set by hand") => match task {
            Task::Post | Task::Stream => Some(
                "--docarray v1 or --docarray v2 does; is this a Jina gateway at all, and is the URL's path right?",
            ),
            Task::Ask => Some("is this a Jina gateway at all, and is the URL's path right?"),
        },
        ErrorKind::Decode if error.message().starts_with("GET /status") => match task {
            Task::Post | Task::Stream => {
                Some("is this a Jina gateway? --docarray v1 or v2 goes on without asking")
            }
            Task::Ask => Some("is this a Jina gateway, and is the URL's path right?"),
        },
        ErrorKind::NotFound if task == Task::Ask => Some(
            "is the URL's path right? a WebSocket port is asked with ws://, one for gRPC with grpc://",
        ),
        ErrorKind::NotFound => Some(
            "`clientlet endpoints URL` lists what can be posted to; a WebSocket port is posted to with ws://",
        ),
        ErrorKind::TooLarge if !error.message().contains("headers") => match task {
            Task::Post => Some(
                "--answer-limit takes larger answers, such as 256M; smaller requests have smaller ones: --request-size",
            ),
            Task::Stream | Task::Ask => Some("--answer-limit takes larger answers, such as 256M"),
        },
        _ => None,
    }
}

/// The hint to try again. A TLS port closes connections without an answer, as a gateway does
/// that restarts; as long as nothing was answered `may_be_tls`.
fn again(task: Task, may_be_tls: bool) -> Hint {
    let what = match task {
        Task::Post | Task::Stream => {
            "--max-attempts 4 tries again, 10 for some seconds; a request may then run more than once"
        }
        Task::Ask => "--wait-ready 60 asks again until the gateway is ready, for 60 seconds",
    };
    let also = match may_be_tls {
        true => ". A port for TLS, which this release does not speak, ends every connection so",
        false => "",
    };
    Hint { what, also }
}

/// The hint for errors after which the request was already tried again.
const TLS: &str = "a port for TLS, which this release does not speak, ends every connection so";

/// Whether the server asked for credentials, or for different ones.
fn wants_credentials(error: &Error) -> bool {
    let is_refused = ["answered UNAUTHENTICATED", "answered PERMISSION_DENIED"]
        .iter()
        .any(|sign| error.message().contains(sign));
    error.kind() == ErrorKind::Gateway
        && (matches!(error.http_status(), Some(401 | 403)) || is_refused)
}

/// Whether a request was too large for the gateway or for a proxy before it.
fn is_too_much(error: &Error) -> bool {
    let message = error.message();
    error.http_status() == Some(413)
        || message.contains("answered RESOURCE_EXHAUSTED") && message.contains("larger than max")
        || message.contains("answered OUT_OF_RANGE") && message.contains("too large")
        || message.contains("closed with 1009")
}

/// Whether the port seems to be a TLS port: nginx says so, other servers send an alert.
fn speaks_tls(message: &str) -> bool {
    [
        "plain HTTP request was sent to HTTPS port",
        "HTTP request to an HTTPS server",
        "TLS seems to be spoken",
        "port for TLS",
    ]
    .iter()
    .any(|sign| message.contains(sign))
}

/// How the protocol is asked for that seems to answer instead of the one that was.
fn port_hint(message: &str) -> Option<&'static str> {
    let (_, seems) = message.rsplit_once("is it the gateway's port for ")?;
    match seems {
        "gRPC?" => Some("a URL that begins with grpc:// asks for gRPC"),
        "HTTP?" => Some("a URL that begins with http:// asks for HTTP"),
        "WebSocket?" => Some("a URL that begins with ws:// asks for WebSocket"),
        "HTTP or WebSocket?" => Some("a URL that begins with http:// or ws:// asks for those"),
        _ => None,
    }
}

/// Whether another attempt might have succeeded.
fn is_passing(error: &Error) -> bool {
    match error.kind() {
        ErrorKind::Transport | ErrorKind::Timeout | ErrorKind::RateLimited => true,
        ErrorKind::Gateway => {
            matches!(error.http_status(), Some(425 | 502 | 503))
                || error.message().starts_with("the gateway closed with")
        }
        _ => false,
    }
}

/// What lies below an error, each cause behind a colon; what the line says already is left out.
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

/// A gateway's text may have more lines than one; a report has not.
pub(crate) fn one_line(text: &str) -> String {
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    lines.collect::<Vec<_>>().join(" | ")
}

/// A line as a terminal may get it: characters on which the terminal would act are escaped.
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

/// Control characters, Unicode's line ends, and characters that are invisible or change the
/// direction of the text behind them.
fn is_unruly(character: char) -> bool {
    character.is_control()
        || matches!(character,
            '\u{ad}' | '\u{61c}' | '\u{180e}' | '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}' | '\u{e0000}'..='\u{e007f}')
}

/// `1 document`, `2 documents`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Prints an escaped line to stderr. A closed stderr is not an error.
pub(crate) fn print(line: &str) {
    let _ = writeln!(io::stderr().lock(), "{}", escape(line));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_would_obey_is_escaped() {
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
