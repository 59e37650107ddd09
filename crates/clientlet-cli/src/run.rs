//! One run of `clientlet post`: counts how requests end, and reports failures.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use clientlet::{Connections, Error, ErrorKind, Response};

use crate::fields::Fields;
use crate::hint::{self, Task};
use crate::input::Progress;
use crate::output::Unwritten;
use crate::outstanding::Outstanding;
use crate::record;
use crate::report::{self, Exit, Failure, count};
use crate::session::{End, Session};
use crate::summary::Summary;

/// How a run writes answers and names its input.
pub(crate) struct Format {
    /// The input's name in messages; `None` without an input.
    pub(crate) input_name: Option<String>,
    /// Whether responses are written instead of documents.
    pub(crate) as_responses: bool,
}

pub(crate) struct Run {
    pub(crate) session: Session,
    format: Format,
    input: Rc<RefCell<Progress>>,
    fields: Option<Rc<Fields>>,
    outstanding: Outstanding,
    summary: Summary,
    /// The hints that were given; each is given once.
    hints: BTreeSet<&'static str>,
    /// The kind of the last failures, and how many of this kind came since the last answer.
    in_a_row: (Option<ErrorKind>, u32),
    /// Whether the run ends with its first failure.
    stops_on_error: bool,
}

/// The number of failures of one kind in a row after which `--stop-on-error` is named. So many requests
/// hardly fail by chance.
const MANY: u32 = 10;
const STOP: &str = "many requests in a row failed for the same reason; --stop-on-error reads no more \
                    documents after the first failure";

impl Run {
    pub(crate) fn new(
        session: Session,
        format: Format,
        input: Rc<RefCell<Progress>>,
        fields: Option<Rc<Fields>>,
        stops_on_error: bool,
    ) -> Run {
        Run {
            session,
            format,
            input,
            fields,
            outstanding: Outstanding::default(),
            summary: Summary::default(),
            hints: BTreeSet::new(),
            in_a_row: (None, 0),
            stops_on_error,
        }
    }

    /// Records that a request was answered.
    pub(crate) fn answered(&mut self, response: &Response) {
        let documents = response.input();
        let added = self.session.output.add(documents.clone(), |out| {
            if self.format.as_responses {
                let lines = self.input.borrow().places.lines(&documents);
                record::write_response(response, lines, out)
            } else {
                record::write_documents(response, out)
            }
        });
        self.summary.requests += 1;
        self.summary.retried += u64::from(response.attempts() > 1);
        match added {
            Ok(()) => {
                self.summary.answered += 1;
                self.in_a_row = (None, 0);
            }
            Err(error) => self.report_failed(&error, response.attempts()),
        }
        self.outstanding.end(&documents);
    }

    /// Records and reports that a request failed or could not be made.
    pub(crate) fn failed(&mut self, error: &Error) {
        let attempts = u32::try_from(error.attempts().len()).unwrap_or(u32::MAX);
        match (error.kind(), error.input()) {
            (ErrorKind::Encode, Some(documents)) => self.refused(error, &documents),
            (ErrorKind::Config | ErrorKind::Encode, _) => {
                self.session.exit_with(Exit::BadInput);
                self.summary.not_sent += error.input().map_or(0, |range| range.end - range.start);
                for line in Failure::of(error, Task::Post).lines() {
                    self.session.line.print(&line);
                }
            }
            _ => {
                self.summary.requests += 1;
                self.summary.retried += u64::from(attempts > 1);
                self.report_failed(error, attempts);
            }
        }
        self.outstanding.end(&error.input().unwrap_or(0..0));
    }

    fn report_failed(&mut self, error: &Error, attempts: u32) {
        self.summary.failed += 1;
        self.session.exit_with(Exit::Failed);
        let documents = error.input().unwrap_or(0..0);
        self.summary.failed_documents += documents.end - documents.start;
        let place = self.input.borrow().places.describe(&documents);
        self.session.line.print(&report::failed(error, &place, attempts.into()));
        if let Some(advice) = hint::advice(error, Task::Post, self.summary.answered == 0)
            && self.hints.insert(advice.what)
        {
            self.session.line.print(&format!("  hint: {advice}"));
        }
        let before = match self.in_a_row {
            (Some(kind), before) if kind == error.kind() => before,
            _ => 0,
        };
        self.in_a_row = (Some(error.kind()), before + 1);
        if before + 1 == MANY && !self.stops_on_error && self.hints.insert(STOP) {
            self.session.line.print(&format!("  hint: {STOP}"));
        }
    }

