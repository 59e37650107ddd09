//! A unary request.

use std::time::Duration;

use http::HeaderMap;

use super::{GrpcClientlet, not_open};
use crate::clientlets::DataRequest;
use crate::config::one_by_one;
use crate::error::Error;
use crate::message::Encoding;
use crate::response::Response;
use crate::retry::Turn;
use crate::secret::Secret;
use crate::telemetry::{Operation, Subject};
use crate::transport::grpc::SINGLE;

/// A request that is about to be sent, with settings for this request only.
#[must_use = "nothing is sent before `send`"]
#[derive(Debug)]
pub struct GrpcExchange<'a> {
    clientlet: &'a GrpcClientlet,
    request: &'a DataRequest,
    headers: Vec<(String, Secret)>,
    timeout: Option<Duration>,
}

impl<'a> GrpcExchange<'a> {
    pub(super) fn new(clientlet: &'a GrpcClientlet, request: &'a DataRequest) -> GrpcExchange<'a> {
        let timeout = clientlet.config.attempt_timeout;
        GrpcExchange { clientlet, request, headers: Vec::new(), timeout }
    }

    /// Sets metadata for this request. It replaces the session's metadata of the same name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> GrpcExchange<'a> {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Sets metadata for this request, as if each entry was given to
    /// [`header`](GrpcExchange::header).
    pub fn headers(mut self, headers: HeaderMap) -> GrpcExchange<'a> {
        self.headers.extend(one_by_one(headers));
        self
    }

    /// Sets the time limit of an attempt, including connecting. The default is the options'
    /// time-out. The gateway is told the limit.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> GrpcExchange<'a> {
        self.timeout = timeout.into();
        self
    }

    /// Sends the request and waits for its answer.
    ///
    /// # Errors
    /// The reason why there is no answer. An executor's exception is an error that contains the
    /// answer.
    pub async fn send(self) -> Result<Response, Error> {
        let GrpcExchange { clientlet, request, headers, timeout } = self;
        let id = request.request_id();
        let refused = |error: Error| error.with_context(clientlet.context(Some(id.to_owned())));
        request.require(Encoding::Proto).map_err(refused)?;
        let headers = clientlet.config.headers_with(&headers)?;
        let secrets = clientlet.config.secrets.of_call(headers.clone());
        let body = request.to_bytes();
        let attempt = async |turn: Turn| {
            let session = clientlet.session.as_ref().ok_or_else(not_open)?;
            let (docarray, body) = (request.docarray(), body.clone());
            let Turn { deadline, trace, .. } = &turn;
            session.transport.send_one(id, docarray, &headers, body, *deadline, trace.clone()).await
        };
        let config = &clientlet.config;
        let (operation, documents) = (Operation::Rpc(SINGLE), request.count() as u64);
        let what = Subject { name: "send_message", operation, request_id: Some(id), documents };
        let sent = config.run(&config.retry, timeout, &what, &headers, &secrets, attempt).await;
        sent.map(Response::alone)
    }
}
