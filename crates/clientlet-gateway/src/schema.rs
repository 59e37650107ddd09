//! The class of an endpoint's documents: its fields, what they hold, and which may be left out.

mod carried;
mod known;
mod publish;
mod trace;

use std::sync::Arc;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde::Serialize;
use serde::de::DeserializeOwned;

pub(crate) use self::carried::Uncarried;
pub(crate) use self::known::{ITEM, PART, V1};
pub(crate) use self::publish::{Place, class, definitions};
use crate::identity::Ids;
use crate::value::{Array, ReadError, Value, to_value};

/// The class of an endpoint's documents v2, which a gateway publishes and which documents are checked
/// against. It is made [from a type](Schema::of), by hand, or from a type and then changed by hand.
///
/// Every class has the field `id`. A document without an id is given one.
///
/// ```
/// use clientlet_gateway::{Field, Schema};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Article {
///     text: String,
///     year: Option<u32>,
/// }
///
/// let by_hand = Schema::new("Article")
///     .field("text", Field::text())
///     .field("year", Field::integer().optional());
/// assert_eq!(by_hand, Schema::of::<Article>());
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Schema {
    name: String,
    fields: Vec<(String, Field)>,
    is_open: bool,
}

/// A field of a [`Schema`]. It must be given unless it is [optional](Field::optional) or has a
/// [default](Field::default_value).
#[derive(Clone, Debug, PartialEq)]
pub struct Field {
    pub(crate) kind: Kind,
    pub(crate) presence: Presence,
}

/// What a field holds, by the name of its Python type.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Kind {
    /// `ID`
    Id,
    /// `AnyUrl`
    Url,
    /// `str`
    Text,
    /// `bytes`
    Bytes,
    /// Bytes that are base64 where there are only texts: the blob of documents v1.
    Base64,
    /// `int`
    Integer,
    /// `float`
    Float,
    /// `bool`
    Boolean,
    /// `NdArray`
    Array,
    /// `Any`
    Any,
    /// `List[X]`
    List(Box<Kind>),
    /// `Dict[str, X]`
    Dictionary(Box<Kind>),
    /// A document of another class.
    Document(Schema),
    /// `DocList[X]` of another class.
    Documents(Schema),
    /// A document of the class itself.
    Own,
    /// `DocList` of the class itself.
    OwnList,
}

/// Whether a field may be left out, and what it is then.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Presence {
    Required,
    /// `Optional[X] = None`
    Optional,
    /// `X = default`
    Default(Value),
    /// `Optional[X] = None`, but a handler finds no field in place of null, so that the default of the
    /// type holds that it reads.
    Own,
}

impl Schema {
    /// A class with the field `id` alone.
    pub fn new(name: impl Into<String>) -> Self {
        let fields =
            vec![("id".to_owned(), Field { kind: Kind::Id, presence: Presence::Optional })];
        Self { name: name.into(), fields, is_open: false }
    }

    /// The class that takes any field, which endpoints have whose class is not given. No real executor
    /// has such a class.
    pub fn open() -> Self {
        Self { is_open: true, ..Self::new("AnyDocument") }
    }

    /// The class of the documents that a type reads, with the names that serde uses. The type is
    /// asked to read itself from samples, so no value of the type is needed.
    ///
    /// | Rust | the field holds |
    /// | --- | --- |
    /// | `String`, `char`, and types that are read from text, such as dates and UUIDs; enums without content | `str` |
    /// | integers, floats, `bool` | `int`, `float`, `bool` |
    /// | `clientlet::Tensor` | `NdArray` |
    /// | `clientlet::Blob`, and types that are read from bytes | `bytes` |
    /// | `Vec<T>` of plain values | `List[T]` |
    /// | a struct, `Vec` of a struct | a document, `DocList` |
    /// | maps with texts as keys | `Dict[str, T]` |
    /// | `Option<T>` | the same, [optional](Field::optional) |
    /// | what serde lets be missing, or may let be missing | the same, with [its own default](Field::own_default) |
    /// | lists and maps of `Option<T>`, and anything else | `Any` |
    ///
    /// serde does not tell defaults, so none is published. If a field takes none of the samples, as one
    /// that checks what it reads may do, fields behind it are taken for such that may be missing. Other
    /// names of a field (`alias`) are no fields.
    ///
    /// A type that is no struct, or a struct with a flattened field, has the [open](Schema::open) class.
    pub fn of<T: DeserializeOwned>() -> Self {
        trace::schema::<T>()
    }

