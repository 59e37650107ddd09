//! Documents as columns: an array or a list for each field, without an object for each document.

use std::fmt;

use bytes::Bytes;
use clientlet::{AnyVisitor, Blob, Dtype, Tensor};
use pyo3::exceptions::{PyTypeError, PyValueError};
use pyo3::prelude::*;
use pyo3::types::{PyBytes, PyDict, PyList, PyString};
use serde::de::{self, Deserialize, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};
use serde::ser::{SerializeMap, Serializer};

use crate::array::{self, Numbers};
use crate::error::named;
use crate::kept::name;
use crate::kind::Kind;
use crate::read::{Arrays, Value, told};
use crate::write::array_of;
use crate::write::{Name, Object};

/// The caller's columns.
pub(crate) struct Columns {
    columns: Vec<(String, Column)>,
    length: usize,
}

enum Column {
    /// An array, whose rows are arrays.
    Array(Numbers),
    Objects(Py<PyList>),
}

impl Columns {
    /// Reads columns from a dict, and notes in `arrays` which of them hold arrays.
    ///
    /// # Errors
    /// `ValueError` for columns of different lengths, `TypeError` for a column that is none.
    pub(crate) fn of(dict: &Bound<'_, PyDict>, arrays: &Arrays) -> PyResult<Columns> {
        let py = dict.py();
        let mut columns = Vec::with_capacity(dict.len());
        let mut first: Option<(String, usize)> = None;
        for (name, values) in dict.iter() {
            let name: String = name.extract().map_err(|error| named(py, "columns", error))?;
            let (column, length) = Column::of(&name, &values)?;
            match &first {
                Some((of, known)) if *known != length => {
                    return Err(PyValueError::new_err(format!(
                        "columns: {of:?} has {known} rows, {name:?} has {length}"
                    )));
                }
                _ => first = Some((name.clone(), length)),
            }
            if matches!(column, Column::Array(_)) {
                arrays.note(&name);
            }
            columns.push((name, column));
        }
        Ok(Columns { columns, length: first.map_or(0, |(_, length)| length) })
    }

    /// Returns the number of rows.
    pub(crate) fn len(&self) -> usize {
        self.length
    }

    /// Writes a row as a document.
    pub(crate) fn row<S: Serializer>(
        &self,
        py: Python<'_>,
        index: usize,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        let mut map = serializer.serialize_map(Some(self.columns.len()))?;
        for (name, column) in &self.columns {
            match column {
                Column::Array(numbers) => {
                    map.serialize_entry(name, &numbers.row(py, index).map_err(told)?)?;
                }
                Column::Objects(list) => {
                    let value = list.bind(py).get_item(index).map_err(told)?;
                    map.serialize_entry(name, &Value::new(&value))?;
                }
            }
        }
        map.end()
    }
}

impl Column {
    fn of(name: &str, values: &Bound<'_, PyAny>) -> PyResult<(Column, usize)> {
        let py = values.py();
        let mut values = values.clone();
        let kind = Kind::of(&values)?;
        if matches!(*kind, Kind::Dlpack) {
            values = array::from_dlpack(&values)?;
        }
        if kind.is_array_of(&values)? {
            let dimensions: usize = match values.getattr_opt(name!(py, "ndim"))? {
                Some(ndim) => ndim.extract()?,
                None => 1,
            };
            if dimensions > 1 {
                let open = match *kind {
                    Kind::Masked => array::unmasked(&values).and_then(Numbers::of),
                    _ => Numbers::of(&values),
                };
                let numbers = open.map_err(|error| {
                    PyTypeError::new_err(format!("columns: {name:?}: {}", error.value(py)))
                })?;
                let length = numbers.shape().first().copied().unwrap_or_default();
                return Ok((Column::Array(numbers), length));
            }
            if dimensions == 0 {
                return Err(PyTypeError::new_err(format!("columns: {name:?} has no rows")));
            }
            // One number or text for each row. Of times numpy's list would have integers.
            if !is_of_times(&values)? {
                values = values.call_method0(name!(py, "tolist"))?;
            }
        }
        if matches!(*kind, Kind::Text | Kind::Bytes | Kind::Dict) {
            return Err(PyTypeError::new_err(format!("columns: {name:?} is no list of values")));
        }
        let list = PyList::empty(py);
        let values =
            values.try_iter().map_err(|error| named(py, &format!("columns: {name:?}"), error))?;
        for value in values {
            list.append(value?)?;
        }
        let length = list.len();
        Ok((Column::Objects(list.unbind()), length))
    }
}

