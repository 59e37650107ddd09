//! The class of the documents that a type reads, found by letting the type read samples.
//!
//! serde tells a format what a type wants to read: a struct names its fields, and each field asks for
//! text, a number, a list. So the type is asked to read itself, and what it asks for is noted. A type
//! that refuses a sample is asked again with the next one, or without the field, until nothing new can
//! be learned. Then each field is left out once, which shows whether the type can do without it.

use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeOwned, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess,
    SeqAccess, VariantAccess, Visitor,
};

use super::{Field, Kind, Presence, Schema};
use crate::value::{BLOB, TENSOR, Value};

/// Texts, one of which most types take that read themselves from text.
const TEXTS: [&str; 8] = [
    "",
    "0",
    "2000-01-01T00:00:00Z",
    "2000-01-01",
    "00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "http://localhost/",
    "127.0.0.1",
];
/// The most samples of one kind.
const MOST_SAMPLES: usize = TEXTS.len();
/// How often a type is asked. A field needs a few times.
const MOST_PASSES: usize = 10_000;
/// The levels of types within types that are looked at; deeper ones may hold anything.
const DEEPEST: usize = 16;

pub(super) fn schema<T: DeserializeOwned>() -> Schema {
    let notes = Notes::default();
    for _ in 0..MOST_PASSES {
        match T::deserialize(Probe { notes: &notes, path: Path::new() }) {
            Err(refusal) if refusal.is_progress => {}
            Ok(_) | Err(_) => break,
        }
    }
    for (path, name) in notes.required_so_far() {
        *notes.left_out.borrow_mut() = Some((path.clone(), name));
        let is_missed = match T::deserialize(Probe { notes: &notes, path: Path::new() }) {
            Ok(_) => false,
            // Fields are missed in their order.
            Err(refusal) => match refusal.missing {
                Some((at, missed)) if at == path => !notes.is_behind(&path, missed, name),
                _ => true,
            },
        };
        notes.left_out.borrow_mut().take();
        let mut field = path;
        field.push(Step::Field(name));
        notes.change(&field, |note| note.may_be_missing = !is_missed);
    }
    notes.class(&Path::new(), 0).unwrap_or_else(Schema::open)
}