    /// Adds a field, or replaces the one of this name.
    #[must_use]
    pub fn field(mut self, name: impl Into<String>, field: Field) -> Self {
        let name = name.into();
        match self.fields.iter_mut().find(|(known, _)| *known == name) {
            Some((_, known)) => *known = field,
            None => self.fields.push((name, field)),
        }
        self
    }

    /// The class's name.
    pub fn name(&self) -> &str {
        &self.name
    }

    pub(crate) fn is_open(&self) -> bool {
        self.is_open
    }

    /// Whether a gateway takes this class for the one that the next executor takes: it compares the
    /// names of the fields and their outermost types. An open class goes with any.
    pub(crate) fn is_passed_on_to(&self, next: &Self) -> bool {
        self.is_open || next.is_open || publish::outline(self) == publish::outline(next)
    }

    pub(crate) fn fields(&self) -> impl Iterator<Item = (&str, &Field)> {
        self.fields.iter().map(|(name, field)| (name.as_str(), field))
    }

    /// Makes a document of what a handler returned, with all fields in the order of the class. The
    /// document must fit the class. Only what Rust's types cannot express is converted, such as
    /// lists to arrays.
    ///
    /// # Errors
    ///
    /// A line that names the field which does not fit.
    pub(crate) fn fit(&self, returned: Value, ids: &Ids) -> Result<Value, ReadError> {
        let Value::Map(mut entries) = returned else {
            let what = returned.kind();
            return Err(ReadError::new(format!("{what} is returned where a document is needed")));
        };
        let mut fitted = Vec::with_capacity(self.fields.len());
        for (name, field) in &self.fields {
            let mut value = None;
            while let Some(index) = entries.iter().rposition(|(key, _)| key == name) {
                let (_, entry) = entries.remove(index);
                value.get_or_insert(entry);
            }
            let value = match (value, &field.kind, &field.presence) {
                (None | Some(Value::Null), Kind::Id, _) => Value::Text(ids.make()),
                (None, _, Presence::Required) => {
                    return Err(ReadError::new(self.complaint("it is missing")).within(name));
                }
                (None | Some(Value::Null), _, Presence::Optional | Presence::Own) => Value::Null,
                (None, _, Presence::Default(value)) => value.clone(),
                (Some(value), kind, _) => {
                    self.fit_kind(kind, value, ids).map_err(|error| error.within(name))?
                }
            };
            fitted.push((name.clone(), value));
        }
        if self.is_open {
            fitted.append(&mut entries);
        }
        match entries.first() {
            Some((name, _)) => {
                Err(ReadError::new(self.complaint("the class has no such field")).within(name))
            }
            None => Ok(Value::Map(fitted)),
        }
    }

    fn complaint(&self, what: &str) -> String {
        format!("it does not fit the class `{}`: {what}", self.name)
    }

