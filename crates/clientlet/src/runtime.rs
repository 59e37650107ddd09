//! State that belongs to one tokio runtime.
//!
//! A connection is read and written by a task, and the task runs only while its runtime does. So a
//! connection serves only calls of the runtime in which it was opened. If a runtime is dropped,
//! requests of other runtimes are not lost, and if it is idle, they do not wait.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Handle, Id};
use tokio::task::JoinSet;

use crate::error::{AttemptError, Error, Event};
use crate::panics::unless_it_panics;

/// The message of errors without a runtime.
const NONE: &str = "there is no tokio runtime here; call this inside a runtime, for example below \
                    #[tokio::main] or in Runtime::block_on";

/// The maximum number of runtimes. Beyond it, the runtime that was not used for the longest time is
/// forgotten, but its requests in flight continue.
const MOST: usize = 16;

/// A separate `T` for each runtime.
#[derive(Debug)]
pub(crate) struct PerRuntime<T>(Mutex<Vec<(Id, T)>>);

impl<T> Default for PerRuntime<T> {
    fn default() -> PerRuntime<T> {
        PerRuntime(Mutex::default())
    }
}

impl<T: Clone> PerRuntime<T> {
    /// Returns the value of the current runtime, made by `make` on first use.
    ///
    /// # Errors
    /// If there is no runtime.
    pub(crate) fn here(&self, make: impl FnOnce() -> T) -> Result<T, AttemptError> {
        let here = here()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().rposition(|(id, _)| *id == here) {
            let found = all[at].1.clone();
            if at + 1 < all.len() {
                // The last entry is the one used most recently.
                all[at..].rotate_left(1);
            }
            return Ok(found);
        }
        if all.len() >= MOST {
            all.remove(0);
        }
        let made = make();
        all.push((here, made.clone()));
        Ok(made)
    }
}

/// Returns the id of the current runtime.
///
/// # Errors
/// If there is no runtime.
pub(crate) fn here() -> Result<Id, AttemptError> {
    match Handle::try_current() {
        Ok(handle) => Ok(handle.id()),
        Err(_) => Err(AttemptError::new(Event::NoRuntime, NONE)),
    }
}

/// Runs work that other callers may wait for on a task of its own, so that the work continues while
/// this future is not polled. Dropping the future ends the work.
///
/// # Errors
/// The error of the work. Also an error if there is no runtime, or if the runtime ends.
pub(crate) async fn driven<T>(
    work: impl Future<Output = Result<T, AttemptError>> + Send + 'static,
) -> Result<T, AttemptError>
where
    T: Send + 'static,
{
    here()?;
    // Dropping the set aborts the task.
    let mut task = JoinSet::new();
    task.spawn(unless_it_panics(work));
    let lost = |what: String| Err(AttemptError::new(Event::ClosedFresh, what));
    match task.join_next().await {
        Some(Ok(Ok(result))) => result,
        Some(Ok(Err(panic))) => lost(panic),
        Some(Err(_)) | None => lost("the runtime ended while a connection was opened".to_owned()),
    }
}

/// Checks that a runtime is running, before code that panics without one.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) if there is none.
pub(crate) fn require() -> Result<(), Error> {
    match Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::config(NONE)),
    }
}

#[cfg(test)]
mod tests {
    use tokio::runtime::{Builder, Runtime};

    use super::*;

    #[test]
    fn a_runtime_in_use_keeps_its_value_while_many_others_are_added() {
        let start = || Builder::new_current_thread().build().unwrap();
        let values = PerRuntime::default();
        let of = |runtime: &Runtime, made: usize| {
            let _here = runtime.enter();
            values.here(|| made).unwrap()
        };
        let (used, forgotten) = (start(), start());
        assert_eq!((of(&used, 1), of(&forgotten, 2)), (1, 2));
        let others: Vec<Runtime> = (0..MOST).map(|_| start()).collect();
        for (n, other) in others.iter().enumerate() {
            assert_eq!((of(other, 100 + n), of(&used, 3)), (100 + n, 1));
        }
        assert_eq!(of(&forgotten, 4), 4);
        assert!(values.here(|| 0).is_err(), "there is no runtime here");
    }
}
