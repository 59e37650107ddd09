//! The parts that all clientlets that send and receive at the same time share, whichever protocol
//! they use. A link opens a connection or stream again if a message is retried. There is one
//! session at a time, and a mailbox between the sessions and the receiver.

mod link;
mod mailbox;
mod messages;
mod session;

pub(super) use self::link::{Link, Opener};
pub(super) use self::mailbox::Mailbox;
pub(super) use self::messages::{Messages, unreadable};
pub(super) use self::session::{Outgoing, Report, Session, refuse, session};
