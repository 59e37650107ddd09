//! Numbers in a document: element type, shape and buffer.

use std::fmt;

use bytes::Bytes;
use serde::de::{self, DeserializeSeed, SeqAccess, Unexpected, Visitor};
use serde::ser::SerializeSeq;
use serde::{Deserialize, Deserializer, Serialize, Serializer};

use super::any::reals;
use super::grid::Grid;
pub use super::number::{Dtype, Element};
use super::number::{Scalar, WireDtype};
use super::{AnyVisitor, Blob};

/// An array of numbers with any number of dimensions, in C order. Clones share the buffer and never
/// copy it.
///
/// The protocol decides what arrives unchanged:
///
/// | | element type | shape | NaN, infinity |
/// | --- | --- | --- | --- |
/// | WebSocket, gRPC (protobuf) | kept | kept | kept |
/// | HTTP (JSON, nested lists) | lost: `bool` if all are booleans, `i64` if all numbers are whole, else `f64` | kept, except dimensions after an empty one; a tensor without dimensions is refused | refused |
///
/// [`to_vec`](Tensor::to_vec) converts the elements, so code that uses it works with every
/// protocol. The feature `half` adds half-precision elements of the crate of that name. The feature
/// `ndarray` converts between tensors and the arrays of that crate.
///
/// Two tensors are equal if element type, shape and numbers are equal. HTTP does not keep the
/// element type, so a tensor that came back over HTTP mostly differs from the one that was sent. To
/// compare only the numbers, compare [`shape`](Tensor::shape) and `to_vec`.
///
/// ```
/// use clientlet::Tensor;
///
/// let embedding = Tensor::from(vec![0.5_f32, -1.25, 3.0]);
/// assert_eq!(embedding.shape(), [3]);
/// let image = Tensor::new(&[2, 2], &[1_u8, 2, 3, 4])?;
/// assert_eq!(image.to_vec::<f32>(), [1.0, 2.0, 3.0, 4.0]);
/// # Ok::<(), clientlet::TensorError>(())
/// ```
///
/// With `clientlet = { .., features = ["half"] }` and `half = "2.7"` in Cargo.toml:
///
#[cfg_attr(feature = "half", doc = "```")]
#[cfg_attr(not(feature = "half"), doc = "```ignore")]
/// use clientlet::{Dtype, Tensor};
/// use half::f16;
///
/// let embedding = Tensor::from(vec![f16::from_f32(0.5), f16::from_f32(-1.25)]);
/// assert_eq!(embedding.dtype(), Dtype::F16);
/// ```
///
/// Inside `#[serde(flatten)]` or an untagged enum, serde buffers the values that it reads. A tensor
/// there is read from nested lists on every protocol, and its element type is lost.
#[derive(Clone, PartialEq, Eq)]
pub struct Tensor {
    dtype: Dtype,
    shape: Vec<usize>,
    buffer: Bytes,
}

/// The reason why numbers do not make a tensor.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TensorError(String);

impl TensorError {
    pub(super) fn new(message: String) -> TensorError {
        TensorError(message)
    }
}

impl fmt::Display for TensorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for TensorError {}

impl Tensor {
    /// Makes a tensor of `shape` (empty for a scalar) from elements in C order.
    ///
    /// # Errors
    /// If the shape needs another number of elements.
    pub fn new<T: Element>(shape: &[usize], elements: &[T]) -> Result<Tensor, TensorError> {
        let mut buffer = Vec::with_capacity(elements.len() * T::DTYPE.size());
        for element in elements {
            element.write(&mut buffer);
        }
        Tensor::from_buffer(T::DTYPE, shape, buffer)
    }

    /// Makes a tensor from existing bytes: C order, little-endian.
    ///
    /// # Errors
    /// If the shape needs another number of bytes.
    pub fn from_buffer(
        dtype: Dtype,
        shape: &[usize],
        buffer: impl Into<Bytes>,
    ) -> Result<Tensor, TensorError> {
        Tensor::of_parts(dtype, shape.to_vec(), buffer.into())
    }

    #[inline]
    fn of_parts(dtype: Dtype, shape: Vec<usize>, buffer: Bytes) -> Result<Tensor, TensorError> {
        check(dtype, &shape, &buffer)?;
        Ok(Tensor { dtype, shape, buffer })
    }

