//! HTTP: each message is posted, and its answer comes back.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Method};

use super::{DataRequest, HttpAnswer};
use crate::address::Protocol;
use crate::config::{Config, one_by_one};
use crate::connect::Connector;
use crate::error::{AttemptError, Error, ErrorKind, Event};
use crate::message::{DocArray, Encoding, StatusMessage};
use crate::options::ClientletOptions;
use crate::retry::Turn;
use crate::secret::Secret;
use crate::telemetry::{Operation, Subject};
use crate::transport::{HttpSession, MOST_V2_DOCUMENTS, Time};

/// Python's `HTTPClientlet`: sends one message at a time to one URL and returns its answer, even
/// with a bad status.
///
/// Requests are posted to exactly this URL: `http://host:port/post` for a v1 gateway,
/// `http://host:port/ENDPOINT` for v2, `http://host:port/dry_run` for a dry run. Sending is retried
/// only until an answer comes, whatever its status. [`Client`](crate::Client) does more of the
/// work.
///
/// ```no_run
/// # async fn example() -> Result<(), clientlet::Error> {
/// use clientlet::clientlets::{ClientletOptions, DataRequest, HttpClientlet};
/// use clientlet::{DocArray, Document};
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
    session: Option<Arc<HttpSession>>,
}

impl HttpClientlet {
    /// Makes a clientlet for `url`, including its path and query. The clientlet is not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the first wrong setting.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<HttpClientlet, Error> {
        Ok(HttpClientlet { config: options.check_as(url, Protocol::Http)?, session: None })
    }

    /// Posts a request. Sending is retried as the options say. A request of more than 100 documents
    /// to a v2 gateway is refused, because the gateway would lose the rest.
    ///
    /// The answer is returned as it came and is not compared with the request. In HTTP/1.1 only the
    /// order on a connection tells which answer belongs to which request, and a faulty proxy may
    /// hand over another request's answer. A v2 gateway repeats the request's id, so there
    /// [`request_id`](crate::Response::request_id) of [`HttpAnswer::response`] should equal
    /// [`DataRequest::request_id`]; [`Client`](crate::Client) checks this by itself. A v1 gateway
    /// makes an id of its own, and a bare v2 `Deployment` sends none.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn send_message(&self, request: &DataRequest) -> Result<HttpAnswer, Error> {
        self.message(request).send().await
    }

    /// Begins a request with headers or a time-out of its own.
    pub fn message<'a>(&'a self, request: &'a DataRequest) -> Exchange<'a> {
        Exchange { body: Some(request), ..self.exchange(self.config.attempt_timeout) }
    }

    /// Sends a GET to the URL, which should be the URL of the gateway's dry run. It is not retried
    /// and has no time limit.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn send_dry_run(&self) -> Result<HttpAnswer, Error> {
        self.dry_run().send().await
    }

    /// Begins a dry run with headers or a time-out of its own.
    pub fn dry_run(&self) -> Exchange<'_> {
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
        Exchange {
            clientlet: self,
            body: None,
            headers: Vec::new(),
            timeout,
            path: None,
            retries_statuses: false,
        }
    }
}

impl HttpClientlet {
    /// Returns the address without user information and query.
    pub fn url(&self) -> String {
        self.config.address.to_string()
    }

    /// Opens the session. A connection is made only when something is sent.
    ///
    /// # Errors
    /// None at present.
    pub async fn start(&mut self) -> Result<(), Error> {
        if self.session.is_none() {
            self.session =
                Some(Arc::new(HttpSession::new(Connector::new(&self.config), &self.config)));
        }
        Ok(())
    }

    /// Closes the session and its connections. Dropping the clientlet does so, too.
    pub async fn close(&mut self) {
        self.session = None;
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        self.session.is_some()
    }
}