/// Where in a type a value stands.
type Path = Vec<Step>;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
enum Step {
    Field(&'static str),
    Element,
    Value,
}

/// What a type asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Asked {
    Plain(Plain),
    List,
    Map,
    Struct(&'static str, &'static [&'static str]),
    /// A struct that is the one around it.
    Own,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Plain {
    Text,
    Bytes,
    Integer,
    Float,
    Boolean,
    Array,
    Any,
}

/// What is known of the value at a path.
#[derive(Clone, Debug, Default)]
struct Note {
    asked: Option<Asked>,
    is_option: bool,
    may_be_missing: bool,
    /// The sample that is given next.
    sample: usize,
    /// No sample is taken: an option is none, a list or map empty, a field left out.
    is_given_up: bool,
    /// A variant of an enum has content.
    has_content: bool,
}

#[derive(Default)]
struct Notes {
    notes: RefCell<BTreeMap<Path, Note>>,
    /// The field that the struct at this path is not given.
    left_out: RefCell<Option<(Path, &'static str)>>,
}

impl Notes {
    fn at(&self, path: &Path) -> Note {
        self.notes.borrow().get(path).cloned().unwrap_or_default()
    }

    fn change(&self, path: &Path, change: impl FnOnce(&mut Note)) {
        change(self.notes.borrow_mut().entry(path.clone()).or_default());
    }

    /// Notes what is asked for. Two kinds at one path, as in a tuple, may be anything.
    fn ask(&self, path: &Path, asked: Asked) {
        self.change(path, |note| match note.asked {
            Some(before) if before != asked => note.asked = Some(Asked::Plain(Plain::Any)),
            _ => note.asked = Some(asked),
        });
    }

    /// The fields of all structs that are no options.
    fn required_so_far(&self) -> Vec<(Path, &'static str)> {
        let notes = self.notes.borrow();
        let structs = notes.iter().filter_map(|(path, note)| match note.asked {
            Some(Asked::Struct(_, fields)) => Some((path, fields)),
            _ => None,
        });
        structs
            .flat_map(|(path, fields)| fields.iter().map(|name| (path.clone(), *name)))
            .filter(|(path, name)| {
                let mut field = path.clone();
                field.push(Step::Field(name));
                notes.get(&field).is_some_and(|note| !note.is_option)
            })
            .collect()
    }

    /// Whether a field of the struct at a path stands behind another.
    fn is_behind(&self, path: &Path, field: &str, other: &str) -> bool {
        let Some(Asked::Struct(_, fields)) = self.at(path).asked else { return false };
        let place = |name| fields.iter().position(|field| *field == name);
        place(field) > place(other)
    }

    /// The class of the struct at a path; `None` if there is none.
    fn class(&self, path: &Path, depth: usize) -> Option<Schema> {
        let Some(Asked::Struct(name, fields)) = self.at(path).asked else { return None };
        let class =
            fields.iter().filter(|name| **name != "id").fold(Schema::new(name), |class, name| {
                let mut field = path.clone();
                field.push(Step::Field(name));
                let kind = self.kind(&field, depth + 1);
                let note = self.at(&field);
                let presence = if note.is_option {
                    Presence::Optional
                } else if note.may_be_missing {
                    empty(&kind).map_or(Presence::Optional, Presence::Default)
                } else {
                    Presence::Required
                };
                class.field(*name, Field { kind, presence })
            });
        Some(class)
    }

    fn kind(&self, path: &Path, depth: usize) -> Kind {
        let within = |step| {
            let mut inner = path.clone();
            inner.push(step);
            self.kind(&inner, depth + 1)
        };
        match self.at(path).asked {
            _ if depth >= DEEPEST => Kind::Any,
            Some(Asked::Plain(plain)) => match plain {
                Plain::Text => Kind::Text,
                Plain::Bytes => Kind::Bytes,
                Plain::Integer => Kind::Integer,
                Plain::Float => Kind::Float,
                Plain::Boolean => Kind::Boolean,
                Plain::Array => Kind::Array,
                Plain::Any => Kind::Any,
            },
            Some(Asked::Struct(..)) => match self.class(path, depth) {
                Some(class) => Kind::Document(class),
                None => Kind::Any,
            },
            Some(Asked::Own) => Kind::Own,
            Some(Asked::List) => match within(Step::Element) {
                Kind::Document(class) => Kind::Documents(class),
                Kind::Own => Kind::OwnList,
                kind => Kind::List(Box::new(kind)),
            },
            Some(Asked::Map) => Kind::Dictionary(Box::new(match within(Step::Value) {
                // Documents in dictionaries are dictionaries.
                Kind::Document(_) | Kind::Documents(_) | Kind::Own | Kind::OwnList => Kind::Any,
                kind => kind,
            })),
            None => Kind::Any,
        }
    }
}

/// What a field has that may be missing, since most types that can do without a field read it as
/// empty. serde does not tell.
fn empty(kind: &Kind) -> Option<Value> {
    Some(match kind {
        Kind::Text => Value::Text(String::new()),
        Kind::Bytes => Value::Bytes(bytes::Bytes::new()),
        Kind::Integer => Value::Integer(0),
        Kind::Float => Value::Float(0.0),
        Kind::Boolean => Value::Boolean(false),
        Kind::List(_) | Kind::Documents(_) | Kind::OwnList => Value::List(Vec::new()),
        Kind::Dictionary(_) => Value::Map(Vec::new()),
        _ => return None,
    })
}

/// Why a type did not take a sample.
#[derive(Debug, Default)]
struct Refusal {
    /// The notes have changed, so that it makes sense to ask again.
    is_progress: bool,
    /// The field that a struct misses, and where that struct stands.
    missing: Option<(Path, &'static str)>,
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the sample was refused")
    }
}

impl std::error::Error for Refusal {}

impl de::Error for Refusal {
    fn custom<T: fmt::Display>(_: T) -> Self {
        Self::default()
    }

    fn missing_field(field: &'static str) -> Self {
        Self { is_progress: false, missing: Some((Path::new(), field)) }
    }
}

/// Gives a type the next sample for the value at a path.
#[derive(Clone)]
struct Probe<'n> {
    notes: &'n Notes,
    path: Path,
}

impl Probe<'_> {
    fn within(&self, step: Step) -> Self {
        let mut path = self.path.clone();
        path.push(step);
        Self { notes: self.notes, path }
    }

    /// Notes what is asked for, and gives a sample of it: `give` is told which.
    fn give<V>(
        self,
        plain: Plain,
        samples: usize,
        give: impl FnOnce(usize) -> Result<V, Refusal>,
    ) -> Result<V, Refusal> {
        self.notes.ask(&self.path, Asked::Plain(plain));
        let sample = self.notes.at(&self.path).sample;
        give(sample.min(samples - 1)).map_err(|refusal| self.next_sample(refusal, samples))
    }

    fn next_sample(&self, refusal: Refusal, samples: usize) -> Refusal {
        let note = self.notes.at(&self.path);
        let is_progress = refusal.is_progress || note.sample + 1 < samples;
        if is_progress && !refusal.is_progress {
            self.notes.change(&self.path, |note| note.sample += 1);
        }
        Refusal { is_progress, ..refusal }
    }

    /// Gives up on the content of this value, unless there is another way to go on.
    fn give_up(&self, refusal: Refusal) -> Refusal {
        if refusal.is_progress || self.notes.at(&self.path).is_given_up {
            return refusal;
        }
        self.notes.change(&self.path, |note| note.is_given_up = true);
        Refusal { is_progress: true, ..refusal }
    }

    /// Whether a struct around this place is the same one: the nearest or another.
    fn is_own(&self, name: &str, fields: &'static [&'static str]) -> Option<bool> {
        let is_it = |path: &[Step]| match self.notes.at(&path.to_vec()).asked {
            Some(Asked::Struct(known, its)) => Some(known == name && its == fields),
            _ => None,
        };
        let mut around = (0..self.path.len()).rev().filter_map(|end| is_it(&self.path[..end]));
        match around.next()? {
            true => Some(true),
            false => around.any(|is_it| is_it).then_some(false),
        }
    }
}

macro_rules! plain {
    ($($method:ident $kind:ident $visit:ident [$($sample:expr),*];)*) => {
        $(fn $method<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
            let samples = [$($sample),*];
            self.give(Plain::$kind, samples.len(), |sample| visitor.$visit(samples[sample]))
        })*
    };
}

