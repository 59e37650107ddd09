//! One connection, and each exchange on it from the first byte to the answer.

use std::io;
use std::pin::pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::header::ACCEPT_ENCODING;
use http::request::Parts as Head;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::upgrade::{OnUpgrade, Parts};
use hyper_util::rt::TokioIo;
use tokio::io::AsyncWriteExt;

use crate::body::AnswerBody;
use crate::compression::Compression;
use crate::docarray::DocArray;
use crate::fault::FaultKind;
use crate::http_reply::HttpReply;
use crate::journal::{self, Entry, Sent};
use crate::listener::Listener;
use crate::routes::{self, Asked};
use crate::schedule::{Drawn, carries_data};
use crate::stream::Stream;
use crate::websocket::{self, Upgrade};
use crate::wire::{Line, Wire};
use crate::world::{Protocol, World};
use crate::{events, grpc, preface, v1, v2};

/// The WebSocket that this connection will become when the upgrade is done.
type Agreed = Mutex<Option<(OnUpgrade, Upgrade)>>;

/// What uvicorn answers to HTTP/2.
const NO_HTTP2: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\n\
    connection: close\r\n\r\n\
    Invalid HTTP request received.";

/// Serves a connection to its end.
pub(crate) async fn serve<L: Listener>(
    world: Arc<World>,
    io: L::Io,
    protocol: Protocol,
    number: u64,
) {
    let Some(mut io) = secure::<L>(&world, io, protocol, number).await else { return };
    let line = Arc::new(Line::default());
    let mut is_http2 = protocol == Protocol::Grpc;
    let mut read = Vec::new();
    if !is_http2 {
        match preface::begins_http2(&world, &mut io, &mut read).await {
            Ok(begins_http2) => is_http2 = begins_http2,
            Err(_) => return,
        }
    }
    if is_http2 && matches!(protocol, Protocol::Http | Protocol::WebSocket) {
        // An error means that the client is gone, which is fine.
        let _ = io.write_all(NO_HTTP2).await;
        let _ = io.shutdown().await;
        return;
    }
    let mut wire = Wire::<L>::new(io, protocol, Arc::clone(&line), Arc::clone(&world));
    wire.put_back(&read);
    if is_http2 {
        wire.raw();
        grpc::serve(world, line, wire, number).await;
    } else {
        serve_http1(world, line, wire, protocol, number).await;
    }
}

/// Makes a connection secret if the gateway speaks TLS.
#[cfg(feature = "tls")]
async fn secure<L: Listener>(
    world: &World,
    io: L::Io,
    protocol: Protocol,
    number: u64,
) -> Option<Stream<L>> {
    match &world.tls {
        Some(tls) => tls.shake(world, io, protocol, number).await,
        None => Some(Stream::Plain(io)),
    }
}

#[cfg(not(feature = "tls"))]
async fn secure<L: Listener>(_: &World, io: L::Io, _: Protocol, _: u64) -> Option<Stream<L>> {
    Some(Stream::Plain(io))
}

async fn serve_http1<L: Listener>(
    world: Arc<World>,
    line: Arc<Line>,
    wire: Wire<L>,
    protocol: Protocol,
    number: u64,
) {
    let agreed = Agreed::default();
    {
        let site = Site { world: &world, line: &line, protocol, number, agreed: &agreed };
        let service = service_fn(|request| stamped(site, request));
        let connection = http1::Builder::new().serve_connection(TokioIo::new(wire), service);
        let mut connection = pin!(connection.with_upgrades());
        // An error is the way in which the client, a fault or the gateway's stop has ended the
        // connection.
        tokio::select! {
            biased;
            _ = connection.as_mut() => {}
            () = world.stops() => {
                connection.as_mut().graceful_shutdown();
                let _ = connection.await;
            }
        }
    }
    let agreed = agreed.into_inner().unwrap_or_else(PoisonError::into_inner);
    if let Some((upgrading, upgrade)) = agreed
        && let Ok(upgraded) = upgrading.await
        && let Ok(Parts { io, read_buf, .. }) = upgraded.downcast::<TokioIo<Wire<L>>>()
    {
        let mut wire = io.into_inner();
        wire.raw();
        wire.put_back(&read_buf);
        websocket::serve(world, line, wire, number, upgrade).await;
    }
}

/// Where an exchange takes place.
#[derive(Clone, Copy)]
struct Site<'a> {
    world: &'a Arc<World>,
    line: &'a Arc<Line>,
    protocol: Protocol,
    number: u64,
    agreed: &'a Agreed,
}

/// Answers a request, with the cookies of the gateway.
async fn stamped(site: Site<'_>, request: Request<Incoming>) -> io::Result<Response<AnswerBody>> {
    let mut response = exchange(site, request).await?;
    site.world.control.ingress().stamp(response.headers_mut());
    Ok(response)
}

