//! Jina's HTTP protocol: a POST a request.

use std::collections::BTreeMap;
use std::time::SystemTime;

use bytes::Bytes;
use http::{HeaderMap, Method, Uri};
use serde::Deserialize;
use serde::de::IgnoredAny;
use tokio::time::Instant;

use super::retry_after::retry_after;
use super::{BoxFuture, HttpSession, RawHttpAnswer, Streams, Terms, Time, Transport};
use crate::config::Config;
use crate::discovery::Gateway;
use crate::endpoint::Endpoint;
use crate::envelope::{read_answer, read_failure, read_status};
use crate::error::{AttemptError, Error, ErrorKind, Event};
use crate::foreign::{shorten, told};
use crate::message::{Connections, DocArray, Encoding, GatewayStatus, RawAnswer, Request, Status};

/// A v2 gateway splits what comes over HTTP into requests of 100 and answers with the first of
/// them: whatever is behind the 100th document is lost.
pub(crate) const MOST_V2_DOCUMENTS: usize = 100;

#[derive(Debug)]
pub(crate) struct HttpTransport {
    pub(super) session: HttpSession,
    endpoint: Endpoint,
    docarray: Option<DocArray>,
}

impl HttpTransport {
    pub(crate) fn new(config: &Config) -> HttpTransport {
        HttpTransport::over(HttpSession::new(config), config)
    }

    pub(crate) fn over(session: HttpSession, config: &Config) -> HttpTransport {
        HttpTransport { session, endpoint: config.endpoint.clone(), docarray: config.docarray }
    }

    /// GETs `path` and gives its answer if its status is a success.
    pub(super) async fn get(
        &self,
        path: &str,
        headers: &HeaderMap,
        deadline: Option<Instant>,
    ) -> Result<RawHttpAnswer, AttemptError> {
        let uri = self
            .endpoint
            .at(path)
            .map_err(|error| AttemptError::new(Event::EncodeFailed, error.to_string()))?;
        let doing = format!("GET {path}");
        let answer = self
            .session
            .exchange(Method::GET, uri, headers, Bytes::new(), Time::until(deadline), true)
            .await
            .map_err(|error| error.before_sending(&doing))?;
        if answer.status.is_success() {
            return Ok(answer);
        }
        // Of a question nothing can have run, so a plain 500 is no executor's: read it as v1's.
        Err(failure(DocArray::V1, &answer).before_sending(&doing))
    }
}

impl Transport for HttpTransport {
    fn attempt<'a>(
        &'a self,
        request: &'a Request,
        body: Bytes,
        terms: Terms<'a>,
    ) -> BoxFuture<'a, Result<RawAnswer, AttemptError>> {
        Box::pin(async move {
            let route = &request.route;
            let headers = &request.headers;
            let distrust = route.docarray == DocArray::V2;
            let answer = self
                .session
                .exchange(Method::POST, route.uri.clone(), headers, body, terms.time(), distrust)
                .await?;
            read(route.docarray, &answer).map_err(|mut error| {
                // A v1 gateway's port for HTTP has one path for all endpoints.
                if route.docarray == DocArray::V1 && error.event == Event::NotFound404 {
                    error.message += MAYBE_WEBSOCKET;
                }
                error
            })
        })
    }

    fn describe<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Gateway, AttemptError>> {
        Box::pin(async move {
            let docarray = match self.docarray {
                Some(docarray) => docarray,
                None => docarray_of(&self.status(headers, deadline).await.map_err(hidden)?)?,
            };
            let paths = match docarray {
                DocArray::V1 => None,
                DocArray::V2 => match self.get("/openapi.json", headers, deadline).await {
                    Ok(answer) => Some(read_paths(&answer.body)?),
                    // Some hide it; whether an endpoint is there then shows when it is posted to.
                    Err(error) if error.event == Event::NotFound404 => None,
                    Err(error) => return Err(error),
                },
            };
            Ok(Gateway { docarray, paths, is_by_name: docarray == DocArray::V1 })
        })
    }

    fn status<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<GatewayStatus, AttemptError>> {
        Box::pin(async move {
            let answer = self.get("/status", headers, deadline).await?;
            serde_json::from_slice(&answer.body).map_err(|error| {
                let what =
                    format!("GET /status: this is no Jina gateway's status: {}", told(&error));
                AttemptError::new(Event::Unreadable, what).before_sending("asking for v1 or v2")
            })
        })
    }

    fn dry_run<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Status, AttemptError>> {
        Box::pin(async move {
            let answer = self.get("/dry_run", headers, deadline).await?;
            read_status(&answer.body).map_err(|what| {
                AttemptError::new(Event::Unreadable, format!("GET /dry_run: {what}"))
            })
        })
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn encoding(&self) -> Encoding {
        Encoding::Json
    }

    fn most_documents(&self, docarray: DocArray) -> Option<usize> {
        match docarray {
            DocArray::V1 => None,
            DocArray::V2 => Some(MOST_V2_DOCUMENTS),
        }
    }

    /// A connection carries one request at a time.
    fn most_in_flight(&self) -> Option<usize> {
        Some(self.session.most_connections())
    }

    fn uri(&self, path: &str) -> Result<Uri, Error> {
        self.endpoint.at(path)
    }

    fn protocol(&self) -> &'static str {
        "http"
    }

    fn address(&self) -> String {
        self.endpoint.to_string()
    }

    /// Any connection takes any request, so none takes the place of another.
    fn connections(&self) -> Connections {
        Connections { opened: self.session.connections_opened(), ..Connections::default() }
    }
}

