//! What the command advises after an error: the library's hints in the words of the command's options.

use std::fmt;

use clientlet::{Error, ErrorKind, Hint};

/// The kind of command that runs. Advice names only options that the command has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Task {
    Post,
    Stream,
    /// `ready`, `status`, `endpoints`.
    Ask,
}

/// What may help.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// The part that identifies the advice, which is given once in a run.
    pub(crate) what: &'static str,
    /// An addition for this error.
    also: &'static str,
}

impl From<&'static str> for Advice {
    fn from(what: &'static str) -> Advice {
        Advice { what, also: "" }
    }
}

impl fmt::Display for Advice {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}", self.what, self.also)
    }
}

/// The advice for an error, if there is one; `is_first` as long as nothing was answered.
pub(crate) fn advice(error: &Error, task: Task, is_first: bool) -> Option<Advice> {
    let may_be_tls = is_first && error.kind() == ErrorKind::Transport;
    let fixed =
        error.hint().map_or_else(|| of_kind(error.kind(), task), |hint| of_hint(hint, task));
    match fixed {
        Some(advice) => Some(advice.into()),
        None if !error.is_retryable() => None,
        None if error.attempts().len() == 1 => Some(again(task, may_be_tls)),
        None => may_be_tls.then(|| TLS.into()),
    }
}

fn of_hint(hint: Hint, task: Task) -> Option<&'static str> {
    Some(match (hint, task) {
        (Hint::PortForHttp, _) => "a URL that begins with http:// asks for HTTP",
        (Hint::PortForWebsocket, _) => "a URL that begins with ws:// asks for WebSocket",
        (Hint::PortForHttpOrWebsocket, _) => {
            "a URL that begins with http:// or ws:// asks for those"
        }
        (Hint::PortForGrpc, _) => "a URL that begins with grpc:// asks for gRPC",
        (Hint::PortForTls, _) => {
            "this release does not speak TLS: give the gateway's own port, or a proxy that takes plain connections"
        }
        (Hint::UpgradeForbidden, _) => {
            "a port for HTTP and a path other than / are refused so; credentials are given with --auth, \
             --bearer, --cookie or --header"
        }
        (Hint::Credentials, _) => {
            "credentials are given with --auth, --bearer, --cookie or --header"
        }
        (Hint::RequestTooLarge, Task::Post) => {
            "the gateway, or a proxy before it, limits the size of requests (nginx: client_max_body_size); \
             --request-size 10 makes smaller ones of several documents, for one document the limit must be \
             raised there"
        }
        (Hint::RequestTooLarge, Task::Stream) => {
            "the gateway, or a proxy before it, limits the size of requests (nginx: client_max_body_size); \
             it must be raised there"
        }
        (Hint::AnswerTooLarge, Task::Post) => {
            "--answer-limit takes larger answers, such as 256M; smaller requests have smaller ones: --request-size"
        }
        (Hint::AnswerTooLarge, _) => "--answer-limit takes larger answers, such as 256M",
        (Hint::NoStatus, Task::Post | Task::Stream) => {
            "is this a Jina gateway, and is the URL's path right? --docarray v1 or v2 goes on without asking"
        }
        (Hint::NoStatus, Task::Ask) => "is this a Jina gateway, and is the URL's path right?",
        _ => return None,
    })
}

fn of_kind(kind: ErrorKind, task: Task) -> Option<&'static str> {
    Some(match (kind, task) {
        (ErrorKind::Connect, _) => {
            "is the gateway running there? `clientlet gateway` starts one to try"
        }
        (ErrorKind::Timeout, Task::Post) => {
            "--attempt-timeout gives an attempt more time, and --timeout all attempts of a request; without \
             the first, with --max-attempts, an attempt has half of the second"
        }
        (ErrorKind::Timeout, Task::Stream) => {
            "--timeout, --attempt-timeout and --idle-timeout give it more time"
        }
        (ErrorKind::NotFound, Task::Ask) => {
            "is the URL's path right? a WebSocket port is asked with ws://, one for gRPC with grpc://"
        }
        (ErrorKind::NotFound, _) => {
            "`clientlet endpoints URL` lists what can be posted to; a WebSocket port is posted to with ws://"
        }
        _ => return None,
    })
}

/// The advice to try again. A TLS port closes connections without an answer, as a gateway does
/// that restarts; as long as nothing was answered `may_be_tls`.
fn again(task: Task, may_be_tls: bool) -> Advice {
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
    Advice { what, also }
}

/// The advice for errors after which the request was already tried again.
const TLS: &str = "a port for TLS, which this release does not speak, ends every connection so";
