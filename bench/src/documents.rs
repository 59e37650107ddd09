//! What is sent: small documents, each with a text of its own.

use serde::Serialize;

const LETTERS: &str = "the quick brown fox jumps over the lazy dog ";
/// In characters.
pub(crate) const TEXT_LENGTH: usize = 110;

#[derive(Debug, Serialize)]
pub(crate) struct Document {
    pub(crate) id: String,
    pub(crate) text: String,
}

impl Document {
    pub(crate) fn numbered(number: usize) -> Document {
        let text = LETTERS.chars().cycle().skip(number % LETTERS.len()).take(TEXT_LENGTH).collect();
        Document { id: format!("document-{number}"), text }
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
