//! A stream of requests and answers, and the status that it ended with.

use std::future::poll_fn;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_core::Stream;

use crate::clientlets::DataRequest;
use crate::clientlets::duplex::{Link, Messages};
use crate::error::{Error, GrpcCode};
use crate::response::Response;
use crate::transport::Closing;

/// A stream of a [`GrpcClientlet`](crate::clientlets::GrpcClientlet): requests go out and answers come in, each by
/// itself and both at the same time, as they are ready, told apart by their request's id.
///
/// Dropping it gives it up, and what has not been answered by then.
///
/// # A stream that is lost
///
/// A request that could not be sent is tried again as the options say, once by default; from the second
/// attempt on over a fresh stream where the old one has ended. The answers of the old stream that had
/// come by then are received first, then they end with that stream's status, and the next
/// [`recv_message`](GrpcStream::recv_message) goes on with the fresh one. What was sent on the old one
/// and not answered by then never will be; it is the caller's to send again.
///
/// # A connection that the gateway leaves
///
/// A gateway that stops, or whose connections have a maximal age, leaves a connection by sending
/// GOAWAY: open streams go on for a while, and new ones are refused. Single requests and streams
/// that are opened later use another connection without the caller noticing. This stream stays
/// where it is, and everything sent on it is answered until the gateway's grace period ends. Then
/// the gateway cuts the stream, which is lost as described above, mostly with code 14, UNAVAILABLE;
/// requests without an answer by then may have run. If a stream must live longer than the gateway's
/// connections, send the end of input and open another stream before they grow too old.
///
/// A stream that the gateway says it did not process, because it was opened while the GOAWAY was on
/// its way or because the gateway refused it, ends with code 14, UNAVAILABLE, and the words `the
/// gateway did not take the request`. None of its requests has run.
///
/// # Bounds
///
/// Answers that nobody takes are kept, 1024 of them and not more bytes than one answer may have
/// ([`answer_limit`](crate::clientlets::ClientletOptions::answer_limit)) and one more answer; and 1 MiB on their way.
/// Beyond that the stream is not read, which stops the gateway. Sending waits until the connection
/// takes the request, for a gateway that does not read up to
/// [`attempt_timeout`](crate::clientlets::ClientletOptions::attempt_timeout).
#[derive(Debug)]
#[must_use = "dropping it gives it up"]
pub struct GrpcStream {
    link: Arc<Link>,
}

impl GrpcStream {
    pub(super) fn new(link: Arc<Link>) -> GrpcStream {
        GrpcStream { link }
    }

    /// Another hand to send with, while this one receives; it serves as long as the stream.
    pub fn sender(&self) -> GrpcSender {
        GrpcSender { link: self.link.clone() }
    }

    /// Sends a request; see [`GrpcSender::send_message`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.link.send_message(request).await
    }

    /// Says that nothing more will be sent; see [`GrpcSender::send_eoi`].
    ///
    /// # Errors
    /// As there.
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.link.send_end_of_input().await
    }

    /// The answers, as they come. There is one receiver at a time.
    pub fn recv_message(&mut self) -> GrpcResponses<'_> {
        GrpcResponses(Messages::responses(&self.link))
    }

    /// The status that the stream which ended last ended with; see [`GrpcResponses::status_code`].
    pub fn status_code(&self) -> Option<GrpcCode> {
        self.link.mailbox.closing().map(|closing| code(&closing))
    }

    /// What came with it; see [`GrpcResponses::status_message`].
    pub fn status_message(&self) -> Option<String> {
        self.link.mailbox.closing().map(|closing| closing.reason)
    }
}

impl Drop for GrpcStream {
    fn drop(&mut self) {
        self.link.hang_up();
    }
}

/// Sends on a [`GrpcStream`], of which it is a cheap handle.
#[derive(Clone, Debug)]
pub struct GrpcSender {
    link: Arc<Link>,
}

impl GrpcSender {
    /// Sends a request, and waits until the connection has taken it. Sending is tried again as the options
    /// say, over a fresh stream where the old one has ended. A future that is dropped has sent the
    /// request whole or not at all.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`](crate::ErrorKind::Encode) for a request that is not protobuf, or of other
    /// documents than the one before; otherwise why it could not be sent.
    pub async fn send_message(&self, request: &DataRequest) -> Result<(), Error> {
        self.link.send_message(request).await
    }

    /// Says that nothing more will be sent, by ending our half of the stream: the gateway answers what it
    /// has, then ends the other with OK. It is not tried again.
    ///
    /// # Errors
    /// Why it could not be sent.
    pub async fn send_eoi(&self) -> Result<(), Error> {
        self.link.send_end_of_input().await
    }
}

/// The answers that come on a stream, until it ends; then the status that it ended with.
///
/// * An executor's exception is an error of kind [`Executor`](crate::ErrorKind::Executor), with the
///   request's id and the answer in it. An answer that cannot be read is an error of kind
///   [`Decode`](crate::ErrorKind::Decode). Neither ends the stream.
/// * They end with their stream, whatever the reason: **look at
///   [`status_code`](GrpcResponses::status_code)**. `Ok` is the good end, after
///   [`send_eoi`](GrpcStream::send_eoi) and with everything answered. After any other what was not
///   answered by then never will be. An answer beyond the limit, or that is not gRPC, is an item itself before
///   the end.
/// * Dropping it, or a future of [`next`](GrpcResponses::next), loses nothing: the next one goes on.
#[must_use = "a message is kept until it is taken"]
#[derive(Debug)]
pub struct GrpcResponses<'a>(Messages<'a, Response>);

impl GrpcResponses<'_> {
    /// The next answer; nothing when the stream has ended. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Option<Result<Response, Error>> {
        poll_fn(|cx| self.0.poll_message(cx)).await
    }

    /// The status that the stream ended with, known once all answers were received: `Ok` if it
    /// ended well; `Unavailable` if an executor is down; otherwise any of gRPC's codes. A stream
    /// that was lost without a status has the code that gRPC defines for the loss: `Unavailable` if
    /// the connection was lost or the stream was not processed; mostly `Cancelled` or `Internal` if
    /// it was reset; `Unknown` if it ended without a status.
    pub fn status_code(&self) -> Option<GrpcCode> {
        self.0.closing().map(code)
    }

    /// What came with it, once the answers have ended: the gateway's words, often none; or ours where
    /// there was no status.
    pub fn status_message(&self) -> Option<&str> {
        self.0.closing().map(|closing| closing.reason.as_str())
    }
}

impl Stream for GrpcResponses<'_> {
    type Item = Result<Response, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.0.poll_message(cx)
    }
}

fn code(closing: &Closing) -> GrpcCode {
    GrpcCode::of_number(closing.code.into())
}
