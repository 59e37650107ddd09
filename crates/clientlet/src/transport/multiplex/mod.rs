//! Many requests on one connection or stream: which request waits for which answer, and the result
//! of all requests when the connection or stream ends.

mod ending;
#[cfg(test)]
mod far_end;
mod handle;
mod in_flight;
mod inbox;
mod progress;
mod queue;

pub(crate) use self::ending::Ending;
#[cfg(test)]
pub(crate) use self::far_end::FarEnd;
pub(crate) use self::handle::{Dispatched, Handle};
pub(super) use self::in_flight::InFlight;
pub(crate) use self::inbox::{Inbox, Mail, Ticket};
pub(crate) use self::progress::Claim;
pub(super) use self::progress::{Passage, Progress};
pub(crate) use self::queue::{Notice, Order, Orders, Queue};
