//! A stream of documents over HTTP: server-sent events.

use std::fmt;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::task::{Context, Poll, ready};

use ::http::header::{ACCEPT, CONTENT_TYPE};
use ::http::{HeaderMap, HeaderValue};
use bytes::Bytes;
use futures_core::Stream;
use futures_util::{StreamExt, stream};
use sse_stream::{Error as SseError, Sse, SseByteStream};
use tokio::time::Instant;

use super::Answer;
use super::content::Unread;
use super::http::HttpTransport;
use super::http_session::{begins, glance};
use super::idle::Watched;
use super::streams::{RawDocument, RawDocuments, StreamRequest, Streams};
use crate::error::{AttemptError, Detail, Event, Hint, Source};
use crate::foreign::shorten;
use crate::log;
use crate::message::{DocArray, Encoding};

const EVENTS: HeaderValue = HeaderValue::from_static("text/event-stream");

// The names of a gateway's events.
const UPDATE: &str = "update";
const END: &str = "end";

impl Streams for HttpTransport {
    fn open<'a>(
        &'a self,
        request: &'a StreamRequest,
        deadline: Option<Instant>,
    ) -> Answer<'a, RawDocuments> {
        Box::pin(async move {
            let mut headers = HeaderMap::clone(&request.headers);
            headers.insert(ACCEPT, EVENTS);
            let (uri, body) = (request.uri.clone(), request.body.clone());
            request.trace.gets(&uri);
            let opening = self.session.open(uri, &headers, body, deadline);
            let opened = opening.await?.map_err(|answer| answer.failure(DocArray::V2, false))?;
            let (response, lease) = opened;
            request.trace.http_status(response.status());
            let kind = response.headers().get(CONTENT_TYPE).map(HeaderValue::as_bytes);
            let kind = String::from_utf8_lossy(kind.unwrap_or_default()).into_owned();
            if !is_events(&kind) {
                let detail = Detail::of_http(response.status(), response.headers());
                let kind = shorten(&kind);
                let begins = begins(&glance(response.into_body()).await);
                let what = format!("the answer is {kind:?}, not text/event-stream, and {begins}");
                let error = AttemptError::new(Event::Unreadable, what);
                return Err(error.with_detail(detail));
            }
            let (idle_timeout, heard) = (self.session.idle_timeout, lease.heard().clone());
            // The lease keeps the connection as long as the content is read.
            let rest = (response.into_body(), lease);
            let chunks = stream::unfold(rest, async |(mut content, lease)| {
                let piece = content.piece().await?;
                let piece = piece.map_err(|why| match why {
                    Unread::Lost(error) => ChunkError::Cut(error.into()),
                    #[cfg(feature = "compression")]
                    Unread::Cut(what) => ChunkError::Cut(what.into()),
                    #[cfg(feature = "compression")]
                    Unread::Broken(what) => ChunkError::Broken(what),
                });
                Some((piece, (content, lease)))
            });
            let documents = Documents::of(chunks, self.session.answer_limit);
            Ok(Box::pin(Watched::new(documents, idle_timeout, heard)) as RawDocuments)
        })
    }
}

fn is_events(kind: &str) -> bool {
    let kind = kind.split(';').next().unwrap_or_default().trim();
    kind.eq_ignore_ascii_case("text/event-stream")
}

/// The data of a body as it comes.
type Chunks = Pin<Box<dyn Stream<Item = Result<Bytes, ChunkError>> + Send>>;

/// The documents in the events of a body. The body is read as the documents are asked for.
struct Documents {
    events: SseByteStream<Chunks>,
    limit: usize,
    /// The bytes that were read since the last event.
    unread: Arc<AtomicUsize>,
}

impl Documents {
    /// Limits the size of an event, because the parser has no limit. At most `limit` bytes of an
    /// event are read, and the piece that exceeds them.
    fn of(
        chunks: impl Stream<Item = Result<Bytes, ChunkError>> + Send + 'static,
        limit: usize,
    ) -> Documents {
        let unread = Arc::<AtomicUsize>::default();
        let counted = unread.clone();
        let chunks = chunks.map(move |chunk| {
            let chunk = chunk?;
            match counted.fetch_add(chunk.len(), Ordering::Relaxed) > limit {
                true => Err(ChunkError::TooLarge),
                false => Ok(chunk),
            }
        });
        Documents { events: SseByteStream::new(Box::pin(chunks)), limit, unread }
    }

    fn too_large(&self) -> AttemptError {
        let what = format!("an event is larger than the limit of {} bytes", self.limit);
        AttemptError::new(Event::TooLarge, what).with_hint(Hint::AnswerTooLarge)
    }