    fn fit_kind(&self, kind: &Kind, value: Value, ids: &Ids) -> Result<Value, ReadError> {
        let elements = |list: Vec<Value>, fit: &dyn Fn(Value) -> Result<Value, ReadError>| {
            let elements = list.into_iter().enumerate();
            let fitted = elements
                .map(|(index, value)| fit(value).map_err(|e| e.within(format!("[{index}]"))));
            fitted.collect::<Result<_, _>>().map(Value::List)
        };
        Ok(match (kind, value) {
            (Kind::Any, value)
            | (Kind::Boolean, value @ Value::Boolean(_))
            | (Kind::Integer, value @ Value::Integer(_))
            | (Kind::Float, value @ Value::Float(_))
            | (Kind::Array, value @ Value::Array(_))
            | (Kind::Bytes | Kind::Base64, value @ Value::Bytes(_))
            | (Kind::Id | Kind::Url | Kind::Text, value @ Value::Text(_)) => value,
            (Kind::Id, Value::Integer(n)) => Value::Text(n.to_string()),
            (Kind::Float, Value::Integer(n)) => Value::Float(n as f64),
            (Kind::Integer, Value::Float(n)) if n.fract() == 0.0 && n.abs() < 9.2e18 => {
                Value::Integer(n as i64)
            }
            (Kind::Bytes, Value::Text(text)) => Value::Bytes(text.into()),
            (Kind::Base64, Value::Text(text)) => match STANDARD.decode(&text) {
                Ok(bytes) => Value::Bytes(bytes.into()),
                Err(_) => return Err(ReadError::new(self.complaint("it is no base64"))),
            },
            (Kind::Array, Value::List(list)) => match Array::of_list(&list) {
                Some(array) => Value::Array(array),
                None => {
                    let what = "no array can be made of the list";
                    return Err(ReadError::new(self.complaint(what)));
                }
            },
            (Kind::Bytes, Value::List(list)) if list.iter().all(|v| byte(v).is_some()) => {
                Value::Bytes(list.iter().filter_map(byte).collect::<Vec<u8>>().into())
            }
            (Kind::List(_), Value::Array(array)) => {
                return self.fit_kind(kind, array.to_list(), ids);
            }
            (Kind::List(kind), Value::List(list)) => {
                return elements(list, &|value| self.fit_kind(kind, value, ids));
            }
            (Kind::Dictionary(kind), Value::Map(entries)) => {
                let mut fitted = Vec::with_capacity(entries.len());
                for (key, value) in entries {
                    let value = self.fit_kind(kind, value, ids).map_err(|e| e.within(&*key))?;
                    fitted.push((key, value));
                }
                Value::Map(fitted)
            }
            (Kind::Document(class), value @ Value::Map(_)) => return class.fit(value, ids),
            (Kind::Own, value @ Value::Map(_)) => return self.fit(value, ids),
            (Kind::Documents(class), Value::List(list)) => {
                return elements(list, &|value| class.fit(value, ids));
            }
            (Kind::OwnList, Value::List(list)) => {
                return elements(list, &|value| self.fit(value, ids));
            }
            (kind, value) => {
                let what = format!("it is {}, not {}", value.kind(), kind.shown());
                return Err(ReadError::new(self.complaint(&what)));
            }
        })
    }

    /// Documents of this class as a handler finds them: without fields that are null because their own
    /// default holds.
    pub(crate) fn without_own_defaults(&self, documents: &Arc<Vec<Value>>) -> Arc<Vec<Value>> {
        if !self.has_own_defaults() {
            return Arc::clone(documents);
        }
        Arc::new(documents.iter().map(|document| self.pruned(document)).collect())
    }

    fn has_own_defaults(&self) -> bool {
        self.fields.iter().any(|(_, field)| match &field.kind {
            _ if field.presence == Presence::Own => true,
            Kind::Document(inner) | Kind::Documents(inner) => inner.has_own_defaults(),
            _ => false,
        })
    }

    fn pruned(&self, document: &Value) -> Value {
        let Value::Map(entries) = document else { return document.clone() };
        let entries = entries.iter().filter_map(|(name, value)| {
            let field = self.fields.iter().find(|(known, _)| known == name);
            let pruned = match (field.map(|(_, field)| (&field.kind, &field.presence)), value) {
                (Some((_, Presence::Own)), Value::Null) => return None,
                (Some((Kind::Document(class) | Kind::Documents(class), _)), value) => {
                    class.pruned_each(value)
                }
                (Some((Kind::Own | Kind::OwnList, _)), value) => self.pruned_each(value),
                (_, value) => value.clone(),
            };
            Some((name.clone(), pruned))
        });
        Value::Map(entries.collect())
    }

    fn pruned_each(&self, value: &Value) -> Value {
        match value {
            Value::List(list) => list.iter().map(|document| self.pruned(document)).collect(),
            document => self.pruned(document),
        }
    }

