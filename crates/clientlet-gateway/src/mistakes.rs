//! Mistakes of handlers, which the test that uses them has to learn of.

use std::fmt::{self, Write};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::exception::Exception;

/// The most mistakes that are kept.
const MOST: usize = 100;
/// The most mistakes that a report shows.
const MOST_SHOWN: usize = 10;
/// The most characters of a mistake's message.
const LONGEST: usize = 300;

/// What a handler did wrong: it panicked, or returned what does not fit the class of its endpoint. Its
/// text is one line that names the endpoint, the executor and, where there is one, the field. Long
/// texts, as of a panic, are shortened.
///
/// A request that the embedded gateway cannot judge as a real one would is a mistake without an
/// executor.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The endpoint of the handler.
    pub endpoint: String,
    /// The name of its executor; empty if the mistake is not of a handler.
    pub executor: String,
    /// What it did.
    pub message: String,
}

impl Mistake {
    pub(crate) fn new(endpoint: &str, executor: &str, message: &str) -> Self {
        let (endpoint, executor) = (line(endpoint), line(executor));
        Self { endpoint, executor, message: line(message) }
    }
}

/// A text as one line that is not too long.
fn line(text: &str) -> String {
    let mut line = String::new();
    for (index, character) in text.chars().enumerate() {
        match character {
            _ if index == LONGEST => {
                line.push_str("...");
                break;
            }
            c if c.is_control() => line.extend(c.escape_default()),
            c => line.push(c),
        }
    }
    line
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { endpoint, executor, message } = self;
        match executor.as_str() {
            "" => write!(f, "a request for `{endpoint}` {message}"),
            _ => write!(f, "the handler of `{endpoint}` in `{executor}` {message}"),
        }
    }
}

/// The mistakes that were made. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mistakes(Arc<Mutex<Made>>);

#[derive(Debug, Default)]
struct Made {
    kept: Vec<Mistake>,
    /// The number of mistakes that were not kept, because there were too many.
    lost: usize,
}

impl Mistakes {
    /// Notes a mistake, and makes the exception that its client finds.
    pub(crate) fn blame(&self, mistake: Mistake) -> Exception {
        let exception = Exception::new("RuntimeError", [mistake.to_string()]);
        let mut made = self.lock();
        if made.kept.len() < MOST {
            made.kept.push(mistake);
        } else {
            made.lost += 1;
        }
        exception
    }

    pub(crate) fn take(&self) -> Vec<Mistake> {
        std::mem::take(&mut *self.lock()).kept
    }

    /// All mistakes, a line for each that differs; `None` if there are none. They are taken.
    pub(crate) fn report(&self) -> Option<String> {
        let Made { kept, lost } = std::mem::take(&mut *self.lock());
        let mut lines: Vec<(String, usize)> = Vec::new();
        for mistake in &kept {
            let text = mistake.to_string();
            match lines.iter_mut().find(|(known, _)| *known == text) {
                Some((_, count)) => *count += 1,
                None => lines.push((text, 1)),
            }
        }
        let mut report = "handlers of the embedded gateway made mistakes:".to_owned();
        for (text, count) in lines.iter().take(MOST_SHOWN) {
            // Writing to a string cannot fail.
            let _ = match count {
                1 => write!(report, "\n  {text}"),
                count => write!(report, "\n  {text} ({count} times)"),
            };
        }
        let shown: usize = lines.iter().take(MOST_SHOWN).map(|(_, count)| count).sum();
        match kept.len() - shown + lost {
            0 => {}
            more => {
                let _ = write!(report, "\n  and {more} more");
            }
        }
        (!kept.is_empty()).then_some(report)
    }

    fn lock(&self) -> MutexGuard<'_, Made> {
        // No step between lock and unlock can panic half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_is_short_whatever_handlers_say() {
        let mistakes = Mistakes::default();
        assert_eq!(mistakes.report(), None);
        for number in 0..200 {
            let text = format!("panicked: {}\n{}", number % 20, "x".repeat(20_000));
            mistakes.blame(Mistake::new("/a", "one", &text));
        }
        let report = mistakes.report().unwrap();
        assert!(report.len() < 5_000, "{}", report.len());
        let lines: Vec<&str> = report.lines().collect();
        assert_eq!(lines.len(), 12);
        assert!(lines[1].starts_with("  the handler of `/a` in `one` panicked: 0\\nxxx"));
        assert!(lines[1].ends_with("xxx... (5 times)"), "{}", lines[1]);
        assert_eq!(lines[11], "  and 150 more");
        assert_eq!(mistakes.report(), None);
    }

    #[test]
    fn a_mistake_without_an_executor_is_of_a_request() {
        let mistake = Mistake::new("/a", "", "is odd");
        assert_eq!(mistake.to_string(), "a request for `/a` is odd");
    }
}
