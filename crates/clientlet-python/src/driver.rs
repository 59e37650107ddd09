//! An event loop of asyncio as the driver of connections: on Linux, by an epoll within the loop's own.
//!
//! The loop's thread polls the tasks of connections, and reads and writes their sockets. So a message needs
//! no other thread: it is written before the task that sends it goes to sleep, and read by the loop.

use std::collections::HashMap;
use std::fmt;
use std::io;
use std::os::fd::BorrowedFd;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::task::{Context, Wake, Waker};

use clientlet::clientlets::{ClientletOptions, Driver, Readiness};
use pyo3::prelude::*;

use crate::bridge::{Bell, Inside, running_loop};
use crate::kept::name;
use crate::runtime;
use crate::telling::listening;

/// How often tasks that wake each other are polled in a row, before the event loop has its turn.
const ROUNDS: usize = 16;

/// The attribute by which an event loop keeps its driver. So the driver lives as long as the loop.
const DRIVER: &str = "_clientlet_driver";

type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task, which is out while it is polled, and what wakes it.
type Tasked = (Option<Task>, Arc<Alarm>);

/// The driver of one event loop.
pub(crate) struct LoopDriver {
    this: Weak<LoopDriver>,
    bell: Arc<Bell>,
    watch: watch::Watch,
    next: AtomicU64,
    watched: Mutex<HashMap<u64, Weak<Readiness>>>,
    tasks: Mutex<HashMap<u64, Tasked>>,
    /// The tasks that are to be polled.
    woken: Mutex<Vec<u64>>,
    /// Whether the event loop is gone.
    is_over: AtomicBool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl LoopDriver {
    /// Returns the driver of the running event loop.
    ///
    /// # Errors
    /// `RuntimeError` without a running loop.
    pub(crate) fn of_running_loop(py: Python<'_>) -> PyResult<Arc<LoopDriver>> {
        let event_loop = running_loop(py)?;
        if let Some(watcher) = event_loop.getattr_opt(name!(py, DRIVER))? {
            return Ok(watcher.cast::<Watcher>()?.get().0.clone());
        }
        let bell = Bell::of(&event_loop)?;
        let watch = watch::Watch::new()?;
        let driver = Arc::new_cyclic(|this| LoopDriver {
            this: this.clone(),
            bell: bell.clone(),
            watch,
            next: AtomicU64::new(0),
            watched: Mutex::default(),
            tasks: Mutex::default(),
            woken: Mutex::default(),
            is_over: AtomicBool::new(false),
        });
        bell.drive(&driver);
        let watcher = Bound::new(py, Watcher(driver.clone()))?;
        if let Some(number) = driver.watch.number() {
            event_loop.call_method1("add_reader", (number, &watcher))?;
        }
        event_loop.setattr(DRIVER, watcher)?;
        Ok(driver)
    }

    /// Has the connections of a clientlet driven by this loop, where a loop can.
    pub(crate) fn drive(this: &Arc<LoopDriver>, options: &ClientletOptions) -> ClientletOptions {
        match this.watch.number() {
            Some(_) => options.clone().driver(this.clone()),
            None => options.clone(),
        }
    }

    /// Whether the event loop is gone.
    pub(crate) fn is_over(&self) -> bool {
        self.is_over.load(Ordering::Acquire)
    }

    /// Polls the tasks that were woken, and completes the futures of asyncio that they have woken.
    ///
    /// # Errors
    /// What Python raised.
    pub(crate) fn run(&self, py: Python<'_>) -> PyResult<()> {
        if lock(&self.woken).is_empty() {
            return Ok(());
        }
        // A task never runs code of Python that could come back here, but a handler of logging may.
        let Some(inside) = Inside::enter(&self.bell) else { return Ok(()) };
        let handle = runtime::handle(py)?;
        let has_more = {
            let _inside = handle.enter();
            listening(py, || self.poll_woken())
        };
        drop(inside);
        if has_more {
            self.bell.pull();
        }
        self.bell.complete(py)
    }

    /// Returns whether tasks are left that were woken.
    fn poll_woken(&self) -> bool {
        for _ in 0..ROUNDS {
            let woken = std::mem::take(&mut *lock(&self.woken));
            if woken.is_empty() {
                return false;
            }
            for id in woken {
                let found = lock(&self.tasks)
                    .get_mut(&id)
                    .map(|(task, alarm)| (task.take(), alarm.clone()));
                let Some((Some(mut task), alarm)) = found else { continue };
                alarm.is_set.store(false, Ordering::Release);
                let waker = Waker::from(alarm);
                let poll = || task.as_mut().poll(&mut Context::from_waker(&waker));
                match catch_unwind(AssertUnwindSafe(poll)) {
                    Ok(polled) if polled.is_pending() => {
                        if let Some((slot, _)) = lock(&self.tasks).get_mut(&id) {
                            *slot = Some(task);
                        }
                    }
                    // The library has told those who wait of a panic.
                    _ => {
                        let ended = lock(&self.tasks).remove(&id);
                        drop((ended, task));
                    }
                }
            }
        }
        !lock(&self.woken).is_empty()
    }

    fn wake(&self, id: u64) {
        let mut woken = lock(&self.woken);
        woken.push(id);
        let is_first = woken.len() == 1;
        drop(woken);
        if is_first && !Inside::is(&self.bell) {
            self.bell.pull();
        }
    }
}

impl Driver for LoopDriver {
    fn spawn(&self, task: Task) {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let alarm = Alarm { driver: self.this.clone(), id, is_set: AtomicBool::new(true) };
        lock(&self.tasks).insert(id, (Some(task), Arc::new(alarm)));
        self.wake(id);
    }