impl<'de> Deserializer<'de> for Probe<'_> {
    type Error = Refusal;

    plain! {
        deserialize_bool Boolean visit_bool [false, true];
        deserialize_i8 Integer visit_i64 [0, 1];
        deserialize_i16 Integer visit_i64 [0, 1];
        deserialize_i32 Integer visit_i64 [0, 1];
        deserialize_i64 Integer visit_i64 [0, 1];
        deserialize_i128 Integer visit_i64 [0, 1];
        deserialize_u8 Integer visit_u64 [0, 1];
        deserialize_u16 Integer visit_u64 [0, 1];
        deserialize_u32 Integer visit_u64 [0, 1];
        deserialize_u64 Integer visit_u64 [0, 1];
        deserialize_u128 Integer visit_u64 [0, 1];
        deserialize_f32 Float visit_f64 [0.0, 1.0];
        deserialize_f64 Float visit_f64 [0.0, 1.0];
        deserialize_char Text visit_char ['a', '0'];
        deserialize_bytes Bytes visit_bytes [b""];
    }

    fn deserialize_str<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.give(Plain::Text, MOST_SAMPLES, |sample| visitor.visit_str(TEXTS[sample]))
    }

    fn deserialize_string<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_byte_buf<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.give(Plain::Bytes, 1, |_| visitor.visit_byte_buf(Vec::new()))
    }

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        let none: [u8; 0] = [];
        self.give(Plain::Any, 6, |sample| match sample {
            0 => visitor.visit_unit(),
            1 => visitor.visit_str(""),
            2 => visitor.visit_u64(0),
            3 => visitor.visit_bool(false),
            4 => visitor.visit_seq(SeqDeserializer::new(none.into_iter())),
            _ => visitor.visit_map(MapDeserializer::new(std::iter::empty::<(&str, u8)>())),
        })
    }

    fn deserialize_unit<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.give(Plain::Any, 1, |_| visitor.visit_unit())
    }

    fn deserialize_unit_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_ignored_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_unit(visitor)
    }

    fn deserialize_identifier<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.deserialize_str(visitor)
    }

    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.notes.change(&self.path, |note| note.is_option = true);
        if self.notes.at(&self.path).is_given_up {
            return visitor.visit_none();
        }
        visitor.visit_some(self.clone()).map_err(|refusal| self.give_up(refusal))
    }

    fn deserialize_newtype_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        let none: [u8; 0] = [];
        match name {
            TENSOR => self.give(Plain::Array, 1, |_| {
                visitor.visit_newtype_struct(SeqDeserializer::new(none.into_iter()))
            }),
            BLOB => self
                .give(Plain::Bytes, 1, |_| visitor.visit_newtype_struct(StrDeserializer::new(""))),
            _ => visitor.visit_newtype_struct(self),
        }
    }

    fn deserialize_seq<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.notes.ask(&self.path, Asked::List);
        let count = usize::from(!self.notes.at(&self.path).is_given_up);
        let elements = Elements { probe: self.within(Step::Element), left: count };
        visitor.visit_seq(elements).map_err(|refusal| self.give_up(refusal))
    }

    fn deserialize_tuple<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.notes.ask(&self.path, Asked::List);
        visitor.visit_seq(Elements { probe: self.within(Step::Element), left: length })
    }

    fn deserialize_tuple_struct<V: Visitor<'de>>(
        self,
        _name: &'static str,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.deserialize_tuple(length, visitor)
    }

    fn deserialize_map<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Refusal> {
        self.notes.ask(&self.path, Asked::Map);
        let is_given_up = self.notes.at(&self.path).is_given_up;
        let entry = (!is_given_up).then(|| self.within(Step::Value));
        visitor.visit_map(Entry(entry)).map_err(|refusal| self.give_up(refusal))
    }

    fn deserialize_struct<V: Visitor<'de>>(
        self,
        name: &'static str,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        if let Some(is_nearest) = self.is_own(name, fields) {
            let asked = if is_nearest { Asked::Own } else { Asked::Plain(Plain::Any) };
            self.notes.ask(&self.path, asked);
            return Err(Refusal::default());
        }
        self.notes.ask(&self.path, Asked::Struct(name, fields));
        if self.path.len() >= DEEPEST {
            return Err(Refusal::default());
        }
        let left_out = self.notes.left_out.borrow().clone();
        let left_out = left_out.filter(|(path, _)| *path == self.path).map(|(_, name)| name);
        let given: Vec<&'static str> = fields
            .iter()
            .copied()
            .filter(|name| Some(*name) != left_out)
            .filter(|name| {
                let note = self.notes.at(&self.within(Step::Field(name)).path);
                note.is_option || !note.is_given_up || !matches!(note.asked, Some(Asked::Plain(_)))
            })
            .collect();
        let given = Fields { probe: &self, given: given.into_iter(), next: None };
        visitor.visit_map(given).map_err(|mut refusal| {
            if let Some((path, _)) = &mut refusal.missing
                && path.is_empty()
            {
                path.clone_from(&self.path);
            }
            refusal
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        // Each variant is tried once, to see whether any has content.
        let note = self.notes.at(&self.path);
        let plain = if note.has_content { Plain::Any } else { Plain::Text };
        self.notes.change(&self.path, |note| note.asked = Some(Asked::Plain(plain)));
        let is_last = note.sample >= variants.len();
        let Some(name) = variants.get(if is_last { 0 } else { note.sample }) else {
            return Err(Refusal::default());
        };
        let given = visitor.visit_enum(Variant { name, probe: &self });
        if is_last {
            return given;
        }
        self.notes.change(&self.path, |note| note.sample += 1);
        Err(Refusal { is_progress: true, missing: None })
    }
}

