//! The documents that are sent: small ones, each with a text of its own and optionally an embedding.

use clientlet::Tensor;
use serde::{Deserialize, Serialize};

const LETTERS: &str = "the quick brown fox jumps over the lazy dog ";
/// The length of a document's text, in characters.
pub(crate) const TEXT_LENGTH: usize = 110;
/// The number of values in an embedding, of four bytes each.
pub(crate) const DIMENSIONS: usize = 768;

#[derive(Debug, Deserialize, Serialize)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) text: String,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) embedding: Option<Tensor>,
}

impl Document {
    pub(crate) fn numbered(number: usize) -> Document {
        let text = LETTERS.chars().cycle().skip(number % LETTERS.len()).take(TEXT_LENGTH).collect();
        Document { id: format!("document-{number}"), text, embedding: None }
    }

    pub(crate) fn embedded(number: usize) -> Document {
        let numbers = (0..DIMENSIONS).map(|n| ((number + n) % 1000) as f32 / 1000.0);
        let embedding = Tensor::from(numbers.collect::<Vec<f32>>());
        Document { embedding: Some(embedding), ..Document::numbered(number) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_have_ids_of_their_own_and_texts_of_the_stated_length() {
        let documents: Vec<Document> = (0..100).map(Document::numbered).collect();
        assert!(documents.iter().all(|document| document.text.chars().count() == TEXT_LENGTH));
        let ids: std::collections::HashSet<_> = documents.iter().map(|d| &d.id).collect();
        assert_eq!(ids.len(), 100);
        assert!(documents[1].text.starts_with("he quick"));
    }
}
