//! The comparison of the clients as a table, as JSON, and with limits.

use std::fmt::Write as _;

use serde_json::{Value, json};

use super::Run;
use crate::contest::IN_FLIGHT;
use crate::gate::{Bound, Gate};

/// The release to which the limits apply.
const CURRENT: &str = "3.33.1";

/// A release of Jina on one protocol, and our client against the same gateway.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) protocol: &'static str,
    pub(super) release: &'static str,
    pub(super) theirs: Run,
    pub(super) ours: Run,
}

#[derive(Debug)]
pub(crate) struct Report {
    pub(super) rows: Vec<Row>,
}

impl Run {
    /// CPU time for each request, in microseconds.
    pub(crate) fn cpu(&self) -> f64 {
        self.cpu_seconds * 1e6 / self.requests as f64
    }

    fn rate(&self) -> f64 {
        self.requests as f64 / self.seconds
    }
}

impl Row {
    /// Their CPU time for each request, divided by ours.
    pub(super) fn ratio(&self) -> f64 {
        self.theirs.cpu() / self.ours.cpu()
    }

    fn limit(&self) -> f64 {
        if self.protocol == "gRPC" { 40.0 } else { 100.0 }
    }
}

impl Report {
    pub(crate) fn gates(&self) -> Vec<Gate> {
        let gate = |row: &Row| Gate {
            name: format!("CPU of jina {} on {} for one of ours", row.release, row.protocol),
            bound: Bound::AtLeast,
            limit: row.limit(),
            unit: "",
            measured: vec![row.ratio()],
        };
        self.rows.iter().filter(|row| row.release == CURRENT).map(gate).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let cores = std::thread::available_parallelism().map_or(0, usize::from);
        let mut text = format!(
            "peers: requests of 1 document, {IN_FLIGHT} in flight, client and gateway on one machine \
             of {cores} cores\n\n\
             | protocol | client | requests | requests/s | CPU us/request | peak MiB |\n\
             | --- | --- | ---: | ---: | ---: | ---: |\n"
        );
        for Row { protocol, theirs, ours, .. } in &self.rows {
            for run in [theirs, ours] {
                let Run { client, requests, peak_mib, .. } = run;
                writeln!(
                    text,
                    "| {protocol} | {client} | {requests} | {:.0} | {:.1} | {peak_mib:.1} |",
                    run.rate(),
                    run.cpu(),
                )
                .expect("writing to a string cannot fail");
            }
        }
        text.push('\n');
        for row in &self.rows {
            let (release, protocol) = (row.release, row.protocol);
            writeln!(text, "CPU, jina {release} / clientlet, {protocol}: {:.0}", row.ratio())
                .expect("writing to a string cannot fail");
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let run = |run: &Run| {
            json!({
                "client": run.client,
                "requests": run.requests,
                "requests_per_s": run.rate(),
                "cpu_us_per_request": run.cpu(),
                "peak_mib": run.peak_mib,
            })
        };
        let row = |row: &Row| {
            json!({
                "protocol": row.protocol,
                "jina": run(&row.theirs),
                "clientlet": run(&row.ours),
                "cpu_ratio": row.ratio(),
            })
        };
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        json!({"benchmark": "peers", "in_flight": IN_FLIGHT, "rows": rows})
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;

    pub(crate) fn row(protocol: &'static str, release: &'static str, times: f64) -> Row {
        let run = |client: &str, cpu_seconds| Run {
            client: client.to_owned(),
            requests: 1000,
            seconds: 2.0,
            cpu_seconds,
            peak_mib: 5.0,
        };
        let theirs = run(&format!("jina {release}"), 0.01 * times);
        Row { protocol, release, theirs, ours: run("clientlet", 0.01) }
    }

    #[test]
    fn the_current_release_has_limits_and_the_old_one_is_shown() {
        let rows = vec![row("gRPC", "3.14.1", 2.0), row("gRPC", CURRENT, 41.0)];
        let report = Report { rows };
        let gates = report.gates();
        assert_eq!(gates.len(), 1);
        assert!(gates[0].is_passed(), "{gates:?}");
        let report = Report { rows: vec![row("HTTP", CURRENT, 99.0)] };
        assert!(!report.gates()[0].is_passed());
        let text = report.to_text();
        assert!(text.contains("| HTTP | jina 3.33.1 | 1000 | 500 | 990.0 | 5.0 |"), "{text}");
        assert_eq!(report.to_json()["rows"][0]["clientlet"]["cpu_us_per_request"], 10.0);
    }
}
