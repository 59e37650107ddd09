//! A stream of requests and answers, and its final status.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::clientlets::DataRequest;
use crate::clientlets::duplex::{Link, Messages};
use crate::error::{Error, GrpcCode};
use crate::response::Response;
use crate::transport::Ending;

/// A stream of a [`GrpcClientlet`](crate::clientlets::GrpcClientlet). Requests and answers travel
/// independently and at the same time. Answers come as they are ready, and belong to the request
/// with the same id.
///
/// Dropping the stream gives it up, with everything that is not answered by then.
///
/// # A stream that is lost
///
/// A request that could not be sent is retried as the options say, by default not at all. From the
/// second attempt on a new stream is used if the old one has ended. The answers of the old stream
/// that came by then are received first. Then they end with that stream's status, and the next
/// [`recv_message`](GrpcStream::recv_message) continues with the new stream. Requests that were
/// sent on the old stream and not answered by then never will be; the caller may send them again.
///
/// # A connection that the gateway leaves
///
/// A gateway that stops, or whose connections have a maximum age, leaves a connection by sending a
/// GOAWAY: open streams continue for a while, and new ones are refused. Unary requests, and streams
/// that are opened later, use another connection without the caller noticing. This stream stays on
/// its connection, and its requests are answered until the gateway's grace period ends. Then the
/// gateway cuts the stream, which is lost as described above, usually with code 14, UNAVAILABLE.
/// Requests without an answer by then may have run. If a stream must live longer than the gateway's
/// connections, send the end of input and open another stream before they grow too old.
///
/// A gateway may not process a stream, because the stream was opened while the GOAWAY was in flight
/// or because the gateway refused it. Such a stream ends with code 14, UNAVAILABLE, and the message
/// `the gateway did not take the request`. None of its requests has run.
///
/// # Bounds
///
/// Answers that the caller does not take are kept: up to 1024 of them, and up to the bytes that one
/// answer may have ([`answer_limit`](crate::clientlets::ClientletOptions::answer_limit)) plus one
/// more answer; another 1 MiB may be in flight. Beyond that the stream is not read, which stops the
/// gateway. Sending waits until the connection takes the request. If the gateway does not read,
/// sending waits up to [`attempt_timeout`](crate::clientlets::ClientletOptions::attempt_timeout).
#[derive(Debug)]
#[must_use = "dropping the stream gives it up"]
pub struct GrpcStream {
    link: Arc<Link>,
}

impl GrpcStream {
    pub(super) fn new(link: Arc<Link>) -> GrpcStream {
        GrpcStream { link }
    }

    /// Returns a handle for sending, while this one receives. It works as long as the stream.
    pub fn sender(&self) -> GrpcSender {
        GrpcSender { link: self.link.clone() }
    }

    /// Sends a request; see [`GrpcSender::send_message`].
    ///
    /// # Errors
    /// The errors of [`GrpcSender::send_message`].
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.link.send_message(request).await
    }

    /// Announces the end of input; see [`GrpcSender::send_eoi`].
    ///
    /// # Errors
    /// The errors of [`GrpcSender::send_eoi`].
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.link.send_end_of_input().await
    }

    /// Returns the answers as they come. There is one receiver at a time.
    pub fn recv_message(&mut self) -> GrpcResponses<'_> {
        GrpcResponses(Messages::responses(&self.link))
    }

    /// Returns the status of the last stream that ended; see [`GrpcResponses::status_code`].
    pub fn status_code(&self) -> Option<GrpcCode> {
        self.link.mailbox.ending().map(|ending| code(&ending))
    }

    /// Returns the message of that status; see [`GrpcResponses::status_message`].
    pub fn status_message(&self) -> Option<String> {
        self.link.mailbox.ending().map(|ending| ending.reason().to_owned())
    }
}

impl Drop for GrpcStream {
    fn drop(&mut self) {
        self.link.hang_up();
    }
}

/// A handle for sending on a [`GrpcStream`], cheap to clone.
#[derive(Clone, Debug)]
pub struct GrpcSender {
    link: Arc<Link>,
}

impl GrpcSender {
    /// Sends a request, and waits until the connection has taken it. Sending is retried as the
    /// options say, over a new stream if the old one has ended. A dropped future has sent the
    /// request whole or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode) for a request that is not protobuf, or that
    /// has another generation of documents than the request before. Otherwise the reason why the
    /// request could not be sent.
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.link.send_message(request).await
    }

    /// Announces the end of input by ending the client's half of the stream. The gateway answers
    /// the remaining requests, then ends its half with OK. The announcement is not retried.
    ///
    /// # Errors
    /// The reason why it could not be sent.
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.link.send_end_of_input().await
    }
}

/// The answers that come on a stream until it ends, and then its status.
///
/// * An executor's exception is an error of kind [`Executor`](crate::ErrorKind::Executor), with the
///   request's id and the answer in it. An answer that cannot be read is an error of kind
///   [`Decode`](crate::ErrorKind::Decode). Neither ends the stream.
/// * The answers end with their stream, whatever the reason: **look at
///   [`status_code`](GrpcResponses::status_code)**. `Ok` is the normal end, after
///   [`send_eoi`](GrpcStream::send_eoi) and with everything answered. After any other status,
///   requests that are not answered by then never will be. An answer that exceeds the limit or is
///   not gRPC is an item itself, before the end.
/// * Dropping the answers, or a future of [`next`](GrpcResponses::next), loses no answer: the next
///   receiver continues.
#[must_use = "a message is kept until it is taken"]
#[derive(Debug)]
pub struct GrpcResponses<'a>(Messages<'a, Response>);

impl GrpcResponses<'_> {
    /// Returns the next answer; `None` when the stream has ended. Dropping the future loses no
    /// answer.
    pub async fn next(&mut self) -> Option<Result<Response, Error>> {
        poll_fn(|cx| self.0.poll_message(cx)).await
    }

    /// Returns the status with which the stream ended, known once all answers were received: `Ok`
    /// if it ended well; `Unavailable` if an executor is down; otherwise any code of gRPC. A stream
    /// that was lost without a status has the code that gRPC defines for the loss: `Unavailable` if
    /// the connection was lost or the stream was not processed; usually `Cancelled` or `Internal`
    /// if it was reset; `Unknown` if it ended without a status.
    pub fn status_code(&self) -> Option<GrpcCode> {
        self.0.ending().map(code)
    }

    /// Returns the message of the status, once the answers have ended: the gateway's, which is
    /// often empty, or the client's own if there was no status.
    pub fn status_message(&self) -> Option<&str> {
        self.0.ending().map(Ending::reason)
    }
}

impl Stream for GrpcResponses<'_> {
    type Item = Result<Response, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_message(cx)
    }
}

fn code(ending: &Ending) -> GrpcCode {
    GrpcCode::of_number(ending.code.into())
}
