//! The progress line that people see while documents are in flight.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report;
use crate::summary::Summary;

/// The time between two updates of the line.
const TICK: Duration = Duration::from_millis(200);
/// The time between two checks of the run if no line is shown.
const HIDDEN_TICK: Duration = Duration::from_secs(1);

/// A line at the bottom of a terminal. Without a terminal, or in quiet mode, no line is shown.
#[derive(Clone)]
pub(crate) struct ProgressLine {
    bar: ProgressBar,
}

impl ProgressLine {
    pub(crate) fn new(is_quiet: bool) -> ProgressLine {
        let is_shown = !is_quiet && io::stderr().is_terminal();
        let target =
            if is_shown { ProgressDrawTarget::stderr() } else { ProgressDrawTarget::hidden() };
        let style = ProgressStyle::with_template("{spinner} {msg}")
            .expect("the template is constant and valid");
        ProgressLine { bar: ProgressBar::with_draw_target(None, target).with_style(style) }
    }

    /// The time between two calls of [`show`](ProgressLine::show).
    pub(crate) fn period(&self) -> Duration {
        if self.bar.is_hidden() { HIDDEN_TICK } else { TICK }
    }

    /// Shows the counts. `ended` is the number of documents that have ended.
    pub(crate) fn show(&self, summary: &Summary, ended: u64, in_flight: usize, elapsed: Duration) {
        if self.bar.is_hidden() {
            return;
        }
        let rate = ended as f64 / elapsed.as_secs_f64().max(0.001);
        let Summary { failed, retried, .. } = summary;
        self.bar.set_message(format!(
            "{ended} documents, {rate:.0}/s, {in_flight} in flight, {failed} failed, {retried} retried"
        ));
        self.bar.tick();
    }

    /// Prints a line above the progress line.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| report::print(text));
    }

    /// Removes the progress line.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
