//! Objects of Python that are made once and kept.
//!
//! PyO3's own cell lets go of the interpreter while it is being filled. If the process forks in that
//! moment, the child has a cell that waits for a thread which only its parent has. So this crate keeps
//! its objects here, and fills the cells that PyO3's macros make when the module is imported.

use pyo3::prelude::*;
use pyo3::sync::PyOnceLock;
use pyo3::types::PyString;

/// A cell that is filled by a thread that stays attached.
pub(crate) struct Kept<T>(PyOnceLock<T>);

impl<T> Kept<T> {
    pub(crate) const fn new() -> Kept<T> {
        Kept(PyOnceLock::new())
    }

    /// Returns what is kept, and makes it if there is nothing. Two threads may both make it; what was
    /// made first is kept.
    ///
    /// # Errors
    /// Those of `make`; then nothing is kept.
    pub(crate) fn get_or_make<'a>(
        &'a self,
        py: Python<'a>,
        make: impl FnOnce() -> PyResult<T>,
    ) -> PyResult<&'a T> {
        if let Some(kept) = self.0.get(py) {
            return Ok(kept);
        }
        let made = make()?;
        // Unlike its other methods, `set` does not let go of the interpreter.
        let _ = self.0.set(py, made);
        Ok(self.0.get(py).expect("it was set above"))
    }
}

/// A name as a string of Python.
pub(crate) struct Name(&'static str, Kept<Py<PyString>>);

impl Name {
    pub(crate) const fn new(name: &'static str) -> Name {
        Name(name, Kept::new())
    }

    pub(crate) fn get<'py>(&'py self, py: Python<'py>) -> &'py Bound<'py, PyString> {
        let made = self.1.get_or_make(py, || Ok(PyString::intern(py, self.0).unbind()));
        made.expect("a name of this crate is valid text").bind(py)
    }
}

/// A name that is made at its first use, in place of PyO3's macro of the same purpose.
macro_rules! name {
    ($py:expr, $name:expr) => {{
        static NAME: $crate::kept::Name = $crate::kept::Name::new($name);
        NAME.get($py)
    }};
}
pub(crate) use name;
