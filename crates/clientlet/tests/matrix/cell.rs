//! One fault in one mode: makes the call and keeps its results together with the journal's entries.

use std::fmt;
use std::time::{Duration, Instant};

use clientlet::{Attempt, Delivery, Error, ErrorKind, Response, Statistics};
use clientlet_gateway::{DocArray, Entry};
use serde::{Deserialize, Serialize};

use crate::checks;
use crate::mode::Mode;
use crate::rows::Row;
use crate::table::Sums;

/// The number of requests of a cell. Each has one document, whose id is its index in the input.
pub(crate) const REQUESTS: usize = 10_000;
const IN_FLIGHT: usize = 16;

/// Far more than an answer has, unless a fault makes it too large.
const ANSWER_LIMIT: usize = 1 << 16;

/// A cell takes seconds. One that hangs is reported after this time.
const LIMIT: Duration = Duration::from_secs(120);

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Cell {
    pub(crate) row: &'static Row,
    pub(crate) docarray: DocArray,
    pub(crate) mode: Mode,
    pub(crate) is_secure: bool,
    /// Whether OpenTelemetry listens.
    pub(crate) is_told: bool,
}

impl fmt::Display for Cell {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}, {}", self.fault(), self.mode)
    }
}

/// A cell that has run.
#[derive(Debug)]
pub(crate) struct Report {
    pub(crate) cell: Cell,
    pub(crate) took: Duration,
    /// The line of the table; `None` if the call did not end in time. All requests of all cells
    /// would take gigabytes.
    pub(crate) sums: Option<Sums>,
    pub(crate) complaints: Vec<String>,
}

/// The results of a cell's requests.
#[derive(Debug)]
pub(crate) struct Ran {
    /// In the order in which the call gave them.
    pub(crate) ends: Vec<End>,
    /// The requests that arrived, in the order of arrival.
    pub(crate) entries: Vec<Entry>,
    /// The number of upgrades that a fault struck.
    pub(crate) turned_away: usize,
    /// The number of requests and connections that were reset before any of them was read.
    pub(crate) refused: u64,
    /// The number of documents that the call took from its input, as the input counted them.
    pub(crate) taken: u64,
    /// The numbers of documents that the call says it read, and that are in requests that were
    /// begun.
    pub(crate) read: u64,
    pub(crate) sent: u64,
    /// The client's own numbers, after the call.
    pub(crate) statistics: Statistics,
    #[cfg(feature = "otel")]
    pub(crate) told: Option<crate::told::Told>,
}

/// An item of the call's answers.
#[derive(Debug)]
pub(crate) struct End {
    /// The range of the input's documents that the request carried.
    pub(crate) input: std::ops::Range<u64>,
    pub(crate) request_id: Option<String>,
    pub(crate) attempts: u32,
    pub(crate) elapsed: Duration,
    /// The ids that came back, or the failure.
    pub(crate) result: Result<Vec<String>, Failure>,
}

#[derive(Debug)]
pub(crate) struct Failure {
    pub(crate) kind: ErrorKind,
    pub(crate) delivery: Delivery,
    pub(crate) may_have_run: bool,
    pub(crate) attempts: Vec<Attempt>,
}

#[derive(Serialize, Deserialize)]
struct Numbered {
    id: String,
}

impl Cell {
    /// Returns the part of the name that cells of other modes share.
    pub(crate) fn fault(self) -> String {
        let Cell { row, docarray, is_secure, .. } = self;
        let (faults, protocol) = (row.faults.join(" and "), row.protocol.name());
        let tls = if is_secure { " and TLS" } else { "" };
        format!("{faults} over {protocol}{tls}, documents {docarray}")
    }

    /// Makes the call to a gateway of its own and checks the results.
    pub(crate) fn run(self) -> Report {
        let began = Instant::now();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let ran = runtime.block_on(async { tokio::time::timeout(LIMIT, self.call()).await.ok() });
        let took = began.elapsed();
        let complaints = match &ran {
            Some(ran) => checks::complaints(self, ran),
            None => vec![format!("the call has not ended after {LIMIT:?}")],
        };
        Report { cell: self, took, sums: ran.as_ref().map(Sums::of), complaints }
    }

