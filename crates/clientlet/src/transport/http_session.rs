//! HTTP/1.1 exchanges over pooled connections; what came back is not looked into.

use std::error::Error as _;
use std::fmt;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::header::{CONTENT_LENGTH, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode, Uri};
use http_body_util::BodyExt;
use hyper::body::{Body as _, Incoming};
use hyper_util::client::legacy::connect::capture_connection;
use hyper_util::client::legacy::{Client, Error as PoolError};
use hyper_util::rt::{TokioExecutor, TokioTimer};
use tokio::time::{Instant, timeout_at};

use super::body::{Outgoing, Probe};
use crate::config::Config;
use crate::connect::{Connector, Opened, Spoken, Writes};
use crate::error::{AttemptError, Event, Source};

/// uvicorn closes idle connections after 5 s; a request must not meet that.
const IDLE: Duration = Duration::from_secs(4);

/// The most idle connections that are kept; calls beyond it close theirs after use.
const MOST_IDLE: usize = 256;

/// A head beyond this many bytes is refused; hyper bounds the number of headers to 100.
const HEAD_LIMIT: usize = 256 << 10;

/// A deadline that is noticed so much late was not watched: the caller did something else meanwhile,
/// and the rest of an answer may have been waiting for it to be read.
const AWAY: Duration = Duration::from_millis(500);

/// What such an answer is given to come through.
const GRACE: Duration = Duration::from_secs(5);

/// A status, headers and a body within the limit.
#[derive(Debug)]
pub(crate) struct RawHttpAnswer {
    pub(crate) status: StatusCode,
    pub(crate) headers: HeaderMap,
    pub(crate) body: Bytes,
}

impl RawHttpAnswer {
    pub(crate) fn is_json(&self) -> bool {
        let kind = self.headers.get(CONTENT_TYPE).map(HeaderValue::as_bytes).unwrap_or_default();
        kind.starts_with(b"application/json")
    }
}

/// A pool of connections and what every request over them carries.
pub(crate) struct HttpSession {
    client: Client<Connector, Outgoing>,
    writes: Writes,
    opened: Opened,
    answer_limit: usize,
}

impl HttpSession {
    pub(crate) fn new(config: &Config) -> HttpSession {
        HttpSession::over(Connector::new(config.connect_timeout), config)
    }

    /// A session over connections of this connector.
    pub(crate) fn over(connector: Connector, config: &Config) -> HttpSession {
        let (writes, opened) = (connector.writes().clone(), connector.opened().clone());
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .pool_max_idle_per_host(MOST_IDLE)
            .http1_max_buf_size(HEAD_LIMIT)
            // A resend that nobody counts would break the promise of at most once.
            .retry_canceled_requests(false)
            .build(connector);
        HttpSession { client, writes, opened, answer_limit: config.answer_limit }
    }

    /// How many connections were made.
    pub(crate) fn connections_opened(&self) -> u64 {
        self.opened.count()
    }

    /// Sends a request once and reads all of its answer, whatever its status. With `distrust` its
    /// connection is not used again after a 5xx: a v2 gateway closes it behind its plain 500 without
    /// saying so, and the next request on it would be lost.
    pub(crate) async fn exchange(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
        deadline: Option<Instant>,
        distrust: bool,
    ) -> Result<RawHttpAnswer, AttemptError> {
        let (mut request, probe) = self.request(method, uri, headers, body);
        // It takes its time, so only where it is needed.
        let connection = distrust.then(|| capture_connection(&mut request));

        let began = Instant::now();
        let exchange = async {
            let response =
                self.client.request(request).await.map_err(|error| classify(error, &probe))?;
            let (head, body) = response.into_parts();
            if head.status.is_server_error()
                && let Some(connection) = &connection
                && let Some(connected) = connection.connection_metadata().as_ref()
            {
                connected.poison();
            }
            let body = self.read(&head.headers, body).await?;
            Ok(RawHttpAnswer { status: head.status, headers: head.headers, body })
        };
        let Some(mut deadline) = deadline else { return exchange.await };
        let mut exchange = pin!(exchange);
        loop {
            match timeout_at(deadline, &mut exchange).await {
                Ok(result) => return result,
                Err(_) if deadline.elapsed() > AWAY => deadline = Instant::now() + GRACE,
                Err(_) => break,
            }
        }
        Err(late(began, &probe, "no complete answer"))
    }

    /// GETs with a body, and gives the answer once its head has come with 200: its body is to be read
    /// as it comes, and its connection closed where that ends early. The answer with another status is
    /// read whole.
    pub(crate) async fn open(
        &self,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
        deadline: Option<Instant>,
    ) -> Result<Result<Response<Incoming>, RawHttpAnswer>, AttemptError> {
        let (mut request, probe) = self.request(Method::GET, uri, headers, body);
        let connection = capture_connection(&mut request);
        let began = Instant::now();
        let opening = async {
            let response =
                self.client.request(request).await.map_err(|error| classify(error, &probe))?;
            if response.status() == StatusCode::OK {
                return Ok(Ok(response));
            }
            if let Some(connected) = connection.connection_metadata().as_ref() {
                connected.poison();
            }
            let (head, body) = response.into_parts();
            let body = self.read(&head.headers, body).await?;
            Ok(Err(RawHttpAnswer { status: head.status, headers: head.headers, body }))
        };
        match deadline {
            None => opening.await,
            Some(deadline) => timeout_at(deadline, opening)
                .await
                .unwrap_or_else(|_| Err(late(began, &probe, "no answer"))),
        }
    }

