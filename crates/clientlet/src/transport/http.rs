//! Jina's HTTP protocol: one POST for each request.

use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use http::Method;

use super::openapi::OpenApi;
use super::{
    Answer, Ask, Facts, HttpSession, Listing, MOST_V2_DOCUMENTS, Questions, RawHttpAnswer, Streams,
    Terms, Time, Transport,
};
use crate::address::decode_percent;
use crate::config::Config;
use crate::connect::Connector;
use crate::envelope::inner::{self, cannot_pass_on};
use crate::envelope::read_status;
use crate::error::{AttemptError, Event, Hint};
use crate::foreign::{shorten, told};
use crate::message::{Connections, DocArray, Encoding, GatewayStatus, RawAnswer, Request, Status};
use crate::telemetry::Medium;

/// The maximum size of a gateway's description that is kept.
const LONGEST_PAGE: usize = 1 << 20;

#[derive(Debug)]
pub(crate) struct HttpTransport {
    pub(super) session: HttpSession,
    facts: Facts,
    /// The gateway's /openapi.json, unless it is too long. It describes the documents, and is read
    /// only after failures.
    page: Mutex<Bytes>,
}

impl HttpTransport {
    pub(crate) fn new(connector: Connector, config: &Config) -> HttpTransport {
        let session = HttpSession::new(connector, config);
        let facts = Facts {
            has_paths: true,
            most_v2_documents: Some(MOST_V2_DOCUMENTS),
            // A connection carries one request at a time.
            most_in_flight: Some(config.max_connections),
            ..Facts::new(&config.address, Medium::Http, Encoding::Json)
        };
        HttpTransport { session, facts, page: Mutex::default() }
    }

    /// GETs `path`, and returns the answer if its status is a success.
    pub(super) async fn get(
        &self,
        path: &str,
        Ask { headers, deadline, trace }: Ask<'_>,
    ) -> Result<RawHttpAnswer, AttemptError> {
        let uri = self
            .facts
            .address
            .at(path)
            .map_err(|error| AttemptError::new(Event::EncodeFailed, error.to_string()))?;
        // The whole path, because the path of the client's URL may be the one that is wrong.
        let doing = format!("GET {}", uri.path());
        trace.gets(&uri);
        let answer = self
            .session
            .exchange(
                Method::GET,
                uri,
                headers,
                Bytes::new(),
                Time::until(deadline).or_idle(self.session.idle_timeout),
                true,
            )
            .await
            .map_err(|error| error.before_sending(&doing))?;
        trace.http_status(answer.status);
        if answer.status.is_success() {
            return Ok(answer);
        }
        // No executor runs for a question, so a plain 500 is not an executor's: it is read as v1's.
        Err(answer.failure(DocArray::V1, true).before_sending(&doing))
    }

    /// If the gateway cannot pass on some documents of the request, blames its failure on these
    /// documents.
    fn blamed(&self, mut error: AttemptError, request: &Request, body: &Bytes) -> AttemptError {
        let page = self.page.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let path = decode_percent(request.route.uri.path().as_bytes());
        let below = self.facts.address.path_below(&path);
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
    ) -> Answer<'a, RawAnswer> {
        Box::pin(async move {
            let route = &request.route;
            let headers = &route.headers;
            // A bare Deployment answers like a v2 gateway, whichever documents it takes.
            let distrust = !route.is_by_name;
            let uri = route.uri.clone();
            let sent = body.clone();
            let (time, trace) = (terms.time(), &terms.trace);
            let exchange = self.session.exchange_on(Method::POST, uri, headers, sent, time, trace);
            let (answer, lease) = exchange.await?;
            terms.trace.http_status(answer.status);
            let result = answer
                .read(route.docarray, route.is_by_name)
                .and_then(|raw| own(raw, request))
                .map_err(|mut error| {
                    // A v1 gateway's HTTP port has one path for all endpoints, so this may be the
                    // port of another protocol.
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

    fn facts(&self) -> &Facts {
        &self.facts
    }

    fn questions(&self) -> &dyn Questions {
        self
    }

    fn streams(&self) -> Option<&dyn Streams> {
        Some(self)
    }

    fn connections(&self) -> Connections {
        self.session.connections()
    }
}

impl Questions for HttpTransport {
    fn status<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, GatewayStatus> {
        Box::pin(async move {
            let answer = self.get("/status", ask).await.map_err(lacking)?;
            serde_json::from_slice(&answer.body).map_err(|error| {
                let what = format!(
                    "GET /status: this is not the status of a Jina gateway: {}; {}",
                    told(&error),
                    answer.shown()
                );
                AttemptError::new(Event::Unreadable, what)
                    .before_sending("asking for v1 or v2")
                    .with_hint(answer.hint().unwrap_or(Hint::NoStatus))
            })
        })
    }

    fn paths<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, Listing> {
        Box::pin(async move {
            let page = self.get("/openapi.json", ask).await.map(|answer| answer.body);
            let kept = page.as_ref().ok().filter(|page| page.len() <= LONGEST_PAGE);
            *self.page.lock().unwrap_or_else(PoisonError::into_inner) =
                kept.cloned().unwrap_or_default();
            let page = page?;
            let openapi = OpenApi::read(&page)?;
            let docarray = openapi.docarray();
            if docarray == Some(DocArray::V1) && openapi.is_by_name() {
                return Ok(Listing { docarray, is_by_name: true, ..Listing::default() });
            }
            let (endpoints, streams) = (Some(openapi.paths()), Some(openapi.streams()));
            Ok(Listing { docarray, is_by_name: false, endpoints, streams })
        })
    }

    fn dry_run<'a>(&'a self, ask: Ask<'a>) -> Answer<'a, Status> {
        Box::pin(async move {
            let answer = self.get("/dry_run", ask).await.map_err(lacking)?;
            read_status(&answer.body).map_err(|what| {
                let what = format!("GET /dry_run: {what}; {}", answer.shown());
                let error = AttemptError::new(Event::Unreadable, what);
                answer.hint().into_iter().fold(error, AttemptError::with_hint)
            })
        })
    }
}

/// Checks that the answer belongs to this request. A v2 gateway repeats the request's id. Over HTTP
/// a v1 gateway makes ids of its own, and a bare Deployment sends none.
fn own(raw: RawAnswer, request: &Request) -> Result<RawAnswer, AttemptError> {
    let is_own = raw.request_id.is_empty() || raw.request_id == request.id_text;
    if request.route.docarray == DocArray::V1 || is_own {
        return Ok(raw);
    }
    let what = format!(
        "the answer belongs to another request, {}: the connection is out of step and is not used again",
        shorten(&raw.request_id)
    );
    Err(AttemptError::new(Event::AnotherAnswered, what))
}

/// Explains a 404 to a question that only gateways answer.
fn lacking(mut error: AttemptError) -> AttemptError {
    if error.event == Event::NotFound404 {
        error.message += "; a gateway has this path, a bare Deployment served over HTTP does not";
    }
    error
}
