//! Any serde type to the JSON that a gateway reads, straight to bytes.
//!
//! serde_json would do but for three things that a gateway loses without a word: NaN and infinity
//! (null), fields that a v1 document does not have (dropped), and bytes (a list of numbers).

use std::fmt;

use serde::Serialize;
use serde::ser::{self, Impossible, SerializeMap as _, Serializer};
use serde_json::ser::{CompactFormatter, Formatter};

use super::blob::{BLOB, check_base64, write_base64};
use super::model::is_v1_field;
use super::raw::{RAW_NUMBER, RAW_VALUE};
use crate::message::DocArray;

/// Why a document cannot be sent, and where in it.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct EncodeError {
    /// The field, `embedding[3]` or `tags.price`; empty for the document as a whole.
    pub(crate) path: String,
    pub(crate) message: String,
}

impl fmt::Display for EncodeError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.path.as_str() {
            "" => f.write_str(&self.message),
            path => write!(f, "{path}: {}", self.message),
        }
    }
}

/// Writes documents for one generation of gateways.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Encoder {
    docarray: DocArray,
}

impl Encoder {
    pub(crate) fn new(docarray: DocArray) -> Encoder {
        Encoder { docarray }
    }

    /// Appends a document to `out`, which is left as it was on an error.
    pub(crate) fn document<T: Serialize + ?Sized>(
        self,
        document: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.write(Slot::Document, document, out)
    }

    /// Appends a map without rules of its own: parameters.
    pub(crate) fn map<T: Serialize + ?Sized>(
        self,
        map: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        self.write(Slot::Map, map, out)
    }

    fn write<T: Serialize + ?Sized>(
        self,
        slot: Slot,
        value: &T,
        out: &mut Vec<u8>,
    ) -> Result<(), EncodeError> {
        let start = out.len();
        value.serialize(&mut Json::new(self.docarray, slot, out)).map_err(|refusal| {
            out.truncate(start);
            EncodeError { path: refusal.path(), message: refusal.0.message }
        })
    }
}

/// What may stand where a value is written.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Slot {
    /// A document: an object, in v1 of known fields.
    Document,
    /// A list of documents, or null.
    Documents,
    /// An object.
    Map,
    /// Text that is base64, or null (v1).
    Blob,
    /// A part of a tensor at this depth (v1).
    Tensor(usize),
    /// Anything.
    Free,
}

/// The first thing that was wrong, and the way to it, which is noted from the inside out while the
/// error is on its way back. Boxed, so that success pays nothing for it.
#[derive(Debug)]
struct Refusal(Box<Wrong>);

#[derive(Debug)]
struct Wrong {
    message: String,
    way: Vec<Step>,
}

#[derive(Debug)]
enum Step {
    Field(String),
    Index(usize),
}

impl Refusal {
    fn new(message: String) -> Refusal {
        Refusal(Box::new(Wrong { message, way: Vec::new() }))
    }

    fn at(mut self, step: Step) -> Refusal {
        self.0.way.push(step);
        self
    }

    fn path(&self) -> String {
        let mut path = String::new();
        for step in self.0.way.iter().rev() {
            match step {
                Step::Index(index) => path.push_str(&format!("[{index}]")),
                Step::Field(name) if path.is_empty() => path.push_str(name),
                Step::Field(name) => path.push_str(&format!(".{name}")),
            }
        }
        path
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.message)
    }
}

impl std::error::Error for Refusal {}

impl ser::Error for Refusal {
    fn custom<T: fmt::Display>(message: T) -> Refusal {
        Refusal::new(message.to_string())
    }
}

fn refuse<T>(message: impl Into<String>) -> Result<T, Refusal> {
    Err(Refusal::new(message.into()))
}

struct Json<'o> {
    docarray: DocArray,
    slot: Slot,
    out: &'o mut Vec<u8>,
    /// Whether the last name written is that of a v1 document's content.
    is_content: bool,
    /// The tensor being written: where its numbers stand and how long its lists are, by depth.
    leaves: Option<usize>,
    lengths: Vec<Option<usize>>,
}

