//! The serializer of this crate. It reduces serde's many kinds of values to the few that a document
//! distinguishes, and hands each to its destination.

use std::fmt::Display;
use std::io;

use serde::ser::{
    Impossible, Serialize, SerializeMap, SerializeSeq, SerializeStruct, SerializeStructVariant,
    SerializeTuple, SerializeTupleStruct, SerializeTupleVariant, Serializer,
};
use serde_json::ser::{CompactFormatter, Formatter};

use super::raw::{RAW_NUMBER, RAW_VALUE, write_again};
use super::refusal::{Refusal, refuse};
use super::v1_fields::Number;
use super::{Dtype, single};

/// A destination that refuses a kind of value with [`ONLY`](Destination::ONLY), unless it has a
/// method for that kind.
pub(super) trait Destination: Sized {
    type Seq: SerializeSeq<Ok = (), Error = Refusal>;
    type Tuple: SerializeTuple<Ok = (), Error = Refusal>
        + SerializeTupleStruct<Ok = (), Error = Refusal>
        + SerializeTupleVariant<Ok = (), Error = Refusal>;
    type Object: Entries;

    /// The reason why other kinds of values are refused.
    const ONLY: &'static str;
    const IS_HUMAN_READABLE: bool = true;

    fn number<N: Num>(self, _: N) -> Result<(), Refusal> {
        refuse(Self::ONLY)
    }

    fn boolean(self, _: bool) -> Result<(), Refusal> {
        refuse(Self::ONLY)
    }

    fn text(self, _: &str) -> Result<(), Refusal> {
        refuse(Self::ONLY)
    }

    fn bytes(self, _: &[u8]) -> Result<(), Refusal> {
        refuse(Self::ONLY)
    }

    fn null(self) -> Result<(), Refusal> {
        refuse(Self::ONLY)
    }

    fn seq(self, _: Option<usize>) -> Result<Self::Seq, Refusal> {
        refuse(Self::ONLY)
    }

    fn tuple(self, _: usize) -> Result<Self::Tuple, Refusal> {
        refuse(Self::ONLY)
    }

    fn object(self) -> Result<Self::Object, Refusal> {
        refuse(Self::ONLY)
    }

    /// Takes a value that is marked by the name of its type.
    fn marked<T: Serialize + ?Sized>(self, _: &'static str, value: &T) -> Result<(), Refusal> {
        value.serialize(To(self))
    }

    /// Takes an object whose only entry has the variant's name.
    fn variant<T: Serialize + ?Sized>(self, _: &'static str, _: &T) -> Result<(), Refusal> {
        refuse(Self::ONLY)
    }

    /// Begins such an object whose entry is a list.
    fn tuple_variant(self, _: &'static str, _: usize) -> Result<Self::Tuple, Refusal> {
        refuse(Self::ONLY)
    }

    /// Begins such an object whose entry is an object.
    fn object_variant(self, _: &'static str) -> Result<Self::Object, Refusal> {
        refuse(Self::ONLY)
    }
}

/// An object while its entries are written.
pub(super) trait Entries: SerializeMap<Ok = (), Error = Refusal> {
    fn entry<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refusal>;
}

/// For destinations that refuse objects.
impl Entries for Impossible<(), Refusal> {
    fn entry<T: Serialize + ?Sized>(&mut self, _: &str, value: &T) -> Result<(), Refusal> {
        self.serialize_value(value)
    }
}

/// A number of any type that serde has.
pub(super) trait Num: Copy + Display {
    /// The element type of a tensor of such numbers, if there is one.
    const DTYPE: Option<Dtype>;
    type Bytes: AsRef<[u8]>;

    fn number(self) -> Number;
    fn to_bytes(self) -> Self::Bytes;
    fn write_json(self, out: &mut Vec<u8>) -> io::Result<()>;
}

/// A number beyond i128 is also beyond every limit that is checked.
#[inline]
fn whole<N>(n: N) -> Number
where
    i128: TryFrom<N>,
{
    Number::Whole(i128::try_from(n).unwrap_or(i128::MAX))
}

macro_rules! numbers {
    ($($type:ty => $dtype:expr, $number:expr, $write:ident;)*) => {
        $(impl Num for $type {
            const DTYPE: Option<Dtype> = $dtype;
            type Bytes = [u8; size_of::<$type>()];

            #[inline]
            fn number(self) -> Number {
                $number(self)
            }

            #[inline]
            fn to_bytes(self) -> Self::Bytes {
                self.to_le_bytes()
            }

            #[inline]
            fn write_json(self, out: &mut Vec<u8>) -> io::Result<()> {
                CompactFormatter.$write(out, self)
            }
        })*
    };
}

numbers! {
    i8 => Some(Dtype::I8), whole, write_i8;
    i16 => Some(Dtype::I16), whole, write_i16;
    i32 => Some(Dtype::I32), whole, write_i32;
    i64 => Some(Dtype::I64), whole, write_i64;
    i128 => None, whole, write_i128;
    u8 => Some(Dtype::U8), whole, write_u8;
    u16 => Some(Dtype::U16), whole, write_u16;
    u32 => Some(Dtype::U32), whole, write_u32;
    u64 => Some(Dtype::U64), whole, write_u64;
    u128 => None, whole, write_u128;
    f64 => Some(Dtype::F64), Number::Double, write_f64;
}

impl Num for f32 {
    const DTYPE: Option<Dtype> = Some(Dtype::F32);
    type Bytes = [u8; 4];

    #[inline]
    fn number(self) -> Number {
        Number::Single(self)
    }

