//! The content of an HTTP answer as it comes, without its compression.

use std::future::poll_fn;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use http::HeaderMap;
use http::header::{CONTENT_ENCODING, HeaderValue};
#[cfg(feature = "compression")]
use http::header::{CONTENT_LENGTH, TRANSFER_ENCODING};
use hyper::body::{Body, Incoming};

#[cfg(feature = "compression")]
use crate::compression::{ACCEPTED, Coding, Decoder, Fault};
use crate::error::{AttemptError, Event};
use crate::foreign::shorten;

/// The content of an answer, read piece by piece.
#[derive(Debug)]
pub(super) struct Content {
    body: Incoming,
    /// Boxed, because most answers are not compressed.
    #[cfg(feature = "compression")]
    decoder: Option<Box<Decoder>>,
    /// The length that the head names, in bytes.
    length: Option<u64>,
    /// Whether only the end of the connection shows where the compressed body ends.
    #[cfg(feature = "compression")]
    is_open_ended: bool,
}

/// The reason why the rest of some content does not come.
#[derive(Debug)]
pub(super) enum Unread {
    Lost(hyper::Error),
    /// The compressed data end early. In this case the connection may have been lost as well.
    #[cfg(feature = "compression")]
    Cut(String),
    #[cfg(feature = "compression")]
    Broken(String),
}

impl Content {
    /// The content in this body. If it is compressed, the headers that are not true of it any more are removed.
    ///
    /// # Errors
    /// If the content is compressed in a way that the client cannot read, with a message that names the way.
    pub(super) fn of(headers: &mut HeaderMap, body: Incoming) -> Result<Content, AttemptError> {
        if headers.contains_key(CONTENT_ENCODING) {
            return Content::coded(headers, body);
        }
        Ok(Content::plain(body))
    }

    /// The content in this body as it was sent.
    pub(super) fn plain(body: Incoming) -> Content {
        Content {
            length: body.size_hint().exact(),
            body,
            #[cfg(feature = "compression")]
            decoder: None,
            #[cfg(feature = "compression")]
            is_open_ended: false,
        }
    }

    #[cfg(feature = "compression")]
    fn coded(headers: &mut HeaderMap, body: Incoming) -> Result<Content, AttemptError> {
        let named = names(headers);
        let content = Content::plain(body);
        if named.is_empty() {
            return Ok(content);
        }
        let is_open_ended = content.length.is_none() && !headers.contains_key(TRANSFER_ENCODING);
        let Some(coding) = Coding::of(&named) else {
            return Err(unreadable(format!(
                "the answer is compressed as {}, which the client cannot read; it reads {ACCEPTED}, one at a time",
                shorten(&named)
            )));
        };
        headers.remove(CONTENT_ENCODING);
        headers.remove(CONTENT_LENGTH);
        let decoder = Some(Box::new(Decoder::new(coding)));
        Ok(Content { decoder, length: None, is_open_ended, ..content })
    }

    #[cfg(not(feature = "compression"))]
    fn coded(headers: &mut HeaderMap, body: Incoming) -> Result<Content, AttemptError> {
        match names(headers).as_str() {
            "" => Ok(Content::plain(body)),
            named => Err(unreadable(format!(
                "the answer is compressed as {}, which the client did not ask for, and which it reads only with the \
                 feature \"compression\" of the crate clientlet; does a proxy compress answers?",
                shorten(named)
            ))),
        }
    }

    /// The least number of bytes that will come, as far as the head tells.
    pub(super) fn least(&self) -> u64 {
        #[cfg(feature = "compression")]
        if self.decoder.is_some() {
            return 0;
        }
        self.body.size_hint().lower()
    }

    /// Returns the next piece of the content; `None` at its end. A piece may be empty. A piece of compressed content
    /// has at most 16 KiB. The content cannot be read further after an error, or if the future was dropped.
    pub(super) async fn piece(&mut self) -> Option<Result<Bytes, Unread>> {
        #[cfg(feature = "compression")]
        if self.decoder.is_some() {
            return self.decompressed().await.transpose();
        }
        self.data().await.map(|data| data.map_err(Unread::Lost))
    }

