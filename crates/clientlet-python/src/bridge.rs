//! Futures of Rust as awaitables of asyncio.
//!
//! A future is polled on the event loop's thread, by the task that awaits it. Only a pending future
//! costs more: the task waits for a [`Waiting`], which the loop's bell ends. A waker writes to
//! the bell, from whatever thread, and never attaches to the interpreter. There is one bell a loop,
//! and one ring ends all waits that were woken by then.

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::task::{Context, Poll, Wake, Waker};
use std::time::{Duration, Instant};

use pyo3::exceptions::{PyRuntimeError, PyStopIteration};
use pyo3::prelude::*;
use pyo3::types::PyType;
use tokio::runtime::Handle;

use crate::driver::{LoopDriver, Place};
use crate::error::internal;
use crate::kept::{Kept, name};
use crate::runtime;
use crate::telling::listening;
use crate::waiting::{Waiting, When};

/// A future whose result is a Python object.
pub(crate) type Job = Pin<Box<dyn Future<Output = PyResult<Py<PyAny>>> + Send>>;

thread_local! {
    /// When a call began to hold the event loop of this thread. A call that has its result does not give the loop back,
    /// because its task goes on, mostly with the next result.
    static BEGAN: Cell<Option<Instant>> = const { Cell::new(None) };
}

/// How long a call may hold the event loop before it lets other tasks run, if it has more to do.
const LONG: Duration = Duration::from_millis(1);

/// Whether the event loop of this thread has been held for long. This is said once, so that a call that is polled on
/// its behalf but does not return to it goes on.
pub(crate) fn is_held_for_long() -> bool {
    let is_long = BEGAN.get().is_some_and(|began| began.elapsed() > LONG);
    if is_long {
        BEGAN.set(None);
    }
    is_long
}

/// An awaitable for one task of asyncio.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Await {
    /// `None` once it has ended or was cancelled.
    job: Mutex<Option<Job>>,
    sleeper: Arc<Sleeper>,
    /// The event loop that drives the connection that the future waits for, if one does.
    place: Option<Place>,
}

/// How often a future is polled in a row while its connection goes on.
const ROUNDS: usize = 4;

impl Await {
    pub(crate) fn new(future: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static) -> Await {
        Await { job: Mutex::new(Some(Box::pin(future))), sleeper: Arc::default(), place: None }
    }

    /// A future that waits for a connection that this event loop drives.
    pub(crate) fn driven(
        place: Place,
        future: impl Future<Output = PyResult<Py<PyAny>>> + Send + 'static,
    ) -> Await {
        Await { place: Some(place), ..Await::new(future) }
    }

    /// Returns the result if it is there at once, otherwise the awaitable.
    pub(crate) fn now_or_later(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.poll_with_driver(py)? {
            Poll::Ready(result) => result,
            Poll::Pending => Ok(Py::new(py, self)?.into_any()),
        }
    }

    /// Polls the future, and what drives the connection that it waits for.
    fn poll_with_driver(&self, py: Python<'_>) -> PyResult<Poll<PyResult<Py<PyAny>>>> {
        let Some(Place { driver, .. }) = &self.place else {
            // A call that reads its input between two requests is not to hold the loop for long.
            if BEGAN.get().is_none() {
                BEGAN.set(Some(Instant::now()));
            }
            let polled = self.poll(py, &runtime::handle(py)?)?;
            if polled.is_pending() {
                BEGAN.set(None);
            }
            return Ok(polled);
        };
        for _ in 0..ROUNDS {
            let polled = {
                // What it wakes has its turn below.
                let _inside = Inside::enter(driver.bell());
                self.poll(py, driver.runtime())
            };
            // What the future wants written is written now, by this thread.
            driver.run(py);
            if !matches!(polled, Ok(Poll::Pending)) {
                // No exception may come in place of the result.
                driver.bell().ring_again();
                return polled;
            }
            driver.bell().end_waits(py, When::Soon)?;
            if !self.sleeper.was_woken() {
                break;
            }
        }
        Ok(Poll::Pending)
    }

    fn job(&self) -> MutexGuard<'_, Option<Job>> {
        self.job.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn poll(&self, py: Python<'_>, runtime: &Handle) -> PyResult<Poll<PyResult<Py<PyAny>>>> {
        // The job is out of its lock while it runs Python code, which could come back here.
        let Some(mut job) = self.job().take() else {
            return Err(PyRuntimeError::new_err("this was awaited already"));
        };
        let waker = Waker::from(self.sleeper.clone());
        self.sleeper.begin();
        let polled = {
            let _inside = runtime.enter();
            let poll = || job.as_mut().poll(&mut Context::from_waker(&waker));
            let polled = listening(py, || catch_unwind(AssertUnwindSafe(poll)));
            polled.map_err(|panic| internal(py, &*panic))?
        };
        if polled.is_pending() {
            *self.job() = Some(job);
        }
        Ok(polled)
    }
}

