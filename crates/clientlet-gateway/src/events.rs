//! Server-sent events: a streaming endpoint over HTTP.

use std::io;
use std::sync::Arc;

use bytes::Bytes;
use futures_util::stream::{self, BoxStream, StreamExt};
use http::request::Parts;

use crate::compression::Encoder;
use crate::delivery::Delivery;
use crate::docarray::DocArray;
use crate::fault::FaultKind;
use crate::http_reply::HttpReply;
use crate::journal::Place;
use crate::outage::Outage;
use crate::parameters;
use crate::percent::decoded;
use crate::request::{About, Content};
use crate::schema::PART;
use crate::streaming::{END, Run, event};
use crate::v2;
use crate::world::World;

/// Begins the stream that a GET to this path asks for, with the document as its JSON body or in its
/// query.
///
/// # Errors
///
/// The 422 of a document with faults, or the status that a handler answers instead.
pub(crate) async fn start(
    world: &World,
    path: String,
    head: &Parts,
    body: &[u8],
) -> Result<Run, HttpReply> {
    let body = std::str::from_utf8(body)
        .map_err(|_| HttpReply::detail(400, "There was an error parsing the body"))?;
    let queried;
    let body = if body.is_empty() || body == "null" {
        queried = query_document(head.uri.query().unwrap_or_default());
        &queried
    } else {
        // Broken JSON, and JSON that is not an object, get the complaints of any other request.
        v2::read(body)?;
        body
    };
    let takes = world.executors.as_ref().and_then(|executors| executors.stream(&path));
    let takes = takes.map_or(&*PART, |(_, endpoint)| &endpoint.takes);
    let Some(document) = v2::read_one(world, takes, body)? else {
        return Ok(Run::empty());
    };
    let about = About {
        docarray: DocArray::V2,
        endpoint: path,
        parameters: parameters::read(None),
        headers: head.headers.clone(),
        request_id: None,
        target_executor: None,
    };
    match Run::begin(world, about, document).await {
        Some(Ok(run)) => Ok(run),
        Some(Err((code, retry_after))) => Err(HttpReply::scripted(code, retry_after)),
        None => Err(HttpReply::not_found()),
    }
}

/// The document that a GET carries: its body, or else its query.
pub(crate) fn document(head: &Parts, body: &[u8]) -> Vec<u8> {
    match body {
        b"" | b"null" => query_document(head.uri.query().unwrap_or_default()).into_bytes(),
        body => body.to_vec(),
    }
}

/// What a document of a GET carries.
pub(crate) fn content(_: DocArray, document: &Bytes) -> Option<Content> {
    let document = serde_json::from_slice(document).ok()?;
    let parameters = parameters::read(None);
    Some(Content { documents: vec![document], parameters, target_executor: None })
}

/// The document in a query, all values as texts. Of several values of a field the last counts.
fn query_document(query: &str) -> String {
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let fields = pairs.map(|(name, value)| {
        let decoded = |part: &str| decoded(&part.replace('+', " ")).into_owned();
        (decoded(name), serde_json::Value::String(decoded(value)))
    });
    serde_json::Value::Object(fields.collect()).to_string()
}

/// The pieces of the body of an answer. An error cuts the body off.
pub(crate) type Events = BoxStream<'static, io::Result<Bytes>>;

/// The events of a stream, changed by a fault if there is one.
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
        let Some(given) = run.next(delivery.world()).await else {
            delivery.end();
            return Some((Ok(Bytes::from_static(END.as_bytes())), None));
        };
        let mut event = event(&given);
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

/// Events that are compressed one by one.
pub(crate) fn compressed(events: Events, encoder: Encoder) -> Events {
    let next = |state: Option<(Events, Encoder)>| async move {
        let (mut events, mut encoder) = state?;
        Some(match events.next().await {
            Some(Ok(event)) => (Ok(encoder(&event, false).into()), Some((events, encoder))),
            Some(Err(error)) => (Err(error), None),
            None => (Ok(encoder(b"", true).into()), None),
        })
    };
    stream::unfold(Some((events, encoder)), next).boxed()
}

/// The error that cuts a body off. Before the error the task yields once, so that hyper sends what
/// it has.
async fn cut() -> io::Result<Bytes> {
    tokio::task::yield_now().await;
    Err(io::ErrorKind::ConnectionAborted.into())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_value_of_a_field_counts() {
        for (query, document) in [
            ("id=in&text=a+b%20%c3%a9%&text=c%2", r#"{"id":"in","text":"c%2"}"#),
            ("text=a+b%20%c3%a9%", "{\"text\":\"a b \u{e9}%\"}"),
            ("id", "{}"),
            ("", "{}"),
        ] {
            assert_eq!(query_document(query), document);
        }
    }
}
