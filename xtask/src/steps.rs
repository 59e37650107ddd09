//! Runs steps one after the other, with headlines, times, and a table at the end.

use std::fmt::Write;
use std::time::{Duration, Instant};

/// The steps so far, in order: passed, left out or failed.
#[derive(Debug, Default)]
pub(crate) struct Steps {
    rows: Vec<Row>,
}

#[derive(Debug)]
struct Row {
    name: &'static str,
    outcome: Outcome,
}

#[derive(Debug)]
enum Outcome {
    Passed(Duration),
    Failed(Duration),
    LeftOut(&'static str),
}

/// A step has failed. The message with its name, the reason and a hint was printed already.
#[derive(Debug)]
pub(crate) struct Stopped;

impl Steps {
    /// Runs a step under a headline. If the step fails, prints its error and the hint.
    pub(crate) fn run<T>(
        &mut self,
        name: &'static str,
        hint: &str,
        step: impl FnOnce() -> Result<T, String>,
    ) -> Result<T, Stopped> {
        eprintln!("\n=== {name}");
        let began = Instant::now();
        let result = step();
        let took = began.elapsed();
        let outcome = if result.is_ok() { Outcome::Passed(took) } else { Outcome::Failed(took) };
        self.rows.push(Row { name, outcome });
        match result {
            Ok(value) => {
                eprintln!("--- {name}: {:.1} s", took.as_secs_f64());
                Ok(value)
            }
            Err(error) => {
                eprintln!("\nFAILED at step `{name}`: {error}\nhint: {hint}");
                Err(Stopped)
            }
        }
    }

    /// Prints and records that a step is left out.
    pub(crate) fn leave_out(&mut self, name: &'static str, reason: &'static str) {
        eprintln!("\n=== {name}: LEFT OUT, {reason}");
        self.rows.push(Row { name, outcome: Outcome::LeftOut(reason) });
    }

    /// The table of the steps with their times.
    pub(crate) fn table(&self) -> String {
        let width = self.rows.iter().map(|row| row.name.len()).max().unwrap_or(0);
        let mut table = String::new();
        let mut total = Duration::ZERO;
        for Row { name, outcome } in &self.rows {
            let (word, took, note) = match outcome {
                Outcome::Passed(took) => ("passed", *took, String::new()),
                Outcome::Failed(took) => ("FAILED", *took, String::new()),
                Outcome::LeftOut(reason) => ("LEFT OUT", Duration::ZERO, format!("  {reason}")),
            };
            total += took;
            let seconds = took.as_secs_f64();
            writeln!(table, "{name:width$}  {seconds:7.1} s  {word}{note}")
                .expect("a String takes everything");
        }
        let seconds = total.as_secs_f64();
        writeln!(table, "{:width$}  {seconds:7.1} s", "total").expect("a String takes everything");
        table
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn table_shows_what_passed_failed_and_was_left_out() {
        let rows = vec![
            Row { name: "format", outcome: Outcome::Passed(Duration::from_millis(1240)) },
            Row { name: "interop", outcome: Outcome::LeftOut("--no-interop") },
            Row { name: "tests", outcome: Outcome::Failed(Duration::from_secs(100)) },
        ];
        assert_eq!(
            Steps { rows }.table(),
            "format       1.2 s  passed\n\
             interop      0.0 s  LEFT OUT  --no-interop\n\
             tests      100.0 s  FAILED\n\
             total      101.2 s\n",
        );
    }

    #[test]
    fn failed_step_is_kept_in_the_table() {
        let mut steps = Steps::default();
        assert!(steps.run("first", "", || Ok(())).is_ok());
        assert!(steps.run("second", "try again", || Err::<(), _>("no".to_owned())).is_err());
        assert!(steps.table().contains("FAILED"));
    }
}
