//! Streams of documents: `stream_doc`.

use std::collections::HashSet;
use std::pin::pin;

use ::http::HeaderMap;
use bytes::Bytes;
use futures_util::stream;
use tokio::time::Instant;

use super::super::Answer;
use super::super::Time;
use super::super::idle::Watched;
use super::super::multiplex::Claim;
use super::super::streams::{RawDocument, RawDocuments, StreamRequest, Streams};
use super::channel::Channel;
use super::outgoing::Outgoing;
use super::{GrpcTransport, failure};
use crate::document::proto::{Fault, Message, each_entry};
use crate::envelope::{outcome, read_proto_document};
use crate::error::{AttemptError, Event};
use crate::message::{AnswerParts, DocArray, Encoding, RawAnswer};
use crate::telemetry::AttemptTrace;

/// Reads the names of all endpoints that a gateway lists, and of the endpoints that may give
/// streams. The schemas beside the names may be long, and are parsed only for that.
pub(super) fn read_endpoints(answer: &[u8]) -> Result<(Vec<String>, Vec<String>), AttemptError> {
    listed(answer).map_err(|Fault(what)| {
        AttemptError::new(Event::Unreadable, what).before_sending("endpoint_discovery")
    })
}

/// Reads an `EndpointsProto`. The schemas say whether an endpoint is a generator. An endpoint
/// without that information may be one.
fn listed(answer: &[u8]) -> Result<(Vec<String>, Vec<String>), Fault> {
    let (mut endpoints, mut others) = (Vec::new(), HashSet::new());
    let mut message = Message::new(answer);
    while let Some((number, wire)) = message.next()? {
        match number {
            1 => endpoints.push(wire.text()?),
            3 => each_entry(wire.bytes()?, |name, schema| {
                let is_other = is_no_generator(schema)?;
                if is_other {
                    others.insert(name)
                } else {
                    others.remove(name)
                };
                Ok(())
            })?,
            _ => {}
        }
    }
    endpoints.retain(|name| *name != DRY_RUN);
    let streams = endpoints.iter().filter(|name| !others.contains(*name));
    let owned = |name: &&str| (*name).to_owned();
    Ok((endpoints.iter().map(owned).collect(), streams.map(owned).collect()))
}

/// Whether the schema, a `google.protobuf.Value`, says that its endpoint is not a generator.
fn is_no_generator(schema: &[u8]) -> Result<bool, Fault> {
    let mut is_other = false;
    let mut schema = Message::new(schema);
    while let Some((number, wire)) = schema.next()? {
        if number == STRUCT {
            each_entry(wire.bytes()?, |name, flag| {
                if name == "is_generator" {
                    is_other = is_false(flag)?;
                }
                Ok(())
            })?;
        }
    }
    Ok(is_other)
}

fn is_false(value: &[u8]) -> Result<bool, Fault> {
    let mut value = Message::new(value);
    let mut is_false = false;
    while let Some((number, wire)) = value.next()? {
        is_false = number == BOOL && wire.varint()? == 0;
    }
    Ok(is_false)
}

// The fields of a `google.protobuf.Value`.
const BOOL: u32 = 4;
const STRUCT: u32 = 5;

const STREAM_DOC: &str = "/jina.JinaSingleDocumentRequestRPC/stream_doc";

/// The gateway's own endpoint, with which it checks whether executors are there.
const DRY_RUN: &str = "_jina_dry_run_";

impl Streams for GrpcTransport {
    fn open<'a>(
        &'a self,
        request: &'a StreamRequest,
        deadline: Option<Instant>,
    ) -> Answer<'a, RawDocuments> {
        Box::pin(async move {
            request.trace.calls(STREAM_DOC);
            let idle_timeout = self.shared.settings.idle_timeout;
            let mut time = Time::until(deadline).or_idle(idle_timeout);
            let channel = time.opening(pin!(self.shared.channel(&request.trace))).await?;
            let credentials = &self.shared.settings.credentials;
            let mut was_refused = false;
            loop {
                let StreamRequest { body, headers, .. } = request;
                let own = pin!(channel.completed(STREAM_DOC, headers, body, was_refused));
                let own = time.opening_with_hook(credentials, own).await?;
                let headers = own.as_ref().unwrap_or(headers);
                let claim = Claim::default();
                let opening = pin!(self.open_on(&channel, request, headers, &claim));
                let opened = channel.progress.in_time(&mut time, &claim, opening).await;
                let opened = opened.unwrap_or_else(|late| {
                    // The executor may be slow, or the connection dead. Another connection costs
                    // little.
                    channel.suspect();
                    Err(late)
                });
                match opened {
                    Err(error) if credentials.renews(&error, &mut was_refused) => {}
                    opened => return opened,
                }
            }
        })
    }
}

