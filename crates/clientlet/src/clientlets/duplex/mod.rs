//! What clientlets that send and receive at the same time have in common, whatever the wire: a link, which
//! opens a connection or stream again where a message is tried again, sessions, of which there is one at
//! a time, and an inbox between them and the receiver.

mod inbox;
mod link;
mod messages;
mod session;

pub(super) use self::inbox::Inbox;
pub(super) use self::link::{Link, Opener};
pub(super) use self::messages::{Messages, unreadable};
pub(super) use self::session::{Desk, Order, Outgoing, Session};

use crate::error::{AttemptError, Event};
use crate::transport::Passage;

/// Why a session ended.
#[derive(Clone, Debug)]
pub(super) struct Ending {
    pub(super) event: Event,
    pub(super) what: String,
    /// How it was closed, as the protocol has it.
    pub(super) closing: Closing,
    /// Whether the gateway said that it is the end.
    pub(super) is_said: bool,
    /// Whether what came was at fault, and not only the connection lost or closed.
    pub(super) is_fault: bool,
}

/// A code, and the gateway's words; or ours where it said none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Closing {
    pub(super) code: u16,
    pub(super) reason: String,
}

impl Ending {
    /// What it means for a message that was on it.
    fn error(&self, passage: &Passage) -> AttemptError {
        if passage.give_up() {
            return AttemptError::new(self.event, &*self.what);
        }
        let what = format!("{} before the request was sent", self.what);
        AttemptError::new(Event::SessionLost, what)
    }
}
