//! One call: documents and options in, answers out.

use std::fmt;
use std::iter::{Once, once};
use std::time::Duration;

use bytes::Bytes;
use futures_core::Stream;
use http::HeaderMap;
use serde::Serialize;

use crate::client::Client;
use crate::config::one_by_one;
use crate::document::encode_parameters;
use crate::encoder::DocumentEncoder;
use crate::error::Error;
#[cfg(doc)]
use crate::error::ErrorKind;
use crate::input::{Documents, Fallible, InputFailure, NoDocuments};
use crate::pipeline::Call;
use crate::responses::{Answers, Responses};
use crate::retry::RetryPolicy;
use crate::secret::Secret;
use crate::stop::Stop;
use crate::target;
use crate::telemetry::Parent;

const REQUEST_SIZE: usize = 100;
const LINGER: Duration = Duration::from_millis(50);
const PREFETCH: usize = 16;
const PREFETCH_BYTES: usize = 64 << 20;

/// A call before it is made: [`send`](Post::send) takes all answers at once,
/// [`stream`](Post::stream) one after the other.
///
/// Every option belongs to this call alone.
#[must_use = "a call is not made before `send` or `stream`"]
pub struct Post<S> {
    documents: S,
    settings: Settings,
}

/// All that is known of a call but its documents.
struct Settings {
    client: Client,
    endpoint: String,
    target_executor: Option<String>,
    parameters: Option<Result<Bytes, Error>>,
    headers: Vec<(String, Secret)>,
    retry: Option<RetryPolicy>,
    timeout: Option<Duration>,
    attempt_timeout: Option<Option<Duration>>,
    idle_timeout: Option<Option<Duration>>,
    request_size: usize,
    linger: Option<Option<Duration>>,
    prefetch: usize,
    prefetch_bytes: usize,
    in_order: bool,
    stop_on_error: bool,
    keep_documents: bool,
    parent: Parent,
    /// Where the input leaves its failure, if it may fail.
    input_failure: Option<InputFailure>,
}

impl Post<NoDocuments> {
    pub(crate) fn new(client: Client, endpoint: String) -> Post<NoDocuments> {
        let settings = Settings {
            client,
            endpoint,
            target_executor: None,
            parameters: None,
            headers: Vec::new(),
            retry: None,
            timeout: None,
            attempt_timeout: None,
            idle_timeout: None,
            request_size: REQUEST_SIZE,
            linger: None,
            prefetch: PREFETCH,
            prefetch_bytes: PREFETCH_BYTES,
            in_order: false,
            stop_on_error: false,
            keep_documents: false,
            parent: Parent::current(),
            input_failure: None,
        };
        Post { documents: NoDocuments, settings }
    }

    /// The documents to send: anything that serde can write as an object. They are taken from the
    /// iterator as there is room for them, and may be borrowed. An iterator without documents sends
    /// one request without documents, as a call without `documents` does.
    ///
    /// Types that choose between forms (UUIDs, addresses, times) take the human-readable one, as in
    /// JSON. In v2 a struct or map inside a document becomes what the executor's class declares: a
    /// document, a list of documents or a dictionary. Over WebSocket and gRPC a `Vec` of numbers is
    /// sent as a list, number by number; a [`Tensor`](crate::Tensor) is sent as an array and is
    /// several times faster.
    pub fn documents<I>(self, documents: I) -> Post<Documents<I::IntoIter>>
    where
        I: IntoIterator,
        I::Item: Serialize,
    {
        self.document_stream(Documents::new(documents))
    }

    /// The one document to send.
    pub fn document<D: Serialize + ?Sized>(self, document: &D) -> Post<Documents<Once<&D>>> {
        self.documents(once(document))
    }

    /// The documents to send, as they come. A request is sent when its `request_size` documents are
    /// there, and at the latest [`linger`](Post::linger) after the stream has made it wait.
    pub fn document_stream<S>(self, documents: S) -> Post<S>
    where
        S: Stream,
        S::Item: Serialize,
    {
        Post { documents, settings: self.settings }
    }

