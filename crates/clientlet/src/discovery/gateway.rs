//! The facts about a gateway, and the search for an executor's endpoint among them.

use crate::address::{decode_percent, to_path};
use crate::error::{AttemptError, Event, Hint};
use crate::foreign;
use crate::message::{DocArray, Endpoints};

/// The facts that a gateway told about itself.
#[derive(Debug)]
pub(crate) struct Gateway {
    pub(crate) docarray: DocArray,
    /// The endpoints that documents can be posted to; `None` if the gateway does not list them.
    pub(crate) endpoints: Option<Vec<String>>,
    /// The endpoints that give streams of documents; `None` if the gateway does not list them.
    pub(crate) streams: Option<Vec<String>>,
    /// Whether requests name the endpoint. Otherwise the address that they are sent to names it.
    pub(crate) is_by_name: bool,
}

/// The path at which a v1 gateway takes all documents.
const V1_PATH: &str = "/post";
/// The path at which a v2 gateway takes documents for endpoints that no executor binds, if it has a
/// default.
const V2_DEFAULT: &str = "/default";

/// An endpoint as the gateway names it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Found {
    /// The endpoint's name in a request.
    pub(crate) name: String,
    /// The percent-encoded path that documents are posted to, if the path names the endpoint.
    pub(crate) path: String,
}

impl Gateway {
    /// Finds the place to which documents for `endpoint` are posted.
    ///
    /// # Errors
    /// If each endpoint has a path of its own, and the gateway lists neither this endpoint nor a
    /// default.
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
            // A gateway's port for WebSocket answers all questions, but takes no documents over HTTP.
            None if listed.is_empty() => {
                let what = format!("this port lists no endpoints, {endpoint} included");
                Err(AttemptError::new(Event::EndpointUnknown, what)
                    .asking_whether(Hint::PortForWebsocket))
            }
            None => {
                let listed = foreign::listed(listed);
                let what = format!("the gateway has no endpoint {endpoint}; it has {listed}");
                Err(AttemptError::new(Event::EndpointUnknown, what)
                    .with_hint(Hint::UnknownEndpoint))
            }
        }
    }

    /// Finds the place at which a stream of documents is requested.
    ///
    /// # Errors
    /// If the gateway lists its endpoints and none of them streams under this name, or if the
    /// gateway speaks documents v1.
    pub(crate) fn find_stream(&self, endpoint: &str) -> Result<Found, AttemptError> {
        if self.docarray == DocArray::V1 {
            let what = "a gateway with documents v1 has no streams of documents";
            let error = AttemptError::new(Event::EndpointUnknown, what);
            return Err(error.with_hint(Hint::NoStreams));
        }
        let Some(listed) = &self.streams else { return Ok(Found::written(endpoint)) };
        if let Some(name) = listed_as(endpoint, listed).or(default_of(listed)) {
            return Ok(Found::listed(endpoint, name));
        }
        let what = match &listed[..] {
            [] => format!(
                "no endpoint of the gateway gives a stream of documents, {endpoint} included"
            ),
            listed => {
                let mut listed = listed.to_vec();
                listed.sort();
                let listed = foreign::listed(&listed);
                format!(
                    "{endpoint} gives no stream of documents; the endpoints that do are {listed}"
                )
            }
        };
        Err(AttemptError::new(Event::EndpointUnknown, what).with_hint(Hint::NoStreams))
    }

    /// Returns the endpoints that can be posted to.
    pub(crate) fn to_endpoints(&self) -> Endpoints {
        let paths = self.endpoints.clone().unwrap_or_default();
        let takes_any = self.is_by_name || default_of(&paths).is_some();
        Endpoints { docarray: self.docarray, paths, takes_any }
    }
}

impl Found {
    fn listed(written: &str, listed: &str) -> Found {
        // For a name that no executor binds, executors themselves run their default endpoint.
        let name = if listed == V2_DEFAULT { written } else { listed };
        Found { name: name.to_owned(), path: to_path(listed) }
    }

    /// Uses an endpoint as the caller wrote it, if the gateway lists nothing. A percent-encoded
    /// name is left encoded.
    fn written(endpoint: &str) -> Found {
        Found { name: endpoint.to_owned(), path: to_path(&decode_percent(endpoint.as_bytes())) }
    }
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