impl<'o> Json<'o> {
    fn new(docarray: DocArray, slot: Slot, out: &'o mut Vec<u8>) -> Json<'o> {
        Json { docarray, slot, out, is_content: false, leaves: None, lengths: Vec::new() }
    }

    /// A value that is neither object nor list; `what` says what it is.
    fn scalar(&mut self, what: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Free => Ok(()),
            Slot::Document => refuse(format!("a document must be an object, not {what}")),
            Slot::Map => refuse(format!("parameters must be an object, not {what}")),
            Slot::Documents => refuse(format!("here must be a list of documents, not {what}")),
            Slot::Blob => refuse(format!("a blob must be base64 text, not {what}")),
            Slot::Tensor(_) => refuse(format!("a tensor is made of numbers, not {what}")),
        }
    }

    fn number(&mut self) -> Result<(), Refusal> {
        match self.slot {
            Slot::Tensor(depth) if *self.leaves.get_or_insert(depth) == depth => Ok(()),
            Slot::Tensor(_) => refuse("the lists of a tensor are not all equally deep"),
            _ => self.scalar("a number"),
        }
    }

    fn null(&mut self) -> Result<(), Refusal> {
        match self.slot {
            Slot::Document | Slot::Map => self.scalar("null")?,
            Slot::Tensor(1..) => refuse("a tensor is made of numbers, not null")?,
            Slot::Documents | Slot::Blob | Slot::Tensor(0) | Slot::Free => {}
        }
        self.out.extend_from_slice(b"null");
        Ok(())
    }

    fn text(&mut self, text: &str) -> Result<(), Refusal> {
        match self.slot {
            Slot::Free => {}
            Slot::Blob => check_base64(text)?,
            _ => self.scalar("text")?,
        }
        self.quoted(text);
        Ok(())
    }

    fn quoted(&mut self, text: &str) {
        serde_json::to_writer(&mut *self.out, text).expect("writing text to memory cannot fail");
    }

    fn list(&mut self, length: Option<usize>) -> Result<Parts<'_, 'o>, Refusal> {
        let slot = match self.slot {
            Slot::Free => Slot::Free,
            Slot::Documents => Slot::Document,
            Slot::Tensor(depth) => {
                if self.leaves.is_some_and(|leaves| leaves <= depth) {
                    return refuse("the lists of a tensor are not all equally deep");
                }
                if self.lengths.len() <= depth {
                    self.lengths.resize(depth + 1, None);
                }
                Slot::Tensor(depth + 1)
            }
            Slot::Document | Slot::Map | Slot::Blob => {
                self.scalar("a list")?;
                Slot::Free
            }
        };
        // Numbers take some bytes each: one growth instead of many.
        self.out.reserve(length.unwrap_or(0).min(1 << 16) * 2);
        self.out.push(b'[');
        Ok(Parts {
            slot: std::mem::replace(&mut self.slot, slot),
            json: self,
            count: 0,
            ends: 1,
            key_start: 0,
            has_content: false,
        })
    }

    fn object(&mut self) -> Result<Parts<'_, 'o>, Refusal> {
        match self.slot {
            Slot::Free | Slot::Document | Slot::Map => {}
            Slot::Documents | Slot::Blob | Slot::Tensor(_) => self.scalar("an object")?,
        }
        self.out.push(b'{');
        Ok(Parts {
            slot: self.slot,
            json: self,
            count: 0,
            ends: 1,
            key_start: 0,
            has_content: false,
        })
    }

    /// `{"Variant":` of an enum, before its content.
    fn variant(&mut self, variant: &'static str) -> Result<Slot, Refusal> {
        let slot = self.object()?.slot;
        self.key(slot, variant)?;
        Ok(slot)
    }

