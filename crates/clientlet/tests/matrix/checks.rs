//! What must hold in every cell, request by request.

use std::time::Duration;

use clientlet::{Attempt, Delivery};
use clientlet_gateway::{Entry, FaultKind};

use crate::cell::{Cell, End, Failure, REQUESTS, Ran};
use crate::rows::{Again, Arrival, Outcome, Reach, is_harm, runs};

/// How late a request may end after its deadline. The client's timers are as punctual as the
/// machine, which other builds and tests share; half a second late it takes for its own caller's
/// absence and then grants an answer that is under way some more. A deadline that is not kept at all
/// shows by far: what a stalled request or a gateway's wait would take instead is longer than this.
const SLACK: Duration = Duration::from_secs(2);

/// All that is wrong with what came of a cell.
pub(crate) fn complaints(cell: Cell, ran: &Ran) -> Vec<String> {
    let mut complaints = Vec::new();
    each_ends_once(cell, ran, &mut complaints);
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
    complaints
}

fn name(entry: &Entry) -> String {
    entry.fault.as_ref().map_or_else(|| "well".to_owned(), ToString::to_string)
}

fn each_ends_once(cell: Cell, ran: &Ran, complaints: &mut Vec<String>) {
    let mut ends = vec![0; REQUESTS];
    for (place, end) in ran.ends.iter().enumerate() {
        let first = usize::try_from(end.input.start).unwrap_or(usize::MAX);
        if end.input.end != end.input.start + 1 || first >= REQUESTS {
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

/// The arrivals of each document, in order.
fn by_document<'a>(entries: &'a [Entry], complaints: &mut Vec<String>) -> Vec<Vec<&'a Entry>> {
    let mut arrivals = vec![Vec::new(); REQUESTS];
    for entry in entries {
        let document = match &entry.document_ids[..] {
            [id] => id.parse().ok().and_then(|n: usize| arrivals.get_mut(n)),
            _ => None,
        };
        match document {
            Some(arrivals) => arrivals.push(entry),
            None => complaints.push(format!("a request arrived that nobody made: {entry:?}")),
        }
    }
    arrivals
}

/// How one request ended, and what the gateway saw of it.
struct Witnessed<'a> {
    cell: Cell,
    end: &'a End,
    arrived: &'a [&'a Entry],
}

impl Witnessed<'_> {
    fn check(&self) -> Vec<&'static str> {
        let Witnessed { cell, end, arrived } = self;
        let (row, mode) = (cell.row, cell.mode);
        let attempts = end.attempts as usize;
        let mut wrong = Vec::new();
        let mut must = |holds: bool, otherwise| {
            if !holds {
                wrong.push(otherwise);
            }
        };
        must(
            arrived.iter().all(|entry| entry.request_id == end.request_id),
            "it arrived by another id than it ended",
        );
        must(end.attempts >= 1 && end.attempts <= mode.max_attempts(), "too many or no attempts");
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
                "it was sent again though answered",
            );
            must(
                last.is_none_or(|last| match (&end.result, row.reach) {
                    (Ok(_), _) => !self.is_harmed(last),
                    (Err(_), Reach::Answered) => true,
                    (Err(_), _) => self.is_harmed(last),
                }),
                "its end is not that of its last arrival",
            );
            if row.arrival == Arrival::Always {
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
        let with = |delivery| failure.attempts.iter().filter(|a| a.delivery == delivery).count();
        must(
            failure.attempts.iter().zip(1..).all(|(attempt, number)| attempt.number == number),
            "its attempts are not numbered through",
        );
        must(
            failure.attempts.iter().all(|attempt| self.again(attempt).is_some()),
            "an attempt is reported as what cannot have happened",
        );
        must(
            failure.delivery != Delivery::NotSent || arrived.is_empty(),
            "reported as not sent, it arrived",
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
        must(failure.may_have_run || !ran, "reported as certainly not run, it ran");
        let Some((last, before)) = failure.attempts.split_last() else { return };
        must(
            (last.kind, last.delivery.join(failure.delivery)) == (failure.kind, failure.delivery),
            "the error is not that of its last attempt",
        );
        must(
            before.iter().all(|attempt| self.may_repeat(attempt)),
            "it was sent again though that was in vain, or it may have run",
        );
        must(
            !(mode.retries && self.may_repeat(last)),
            "it was given up although it could be sent again",
        );
    }

    /// What the row says of an attempt that failed so; nothing if it cannot have happened.
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

    /// Whether the request that arrived got no answer that can be read.
    fn is_harmed(&self, entry: &Entry) -> bool {
        let is_alone = self.cell.row.reach == Reach::Request;
        entry.fault.as_ref().is_some_and(is_harm) || (!is_alone && entry.answered.is_none())
    }
}

/// What the call counted is what the gateway counted.
fn sums_agree(cell: Cell, ran: &Ran, complaints: &mut Vec<String>) {
    let struck = ran.entries.iter().filter(|entry| entry.fault.is_some()).count() as u64;
    if struck + ran.refused + ran.turned_away as u64 == 0 {
        complaints.push("the fault struck nobody".to_owned());
    }
    let (arrived, refused) = (ran.entries.len() as u64, ran.refused);
    let attempts: u64 = ran.ends.iter().map(|end| u64::from(end.attempts)).sum();
    let agree = match (cell.row.arrival, cell.row.is_patient()) {
        (Arrival::Always, true) => attempts == arrived,
        // One that was given up before it was sent did not arrive.
        (Arrival::Always, false) | (Arrival::Perhaps, _) => attempts >= arrived,
        (Arrival::Refused | Arrival::Unread, _) => attempts == arrived + refused,
        (Arrival::RefusedConnections, _) => (arrived..=arrived + refused).contains(&attempts),
    };
    if !agree {
        complaints.push(format!(
            "{attempts} attempts were counted, {arrived} arrived and {refused} were refused"
        ));
    }
}
