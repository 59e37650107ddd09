//! HTTP/1.1 exchanges over pooled connections. The content of answers is not read here.

use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicU32, Ordering};
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_TYPE, HOST};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use hyper::body::{Body as _, Incoming};
use tokio::time::{Instant, timeout};

use super::body::{Outgoing, Probe};
use super::content::Content;
use super::idle::Idle;
use super::pool::{HEAD_LIMIT, Lease, MOST_HEADERS, Pool};
use super::redirect::{Redirects, Unfollowed};
use super::time::{HOOK_MISSED, Over};
use super::{RawHttpAnswer, Tally, Time};
use crate::config::{Config, Credentials, Draft};
use crate::connect::Connector;
#[cfg(feature = "proxy")]
use crate::connect::proxied::Forwarder;
use crate::error::{AttemptError, Detail, Event, Hint};
use crate::foreign::shorten;
use crate::message::Connections;
use crate::runtime::PerRuntime;
use crate::stop::stopped;
use crate::telemetry::AttemptTrace;

/// The pools of connections, and the parts that all requests over them share.
pub(crate) struct HttpSession {
    connector: Connector,
    tally: Arc<Tally>,
    pools: PerRuntime<Arc<Pool>>,
    most_connections: usize,
    /// The gateway's host, for requests that set no `Host`.
    host: Option<HeaderValue>,
    /// The proxy that passes requests on, if there is one.
    #[cfg(feature = "proxy")]
    forwarder: Option<Forwarder>,
    /// Whether the server has ever answered in HTTP/1.1.
    is_proven: AtomicBool,
    /// The maximum size of an answer, in bytes.
    pub(super) answer_limit: usize,
    /// The client's idle time-out, for questions and streams of documents.
    pub(super) idle_timeout: Option<Duration>,
    credentials: Arc<Credentials>,
}

/// The parts of a request to send.
#[derive(Clone, Copy)]
struct Sent<'a> {
    method: &'a Method,
    uri: &'a Uri,
    headers: &'a HeaderMap,
    body: &'a Bytes,
    /// Whether this is a question, which no executor runs.
    is_question: bool,
    /// The trace whose context is added to the headers.
    trace: &'a AttemptTrace,
}

/// The step that a request is waiting for.
#[derive(Debug, Default)]
struct Stage(AtomicU8);

const TURN: u8 = 0;
const CONNECTION: u8 = 1;
const ANSWER: u8 = 2;
const HOOK: u8 = 3;

impl Stage {
    fn set(&self, stage: u8) {
        self.0.store(stage, Ordering::Relaxed);
    }

    fn is(&self, stage: u8) -> bool {
        self.0.load(Ordering::Relaxed) == stage
    }
}

impl HttpSession {
    /// Makes a session over connections of this connector.
    pub(crate) fn new(connector: Connector, config: &Config) -> HttpSession {
        HttpSession {
            connector,
            tally: Tally::new(config),
            pools: PerRuntime::default(),
            most_connections: config.max_connections,
            host: config.address.host(),
            #[cfg(feature = "proxy")]
            forwarder: config.proxy.as_ref().and_then(Forwarder::of),
            is_proven: AtomicBool::new(false),
            answer_limit: config.answer_limit,
            idle_timeout: config.idle_timeout,
            credentials: config.credentials.clone(),
        }
    }

    /// Returns the counts of the connections.
    pub(crate) fn connections(&self) -> Connections {
        self.tally.connections()
    }