    /// The largest answer that is accepted, in bytes.
    pub(crate) fn answer_limit(&self) -> usize {
        self.answer_limit
    }

    fn request(
        &self,
        method: Method,
        uri: Uri,
        headers: HeaderMap,
        body: Bytes,
    ) -> (Request<Outgoing>, Arc<Probe>) {
        let has_body = !body.is_empty();
        let probe = Probe::new(has_body, self.writes.clone());
        let mut request = Request::new(Outgoing::new(body, probe.clone()));
        *request.method_mut() = method;
        *request.uri_mut() = uri;
        *request.headers_mut() = headers;
        if has_body {
            let json = HeaderValue::from_static("application/json");
            request.headers_mut().insert(CONTENT_TYPE, json);
        }
        (request, probe)
    }

    async fn read(&self, headers: &HeaderMap, mut body: Incoming) -> Result<Bytes, AttemptError> {
        let limit = self.answer_limit;
        let too_large = || {
            let what = format!("the answer is larger than the limit of {limit} bytes");
            AttemptError::new(Event::TooLarge, what)
        };
        let expected = body.size_hint().lower();
        if expected > limit as u64 {
            return Err(too_large());
        }
        let mut whole = Bytes::new();
        let mut parts = BytesMut::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|error| cut_off(headers, error))?;
            let Ok(data) = frame.into_data() else { continue };
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

fn late(began: Instant, probe: &Probe, missed: &str) -> AttemptError {
    let (event, what) = match probe.give_up() {
        true => (Event::TimedOutUnsent, "no connection"),
        false => (Event::TimedOut, missed),
    };
    let took = began.elapsed().as_secs_f64();
    AttemptError::new(event, format!("{what} within {took:.1} s"))
}

fn cut_off(headers: &HeaderMap, error: hyper::Error) -> AttemptError {
    let length = headers.get(CONTENT_LENGTH).and_then(|length| length.to_str().ok());
    let of = length.map(|length| format!(" of {length} bytes")).unwrap_or_default();
    let what = format!("the connection was lost in the middle of the answer{of}");
    AttemptError::new(Event::ConnectionLost, what).with_source(error)
}

/// What the pool's error means.
fn classify(error: PoolError, probe: &Probe) -> AttemptError {
    if error.is_connect() {
        return connect_failed(error);
    }
    let hyper = error.source().and_then(|source| source.downcast_ref::<hyper::Error>());
    let is_http2 = error.connect_info().and_then(Spoken::of).is_some_and(|it| it.is_http2());
    let attempt = match hyper {
        _ if is_http2 => AttemptError::new(Event::NotHttp, not_http(true)),
        // hyper has no predicate for it.
        Some(hyper) if hyper.is_parse() && hyper.to_string().contains("too large") => {
            AttemptError::new(
                Event::TooLarge,
                format!("the answer's head is larger than {HEAD_LIMIT} bytes"),
            )
        }
        Some(hyper) if hyper.is_parse() => AttemptError::new(Event::NotHttp, not_http(false)),
        _ if !probe.is_written(error.connect_info()) => {
            let spoken = error.connect_info().and_then(Spoken::of);
            let event = match spoken.is_some_and(|spoken| spoken.is_known()) {
                true => Event::ClosedUnsent,
                false => Event::ClosedFresh,
            };
            AttemptError::new(event, "the connection was closed before the request was sent")
        }
        _ => AttemptError::new(
            Event::ConnectionLost,
            "the connection was lost before the answer came",
        ),
    };
    attempt.with_source(error)
}

/// What is said of a port where no HTTP/1.1 is spoken.
pub(crate) fn not_http(is_http2: bool) -> &'static str {
    match is_http2 {
        true => "HTTP/2 is spoken there, not HTTP/1.1; is it the gateway's port for gRPC?",
        false => "the answer is not HTTP/1.1; is this another protocol's port?",
    }
}

pub(crate) fn connect_failed(error: impl Into<Source>) -> AttemptError {
    let error = error.into();
    let mut source: Option<&(dyn std::error::Error + 'static)> = Some(&*error);
    let mut io = None;
    while let Some(error) = source {
        io = error.downcast_ref::<std::io::Error>().or(io);
        source = error.source();
    }
    let (event, message) = match io.map(|io| (io.kind(), io)) {
        Some((std::io::ErrorKind::TimedOut, _)) => {
            (Event::ConnectTimedOut, "no connection within the connect time-out".to_owned())
        }
        Some((std::io::ErrorKind::ConnectionRefused, _)) => {
            (Event::ConnectFailed, "connection refused; nothing listens there".to_owned())
        }
        Some((_, io)) => (Event::ConnectFailed, format!("no connection: {io}")),
        None => (Event::ConnectFailed, "no connection".to_owned()),
    };
    AttemptError::new(event, message).with_source(error)
}

impl fmt::Debug for HttpSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpSession").finish_non_exhaustive()
    }
}
