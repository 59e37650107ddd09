//! What a handler answers.

use std::fmt;
use std::time::Duration;

use futures_util::stream::{BoxStream, StreamExt};
use serde::Serialize;

use crate::exception::Exception;
use crate::value::{ReadError, Value, to_value};

/// What a handler answers: documents, an exception, a status or a stream of documents, after a delay
/// if wanted.
///
/// A handler can also return what becomes a reply by itself: a `Vec` or an array of documents, an
/// [`Exception`], or a `Result` of any of these and an [`Exception`].
///
/// ```
/// use std::time::Duration;
///
/// use clientlet_gateway::{Exception, Gateway, Reply};
/// use serde_json::json;
///
/// let builder = Gateway::builder()
///     .on("/search", |_| vec![json!({"text": "found"})])
///     .on("/slow", |_| Reply::documents([json!({"text": "late"})]).after(Duration::from_millis(50)))
///     .on("/update", |_| Exception::new("ValueError", ["this shelf is read-only"]))
///     .on("/busy", |_| Reply::status(503).retry_after("1"));
/// ```
#[must_use]
pub struct Reply {
    pub(crate) content: Content,
    pub(crate) delay: Duration,
    /// The time before each document of a stream.
    pub(crate) pause: Duration,
    /// What the executor raises behind the documents of a stream.
    pub(crate) raises: Option<Exception>,
    pub(crate) results: Option<Result<Value, ReadError>>,
}

pub(crate) enum Content {
    Documents(Result<Vec<Value>, ReadError>),
    /// The request's documents go back.
    Unchanged,
    Exception(Exception),
    Status(u16, Option<String>),
    Stream(BoxStream<'static, Result<Value, ReadError>>),
}

impl fmt::Debug for Reply {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.content {
            Content::Documents(Ok(documents)) => write!(f, "Reply({} documents)", documents.len()),
            Content::Documents(Err(error)) => write!(f, "Reply({error})"),
            Content::Unchanged => f.write_str("Reply(unchanged)"),
            Content::Exception(exception) => write!(f, "Reply({exception})"),
            Content::Status(code, _) => write!(f, "Reply(status {code})"),
            Content::Stream(_) => f.write_str("Reply(a stream)"),
        }
    }
}

impl Reply {
    fn of(content: Content) -> Self {
        let (delay, pause) = (Duration::ZERO, Duration::ZERO);
        Self { content, delay, pause, raises: None, results: None }
    }

    /// These documents, of any type that serde can write. A streaming endpoint gives one after the
    /// other.
    pub fn documents<T: Serialize>(documents: impl IntoIterator<Item = T>) -> Self {
        let documents = documents.into_iter().enumerate();
        let documents = documents.map(|(index, document)| write(index, &document));
        Self::of(Content::Documents(documents.collect()))
    }

    /// The request's documents, as they came.
    pub fn unchanged() -> Self {
        Self::of(Content::Unchanged)
    }

    /// An exception of the executor. Clients find it in the status of the answer, or over HTTP with
    /// documents v2 in the text of a 500.
    pub fn exception(exception: Exception) -> Self {
        Self::of(Content::Exception(exception))
    }

    /// A status of HTTP, from 200 to 599, in place of an answer, as from a proxy. Over gRPC the
    /// status ends the call; if the stream has answers already, it is reset. A WebSocket has no
    /// statuses and is closed with 1011.
    pub fn status(code: u16) -> Self {
        Self::of(Content::Status(code, None))
    }

    /// The value of the `Retry-After` header beside a [status](Self::status): seconds or a date.
    pub fn retry_after(mut self, after: impl Into<String>) -> Self {
        if let Content::Status(_, retry_after) = &mut self.content {
            *retry_after = Some(after.into());
        }
        self
    }

    /// Documents as they come, for a [streaming endpoint](crate::Endpoint::stream). The stream is
    /// dropped when its client goes.
    pub fn stream<T: Serialize>(
        documents: impl futures_util::Stream<Item = T> + Send + 'static,
    ) -> Self {
        let documents = documents.enumerate().map(|(index, document)| write(index, &document));
        Self::of(Content::Stream(documents.boxed()))
    }

    /// Waits for this long before the reply is given, by tokio's clock.
    pub fn after(mut self, delay: Duration) -> Self {
        self.delay = delay;
        self
    }

    /// Waits for this long before each document of a streaming endpoint, by tokio's clock.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// The exception that a streaming endpoint raises behind its documents. As real gateways do, this
    /// one then calls the handler again, four times in all, so that the documents repeat, and ends
    /// the stream as if all were well.
    pub fn raising(mut self, exception: Exception) -> Self {
        self.raises = Some(exception);
        self
    }

    /// What the executor reports beside the documents. The client finds it among the parameters of
    /// the answer, under `__results__` and the name of the executor.
    pub fn results(mut self, results: impl Serialize) -> Self {
        self.results = Some(to_value(&results));
        self
    }
}

fn write(index: usize, document: &impl Serialize) -> Result<Value, ReadError> {
    to_value(document).map_err(|error| ReadError::new(format!("document {index}, {error}")))
}

/// What a handler may return.
pub trait IntoReply {
    /// The reply.
    fn into_reply(self) -> Reply;
}

impl IntoReply for Reply {
    fn into_reply(self) -> Reply {
        self
    }
}

impl IntoReply for Exception {
    fn into_reply(self) -> Reply {
        Reply::exception(self)
    }
}

impl<T: Serialize> IntoReply for Vec<T> {
    fn into_reply(self) -> Reply {
        Reply::documents(self)
    }
}

impl<T: Serialize, const N: usize> IntoReply for [T; N] {
    fn into_reply(self) -> Reply {
        Reply::documents(self)
    }
}

impl<R: IntoReply> IntoReply for Result<R, Exception> {
    fn into_reply(self) -> Reply {
        match self {
            Ok(reply) => reply.into_reply(),
            Err(exception) => exception.into_reply(),
        }
    }
}