/// A message that is about to be sent, with settings for this message only.
#[must_use = "nothing is sent before `send`"]
#[derive(Debug)]
pub struct Exchange<'a> {
    clientlet: &'a HttpClientlet,
    body: Option<&'a DataRequest>,
    headers: Vec<(String, Secret)>,
    timeout: Option<Duration>,
    /// The path and query, if they are not those of the clientlet's URL.
    path: Option<String>,
    retries_statuses: bool,
}

impl<'a> Exchange<'a> {
    /// Sets a header for this message. It replaces the session's header of the same name.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Exchange<'a> {
        self.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Sets headers for this message, as if each was given to [`header`](Exchange::header).
    pub fn headers(mut self, headers: HeaderMap) -> Exchange<'a> {
        self.headers.extend(one_by_one(headers));
        self
    }

    /// Sets the time limit of an attempt. The default for a message is the options' time-out; a dry
    /// run has no limit.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Exchange<'a> {
        self.timeout = timeout.into();
        self
    }

    /// Sends the message to another path of the same gateway: `/search`, with a query if there is one.
    pub fn path(mut self, path: impl Into<String>) -> Exchange<'a> {
        self.path = Some(path.into());
        self
    }

    /// Whether a message is also sent again after an answer whose status says that another attempt may
    /// succeed, such as 503. By default every answer ends the attempts. The answer to the last attempt is
    /// returned whatever its status.
    pub fn retry_statuses(mut self, retry: bool) -> Exchange<'a> {
        self.retries_statuses = retry;
        self
    }

    /// Sends the message.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn send(self) -> Result<HttpAnswer, Error> {
        let config = &self.clientlet.config;
        let id = self.body.and_then(DataRequest::known_id);
        if let Some(request) = self.body {
            let context = || config.address.context(id.map(str::to_owned), None);
            let refused = |error: Error| error.with_context(context());
            request.require(Encoding::Json).map_err(refused)?;
            if request.docarray() == DocArray::V2 && request.count() > MOST_V2_DOCUMENTS {
                let what = format!(
                    "over HTTP a v2 gateway loses all documents of a request after the {MOST_V2_DOCUMENTS}th; \
                     send at most {MOST_V2_DOCUMENTS} in a request"
                );
                return Err(refused(Error::new(ErrorKind::Encode, what)));
            }
        }
        let headers = config.headers_with(&self.headers)?;
        let uri = match &self.path {
            None => config.address.as_given()?,
            Some(path) => config.address.with_path(path)?,
        };
        let docarray = self.body.map_or(DocArray::V2, DataRequest::docarray);
        let (method, body, policy) = match self.body {
            Some(request) => (Method::POST, request.to_bytes(), config.retry.clone()),
            None => (Method::GET, Bytes::new(), config.once()),
        };
        let attempt = async |turn: Turn| {
            let Some(session) = &self.clientlet.session else {
                let what = "the clientlet is not open; start it first";
                return Err(AttemptError::new(Event::SessionClosed, what));
            };
            let time = Time::until(turn.deadline).or_idle(config.idle_timeout);
            let (method, uri) = (method.clone(), uri.clone());
            let headers = turn.trace.headers().unwrap_or(&headers);
            let answer = session.exchange(method, uri, headers, body.clone(), time, true).await;
            let answer = answer.inspect(|answer| turn.trace.http_status(answer.status))?;
            if self.retries_statuses && !turn.is_last && !answer.status.is_success() {
                let failure = answer.failure(docarray, docarray == DocArray::V1);
                if failure.retryable {
                    return Err(failure);
                }
            }
            Ok(answer)
        };
        let secrets = config.secrets.of_call(headers.clone());
        let (name, verb, documents) = match self.body {
            Some(request) => ("send_message", "POST", request.count()),
            None => ("send_dry_run", "GET", 0),
        };
        let operation = Operation::Http(verb, &uri);
        let what = Subject { name, operation, request_id: id, documents: documents as u64 };
        let answer = config.run(&policy, self.timeout, &what, &headers, &secrets, attempt).await?;
        Ok(HttpAnswer(answer, secrets))
    }
}
