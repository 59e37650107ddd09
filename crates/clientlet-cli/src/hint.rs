//! The command's advice after an error: the library's hints, with the command's options.

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

/// Advice for the user.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Advice {
    /// The part that identifies the advice. Each advice is printed once in a run.
    pub(crate) what: &'static str,
    /// An addition for a particular error.
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

/// The advice for an error, if there is any. `is_first` is true until the first answer.
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
        (Hint::PortForHttp, _) => {
            "a URL that begins with http://, or https:// over TLS, asks for HTTP"
        }
        (Hint::PortForWebsocket, _) => {
            "a URL that begins with ws://, or wss:// over TLS, asks for WebSocket"
        }
        (Hint::PortForHttpOrWebsocket, _) => {
            "a URL that begins with http:// or ws://, or https:// or wss:// over TLS, asks for one of them"
        }
        (Hint::PortForGrpc, _) => {
            "a URL that begins with grpc://, or grpcs:// over TLS, asks for gRPC"
        }
        (Hint::PortForTls, _) => {
            "a URL that begins with https://, wss:// or grpcs:// asks for TLS; --ca FILE trusts an authority"
        }
        (Hint::PortWithoutTls, _) => {
            "a URL that begins with http://, ws:// or grpc:// asks for a connection without TLS"
        }
        (Hint::CertificateDates, _) => {
            "the server needs a new certificate, unless this machine's clock is wrong"
        }
        (Hint::CertificateName, _) => {
            "is the URL's host right? --server-name NAME expects the certificate of another name"
        }
        (Hint::CertificateIssuer, _) => {
            "is it the right server? --ca FILE trusts a further authority"
        }
        (Hint::ClientCertificate, _) => {
            "the server wants a client certificate, or another one: --cert FILE and --key FILE"
        }
        (Hint::Proxy, _) => {
            "is the proxy right, and may it connect to the gateway? --proxy URL names another one, --proxy none \
             uses none"
        }
        (Hint::ProxyCredentials, _) => {
            "a proxy's user and password are part of its URL: --proxy http://USER:PASS@HOST:PORT, or --proxy \
             @FILE with the URL in a file"
        }
        (Hint::UpgradeForbidden, _) => {
            "this is also the answer of a port for HTTP, or to a path other than /; credentials are given \
             with --auth, --bearer, --cookie or --header"
        }
        (Hint::Credentials, _) => {
            "credentials are given with --auth, --bearer, --cookie or --header"
        }
        (Hint::RequestTooLarge, Task::Post) => {
            "the gateway, or a proxy before it, limits the size of requests (nginx: client_max_body_size); \
             --request-size 10 makes smaller requests; if a single document is too large, the limit must be \
             raised there"
        }
        (Hint::RequestTooLarge, Task::Stream) => {
            "the gateway, or a proxy before it, limits the size of requests (nginx: client_max_body_size); \
             the limit must be raised there"
        }
        (Hint::AnswerTooLarge, Task::Post) => {
            "--answer-limit takes larger answers, such as 256M; smaller requests have smaller answers: --request-size"
        }
        (Hint::AnswerTooLarge, _) => "--answer-limit takes larger answers, such as 256M",
        (Hint::NoStatus, Task::Post | Task::Stream) => {
            "is the URL's path right, and is this a Jina gateway? if it hides its status, --docarray v1 or v2 \
             avoids the question"
        }
        (Hint::NoStatus, Task::Ask) => "is the URL's path right, and is this a Jina gateway?",
        (Hint::Path, Task::Post | Task::Stream) => {
            "are the URL's path and the endpoint's name (--on) right?"
        }
        (Hint::Path, Task::Ask) => "is the URL's path right, and is this a Jina gateway?",
        (Hint::UnknownEndpoint, _) => "`clientlet endpoints URL` lists the endpoints",
        (Hint::NoStreams, _) => {
            "`clientlet post` sends documents to an endpoint that does not stream"
        }
        _ => return None,
    })
}

fn of_kind(kind: ErrorKind, task: Task) -> Option<&'static str> {
    Some(match (kind, task) {
        (ErrorKind::Connect, _) => {
            "is the gateway running there? `clientlet gateway` starts one to try"
        }
        (ErrorKind::Timeout, Task::Post) => {
            "--attempt-timeout gives an attempt more time, and --timeout all attempts of a request; with \
             --max-attempts and without --attempt-timeout, an attempt has half of --timeout; an --idle-timeout \
             has to be longer than executors compute"
        }
        (ErrorKind::Timeout, Task::Stream) => {
            "--timeout and --idle-timeout give the stream more time"
        }
        _ => return None,
    })
}

/// The advice to try again. A TLS port closes connections without an answer, and so does a gateway
/// that restarts. `may_be_tls` is true until the first answer.
fn again(task: Task, may_be_tls: bool) -> Advice {
    let what = match task {
        Task::Post | Task::Stream => {
            "--max-attempts 4 tries again, 10 for several seconds; a request may then run more than once"
        }
        Task::Ask => "--wait-ready 60 asks again until the gateway is ready, for 60 seconds",
    };
    let also = match may_be_tls {
        true => {
            ". A port for TLS closes every connection like this; its URL begins with https://, wss:// or grpcs://"
        }
        false => "",
    };
    Advice { what, also }
}

/// The advice for errors of requests that were already retried.
const TLS: &str = "a port for TLS closes every connection like this; its URL begins with https://, wss:// or grpcs://";