    /// The documents to send, each of which may fail to be read: from a file or a database, for
    /// example. The first `Err` ends them. What was read before it is sent, and the `Err` comes as
    /// an error of kind [`Input`](ErrorKind::Input) behind the answers to what was read before it, if
    /// they come [in order](Post::in_order). The number of the document that could not be read is in
    /// [`Error::input`], and the `Err` itself is the error's source.
    pub fn try_documents<I, D, E>(self, documents: I) -> Post<Fallible<Documents<I::IntoIter>>>
    where
        I: IntoIterator<Item = Result<D, E>>,
        D: Serialize,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        self.try_document_stream(Documents::new(documents))
    }

    /// The documents to send, as they come, each of which may fail to be read, as for
    /// [`try_documents`](Post::try_documents).
    pub fn try_document_stream<S, D, E>(mut self, documents: S) -> Post<Fallible<S>>
    where
        S: Stream<Item = Result<D, E>>,
        D: Serialize,
        E: Into<Box<dyn std::error::Error + Send + Sync>>,
    {
        let (documents, failure) = Fallible::new(documents);
        self.settings.input_failure = Some(failure);
        self.document_stream(documents)
    }
}

impl<S> Post<S> {
    /// Parameters for the executors: a map. All numbers become doubles on the way. A map with whole
    /// numbers beyond 2^53, NaN or infinity makes the call fail with [`ErrorKind::Encode`], which
    /// names the entry, before any document is read. Bytes are base64.
    pub fn parameters<P: Serialize>(mut self, parameters: P) -> Post<S> {
        self.settings.parameters = Some(encode_parameters(&parameters));
        self
    }

    /// Which executors are to work: a regular expression that the beginning of a deployment's name
    /// must match, in Python's notation. All of them by default.
    pub fn target_executor(mut self, pattern: impl Into<String>) -> Post<S> {
        self.settings.target_executor = Some(pattern.into());
        self
    }

    /// How many documents a request carries: 100 by default, 0 for all in one. Over HTTP a v2
    /// gateway loses all behind the 100th without a word, so to one no request carries more than 100.
    pub fn request_size(mut self, documents: usize) -> Post<S> {
        self.settings.request_size = documents;
        self
    }

    /// The longest time that a request with fewer than [`request_size`](Post::request_size) documents
    /// waits for more of them; `None` to wait for all of them or the end of the input. The default is
    /// 50 ms, and `None` with a `request_size` of 0. The time runs from the moment when the input
    /// first has no document ready. An iterator always has, so this matters only for streams.
    pub fn linger(mut self, linger: impl Into<Option<Duration>>) -> Post<S> {
        self.settings.linger = Some(linger.into());
        self
    }

    /// How many requests are under way at a time, 16 by default, at least 1; one counts until its
    /// answer is taken.
    pub fn prefetch(mut self, requests: usize) -> Post<S> {
        self.settings.prefetch = requests;
        self
    }

    /// How many bytes of requests are under way at a time, 64 MiB by default; a larger request goes
    /// alone.
    pub fn prefetch_bytes(mut self, bytes: usize) -> Post<S> {
        self.settings.prefetch_bytes = bytes;
        self
    }

    /// Whether the answers come in the order of the documents, and not as they arrive; `false` by
    /// default. In order, a late answer holds back those behind it, and the input after `prefetch`
    /// requests.
    pub fn in_order(mut self, in_order: bool) -> Post<S> {
        self.settings.in_order = in_order;
        self
    }

    /// How often a request is sent and how long the waits in between are; as the client's by
    /// default.
    pub fn retry(mut self, policy: RetryPolicy) -> Post<S> {
        self.settings.retry = Some(policy);
        self
    }

    /// The longest time of one request over all its attempts; `None`, the default, for no limit.
    ///
    /// Consider it together with [`attempt_timeout`](Post::attempt_timeout), since an attempt that
    /// is never answered uses up its own time before the next one begins. Unless `attempt_timeout`
    /// was set by hand, an attempt has at most half of this time if the policy allows another one.
    /// Set `attempt_timeout` for requests that need more than half.
    pub fn timeout(mut self, timeout: impl Into<Option<Duration>>) -> Post<S> {
        self.settings.timeout = timeout.into();
        self
    }

