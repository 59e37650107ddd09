//! Mistakes of handlers, which the test that uses them has to learn of.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The most mistakes that are kept.
const MOST: usize = 100;

/// What a handler did wrong: it panicked, or returned what does not fit the class of its endpoint. Its
/// text is one line that names the endpoint, the executor and, where there is one, the field.
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct Mistake {
    /// The endpoint of the handler.
    pub endpoint: String,
    /// The name of its executor.
    pub executor: String,
    /// What it did.
    pub message: String,
}

impl fmt::Display for Mistake {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "the handler of `{}` in `{}` {}", self.endpoint, self.executor, self.message)
    }
}

/// The mistakes that were made. Clones share them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Mistakes(Arc<Mutex<Vec<Mistake>>>);

impl Mistakes {
    pub(crate) fn add(&self, mistake: Mistake) {
        let mut mistakes = self.lock();
        if mistakes.len() < MOST {
            mistakes.push(mistake);
        }
    }

    pub(crate) fn take(&self) -> Vec<Mistake> {
        std::mem::take(&mut self.lock())
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Mistake>> {
        // No step between lock and unlock can panic half done.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// All mistakes, a line each.
pub(crate) fn report(mistakes: &[Mistake]) -> String {
    let lines: Vec<String> = mistakes.iter().map(|mistake| format!("\n  {mistake}")).collect();
    format!("handlers of the embedded gateway made mistakes:{}", lines.concat())
}
