//! A stream of documents for one: `stream_doc`.

use std::future::ready;
use std::pin::pin;

use bytes::Bytes;
use clientlet_proto::prost_types::{Struct, value::Kind};
use clientlet_proto::v1::jina::EndpointsProto;
use futures_util::StreamExt;
use tokio::time::Instant;

use super::super::BoxFuture;
use super::super::Time;
use super::super::http::outcome;
use super::super::progress::Passage;
use super::super::streams::{RawDocument, RawDocuments, StreamRequest, Streams};
use super::channel::Channel;
use super::codec::Raw;
use super::{ENDPOINTS, GrpcTransport, call, decode, failure, path};
use crate::envelope::read_proto_document;
use crate::error::{AttemptError, Event};
use crate::message::{AnswerParts, DocArray, Encoding, RawAnswer};

/// Reads the names of all endpoints that a gateway lists, and of those that may give streams.
pub(super) fn read_endpoints(answer: Bytes) -> Result<(Vec<String>, Vec<String>), AttemptError> {
    let EndpointsProto { mut endpoints, schemas, .. } = decode(answer, ENDPOINTS)?;
    let schemas = schemas.unwrap_or_default();
    endpoints.retain(|name| name != DRY_RUN);
    let streams = endpoints.iter().filter(|name| may_stream(&schemas, name)).cloned().collect();
    Ok((endpoints, streams))
}

const STREAM_DOC: &str = "/jina.JinaSingleDocumentRequestRPC/stream_doc";

/// The gateway's own, by which it asks executors whether they are there.
const DRY_RUN: &str = "_jina_dry_run_";

impl Streams for GrpcTransport {
    fn open<'a>(
        &'a self,
        request: &'a StreamRequest,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<RawDocuments, AttemptError>> {
        Box::pin(async move {
            let mut time = Time::until(deadline);
            let channel = time.opening(pin!(self.shared.channel())).await?;
            let passage = Passage::default();
            let opening = pin!(self.open_on(&channel, request, &passage));
            let opened = time.exchange(opening, || passage.give_up()).await;
            opened.unwrap_or_else(|over| {
                // It may be the executor that is slow, or the connection dead: another one is cheap.
                channel.suspect();
                Err(time.error(over, "no answer"))
            })
        })
    }
}

impl GrpcTransport {
    async fn open_on(
        &self,
        channel: &Channel,
        request: &StreamRequest,
        passage: &Passage,
    ) -> Result<RawDocuments, AttemptError> {
        let mut grpc = self.shared.grpc(channel);
        let left = request.until.map(|until| until.saturating_duration_since(Instant::now()));
        let call = call(channel, &request.headers, request.body.clone(), passage, left);
        // A gateway sends no headers before the first document.
        let answers = grpc
            .streaming(call, path(STREAM_DOC), Raw)
            .await
            .map_err(|status| failure::failed(&status, channel, passage.give_up()))?;
        let channel = channel.clone();
        let documents = answers.into_inner().filter_map(move |message| {
            ready(match message {
                Ok(message) => read(&message).transpose(),
                Err(status) => Some(Err(failure::failed(&status, &channel, true))),
            })
        });
        Ok(Box::pin(documents))
    }
}

/// The document of a message; an executor's exception is an error.
fn read(message: &Bytes) -> Result<Option<RawDocument>, AttemptError> {
    let (status, bytes) = read_proto_document(message).map_err(|what| {
        let what = format!("a document's message cannot be read: {what}");
        AttemptError::new(Event::Unreadable, what)
    })?;
    if !status.is_success() {
        // The document of such an answer is the request's.
        let answer = RawAnswer::from(AnswerParts {
            docarray: DocArray::V2,
            encoding: Encoding::Proto,
            request_id: String::new(),
            status,
            routes: None,
            parameters: None,
            documents: None,
        });
        return outcome(answer).map(|_| None);
    }
    Ok(bytes.map(|bytes| RawDocument { encoding: Encoding::Proto, bytes }))
}

/// Whether an endpoint is a generator, or the gateway does not say.
fn may_stream(schemas: &Struct, endpoint: &str) -> bool {
    let schema = schemas.fields.get(endpoint).and_then(|schema| schema.kind.as_ref());
    let Some(Kind::StructValue(schema)) = schema else { return true };
    let is_generator = schema.fields.get("is_generator").and_then(|flag| flag.kind.as_ref());
    !matches!(is_generator, Some(Kind::BoolValue(false)))
}
