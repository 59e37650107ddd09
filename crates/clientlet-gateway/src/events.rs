//! Server-sent events: a streaming endpoint over HTTP.

use std::borrow::Cow;
use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::request::Parts;

use crate::delivery::Delivery;
use crate::fault::FaultKind;
use crate::journal::Place;
use crate::json::{Raw, coerced_text, record};
use crate::outage::Outage;
use crate::reply::Reply;
use crate::streaming::{END, Run, StreamScript};
use crate::v2;
use crate::validation::{NO_TEXT, complain};
use crate::world::World;

record! {
    /// What of the sent document matters.
    Sent {
        text: Raw<'a> = "text",
    }
}

/// Begins the stream that a GET asks for, with the document as its JSON body or in its query.
///
/// # Errors
///
/// The 422 of a document with faults.
pub(crate) fn start(script: &StreamScript, head: &Parts, body: &[u8]) -> Result<Box<Run>, Reply> {
    let body = std::str::from_utf8(body)
        .map_err(|_| Reply::detail(400, "There was an error parsing the body"))?;
    if body.is_empty() || body == "null" {
        let text = query_text(head.uri.query().unwrap_or_default());
        return Ok(Box::new(script.start(text.unwrap_or_else(|| "None".into()))));
    }
    // Broken JSON, or none of an object, is complained of as in any request.
    v2::read(body)?;
    let sent: Sent<'_> = serde_json::from_str(body).unwrap_or_default();
    match sent.text.given().map(coerced_text) {
        None => Ok(Box::new(script.start("None".into()))),
        Some(Some(text)) => Ok(Box::new(script.start(text.into_owned()))),
        Some(None) => Err(complain(&["body", "text"], &NO_TEXT)),
    }
}

/// The last `text` of a query.
fn query_text(query: &str) -> Option<String> {
    let mut pairs = query.rsplit('&').filter_map(|pair| pair.split_once('='));
    pairs.find(|(name, _)| *name == "text").map(|(_, value)| decoded(value).into_owned())
}

/// A value of a query as it was before it was encoded.
fn decoded(value: &str) -> Cow<'_, str> {
    if !value.contains(['%', '+']) {
        return Cow::Borrowed(value);
    }
    let bytes = value.as_bytes();
    let mut out = Vec::with_capacity(bytes.len());
    let mut place = 0;
    while let Some(&byte) = bytes.get(place) {
        let code = value.get(place + 1..place + 3).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        match (byte, code) {
            (b'%', Some(code)) => {
                out.push(code);
                place += 2;
            }
            (b'+', _) => out.push(b' '),
            _ => out.push(byte),
        }
        place += 1;
    }
    Cow::Owned(String::from_utf8_lossy(&out).into_owned())
}

/// The pieces of an answer's body. An error cuts it off.
pub(crate) type Events = BoxStream<'static, io::Result<Bytes>>;

/// The events of a stream, as a fault has them.
pub(crate) fn events(
    world: Arc<World>,
    place: Place,
    run: Box<Run>,
    fault: Option<&FaultKind>,
) -> Events {
    let is_cut = matches!(fault, Some(FaultKind::Malformed | FaultKind::ResetMid));
    let state = Some((Delivery::new(world, place), run));
    let next = move |state: Option<(Delivery, Box<Run>)>| async move {
        let (delivery, mut run) = state?;
        if Outage::now(&delivery.world().control).is_some() {
            delivery.break_off();
            return Some((cut().await, None));
        }
        let Some(given) = run.next().await else {
            delivery.end();
            return Some((Ok(Bytes::from_static(END.as_bytes())), None));
        };
        let mut event = given.to_event();
        if is_cut {
            delivery.break_off();
            event.truncate(event.len() / 2);
            return Some((Ok(event.into()), None));
        }
        delivery.streamed();
        Some((Ok(Bytes::from(event)), Some((delivery, run))))
    };
    let events = stream::unfold(state, next);
    if is_cut {
        return events.chain(stream::once(cut())).boxed();
    }
    events.boxed()
}

/// What cuts a body off. It waits for a moment, in which hyper sends what it was given before.
async fn cut() -> io::Result<Bytes> {
    tokio::task::yield_now().await;
    Err(io::ErrorKind::ConnectionAborted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_text_of_a_query_counts() {
        assert_eq!(query_text("id=in&text=a+b%20%c3%a9%&text=c%2"), Some("c%2".into()));
        assert_eq!(query_text("text=a+b%20%c3%a9%"), Some("a b \u{e9}%".into()));
        assert_eq!(query_text("id=text"), None);
    }
}