    /// Returns the type of the elements.
    pub fn dtype(&self) -> Dtype {
        self.dtype
    }

    /// Returns the length of each dimension; empty for a scalar.
    pub fn shape(&self) -> &[usize] {
        &self.shape
    }

    /// Returns the bytes of the elements, in C order and little-endian.
    pub fn buffer(&self) -> &Bytes {
        &self.buffer
    }

    /// Returns the number of elements.
    pub fn len(&self) -> usize {
        self.buffer.len() / self.dtype.size()
    }

    /// Whether the tensor has no elements.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Returns the elements in C order as numbers of type `T`. Elements of another type are
    /// converted as `as` does.
    pub fn to_vec<T: Element>(&self) -> Vec<T> {
        scalars(self.dtype, &self.buffer).map(Scalar::to).collect()
    }
}

pub(super) fn scalars(dtype: Dtype, bytes: &[u8]) -> impl Iterator<Item = Scalar> + '_ {
    bytes.chunks_exact(dtype.size()).map(move |element| Scalar::read(dtype, element))
}

#[inline]
fn check(dtype: Dtype, shape: &[usize], buffer: &[u8]) -> Result<(), TensorError> {
    let wanted = shape.iter().try_fold(dtype.size(), |size, n| size.checked_mul(*n));
    if wanted != Some(buffer.len()) {
        return Err(TensorError(format!(
            "the shape {shape:?} of {dtype} does not fit {} bytes",
            buffer.len()
        )));
    }
    Ok(())
}

impl<T: Element> From<&[T]> for Tensor {
    fn from(elements: &[T]) -> Tensor {
        Tensor::new(&[elements.len()], elements)
            .expect("the one dimension has the length of the elements")
    }
}

impl<T: Element> From<Vec<T>> for Tensor {
    fn from(elements: Vec<T>) -> Tensor {
        Tensor::from(elements.as_slice())
    }
}

impl<T: Element, const N: usize> From<[T; N]> for Tensor {
    fn from(elements: [T; N]) -> Tensor {
        Tensor::from(elements.as_slice())
    }
}

impl fmt::Debug for Tensor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Tensor({} {:?})", self.dtype, self.shape)
    }
}

/// The marker by which this crate's encoders recognize a tensor.
pub(super) const TENSOR: &str = "clientlet::Tensor";

impl Serialize for Tensor {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Tensor { dtype, shape, buffer } = self;
        TensorRef { dtype: *dtype, shape, buffer }.serialize(serializer)
    }
}

/// A [`Tensor`] whose shape and elements lie in the caller's memory. It is written as a `Tensor` is,
/// and its elements are copied only into the request.
#[derive(Clone, Copy)]
pub struct TensorRef<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    buffer: &'a [u8],
}

impl<'a> TensorRef<'a> {
    /// Makes a tensor from existing bytes: C order, little-endian.
    ///
    /// # Errors
    /// If the shape needs another number of bytes.
    pub fn new(
        dtype: Dtype,
        shape: &'a [usize],
        buffer: &'a [u8],
    ) -> Result<TensorRef<'a>, TensorError> {
        check(dtype, shape, buffer)?;
        Ok(TensorRef { dtype, shape, buffer })
    }
}

impl fmt::Debug for TensorRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "TensorRef({} {:?})", self.dtype, self.shape)
    }
}

impl Serialize for TensorRef<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_newtype_struct(TENSOR, &Content(*self))
    }
}

/// The content behind the marker: nested lists for human-readable formats, parts for all others. An
/// encoder that knows the marker asks for the parts, whatever `is_human_readable` says elsewhere in
/// the document.
struct Content<'a>(TensorRef<'a>);

impl Serialize for Content<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Content(tensor) = *self;
        if serializer.is_human_readable() {
            let TensorRef { dtype, shape, buffer } = tensor;
            Rows { dtype, shape, bytes: buffer }.serialize(serializer)
        } else {
            (tensor.dtype.name(), tensor.shape, serde_bytes(tensor.buffer)).serialize(serializer)
        }
    }
}