impl GrpcTransport {
    async fn open_on(
        &self,
        channel: &Channel,
        request: &StreamRequest,
        headers: &HeaderMap,
        claim: &Claim,
    ) -> Result<RawDocuments, AttemptError> {
        let StreamRequest { body, until, .. } = request;
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        let body = Outgoing::of_one(body.clone(), channel.progress.clone(), claim.passage());
        // A gateway sends no headers before the first document.
        let opened = channel.call(STREAM_DOC, headers, left, body, &AttemptTrace::default()).await;
        let failed = |ending| failure::of_request(ending, channel, claim.give_up());
        let answers = Box::new(opened.map_err(failed)?.copying());
        let channel = channel.clone();
        let (idle_timeout, heard) =
            (self.shared.settings.idle_timeout, channel.progress.heard().clone());
        let documents = stream::try_unfold((answers, channel), async |(mut answers, channel)| {
            let failed = |ending| failure::of_request(ending, &channel, true);
            while let Some(message) = answers.message().await.map_err(failed)? {
                if let Some(document) = read(&message)? {
                    return Ok(Some((document, (answers, channel))));
                }
            }
            Ok(None)
        });
        Ok(Box::pin(Watched::new(documents, idle_timeout, heard)))
    }
}

/// Reads the document of a message. An executor's exception is an error.
fn read(message: &Bytes) -> Result<Option<RawDocument>, AttemptError> {
    let (status, bytes) = read_proto_document(message).map_err(|what| {
        let what = format!("a document's message cannot be read: {what}");
        AttemptError::new(Event::Unreadable, what)
    })?;
    if !status.is_success() {
        // In such an answer the document is the request's own.
        let answer = RawAnswer::from(AnswerParts {
            docarray: DocArray::V2,
            encoding: Encoding::Proto,
            request_id: String::new(),
            status,
            whole: message.clone(),
            routes: None,
            parameters: None,
            documents: None,
        });
        return outcome(answer).map(|_| None);
    }
    Ok(bytes.map(|bytes| RawDocument { encoding: Encoding::Proto, bytes }))
}

#[cfg(test)]
mod tests {
    use clientlet_proto::prost::Message as _;
    use clientlet_proto::prost_types::value::Kind;
    use clientlet_proto::prost_types::{Struct, Value};
    use clientlet_proto::v1::jina::EndpointsProto;

    use super::*;
    use crate::error::Delivery;

    fn value(kind: Kind) -> Value {
        Value { kind: Some(kind) }
    }

    fn object(entries: &[(&str, Value)]) -> Struct {
        let entry = |(name, value): &(&str, Value)| ((*name).to_owned(), value.clone());
        Struct { fields: entries.iter().map(entry).collect() }
    }

    #[test]
    fn endpoints_that_the_schemas_do_not_call_generators_give_no_stream() {
        let schema = |flag: Kind| {
            let entries = [("input", value(Kind::NullValue(0))), ("is_generator", value(flag))];
            value(Kind::StructValue(object(&entries)))
        };
        let schemas = object(&[
            ("/plain", schema(Kind::BoolValue(false))),
            ("/stream", schema(Kind::BoolValue(true))),
            ("/text", schema(Kind::StringValue("no".into()))),
            ("/other", value(Kind::NumberValue(0.0))),
            ("/silent", value(Kind::StructValue(Struct::default()))),
        ]);
        let all = ["/plain", "/stream", "/text", "/other", "/silent", "/unlisted"];
        let endpoints = EndpointsProto {
            endpoints: all.iter().chain(&[DRY_RUN]).map(ToString::to_string).collect(),
            write_endpoints: vec!["/written".into()],
            schemas: Some(schemas),
        };
        let (listed, streams) = read_endpoints(&endpoints.encode_to_vec()).unwrap();
        assert_eq!(listed, all);
        assert_eq!(streams, all[1..]);
        assert_eq!(read_endpoints(&[]).unwrap(), (vec![], vec![]));
        let error = read_endpoints(&[0x0a, 5]).unwrap_err();
        assert_eq!((error.event, error.delivery), (Event::Unreadable, Delivery::NotSent));
    }
}
