//! The command `clientlet`, run in this process.

use std::ffi::OsString;

use pyo3::prelude::*;

/// Runs the command with its arguments, of which the first is its name, and returns its exit code.
#[pyfunction]
pub(crate) fn command(py: Python<'_>, args: Vec<OsString>) -> u8 {
    py.detach(|| clientlet_cli::main(args))
}
