//! Runs a request's attempts, and splits the request if only some of its documents are at fault.

use std::future::ready as done;
use std::mem;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::Either;
use tokio::time::Instant;

use super::Call;
use super::flights::Flight;
use crate::discovery::Gateway;
use crate::envelope::inner::{self, cannot_pass_on};
use crate::error::{AttemptError, Error, Event};
use crate::message::{Culprit, RawAnswer, Request};
use crate::response::Response;
use crate::retry::{Failure, Ledger, Retry, Turn};
use crate::stop::stopped;
use crate::telemetry::{AttemptTrace, Subject};
use crate::transport::Terms;

/// A request that ended, with an answer or an error.
pub(super) struct Ended {
    pub(super) index: u64,
    pub(super) bytes: usize,
    pub(super) result: Result<Response, Error>,
    /// The results of the request's other documents, if only some documents were at fault. They are
    /// in order, as if the documents had been separate requests.
    pub(super) rest: Vec<Result<Response, Error>>,
}

impl Ended {
    /// A request whose documents share one result.
    pub(super) fn whole(index: u64, bytes: usize, result: Result<Response, Error>) -> Ended {
        Ended { index, bytes, result, rest: Vec::new() }
    }
}

/// Sends a request until it is answered or its failure is final. `failed` is the failure of its
/// first attempt, if that was already made. If only some documents are at fault, these fail by
/// themselves, and the others are sent without them.
pub(super) async fn send(
    call: Arc<Call>,
    gateway: Option<Arc<Gateway>>,
    flight: Flight,
    failed: Option<AttemptError>,
) -> Ended {
    let Flight { request, mut body, bytes, started, trace, .. } = flight;
    let index = request.index;
    let result = match run(&call, &request, &mut body, started, failed, trace).await {
        Ok((answer, ledger)) => Ok(response(request, answer, ledger.next(), started.elapsed())),
        Err(failure) if may_be_split(&call, &failure) => {
            let parts = send_parts(&call, &request, &body, started, failure);
            let mut results = Box::pin(parts).await;
            let rest = results.split_off(1);
            let result = results.pop().expect("a request that is split has parts");
            return Ended { index, bytes, result, rest };
        }
        Err(failure) => {
            if let (Event::NotFound404, Some(gateway)) = (failure.last.event, &gateway) {
                // The path was right when the gateway was asked, so the gateway has changed and is
                // asked again.
                call.discovery.forget(gateway);
            }
            Err(call.failed(failure, request, &body))
        }
    };
    Ended::whole(index, bytes, result)
}

/// Runs the attempts of one request. Returns its answer and the failures before it.
async fn run(
    call: &Call,
    request: &Request,
    body: &mut Bytes,
    started: Instant,
    mut failed: Option<AttemptError>,
    trace: AttemptTrace,
) -> Result<(RawAnswer, Ledger), Failure> {
    let mut made = 0;
    let attempt = |turn: Turn| {
        let before = made;
        made += 1;
        let renews = call.transport.facts().renews;
        let mut was_refused = false;
        if let Some(error) = failed.take() {
            if !(renews && error.is_unauthorized()) {
                return Either::Left(done(Err(error)));
            }
            was_refused = true;
        }
        if call.stop.is_set() {
            return Either::Left(done(Err(stopped(false))));
        }
        let is_suspect = turn.after.is_some_and(Event::is_anyones);
        let Turn { began, deadline, is_last, .. } = turn;
        let is_alone = is_last && is_suspect;
        if is_alone {
            turn.trace.isolated();
        }
        let (idle_timeout, stop) = (call.idle_timeout, &call.stop);
        let failed = before;
        let trace = turn.trace;
        let terms =
            Terms { began, deadline, idle_timeout, failed, is_alone, was_refused, stop, trace };
        if let Some(unsent) = turn.unsent {
            *body = unsent;
        }
        debug_assert!(!body.is_empty(), "a body that was not sent comes back");
        // The last attempt needs no second copy of the body, so the transport may mask this copy.
        let is_kept = call.keep_documents;
        let is_lent = turn.is_last && call.transport.facts().is_masking && !is_kept;
        let body = if is_lent { mem::take(body) } else { body.clone() };
        Either::Right(call.transport.attempt(request, body, terms))
    };
    let seed = call.seed ^ request.id.sequence;
    let (times, address) = (call.times(started), &call.transport.facts().address);
    let retry = Retry::seeded(&call.retry, times, address, seed).hiding(&call.secrets);
    let subject = Subject::request(request);
    retry.until(&call.stop).traced(&call.trace, &subject).run_from(trace, attempt).await
}

pub(super) fn response(
    request: Request,
    answer: RawAnswer,
    attempts: u32,
    elapsed: Duration,
) -> Response {
    let Request { id_text, documents, .. } = request;
    Response::new(answer, id_text, documents, attempts, elapsed)
}

/// Whether the other documents may be sent without those at fault.
fn may_be_split(call: &Call, failure: &Failure) -> bool {
    let ran = call.retry.is_at_most_once() && failure.may_have_run();
    !failure.last.culprits.is_empty() && !ran
}

/// Fails the documents at fault one by one, sends the documents between them, and returns all
/// results in order.
async fn send_parts(
    call: &Call,
    request: &Request,
    body: &Bytes,
    started: Instant,
    failure: Failure,
) -> Vec<Result<Response, Error>> {
    let first = request.documents.start;
    let mut results = Vec::new();
    let count = usize::try_from(request.documents.end - first).unwrap_or(usize::MAX);
    let mut next = 0;
    for Culprit { index, what } in &failure.last.culprits {
        if *index > next {
            results.push(send_part(call, request, body, started, next..*index).await);
        }
        let number = first + *index as u64;
        let mut alone = failure.clone();
        alone.last.message = cannot_pass_on(number, what);
        let context = call.context(Some(request.id_text.clone()), number..number + 1);
        let own = inner::part(body, *index..index + 1, &request.id_text, &request.id_text);
        let kept = own.and_then(|own| call.kept(request.route.docarray, &own));
        results.push(Err(alone.into_error(context).with_documents(kept)));
        next = index + 1;
    }
    if next < count {
        results.push(send_part(call, request, body, started, next..count).await);
    }
    results
}

/// Sends some of a request's documents as a separate request, in the time that the request has
/// left.
async fn send_part(
    call: &Call,
    whole: &Request,
    body: &Bytes,
    started: Instant,
    range: Range<usize>,
) -> Result<Response, Error> {
    let id = call.ids.next();
    let id_text = id.to_string();
    let first = whole.documents.start;
    let documents = first + range.start as u64..first + range.end as u64;
    let Some(mut body) = inner::part(body, range, &whole.id_text, &id_text) else {
        let what = "the documents cannot be sent without the documents at fault";
        let last = AttemptError::new(Event::EncodeFailed, what);
        let context = call.context(Some(id_text), documents);
        return Err(Failure::unattempted(last).into_error(context));
    };
    let request =
        Request { id, id_text, index: whole.index, documents, route: whole.route.clone() };
    let trace = call.trace.attempt(&Subject::request(&request), 1);
    match run(call, &request, &mut body, started, None, trace).await {
        Ok((answer, ledger)) => Ok(response(request, answer, ledger.next(), started.elapsed())),
        Err(failure) => Err(call.failed(failure, request, &body)),
    }
}
