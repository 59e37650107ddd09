//! The face of Python's `jina.clients.base.helper`: one session, messages by hand.

use std::future::{Future, IntoFuture, pending};
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method, StatusCode};
use serde::Serialize;
use tokio::time::Instant;

use crate::config::{Config, Secret};
use crate::document::Encoder;
use crate::endpoint::Protocol;
use crate::envelope::{JsonTemplate, read_status};
use crate::error::{AttemptError, Context, Error, ErrorKind, Event};
use crate::message::{DocArray, RequestId, StatusMessage};
use crate::options::ClientletOptions;
use crate::pipeline::later;
use crate::post::with_headers;
use crate::response::Response;
use crate::retry::{self, Ledger};
use crate::transport::{HttpSession, RawHttpAnswer, http::MOST_V2_DOCUMENTS, http::read};

/// What all clientlets have in common: a session that is started, used and closed.
pub trait Clientlet {
    /// The address, without user information and query.
    fn url(&self) -> String;

    /// Opens the session. Python's `async with` does the same.
    ///
    /// # Errors
    /// Why the session cannot be opened. An HTTP session connects only when something is sent.
    fn start(&mut self) -> impl Future<Output = Result<(), Error>> + Send;

    /// Closes the session and its connections; dropping the clientlet does so, too.
    fn close(&mut self) -> impl Future<Output = ()> + Send;

    /// Whether the session is open.
    fn is_open(&self) -> bool;
}

/// Python's `HTTPClientlet`: sends one message at a time to one URL and hands over what came back,
/// a bad status included.
///
/// Requests are posted to the URL as it stands: `http://host:port/post` for a v1 gateway,
/// `http://host:port/ENDPOINT` for v2, `http://host:port/dry_run` for a dry run. Only sending is
/// tried again; an answer is an answer, whatever its status. [`Client`](crate::Client) does more
/// of the work.
///
/// ```no_run
/// # async fn example() -> Result<(), clientlet::Error> {
/// use clientlet::{Clientlet, ClientletOptions, DataRequest, DocArray, Document, HttpClientlet};
///
/// let options = ClientletOptions::new().max_attempts(3);
/// let mut clientlet = HttpClientlet::new("http://localhost:8080/post", &options)?;
/// clientlet.start().await?;
/// let request = DataRequest::new(DocArray::V1, "/upper").document(&Document::text("hello"))?;
/// let answer = clientlet.send_message(&request).await?;
/// println!("{} {:?}", answer.status(), answer.response(DocArray::V1)?);
/// clientlet.close().await;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HttpClientlet {
    config: Arc<Config>,
    headers: Arc<HeaderMap>,
    session: Option<Arc<HttpSession>>,
}

impl HttpClientlet {
    /// A clientlet for `url`, path and query included; not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the first setting that is wrong.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<HttpClientlet, Error> {
        let config = options.check(url)?;
        if config.endpoint.protocol() != Protocol::Http {
            return Err(Error::config(format!("{} is no address of HTTP", config.endpoint)));
        }
        let headers = Arc::new(config.headers.clone());
        Ok(HttpClientlet { config: Arc::new(config), headers, session: None })
    }

    /// Posts a request; sending is tried again as the options say. One of more than 100 documents
    /// for a v2 gateway is refused: the gateway would lose the rest.
    pub fn send_message<'a>(&'a self, request: &'a DataRequest) -> Exchange<'a> {
        Exchange { body: Some(request), ..self.exchange(self.config.attempt_timeout) }
    }

    /// Gets the URL, which should be that of the gateway's dry run. It is not tried again.
    pub fn send_dry_run(&self) -> Exchange<'_> {
        self.exchange(None)
    }

    /// Never ends: over HTTP the answer comes from [`send_message`](HttpClientlet::send_message).
    pub async fn recv_message(&mut self) -> DataRequest {
        pending().await
    }

    /// Never ends: over HTTP the answer comes from [`send_dry_run`](HttpClientlet::send_dry_run).
    pub async fn recv_dry_run(&mut self) -> StatusMessage {
        pending().await
    }

    fn exchange(&self, timeout: Option<Duration>) -> Exchange<'_> {
        Exchange { clientlet: self, body: None, headers: Vec::new(), timeout }
    }
}

