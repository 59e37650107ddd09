//! What is known of a gateway: asked once, shared by all calls of a client, asked again after a
//! sign that it has changed.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use futures_util::FutureExt;
use futures_util::future::{Shared, WeakShared};
use http::header::{HOST, HeaderMap, HeaderValue};
use tokio::time::Instant;

use crate::address::{decode_percent, encode_percent};
use crate::error::{AttemptError, ErrorKind, Event, Hint};
use crate::foreign;
use crate::message::DocArray;
use crate::transport::{BoxFuture, Kept, Time, Transport};

/// What a gateway told of itself.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) docarray: DocArray,
    /// The endpoints that documents can be posted to, as the gateway lists them; `None` if it does
    /// not list them.
    pub(crate) endpoints: Option<Vec<String>>,
    /// The endpoints that give streams of documents; `None` if the gateway does not list them.
    pub(crate) streams: Option<Vec<String>>,
    /// Whether the endpoint stands in the request, and not in the address that it is sent to.
    pub(crate) is_by_name: bool,
}

/// Where a v1 gateway takes all documents.
const V1_PATH: &str = "/post";
/// Where a v2 gateway takes those for endpoints that no executor binds, if one has a default.
const V2_DEFAULT: &str = "/default";

/// An endpoint as the gateway knows it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The endpoint's name in a request.
    pub(crate) name: String,
    /// The path that documents are posted to, percent-encoded, if the path names the endpoint.
    pub(crate) path: String,
}

impl Gateway {
    /// A gateway that accepts any name in a request.
    pub(crate) fn by_name(docarray: DocArray) -> Gateway {
        Gateway { docarray, endpoints: None, streams: None, is_by_name: true }
    }

    /// Finds where documents for `endpoint` are posted to.
    ///
    /// # Errors
    /// When each endpoint has a path of its own, and the gateway lists neither a path for this
    /// endpoint nor a default.
    pub(crate) fn find(&self, endpoint: &str) -> Result<Found, AttemptError> {
        let listed = self.endpoints.as_deref().unwrap_or_default();
        let name = listed_as(endpoint, listed);
        if self.is_by_name {
            let name = name.unwrap_or(endpoint).to_owned();
            return Ok(Found { name, path: V1_PATH.to_owned() });
        }
        match name.or(default_of(listed)) {
            Some(name) => Ok(Found::listed(endpoint, name)),
            None if self.endpoints.is_none() => Ok(Found::written(endpoint)),
            None => {
                let unknown = |listed: &str| {
                    let what = format!("the gateway has no endpoint {endpoint}; it has {listed}");
                    AttemptError::new(Event::EndpointUnknown, what)
                };
                Err(match listed {
                    // A gateway's port for WebSocket answers all questions and takes no documents
                    // over HTTP.
                    [] => unknown("none").asking_whether(Hint::PortForWebsocket),
                    listed => unknown(&foreign::listed(listed)),
                })
            }
        }
    }

    /// Finds where a stream of documents is requested.
    ///
    /// # Errors
    /// When the gateway lists its endpoints and none of them gives a stream for this name, or when
    /// the gateway speaks documents v1.
    pub(crate) fn find_stream(&self, endpoint: &str) -> Result<Found, AttemptError> {
        if self.docarray == DocArray::V1 {
            let what = "a gateway with documents v1 has no streams of documents";
            return Err(AttemptError::new(Event::EndpointUnknown, what));
        }
        let Some(listed) = &self.streams else { return Ok(Found::written(endpoint)) };
        if let Some(name) = listed_as(endpoint, listed).or(default_of(listed)) {
            return Ok(Found::listed(endpoint, name));
        }
        let what = match &listed[..] {
            [] => format!("the gateway gives no stream of documents, from {endpoint} or elsewhere"),
            listed => {
                let mut listed = listed.to_vec();
                listed.sort();
                let listed = foreign::listed(&listed);
                format!("{endpoint} gives no stream of documents; those that do are {listed}")
            }
        };
        Err(AttemptError::new(Event::EndpointUnknown, what))
    }

    /// Whether any endpoint is taken, whatever its name.
    pub(crate) fn takes_any(&self) -> bool {
        self.is_by_name || default_of(self.endpoints.as_deref().unwrap_or_default()).is_some()
    }
}

impl Found {
    fn listed(written: &str, listed: &str) -> Found {
        // Executors run their default endpoint by themselves for a name that none of them binds.
        let name = if listed == V2_DEFAULT { written } else { listed };
        Found { name: name.to_owned(), path: to_path(listed) }
    }

    /// Takes an endpoint as it was written, if the gateway lists nothing. A name that is
    /// percent-encoded stays so.
    fn written(endpoint: &str) -> Found {
        Found { name: endpoint.to_owned(), path: to_path(&decode_percent(endpoint.as_bytes())) }
    }
}

/// The path of an endpoint. Some endpoints are bound without a leading slash, but a path of HTTP
/// always has one.
pub(crate) fn to_path(endpoint: &str) -> String {
    let slash = if endpoint.starts_with('/') { "" } else { "/" };
    format!("{slash}{}", encode_percent(endpoint))
}

