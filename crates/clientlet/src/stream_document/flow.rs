//! The course of a stream: attempts until the first document has come, then the other documents.

use std::mem::take;
use std::sync::Arc;
use std::time::Duration;

use futures_core::Stream;
use futures_util::{StreamExt, TryFutureExt, stream};
use http::HeaderMap;
use tokio::time::{Instant, timeout_at};

use super::content::Content;
use crate::discovery::{Discovery, Found};
use crate::error::{AttemptError, Context, Error, Event};
use crate::message::RequestId;
use crate::retry::{Failure, Ledger, Retry, RetryPolicy, Times, Turn, later};
use crate::secret::Secrets;
use crate::telemetry::{AttemptTrace, CallTrace, LoneRequest, Subject};
use crate::transport::{RawDocument, RawDocuments, StreamRequest, Transport};

/// The settings of a call that is ready to be made. Its transport has streams.
pub(super) struct Call {
    pub(super) transport: Arc<dyn Transport>,
    pub(super) discovery: Arc<Discovery>,
    pub(super) headers: Arc<HeaderMap>,
    /// What no error may show.
    pub(super) secrets: Secrets,
    pub(super) endpoint: String,
    pub(super) content: Content,
    pub(super) id: RequestId,
    pub(super) retry: RetryPolicy,
    /// The time limit for the whole stream.
    pub(super) timeout: Option<Duration>,
    /// The time limit for the first document of an attempt.
    pub(super) first_timeout: Option<Duration>,
    /// The time limit for each further document.
    pub(super) idle_timeout: Option<Duration>,
    pub(super) trace: Arc<CallTrace>,
}

/// A call in progress.
struct Run {
    call: Call,
    started: Instant,
    /// The time by which the whole stream must have ended.
    until: Option<Instant>,
    ledger: Ledger,
    /// The time at which the attempt began that gave the first document.
    began: Instant,
    documents: RawDocuments,
    /// The first document, or the end of a stream without documents, until it is taken.
    first: Option<Option<RawDocument>>,
    /// The stream as a request, which ends with the last document.
    request: LoneRequest<Arc<CallTrace>>,
}

/// Returns the documents of a call as they come. If the call fails, its error is the last item.
pub(super) fn documents(
    call: Call,
) -> impl Stream<Item = Result<RawDocument, Error>> + Send + 'static {
    let documents = |run| {
        stream::try_unfold(run, async |mut run: Run| {
            Ok(run.next().await?.map(|document| (document, run)))
        })
    };
    begin(call).map_ok(documents).try_flatten_stream()
}

/// Sends the request, and retries it until the first document has come.
async fn begin(call: Call) -> Result<Run, Error> {
    let times = Times::from_now(call.timeout, call.first_timeout);
    let Times { started, deadline: until, .. } = times;
    let mut request = LoneRequest::begin(call.trace.clone(), started);
    let id = call.id.to_string();
    let subject = Subject { request_id: Some(&id), documents: 1, ..Subject::named("stream") };
    let attempts = Retry::new(&call.retry, times, &call.transport.facts().address)
        .hiding(&call.secrets)
        .traced(&call.trace, &subject)
        .run(|turn| call.attempt(turn, until))
        .await;
    match attempts {
        Ok(((began, documents, first), ledger)) => {
            Ok(Run { call, started, until, ledger, began, documents, first: Some(first), request })
        }
        Err(failure) => {
            let failed = Err(failure.into_error(call.context()));
            request.end_with(&failed);
            failed
        }
    }
}

impl Run {
    async fn next(&mut self) -> Result<Option<RawDocument>, Error> {
        if let Some(first) = self.first.take() {
            if first.is_none() {
                self.request.end_with(&Ok(()));
            }
            return Ok(first);
        }
        let Run { call, started, until, began, .. } = self;
        let deadline = [later(Instant::now(), call.idle_timeout), *until];
        let deadline = deadline.into_iter().flatten().min();
        let next = wait(&mut self.documents, deadline, *until).await.map_err(|mut last| {
            last.hide(&call.secrets);
            let (ledger, address) = (take(&mut self.ledger), &call.transport.facts().address);
            Failure::late(last, ledger, address, *started, *began).into_error(call.context())
        });
        if !matches!(next, Ok(Some(_))) {
            self.request.end_with(&next);
        }
        next
    }
}

impl Call {
    async fn attempt(
        &self,
        turn: Turn,
        until: Option<Instant>,
    ) -> Result<(Instant, RawDocuments, Option<RawDocument>), AttemptError> {
        let Turn { began, deadline, ref trace, .. } = turn;
        let streams = self.transport.streams().expect("the call was checked for streams");
        let unsent = |error: Error| AttemptError::new(Event::EncodeFailed, error.message());
        let Found { name, path } = self.find(deadline, trace).await?;
        let path = format!("{path}{}", self.content.query());
        let uri = self.transport.facts().uri(&path).map_err(unsent)?;
        let body = self.content.body(&name, self.id).map_err(unsent)?;
        let headers = trace.headers().unwrap_or(&self.headers).clone();
        let request = StreamRequest { body, uri, headers, until, trace: trace.clone() };
        let mut documents = streams.open(&request, deadline).await?;
        let first = wait(&mut documents, deadline, until).await?;
        Ok((began, documents, first))
    }