    /// Returns the next data of the body.
    async fn data(&mut self) -> Option<Result<Bytes, hyper::Error>> {
        loop {
            let frame = poll_fn(|cx| Pin::new(&mut self.body).poll_frame(cx)).await?;
            match frame.map(http_body::Frame::into_data) {
                Ok(Ok(data)) => return Some(Ok(data)),
                // Trailers.
                Ok(Err(_)) => {}
                Err(error) => return Some(Err(error)),
            }
        }
    }

    #[cfg(feature = "compression")]
    async fn decompressed(&mut self) -> Result<Option<Bytes>, Unread> {
        let mut out = BytesMut::new();
        loop {
            // Content that has come needs no waiting, so this is where other tasks get their turn.
            tokio::task::coop::consume_budget().await;
            let Some(decoder) = &mut self.decoder else { return Ok(None) };
            let has_worked = decoder.step(&mut out).map_err(|fault| self.broken(&fault))?;
            if !out.is_empty() {
                return Ok(Some(out.freeze()));
            }
            if has_worked {
                continue;
            }
            let data = self.data().await.transpose().map_err(Unread::Lost)?;
            let Some(decoder) = &mut self.decoder else { return Ok(None) };
            match data {
                Some(data) => decoder.add(data),
                None => {
                    let finished = decoder.finish();
                    return finished.map(|()| None).map_err(|fault| self.broken(&fault));
                }
            }
        }
    }

    #[cfg(feature = "compression")]
    fn broken(&self, fault: &Fault) -> Unread {
        match fault {
            Fault::Cut(_) => Unread::Cut(fault.what()),
            Fault::Broken(..) | Fault::Padded(_) => Unread::Broken(fault.what()),
        }
    }

    /// Reads all of the content; `None` if it has more bytes than these, or cannot be read.
    pub(super) async fn within(mut self, most: usize) -> Option<Bytes> {
        let mut whole = BytesMut::new();
        while let Some(piece) = self.piece().await {
            let piece = piece.ok()?;
            if whole.len() + piece.len() > most {
                return None;
            }
            whole.extend_from_slice(&piece);
        }
        Some(whole.freeze())
    }

    /// Returns the error of an attempt whose answer cannot be read further.
    pub(super) fn error(&self, why: Unread) -> AttemptError {
        match why {
            Unread::Lost(error) => {
                let of = self.length.map(|length| format!(" of {length} bytes"));
                let of = of.unwrap_or_default();
                let what = format!("the connection was lost in the middle of the answer{of}");
                AttemptError::new(Event::ConnectionLost, what).with_source(error)
            }
            #[cfg(feature = "compression")]
            Unread::Cut(what) if self.is_open_ended => {
                let what = format!("the connection was lost in the middle of the answer: {what}");
                AttemptError::new(Event::ConnectionLost, what)
            }
            #[cfg(feature = "compression")]
            Unread::Cut(what) | Unread::Broken(what) => {
                unreadable(format!("the answer cannot be read: {what}"))
            }
        }
    }
}

/// The ways in which content is compressed, in the order in which they were applied.
fn names(headers: &HeaderMap) -> String {
    let values = headers.get_all(CONTENT_ENCODING).iter().map(HeaderValue::as_bytes);
    let values: Vec<_> = values.map(String::from_utf8_lossy).collect();
    let names = values.iter().flat_map(|value| value.split(',')).map(str::trim);
    let names = names.filter(|name| !name.is_empty() && !name.eq_ignore_ascii_case("identity"));
    names.collect::<Vec<_>>().join(", ")
}

fn unreadable(what: String) -> AttemptError {
    AttemptError::new(Event::Unreadable, what)
}
