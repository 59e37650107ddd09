//! What the protobuf behind an executor cannot carry. An executor of 3.33.1 then raises an exception in
//! place of its documents, whichever protocol the client speaks.

use super::{Kind, Schema};
use crate::docarray::DocArray;
use crate::exception::Exception;
use crate::value::{ReadError, Value};

/// The levels of messages below a field's node that an executor can write. The gateway itself reads a few
/// less.
const DEEPEST: usize = 95;

/// Why an executor cannot send a document.
#[derive(Debug)]
pub(crate) struct Uncarried {
    /// What the executor raises.
    pub(crate) exception: Exception,
    /// The same for the author of the handler, with the whole place.
    pub(crate) error: ReadError,
}

/// What is wrong with a value, as it is seen from its document.
struct Flaw {
    error: ReadError,
    kind: &'static str,
    /// The arguments of the exception: a line for each document on the way, then the reason.
    arguments: Vec<String>,
}

impl Flaw {
    fn wide(n: i64, bits: &str) -> Self {
        let message = format!("{n} does not fit the {bits} that protobuf has for it");
        Self {
            error: ReadError::new(message),
            kind: "ValueError",
            arguments: vec![format!("Value out of range: {n}")],
        }
    }

    fn deep() -> Self {
        Self {
            error: ReadError::new("it is nested deeper than protobuf can read"),
            kind: "DecodeError",
            arguments: vec!["Error parsing message with type 'docarray.ListOfAnyProto'".into()],
        }
    }

    fn within(mut self, step: impl Into<String>) -> Self {
        self.error = self.error.within(step);
        self
    }
}

impl Schema {
    /// Whether an executor can send a document that fits the class.
    ///
    /// # Errors
    ///
    /// The first field that it cannot send.
    pub(crate) fn carried(&self, docarray: DocArray, document: &Value) -> Result<(), Uncarried> {
        Carrier { docarray, depth: 0 }.document(self, document).map_err(|flaw| {
            let exception = Exception::new(flaw.kind, flaw.arguments);
            Uncarried { exception, error: flaw.error }
        })
    }
}

/// A look at a document of a generation.
#[derive(Clone, Copy)]
struct Carrier {
    docarray: DocArray,
    /// The levels of messages between here and the node of a field of the outermost document.
    depth: usize,
}

impl Carrier {
    fn below(self, levels: usize) -> Self {
        Self { depth: self.depth + levels, ..self }
    }

    fn document(self, class: &Schema, document: &Value) -> Result<(), Flaw> {
        let Value::Map(entries) = document else { return Ok(()) };
        for (name, value) in entries {
            let field = class.fields.iter().find(|(known, _)| known == name);
            let kind = field.map_or(&Kind::Any, |(_, field)| &field.kind);
            self.value(class, kind, value).map_err(|mut flaw| {
                flaw.arguments.insert(0, format!("Field `{name}` is problematic"));
                flaw.within(name)
            })?;
        }
        Ok(())
    }

    fn value(self, class: &Schema, kind: &Kind, value: &Value) -> Result<(), Flaw> {
        if self.depth > DEEPEST {
            return Err(Flaw::deep());
        }
        match (kind, value, self.docarray) {
            // The tags of documents v1 are a Struct, whose numbers are doubles.
            (Kind::Any, _, DocArray::V1) => Ok(()),
            (_, Value::Integer(n), DocArray::V1) if u32::try_from(*n).is_err() => {
                Err(Flaw::wide(*n, "32 bits without a sign"))
            }
            (_, Value::Integer(n), DocArray::V2) if i32::try_from(*n).is_err() => {
                Err(Flaw::wide(*n, "32 bits"))
            }
            (Kind::Document(inner), document, _) => self.below(3).document(inner, document),
            (Kind::Own, document, _) => self.below(3).document(class, document),
            (Kind::Documents(inner), Value::List(list), _) => {
                each(list, |document| self.below(4).document(inner, document))
            }
            (Kind::OwnList, Value::List(list), _) => {
                each(list, |document| self.below(4).document(class, document))
            }
            (kind, Value::List(list), _) => {
                let kind = if let Kind::List(kind) = kind { kind } else { &Kind::Any };
                each(list, |element| self.below(2).value(class, kind, element))
            }
            (kind, Value::Map(entries), _) => {
                let kind = if let Kind::Dictionary(kind) = kind { kind } else { &Kind::Any };
                let mut entries = entries.iter();
                entries.try_for_each(|(key, value)| {
                    let value = self.below(3).value(class, kind, value);
                    value.map_err(|flaw| flaw.within(key))
                })
            }
            _ => Ok(()),
        }
    }
}

fn each(list: &[Value], check: impl Fn(&Value) -> Result<(), Flaw>) -> Result<(), Flaw> {
    let mut elements = list.iter().enumerate();
    elements.try_for_each(|(index, element)| {
        check(element).map_err(|flaw| flaw.within(format!("[{index}]")))
    })
}