/// Wraps `bytes` so that serde writes bytes; serde would write a slice as a list.
fn serde_bytes(bytes: &[u8]) -> impl Serialize {
    struct AsBytes<'a>(&'a [u8]);
    impl Serialize for AsBytes<'_> {
        fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.serialize_bytes(self.0)
        }
    }
    AsBytes(bytes)
}

/// A part of a tensor, as nested lists.
struct Rows<'a> {
    dtype: Dtype,
    shape: &'a [usize],
    bytes: &'a [u8],
}

impl Serialize for Rows<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Some((&rows, inner)) = self.shape.split_first() else {
            let scalar = Scalar::read(self.dtype, self.bytes);
            return scalar.serialize(serializer);
        };
        if inner.is_empty() && self.dtype == Dtype::F32 {
            let (numbers, _) = self.bytes.as_chunks();
            return serializer.serialize_newtype_struct(SINGLES, &Singles(numbers));
        }
        let mut seq = serializer.serialize_seq(Some(rows))?;
        if inner.is_empty() {
            match self.dtype {
                // The type is checked once, not for each number.
                Dtype::F64 => {
                    let (numbers, _) = self.bytes.as_chunks();
                    for bytes in numbers {
                        seq.serialize_element(&f64::from_le_bytes(*bytes))?;
                    }
                }
                _ => {
                    for scalar in scalars(self.dtype, self.bytes) {
                        seq.serialize_element(&scalar)?;
                    }
                }
            }
        } else {
            let step = self.bytes.len() / rows.max(1);
            for row in 0..rows {
                let bytes = &self.bytes[row * step..(row + 1) * step];
                seq.serialize_element(&Rows { dtype: self.dtype, shape: inner, bytes })?;
            }
        }
        seq.end()
    }
}

/// The marker by which the encoder of JSON recognizes a list of singles, the usual numbers of embeddings.
pub(super) const SINGLES: &str = "clientlet::Singles";

/// A list of singles, each as its bytes. An encoder that knows the marker asks for the bytes of all of them.
struct Singles<'a>(&'a [[u8; 4]]);

impl Serialize for Singles<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let Singles(numbers) = *self;
        if !serializer.is_human_readable() {
            return serializer.serialize_bytes(numbers.as_flattened());
        }
        serializer.collect_seq(numbers.iter().map(|bytes| f32::from_le_bytes(*bytes)))
    }
}

impl Serialize for Scalar {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match *self {
            Scalar::Bool(b) => serializer.serialize_bool(b),
            Scalar::Signed(n) => serializer.serialize_i64(n),
            Scalar::Unsigned(n) => serializer.serialize_u64(n),
            Scalar::Single(n) => serializer.serialize_f32(n),
            Scalar::Double(n) => serializer.serialize_f64(n),
        }
    }
}

impl<'de> Deserialize<'de> for Tensor {
    /// Reads nested lists of numbers, all of one length at each depth. In formats that are not
    /// human-readable, reads element type, shape and elements.
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Tensor, D::Error> {
        deserializer.deserialize_newtype_struct(TENSOR, TensorVisitor)
    }
}

struct TensorVisitor;

impl<'de> Visitor<'de> for TensorVisitor {
    type Value = Tensor;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a tensor")
    }

    fn visit_newtype_struct<D: Deserializer<'de>>(self, inner: D) -> Result<Tensor, D::Error> {
        if !inner.is_human_readable() {
            return inner.deserialize_tuple(3, self);
        }
        let mut grid = Grid::default();
        inner.deserialize_any(Nested { grid: &mut grid, depth: 0 })?;
        grid.into_tensor(Dtype::I64).map_err(de::Error::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<Tensor, A::Error> {
        let missing = |n| de::Error::invalid_length(n, &"element type, shape and elements");
        let wire: WireDtype = seq.next_element()?.ok_or_else(|| missing(0))?;
        let shape: Vec<usize> = seq.next_element()?.ok_or_else(|| missing(1))?;
        let elements: Blob = seq.next_element()?.ok_or_else(|| missing(2))?;
        wire.tensor(shape, elements.into_bytes()).map_err(de::Error::custom)
    }
}

