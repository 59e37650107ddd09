//! The element types of tensors.

use std::fmt;
use std::str::FromStr;

use crate::foreign::shorten;

/// The type of a tensor's elements.
#[non_exhaustive]
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Dtype {
    /// A boolean, one byte, 0 or 1.
    Bool,
    /// 8-bit signed.
    I8,
    /// 16-bit signed.
    I16,
    /// 32-bit signed.
    I32,
    /// 64-bit signed.
    I64,
    /// 8-bit unsigned.
    U8,
    /// 16-bit unsigned.
    U16,
    /// 32-bit unsigned.
    U32,
    /// 64-bit unsigned.
    U64,
    /// IEEE 754 half precision.
    F16,
    /// IEEE 754 single precision.
    F32,
    /// IEEE 754 double precision.
    F64,
}

/// Each type with numpy's name for it (little-endian) and its size in bytes.
const DTYPES: [(Dtype, &str, usize); 12] = [
    (Dtype::Bool, "|b1", 1),
    (Dtype::I8, "|i1", 1),
    (Dtype::I16, "<i2", 2),
    (Dtype::I32, "<i4", 4),
    (Dtype::I64, "<i8", 8),
    (Dtype::U8, "|u1", 1),
    (Dtype::U16, "<u2", 2),
    (Dtype::U32, "<u4", 4),
    (Dtype::U64, "<u8", 8),
    (Dtype::F16, "<f2", 2),
    (Dtype::F32, "<f4", 4),
    (Dtype::F64, "<f8", 8),
];

impl Dtype {
    /// Returns the size of an element in bytes.
    pub fn size(self) -> usize {
        DTYPES[self as usize].2
    }

    /// Returns numpy's short name of the little-endian type: `<f4`, `|u1`.
    pub fn name(self) -> &'static str {
        DTYPES[self as usize].1
    }
}

impl fmt::Display for Dtype {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

impl FromStr for Dtype {
    type Err = super::TensorError;

    /// Reads numpy's short name of a little-endian type.
    fn from_str(name: &str) -> Result<Dtype, Self::Err> {
        let found = DTYPES.iter().find(|(_, known, _)| *known == name);
        found.map(|(dtype, ..)| *dtype).ok_or_else(|| unknown(name))
    }
}

/// An element type on the wire, where elements may be big-endian.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WireDtype {
    pub(super) dtype: Dtype,
    /// Whether the elements are big-endian, unlike those of [`Tensor`](super::Tensor).
    pub(super) is_swapped: bool,
}

impl FromStr for WireDtype {
    type Err = super::TensorError;

    /// Reads numpy's short name: `<f4`, `>f4`, `|u1`.
    fn from_str(name: &str) -> Result<WireDtype, Self::Err> {
        let Some(letters) = name.strip_prefix('>') else {
            return Ok(WireDtype { dtype: name.parse()?, is_swapped: false });
        };
        match DTYPES.iter().find(|(_, known, _)| known[1..] == *letters) {
            Some(&(dtype, _, size)) => Ok(WireDtype { dtype, is_swapped: size > 1 }),
            None => Err(unknown(name)),
        }
    }
}

fn unknown(name: &str) -> super::TensorError {
    super::TensorError::new(format!(
        "the element type {:?} is not a numpy type that can be sent",
        shorten(name)
    ))
}

/// A type of number that a tensor can hold.
pub trait Element: Copy + sealed::Sealed {
    /// The element type on the wire.
    const DTYPE: Dtype;
}

pub(super) mod sealed {
    /// How an element is written and read. Code outside this crate does not need to know.
    pub trait Sealed: Sized {
        fn write(self, out: &mut Vec<u8>);
        /// Converts a whole number, as `as` does.
        fn from_i64(n: i64) -> Self;
        /// Converts a whole number beyond `i64`, as `as` does.
        fn from_u64(n: u64) -> Self;
        /// Converts a float, as `as` does.
        fn from_f64(n: f64) -> Self;
        fn from_f32(n: f32) -> Self;
    }
}

