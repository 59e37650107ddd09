//! The runtime of a process. It is made when it is first needed, and never ends.

use std::num::NonZero;
use std::sync::{Mutex, PoisonError};
use std::{process, thread};

use pyo3::exceptions::PyOSError;
use pyo3::prelude::*;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Semaphore;

/// The runtime, and the id of the process that its threads run in.
///
/// The lock is only held by threads that are attached to the interpreter. A `fork` is made by such a
/// thread as well, so a child never finds the lock taken.
static RUNTIME: Mutex<Option<(u32, &'static Own)>> = Mutex::new(None);

/// What belongs to a process.
struct Own {
    runtime: Runtime,
    /// As many documents are encoded aside at a time as there are processors.
    encoding: Semaphore,
}

/// Returns the handle of this process's runtime.
///
/// A child that was forked has the memory of its parent's runtime, but not the threads, so it gets a
/// runtime of its own. The parent's is never dropped there: it would wait for its threads.
///
/// # Errors
/// `OSError` if the runtime's thread cannot be started.
pub(crate) fn handle(py: Python<'_>) -> PyResult<Handle> {
    Ok(own(py)?.runtime.handle().clone())
}

/// Returns the places of those who encode on other threads of the runtime.
///
/// # Errors
/// As for [`handle`].
pub(crate) fn encoding(py: Python<'_>) -> PyResult<&'static Semaphore> {
    Ok(&own(py)?.encoding)
}

fn own(_py: Python<'_>) -> PyResult<&'static Own> {
    let mut own = RUNTIME.lock().unwrap_or_else(PoisonError::into_inner);
    let here = process::id();
    match *own {
        Some((process, made)) if process == here => Ok(made),
        _ => {
            // One thread serves the connections of all clients; callers encode and decode themselves.
            let runtime = Builder::new_multi_thread()
                .worker_threads(1)
                .thread_name("clientlet")
                .enable_all()
                .build()
                .map_err(|error| {
                    PyOSError::new_err(format!("the client's thread cannot be started: {error}"))
                })?;
            let processors = thread::available_parallelism().map_or(1, NonZero::get);
            let made = Own { runtime, encoding: Semaphore::new(processors) };
            let made: &'static Own = Box::leak(Box::new(made));
            *own = Some((here, made));
            Ok(made)
        }
    }
}
