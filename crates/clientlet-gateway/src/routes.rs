//! The routes of HTTP requests, and their answers.

use http::header::{CONTENT_TYPE, HOST};
use http::request::Parts;
use serde_json::json;

use crate::docarray::DocArray;
use crate::http_reply::HttpReply;
use crate::outage::Outage;
use crate::schedule::carries_data;
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
    /// Data for this endpoint.
    V2(String),
    /// The documents that this streaming endpoint gives.
    Stream(String),
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
    Unreadable(HttpReply),
}

impl<'a> Asked<'a> {
    pub(crate) fn read(world: &World, protocol: Protocol, head: &Parts, body: &'a [u8]) -> Self {
        let docarray = world.control.spoken();
        let find = |path: &str| find(world, protocol, docarray, head.method.as_str(), path);
        let route = find(head.uri.path());
        let route = match route {
            Route::NotFound => find_shorter(world, head, find),
            route => route,
        };
        // Data for an unknown path are read for the journal.
        let message = if carries_data(head.method.as_str().as_bytes()) {
            read(docarray, head, body)
        } else {
            Message::None
        };
        Self { route, message }
    }

    pub(crate) fn endpoint(&self) -> Option<String> {
        match (&self.route, &self.message) {
            (Route::V1(Some(path)), _) => Some((*path).to_owned()),
            (Route::V2(path) | Route::Stream(path), _) => Some(path.clone()),
            (_, Message::V1(envelope)) => envelope.endpoint().map(String::from),
            _ => None,
        }
    }

    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.route, Route::Stream(_))
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

/// Answers a request.
pub(crate) async fn answer(
    world: &World,
    asked: Asked<'_>,
    head: &Parts,
    body: &[u8],
) -> HttpReply {
    let headers = &head.headers;
    match (asked.route, asked.message) {
        (Route::NotFound, _) => HttpReply::not_found(),
        (Route::Redirect(location), _) => HttpReply::redirect(307, location),
        (Route::NotAllowed(allow), _) => HttpReply::not_allowed(allow),
        (Route::Stream(path), _) => match events::start(world, path, head, body).await {
            Ok(run) => HttpReply::stream(Box::new(run)),
            Err(reply) => reply,
        },
        (Route::Health, _) => HttpReply::json(200, b"{}".to_vec()),
        (Route::DryRun(protocol), _) => dry_run(world, protocol),
        (Route::Status, _) => status::reply(world.control.spoken()),
        (Route::OpenApi(protocol), _) => openapi::reply(world, protocol),
        (Route::V1(_) | Route::V2(_), Message::Unreadable(reply)) => reply,
        (Route::V1(path), Message::V1(envelope)) => {
            v1::answer(world, path, &envelope, headers).await
        }
        (Route::V2(path), Message::V2(envelope, body)) => {
            v2::answer(world, &path, &envelope, body, headers).await
        }
        // Route and message are read for the same generation and method.
        (Route::V1(_) | Route::V2(_), _) => HttpReply::internal_error(),
    }
}

fn find(world: &World, protocol: Protocol, docarray: DocArray, method: &str, path: &str) -> Route {
    let route = match path {
        "/status" | "/openapi.json" if world.hides_status => return Route::NotFound,
        "/dry_run" => Some((Route::DryRun(protocol), "GET")),
        "/status" => Some((Route::Status, "GET")),
        "/openapi.json" => Some((Route::OpenApi(protocol), "GET")),
        "/" if method == "GET" || protocol == Protocol::WebSocket => Some((Route::Health, "GET")),
        // On a WebSocket, data are messages.
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

/// A path that ends with a slash redirects to the path without the slash, if that exists.
fn find_shorter(world: &World, head: &Parts, find: impl Fn(&str) -> Route) -> Route {
    let Some(path) = head.uri.path().strip_suffix('/') else {
        return Route::NotFound;
    };
    match find(path) {
        Route::NotFound => Route::NotFound,
        _ => {
            let host = head.headers.get(HOST).and_then(|host| host.to_str().ok());
            let scheme = if world.speaks_tls() { "https" } else { "http" };
            Route::Redirect(format!("{scheme}://{}{path}", host.unwrap_or_default()))
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
    if let Some(endpoint) = world.routed(path, false) {
        return Some((Route::V2(endpoint), "POST"));
    }
    if let Some(endpoint) = world.routed(path, true) {
        return Some((Route::Stream(endpoint), "GET"));
    }
    (path == "/").then_some((Route::Health, "GET"))
}

fn read<'a>(docarray: DocArray, head: &Parts, body: &'a [u8]) -> Message<'a> {
    let Ok(body) = std::str::from_utf8(body) else {
        // A compressed body fails here as well.
        return Message::Unreadable(HttpReply::detail(400, "There was an error parsing the body"));
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

/// Whether the content type is JSON, or there is none.
fn is_json(head: &Parts) -> bool {
    let Some(value) = head.headers.get(CONTENT_TYPE) else {
        return true;
    };
    let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
    let media_type = media_type.trim().to_ascii_lowercase();
    media_type == "application/json"
        || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

fn dry_run(world: &World, protocol: Protocol) -> HttpReply {
    // Over HTTP a gateway for documents v2 reports success even if the executor is dead.
    let outage = match (world.control.spoken(), protocol) {
        (DocArray::V2, Protocol::Http | Protocol::All) => None,
        _ => Outage::now(&world.control),
    };
    let status = match outage {
        Some(outage) => outage.dry_run(),
        None => json!({"code": 0, "description": "", "exception": null}),
    };
    HttpReply::json(200, status.to_string().into_bytes())
}
