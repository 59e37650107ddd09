//! The class of the documents that a type reads, found by letting the type read samples.
//!
//! serde tells a format what a type wants to read: a struct names its fields, and each field asks for
//! text, a number, a list. So the type is asked to read itself, and what it asks for is noted. A type
//! that refuses a sample is asked again with the next one, or without the field, until nothing new can
//! be learned. Then each field is left out once, which shows whether the type can do without it. What the
//! field is then is never seen: serde does not tell defaults.

mod probe;

use std::cell::RefCell;
use std::collections::BTreeMap;

use serde::de::DeserializeOwned;

use self::probe::Probe;
use super::{Field, Kind, Presence, Schema};

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
    for (path, name) in notes.fields_so_far() {
        *notes.left_out.borrow_mut() = Some((path.clone(), name));
        let read = T::deserialize(Probe { notes: &notes, path: Path::new() });
        notes.left_out.borrow_mut().take();
        // Only what serde says to be missing must be given. Anything else may hide what it would say.
        let missing = read.err().and_then(|refusal| refusal.missing);
        let is_required = missing.is_some_and(|missing| missing == (path.clone(), name));
        let mut field = path;
        field.push(Step::Field(name));
        notes.change(&field, |note| note.is_required = is_required);
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
    /// The content of this variant of an enum.
    Variant(&'static str),
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
    is_required: bool,
    /// The field is another name of a field.
    is_alias: bool,
    /// The fields of a struct that are to be given first, because they have other names.
    leaders: Vec<&'static str>,
    /// The sample that is given next.
    sample: usize,
    /// No sample is taken: an option is none, a list or map empty, a plain value left out.
    is_given_up: bool,
    /// Nothing is taken at all, so that the field is left out.
    is_refused: bool,
    /// A variant of an enum has content.
    has_content: bool,
    /// The first variant of an enum that took a sample.
    fitting: Option<usize>,
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
    fn fields_so_far(&self) -> Vec<(Path, &'static str)> {
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
                notes.get(&field).is_some_and(|note| !note.is_option && !note.is_alias)
            })
            .collect()
    }

    /// Whether the field that is left out stands within the value at a path, which must be given
    /// then even if it is refused.
    fn looks_into(&self, path: &Path) -> bool {
        self.left_out.borrow().as_ref().is_some_and(|(at, _)| at.starts_with(path))
    }

    /// The class of the struct at a path; `None` if there is none.
    fn class(&self, path: &Path, depth: usize) -> Option<Schema> {
        let Some(Asked::Struct(name, fields)) = self.at(path).asked else { return None };
        let mut class = Schema::new(name);
        for name in fields.iter().filter(|name| **name != "id") {
            let mut field = path.clone();
            field.push(Step::Field(name));
            let note = self.at(&field);
            if note.is_alias {
                continue;
            }
            let presence = match note {
                Note { is_option: true, .. } => Presence::Optional,
                Note { is_required: true, .. } => Presence::Required,
                _ => Presence::Own,
            };
            class = class.field(*name, Field { kind: self.kind(&field, depth + 1), presence });
        }
        Some(class)
    }

    fn kind(&self, path: &Path, depth: usize) -> Kind {
        let within = |step| {
            let mut inner = path.clone();
            inner.push(step);
            // Python's List[Optional[X]] is published as List[X], which takes no null.
            match self.at(&inner).is_option {
                true => Kind::Any,
                false => self.kind(&inner, depth + 1),
            }
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

#[cfg(test)]
mod tests;
