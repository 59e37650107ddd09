//! Jina's HTTP protocol: a POST a request.

use std::sync::{Mutex, PoisonError};
use std::time::SystemTime;

use bytes::Bytes;
use http::header::LOCATION;
use http::{HeaderMap, Method, Uri};
use tokio::time::Instant;

use super::openapi::OpenApi;
use super::retry_after::retry_after;
use super::{BoxFuture, HttpSession, Kept, RawHttpAnswer, Streams, Terms, Time, Transport};
use crate::address::{Address, decode_percent, redact};
use crate::config::Config;
use crate::discovery::Gateway;
use crate::envelope::{inner, read_answer, read_failure, read_status};
use crate::error::{AttemptError, Detail, Error, ErrorKind, Event, Hint};
use crate::foreign::{shorten, told};
use crate::message::{Connections, DocArray, Encoding, GatewayStatus, RawAnswer, Request, Status};

/// A v2 gateway splits what comes over HTTP into requests of 100 and answers with the first of
/// them: whatever is behind the 100th document is lost.
pub(crate) const MOST_V2_DOCUMENTS: usize = 100;

/// The maximum size of a gateway's description that is kept.
const LONGEST_PAGE: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct HttpTransport {
    pub(super) session: HttpSession,
    address: Address,
    docarray: Option<DocArray>,
    /// The gateway's /openapi.json, unless it is too long. It tells what documents look like, and
    /// is read only after failures.
    page: Mutex<Bytes>,
}

impl HttpTransport {
    pub(crate) fn new(config: &Config) -> HttpTransport {
        HttpTransport::over(HttpSession::new(config), config)
    }

    pub(crate) fn over(session: HttpSession, config: &Config) -> HttpTransport {
        HttpTransport {
            session,
            address: config.address.clone(),
            docarray: config.docarray,
            page: Mutex::default(),
        }
    }

    /// GETs `path` and gives its answer if its status is a success.
    pub(super) async fn get(
        &self,
        path: &str,
        headers: &HeaderMap,
        deadline: Option<Instant>,
    ) -> Result<RawHttpAnswer, AttemptError> {
        let uri = self
            .address
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
        Err(failure(DocArray::V1, true, &answer).before_sending(&doing))
    }

    /// Blames the failure of a request on those of its documents that the gateway cannot pass on.
    fn blamed(&self, mut error: AttemptError, request: &Request, body: &Bytes) -> AttemptError {
        let page = self.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let path = decode_percent(request.route.uri.path().as_bytes());
        let below = self.address.path_below(&path);
        let fields = OpenApi::read(&page).ok().and_then(|openapi| openapi.fields(below));
        let culprits = inner::culprits(body, fields.as_ref());
        let Some(first) = culprits.first() else { return error };
        let number = request.documents.start + first.index as u64;
        let detail = std::mem::take(&mut error.detail);
        let message = cannot_pass_on(number, &first.what);
        error = AttemptError::new(Event::CannotPassOn, message).with_detail(detail);
        // Without a description this is a guess, so an executor may have run.
        error.may_have_run = fields.is_none();
        error.culprits = culprits;
        error
    }
}

/// The message about a document that a gateway cannot pass on.
pub(crate) fn cannot_pass_on(document: u64, what: &str) -> String {
    format!(
        "the gateway answered 500: it takes document {document} over HTTP, but cannot pass it on to \
         its executors in protobuf: {what}"
    )
}