#[pymethods]
#[expect(
    clippy::self_named_constructors,
    reason = "`__await__` is Python's name, and makes nothing"
)]
impl Await {
    fn __await__(this: Py<Self>) -> Py<Self> {
        this
    }

    fn __iter__(this: Py<Self>) -> Py<Self> {
        this
    }

    /// Goes on with the future. What it yields is for asyncio's task.
    fn __next__(&self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        match self.poll_with_driver(py)? {
            Poll::Ready(Ok(value)) => Err(PyStopIteration::new_err((value,))),
            Poll::Ready(Err(error)) => Err(error),
            Poll::Pending if self.sleeper.was_woken() => Ok(py.None()),
            Poll::Pending => {
                let (event_loop, bell) = match &self.place {
                    Some(place) => (place.event_loop.clone_ref(py), place.driver.bell().clone()),
                    None => {
                        let event_loop = running_loop(py)?;
                        let bell = Bell::of(&event_loop)?;
                        (event_loop.unbind(), bell)
                    }
                };
                let waiting = Py::new(py, Waiting::new(event_loop))?;
                match self.sleeper.sleep(waiting.clone_ref(py), bell) {
                    true => Ok(waiting.into_any()),
                    // It was woken meanwhile. Without a wait the task goes on in the next round.
                    false => Ok(py.None()),
                }
            }
        }
    }

    fn send(&self, py: Python<'_>, _value: &Bound<'_, PyAny>) -> PyResult<Py<PyAny>> {
        self.__next__(py)
    }

    /// Ends the future, which is how a task is cancelled.
    #[pyo3(signature = (kind, value = None, traceback = None))]
    fn throw(
        &self,
        kind: &Bound<'_, PyAny>,
        value: Option<&Bound<'_, PyAny>>,
        traceback: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<Py<PyAny>> {
        self.close();
        let _ = traceback;
        let exception = match (value, kind.cast::<PyType>()) {
            (Some(value), _) if !value.is_none() => value.clone(),
            (_, Ok(class)) => class.call0()?,
            (_, Err(_)) => kind.clone(),
        };
        Err(PyErr::from_value(exception))
    }

    fn close(&self) {
        // It is dropped after the lock is free: a generator in it may run code when it is closed.
        let ended = self.job().take();
        drop(ended);
    }
}

/// What a waker wakes: the wait of the awaiting task.
#[derive(Default)]
struct Sleeper(Mutex<Sleep>);

#[derive(Default)]
enum Sleep {
    #[default]
    Awake,
    /// It was woken while it was awake, so that it has to be polled again.
    Woken,
    Asleep(Py<Waiting>, Arc<Bell>),
}

impl Sleeper {
    fn sleep_state(&self) -> MutexGuard<'_, Sleep> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn begin(&self) {
        *self.sleep_state() = Sleep::Awake;
    }

    fn was_woken(&self) -> bool {
        matches!(*self.sleep_state(), Sleep::Woken)
    }

    /// Lets `bell` end the wait when it is woken; `false` if it was woken already.
    fn sleep(&self, waiting: Py<Waiting>, bell: Arc<Bell>) -> bool {
        let mut state = self.sleep_state();
        if matches!(*state, Sleep::Woken) {
            return false;
        }
        *state = Sleep::Asleep(waiting, bell);
        true
    }
}

impl Wake for Sleeper {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let before = std::mem::replace(&mut *self.sleep_state(), Sleep::Woken);
        if let Sleep::Asleep(waiting, bell) = before {
            bell.ring(waiting);
        }
    }
}

/// Wakes an event loop.
pub(crate) struct Bell {
    wire: wire::Wire,
    /// The waits that the loop is to end.
    woken: Mutex<Vec<Py<Waiting>>>,
    /// What drives connections on this loop, if anything does.
    driver: OnceLock<Weak<LoopDriver>>,
}

thread_local! {
    /// The address of the bell whose loop polls tasks of connections on this thread at present; 0 for none.
    static INSIDE: Cell<usize> = const { Cell::new(0) };
}

/// While this is there, this thread polls tasks of connections for the bell's loop. It ends the waits that are
/// woken meanwhile by itself, so the bell does not ring.
pub(crate) struct Inside(usize);

impl Inside {
    /// `None` if this thread does so already.
    pub(crate) fn enter(bell: &Arc<Bell>) -> Option<Inside> {
        if Inside::is(bell) {
            return None;
        }
        Some(Inside(INSIDE.replace(Arc::as_ptr(bell).addr())))
    }

    pub(crate) fn is(bell: &Bell) -> bool {
        INSIDE.get() == std::ptr::from_ref(bell).addr()
    }
}

impl Drop for Inside {
    fn drop(&mut self) {
        INSIDE.set(self.0);
    }
}

