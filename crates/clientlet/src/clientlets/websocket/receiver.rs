//! The incoming messages, as a stream.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use futures_core::Stream;

use crate::clientlets::duplex::{Link, Messages, unreadable};
use crate::envelope::read_proto_status;
use crate::error::Error;
use crate::message::StatusMessage;
use crate::response::Response;
use crate::transport::Ending;

/// Python's `WsResponseIter`: the answers that come on a connection until it ends, and then how it
/// was closed.
///
/// * An executor's exception is an error of kind [`Executor`](crate::ErrorKind::Executor), with the
///   request's id and the answer in it. An answer that cannot be read is an error of kind
///   [`Decode`](crate::ErrorKind::Decode). Neither ends the stream.
/// * The stream ends with its connection, whatever the reason: **look at
///   [`close_code`](WsMessages::close_code)**. 1000 is the normal end, after
///   [`send_eoi`](crate::clientlets::WebsocketClientlet::send_eoi) and with everything answered.
///   After any other code, requests that are not answered by then never will be. If the gateway is
///   at fault, for example with a message of the wrong type or beyond the limit, the fault is an
///   item before the end.
/// * Dropping the stream, or a future of [`next`](WsMessages::next), loses no answer: the next
///   stream continues.
pub type WsResponses<'a> = WsMessages<'a, Response>;

/// The answers to a dry run: one status, or none if the connection is closed with the reason (1011,
/// an executor is down).
pub type WsStatuses<'a> = WsMessages<'a, StatusMessage>;

/// Incoming messages, read as [`WsResponses`] or [`WsStatuses`].
#[must_use = "a message is kept until it is taken"]
#[derive(Debug)]
pub struct WsMessages<'a, T>(Messages<'a, T>);

impl<T> WsMessages<'_, T> {
    /// Returns the next message; `None` when the connection has ended. Dropping the future loses no
    /// message.
    pub async fn next(&mut self) -> Option<Result<T, Error>> {
        poll_fn(|cx| self.0.poll_message(cx)).await
    }

    /// Returns how the connection was closed, once the stream has ended: 1000 in good order, 1006
    /// without a close frame, and other codes as RFC 6455 defines them.
    pub fn close_code(&self) -> Option<u16> {
        self.0.ending().map(|ending| ending.code)
    }

    /// Returns why the connection was closed, once the stream has ended: the gateway's reason,
    /// which is often empty, or the client's own if the gateway sent no close frame.
    pub fn close_message(&self) -> Option<&str> {
        self.0.ending().map(Ending::reason)
    }
}

impl<T> Stream for WsMessages<'_, T> {
    type Item = Result<T, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_message(cx)
    }
}

pub(super) fn responses(link: &Arc<Link>) -> WsResponses<'_> {
    WsMessages(Messages::responses(link))
}

pub(super) fn unread(link: &Arc<Link>) -> WsMessages<'_, Bytes> {
    WsMessages(Messages::new(link, |_, message| Ok(message.clone())))
}

pub(super) fn statuses(link: &Arc<Link>) -> WsStatuses<'_> {
    WsMessages(Messages::new(link, |link, message| {
        let what = |what| format!("the answer to a dry run cannot be read: {what}");
        read_proto_status(message).map_err(|fault| unreadable(link, &what(fault)))
    }))
}
