//! Documents as values of Rust. A thread that is not attached to the interpreter can write them.

use std::fmt;

use bytes::Bytes;
use clientlet::Tensor;
use serde::ser::{
    self, Impossible, Serialize, SerializeMap, SerializeSeq, SerializeTuple, Serializer,
};

/// A document, or a value in it, taken out of Python's objects.
pub(crate) enum Tree {
    Null,
    Bool(bool),
    Signed(i64),
    Unsigned(u64),
    Real(f64),
    Text(Box<str>),
    Bytes(Bytes),
    List(Vec<Tree>),
    Map(Vec<(Box<str>, Tree)>),
    Tensor(Tensor),
}

/// How many bytes of text cost as much as a number, when JSON is written.
const BYTES_OF_A_NUMBER: usize = 16;

impl Tree {
    /// Takes a document out of Python's objects.
    ///
    /// # Errors
    /// If it cannot be sent. Writing the document itself says why.
    pub(crate) fn of<T: Serialize + ?Sized>(document: &T) -> Result<Tree, Unsendable> {
        document.serialize(Growing)
    }

    /// Returns about how much it costs to write this as JSON, in numbers.
    pub(crate) fn weight(&self) -> usize {
        match self {
            Tree::Null | Tree::Bool(_) | Tree::Signed(_) | Tree::Unsigned(_) | Tree::Real(_) => 1,
            Tree::Text(text) => text.len() / BYTES_OF_A_NUMBER,
            Tree::Bytes(bytes) => bytes.len() / BYTES_OF_A_NUMBER,
            Tree::List(list) => list.iter().map(Tree::weight).sum(),
            Tree::Map(map) => map.iter().map(|(_, value)| value.weight()).sum(),
            Tree::Tensor(tensor) => tensor.buffer().len() / tensor.dtype().size(),
        }
    }
}

impl Serialize for Tree {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            Tree::Null => s.serialize_unit(),
            Tree::Bool(b) => s.serialize_bool(*b),
            Tree::Signed(n) => s.serialize_i64(*n),
            Tree::Unsigned(n) => s.serialize_u64(*n),
            Tree::Real(n) => s.serialize_f64(*n),
            Tree::Text(text) => s.serialize_str(text),
            Tree::Bytes(bytes) => s.serialize_bytes(bytes),
            Tree::List(list) => s.collect_seq(list),
            Tree::Map(map) => s.collect_map(map.iter().map(|(name, value)| (name, value))),
            Tree::Tensor(tensor) => tensor.serialize(s),
        }
    }
}

/// Why there is no tree.
#[derive(Debug)]
pub(crate) struct Unsendable;

impl fmt::Display for Unsendable {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("it cannot be sent")
    }
}

impl std::error::Error for Unsendable {}

impl ser::Error for Unsendable {
    fn custom<T: fmt::Display>(_: T) -> Unsendable {
        Unsendable
    }
}

/// Takes the kinds of values that are made of Python's objects (`read.rs`, `columns.rs`).
#[derive(Clone, Copy)]
struct Growing;

macro_rules! refused {
    ($($method:ident($($type:ty),*);)*) => {
        $(fn $method(self, $(_: $type),*) -> Result<Tree, Unsendable> {
            Err(Unsendable)
        })*
    };
}

impl Serializer for Growing {
    type Ok = Tree;
    type Error = Unsendable;
    type SerializeSeq = List;
    type SerializeTuple = List;
    type SerializeTupleStruct = Impossible<Tree, Unsendable>;
    type SerializeTupleVariant = Impossible<Tree, Unsendable>;
    type SerializeMap = Map;
    type SerializeStruct = Impossible<Tree, Unsendable>;
    type SerializeStructVariant = Impossible<Tree, Unsendable>;

    fn serialize_unit(self) -> Result<Tree, Unsendable> {
        Ok(Tree::Null)
    }