    /// The longest time of one attempt, `None` for no limit. The default is the client's setting,
    /// or 60 s and at most half of [`timeout`](Post::timeout) if another attempt could follow. A
    /// caller that polls rarely does not make the gateway late: if the answers were not polled for
    /// when this time ended, the attempt goes on for up to as long again, at most four times in a
    /// row.
    pub fn attempt_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Post<S> {
        self.settings.attempt_timeout = Some(timeout.into());
        self
    }

    /// How long nothing may come while a request waits for its answer, `None` for no limit. The
    /// default is the [client's setting](crate::ClientBuilder::idle_timeout). It has to be longer than
    /// an executor computes, because a gateway sends nothing meanwhile.
    pub fn idle_timeout(mut self, timeout: impl Into<Option<Duration>>) -> Post<S> {
        self.settings.idle_timeout = Some(timeout.into());
        self
    }

    /// A header for the requests of this call; may be given again for another. It takes the place
    /// of the client's header of the same name.
    ///
    /// **Over WebSocket headers belong to the connection**, not to a request: Jina's requests have
    /// no headers. So each set of headers has a connection of its own, and a call with a header of
    /// its own costs one more connection with its upgrade. The 16 sets that were used last stay
    /// open. To avoid that cost, set headers that are the same for all calls on the client
    /// ([`ClientBuilder::header`](crate::ClientBuilder::header)), put data that belongs to a
    /// request into its [`parameters`](Post::parameters), which executors receive, or use HTTP or
    /// unary gRPC, which send headers with each request. A `traceparent` for each request is not
    /// possible over WebSocket; over a gRPC stream there can be one for each call.
    ///
    /// `Host`, by which a proxy chooses the gateway, may be set as well (over gRPC it becomes
    /// `:authority`). Each host counts as a gateway of its own, which is asked what it speaks; of
    /// hosts other than the client's the 16 that were used last are remembered.
    pub fn header(mut self, name: impl Into<String>, value: impl Into<String>) -> Post<S> {
        self.settings.headers.push((name.into(), Secret::new(value)));
        self
    }

    /// Headers for the requests of this call, as if each was given to [`header`](Post::header).
    pub fn headers(mut self, headers: HeaderMap) -> Post<S> {
        self.settings.headers.extend(one_by_one(headers));
        self
    }

    /// Whether the error of a request has the request's documents, for those who cannot read them
    /// again: see [`Error::documents`]. They are kept as they were encoded, so that each error takes
    /// the memory of its request; `false` by default.
    pub fn keep_documents(mut self, keep: bool) -> Post<S> {
        self.settings.keep_documents = keep;
        self
    }

    /// The context of which the call's span is a child. By default it is the context that is current
    /// when the call begins: in `stream()`, or when the future of `send()` is polled first.
    #[cfg(feature = "otel")]
    pub fn parent_context(mut self, context: opentelemetry::Context) -> Post<S> {
        self.settings.parent = Parent(Some(context));
        self
    }

    /// What encodes documents for the gateway of this call, on any thread. The call then takes
    /// [`EncodedDocument`](crate::EncodedDocument)s, whose bytes it copies.
    ///
    /// ```
    /// use clientlet::{Client, DocArray, Document};
    ///
    /// # #[tokio::main]
    /// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
    /// # let gateway = clientlet_gateway::Gateway::builder().start().await?;
    /// let client = Client::builder(&gateway.http_url()).docarray(DocArray::V1).build()?;
    /// let call = client.post("/upper");
    /// let encoder = call.encoder()?;
    /// let encoding = tokio::task::spawn_blocking(move || encoder.encode(&Document::text("large")));
    /// let document = encoding.await?.expect("the client is set to documents v1");
    /// let upper: Vec<Document> = call.documents([document?]).send().await.documents()?;
    /// assert_eq!(upper[0].text.as_deref(), Some("LARGE"));
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// [`ErrorKind::Config`], naming the header that is wrong: a header may choose the gateway.
    pub fn encoder(&self) -> Result<DocumentEncoder, Error> {
        let shared = self.settings.client.shared();
        let headers = shared.config.headers_with(&self.settings.headers)?;
        let encoding = shared.transport.facts().encoding;
        Ok(DocumentEncoder::new(shared.discovery(&headers), encoding))
    }

