//! The incoming messages of a session until its end, and how it was closed.

use std::fmt;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;

use super::link::Link;
use super::mailbox::Item;
use crate::envelope::{outcome, read_proto_answer};
use crate::error::{AttemptError, Error, Event};
use crate::message::{DocArray, RawAnswer};
use crate::response::Response;
use crate::retry::Failure;
use crate::transport::Ending;

/// The messages of one session, read as `T`.
pub(in crate::clientlets) struct Messages<'a, T> {
    link: &'a Arc<Link>,
    read: fn(&Link, &Bytes) -> Result<T, Error>,
    is_ended: bool,
    ending: Option<Arc<Ending>>,
}

impl<'a, T> Messages<'a, T> {
    pub(in crate::clientlets) fn new(
        link: &'a Arc<Link>,
        read: fn(&Link, &Bytes) -> Result<T, Error>,
    ) -> Messages<'a, T> {
        Messages { link, read, is_ended: false, ending: None }
    }

    /// Returns the end of the session, once the messages have ended.
    pub(in crate::clientlets) fn ending(&self) -> Option<&Ending> {
        self.ending.as_deref()
    }

    pub(in crate::clientlets) fn poll_message(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<T, Error>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let ending = match std::task::ready!(self.link.mailbox.poll_take(cx)) {
            Some(Item::Message(message)) => {
                return Poll::Ready(Some((self.read)(self.link, &message)));
            }
            Some(Item::End(ending)) => Some(ending),
            None => None,
        };
        self.is_ended = true;
        self.ending = ending.clone().or_else(|| self.link.mailbox.ending());
        let fault = ending.filter(|ending| ending.is_fault);
        Poll::Ready(fault.map(|ending| Err(failed(self.link, ending.sent(), None))))
    }
}

impl<'a> Messages<'a, Response> {
    /// Returns the answers to requests.
    pub(in crate::clientlets) fn responses(link: &'a Arc<Link>) -> Messages<'a, Response> {
        Messages::new(link, |link, message| {
            let answer =
                read_answer(link.docarray(), message).map_err(|what| unreadable(link, &what))?;
            let id = answer.request_id.clone();
            outcome(answer).map(Response::alone).map_err(|error| failed(link, error, Some(id)))
        })
    }
}

fn read_answer(docarray: Option<DocArray>, message: &Bytes) -> Result<RawAnswer, String> {
    let docarray = docarray.ok_or("an answer came although no request was sent")?;
    read_proto_answer(docarray, message).map_err(|what| format!("an answer cannot be read: {what}"))
}

pub(in crate::clientlets) fn unreadable(link: &Link, what: &str) -> Error {
    failed(link, AttemptError::new(Event::Unreadable, what), None)
}

fn failed(link: &Link, mut error: AttemptError, id: Option<String>) -> Error {
    link.hide(&mut error);
    Failure::unattempted(error).into_error(link.context(id))
}

impl<T> fmt::Debug for Messages<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Messages").field("ending", &self.ending).finish_non_exhaustive()
    }
}
