//! gRPC: unary requests, streams of requests, and a gateway's other services.

mod exchange;
mod stream;
mod task;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use serde::Serialize;

pub use self::exchange::GrpcExchange;
pub use self::stream::{GrpcResponses, GrpcSender, GrpcStream};
use self::task::Streams;
use super::DataRequest;
use super::duplex::Link;
use crate::address::Protocol;
use crate::client::Client;
use crate::config::Config;
use crate::connect::Connector;
use crate::error::{AttemptError, Context, Error, Event};
use crate::message::{Endpoints, GatewayStatus, Health, StatusMessage};
use crate::options::ClientletOptions;
use crate::response::Response;
use crate::retry::{Failure, Turn};
use crate::stream_document::StreamDocument;
use crate::telemetry::Subject;
use crate::transport::grpc::GrpcTransport;
use crate::transport::{Ask, Transport};

/// Sends requests to a gateway over gRPC, unary or many on a stream, over one connection.
///
/// Requests are protobuf, begun with [`DataRequest::proto`]. [`Client`] does more of the work: it
/// makes requests from documents, and knows which requests of a stream are unanswered and resends
/// them.
///
/// ```
/// use clientlet::clientlets::{ClientletOptions, DataRequest, GrpcClientlet};
/// use clientlet::{DocArray, Document, GrpcCode};
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), clientlet::Error> {
/// # let gateway = clientlet_gateway::Gateway::builder().grpc(true).start().await.unwrap();
/// # let url = gateway.grpc_url();
/// // let url = "grpc://localhost:8082";
/// let mut clientlet = GrpcClientlet::new(&url, &ClientletOptions::new())?;
/// clientlet.start().await?;
/// assert!(clientlet.send_dry_run().await?.is_success());
///
/// // A unary request,
/// let request = DataRequest::proto(DocArray::V1, "/upper").document(&Document::text("hello"))?;
/// let response = clientlet.message(&request).header("x-tenant", "a").send().await?;
/// assert_eq!(response.documents::<Document>()?[0].text.as_deref(), Some("HELLO"));
///
/// // or many on a stream.
/// let mut stream = clientlet.open_stream().await?;
/// for text in ["hello", "world"] {
///     let request = DataRequest::proto(DocArray::V1, "/upper").document(&Document::text(text))?;
///     stream.send_message(&request).await?;
/// }
/// stream.send_eoi().await?;
/// let mut responses = stream.recv_message();
/// let mut texts = Vec::new();
/// while let Some(response) = responses.next().await {
///     for document in response?.documents::<Document>()? {
///         texts.extend(document.text);
///     }
/// }
/// assert_eq!(responses.status_code(), Some(GrpcCode::Ok), "everything was answered");
/// texts.sort();
/// assert_eq!(texts, ["HELLO", "WORLD"]);
/// clientlet.close().await;
/// # Ok(())
/// # }
/// ```
///
/// Failures are retried as the options say, by default not at all, over a new connection if the old
/// one is lost.
#[derive(Debug)]
pub struct GrpcClientlet {
    config: Arc<Config>,
    session: Option<Session>,
}

/// The state between start and close.
#[derive(Debug)]
struct Session {
    transport: Arc<GrpcTransport>,
    /// The client for everything that a client does in the same way.
    client: Client,
    /// Whether the last stream that ended was refused for want of credentials.
    was_refused: Arc<AtomicBool>,
}

impl GrpcClientlet {
    /// Makes a clientlet for `url`, such as `grpc://localhost:8082`. The clientlet is not open yet.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the first wrong setting.
    pub fn new(url: &str, options: &ClientletOptions) -> Result<GrpcClientlet, Error> {
        Ok(GrpcClientlet { config: options.check_as(url, Protocol::Grpc)?, session: None })
    }

    /// Sends a unary request and waits for its answer.
    ///
    /// # Errors
    /// The reason why there is no answer. An executor's exception is an error of kind
    /// [`Executor`](crate::ErrorKind::Executor) that contains the answer.
    pub async fn send_message(&self, request: &DataRequest) -> Result<Response, Error> {
        self.message(request).send().await
    }

    /// Begins a request with metadata or a time-out of its own.
    pub fn message<'a>(&'a self, request: &'a DataRequest) -> GrpcExchange<'a> {
        GrpcExchange::new(self, request)
    }

    /// Opens a stream of requests and answers. Several streams may be open at a time.
    ///
    /// # Errors
    /// The reason why there is no connection.
    pub async fn open_stream(&self) -> Result<GrpcStream, Error> {
        let Session { transport, was_refused, .. } = self.session()?;
        let (transport, was_refused) = (transport.clone(), was_refused.clone());
        let headers = self.config.headers.clone();
        let streams = Streams { transport, headers, was_refused };
        let link = Link::new(&self.config, streams);
        link.start().await?;
        Ok(GrpcStream::new(Arc::new(link)))
    }

    /// Begins a call for a stream of documents, like [`Client::stream_document`].
    ///
    /// # Errors
    /// If the clientlet is not open.
    pub fn stream_document<D>(
        &self,
        endpoint: impl Into<String>,
        document: &D,
    ) -> Result<StreamDocument, Error>
    where
        D: Serialize + ?Sized,
    {
        Ok(self.session()?.client.stream_document(endpoint, document))
    }

    /// Sends a request without documents through all executors and returns the resulting status,
    /// which may report a failure. It is not retried.
    ///
    /// # Errors
    /// The reason why there is no answer.
    pub async fn send_dry_run(&self) -> Result<StatusMessage, Error> {
        let session = self.session()?;
        let asked = self.once("send_dry_run", async |turn: Turn| {
            let Turn { deadline, trace, .. } = &turn;
            let headers = trace.headers().unwrap_or(&self.config.headers);
            let ask = Ask { headers, deadline: *deadline, trace };
            session.transport.questions().dry_run(ask).await
        });
        asked.await
    }

    /// Asks for the gateway's status.
    ///
    /// # Errors
    /// If the gateway could not be asked, or its answer is not a status.
    pub async fn status(&self) -> Result<GatewayStatus, Error> {
        self.session()?.client.status().await
    }

    /// Asks for the endpoints that can be posted to. See [`Endpoints`] for the limits of v1
    /// gateways.
    ///
    /// # Errors
    /// If the gateway could not be asked.
    pub async fn endpoints(&self) -> Result<Endpoints, Error> {
        self.session()?.client.endpoints().await
    }

    /// Asks the health service about the gateway, `""`, or about one of its services, like
    /// [`Client::health`].
    ///
    /// # Errors
    /// If the gateway could not be asked.
    pub async fn health(&self, service: &str) -> Result<Health, Error> {
        self.session()?.client.health(service).await
    }

    fn session(&self) -> Result<&Session, Error> {
        let failed = || Failure::unattempted(not_open()).into_error(self.context(None));
        self.session.as_ref().ok_or_else(failed)
    }

    /// Makes a single attempt, without retries.
    async fn once<T, F>(
        &self,
        name: &'static str,
        attempt: impl FnMut(Turn) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let config = &self.config;
        let Config { attempt_timeout, headers, secrets, .. } = &**config;
        let what = Subject::named(name);
        config.run(&config.once(), *attempt_timeout, &what, headers, secrets, attempt).await
    }

    fn context(&self, request_id: Option<String>) -> Context {
        self.config.address.context(request_id, None)
    }

    fn hang_up(&mut self) {
        if let Some(session) = self.session.take() {
            session.transport.close();
        }
    }
}

fn not_open() -> AttemptError {
    AttemptError::new(Event::SessionClosed, "the clientlet is not open; start it first")
}

impl GrpcClientlet {
    /// Returns the address without user information and query.
    pub fn url(&self) -> String {
        self.config.address.to_string()
    }

    /// Connects, once. Whether the other side speaks gRPC shows only when something is sent.
    ///
    /// # Errors
    /// The reason why there is no connection.
    pub async fn start(&mut self) -> Result<(), Error> {
        if self.session.is_some() {
            return Ok(());
        }
        let transport = Arc::new(GrpcTransport::new(Connector::new(&self.config), &self.config));
        let connecting = async |turn: Turn| transport.connect(turn.deadline, &turn.trace).await;
        self.once("start", connecting).await?;
        let client = Client::over(Config::clone(&self.config), transport.clone());
        self.session = Some(Session { transport, client, was_refused: Arc::default() });
        Ok(())
    }

    /// Closes the connection immediately, with everything on it. Streams end with code 1,
    /// CANCELLED.
    pub async fn close(&mut self) {
        self.hang_up();
    }

    /// Whether the session is open.
    pub fn is_open(&self) -> bool {
        self.session.is_some()
    }
}

impl Drop for GrpcClientlet {
    fn drop(&mut self) {
        self.hang_up();
    }
}
