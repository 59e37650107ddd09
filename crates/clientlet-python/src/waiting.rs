//! What a task of asyncio waits for while a future of Rust is pending.
//!
//! A future of asyncio lets its task go on in the loop's next round, which costs a system call and the loop's own
//! work. The loop calls a [`Waiting`] by its bell or by a socket, so the task can go on within that call.

use std::mem;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use pyo3::prelude::*;
use pyo3::types::{PyDict, PyTuple};

use crate::kept::name;

/// When a task goes on whose wait has ended.
#[derive(Clone, Copy)]
pub(crate) enum When {
    /// At once, for what the event loop itself has called: then no task is running.
    Now,
    /// In the loop's next round.
    Soon,
}

/// A wait of a task. It has what asyncio's tasks ask of a future.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Waiting {
    event_loop: Py<PyAny>,
    /// By this a task knows that it is to wait, and that the object was not awaited otherwise.
    is_blocking: AtomicBool,
    state: Mutex<State>,
}

enum State {
    /// The callbacks, each with the context that it runs in.
    Waits(Vec<(Py<PyAny>, Option<Py<PyAny>>)>),
    Ended,
    /// With the message for the exception, if there is one.
    Cancelled(Option<Py<PyAny>>),
}

impl Waiting {
    /// A wait in an event loop.
    pub(crate) fn new(event_loop: Py<PyAny>) -> Waiting {
        let (is_blocking, state) = (AtomicBool::new(true), Mutex::new(State::Waits(Vec::new())));
        Waiting { event_loop, is_blocking, state }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Ends the wait, unless it was cancelled.
    ///
    /// # Errors
    /// What Python raised.
    pub(crate) fn end(this: &Bound<'_, Waiting>, when: When) -> PyResult<()> {
        Waiting::settle(this, State::Ended, when).map(drop)
    }

    /// Returns whether it was waiting until now.
    fn settle(this: &Bound<'_, Waiting>, to: State, when: When) -> PyResult<bool> {
        let waiting = this.get();
        let mut state = waiting.state();
        let State::Waits(callbacks) = &mut *state else { return Ok(false) };
        let callbacks = mem::take(callbacks);
        *state = to;
        drop(state);
        for (callback, context) in callbacks {
            waiting.call(this, callback, context, when)?;
        }
        Ok(true)
    }

    fn call(
        &self,
        this: &Bound<'_, Waiting>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
        when: When,
    ) -> PyResult<()> {
        let py = this.py();
        match (when, context) {
            (When::Now, Some(context)) => {
                context.bind(py).call_method1(name!(py, "run"), (callback, this))?;
            }
            (_, context) => {
                let options = PyDict::new(py);
                options.set_item(name!(py, "context"), context)?;
                let event_loop = self.event_loop.bind(py);
                let call_soon = event_loop.getattr(name!(py, "call_soon"))?;
                call_soon.call((callback, this), Some(&options))?;
            }
        }
        Ok(())
    }
}

#[pymethods]
impl Waiting {
    #[getter(_asyncio_future_blocking)]
    fn is_blocking(&self) -> bool {
        self.is_blocking.load(Ordering::Relaxed)
    }

    #[setter(_asyncio_future_blocking)]
    fn set_blocking(&self, is_blocking: bool) {
        self.is_blocking.store(is_blocking, Ordering::Relaxed);
    }

    fn get_loop(&self, py: Python<'_>) -> Py<PyAny> {
        self.event_loop.clone_ref(py)
    }

    #[pyo3(signature = (callback, *, context = None))]
    fn add_done_callback(
        this: &Bound<'_, Waiting>,
        callback: Py<PyAny>,
        context: Option<Py<PyAny>>,
    ) -> PyResult<()> {
        let waiting = this.get();
        if let State::Waits(callbacks) = &mut *waiting.state() {
            callbacks.push((callback, context));
            return Ok(());
        }
        waiting.call(this, callback, context, When::Soon)
    }

    #[pyo3(signature = (msg = None))]
    fn cancel(this: &Bound<'_, Waiting>, msg: Option<Py<PyAny>>) -> PyResult<bool> {
        Waiting::settle(this, State::Cancelled(msg), When::Soon)
    }

    fn cancelled(&self) -> bool {
        matches!(*self.state(), State::Cancelled(_))
    }

    fn done(&self) -> bool {
        !matches!(*self.state(), State::Waits(_))
    }

    fn result(&self, py: Python<'_>) -> PyResult<()> {
        let message = match &*self.state() {
            State::Cancelled(message) => message.as_ref().map(|message| message.clone_ref(py)),
            State::Waits(_) | State::Ended => return Ok(()),
        };
        // asyncio is loaded by now. PyO3's own class would be made on import, and load it.
        let class = py.import("asyncio")?.getattr("CancelledError")?;
        Err(PyErr::from_value(class.call1(PyTuple::new(py, message)?)?))
    }
}