macro_rules! elements {
    ($($type:ty => $dtype:ident),*) => {
        $(
            impl Element for $type {
                const DTYPE: Dtype = Dtype::$dtype;
            }
            impl sealed::Sealed for $type {
                fn write(self, out: &mut Vec<u8>) {
                    out.extend_from_slice(&self.to_le_bytes());
                }
                fn from_i64(n: i64) -> Self {
                    n as $type
                }
                fn from_u64(n: u64) -> Self {
                    n as $type
                }
                fn from_f64(n: f64) -> Self {
                    n as $type
                }
                fn from_f32(n: f32) -> Self {
                    n as $type
                }
            }
        )*
    };
}

elements! {
    i8 => I8, i16 => I16, i32 => I32, i64 => I64,
    u8 => U8, u16 => U16, u32 => U32, u64 => U64,
    f32 => F32, f64 => F64
}

#[cfg(feature = "half")]
impl Element for half::f16 {
    const DTYPE: Dtype = Dtype::F16;
}

#[cfg(feature = "half")]
impl sealed::Sealed for half::f16 {
    fn write(self, out: &mut Vec<u8>) {
        out.extend_from_slice(&self.to_le_bytes());
    }
    fn from_i64(n: i64) -> Self {
        half::f16::from_f64(n as f64)
    }
    fn from_u64(n: u64) -> Self {
        half::f16::from_f64(n as f64)
    }
    fn from_f64(n: f64) -> Self {
        half::f16::from_f64(n)
    }
    fn from_f32(n: f32) -> Self {
        half::f16::from_f32(n)
    }
}

impl Element for bool {
    const DTYPE: Dtype = Dtype::Bool;
}

impl sealed::Sealed for bool {
    fn write(self, out: &mut Vec<u8>) {
        out.push(u8::from(self));
    }
    fn from_i64(n: i64) -> Self {
        n != 0
    }
    fn from_u64(n: u64) -> Self {
        n != 0
    }
    fn from_f64(n: f64) -> Self {
        n != 0.0
    }
    fn from_f32(n: f32) -> Self {
        n != 0.0
    }
}

/// An element of a tensor, read from its bytes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scalar {
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Single(f32),
    Double(f64),
}

impl Scalar {
    /// Reads an element from `bytes`, which are little-endian and `dtype.size()` long.
    pub(super) fn read(dtype: Dtype, bytes: &[u8]) -> Scalar {
        fn raw<const N: usize>(bytes: &[u8]) -> [u8; N] {
            let mut raw = [0; N];
            raw.copy_from_slice(&bytes[..N]);
            raw
        }
        match dtype {
            Dtype::Bool => Scalar::Bool(bytes[0] != 0),
            Dtype::I8 => Scalar::Signed(i8::from_le_bytes(raw(bytes)).into()),
            Dtype::I16 => Scalar::Signed(i16::from_le_bytes(raw(bytes)).into()),
            Dtype::I32 => Scalar::Signed(i32::from_le_bytes(raw(bytes)).into()),
            Dtype::I64 => Scalar::Signed(i64::from_le_bytes(raw(bytes))),
            Dtype::U8 => Scalar::Unsigned(bytes[0].into()),
            Dtype::U16 => Scalar::Unsigned(u16::from_le_bytes(raw(bytes)).into()),
            Dtype::U32 => Scalar::Unsigned(u32::from_le_bytes(raw(bytes)).into()),
            Dtype::U64 => Scalar::Unsigned(u64::from_le_bytes(raw(bytes))),
            Dtype::F16 => Scalar::Single(half::f16::from_le_bytes(raw(bytes)).to_f32()),
            Dtype::F32 => Scalar::Single(f32::from_le_bytes(raw(bytes))),
            Dtype::F64 => Scalar::Double(f64::from_le_bytes(raw(bytes))),
        }
    }

    pub(super) fn to<T: Element>(self) -> T {
        match self {
            Scalar::Bool(b) => T::from_u64(b.into()),
            Scalar::Signed(n) => T::from_i64(n),
            Scalar::Unsigned(n) => T::from_u64(n),
            Scalar::Single(n) => T::from_f32(n),
            Scalar::Double(n) => T::from_f64(n),
        }
    }
}
