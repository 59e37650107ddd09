//! An event loop of asyncio as the driver of connections: on Linux, by an epoll within the loop's own.
//!
//! The loop's thread polls the tasks of connections, and reads and writes their sockets. So a message needs
//! no other thread: it is written before the task that sends it goes to sleep, and read by the loop, which
//! goes on with the task that waits for it in the same round.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};
use std::thread::{self, ThreadId};

use clientlet::clientlets::{ClientletOptions, Driver, Readiness};
use pyo3::prelude::*;
use pyo3::types::{PyWeakrefMethods, PyWeakrefReference};
use tokio::runtime::Handle;

use crate::bridge::{Bell, Inside, running_loop};
use crate::kept::{Kept, name};
use crate::runtime;
use crate::telling::{generation, listening};
use crate::waiting::When;

/// How often tasks that wake each other are polled in a row, before the event loop has its turn.
const ROUNDS: usize = 16;

/// The attribute by which an event loop keeps its driver. So the driver lives as long as the loop.
const DRIVER: &str = "_clientlet_driver";

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// The driver of one event loop.
pub(crate) struct LoopDriver {
    this: Weak<LoopDriver>,
    /// The event loop, which owns its driver, and the thread that it ran on first.
    event_loop: Py<PyWeakrefReference>,
    thread: ThreadId,
    bell: Arc<Bell>,
    /// The process that the loop runs in, and its runtime.
    generation: usize,
    runtime: Handle,
    watch: watch::Watch,
    next: AtomicU64,
    watched: Mutex<HashMap<u64, Weak<Readiness>>>,
    tasks: Mutex<HashMap<u64, Arc<Alarm>>>,
    /// The tasks that are to be polled.
    woken: Mutex<Vec<Arc<Alarm>>>,
    /// Whether the event loop is gone.
    is_over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The running event loop, and its driver.
pub(crate) struct Place {
    pub(crate) driver: Arc<LoopDriver>,
    pub(crate) event_loop: Py<PyAny>,
}

impl Place {
    /// Returns the place of the caller.
    ///
    /// # Errors
    /// `RuntimeError` without a running loop.
    pub(crate) fn here(py: Python<'_>) -> PyResult<Place> {
        let event_loop = running_loop(py)?;
        let driver = match event_loop.getattr_opt(name!(py, DRIVER))? {
            Some(watcher) => watcher.cast::<Watcher>()?.get().0.clone(),
            None => LoopDriver::begin(&event_loop)?,
        };
        Ok(Place { driver, event_loop: event_loop.unbind() })
    }
}

impl LoopDriver {
    fn begin(event_loop: &Bound<'_, PyAny>) -> PyResult<Arc<LoopDriver>> {
        let py = event_loop.py();
        let (bell, watch) = (Bell::of(event_loop)?, watch::Watch::new()?);
        let (runtime, weak) = (runtime::handle(py)?, PyWeakrefReference::new(event_loop)?);
        let driver = Arc::new_cyclic(|this| LoopDriver {
            this: this.clone(),
            event_loop: weak.unbind(),
            thread: thread::current().id(),
            bell: bell.clone(),
            runtime,
            generation: generation(),
            watch,
            next: AtomicU64::new(0),
            watched: Mutex::default(),
            tasks: Mutex::default(),
            woken: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        bell.drive(&driver);
        let watcher = Bound::new(py, Watcher(driver.clone()))?;
        if let Some((bytes, room)) = driver.watch.numbers() {
            event_loop.call_method1("add_reader", (bytes, &watcher))?;
            let room_watcher = Bound::new(py, RoomWatcher(driver.clone()))?;
            event_loop.call_method1("add_reader", (room, room_watcher))?;
        }
        event_loop.setattr(DRIVER, watcher)?;
        Ok(driver)
    }

    /// Returns the running event loop, which mostly is the one of this driver.
    ///
    /// # Errors
    /// `RuntimeError` without a running loop.
    pub(crate) fn place(this: &Arc<LoopDriver>, py: Python<'_>) -> PyResult<Place> {
        match this.running(py)? {
            Some(event_loop) => Ok(Place { driver: this.clone(), event_loop }),
            None => Place::here(py),
        }
    }

    /// Returns the event loop if one of its tasks runs on this thread. Up to CPython 3.11 this needs no system call,
    /// but asking for the running loop does.
    fn running(&self, py: Python<'_>) -> PyResult<Option<Py<PyAny>>> {
        static CURRENT_TASK: Kept<Py<PyAny>> = Kept::new();
        if !self.is_of_this_process() || self.thread != thread::current().id() {
            return Ok(None);
        }
        let Some(event_loop) = self.event_loop.bind(py).upgrade() else { return Ok(None) };
        let current_task = CURRENT_TASK
            .get_or_make(py, || py.import("asyncio")?.getattr("current_task").map(Bound::unbind))?;
        let task = current_task.bind(py).call1((&event_loop,))?;
        Ok((!task.is_none()).then(|| event_loop.unbind()))
    }

    /// Has the connections of a clientlet driven by this loop, where a loop can.
    pub(crate) fn drive(this: &Arc<LoopDriver>, options: &ClientletOptions) -> ClientletOptions {
        match this.watch.numbers() {
            Some(_) => options.clone().driver(this.clone()),
            None => options.clone(),
        }
    }

    /// Whether the event loop is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    pub(crate) fn bell(&self) -> &Arc<Bell> {
        &self.bell
    }

    /// The runtime whose timers the connections use.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Whether the event loop runs in this process, and not in its parent.
    pub(crate) fn is_of_this_process(&self) -> bool {
        self.generation == generation()
    }

    /// Polls the tasks that were woken. It leaves the waits that they end to the bell, which does not ring.
    pub(crate) fn run(&self, py: Python<'_>) {
        // A task never runs code of Python that could come back here, but a handler of logging may.
        let Some(inside) = Inside::enter(&self.bell) else { return };
        let has_more = !lock(&self.woken).is_empty() && {
            let _inside = self.runtime.enter();
            listening(py, || self.poll_woken())
        };
        drop(inside);
        if has_more {
            self.bell.pull();
        }
    }

    /// Returns whether tasks are left that were woken.
    fn poll_woken(&self) -> bool {
        for _ in 0..ROUNDS {
            let woken = std::mem::take(&mut *lock(&self.woken));
            if woken.is_empty() {
                return false;
            }
            for alarm in woken {
                // It is out while it is polled, and gone once it has ended.
                let Some(mut task) = lock(&alarm.task).take() else { continue };
                alarm.is_set.store(false, Ordering::Release);
                let waker = Waker::from(alarm.clone());
                let poll = || task.as_mut().poll(&mut Context::from_waker(&waker));
                match catch_unwind(AssertUnwindSafe(poll)) {
                    Ok(polled) if polled.is_pending() && !self.is_over() => {
                        *lock(&alarm.task) = Some(task);
                    }
                    // The library has told those who wait of a panic.
                    _ => {
                        lock(&self.tasks).remove(&alarm.id);
                        drop(task);
                    }
                }
            }
        }
        !lock(&self.woken).is_empty()
    }

    fn wake(&self, alarm: &Arc<Alarm>) {
        let mut woken = lock(&self.woken);
        woken.push(alarm.clone());
        let is_first = woken.len() == 1;
        drop(woken);
        if is_first && !Inside::is(&self.bell) {
            self.bell.pull();
        }
    }

    /// The only socket that is watched, if there is one alone.
    fn only_watched(&self) -> Option<Arc<Readiness>> {
        let watched = lock(&self.watched);
        match watched.len() {
            1 => watched.values().next().and_then(Weak::upgrade),
            _ => None,
        }
    }

    /// Asks what has come, and tells those who wait for it.
    fn look_for_bytes(&self) -> io::Result<()> {
        self.watch.look_for_bytes(|id, is_ended| {
            let readiness = lock(&self.watched).get(&id).and_then(Weak::upgrade);
            match readiness {
                Some(readiness) if is_ended => readiness.ended(),
                Some(readiness) => readiness.readable(),
                None => {}
            }
        })
    }
}

impl Driver for LoopDriver {
    fn spawn(&self, task: Task) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (driver, task) = (self.this.clone(), Mutex::new(Some(task)));
        let alarm = Arc::new(Alarm { driver, id, task, is_set: AtomicBool::new(true) });
        lock(&self.tasks).insert(id, alarm.clone());
        self.wake(&alarm);
    }