    /// Sends a request once and reads the whole answer, whatever its status. With `distrust` the
    /// connection is not used again after a 5xx: a v2 gateway closes it after its plain 500 without
    /// saying so, and the next request on it would be lost.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        uri: Uri,
        headers: &HeaderMap,
        body: Bytes,
        time: Time<'_>,
        distrust: bool,
    ) -> Result<RawHttpAnswer, AttemptError> {
        let untraced = AttemptTrace::default();
        let exchange = self.exchange_on(method, uri, headers, body, time, &untraced);
        let (answer, lease) = exchange.await?;
        if !(distrust && answer.status.is_server_error()) {
            lease.give_back();
        }
        Ok(answer)
    }

    /// Like `exchange`, but adds the context of `trace` to the headers, and returns the connection with the
    /// answer. The connection is closed unless
    /// its lease is given back.
    pub(crate) async fn exchange_on(
        &self,
        method: Method,
        uri: Uri,
        headers: &HeaderMap,
        body: Bytes,
        time: Time<'_>,
        trace: &AttemptTrace,
    ) -> Result<(RawHttpAnswer, Lease), AttemptError> {
        let is_question = method == Method::GET && body.is_empty();
        let sent = Sent { method: &method, uri: &uri, headers, body: &body, is_question, trace };
        let read = async |response, pieces: &_| self.read_whole(response, pieces).await;
        self.timed(sent, time, "no complete answer", read).await
    }

    /// Sends a GET with a body. Returns the answer as soon as its head has come with status 200,
    /// and its content is read as it comes. Dropping the returned lease closes the connection. An
    /// answer with any other status is read whole.
    pub(super) async fn open(
        &self,
        uri: Uri,
        headers: &HeaderMap,
        body: Bytes,
        deadline: Option<Instant>,
    ) -> Result<Result<(Response<Content>, Lease), RawHttpAnswer>, AttemptError> {
        let (method, is_question) = (Method::GET, false);
        let trace = &AttemptTrace::default();
        let sent = Sent { method: &method, uri: &uri, headers, body: &body, is_question, trace };
        let begin = async |response: Response<_>, pieces: &_| {
            if response.status() != StatusCode::OK {
                return Ok(Err(self.read_whole(response, pieces).await?));
            }
            let (mut head, body) = response.into_parts();
            let content = content(&mut head, body)?;
            Ok(Ok(Response::from_parts(head, content)))
        };
        let time = Time::until(deadline).or_idle(self.idle_timeout);
        let (opened, lease) = self.timed(sent, time, "no answer", begin).await?;
        Ok(opened.map(|response| (response, lease)))
    }

    /// Sends a request, follows redirects, and reads the answer with `read`, as long as `time`
    /// allows. A request that was refused for want of credentials is sent once more with new ones, if
    /// there is a hook for them. `missed` names what did not come.
    async fn timed<T>(
        &self,
        sent: Sent<'_>,
        mut time: Time<'_>,
        missed: &str,
        read: impl AsyncFnOnce(Response<Incoming>, &AtomicU32) -> Result<T, AttemptError>,
    ) -> Result<(T, Lease), AttemptError> {
        let (probe, stage) = (Probe::new(!sent.body.is_empty()), Stage::default());
        // The number of pieces of the answer that have come. More may be waiting to be read.
        let pieces = AtomicU32::new(0);
        let idle = time.idle.clone();
        let exchange = async {
            let (mut redirects, mut target) = (Redirects::default(), None);
            let mut was_refused = false;
            loop {
                let uri = target.as_ref().unwrap_or(sent.uri);
                let own = match self.credentials.may_add() {
                    true => {
                        idle.as_ref().inspect(|idle| idle.pause());
                        stage.set(HOOK);
                        let Sent { method, headers, body, .. } = sent;
                        let draft = Draft { method, uri, headers, body, was_refused };
                        // Boxed, because this future is rare and large.
                        Box::pin(self.credentials.complete(draft)).await?
                    }
                    false => None,
                };
                let sent = Sent { uri, headers: own.as_ref().unwrap_or(sent.headers), ..sent };
                stage.set(TURN);
                let (mut response, lease) = self.send(sent, &probe, &stage, idle.as_ref()).await?;
                self.credentials.learn(uri, sent.headers, response.headers_mut());
                let head = (response.status(), response.headers());
                let is_unauthorized = head.0 == StatusCode::UNAUTHORIZED;
                match redirects.follow(head, uri, sent.headers) {
                    Some(Ok(to)) => target = Some(to),
                    None if is_unauthorized && self.credentials.has_hook() && !was_refused => {
                        was_refused = true;
                    }
                    unfollowed => {
                        if let Some(Err(why)) = unfollowed {
                            response.extensions_mut().insert(why);
                        }
                        return Ok((read(response, &pieces).await?, lease));
                    }
                }
                // The connection can be used again once the answer is read to its end.
                let mut content = Content::plain(response.into_body());
                if self.read(&mut content, &pieces).await.is_ok() {
                    lease.give_back();
                }
                if !probe.renew() {
                    return Err(stopped(false));
                }
            }
        };
        let so_far = || pieces.load(Ordering::Relaxed);
        let is_sent = || !probe.give_up(stage.is(ANSWER));
        let exchanged = time.exchange_in_pieces(pin!(exchange), is_sent, so_far).await;
        exchanged.unwrap_or_else(|over| Err(self.given_up(over, &time, &stage, missed)))
    }

    /// Reads an answer to its end. A refusal counts even if the rest of its body is lost or cannot be
    /// decompressed, because its status has come.
    async fn read_whole(
        &self,
        response: Response<Incoming>,
        pieces: &AtomicU32,
    ) -> Result<RawHttpAnswer, AttemptError> {
        let (mut head, body) = response.into_parts();
        let read = match content(&mut head, body) {
            Ok(mut content) => self.read(&mut content, pieces).await,
            Err(error) => Err(error),
        };
        let body = match read {
            Err(error) if error.event != Event::TooLarge && !head.status.is_success() => {
                Bytes::new()
            }
            body => body.map_err(|error| with_head(error, &head))?,
        };
        let unfollowed = head.extensions.get::<Unfollowed>().copied();
        Ok(RawHttpAnswer { status: head.status, headers: head.headers, body, unfollowed })
    }

    /// Sends a request as soon as a connection is free.
    async fn send(
        &self,
        sent: Sent<'_>,
        probe: &Arc<Probe>,
        stage: &Stage,
        idle: Option<&Idle>,
    ) -> Result<(Response<Incoming>, Lease), AttemptError> {
        idle.inspect(|idle| idle.pause());
        let pool = self.pools.here(|| {
            Pool::new(self.connector.clone(), self.tally.clone(), self.most_connections)
        })?;
        let slot = pool.slot().await;
        stage.set(CONNECTION);
        let mut lease = pool.lease(slot, sent.uri).await?;
        stage.set(ANSWER);
        idle.inspect(|idle| idle.wait_on(lease.heard()));
        let before = lease.written().count();
        match lease.send(self.request(sent, probe, &lease)).await {
            Ok(response) => {
                self.is_proven.store(true, Ordering::Relaxed);
                #[cfg(feature = "proxy")]
                if let Some(forwarder) = &self.forwarder {
                    let (head, body) = response.into_parts();
                    let response = match forwarder.own(&head, sent.uri) {
                        Some(error) => return Err(error),
                        None => Response::from_parts(head, body),
                    };
                    return Ok((response, lease));
                }
                Ok((response, lease))
            }
            Err(error) => {
                if let Some(refusal) = lease.spoken().refusal() {
                    return Err(refusal.with_source(error));
                }
                let is_proven = self.is_proven.load(Ordering::Relaxed);
                let instead = self.connector.instead(sent.uri, lease.spoken(), is_proven).await;
                // The gateway may just have closed a connection that was used before. A question
                // runs nothing, so it may be sent again whether or not it was written.
                let is_unsent = sent.is_question && lease.is_used()
                    || !probe.is_written(lease.written(), before);
                let error = classify(error, instead, is_unsent, lease.is_used());
                #[cfg(feature = "proxy")]
                let error = match &self.forwarder {
                    Some(forwarder) => forwarder.failed(error),
                    None => error,
                };
                Err(error)
            }
        }
    }

    fn request(&self, sent: Sent<'_>, probe: &Arc<Probe>, lease: &Lease) -> Request<Outgoing> {
        let Sent { method, uri, headers, body, trace, .. } = sent;
        let body = Outgoing::new(body.clone(), probe.clone(), lease.written().clone());
        let has_body = !body.is_end_stream();
        let mut request = Request::new(body);
        *request.method_mut() = method.clone();
        let path = uri.path_and_query().cloned();
        *request.uri_mut() = path.map_or(Uri::from_static("/"), Uri::from);
        let map = request.headers_mut();
        *map = headers.clone();
        trace.add_to(map);
        if let Some(host) = &self.host {
            map.entry(HOST).or_insert_with(|| host.clone());
        }
        if has_body {
            map.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        }
        #[cfg(feature = "proxy")]
        if let Some(forwarder) = &self.forwarder {
            forwarder.address(&mut request, uri);
        }
        request
    }

    /// Returns the error of a request that timed out or was stopped.
    fn given_up(&self, over: Over, time: &Time<'_>, stage: &Stage, missed: &str) -> AttemptError {
        if stage.is(HOOK) && !over.is_stopped {
            return time.missed(HOOK_MISSED);
        }
        let mut error = time.error(over, missed);
        if stage.is(TURN) && !over.is_stopped {
            let most = self.most_connections;
            error.message += &format!("; all {most} connections were in use (max_connections)");
        }
        error
    }

    /// Reads the content and counts its pieces. The limit counts bytes without compression.
    async fn read(&self, content: &mut Content, pieces: &AtomicU32) -> Result<Bytes, AttemptError> {
        let limit = self.answer_limit;
        let too_large = || {
            let what = format!("the answer is larger than the limit of {limit} bytes");
            AttemptError::new(Event::TooLarge, what).with_hint(Hint::AnswerTooLarge)
        };
        let expected = content.least();
        if expected > limit as u64 {
            return Err(too_large());
        }
        let mut whole = Bytes::new();
        let mut parts = BytesMut::new();
        while let Some(data) = content.piece().await {
            let data = data.map_err(|why| content.error(why))?;
            pieces.fetch_add(1, Ordering::Relaxed);
            if whole.len() + parts.len() + data.len() > limit {
                return Err(too_large());
            }
            // Most answers come in one piece, which is then used as it is.
            if whole.is_empty() && parts.is_empty() {
                whole = data;
                continue;
            }
            if parts.is_empty() {
                // No more than the limit, by the check above.
                parts.reserve(usize::try_from(expected).unwrap_or(limit).max(whole.len() * 2));
                parts.extend_from_slice(&std::mem::take(&mut whole));
            }
            parts.extend_from_slice(&data);
        }
        Ok(if parts.is_empty() { whole } else { parts.freeze() })
    }
}

