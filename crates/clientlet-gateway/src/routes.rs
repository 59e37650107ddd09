//! Which request gets what answer.

use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use serde_json::json;

use crate::docarray::DocArray;
use crate::endpoint::Endpoint;
use crate::outage::Outage;
use crate::reply::Reply;
use crate::schedule::carries_data;
use crate::streaming::Run;
use crate::validation::{MISSING, NO_DICT, complain};
use crate::world::{Protocol, World};
use crate::{events, openapi, status, v1, v2};

/// What a request asks for, as far as it could be read.
pub(crate) struct Asked<'a> {
    route: Route,
    message: Message<'a>,
}

enum Route {
    /// Data for documents v1, with the endpoint in the body or named by the path.
    V1(Option<&'static str>),
    V2(&'static str, Endpoint),
    /// The documents that a streaming endpoint gives, or what is wrong with the one that was sent.
    Stream(String, Box<Result<Box<Run>, Reply>>),
    Health,
    DryRun(Protocol),
    Status,
    OpenApi(Protocol),
    /// To the same path without its last slash.
    Redirect(String),
    NotFound,
    NotAllowed(&'static str),
}

enum Message<'a> {
    None,
    V1(v1::Envelope<'a>),
    V2(v2::Envelope<'a>, &'a str),
    Unreadable(Reply),
}

impl<'a> Asked<'a> {
    pub(crate) fn read(world: &World, protocol: Protocol, head: &Parts, body: &'a [u8]) -> Self {
        let docarray = world.control.spoken();
        let find = |path: &str| find(world, protocol, docarray, head.method.as_str(), path);
        let route = find(head.uri.path());
        let route = match route {
            Route::NotFound => find_shorter(head, find),
            Route::Stream(path, _) => {
                let script = world.bindings.stream(&path);
                let run = script.map(|script| events::start(script, head, body));
                Route::Stream(path, Box::new(run.unwrap_or_else(|| Err(Reply::not_found()))))
            }
            route => route,
        };
        // Data sent to a path that is not there are read for the journal.
        let message = if carries_data(head.method.as_str().as_bytes()) {
            read(docarray, head, body)
        } else {
            Message::None
        };
        Self { route, message }
    }

    pub(crate) fn endpoint(&self) -> Option<String> {
        match (&self.route, &self.message) {
            (Route::V1(Some(path)) | Route::V2(path, _), _) => Some((*path).to_owned()),
            (Route::Stream(path, _), _) => Some(path.clone()),
            (_, Message::V1(envelope)) => envelope.endpoint().map(String::from),
            _ => None,
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.route, Route::Stream(..))
    }

    pub(crate) fn request_id(&self) -> Option<String> {
        match &self.message {
            Message::V1(envelope) => envelope.request_id().map(String::from),
            Message::V2(envelope, _) => envelope.request_id().map(String::from),
            Message::None | Message::Unreadable(_) => None,
        }
    }

    pub(crate) fn documents(&self) -> usize {
        match &self.message {
            Message::V1(envelope) => envelope.documents().len(),
            Message::V2(envelope, _) => envelope.documents().len(),
            Message::None | Message::Unreadable(_) => 0,
        }
    }

    pub(crate) fn document_ids(&self) -> Vec<String> {
        match &self.message {
            Message::V1(envelope) => {
                envelope.documents().iter().filter_map(v1::Document::sent_id).collect()
            }
            Message::V2(envelope, _) => {
                envelope.documents().iter().filter_map(v2::Item::sent_id).collect()
            }
            Message::None | Message::Unreadable(_) => Vec::new(),
        }
    }
}

/// Answers what was asked.
pub(crate) async fn answer(world: &World, asked: Asked<'_>) -> Reply {
    match (asked.route, asked.message) {
        (Route::NotFound, _) => Reply::not_found(),
        (Route::Redirect(location), _) => Reply::redirect(location),
        (Route::NotAllowed(allow), _) => Reply::not_allowed(allow),
        (Route::Stream(_, run), _) => run.map_or_else(|reply| reply, Reply::stream),
        (Route::Health, _) => Reply::json(200, b"{}".to_vec()),
        (Route::DryRun(protocol), _) => dry_run(world, protocol),
        (Route::Status, _) => status::reply(world.control.spoken()),
        (Route::OpenApi(protocol), _) => openapi::reply(world, protocol),
        (Route::V1(_) | Route::V2(..), Message::Unreadable(reply)) => reply,
        (Route::V1(path), Message::V1(envelope)) => v1::answer(world, path, &envelope).await,
        (Route::V2(_, endpoint), Message::V2(envelope, body)) => {
            v2::answer(world, endpoint, &envelope, body).await
        }
        // Route and message are read for the same generation and method.
        (Route::V1(_) | Route::V2(..), _) => Reply::internal_error(),
    }
}

fn find(world: &World, protocol: Protocol, docarray: DocArray, method: &str, path: &str) -> Route {
    let route = match path {
        "/status" | "/openapi.json" if world.hides_status => return Route::NotFound,
        "/dry_run" => Some((Route::DryRun(protocol), "GET")),
        "/status" => Some((Route::Status, "GET")),
        "/openapi.json" => Some((Route::OpenApi(protocol), "GET")),
        "/" if method == "GET" || protocol == Protocol::WebSocket => Some((Route::Health, "GET")),
        // Data go as messages there.
        _ if protocol == Protocol::WebSocket => None,
        _ => match docarray {
            DocArray::V1 => find_v1(path),
            DocArray::V2 => find_v2(world, path),
        },
    };
    match route {
        Some((route, allowed)) if allowed == method => route,
        Some((_, allowed)) => Route::NotAllowed(allowed),
        None => Route::NotFound,
    }
}

/// A path with a slash too many leads to the one without, if there is one.
fn find_shorter(head: &Parts, find: impl Fn(&str) -> Route) -> Route {
    let Some(path) = head.uri.path().strip_suffix('/') else {
        return Route::NotFound;
    };
    match find(path) {
        Route::NotFound => Route::NotFound,
        _ => {
            let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
            Route::Redirect(format!("http://{}{path}", host.unwrap_or_default()))
        }
    }
}

fn find_v1(path: &str) -> Option<(Route, &'static str)> {
    Some(match path {
        "/" => (Route::Health, "GET"),
        "/post" => (Route::V1(None), "POST"),
        "/index" => (Route::V1(Some("/index")), "POST"),
        "/search" => (Route::V1(Some("/search")), "POST"),
        "/update" => (Route::V1(Some("/update")), "PUT"),
        "/delete" => (Route::V1(Some("/delete")), "DELETE"),
        _ => return None,
    })
}

fn find_v2(world: &World, path: &str) -> Option<(Route, &'static str)> {
    let bound = world.bindings.paths().find(|bound| *bound == path);
    match bound.and_then(|bound| Some(Route::V2(bound, world.bindings.find(bound)?))) {
        Some(route) => Some((route, "POST")),
        None if world.bindings.stream(path).is_some() => {
            // What it runs is known once the body is.
            Some((Route::Stream(path.to_owned(), Box::new(Err(Reply::not_found()))), "GET"))
        }
        None if path == "/" => Some((Route::Health, "GET")),
        None => None,
    }
}

fn read<'a>(docarray: DocArray, head: &Parts, body: &'a [u8]) -> Message<'a> {
    let Ok(body) = std::str::from_utf8(body) else {
        // So ends a compressed body, too.
        return Message::Unreadable(Reply::detail(400, "There was an error parsing the body"));
    };
    if body.is_empty() || body == "null" {
        return Message::Unreadable(complain(&["body"], &MISSING));
    }
    if !is_json(head) {
        return Message::Unreadable(complain(&["body"], &NO_DICT));
    }
    match docarray {
        DocArray::V1 => v1::read(body).map_or_else(Message::Unreadable, Message::V1),
        DocArray::V2 => {
            v2::read(body).map_or_else(Message::Unreadable, |envelope| Message::V2(envelope, body))
        }
    }
}

/// Whether the body is said to be JSON, or nothing is said.
fn is_json(head: &Parts) -> bool {
    let Some(value) = head.headers.get(CONTENT_TYPE) else {
        return true;
    };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn dry_run(world: &World, protocol: Protocol) -> Reply {
    // A gateway for documents v2 says over HTTP that all is well even of a dead executor.
    let outage = match (world.control.spoken(), protocol) {
        (DocArray::V2, Protocol::Http | Protocol::All) => None,
        _ => Outage::now(&world.control),
    };
    let status = match outage {
        Some(outage) => outage.dry_run(),
        None => json!({"code": 0, "description": "", "exception": null}),
    };
    Reply::json(200, status.to_string().into_bytes())
}