    /// Records and reports a document that the gateway's generation cannot represent.
    fn refused(&mut self, error: &Error, documents: &Range<u64>) {
        self.summary.bad_input += 1;
        self.session.exit_with(Exit::BadInput);
        let place = match self.input.borrow().places.line(documents.start) {
            Some(line) => format!("{}:{line}", self.input_name()),
            None => format!("--text {}", documents.start + 1),
        };
        self.session.line.print(&format!("{place}: {}", error.message()));
    }

    /// The time between two calls of [`show`](Run::show).
    pub(crate) fn period(&self) -> Duration {
        self.session.line.period()
    }

    /// Shows the progress of the run, and forgets places that are no longer needed.
    pub(crate) fn show(&mut self, read: u64, in_flight: usize) {
        let unwritten = self.session.output.first_unwritten().unwrap_or(read);
        let oldest = self.outstanding.first().min(unwritten);
        // The place of the document before it may still be needed, to name the first line not read.
        self.input.borrow_mut().places.forget_below(oldest.saturating_sub(1));
        let ended = self.outstanding.ended();
        self.session.line.show(&self.summary, ended, in_flight, self.session.elapsed());
    }

    /// Ends a run whose input has no document.
    pub(crate) fn is_without_documents(&mut self) {
        let bad_lines = self.input.borrow().bad_lines;
        self.finish(0);
        // Bad lines were reported already.
        if bad_lines == 0 {
            self.session.line.print(&format!("error: no documents in {}", self.input_name()));
        }
        self.session.exit_with(Exit::BadInput);
    }

    fn input_name(&self) -> &str {
        self.format.input_name.as_deref().unwrap_or_default()
    }

    /// Counts the documents and bad lines that were read.
    fn finish(&mut self, read: u64) {
        self.session.line.clear();
        self.summary.elapsed = self.session.elapsed();
        self.summary.documents = read;
        let bad_lines = self.input.borrow().bad_lines;
        self.summary.bad_input += bad_lines;
        if let Some(unlisted) = &self.input.borrow().unlisted {
            let (first, last) = (unlisted.start(), unlisted.end());
            let name = self.input_name();
            let what = "these lines are not documents either";
            self.session.line.print(&format!("{name}:{first}-{last}: {what}"));
        }
        if bad_lines > 0 {
            self.session.exit_with(Exit::BadInput);
        }
    }

    /// Reports the documents that were read and have not ended.
    pub(crate) fn end(&mut self, end: End, read: u64, in_flight: usize) {
        self.finish(read);
        let input = self.input.clone();
        let input = input.borrow();
        let unanswered = self.outstanding.ranges(read);
        self.summary.not_answered = documents_of(&unanswered);
        let unread = match input.places.line_after(read) {
            _ if input.is_complete || self.format.input_name.is_none() => None,
            Some(line) => Some(format!("the input from line {line} on was not read")),
            None => Some("the input was not read".to_owned()),
        };
        let mut clauses = Vec::new();
        // A rejected document may have the field.
        if unread.is_none() && self.summary.bad_input == 0 {
            for option in self.fields.iter().flat_map(|fields| fields.unmet()) {
                self.session.line.print(&format!("warning: no document has the field of {option}"));
            }
        }
        match end {
            End::Complete if self.session.exit() == Exit::Success || read == 0 => return,
            End::Complete => clauses.extend(unread.map(|unread| format!("stopped: {unread}"))),
            End::Interrupted => {
                self.session.exit_with(Exit::Interrupted);
                let documents = count(self.summary.not_answered, "document");
                let requests = count(u64::try_from(in_flight).unwrap_or(u64::MAX), "request");
                let mut clause =
                    format!("interrupted: {documents} not answered, {requests} in flight");
                if !unanswered.is_empty() {
                    clause += &format!(" ({})", input.places.describe_all(&unanswered));
                }
                clauses.push(clause);
                clauses.extend(unread);
            }
            End::Unwritten(Unwritten { reason, documents }) => {
                self.session.exit_with(Exit::Failed);
                self.summary.not_written = documents_of(&documents);
                clauses.push(format!("error: {}: {reason}", self.session.output.name()));
                let lists = [("answered, not written", documents), ("not answered", unanswered)];
                for (what, ranges) in lists {
                    if !ranges.is_empty() {
                        clauses.push(format!("{what}: {}", input.places.describe_all(&ranges)));
                    }
                }
                clauses.extend(unread);
            }
        }
        if !clauses.is_empty() {
            self.session.line.print(&clauses.join("; "));
        }
    }

    /// Prints the closing line, writes the summary, and returns the exit status.
    pub(crate) fn close(mut self, connections: Connections) -> Exit {
        self.summary.reconnects = connections.reconnects;
        self.summary.duplicates_dropped = connections.duplicates_dropped;
        self.summary.interrupted = self.session.exit() == Exit::Interrupted;
        self.session.close(&self.summary)
    }
}

fn documents_of(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}
