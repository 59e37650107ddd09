//! Work that tasks of the runtime hand to a thread of Python, since they never attach to the interpreter.

use std::sync::{Arc, Mutex, PoisonError};

use pyo3::prelude::*;
use tokio::sync::mpsc;

use crate::wait::wait;

/// The receiving end of a queue, read by one thread of Python.
pub(crate) struct Queue<T>(Arc<Mutex<Option<mpsc::UnboundedReceiver<T>>>>);

impl<T> Clone for Queue<T> {
    fn clone(&self) -> Queue<T> {
        Queue(self.0.clone())
    }
}

impl<T: Send + 'static> Queue<T> {
    /// Makes a queue. It holds one entry for each task that waits for its reply, so that what bounds the
    /// tasks bounds the queue as well.
    pub(crate) fn new() -> (mpsc::UnboundedSender<T>, Queue<T>) {
        let (sender, receiver) = mpsc::unbounded_channel();
        (sender, Queue(Arc::new(Mutex::new(Some(receiver)))))
    }

    /// Waits for the next entry; `None` once all senders are gone.
    ///
    /// # Errors
    /// What a handler of a signal raised.
    pub(crate) fn next(&self, py: Python<'_>) -> PyResult<Option<T>> {
        let receiver = self.0.lock().unwrap_or_else(PoisonError::into_inner).take();
        let Some(mut receiver) = receiver else { return Ok(None) };
        let home = self.0.clone();
        wait(
            py,
            Box::pin(async move {
                let next = receiver.recv().await;
                *home.lock().unwrap_or_else(PoisonError::into_inner) = Some(receiver);
                Ok(next)
            }),
        )
    }
}