    /// A document as JSON over HTTP has it: of an optional list of documents only the ids are left.
    pub(crate) fn shown(&self, document: Value) -> Value {
        let Value::Map(entries) = document else { return document };
        let entries = entries.into_iter().map(|(name, value)| {
            let field = self.fields.iter().find(|(known, _)| *known == name);
            let is_lost = field.is_some_and(|(_, field)| {
                matches!(field.kind, Kind::Documents(_) | Kind::OwnList)
                    && field.presence == Presence::Optional
            });
            match value {
                Value::List(list) if is_lost => (name, list.iter().map(id_alone).collect()),
                value => (name, value),
            }
        });
        Value::Map(entries.collect())
    }

    /// Turns a value of JSON into the document of this class that it stands for: text into bytes and
    /// lists into arrays, where the class has those.
    pub(crate) fn of_json(&self, document: Value) -> Value {
        let Value::Map(entries) = document else { return document };
        let entries = entries.into_iter().map(|(name, value)| {
            let field = self.fields.iter().find(|(known, _)| *known == name);
            let value = match field {
                Some((_, field)) => self.kind_of_json(&field.kind, value),
                None => value,
            };
            (name, value)
        });
        Value::Map(entries.collect())
    }

    fn kind_of_json(&self, kind: &Kind, value: Value) -> Value {
        let each = |list: Vec<Value>, class: &Self| {
            Value::List(list.into_iter().map(|document| class.of_json(document)).collect())
        };
        match (kind, value) {
            (Kind::Bytes, Value::Text(text)) => Value::Bytes(text.into()),
            (Kind::Base64, Value::Text(text)) => match STANDARD.decode(&text) {
                Ok(bytes) => Value::Bytes(bytes.into()),
                Err(_) => Value::Text(text),
            },
            (Kind::Array, Value::List(list)) => {
                Array::of_list(&list).map_or(Value::List(list), Value::Array)
            }
            (Kind::Document(class), value) => class.of_json(value),
            (Kind::Own, value) => self.of_json(value),
            (Kind::Documents(class), Value::List(list)) => each(list, class),
            (Kind::OwnList, Value::List(list)) => each(list, self),
            (_, value) => value,
        }
    }
}

fn id_alone(document: &Value) -> Value {
    let id = document.get("id").cloned().unwrap_or_default();
    Value::Map(vec![("id".to_owned(), id)])
}

fn byte(value: &Value) -> Option<u8> {
    match value {
        Value::Integer(n) => u8::try_from(*n).ok(),
        _ => None,
    }
}

impl Kind {
    /// Python's name of the type.
    pub(crate) fn shown(&self) -> String {
        match self {
            Self::Id => "ID".into(),
            Self::Url => "AnyUrl".into(),
            Self::Text => "str".into(),
            Self::Bytes | Self::Base64 => "bytes".into(),
            Self::Integer => "int".into(),
            Self::Float => "float".into(),
            Self::Boolean => "bool".into(),
            Self::Array => "NdArray".into(),
            Self::Any => "Any".into(),
            Self::List(kind) => format!("List[{}]", kind.shown()),
            Self::Dictionary(kind) => format!("Dict[str, {}]", kind.shown()),
            Self::Document(class) => class.name.clone(),
            Self::Documents(class) => format!("DocList[{}]", class.name),
            Self::Own => "a document".into(),
            Self::OwnList => "DocList".into(),
        }
    }
}

impl Field {
    fn of(kind: Kind) -> Self {
        Self { kind, presence: Presence::Required }
    }

    /// Text: `str`.
    pub fn text() -> Self {
        Self::of(Kind::Text)
    }

    /// An URL: `AnyUrl`.
    pub fn url() -> Self {
        Self::of(Kind::Url)
    }

    /// Bytes. JSON has them as text, in UTF-8.
    pub fn bytes() -> Self {
        Self::of(Kind::Bytes)
    }

    /// An integer: `int`, which has 32 bits on its way to an executor.
    pub fn integer() -> Self {
        Self::of(Kind::Integer)
    }

    /// A floating-point number: `float`.
    pub fn float() -> Self {
        Self::of(Kind::Float)
    }

