//! The documents of a call, as they are taken from Python.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_core::Stream;
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use crate::bridge;
use crate::columns::Columns;
use crate::kept::name;
use crate::read::{Arrays, Document};

/// Where a call's documents come from. It is polled by a thread of Python.
pub(crate) enum Input {
    /// No more documents.
    Ended,
    Iterator(Py<PyIterator>, Arc<Arrays>),
    /// The rows of columns, from this one on.
    Rows(Arc<Columns>, usize),
    /// An asynchronous iterator, which a task of the event loop reads.
    Feed(Feeding),
}

impl Stream for Input {
    type Item = Result<Document, PyErr>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        Python::attach(|py| {
            let next = match &mut *self {
                Input::Ended => None,
                Input::Rows(columns, next) => {
                    *next += 1;
                    let is_there = *next <= columns.len();
                    return Poll::Ready(
                        is_there.then(|| Ok(Document::Row(columns.clone(), *next - 1))),
                    );
                }
                Input::Iterator(iterator, arrays) => {
                    iterator.bind(py).clone().next().map(|object| (object, arrays.clone()))
                }
                Input::Feed(feeding) => match feeding.poll(py, cx) {
                    Poll::Ready(next) => next.map(|object| (object, feeding.arrays.clone())),
                    Poll::Pending => return Poll::Pending,
                },
            };
            if !matches!(next, Some((Ok(_), _))) {
                *self = Input::Ended;
            }
            let document = |(object, arrays): (PyResult<Bound<'_, PyAny>>, _)| {
                object.map(|object| Document::Object(object.unbind(), arrays))
            };
            Poll::Ready(next.map(document))
        })
    }
}

/// A call's documents. Between two requests it lets the other tasks of an event loop run, if the call has held the
/// loop for long.
pub(crate) struct Sharing {
    input: Input,
    request_size: usize,
    /// The number of documents so far.
    count: usize,
}

impl Sharing {
    pub(crate) fn new(input: Input, request_size: usize) -> Sharing {
        Sharing { input, request_size, count: 0 }
    }
}

impl Stream for Sharing {
    type Item = Result<Document, PyErr>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        // Within a request the pause could end the request early.
        let is_between = self.count > 0 && self.count.is_multiple_of(self.request_size);
        if is_between && bridge::is_held_for_long() {
            cx.waker().wake_by_ref();
            return Poll::Pending;
        }
        let next = Pin::new(&mut self.input).poll_next(cx);
        if let Poll::Ready(Some(_)) = next {
            self.count += 1;
        }
        next
    }
}

/// The call's end of a [`Feed`]. Dropping it ends the task that reads the input.
pub(crate) struct Feeding {
    feed: Py<Feed>,
    arrays: Arc<Arrays>,
    /// Begins the task; `None` once it has begun.
    begin: Mutex<Option<Py<PyAny>>>,
}

impl Feeding {
    /// `begin(feed)` returns the task that puts documents into the feed.
    pub(crate) fn new(
        py: Python<'_>,
        begin: &Bound<'_, PyAny>,
        request_size: usize,
        arrays: Arc<Arrays>,
    ) -> PyResult<Feeding> {
        let state = State { request_size, ..State::default() };
        let feed = Py::new(py, Feed(Arc::new(Mutex::new(state))))?;
        Ok(Feeding { feed, arrays, begin: Mutex::new(Some(begin.clone().unbind())) })
    }

    fn poll<'py>(
        &self,
        py: Python<'py>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<PyResult<Bound<'py, PyAny>>>> {
        let begin = self.begin.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(begin) = begin {
            match begin.bind(py).call1((&self.feed,)) {
                Ok(task) => self.feed.get().state().task = Some(task.unbind()),
                Err(error) => return Poll::Ready(Some(Err(error))),
            }
        }
        let mut state = self.feed.get().state();
        if let Some(document) = state.documents.pop_front() {
            return Poll::Ready(Some(Ok(document.into_bound(py))));
        }
        if let Some(error) = state.failed.take() {
            return Poll::Ready(Some(Err(error)));
        }
        if state.has_ended {
            return Poll::Ready(None);
        }
        state.waker = Some(cx.waker().clone());
        state.is_wanted = true;
        let asked = state.asked.take();
        drop(state);
        match asked.map(|future| complete(future.bind(py))) {
            Some(Err(error)) => Poll::Ready(Some(Err(error))),
            _ => Poll::Pending,
        }
    }
}

impl Drop for Feeding {
    fn drop(&mut self) {
        Python::attach(|py| {
            let task = self.feed.get().state().task.take();
            if let Some(task) = task {
                // A task of a loop that is closed cannot be cancelled, and does not run either.
                let _ = task.bind(py).call_method0(name!(py, "cancel"));
            }
        });
    }
}

/// Completes a future of asyncio, unless it was cancelled.
pub(crate) fn complete(future: &Bound<'_, PyAny>) -> PyResult<()> {
    let py = future.py();
    if !future.call_method0(name!(py, "done"))?.is_truthy()? {
        future.call_method1(name!(py, "set_result"), (py.None(),))?;
    }
    Ok(())
}

/// Documents on their way from an asynchronous iterator to a call.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Feed(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    documents: VecDeque<Py<PyAny>>,
    failed: Option<PyErr>,
    has_ended: bool,
    /// The call that waits for a document.
    waker: Option<Waker>,
    /// Whether the call asks for documents.
    is_wanted: bool,
    /// What the reading task waits for until the call asks for documents.
    asked: Option<Py<PyAny>>,
    task: Option<Py<PyAny>>,
    /// The number of documents that were put in, and that a request takes.
    count: usize,
    request_size: usize,
}

/// The most documents that wait in a feed. A request may be larger.
const MOST: usize = 256;

impl Feed {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn end(&self, failed: Option<PyErr>) {
        let mut state = self.state();
        state.has_ended = true;
        state.failed = failed;
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
    }
}

#[pymethods]
impl Feed {
    /// Puts a document in. Returns whether the reader is to wait until documents are wanted again:
    /// the call asks for the documents of a request, and then for no more until there is room.
    fn put(&self, document: Py<PyAny>) -> bool {
        let mut state = self.state();
        state.documents.push_back(document);
        state.count += 1;
        let is_full = state.request_size > 0 && state.count.is_multiple_of(state.request_size);
        let pause = is_full || state.documents.len() >= MOST;
        if pause {
            state.is_wanted = false;
        }
        let waker = state.waker.take();
        drop(state);
        if let Some(waker) = waker {
            waker.wake();
        }
        pause
    }

    /// Returns `None` if documents are wanted, else a future that is done when they are.
    fn wanted(&self, event_loop: &Bound<'_, PyAny>) -> PyResult<Option<Py<PyAny>>> {
        if self.state().is_wanted {
            return Ok(None);
        }
        let future = event_loop.call_method0(name!(event_loop.py(), "create_future"))?.unbind();
        self.state().asked = Some(future.clone_ref(event_loop.py()));
        Ok(Some(future))
    }

    /// Ends the input, with the exception that ended it.
    #[pyo3(signature = (exception = None))]
    fn close(&self, exception: Option<Bound<'_, PyAny>>) {
        self.end(exception.map(PyErr::from_value));
    }
}
