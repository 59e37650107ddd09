//! The seam for questions to a gateway. No executor runs for them.

use std::future::ready;

use ::http::HeaderMap;
use tokio::time::Instant;

use super::Answer;
use crate::error::{AttemptError, Event};
use crate::message::{DocArray, GatewayStatus, Health, Status};
use crate::telemetry::AttemptTrace;

/// A gateway's list of its endpoints. By default it lists nothing.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// The documents that the endpoints take, if the list shows it.
    pub(crate) docarray: Option<DocArray>,
    /// Whether the list shows that requests name their endpoint.
    pub(crate) is_by_name: bool,
    /// The endpoints that documents can be posted to.
    pub(crate) endpoints: Option<Vec<String>>,
    /// The endpoints that give streams of documents.
    pub(crate) streams: Option<Vec<String>>,
}

/// The headers, the deadline and the trace of a question.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Ask<'a> {
    pub(crate) headers: &'a HeaderMap,
    pub(crate) deadline: Option<Instant>,
    pub(crate) trace: &'a AttemptTrace,
}

/// The questions of a protocol. Each is asked once.
pub(crate) trait Questions: Send + Sync {
    /// Asks for the gateway's status.
    fn status<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, GatewayStatus>;

    /// Asks for the endpoints. An error that is not retryable means that the gateway does not list
    /// them.
    fn paths<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, Listing> {
        let _ = ask;
        Box::pin(ready(Ok(Listing::default())))
    }

    /// Sends a request without documents through all executors.
    fn dry_run<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, Status>;

    /// Asks gRPC's health service about a service. The empty name means the gateway as a whole.
    fn health<'a>(&'a self, service: &'a str, ask: Ask<'a>) -> Answer<'a, Health> {
        let _ = (service, ask);
        let what = "only gRPC has a health service; ask whether the gateway is ready instead";
        Box::pin(ready(Err(AttemptError::new(Event::NoSuchQuestion, what))))
    }
}
