//! A document v2 on its way through the gateway over HTTP. It becomes a document of the class that the
//! endpoint takes, every field of which is in the answer.
//!
//! A real gateway reads the JSON by a model that it makes of the class, and what that model refuses is
//! a 422. It then passes the document to the executor, which reads it by the class itself; what only the
//! executor refuses is a 500. The model is laxer: it takes null for whatever must be given, and any
//! values in dictionaries.

use std::borrow::Cow;
use std::mem;

use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};

use crate::exception::python_repr;
use crate::identity::Ids;
use crate::json::{
    Array, Entries, Key, Raw, array, coerced_boolean, coerced_float, coerced_integer, coerced_text,
    has_wide_integer, visit_others, write, write_floats,
};
use crate::sample::Change;
use crate::schema::{Field, Kind, Presence, Schema};
use crate::validation::{
    Complaint, Complaints, NO_BOOLEAN, NO_DICT, NO_FLOAT, NO_INTEGER, NO_LIST, NO_TEXT, NULL,
};
use crate::value::BytesAs;

/// A document's fields as they were sent.
#[derive(Default)]
pub(crate) struct Item<'a> {
    fields: Vec<(Cow<'a, str>, Raw<'a>)>,
    /// The value was no object.
    pub(crate) stray: bool,
}

impl<'a> Item<'a> {
    pub(super) fn from_map<M: MapAccess<'a>>(mut map: M) -> Result<Self, M::Error> {
        let mut fields = Vec::new();
        while let Some((key, value)) = map.next_entry::<Key<'a>, Raw<'a>>()? {
            fields.push((key.0, value));
        }
        Ok(Self { fields, stray: false })
    }

    pub(super) fn new(fields: &[(&'static str, &'a str)]) -> Self {
        let fields = fields.iter().map(|(name, json)| (Cow::Borrowed(*name), Raw::new(json)));
        Self { fields: fields.collect(), stray: false }
    }

    /// The field of this name; of several the last counts.
    pub(crate) fn get(&self, name: &str) -> Raw<'a> {
        let found = self.fields.iter().rev().find(|(known, _)| known == name);
        found.map(|(_, json)| *json).unwrap_or_default()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for Item<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Read;

        impl<'de> Visitor<'de> for Read {
            type Value = Item<'de>;

            fn visit_map<M: MapAccess<'de>>(self, map: M) -> Result<Item<'de>, M::Error> {
                Item::from_map(map)
            }

            visit_others!('de, Ok(Item { stray: true, ..Item::default() }));
        }

        deserializer.deserialize_any(Read)
    }
}

/// A gateway splits what comes over HTTP into requests of 100 documents and answers with the first.
pub(super) const MOST_DOCUMENTS: usize = 100;

/// Writes documents, complaining about what they must not be.
pub(super) struct Writer<'w, 'c> {
    pub(super) out: Vec<u8>,
    pub(super) complaints: &'c mut Complaints,
    ids: &'w Ids,
    class: &'w Schema,
    change: Change,
    /// What the executor will complain of in the document that is written.
    refusals: Vec<String>,
}

/// Where a document stands.
#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Top,
    Inner,
}

impl<'w, 'c> Writer<'w, 'c> {
    /// Writes documents of a class.
    pub(super) fn new(
        ids: &'w Ids,
        class: &'w Schema,
        change: Change,
        complaints: &'c mut Complaints,
    ) -> Self {
        Self { out: Vec::with_capacity(1024), complaints, ids, class, change, refusals: Vec::new() }
    }