    /// Writes the name of a field of an object in `slot`, and notes what may stand behind it.
    fn key(&mut self, slot: Slot, name: &str) -> Result<(), Refusal> {
        self.slot = Slot::Free;
        self.is_content = false;
        if slot == Slot::Document && self.docarray == DocArray::V1 {
            self.is_content = matches!(name, "text" | "blob" | "tensor");
            self.slot = match name {
                "chunks" | "matches" => Slot::Documents,
                "blob" => Slot::Blob,
                "tensor" | "embedding" => {
                    self.leaves = None;
                    self.lengths.clear();
                    Slot::Tensor(0)
                }
                _ if is_v1_field(name) => Slot::Free,
                _ => {
                    return refuse(format!(
                        "a v1 document has no field {name:?}; what is not in its schema belongs into \"tags\""
                    ));
                }
            };
        }
        self.quoted(name);
        self.out.push(b':');
        Ok(())
    }
}

macro_rules! whole_numbers {
    ($($method:ident($type:ty) => $write:ident;)*) => {
        $(fn $method(self, n: $type) -> Result<(), Refusal> {
            self.number()?;
            CompactFormatter.$write(&mut self.out, n).map_err(ser::Error::custom)
        })*
    };
}

macro_rules! real_numbers {
    ($($method:ident($type:ty) => $write:ident;)*) => {
        $(fn $method(self, n: $type) -> Result<(), Refusal> {
            if !n.is_finite() {
                return refuse(format!("{n} cannot be sent as JSON"));
            }
            self.number()?;
            CompactFormatter.$write(&mut self.out, n).map_err(ser::Error::custom)
        })*
    };
}

impl<'j, 'o> Serializer for &'j mut Json<'o> {
    type Ok = ();
    type Error = Refusal;
    type SerializeSeq = Parts<'j, 'o>;
    type SerializeTuple = Parts<'j, 'o>;
    type SerializeTupleStruct = Parts<'j, 'o>;
    type SerializeTupleVariant = Parts<'j, 'o>;
    type SerializeMap = Parts<'j, 'o>;
    type SerializeStruct = Fields<'j, 'o>;
    type SerializeStructVariant = Fields<'j, 'o>;

    whole_numbers! {
        serialize_i8(i8) => write_i8;
        serialize_i16(i16) => write_i16;
        serialize_i32(i32) => write_i32;
        serialize_i64(i64) => write_i64;
        serialize_i128(i128) => write_i128;
        serialize_u8(u8) => write_u8;
        serialize_u16(u16) => write_u16;
        serialize_u32(u32) => write_u32;
        serialize_u64(u64) => write_u64;
        serialize_u128(u128) => write_u128;
    }

    real_numbers! {
        serialize_f32(f32) => write_f32;
        serialize_f64(f64) => write_f64;
    }

    fn serialize_bool(self, b: bool) -> Result<(), Refusal> {
        if !matches!(self.slot, Slot::Tensor(_)) {
            self.scalar("a boolean")?;
        }
        self.out.extend_from_slice(if b { b"true" } else { b"false" });
        Ok(())
    }

    fn serialize_char(self, c: char) -> Result<(), Refusal> {
        self.text(c.encode_utf8(&mut [0; 4]))
    }

    fn serialize_str(self, text: &str) -> Result<(), Refusal> {
        self.text(text)
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        if !matches!(self.slot, Slot::Blob | Slot::Free) {
            self.scalar("bytes")?;
        }
        match self.docarray {
            DocArray::V1 => {
                self.out.push(b'"');
                write_base64(bytes, self.out);
                self.out.push(b'"');
            }
            DocArray::V2 => match std::str::from_utf8(bytes) {
                Ok(text) => self.quoted(text),
                Err(_) => {
                    return refuse(
                        "bytes that are not UTF-8 cannot be sent as JSON to a v2 gateway",
                    );
                }
            },
        }
        Ok(())
    }

    fn serialize_none(self) -> Result<(), Refusal> {
        self.null()
    }

    fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<(), Refusal> {
        value.serialize(self)
    }

    fn serialize_unit(self) -> Result<(), Refusal> {
        self.null()
    }

    fn serialize_unit_struct(self, _name: &'static str) -> Result<(), Refusal> {
        self.null()
    }

