//! The outgoing side of a stream: head, messages, trailers.

use std::collections::VecDeque;
use std::mem;
use std::task::{Context, Poll, ready};

use bytes::{BufMut, Bytes, BytesMut};
use h2::server::SendResponse;
use h2::{Reason, SendStream};
use http::header::CONTENT_TYPE;
use http::{HeaderMap, HeaderName, HeaderValue, Response, StatusCode};

use super::inbox::PREFIX;
use super::status::Status;
use crate::compression::Compression;

/// The flag of a message that is compressed.
pub(super) const COMPRESSED: u8 = 1;
/// The largest message that is copied to be sent together with others.
const SMALL: usize = 16 << 10;

/// The answers on a stream. As with real gateways, the head is sent with the first answer.
pub(super) struct Outbox {
    respond: SendResponse<Bytes>,
    /// The stream for the body, once the head was sent.
    body: Option<SendStream<Bytes>>,
    pieces: VecDeque<Bytes>,
    /// Small messages, joined to be sent in one frame.
    joined: BytesMut,
    /// What the head has besides its usual headers.
    headers: HeaderMap,
    /// How messages are compressed.
    compression: Option<Compression>,
}

impl Outbox {
    /// Besides its usual headers the head has these.
    pub(super) fn new(
        respond: SendResponse<Bytes>,
        headers: HeaderMap,
        compression: Option<Compression>,
    ) -> Self {
        let (pieces, joined) = (VecDeque::new(), BytesMut::new());
        Self { respond, body: None, pieces, joined, headers, compression }
    }

    /// A message as it is sent, with its flag.
    pub(super) fn pack(&self, message: Bytes) -> (u8, Bytes) {
        match &self.compression {
            Some(compression) => (COMPRESSED, compression.encode(&message).into()),
            None => (0, message),
        }
    }

    /// Appends a whole message.
    pub(super) fn send(&mut self, message: Bytes) {
        let (flag, message) = self.pack(message);
        self.push(flag, &message, message.len());
    }

    /// Returns the unused handle for answering.
    pub(super) fn into_respond(self) -> SendResponse<Bytes> {
        self.respond
    }

    /// Appends the first bytes of a message, behind a prefix with this flag and the length of the
    /// whole message.
    pub(super) fn push(&mut self, flag: u8, message: &Bytes, part: usize) {
        self.joined.reserve(PREFIX);
        self.joined.put_u8(flag);
        // Answers are smaller than the 4 GiB that fit the length.
        self.joined.put_u32(message.len() as u32);
        if part <= SMALL {
            self.joined.extend_from_slice(&message[..part]);
        } else {
            self.pieces.push_back(self.joined.split().freeze());
            self.pieces.push_back(message.slice(..part));
        }
    }

    /// The number of bytes that wait to be sent.
    pub(super) fn len(&self) -> usize {
        self.pieces.iter().map(Bytes::len).sum::<usize>() + self.joined.len()
    }

    /// Whether there was no answer yet.
    pub(super) fn is_fresh(&self) -> bool {
        self.body.is_none() && self.pieces.is_empty() && self.joined.is_empty()
    }

    /// Hands to HTTP/2 what was pushed, no faster than the client takes it.
    pub(super) fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), h2::Error>> {
        loop {
            if self.pieces.is_empty() {
                if self.joined.is_empty() {
                    return Poll::Ready(Ok(()));
                }
                self.pieces.push_back(self.joined.split().freeze());
            }
            let body = match &mut self.body {
                Some(body) => body,
                None => {
                    let headers = mem::take(&mut self.headers);
                    let head = head(StatusCode::OK, "application/grpc", headers);
                    self.body.insert(self.respond.send_response(head, false)?)
                }
            };
            let Some(piece) = self.pieces.front_mut() else { continue };
            body.reserve_capacity(piece.len());
            match body.capacity() {
                0 => match ready!(body.poll_capacity(cx)) {
                    Some(room) => drop(room?),
                    None => return Poll::Ready(Err(Reason::STREAM_CLOSED.into())),
                },
                room => {
                    let part = piece.split_to(room.min(piece.len()));
                    body.send_data(part, false)?;
                    if piece.is_empty() {
                        self.pieces.pop_front();
                    }
                }
            }
        }
    }

    /// Hands everything to HTTP/2; returns whether the client took it.
    pub(super) async fn flush(&mut self) -> bool {
        std::future::poll_fn(|cx| match self.poll_reset(cx) {
            Poll::Ready(()) => Poll::Ready(false),
            Poll::Pending => self.poll_write(cx).map(|written| written.is_ok()),
        })
        .await
    }

    /// Waits until the client resets the stream.
    pub(super) fn poll_reset(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let reset = match &mut self.body {
            Some(body) => body.poll_reset(cx),
            None => self.respond.poll_reset(cx),
        };
        reset.map(drop)
    }

    /// Ends the stream. Everything was written.
    pub(super) fn finish(mut self, status: &Status) {
        // An error would mean that the client is gone.
        let _ = match &mut self.body {
            Some(body) => {
                let mut trailers = HeaderMap::new();
                status.write(&mut trailers);
                body.send_trailers(trailers)
            }
            None => {
                let mut head = head(StatusCode::OK, "application/grpc", self.headers);
                status.write(head.headers_mut());
                self.respond.send_response(head, true).map(drop)
            }
        };
    }

    /// Ends the stream with an answer that is not gRPC. The head must not have been sent.
    pub(super) fn answer_http(
        mut self,
        status: StatusCode,
        more: Option<(HeaderName, HeaderValue)>,
        text: &'static str,
    ) {
        self.headers.extend(more);
        let head = head(status, "text/plain; charset=utf-8", self.headers);
        // An error would mean that the client is gone.
        if let Ok(mut body) = self.respond.send_response(head, false) {
            let _ = body.send_data(Bytes::from_static(text.as_bytes()), true);
        }
    }

    pub(super) fn reset(mut self, reason: Reason) {
        match &mut self.body {
            Some(body) => body.send_reset(reason),
            None => self.respond.send_reset(reason),
        }
    }
}

fn head(status: StatusCode, content_type: &'static str, headers: HeaderMap) -> Response<()> {
    let mut head = Response::new(());
    *head.status_mut() = status;
    *head.headers_mut() = headers;
    let headers = head.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    headers.insert("grpc-accept-encoding", HeaderValue::from_static("identity, deflate, gzip"));
    head
}
