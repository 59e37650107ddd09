//! The document of DocArray v1.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::{Blob, Tensor, Value, list};

/// A document with every field of DocArray v1. Fields that are not set are not sent.
///
/// The executors of a v2 gateway define their own fields, so a struct of your own is the better
/// choice for them. `Document` works there if the field names agree.
///
/// ```
/// let document = clientlet::Document { weight: Some(0.5), ..clientlet::Document::text("hello") };
/// assert_eq!(document.text.as_deref(), Some("hello"));
/// ```
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Document {
    /// The document's id. If it is not set, the gateway makes one (a v2 gateway over HTTP leaves it
    /// null).
    #[serde(skip_serializing_if = "Option::is_none")]
    pub id: Option<String>,
    /// The document that this one is a chunk of.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parent_id: Option<String>,
    /// How many levels of chunks lie above this document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub granularity: Option<u32>,
    /// How many levels of matches lie above this document.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub adjacency: Option<u32>,
    /// Content as bytes; excludes `tensor` and `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub blob: Option<Blob>,
    /// Content as numbers; excludes `blob` and `text`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tensor: Option<Tensor>,
    /// The type of the content, such as `text/plain`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mime_type: Option<String>,
    /// Content as text; excludes `blob` and `tensor`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub text: Option<String>,
    /// The document's weight.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weight: Option<f32>,
    /// The address of the content.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub uri: Option<String>,
    /// Any other values, by name.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tags: Option<BTreeMap<String, Value>>,
    /// The offset in the parent at which the document begins.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offset: Option<f32>,
    /// The location of the document in its parent.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub location: Option<Vec<f32>>,
    /// The document's vector.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub embedding: Option<Tensor>,
    /// The kind of data, such as text or image, for searches over several kinds.
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
    /// The documents that a search found for this document.
    #[serde(skip_serializing_if = "Option::is_none", deserialize_with = "list::maybe")]
    pub matches: Option<Vec<Document>>,
}

impl Document {
    /// Makes a document with this text.
    pub fn text(text: impl Into<String>) -> Document {
        Document { text: Some(text.into()), ..Document::default() }
    }

    /// Sets the id.
    #[must_use]
    pub fn with_id(mut self, id: impl Into<String>) -> Document {
        self.id = Some(id.into());
        self
    }
}

/// A score and its meaning.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct NamedScore {
    /// The score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub value: Option<f32>,
    /// The name of the operation that computed the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub op_name: Option<String>,
    /// A description of the score.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub description: Option<String>,
    /// The id of the document that the score relates to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ref_id: Option<String>,
}
