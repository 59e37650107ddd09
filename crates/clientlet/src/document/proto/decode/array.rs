//! Reads arrays of numbers, as the parts of a tensor or as nested lists.

use std::borrow::Cow;

use serde::de::value::{SeqDeserializer, StrDeserializer};
use serde::de::{self, DeserializeSeed, Deserializer, SeqAccess, Visitor};
use serde::forward_to_deserialize_any;

use super::view::View;
use super::{Context, Problem};
use crate::document::MOST_DIMENSIONS;
use crate::document::number::{Dtype, Scalar, WireDtype};
use crate::document::proto::wire::{Fault, Message, Run, Wire, add_part};

/// An `NdArrayProto`, of either generation.
#[derive(Clone, Debug)]
pub(super) struct Array<'a> {
    bytes: Cow<'a, [u8]>,
    is_v1: bool,
    context: Context<'a>,
}

impl<'a> Array<'a> {
    pub(super) fn v1(bytes: Cow<'a, [u8]>, context: Context<'a>) -> Array<'a> {
        Array { bytes, is_v1: true, context }
    }

    pub(super) fn v2(bytes: Cow<'a, [u8]>, context: Context<'a>) -> Array<'a> {
        Array { bytes, is_v1: false, context }
    }

    /// Returns the dense array inside.
    fn dense(&self) -> Result<Cow<'_, [u8]>, Fault> {
        let mut dense: Option<Run<'_>> = None;
        let mut is_sparse = false;
        let mut message = Message::new(&self.bytes);
        loop {
            let start = self.bytes.len() - message.left();
            let Some((number, wire)) = message.next()? else { break };
            match number {
                1 => {
                    if std::mem::take(&mut is_sparse) {
                        dense = None;
                    }
                    let end = self.bytes.len() - message.left();
                    add_part(&mut dense, start, end, wire.bytes()?);
                }
                2 => {
                    wire.bytes()?;
                    is_sparse = self.is_v1;
                }
                3 if self.is_v1 => drop(wire.text()?),
                4 if self.is_v1 => drop(wire.bytes()?),
                _ => {}
            }
        }
        self.context.within(1)?;
        match dense {
            _ if is_sparse => Err(Fault("a sparse tensor cannot be read, only dense ones can")),
            Some(run) => run.message(&self.bytes, 1, self.context.budget()),
            None => Ok(Cow::Borrowed(&[])),
        }
    }

    /// Hands over the parts of a tensor.
    pub(super) fn visit_parts<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        let dense = self.dense()?;
        visitor.visit_newtype_struct(&Dense::read(&dense)?)
    }

    /// Hands over nested lists.
    pub(super) fn visit_lists<'de, V: Visitor<'de>>(
        self,
        visitor: V,
        wants_numbers: bool,
    ) -> Result<V::Value, Problem> {
        let dense = self.dense()?;
        Dense::read(&dense)?.lists(visitor, wants_numbers, self.context)
    }
}

/// A `DenseNdArrayProto`.
struct Dense<'a> {
    buffer: &'a [u8],
    dtype_name: &'a str,
    dimensions: [u32; MOST_DIMENSIONS],
    count: usize,
}

impl<'a> Dense<'a> {
    fn read(bytes: &'a [u8]) -> Result<Dense<'a>, Fault> {
        let mut dense =
            Dense { buffer: &[], dtype_name: "", dimensions: [0; MOST_DIMENSIONS], count: 0 };
        let mut message = Message::new(bytes);
        while let Some((number, wire)) = message.next()? {
            match (number, wire) {
                (1, _) => dense.buffer = wire.bytes()?,
                (2, Wire::Bytes(pack)) => {
                    let mut pack = Message::new(pack);
                    while pack.left() > 0 {
                        dense.push(pack.varint()?)?;
                    }
                }
                (2, _) => dense.push(wire.varint()?)?,
                (3, _) => dense.dtype_name = wire.text()?,
                _ => {}
            }
        }
        Ok(dense)
    }

    fn push(&mut self, dimension: u64) -> Result<(), Fault> {
        let place = self.dimensions.get_mut(self.count);
        *place.ok_or(Fault("a tensor has more than 64 dimensions"))? = dimension as u32;
        self.count += 1;
        Ok(())
    }

    fn shape(&self) -> &[u32] {
        &self.dimensions[..self.count]
    }

    fn lists<'de, V: Visitor<'de>>(
        &self,
        visitor: V,
        wants_numbers: bool,
        context: Context<'_>,
    ) -> Result<V::Value, Problem> {
        let dtype: WireDtype = self.dtype_name.parse().map_err(<Problem as de::Error>::custom)?;
        let shape = self.shape();
        let size =
            shape.iter().try_fold(dtype.dtype.size(), |size, n| size.checked_mul(*n as usize));
        if size != Some(self.buffer.len()) {
            return Err(de::Error::custom(format_args!(
                "the shape {shape:?} of {} does not fit {} bytes",
                self.dtype_name,
                self.buffer.len()
            )));
        }
        if !context.spend_lists(lists_of(shape)) {
            return Err(de::Error::custom(format_args!(
                "a tensor of shape {shape:?} has too many lists for its number of bytes; \
                 read it as a Tensor"
            )));
        }
        Rows { dtype, shape, bytes: self.buffer, wants_numbers }.visit(visitor)
    }
}

/// Returns the number of lists that an array of this shape becomes, counted over all dimensions.
fn lists_of(shape: &[u32]) -> usize {
    let mut lists = 0_usize;
    let mut of_this_dimension = 1_usize;
    for &n in shape {
        lists = lists.saturating_add(of_this_dimension);
        of_this_dimension = of_this_dimension.saturating_mul(n as usize);
    }
    lists
}

/// Reads element type, shape, elements: the parts that a tensor asks for.
impl<'de> Deserializer<'de> for &Dense<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_seq(Parts { dense: self, next: 0 })
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u32 u64 u128 f32 f64 char str string bytes byte_buf option
        unit unit_struct newtype_struct seq tuple tuple_struct map struct enum identifier ignored_any
    }
}