    fn watch(&self, socket: BorrowedFd<'_>, readiness: &Arc<Readiness>) -> io::Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut watched = lock(&self.watched);
        // Closed sockets leave the epolls by themselves.
        watched.retain(|_, readiness| readiness.strong_count() > 0);
        watched.insert(id, Arc::downgrade(readiness));
        drop(watched);
        self.watch.add(socket, id)
    }
}

impl fmt::Debug for LoopDriver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LoopDriver").finish_non_exhaustive()
    }
}

/// A task, and what wakes it.
struct Alarm {
    driver: Weak<LoopDriver>,
    id: u64,
    /// `None` while it is polled, and once it has ended.
    task: Mutex<Option<Task>>,
    is_set: AtomicBool,
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        if !self.is_set.swap(true, Ordering::AcqRel)
            && let Some(driver) = self.driver.upgrade()
        {
            driver.wake(self);
        }
    }
}

/// What the loop calls when something has come on a socket, or the other side has closed it.
#[pyclass(frozen)]
pub(crate) struct Watcher(Arc<LoopDriver>);

#[pymethods]
impl Watcher {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let driver = &self.0;
        // With one socket alone there is no need to ask which it is. That saves a system call a message.
        let only = driver.only_watched();
        {
            // The tasks that are woken here are polled below.
            let _inside = Inside::enter(&driver.bell);
            match &only {
                Some(readiness) => readiness.readable(),
                None => driver.look_for_bytes()?,
            }
        }
        driver.run(py);
        let ended = driver.bell.end_waits(py, When::Now);
        // The loop would tell of it again and again until it is read, or was asked about.
        if only.is_some_and(|readiness| readiness.is_unread()) {
            driver.look_for_bytes()?;
        }
        ended
    }
}

