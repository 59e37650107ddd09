//! What types of many kinds show of themselves.

use std::collections::HashMap;
use std::net::Ipv4Addr;
use std::num::NonZeroU32;

use serde::{Deserialize, Deserializer, de};

use super::*;

#[derive(Deserialize)]
#[allow(dead_code)]
enum Color {
    Red,
    Green,
}

#[derive(Deserialize)]
#[allow(dead_code)]
enum Shape {
    Point,
    Circle(f32),
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Part {
    name: String,
    #[serde(default)]
    count: u8,
}

#[derive(Deserialize)]
#[serde(rename = "Article", rename_all = "camelCase")]
#[allow(dead_code)]
struct Whole {
    id: u64,
    text: String,
    year: NonZeroU32,
    published_at: Option<f64>,
    #[serde(default)]
    words: Vec<String>,
    rows: Vec<Vec<f32>>,
    part: Part,
    parts: Vec<Part>,
    chunks: Vec<Whole>,
    parent: Option<Box<Whole>>,
    tags: HashMap<String, serde_json::Value>,
    counts: HashMap<String, u32>,
    color: Color,
    shape: Shape,
    address: Ipv4Addr,
    pair: (u8, f32),
    triple: [f32; 3],
    anything: serde_json::Value,
    flag: bool,
}

#[test]
fn a_type_shows_its_class() {
    let part = Schema::new("Part")
        .field("name", Field::text())
        .field("count", Field::integer().default_value(0));
    let own = |kind, presence| Field { kind, presence };
    let expected = Schema::new("Article")
        .field("text", Field::text())
        .field("year", Field::integer())
        .field("publishedAt", Field::float().optional())
        .field("words", Field::list(Field::text()).default_value([""; 0]))
        .field("rows", Field::list(Field::list(Field::float())))
        .field("part", Field::document(part.clone()))
        .field("parts", Field::documents(part))
        .field("chunks", own(Kind::OwnList, Presence::Required))
        .field("parent", own(Kind::Own, Presence::Optional))
        .field("tags", Field::dictionary())
        .field("counts", Field::dictionary_of(Field::integer()))
        .field("color", Field::text())
        .field("shape", Field::any())
        .field("address", Field::text())
        .field("pair", Field::list(Field::any()))
        .field("triple", Field::list(Field::float()))
        .field("anything", Field::any())
        .field("flag", Field::boolean());
    assert_eq!(Schema::of::<Whole>(), expected);
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Picky {
    #[serde(deserialize_with = "refuse")]
    never: String,
    after: bool,
    #[serde(default)]
    last: f32,
}

fn refuse<'de, D: Deserializer<'de>>(deserializer: D) -> Result<String, D::Error> {
    let text = String::deserialize(deserializer)?;
    Err(de::Error::custom(text))
}

#[test]
fn a_type_that_takes_no_sample_shows_its_other_fields() {
    let expected = Schema::new("Picky")
        .field("never", Field::text())
        .field("after", Field::boolean())
        // Whether it may be missing cannot be seen, because `never` is missed first.
        .field("last", Field::float());
    assert_eq!(Schema::of::<Picky>(), expected);
}

#[test]
fn what_is_no_struct_is_open() {
    assert!(Schema::of::<serde_json::Value>().is_open());
    assert!(Schema::of::<HashMap<String, u8>>().is_open());
    assert!(Schema::of::<Vec<Part>>().is_open());
}
