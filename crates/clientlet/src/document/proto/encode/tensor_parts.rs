//! Writes a tensor from its parts: element type, shape, elements.

use serde::Serialize;
use serde::ser::Impossible;

use super::parts::Parts;
use super::place::Place;
use crate::document::refusal::{Refusal, refuse};
use crate::document::serializer::{Destination, Num, To, list_parts};
use crate::document::v1_fields::Number;

/// Takes the parts of a tensor one after the other: element type, shape, elements. The last part
/// writes the tensor.
pub(super) struct TensorParts<'w, 'o, 'k> {
    place: Option<Place<'w, 'o, 'k>>,
    dtype: String,
}

const PARTS: &str = "a tensor must be made of element type, shape and elements";

impl<'w, 'o, 'k> TensorParts<'w, 'o, 'k> {
    pub(super) fn new(place: Place<'w, 'o, 'k>) -> TensorParts<'w, 'o, 'k> {
        TensorParts { place: Some(place), dtype: String::new() }
    }

    fn place(&mut self) -> Result<Place<'w, 'o, 'k>, Refusal> {
        self.place.take().ok_or_else(|| Refusal::new(PARTS.to_owned()))
    }

    fn part<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        value.serialize(To(TensorPart(self)))
    }

    fn finish(self) -> Result<(), Refusal> {
        match self.place {
            None => Ok(()),
            Some(_) => refuse(PARTS),
        }
    }
}

list_parts!(TensorParts<'_, '_, '_>, part, finish);

/// Also takes lists, and numbers outside lists. serde's own buffers (`flatten` around an enum) are
/// human-readable, so a tensor in such a buffer is nested lists, which are written like any other
/// lists.
impl<'w, 'o> Destination for TensorParts<'w, 'o, '_> {
    type Seq = Parts<'w, 'o>;
    type Tuple = Self;
    type Object = Impossible<(), Refusal>;

    const ONLY: &'static str = PARTS;
    const IS_HUMAN_READABLE: bool = false;

    fn number<N: Num>(mut self, n: N) -> Result<(), Refusal> {
        self.place()?.number(n)
    }

    fn boolean(mut self, b: bool) -> Result<(), Refusal> {
        self.place()?.boolean(b)
    }

    fn seq(mut self, length: Option<usize>) -> Result<Parts<'w, 'o>, Refusal> {
        self.place()?.seq(length)
    }

    fn tuple(mut self, _: usize) -> Result<Self, Refusal> {
        if let Some(place) = &mut self.place {
            place.writer.shape.clear();
        }
        Ok(self)
    }
}

/// One part, or one dimension of the shape.
struct TensorPart<'a, 'w, 'o, 'k>(&'a mut TensorParts<'w, 'o, 'k>);

impl TensorPart<'_, '_, '_, '_> {
    fn dimension<T: Serialize + ?Sized>(&mut self, dimension: &T) -> Result<(), Refusal> {
        dimension.serialize(To(TensorPart(self.0)))
    }

    fn finish(self) -> Result<(), Refusal> {
        Ok(())
    }
}

list_parts!(TensorPart<'_, '_, '_, '_>, dimension, finish);

impl Destination for TensorPart<'_, '_, '_, '_> {
    type Seq = Self;
    type Tuple = Impossible<(), Refusal>;
    type Object = Impossible<(), Refusal>;

    const ONLY: &'static str = PARTS;
    const IS_HUMAN_READABLE: bool = false;

    fn text(self, dtype: &str) -> Result<(), Refusal> {
        dtype.clone_into(&mut self.0.dtype);
        Ok(())
    }

    fn seq(self, _: Option<usize>) -> Result<Self, Refusal> {
        Ok(self)
    }

    fn number<N: Num>(self, dimension: N) -> Result<(), Refusal> {
        let Number::Whole(dimension) = dimension.number() else { return refuse(PARTS) };
        if let (Some(place), Ok(dimension)) = (&mut self.0.place, dimension.try_into()) {
            place.writer.shape.push(dimension);
        }
        Ok(())
    }

    fn bytes(self, buffer: &[u8]) -> Result<(), Refusal> {
        let place = self.0.place()?;
        place.tensor(&self.0.dtype, buffer)
    }
}