/// Describes an answer: its content type and its beginning.
pub(super) fn shown(headers: &HeaderMap, body: &[u8]) -> String {
    let kind = headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes);
    let kind = kind.map(|kind| shorten(&String::from_utf8_lossy(kind)));
    let kind = kind.as_deref().unwrap_or("without a content-type");
    format!("the body is {kind} and {}", begins(body))
}

/// Describes how a body begins: `begins with ..`, or `is empty`.
pub(super) fn begins(body: &[u8]) -> String {
    let begins = shorten(&String::from_utf8_lossy(&body[..body.len().min(GLANCE)]));
    let begins: String = begins.chars().take(BEGINNING).collect();
    match begins.as_str() {
        "" => "is empty".to_owned(),
        begins => format!("begins with `{begins}`"),
    }
}

/// Reads the beginning of unexpected content, as far as it comes soon.
pub(super) async fn glance(mut content: Content) -> Vec<u8> {
    let mut read = Vec::new();
    let reading = async {
        while read.len() < GLANCE
            && let Some(Ok(data)) = content.piece().await
        {
            read.extend_from_slice(&data[..data.len().min(GLANCE)]);
        }
    };
    // Shows the bytes that have come by then.
    let _ = timeout(GLANCE_TIME, reading).await;
    read
}