    async fn call(self) -> Ran {
        let Cell { row, docarray, mode, is_secure, .. } = self;
        let faults = row.faults.iter().copied();
        let (gateway, url) = row.protocol.start(docarray, is_secure, faults).await;
        let client = row.protocol.client(&url).answer_limit(ANSWER_LIMIT);
        #[cfg(feature = "otel")]
        let listener = self.is_told.then(crate::told::Listener::new);
        #[cfg(feature = "otel")]
        let client = listener.iter().fold(client, |client, listener| listener.listen(client));
        let client = client.build().unwrap();

        let taken = std::cell::Cell::new(0);
        let mut call = client
            .post("/")
            .documents((0..REQUESTS).map(|n| {
                taken.set(n as u64 + 1);
                Numbered { id: n.to_string() }
            }))
            .request_size(1)
            .prefetch(IN_FLIGHT)
            .retry(mode.policy())
            .timeout(row.deadline(mode.retries));
        if let Some(timeout) = row.attempt_timeout(mode.retries) {
            call = call.attempt_timeout(timeout);
        }
        if mode.in_order {
            call = call.in_order(true);
        }
        let mut responses = call.stream();
        let mut ends = Vec::new();
        while let Some(result) = responses.next().await {
            ends.push(End::of(result));
            if mode.stops_after == Some(ends.len()) {
                ends.extend(responses.stop().into_iter().map(End::of));
            }
        }
        let (read, sent) = (responses.documents_read(), responses.documents_sent());
        drop(responses);
        let statistics = client.statistics();
        drop(client);
        #[cfg(feature = "otel")]
        let told = listener.map(crate::told::Listener::told);

        // After the gateway stopped, no request is in flight any more.
        let journal = gateway.journal().clone();
        gateway.stop().await;
        let turned_away = journal.gets().iter().filter(|get| get.fault.is_some()).count();
        let (entries, refused) = (journal.entries(), journal.refused());
        let taken = taken.get();
        Ran {
            ends,
            entries,
            turned_away,
            refused,
            taken,
            read,
            sent,
            statistics,
            #[cfg(feature = "otel")]
            told,
        }
    }
}

impl End {
    fn of(result: Result<Response, Error>) -> End {
        result.map_or_else(|error| End::failed(&error), |answer| End::answered(&answer))
    }

    /// Whether the call was stopped before the request ended.
    pub(crate) fn is_cancelled(&self) -> bool {
        self.result.as_ref().is_err_and(|failure| failure.kind == ErrorKind::Cancelled)
    }

    fn answered(response: &Response) -> End {
        let documents: Vec<Numbered> = response.documents().unwrap();
        End {
            input: response.input(),
            request_id: Some(response.request_id().to_owned()),
            attempts: response.attempts(),
            elapsed: response.elapsed(),
            result: Ok(documents.into_iter().map(|document| document.id).collect()),
        }
    }

    fn failed(error: &Error) -> End {
        End {
            // This test makes no request without documents, so a missing range shows as an error.
            input: error.input().unwrap_or_default(),
            request_id: error.request_id().map(str::to_owned),
            attempts: u32::try_from(error.attempts().len()).unwrap(),
            elapsed: error.elapsed(),
            result: Err(Failure {
                kind: error.kind(),
                delivery: error.delivery(),
                may_have_run: error.may_have_run(),
                attempts: error.attempts().to_vec(),
            }),
        }
    }
}

impl Report {
    /// Describes the faults of the cell: its name and the first requests concerned.
    pub(crate) fn complaint(&self) -> Option<String> {
        let first = self.complaints.get(..self.complaints.len().min(crate::SHOWN))?;
        if first.is_empty() {
            return None;
        }
        let count = self.complaints.len();
        Some(format!("{}: {count} complaints\n    {}", self.cell, first.join("\n    ")))
    }
}