    fn serialize_unit_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
    ) -> Result<(), Refusal> {
        self.text(variant)
    }

    fn serialize_newtype_struct<T: Serialize + ?Sized>(
        self,
        name: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        if name == BLOB { value.serialize(BlobContent(self)) } else { value.serialize(self) }
    }

    fn serialize_newtype_variant<T: Serialize + ?Sized>(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        value: &T,
    ) -> Result<(), Refusal> {
        let slot = self.variant(variant)?;
        value.serialize(&mut *self)?;
        self.slot = slot;
        self.out.push(b'}');
        Ok(())
    }

    fn serialize_seq(self, length: Option<usize>) -> Result<Parts<'j, 'o>, Refusal> {
        self.list(length)
    }

    fn serialize_tuple(self, length: usize) -> Result<Parts<'j, 'o>, Refusal> {
        self.list(Some(length))
    }

    fn serialize_tuple_struct(
        self,
        _name: &'static str,
        length: usize,
    ) -> Result<Parts<'j, 'o>, Refusal> {
        self.list(Some(length))
    }

    fn serialize_tuple_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        length: usize,
    ) -> Result<Parts<'j, 'o>, Refusal> {
        let slot = self.variant(variant)?;
        Ok(Parts { slot, ends: 2, ..self.list(Some(length))? })
    }

    fn serialize_map(self, _length: Option<usize>) -> Result<Parts<'j, 'o>, Refusal> {
        self.object()
    }

    fn serialize_struct(
        self,
        name: &'static str,
        _length: usize,
    ) -> Result<Fields<'j, 'o>, Refusal> {
        if name == RAW_VALUE || name == RAW_NUMBER {
            return Ok(Fields::Raw(self));
        }
        Ok(Fields::Object(self.object()?))
    }

    fn serialize_struct_variant(
        self,
        _name: &'static str,
        _index: u32,
        variant: &'static str,
        _length: usize,
    ) -> Result<Fields<'j, 'o>, Refusal> {
        let slot = self.variant(variant)?;
        Ok(Fields::Object(Parts { slot, ends: 2, ..self.object()? }))
    }
}

/// A list or an object while its parts are written.
struct Parts<'j, 'o> {
    json: &'j mut Json<'o>,
    /// Where the whole stands.
    slot: Slot,
    count: usize,
    /// How many brackets end it: 2 for the content of an enum's variant.
    ends: u8,
    /// Where the name of the last entry was written.
    key_start: usize,
    /// Whether a v1 document has one of the fields that exclude each other.
    has_content: bool,
}

impl Parts<'_, '_> {
    fn comma(&mut self) {
        if self.count > 0 {
            self.json.out.push(b',');
        }
        self.count += 1;
    }

    fn element<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        self.comma();
        let index = self.count - 1;
        value.serialize(&mut *self.json).map_err(|refusal| refusal.at(Step::Index(index)))
    }

    fn field<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refusal> {
        self.comma();
        self.key_start = self.json.out.len();
        self.json.key(self.slot, name)?;
        self.value(value)
    }

    /// The value of the entry whose name stands at `key_start`.
    fn value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        let is_content = self.json.is_content;
        let start = self.json.out.len();
        let written = value.serialize(&mut *self.json);
        written.map_err(|refusal| refusal.at(Step::Field(self.name_at(self.key_start))))?;
        // A v1 gateway reads empty text as none.
        if is_content && !matches!(&self.json.out[start..], b"null" | b"\"\"") {
            if self.has_content {
                return refuse(
                    "text, blob and tensor exclude each other in a v1 document: all but one of \
                     them would be lost",
                );
            }
            self.has_content = true;
        }
        Ok(())
    }

    /// The name of the entry whose value failed, read back from what was written.
    fn name_at(&self, start: usize) -> String {
        let mut names =
            serde_json::Deserializer::from_slice(&self.json.out[start..]).into_iter::<String>();
        names.next().and_then(Result::ok).unwrap_or_default()
    }

    fn close_list(self) -> Result<(), Refusal> {
        if let Slot::Tensor(depth) = self.slot {
            let length = *self.json.lengths[depth].get_or_insert(self.count);
            if length != self.count {
                return refuse(format!(
                    "the lists of a tensor differ in length: {length} and {} at depth {depth}",
                    self.count
                ));
            }
        }
        self.close(b']')
    }

    fn close(self, bracket: u8) -> Result<(), Refusal> {
        self.json.slot = self.slot;
        self.json.out.push(bracket);
        if self.ends == 2 {
            self.json.out.push(b'}');
        }
        Ok(())
    }
}

