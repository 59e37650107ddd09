//! What comes, as a stream.

use std::fmt;
use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;

use super::inbox::Item;
use super::link::Link;
use crate::envelope::read_proto_status;
use crate::error::{AttemptError, Error, Event};
use crate::message::StatusMessage;
use crate::response::Response;
use crate::transport::http::outcome;
use crate::transport::websocket::{Closing, Ending, read_proto};

/// Python's `WsResponseIter`: the answers that come on a connection, until it ends; then how it was
/// closed.
///
/// * An executor's exception is an error of kind [`Executor`](crate::ErrorKind::Executor), with the
///   request's id and the answer in it. An answer that cannot be read is an error of kind
///   [`Decode`](crate::ErrorKind::Decode). Neither ends the stream.
/// * The stream ends with its connection, whatever the reason: **look at
///   [`close_code`](WsMessages::close_code)**. 1000 is the good end, after
///   [`send_eoi`](crate::WebsocketClientlet::send_eoi) and with everything answered. After any other
///   what was not answered by then never will be. Before an end for which the gateway is at fault, a
///   message of the wrong type or beyond the limit for one, the fault itself is an item.
/// * Dropping it, or a future of [`next`](WsMessages::next), loses nothing: the next stream goes on.
pub type WsResponses<'a> = WsMessages<'a, Response>;

/// The answers to a dry run: one that says how the gateway is, or none, where the connection is
/// closed with the reason (1011, an executor is down).
pub type WsStatuses<'a> = WsMessages<'a, StatusMessage>;

/// Messages that come, read as [`WsResponses`] or [`WsStatuses`].
#[must_use = "a message is kept until it is taken"]
pub struct WsMessages<'a, T> {
    link: &'a Arc<Link>,
    read: fn(&Link, &Bytes) -> Result<T, Error>,
    is_ended: bool,
    closing: Option<Closing>,
}

impl<'a, T> WsMessages<'a, T> {
    fn new(link: &'a Arc<Link>, read: fn(&Link, &Bytes) -> Result<T, Error>) -> Self {
        WsMessages { link, read, is_ended: false, closing: None }
    }

    /// The next message; nothing when the connection has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| self.poll_message(cx)).await
    }

    /// How the connection was closed, once the stream has ended: 1000 in good order, 1006 without a
    /// close frame; other codes as RFC 6455 has them.
    pub fn close_code(&self) -> Option<u16> {
        self.closing.as_ref().map(|closing| closing.code)
    }

    /// Why it was closed, once the stream has ended: the gateway's words, often none; or ours where it
    /// sent no close frame.
    pub fn close_message(&self) -> Option<&str> {
        self.closing.as_ref().map(|closing| closing.reason.as_str())
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<T, Error>>> {
        if self.is_ended {
            return Poll::Ready(None);
        }
        let ending = match std::task::ready!(self.link.inbox.poll_take(cx)) {
            Some(Item::Message(message)) => {
                return Poll::Ready(Some((self.read)(self.link, &message)));
            }
            Some(Item::End(ending)) => Some(ending),
            None => None,
        };
        self.is_ended = true;
        self.closing = match &ending {
            Some(ending) => Some(ending.closing.clone()),
            None => self.link.inbox.closing(),
        };
        let fault = ending.filter(|ending| ending.is_fault());
        Poll::Ready(fault.map(|ending: Arc<Ending>| {
            Err(failed(self.link, Ending::clone(&ending).error(true), None))
        }))
    }
}

impl<T> Stream for WsMessages<'_, T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_message(cx)
    }
}

pub(super) fn responses(link: &Arc<Link>) -> WsResponses<'_> {
    WsMessages::new(link, |link, message| {
        let Some(docarray) = link.docarray() else {
            return Err(unreadable(link, "an answer came, though no request was sent"));
        };
        let answer = read_proto(docarray, message)
            .map_err(|what| unreadable(link, &format!("an answer cannot be read: {what}")))?;
        let id = answer.request_id.clone();
        outcome(answer).map(Response::alone).map_err(|error| failed(link, error, Some(id)))
    })
}

pub(super) fn statuses(link: &Arc<Link>) -> WsStatuses<'_> {
    WsMessages::new(link, |link, message| {
        let what = |what| format!("the answer to a dry run cannot be read: {what}");
        read_proto_status(message).map_err(|fault| unreadable(link, &what(fault)))
    })
}

fn unreadable(link: &Link, what: &str) -> Error {
    failed(link, AttemptError::new(Event::Unreadable, what), None)
}

fn failed(link: &Link, error: AttemptError, id: Option<String>) -> Error {
    Error::of_request(error, Vec::new(), false, link.context(id), Duration::ZERO)
}

impl<T> fmt::Debug for WsMessages<'_, T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WsMessages").field("closing", &self.closing).finish_non_exhaustive()
    }
}
