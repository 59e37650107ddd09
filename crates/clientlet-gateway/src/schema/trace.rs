//! The class of the documents that a type reads, found by letting the type read samples.
//!
//! serde tells a format what a type wants to read: a struct names its fields, and each field asks for
//! text, a number, a list. So the type is asked to read itself, and what it asks for is noted. A type
//! that refuses a sample is asked again with the next one, or without the field, until nothing new can
//! be learned. Then each field is left out once, which shows whether the type can do without it.

mod probe;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use self::probe::Probe;
use super::{Field, Kind, Presence, Schema};
use crate::value::Value;

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

#[cfg(test)]
mod tests;