macro_rules! list_parts {
    ($($trait:ident :: $method:ident),*) => {
        $(impl ser::$trait for Parts<'_, '_> {
            type Ok = ();
            type Error = Refusal;

            fn $method<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
                self.element(value)
            }

            fn end(self) -> Result<(), Refusal> {
                self.close_list()
            }
        })*
    };
}

list_parts! {
    SerializeSeq::serialize_element,
    SerializeTuple::serialize_element,
    SerializeTupleStruct::serialize_field,
    SerializeTupleVariant::serialize_field
}

impl ser::SerializeMap for Parts<'_, '_> {
    type Ok = ();
    type Error = Refusal;

    fn serialize_key<T: Serialize + ?Sized>(&mut self, key: &T) -> Result<(), Refusal> {
        self.comma();
        self.key_start = self.json.out.len();
        key.serialize(Key { json: self.json, slot: self.slot })
    }

    fn serialize_value<T: Serialize + ?Sized>(&mut self, value: &T) -> Result<(), Refusal> {
        self.value(value)
    }

    fn end(self) -> Result<(), Refusal> {
        if self.count == 2 && self.slot == Slot::Document && self.json.docarray == DocArray::V2 {
            self.json.out.extend_from_slice(THIRD_FIELD);
        }
        self.close(b'}')
    }
}

/// A v2 gateway that finds a fault in a list of documents tries to read the list as one document,
/// and Python makes a dictionary of any list of pairs: documents of two fields each then turn
/// into one of nonsense and the answer is a success. A third field keeps the fault a fault; the
/// gateway drops what its class does not have, and no class can have a field of this name.
const THIRD_FIELD: &[u8] = b",\"_\":null";

/// The fields of a struct, or serde_json's way of handing over JSON that is written already.
enum Fields<'j, 'o> {
    Object(Parts<'j, 'o>),
    Raw(&'j mut Json<'o>),
}

impl Fields<'_, '_> {
    fn write<T: Serialize + ?Sized>(&mut self, name: &str, value: &T) -> Result<(), Refusal> {
        match self {
            Fields::Object(parts) => parts.field(name, value),
            // Read and written again, so that the rules for documents hold inside it as well.
            Fields::Raw(json) => {
                let text = value.serialize(Text)?;
                let value: super::Value =
                    serde_json::from_str(&text).map_err(ser::Error::custom)?;
                value.serialize(&mut **json)
            }
        }
    }

    fn close(self) -> Result<(), Refusal> {
        match self {
            Fields::Object(parts) => parts.end(),
            Fields::Raw(_) => Ok(()),
        }
    }
}

macro_rules! struct_fields {
    ($($trait:ident),*) => {
        $(impl ser::$trait for Fields<'_, '_> {
            type Ok = ();
            type Error = Refusal;

            fn serialize_field<T: Serialize + ?Sized>(
                &mut self,
                name: &'static str,
                value: &T,
            ) -> Result<(), Refusal> {
                self.write(name, value)
            }

            fn end(self) -> Result<(), Refusal> {
                self.close()
            }
        })*
    };
}

struct_fields! { SerializeStruct, SerializeStructVariant }