    fn broken(&self, error: SseError) -> AttemptError {
        match error {
            SseError::Body(source) => match source.downcast::<ChunkError>().map(|error| *error) {
                Ok(ChunkError::TooLarge) => self.too_large(),
                #[cfg(feature = "compression")]
                Ok(ChunkError::Broken(what)) => {
                    let what = format!("the stream cannot be read: {what}");
                    AttemptError::new(Event::Unreadable, what)
                }
                Ok(ChunkError::Cut(source)) | Err(source) => {
                    let what = "the connection was lost in the middle of the stream";
                    AttemptError::new(Event::ConnectionLost, what).with_source(source)
                }
            },
            other => {
                let what = format!("the stream cannot be read: {other}");
                AttemptError::new(Event::Unreadable, what)
            }
        }
    }
}

impl Stream for Documents {
    type Item = Result<RawDocument, AttemptError>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            let next = ready!(Pin::new(&mut self.events).poll_next(cx));
            self.unread.store(0, Ordering::Relaxed);
            let event = match next {
                Some(Ok(event)) => event,
                Some(Err(error)) => return Poll::Ready(Some(Err(self.broken(error)))),
                None => {
                    let what = "the stream was cut before its end";
                    return Poll::Ready(Some(Err(AttemptError::new(Event::ConnectionLost, what))));
                }
            };
            let Sse { event: Some(name), data, .. } = event else { continue };
            match (&*name, data) {
                (END, _) => return Poll::Ready(None),
                (UPDATE, Some(data)) if data.len() > self.limit => {
                    return Poll::Ready(Some(Err(self.too_large())));
                }
                (UPDATE, Some(data)) => {
                    let document = RawDocument { encoding: Encoding::Json, bytes: data.into() };
                    return Poll::Ready(Some(Ok(document)));
                }
                // Unknown events are ignored, as the rules of server-sent events require.
                _ => log::unknown_event(),
            }
        }
    }
}

/// The reason why no more data comes.
#[derive(Debug)]
enum ChunkError {
    TooLarge,
    Cut(Source),
    /// It cannot be decompressed.
    #[cfg(feature = "compression")]
    Broken(String),
}

impl fmt::Display for ChunkError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the body ended early")
    }
}

impl std::error::Error for ChunkError {}