/// What an answer to a posted request holds; everything but a result is an error.
pub(crate) fn read(docarray: DocArray, answer: &RawHttpAnswer) -> Result<RawAnswer, AttemptError> {
    if !answer.status.is_success() {
        return Err(failure(docarray, answer));
    }
    let status = answer.status.as_u16();
    let raw = read_answer(docarray, &answer.body).map_err(|what| {
        let what = format!("the answer cannot be read: {what}");
        AttemptError::new(Event::Unreadable, what).with_status(status)
    })?;
    outcome(raw).map_err(|error| error.with_status(status))
}

/// An answer that tells of an executor's exception is an error, though it came as a success.
pub(crate) fn outcome(raw: RawAnswer) -> Result<RawAnswer, AttemptError> {
    if raw.status.is_success() {
        return Ok(raw);
    }
    let raised = shorten(&raw.status.description);
    let what = match &raw.status.exception {
        Some(exception) if !exception.executor.is_empty() => {
            format!("{} raised {raised}", shorten(&exception.executor))
        }
        _ => format!("an executor raised {raised}"),
    };
    let mut error = AttemptError::new(Event::ExecutorFailed, what);
    error.exception = raw.status.exception.clone();
    error.answer = Some(raw);
    Err(error)
}

pub(super) fn failure(docarray: DocArray, answer: &RawHttpAnswer) -> AttemptError {
    let status = answer.status.as_u16();
    let mut error = read_failure(docarray, status, answer.is_json(), &answer.body);
    error.retry_after = retry_after(&answer.headers, SystemTime::now());
    error
}

/// A gateway's port for WebSocket answers all questions and takes no documents by HTTP.
pub(crate) const MAYBE_WEBSOCKET: &str = "; is it the gateway's port for WebSocket?";

/// A gateway without a status is asked for nothing more, and the way out is named.
pub(super) fn hidden(mut error: AttemptError) -> AttemptError {
    if error.kind == ErrorKind::NotFound {
        error.message = "the gateway does not show its status, so whether it speaks documents v1 \
                         or v2 must be set by hand"
            .to_owned();
    }
    error
}

pub(super) fn docarray_of(status: &GatewayStatus) -> Result<DocArray, AttemptError> {
    status.docarray().ok_or_else(|| {
        let what = "the gateway's status does not name its docarray release, so whether it speaks \
                    documents v1 or v2 must be set by hand";
        AttemptError::new(Event::Unreadable, what).before_sending("GET /status")
    })
}

#[derive(Deserialize)]
struct OpenApiJson {
    paths: BTreeMap<String, BTreeMap<String, IgnoredAny>>,
}

/// The paths that documents can be posted to.
pub(crate) fn read_paths(openapi: &[u8]) -> Result<Vec<String>, AttemptError> {
    read_paths_with("post", openapi)
}

/// A gateway's own paths that are asked with GET, as streams of documents are.
const QUESTIONS: [&str; 3] = ["/", "/status", "/dry_run"];

/// The paths that give streams of documents.
pub(super) fn read_streams(openapi: &[u8]) -> Result<Vec<String>, AttemptError> {
    let mut paths = read_paths_with("get", openapi)?;
    paths.retain(|path| !QUESTIONS.contains(&path.as_str()));
    Ok(paths)
}

fn read_paths_with(method: &str, openapi: &[u8]) -> Result<Vec<String>, AttemptError> {
    let openapi: OpenApiJson = serde_json::from_slice(openapi).map_err(|error| {
        AttemptError::new(Event::Unreadable, format!("it cannot be read: {}", told(&error)))
            .before_sending("GET /openapi.json")
    })?;
    let paths = openapi.paths.into_iter().filter(|(_, methods)| methods.contains_key(method));
    Ok(paths.map(|(path, _)| path).collect())
}
