//! The fields of a v1 document and of its scores, and the values that each field takes. The same
//! rules apply to JSON and to protobuf.

use super::refusal::{Refusal, refuse};

/// A field: its number and the kind of value that it takes.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::document) struct Field {
    pub(in crate::document) number: u32,
    pub(in crate::document) kind: Kind,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(in crate::document) enum Kind {
    Text,
    Count,
    Single,
    Blob,
    Tensor,
    Location,
    Documents,
    Tags,
    Scores,
}

impl Field {
    /// The document's field named `name`.
    pub(in crate::document) fn of_document(name: &str) -> Result<Field, Refusal> {
        let (number, kind) = match name {
            "id" => (1, Kind::Text),
            "blob" => (2, Kind::Blob),
            "tensor" => (3, Kind::Tensor),
            "text" => (4, Kind::Text),
            "granularity" => (5, Kind::Count),
            "adjacency" => (6, Kind::Count),
            "parent_id" => (7, Kind::Text),
            "weight" => (8, Kind::Single),
            "uri" => (9, Kind::Text),
            "modality" => (10, Kind::Text),
            "mime_type" => (11, Kind::Text),
            "offset" => (12, Kind::Single),
            "location" => (13, Kind::Location),
            "chunks" => (14, Kind::Documents),
            "matches" => (15, Kind::Documents),
            "embedding" => (16, Kind::Tensor),
            "tags" => (17, Kind::Tags),
            "scores" => (18, Kind::Scores),
            "evaluations" => (19, Kind::Scores),
            _ => {
                return refuse(format!(
                    "a v1 document has no field {name:?}; other values belong in \"tags\""
                ));
            }
        };
        Ok(Field { number, kind })
    }

    /// The score's field named `name`.
    pub(in crate::document) fn of_score(name: &str) -> Result<Field, Refusal> {
        let (number, kind) = match name {
            "value" => (1, Kind::Single),
            "op_name" => (2, Kind::Text),
            "description" => (3, Kind::Text),
            "ref_id" => (4, Kind::Text),
            _ => return refuse(format!("a score has no field {name:?}")),
        };
        Ok(Field { number, kind })
    }

    /// Whether this field is one of a document's mutually exclusive content fields.
    pub(in crate::document) fn is_content(self) -> bool {
        matches!(self.number, 2..=4)
    }

    pub(in crate::document) fn takes_bool(self) -> bool {
        matches!(self.kind, Kind::Text | Kind::Count | Kind::Single | Kind::Tensor)
    }

    pub(in crate::document) fn is_tensor(self) -> bool {
        self.kind == Kind::Tensor
    }

    pub(in crate::document) fn misfit(self, what: &str) -> String {
        self.kind.misfit(what)
    }
}

impl Kind {
    /// Explains why a value, described by `what`, does not fit this kind of field.
    pub(in crate::document) fn misfit(self, what: &str) -> String {
        match self {
            Kind::Text => format!("the field must be text, not {what}"),
            Kind::Count => format!("the field must be a whole number, not {what}"),
            Kind::Single => format!("the field must be a number, not {what}"),
            Kind::Blob => format!("a blob must be bytes or base64 text, not {what}"),
            Kind::Tensor => format!("a tensor is made of numbers, not {what}"),
            Kind::Location => format!("a location is a list of numbers, not {what}"),
            Kind::Documents => format!("the field must be a list of documents, not {what}"),
            Kind::Tags => format!("tags must be an object, not {what}"),
            Kind::Scores => format!("scores must be an object, not {what}"),
        }
    }
}

/// A number as serde passes it.
#[derive(Clone, Copy, Debug)]
pub(in crate::document) enum Number {
    Whole(i128),
    Single(f32),
    Double(f64),
}

/// The largest size up to which integers are exact as doubles.
const MOST_EXACT: i128 = 1 << 53;

impl Number {
    #[inline]
    pub(in crate::document) fn is_finite(self) -> bool {
        match self {
            Number::Whole(_) => true,
            Number::Single(n) => n.is_finite(),
            Number::Double(n) => n.is_finite(),
        }
    }

