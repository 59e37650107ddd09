//! Tables by the Arrow C stream interface, as columns.
//!
//! The interface hands out a pointer in a capsule, so this module has unsafe code.
#![allow(unsafe_code, reason = "a capsule holds a pointer")]

use std::sync::Arc;

use arrow_array::cast::AsArray;
use arrow_array::ffi_stream::{FFI_ArrowArrayStream, RecordBatchStreamReader};
use arrow_array::types::{
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type, UInt8Type,
    UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{
    Array, ArrayRef, BooleanArray, FixedSizeListArray, Float64Array, GenericListArray, Int64Array,
    LargeBinaryArray, LargeListArray, LargeStringArray, NullArray, OffsetSizeTrait, RecordBatch,
    RecordBatchIterator, StructArray, make_array,
};
use arrow_buffer::{Buffer, NullBuffer, OffsetBuffer};
use arrow_data::ArrayData;
use arrow_schema::{DataType, Field, Fields, Schema};
use bytes::Bytes;
use clientlet::{Dtype, Tensor};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{
    PyBool, PyByteArray, PyBytes, PyCapsule, PyDict, PyFloat, PyInt, PyList, PyMemoryView,
    PyString, PyTuple,
};

use crate::array::{self, Numbers};
use crate::kind::Kind;

fn refused(error: impl std::fmt::Display) -> PyErr {
    // What raised in Python has its whole traceback in the text.
    let text = error.to_string();
    PyValueError::new_err(format!("Arrow: {}", text.lines().next().unwrap_or_default()))
}

/// Reads the table of a stream as a dict of columns.
///
/// # Errors
/// `TypeError` that names the column, for a type that documents do not have, and `ValueError` for a second
/// column of a name.
#[pyfunction]
pub(crate) fn columns_of_stream<'py>(
    py: Python<'py>,
    stream: &Bound<'py, PyCapsule>,
) -> PyResult<Bound<'py, PyDict>> {
    let pointer = stream.pointer_checked(Some(c"arrow_array_stream"))?;
    // SAFETY: by the interface a capsule of this name holds a stream. It is moved out, and what is left
    // is a stream that was released, which the capsule leaves alone.
    let reader = unsafe { RecordBatchStreamReader::from_raw(pointer.as_ptr().cast()) };
    let reader = reader.map_err(refused)?;
    let schema = arrow_array::RecordBatchReader::schema(&reader);
    let batches = reader.collect::<Result<Vec<_>, _>>().map_err(refused)?;
    let dict = PyDict::new(py);
    for (index, field) in schema.fields().iter().enumerate() {
        if dict.contains(field.name())? {
            let what = format!("the table has two columns of the name {:?}", field.name());
            return Err(PyValueError::new_err(what));
        }
        let parts: Vec<_> = batches.iter().map(|batch| batch.column(index).clone()).collect();
        let column = column(py, field.data_type(), &parts).map_err(|error| {
            let what = format!("column {:?}: {}", field.name(), error.value(py));
            PyTypeError::new_err(what)
        })?;
        dict.set_item(field.name(), column)?;
    }
    Ok(dict)
}

/// An array of rows that are arrays, or a list.
fn column<'py>(py: Python<'py>, of: &DataType, parts: &[ArrayRef]) -> PyResult<Bound<'py, PyAny>> {
    let is_list = |of: &DataType| {
        matches!(of, DataType::FixedSizeList(..) | DataType::List(_) | DataType::LargeList(_))
    };
    if is_list(of) {
        let filled = parts.iter().filter(|part| !part.is_empty());
        let rows = filled.map(rows).collect::<Option<Vec<_>>>();
        if let Some((dtype, shape, bytes)) = rows.and_then(joined) {
            let count = parts.iter().map(Array::len).sum();
            let shape: Vec<usize> = std::iter::once(count).chain(shape).collect();
            let tensor = Tensor::from_buffer(dtype, &shape, bytes).map_err(refused)?;
            return array::to_python(py, &tensor);
        }
    }
    let list = PyList::empty(py);
    for part in parts {
        for row in 0..part.len() {
            list.append(value(py, part, row)?)?;
        }
    }
    Ok(list.into_any())
}

type Rows = (Dtype, Vec<usize>, Bytes);

fn joined(parts: Vec<Rows>) -> Option<Rows> {
    if let [_] = &parts[..] {
        return parts.into_iter().next();
    }
    let (dtype, shape, _) = parts.first()?;
    if parts.iter().any(|(_, of, _)| of != shape) {
        return None;
    }
    let joined: Vec<u8> = parts.iter().flat_map(|(.., bytes)| bytes.iter().copied()).collect();
    Some((*dtype, shape.clone(), Bytes::from(joined)))
}

