//! The runtime of a process. It is made when it is first needed, and never ends.

use std::process;
use std::sync::{Mutex, PoisonError};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};

/// The runtime, and the id of the process that its threads run in.
///
/// The lock is only held by threads that are attached to the interpreter. A `fork` is made by such a
/// thread as well, so a child never finds the lock taken.
static RUNTIME: Mutex<Option<(u32, &'static Runtime)>> = Mutex::new(None);

/// Returns the handle of this process's runtime.
///
/// A child that was forked has the memory of its parent's runtime, but not the threads, so it gets a
/// runtime of its own. The parent's is never dropped there: it would wait for its threads.
///
/// # Errors
/// `OSError` if the runtime's thread cannot be started.
pub(crate) fn handle(_py: Python<'_>) -> PyResult<Handle> {
    let mut runtime = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let here = process::id();
    match *runtime {
        Some((process, made)) if process == here => Ok(made.handle().clone()),
        _ => {
            // One thread serves the connections of all clients; callers encode and decode themselves.
            let made = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("clientlet")
                .enable_all()
                .build()
                .map_err(|error| {
                    PyOSError::new_err(format!("the client's thread cannot be started: {error}"))
                })?;
            let made: &'static Runtime = Box::leak(Box::new(made));
            *runtime = Some((here, made));
            Ok(made.handle().clone())
        }
    }
}
