//! The ways in which a stream ends.

use bytes::Bytes;
use futures_util::FutureExt;
use http::header::{LOCATION, RETRY_AFTER};
use http::{HeaderName, HeaderValue, StatusCode};

use super::status::{REFUSED, Status};
use super::stream::Stream;
use super::{End, Unheard};
use crate::compression::{Compression, bomb};
use crate::fault::FaultKind;

/// The HTTP/2 code for a fault of the server.
const INTERNAL_ERROR: u32 = 2;

/// How a stream ends.
pub(super) enum Finish {
    /// The client reset it.
    Gone,
    /// The stream stays open: its number is above the last one that a GOAWAY named.
    Unheard,
    Status(Status),
    Reset(u32),
    /// By a status of HTTP, if there was no answer yet.
    Http {
        code: u16,
        /// A header that the answer has besides its usual ones.
        header: Option<(HeaderName, String)>,
    },
    /// Half of this message is sent, then the stream ends as if it were whole, or the connection is
    /// reset.
    Cut {
        message: Bytes,
        reset: bool,
    },
    /// With the connection.
    With(End),
}

impl Finish {
    /// By a status of HTTP, and the value of its `Retry-After`.
    pub(super) fn http(code: u16, retry_after: Option<String>) -> Self {
        Self::Http { code, header: retry_after.map(|after| (RETRY_AFTER, after)) }
    }

    /// How a fault ends the stream before its message runs; `None` if the fault does not.
    pub(super) fn by(fault: &FaultKind) -> Option<Self> {
        Some(match fault {
            FaultKind::Drop => Self::With(End::Drop),
            FaultKind::ResetAfter => Self::With(End::Reset),
            FaultKind::HalfOpen => Self::With(End::HalfOpen),
            FaultKind::GoAway(code) => Self::With(End::GoAway(*code)),
            // A part of the stream was already processed.
            FaultKind::ResetStream(REFUSED) => Self::Reset(INTERNAL_ERROR),
            FaultKind::ResetStream(code) => Self::Reset(*code),
            FaultKind::HalfClose => Self::Status(Status::OK),
            FaultKind::GrpcStatus { code, message, pushback } => Self::Status(Status {
                code: *code,
                message: message.clone().into(),
                pushback: pushback.clone(),
            }),
            FaultKind::Status { code, retry_after } => Self::http(*code, retry_after.clone()),
            FaultKind::Redirect { code, location } => {
                Self::Http { code: *code, header: Some((LOCATION, location.clone())) }
            }
            _ => return None,
        })
    }
}

/// A message as a fault compresses it, with gzip; `None` if the fault does not.
pub(super) fn compressed(fault: &FaultKind, message: &Bytes) -> Option<Bytes> {
    match fault {
        FaultKind::Gzip => Some(Compression::gzip().encode(message).into()),
        FaultKind::Bomb(bytes) => {
            // The key of field 1000, which no message has, and the length of its bytes.
            let mut begin = vec![0xc2, 0x3e];
            prost::encoding::encode_varint(*bytes, &mut begin);
            Some(bomb(&begin, 0, *bytes, message).into())
        }
        _ => None,
    }
}

impl Stream {
    /// Ends the stream behind everything that was pushed. A stream that is not processed is
    /// returned.
    pub(super) async fn finish(mut self, finish: Finish) -> Option<Unheard> {
        match finish {
            Finish::Gone => {}
            Finish::Unheard => return Some((self.inbox.into_body(), self.outbox.into_respond())),
            Finish::Status(status) => {
                if self.outbox.flush().await {
                    self.outbox.finish(&status);
                }
            }
            Finish::Http { code, header } if self.outbox.is_fresh() => {
                // Both were checked when the fault was parsed.
                let code = StatusCode::from_u16(code).unwrap_or_default();
                let header = header
                    .and_then(|(name, value)| Some((name, HeaderValue::try_from(value).ok()?)));
                self.outbox.answer_http(code, header, "scripted");
            }
            Finish::Http { .. } => {
                if self.outbox.flush().await {
                    self.outbox.reset(h2::Reason::INTERNAL_ERROR);
                }
            }
            Finish::Reset(code) => {
                if self.outbox.flush().await {
                    self.outbox.reset(code.into());
                }
            }
            Finish::Cut { message, reset } => {
                self.outbox.push(0, &message, message.len() / 2);
                if !self.outbox.flush().await {
                    return None;
                }
                if reset {
                    self.shared.line.reset_when_flushed();
                    return std::future::pending().await;
                }
                self.outbox.finish(&Status::OK);
            }
            Finish::With(end) => {
                // The flush does not wait, because the client may not read.
                self.outbox.flush().now_or_never();
                self.shared.end(end);
                // If the stream were dropped, it would be reset before the connection ends.
                std::future::pending::<()>().await;
            }
        }
        None
    }
}
