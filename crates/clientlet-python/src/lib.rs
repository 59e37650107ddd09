//! The module `clientlet._core`: what the Python package does in Rust.
//!
//! The thread that polls is attached to Python: all Python objects are read and made while a thread of Python polls a
//! future of the library. The runtime's threads only read and write connections, and never attach to
//! the interpreter.
#![deny(unsafe_op_in_unsafe_fn)]

mod answers;
mod array;
mod arrow;
mod aside;
mod bridge;
mod call;
mod client;
mod clientlets;
mod columns;
mod command;
mod driver;
mod error;
mod feed;
mod gateway;
mod hook;
mod kept;
mod kind;
mod log;
mod measure;
mod options;
mod otel;
mod questions;
mod queue;
mod read;
mod runtime;
mod telling;
mod tree;
mod wait;
mod waiting;
mod write;

use pyo3::exceptions::PyImportError;
use pyo3::prelude::*;
use pyo3::types::{PyList, PyMapping, PySequence};

/// The core of the package `clientlet`. Its classes are made by the package alone.
#[pymodule(gil_used = true)]
fn _core(module: &Bound<'_, PyModule>) -> PyResult<()> {
    refuse_subinterpreters(module.py())?;
    telling::register(module.py())?;
    let end = wrap_pyfunction!(end, module)?;
    module.py().import("atexit")?.call_method1("register", (end,))?;
    fill_cells(module.py())?;
    module.add("__version__", env!("CARGO_PKG_VERSION"))?;
    module.add_class::<answers::Response>()?;
    module.add_class::<array::Memory>()?;
    module.add_class::<arrow::Table>()?;
    module.add_class::<bridge::Await>()?;
    module.add_class::<call::Call>()?;
    module.add_class::<call::DocumentCall>()?;
    module.add_class::<client::Core>()?;
    module.add_class::<clientlets::HttpSession>()?;
    module.add_class::<clientlets::HttpAnswer>()?;
    module.add_class::<clientlets::WebSocket>()?;
    module.add_class::<feed::Feed>()?;
    module.add_class::<gateway::Gateway>()?;
    module.add_class::<gateway::Calls>()?;
    module.add_class::<gateway::Handling>()?;
    module.add_class::<hook::Attempts>()?;
    module.add_class::<hook::Asked>()?;
    module.add_function(wrap_pyfunction!(arrow::columns_of_stream, module)?)?;
    module.add_function(wrap_pyfunction!(clientlets::answer_of, module)?)?;
    module.add_function(wrap_pyfunction!(clientlets::status_of, module)?)?;
    module.add_function(wrap_pyfunction!(clientlets::request_of, module)?)?;
    module.add_function(wrap_pyfunction!(clientlets::json_of_proto, module)?)?;
    module.add_function(wrap_pyfunction!(command::command, module)?)?;
    module.add_function(wrap_pyfunction!(measure::encode, module)?)?;
    module.add_function(wrap_pyfunction!(measure::pause, module)?)?;
    module.add_function(wrap_pyfunction!(kind::is_document, module)?)
}

/// Hands on what was told after the last call, before the interpreter ends, and keeps other threads from
/// attaching to it after that.
#[pyfunction]
fn end(py: Python<'_>) {
    telling::hand_on(py);
    wait::end(py);
}

/// Fills the cells of PyO3 that calls would fill otherwise, perhaps while the process forks (see
/// [`kept`]): those of classes, and of the names of options.
fn fill_cells(py: Python<'_>) -> PyResult<()> {
    py.get_type::<bridge::Ringer>();
    py.get_type::<driver::Watcher>();
    py.get_type::<driver::RoomWatcher>();
    py.get_type::<waiting::Waiting>();
    py.get_type::<PySequence>();
    py.get_type::<PyMapping>();
    let _ = PyList::empty(py).try_iter()?.size_hint();
    options::read_smallest(py)?;
    gateway::read_smallest(py)
}

/// The objects that this module keeps belong to one interpreter. CPython 3.12 and later refuse by
/// themselves to load it elsewhere.
fn refuse_subinterpreters(py: Python<'_>) -> PyResult<()> {
    // What is missing in a release of Python, or a build without it, has no subinterpreters.
    let found =
        ["_interpreters", "_xxsubinterpreters"].into_iter().find_map(|name| py.import(name).ok());
    let Some(interpreters) = found else { return Ok(()) };
    let (current, main) = ("get_current", "get_main");
    if interpreters.call_method0(current)?.eq(interpreters.call_method0(main)?)? {
        return Ok(());
    }
    Err(PyImportError::new_err(
        "clientlet works in the main interpreter only, not in subinterpreters",
    ))
}
