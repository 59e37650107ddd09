//! A document as a user's own type, with fields of every kind.

use std::collections::{BTreeMap, HashMap};

use clientlet::{Blob, Tensor, Value};
use serde::Deserialize;

/// The elements of each list are larger than their text.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(crate) struct Typed {
    id: String,
    text: Option<String>,
    blob: Option<Blob>,
    tensor: Option<Tensor>,
    embedding: Vec<f64>,
    location: Vec<Option<(i32, i32)>>,
    chunks: Vec<Typed>,
    matches: Vec<HashMap<String, Vec<String>>>,
    tags: HashMap<String, Value>,
    scores: BTreeMap<String, Score>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Score {
    value: f32,
    op_name: Option<String>,
}