/// The methods of a serializer that takes one or two kinds of value and refuses all others.
macro_rules! refuse_others {
    ($ok:ty, $message:expr; $($method:ident($($type:ty),*);)*) => {
        type Ok = $ok;
        type Error = Refusal;
        type SerializeSeq = Impossible<$ok, Refusal>;
        type SerializeTuple = Impossible<$ok, Refusal>;
        type SerializeTupleStruct = Impossible<$ok, Refusal>;
        type SerializeTupleVariant = Impossible<$ok, Refusal>;
        type SerializeMap = Impossible<$ok, Refusal>;
        type SerializeStruct = Impossible<$ok, Refusal>;
        type SerializeStructVariant = Impossible<$ok, Refusal>;

        $(fn $method(self, $(_: $type),*) -> Result<$ok, Refusal> {
            refuse($message)
        })*

        fn serialize_some<T: Serialize + ?Sized>(self, value: &T) -> Result<$ok, Refusal> {
            value.serialize(self)
        }

        fn serialize_newtype_struct<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            value: &T,
        ) -> Result<$ok, Refusal> {
            value.serialize(self)
        }

        fn serialize_newtype_variant<T: Serialize + ?Sized>(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: &T,
        ) -> Result<$ok, Refusal> {
            refuse($message)
        }

        fn serialize_seq(self, _: Option<usize>) -> Result<Self::SerializeSeq, Refusal> {
            refuse($message)
        }

        fn serialize_tuple(self, _: usize) -> Result<Self::SerializeTuple, Refusal> {
            refuse($message)
        }

        fn serialize_tuple_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleStruct, Refusal> {
            refuse($message)
        }

        fn serialize_tuple_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeTupleVariant, Refusal> {
            refuse($message)
        }

        fn serialize_map(self, _: Option<usize>) -> Result<Self::SerializeMap, Refusal> {
            refuse($message)
        }

        fn serialize_struct(
            self,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStruct, Refusal> {
            refuse($message)
        }

        fn serialize_struct_variant(
            self,
            _: &'static str,
            _: u32,
            _: &'static str,
            _: usize,
        ) -> Result<Self::SerializeStructVariant, Refusal> {
            refuse($message)
        }
    };
}

/// Takes the name of an entry; numbers and booleans become text, as in JSON everywhere.
struct Key<'j, 'o> {
    json: &'j mut Json<'o>,
    slot: Slot,
}

macro_rules! printed_keys {
    ($($method:ident($type:ty);)*) => {
        $(fn $method(self, key: $type) -> Result<(), Refusal> {
            self.json.key(self.slot, &key.to_string())
        })*
    };
}

impl Serializer for Key<'_, '_> {
    refuse_others! { (), "the key of a map must be text";
        serialize_f32(f32); serialize_f64(f64); serialize_bytes(&[u8]); serialize_none();
        serialize_unit(); serialize_unit_struct(&'static str);
    }

    printed_keys! {
        serialize_bool(bool); serialize_char(char);
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
    }

    fn serialize_str(self, key: &str) -> Result<(), Refusal> {
        self.json.key(self.slot, key)
    }

    fn serialize_unit_variant(
        self,
        _: &'static str,
        _: u32,
        variant: &'static str,
    ) -> Result<(), Refusal> {
        self.json.key(self.slot, variant)
    }
}

/// Takes the content of a `Blob`, which gives its bytes to formats that are not for humans.
struct BlobContent<'j, 'o>(&'j mut Json<'o>);

impl Serializer for BlobContent<'_, '_> {
    refuse_others! { (), "a blob is made of bytes";
        serialize_bool(bool); serialize_char(char); serialize_str(&str); serialize_none();
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64); serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_bytes(self, bytes: &[u8]) -> Result<(), Refusal> {
        self.0.serialize_bytes(bytes)
    }