/// The number of characters of an unreadable answer that are shown.
const BEGINNING: usize = 120;

/// The number of bytes that certainly contain them: a character takes at most four bytes in UTF-8.
const GLANCE: usize = 4 * BEGINNING;

/// The longest wait for the beginning of such an answer.
const GLANCE_TIME: Duration = Duration::from_secs(1);

/// The content of an answer with this head.
fn content(head: &mut http::response::Parts, body: Incoming) -> Result<Content, AttemptError> {
    Content::of(&mut head.headers, body).map_err(|error| with_head(error, head))
}

/// Adds what the head tells to an error that says that the answer cannot be read.
fn with_head(error: AttemptError, head: &http::response::Parts) -> AttemptError {
    match error.event {
        Event::Unreadable => error.with_detail(Detail::of_http(head.status, &head.headers)),
        _ => error,
    }
}

/// Classifies an error of a connection for the request on it.
fn classify(
    error: hyper::Error,
    instead: Option<Hint>,
    is_unsent: bool,
    is_used: bool,
) -> AttemptError {
    let is_head = is_too_large_a_head(&error);
    let seems = instead.or((error.is_parse() && !is_head).then_some(Hint::PortForAnother));
    if let Some(seems) = seems {
        return not_http(seems).with_source(error);
    }
    let (event, what) = if is_head {
        (Event::TooLarge, too_large_a_head())
    } else if is_unsent {
        let event = if is_used { Event::ClosedUnsent } else { Event::ClosedFresh };
        (event, "the connection was closed before the request was sent".to_owned())
    } else {
        (Event::ConnectionLost, "the connection was lost before the answer came".to_owned())
    };
    AttemptError::new(event, what).with_source(error)
}

/// Whether the head of an answer exceeds a limit. hyper's own predicate works only for servers.
pub(super) fn is_too_large_a_head(error: &hyper::Error) -> bool {
    error.is_parse() && error.to_string().contains("too large")
}

/// Returns the message about an answer whose head exceeds one of two limits. hyper does not say
/// which.
pub(super) fn too_large_a_head() -> String {
    format!(
        "the answer has more than {MOST_HEADERS} headers, or its head is longer than {HEAD_LIMIT} bytes"
    )
}

/// Returns the error at a port for another protocol.
pub(super) fn not_http(seems: Hint) -> AttemptError {
    AttemptError::new(Event::NotHttp, seems.found()).with_hint(seems)
}

impl fmt::Debug for HttpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSession").finish_non_exhaustive()
    }
}