/// Whether an array of numpy has points in time, or spans of it.
fn is_of_times(array: &Bound<'_, PyAny>) -> PyResult<bool> {
    let py = array.py();
    let Some(dtype) = array.getattr_opt(name!(py, "dtype"))? else { return Ok(false) };
    let kind = dtype.getattr(name!(py, "kind"))?;
    Ok(matches!(kind.extract()?, "M" | "m"))
}

/// A value in a column, before the column's type is known.
pub(crate) enum Cell {
    Tensor(Tensor),
    Integer(i64),
    Real(f64),
    Object(Py<PyAny>),
}

impl Cell {
    pub(crate) fn into_object(self, py: Python<'_>) -> PyResult<Py<PyAny>> {
        Ok(match self {
            Cell::Tensor(tensor) => array_of(py, &tensor)?.unbind(),
            Cell::Integer(n) => n.into_pyobject(py)?.into_any().unbind(),
            Cell::Real(n) => n.into_pyobject(py)?.into_any().unbind(),
            Cell::Object(object) => object,
        })
    }

    fn element(&self) -> Option<Dtype> {
        match self {
            Cell::Integer(_) => Some(Dtype::I64),
            Cell::Real(_) => Some(Dtype::F64),
            _ => None,
        }
    }
}

impl<'de> Deserialize<'de> for Cell {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cell, D::Error> {
        Python::attach(|py| AnyVisitor::deserialize(CellVisitor(py), deserializer))
    }
}

/// Makes a cell; cells within a cell are made by copies of it.
#[derive(Clone, Copy)]
pub(crate) struct CellVisitor<'py>(pub(crate) Python<'py>);

impl<'de> DeserializeSeed<'de> for CellVisitor<'_> {
    type Value = Cell;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Cell, D::Error> {
        AnyVisitor::deserialize(self, deserializer)
    }
}

