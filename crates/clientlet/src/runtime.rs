//! State that belongs to one tokio runtime.
//!
//! A connection is read and written by a task, and the task runs only while its runtime does. So a
//! connection serves only calls of the runtime in which it was opened: a runtime that is dropped
//! does not take requests of other runtimes with it, and a runtime that is idle does not make them
//! wait.

use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Handle, Id};
use tokio::task::JoinSet;

use crate::error::{AttemptError, Error, Event};
use crate::panics::unless_it_panics;

/// The message if there is no runtime.
const NONE: &str = "there is no tokio runtime here; call it inside of one, for example below \
                    #[tokio::main] or in Runtime::block_on";

/// The maximum number of runtimes. Beyond it the one that was not used for longest is forgotten, but
/// what it has in flight goes on.
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
    /// The value that belongs to the current runtime.
    ///
    /// # Errors
    /// When there is no runtime.
    pub(crate) fn here(&self, make: impl FnOnce() -> T) -> Result<T, AttemptError> {
        let here = here()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(at) = all.iter().rposition(|(id, _)| *id == here) {
            let found = all[at].1.clone();
            if at + 1 < all.len() {
                // The last is the one that was used last.
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

/// The id of the current runtime.
///
/// # Errors
/// When there is no runtime.
pub(crate) fn here() -> Result<Id, AttemptError> {
    match Handle::try_current() {
        Ok(handle) => Ok(handle.id()),
        Err(_) => Err(AttemptError::new(Event::NoRuntime, NONE)),
    }
}

/// Does work that other callers may wait for on a task of its own, so that it goes on while the caller
/// of this does not poll. Dropping the future ends the work.
///
/// # Errors
/// The error of the work; also if there is no runtime, or if the runtime ends.
pub(crate) async fn driven<T>(
    work: impl Future<Output = Result<T, AttemptError>> + Send + 'static,
) -> Result<T, AttemptError>
where
    T: Send + 'static,
{
    here()?;
    // Its drop aborts the task.
    let mut task = JoinSet::new();
    task.spawn(unless_it_panics(work));
    let lost = |what: String| Err(AttemptError::new(Event::ClosedFresh, what));
    match task.join_next().await {
        Some(Ok(Ok(result))) => result,
        Some(Ok(Err(panic))) => lost(panic),
        Some(Err(_)) | None => lost("the runtime ended while a connection was opened".to_owned()),
    }
}

/// Checks that a runtime is running, before anything is done that would panic without one.
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
    fn a_runtime_in_use_keeps_its_value_however_many_others_come() {
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
        assert!(values.here(|| 0).is_err(), "there is none here");
    }
}