/// Finds the listed endpoint that the caller meant: the same name, the name with or without its
/// leading slash, or its percent-encoded form.
fn listed_as<'a>(written: &str, listed: &'a [String]) -> Option<&'a str> {
    let bare = |name: &str| name.strip_prefix('/').unwrap_or(name).to_owned();
    let find = |wanted: &str| listed.iter().find(|name| bare(name) == wanted);
    let same = listed.iter().find(|name| *name == written);
    let found = same.or_else(|| find(&bare(written)));
    found.or_else(|| find(&bare(&decode_percent(written.as_bytes())))).map(String::as_str)
}

fn default_of(listed: &[String]) -> Option<&'static str> {
    listed.iter().any(|name| name == V2_DEFAULT).then_some(V2_DEFAULT)
}

/// The number of hosts of which a client remembers what their gateways speak.
const MOST_HOSTS: usize = 16;

/// What a client knows of the gateways at its address. A proxy chooses among them by the `Host`
/// header, which a call may set for itself, so each host is a gateway of its own.
#[derive(Debug)]
pub(crate) struct Discoveries {
    /// The client's own host, if its headers set one.
    host: Option<HeaderValue>,
    own: Arc<Discovery>,
    /// The other hosts, the one that was used last at the end.
    others: Mutex<VecDeque<(Option<HeaderValue>, Arc<Discovery>)>>,
}

impl Discoveries {
    /// For a client with these headers.
    pub(crate) fn new(headers: &HeaderMap) -> Discoveries {
        let host = headers.get(HOST).cloned();
        Discoveries { host, own: Arc::default(), others: Mutex::default() }
    }

    /// What is known of the gateway that a call with these headers reaches.
    pub(crate) fn of(&self, headers: &HeaderMap) -> Arc<Discovery> {
        let host = headers.get(HOST);
        if host == self.host.as_ref() {
            return self.own.clone();
        }
        let mut others = self.others.lock().unwrap_or_else(PoisonError::into_inner);
        let place = others.iter().position(|(other, _)| other.as_ref() == host);
        let known = place.and_then(|place| others.remove(place));
        let known = known.unwrap_or_else(|| (host.cloned(), Arc::default()));
        let discovery = known.1.clone();
        others.push_back(known);
        if others.len() > MOST_HOSTS {
            others.pop_front();
        }
        discovery
    }
}

/// What a client knows of a gateway.
#[derive(Debug, Default)]
pub(crate) struct Discovery {
    known: Mutex<Option<Arc<Gateway>>>,
    /// What a question learned before it failed.
    kept: Arc<Kept>,
    /// The question in flight, which goes on as long as any task waits for its answer.
    asked: Mutex<Option<Asked>>,
}

/// A question that several calls share.
#[derive(Debug)]
struct Asked {
    /// The headers of the question. A gateway may answer other credentials differently.
    headers: Arc<HeaderMap>,
    question: WeakShared<Question>,
}

type Question = BoxFuture<'static, Result<Arc<Gateway>, Arc<AttemptError>>>;

impl Discovery {
    /// What is known already.
    pub(crate) fn known(&self) -> Option<Arc<Gateway>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Forgets what a request has shown to be out of date, unless something newer is known.
    pub(crate) fn forget(&self, stale: &Arc<Gateway>) {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_some_and(|known| Arc::ptr_eq(known, stale)) {
            *known = None;
        }
    }

    /// What is known of the gateway, asking it first if necessary. All tasks that wait share one
    /// question, and its answer or failure.
    pub(crate) async fn ask(
        &self,
        transport: &Arc<dyn Transport>,
        headers: &Arc<HeaderMap>,
        deadline: Option<Instant>,
    ) -> Result<Arc<Gateway>, AttemptError> {
        let began = Instant::now();
        let mut time = Time::until(deadline);
        loop {
            if let Some(known) = self.known() {
                return Ok(known);
            }
            let (question, is_own) = self.question(transport, headers, deadline);
            let Some(answer) = time.shared(question).await else {
                return Err(time.missed("the gateway did not say what it speaks"));
            };
            match answer {
                Ok(gateway) => {
                    let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
                    return Ok(known.get_or_insert(gateway).clone());
                }
                Err(error) => {
                    // The question had the time of the call that asked it; this call may have more.
                    let is_late = error.kind == ErrorKind::Timeout;
                    if is_own || !is_late || !has_more(began, deadline) {
                        return Err(error.share());
                    }
                }
            }
        }
    }

    /// The question in flight, or a new one that has until `deadline`; also whether it is new.
    fn question(
        &self,
        transport: &Arc<dyn Transport>,
        headers: &Arc<HeaderMap>,
        deadline: Option<Instant>,
    ) -> (Shared<Question>, bool) {
        let mut asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(Asked { headers: with, question }) = &*asked
            && (Arc::ptr_eq(with, headers) || with == headers)
            && let Some(question) = question.upgrade()
            && question.peek().is_none()
        {
            return (question, false);
        }
        let (transport, with, kept) = (transport.clone(), headers.clone(), self.kept.clone());
        let question: Question = Box::pin(async move {
            transport.describe(&with, &kept, deadline).await.map(Arc::new).map_err(Arc::new)
        });
        let question = question.shared();
        *asked = question.downgrade().map(|question| Asked { headers: headers.clone(), question });
        (question, true)
    }
}

/// Whether more time is left than was already waited.
fn has_more(began: Instant, deadline: Option<Instant>) -> bool {
    let now = Instant::now();
    deadline.is_none_or(|deadline| deadline.saturating_duration_since(now) > now - began)
}

#[cfg(test)]
mod tests;