    /// Writes a list. All documents are checked, but only the first 100 come back.
    pub(super) fn items(&mut self, items: &[Item<'_>]) {
        let mut left = MOST_DOCUMENTS;
        let mut end = None;
        self.list(items, |writer, item| {
            if item.stray {
                writer.complaints.here(&NO_DICT);
            } else {
                writer.item(item);
            }
            left = left.saturating_sub(1);
            if left == 0 {
                end.get_or_insert(writer.out.len());
            }
        });
        if let Some(end) = end {
            self.out.truncate(end);
            self.out.push(b']');
        }
    }

    /// Writes the list of the one document.
    pub(super) fn one(&mut self, item: &Item<'_>) {
        self.out.push(b'[');
        self.item(item);
        self.out.push(b']');
    }

    /// Writes the document alone.
    pub(super) fn item(&mut self, item: &Item<'_>) {
        self.document(self.class, item, Depth::Top);
        let refusals = mem::take(&mut self.refusals);
        if !refusals.is_empty() {
            let model = self.class.name();
            let errors = refusals.join(", ");
            self.refuse(format!("ValidationError(model='{model}', errors=[{errors}])"));
        }
    }

    /// Has the executor fail, by the first exception that it raises.
    fn refuse(&mut self, exception: String) {
        self.complaints.refused.get_or_insert(exception);
    }

    fn list<T>(&mut self, elements: &[T], mut write: impl FnMut(&mut Self, &T)) {
        self.out.push(b'[');
        for (index, element) in elements.iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.complaints.enter(index);
            write(self, element);
            self.complaints.leave();
        }
        self.out.push(b']');
    }

    fn document(&mut self, class: &Schema, item: &Item<'_>, depth: Depth) {
        self.out.push(b'{');
        for (name, field) in class.fields() {
            self.key(name);
            let sent = item.get(name);
            match (depth, self.change, name) {
                (Depth::Top, Change::Upper, "text") => self.upper_text(sent),
                (Depth::Top, Change::Tag(tag), "tags") => self.tagged(sent, tag),
                _ => self.field(class, name, field, sent),
            }
        }
        if class.is_open() {
            // No class of a real gateway can have a field `_`.
            for (name, json) in item.fields.iter().filter(|(name, _)| name != "id" && name != "_") {
                self.key(name);
                self.complaints.enter(&**name);
                self.value(class, &Kind::Any, json.given().unwrap_or("null"));
                self.complaints.leave();
            }
        }
        self.out.push(b'}');
    }

    fn key(&mut self, name: &str) {
        if self.out.last() != Some(&b'{') {
            self.out.push(b',');
        }
        write(&mut self.out, name);
        self.out.push(b':');
    }

    fn field(&mut self, class: &Schema, name: &str, field: &Field, sent: Raw<'_>) {
        let Some(json) = sent.given() else {
            return self.missing(name, field, sent.is_null());
        };
        self.complaints.enter(name);
        match (&field.kind, &field.presence) {
            (Kind::Dictionary(kind), _) => self.dictionary(class, name, kind, json),
            (Kind::Documents(_) | Kind::OwnList, Presence::Optional) => self.ids(json),
            (kind, _) => self.value(class, kind, json),
        }
        self.complaints.leave();
    }

    /// Writes a field that is not given, or null.
    fn missing(&mut self, name: &str, field: &Field, is_null: bool) {
        match (&field.kind, &field.presence) {
            (_, Presence::Optional | Presence::Own) => self.null(),
            (_, Presence::Default(value)) if !is_null => {
                value.write_json(&mut self.out, BytesAs::Text);
            }
            // The executor is told null where the model lets a field be missing.
            (_, Presence::Required) | (Kind::Dictionary(_), _) => {
                self.null();
                self.refusal(&[name], &NULL);
            }
            (_, Presence::Default(_)) => {
                self.complaints.at(name, &NULL);
                self.null();
            }
        }
    }

    fn refusal(&mut self, path: &[&str], Complaint(message, kind): &Complaint<'_>) {
        let path: Vec<String> = path.iter().map(|step| python_repr(step)).collect();
        let comma = if path.len() == 1 { "," } else { "" };
        self.refusals.push(format!(
            "{{'loc': ({}{comma}), 'msg': {}, 'type': '{kind}'}}",
            path.join(", "),
            python_repr(message),
        ));
    }

    fn null(&mut self) {
        self.out.extend_from_slice(b"null");
    }

    fn complain(&mut self, complaint: &Complaint<'_>) {
        self.complaints.here(complaint);
        self.null();
    }

    fn scalar<T: serde::Serialize>(&mut self, scalar: Option<T>, complaint: &Complaint<'_>) {
        match scalar {
            Some(scalar) => write(&mut self.out, &scalar),
            None => self.complain(complaint),
        }
    }