/// The shape of each row, and the numbers of all; `None` if rows have different lengths, are no numbers, or
/// some are missing.
fn rows(array: &ArrayRef) -> Option<Rows> {
    match array.data_type() {
        DataType::List(_) => return equal_rows(array.as_list::<i32>()),
        DataType::LargeList(_) => return equal_rows(array.as_list::<i64>()),
        _ => {}
    }
    if let DataType::FixedSizeList(_, size) = array.data_type() {
        let list = array.as_fixed_size_list();
        if list.null_count() > 0 {
            return None;
        }
        // The values of a slice are sliced as well.
        let start = list.value_offset_at(0);
        let size = usize::try_from(*size).ok()?;
        let values = list.values().slice(start, list.len() * size);
        let (dtype, inner, bytes) = rows(&values)?;
        return Some((dtype, std::iter::once(size).chain(inner).collect(), bytes));
    }
    numbers(array).map(|(dtype, bytes)| (dtype, Vec::new(), bytes))
}

fn equal_rows<O: OffsetSizeTrait>(list: &GenericListArray<O>) -> Option<Rows> {
    let offsets: Vec<usize> = list.value_offsets().iter().map(|at| at.as_usize()).collect();
    let (start, end) = (*offsets.first()?, *offsets.last()?);
    let size = offsets.get(1)? - start;
    let is_equal = offsets.windows(2).all(|pair| pair[1] - pair[0] == size);
    if list.null_count() > 0 || size == 0 || !is_equal {
        return None;
    }
    let (dtype, inner, bytes) = rows(&list.values().slice(start, end - start))?;
    Some((dtype, std::iter::once(size).chain(inner).collect(), bytes))
}

/// An array's numbers, in its own memory.
fn numbers(array: &ArrayRef) -> Option<(Dtype, Bytes)> {
    let dtype = match array.data_type() {
        DataType::Int8 => Dtype::I8,
        DataType::Int16 => Dtype::I16,
        DataType::Int32 => Dtype::I32,
        DataType::Int64 => Dtype::I64,
        DataType::UInt8 => Dtype::U8,
        DataType::UInt16 => Dtype::U16,
        DataType::UInt32 => Dtype::U32,
        DataType::UInt64 => Dtype::U64,
        DataType::Float16 => Dtype::F16,
        DataType::Float32 => Dtype::F32,
        DataType::Float64 => Dtype::F64,
        _ => return None,
    };
    if array.null_count() > 0 {
        return None;
    }
    let data = array.to_data();
    let size = data.data_type().primitive_width()?;
    let buffer = data.buffers().first()?.slice_with_length(data.offset() * size, data.len() * size);
    Some((dtype, Bytes::from_owner(buffer)))
}

/// A value of an array as an object.
fn value<'py>(py: Python<'py>, array: &ArrayRef, row: usize) -> PyResult<Bound<'py, PyAny>> {
    if array.is_null(row) {
        return Ok(py.None().into_bound(py));
    }
    macro_rules! number {
        ($type:ty) => {
            array.as_primitive::<$type>().value(row).into_pyobject(py)?.into_any()
        };
    }
    let text = |text: &str| PyString::new(py, text).into_any();
    let bytes = |bytes: &[u8]| PyBytes::new(py, bytes).into_any();
    Ok(match array.data_type() {
        DataType::Null => py.None().into_bound(py),
        DataType::Boolean => PyBool::new(py, array.as_boolean().value(row)).to_owned().into_any(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => {
            array.as_primitive::<Float16Type>().value(row).to_f64().into_pyobject(py)?.into_any()
        }
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Utf8 => text(array.as_string::<i32>().value(row)),
        DataType::LargeUtf8 => text(array.as_string::<i64>().value(row)),
        DataType::Utf8View => text(array.as_string_view().value(row)),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row)),
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row)),
        DataType::BinaryView => bytes(array.as_binary_view().value(row)),
        DataType::List(_) => list(py, &array.as_list::<i32>().value(row))?,
        DataType::LargeList(_) => list(py, &array.as_list::<i64>().value(row))?,
        DataType::FixedSizeList(..) => list(py, &array.as_fixed_size_list().value(row))?,
        DataType::Struct(fields) => {
            let dict = PyDict::new(py);
            for (field, column) in fields.iter().zip(array.as_struct().columns()) {
                dict.set_item(field.name(), value(py, column, row)?)?;
            }
            dict.into_any()
        }
        DataType::Dictionary(..) => {
            let dictionary = array.as_any_dictionary();
            let key = dictionary.normalized_keys().get(row).copied().unwrap_or_default();
            value(py, dictionary.values(), key)?
        }
        other => {
            let what = format!("documents have no values of Arrow's type {other}; cast it");
            return Err(PyTypeError::new_err(what));
        }
    })
}

