//! Arrays: Python's buffers as tensors, and tensors as arrays.
//!
//! This module has unsafe code: the buffer protocol hands out pointers.
#![allow(unsafe_code, reason = "the buffer protocol is made of pointers")]

use std::ffi::{CStr, c_int, c_void};
use std::slice;

use bytes::Bytes;
use clientlet::{Dtype, Tensor, TensorRef};
use pyo3::buffer::PyUntypedBuffer;
use pyo3::exceptions::{PyBufferError, PyTypeError};
use pyo3::ffi;
use pyo3::prelude::*;
use pyo3::types::{PyByteArray, PyTuple};

use crate::kept::{Kept, name};

/// The numbers of a buffer: C order, little-endian.
pub(crate) struct Numbers {
    dtype: Dtype,
    buffer: PyUntypedBuffer,
    /// Whether this is one number without dimensions, in a buffer of one dimension.
    is_scalar: bool,
}

impl Numbers {
    /// Opens the buffer of `array`. An array in another order is copied by numpy.
    ///
    /// # Errors
    /// `TypeError` if its elements are no numbers that a tensor can hold.
    pub(crate) fn of(array: &Bound<'_, PyAny>) -> PyResult<Numbers> {
        let py = array.py();
        let buffer = match PyUntypedBuffer::get(array) {
            Ok(buffer) => buffer,
            // PyO3 takes no buffer without dimensions.
            Err(_) if is_scalar(array)? => {
                let one = array.call_method1(name!(py, "reshape"), (1,))?;
                return Ok(Numbers { is_scalar: true, ..Numbers::of(&one)? });
            }
            Err(error) => {
                let what = element_type(array);
                let refused = PyTypeError::new_err(format!("an array of {what} cannot be sent"));
                refused.set_cause(py, Some(error));
                return Err(refused);
            }
        };
        let format = buffer.format();
        let Some((dtype, is_swapped)) = dtype(format, buffer.item_size()) else {
            let what = element_type(array);
            return Err(PyTypeError::new_err(format!("an array of {what} cannot be sent")));
        };
        if buffer.is_c_contiguous() && !is_swapped {
            return Ok(Numbers { dtype, buffer, is_scalar: false });
        }
        let Some(numpy) = numpy(py) else {
            let what = "an array that is not contiguous, or big-endian, is sent only where numpy is installed";
            return Err(PyTypeError::new_err(what));
        };
        let copy = numpy.call_method1("asarray", (array, dtype.name(), "C"))?;
        let buffer = PyUntypedBuffer::get(&copy)?;
        Ok(Numbers { dtype, buffer, is_scalar: false })
    }

    pub(crate) fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the length of each dimension.
    pub(crate) fn shape(&self) -> &[usize] {
        if self.is_scalar { &[] } else { self.buffer.shape() }
    }

    /// Whether these are bytes, as a `bytearray` has them, and no array of numbers.
    pub(crate) fn is_plain_bytes(&self) -> bool {
        self.dtype == Dtype::U8 && self.buffer.dimensions() == 1
    }

    /// Returns the bytes of all elements. Code of Python can change them, so they are to be copied
    /// before any runs: while the thread stays attached, which `py` shows.
    pub(crate) fn bytes<'a>(&'a self, _py: Python<'a>) -> &'a [u8] {
        if self.buffer.len_bytes() == 0 {
            return &[];
        }
        // SAFETY: the buffer is held, is contiguous in C order, and has this many bytes.
        unsafe {
            slice::from_raw_parts(self.buffer.buf_ptr().cast::<u8>(), self.buffer.len_bytes())
        }
    }

    pub(crate) fn as_tensor<'a>(&'a self, py: Python<'a>) -> PyResult<TensorRef<'a>> {
        TensorRef::new(self.dtype, self.shape(), self.bytes(py))
            .map_err(|error| PyBufferError::new_err(error.to_string()))
    }

    /// Returns one row, for arrays of at least one dimension.
    pub(crate) fn row<'a>(&'a self, py: Python<'a>, index: usize) -> PyResult<TensorRef<'a>> {
        let (rows, shape) = self.shape().split_first().unwrap_or((&1, &[]));
        let bytes = self.bytes(py);
        let length = bytes.len() / (*rows).max(1);
        let row = bytes.get(index * length..(index + 1) * length).unwrap_or_default();
        TensorRef::new(self.dtype, shape, row)
            .map_err(|error| PyBufferError::new_err(error.to_string()))
    }
}