/// Reads the documents in server-sent events that come in these pieces, and whether the events end
/// properly.
#[cfg(fuzzing)]
pub fn read_events<'a>(pieces: impl Iterator<Item = &'a [u8]>) -> (Vec<Bytes>, bool) {
    let chunks: Vec<_> = pieces.map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
    let mut events = Documents::of(stream::iter(chunks), 1 << 20);
    let mut context = Context::from_waker(std::task::Waker::noop());
    let mut documents = Vec::new();
    loop {
        match events.poll_next_unpin(&mut context) {
            Poll::Ready(Some(Ok(document))) => documents.push(document.bytes),
            Poll::Ready(Some(Err(_))) => return (documents, false),
            Poll::Ready(None) | Poll::Pending => return (documents, true),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io;

    use proptest::prelude::*;

    use super::*;
    use crate::error::ErrorKind;

    const LIMIT: usize = 64;

    /// Reads the documents in a body that comes in these pieces, and the kind of the error after
    /// them.
    fn read(pieces: &[&[u8]], is_cut: bool) -> (Vec<String>, Option<ErrorKind>) {
        let mut chunks: Vec<Result<Bytes, ChunkError>> =
            pieces.iter().map(|piece| Ok(Bytes::copy_from_slice(piece))).collect();
        if is_cut {
            let lost = io::Error::from(io::ErrorKind::ConnectionReset);
            chunks.push(Err(ChunkError::Cut(lost.into())));
        }
        let mut documents = Documents::of(stream::iter(chunks), LIMIT);
        let mut texts = Vec::new();
        let mut read = std::pin::pin!(async {
            while let Some(document) = documents.next().await {
                match document {
                    Ok(document) => {
                        texts.push(String::from_utf8(document.bytes.to_vec()).unwrap());
                    }
                    Err(error) => return Some(error.kind),
                }
            }
            None
        });
        let mut context = Context::from_waker(std::task::Waker::noop());
        match read.as_mut().poll(&mut context) {
            Poll::Ready(kind) => (texts, kind),
            Poll::Pending => panic!("the body never waits"),
        }
    }

    /// A body, its documents and the kind of the error after them.
    type Case = (&'static str, &'static [u8], &'static [&'static str], Option<ErrorKind>);

    const BODIES: [Case; 15] = [
        (
            "CR LF, as gateways write",
            b"event: update\r\ndata: {1}\r\n\r\nevent: end\r\n\r\n",
            &["{1}"],
            None,
        ),
        ("LF", b"event: update\ndata: {1}\n\nevent: end\n\n", &["{1}"], None),
        ("CR", b"event: update\rdata: {1}\r\revent: end\r\r", &["{1}"], None),
        ("all three", b"event: update\r\ndata: {1}\n\r\nevent: end\r\r", &["{1}"], None),
        ("data in lines", b"event: update\ndata: {\ndata:1}\n\nevent: end\n\n", &["{\n1}"], None),
        (
            "comments",
            b": hi\n\nevent: update\n: there\ndata: {1}\n\n:\n\nevent: end\n\n",
            &["{1}"],
            None,
        ),
        (
            "a byte order mark",
            b"\xef\xbb\xbfdata: {1}\nevent: update\n\nevent: end\n\n",
            &["{1}"],
            None,
        ),
        (
            "data before the name",
            b"data: {1}\nevent: update\nid: 7\nretry: 9\n\nevent: end\n\n",
            &["{1}"],
            None,
        ),
        ("fields without a colon", b"event: update\nother\ndata\n\nevent: end\n\n", &[""], None),
        ("no space, and two", b"event:update\ndata:  {1}\n\nevent:end\n\n", &[" {1}"], None),
        (
            "events of other names",
            b"event: ping\ndata: {0}\n\ndata: {0}\n\nevent: end\n\n",
            &[],
            None,
        ),
        ("events after the end", b"event: end\ndata: x\n\nevent: update\ndata: {1}\n\n", &[], None),
        ("no end", b"event: update\ndata: {1}\n\n", &["{1}"], Some(ErrorKind::Transport)),
        ("an event without its blank line", b"event: end\n", &[], Some(ErrorKind::Transport)),
        ("text that is not UTF-8", b"event: update\ndata: \xff\n\n", &[], Some(ErrorKind::Decode)),
    ];

    #[test]
    fn events_are_read_by_the_rules_and_a_body_without_its_end_is_an_error() {
        for (what, body, documents, kind) in BODIES {
            assert_eq!(read(&[body], false), (owned(documents), kind), "{what}");
            let bytes: Vec<&[u8]> = body.chunks(1).collect();
            assert_eq!(read(&bytes, false), (owned(documents), kind), "{what}, byte by byte");
        }
    }

    fn owned(texts: &[&str]) -> Vec<String> {
        texts.iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_lost_connection_is_reported_after_the_documents_before_it() {
        let body = b"event: update\ndata: {1}\n\nevent: upd";
        assert_eq!(read(&[body], true), (owned(&["{1}"]), Some(ErrorKind::Transport)));
        assert_eq!(read(&[], true).1, Some(ErrorKind::Transport));
    }

    #[test]
    fn the_limit_applies_to_each_event() {
        let event = |size: usize| format!("event: update\ndata: {}\n\n", "x".repeat(size));
        let (three, large) = (event(LIMIT).repeat(3), event(LIMIT + 1));
        let end = "event: end\n\n";
        assert_eq!(read(&[three.as_bytes(), end.as_bytes()], false).0.len(), 3);
        assert_eq!(read(&[large.as_bytes()], false), (vec![], Some(ErrorKind::TooLarge)));
        // An event that never ends is not read forever.
        let endless = vec![&b"data: xxxxxxxxxx"[..]; 1000];
        assert_eq!(read(&endless, false), (vec![], Some(ErrorKind::TooLarge)));
        let comments = vec![&b":xxxxxxxxxxxxxxx"[..]; 1000];
        assert_eq!(read(&comments, false), (vec![], Some(ErrorKind::TooLarge)));
    }

    proptest! {
        #[test]
        fn pieces_of_any_size_make_the_same_documents(
            index in 0..BODIES.len(),
            sizes in prop::collection::vec(1_usize..20, 1..30),
        ) {
            let (_, body, documents, kind) = BODIES[index];
            let (mut rest, mut pieces) = (body, Vec::new());
            for size in sizes.iter().cycle() {
                let (piece, behind) = rest.split_at((*size).min(rest.len()));
                pieces.push(piece);
                rest = behind;
                if rest.is_empty() {
                    break;
                }
            }
            prop_assert_eq!(read(&pieces, false), (owned(documents), kind));
        }

        #[test]
        fn no_bytes_are_too_strange(
            pieces in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..40), 0..20),
        ) {
            let pieces: Vec<&[u8]> = pieces.iter().map(Vec::as_slice).collect();
            let whole = pieces.concat();
            // Text that breaks the rules ends the stream at the same place, however it is split.
            if whole.len() <= LIMIT {
                prop_assert_eq!(read(&pieces, false), read(&[&whole], false));
            }
        }
    }
}