/// What the loop calls when there is room to write again on a socket.
#[pyclass(frozen)]
pub(crate) struct RoomWatcher(Arc<LoopDriver>);

#[pymethods]
impl RoomWatcher {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let driver = &self.0;
        driver.watch.look_for_room(|id| {
            let readiness = lock(&driver.watched).get(&id).and_then(Weak::upgrade);
            if let Some(readiness) = readiness {
                readiness.writable();
            }
        })?;
        driver.run(py);
        driver.bell.end_waits(py, When::Now)
    }
}

impl Drop for Watcher {
    /// Runs when the event loop is gone: its connections end.
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
        let ended = std::mem::take(&mut *lock(&self.0.tasks));
        for alarm in ended.into_values() {
            let task = lock(&alarm.task).take();
            drop(task);
        }
    }
}

/// The file descriptors that an event loop watches in place of all sockets.
#[cfg(target_os = "linux")]
mod watch {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

    /// The events that are taken at a time.
    const EVENTS: usize = 64;

    const ENDS: EpollFlags =
        EpollFlags::EPOLLRDHUP.union(EpollFlags::EPOLLHUP).union(EpollFlags::EPOLLERR);

    /// One epoll for what comes, one for room to write. In the first, a socket of which everything was read is not
    /// ready any more, also if the epoll was not asked. With room in it, which there mostly is, it always would be.
    pub(super) struct Watch {
        bytes: Epoll,
        room: Epoll,
    }

    impl Watch {
        pub(super) fn new() -> io::Result<Watch> {
            let epoll = || Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC);
            Ok(Watch { bytes: epoll()?, room: epoll()? })
        }

        /// The descriptors of the two.
        pub(super) fn numbers(&self) -> Option<(RawFd, RawFd)> {
            Some((self.bytes.0.as_raw_fd(), self.room.0.as_raw_fd()))
        }

        /// Reports changes of a socket, until it is closed.
        pub(super) fn add(&self, socket: BorrowedFd<'_>, id: u64) -> io::Result<()> {
            let bytes = EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLET;
            self.bytes.add(socket, EpollEvent::new(bytes, id))?;
            let room = EpollFlags::EPOLLOUT | EpollFlags::EPOLLET;
            Ok(self.room.add(socket, EpollEvent::new(room, id))?)
        }

        /// Tells which sockets have brought bytes, and whether the other side has closed them.
        pub(super) fn look_for_bytes(&self, mut tell: impl FnMut(u64, bool)) -> io::Result<()> {
            happened(&self.bytes, |event| tell(event.data(), event.events().intersects(ENDS)))
        }

        /// Tells which sockets have room.
        pub(super) fn look_for_room(&self, mut tell: impl FnMut(u64)) -> io::Result<()> {
            happened(&self.room, |event| tell(event.data()))
        }
    }

    fn happened(epoll: &Epoll, mut tell: impl FnMut(&EpollEvent)) -> io::Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS];
        let count = epoll.wait(&mut events, EpollTimeout::ZERO)?;
        events[..count].iter().for_each(&mut tell);
        Ok(())
    }
}

/// Elsewhere the runtime drives all connections.
#[cfg(not(target_os = "linux"))]
mod watch {
    use std::io;
    use std::os::fd::{BorrowedFd, RawFd};

    pub(super) struct Watch;

    impl Watch {
        pub(super) fn new() -> io::Result<Watch> {
            Ok(Watch)
        }

        pub(super) fn numbers(&self) -> Option<(RawFd, RawFd)> {
            None
        }

        pub(super) fn add(&self, _: BorrowedFd<'_>, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn look_for_bytes(&self, _: impl FnMut(u64, bool)) -> io::Result<()> {
            Ok(())
        }

        pub(super) fn look_for_room(&self, _: impl FnMut(u64)) -> io::Result<()> {
            Ok(())
        }
    }
}
