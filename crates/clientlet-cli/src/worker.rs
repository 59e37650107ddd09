//! A thread for work that may block: parsing at full speed, and I/O on files for which the system does
//! not report readiness.

use std::io;
use std::sync::mpsc;
use std::thread;

use tokio::sync::oneshot;

use crate::report::Failure;

type Job = Box<dyn FnOnce() + Send>;

/// Runs jobs one after another. Dropping the worker does not wait for its jobs, since a job that blocks
/// forever must not keep the process alive.
pub(crate) struct Worker {
    jobs: mpsc::Sender<Job>,
}

impl Worker {
    /// Starts the thread.
    ///
    /// # Errors
    /// When the system allows no more threads.
    pub(crate) fn start() -> Result<Worker, Failure> {
        let (jobs, queue) = mpsc::channel::<Job>();
        let work = move || queue.into_iter().for_each(|job| job());
        match thread::Builder::new().spawn(work) {
            Ok(_) => Ok(Worker { jobs }),
            Err(error) => Err(Failure::failed(format!(
                "the system does not let this process start a thread: {error}"
            ))),
        }
    }

    /// Queues a job. The receiver fails if the job panics.
    pub(crate) fn run<T: Send + 'static>(
        &self,
        job: impl FnOnce() -> T + Send + 'static,
    ) -> oneshot::Receiver<T> {
        let (sender, receiver) = oneshot::channel();
        let job = move || {
            // If the command no longer waits for the result, it is discarded.
            let _ = sender.send(job());
        };
        // The thread ends early only by a panic, which the receiver reports.
        let _ = self.jobs.send(Box::new(job));
        receiver
    }
}

/// The error for a job that panicked, which is a fault of this program.
pub(crate) fn broken() -> io::Error {
    io::Error::other("the thread that worked on it has ended")
}