impl<'de> Visitor<'de> for CellVisitor<'_> {
    type Value = Cell;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    fn visit_unit<E: de::Error>(self) -> Result<Cell, E> {
        Ok(Cell::Object(self.0.None()))
    }

    fn visit_none<E: de::Error>(self) -> Result<Cell, E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<Cell, E> {
        let Ok(object) = b.into_pyobject(self.0);
        Ok(Cell::Object(object.to_owned().into_any().unbind()))
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<Cell, E> {
        Ok(Cell::Integer(n))
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<Cell, E> {
        Ok(i64::try_from(n).map_or(Cell::Real(n as f64), Cell::Integer))
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<Cell, E> {
        Ok(Cell::Real(n))
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<Cell, E> {
        Ok(Cell::Object(PyString::new(self.0, text).into_any().unbind()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Cell, A::Error> {
        let py = self.0;
        let mut cells = Gathered::default();
        while seq.next_element_seed(Element { py, cells: &mut cells })?.is_some() {}
        cells.into_cell(py).map_err(de::Error::custom)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cell, A::Error> {
        let dict = PyDict::new(self.0);
        while let Some(Name(name)) = map.next_key()? {
            let value: Object = map.next_value()?;
            dict.set_item(name, value.into_inner()).map_err(de::Error::custom)?;
        }
        Ok(Cell::Object(dict.into_any().unbind()))
    }
}

impl<'de> AnyVisitor<'de> for CellVisitor<'_> {
    fn visit_tensor<E: de::Error>(self, tensor: Tensor) -> Result<Cell, E> {
        Ok(Cell::Tensor(tensor))
    }

    fn visit_blob<E: de::Error>(self, blob: Blob) -> Result<Cell, E> {
        Ok(Cell::Object(PyBytes::new(self.0, blob.as_bytes()).into_any().unbind()))
    }
}

/// Reads an element of a list into the values before it. Numbers become no cells: an answer in JSON has
/// thousands of them.
struct Element<'a, 'py> {
    py: Python<'py>,
    cells: &'a mut Gathered,
}

impl Element<'_, '_> {
    fn push<E: de::Error>(self, cell: Result<Cell, E>) -> Result<(), E> {
        self.cells.push(self.py, cell?).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Element<'_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        AnyVisitor::deserialize_elements(self, deserializer)
    }
}

impl<'de> Visitor<'de> for Element<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("any value")
    }

    #[inline]
    fn visit_i64<E: de::Error>(self, n: i64) -> Result<(), E> {
        match self.cells.add(Dtype::I64, &[n.to_le_bytes()]) {
            true => Ok(()),
            false => self.push(Ok(Cell::Integer(n))),
        }
    }

    #[inline]
    fn visit_f64<E: de::Error>(self, n: f64) -> Result<(), E> {
        match self.cells.add(Dtype::F64, &[n.to_le_bytes()]) {
            true => Ok(()),
            false => self.push(Ok(Cell::Real(n))),
        }
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<(), E> {
        match i64::try_from(n) {
            Ok(n) => self.visit_i64(n),
            Err(_) => self.visit_f64(n as f64),
        }
    }

    fn visit_unit<E: de::Error>(self) -> Result<(), E> {
        let cell = CellVisitor(self.py).visit_unit();
        self.push(cell)
    }

    fn visit_none<E: de::Error>(self) -> Result<(), E> {
        self.visit_unit()
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<(), E> {
        let cell = CellVisitor(self.py).visit_bool(b);
        self.push(cell)
    }

    fn visit_str<E: de::Error>(self, text: &str) -> Result<(), E> {
        let cell = CellVisitor(self.py).visit_str(text);
        self.push(cell)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, seq: A) -> Result<(), A::Error> {
        let cell = CellVisitor(self.py).visit_seq(seq);
        self.push(cell)
    }

    fn visit_map<A: MapAccess<'de>>(self, map: A) -> Result<(), A::Error> {
        let cell = CellVisitor(self.py).visit_map(map);
        self.push(cell)
    }
}

impl<'de> AnyVisitor<'de> for Element<'_, '_> {
    fn visit_reals<E: de::Error>(self, reals: &[[u8; 8]]) -> Result<(), E> {
        let mut reals = reals.iter();
        // Once there is one, the others are mostly added at once.
        while !self.cells.add(Dtype::F64, reals.as_slice())
            && let Some(real) = reals.next()
        {
            let cell = Cell::Real(f64::from_le_bytes(*real));
            self.cells.push(self.py, cell).map_err(E::custom)?;
        }
        Ok(())
    }

    fn visit_tensor<E: de::Error>(self, tensor: Tensor) -> Result<(), E> {
        self.push(Ok(Cell::Tensor(tensor)))
    }

    fn visit_blob<E: de::Error>(self, blob: Blob) -> Result<(), E> {
        let cell = CellVisitor(self.py).visit_blob(blob);
        self.push(cell)
    }
}

/// Values that come one after the other: an array as long as they fit into one, else a list.
#[derive(Default)]
enum Gathered {
    #[default]
    Empty,
    /// Arrays or numbers of one type and shape.
    Array {
        dtype: Dtype,
        shape: Vec<usize>,
        buffer: Vec<u8>,
        count: usize,
    },
    List(Py<PyList>),
}

impl Gathered {
    /// Adds numbers, if there are numbers of their type alone.
    #[inline]
    fn add(&mut self, element: Dtype, numbers: &[[u8; 8]]) -> bool {
        match self {
            Gathered::Array { dtype, shape, buffer, count }
                if *dtype == element && shape.is_empty() =>
            {
                buffer.extend_from_slice(numbers.as_flattened());
                *count += numbers.len();
                true
            }
            _ => false,
        }
    }

    fn push(&mut self, py: Python<'_>, cell: Cell) -> PyResult<()> {
        if let Gathered::Empty = self {
            *self = match (&cell, cell.element()) {
                (Cell::Tensor(tensor), _) => {
                    let (dtype, shape) = (tensor.dtype(), tensor.shape().to_vec());
                    Gathered::Array { dtype, shape, buffer: Vec::new(), count: 0 }
                }
                (_, Some(dtype)) => {
                    Gathered::Array { dtype, shape: Vec::new(), buffer: Vec::new(), count: 0 }
                }
                _ => Gathered::List(PyList::empty(py).unbind()),
            };
        }
        if let Gathered::Array { dtype, shape, buffer, count } = self {
            match &cell {
                Cell::Tensor(tensor) if tensor.dtype() == *dtype && tensor.shape() == *shape => {
                    buffer.extend_from_slice(tensor.buffer());
                    *count += 1;
                    return Ok(());
                }
                Cell::Integer(n) if *dtype == Dtype::I64 && shape.is_empty() => {
                    buffer.extend_from_slice(&n.to_le_bytes());
                    *count += 1;
                    return Ok(());
                }
                Cell::Integer(_) | Cell::Real(_) if shape.is_empty() => {
                    // Whole numbers among others are doubles as well.
                    if *dtype == Dtype::I64 {
                        let (numbers, _) = buffer.as_chunks::<8>();
                        let doubles = numbers.iter().map(|n| i64::from_le_bytes(*n) as f64);
                        *buffer = doubles.flat_map(f64::to_le_bytes).collect();
                        *dtype = Dtype::F64;
                    }
                    if *dtype == Dtype::F64 {
                        let n = match cell {
                            Cell::Integer(n) => n as f64,
                            Cell::Real(n) => n,
                            _ => f64::NAN,
                        };
                        buffer.extend_from_slice(&n.to_le_bytes());
                        *count += 1;
                        return Ok(());
                    }
                }
                _ => {}
            }
            let list = std::mem::take(self).into_list(py)?;
            *self = Gathered::List(list.unbind());
        }
        if let Gathered::List(list) = self {
            list.bind(py).append(cell.into_object(py)?)?;
        }
        Ok(())
    }

    fn tensor(self) -> Option<Tensor> {
        let Gathered::Array { dtype, shape, buffer, count } = self else { return None };
        let shape: Vec<usize> = std::iter::once(count).chain(shape).collect();
        Tensor::from_buffer(dtype, &shape, Bytes::from(buffer)).ok()
    }

    /// Returns the values as a list, each as the object that it would have been by itself.
    fn into_list<'py>(self, py: Python<'py>) -> PyResult<Bound<'py, PyList>> {
        let list = PyList::empty(py);
        let (element, is_scalar) = match &self {
            Gathered::Array { shape, .. } => (shape.clone(), shape.is_empty()),
            _ => return Ok(list),
        };
        let Some(tensor) = self.tensor() else { return Ok(list) };
        let count = tensor.shape().first().copied().unwrap_or_default();
        let length = tensor.buffer().len() / count.max(1);
        for index in 0..count {
            let bytes = tensor.buffer().slice(index * length..(index + 1) * length);
            let part = Tensor::from_buffer(tensor.dtype(), &element, bytes)
                .map_err(|error| PyValueError::new_err(error.to_string()))?;
            list.append(match is_scalar {
                true if tensor.dtype() == Dtype::I64 => {
                    Cell::Integer(part.to_vec()[0]).into_object(py)?
                }
                true => Cell::Real(part.to_vec()[0]).into_object(py)?,
                false => array::to_python(py, &part)?.unbind(),
            })?;
        }
        Ok(list)
    }

    fn into_cell(self, py: Python<'_>) -> PyResult<Cell> {
        Ok(match self {
            Gathered::Empty => Cell::Object(PyList::empty(py).into_any().unbind()),
            Gathered::List(list) => Cell::Object(list.into_any()),
            array => match array.tensor() {
                Some(tensor) => Cell::Tensor(tensor),
                None => Cell::Object(py.None()),
            },
        })
    }
}

/// A document of an answer, as cells.
pub(crate) struct Cells(Vec<(Py<PyString>, Cell)>);

impl<'de> Deserialize<'de> for Cells {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Cells, D::Error> {
        struct CellsVisitor;
        impl<'de> Visitor<'de> for CellsVisitor {
            type Value = Cells;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a document")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Cells, A::Error> {
                let mut cells = Vec::new();
                while let Some(Name(name)) = map.next_key()? {
                    cells.push((name, map.next_value()?));
                }
                Ok(Cells(cells))
            }
        }
        deserializer.deserialize_map(CellsVisitor)
    }
}

/// Makes a dict of columns. A field that a document lacks is `None` in its column.
pub(crate) fn of_rows(
    py: Python<'_>,
    rows: Vec<Cells>,
    is_v1: bool,
) -> PyResult<Bound<'_, PyDict>> {
    let mut columns: Vec<(Py<PyString>, Gathered, usize)> = Vec::new();
    for (index, Cells(cells)) in rows.into_iter().enumerate() {
        for (place, (name, cell)) in cells.into_iter().enumerate() {
            // Over HTTP a v1 gateway writes all fields, also those that are not set.
            if is_v1 && matches!(&cell, Cell::Object(object) if object.is_none(py)) {
                continue;
            }
            // Mostly all documents have the same fields in the same order, by the same names.
            let is_same = |column: &(Py<PyString>, Gathered, usize)| column.0.is(&name);
            let found = match columns.get(place).is_some_and(is_same) {
                true => Some(place),
                false => {
                    let text = name.to_str(py)?;
                    columns.iter().position(|(known, ..)| known.to_str(py).is_ok_and(|k| k == text))
                }
            };
            let column = match found {
                Some(place) => &mut columns[place],
                None => {
                    columns.push((name, Gathered::Empty, 0));
                    columns.last_mut().expect("it was pushed just now")
                }
            };
            fill(py, column, index)?;
            if column.2 == index {
                column.1.push(py, cell)?;
                column.2 = index + 1;
            }
        }
    }
    let length = columns.iter().map(|column| column.2).max().unwrap_or_default();
    let dict = PyDict::new(py);
    for mut column in columns {
        fill(py, &mut column, length)?;
        dict.set_item(column.0, column.1.into_cell(py)?.into_object(py)?)?;
    }
    Ok(dict)
}

/// Adds `None` for the documents before `index` that lack the field.
fn fill(
    py: Python<'_>,
    (_, values, count): &mut (Py<PyString>, Gathered, usize),
    index: usize,
) -> PyResult<()> {
    while *count < index {
        values.push(py, Cell::Object(py.None()))?;
        *count += 1;
    }
    Ok(())
}