impl<'de> Deserialize<'de> for WireDtype {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<WireDtype, D::Error> {
        struct Name;
        impl Visitor<'_> for Name {
            type Value = WireDtype;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("numpy's short name of an element type")
            }

            fn visit_str<E: de::Error>(self, name: &str) -> Result<WireDtype, E> {
                name.parse().map_err(E::custom)
            }
        }
        deserializer.deserialize_str(Name)
    }
}

impl WireDtype {
    /// Makes a tensor of these elements, with their bytes in little-endian order.
    #[inline]
    fn tensor(self, shape: Vec<usize>, elements: Bytes) -> Result<Tensor, TensorError> {
        if !self.is_swapped {
            return Tensor::of_parts(self.dtype, shape, elements);
        }
        let mut swapped = elements.to_vec();
        swapped.chunks_exact_mut(self.dtype.size()).for_each(<[u8]>::reverse);
        Tensor::of_parts(self.dtype, shape, swapped.into())
    }
}

/// Reads one level of nested lists into the grid.
struct Nested<'a> {
    grid: &'a mut Grid,
    depth: usize,
}

impl<'de> DeserializeSeed<'de> for Nested<'_> {
    /// The number of elements that were read at once.
    type Value = usize;

    fn deserialize<D: Deserializer<'de>>(self, element: D) -> Result<usize, D::Error> {
        reals(self, element)
    }
}

impl<'de> Visitor<'de> for Nested<'_> {
    type Value = usize;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or nested lists of numbers")
    }

    fn visit_i64<E: de::Error>(self, n: i64) -> Result<usize, E> {
        self.grid.push(self.depth, Dtype::I64, &n.to_le_bytes()).map_err(E::custom)?;
        Ok(1)
    }

    fn visit_u64<E: de::Error>(self, n: u64) -> Result<usize, E> {
        match i64::try_from(n) {
            Ok(n) => self.visit_i64(n),
            Err(_) => self.visit_f64(n as f64),
        }
    }

    fn visit_f64<E: de::Error>(self, n: f64) -> Result<usize, E> {
        self.visit_reals(&[n.to_le_bytes()])
    }

    fn visit_bool<E: de::Error>(self, b: bool) -> Result<usize, E> {
        self.grid.push(self.depth, Dtype::Bool, &[b.into()]).map_err(E::custom)?;
        Ok(1)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<usize, A::Error> {
        self.grid.open(self.depth).map_err(de::Error::custom)?;
        let mut length = 0;
        while let Some(read) =
            seq.next_element_seed(Nested { grid: self.grid, depth: self.depth + 1 })?
        {
            length += read;
        }
        self.grid.close(self.depth, length).map_err(de::Error::custom)?;
        Ok(1)
    }
}

