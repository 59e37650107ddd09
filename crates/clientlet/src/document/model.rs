//! The document that DocArray v1 knows.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Blob, Tensor, Value, list};

/// A document with every field that DocArray v1 has; what is not set is not sent.
///
/// For a v2 gateway, whose executors define their own fields, a struct of your own is the better
/// choice; this one serves where the names agree.
///
/// ```
/// let document = clientlet::Document { weight: Some(0.5), ..clientlet::Document::text("hello") };
/// assert_eq!(document.text.as_deref(), Some("hello"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// Made by the gateway if it is not set (a v2 HTTP gateway leaves it null).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The document that this one is a chunk of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// How many times chunks of chunks led here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<u32>,
    /// How many times matches of matches led here.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjacency: Option<u32>,
    /// Content as bytes; excludes `tensor` and `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<Blob>,
    /// Content as numbers; excludes `blob` and `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<Tensor>,
    /// What the content is, such as `text/plain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Content as text; excludes `blob` and `tensor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// How much the document counts.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// Where the content is.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Anything else, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Value>>,
    /// Where in its parent the document begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<f32>,
    /// Where in its parent the document stands.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Vec<f32>>,
    /// The document's vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Tensor>,
    /// Which kind of data this is, for searches over several.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub modality: Option<String>,
    /// Evaluations by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub evaluations: Option<BTreeMap<String, NamedScore>>,
    /// Scores by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub scores: Option<BTreeMap<String, NamedScore>>,
    /// The parts of the document.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list::maybe")]
    pub chunks: Option<Vec<Document>>,
    /// What was found for it.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list::maybe")]
    pub matches: Option<Vec<Document>>,
}

impl Document {
    /// A document with this text.
    pub fn text(text: impl Into<String>) -> Document {
        Document { text: Some(text.into()), ..Document::default() }
    }

    /// The same with this id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Document {
        self.id = Some(id.into());
        self
    }
}

/// A score and what it stands for.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedScore {
    /// The score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f32>,
    /// The operation that gave it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op_name: Option<String>,
    /// What it means.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The document that it relates to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_id: Option<String>,
}
