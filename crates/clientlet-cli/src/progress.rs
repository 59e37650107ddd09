//! What people see while documents are on their way.

use std::io::{self, IsTerminal};
use std::time::Duration;

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

use crate::report;
use crate::summary::Summary;

/// How often the line is shown anew.
const TICK: Duration = Duration::from_millis(200);
/// How often the run looks after itself where no line is shown.
const HIDDEN_TICK: Duration = Duration::from_secs(1);

/// A line at the foot of a terminal; without a terminal, or if it is to be quiet, nothing.
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
            .expect("the template is constant and has been seen to work");
        ProgressLine { bar: ProgressBar::with_draw_target(None, target).with_style(style) }
    }

    /// How often to call [`show`](ProgressLine::show).
    pub(crate) fn period(&self) -> Duration {
        if self.bar.is_hidden() { HIDDEN_TICK } else { TICK }
    }

    /// Shows the counts; `ended` documents are through.
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

    /// Prints a line above it.
    pub(crate) fn print(&self, text: &str) {
        self.bar.suspend(|| report::print(text));
    }

    /// Takes it away.
    pub(crate) fn clear(&self) {
        self.bar.finish_and_clear();
    }
}
