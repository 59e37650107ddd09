//! The format that gives a type samples, and notes what the type asks for.

use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{Asked, DEEPEST, Notes, Path, Plain, Step};
use crate::value::{BLOB, TENSOR};

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
/// Why a type did not take a sample.
#[derive(Debug, Default)]
pub(super) struct Refusal {
    /// The notes have changed, so that it makes sense to ask again.
    pub(super) is_progress: bool,
    /// The field that a struct misses, and where that struct stands.
    pub(super) missing: Option<(Path, &'static str)>,
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
pub(super) struct Probe<'n> {
    pub(super) notes: &'n Notes,
    pub(super) path: Path,
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
