//! The client for [Jina](https://github.com/jina-ai/serve) gateways.
//!
//! A gateway takes *requests* full of *documents*, sends them through *executors* and answers.
//! This crate sends requests over HTTP, WebSocket or gRPC, and accounts for each: a request ends exactly
//! once, as an answer or as an error that says whether an executor may have worked on it. A request is
//! sent once, unless a [`RetryPolicy`] allows more attempts.
//!
//! # How do I ..
//!
//! | to .. | use |
//! | --- | --- |
//! | give executors parameters | [`Post::parameters`], any serde type that is a map |
//! | choose the executors that work | [`Post::target_executor`], a regular expression |
//! | send headers | [`Post::header`] for a call, [`ClientBuilder::header`] for all calls |
//! | send credentials | [`ClientBuilder::bearer_token`], [`basic_auth`](ClientBuilder::basic_auth), [`cookie`](ClientBuilder::cookie) |
//! | send a token that expires | [`ClientBuilder::before_attempt`], an async function that is asked for headers |
//! | limit the time | [`Post::timeout`] for a request with all its attempts, [`Post::attempt_timeout`] for one attempt (60 s), [`Post::idle_timeout`] for silence, [`ClientBuilder::connect_timeout`] (10 s) |
//! | try again after a failure | [`Post::retry`] with [`RetryPolicy::standard`]; the default is one attempt |
//! | never run a request twice | [`RetryPolicy::at_most_once`] |
//! | stop at the first failure | [`Post::stop_on_error`]; `send().await.documents()?` reports the first failure |
//! | stop a call, and know what became of it | [`Responses::stop`]; dropping a stream stops the call as well |
//! | know what went wrong | [`Error::kind`], [`Error::delivery`], [`Error::may_have_run`], [`Error::exception`]; [`Error::hint`] is advice; `docs/guarantees.md` lists each failure |
//! | get the documents of a failed request | [`Post::keep_documents`], [`Error::documents`] |
//! | read any fields of a document | [`Value`], or a struct of your own |
//! | use TLS | a URL that begins with `https://`, `wss://` or `grpcs://`, and [`Tls`] for authorities and client certificates |
//! | keep a client at one gateway behind a load balancer | nothing: cookies that it sets are sent back (`ClientBuilder::cookie_jar`) |
//! | decline compressed answers | `ClientBuilder::compression(false)`; by default gzip, deflate, br and zstd are asked for over HTTP, gzip over gRPC |
//! | use a proxy | [`ClientBuilder::proxy`], [`ClientBuilder::proxy_from_env`]; by default none is used |
//! | see connections, retries and failures in a log | a subscriber for `tracing`; `docs/logs.md` lists the events |
//! | trace calls and measure them with OpenTelemetry | the feature `otel`: `ClientBuilder::tracer_provider` and `meter_provider`, or the global providers; `docs/telemetry.md` lists spans, attributes and metrics |
//! | count requests, retries and bytes | [`Client::statistics`] |
//! | test my own code | the crate `clientlet-gateway`, a gateway inside the test: `docs/testing.md` |
//! | call without an async runtime | the module `blocking`, a feature; its `Client::builder` ends with `build_blocking()` |
//! | work without writing code | the command `clientlet`: `clientlet post --help` |
//!
//! # Documents in, documents out
//!
//! A document is any [`serde`] type whose fields fit the gateway. The client asks the gateway which
//! documents it speaks:
//!
//! * **Documents v1** have the fields of [`Document`]. A struct of your own may have some of these fields;
//!   a struct with any other field is refused before sending. Over HTTP an answer has all fields, `null` where they are not set.
//! * **Documents v2** have the fields of the executor's class. A nested struct is a nested document or a
//!   dictionary, as the class says. Executors drop fields that their class does not have.
//!
//! ```
//! use clientlet::Client;
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Serialize, Deserialize)]
//! struct Article {
//!     id: String,
//!     text: String,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let gateway = clientlet_gateway::Gateway::builder().start().await?;
//! # let url = gateway.http_url();
//! // let url = "http://localhost:8080";
//! let client = Client::new(&url)?;
//! let articles = (0..250).map(|n| Article { id: n.to_string(), text: "hello".into() });
//!
//! let upper: Vec<Article> = client.post("/upper").documents(articles).send().await.documents()?;
//! assert_eq!(upper.len(), 250);
//! assert_eq!(upper[249].text, "HELLO");
//! # Ok(())
//! # }
//! ```
//!
//! A struct for documents v2 may be nested, and have optional fields and tensors:
//!
//! ```
//! use std::time::Duration;
//!
//! use clientlet::{Client, RetryPolicy, Tensor};
//! use serde::{Deserialize, Serialize};
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Author {
//!     name: String,
//!     born: Option<i32>,
//! }
//!
//! #[derive(Clone, Debug, Serialize, Deserialize)]
//! struct Book {
//!     id: String,
//!     author: Author,
//!     language: Option<String>,
//!     embedding: Option<Tensor>,
//! }
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use clientlet_gateway::{DocArray, Endpoint, Gateway, Reply, Schema};
//! # let class = Schema::of::<Book>();
//! # let index = Endpoint::new(|_| Reply::unchanged()).takes(class.clone()).gives(class);
//! # let gateway =
//! #     Gateway::builder().docarray(DocArray::V2).grpc(true).on("/index", index).start().await?;
//! # let url = gateway.grpc_url();
//! // let url = "grpc://localhost:8082";
//! let book = Book {
//!     id: "1".into(),
//!     author: Author { name: "George Eliot".into(), born: Some(1819) },
//!     language: None,
//!     embedding: Some(Tensor::from(vec![0.5_f32, -1.25])),
//! };
//! let client = Client::builder(&url).retry(RetryPolicy::standard().at_most_once(true)).build()?;
//! let indexed: Vec<Book> = client
//!     .post("/index")
//!     .document(&book)
//!     .parameters(serde_json::json!({"shelf": 7}))
//!     .header("x-tenant", "blue")
//!     .timeout(Duration::from_secs(30))
//!     .attempt_timeout(Duration::from_secs(5))
//!     .send()
//!     .await
//!     .documents()?;
//! assert_eq!(indexed[0].author.born, Some(1819));
//! assert_eq!(indexed[0].embedding, book.embedding);
//! # Ok(())
//! # }
//! ```
//!
//! # Streams, and requests that fail
//!
//! [`Post::stream`] gives the answers one after the other and holds back the input while they are not
//! taken, so that a million documents need no more memory than a thousand. One failed request does
//! not end it. Each [`Error`] has a [`kind`](Error::kind), a [`delivery`](Error::delivery) and the
//! list of its [`attempts`](Error::attempts).
//!
//! ```
//! use clientlet::{Client, Delivery, Document, ErrorKind, RetryPolicy};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let gateway = clientlet_gateway::Gateway::builder()
//! #     .fault("reset-after@2".parse()?)
//! #     .start()
//! #     .await?;
//! # let client = Client::new(&gateway.http_url())?;
//! let documents = (0..1000).map(|n| Document::text("hello").with_id(n.to_string()));
//! let mut answers = client
//!     .post("/upper")
//!     .documents(documents)
//!     .request_size(100)
//!     .prefetch(8)
//!     .retry(RetryPolicy::standard())
//!     .stream();
//!
//! let (mut answered, mut again) = (0, 0);
//! while let Some(result) = answers.next().await {
//!     match result {
//!         Ok(response) => {
//!             answered += response.documents::<Document>()?.len();
//!             again += response.attempts() - 1;
//!         }
//!         Err(error) if error.kind() == ErrorKind::Executor => {
//!             eprintln!("{:?} raised for {:?}", error.exception(), error.input());
//!         }
//!         Err(error) if error.delivery() == Delivery::NotSent => eprintln!("safe to repeat: {error}"),
//!         Err(error) => eprintln!("{error}; may have run: {}", error.may_have_run()),
//!     }
//! }
//! assert_eq!((answered, again), (1000, 1));
//! # Ok(())
//! # }
//! ```
//!
//! # Inputs that trickle or fail
//!
//! [`Post::document_stream`] takes documents as they come; a request that waits for more of them is
//! sent after 50 ms even if it is not full ([`Post::linger`]). [`Post::try_documents`] takes an input
//! that may fail: what was read before the failure is sent. The documents of a failed request come back
//! from its error if the call [keeps](Post::keep_documents) them.
//!
//! ```
//! use clientlet::{Client, Document, ErrorKind};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # let gateway = clientlet_gateway::Gateway::builder()
//! #     .fault("status:503:2@1".parse()?)
//! #     .start()
//! #     .await?;
//! # let client = Client::new(&gateway.http_url())?;
//! let lines = ["one", "two", "three"].map(Ok).into_iter().chain([Err("the disk is full")]);
//! let documents = lines.map(|line| line.map(Document::text));
//! let call = client.post("/upper").try_documents(documents).request_size(2);
//!
//! for result in call.keep_documents(true).send().await {
//!     match result {
//!         Ok(response) => assert_eq!(response.input(), 2..3),
//!         // The gateway answered 503 and asked for two seconds.
//!         Err(error) if error.is_retryable() => {
//!             let again: Vec<Document> = error.documents().expect("they are kept")?;
//!             println!("{} documents again in {:?}", again.len(), error.retry_after());
//!         }
//!         Err(error) => assert_eq!((error.kind(), error.input()), (ErrorKind::Input, Some(3..4))),
//!     }
//! }
//! # Ok(())
//! # }
//! ```
//!
//! # One document in, many out
//!
//! An executor's endpoint may be a generator: [`Client::stream_document`] gives what it yields, as it
//! comes, over HTTP and gRPC from gateways with documents v2. Dropping the stream stops the executor.
//!
//! ```
//! use clientlet::{Client, Document};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), Box<dyn std::error::Error>> {
//! # use clientlet_gateway::{DocArray, Gateway};
//! # let gateway = Gateway::builder().docarray(DocArray::V2).grpc(true).start().await?;
//! # let url = gateway.grpc_url();
//! // let url = "grpc://localhost:8082";
//! let client = Client::new(&url)?;
//! let mut words = client.stream_document("/stream", &Document::text("hello")).stream::<Document>();
//! while let Some(word) = words.next().await {
//!     println!("{}", word?.text.unwrap_or_default());
//! }
//! assert_eq!((words.documents_given(), words.repeats_dropped()), (3, 0));
//! # Ok(())
//! # }
//! ```
//!
//! A generator that raises is called again by the gateway, which does not tell: see
//! [`DocumentStream`] for the documents that then repeat.
//!
//! # Three protocols, one meaning
//!
//! The URL decides: `http://`, `ws://` or `grpc://`, and over TLS `https://`, `wss://` or `grpcs://`. They differ in speed and in what their wire can carry,
//! never in what a call means.
//!
//! | | a request travels | headers of a call are sent | element types and bytes |
//! | --- | --- | --- | --- |
//! | HTTP | on any free connection, as JSON | with each request | lost, or base64 (v1) |
//! | WebSocket | with all others on one connection, as protobuf | once, with the connection | kept |
//! | gRPC | on the stream of its call, as protobuf | once, with the stream | kept |
//! | gRPC, [`unary`](ClientBuilder::unary) | by itself, with its deadline | with each request | kept |
//!
//! # Tokens, cookies and redirects
//!
//! [`ClientBuilder::before_attempt`] asks a function for headers before each attempt: tokens that expire,
//! or signatures over the body. A request that is refused with 401 is sent once more with new headers.
//! Cookies that a gateway sets are kept and sent back by all calls of a client. Redirects with 307 and
//! 308 are followed within the scheme, host and port of the gateway's address, at most five; the error of
//! any other says where it points. No header, credential or cookie goes to another address.
//!
//! # Numbers and bytes
//!
//! [`Tensor`] holds numbers of any type and shape, [`Blob`] bytes; both share their memory. Plain
//! `Vec<f32>` fields work as well wherever the answer is to be read as such. HTTP does not keep the
//! element type of a tensor, which counts when two tensors are compared.
//!
//! ```
//! use clientlet::{Document, Tensor};
//!
//! # fn main() -> Result<(), clientlet::TensorError> {
//! let image = Tensor::new(&[2, 3], &[0_u8, 1, 2, 3, 4, 5])?;
//! let document = Document { tensor: Some(image), ..Document::default() };
//! assert_eq!(document.tensor.unwrap().to_vec::<f32>()[5], 5.0);
//! # Ok(())
//! # }
//! ```
//!
//! # Is it there, and what can it do?
//!
//! [`Client::ready`] answers `Ok` or why not, [`Client::status`] tells a gateway's releases and
//! [`Client::endpoints`] what can be posted to; [`Client::wait_ready`] waits for a gateway that starts, and
//! [`Client::health`] asks gRPC's own health service.
//!
//! # Messages made by hand
//!
//! The module [`clientlets`] has the classes of Python's `jina.clients.base.helper`, for programs that
//! make each message themselves.
//!
//! # Runtimes
//!
//! Everything runs in tokio, in a runtime with its I/O and time enabled (`enable_all`). One client may
//! be used in several runtimes; each has connections of its own, because the tasks that read and write
//! a connection run only while their runtime does.
//!
//! | | what to expect |
//! | --- | --- |
//! | no runtime | each call is an error of [`ErrorKind::Config`], not sent; nothing panics |
//! | a runtime without I/O or time (`enable_all` is missing) | tokio panics at the first call and says which of the two is missing |
//! | several runtimes, at the same time or one after the other | each opens its connections with its first call; none waits for another |
//! | a runtime that lives but is not running (a `current_thread` one outside of `block_on`) | its own calls wait; calls in other runtimes go on |
//! | a runtime that is dropped | its connections and calls end; calls in other runtimes go on |
//! | more than 16 runtimes | the oldest are forgotten: their next call opens new connections |
//! | a stream of answers ([`Responses`], [`DocumentStream`]), a started [`WebsocketClientlet`](clientlets::WebsocketClientlet), a [`GrpcStream`](clientlets::GrpcStream) | belongs to the runtime in which it was first polled or started: use it there; elsewhere it waits while that runtime does not run |
//!
//! # Features
//!
//! | feature | by default | what it adds |
//! | --- | --- | --- |
//! | `websocket` | yes | `ws://` URLs |
//! | `grpc` | yes | `grpc://` URLs |
//! | `tls` | yes | `https://`, `wss://` and `grpcs://` URLs ([`Tls`]) |
//! | `compression` | yes | answers compressed with gzip, deflate, br and zstd, over gRPC with gzip (`ClientBuilder::compression`); needs a C compiler, as `tls` does |
//! | `proxy` | yes | HTTP and SOCKS proxies ([`ClientBuilder::proxy`]) |
//! | `cookies` | yes | cookies that a gateway sets are kept and sent back (`ClientBuilder::cookie_jar`) |
//! | `clientlets` | yes | the module [`clientlets`] |
//! | `blocking` | no | the module `blocking`: calls that wait, for programs without an async runtime |
//! | `otel` | no | traces and metrics through OpenTelemetry (`ClientBuilder::tracer_provider`, `meter_provider`) |
//! | `half` | no | `half::f16` as an element of tensors |
//! | `ndarray` | no | arrays of the crate `ndarray` as tensors, and tensors as arrays |
//!
//! Without these features the library speaks HTTP without TLS, and needs 63 crates.
//!
//! # Bounds
//!
//! Everything has one: requests in flight ([`Post::prefetch`]) and their bytes
//! ([`Post::prefetch_bytes`]), connections ([`ClientBuilder::max_connections`]), an answer's size without compression ([`ClientBuilder::answer_limit`]), time to connect, for
//! an attempt and, if asked for, for a request over all its attempts ([`Post::timeout`]). JSON is
//! read to a depth of 128.
#![forbid(unsafe_code)]
#![cfg_attr(docsrs, feature(doc_cfg))]
// A build without a protocol does not use what only that protocol uses.
#![cfg_attr(
    not(all(
        feature = "clientlets",
        feature = "compression",
        feature = "cookies",
        feature = "grpc",
        feature = "proxy",
        feature = "tls",
        feature = "websocket"
    )),
    allow(dead_code, unreachable_pub, unused_imports, unused_variables)
)]

