//! What the library tells, for Python: log events, ended spans, measurements.
//!
//! The runtime's threads must not attach to the interpreter. So what is told waits in a queue until
//! a thread of Python polls, or ends a call, and hands it on.

use std::borrow::Cow;
use std::cell::Cell;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicBool, AtomicU8, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use pyo3::prelude::*;
use pyo3::types::PyDict;

use crate::kept::{Kept, name};

/// A value of a field or attribute.
#[derive(Clone, Debug, PartialEq, IntoPyObject)]
pub(crate) enum Field {
    Bool(bool),
    Integer(i64),
    Unsigned(u64),
    Real(f64),
    Text(String),
}

pub(crate) type Fields = Vec<(Cow<'static, str>, Field)>;

/// Fields as a dict.
pub(crate) fn dict(py: Python<'_>, fields: Fields) -> PyResult<Bound<'_, PyDict>> {
    let dict = PyDict::new(py);
    for (name, value) in fields {
        dict.set_item(name, value)?;
    }
    Ok(dict)
}

/// Nanoseconds since 1970, as OpenTelemetry takes them.
pub(crate) fn nanoseconds(time: SystemTime) -> u64 {
    let since = time.duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

/// Something that was told.
pub(crate) enum Told {
    Log { name: &'static str, level: u8, time: SystemTime, message: String, fields: Fields },
    Span(Box<EndedSpan>),
    Measured { instrument: Arc<Instrument>, value: Field, attributes: Fields },
}

/// A span of Python's provider, with everything that it is to be told.
pub(crate) struct EndedSpan {
    pub(crate) span: Py<PyAny>,
    pub(crate) attributes: Fields,
    pub(crate) events: Vec<(Cow<'static, str>, SystemTime, Fields)>,
    /// The description of the error, if the span has failed.
    pub(crate) failed: Option<String>,
    pub(crate) end: SystemTime,
}

/// A method of an instrument of Python's provider: `add` or `record`.
pub(crate) struct Instrument(pub(crate) Py<PyAny>);

/// The most that waits. What is beyond is lost and counted; sums are kept apart, and never lost.
const MOST: usize = 10_000;

#[derive(Default)]
struct Queue {
    told: VecDeque<Told>,
    sums: Vec<(Arc<Instrument>, Fields, i64)>,
    lost: u64,
}

/// The queue of a process, and that of its child. In a child the parent's lock may be taken by a thread
/// that is not there, so a child begins a queue of its own.
struct Process {
    queue: Mutex<Queue>,
    child: OnceLock<Box<Process>>,
}

impl Process {
    const fn new() -> Process {
        let queue = Queue { told: VecDeque::new(), sums: Vec::new(), lost: 0 };
        Process { queue: Mutex::new(queue), child: OnceLock::new() }
    }
}

static FIRST: Process = Process::new();

/// How many forks lie between the first process and this one.
static FORKS: AtomicUsize = AtomicUsize::new(0);

/// Tells this process from its parent and from its children. Unlike the process id, it is known without a system call.
pub(crate) fn generation() -> usize {
    FORKS.load(Ordering::Acquire)
}

/// Whether there is anything in the queue.
static IS_WAITING: AtomicBool = AtomicBool::new(false);

fn process() -> &'static Process {
    let mut process = &FIRST;
    for _ in 0..generation() {
        match process.child.get() {
            Some(child) => process = child,
            None => break,
        }
    }
    process
}

fn queue() -> MutexGuard<'static, Queue> {
    process().queue.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Puts something into the queue.
pub(crate) fn tell(told: Told) {
    let mut queue = queue();
    let refused = match queue.told.len() < MOST {
        true => {
            queue.told.push_back(told);
            None
        }
        false => {
            queue.lost += 1;
            Some(told)
        }
    };
    drop(queue);
    // Objects of Python are never dropped under the lock.
    drop(refused);
    IS_WAITING.store(true, Ordering::Release);
}

/// Adds to the sum of an instrument.
pub(crate) fn add(instrument: &Arc<Instrument>, number: i64, attributes: impl FnOnce() -> Fields) {
    let attributes = attributes();
    let mut queue = queue();
    // A client has few sets of attributes.
    let known = queue
        .sums
        .iter_mut()
        .find(|(of, known, _)| Arc::ptr_eq(of, instrument) && *known == attributes);
    match known {
        Some((_, _, sum)) => *sum = sum.saturating_add(number),
        None => queue.sums.push((instrument.clone(), attributes, number)),
    }
    drop(queue);
    IS_WAITING.store(true, Ordering::Release);
}

/// Hands on what is in the queue. What Python's code raises there does not reach the caller, whose
/// call has nothing to do with it.
pub(crate) fn hand_on(py: Python<'_>) {
    if !IS_WAITING.swap(false, Ordering::Acquire) {
        return;
    }
    let Queue { told, sums, lost } = std::mem::take(&mut *queue());
    for told in told {
        report(py, told.hand_on(py));
    }
    for (instrument, attributes, sum) in sums {
        let value = Field::Integer(sum);
        report(py, Told::Measured { instrument, value, attributes }.hand_on(py));
    }
    if lost > 0 {
        let message =
            format!("{lost} log events, spans or measurements were lost: too many waited");
        let (name, time) = ("clientlet.telling.lost", SystemTime::now());
        let fields = vec![("lost".into(), Field::Unsigned(lost))];
        report(py, Told::Log { name, level: WARN, time, message, fields }.hand_on(py));
    }
}

fn report(py: Python<'_>, result: PyResult<()>) {
    if let Err(error) = result {
        error.write_unraisable(py, None);
    }
}

impl Told {
    fn hand_on(self, py: Python<'_>) -> PyResult<()> {
        match self {
            Told::Log { name, level, time, message, fields } => {
                let since = time.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64();
                let fields = dict(py, fields)?;
                module(py)?.call_method1("log", (name, level, since, message, fields))?;
            }
            Told::Span(ended) => {
                let EndedSpan { span, attributes, events, failed, end } = *ended;
                let events = events.into_iter().map(|(name, time, attributes)| {
                    Ok((name, nanoseconds(time), dict(py, attributes)?))
                });
                let events = events.collect::<PyResult<Vec<_>>>()?;
                let attributes = dict(py, attributes)?;
                let end = nanoseconds(end);
                module(py)?.call_method1("end", (span, attributes, events, failed, end))?;
            }
            Told::Measured { instrument, value, attributes } => {
                instrument.0.call1(py, (value, dict(py, attributes)?))?;
            }
        }
        Ok(())
    }
}

/// The package's module that talks to `logging` and OpenTelemetry.
pub(crate) fn module(py: Python<'_>) -> PyResult<&Bound<'_, PyModule>> {
    static MODULE: Kept<Py<PyModule>> = Kept::new();
    let module = MODULE.get_or_make(py, || py.import("clientlet._telling").map(Bound::unbind))?;
    Ok(module.bind(py))
}

thread_local! {
    /// How many of this thread's functions are within [`listening`].
    static INSIDE: Cell<u32> = const { Cell::new(0) };
}

/// Whether this thread is one of Python's that is attached, so that spans may be begun on it.
pub(crate) fn is_attached() -> bool {
    INSIDE.get() > 0
}

/// Runs a function of the library on this thread, which is attached, and hands on what it told.
pub(crate) fn listening<T>(py: Python<'_>, run: impl FnOnce() -> T) -> T {
    struct Inside;
    impl Drop for Inside {
        fn drop(&mut self) {
            INSIDE.set(INSIDE.get() - 1);
        }
    }
    let result = {
        INSIDE.set(INSIDE.get() + 1);
        let _inside = Inside;
        run()
    };
    hand_on(py);
    result
}

const WARN: u8 = 30;

/// The least level of `logging` that is wanted. Events below it cost nothing more than this look.
static LEAST: AtomicU8 = AtomicU8::new(u8::MAX);

/// Listens to the library's log from the first call of this on, and asks `logging` which levels are
/// wanted now. Hands on what was told since the last call.
pub(crate) fn listen(py: Python<'_>) -> PyResult<()> {
    static LOGGER: Kept<Py<PyAny>> = Kept::new();
    static BEGUN: OnceLock<()> = OnceLock::new();
    let logger = LOGGER.get_or_make(py, || {
        let logging = py.import("logging")?;
        Ok(logging.call_method1("getLogger", ("clientlet",))?.unbind())
    })?;
    BEGUN.get_or_init(|| {
        // The command, run in this process, may have set its own; then that prints.
        let _ = tracing::subscriber::set_global_default(crate::log::Log);
    });
    hand_on(py);
    let level = logger.bind(py).call_method0(name!(py, "getEffectiveLevel"))?;
    let level: i64 = level.extract()?;
    LEAST.store(u8::try_from(level.max(0)).unwrap_or(u8::MAX), Ordering::Relaxed);
    Ok(())
}

/// Whether events of a level are wanted.
pub(crate) fn is_wanted(level: u8) -> bool {
    level >= LEAST.load(Ordering::Relaxed)
}

/// Asks Python to tell when the process has forked.
pub(crate) fn register(py: Python<'_>) -> PyResult<()> {
    let hook = PyDict::new(py);
    hook.set_item("after_in_child", pyo3::wrap_pyfunction!(begin_child, py)?)?;
    py.import("os")?.call_method("register_at_fork", (), Some(&hook))?;
    Ok(())
}

/// Begins the queue of a child. The parent hands on what was told there.
#[pyfunction]
fn begin_child() {
    process().child.get_or_init(|| Box::new(Process::new()));
    FORKS.fetch_add(1, Ordering::Release);
}