/// Whether this is an array without dimensions, which can be given one.
fn is_scalar(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = array.py();
    let dimensions = array.getattr_opt(name!(py, "ndim"))?;
    let dimensions: Option<usize> = dimensions.map(|number| number.extract()).transpose()?;
    Ok(dimensions == Some(0) && array.hasattr(name!(py, "reshape"))?)
}

/// Names the type of an array's elements for an error.
fn element_type(array: &Bound<'_, PyAny>) -> String {
    let dtype = array.getattr("dtype").and_then(|dtype| dtype.str()?.extract());
    dtype.unwrap_or_else(|_| "this element type".to_owned())
}

/// Returns the element type for a format of the buffer protocol, and whether it is big-endian.
fn dtype(format: &CStr, size: usize) -> Option<(Dtype, bool)> {
    let (is_swapped, letter) = match format.to_bytes() {
        [b'@' | b'=' | b'<', letter] | [letter] => (cfg!(target_endian = "big"), *letter),
        [b'>' | b'!', letter] => (size > 1, *letter),
        _ => return None,
    };
    let dtype = match (letter, size) {
        (b'?', 1) => Dtype::Bool,
        (b'b', 1) => Dtype::I8,
        (b'h' | b'i' | b'l' | b'q' | b'n', 2) => Dtype::I16,
        (b'h' | b'i' | b'l' | b'q' | b'n', 4) => Dtype::I32,
        (b'h' | b'i' | b'l' | b'q' | b'n', 8) => Dtype::I64,
        (b'B', 1) => Dtype::U8,
        (b'H' | b'I' | b'L' | b'Q' | b'N', 2) => Dtype::U16,
        (b'H' | b'I' | b'L' | b'Q' | b'N', 4) => Dtype::U32,
        (b'H' | b'I' | b'L' | b'Q' | b'N', 8) => Dtype::U64,
        (b'e', 2) => Dtype::F16,
        (b'f', 4) => Dtype::F32,
        (b'd', 8) => Dtype::F64,
        _ => return None,
    };
    Some((dtype, is_swapped))
}

/// Tensors up to this many bytes are copied, so that a small one does not keep the whole answer.
const SMALL: usize = 1024;

/// Makes an array of `tensor`: a numpy array, or a `memoryview` where numpy is not installed. It shares
/// the answer's memory and is read-only.
pub(crate) fn to_python<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    let bytes = match tensor.buffer() {
        small if small.len() <= SMALL => Bytes::copy_from_slice(small),
        large => large.clone(),
    };
    over(py, tensor, Bound::new(py, Memory(bytes))?.into_any())
}

/// Makes an array of `tensor` that has memory of its own, and may be changed.
pub(crate) fn to_change<'py>(py: Python<'py>, tensor: &Tensor) -> PyResult<Bound<'py, PyAny>> {
    over(py, tensor, PyByteArray::new(py, tensor.buffer()).into_any())
}

/// Makes an array of `tensor` whose elements are in `memory`.
fn over<'py>(
    py: Python<'py>,
    tensor: &Tensor,
    memory: Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let shape = PyTuple::new(py, tensor.shape())?;
    let Some(numpy) = numpy(py) else { return memoryview(py, &memory, tensor) };
    static ARRAY: Kept<Py<PyAny>> = Kept::new();
    let array = ARRAY.get_or_make(py, || numpy.getattr("ndarray").map(Bound::unbind))?;
    array.bind(py).call1((shape, dtype_object(py, numpy, tensor.dtype())?, memory))
}

/// Returns numpy's object for an element type, which costs much to make from a name.
fn dtype_object<'py>(
    py: Python<'py>,
    numpy: &Bound<'py, PyModule>,
    dtype: Dtype,
) -> PyResult<&'py Bound<'py, PyAny>> {
    static DTYPES: [Kept<Py<PyAny>>; 12] = [const { Kept::new() }; 12];
    let name = dtype.name();
    let object = DTYPES[dtype as usize]
        .get_or_make(py, || numpy.call_method1(name!(py, "dtype"), (name,)).map(Bound::unbind))?;
    Ok(object.bind(py))
}

