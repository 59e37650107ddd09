//! A class as a gateway publishes it, in the words of pydantic and FastAPI.

use std::collections::BTreeMap;

use serde_json::{Map, Value as Json, json};

use super::{Kind, Presence, Schema};
use crate::value::BytesAs;

/// Where the classes of documents within documents stand.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// In openapi.json.
    Components,
    /// Beside the class itself, as `endpoint_discovery` has it.
    Definitions,
}

/// The JSON schema of a class, without the classes of documents within it.
pub(crate) fn class(class: &Schema, place: Place) -> Json {
    let mut properties = Map::new();
    let mut required = Vec::new();
    for (name, field) in class.fields() {
        let mut property = kind(class, &field.kind, place);
        property.insert("title".into(), title(name).into());
        match &field.presence {
            Presence::Required => required.push(name),
            Presence::Optional | Presence::Own => {}
            Presence::Default(value) => {
                property.insert("default".into(), value.to_json(BytesAs::Text));
            }
        }
        properties.insert(name.into(), property.into());
    }
    let mut published = json!({"properties": properties, "type": "object", "title": class.name()});
    if !required.is_empty() {
        published["required"] = required.into();
    }
    if class.is_open() {
        published["additionalProperties"] = true.into();
    }
    published
}

/// The fields of a class and the types that are published for them, in the order of their names.
pub(super) fn outline(of: &Schema) -> BTreeMap<&str, Option<Json>> {
    let fields = of.fields();
    fields
        .map(|(name, field)| (name, kind(of, &field.kind, Place::Definitions).remove("type")))
        .collect()
}

/// The classes of documents within documents of a class, by their names.
pub(crate) fn definitions(class: &Schema, into: &mut Vec<(String, Schema)>) {
    for (_, field) in class.fields() {
        if let Kind::Document(inner) | Kind::Documents(inner) = &field.kind
            && !into.iter().any(|(name, _)| *name == inner.name())
        {
            into.push((inner.name().to_owned(), inner.clone()));
            definitions(inner, into);
        }
    }
}

fn kind(class: &Schema, of: &Kind, place: Place) -> Map<String, Json> {
    let refer = |name: &str| match place {
        Place::Components => {
            json!({"allOf": [{"$ref": format!("#/components/schemas/{name}")}]})
        }
        Place::Definitions => json!({"$ref": format!("#/definitions/{name}")}),
    };
    let published = match of {
        Kind::Id | Kind::Text => json!({"type": "string"}),
        Kind::Url => {
            json!({"type": "string", "maxLength": 65536, "minLength": 1, "format": "uri"})
        }
        Kind::Bytes | Kind::Base64 => json!({"type": "string", "format": "binary"}),
        Kind::Integer => json!({"type": "integer"}),
        Kind::Float => json!({"type": "number"}),
        Kind::Boolean => json!({"type": "boolean"}),
        Kind::Array => json!({
            "items": {"type": "number"},
            "type": "array",
            "tensor/array shape": "not specified",
        }),
        Kind::Any => json!({}),
        Kind::List(element) => {
            json!({"items": kind(class, element, place), "type": "array"})
        }
        Kind::Dictionary(value) => match &**value {
            Kind::Any => json!({"type": "object"}),
            value => {
                json!({"additionalProperties": kind(class, value, place), "type": "object"})
            }
        },
        Kind::Document(inner) => refer(inner.name()),
        Kind::Own => refer(class.name()),
        // The class of their documents is not published.
        Kind::Documents(_) | Kind::OwnList => json!({"items": {}, "type": "array"}),
    };
    match published {
        Json::Object(published) => published,
        _ => Map::new(),
    }
}

/// A field's title: its name in words, each with a capital.
fn title(name: &str) -> String {
    let mut title = String::with_capacity(name.len());
    let mut is_within = false;
    for character in name.replace('_', " ").chars() {
        match is_within {
            true => title.extend(character.to_lowercase()),
            false => title.extend(character.to_uppercase()),
        }
        is_within = character.is_alphabetic();
    }
    title
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::schema::{ITEM, PART};

    /// Removes the parts of a published class that do not say what the class takes.
    fn plain(mut published: Json) -> Json {
        let Some(class) = published.as_object_mut() else { return published };
        class.remove("description");
        for (_, field) in class["properties"].as_object_mut().into_iter().flatten() {
            let Some(field) = field.as_object_mut() else { continue };
            for name in ["description", "example", "$ref"] {
                field.remove(name);
            }
        }
        published
    }

    #[test]
    fn classes_are_published_as_3_33_1_does() {
        let recorded = include_str!("../../../../interop/fixtures/current/http_openapi.json");
        let recorded: Json = serde_json::from_str(recorded).unwrap();
        let recorded = recorded["components"]["schemas"].clone();
        let shown = class(&ITEM, Place::Components).to_string();
        // Python's module is in the name.
        let shown = shown.replace("schemas/Part", "schemas/__main____Part");
        let shown: Json = serde_json::from_str(&shown).unwrap();
        assert_eq!(plain(shown), plain(recorded["Item"].clone()));
        assert_eq!(plain(class(&PART, Place::Components)), plain(recorded["Part"].clone()));
    }

    #[test]
    fn titles_are_as_pydantic_makes_them() {
        for (name, expected) in
            [("text", "Text"), ("bytes_", "Bytes "), ("max_len2go", "Max Len2Go"), ("aB", "Ab")]
        {
            assert_eq!(title(name), expected);
        }
    }
}
