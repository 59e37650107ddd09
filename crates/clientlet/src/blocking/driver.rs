//! The runtime of a blocking client.

use std::fmt;
use std::future::poll_fn;
use std::io;
use std::pin::{Pin, pin};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, Thread};
use std::time::{Duration, Instant};

use futures_core::Stream;
use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::Notify;
use tokio::task::coop;

use crate::error::Error;

/// The longest time that the thread goes on for connections that are still being closed.
const CLOSING: Duration = Duration::from_secs(10);
/// The time after which it looks again whether they are.
const LOOK: Duration = Duration::from_millis(5);
/// The time without a caller after which the thread drives the runtime, and after which it looks again
/// whether callers are there. Connections that rest for so long come to no harm.
const GRACE: Duration = Duration::from_millis(50);

/// The message of errors inside a runtime.
const WOULD_BLOCK: &str = "a blocking call in an async task would hold up its runtime; use \
                           `clientlet::Client` there, or call from `tokio::task::spawn_blocking`";

/// The message of errors in the destructor of a thread-local value.
const THREAD_ENDS: &str = "a blocking call cannot be made while its thread ends; call before that, or from \
                           another thread";

/// A runtime for callers that wait. A caller drives it on its own thread while it waits, because waking
/// another thread for each request and each answer would cost more than the request. While no caller
/// waits, a thread of the runtime's own drives it, so that connections are kept up and closed. The
/// thread ends after the last handle on the driver.
///
/// A caller does not drive it while the caller's own code runs, such as the iterator of its documents.
/// That code may wait for another caller, or call itself.
#[derive(Debug)]
pub(super) struct Driver(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    /// `None` only while it is dropped.
    runtime: Option<Runtime>,
    state: Mutex<State>,
    /// Tells the thread that it is wanted.
    wanted: Condvar,
    /// Tells the thread, while it drives, that a caller wants to drive.
    relieved: Notify,
}

#[derive(Debug)]
struct State {
    /// Callers that drive, or wait for another caller to finish.
    callers: usize,
    /// Callers that must not drive, because their thread belongs to another runtime.
    guests: usize,
    /// When the last caller left.
    left: Instant,
    is_driven: bool,
    is_over: bool,
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
        let state =
            State { callers: 0, guests: 0, left: Instant::now(), is_driven: false, is_over: false };
        let shared = Arc::new(Shared {
            runtime: Some(runtime),
            state: Mutex::new(state),
            wanted: Condvar::new(),
            relieved: Notify::new(),
        });
        let own = shared.clone();
        let thread = thread::Builder::new().name("clientlet".to_owned());
        thread.spawn(move || own.run()).map_err(failed)?;
        Ok(Arc::new(Driver(shared)))
    }

    /// Waits for a future. It is polled on this thread, so that it may borrow.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config) inside an async task, and while the thread ends.
    pub(super) fn wait<F: Future>(&self, future: F) -> Result<F::Output, Error> {
        match Handle::try_current() {
            Err(error) if error.is_thread_local_destroyed() => {
                return Err(Error::config(THREAD_ENDS));
            }
            Err(_) => return Ok(self.0.drive_until(future)),
            Ok(_) => {}
        }
        if is_in_task() {
            return Err(Error::config(WOULD_BLOCK));
        }
        let _guest = Guest::enter(&self.0);
        let _here = self.0.runtime().enter();
        Ok(park_until(future))
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

impl Drop for Driver {
    fn drop(&mut self) {
        self.0.state().is_over = true;
        self.0.wake();
    }
}

impl Shared {
    fn runtime(&self) -> &Runtime {
        self.runtime.as_ref().expect("only dropping takes the runtime")
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Lets the thread look at the state.
    fn wake(&self) {
        self.wanted.notify_one();
        self.relieved.notify_one();
    }

    /// Waits for a future, and drives the runtime between the polls of the future.
    fn drive_until<F: Future>(&self, future: F) -> F::Output {
        let woken = Arc::new(Woken::default());
        let waker = Waker::from(woken.clone());
        let mut cx = Context::from_waker(&waker);
        let _here = self.runtime().enter();
        let mut future = pin!(future);
        loop {
            if let Poll::Ready(output) = future.as_mut().poll(&mut cx) {
                return output;
            }
            let _caller = Caller::enter(self);
            self.runtime().block_on(woken.0.notified());
        }
    }

    /// The work of the thread: drives the runtime while no caller does.
    fn run(&self) {
        while self.is_needed() {
            self.runtime().block_on(self.relieved.notified());
            self.state().is_driven = false;
        }
        self.runtime().block_on(async {
            let until = Instant::now() + CLOSING;
            while Handle::current().metrics().num_alive_tasks() > 0 && Instant::now() < until {
                tokio::time::sleep(LOOK).await;
            }
        });
    }

    /// Waits until the thread has to drive; `false` if the driver was dropped.
    fn is_needed(&self) -> bool {
        let mut state = self.state();
        while !state.is_over {
            let idle = state.left.elapsed();
            if state.callers == 0 && (state.guests > 0 || idle >= GRACE) {
                state.is_driven = true;
                return true;
            }
            // The last caller does not wake the thread, because the next one often follows at once.
            let wait = if state.callers == 0 { GRACE.saturating_sub(idle) } else { GRACE };
            let waited = self.wanted.wait_timeout(state, wait);
            state = waited.unwrap_or_else(PoisonError::into_inner).0;
        }
        false
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        if let Some(runtime) = self.runtime.take() {
            // The last handle may be dropped in an async task, which must not wait.
            runtime.shutdown_background();
        }
    }
}

/// A caller that drives the runtime.
struct Caller<'s>(&'s Shared);

impl Caller<'_> {
    fn enter(shared: &Shared) -> Caller<'_> {
        let mut state = shared.state();
        state.callers += 1;
        let is_driven = state.is_driven;
        drop(state);
        if is_driven {
            shared.relieved.notify_one();
        }
        Caller(shared)
    }
}

impl Drop for Caller<'_> {
    fn drop(&mut self) {
        let mut state = self.0.state();
        state.callers -= 1;
        state.left = Instant::now();
        if state.callers == 0 && state.guests > 0 {
            self.0.wanted.notify_one();
        }
    }
}

/// A caller that waits for others to drive the runtime.
struct Guest<'s>(&'s Shared);

impl Guest<'_> {
    fn enter(shared: &Shared) -> Guest<'_> {
        shared.state().guests += 1;
        shared.wanted.notify_one();
        Guest(shared)
    }
}

impl Drop for Guest<'_> {
    fn drop(&mut self) {
        self.0.state().guests -= 1;
    }
}

/// Notes that a future is to be polled again.
#[derive(Default)]
struct Woken(Notify);

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.0.notify_one();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.0.notify_one();
    }
}

/// Waits for a future on a thread that must not drive a runtime.
fn park_until<F: Future>(future: F) -> F::Output {
    let waker = Waker::from(Arc::new(Parked(thread::current())));
    let mut cx = Context::from_waker(&waker);
    let mut future = pin!(future);
    loop {
        match future.as_mut().poll(&mut cx) {
            Poll::Ready(output) => return output,
            Poll::Pending => thread::park(),
        }
    }
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
    use std::convert::Infallible;

    use tokio::sync::oneshot;

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
        let task = driver.0.runtime().spawn(task);
        drop(driver);
        assert!(ended.try_recv().is_err_and(|error| error == oneshot::error::TryRecvError::Empty));
        task.abort();
        ended.blocking_recv().unwrap_err();
    }
}
