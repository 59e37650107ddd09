//! The client: one gateway, any number of calls.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use http::HeaderMap;
use serde::Serialize;
use tokio::time::{Instant, timeout_at};

use crate::builder::ClientBuilder;
use crate::config::Config;
use crate::discovery::{Discoveries, Discovery};
use crate::error::{Context, Error, ErrorKind};
use crate::foreign::shorten;
use crate::input::NoDocuments;
use crate::message::{Connections, Endpoints, GatewayStatus, Health};
use crate::pipeline::Ids;
use crate::post::Post;
use crate::retry::{Turn, later};
use crate::runtime;
use crate::stream_document::StreamDocument;
use crate::telemetry::{Statistics, Subject};
use crate::transport::{Answer, Ask, Questions, Transport};

/// A client of one gateway; a cheap clone, shared between tasks and threads as it is.
///
/// Its calls share connections and what is known of the gateway, and nothing else: no option of one
/// call is seen by another.
///
/// ```no_run
/// # async fn example() -> Result<(), clientlet::Error> {
/// use clientlet::{Client, Document};
///
/// let client = Client::new("http://localhost:8080")?;
/// let answers = client.post("/search").documents([Document::text("hello")]).send().await;
/// for document in answers.documents::<Document>()? {
///     println!("{:?}", document.text);
/// }
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

/// How long to wait before asking a second time whether the gateway is ready.
const FIRST_REST: Duration = Duration::from_millis(100);
const LONGEST_REST: Duration = Duration::from_secs(1);

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) transport: Arc<dyn Transport>,
    pub(crate) discoveries: Discoveries,
    pub(crate) ids: Arc<Ids>,
}

impl Shared {
    /// What is known of the gateway that a call with these headers reaches.
    pub(crate) fn discovery(&self, headers: &HeaderMap) -> Arc<Discovery> {
        self.discoveries.of(&self.config.address, headers)
    }
}

impl Client {
    /// A client of the gateway at `url`, such as `http://localhost:8080`, `ws://localhost:8081` or
    /// `grpc://localhost:8082`; user information in it is sent as basic authentication. Nothing is
    /// connected before the first call.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) when the URL cannot be used.
    pub fn new(url: &str) -> Result<Client, Error> {
        Client::builder(url).build()
    }

    /// The same with settings.
    pub fn builder(url: &str) -> ClientBuilder {
        ClientBuilder::new(url)
    }

    pub(crate) fn over(config: Config, transport: Arc<dyn Transport>) -> Client {
        // The fuzzer's gateways have to know the ids of the requests in advance.
        let nonce = if cfg!(fuzzing) { 0x0123_4567_89ab_cdef } else { fastrand::u64(..) };
        let discoveries = Discoveries::new(&config);
        let shared = Shared { config, transport, discoveries, ids: Arc::new(Ids::new(nonce)) };
        Client { shared: Arc::new(shared) }
    }

    /// Begins a call of an executor's endpoint, such as `/search`.
    pub fn post(&self, endpoint: impl Into<String>) -> Post<NoDocuments> {
        Post::new(self.clone(), endpoint.into())
    }

    /// Begins a call of an executor's endpoint that takes one document and gives many, one after the
    /// other: a generator. Gateways have such calls over HTTP and gRPC, with documents v2.
    pub fn stream_document<D>(&self, endpoint: impl Into<String>, document: &D) -> StreamDocument
    where
        D: Serialize + ?Sized,
    {
        StreamDocument::new(self.clone(), endpoint.into(), document)
    }

    /// Whether the gateway and its executors can work; if not, why.
    ///
    /// This is the gateway's own dry run. Over HTTP a v2 gateway answers that all is well even when
    /// an executor is dead, so `Ok` from one means no more than that the gateway is there.
    ///
    /// # Errors
    /// [`ErrorKind::Gateway`](crate::ErrorKind::Gateway) with the gateway's reason, or why it could
    /// not be asked.
    pub async fn ready(&self) -> Result<(), Error> {
        let status = self.ask("ready", |questions, ask| questions.dry_run(ask)).await?;
        if status.is_success() {
            return Ok(());
        }
        let what = format!("the gateway is not ready: {}", shorten(&status.description));
        Err(Error::new(ErrorKind::Gateway, what)
            .retryable()
            .with_exception(status.exception)
            .with_context(self.context()))
    }

