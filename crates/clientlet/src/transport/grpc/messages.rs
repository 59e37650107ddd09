//! The messages that a gateway sends on a stream.

use std::time::Duration;

use ::http::HeaderMap;
use bytes::Bytes;
use clientlet_proto::prost::{decode_length_delimiter, length_delimiter_len};
use futures_core::Stream;
use tokio::time::{Instant, timeout_at};

use super::super::BoxFuture;
use super::super::multiplex::Ending;
use super::answers::Answers;
use super::channel::Channel;
use super::outgoing::Outgoing;
use super::{CALL, failure};
use crate::envelope::read_proto_answer;
use crate::message::DocArray;
use crate::telemetry::AttemptTrace;

/// The longest time for which a bare answer is held back. Before a gateway fails a stream, it
/// answers the request at fault with only its id, which reads as a success. So such an answer is
/// held back until the stream continues, or for this time.
const OMEN: Duration = Duration::from_secs(5);

/// The messages that come on a stream of requests, except an answer that announces a failure.
/// Dropping them cancels the stream.
pub(crate) struct Messages {
    channel: Channel,
    /// The head of the answers. A gateway may send none before the first answer, and no answer
    /// before the first request.
    opening: BoxFuture<'static, Result<Answers, Ending>>,
    answers: Option<Answers>,
    /// The answer that may announce a failure, and the end of the wait.
    omen: Option<(Bytes, Instant)>,
    /// The message that came after such an answer, if the stream continued.
    next: Option<Option<Bytes>>,
}

impl Messages {
    /// Opens a stream for these requests. If the whole stream has a time-out, the gateway is told it.
    /// When the requests end, the client's half of the stream ends.
    pub(super) fn new(
        channel: Channel,
        headers: &HeaderMap,
        timeout: Option<Duration>,
        requests: impl Stream<Item = Bytes> + Send + 'static,
    ) -> Messages {
        // The headers have the context already.
        let untraced = AttemptTrace::default();
        let opening =
            channel.call(CALL, headers, timeout, Outgoing::of_stream(requests), &untraced);
        let opening = Box::pin(opening);
        Messages { channel, opening, answers: None, omen: None, next: None }
    }

    /// Returns the next message; `None` once the gateway has ended the stream in good order.
    /// Dropping the future loses no message.
    pub(crate) async fn next(&mut self) -> Result<Option<Bytes>, Ending> {
        let next = self.next_but_omens().await;
        next.map_err(|ending| failure::of_stream(ending, &self.channel))
    }

    async fn next_but_omens(&mut self) -> Result<Option<Bytes>, Ending> {
        loop {
            let Some((_, until)) = self.omen else {
                let next = match self.next.take() {
                    Some(next) => next,
                    None => self.message().await?,
                };
                match next {
                    Some(message) if is_bare(&message) => {
                        self.omen = Some((message, Instant::now() + OMEN));
                        continue;
                    }
                    next => return Ok(next),
                }
            };
            let next = timeout_at(until, self.message()).await;
            let omen = self.omen.take().map(|(message, _)| message);
            if let Ok(next) = next {
                self.next = Some(next?);
            }
            return Ok(omen);
        }
    }

    async fn message(&mut self) -> Result<Option<Bytes>, Ending> {
        let answers = match &mut self.answers {
            Some(answers) => answers,
            none => none.insert(self.opening.as_mut().await?.copying()),
        };
        answers.message().await
    }
}

/// Whether the message is a header without a status, and nothing that an executor would have added.
fn is_bare(message: &Bytes) -> bool {
    is_header_alone(message)
        && read_proto_answer(DocArray::V2, message).is_ok_and(|answer| answer.is_bare())
}

/// A quick check of the first field, because almost every message has more fields after it.
fn is_header_alone(message: &Bytes) -> bool {
    const HEADER: u8 = 1 << 3 | 2;
    let Some((tag, rest)) = message.split_first() else { return true };
    let length = decode_length_delimiter(rest).ok();
    let whole = length.map(|length| length.saturating_add(length_delimiter_len(length)));
    *tag == HEADER && whole == Some(rest.len())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_with_only_an_id_is_bare() {
        let bare: &[&[u8]] = &[b"", b"\x0a\0", b"\x0a\x03\x0a\x01a"];
        for message in bare {
            assert!(is_bare(&Bytes::from_static(message)), "{message:?}");
        }
        // A status, a route, documents; no header; cut.
        let full: &[&[u8]] = &[
            b"\x0a\x07\x0a\x01a\x12\x02\x08\x01",
            b"\x0a\x03\x0a\x01a\x1a\0",
            b"\x0a\x03\x0a\x01a\x22\x02\x0a\0",
            b"\x1a\0",
            b"\x0a\x03\x0a",
            b"\x0a",
        ];
        for message in full {
            assert!(!is_bare(&Bytes::from_static(message)), "{message:?}");
        }
    }
}