impl Clientlet for HttpClientlet {
    fn url(&self) -> String {
        self.config.endpoint.to_string()
    }

    async fn start(&mut self) -> Result<(), Error> {
        if self.session.is_none() {
            self.session = Some(Arc::new(HttpSession::new(&self.config)));
        }
        Ok(())
    }

    async fn close(&mut self) {
        self.session = None;
    }

    fn is_open(&self) -> bool {
        self.session.is_some()
    }
}

/// A message about to be sent: await it, after adding what belongs to this message alone.
#[must_use = "nothing is sent before it is awaited"]
#[derive(Debug)]
pub struct Exchange<'a> {
    clientlet: &'a HttpClientlet,
    body: Option<&'a DataRequest>,
    headers: Vec<(String, Secret)>,
    timeout: Option<Duration>,
}

impl<'a> Exchange<'a> {
    /// A header for this message; it takes the place of the session's header of the same name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Exchange<'a> {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// How long an attempt may take; for a message as the options say, for a dry run for ever by
    /// default.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Exchange<'a> {
        self.timeout = timeout.into();
        self
    }

    async fn run(self) -> Result<HttpAnswer, Error> {
        let config = &self.clientlet.config;
        let context = Context {
            protocol: Some("http"),
            gateway: Some(config.endpoint.to_string()),
            request_id: self.body.map(|request| request.request_id.clone()),
            documents: None,
        };
        if self
            .body
            .is_some_and(|body| body.docarray == DocArray::V2 && body.count > MOST_V2_DOCUMENTS)
        {
            let what = format!(
                "over HTTP a v2 gateway loses all documents of a request behind the {MOST_V2_DOCUMENTS}th"
            );
            return Err(Error::new(ErrorKind::Encode, what).with_context(context));
        }
        let headers = with_headers(&self.clientlet.headers, &self.headers)?;
        let uri = config.endpoint.as_given()?;
        let (method, body, policy) = match self.body {
            Some(request) => (Method::POST, request.to_json(), config.retry.clone()),
            None => (Method::GET, Bytes::new(), config.retry.clone().max_attempts(1)),
        };
        let started = Instant::now();
        let mut ledger = Ledger::default();
        let mut random = fastrand::Rng::new();
        let result = retry::run(&policy, started, None, &mut random, &mut ledger, async |_| {
            let Some(session) = &self.clientlet.session else {
                let what = "the clientlet is not open; start it first";
                return Err(AttemptError::new(Event::SessionClosed, what));
            };
            let headers = HeaderMap::clone(&headers);
            let deadline = later(Instant::now(), self.timeout);
            let (method, uri) = (method.clone(), uri.clone());
            session.exchange(method, uri, headers, body.clone(), deadline, true).await
        });
        match result.await {
            Ok(answer) => Ok(HttpAnswer(answer)),
            Err(last) => {
                let elapsed = started.elapsed();
                Err(Error::of_request(last, ledger.attempts, ledger.may_have_run, context, elapsed))
            }
        }
    }
}

impl<'a> IntoFuture for Exchange<'a> {
    type Output = Result<HttpAnswer, Error>;
    type IntoFuture = Pin<Box<dyn Future<Output = Self::Output> + Send + 'a>>;

    fn into_future(self) -> Self::IntoFuture {
        Box::pin(self.run())
    }
}

/// An HTTP answer as it came, whatever its status.
#[derive(Debug)]
pub struct HttpAnswer(RawHttpAnswer);

/// From an answer that came by other means, or that a test made up.
impl From<http::Response<Bytes>> for HttpAnswer {
    fn from(response: http::Response<Bytes>) -> HttpAnswer {
        let (head, body) = response.into_parts();
        HttpAnswer(RawHttpAnswer { status: head.status, headers: head.headers, body })
    }
}

impl HttpAnswer {
    /// The status.
    pub fn status(&self) -> StatusCode {
        self.0.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.0.headers
    }

    /// The body.
    pub fn body(&self) -> &Bytes {
        &self.0.body
    }

