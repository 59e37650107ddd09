//! The checks of every cell, request by request.

use std::time::Duration;

use clientlet::{Attempt, Delivery, ErrorKind};
use clientlet_gateway::{Entry, FaultKind};

use crate::cell::{Cell, End, Failure, REQUESTS, Ran};
use crate::rows::{Again, Arrival, Outcome, Reach, is_harm, runs};

/// How late a request may end after its deadline. The client's timers are as punctual as the
/// machine, which other builds and tests share. If a timer is more than half a second late, the
/// client assumes that the caller did not poll, and gives answers some more time. A deadline that
/// is not kept at all is still noticed, because a stalled request or a gateway's wait takes longer
/// than this.
const SLACK: Duration = Duration::from_secs(2);

/// Returns everything that is wrong with a cell's results.
pub(crate) fn complaints(cell: Cell, ran: &Ran) -> Vec<String> {
    let mut complaints = Vec::new();
    each_ends_once(cell, ran, &mut complaints);
    counts_agree(cell, ran, &mut complaints);
    let arrivals = by_document(&ran.entries, &mut complaints);
    for end in &ran.ends {
        let Some(arrived) = usize::try_from(end.input.start).ok().and_then(|n| arrivals.get(n))
        else {
            continue;
        };
        let wrong = Witnessed { cell, end, arrived }.check();
        if !wrong.is_empty() {
            let (document, wrong) = (end.input.start, wrong.join(", "));
            let faults: Vec<String> = arrived.iter().map(|entry| name(entry)).collect();
            let faults = faults.join(", ");
            complaints.push(format!("document {document}: {wrong}; arrived [{faults}]; {end:?}"));
        }
    }
    sums_agree(cell, ran, &mut complaints);
    statistics_agree(ran, &mut complaints);
    #[cfg(feature = "otel")]
    if let Some(told) = &ran.told {
        traces_agree(ran, told, &mut complaints);
    }
    complaints
}

fn name(entry: &Entry) -> String {
    entry.fault.as_ref().map_or_else(|| "well".to_owned(), ToString::to_string)
}

fn each_ends_once(cell: Cell, ran: &Ran, complaints: &mut Vec<String>) {
    // A call that is stopped leaves the rest of its input unread.
    let read = usize::try_from(ran.taken).unwrap_or(usize::MAX).min(REQUESTS);
    let mut ends = vec![0; read];
    for (place, end) in ran.ends.iter().enumerate() {
        let first = usize::try_from(end.input.start).unwrap_or(usize::MAX);
        if end.input.end != end.input.start + 1 || first >= read {
            complaints.push(format!("a request of documents {:?} was never made", end.input));
            continue;
        }
        ends[first] += 1;
        if cell.mode.in_order && place != first {
            complaints.push(format!("document {first} came at place {place}"));
        }
    }
    for (document, ends) in ends.iter().enumerate().filter(|(_, ends)| **ends != 1) {
        complaints.push(format!("document {document} ended {ends} times"));
    }
}

/// Checks the call's own counts of its documents.
fn counts_agree(cell: Cell, ran: &Ran, complaints: &mut Vec<String>) {
    let Ran { taken, read, sent, .. } = *ran;
    // A request that was stopped before it was begun has no id.
    let is_begun = |end: &&End| !end.is_cancelled() || end.request_id.is_some();
    let begun = ran.ends.iter().filter(is_begun).count() as u64;
    if read != taken || sent != begun {
        complaints.push(format!(
            "it says that it read {read} documents and began requests of {sent}; \
             {taken} were taken and {begun} begun"
        ));
    }
    if cell.mode.stops_after.is_none() != (taken == REQUESTS as u64) {
        complaints.push(format!("{taken} documents were taken"));
    }
}

/// Returns the arrivals of each document, in order.
fn by_document<'a>(entries: &'a [Entry], complaints: &mut Vec<String>) -> Vec<Vec<&'a Entry>> {
    let mut arrivals = vec![Vec::new(); REQUESTS];
    for entry in entries {
        let document = match &entry.document_ids[..] {
            [id] => id.parse().ok().and_then(|n: usize| arrivals.get_mut(n)),
            _ => None,
        };
        match document {
            Some(arrivals) => arrivals.push(entry),
            None => {
                complaints.push(format!("a request arrived that the call did not make: {entry:?}"));
            }
        }
    }
    arrivals
}