    fn is_human_readable(&self) -> bool {
        false
    }
}

/// Takes text alone.
struct Text;

impl Serializer for Text {
    refuse_others! { String, "JSON that is written already must be text";
        serialize_bool(bool); serialize_char(char); serialize_bytes(&[u8]); serialize_none();
        serialize_i8(i8); serialize_i16(i16); serialize_i32(i32); serialize_i64(i64);
        serialize_u8(u8); serialize_u16(u16); serialize_u32(u32); serialize_u64(u64);
        serialize_f32(f32); serialize_f64(f64); serialize_unit();
        serialize_unit_struct(&'static str);
        serialize_unit_variant(&'static str, u32, &'static str);
    }

    fn serialize_str(self, text: &str) -> Result<String, Refusal> {
        Ok(text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use serde_json::json;

    use super::*;
    use crate::document::{Blob, Document, NamedScore, Tensor, Value};

    fn encode<T: Serialize>(docarray: DocArray, document: &T) -> Result<String, EncodeError> {
        let mut out = b"before".to_vec();
        let result = Encoder::new(docarray).document(document, &mut out);
        let text = String::from_utf8(out).unwrap();
        let text = text.strip_prefix("before").unwrap();
        assert!(result.is_ok() || text.is_empty(), "an error leaves nothing behind");
        result.map(|()| text.to_owned())
    }

    fn refusal<T: Serialize>(docarray: DocArray, document: &T) -> String {
        encode(docarray, document).unwrap_err().to_string()
    }

    #[test]
    fn every_kind_of_serde_value_is_written_as_serde_json_writes_it() {
        #[derive(Serialize)]
        struct Unit;
        #[derive(Serialize)]
        struct Wrapped(i32);
        #[derive(Serialize)]
        struct Pair(i32, char);
        #[derive(Serialize)]
        enum Choice {
            Unit,
            Newtype(u8),
            Tuple(u8, u8),
            Struct { a: u8 },
        }
        #[derive(Serialize)]
        struct Everything {
            numbers: (i8, i16, i32, i64, u8, u16, u32, u64, f32, f64, i128),
            text: &'static str,
            unit: Unit,
            none: Option<u8>,
            some: Option<u8>,
            wrapped: Wrapped,
            pair: Pair,
            choices: Vec<Choice>,
            map: BTreeMap<i32, bool>,
            empty: [u8; 0],
        }
        let everything = Everything {
            numbers: (-1, -2, -3, -4, 1, 2, 3, u64::MAX, 0.1, 1.0 / 3.0, i128::MIN),
            text: "quote \" backslash \\ newline \n é 😀",
            unit: Unit,
            none: None,
            some: Some(1),
            wrapped: Wrapped(5),
            pair: Pair(1, 'x'),
            choices: vec![
                Choice::Unit,
                Choice::Newtype(1),
                Choice::Tuple(1, 2),
                Choice::Struct { a: 1 },
            ],
            map: BTreeMap::from([(1, true), (2, false)]),
            empty: [],
        };
        let expected = serde_json::to_string(&everything).unwrap();
        assert_eq!(encode(DocArray::V2, &everything).unwrap(), expected);
    }

    #[test]
    fn a_document_of_v1_is_written_with_what_is_set() {
        let document = Document {
            id: Some("a".into()),
            blob: Some(Blob::from(&b"hi"[..])),
            embedding: Some(Tensor::from([0.5_f32, 1.0])),
            tags: Some(BTreeMap::from([("k".into(), Value::from(1.5))])),
            scores: Some(BTreeMap::from([(
                "cos".into(),
                NamedScore { value: Some(0.75), ..NamedScore::default() },
            )])),
            chunks: Some(vec![Document::text("chunk")]),
            ..Document::default()
        };
        assert_eq!(
            encode(DocArray::V1, &document).unwrap(),
            r#"{"id":"a","blob":"aGk=","tags":{"k":1.5},"embedding":[0.5,1.0],"#.to_owned()
                + r#""scores":{"cos":{"value":0.75}},"chunks":[{"text":"chunk"}]}"#
        );
    }

    #[test]
    fn not_a_number_is_refused_by_field_and_index() {
        #[derive(Serialize)]
        struct Item {
            embedding: Vec<f32>,
        }
        let item = Item { embedding: vec![1.0, f32::NAN] };
        for docarray in [DocArray::V1, DocArray::V2] {
            assert_eq!(refusal(docarray, &item), "embedding[1]: NaN cannot be sent as JSON");
        }
        let tensor =
            Document { tensor: Some(Tensor::from([f64::INFINITY])), ..Document::default() };
        assert_eq!(refusal(DocArray::V1, &tensor), "tensor[0]: inf cannot be sent as JSON");
    }

    #[test]
    fn v1_refuses_what_its_gateway_would_lose() {
        let cases = [
            (json!({"txet": "typo"}), "has no field \"txet\""),
            (json!({"chunks": [{"id": "c"}, {"x": 1}]}), "chunks[1]"),
            (json!({"blob": "not base64"}), "blob: invalid base64"),
            (json!({"blob": [1, 2]}), "blob: a blob must be base64 text, not a list"),
            (json!({"tensor": [[1, 2], [3]]}), "tensor[1]: the lists of a tensor differ in length"),
            (json!({"tensor": [1, [2]]}), "tensor[1]: the lists of a tensor are not all equally"),
            (json!({"embedding": [1, null]}), "embedding[1]: a tensor is made of numbers"),
            (json!({"embedding": "x"}), "embedding: a tensor is made of numbers, not text"),
            (json!({"matches": 5}), "matches: here must be a list of documents, not a number"),
            (json!({"matches": [5]}), "matches[0]: a document must be an object, not a number"),
            (json!({"text": "t", "tensor": [1]}), "exclude each other"),
            (json!({"chunks": [{"blob": "aGk=", "text": "t"}]}), "chunks[0]: text, blob"),
            (json!([1]), "a document must be an object, not a list"),
            (json!(null), "a document must be an object, not null"),
        ];
        for (document, expected) in cases {
            let message = refusal(DocArray::V1, &document);
            assert!(message.contains(expected), "{document}: {message}");
        }
    }

    #[test]
    fn two_tensors_in_one_document_have_shapes_of_their_own() {
        let document = json!({"tensor": [[1, 2]], "embedding": [1, 2, 3], "blob": null,
            "chunks": [{"tensor": [1]}, {"tensor": [[1], [2]]}], "matches": null});
        assert!(encode(DocArray::V1, &document).is_ok());
    }

    #[test]
    fn content_that_is_not_set_excludes_nothing() {
        let document = json!({"text": "", "blob": null, "tensor": [1], "chunks": [{"text": "t"}]});
        assert!(encode(DocArray::V1, &document).is_ok());
    }

    #[test]
    fn a_v2_document_never_has_two_fields() {
        let written = |document: Value| encode(DocArray::V2, &document).unwrap();
        let two = Value::from(BTreeMap::from([("a".into(), 1.into()), ("b".into(), 2.into())]));
        assert_eq!(written(two), r#"{"a":1,"b":2,"_":null}"#);
        #[derive(Serialize)]
        struct Two {
            id: &'static str,
            part: (u8, u8),
        }
        let two = Two { id: "x", part: (1, 2) };
        assert_eq!(encode(DocArray::V2, &two).unwrap(), r#"{"id":"x","part":[1,2],"_":null}"#);
    }

    #[test]
    fn v2_takes_any_object_and_only_text_as_bytes() {
        let free = json!({"anything": {"goes": [1, [2]]}, "blob": "text", "more": null});
        assert_eq!(encode(DocArray::V2, &free).unwrap(), free.to_string());
        #[derive(Serialize)]
        struct Item {
            blob: Blob,
        }
        let text = Item { blob: Blob::from(&b"plain"[..]) };
        assert_eq!(encode(DocArray::V2, &text).unwrap(), r#"{"blob":"plain"}"#);
        let binary = Item { blob: Blob::from(&b"\xff"[..]) };
        let message = refusal(DocArray::V2, &binary);
        assert!(message.starts_with("blob: bytes that are not UTF-8"), "{message}");
        assert!(refusal(DocArray::V2, &"text").contains("must be an object, not text"));
    }

    #[test]
    fn json_that_is_written_already_is_checked_like_any_other() {
        let raw = |text: &str| serde_json::value::RawValue::from_string(text.into()).unwrap();
        assert_eq!(encode(DocArray::V1, &raw(r#"{"id": "a"}"#)).unwrap(), r#"{"id":"a"}"#);
        assert!(refusal(DocArray::V1, &raw(r#"{"x": 1}"#)).contains("has no field \"x\""));
    }
}