    /// Waits until the gateway is [ready](Client::ready), for no longer than `timeout`: asks again and
    /// again, first after a tenth of a second, later every second.
    ///
    /// # Errors
    /// Why it was not ready when it was asked last; at once when asking again is of no use, because
    /// an address or a setting is wrong.
    pub async fn wait_ready(&self, timeout: Duration) -> Result<(), Error> {
        runtime::require().map_err(|error| error.with_context(self.context()))?;
        let deadline = later(Instant::now(), Some(timeout));
        let mut rest = FIRST_REST;
        let mut reason = None;
        loop {
            let asked = match deadline {
                Some(deadline) => timeout_at(deadline, self.ready()).await,
                None => Ok(self.ready().await),
            };
            match asked {
                Ok(Ok(())) => return Ok(()),
                Ok(Err(error)) if error.kind() == ErrorKind::Config => return Err(error),
                Ok(Err(error)) => reason = Some(error),
                Err(_) => {}
            }
            let next = later(Instant::now(), Some(rest));
            if let (Some(deadline), Some(next)) = (deadline, next)
                && next >= deadline
            {
                return Err(reason.unwrap_or_else(|| {
                    let what = "the gateway did not say in time whether it is ready";
                    Error::new(ErrorKind::Timeout, what).with_context(self.context())
                }));
            }
            tokio::time::sleep(rest).await;
            rest = (rest * 2).min(LONGEST_REST);
        }
    }

    /// What gRPC's health service says of the gateway, `""`, or of one of its services. It speaks for
    /// the gateway alone, which is well while its executors may be dead: see
    /// [`ready`](Client::ready).
    ///
    /// # Errors
    /// [`ErrorKind::Config`] unless the gateway is spoken to over gRPC; why it could not be asked.
    pub async fn health(&self, service: &str) -> Result<Health, Error> {
        let service: Arc<str> = service.into();
        self.ask("health", move |questions, ask| {
            let service = service.clone();
            Box::pin(async move { questions.health(&service, ask).await })
        })
        .await
    }

    /// What the gateway says of itself.
    ///
    /// # Errors
    /// Why it could not be asked, or that its answer is no status.
    pub async fn status(&self) -> Result<GatewayStatus, Error> {
        self.ask("status", |questions, ask| questions.status(ask)).await
    }

    /// What can be posted to, asked anew. See [`Endpoints`] for what a v1 gateway does not say.
    ///
    /// # Errors
    /// Why it could not be asked.
    pub async fn endpoints(&self) -> Result<Endpoints, Error> {
        let shared = &self.shared;
        let (discovery, transport) =
            (shared.discovery(&shared.config.headers), shared.transport.clone());
        self.ask("endpoints", move |_, ask| {
            let (discovery, transport) = (discovery.clone(), transport.clone());
            Box::pin(async move { discovery.endpoints(&*transport, ask).await })
        })
        .await
    }

    /// The gateway's address, without user information.
    pub fn gateway(&self) -> String {
        self.shared.transport.facts().address.to_string()
    }

    /// What has become of the connections of this client and its clones, counted from its beginning.
    pub fn connections(&self) -> Connections {
        self.shared.transport.connections()
    }

    /// The numbers of this client and its clones, counted from its beginning: requests, attempts, their
    /// times and outcomes, connections, bytes. OpenTelemetry takes the same numbers as metrics, with
    /// the feature `otel`.
    ///
    /// ```no_run
    /// # fn example(client: &clientlet::Client) {
    /// let statistics = client.statistics();
    /// println!(
    ///     "{} requests, {:?} each; {} retries",
    ///     statistics.requests.count,
    ///     statistics.requests.mean(),
    ///     statistics.retries,
    /// );
    /// # }
    /// ```
    pub fn statistics(&self) -> Statistics {
        self.shared.config.telemetry.statistics(self.connections())
    }

    pub(crate) fn shared(&self) -> &Shared {
        &self.shared
    }

    /// Asks the gateway for something that is no request, under the client's policy.
    async fn ask<T>(
        &self,
        name: &'static str,
        question: impl for<'a> Fn(&'a dyn Questions, Ask<'a>) -> Answer<'a, T>,
    ) -> Result<T, Error> {
        let Shared { config, transport, .. } = &*self.shared;
        let Config { retry, attempt_timeout, headers, secrets, .. } = config;
        let attempt = async |turn: Turn| {
            let Turn { deadline, trace, .. } = &turn;
            let headers = trace.headers().unwrap_or(headers);
            let ask = Ask { headers, deadline: *deadline, trace };
            question(transport.questions(), ask).await
        };
        let what = Subject::named(name);
        config.run(retry, *attempt_timeout, &what, headers, secrets, attempt).await
    }

    fn context(&self) -> Context {
        self.shared.config.address.context(None, None)
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("gateway", &self.gateway()).finish_non_exhaustive()
    }
}
