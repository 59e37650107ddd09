//! One stream: which method it calls.

use std::sync::Arc;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode};

use super::Shared;
use super::documents;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::services::{self, Service};
use super::session::Session;
use super::status::Status;
use crate::journal::{Entry, Place};
use crate::protobuf;
use crate::schedule::Drawn;

/// A stream that calls a method.
pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    /// The number of the stream on its connection.
    number: u64,
    head: Parts,
    pub(super) inbox: Inbox,
    pub(super) outbox: Outbox,
}

/// Serves a stream to its end.
pub(super) async fn serve(
    shared: Arc<Shared>,
    number: u64,
    request: Request<RecvStream>,
    respond: SendResponse<Bytes>,
) {
    let (head, body) = request.into_parts();
    let outbox = Outbox::new(respond);
    if head.method != Method::POST || !is_grpc(&head.headers) {
        let refusal = "this port speaks gRPC";
        return outbox.answer_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, refusal);
    }
    let Some(service) = services::find(&shared.world, head.uri.path()) else {
        return outbox.finish(&Status::unimplemented("Method not found!"));
    };
    let inbox = match Inbox::new(&head.headers, body) {
        Ok(inbox) => inbox,
        Err(status) => return outbox.finish(&status),
    };
    if service.carries_data() {
        shared.world.journal.opened_stream();
    }
    let stream = Stream { shared, number, head, inbox, outbox };
    match service {
        Service::StreamDocument => documents::serve(stream).await,
        _ => Session::new(stream, service).run().await,
    }
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.starts_with(b"application/grpc")
}

impl Stream {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The headers, and the host that HTTP/2 has in `:authority` where HTTP/1.1 has it.
    fn noted_headers(&self) -> HeaderMap {
        let mut headers = self.head.headers.clone();
        let host = self.head.uri.authority().map(|host| HeaderValue::from_str(host.as_str()));
        if let Some(Ok(host)) = host {
            headers.insert(HOST, host);
        }
        headers
    }

    /// Draws for a message that has arrived.
    pub(super) fn draw(&self, service: Service) -> Drawn {
        if service.carries_data() {
            self.shared.world.schedule.draw_call()
        } else {
            self.shared.world.schedule.draw(b"GET", self.head.uri.path().as_bytes())
        }
    }

    /// Notes a message, as far as it could be read.
    pub(super) fn note(&self, drawn: &Drawn, request: Option<&protobuf::Request>) -> Place {
        let entry = || Entry {
            number: drawn.number,
            connection: self.shared.number,
            stream: Some(self.number),
            method: "GRPC".into(),
            path: self.head.uri.path().to_owned(),
            headers: self.noted_headers(),
            endpoint: request.map(|request| request.endpoint().to_owned()),
            request_id: request.and_then(protobuf::Request::id).map(str::to_owned),
            documents: request.map_or(0, protobuf::Request::documents),
            document_ids: request.map(protobuf::Request::document_ids).unwrap_or_default(),
            fault: drawn.fault.clone(),
            answered: None,
            streamed: 0,
            is_cancelled: false,
        };
        let journal = &self.shared.world.journal;
        if drawn.carries_data { journal.arrived(entry) } else { journal.got(entry) }
    }
}
