//! What belongs to one tokio runtime.
//!
//! A connection is read and written by a task, and the task runs only while its runtime does. So a
//! connection serves the calls of the runtime in which it was opened and no others: a runtime that was
//! dropped takes none of another's requests along, and one that is idle makes none of them wait.

use std::collections::VecDeque;
use std::sync::{Mutex, PoisonError};

use tokio::runtime::{Handle, Id};

use crate::error::{AttemptError, Error, Event};

/// What is said where there is no runtime.
const NONE: &str = "there is no tokio runtime here; call it inside of one, for example below \
                    #[tokio::main] or in Runtime::block_on";

/// Runtimes beyond these are forgotten, the oldest first; what they have under way goes on.
const MOST: usize = 16;

/// One `T` a runtime.
#[derive(Debug)]
pub(crate) struct PerRuntime<T>(Mutex<VecDeque<(Id, T)>>);

impl<T> Default for PerRuntime<T> {
    fn default() -> PerRuntime<T> {
        PerRuntime(Mutex::default())
    }
}

impl<T: Clone> PerRuntime<T> {
    /// The one of the runtime that runs this.
    ///
    /// # Errors
    /// When there is no runtime.
    pub(crate) fn here(&self, make: impl FnOnce() -> T) -> Result<T, AttemptError> {
        let here = here()?;
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((_, found)) = all.iter().find(|(id, _)| *id == here) {
            return Ok(found.clone());
        }
        if all.len() >= MOST {
            all.pop_front();
        }
        let made = make();
        all.push_back((here, made.clone()));
        Ok(made)
    }
}

/// The runtime that runs this.
///
/// # Errors
/// When there is none.
pub(crate) fn here() -> Result<Id, AttemptError> {
    match Handle::try_current() {
        Ok(handle) => Ok(handle.id()),
        Err(_) => Err(AttemptError::new(Event::NoRuntime, NONE)),
    }
}

/// Checks that a runtime runs this, before anything is done that would panic without.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config) when there is none.
pub(crate) fn require() -> Result<(), Error> {
    match Handle::try_current() {
        Ok(_) => Ok(()),
        Err(_) => Err(Error::config(NONE)),
    }
}
