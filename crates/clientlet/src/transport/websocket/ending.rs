//! The end of a connection, and what follows for the requests on it.

use tokio_websockets::{Error as SocketError, Message};

use super::super::multiplex::Ending;
use crate::error::{Detail, Event};
use crate::foreign::shorten;

/// The code for a connection that ended without a close frame.
const ABNORMAL: u16 = 1006;
const PROTOCOL_ERROR: u16 = 1002;
const UNSUPPORTED_DATA: u16 = 1003;
const TOO_BIG: u16 = 1009;

impl Ending {
    /// Ended without a close frame. The gateway sent something wrong, unless the connection was
    /// only lost.
    fn without_frame(event: Event, code: u16, what: impl Into<String>) -> Ending {
        Ending { code, is_fault: code != ABNORMAL, ..Ending::new(event, what) }
    }

    /// The connection was lost without a close frame.
    pub(crate) fn dropped(what: impl Into<String>) -> Ending {
        Ending::without_frame(Event::SocketDropped, ABNORMAL, what)
    }

    /// TCP has ended, but WebSocket had not.
    pub(super) fn vanished() -> Ending {
        Ending::dropped("the connection was closed without a close frame (1006)")
    }

    /// A message cannot be read, or answers a request that was not sent.
    pub(super) fn garbled(what: impl Into<String>) -> Ending {
        Ending::without_frame(Event::SocketGarbled, UNSUPPORTED_DATA, what)
    }

    /// A message has another type than the subprotocol requires.
    pub(super) fn wrong_type(sent: &str, agreed: &str) -> Ending {
        Ending::garbled(format!("the gateway sent {sent}, but {agreed} was agreed on"))
    }

    /// Reads the gateway's close frame.
    pub(super) fn of_frame(frame: &Message) -> Option<Ending> {
        let (code, reason) = frame.as_close()?;
        Some(Ending::closed(code.into(), reason))
    }

    pub(super) fn closed(code: u16, reason: &str) -> Ending {
        let said = shorten(reason);
        let what = match said.as_str() {
            "" => format!("the gateway closed with {code}"),
            said => format!("the gateway closed with {code}: {said}"),
        };
        let names_deployment = said.contains("deployment");
        let event = match code {
            1011 if names_deployment && said.contains("timed out") => Event::SocketTimeout1011,
            1011 if names_deployment => Event::SocketOutage1011,
            1013 => Event::SocketTryAgain1013,
            1000 | 1001 | 1005 | 1006 | 1011 | 1012 => Event::SocketDropped,
            // One message was at fault. Which one shows when each request goes alone.
            1002 | 1003 | 1007 | 1009 => Event::SocketDropped,
            _ => Event::SocketClosed,
        };
        let detail = Detail { close: Some(code), ..Detail::default() };
        Ending { code, detail, said: Some(reason.to_owned()), ..Ending::new(event, what) }
    }

    pub(super) fn of_error(error: &SocketError) -> Ending {
        match error {
            SocketError::PayloadTooLong { max_len, .. } => {
                let what = format!("an answer is larger than the limit of {max_len} bytes");
                Ending::without_frame(Event::SocketOversize, TOO_BIG, what)
            }
            SocketError::Protocol(error) => {
                let what = format!("the gateway broke the WebSocket protocol: {error}");
                Ending::without_frame(Event::SocketDropped, PROTOCOL_ERROR, what)
            }
            SocketError::Io(error) => Ending::dropped(format!("the connection was lost: {error}")),
            error => Ending::dropped(format!("the connection failed: {error}")),
        }
    }
}
