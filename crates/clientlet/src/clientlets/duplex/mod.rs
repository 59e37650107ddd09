//! What clientlets that send and receive at the same time have in common, whatever the wire: a link, which
//! opens a connection or stream again where a message is tried again; sessions, of which there is one at
//! a time; and a mailbox between them and the receiver.

mod link;
mod mailbox;
mod messages;
mod session;

pub(super) use self::link::{Link, Opener};
pub(super) use self::mailbox::Mailbox;
pub(super) use self::messages::{Messages, unreadable};
pub(super) use self::session::{Outgoing, Report, Session, refuse, session};
