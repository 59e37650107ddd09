//! Why a connection ended, and what follows for what was on it.

use tokio_websockets::{Error as SocketError, Message};

use super::super::multiplex;
#[cfg(test)]
use crate::error::AttemptError;
use crate::error::{Detail, Event};
use crate::foreign::shorten;

/// How a WebSocket was closed: by a close frame, or by what stands for one (RFC 6455, 7.4.1).
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Closing {
    pub(crate) code: u16,
    /// The gateway's words, or ours where there was no frame.
    pub(crate) reason: String,
}

/// Ended without a close frame.
const ABNORMAL: u16 = 1006;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const TOO_BIG: u16 = 1009;

/// Why a connection ended.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    pub(crate) event: Event,
    pub(crate) what: String,
    pub(crate) closing: Closing,
    /// Whether the gateway said by a close frame that it is the end.
    pub(crate) is_by_frame: bool,
}

impl Ending {
    fn new(event: Event, code: u16, what: impl Into<String>) -> Ending {
        let what = what.into();
        let closing = Closing { code, reason: what.clone() };
        Ending { event, what, closing, is_by_frame: false }
    }

    /// The connection went without a close frame.
    pub(crate) fn dropped(what: impl Into<String>) -> Ending {
        Ending::new(Event::SocketDropped, ABNORMAL, what)
    }

    /// TCP has ended, and WebSocket had not.
    pub(super) fn vanished() -> Ending {
        Ending::dropped("the connection was closed without a close frame (1006)")
    }

    /// What came cannot be read, or answers nothing that was asked.
    pub(super) fn garbled(what: impl Into<String>) -> Ending {
        Ending::new(Event::SocketGarbled, UNSUPPORTED_DATA, what)
    }

    /// The other kind of message than was agreed on.
    pub(super) fn wrong_type(sent: &str, agreed: &str) -> Ending {
        Ending::garbled(format!("the gateway sent {sent} where {agreed} was agreed on"))
    }

    /// The gateway's close frame.
    pub(super) fn of_frame(frame: &Message) -> Option<Ending> {
        let (code, reason) = frame.as_close()?;
        Some(Ending::closed(code.into(), reason))
    }

    pub(super) fn closed(code: u16, reason: &str) -> Ending {
        let closing = Closing { code, reason: reason.to_owned() };
        let reason = shorten(reason);
        let what = match reason.as_str() {
            "" => format!("the gateway closed with {code}"),
            reason => format!("the gateway closed with {code}: {reason}"),
        };
        let names_deployment = reason.contains("deployment");
        let event = match code {
            1011 if names_deployment && reason.contains("timed out") => Event::SocketTimeout1011,
            1011 if names_deployment => Event::SocketOutage1011,
            1013 => Event::SocketTryAgain1013,
            1000 | 1001 | 1005 | 1006 | 1011 | 1012 => Event::SocketDropped,
            // One message was too much; which one shows when each goes alone.
            1002 | 1003 | 1007 | 1009 => Event::SocketDropped,
            _ => Event::SocketClosed,
        };
        Ending { event, what, closing, is_by_frame: true }
    }

    pub(super) fn of_error(error: &SocketError) -> Ending {
        match error {
            SocketError::PayloadTooLong { max_len, .. } => {
                let what = format!("an answer is larger than the limit of {max_len} bytes");
                Ending::new(Event::SocketOversize, TOO_BIG, what)
            }
            SocketError::Protocol(error) => {
                let what = format!("the gateway broke the WebSocket protocol: {error}");
                Ending::new(Event::SocketDropped, PROTOCOL_ERROR, what)
            }
            SocketError::Io(error) => Ending::dropped(format!("the connection was lost: {error}")),
            error => Ending::dropped(format!("the connection failed: {error}")),
        }
    }

    /// Whether what came was at fault, and not only the connection lost or closed.
    pub(crate) fn is_fault(&self) -> bool {
        !self.is_by_frame && self.closing.code != ABNORMAL
    }

    /// What it means for a request that was on the connection.
    #[cfg(test)]
    pub(super) fn error(self, sent: bool) -> AttemptError {
        multiplex::Ending::from(self).error(sent)
    }
}

impl From<Ending> for multiplex::Ending {
    fn from(ending: Ending) -> multiplex::Ending {
        let close = ending.is_by_frame.then_some(ending.closing.code);
        let detail = Detail { close, ..Detail::default() };
        multiplex::Ending::new(ending.event, ending.what).with_detail(detail)
    }
}