impl<'de> AnyVisitor<'de> for Nested<'_> {
    fn visit_reals<E: de::Error>(self, reals: &[[u8; 8]]) -> Result<usize, E> {
        self.grid.push_reals(self.depth, reals).map_err(E::custom)?;
        Ok(reals.len())
    }

    fn visit_tensor<E: de::Error>(self, _: Tensor) -> Result<usize, E> {
        Err(E::invalid_type(Unexpected::Other("a tensor"), &self))
    }

    fn visit_blob<E: de::Error>(self, blob: Blob) -> Result<usize, E> {
        Err(E::invalid_type(Unexpected::Bytes(blob.as_bytes()), &self))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_of_booleans_are_booleans_and_numbers_beside_numbers() {
        let read = |json| serde_json::from_str::<Tensor>(json).unwrap();
        let booleans = read("[[true], [false]]");
        assert_eq!((booleans.dtype(), booleans.shape()), (Dtype::Bool, &[2, 1][..]));
        assert_eq!(booleans.buffer()[..], [1, 0]);
        for (json, dtype) in [("[true, 2]", Dtype::I64), ("[0.5, true]", Dtype::F64)] {
            assert_eq!(read(json).dtype(), dtype, "{json}");
        }
    }

    fn read(json: &str) -> Result<Tensor, serde_json::Error> {
        serde_json::from_str(json)
    }

    #[test]
    fn nested_lists_and_tensors_are_the_same_thing() {
        for json in ["[[0.5,1.0,2.0],[3.0,4.0,5.0]]", "[1,2,3]", "7", "[]", "[[],[]]", "[[[1]]]"] {
            assert_eq!(serde_json::to_string(&read(json).unwrap()).unwrap(), json);
        }
        assert_eq!(read("[[1,2,3],[4,5,6]]").unwrap().shape(), [2, 3]);
        assert_eq!(read("7").unwrap().shape(), [0_usize; 0]);
    }

    #[test]
    fn whole_numbers_stay_integers_unless_a_fraction_comes() {
        assert_eq!(read("[1,2]").unwrap().dtype(), Dtype::I64);
        let mixed = read("[1,2.5]").unwrap();
        assert_eq!((mixed.dtype(), mixed.to_vec::<f64>()), (Dtype::F64, vec![1.0, 2.5]));
    }

    #[test]
    fn ragged_lists_are_refused() {
        for json in ["[[1,2],[3]]", "[1,[2]]", "[[1],2]", "[[],[1]]", "[[[1]],[2]]"] {
            let message = read(json).unwrap_err().to_string();
            assert!(message.contains("lists of a tensor"), "{json}: {message}");
        }
        assert!(read(r#"["x"]"#).unwrap_err().to_string().contains("nested lists of numbers"));
    }

    #[test]
    fn each_element_type_survives_a_buffer() {
        fn check<T: Element + PartialEq + fmt::Debug>(elements: &[T]) {
            let tensor = Tensor::from(elements);
            assert_eq!(tensor.to_vec::<T>(), elements);
            assert_eq!(tensor.dtype().name().parse::<Dtype>().unwrap(), T::DTYPE);
        }
        check(&[i8::MIN, 0, i8::MAX]);
        check(&[i16::MIN, i16::MAX]);
        check(&[i32::MIN, i32::MAX]);
        check(&[i64::MIN, i64::MAX]);
        check(&[u8::MAX, 0]);
        check(&[u16::MAX, 0]);
        check(&[u32::MAX, 0]);
        check(&[u64::MAX, 0]);
        check(&[f32::MIN_POSITIVE, f32::MAX, -0.1]);
        check(&[f64::MIN_POSITIVE, f64::MAX, -0.1]);
        check(&[true, false]);
    }

    #[test]
    fn big_endian_elements_are_converted_to_little_endian() {
        let wire: WireDtype = ">u2".parse().unwrap();
        let tensor = wire.tensor(vec![2], Bytes::from_static(&[1, 2, 3, 4])).unwrap();
        assert_eq!(tensor.to_vec::<u16>(), [0x0102, 0x0304]);
        assert!("<u3".parse::<WireDtype>().is_err() && "".parse::<WireDtype>().is_err());
        assert_eq!("|b1".parse::<WireDtype>().unwrap().dtype, Dtype::Bool);
    }

    #[cfg(feature = "half")]
    #[test]
    fn half_precision_numbers_are_elements() {
        use half::f16;
        let numbers = [0.5, -1.25, 65504.0].map(f16::from_f32);
        let tensor = Tensor::from(numbers);
        assert_eq!((tensor.dtype(), tensor.buffer().len()), (Dtype::F16, 6));
        assert_eq!(tensor.to_vec::<f32>(), [0.5, -1.25, 65504.0]);
        assert_eq!(Tensor::from([0.5_f64, 3.0]).to_vec::<f16>(), [0.5, 3.0].map(f16::from_f64));
        assert_eq!(Tensor::from([3_i64]).to_vec::<f16>(), [f16::from_f32(3.0)]);
    }

    #[test]
    fn a_half_precision_buffer_is_read() {
        let tensor = Tensor::from_buffer(Dtype::F16, &[2], vec![0x00, 0x3c, 0x00, 0xc0]).unwrap();
        assert_eq!(tensor.to_vec::<f32>(), [1.0, -2.0]);
    }

    #[test]
    fn a_shape_must_fit_its_elements() {
        assert!(Tensor::new(&[2, 2], &[1.0_f32]).is_err());
        assert!(Tensor::new(&[usize::MAX, 2], &[1.0_f32]).is_err());
        assert!(Tensor::new::<f32>(&[0, 3], &[]).is_ok());
    }
}
