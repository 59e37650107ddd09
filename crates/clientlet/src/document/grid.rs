//! Gathers numbers in nested lists into one array.

use super::number::Scalar;
use super::refusal::{Refusal, refuse};
use super::tensor::{TensorError, scalars};
use super::{Dtype, Tensor};

/// The numbers of nested lists while they are gathered, and the shape as far as it is known.
///
/// If all numbers have the same serde type, the element type is that type. Otherwise it is `i64` if
/// all numbers are whole and fit, else `f64`.
#[derive(Debug, Default)]
pub(super) struct Grid {
    dtype: Option<Dtype>,
    buffer: Vec<u8>,
    /// The length of each dimension, known once the first list of that depth has ended.
    shape: Vec<Option<usize>>,
    /// The depth at which the numbers are.
    leaves: Option<usize>,
}

const UNEVEN: &str = "the lists of a tensor are not all nested to the same depth";

impl Grid {
    pub(super) fn clear(&mut self) {
        self.dtype = None;
        self.buffer.clear();
        self.shape.clear();
        self.leaves = None;
    }

    /// Appends a number at `depth`, given as its bytes.
    pub(super) fn push(&mut self, depth: usize, dtype: Dtype, bytes: &[u8]) -> Result<(), Refusal> {
        if *self.leaves.get_or_insert(depth) != depth || self.shape.len() > depth {
            return refuse(UNEVEN);
        }
        match self.dtype {
            Some(known) if known != dtype => {
                let number = Scalar::read(dtype, bytes);
                let common = self.common(known, dtype, number);
                self.convert(common);
                push_as(common, number, &mut self.buffer);
            }
            _ => {
                self.dtype = Some(dtype);
                self.buffer.extend_from_slice(bytes);
            }
        }
        Ok(())
    }

    /// Appends doubles at `depth`, each given as its bytes.
    pub(super) fn push_reals(&mut self, depth: usize, reals: &[[u8; 8]]) -> Result<(), Refusal> {
        let mut reals = reals.iter();
        // The first one makes all numbers doubles, and finds out whether numbers may come at this depth.
        if let Some(first) = reals.next() {
            self.push(depth, Dtype::F64, first)?;
            self.buffer.extend_from_slice(reals.as_slice().as_flattened());
        }
        Ok(())
    }

    /// Returns the type that holds both the numbers so far, of type `known`, and a number of type
    /// `dtype`.
    fn common(&self, known: Dtype, dtype: Dtype, number: Scalar) -> Dtype {
        let is_real = |dtype| matches!(dtype, Dtype::F32 | Dtype::F64);
        let is_beyond = |number| matches!(number, Scalar::Unsigned(n) if i64::try_from(n).is_err());
        let has_beyond = || known == Dtype::U64 && scalars(known, &self.buffer).any(is_beyond);
        if is_real(known) || is_real(dtype) || is_beyond(number) || has_beyond() {
            Dtype::F64
        } else {
            Dtype::I64
        }
    }

    fn convert(&mut self, to: Dtype) {
        let Some(from) = self.dtype.replace(to) else { return };
        if from != to {
            let mut buffer = Vec::with_capacity(self.buffer.len() / from.size() * to.size());
            scalars(from, &self.buffer).for_each(|number| push_as(to, number, &mut buffer));
            self.buffer = buffer;
        }
    }

    /// Begins a list at `depth`.
    pub(super) fn open(&mut self, depth: usize) -> Result<(), Refusal> {
        if self.leaves.is_some_and(|leaves| leaves <= depth) {
            return refuse(UNEVEN);
        }
        if self.shape.len() <= depth {
            self.shape.resize(depth + 1, None);
        }
        Ok(())
    }

    /// Ends a list at `depth` that has `length` elements.
    pub(super) fn close(&mut self, depth: usize, length: usize) -> Result<(), Refusal> {
        let known = *self.shape[depth].get_or_insert(length);
        if known != length {
            return refuse(format!(
                "the lists of a tensor differ in length: {known} and {length} at depth {depth}"
            ));
        }
        Ok(())
    }

    /// Returns element type, shape and elements.
    pub(super) fn parts(&self) -> (Dtype, impl Iterator<Item = u64> + '_, &[u8]) {
        let shape = self.shape.iter().map(|length| length.unwrap_or_default() as u64);
        (self.dtype.unwrap_or(Dtype::F64), shape, &self.buffer)
    }
}

impl Grid {
    /// Makes a tensor of the numbers; of type `empty` if there are none.
    pub(super) fn into_tensor(self, empty: Dtype) -> Result<Tensor, TensorError> {
        let shape: Vec<usize> = self.shape.into_iter().map(Option::unwrap_or_default).collect();
        Tensor::from_buffer(self.dtype.unwrap_or(empty), &shape, self.buffer)
    }
}

fn push_as(dtype: Dtype, number: Scalar, out: &mut Vec<u8>) {
    if dtype == Dtype::I64 {
        out.extend_from_slice(&number.to::<i64>().to_le_bytes());
    } else {
        out.extend_from_slice(&number.to::<f64>().to_le_bytes());
    }
}
