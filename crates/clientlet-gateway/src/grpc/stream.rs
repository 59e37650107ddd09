//! One stream, which calls a method.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use h2::RecvStream;
use h2::server::SendResponse;
use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use http::{HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode};

use super::documents;
use super::finish::Finish;
use super::inbox::Inbox;
use super::outbox::Outbox;
use super::services::{self, Service};
use super::session::Session;
use super::status::{REFUSED, Status};
use super::{End, Shared, Unheard};
use crate::compression::Compression;
use crate::docarray::DocArray;
use crate::fault::FaultKind;
use crate::journal::{Entry, Place, Sent};
use crate::protobuf;
use crate::schedule::Drawn;
use crate::world::World;

const ENCODING: HeaderName = HeaderName::from_static("grpc-encoding");
const ACCEPTED: HeaderName = HeaderName::from_static("grpc-accept-encoding");

/// A stream that calls a method.
pub(super) struct Stream {
    pub(super) shared: Arc<Shared>,
    /// The number of the stream on its connection.
    number: u64,
    /// The number of the stream in HTTP/2.
    id: u32,
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
) -> Option<Unheard> {
    let id = respond.stream_id().as_u32();
    let (head, body) = request.into_parts();
    let outbox = outbox(&shared.world, &head.headers, respond);
    if head.method != Method::POST || !is_grpc(&head.headers) {
        let refusal = "this port speaks gRPC";
        outbox.answer_http(StatusCode::UNSUPPORTED_MEDIA_TYPE, None, refusal);
        return None;
    }
    if !shared.world.control.ingress().admits(&head.headers) {
        shared.world.journal.turn_away();
        outbox.finish(&Status::unauthenticated("Not authenticated"));
        return None;
    }
    let Some(service) = services::find(&shared.world, head.uri.path()) else {
        outbox.finish(&Status::unimplemented("Method not found!"));
        return None;
    };
    let inbox = match Inbox::new(&head.headers, body) {
        Ok(inbox) => inbox,
        Err(status) => {
            outbox.finish(&status);
            return None;
        }
    };
    if service.carries_data() {
        shared.world.journal.opened_stream();
    }
    let stream = Stream { shared, number, id, head, inbox, outbox };
    match service {
        Service::StreamDocument => documents::serve(stream).await,
        _ => Session::new(stream, service).run().await,
    }
}

/// The outgoing side of a stream. Which messages a fault will compress is not known when the head is
/// sent, so the head says gzip if there are such faults.
fn outbox(world: &World, asked: &HeaderMap, respond: SendResponse<Bytes>) -> Outbox {
    let mut headers = HeaderMap::new();
    world.control.ingress().stamp(&mut headers);
    let by_fault = world.schedule.compresses().then(Compression::gzip);
    let fits = |way: &&Compression| by_fault.as_ref().is_none_or(|gzip| gzip.name() == way.name());
    let accepted = Compression::accepted(&world.compressions, asked, &ACCEPTED).filter(fits);
    let named = accepted.or(by_fault.as_ref());
    if let Some(Ok(name)) = named.map(|way| HeaderValue::from_str(way.name())) {
        headers.insert(ENCODING, name);
    }
    Outbox::new(respond, headers, accepted.cloned())
}

fn is_grpc(headers: &HeaderMap) -> bool {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
    kind.starts_with(b"application/grpc")
}

impl Stream {
    pub(super) fn headers(&self) -> &HeaderMap {
        &self.head.headers
    }

    /// The headers, with the host that HTTP/2 puts into `:authority` and HTTP/1.1 into `Host`.
    fn noted_headers(&self) -> HeaderMap {
        let mut headers = self.head.headers.clone();
        let host = self.head.uri.authority().map(|host| HeaderValue::from_str(host.as_str()));
        if let Some(Ok(host)) = host {
            headers.insert(HOST, host);
        }
        headers
    }

    /// Draws the faults for a message that has arrived; `is_first` if it is the first one of its
    /// stream.
    ///
    /// # Errors
    ///
    /// How the stream ends if the message is not processed and so not noted in the journal.
    pub(super) fn draw(&self, service: Service, is_first: bool) -> Result<Drawn, Finish> {
        let shared = &self.shared;
        if is_first && !shared.hears(self.id) {
            return Err(Finish::Unheard);
        }
        let drawn = if service.carries_data() {
            shared.world.schedule.draw_call()
        } else {
            shared.world.schedule.draw(b"GET", self.head.uri.path().as_bytes())
        };
        let finish = match drawn.fault {
            Some(FaultKind::ResetBefore) => Some(Finish::With(End::Reset)),
            Some(FaultKind::ResetStream(REFUSED)) if is_first => Some(Finish::Reset(REFUSED)),
            Some(FaultKind::GoAwayAfter(code)) => {
                shared.leave(code, is_first.then_some(self.id));
                (!shared.hears(self.id)).then_some(Finish::Unheard)
            }
            _ => None,
        };
        if let Some(finish) = finish {
            shared.world.journal.refuse();
            return Err(finish);
        }
        shared.hear(self.id);
        Ok(drawn)
    }

    /// Notes a message, as far as it could be read.
    pub(super) fn note(
        &self,
        drawn: &Drawn,
        request: Option<&protobuf::Request>,
        sent: impl FnOnce(DocArray) -> Option<Sent>,
    ) -> Place {
        let entry = || Entry {
            number: drawn.number,
            connection: self.shared.number,
            stream: Some(self.number),
            method: "GRPC".into(),
            path: self.head.uri.path().to_owned(),
            headers: self.noted_headers(),
            endpoint: request.map(|request| request.endpoint().to_owned()),
            request_id: request.and_then(protobuf::Request::id).map(str::to_owned),
            document_count: request.map_or(0, protobuf::Request::documents),
            document_ids: request.map(protobuf::Request::document_ids).unwrap_or_default(),
            fault: drawn.fault.clone(),
            answered: None,
            streamed: 0,
            is_cancelled: false,
            arrived_at: Duration::ZERO,
            answered_at: None,
            is_stripped: false,
            sent: sent(self.shared.world.control.spoken()),
        };
        let journal = &self.shared.world.journal;
        if drawn.carries_data { journal.arrived(entry) } else { journal.got(entry) }
    }
}