    /// A boolean: `bool`.
    pub fn boolean() -> Self {
        Self::of(Kind::Boolean)
    }

    /// Numbers of any type and shape: `NdArray`.
    pub fn array() -> Self {
        Self::of(Kind::Array)
    }

    /// Anything: `Any`.
    pub fn any() -> Self {
        Self::of(Kind::Any)
    }

    /// A list whose elements are as this field's value is: `List[X]`.
    pub fn list(element: Self) -> Self {
        Self::of(Kind::List(Box::new(element.kind)))
    }

    /// A dictionary with anything as its values: `Dict[str, Any]`.
    pub fn dictionary() -> Self {
        Self::dictionary_of(Self::any())
    }

    /// A dictionary whose values are as this field's value is: `Dict[str, X]`.
    pub fn dictionary_of(value: Self) -> Self {
        Self::of(Kind::Dictionary(Box::new(value.kind)))
    }

    /// A document within the document.
    pub fn document(class: Schema) -> Self {
        Self::of(Kind::Document(class))
    }

    /// A list of documents: `DocList[X]`.
    pub fn documents(class: Schema) -> Self {
        Self::of(Kind::Documents(class))
    }

    /// The field may be left out or be null: `Optional[X] = None`. Over HTTP a real gateway loses all
    /// but the ids of documents in an optional list of documents, and so does this one.
    #[must_use]
    pub fn optional(mut self) -> Self {
        self.presence = Presence::Optional;
        self
    }

    /// The field may be left out, and then its type's own default holds: a handler that reads the
    /// documents finds no such field. The gateway publishes and gives it as an [optional](Self::optional)
    /// field, but keeps whole documents in an optional list of documents.
    #[must_use]
    pub fn own_default(mut self) -> Self {
        self.presence = Presence::Own;
        self
    }

    /// The field may be left out, and then has this value.
    ///
    /// # Panics
    ///
    /// If serde cannot write the value, as a map with keys that are no text.
    #[must_use]
    pub fn default_value(mut self, value: impl Serialize) -> Self {
        let value = to_value(&value).expect("a default that serde can write");
        self.presence = Presence::Default(value);
        self
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;
    use crate::value::BytesAs;

    fn fit(class: &Schema, returned: &serde_json::Value) -> Result<serde_json::Value, String> {
        let fitted = class.fit(to_value(returned).unwrap(), &Ids::new(1));
        fitted.map(|value| value.to_json(BytesAs::Text)).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_is_filled_in() {
        let class = Schema::new("Found")
            .field("text", Field::text())
            .field("score", Field::float().default_value(0.5))
            .field("note", Field::text().optional());
        assert_eq!(
            fit(&class, &json!({"id": "a", "text": "t"})),
            Ok(json!({"id": "a", "text": "t", "score": 0.5, "note": null}))
        );
        let id = fit(&class, &json!({"text": "t"})).unwrap()["id"].clone();
        assert_eq!(id.as_str().map(str::len), Some(32));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let inner = Schema::new("Inner").field("count", Field::integer());
        let class = Schema::new("Found")
            .field("text", Field::text())
            .field("embedding", Field::array().optional())
            .field("inner", Field::documents(inner).optional());
        for (returned, message) in [
            (json!([]), "a list is returned where a document is needed"),
            (json!({}), "`text`: it does not fit the class `Found`: it is missing"),
            (
                json!({"text": 1}),
                "`text`: it does not fit the class `Found`: it is an integer, not str",
            ),
            (
                json!({"text": null}),
                "`text`: it does not fit the class `Found`: it is null, not str",
            ),
            (
                json!({"text": "", "embedding": [[1], 2]}),
                "`embedding`: it does not fit the class `Found`: no array can be made of the list",
            ),
            (
                json!({"text": "", "inner": [{"count": 1}, {"count": "two"}]}),
                "`inner[1].count`: it does not fit the class `Inner`: it is text, not int",
            ),
            (
                json!({"text": "", "more": 1}),
                "`more`: it does not fit the class `Found`: the class has no such field",
            ),
        ] {
            assert_eq!(fit(&class, &returned).unwrap_err(), message);
        }
    }
}