    pub(in crate::document) fn to_f64(self) -> f64 {
        match self {
            Number::Whole(n) => n as f64,
            Number::Single(n) => n.into(),
            Number::Double(n) => n,
        }
    }

    /// Converts the number to single precision.
    pub(in crate::document) fn single(self) -> Result<f32, Refusal> {
        let single = match self {
            Number::Single(n) => n,
            Number::Double(n) => n as f32,
            Number::Whole(n) => n as f32,
        };
        if single.is_infinite() && self.to_f64().is_finite() {
            return refuse(format!("{} is too large for this field", self.to_f64()));
        }
        Ok(single)
    }

    /// Converts the number to a count, which has no fraction.
    pub(in crate::document) fn count(self) -> Result<u32, Refusal> {
        let whole = match self {
            Number::Whole(n) => n,
            // `as` saturates out of range; the result is not a valid count either.
            _ if self.to_f64().fract() == 0.0 => self.to_f64() as i128,
            _ => return refuse(Kind::Count.misfit("a number with a fraction")),
        };
        match u32::try_from(whole) {
            Ok(count) => Ok(count),
            Err(_) => refuse(format!("{whole} is not between 0 and {}", u32::MAX)),
        }
    }

    /// Converts the number to a double, the type of all numbers in tags and parameters on every
    /// protocol.
    pub(in crate::document) fn double(self) -> Result<f64, Refusal> {
        match self {
            Number::Whole(n) if n.abs() > MOST_EXACT => refuse(format!(
                "{n} would change on the way: numbers here are doubles, exact up to 2^53"
            )),
            _ if !self.to_f64().is_finite() => refuse(format!(
                "{} cannot be sent here: a gateway would turn it into text",
                self.to_f64()
            )),
            _ => Ok(self.to_f64()),
        }
    }

    /// Converts the number to text as Python prints it, because a gateway does so over HTTP.
    pub(in crate::document) fn text(self) -> String {
        let digits = match self {
            Number::Whole(n) => return n.to_string(),
            Number::Single(n) => format!("{n:e}"),
            Number::Double(n) => format!("{n:e}"),
        };
        let number = self.to_f64();
        let exponent = digits.rsplit_once('e').and_then(|(_, e)| e.parse::<i32>().ok());
        match (exponent, digits.split_once('e')) {
            (Some(exponent), Some((digits, _))) if !(-4..16).contains(&exponent) => {
                let sign = if exponent < 0 { '-' } else { '+' };
                format!("{digits}e{sign}{:02}", exponent.abs())
            }
            (Some(_), _) => match self {
                Number::Single(n) => format!("{n:?}"),
                _ => format!("{number:?}"),
            },
            _ => number.to_string().to_lowercase(),
        }
    }
}

/// Reads a number from text where a number belongs, as a gateway does over HTTP.
pub(in crate::document) fn numeral(kind: Kind, text: &str) -> Result<Number, Refusal> {
    let number = match kind {
        Kind::Count => text.trim().parse().ok().map(Number::Whole),
        _ => text.trim().parse().ok().filter(|n: &f64| n.is_finite()).map(Number::Double),
    };
    match number {
        Some(number) => Ok(number),
        None => refuse(kind.misfit("text")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_number_becomes_text_as_python_prints_it() {
        for (number, expected) in [
            (Number::Whole(-7), "-7"),
            (Number::Double(7.0), "7.0"),
            (Number::Double(-2.5), "-2.5"),
            (Number::Double(1e22), "1e+22"),
            (Number::Double(1.5e16), "1.5e+16"),
            (Number::Double(1e15), "1000000000000000.0"),
            (Number::Double(1e-4), "0.0001"),
            (Number::Double(1.25e-5), "1.25e-05"),
            (Number::Double(1e300), "1e+300"),
            (Number::Double(0.0), "0.0"),
            (Number::Single(0.1), "0.1"),
        ] {
            assert_eq!(number.text(), expected);
        }
    }
}