struct Elements<'n> {
    probe: Probe<'n>,
    left: usize,
}

impl<'de> SeqAccess<'de> for Elements<'_> {
    type Error = Refusal;

    fn next_element_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        if self.left == 0 {
            return Ok(None);
        }
        self.left -= 1;
        seed.deserialize(self.probe.clone()).map(Some)
    }
}

/// A map of one entry, or of none.
struct Entry<'n>(Option<Probe<'n>>);

impl<'de> MapAccess<'de> for Entry<'_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        match self.0 {
            Some(_) => seed.deserialize("0".into_deserializer()).map(Some),
            None => Ok(None),
        }
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        match self.0.take() {
            Some(probe) => seed.deserialize(probe),
            None => Err(Refusal::default()),
        }
    }
}

struct Fields<'p, 'n> {
    probe: &'p Probe<'n>,
    given: std::vec::IntoIter<&'static str>,
    next: Option<&'static str>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        self.next = self.given.next();
        let Some(name) = self.next else { return Ok(None) };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let field = self.probe.within(Step::Field(self.next.take().unwrap_or_default()));
        seed.deserialize(field.clone()).map_err(|refusal| field.give_up(refusal))
    }
}

struct Variant<'p, 'n> {
    name: &'static str,
    probe: &'p Probe<'n>,
}