/// Reads a request to its end, notes it in the journal, and answers it unless a fault prevents
/// that. An error ends the connection without an answer.
async fn exchange(
    site: Site<'_>,
    mut request: Request<Incoming>,
) -> io::Result<Response<AnswerBody>> {
    let Site { world, line, protocol, number: connection, .. } = site;
    let upgrading = hyper::upgrade::on(&mut request);
    let (head, body) = request.into_parts();
    if let Some(code) = line.early() {
        return Ok(early(world, line, code));
    }
    let body = read_whole(body).await.map_err(io::Error::other)?;
    if websocket::is_upgrade(&head) {
        return become_websocket(site, head, upgrading).await;
    }
    let drawn = drawn(world, line, &head);
    if drawn.fault == Some(FaultKind::ResetBefore) {
        // Only a pipelined request gets here: it came too early to be struck at its beginning.
        world.journal.refuse();
        line.reset();
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    if let Some(FaultKind::Early(code)) = drawn.fault {
        // A pipelined request gets the same answer.
        return Ok(early(world, line, code));
    }
    if !world.control.ingress().admits(&head.headers) {
        return Ok(turned_away(world, line));
    }
    let asked = Asked::read(world, protocol, &head, &body);
    let place = note(world, connection, &head, &drawn, Some((&asked, &body)));

    let mut reply = match &drawn.fault {
        Some(FaultKind::ResetAfter) => {
            line.reset();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(FaultKind::Stall) => {
            // Waits until the gateway stops. If the client leaves before, hyper drops this future.
            world.stops().await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Some(FaultKind::Status { code, retry_after }) => {
            HttpReply::scripted(*code, retry_after.clone())
        }
        Some(FaultKind::Redirect { code, location }) => {
            HttpReply::redirect(*code, location.clone())
        }
        Some(FaultKind::Malformed) if !asked.is_stream() => {
            broken_off(routes::answer(world, asked, &head, &body).await)
        }
        _ => routes::answer(world, asked, &head, &body).await,
    };
    if drawn.carries_data && world.schedule.shifts() {
        shift(world, &mut reply, drawn.fault == Some(FaultKind::Shifted));
    }
    let line = Arc::clone(line);
    let by_fault = (drawn.fault == Some(FaultKind::Gzip)).then(Compression::gzip);
    let compression = by_fault
        .as_ref()
        .or_else(|| Compression::accepted(&world.compressions, &head.headers, &ACCEPT_ENCODING));
    if let Some(run) = reply.stream.take() {
        let mut events = events::events(Arc::clone(world), place, run, drawn.fault.as_ref());
        if let Some((compression, encoder)) = compression.and_then(|it| Some((it, it.encoder()?))) {
            events = events::compressed(events, encoder);
            reply.encoding = Some(Arc::clone(compression.name()));
        }
        let reset = drawn.fault == Some(FaultKind::ResetMid);
        return Ok(reply.into_event_stream(AnswerBody::events(events, reset, line)));
    }
    reply = match (&drawn.fault, compression) {
        (Some(FaultKind::Bomb(bytes)), _) => reply.bomb(*bytes),
        (_, Some(compression)) => reply.compressed(compression),
        (_, None) => reply,
    };
    if drawn.fault == Some(FaultKind::ResetMid) {
        return Ok(reply.into_response(|bytes| AnswerBody::half(bytes, line)));
    }
    world.journal.answered(&place, reply.status);
    Ok(reply.into_response(|bytes| match drawn.fault {
        Some(FaultKind::Slow(time)) => AnswerBody::slow(bytes, time, line),
        Some(FaultKind::HangUp) => AnswerBody::last(bytes, false, line),
        _ => AnswerBody::whole(bytes, line),
    }))
}

/// Answers a request to become a WebSocket.
async fn become_websocket(
    site: Site<'_>,
    head: Head,
    upgrading: OnUpgrade,
) -> io::Result<Response<AnswerBody>> {
    let Site { world, line, protocol, number, agreed } = site;
    // Faults for upgrades are drawn by the headers and not by the first line.
    line.arrived();
    if !world.control.ingress().admits(&head.headers) {
        return Ok(turned_away(world, line));
    }
    let drawn = world.schedule.draw_upgrade(head.uri.path());
    let place = note(world, number, &head, &drawn, None);
    let whole = |bytes| AnswerBody::whole(bytes, Arc::clone(line));
    match &drawn.fault {
        Some(FaultKind::ResetAfter) => {
            line.reset();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(FaultKind::Drop) => return Err(io::ErrorKind::ConnectionAborted.into()),
        Some(FaultKind::Stall) => {
            world.stops().await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Some(FaultKind::Status { code, retry_after }) => {
            let reply = HttpReply::scripted(*code, retry_after.clone());
            world.journal.answered(&place, reply.status);
            return Ok(reply.into_response(whole));
        }
        Some(FaultKind::Redirect { code, location }) => {
            let reply = HttpReply::redirect(*code, location.clone());
            world.journal.answered(&place, reply.status);
            return Ok(reply.into_response(whole));
        }
        _ => {}
    }
    let upgrade = match websocket::agree(&head, protocol) {
        Ok(upgrade) => upgrade,
        Err(reply) => {
            world.journal.answered(&place, reply.status);
            return Ok(reply.into_response(whole));
        }
    };
    world.journal.answered(&place, 101);
    if upgrade.is_for_data() {
        world.journal.upgraded();
    }
    line.upgrading();
    let response = websocket::response(&upgrade, drawn.fault.as_ref(), whole(Vec::new()));
    *agreed.lock().unwrap_or_else(PoisonError::into_inner) = Some((upgrading, upgrade));
    Ok(response)
}

/// What was drawn when the request began to arrive. For a pipelined request, whose beginning came
/// together with the request before it, the faults are drawn only now.
fn drawn(world: &World, line: &Line, head: &Head) -> Drawn {
    let (method, path) = (head.method.as_str().as_bytes(), head.uri.path().as_bytes());
    let is_for_this = |drawn: &Drawn| drawn.carries_data == carries_data(method);
    line.arrived().filter(is_for_this).unwrap_or_else(|| world.schedule.draw(method, path))
}

/// Reads a body into one piece. A body that came in one frame is not copied.
async fn read_whole(mut body: Incoming) -> Result<Bytes, hyper::Error> {
    let mut whole = Bytes::new();
    let mut joined = Vec::new();
    while let Some(frame) = body.frame().await {
        let Ok(data) = frame?.into_data() else {
            continue;
        };
        if whole.is_empty() {
            whole = data;
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&whole);
        }
        joined.extend_from_slice(&data);
    }
    Ok(if joined.is_empty() { whole } else { joined.into() })
}

fn note(
    world: &World,
    connection: u64,
    head: &Head,
    drawn: &Drawn,
    asked: Option<(&Asked<'_>, &[u8])>,
) -> journal::Place {
    let body = asked.map(|(_, body)| body);
    let asked = asked.map(|(asked, _)| asked);
    let entry = || Entry {
        number: drawn.number,
        connection,
        stream: None,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers.clone(),
        endpoint: asked.and_then(Asked::endpoint),
        request_id: asked.and_then(Asked::request_id),
        document_count: asked.map_or(0, Asked::documents),
        document_ids: asked.map(Asked::document_ids).unwrap_or_default(),
        fault: drawn.fault.clone(),
        answered: None,
        streamed: 0,
        is_cancelled: false,
        arrived_at: Duration::ZERO,
        answered_at: None,
        is_stripped: false,
        sent: asked.zip(body).map(|(asked, body)| sent(world, head, asked, body)),
    };
    if drawn.carries_data { world.journal.arrived(entry) } else { world.journal.got(entry) }
}

/// What a request carried, for the journal.
fn sent(world: &World, head: &Head, asked: &Asked<'_>, body: &[u8]) -> Sent {
    let docarray = world.control.spoken();
    if asked.is_stream() {
        return Sent::new(docarray, &events::document(head, body), events::content);
    }
    match docarray {
        DocArray::V1 => Sent::new(docarray, body, v1::content),
        DocArray::V2 => Sent::new(docarray, body, v2::content),
    }
}

/// The answer to a request that is not read. The journal has no entry for such a request, but
/// counts it as refused.
fn early(world: &World, line: &Arc<Line>, code: u16) -> Response<AnswerBody> {
    world.journal.refuse();
    HttpReply::scripted(code, None)
        .into_response(|bytes| AnswerBody::last(bytes, true, Arc::clone(line)))
}

/// The answer to a request without the right `Authorization`, which is not looked at.
fn turned_away(world: &World, line: &Arc<Line>) -> Response<AnswerBody> {
    world.journal.turn_away();
    HttpReply::unauthorized().into_response(|bytes| AnswerBody::whole(bytes, Arc::clone(line)))
}

/// Keeps the answer for the next request. If this request `is_struck`, its answer is replaced by
/// the previous one.
fn shift(world: &World, reply: &mut HttpReply, is_struck: bool) {
    let own = reply.body.clone();
    let mut last = world.last.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(last) = last.replace(own).filter(|_| is_struck) {
        *reply = HttpReply::json(200, last);
    }
}

/// A 200 whose JSON ends in the middle.
fn broken_off(reply: HttpReply) -> HttpReply {
    let mut body = if reply.is_json { reply.body } else { b"{\"data\":[{}]}".to_vec() };
    // Half of an object is never valid JSON, as long as it is not empty.
    body.truncate((body.len() / 2).max(1));
    HttpReply::json(200, body)
}