    fn serialize_none(self) -> Result<Tree, Unsendable> {
        Ok(Tree::Null)
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<Tree, Unsendable> {
        value.serialize(self)
    }

    fn serialize_bool(self, b: bool) -> Result<Tree, Unsendable> {
        Ok(Tree::Bool(b))
    }

    fn serialize_i64(self, n: i64) -> Result<Tree, Unsendable> {
        Ok(Tree::Signed(n))
    }

    fn serialize_u64(self, n: u64) -> Result<Tree, Unsendable> {
        Ok(Tree::Unsigned(n))
    }

    fn serialize_f64(self, n: f64) -> Result<Tree, Unsendable> {
        Ok(Tree::Real(n))
    }

    fn serialize_str(self, text: &str) -> Result<Tree, Unsendable> {
        Ok(Tree::Text(text.into()))
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<Tree, Unsendable> {
        Ok(Tree::Bytes(Bytes::copy_from_slice(bytes)))
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<List, Unsendable> {
        Ok(List(Vec::with_capacity(length.unwrap_or(0))))
    }

    fn serialize_tuple(self, length: usize) -> Result<List, Unsendable> {
        self.serialize_seq(Some(length))
    }

    fn serialize_map(self, length: Option<usize>) -> Result<Map, Unsendable> {
        Ok(Map(Vec::with_capacity(length.unwrap_or(0)), None))
    }

    /// The only one is a tensor, which gives its parts to formats that are not human-readable.
    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        value: &T,
    ) -> Result<Tree, Unsendable> {
        let Tree::List(parts) = value.serialize(self)? else { return Err(Unsendable) };
        let Ok([Tree::Text(dtype), Tree::List(shape), Tree::Bytes(elements)]) =
            <[Tree; 3]>::try_from(parts)
        else {
            return Err(Unsendable);
        };
        let length = |tree: &Tree| match tree {
            Tree::Unsigned(length) => usize::try_from(*length).map_err(|_| Unsendable),
            _ => Err(Unsendable),
        };
        let shape: Vec<usize> = shape.iter().map(length).collect::<Result<_, _>>()?;
        let dtype = dtype.parse().map_err(|_| Unsendable)?;
        Tensor::from_buffer(dtype, &shape, elements).map(Tree::Tensor).map_err(|_| Unsendable)
    }

    fn is_human_readable(&self) -> bool {
        false
    }

    refused! {
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32);
        serialize_f32(f32); serialize_char(char);
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: &T,
    ) -> Result<Tree, Unsendable> {
        Err(Unsendable)
    }

    fn serialize_tuple_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleStruct, Unsendable> {
        Err(Unsendable)
    }

    fn serialize_tuple_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeTupleVariant, Unsendable> {
        Err(Unsendable)
    }

    fn serialize_struct(
        self,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStruct, Unsendable> {
        Err(Unsendable)
    }

    fn serialize_struct_variant(
        self,
        _: &'static str,
        _: u32,
        _: &'static str,
        _: usize,
    ) -> Result<Self::SerializeStructVariant, Unsendable> {
        Err(Unsendable)
    }
}

struct List(Vec<Tree>);

impl SerializeSeq for List {
    type Ok = Tree;
    type Error = Unsendable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsendable> {
        self.0.push(value.serialize(Growing)?);
        Ok(())
    }

    fn end(self) -> Result<Tree, Unsendable> {
        Ok(Tree::List(self.0))
    }
}

impl SerializeTuple for List {
    type Ok = Tree;
    type Error = Unsendable;

    fn serialize_element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsendable> {
        SerializeSeq::serialize_element(self, value)
    }

    fn end(self) -> Result<Tree, Unsendable> {
        SerializeSeq::end(self)
    }
}

/// The entries so far, and the name of the next one.
struct Map(Vec<(Box<str>, Tree)>, Option<Box<str>>);

impl SerializeMap for Map {
    type Ok = Tree;
    type Error = Unsendable;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, name: &T) -> Result<(), Unsendable> {
        let Tree::Text(name) = name.serialize(Growing)? else { return Err(Unsendable) };
        self.1 = Some(name);
        Ok(())
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Unsendable> {
        let name = self.1.take().ok_or(Unsendable)?;
        self.0.push((name, value.serialize(Growing)?));
        Ok(())
    }

    fn end(self) -> Result<Tree, Unsendable> {
        Ok(Tree::Map(self.0))
    }
}
