//! What went wrong, and whether the request reached the gateway.

use std::fmt;

/// What went wrong, in the client's own terms; the same on every transport.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum ErrorKind {
    /// A setting, URL or option that cannot be used.
    Config,
    /// A document or parameter that the wire format cannot hold.
    Encode,
    /// The caller's own input of documents failed, or the caller's own hook.
    Input,
    /// No connection could be made.
    Connect,
    /// No secure connection could be made: a certificate, or what TLS has to agree on.
    Tls,
    /// The connection broke before the answer was complete.
    Transport,
    /// The client or its connection was closed already.
    Closed,
    /// Time ran out: of the attempt, of the request, or the gateway's own.
    Timeout,
    /// The gateway asked for fewer requests.
    RateLimited,
    /// The gateway does not have what was asked for.
    NotFound,
    /// The gateway answered, but not with a result: it refused the request or could not reach an
    /// executor.
    Gateway,
    /// An executor raised an exception.
    Executor,
    /// An answer that cannot be read, or not as the type that was asked for.
    Decode,
    /// An answer beyond a limit of this client.
    TooLarge,
    /// The call was given up before the request ended.
    Cancelled,
}

impl ErrorKind {
    /// The kind's name in lower case, as the command prints it.
    pub fn name(self) -> &'static str {
        match self {
            ErrorKind::Config => "config",
            ErrorKind::Encode => "encode",
            ErrorKind::Input => "input",
            ErrorKind::Connect => "connect",
            ErrorKind::Tls => "tls",
            ErrorKind::Transport => "transport",
            ErrorKind::Closed => "closed",
            ErrorKind::Timeout => "timeout",
            ErrorKind::RateLimited => "rate_limited",
            ErrorKind::NotFound => "not_found",
            ErrorKind::Gateway => "gateway",
            ErrorKind::Executor => "executor",
            ErrorKind::Decode => "decode",
            ErrorKind::TooLarge => "too_large",
            ErrorKind::Cancelled => "cancelled",
        }
    }
}

impl fmt::Display for ErrorKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Whether a request reached the gateway, as far as the client can know.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Delivery {
    /// No byte of the request was written, or the gateway said that it did not process it.
    NotSent,
    /// The gateway answered.
    Answered,
    /// Some of the request was written and no complete answer came: it may have arrived.
    Unknown,
}

impl Delivery {
    /// The delivery of a request, given those of two of its attempts: the less certain one.
    #[must_use]
    pub fn join(self, other: Delivery) -> Delivery {
        self.max(other)
    }

    /// The delivery's name in lower case, as the command prints it.
    pub fn name(self) -> &'static str {
        match self {
            Delivery::NotSent => "not_sent",
            Delivery::Answered => "answered",
            Delivery::Unknown => "unknown",
        }
    }
}

impl fmt::Display for Delivery {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn joining_deliveries_keeps_the_less_certain_one() {
        use Delivery::{Answered, NotSent, Unknown};
        let table = [
            (NotSent, NotSent, NotSent),
            (NotSent, Answered, Answered),
            (NotSent, Unknown, Unknown),
            (Answered, Answered, Answered),
            (Answered, Unknown, Unknown),
            (Unknown, Unknown, Unknown),
        ];
        for (a, b, joined) in table {
            assert_eq!(a.join(b), joined);
            assert_eq!(b.join(a), joined);
        }
    }
}