    /// The answer to a data request, read; a failure of any sort is an error here.
    ///
    /// # Errors
    /// What the status or the answer's own status says went wrong, or that it cannot be read.
    pub fn response(&self, docarray: DocArray) -> Result<Response, Error> {
        match read(docarray, &self.0) {
            Ok(answer) => Ok(Response::alone(answer)),
            Err(error) => {
                Err(Error::of_request(error, Vec::new(), false, Context::default(), Duration::ZERO))
            }
        }
    }

    /// The answer to a dry run, read. It may say that something is wrong.
    ///
    /// # Errors
    /// When the HTTP status is no success or the body is no status.
    pub fn status_message(&self) -> Result<StatusMessage, Error> {
        if !self.0.status.is_success() {
            let what = format!("the dry run was answered with {}", self.0.status);
            return Err(Error::new(ErrorKind::Gateway, what));
        }
        read_status(&self.0.body)
            .map_err(|what| Error::decode(format!("the dry run's answer cannot be read: {what}")))
    }
}

/// A request made by hand.
#[derive(Clone, Debug)]
pub struct DataRequest {
    docarray: DocArray,
    endpoint: String,
    request_id: String,
    target_executor: Option<String>,
    parameters: Option<Vec<u8>>,
    /// Documents as JSON, commas in between.
    documents: Vec<u8>,
    count: usize,
}

impl DataRequest {
    /// A request without documents for an executor's endpoint, with an id of its own.
    pub fn new(docarray: DocArray, endpoint: impl Into<String>) -> DataRequest {
        DataRequest {
            docarray,
            endpoint: endpoint.into(),
            request_id: RequestId { nonce: fastrand::u64(..), sequence: 0 }.to_string(),
            target_executor: None,
            parameters: None,
            documents: Vec::new(),
            count: 0,
        }
    }

    /// The id that goes with the request. A v1 gateway makes its own over HTTP.
    #[must_use]
    pub fn with_request_id(mut self, id: impl Into<String>) -> DataRequest {
        self.request_id = id.into();
        self
    }

    /// Which executors are to work, as for [`Post`](crate::Post::target_executor).
    #[must_use]
    pub fn target_executor(mut self, pattern: impl Into<String>) -> DataRequest {
        self.target_executor = Some(pattern.into());
        self
    }

    /// Parameters for the executors: a map.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`] when it is no map, or holds what JSON cannot.
    pub fn parameters<P: Serialize>(mut self, parameters: &P) -> Result<DataRequest, Error> {
        let mut json = Vec::new();
        Encoder::new(self.docarray).map(parameters, &mut json).map_err(|error| {
            Error::new(ErrorKind::Encode, format!("the parameters cannot be sent: {error}"))
        })?;
        self.parameters = Some(json);
        Ok(self)
    }

    /// Adds a document, encoded now.
    ///
    /// # Errors
    /// [`ErrorKind::Encode`], naming the field that cannot be sent.
    pub fn document<D: Serialize + ?Sized>(mut self, document: &D) -> Result<DataRequest, Error> {
        if !self.documents.is_empty() {
            self.documents.push(b',');
        }
        let encoder = Encoder::new(self.docarray);
        encoder.document(document, &mut self.documents).map_err(|error| {
            Error::new(ErrorKind::Encode, format!("the document cannot be sent: {error}"))
        })?;
        self.count += 1;
        Ok(self)
    }

    /// Adds documents, encoded now.
    ///
    /// # Errors
    /// As for [`document`](DataRequest::document).
    pub fn documents<D: Serialize>(
        self,
        documents: impl IntoIterator<Item = D>,
    ) -> Result<DataRequest, Error> {
        documents.into_iter().try_fold(self, |request, document| request.document(&document))
    }

    /// The id.
    pub fn request_id(&self) -> &str {
        &self.request_id
    }

    /// The request as a gateway of its generation takes it over HTTP.
    pub fn to_json(&self) -> Bytes {
        let template = JsonTemplate::new(
            self.docarray,
            &self.endpoint,
            self.target_executor.as_deref(),
            self.parameters.as_deref(),
        );
        let mut body = Vec::with_capacity(self.documents.len() + 256);
        template.begin(&mut body);
        body.extend_from_slice(&self.documents);
        template.finish(&self.request_id, &mut body);
        body.into()
    }
}
