//! The runtime of a blocking client, on a thread of its own.

use std::convert::Infallible;
use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_core::Stream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;
use tokio::task::coop;

use crate::error::Error;

/// The longest time that the thread goes on for connections that are still being closed.
const CLOSING: Duration = Duration::from_secs(10);
/// The time after which it looks again whether they are.
const LOOK: Duration = Duration::from_millis(5);

/// The message of errors inside a runtime.
const WOULD_BLOCK: &str = "a blocking call in an async task would hold up its runtime; use \
                           `clientlet::Client` there, or call from `tokio::task::spawn_blocking`";

/// A runtime whose thread reads, writes and measures time, while callers wait on theirs. The thread
/// ends after the last handle on the driver.
#[derive(Debug)]
pub(super) struct Driver {
    handle: Handle,
    /// Dropped with the driver, which tells the thread to end.
    _in_use: oneshot::Sender<Infallible>,
}

impl Driver {
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) if the system gives no thread, or none of
    /// what a runtime needs.
    pub(super) fn start() -> Result<Arc<Driver>, Error> {
        let failed = |error: io::Error| {
            Error::config(format!("the thread of a blocking client cannot be started: {error}"))
        };
        let runtime = Builder::new_current_thread().enable_all().build().map_err(failed)?;
        let handle = runtime.handle().clone();
        let (in_use, unused) = oneshot::channel();
        let thread = thread::Builder::new().name("clientlet".to_owned());
        thread.spawn(move || drive(&runtime, unused)).map_err(failed)?;
        Ok(Arc::new(Driver { handle, _in_use: in_use }))
    }

    /// Waits for a future. It is polled on this thread, so that it may borrow.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) inside an async task.
    pub(super) fn wait<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        if is_in_task() {
            return Err(Error::config(WOULD_BLOCK));
        }
        let _here = self.handle.enter();
        let waker = Waker::from(Arc::new(Parked(thread::current())));
        let mut cx = Context::from_waker(&waker);
        let mut future = pin!(future);
        loop {
            match future.as_mut().poll(&mut cx) {
                Poll::Ready(output) => return Ok(output),
                Poll::Pending => thread::park(),
            }
        }
    }

    /// Waits for a future that may fail.
    pub(super) fn call<T>(
        &self,
        future: impl Future<Output = Result<T, Error>>,
    ) -> Result<T, Error> {
        self.wait(future)?
    }
}

/// A stream that is read item by item. Its last item is an error if it is read in an async task.
pub(super) struct Items<S> {
    pub(super) stream: S,
    is_over: bool,
}

impl<S> Items<S> {
    pub(super) fn of(stream: S) -> Items<S> {
        Items { stream, is_over: false }
    }

    pub(super) fn next<T>(&mut self, driver: &Driver) -> Option<Result<T, Error>>
    where
        S: Stream<Item = Result<T, Error>> + Unpin,
    {
        if self.is_over {
            return None;
        }
        let next = poll_fn(|cx| Pin::new(&mut self.stream).poll_next(cx));
        driver.wait(next).unwrap_or_else(|error| {
            self.is_over = true;
            Some(Err(error))
        })
    }
}

impl<S> fmt::Debug for Items<S> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Items").field("is_over", &self.is_over).finish_non_exhaustive()
    }
}

/// Runs until the driver is dropped and its connections are closed.
fn drive(runtime: &Runtime, unused: oneshot::Receiver<Infallible>) {
    runtime.block_on(async {
        // It ends with an error, because nothing is ever sent.
        let _ = unused.await;
        let until = Instant::now() + CLOSING;
        while Handle::current().metrics().num_alive_tasks() > 0 && Instant::now() < until {
            tokio::time::sleep(LOOK).await;
        }
    });
}

/// A thread that waits.
struct Parked(Thread);

impl Wake for Parked {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.unpark();
    }
}

/// Whether an async task runs on this thread, so that other tasks would wait if it blocked. The
/// threads of `spawn_blocking` and `block_in_place` belong to a runtime as well, but may block.
/// tokio tells them apart by what it lets them do before they have to yield: for a task that is
/// limited.
fn is_in_task() -> bool {
    if Handle::try_current().is_err() {
        return false;
    }
    let mut cx = Context::from_waker(Waker::noop());
    let mut turns = Vec::new();
    let is_limited = (0..=u8::MAX).any(|_| match coop::poll_proceed(&mut cx) {
        Poll::Ready(turn) => {
            turns.push(turn);
            false
        }
        Poll::Pending => true,
    });
    // Each turn gives back what was left before it, so the first one has to be the last.
    while turns.pop().is_some() {}
    is_limited
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_task_must_not_block() {
        assert!(!is_in_task());
        for mut builder in [Builder::new_current_thread(), Builder::new_multi_thread()] {
            let runtime = builder.enable_all().build().unwrap();
            {
                let _here = runtime.enter();
                assert!(!is_in_task(), "the runtime is only entered");
            }
            runtime.block_on(async {
                assert!(is_in_task());
                assert!(tokio::spawn(async { is_in_task() }).await.unwrap());
                assert!(!tokio::task::spawn_blocking(is_in_task).await.unwrap());
                assert!(coop::has_budget_remaining(), "the task may go on as before");
            });
        }
        let runtime = Builder::new_multi_thread().build().unwrap();
        let task = async { tokio::task::block_in_place(is_in_task) };
        assert!(!runtime.block_on(async { tokio::spawn(task).await.unwrap() }));
    }

    #[test]
    fn the_thread_ends_with_the_last_handle() {
        let driver = Driver::start().unwrap();
        let (alive, mut ended) = oneshot::channel::<Infallible>();
        let task = async move {
            let _alive = alive;
            std::future::pending::<()>().await;
        };
        let task = driver.handle.spawn(task);
        drop(driver);
        assert!(ended.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        task.abort();
        ended.blocking_recv().unwrap_err();
    }
}