/// The values of a list: an array if they are numbers.
fn list<'py>(py: Python<'py>, values: &ArrayRef) -> PyResult<Bound<'py, PyAny>> {
    if let Some((dtype, bytes)) = numbers(values) {
        let tensor = Tensor::from_buffer(dtype, &[values.len()], bytes).map_err(refused)?;
        return array::to_python(py, &tensor);
    }
    let list = PyList::empty(py);
    for row in 0..values.len() {
        list.append(value(py, values, row)?)?;
    }
    Ok(list.into_any())
}

/// Documents as a table, which pandas, polars, pyarrow and others take by the Arrow C stream interface.
#[pyclass(frozen, module = "clientlet._core")]
pub(crate) struct Table(RecordBatch);

#[pymethods]
impl Table {
    /// Makes a table of columns.
    ///
    /// # Errors
    /// `TypeError` that names a column whose values have no type in common.
    #[new]
    fn new(py: Python<'_>, columns: &Bound<'_, PyDict>) -> PyResult<Table> {
        let mut fields = Vec::with_capacity(columns.len());
        let mut arrays = Vec::with_capacity(columns.len());
        for (name, values) in columns.iter() {
            let name: String = name.extract()?;
            let array = array_of(&values).map_err(|error| {
                PyTypeError::new_err(format!("column {name:?}: {}", error.value(py)))
            })?;
            fields.push(Field::new(name, array.data_type().clone(), true));
            arrays.push(array);
        }
        let schema = Arc::new(Schema::new(fields));
        let options = arrow_array::RecordBatchOptions::new()
            .with_row_count(Some(arrays.first().map_or(0, Array::len)));
        let batch = RecordBatch::try_new_with_options(schema, arrays, &options);
        Ok(Table(batch.map_err(refused)?))
    }

    fn __len__(&self) -> usize {
        self.0.num_rows()
    }

    /// The names of the columns.
    #[getter]
    fn column_names(&self) -> Vec<String> {
        self.0.schema().fields().iter().map(|field| field.name().clone()).collect()
    }

    fn __repr__(&self) -> String {
        format!("Table({} rows, columns {:?})", self.0.num_rows(), self.column_names())
    }

    /// The table as a stream. Types that are asked for are not regarded, as the interface allows.
    #[pyo3(signature = (requested_schema = None))]
    fn __arrow_c_stream__<'py>(
        &self,
        py: Python<'py>,
        requested_schema: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyCapsule>> {
        let _ = requested_schema;
        let batches = RecordBatchIterator::new([Ok(self.0.clone())], self.0.schema());
        let stream = FFI_ArrowArrayStream::new(Box::new(batches));
        PyCapsule::new_with_value(py, stream, c"arrow_array_stream")
    }
}

/// Values of one type.
fn array_of(values: &Bound<'_, PyAny>) -> PyResult<ArrayRef> {
    // Where numpy is not installed, arrays are memoryviews.
    if Kind::of(values)?.is_array() || values.is_instance_of::<PyMemoryView>() {
        return array_of_numbers(&Numbers::of(values)?, values.py());
    }
    let values: Vec<Bound<'_, PyAny>> = values.try_iter()?.collect::<PyResult<_>>()?;
    array_of_values(&values)
}

/// An array of one dimension or more: rows that are lists of a fixed size.
fn array_of_numbers(numbers: &Numbers, py: Python<'_>) -> PyResult<ArrayRef> {
    let (bytes, shape) = (numbers.bytes(py), numbers.shape());
    let count = shape.iter().product();
    let of = match numbers.dtype() {
        Dtype::Bool => {
            let bits = BooleanArray::from(bytes.iter().map(|byte| *byte != 0).collect::<Vec<_>>());
            return fixed(Arc::new(bits), shape);
        }
        Dtype::I8 => DataType::Int8,
        Dtype::I16 => DataType::Int16,
        Dtype::I32 => DataType::Int32,
        Dtype::I64 => DataType::Int64,
        Dtype::U8 => DataType::UInt8,
        Dtype::U16 => DataType::UInt16,
        Dtype::U32 => DataType::UInt32,
        Dtype::U64 => DataType::UInt64,
        Dtype::F16 => DataType::Float16,
        Dtype::F32 => DataType::Float32,
        Dtype::F64 => DataType::Float64,
        other => return Err(PyTypeError::new_err(format!("Arrow has no type for {other}"))),
    };
    let data = ArrayData::builder(of).len(count).add_buffer(Buffer::from(bytes));
    fixed(make_array(data.build().map_err(refused)?), shape)
}