    /// Finds the path at which the stream is requested. If the known facts about the gateway do not
    /// include the endpoint, the gateway is asked once more, because the endpoint may have been
    /// deployed meanwhile.
    async fn find(
        &self,
        deadline: Option<Instant>,
        trace: &AttemptTrace,
    ) -> Result<Found, AttemptError> {
        let ask = || self.discovery.ask(&self.transport, &self.headers, deadline, trace);
        let known = self.discovery.known();
        let gateway = ask().await?;
        match gateway.find_stream(&self.endpoint) {
            Err(error) if known.is_some_and(|known| Arc::ptr_eq(&known, &gateway)) => {
                self.discovery.forget(&gateway);
                ask().await.map_err(|_| error)?.find_stream(&self.endpoint)
            }
            found => found,
        }
    }

    /// Returns the context of the stream's errors.
    pub(super) fn context(&self) -> Context {
        self.transport.facts().address.context(Some(self.id.to_string()), Some(0..1))
    }
}

async fn wait(
    documents: &mut RawDocuments,
    deadline: Option<Instant>,
    until: Option<Instant>,
) -> Result<Option<RawDocument>, AttemptError> {
    let Some(deadline) = deadline else { return documents.next().await.transpose() };
    let began = Instant::now();
    timeout_at(deadline, documents.next())
        .await
        .map_err(|_| {
            let what = match until == Some(deadline) {
                true => "the stream did not end in time".to_owned(),
                false => {
                    let waited = began.elapsed().as_secs_f64();
                    format!("no document within {waited:.1} s, the stream's idle time-out")
                }
            };
            AttemptError::new(Event::TimedOut, what)
        })?
        .transpose()
}

#[cfg(test)]
mod tests {
    use clientlet_gateway::{DocArray, Gateway, StreamScript};
    use serde_json::{Value, json};

    use super::*;
    use crate::Client;
    use crate::builder::transport;
    use crate::connect::memory::network::network;
    use crate::options::ClientletOptions;

    /// Makes a call of 5 s whose first `stalled` attempts are never answered. Returns the number of
    /// attempts, the duration and the number of documents.
    async fn stalled(
        scheme: &str,
        stalled: u32,
        retry: RetryPolicy,
        idle_timeout: Option<Duration>,
    ) -> (usize, Duration, u64) {
        let (connector, accepted, _) = network();
        let fault = match scheme {
            "http" => format!("stall@1-{stalled},path=/stream"),
            _ => format!("stall@1-{stalled}"),
        };
        let gateway = Gateway::builder()
            .docarray(DocArray::V2)
            .http(scheme == "http")
            .grpc(scheme == "grpc")
            .stream_endpoint("/stream", StreamScript::new(3))
            .fault(fault.parse().unwrap())
            .serve(accepted)
            .unwrap();
        let config = ClientletOptions::new().check(&format!("{scheme}://h:80")).unwrap();
        let transport = transport(connector, &config, false).unwrap();
        let client = Client::over(config, transport);
        let began = Instant::now();
        let call = client.stream_document("/stream", &json!({"text": "x"})).retry(retry);
        let call = call.timeout(Duration::from_secs(5));
        let call = match idle_timeout {
            Some(timeout) => call.idle_timeout(timeout),
            None => call,
        };
        let mut documents = call.stream::<Value>();
        while let Some(Ok(_)) = documents.next().await {}
        let arrived = match scheme {
            "http" => {
                let gets = gateway.journal().gets();
                gets.iter().filter(|get| get.path == "/stream").count()
            }
            _ => gateway.journal().len(),
        };
        (arrived, began.elapsed(), documents.documents_given())
    }

    #[tokio::test(start_paused = true)]
    async fn an_attempt_that_is_never_answered_leaves_half_of_the_time_for_another() {
        let at_most_once = RetryPolicy::standard().at_most_once(true);
        let hand = |seconds| Some(Duration::from_secs(seconds));
        let second = Duration::from_secs(1);
        for scheme in ["http", "grpc"] {
            let waits = RetryPolicy::standard;
            // The second attempt is answered, after 2.5 s and a wait of up to 0.1 s.
            let (arrived, took, given) = stalled(scheme, 1, waits(), None).await;
            assert_eq!((arrived, given), (2, 3), "{scheme}");
            assert!((second * 5 / 2..second * 27 / 10).contains(&took), "{scheme}: {took:?}");
            // Without an answer all of the time is used.
            let (arrived, took, given) = stalled(scheme, 9, waits(), None).await;
            assert_eq!((arrived, given), (2, 0), "{scheme}");
            assert!((second * 5..second * 52 / 10).contains(&took), "{scheme}: {took:?}");
            // If no other attempt may follow, the first has all of the time.
            for policy in [RetryPolicy::new(), at_most_once.clone()] {
                let (arrived, took, _) = stalled(scheme, 1, policy, None).await;
                assert_eq!(arrived, 1, "{scheme}");
                assert!((second * 5..second * 52 / 10).contains(&took), "{scheme}: {took:?}");
            }
            // A time-out that the caller sets takes precedence.
            let (arrived, took, given) = stalled(scheme, 1, waits(), hand(1)).await;
            assert_eq!((arrived, given), (2, 3), "{scheme}");
            assert!((second..second * 12 / 10).contains(&took), "{scheme}: {took:?}");
        }
    }
}