struct Parts<'a> {
    dense: &'a Dense<'a>,
    next: usize,
}

impl<'de> SeqAccess<'de> for Parts<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        self.next += 1;
        match self.next {
            1 => seed.deserialize(StrDeserializer::new(self.dense.dtype_name)).map(Some),
            2 => {
                seed.deserialize(SeqDeserializer::new(self.dense.shape().iter().copied())).map(Some)
            }
            3 => seed.deserialize(View::Blob(self.dense.buffer)).map(Some),
            _ => Ok(None),
        }
    }
}

/// A part of an array: a list, or a number if no dimension is left.
#[derive(Clone, Copy)]
struct Rows<'a> {
    dtype: WireDtype,
    shape: &'a [u32],
    bytes: &'a [u8],
    /// Whether booleans are read as 0 and 1.
    wants_numbers: bool,
}

impl<'a> Rows<'a> {
    fn visit<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        match self.shape.split_first() {
            Some((&left, inner)) => {
                let left = left as usize;
                if inner.is_empty() && !self.dtype.is_swapped {
                    // The usual types of embeddings, read without a decision for each number.
                    match self.dtype.dtype {
                        Dtype::F32 => return visitor.visit_seq(Reals::<4>(self.bytes)),
                        Dtype::F64 => return visitor.visit_seq(Reals::<8>(self.bytes)),
                        _ => {}
                    }
                }
                let step = self.bytes.len() / left.max(1);
                visitor.visit_seq(List { rows: Rows { shape: inner, ..self }, step, left })
            }
            None => match self.scalar() {
                Scalar::Bool(b) if self.wants_numbers => visitor.visit_u64(b.into()),
                Scalar::Bool(b) => visitor.visit_bool(b),
                Scalar::Signed(n) => visitor.visit_i64(n),
                Scalar::Unsigned(n) => visitor.visit_u64(n),
                Scalar::Single(n) => visitor.visit_f32(n),
                Scalar::Double(n) => visitor.visit_f64(n),
            },
        }
    }

    fn scalar(self) -> Scalar {
        if !self.dtype.is_swapped {
            return Scalar::read(self.dtype.dtype, self.bytes);
        }
        let mut turned = [0; 8];
        let turned = &mut turned[..self.bytes.len()];
        turned.copy_from_slice(self.bytes);
        turned.reverse();
        Scalar::read(self.dtype.dtype, turned)
    }
}

macro_rules! numbers {
    ($($method:ident)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
            Rows { wants_numbers: true, ..self }.visit(visitor)
        })*
    };
}

impl<'de> Deserializer<'de> for Rows<'_> {
    type Error = Problem;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        self.visit(visitor)
    }

    numbers! {
        deserialize_i8 deserialize_i16 deserialize_i32 deserialize_i64 deserialize_i128
        deserialize_u8 deserialize_u16 deserialize_u32 deserialize_u64 deserialize_u128
        deserialize_f32 deserialize_f64
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Problem> {
        visitor.visit_some(self)
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Problem> {
        visitor.visit_newtype_struct(self)
    }

    fn is_human_readable(&self) -> bool {
        // A tensor inside such a list is read from lists, too.
        true
    }

    forward_to_deserialize_any! {
        bool char str string bytes byte_buf unit unit_struct seq tuple tuple_struct map struct enum
        identifier ignored_any
    }
}

/// Floats of `N` bytes each.
struct Reals<'a, const N: usize>(&'a [u8]);

impl<'de, const N: usize> SeqAccess<'de> for Reals<'_, N> {
    type Error = Problem;

    #[inline]
    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some((raw, rest)) = self.0.split_first_chunk::<N>() else { return Ok(None) };
        self.0 = rest;
        let view = match *raw.as_slice() {
            [a, b, c, d] => View::Single(f32::from_le_bytes([a, b, c, d])),
            [a, b, c, d, e, f, g, h] => View::Double(f64::from_le_bytes([a, b, c, d, e, f, g, h])),
            _ => View::Null,
        };
        seed.deserialize(view).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.0.len() / N)
    }
}

/// The elements of a list.
struct List<'a> {
    /// The elements that are left, with the shape of one element.
    rows: Rows<'a>,
    step: usize,
    left: usize,
}

impl<'de> SeqAccess<'de> for List<'_> {
    type Error = Problem;

    fn next_element_seed<T: DeserializeSeed<'de>>(
        &mut self,
        seed: T,
    ) -> Result<Option<T::Value>, Problem> {
        let Some(left) = self.left.checked_sub(1) else { return Ok(None) };
        self.left = left;
        let (row, rest) = self.rows.bytes.split_at(self.step);
        self.rows.bytes = rest;
        seed.deserialize(Rows { bytes: row, ..self.rows }).map(Some)
    }

    fn size_hint(&self) -> Option<usize> {
        Some(self.left)
    }
}
