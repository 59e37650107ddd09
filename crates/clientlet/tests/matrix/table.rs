//! Prints the matrix as a table: fault, mode and the results of the requests.

use std::collections::BTreeMap;
use std::fmt::Write;
use std::time::Duration;

use crate::cell::{REQUESTS, Ran, Report};

/// The results of a cell, counted.
#[derive(Debug)]
pub(crate) struct Sums {
    requests: usize,
    answered: usize,
    retried: usize,
    attempts: u32,
    arrived: usize,
    failed: String,
}

impl Sums {
    pub(crate) fn of(ran: &Ran) -> Sums {
        let Ran { ends, entries, .. } = ran;
        Sums {
            requests: ends.len(),
            answered: ends.iter().filter(|end| end.result.is_ok()).count(),
            retried: ends.iter().filter(|end| end.attempts > 1).count(),
            attempts: ends.iter().map(|end| end.attempts).sum(),
            arrived: entries.len(),
            failed: failed(ran),
        }
    }
}

pub(crate) fn of(reports: &[Report], took: Duration) -> String {
    let mut table = format!("\nfault matrix: {REQUESTS} requests a cell\n\n");
    line(
        &mut table,
        ["fault and mode", "answered", "retried", "attempts", "arrived", "time"],
        "failed",
    );
    let mut fault = String::new();
    for report in reports {
        let (now, mode) = (report.cell.fault(), report.cell.mode);
        if now != fault {
            let _ = writeln!(table, "\n{now}");
            fault = now;
        }
        let order = format!("{}{}", mode.order(), mode.end());
        let name = format!("  {:11}  {:13}  {order:21}", mode.attempts(), mode.promise());
        let time = format!("{:.1} s", report.took.as_secs_f64());
        let Some(sums) = &report.sums else {
            line(&mut table, [&name, "", "", "", "", &time], "did not end");
            continue;
        };
        let Sums { answered, retried, arrived, .. } = sums;
        let numbers = [*answered, *retried, sums.attempts as usize, *arrived];
        let [answered, retried, attempts, arrived] = numbers.map(|number| number.to_string());
        let columns = [&name[..], &answered, &retried, &attempts, &arrived, &time];
        line(&mut table, columns, &sums.failed);
    }
    let ends = |report: &Report| report.sums.as_ref().map_or(0, |sums| sums.requests);
    let requests: usize = reports.iter().map(ends).sum();
    let _ = writeln!(
        table,
        "\n{} cells, {requests} requests in {:.1} s\n",
        reports.len(),
        took.as_secs_f64()
    );
    table
}

fn line(table: &mut String, columns: [&str; 6], failed: &str) {
    let [name, answered, retried, attempts, arrived, time] = columns;
    let text = format!(
        "{name:51}  {answered:>8}  {retried:>7}  {attempts:>8}  {arrived:>7}  {time:>6}  {failed}"
    );
    let _ = writeln!(table, "{}", text.trim_end());
}

/// Lists the failures by kind and delivery: `transport 1021 (unknown)`.
fn failed(ran: &Ran) -> String {
    let mut failed = BTreeMap::<_, usize>::new();
    for failure in ran.ends.iter().filter_map(|end| end.result.as_ref().err()) {
        *failed.entry((failure.kind, failure.delivery)).or_default() += 1;
    }
    let mut parts: Vec<String> = Vec::new();
    for ((kind, delivery), count) in failed {
        parts.push(format!("{kind} {count} ({delivery})"));
    }
    if parts.is_empty() { "-".to_owned() } else { parts.join(", ") }
}