/// Folds numbers into lists of the sizes of all dimensions but the first.
fn fixed(values: ArrayRef, shape: &[usize]) -> PyResult<ArrayRef> {
    let mut array = values;
    for size in shape.iter().skip(1).rev() {
        let length = i32::try_from(*size).map_err(refused)?;
        let field = Arc::new(Field::new("item", array.data_type().clone(), true));
        array = Arc::new(FixedSizeListArray::try_new(field, length, array, None).map_err(refused)?);
    }
    Ok(array)
}

/// The values of a list; `None` where one is missing.
fn array_of_values(values: &[Bound<'_, PyAny>]) -> PyResult<ArrayRef> {
    let there = || values.iter().filter(|value| !value.is_none());
    let all = |is: &dyn Fn(&Bound<'_, PyAny>) -> bool| there().all(is);
    let is_bool = |value: &Bound<'_, PyAny>| value.is_instance_of::<PyBool>();
    let is_integer = |value: &Bound<'_, PyAny>| value.is_instance_of::<PyInt>() && !is_bool(value);
    let is_number =
        |value: &Bound<'_, PyAny>| is_integer(value) || value.is_instance_of::<PyFloat>();
    let is_list = |value: &Bound<'_, PyAny>| {
        value.is_instance_of::<PyList>() || Kind::of(value).is_ok_and(|kind| kind.is_array())
    };
    fn each<'a, 'py, T: FromPyObject<'a, 'py>>(
        values: &'a [Bound<'py, PyAny>],
    ) -> PyResult<Vec<Option<T>>> {
        let extract = |value: &'a Bound<'py, PyAny>| match value.is_none() {
            true => Ok(None),
            false => value.extract::<T>().map(Some).map_err(Into::into),
        };
        values.iter().map(extract).collect()
    }
    if there().next().is_none() {
        return Ok(Arc::new(NullArray::new(values.len())));
    }
    if all(&is_bool) {
        return Ok(Arc::new(BooleanArray::from(each::<bool>(values)?)));
    }
    if all(&is_integer) {
        return Ok(Arc::new(Int64Array::from(each::<i64>(values)?)));
    }
    if all(&is_number) {
        return Ok(Arc::new(Float64Array::from(each::<f64>(values)?)));
    }
    if all(&|value| value.is_instance_of::<PyString>()) {
        return Ok(Arc::new(LargeStringArray::from(each::<String>(values)?)));
    }
    if all(&|value| value.is_instance_of::<PyBytes>() || value.is_instance_of::<PyByteArray>()) {
        return Ok(Arc::new(LargeBinaryArray::from_iter(each::<Vec<u8>>(values)?)));
    }
    if all(&|value| value.is_instance_of::<PyDict>()) {
        return structs(values);
    }
    if all(&|value| is_list(value) || value.is_instance_of::<PyTuple>()) {
        return lists(values);
    }
    Err(PyTypeError::new_err("its values have no type in common"))
}

fn missing(values: &[Bound<'_, PyAny>]) -> NullBuffer {
    values.iter().map(|value| !value.is_none()).collect()
}

fn lists(values: &[Bound<'_, PyAny>]) -> PyResult<ArrayRef> {
    let (mut lengths, mut parts) = (Vec::with_capacity(values.len()), Vec::new());
    for value in values {
        let before = parts.len();
        if !value.is_none() {
            let value = match Kind::of(value)?.is_array() {
                true => value.call_method0("tolist")?,
                false => value.clone(),
            };
            for part in value.try_iter()? {
                parts.push(part?);
            }
        }
        lengths.push(parts.len() - before);
    }
    let inner = array_of_values(&parts)?;
    let field = Arc::new(Field::new("item", inner.data_type().clone(), true));
    let offsets = OffsetBuffer::<i64>::from_lengths(lengths);
    let list = LargeListArray::try_new(field, offsets, inner, Some(missing(values)));
    Ok(Arc::new(list.map_err(refused)?))
}

fn structs(values: &[Bound<'_, PyAny>]) -> PyResult<ArrayRef> {
    let mut names: Vec<String> = Vec::new();
    for value in values.iter().filter(|value| !value.is_none()) {
        for name in value.cast::<PyDict>()?.keys() {
            let name: String = name.extract()?;
            if !names.contains(&name) {
                names.push(name);
            }
        }
    }
    let (mut fields, mut arrays) = (Vec::new(), Vec::new());
    for name in names {
        let mut inner = Vec::with_capacity(values.len());
        for value in values {
            let found = match value.cast::<PyDict>() {
                Ok(dict) => dict.get_item(&name)?,
                Err(_) => None,
            };
            inner.push(found.unwrap_or_else(|| value.py().None().into_bound(value.py())));
        }
        let array = array_of_values(&inner)?;
        fields.push(Field::new(&name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let nulls = Some(missing(values));
    let array = StructArray::try_new_with_length(Fields::from(fields), arrays, nulls, values.len());
    Ok(Arc::new(array.map_err(refused)?))
}