/// The end of a request, and its arrivals at the gateway.
struct Witnessed<'a> {
    cell: Cell,
    end: &'a End,
    arrived: &'a [&'a Entry],
}

impl Witnessed<'_> {
    fn check(&self) -> Vec<&'static str> {
        let Witnessed { cell, end, arrived } = self;
        let (row, mode) = (cell.row, cell.mode);
        let is_cancelled = end.is_cancelled();
        let attempts = end.attempts as usize;
        let mut wrong = Vec::new();
        let mut must = |holds: bool, otherwise| {
            if !holds {
                wrong.push(otherwise);
            }
        };
        must(
            arrived.iter().all(|entry| entry.request_id == end.request_id),
            "it arrived with another id than it ended with",
        );
        // A request that was stopped may have been waiting for its first attempt.
        let fewest = u32::from(!is_cancelled);
        must((fewest..=mode.max_attempts()).contains(&end.attempts), "too many or no attempts");
        must(arrived.len() <= attempts, "it arrived more often than it was sent");
        must(end.elapsed <= row.deadline(mode.retries) + SLACK, "it ended after its deadline");
        if mode.at_most_once {
            let may_run =
                |entry: &&&Entry| !matches!(entry.fault, Some(FaultKind::Status { code: 429, .. }));
            must(arrived.iter().filter(may_run).count() <= 1, "at most once, it arrived twice");
        }
        if row.is_patient() {
            let (last, before) = match arrived.split_last() {
                Some((last, before)) => (Some(*last), before),
                None => (None, &[][..]),
            };
            must(
                row.reach == Reach::Answered || before.iter().all(|entry| self.is_harmed(entry)),
                "it was sent again although it was answered",
            );
            must(
                last.is_none_or(|last| match (&end.result, row.reach) {
                    _ if is_cancelled => true,
                    (Ok(_), _) => !self.is_harmed(last),
                    (Err(_), Reach::Answered) => true,
                    (Err(_), _) => self.is_harmed(last),
                }),
                "its end does not match its last arrival",
            );
            if row.arrival == Arrival::Always && !is_cancelled {
                must(attempts == arrived.len(), "an attempt did not arrive");
            }
        }
        match &end.result {
            Ok(ids) => {
                must(*ids == [end.input.start.to_string()], "another document came back");
                must(!arrived.is_empty(), "it was answered and never arrived");
            }
            Err(failure) => self.check_failure(failure, &mut must),
        }
        wrong
    }

    fn check_failure(&self, failure: &Failure, must: &mut impl FnMut(bool, &'static str)) {
        let Witnessed { cell, arrived, .. } = self;
        let mode = cell.mode;
        let is_cancelled = self.end.is_cancelled();
        let with = |delivery| failure.attempts.iter().filter(|a| a.delivery == delivery).count();
        must(
            failure.attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number),
            "its attempts are not numbered consecutively",
        );
        must(
            failure.attempts.iter().all(|attempt| {
                self.again(attempt).is_some()
                    || (is_cancelled && attempt.kind == ErrorKind::Cancelled)
            }),
            "an attempt is reported with a failure that cannot have happened",
        );
        must(
            failure.delivery != Delivery::NotSent || arrived.is_empty(),
            "it is reported as not sent, but it arrived",
        );
        must(
            !is_cancelled || mode.stops_after.is_some(),
            "it was cancelled although the call was not stopped",
        );
        must(
            arrived.len() <= failure.attempts.len() - with(Delivery::NotSent),
            "an attempt that is reported as not sent arrived",
        );
        must(
            cell.row.arrival == Arrival::Unread || arrived.len() >= with(Delivery::Answered),
            "an attempt that is reported as answered never arrived",
        );
        let ran = arrived.iter().any(|entry| entry.fault.as_ref().is_none_or(runs));
        must(failure.may_have_run || !ran, "it is reported as certainly not run, but it ran");
        let Some((last, before)) = failure.attempts.split_last() else { return };
        must(
            is_cancelled
                || (last.kind, last.delivery.join(failure.delivery))
                    == (failure.kind, failure.delivery),
            "its error does not match its last attempt",
        );
        must(
            before.iter().all(|attempt| self.may_repeat(attempt)),
            "it was sent again although its failure was final, or it may have run",
        );
        must(
            is_cancelled || !(mode.retries && self.may_repeat(last)),
            "it was given up although it could be sent again",
        );
    }

    /// Returns whether the row allows another attempt after this failure; `None` if the failure
    /// cannot have happened.
    fn again(&self, attempt: &Attempt) -> Option<Again> {
        let is_it = |outcome: &&Outcome| {
            (outcome.kind, outcome.delivery) == (attempt.kind, attempt.delivery)
        };
        self.cell.row.failures.iter().find(is_it).map(|outcome| outcome.again)
    }

    fn may_repeat(&self, attempt: &Attempt) -> bool {
        match self.again(attempt) {
            Some(Again::Always) => true,
            Some(Again::UnlessAtMostOnce) => !self.cell.mode.at_most_once,
            Some(Again::Never) | None => false,
        }
    }

    /// Whether the request that arrived got no readable answer.
    fn is_harmed(&self, entry: &Entry) -> bool {
        let is_alone = self.cell.row.reach == Reach::Request;
        entry.fault.as_ref().is_some_and(is_harm) || (!is_alone && entry.answered.is_none())
    }
}