mod address;
mod batch;
#[cfg(feature = "blocking")]
pub mod blocking;
mod builder;
#[cfg(test)]
#[path = "../unit/capabilities.rs"]
mod capabilities;
mod client;
#[cfg(feature = "clientlets")]
pub mod clientlets;
#[cfg(feature = "compression")]
mod compression;
mod config;
mod connect;
#[cfg(clientlet_bench)]
#[doc(hidden)]
#[path = "../unit/counted.rs"]
pub mod counted;
mod discovery;
mod document;
mod driver;
mod encoder;
mod envelope;
mod error;
mod foreign;
#[cfg(fuzzing)]
#[doc(hidden)]
#[path = "../unit/fuzzing.rs"]
pub mod fuzzing;
mod input;
mod log;
mod message;
mod options;
mod order;
#[cfg(test)]
#[path = "../unit/page.rs"]
mod page;
mod panics;
mod pipeline;
mod post;
#[cfg(feature = "proxy")]
mod proxy;
mod response;
mod responses;
mod retry;
mod runtime;
mod secret;
#[cfg(test)]
#[path = "../unit/simulation.rs"]
mod simulation;
mod stop;
mod stream_document;
mod target;
mod telemetry;
#[cfg(feature = "tls")]
mod tls;
mod transport;
mod unanswered;
mod window;

