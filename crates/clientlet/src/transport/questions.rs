//! The seam for questions to a gateway, which no executor runs.

use std::future::ready;

use ::http::HeaderMap;
use tokio::time::Instant;

use super::BoxFuture;
use crate::error::{AttemptError, Event};
use crate::message::{DocArray, GatewayStatus, Health, Status};

/// What a gateway lists of its endpoints; by default it lists nothing.
#[derive(Debug, Default)]
pub(crate) struct Listing {
    /// Which documents the endpoints take, if the list shows it.
    pub(crate) docarray: Option<DocArray>,
    /// Whether the list shows that requests name their endpoint.
    pub(crate) is_by_name: bool,
    /// The endpoints that documents can be posted to.
    pub(crate) endpoints: Option<Vec<String>>,
    /// The endpoints that give streams of documents.
    pub(crate) streams: Option<Vec<String>>,
}

/// The questions that a protocol has. Each is asked once.
pub(crate) trait Questions: Send + Sync {
    /// Asks what the gateway says of itself.
    fn status<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<GatewayStatus, AttemptError>>;

    /// Asks for the endpoints. An error that is not retryable means that the gateway does not list
    /// them.
    fn paths<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Listing, AttemptError>> {
        let _ = (headers, deadline);
        Box::pin(ready(Ok(Listing::default())))
    }

    /// Sends a request without documents through all executors.
    fn dry_run<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Status, AttemptError>>;

    /// Asks gRPC's health service about a service, the empty name for the gateway as a whole.
    fn health<'a>(
        &'a self,
        service: &'a str,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Health, AttemptError>> {
        let _ = (service, headers, deadline);
        let what = "only gRPC has a health service; ask whether the gateway is ready instead";
        Box::pin(ready(Err(AttemptError::new(Event::NoSuchQuestion, what))))
    }
}
