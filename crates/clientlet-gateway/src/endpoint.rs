//! Endpoints of a test's own executors.

use std::any::Any;
use std::fmt;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::reply::{IntoReply, Reply};
use crate::request::Request;
use crate::schema::Schema;

type Handler = dyn Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync;

/// An endpoint: a handler, and for documents v2 the classes of its documents.
///
/// Where no classes are needed, a handler alone is an endpoint: a function or closure that takes a
/// [`Request`] and returns a [reply](IntoReply), or a future of one.
///
/// ```
/// use clientlet_gateway::{DocArray, Endpoint, Gateway, Request, Schema};
/// use serde::{Deserialize, Serialize};
///
/// #[derive(Deserialize, Serialize)]
/// struct Query {
///     text: String,
/// }
///
/// #[derive(Deserialize, Serialize)]
/// struct Found {
///     text: String,
///     score: f32,
/// }
///
/// async fn search(request: Request) -> Vec<Found> {
///     let queries: Vec<Query> = request.documents().unwrap();
///     queries.into_iter().map(|query| Found { text: query.text, score: 0.5 }).collect()
/// }
///
/// let search = Endpoint::new(search).takes(Schema::of::<Query>()).gives(Schema::of::<Found>());
/// let builder = Gateway::builder().docarray(DocArray::V2).on("/search", search);
/// ```
#[derive(Clone)]
#[must_use]
pub struct Endpoint {
    handler: Arc<Handler>,
    pub(crate) takes: Schema,
    pub(crate) gives: Schema,
    pub(crate) is_stream: bool,
}

impl fmt::Debug for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Endpoint")
            .field("takes", &self.takes.name())
            .field("gives", &self.gives.name())
            .field("is_stream", &self.is_stream)
            .finish_non_exhaustive()
    }
}

impl Endpoint {
    /// An endpoint that answers a request with documents. With documents v2 it takes and gives
    /// documents with any fields, unless its classes are set.
    pub fn new<M>(handler: impl IntoEndpoint<M>) -> Self {
        handler.into_endpoint()
    }

    /// An endpoint that answers one document with one document after another, which executors of
    /// documents v2 alone can have: `stream_doc` over gRPC, server-sent events for a GET over HTTP.
    /// The documents are those of [`Reply::stream`], or of any other reply.
    pub fn stream<M>(handler: impl IntoEndpoint<M>) -> Self {
        Self { is_stream: true, ..handler.into_endpoint() }
    }

    /// The class of the documents v2 that the endpoint takes. The gateway publishes it, and refuses
    /// what does not fit it as a gateway of 3.33.1 does: with a 422 or 500 over HTTP, with an
    /// executor's exception otherwise. Fields that the class does not have are dropped.
    pub fn takes(mut self, class: Schema) -> Self {
        self.takes = class;
        self
    }

    /// The class of the documents v2 that the endpoint gives. A handler that returns anything else
    /// makes a [mistake](crate::Mistake).
    pub fn gives(mut self, class: Schema) -> Self {
        self.gives = class;
        self
    }

    /// Calls the handler.
    ///
    /// # Errors
    ///
    /// What the handler said when it panicked.
    pub(crate) async fn call(&self, request: Request) -> Result<Reply, String> {
        // A handler that panicked is called again like any other; what it left behind is its own.
        let running = catch_unwind(AssertUnwindSafe(|| (self.handler)(request)));
        let reply = match running {
            Ok(running) => AssertUnwindSafe(running).catch_unwind().await,
            Err(panic) => Err(panic),
        };
        reply.map_err(|panic| said(&*panic))
    }
}

/// What user code said when it panicked.
pub(crate) fn said(panic: &(dyn Any + Send)) -> String {
    let text = panic.downcast_ref::<String>().map(String::as_str);
    let text = text.or_else(|| panic.downcast_ref::<&str>().copied());
    text.unwrap_or("the panic has no message").to_owned()
}

/// What can be bound as an endpoint: an [`Endpoint`], and any handler that is `Fn(Request)` and returns
/// a [reply](IntoReply) or a future of one. `M` tells these apart and is never named.
pub trait IntoEndpoint<M> {
    /// The endpoint.
    fn into_endpoint(self) -> Endpoint;
}

/// Marks an [`Endpoint`] itself.
#[derive(Debug)]
pub struct Ready;

/// Marks handlers that return a reply.
#[derive(Debug)]
pub struct Returns<R>(R);

/// Marks handlers that return a future.
#[derive(Debug)]
pub struct Awaits<F>(F);

impl IntoEndpoint<Ready> for Endpoint {
    fn into_endpoint(self) -> Endpoint {
        self
    }
}

impl<H, R> IntoEndpoint<Returns<R>> for H
where
    H: Fn(Request) -> R + Send + Sync + 'static,
    R: IntoReply,
{
    fn into_endpoint(self) -> Endpoint {
        of(move |request| {
            let reply = self(request).into_reply();
            std::future::ready(reply).boxed()
        })
    }
}

impl<H, F> IntoEndpoint<Awaits<F>> for H
where
    H: Fn(Request) -> F + Send + Sync + 'static,
    F: Future<Output: IntoReply> + Send + 'static,
{
    fn into_endpoint(self) -> Endpoint {
        of(move |request| self(request).map(IntoReply::into_reply).boxed())
    }
}

fn of(handler: impl Fn(Request) -> BoxFuture<'static, Reply> + Send + Sync + 'static) -> Endpoint {
    let (takes, gives) = (Schema::open(), Schema::open());
    Endpoint { handler: Arc::new(handler), takes, gives, is_stream: false }
}
