//! The fault matrix: every fault that the embedded gateway can be scripted with, over every
//! protocol and in every mode of a call, with 10,000 requests each and 16 in flight. In some modes
//! the call is stopped after 1,000 answers. One cell in twelve is over TLS: each fault in one mode, and
//! faults of the handshake in all. The gateway's journal is the witness.
//!
//! The table of all cells is written to standard error when the run ends. `CLIENTLET_CELL=TEXT`
//! runs only the cells whose name contains the text.

#![allow(clippy::unwrap_used, clippy::panic, reason = "in a test a panic is the report")]

mod cell;
mod checks;
#[path = "../events/mod.rs"]
mod events;
mod mode;
mod poison;
mod protocol;
mod rows;
mod table;
#[cfg(feature = "otel")]
mod told;

use std::io::Write;
use std::num::NonZero;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::thread;
use std::time::Instant;

use crate::cell::{Cell, Report};
use crate::mode::MODES;

/// The number of complaints that are shown for a cell. The first ones name the requests to look at.
const SHOWN: usize = 5;

#[test]
fn under_every_fault_in_every_mode_each_request_ends_exactly_once_as_the_journal_shows() {
    let only = std::env::var("CLIENTLET_CELL").unwrap_or_default();
    let cells: Vec<Cell> = cells().filter(|cell| cell.to_string().contains(&only)).collect();
    assert!(!cells.is_empty(), "no cell's name contains CLIENTLET_CELL={only}");

    events::watch();
    let began = Instant::now();
    let reports = run_all(&cells);
    let table = table::of(&reports, began.elapsed());
    // Written directly to stderr, because the harness would hide the output of a passing test.
    let _ = std::io::stderr().write_all(table.as_bytes());

    let complaints: Vec<String> = reports.iter().filter_map(Report::complaint).collect();
    assert!(complaints.is_empty(), "{}", complaints.join("\n"));
}

/// Every fault in every mode, and each fault in one mode over TLS, which changes from row to row. In
/// another mode OpenTelemetry listens to the client.
fn cells() -> impl Iterator<Item = Cell> {
    let rows = rows::all()
        .flat_map(|row| row.documents.iter().map(move |docarray| (row, *docarray)))
        .enumerate();
    rows.flat_map(|(number, (row, docarray))| {
        MODES.into_iter().enumerate().flat_map(move |(place, mode)| {
            // Not in the mode that is tried over TLS, and over TLS only where all are.
            let is_told = place == (number + 1) % MODES.len();
            let cell = |is_secure| Cell { row, docarray, mode, is_secure, is_told };
            let plain = (!row.is_of_tls).then(|| cell(false));
            let is_secure = row.is_of_tls || place == number % MODES.len();
            plain.into_iter().chain(is_secure.then(|| cell(true)))
        })
    })
}

#[test]
fn each_fault_and_each_mode_is_tried_over_tls_on_each_protocol() {
    let secure: Vec<Cell> = cells().filter(|cell| cell.is_secure).collect();
    for row in rows::all() {
        assert!(secure.iter().any(|cell| cell.row == row), "{:?}", row.faults);
        for mode in MODES {
            let is_it = |cell: &&Cell| cell.row.protocol == row.protocol && cell.mode == mode;
            assert!(secure.iter().any(|cell| is_it(&cell)), "{:?}, {mode}", row.protocol);
        }
    }
}

/// Runs each cell on one of a few threads, and returns the reports in the order of the cells.
fn run_all(cells: &[Cell]) -> Vec<Report> {
    // More threads than cores, because cells that wait for a stalled request leave their core idle.
    let threads = 2 + thread::available_parallelism().map_or(2, NonZero::get);
    let next = AtomicUsize::new(0);
    let reports = Mutex::new(Vec::new());
    thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while let Some(cell) = cells.get(next.fetch_add(1, Ordering::Relaxed)) {
                    let report = cell.run();
                    reports.lock().unwrap().push(report);
                }
            });
        }
    });
    let mut reports = reports.into_inner().unwrap();
    let place = |report: &Report| cells.iter().position(|cell| *cell == report.cell);
    reports.sort_by_key(place);
    reports
}
