//! The format that gives a type samples, and notes what the type asks for.

use std::cell::Cell;
use std::fmt;

use serde::de::value::{MapDeserializer, SeqDeserializer, StrDeserializer};
use serde::de::{
    self, DeserializeSeed, Deserializer, EnumAccess, IntoDeserializer, MapAccess, SeqAccess,
    VariantAccess, Visitor,
};

use super::{Asked, DEEPEST, Note, Notes, Path, Plain, Step};
use crate::value::{BLOB, TENSOR};

/// Texts, one of which most types take that read themselves from text.
const TEXTS: [&str; 13] = [
    "",
    "0",
    "2000-01-01T00:00:00Z",
    "2000-01-01",
    "00:00:00",
    "00000000-0000-0000-0000-000000000000",
    "http://localhost/",
    "127.0.0.1",
    "a",
    "a@b.cc",
    "1.0.0",
    "#000000",
    "en",
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
    /// The field that a struct was given twice, under different names.
    duplicate: Option<&'static str>,
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
        Self { missing: Some((Path::new(), field)), ..Self::default() }
    }

    fn duplicate_field(field: &'static str) -> Self {
        Self { duplicate: Some(field), ..Self::default() }
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

    /// Whether no sample of the content of this value is given.
    fn is_held_back(&self) -> bool {
        self.notes.at(&self.path).is_given_up && !self.notes.looks_into(&self.path)
    }

    /// Gives up on the content of this value, and then on the value, unless there is another way to go
    /// on.
    fn give_up(&self, refusal: Refusal) -> Refusal {
        let note = self.notes.at(&self.path);
        if refusal.is_progress || note.is_refused {
            return refusal;
        }
        self.notes.change(&self.path, |note| {
            // The type may have read the sample well, and refused it afterwards.
            if matches!(note.asked, Some(Asked::Plain(_))) && note.sample + 1 < MOST_SAMPLES {
                note.sample += 1;
            } else {
                note.is_refused = note.is_given_up;
                note.is_given_up = true;
            }
        });
        Refusal { is_progress: true, ..refusal }
    }

    /// Learns that `key` stands for the field of a struct that was given before, which is called `field`.
    fn alias(&self, field: &'static str, key: &'static str) -> Refusal {
        let is_progress = if field == key {
            // The field was given under another name, which shows if the field is given first.
            let is_new = !self.notes.at(&self.path).leaders.contains(&field);
            self.notes.change(&self.path, |note| note.leaders.push(field));
            is_new
        } else {
            self.notes.change(&self.within(Step::Field(key)).path, |note| note.is_alias = true);
            true
        };
        Refusal { is_progress, ..Refusal::default() }
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
        deserialize_i8 Integer visit_i64 [0, 1, -1, 2, 10, 100, 1000];
        deserialize_i16 Integer visit_i64 [0, 1, -1, 2, 10, 100, 1000];
        deserialize_i32 Integer visit_i64 [0, 1, -1, 2, 10, 100, 1000];
        deserialize_i64 Integer visit_i64 [0, 1, -1, 2, 10, 100, 1000];
        deserialize_i128 Integer visit_i64 [0, 1, -1, 2, 10, 100, 1000];
        deserialize_u8 Integer visit_u64 [0, 1, 2, 10, 100, 1000];
        deserialize_u16 Integer visit_u64 [0, 1, 2, 10, 100, 1000];
        deserialize_u32 Integer visit_u64 [0, 1, 2, 10, 100, 1000];
        deserialize_u64 Integer visit_u64 [0, 1, 2, 10, 100, 1000];
        deserialize_u128 Integer visit_u64 [0, 1, 2, 10, 100, 1000];
        deserialize_f32 Float visit_f64 [0.0, 1.0, 0.5, -1.0, 10.0, 100.0];
        deserialize_f64 Float visit_f64 [0.0, 1.0, 0.5, -1.0, 10.0, 100.0];
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
        if self.is_held_back() {
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
        let count = usize::from(!self.is_held_back());
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
        let entry = (!self.is_held_back()).then(|| self.within(Step::Value));
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
        let is_given = |name: &&'static str| {
            let field = self.within(Step::Field(name));
            let Note { is_option, is_alias, is_given_up, is_refused, asked, .. } =
                self.notes.at(&field.path);
            let is_plain = matches!(asked, Some(Asked::Plain(_))) && !is_option;
            let is_bad = is_refused || is_given_up && is_plain;
            !(Some(*name) == left_out || is_alias || is_bad && !self.notes.looks_into(&field.path))
        };
        let leaders = self.notes.at(&self.path).leaders;
        let others = fields.iter().copied().filter(|name| !leaders.contains(name));
        let given = leaders.iter().copied().chain(others).filter(is_given);
        let given: Vec<&'static str> = given.collect();
        let key = Cell::new(None);
        let given = Fields { probe: &self, given: given.into_iter(), key: &key };
        visitor.visit_map(given).map_err(|mut refusal| {
            if let Some((path, _)) = &mut refusal.missing
                && path.is_empty()
            {
                path.clone_from(&self.path);
            }
            match (refusal.duplicate.take(), key.get()) {
                (Some(field), Some(key)) => self.alias(field, key),
                _ => refusal,
            }
        })
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        // Each variant is tried until nothing more can be learned, to see whether any has content.
        let note = self.notes.at(&self.path);
        let plain = if note.has_content { Plain::Any } else { Plain::Text };
        self.notes.change(&self.path, |note| note.asked = Some(Asked::Plain(plain)));
        let is_last = note.sample >= variants.len();
        let chosen = if is_last { note.fitting.unwrap_or_default() } else { note.sample };
        let Some(name) = variants.get(chosen) else {
            return Err(Refusal::default());
        };
        let given = visitor.visit_enum(Variant { name, probe: &self });
        if is_last || given.as_ref().is_err_and(|refusal| refusal.is_progress) {
            return given;
        }
        self.notes.change(&self.path, |note| {
            note.sample += 1;
            note.fitting = note.fitting.or(given.is_ok().then_some(chosen));
        });
        Err(Refusal { is_progress: true, ..Refusal::default() })
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
    /// The key whose value was not asked for yet.
    key: &'p Cell<Option<&'static str>>,
}

impl<'de> MapAccess<'de> for Fields<'_, '_> {
    type Error = Refusal;

    fn next_key_seed<S: DeserializeSeed<'de>>(
        &mut self,
        seed: S,
    ) -> Result<Option<S::Value>, Refusal> {
        self.key.set(self.given.next());
        let Some(name) = self.key.get() else { return Ok(None) };
        seed.deserialize(name.into_deserializer()).map(Some)
    }

    fn next_value_seed<S: DeserializeSeed<'de>>(&mut self, seed: S) -> Result<S::Value, Refusal> {
        let field = self.probe.within(Step::Field(self.key.take().unwrap_or_default()));
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

impl<'n> Variant<'_, 'n> {
    /// The place of the variant's content. Enums within enums are not looked into.
    fn content(&self) -> Result<Probe<'n>, Refusal> {
        self.probe.notes.change(&self.probe.path, |note| note.has_content = true);
        let is_within = self.probe.path.iter().any(|step| matches!(step, Step::Variant(_)));
        if is_within {
            Err(Refusal::default())
        } else {
            Ok(self.probe.within(Step::Variant(self.name)))
        }
    }
}

impl<'de> VariantAccess<'de> for Variant<'_, '_> {
    type Error = Refusal;

    fn unit_variant(self) -> Result<(), Refusal> {
        Ok(())
    }

    fn newtype_variant_seed<S: DeserializeSeed<'de>>(self, seed: S) -> Result<S::Value, Refusal> {
        seed.deserialize(self.content()?)
    }

    fn tuple_variant<V: Visitor<'de>>(
        self,
        length: usize,
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.content()?.deserialize_tuple(length, visitor)
    }

    fn struct_variant<V: Visitor<'de>>(
        self,
        fields: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Refusal> {
        self.content()?.deserialize_struct(self.name, fields, visitor)
    }
}
