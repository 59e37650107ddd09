//! `--tensor` and `--blob`: the fields that JSON cannot express by itself.

use std::cell::Cell;
use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;

use crate::dtype::ElementType;
use crate::report::Failure;

/// The path to a field: names separated by dots.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Path(Vec<String>);

impl FromStr for Path {
    type Err = String;

    fn from_str(text: &str) -> Result<Path, String> {
        if text.split('.').any(str::is_empty) {
            return Err(format!(
                "{text:?} names no field; write NAME, or OUTER.INNER for a field within another"
            ));
        }
        Ok(Path(text.split('.').map(str::to_owned).collect()))
    }
}

impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0.join("."))
    }
}

/// A value of `--tensor`: `FIELD[:DTYPE]`.
#[derive(Clone, Debug)]
pub(crate) struct TensorField {
    path: Path,
    element: ElementType,
}

impl FromStr for TensorField {
    type Err = String;

    fn from_str(text: &str) -> Result<TensorField, String> {
        let (path, element) = match text.rsplit_once(':') {
            Some((path, element)) => (path, element.parse()?),
            None => (text, ElementType::default()),
        };
        Ok(TensorField { path: path.parse()?, element })
    }
}

/// The kind of value that a named field holds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Holds {
    Tensor(ElementType),
    Blob,
}

/// The named fields, as a tree of their names.
#[derive(Debug)]
pub(crate) enum Field {
    /// A named field.
    Named { holds: Holds, option: String, was_met: Cell<bool> },
    /// Fields within this field, by name, also within the items of lists.
    Within(BTreeMap<String, Field>),
}

impl Field {
    fn none() -> Field {
        Field::Within(BTreeMap::new())
    }
}

/// All named fields, and whether any document was seen.
#[derive(Debug)]
pub(crate) struct Fields {
    pub(crate) root: Field,
    pub(crate) has_seen_any: Cell<bool>,
}

impl Fields {
    /// The named fields. Returns `None` if there are none.
    ///
    /// # Errors
    /// When a field is named twice, or lies within a field that cannot have fields.
    pub(crate) fn new(tensors: &[TensorField], blobs: &[Path]) -> Result<Option<Fields>, Failure> {
        let tensors = tensors.iter().map(|it| (&it.path, Holds::Tensor(it.element), "--tensor"));
        let blobs = blobs.iter().map(|path| (path, Holds::Blob, "--blob"));
        let mut named: Vec<_> = tensors.chain(blobs).collect();
        // A field comes before the fields within it.
        named.sort_by_key(|(path, ..)| path.0.len());
        let mut root = Field::none();
        for (path, holds, option) in &named {
            insert(&mut root, path, *holds, format!("{option} {path}"))?;
        }
        let fields = Fields { root, has_seen_any: Cell::new(false) };
        Ok((!named.is_empty()).then_some(fields))
    }

    /// The options whose field no document had. Returns none if no document was seen.
    pub(crate) fn unmet(&self) -> Vec<&str> {
        let mut unmet = Vec::new();
        if self.has_seen_any.get() {
            collect_unmet(&self.root, &mut unmet);
        }
        unmet
    }
}

fn insert(root: &mut Field, path: &Path, holds: Holds, option: String) -> Result<(), Failure> {
    let mut place = root;
    for name in &path.0 {
        place = match place {
            Field::Within(fields) => fields.entry(name.clone()).or_insert_with(Field::none),
            Field::Named { option: outer, .. } => {
                let what = format!("{option} lies within {outer}, which has no fields");
                return Err(Failure::bad_input(what));
            }
        };
    }
    if let Field::Named { option: other, .. } = place {
        let options = if *other == option {
            format!("{option} twice")
        } else {
            format!("{other} and {option}")
        };
        return Err(Failure::bad_input(format!("the same field is given as {options}")));
    }
    *place = Field::Named { holds, option, was_met: Cell::new(false) };
    Ok(())
}

fn collect_unmet<'f>(field: &'f Field, unmet: &mut Vec<&'f str>) {
    match field {
        Field::Named { option, was_met, .. } if !was_met.get() => unmet.push(option),
        Field::Named { .. } => {}
        Field::Within(fields) => fields.values().for_each(|field| collect_unmet(field, unmet)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fields(tensors: &[&str], blobs: &[&str]) -> Result<Option<Fields>, String> {
        let tensors = tensors.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
        let blobs = blobs.iter().map(|text| text.parse()).collect::<Result<Vec<_>, _>>()?;
        Fields::new(&tensors, &blobs).map_err(|failure| failure.lines().collect::<String>())
    }

    #[test]
    fn an_option_without_a_field_or_a_known_type_is_refused() {
        for (tensors, blobs, told) in [
            (&[""][..], &[][..], "\"\" names no field"),
            (&[":float32"], &[], "\"\" names no field"),
            (&["a..b"], &[], "\"a..b\" names no field"),
            (&[], &[".a"], "\".a\" names no field"),
            (&["a:"], &[], "\"\" is not an element type; the types are bool, int8,"),
            (&["a:complex64"], &[], "\"complex64\" is not an element type"),
        ] {
            let error = fields(tensors, blobs).unwrap_err();
            assert!(error.starts_with(told), "{error}");
        }
    }

    #[test]
    fn a_field_is_given_by_one_option_only() {
        for (tensors, blobs, told) in [
            (&["a"][..], &["a"][..], "error: the same field is given as --tensor a and --blob a"),
            (&["a.b:int8", "a.b"], &[], "error: the same field is given as --tensor a.b twice"),
            (&["a.b"], &["a"], "error: --tensor a.b lies within --blob a, which has no fields"),
        ] {
            assert_eq!(fields(tensors, blobs).unwrap_err(), told);
        }
    }

    #[test]
    fn no_field_is_unmet_before_the_first_document() {
        assert!(fields(&[], &[]).unwrap().is_none());
        let fields = fields(&["chunks.embedding", "a"], &["b"]).unwrap().unwrap();
        assert_eq!(fields.unmet(), [""; 0]);
        fields.has_seen_any.set(true);
        assert_eq!(fields.unmet(), ["--tensor a", "--blob b", "--tensor chunks.embedding"]);
    }
}
