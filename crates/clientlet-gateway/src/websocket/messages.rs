//! The meaning of a message.

use std::sync::Arc;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::HeaderMap;
use serde::de::IgnoredAny;
use tokio_websockets::Message;

use super::Subprotocol;
use crate::docarray::DocArray;
use crate::journal::Sent;
use crate::json::Entries;
use crate::protobuf::{self, Verdict};
use crate::v1;
use crate::world::World;

/// The meaning of a message.
#[derive(Debug)]
pub(super) enum Asked {
    Request(Request),
    /// The client has no more requests.
    EndOfInput,
    /// JSON that is no object. It is ignored.
    Nothing,
    /// The gateway breaks off without a word.
    Unreadable,
}

impl Asked {
    pub(super) fn read(subprotocol: Subprotocol, docarray: DocArray, message: Message) -> Self {
        let fits = match subprotocol {
            Subprotocol::Bytes => message.is_binary(),
            Subprotocol::Json => message.is_text(),
        };
        if !fits {
            return Self::Unreadable;
        }
        let content = Bytes::from(message.into_payload());
        match subprotocol {
            Subprotocol::Bytes if *content == [0] => Self::EndOfInput,
            Subprotocol::Bytes => protobuf::Request::read(docarray, content.clone())
                .map(|request| Self::Request(Request::Protobuf(Box::new(request), content)))
                .unwrap_or(Self::Unreadable),
            Subprotocol::Json => Self::read_json(docarray, &content),
        }
    }

    fn read_json(docarray: DocArray, content: &Bytes) -> Self {
        let Ok(entries) = serde_json::from_slice::<Entries<'_>>(content) else {
            return match serde_json::from_slice::<IgnoredAny>(content) {
                Ok(_) => Self::Nothing,
                Err(_) => Self::Unreadable,
            };
        };
        if entries.0.is_empty() {
            return Self::EndOfInput;
        }
        // Data may be null, but not be left out. Documents v2 have no JSON messages.
        let has_data = entries.0.iter().any(|(key, _)| key == "data");
        let request = Json(content.clone());
        if docarray == DocArray::V2 || !has_data || request.envelope().is_none() {
            return Self::Unreadable;
        }
        Self::Request(Request::Json(request))
    }
}

/// A request that was read.
#[derive(Debug)]
pub(super) enum Request {
    /// The request, and the message that it was.
    Protobuf(Box<protobuf::Request>, Bytes),
    Json(Json),
}

/// A request of documents v1 in JSON.
#[derive(Debug)]
pub(super) struct Json(Bytes);

impl Json {
    fn envelope(&self) -> Option<v1::Envelope<'_>> {
        v1::read(std::str::from_utf8(&self.0).ok()?).ok()
    }

    fn ask<T>(&self, ask: impl FnOnce(&v1::Envelope<'_>) -> Option<T>) -> Option<T> {
        ask(&self.envelope()?)
    }
}

impl Request {
    pub(super) fn id(&self) -> Option<String> {
        match self {
            Self::Protobuf(request, _) => request.id().map(str::to_owned),
            Self::Json(json) => json.ask(|envelope| envelope.request_id().map(String::from)),
        }
    }

    pub(super) fn endpoint(&self) -> Option<String> {
        match self {
            Self::Protobuf(request, _) => Some(request.endpoint().to_owned()),
            Self::Json(json) => json.ask(|envelope| envelope.endpoint().map(String::from)),
        }
    }

    pub(super) fn documents(&self) -> usize {
        match self {
            Self::Protobuf(request, _) => request.documents(),
            Self::Json(json) => {
                json.ask(|envelope| Some(envelope.documents().len())).unwrap_or_default()
            }
        }
    }

    pub(super) fn document_ids(&self) -> Vec<String> {
        match self {
            Self::Protobuf(request, _) => request.document_ids(),
            Self::Json(json) => {
                let ids = json.ask(|envelope| {
                    let documents = envelope.documents().iter();
                    Some(documents.filter_map(v1::Document::sent_id).collect())
                });
                ids.unwrap_or_default()
            }
        }
    }

    /// What it carried, for the journal.
    pub(super) fn sent(&self, docarray: DocArray) -> Sent {
        match self {
            Self::Protobuf(_, message) => Sent::new(docarray, message, protobuf::content),
            Self::Json(Json(message)) => Sent::new(docarray, message, v1::content),
        }
    }

    /// Gives the request another id, for a fault. In JSON the gateway makes all ids, so the id
    /// stays.
    pub(super) fn rename(&mut self, id: String) {
        if let Self::Protobuf(request, _) = self {
            request.rename(id);
        }
    }

    /// Runs the request. A request that takes no time is done at once; the future of any other must
    /// be polled.
    pub(super) fn start(self, world: &Arc<World>, headers: &HeaderMap) -> Started {
        let takes_time = match &self {
            Self::Protobuf(request, _) => request.takes_time(world),
            Self::Json(_) => self.endpoint().is_some_and(|path| world.takes_time(&path)),
        };
        if takes_time {
            let (world, headers) = (Arc::clone(world), headers.clone());
            return Started::Running(async move { self.answer(&world, &headers).await }.boxed());
        }
        // All other requests end at once.
        Started::Done(self.answer(world, headers).now_or_never().unwrap_or(Verdict::Broken))
    }

    async fn answer(self, world: &World, headers: &HeaderMap) -> Verdict {
        match self {
            Self::Protobuf(request, _) => request.answer(world, headers).await,
            Self::Json(json) => match json.envelope() {
                Some(envelope) => v1::answer_message(world, &envelope, headers).await,
                None => Verdict::Broken,
            },
        }
    }
}

/// A request that was begun.
pub(super) enum Started {
    Done(Verdict),
    Running(BoxFuture<'static, Verdict>),
}
