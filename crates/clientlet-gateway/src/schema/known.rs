//! The classes that the gateway itself knows.

use std::sync::LazyLock;

use super::{Field, Kind, Presence, Schema};
use crate::value::Value;

/// The one class of documents v1.
pub(crate) static V1: LazyLock<Schema> = LazyLock::new(|| {
    let of = Field::of;
    let score = Schema { fields: Vec::new(), ..Schema::new("NamedScore") }
        .field("value", of(Kind::Float).optional())
        .field("op_name", of(Kind::Text).optional())
        .field("description", of(Kind::Text).optional())
        .field("ref_id", of(Kind::Text).optional());
    let scores = of(Kind::Dictionary(Box::new(Kind::Document(score))));
    [
        ("parent_id", of(Kind::Text)),
        ("granularity", of(Kind::Integer)),
        ("adjacency", of(Kind::Integer)),
        ("blob", of(Kind::Base64)),
        ("tensor", of(Kind::Array)),
        ("mime_type", of(Kind::Text)),
        ("text", of(Kind::Text)),
        ("weight", of(Kind::Float)),
        ("uri", of(Kind::Text)),
        ("tags", of(Kind::Dictionary(Box::new(Kind::Any)))),
        ("offset", of(Kind::Float)),
        ("location", of(Kind::List(Box::new(Kind::Float)))),
        ("embedding", of(Kind::Array)),
        ("modality", of(Kind::Text)),
        ("evaluations", scores.clone()),
        ("scores", scores),
        ("chunks", of(Kind::OwnList)),
        ("matches", of(Kind::OwnList)),
    ]
    .into_iter()
    .fold(Schema::new("Document"), |class, (name, field)| class.field(name, field.optional()))
});

/// The class of the sample executor's documents v2.
pub(crate) static ITEM: LazyLock<Schema> = LazyLock::new(|| {
    Schema::new("Item")
        .field("text", Field::text().optional())
        .field("blob", Field::bytes().optional())
        .field("tensor", Field::array().optional())
        .field("embedding", Field::array().optional())
        .field("url", Field::url().optional())
        .field("number", Field::integer().optional())
        .field("ratio", Field::float().optional())
        .field("flag", Field::boolean().optional())
        .field("tags", empty(Field::dictionary(), Value::Map(Vec::new())))
        .field("words", empty(Field::list(Field::text()), Value::List(Vec::new())))
        .field("part", Field::document(PART.clone()).optional())
        .field("parts", empty(Field::documents(PART.clone()), Value::List(Vec::new())))
        .field("chunks", Field::documents(PART.clone()).optional())
});

/// The class of the documents within an [`ITEM`], and of those that its streams give.
pub(crate) static PART: LazyLock<Schema> = LazyLock::new(|| {
    Schema::new("Part")
        .field("text", Field::text().optional())
        .field("tensor", Field::array().optional())
});

fn empty(field: Field, default: Value) -> Field {
    Field { presence: Presence::Default(default), ..field }
}
