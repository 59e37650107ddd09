//! One connection, and each exchange on it from the first byte to the answer.

use std::io;
use std::pin::pin;
use std::sync::Arc;

use bytes::Bytes;
use http::request::Parts;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;

use crate::body::AnswerBody;
use crate::fault::FaultKind;
use crate::gateway::World;
use crate::journal::{Entry, Place};
use crate::listener::Listener;
use crate::reply::Reply;
use crate::routes::{self, Asked};
use crate::schedule::{Drawn, carries_data};
use crate::wire::{Line, Wire};

/// Serves a connection to its end.
pub(crate) async fn serve<L: Listener>(world: Arc<World>, io: L::Io, number: u64) {
    let line = Arc::new(Line::default());
    let wire = Wire::<L>::new(io, Arc::clone(&line), Arc::clone(&world));
    let service = service_fn(|request| exchange(&world, &line, number, request));
    let mut connection = pin!(http1::Builder::new().serve_connection(TokioIo::new(wire), service));
    // How a connection ends, by its client, a fault or the gateway's stop, is nobody's error.
    tokio::select! {
        biased;
        _ = connection.as_mut() => {}
        () = world.stops() => {
            connection.as_mut().graceful_shutdown();
            let _ = connection.await;
        }
    }
}

/// Reads a request to its end, notes it, and answers it unless a fault has it otherwise. An error
/// ends the connection without an answer.
async fn exchange(
    world: &World,
    line: &Arc<Line>,
    connection: u64,
    request: Request<Incoming>,
) -> io::Result<Response<AnswerBody>> {
    let (head, body) = request.into_parts();
    let body = read_whole(body).await.map_err(io::Error::other)?;
    let drawn = drawn(world, line, &head);
    if drawn.fault == Some(FaultKind::ResetBefore) {
        // Only for a pipelined request, which came too early to be struck at its beginning.
        world.journal.refuse();
        line.reset();
        return Err(io::ErrorKind::ConnectionReset.into());
    }
    let asked = Asked::read(world, &head, &body);
    let place = note(world, connection, &head, &drawn, &asked);

    let reply = match &drawn.fault {
        Some(FaultKind::ResetAfter) => {
            line.reset();
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Some(FaultKind::Stall) => {
            // Until the gateway stops; hyper sees to it if the client goes before.
            world.stops().await;
            return Err(io::ErrorKind::ConnectionAborted.into());
        }
        Some(FaultKind::Status { code, retry_after }) => scripted(*code, retry_after.clone()),
        Some(FaultKind::Malformed) => broken_off(routes::answer(world, asked).await),
        _ => routes::answer(world, asked).await,
    };
    let line = Arc::clone(line);
    if drawn.fault == Some(FaultKind::ResetMid) {
        return Ok(reply.into_response(|bytes| AnswerBody::half(bytes, line)));
    }
    world.journal.answered(&place, reply.status);
    Ok(reply.into_response(|bytes| match drawn.fault {
        Some(FaultKind::Slow(time)) => AnswerBody::slow(bytes, time, line),
        _ => AnswerBody::whole(bytes, line),
    }))
}

/// What was drawn when the request began to arrive. A pipelined request whose beginning came
/// together with the one before is drawn for only now.
fn drawn(world: &World, line: &Line, head: &Parts) -> Drawn {
    let (method, path) = (head.method.as_str().as_bytes(), head.uri.path().as_bytes());
    let is_for_this = |drawn: &Drawn| drawn.carries_data == carries_data(method);
    line.arrived().filter(is_for_this).unwrap_or_else(|| world.schedule.draw(method, path))
}

/// A body in one piece; one that came in one frame is not copied.
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

fn note(world: &World, connection: u64, head: &Parts, drawn: &Drawn, asked: &Asked<'_>) -> Place {
    let entry = || Entry {
        number: drawn.number,
        connection,
        method: head.method.to_string(),
        path: head.uri.path().to_owned(),
        headers: head.headers.clone(),
        endpoint: asked.endpoint(),
        request_id: asked.request_id(),
        documents: asked.documents(),
        document_ids: asked.document_ids(),
        fault: drawn.fault.clone(),
        answered: None,
    };
    if drawn.carries_data { world.journal.arrived(entry) } else { world.journal.got(entry) }
}

fn scripted(code: u16, retry_after: Option<String>) -> Reply {
    let reply = if code == 500 { Reply::internal_error() } else { Reply::detail(code, "scripted") };
    Reply { retry_after, ..reply }
}

/// A 200 whose JSON ends in the middle.
fn broken_off(reply: Reply) -> Reply {
    let mut body = if reply.is_json { reply.body } else { b"{\"data\":[{}]}".to_vec() };
    // Half of an object is never JSON, if there is anything of it at all.
    body.truncate((body.len() / 2).max(1));
    Reply::json(200, body)
}