pub use builder::ClientBuilder;
pub use client::Client;
pub use config::NextAttempt;
pub use document::{
    AnyVisitor, Blob, Document, Dtype, Element, EncodedDocument, NamedScore, Tensor, TensorError,
    TensorRef, Value,
};
pub use encoder::DocumentEncoder;
pub use error::{Attempt, Delivery, Error, ErrorKind, GrpcCode, Hint};
pub use input::{Documents, Fallible, NoDocuments};
pub use message::{
    Connections, DocArray, Endpoints, Exception, GatewayStatus, Health, ParseDocArrayError,
    RouteTimes, Status, StatusMessage,
};
pub use post::Post;
pub use response::{EncodedAnswer, Response};
pub use responses::{Answers, Responses};
pub use retry::RetryPolicy;
pub use stream_document::{DocumentStream, StreamDocument};
pub use telemetry::{Durations, Statistics};
#[cfg(feature = "tls")]
pub use tls::{Pem, Tls, TlsVersion};

/// The Rust of the README runs as it stands there.
#[cfg(all(doctest, feature = "blocking"))]
#[doc = include_str!("../../../README.md")]
struct Readme;

/// So does the Rust of the chapter on tests.
#[cfg(doctest)]
#[doc = include_str!("../../../docs/testing.md")]
struct Testing;

/// And that of the chapter on traces.
#[cfg(all(doctest, feature = "otel"))]
#[doc = include_str!("../../../docs/telemetry.md")]
struct Telemetry;