/// Whether a failure may come from a document that the gateway cannot pass on: the answer gives no
/// reason, or says that the executor could not read the request.
fn may_be_inner(error: &AttemptError) -> bool {
    error.event == Event::PlainError500
        || (error.event == Event::ExecutorFailed
            && error.message.contains("DecodeError")
            && error.message.contains("jina.DataRequestProto"))
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
            // A bare Deployment answers like a v2 gateway, whichever documents it takes.
            let distrust = !route.is_by_name;
            let uri = route.uri.clone();
            let sent = body.clone();
            let exchange = self.session.exchange_on(Method::POST, uri, headers, sent, terms.time());
            let (answer, lease) = exchange.await?;
            let result = read(route.docarray, route.is_by_name, &answer)
                .and_then(|raw| own(raw, request))
                .map_err(|mut error| {
                    // A v1 gateway's HTTP port has one path for all endpoints, so this may be
                    // another port.
                    if route.is_by_name && error.event == Event::NotFound404 {
                        error = error.asking_whether(Hint::PortForWebsocket);
                    }
                    if route.docarray == DocArray::V2 && may_be_inner(&error) {
                        error = self.blamed(error, request, &body);
                    }
                    error
                });
            let is_mixed_up =
                matches!(&result, Err(error) if error.event == Event::AnotherAnswered);
            let is_closing = distrust && answer.status.is_server_error();
            if !(is_mixed_up || is_closing) {
                lease.give_back();
            }
            result
        })
    }

    fn describe<'a>(
        &'a self,
        headers: &'a HeaderMap,
        kept: &'a Kept,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Gateway, AttemptError>> {
        Box::pin(async move {
            let told = match kept.get() {
                Some(told) => Ok(told),
                None => settled(self.docarray, self.status(headers, deadline).await),
            };
            let told = match told {
                Err(error) if error.retryable || error.event == Event::SettingDenied => {
                    return Err(error);
                }
                told => told,
            };
            // A v1 gateway that shows its status has one path for all endpoints, so its list is not
            // needed.
            if let Ok(Told { docarray: DocArray::V1, is_by_status: true }) = told {
                return Ok(Gateway::by_name(DocArray::V1));
            }
            let page = match self.get("/openapi.json", headers, deadline).await {
                Ok(answer) => answer.body,
                // Some gateways hide the list. Whether an endpoint exists then shows when it is
                // posted to.
                Err(error) if !error.retryable => Bytes::new(),
                Err(error) => {
                    if let Ok(told) = told {
                        kept.keep(told);
                    }
                    return Err(error);
                }
            };
            kept.forget();
            let openapi = OpenApi::read(&page).ok();
            let kept = if page.len() <= LONGEST_PAGE { page.clone() } else { Bytes::new() };
            *self.page.lock().unwrap_or_else(PoisonError::into_inner) = kept;
            let shown = openapi.as_ref().and_then(OpenApi::docarray);
            let docarray = match (told, shown) {
                (Ok(Told { docarray, is_by_status: false }), Some(shown)) if docarray != shown => {
                    let by = format!("its /openapi.json shows documents {shown}");
                    return Err(denied(docarray, &by));
                }
                (Ok(Told { docarray, .. }), _) => docarray,
                (Err(_), Some(shown)) => shown,
                (Err(error), None) => return Err(error),
            };
            Ok(match openapi {
                Some(openapi) if shown == Some(DocArray::V1) && openapi.is_by_name() => {
                    Gateway::by_name(docarray)
                }
                Some(openapi) if shown.is_some() || docarray == DocArray::V2 => Gateway {
                    docarray,
                    endpoints: Some(openapi.paths()),
                    streams: Some(openapi.streams()),
                    is_by_name: false,
                },
                None if docarray == DocArray::V2 => {
                    Gateway { docarray, endpoints: None, streams: None, is_by_name: false }
                }
                _ => Gateway::by_name(docarray),
            })
        })
    }

    fn status<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<GatewayStatus, AttemptError>> {
        Box::pin(async move {
            let answer = self.get("/status", headers, deadline).await.map_err(lacking)?;
            serde_json::from_slice(&answer.body).map_err(|error| {
                let what = format!(
                    "GET /status: this is no Jina gateway's status: {}; {}",
                    told(&error),
                    answer.shown()
                );
                AttemptError::new(Event::Unreadable, what)
                    .before_sending("asking for v1 or v2")
                    .with_hint(Hint::NoStatus)
            })
        })
    }

    fn dry_run<'a>(
        &'a self,
        headers: &'a HeaderMap,
        deadline: Option<Instant>,
    ) -> BoxFuture<'a, Result<Status, AttemptError>> {
        Box::pin(async move {
            let answer = self.get("/dry_run", headers, deadline).await.map_err(lacking)?;
            read_status(&answer.body).map_err(|what| {
                let what = format!("GET /dry_run: {what}; {}", answer.shown());
                AttemptError::new(Event::Unreadable, what)
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
        self.address.at(path)
    }

    fn protocol(&self) -> &'static str {
        "http"
    }

    fn address(&self) -> String {
        self.address.to_string()
    }

    /// Any connection takes any request, so none takes the place of another.
    fn connections(&self) -> Connections {
        Connections { opened: self.session.connections_opened(), ..Connections::default() }
    }
}

/// What an answer to a posted request holds; everything but a result is an error.
pub(crate) fn read(
    docarray: DocArray,
    is_by_name: bool,
    answer: &RawHttpAnswer,
) -> Result<RawAnswer, AttemptError> {
    if !answer.status.is_success() {
        return Err(failure(docarray, is_by_name, answer));
    }
    let detail = || Detail::of_http(answer.status, &answer.headers);
    let raw = read_answer(docarray, &answer.body).map_err(|what| {
        let what = format!("the answer cannot be read: {what}; {}", answer.shown());
        AttemptError::new(Event::Unreadable, what).with_detail(detail())
    })?;
    outcome(raw).map_err(|error| error.with_detail(detail()))
}

/// Checks that the answer belongs to this request. A v2 gateway repeats the request's id; over HTTP
/// v1 makes ids of its own, and a bare Deployment sends none.
fn own(raw: RawAnswer, request: &Request) -> Result<RawAnswer, AttemptError> {
    let is_own = raw.request_id.is_empty() || raw.request_id == request.id_text;
    if request.route.docarray == DocArray::V1 || is_own {
        return Ok(raw);
    }
    let what = format!(
        "the answer is that of another request, {}: the connection is out of step, and is not used again",
        shorten(&raw.request_id)
    );
    Err(AttemptError::new(Event::AnotherAnswered, what))
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

pub(super) fn failure(
    docarray: DocArray,
    is_by_name: bool,
    answer: &RawHttpAnswer,
) -> AttemptError {
    let status = answer.status.as_u16();
    let error = read_failure(docarray, is_by_name, status, answer.is_json(), &answer.body);
    let mut error = error.with_detail(Detail::of_http(answer.status, &answer.headers));
    error.retry_after = retry_after(&answer.headers, SystemTime::now());
    if let (Event::Redirect, Some(to)) = (error.event, redirect(&answer.headers)) {
        error.message = format!("the gateway answered {status}{to}");
    }
    error
}

/// Describes where a redirect points to, without anything secret.
pub(super) fn redirect(headers: &HeaderMap) -> Option<String> {
    let to = String::from_utf8_lossy(headers.get(LOCATION)?.as_bytes());
    let to = shorten(&redact(&to));
    Some(format!(" and points to {to}; redirects are not followed, so that address must be given"))
}

/// Explains a 404 to a question that only gateways answer.
fn lacking(mut error: AttemptError) -> AttemptError {
    if error.event == Event::NotFound404 {
        error.message += "; a gateway has it, a bare Deployment served over HTTP has not";
    }
    error
}

/// The decision about a gateway's documents.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Told {
    pub(super) docarray: DocArray,
    /// Whether the gateway's status says so, rather than only the client's setting.
    pub(super) is_by_status: bool,
}

/// Decides which documents a gateway speaks: by its status, or by the client's setting if the
/// status does not say.
///
/// # Errors
/// When the status contradicts the setting, or when there is neither.
pub(super) fn settled(
    set: Option<DocArray>,
    status: Result<GatewayStatus, AttemptError>,
) -> Result<Told, AttemptError> {
    let by_setting = |docarray| Ok(Told { docarray, is_by_status: false });
    let status = match (status, set) {
        (Ok(status), _) => status,
        // Without a connection for the question there is none for documents either.
        (Err(error), Some(_)) if error.kind == ErrorKind::Connect => return Err(error),
        (Err(_), Some(set)) => return by_setting(set),
        (Err(error), None) => return Err(hidden(error)),
    };
    match (status.docarray(), set) {
        (Some(docarray), Some(set)) if docarray != set => {
            let release = shorten(status.docarray_release().unwrap_or_default());
            Err(denied(set, &format!("its status names docarray {release}, which is {docarray}")))
        }
        (Some(docarray), _) => Ok(Told { docarray, is_by_status: true }),
        (None, Some(set)) => by_setting(set),
        (None, None) => {
            let what = "the gateway's status does not name its docarray release, so whether it \
                        speaks documents v1 or v2 must be set by hand";
            let error = AttemptError::new(Event::Unreadable, what).with_hint(Hint::NoStatus);
            Err(error.before_sending("GET /status"))
        }
    }
}

fn denied(set: DocArray, by: &str) -> AttemptError {
    let what = format!("the client is set to documents {set}, but the gateway is not: {by}");
    AttemptError::new(Event::SettingDenied, what)
}

/// Tells how to proceed with a gateway that does not say which documents it speaks.
fn hidden(mut error: AttemptError) -> AttemptError {
    if error.kind == ErrorKind::NotFound {
        error.message = "the gateway does not show its status, so whether it speaks documents v1 \
                         or v2 must be set by hand"
            .to_owned();
        error.detail.hint = Some(Hint::NoStatus);
    }
    error
}