/// Compares the call's counts with the gateway's.
fn sums_agree(cell: Cell, ran: &Ran, complaints: &mut Vec<String>) {
    let struck = ran.entries.iter().filter(|entry| entry.fault.is_some()).count() as u64;
    if struck + ran.refused + ran.turned_away as u64 == 0 && cell.mode.stops_after.is_none() {
        complaints.push("the fault struck no request".to_owned());
    }
    let (arrived, refused) = (ran.entries.len() as u64, ran.refused);
    let attempts: u64 = ran.ends.iter().map(|end| u64::from(end.attempts)).sum();
    // An attempt that was stopped may have arrived, unless it is reported as not sent.
    let stopped = |is_it: fn(&Attempt) -> bool| {
        let failures = ran.ends.iter().filter_map(|end| end.result.as_ref().err());
        let attempts = failures.flat_map(|failure| &failure.attempts);
        attempts.filter(|it| it.kind == ErrorKind::Cancelled && is_it(it)).count() as u64
    };
    let fewest = attempts - stopped(|_| true);
    let most = attempts - stopped(|attempt| attempt.delivery == Delivery::NotSent);
    let agree = match (cell.row.arrival, cell.row.is_patient()) {
        (Arrival::Always, true) => (fewest..=most).contains(&arrived),
        // A request that timed out before it was sent did not arrive.
        (Arrival::Always, false) | (Arrival::Perhaps, _) => most >= arrived,
        (Arrival::Refused | Arrival::Unread, _) => (fewest..=most).contains(&(arrived + refused)),
        (Arrival::RefusedConnections, _) => most >= arrived && fewest <= arrived + refused,
    };
    if !agree {
        complaints.push(format!(
            "{attempts} attempts were counted, {arrived} arrived and {refused} were refused"
        ));
    }
}

/// The requests that were made. Those without an id failed with the question what the gateway speaks,
/// whose attempts their ledger has.
fn made(ran: &Ran) -> impl Iterator<Item = &End> {
    ran.ends.iter().filter(|end| end.request_id.is_some())
}

/// Returns the number of attempts that the ledgers of all requests have, and how many of them failed.
fn ledgers(ran: &Ran) -> (u64, u64) {
    let attempts = made(ran).map(|end| u64::from(end.attempts)).sum();
    let answered = ran.ends.iter().filter(|end| end.result.is_ok()).count() as u64;
    (attempts, attempts - answered)
}