    #[inline]
    fn to_bytes(self) -> [u8; 4] {
        self.to_le_bytes()
    }

    #[inline]
    fn write_json(self, out: &mut Vec<u8>) -> io::Result<()> {
        single::write(self, out);
        Ok(())
    }
}

/// serde's view of a destination.
pub(super) struct To<D>(pub(super) D);

macro_rules! serialize_numbers {
    ($($method:ident($type:ty);)*) => {
        $(#[inline]
        fn $method(self, n: $type) -> Result<(), Refusal> {
            self.0.number(n)
        })*
    };
}

impl<D: Destination> Serializer for To<D> {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = D::Seq;
    type SerializeTuple = D::Tuple;
    type SerializeTupleStruct = D::Tuple;
    type SerializeTupleVariant = D::Tuple;
    type SerializeMap = D::Object;
    type SerializeStruct = Fields<D>;
    type SerializeStructVariant = Fields<D>;

    serialize_numbers! {
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_i128(i128);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_u128(u128);
        serialize_f32(f32); serialize_f64(f64);
    }

    #[inline]
    fn serialize_bool(self, b: bool) -> Result<(), Refusal> {
        self.0.boolean(b)
    }

    #[inline]
    fn serialize_char(self, c: char) -> Result<(), Refusal> {
        self.0.text(c.encode_utf8(&mut [0; 4]))
    }

    #[inline]
    fn serialize_str(self, text: &str) -> Result<(), Refusal> {
        self.0.text(text)
    }

    #[inline]
    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0.bytes(bytes)
    }

    #[inline]
    fn serialize_none(self) -> Result<(), Refusal> {
        self.0.null()
    }

    #[inline]
    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refusal> {
        value.serialize(self)
    }

    #[inline]
    fn serialize_unit(self) -> Result<(), Refusal> {
        self.0.null()
    }

    #[inline]
    fn serialize_unit_struct(self, _: &'static str) -> Result<(), Refusal> {
        self.0.null()
    }

    #[inline]
    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Refusal> {
        self.0.text(variant)
    }

    #[inline]
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        self.0.marked(name, value)
    }

    #[inline]
    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        self.0.variant(variant, value)
    }

    #[inline]
    fn serialize_seq(self, length: Option<usize>) -> Result<D::Seq, Refusal> {
        self.0.seq(length)
    }

    #[inline]
    fn serialize_tuple(self, length: usize) -> Result<D::Tuple, Refusal> {
        self.0.tuple(length)
    }

    #[inline]
    fn serialize_tuple_struct(self, _: &'static str, length: usize) -> Result<D::Tuple, Refusal> {
        self.0.tuple(length)
    }

    #[inline]
    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<D::Tuple, Refusal> {
        self.0.tuple_variant(variant, length)
    }

    #[inline]
    fn serialize_map(self, _: Option<usize>) -> Result<D::Object, Refusal> {
        self.0.object()
    }

    #[inline]
    fn serialize_struct(self, name: &'static str, _: usize) -> Result<Fields<D>, Refusal> {
        if name == RAW_VALUE || name == RAW_NUMBER {
            return Ok(Fields::Raw(Some(self.0)));
        }
        self.0.object().map(Fields::Object)
    }

    #[inline]
    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
        _: usize,
    ) -> Result<Fields<D>, Refusal> {
        self.0.object_variant(variant).map(Fields::Object)
    }

    #[inline]
    fn is_human_readable(&self) -> bool {
        D::IS_HUMAN_READABLE
    }
}

/// The fields of a struct, or serde_json's way of handing over raw JSON.
pub(super) enum Fields<D: Destination> {
    Object(D::Object),
    Raw(Option<D>),
}

macro_rules! struct_fields {
    ($($trait:ident),*) => {
        $(impl<D: Destination> $trait for Fields<D> {
            type Ok = ();
            type Error = Refusal;

            #[inline]
            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refusal> {
                match self {
                    Fields::Object(object) => object.entry(name, value),
                    Fields::Raw(destination) => match destination.take() {
                        Some(destination) => write_again(value, destination),
                        None => refuse("raw JSON must be one text"),
                    },
                }
            }

            #[inline]
            fn end(self) -> Result<(), Refusal> {
                match self {
                    Fields::Object(object) => object.end(),
                    Fields::Raw(_) => Ok(()),
                }
            }
        })*
    };
}

struct_fields! { SerializeStruct, SerializeStructVariant }

/// serde knows four kinds of list, which a document writes alike. Implements them for `$parts`:
/// method `$element` writes an element, `$end` ends the list.
macro_rules! list_parts {
    ($parts:ty, $element:ident, $end:ident) => {
        $crate::document::serializer::list_parts! {
            $parts, $element, $end;
            SerializeSeq::serialize_element,
            SerializeTuple::serialize_element,
            SerializeTupleStruct::serialize_field,
            SerializeTupleVariant::serialize_field
        }
    };
    ($parts:ty, $element:ident, $end:ident; $($trait:ident::$method:ident),*) => {
        $(impl serde::ser::$trait for $parts {
            type Ok = ();
            type Error = $crate::document::refusal::Refusal;

            fn $method<T: serde::Serialize + ?Sized>(
                &mut self,
                value: &T,
            ) -> Result<(), $crate::document::refusal::Refusal> {
                self.$element(value)
            }

            fn end(self) -> Result<(), $crate::document::refusal::Refusal> {
                self.$end()
            }
        })*
    };
}

pub(super) use list_parts;
