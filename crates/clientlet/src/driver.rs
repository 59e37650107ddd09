//! Connections that another event loop drives, in place of the runtime's threads.

use std::cell::RefCell;
use std::fmt::Debug;
#[cfg(unix)]
use std::io;
#[cfg(unix)]
use std::os::fd::BorrowedFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Weak};
use std::task::{Context, Poll};

use futures_util::future::{AbortHandle, abortable};
use futures_util::task::AtomicWaker;
use tokio::task::JoinHandle;

/// An event loop that drives the connections of a clientlet: it polls their tasks, and watches their
/// sockets.
///
/// A message that is sent and answered on the event loop's own thread needs no other thread, which would
/// have to be woken twice for each message. Connections are opened by the runtime, which must run all the
/// time, and they use its timers.
pub trait Driver: Debug + Send + Sync + 'static {
    /// Takes the task of a connection. The task is to be polled whenever it is woken, until it ends, within
    /// the context of the runtime.
    fn spawn(&self, task: Pin<Box<dyn Future<Output = ()> + Send>>);

    /// Begins to watch a socket, and tells `readiness` whenever bytes have come, there is room to write, or
    /// the other side has closed: at least once for each change, as an edge-triggered epoll does. A driver that is
    /// told of bytes as long as they are there can ask whether they [are unread](Readiness::is_unread). The socket
    /// stays the connection's; that it was closed is not reported, and `readiness` is dropped then.
    ///
    /// # Errors
    /// If the socket cannot be watched; then the connection is lost.
    #[cfg(unix)]
    fn watch(&self, socket: BorrowedFd<'_>, readiness: &Arc<Readiness>) -> io::Result<()>;
}

/// What is known of a watched socket, and the tasks that wait for it.
#[derive(Debug, Default)]
pub struct Readiness {
    reader: AtomicWaker,
    writer: AtomicWaker,
    /// Whether reading has to be tried.
    may_read: AtomicBool,
    /// Whether the other side has closed, so that each read tells something.
    is_ended: AtomicBool,
}

impl Readiness {
    /// Tells that bytes have come.
    pub fn readable(&self) {
        self.may_read.store(true, Ordering::Release);
        self.reader.wake();
    }

    /// Tells that there is room to write.
    pub fn writable(&self) {
        self.writer.wake();
    }

    /// Tells that the other side has closed, or the connection is broken.
    pub fn ended(&self) {
        self.is_ended.store(true, Ordering::Release);
        self.readable();
        self.writable();
    }

    /// Whether something was told that was not read since, or the other side has closed.
    pub fn is_unread(&self) -> bool {
        self.may_read.load(Ordering::Acquire) || self.is_ended.load(Ordering::Acquire)
    }

    /// Whether reading may bring something. If not, the reader is woken when it may.
    #[cfg(unix)]
    pub(crate) fn begin_to_read(&self, cx: &Context<'_>) -> bool {
        self.reader.register(cx.waker());
        self.may_read.swap(false, Ordering::AcqRel) || self.is_ended.load(Ordering::Acquire)
    }

    /// Notes that a read has filled its buffer, so that more may be there.
    #[cfg(unix)]
    pub(crate) fn read_again(&self) {
        self.may_read.store(true, Ordering::Release);
    }

    /// Has the writer woken when there is room.
    #[cfg(unix)]
    pub(crate) fn begin_to_write(&self, cx: &Context<'_>) {
        self.writer.register(cx.waker());
    }
}

thread_local! {
    /// The driver that polls on this thread at present.
    static PRESENT: RefCell<Option<Arc<dyn Driver>>> = const { RefCell::new(None) };
}

/// Returns the driver that polls on this thread at present.
#[cfg(unix)]
pub(crate) fn present() -> Option<Arc<dyn Driver>> {
    PRESENT.with_borrow(Clone::clone)
}

/// A task of a connection that ends when it is aborted.
#[derive(Debug)]
pub(crate) enum Task {
    OfRuntime(JoinHandle<()>),
    OfDriver(AbortHandle),
}

impl Task {
    pub(crate) fn abort(&self) {
        match self {
            Task::OfRuntime(task) => task.abort(),
            Task::OfDriver(task) => task.abort(),
        }
    }
}

/// Runs the task of a connection: by the driver if there is one, otherwise by the runtime.
pub(crate) fn spawn(
    driver: Option<&Arc<dyn Driver>>,
    task: impl Future<Output = ()> + Send + 'static,
) -> Task {
    let Some(driver) = driver else { return Task::OfRuntime(tokio::spawn(task)) };
    let (task, handle) = abortable(task);
    let task = Box::pin(async move {
        let _ = task.await;
    });
    driver.spawn(Box::pin(Driven { driver: Arc::downgrade(driver), task }));
    Task::OfDriver(handle)
}

/// A task of a driver. The sockets that it polls are watched by the driver from then on.
struct Driven {
    /// The driver owns the task, not the other way round.
    driver: Weak<dyn Driver>,
    task: Pin<Box<dyn Future<Output = ()> + Send>>,
}

impl Future for Driven {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        let before = PRESENT.replace(self.driver.upgrade());
        let _until_then = Restore(before);
        self.task.as_mut().poll(cx)
    }
}

/// Puts the driver back that was there before, also after a panic.
struct Restore(Option<Arc<dyn Driver>>);

impl Drop for Restore {
    fn drop(&mut self) {
        // Replaced first: dropping a driver may run code that asks for the present one.
        let ours = PRESENT.replace(self.0.take());
        drop(ours);
    }
}

#[cfg(all(test, unix))]
mod tests {
    use std::task::Waker;

    use super::*;

    #[test]
    fn bytes_are_unread_until_a_reader_begins_and_an_end_always_is() {
        let (readiness, cx) = (Readiness::default(), Context::from_waker(Waker::noop()));
        assert!(!readiness.is_unread());
        readiness.readable();
        assert!(readiness.is_unread());
        assert!(readiness.begin_to_read(&cx));
        assert!(!readiness.is_unread() && !readiness.begin_to_read(&cx));
        readiness.ended();
        assert!(readiness.begin_to_read(&cx) && readiness.is_unread());
    }
}