fn memoryview<'py>(
    py: Python<'py>,
    memory: &Bound<'py, PyAny>,
    tensor: &Tensor,
) -> PyResult<Bound<'py, PyAny>> {
    let format = match tensor.dtype() {
        Dtype::Bool => "?",
        Dtype::I8 => "b",
        Dtype::I16 => "h",
        Dtype::I32 => "i",
        Dtype::I64 => "q",
        Dtype::U8 => "B",
        Dtype::U16 => "H",
        Dtype::U32 => "I",
        Dtype::U64 => "Q",
        Dtype::F32 => "f",
        Dtype::F64 => "d",
        dtype => {
            let what = format!("an array of {dtype} is read only where numpy is installed");
            return Err(PyTypeError::new_err(what));
        }
    };
    let view = py.import("builtins")?.call_method1("memoryview", (memory,))?;
    if tensor.shape().len() < 2 {
        return view.call_method1("cast", (format,));
    }
    view.call_method1("cast", (format, PyTuple::new(py, tensor.shape())?))
}

/// Returns numpy, or `None` where it is not installed.
pub(crate) fn numpy(py: Python<'_>) -> Option<&Bound<'_, PyModule>> {
    static NUMPY: Kept<Option<Py<PyModule>>> = Kept::new();
    let found = NUMPY.get_or_make(py, || Ok(py.import("numpy").map(Bound::unbind).ok()));
    Some(found.ok()?.as_ref()?.bind(py))
}

/// Returns the array behind an object with `__dlpack__`, such as a tensor of torch or JAX.
///
/// # Errors
/// Those of numpy: a tensor on another device, for example.
pub(crate) fn from_dlpack<'py>(tensor: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyAny>> {
    let py = tensor.py();
    let Some(numpy) = numpy(py) else {
        let what = "tensors of other libraries are sent only where numpy is installed";
        return Err(PyTypeError::new_err(what));
    };
    // torch hands out no tensor that a gradient is kept for.
    let tensor = match tensor.getattr_opt(name!(py, "detach"))? {
        Some(detach) => detach.call0()?,
        None => tensor.clone(),
    };
    numpy.call_method("from_dlpack", (tensor,), None::<&Bound<'_, pyo3::types::PyDict>>)
}

/// Returns an array of numpy's class for masked arrays, if none of its elements is masked.
///
/// # Errors
/// `TypeError` if one is: it would be sent as what lies under the mask.
pub(crate) fn unmasked<'a, 'py>(array: &'a Bound<'py, PyAny>) -> PyResult<&'a Bound<'py, PyAny>> {
    let py = array.py();
    let mask = array.getattr(name!(py, "mask"))?;
    if mask.call_method0(name!(py, "any"))?.is_truthy()? {
        let what = "an array with masked elements cannot be sent; fill them in: array.filled(0)";
        return Err(PyTypeError::new_err(what));
    }
    Ok(array)
}

/// A piece of an answer's memory, as a read-only buffer.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Memory(Bytes);

#[pymethods]
impl Memory {
    #[expect(clippy::needless_pass_by_value, reason = "PyO3 gives it so")]
    unsafe fn __getbuffer__(
        this: Bound<'_, Self>,
        view: *mut ffi::Py_buffer,
        flags: c_int,
    ) -> PyResult<()> {
        let bytes = &this.get().0;
        let length = ffi::Py_ssize_t::try_from(bytes.len())
            .map_err(|_| PyBufferError::new_err("it is too large"))?;
        let start = bytes.as_ptr().cast_mut().cast::<c_void>();
        // SAFETY: Python gave `view` to be filled. The memory lives as long as `this`, to which the
        // view gets a reference, and never moves or changes; the view is read-only.
        let filled =
            unsafe { ffi::PyBuffer_FillInfo(view, this.as_ptr(), start, length, 1, flags) };
        if filled == 0 { Ok(()) } else { Err(PyErr::fetch(this.py())) }
    }

    fn __len__(&self) -> usize {
        self.0.len()
    }
}
