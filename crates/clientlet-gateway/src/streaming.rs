//! Streaming endpoints: one document in, any number out, one after another.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{self, BoxStream};
use futures_util::{FutureExt, StreamExt};
use tokio::time::sleep;

use crate::docarray::DocArray;
use crate::endpoint::{Endpoint, said};
use crate::executor::{Unfit, fit};
use crate::mistakes::Mistake;
use crate::reply::Content;
use crate::request::{About, Request};
use crate::schema::{PART, Schema};
use crate::script::StreamScript;
use crate::value::{ReadError, Value};
use crate::world::World;

/// How often a gateway calls an executor that raises while it streams. What the executor gave before
/// comes again each time, and after the last call the stream ends as if all were well.
const CALLS: u32 = 4;

/// A streaming endpoint that runs.
pub(crate) struct Run {
    source: Source,
    call: u32,
}

enum Source {
    Script {
        script: StreamScript,
        text: String,
        next: u64,
    },
    Handler {
        endpoint: Endpoint,
        request: Request,
        given: Given,
        /// How many documents there were.
        count: usize,
    },
    /// The executor did not begin.
    Empty,
}

/// What a handler gives for one call.
struct Given {
    documents: BoxStream<'static, Result<Value, ReadError>>,
    pause: Duration,
    raises: bool,
}

impl Given {
    fn nothing() -> Self {
        Self { documents: stream::empty().boxed(), pause: Duration::ZERO, raises: false }
    }
}

/// How a handler begins.
enum Begun {
    Given(Given),
    Status(u16, Option<String>),
}

impl Run {
    /// Begins a scripted stream for a document with this text.
    fn of_script(script: &StreamScript, text: String) -> Self {
        Self { source: Source::Script { script: script.clone(), text, next: 0 }, call: 1 }
    }

    /// A stream that has no documents, because the executor cannot read the one that was sent. The
    /// gateway does not tell.
    pub(crate) fn empty() -> Self {
        Self { source: Source::Empty, call: 1 }
    }

    /// Begins the stream of the endpoint for which a document was sent, in the class that the endpoint
    /// takes. `None` if there is no such endpoint.
    ///
    /// # Errors
    ///
    /// The status that a handler answers instead, and when to come again.
    pub(crate) async fn begin(
        world: &World,
        about: About,
        document: Value,
    ) -> Option<Result<Self, (u16, Option<String>)>> {
        let Some(executors) = &world.executors else {
            let text = match document.get("text") {
                Some(Value::Text(text)) => text.clone(),
                _ => "None".into(),
            };
            let script = world.bindings.stream(&about.endpoint)?;
            return Some(Ok(Self::of_script(script, text)));
        };
        let (executor, endpoint) = executors.stream(&about.endpoint)?;
        let request = Request {
            documents: endpoint.takes.without_own_defaults(&Arc::new(vec![document])),
            about: Arc::new(about),
            executor: Arc::clone(&executor.name),
        };
        Some(match call(world, endpoint, &request).await {
            Begun::Given(given) => {
                let endpoint = endpoint.clone();
                let source = Source::Handler { endpoint, request, given, count: 0 };
                Ok(Self { source, call: 1 })
            }
            Begun::Status(code, retry_after) => Err((code, retry_after)),
        })
    }

