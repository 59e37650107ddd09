//! Waits for a future on the calling thread, with the interpreter released and signals heard.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::SeqCst;
use std::sync::{Arc, Condvar, Mutex, OnceLock, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::{self, ThreadId};
use std::time::{Duration, Instant};

use pyo3::prelude::*;

use crate::error::internal;
use crate::kept::name;
use crate::runtime;
use crate::telling::{self, listening};

/// How often Python's main thread looks whether a signal has come: only it runs handlers of signals.
/// So Ctrl-C ends a wait within this time.
const SIGNALS: Duration = Duration::from_millis(20);

/// Polls `future` on this thread until it is ready. In between the interpreter is released.
///
/// # Errors
/// What a handler of a signal raised, such as `KeyboardInterrupt`; the future is dropped then.
pub(crate) fn wait<T>(
    py: Python<'_>,
    mut future: Pin<Box<dyn Future<Output = PyResult<T>> + Send + '_>>,
) -> PyResult<T> {
    let handle = runtime::handle(py)?;
    let alarm = Arc::new(Alarm::default());
    let waker = Waker::from(alarm.clone());
    let mut rest = None;
    loop {
        let polled = {
            let _inside = handle.enter();
            let poll = || future.as_mut().poll(&mut Context::from_waker(&waker));
            let polled = listening(py, || catch_unwind(AssertUnwindSafe(poll)));
            polled.map_err(|panic| internal(py, &*panic))?
        };
        if let Poll::Ready(result) = polled {
            return result;
        }
        let rest = match rest {
            Some(rest) => rest,
            None => *rest.insert(is_main_thread(py)?.then_some(SIGNALS)),
        };
        while !released(py, || alarm.wait(rest)) {
            py.check_signals()?;
            telling::hand_on(py);
        }
    }
}

/// The number of threads that are about to attach to the interpreter again.
static ATTACHING: AtomicUsize = AtomicUsize::new(0);

/// The thread that ends the interpreter, once it does.
static ENDING: OnceLock<ThreadId> = OnceLock::new();

/// The longest wait for threads that are about to attach, at the end.
const ATTACHED: Duration = Duration::from_secs(1);

/// Waits with the interpreter released.
///
/// While the interpreter ends, CPython stops each thread that asks for it, in the middle of the Rust code
/// below: what happens then depends on how the wheel was linked, and may end the process by a fault. So
/// from then on threads stay here until the process is gone.
fn released<T: Send>(py: Python<'_>, wait: impl FnOnce() -> T + Send) -> T {
    let waited = py.detach(|| {
        let waited = wait();
        ATTACHING.fetch_add(1, SeqCst);
        if ENDING.get().is_some_and(|ending| *ending != thread::current().id()) {
            ATTACHING.fetch_sub(1, SeqCst);
            loop {
                thread::park();
            }
        }
        waited
    });
    ATTACHING.fetch_sub(1, SeqCst);
    waited
}

/// Lets no thread attach from now on but this one, which ends the interpreter.
pub(crate) fn end(py: Python<'_>) {
    let _ = ENDING.set(thread::current().id());
    py.detach(|| {
        let since = Instant::now();
        while ATTACHING.load(SeqCst) > 0 && since.elapsed() < ATTACHED {
            thread::sleep(Duration::from_millis(1));
        }
    });
}

fn is_main_thread(py: Python<'_>) -> PyResult<bool> {
    let threading = py.import(name!(py, "threading"))?;
    let main = threading.call_method0(name!(py, "main_thread"))?;
    Ok(threading.call_method0(name!(py, "current_thread"))?.is(&main))
}

/// What wakes the thread.
#[derive(Default)]
struct Alarm {
    rings: Mutex<bool>,
    rung: Condvar,
}

impl Alarm {
    /// Waits for the alarm, at most for `limit`; returns whether it rang.
    fn wait(&self, limit: Option<Duration>) -> bool {
        let rings = self.rings.lock().unwrap_or_else(PoisonError::into_inner);
        let is_quiet = |rings: &mut bool| !*rings;
        let mut rings = match limit {
            Some(limit) => {
                let waited = self.rung.wait_timeout_while(rings, limit, is_quiet);
                waited.unwrap_or_else(PoisonError::into_inner).0
            }
            None => {
                let waited = self.rung.wait_while(rings, is_quiet);
                waited.unwrap_or_else(PoisonError::into_inner)
            }
        };
        std::mem::take(&mut rings)
    }
}

impl Wake for Alarm {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        *self.rings.lock().unwrap_or_else(PoisonError::into_inner) = true;
        self.rung.notify_one();
    }
}