    /// Writes a value as its kind has it.
    fn value(&mut self, class: &Schema, kind: &Kind, json: &str) {
        match kind {
            // A string goes through as it was written, escapes and all.
            Kind::Id | Kind::Url | Kind::Text | Kind::Bytes | Kind::Base64
                if json.starts_with('"') =>
            {
                self.out.extend_from_slice(json.as_bytes());
            }
            Kind::Id | Kind::Url | Kind::Text | Kind::Bytes | Kind::Base64 => {
                self.scalar(coerced_text(json), &NO_TEXT);
            }
            Kind::Integer => {
                let integer = coerced_integer(json);
                // Integers have 32 bits on the way to the executor, and a wider one breaks the
                // gateway.
                self.complaints.broken |= integer.is_some_and(|n| i32::try_from(n).is_err());
                self.scalar(integer, &NO_INTEGER);
            }
            Kind::Float => self.scalar(coerced_float(json), &NO_FLOAT),
            Kind::Boolean => self.scalar(coerced_boolean(json), &NO_BOOLEAN),
            Kind::Array => self.array(json),
            Kind::Any => {
                self.complaints.broken |= has_wide_integer(json);
                self.out.extend_from_slice(json.as_bytes());
            }
            Kind::List(kind) => match serde_json::from_str::<Vec<Raw<'_>>>(json) {
                Ok(elements) => self.list(&elements, |writer, element| match element.given() {
                    Some(json) => writer.value(class, kind, json),
                    None if **kind == Kind::Any => writer.null(),
                    None => writer.complain(&NULL),
                }),
                Err(_) => self.complain(&NO_LIST),
            },
            Kind::Dictionary(_) => match serde_json::from_str::<Entries<'_>>(json) {
                Ok(_) => self.value(class, &Kind::Any, json),
                Err(_) => self.complain(&NO_DICT),
            },
            Kind::Document(inner) => self.inner(inner, json),
            Kind::Own => self.inner(class, json),
            Kind::Documents(inner) => self.inner_list(inner, json),
            Kind::OwnList => self.inner_list(class, json),
        }
    }

    /// The executor's `/upper` takes a missing text for an empty one.
    fn upper_text(&mut self, text: Raw<'_>) {
        match text.given().map_or(Some(Cow::Borrowed("")), coerced_text) {
            Some(text) => write(&mut self.out, &text.to_uppercase()),
            None => {
                self.complaints.at("text", &NO_TEXT);
                self.null();
            }
        }
    }

    /// The executor's `/index` and others set a tag to true.
    fn tagged(&mut self, tags: Raw<'_>, tag: &str) {
        let entries: Entries<'_> = match tags.given().map(serde_json::from_str) {
            None if tags.is_null() => return self.refuse_tags(&NULL),
            None => Entries::default(),
            Some(Ok(entries)) => entries,
            Some(Err(_)) => return self.refuse_tags(&NO_DICT),
        };
        self.complaints.broken |= tags.given().is_some_and(has_wide_integer);
        self.out.push(b'{');
        for (name, value) in entries.0.iter().filter(|(name, _)| name != tag) {
            write(&mut self.out, &**name);
            self.out.push(b':');
            self.out.extend_from_slice(value.given().unwrap_or("null").as_bytes());
            self.out.push(b',');
        }
        write(&mut self.out, tag);
        self.out.extend_from_slice(b":true}");
    }

    fn refuse_tags(&mut self, complaint: &Complaint<'_>) {
        self.null();
        self.refusal(&["tags"], complaint);
    }

    /// Of dictionaries of anything the executor alone checks whether they are any. Values are always
    /// checked by the executor.
    fn dictionary(&mut self, class: &Schema, name: &str, kind: &Kind, json: &str) {
        let made;
        let mut json = json;
        if *kind != Kind::Any && !json.starts_with('{') {
            let Some(dictionary) = python_dictionary(json) else {
                return self.complain(&NO_DICT);
            };
            made = dictionary;
            json = &made;
        }
        let Ok(entries) = serde_json::from_str::<Entries<'_>>(json) else {
            self.null();
            return self.refusal(&[name], &NO_DICT);
        };
        self.complaints.broken |= has_wide_integer(json);
        if *kind == Kind::Any {
            self.out.extend_from_slice(json.as_bytes());
            return;
        }
        self.out.push(b'{');
        for (key, value) in &entries.0 {
            self.key(key);
            let mut complaints = Complaints::new();
            let mut writer = Writer::new(self.ids, class, Change::None, &mut complaints);
            match value.given() {
                Some(json) => writer.value(class, kind, json),
                None => writer.complain(&NULL),
            }
            let written = mem::take(&mut writer.out);
            self.out.extend_from_slice(&written);
            if let Some((message, kind)) = complaints.first() {
                self.refusal(&[name, key], &Complaint(&message, &kind));
            }
        }
        self.out.push(b'}');
    }

    fn array(&mut self, numbers: &str) {
        match array(numbers) {
            Array::Scalar | Array::Ragged => self.complain(&Complaint(
                "Expected one of [torch.Tensor, tensorflow.Tensor, numpy.ndarray] compatible type, \
                 got <class 'list'>",
                "type_error",
            )),
            Array::Even { mixed, holes } => {
                self.complaints.broken |= holes;
                if mixed {
                    write_floats(&mut self.out, numbers);
                } else {
                    self.out.extend_from_slice(numbers.as_bytes());
                }
            }
        }
    }

    fn inner(&mut self, class: &Schema, json: &str) {
        // The JSON was read once already, so only its shape can be wrong.
        match serde_json::from_str::<Item<'_>>(json) {
            Ok(item) if !item.stray => {
                let before = self.refusals.len();
                self.document(class, &item, Depth::Inner);
                if self.refusals.len() > before {
                    // Whatever is wrong inside the document, the executor says that the class is
                    // not supported.
                    self.refusals.truncate(before);
                    let class = format!("<class '__main__.{}'>", class.name());
                    let text = format!("{class} is not supported for proto deserialization");
                    self.refuse(format!("ValueError({})", python_repr(&text)));
                }
            }
            _ => self.complain(&NO_DICT),
        }
    }

    fn inner_list(&mut self, class: &Schema, json: &str) {
        let Ok(items) = serde_json::from_str::<Vec<Item<'_>>>(json) else {
            return self.complain(&NO_LIST);
        };
        self.list(&items, |writer, item| {
            if item.stray {
                return writer.complain(&NO_DICT);
            }
            let around = mem::take(&mut writer.refusals);
            writer.document(class, item, Depth::Inner);
            let refusals = mem::replace(&mut writer.refusals, around);
            if !refusals.is_empty() {
                let (model, errors) = (class.name(), refusals.join(", "));
                writer.refuse(format!("ValidationError(model='{model}', errors=[{errors}])"));
            }
        });
    }

    /// An optional list of documents loses all but the ids on its way through a real gateway.
    fn ids(&mut self, json: &str) {
        let Ok(items) = serde_json::from_str::<Vec<Item<'_>>>(json) else {
            return self.complain(&NO_LIST);
        };
        self.list(&items, |writer, item| {
            if item.stray {
                writer.complaints.here(&NO_DICT);
            }
            let id = item.get("id").given().and_then(coerced_text);
            writer.out.extend_from_slice(b"{\"id\":");
            write(&mut writer.out, &id.unwrap_or_else(|| writer.ids.make().into()));
            writer.out.push(b'}');
        });
    }
}

/// The dictionary that Python's `dict` makes of JSON that is no object: of nothing, or of a list of pairs
/// with texts as keys. `None` if it makes none.
fn python_dictionary(json: &str) -> Option<String> {
    use serde_json::Value;

    let pair = |element: Value| match element {
        Value::Array(pair) => {
            let [Value::String(key), value] = <[Value; 2]>::try_from(pair).ok()? else {
                return None;
            };
            Some((key, value))
        }
        Value::String(text) => {
            let mut characters = text.chars().map(String::from);
            let pair = (characters.next()?, Value::String(characters.next()?));
            characters.next().is_none().then_some(pair)
        }
        _ => None,
    };
    match serde_json::from_str(json).ok()? {
        Value::String(text) if text.is_empty() => Some("{}".into()),
        Value::Array(elements) => {
            let entries: Option<serde_json::Map<_, _>> = elements.into_iter().map(pair).collect();
            Some(Value::Object(entries?).to_string())
        }
        _ => None,
    }
}
