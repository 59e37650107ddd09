//! One run of `clientlet post`: what ended how, and what is to be said of it.

use std::cell::RefCell;
use std::collections::BTreeSet;
use std::ops::Range;
use std::rc::Rc;
use std::time::Duration;

use clientlet::{Connections, Error, ErrorKind, Response};
use tokio::time::{Instant, timeout};

use crate::args::PostArgs;
use crate::fields::Fields;
use crate::hint::{self, Task};
use crate::input::Progress;
use crate::interrupt::Interrupt;
use crate::output::{Output, Unwritten};
use crate::outstanding::Outstanding;
use crate::progress::ProgressLine;
use crate::record;
use crate::report::{self, Exit, Failure, count};
use crate::summary::{Summary, SummaryFile};

/// How long an output may take for what is left after Ctrl-C.
const GRACE: Duration = Duration::from_secs(2);

/// Why no more is exchanged.
pub(crate) enum End {
    /// Every request has ended.
    Complete,
    /// The input holds no document.
    NoDocuments,
    /// A signal came.
    Interrupted,
    /// The output takes no more.
    Unwritten(Unwritten),
}

pub(crate) struct Run {
    pub(crate) output: Output,
    line: ProgressLine,
    input_name: String,
    input: Rc<RefCell<Progress>>,
    fields: Option<Rc<Fields>>,
    outstanding: Outstanding,
    summary: Summary,
    exit: Exit,
    started: Instant,
    /// Each hint is given once.
    hints: BTreeSet<&'static str>,
    has_input: bool,
    as_responses: bool,
    is_quiet: bool,
}

impl Run {
    pub(crate) fn new(
        args: &PostArgs,
        input_name: String,
        line: ProgressLine,
        output: Output,
        input: Rc<RefCell<Progress>>,
        fields: Option<Rc<Fields>>,
    ) -> Run {
        Run {
            output,
            line,
            input_name,
            input,
            fields,
            outstanding: Outstanding::default(),
            summary: Summary::default(),
            exit: Exit::Success,
            started: Instant::now(),
            hints: BTreeSet::new(),
            has_input: args.input.is_some(),
            as_responses: args.responses,
            is_quiet: args.quiet,
        }
    }

    /// All is checked; now things are sent, to the embedded gateway if it has a URL.
    pub(crate) fn begin(&mut self, embedded: Option<String>) {
        if let Some(url) = embedded
            && !self.is_quiet
        {
            self.line.print(&format!("no URL given: an embedded gateway was started at {url}"));
        }
        self.started = Instant::now();
    }

    /// A request was answered.
    pub(crate) fn answered(&mut self, response: &Response) {
        let documents = response.input();
        let added = self.output.add(documents.clone(), |out| {
            if self.as_responses {
                let lines = self.input.borrow().places.lines(&documents);
                record::write_response(response, lines, out)
            } else {
                record::write_documents(response, out)
            }
        });
        self.summary.requests += 1;
        self.summary.retried += u64::from(response.attempts() > 1);
        match added {
            Ok(()) => self.summary.answered += 1,
            Err(error) => self.report_failed(&error, response.attempts()),
        }
        self.outstanding.end(&documents);
    }