    /// Whether no more documents are read after the first request that failed; `false` by default.
    /// Requests that were sent by then are still answered.
    pub fn stop_on_error(mut self, stop: bool) -> Post<S> {
        self.settings.stop_on_error = stop;
        self
    }
}

impl<S> Post<S>
where
    S: Stream,
    S::Item: Serialize,
{
    /// Makes the call; its answers come one after the other. Nothing is sent before the stream is
    /// polled, and everything stops when it is dropped. A call that cannot be made has its reason as
    /// the only item.
    pub fn stream(self) -> Responses<S> {
        self.try_stream().unwrap_or_else(Responses::refused)
    }

    /// Makes the call like [`stream`](Post::stream), but returns the error at once if the call cannot
    /// be made.
    ///
    /// # Errors
    /// [`ErrorKind::Config`] or [`ErrorKind::Encode`], naming the option that is wrong.
    pub fn try_stream(self) -> Result<Responses<S>, Error> {
        Ok(Responses::running(self.settings.check()?, self.documents))
    }

    /// Makes the call and waits for all answers, which come in the order of the documents.
    ///
    /// The result is no `Result`, because each request may fail by itself, so `.send().await?` does
    /// not compile. `.send().await.documents()?` gives the documents or the first error, and
    /// [`into_result`](Answers::into_result) gives the responses.
    pub async fn send(self) -> Answers {
        Answers::of(self.in_order(true).stream()).await
    }
}

impl Settings {
    /// Checks everything.
    fn check(self) -> Result<Call, Error> {
        let shared = self.client.shared();
        shared.transport.facts().check_endpoint(&self.endpoint)?;
        self.target_executor.as_deref().map_or(Ok(()), target::check)?;
        let retry = self.retry.unwrap_or_else(|| shared.config.retry.clone());
        retry.check()?;
        let headers = shared.config.headers_with(&self.headers)?;
        let (endpoint, medium) = (&*self.endpoint, shared.transport.facts().medium);
        let telemetry = &shared.config.telemetry;
        let call = Call {
            trace: telemetry.call("post", Some(endpoint), medium, &headers, self.parent),
            transport: shared
                .transport
                .open_call(self.prefetch)
                .unwrap_or_else(|| shared.transport.clone()),
            discovery: shared.discovery(&headers),
            ids: shared.ids.clone(),
            secrets: shared.config.secrets.of_call(headers.clone()),
            headers,
            endpoint: self.endpoint,
            target_executor: self.target_executor,
            parameters: self.parameters.transpose()?,
            timeout: self.timeout,
            attempt_timeout: self
                .attempt_timeout
                .unwrap_or_else(|| shared.config.attempt_timeout_within(self.timeout, &retry)),
            idle_timeout: self.idle_timeout.unwrap_or(shared.config.idle_timeout),
            retry,
            request_size: self.request_size,
            // A request of all documents that there are waits for all of them.
            linger: self.linger.unwrap_or((self.request_size > 0).then_some(LINGER)),
            input_failure: self.input_failure,
            prefetch: shared
                .transport
                .facts()
                .most_in_flight
                .map_or(self.prefetch, |most| self.prefetch.min(most)),
            prefetch_bytes: self.prefetch_bytes,
            in_order: self.in_order,
            stop_on_error: self.stop_on_error,
            keep_documents: self.keep_documents,
            seed: fastrand::u64(..),
            stop: Stop::default(),
        };
        call.check_parameters()?;
        Ok(call)
    }
}

impl<S> fmt::Debug for Post<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Post")
            .field("endpoint", &self.settings.endpoint)
            .field("headers", &self.settings.headers)
            .finish_non_exhaustive()
    }
}
