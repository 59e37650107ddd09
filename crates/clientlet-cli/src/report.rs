//! How failures are told: one line, its causes behind it, a hint below it.

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

/// Why the command ends before its work is done.
#[derive(Debug)]
pub(crate) struct Failure {
    exit: Exit,
    message: String,
    hint: Option<&'static str>,
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

    pub(crate) fn exit(&self) -> Exit {
        self.exit
    }
}

impl From<&Error> for Failure {
    fn from(error: &Error) -> Failure {
        Failure {
            exit: exit_of(error),
            message: format!("{error}{}", Causes(error)),
            hint: hint(error),
        }
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure::from(&error)
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "error: {}", self.message)?;
        self.hint.map_or(Ok(()), |hint| write!(f, "\n  hint: {hint}"))
    }
}

/// How the command ends after this error of the library.
pub(crate) fn exit_of(error: &Error) -> Exit {
    match error.kind() {
        ErrorKind::Config | ErrorKind::Encode => Exit::BadInput,
        _ => Exit::Failed,
    }
}

/// What may help, if that is known.
pub(crate) fn hint(error: &Error) -> Option<&'static str> {
    match error.kind() {
        ErrorKind::Connect => {
            Some("is the gateway running there? `clientlet gateway` starts one to try")
        }
        ErrorKind::Gateway if error.message().contains("did not upgrade to WebSocket") => Some(
            "a port for HTTP and a path other than / are refused so; credentials are given with --auth, \
             --bearer, --cookie or --header",
        ),
        _ if port_hint(error.message()).is_some() => port_hint(error.message()),
        ErrorKind::Gateway if matches!(error.http_status(), Some(401 | 403)) => {
            Some("credentials are given with --auth, --bearer, --cookie or --header")
        }
        _ if error.message().ends_with("must be set by hand") => Some(
            "--docarray v1 or --docarray v2 does; is this a Jina gateway at all, and is the URL's path right?",
        ),
        ErrorKind::Decode if error.message().starts_with("GET /status") => {
            Some("is this a Jina gateway? --docarray v1 or v2 goes on without asking")
        }
        ErrorKind::NotFound => Some(
            "`clientlet endpoints URL` lists what can be posted to; a WebSocket port is posted to with ws://",
        ),
        ErrorKind::TooLarge => Some("smaller requests have smaller answers: --request-size"),
        _ if is_passing(error) && error.attempts().len() == 1 => Some(
            "--max-attempts 4 tries again, 10 for some seconds; a request may then run more than once",
        ),
        _ => None,
    }
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

/// `1 document`, `2 documents`.
pub(crate) fn count(number: u64, what: &str) -> String {
    format!("{number} {what}{}", if number == 1 { "" } else { "s" })
}

/// Prints to stderr. That stderr is closed is no reason to fail.
pub(crate) fn print(text: &str) {
    let _ = writeln!(io::stderr().lock(), "{text}");
}