    fn watch(&self, socket: BorrowedFd<'_>, readiness: &Arc<Readiness>) -> io::Result<()> {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let mut watched = lock(&self.watched);
        // Closed sockets leave the epoll by themselves.
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

/// What wakes a task.
struct Alarm {
    driver: Weak<LoopDriver>,
    id: u64,
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
            driver.wake(self.id);
        }
    }
}

/// What the loop calls when something has happened to a socket.
#[pyclass(frozen)]
pub(crate) struct Watcher(Arc<LoopDriver>);

#[pymethods]
impl Watcher {
    fn __call__(&self, py: Python<'_>) -> PyResult<()> {
        let driver = &self.0;
        driver.watch.look(|id, happened| {
            let readiness = lock(&driver.watched).get(&id).and_then(Weak::upgrade);
            if let Some(readiness) = readiness {
                match happened {
                    watch::Happened::Ended => readiness.ended(),
                    watch::Happened::Ready { to_read, to_write } => {
                        if to_read {
                            readiness.readable();
                        }
                        if to_write {
                            readiness.writable();
                        }
                    }
                }
            }
        })?;
        driver.run(py)
    }
}

impl Drop for Watcher {
    /// Runs when the event loop is gone: its connections end.
    fn drop(&mut self) {
        self.0.is_over.store(true, Ordering::Release);
        let ended = std::mem::take(&mut *lock(&self.0.tasks));
        drop(ended);
    }
}

/// The file descriptor that an event loop watches in place of all sockets.
#[cfg(target_os = "linux")]
mod watch {
    use std::io;
    use std::os::fd::{AsRawFd, BorrowedFd, RawFd};

    use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};

    /// The events that are taken at a time.
    const EVENTS: usize = 64;

    pub(super) enum Happened {
        Ready { to_read: bool, to_write: bool },
        Ended,
    }

    pub(super) struct Watch(Epoll);

    impl Watch {
        pub(super) fn new() -> io::Result<Watch> {
            Ok(Watch(Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?))
        }

        pub(super) fn number(&self) -> Option<RawFd> {
            Some(self.0.0.as_raw_fd())
        }

        /// Reports changes of a socket, until it is closed.
        pub(super) fn add(&self, socket: BorrowedFd<'_>, id: u64) -> io::Result<()> {
            let changes = EpollFlags::EPOLLIN
                | EpollFlags::EPOLLOUT
                | EpollFlags::EPOLLRDHUP
                | EpollFlags::EPOLLET;
            Ok(self.0.add(socket, EpollEvent::new(changes, id))?)
        }

        /// Takes what has happened to the sockets.
        pub(super) fn look(&self, mut tell: impl FnMut(u64, Happened)) -> io::Result<()> {
            let mut events = [EpollEvent::empty(); EVENTS];
            let count = self.0.wait(&mut events, EpollTimeout::ZERO)?;
            let ends = EpollFlags::EPOLLRDHUP | EpollFlags::EPOLLHUP | EpollFlags::EPOLLERR;
            for event in &events[..count] {
                let flags = event.events();
                tell(
                    event.data(),
                    match flags.intersects(ends) {
                        true => Happened::Ended,
                        false => Happened::Ready {
                            to_read: flags.contains(EpollFlags::EPOLLIN),
                            to_write: flags.contains(EpollFlags::EPOLLOUT),
                        },
                    },
                );
            }
            Ok(())
        }
    }
}

/// Elsewhere the runtime drives all connections.
#[cfg(not(target_os = "linux"))]
mod watch {
    use std::io;
    use std::os::fd::{BorrowedFd, RawFd};

    pub(super) enum Happened {
        Ready { to_read: bool, to_write: bool },
        Ended,
    }

    pub(super) struct Watch;

    impl Watch {
        pub(super) fn new() -> io::Result<Watch> {
            Ok(Watch)
        }

        pub(super) fn number(&self) -> Option<RawFd> {
            None
        }

        pub(super) fn add(&self, _: BorrowedFd<'_>, _: u64) -> io::Result<()> {
            Err(io::ErrorKind::Unsupported.into())
        }

        pub(super) fn look(&self, _: impl FnMut(u64, Happened)) -> io::Result<()> {
            Ok(())
        }
    }
}