    /// The next document, in the class that the endpoint gives.
    pub(crate) async fn next(&mut self, world: &World) -> Option<Value> {
        match &mut self.source {
            Source::Empty => None,
            Source::Script { script, text, next } => {
                while *next >= script.documents {
                    if !script.raises || self.call == CALLS || script.documents == 0 {
                        return None;
                    }
                    self.call += 1;
                    *next = 0;
                }
                if !script.pause.is_zero() {
                    sleep(script.pause).await;
                }
                let n = *next;
                *next += 1;
                Some(Value::Map(vec![
                    ("id".into(), Value::Text(format!("s{n}"))),
                    ("text".into(), Value::Text(format!("{text} {n}"))),
                    ("tensor".into(), Value::Null),
                ]))
            }
            Source::Handler { endpoint, request, given, count } => loop {
                if !given.pause.is_zero() {
                    sleep(given.pause).await;
                }
                let index = *count;
                let blame = |what: String| {
                    let mistake = Mistake::new(request.endpoint(), request.executor(), &what);
                    world.mistakes.blame(mistake)
                };
                // A panic must not end the connection, which other requests share.
                match AssertUnwindSafe(given.documents.next()).catch_unwind().await {
                    Err(panic) => {
                        blame(format!("panicked before document {index}: {}", said(&*panic)));
                        self.source = Source::Empty;
                        return None;
                    }
                    Ok(Some(document)) => {
                        *count += 1;
                        let fitted = document.map_err(Unfit::Mistake).and_then(|document| {
                            fit(&world.ids, endpoint, DocArray::V2, index, document)
                        });
                        let unfit = match fitted {
                            Ok(document) => return Some(document),
                            Err(unfit) => unfit,
                        };
                        // Where a real executor raises, the documents come again.
                        let raises = matches!(unfit, Unfit::Uncarried(..));
                        unfit.blame(|what| blame(format!("gave {what}")));
                        if !raises {
                            self.source = Source::Empty;
                            return None;
                        }
                        *given = Given { raises, ..Given::nothing() };
                    }
                    Ok(None) => {}
                }
                if !given.raises || self.call == CALLS {
                    return None;
                }
                self.call += 1;
                match call(world, endpoint, request).await {
                    Begun::Given(again) => *given = again,
                    // Documents were given before, so there is no place for a status.
                    Begun::Status(..) => return None,
                }
            },
        }
    }

    /// The class of the documents that the endpoint gives.
    pub(crate) fn class(&self) -> &Schema {
        match &self.source {
            Source::Handler { endpoint, .. } => &endpoint.gives,
            Source::Script { .. } | Source::Empty => &PART,
        }
    }
}

/// Calls a handler.
async fn call(world: &World, endpoint: &Endpoint, request: &Request) -> Begun {
    let nothing = |raises| Begun::Given(Given { raises, ..Given::nothing() });
    let mistake = |message: &str| {
        world.mistakes.blame(Mistake::new(request.endpoint(), request.executor(), message));
        nothing(false)
    };
    let reply = match endpoint.call(request.clone()).await {
        Ok(reply) => reply,
        Err(panic) => return mistake(&format!("panicked: {panic}")),
    };
    if !reply.delay.is_zero() {
        sleep(reply.delay).await;
    }
    let (pause, raises) = (reply.pause, reply.raises.is_some());
    let documents = match reply.content {
        Content::Documents(Ok(documents)) => stream::iter(documents).map(Ok).boxed(),
        Content::Documents(Err(error)) => stream::iter([Err(error)]).boxed(),
        Content::Unchanged => stream::iter(request.documents.to_vec()).map(Ok).boxed(),
        Content::Stream(documents) => documents,
        Content::Exception(_) => return nothing(true),
        Content::Status(code @ 200..=599, retry_after) => return Begun::Status(code, retry_after),
        Content::Status(code, _) => {
            return mistake(&format!("returned the status {code}, which HTTP does not have"));
        }
    };
    Begun::Given(Given { documents, pause, raises })
}

/// A document as an event of `text/event-stream`. Python writes its JSON, in ASCII.
pub(crate) fn event(document: &Value) -> String {
    let mut event = String::with_capacity(256);
    event.push_str("event: update\r\ndata: ");
    document.write_python(&mut event);
    event.push_str("\r\n\r\n");
    event
}

/// The event behind the last document.
pub(crate) const END: &str = "event: end\r\n\r\n";

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_endpoint_that_raises_is_called_four_times() {
        let (world, _stop) = World::for_tests();
        let mut run = Run::of_script(&StreamScript::new(2).raises(true), "x".into());
        let mut ids = Vec::new();
        while let Some(given) = run.next(&world).await {
            ids.extend(given.get("id").cloned());
        }
        let expected = ["s0", "s1"].repeat(4).into_iter().map(|id| Value::Text(id.into()));
        assert_eq!(ids, expected.collect::<Vec<_>>());
        let mut run = Run::of_script(&StreamScript::new(0).raises(true), "x".into());
        assert!(run.next(&world).await.is_none());
    }

    #[test]
    fn events_are_ascii() {
        let given = Value::Map(vec![
            ("id".into(), Value::Text("s0".into())),
            ("text".into(), Value::Text("h\u{e9} \"\u{1f600}\"".into())),
            ("tensor".into(), Value::Null),
        ]);
        assert_eq!(
            event(&given),
            "event: update\r\ndata: {\"id\": \"s0\", \"text\": \"h\\u00e9 \\\"\\ud83d\\ude00\\\"\", \
             \"tensor\": null}\r\n\r\n"
        );
    }
}