/// Returns the running event loop.
///
/// # Errors
/// `RuntimeError` if there is none.
pub(crate) fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static RUNNING: Kept<Py<PyAny>> = Kept::new();
    let running = RUNNING
        .get_or_make(py, || py.import("asyncio")?.getattr("get_running_loop").map(Bound::unbind))?;
    running.bind(py).call0()
}

/// The attribute by which an event loop keeps its bell. So the bell lives as long as the loop.
const BELL: &str = "_clientlet_bell";

impl Bell {
    /// Returns the bell of an event loop.
    pub(crate) fn of(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Bell>> {
        match event_loop.getattr_opt(name!(event_loop.py(), BELL))? {
            Some(ringer) => Ok(ringer.cast::<Ringer>()?.get().0.clone()),
            None => Bell::hang(event_loop),
        }
    }

    /// Has the bell run what drives connections on its loop.
    pub(crate) fn drive(&self, driver: &Arc<LoopDriver>) {
        // It is set once, when the driver is made.
        let _ = self.driver.set(Arc::downgrade(driver));
    }

    /// Has the loop come back.
    pub(crate) fn pull(&self) {
        self.wire.pull();
    }

    /// Has the loop come back if there are waits to end.
    pub(crate) fn ring_again(&self) {
        if !self.woken().is_empty() {
            self.pull();
        }
    }

    /// Ends the waits that were woken.
    ///
    /// # Errors
    /// What Python raised.
    pub(crate) fn end_waits(&self, py: Python<'_>, mut when: When) -> PyResult<()> {
        let woken = std::mem::take(&mut *self.woken());
        let mut ended = Ok(());
        for waiting in woken {
            // A task may be interrupted, and a handler of a signal may raise in between. The other waits end all
            // the same, since nothing would wake their tasks later, but the exception comes before these tasks.
            ended = ended.and(Waiting::end(waiting.bind(py), when));
            if ended.is_err() {
                when = When::Soon;
            }
        }
        ended
    }

    fn hang(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<Bell>> {
        let py = event_loop.py();
        let bell = Arc::new(Bell {
            wire: wire::Wire::new()?,
            woken: Mutex::default(),
            driver: OnceLock::new(),
        });
        let ringer = Bound::new(py, Ringer(bell.clone()))?;
        event_loop.call_method1("add_reader", (bell.wire.number(), &ringer))?;
        event_loop.setattr(BELL, ringer)?;
        Ok(bell)
    }

    fn woken(&self) -> MutexGuard<'_, Vec<Py<Waiting>>> {
        self.woken.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Has the loop end the wait.
    fn ring(&self, waiting: Py<Waiting>) {
        let mut woken = self.woken();
        woken.push(waiting);
        if woken.len() == 1 && !Inside::is(self) {
            self.wire.pull();
        }
    }
}

/// What the loop calls when its bell has rung.
#[pyclass(frozen)]
pub(crate) struct Ringer(Arc<Bell>);

#[pymethods]
impl Ringer {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        self.0.wire.release();
        if let Some(driver) = self.0.driver.get().and_then(Weak::upgrade) {
            driver.run(py);
        }
        self.0.end_waits(py, When::Now)
    }
}

/// The file descriptor that an event loop watches.
#[cfg(target_os = "linux")]
mod wire {
    use std::io;
    use std::os::fd::{AsFd, AsRawFd, RawFd};

    use nix::sys::eventfd::{EfdFlags, EventFd};

    pub(super) struct Wire(EventFd);

    impl Wire {
        pub(super) fn new() -> io::Result<Wire> {
            let flags = EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK;
            Ok(Wire(EventFd::from_value_and_flags(0, flags)?))
        }

        pub(super) fn number(&self) -> RawFd {
            self.0.as_fd().as_raw_fd()
        }

        pub(super) fn pull(&self) {
            // It fails only when its counter is full, and then the loop is awake.
            let _ = self.0.write(1);
        }

        pub(super) fn release(&self) {
            // It fails only when it was not pulled.
            let _ = self.0.read();
        }
    }
}

/// The same with a pipe, which has at most one byte in it: it is written to only when no wait is to end.
#[cfg(not(target_os = "linux"))]
mod wire {
    use std::io::{self, PipeReader, PipeWriter, Read, Write};
    use std::os::fd::{AsRawFd, RawFd};

    pub(super) struct Wire(PipeReader, PipeWriter);

    impl Wire {
        pub(super) fn new() -> io::Result<Wire> {
            io::pipe().map(|(reader, writer)| Wire(reader, writer))
        }

        pub(super) fn number(&self) -> RawFd {
            self.0.as_raw_fd()
        }

        pub(super) fn pull(&self) {
            // It fails only when the loop's end is closed.
            let _ = (&self.1).write(&[1]);
        }

        pub(super) fn release(&self) {
            // The loop calls this only when there is a byte.
            let _ = (&self.0).read(&mut [0]);
        }
    }
}