    /// A request failed, or could not even be made.
    pub(crate) fn failed(&mut self, error: &Error) {
        let attempts = u32::try_from(error.attempts().len()).unwrap_or(u32::MAX);
        match (error.kind(), error.input()) {
            (ErrorKind::Encode, Some(documents)) => self.refused(error, &documents),
            (ErrorKind::Config | ErrorKind::Encode, _) => {
                self.exit = Exit::BadInput;
                for line in Failure::of(error, Task::Post).lines() {
                    self.line.print(&line);
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
        self.exit = self.exit.max(Exit::Failed);
        let documents = error.input().unwrap_or(0..0);
        let place = self.input.borrow().places.describe(&documents);
        self.line.print(&report::failed(error, &place, attempts.into()));
        if let Some(advice) = hint::advice(error, Task::Post, self.summary.answered == 0)
            && self.hints.insert(advice.what)
        {
            self.line.print(&format!("  hint: {advice}"));
        }
    }

    /// A document that the gateway's generation cannot hold.
    fn refused(&mut self, error: &Error, documents: &Range<u64>) {
        self.summary.bad_input += 1;
        self.exit = Exit::BadInput;
        let place = match self.input.borrow().places.line(documents.start) {
            Some(line) => format!("{}:{line}", self.input_name),
            None => format!("--text {}", documents.start + 1),
        };
        self.line.print(&format!("{place}: {}", error.message()));
    }

    /// How often to call [`show`](Run::show).
    pub(crate) fn period(&self) -> Duration {
        self.line.period()
    }

    /// Shows how far the run is, and forgets what can no longer be asked for.
    pub(crate) fn show(&mut self, read: u64, in_flight: usize) {
        let unwritten = self.output.first_unwritten().unwrap_or(read);
        let oldest = self.outstanding.first().min(unwritten);
        // The last one before it is still asked for: what was not read begins behind it.
        self.input.borrow_mut().places.forget_below(oldest.saturating_sub(1));
        let ended = self.outstanding.ended();
        self.line.show(&self.summary, ended, in_flight, self.started.elapsed());
    }

    /// Writes what was answered by the end.
    pub(crate) async fn flush(&mut self, end: End, interrupt: &mut Interrupt) -> End {
        match end {
            End::NoDocuments | End::Unwritten(_) => return end,
            End::Interrupted => {}
            End::Complete => tokio::select! {
                biased;
                () = interrupt.wait() => {}
                finished = self.output.finish() => match finished {
                    Ok(()) => return End::Complete,
                    Err(unwritten) => return End::Unwritten(unwritten),
                },
            },
        }
        // A second signal asks not to wait.
        let finished = tokio::select! {
            biased;
            () = interrupt.wait() => None,
            finished = timeout(GRACE, self.output.finish()) => finished.ok(),
        };
        let unwritten = match finished {
            Some(Ok(())) => return End::Interrupted,
            Some(Err(unwritten)) => unwritten,
            None => self.output.unwritten("it does not take what is left".to_owned()),
        };
        self.exit = Exit::Interrupted;
        End::Unwritten(unwritten)
    }

    /// Says what has not ended, of the documents that were read.
    pub(crate) fn end(&mut self, end: End, read: u64, in_flight: usize) {
        self.line.clear();
        self.summary.elapsed = self.started.elapsed();
        self.summary.documents = read;
        let input = self.input.clone();
        let input = input.borrow();
        self.summary.bad_input += input.bad_lines;
        if input.bad_lines > 0 {
            self.exit = self.exit.max(Exit::BadInput);
        }
        let unanswered = self.outstanding.ranges(read);
        self.summary.not_answered = documents_of(&unanswered);
        let unread = match input.places.line_after(read) {
            _ if input.is_complete || !self.has_input => None,
            Some(line) => Some(format!("the input from line {line} on was not read")),
            None => Some("the input was not read".to_owned()),
        };
        let mut clauses = Vec::new();
        // A document that was rejected may be the one that has the field.
        if unread.is_none() && self.summary.bad_input == 0 {
            for option in self.fields.iter().flat_map(|fields| fields.unmet()) {
                self.line.print(&format!("warning: no document has the field of {option}"));
            }
        }
        match end {
            End::Complete if self.exit == Exit::Success || read == 0 => return,
            End::Complete => clauses.extend(unread.map(|unread| format!("stopped: {unread}"))),
            End::NoDocuments => {
                // Bad lines have been told already.
                if input.bad_lines == 0 {
                    self.line.print(&format!("error: no documents in {}", self.input_name));
                }
                self.exit = Exit::BadInput;
                return;
            }
            End::Interrupted => {
                self.exit = Exit::Interrupted;
                let documents = count(self.summary.not_answered, "document");
                let requests = count(u64::try_from(in_flight).unwrap_or(u64::MAX), "request");
                let mut clause =
                    format!("interrupted: {documents} not answered, {requests} under way");
                if !unanswered.is_empty() {
                    clause += &format!(" ({})", input.places.describe_all(&unanswered));
                }
                clauses.push(clause);
                clauses.extend(unread);
            }
            End::Unwritten(Unwritten { reason, documents }) => {
                self.exit = self.exit.max(Exit::Failed);
                self.summary.not_written = documents_of(&documents);
                clauses.push(format!("error: {}: {reason}", self.output.name()));
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
            self.line.print(&clauses.join("; "));
        }
    }

    /// The last words.
    pub(crate) fn close(
        mut self,
        connections: Connections,
        summary_file: Option<SummaryFile>,
    ) -> Result<Exit, Failure> {
        self.summary.reconnects = connections.reconnects;
        self.summary.duplicates_dropped = connections.duplicates_dropped;
        self.summary.interrupted = self.exit == Exit::Interrupted;
        if !self.is_quiet {
            self.line.print(&self.summary.to_string());
        }
        if let Some(file) = summary_file
            && let Err(failure) = file.write(&self.summary)
        {
            failure.lines().for_each(|line| self.line.print(&line));
            self.exit = self.exit.max(failure.exit());
        }
        Ok(self.exit)
    }
}

fn documents_of(ranges: &[Range<u64>]) -> u64 {
    ranges.iter().map(|range| range.end - range.start).sum()
}
