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
        .field("count", Field::integer().own_default());
    let own = |kind, presence| Field { kind, presence };
    let expected = Schema::new("Article")
        .field("text", Field::text())
        .field("year", Field::integer())
        .field("publishedAt", Field::float().optional())
        .field("words", Field::list(Field::text()).own_default())
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
        // Whether these may be missing cannot be seen, because `never` is missed first.
        .field("after", Field::boolean().own_default())
        .field("last", Field::float().own_default());
    assert_eq!(Schema::of::<Picky>(), expected);
}

#[test]
fn what_is_no_struct_is_open() {
    assert!(Schema::of::<serde_json::Value>().is_open());
    assert!(Schema::of::<HashMap<String, u8>>().is_open());
    assert!(Schema::of::<Vec<Part>>().is_open());
}

#[derive(Deserialize)]
#[serde(default)]
#[allow(dead_code)]
struct Filled {
    count: i32,
    words: Vec<String>,
}

impl Default for Filled {
    fn default() -> Self {
        Self { count: 6, words: vec!["six".into()] }
    }
}

fn six() -> String {
    "six".into()
}

#[derive(Deserialize)]
#[serde(tag = "kind")]
#[allow(dead_code)]
enum Tagged {
    One { a: u8 },
    Two,
}

#[derive(Deserialize)]
#[serde(try_from = "String")]
struct Email;

impl TryFrom<String> for Email {
    type Error = &'static str;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        if text.contains('@') { Ok(Self) } else { Err("no address") }
    }
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Defaults {
    #[serde(default = "six")]
    text: String,
    must: String,
    email: Email,
    shape: Shape,
    outline: Outline,
    filled: Filled,
    behind: u8,
    #[serde(default)]
    count: u8,
    tagged: Tagged,
    #[serde(default)]
    last: u8,
}

/// An enum all of whose variants have content.
#[derive(Deserialize)]
#[allow(dead_code)]
enum Outline {
    Circle(f32),
    Square { side: f32 },
}

#[test]
fn a_default_is_never_guessed_and_what_has_one_may_be_left_out() {
    let filled = Schema::new("Filled")
        .field("count", Field::integer().own_default())
        .field("words", Field::list(Field::text()).own_default());
    let expected = Schema::new("Defaults")
        .field("text", Field::text().own_default())
        .field("must", Field::text())
        .field("email", Field::text())
        .field("shape", Field::any())
        .field("outline", Field::any())
        .field("filled", Field::document(filled))
        .field("behind", Field::integer())
        .field("count", Field::integer().own_default())
        .field("tagged", Field::any())
        .field("last", Field::integer().own_default());
    assert_eq!(Schema::of::<Defaults>(), expected);
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Named {
    #[serde(alias = "titel", alias = "a_title", alias = "title2")]
    title: String,
    #[serde(alias = "a")]
    other: Option<u8>,
    parts: Vec<Aliased>,
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Aliased {
    #[serde(alias = "number", default)]
    n: u8,
    must: u8,
}

#[test]
fn an_alias_is_no_field() {
    let part = Schema::new("Aliased")
        .field("n", Field::integer().own_default())
        .field("must", Field::integer());
    let expected = Schema::new("Named")
        .field("title", Field::text())
        .field("other", Field::integer().optional())
        .field("parts", Field::documents(part));
    let found = Schema::of::<Named>();
    let sorted = |class: &Schema| {
        let mut fields: Vec<_> = class.fields().map(|(n, f)| (n.to_owned(), f.clone())).collect();
        fields.sort_by(|one, other| one.0.cmp(&other.0));
        fields
    };
    assert_eq!(sorted(&found), sorted(&expected));
}

#[derive(Deserialize)]
#[allow(dead_code)]
struct Holes {
    list: Vec<Option<i32>>,
    table: HashMap<String, Option<f64>>,
    rows: Vec<Vec<Option<f32>>>,
    maybe: Option<Vec<Option<String>>>,
    parts: Vec<Option<Part>>,
}

#[test]
fn elements_that_may_be_null_may_be_anything() {
    let expected = Schema::new("Holes")
        .field("list", Field::list(Field::any()))
        .field("table", Field::dictionary())
        .field("rows", Field::list(Field::list(Field::any())))
        .field("maybe", Field::list(Field::any()).optional())
        .field("parts", Field::list(Field::any()));
    assert_eq!(Schema::of::<Holes>(), expected);
}