/// Compares the client's numbers with the ledgers of its requests.
fn statistics_agree(ran: &Ran, complaints: &mut Vec<String>) {
    let told = &ran.statistics;
    let (attempts, failed) = ledgers(ran);
    let sum = |counts: &[(ErrorKind, u64)]| counts.iter().map(|(_, count)| count).sum::<u64>();
    // Requests that a stop found unbegun have ended, but were not begun.
    let errors = ran.ends.iter().filter(|end| end.result.is_err()).count() as u64;
    let unbegun = ran.ends.len() as u64 - ran.sent;
    for (what, theirs, ours) in [
        ("requests", told.requests.count, ran.sent),
        ("failed requests", sum(&told.requests_failed), errors - unbegun),
        ("requests in flight", told.requests_in_flight, 0),
        ("attempts", told.attempts.count, attempts),
        ("failed attempts", sum(&told.attempts_failed), failed),
        ("retries", told.retries, retries(ran)),
    ] {
        if theirs != ours {
            complaints.push(format!("the client counts {theirs} {what}, there were {ours}"));
        }
    }
    if told.bytes_sent == 0 && !ran.entries.is_empty() {
        complaints.push("the client counts no byte that it sent".to_owned());
    }
}

/// Returns the number of attempts that followed on another.
fn retries(ran: &Ran) -> u64 {
    made(ran).map(|end| u64::from(end.attempts.saturating_sub(1))).sum()
}

/// Compares the spans and metrics with the ledgers and with the client's numbers.
#[cfg(feature = "otel")]
fn traces_agree(ran: &Ran, told: &crate::told::Told, complaints: &mut Vec<String>) {
    use crate::told::Attempts;

    for end in &ran.ends {
        let Some(id) = &end.request_id else { continue };
        let spans = told.attempts.get(id).copied().unwrap_or_default();
        let failed = end.attempts - u32::from(end.result.is_ok());
        let ledger = Attempts { spans: end.attempts, failed };
        if spans != ledger {
            let document = end.input.start;
            complaints.push(format!("document {document}: {spans:?} were told, not {ledger:?}"));
        }
    }
    let statistics = &ran.statistics;
    let (attempts, failed) = ledgers(ran);
    // The call was stopped while these waited for the attempt that the event announces.
    let is_announced = |end: &&End| match &end.result {
        Err(failure) if failure.kind == ErrorKind::Cancelled => {
            let last = failure.attempts.last();
            last.is_some_and(|last| last.kind != ErrorKind::Cancelled)
        }
        _ => false,
    };
    let stopped_in_wait = ran.ends.iter().filter(is_announced).count() as u64;
    let errors: u64 = statistics.requests_failed.iter().map(|(_, count)| count).sum();
    let call = |key: &str| told.call.get(key).copied().unwrap_or(0).try_into().unwrap_or(u64::MAX);
    for (what, theirs, ours) in [
        ("spans without the call's as parent", told.strays(), 0),
        ("events of retries", told.events("clientlet.retry"), retries(ran) + stopped_in_wait),
        ("requests in the call's span", call("clientlet.requests"), ran.sent),
        ("failed requests in it", call("clientlet.requests.failed"), errors),
        ("documents in it", call("clientlet.documents"), ran.sent),
        ("durations of requests", told.sum("clientlet.request.duration"), ran.sent),
        ("requests in flight", told.sum("clientlet.request.in_flight"), 0),
        ("durations of attempts", told.sum("clientlet.attempt.duration"), attempts),
        ("attempts", told.sum("clientlet.attempts"), attempts),
        ("answered", told.metric("clientlet.attempts/answered"), attempts - failed),
        ("retries", told.sum("clientlet.retries"), retries(ran)),
        ("reconnects", told.sum("clientlet.reconnects"), statistics.connections.reconnects),
        (
            "events of reconnects",
            told.events("clientlet.reconnect"),
            told.sum("clientlet.reconnects"),
        ),
        ("duplicates", told.sum("clientlet.duplicates"), statistics.connections.duplicates_dropped),
        ("waits", told.sum("clientlet.place.wait"), statistics.waits_for_place.count),
    ] {
        if theirs != ours {
            complaints.push(format!("OpenTelemetry was told {theirs} {what}, there were {ours}"));
        }
    }
    for (kind, count) in &statistics.attempts_failed {
        let theirs = told.metric(&format!("clientlet.attempts/{kind}"));
        if theirs != *count {
            complaints
                .push(format!("OpenTelemetry was told {theirs} attempts {kind}, not {count}"));
        }
    }
}