impl<'de> EnumAccess<'de> for Variant<'_, '_> {
    type Error = Refusal;
    type Variant = Self;

    fn variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<(S::Value, Self), Refusal> {
        let name: StrDeserializer<'_, Refusal> = self.name.into_deserializer();
        Ok((seed.deserialize(name)?, self))
    }
}

impl Variant<'_, '_> {
    fn content<V>(&self) -> Result<V, Refusal> {
        self.probe.notes.change(&self.probe.path, |note| note.has_content = true);
        Err(Refusal::default())
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, _: S) -> Result<S::Value, Refusal> {
        self.content()
    }

    fn tuple_variant<V: Visitor<'de>>(self, _: usize, _: V) -> Result<V::Value, Refusal> {
        self.content()
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        _: &'static [&'static str],
        _: V,
    ) -> Result<V::Value, Refusal> {
        self.content()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;
    use std::net::Ipv4Addr;
    use std::num::NonZeroU32;

    use serde::Deserialize;

    use super::*;

    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Color {
        Red,
        Green,
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    enum Shape {
        Point,
        Circle(f32),
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Part {
        name: String,
        #[serde(default)]
        count: u8,
    }

    #[derive(Deserialize)]
    #[serde(rename = "Article", rename_all = "camelCase")]
    #[allow(dead_code)]
    struct Whole {
        id: u64,
        text: String,
        year: NonZeroU32,
        published_at: Option<f64>,
        #[serde(default)]
        words: Vec<String>,
        rows: Vec<Vec<f32>>,
        part: Part,
        parts: Vec<Part>,
        chunks: Vec<Whole>,
        parent: Option<Box<Whole>>,
        tags: HashMap<String, serde_json::Value>,
        counts: HashMap<String, u32>,
        color: Color,
        shape: Shape,
        address: Ipv4Addr,
        pair: (u8, f32),
        triple: [f32; 3],
        anything: serde_json::Value,
        flag: bool,
    }

    #[test]
    fn a_type_shows_its_class() {
        let part = Schema::new("Part")
            .field("name", Field::text())
            .field("count", Field::integer().default_value(0));
        let own = |kind, presence| Field { kind, presence };
        let expected = Schema::new("Article")
            .field("text", Field::text())
            .field("year", Field::integer())
            .field("publishedAt", Field::float().optional())
            .field("words", Field::list(Field::text()).default_value([""; 0]))
            .field("rows", Field::list(Field::list(Field::float())))
            .field("part", Field::document(part.clone()))
            .field("parts", Field::documents(part))
            .field("chunks", own(Kind::OwnList, Presence::Required))
            .field("parent", own(Kind::Own, Presence::Optional))
            .field("tags", Field::dictionary())
            .field("counts", Field::dictionary_of(Field::integer()))
            .field("color", Field::text())
            .field("shape", Field::any())
            .field("address", Field::text())
            .field("pair", Field::list(Field::any()))
            .field("triple", Field::list(Field::float()))
            .field("anything", Field::any())
            .field("flag", Field::boolean());
        assert_eq!(Schema::of::<Whole>(), expected);
    }

    #[derive(Deserialize)]
    #[allow(dead_code)]
    struct Picky {
        #[serde(deserialize_with = "refuse")]
        never: String,
        after: bool,
        #[serde(default)]
        last: f32,
    }

    fn refuse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
        let text = String::deserialize(deserializer)?;
        Err(de::Error::custom(text))
    }

    #[test]
    fn a_type_that_takes_no_sample_shows_its_other_fields() {
        let expected = Schema::new("Picky")
            .field("never", Field::text())
            .field("after", Field::boolean())
            // Whether it may be missing cannot be seen, because `never` is missed first.
            .field("last", Field::float());
        assert_eq!(Schema::of::<Picky>(), expected);
    }

    #[test]
    fn what_is_no_struct_is_open() {
        assert!(Schema::of::<serde_json::Value>().is_open());
        assert!(Schema::of::<HashMap<String, u8>>().is_open());
        assert!(Schema::of::<Vec<Part>>().is_open());
    }
}
