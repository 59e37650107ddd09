//! The data of the benchmarks: documents as a search application sends them.

use serde::{Deserialize, Serialize};

/// The number of documents of a request.
pub(crate) const DOCUMENTS: usize = 100;
/// The number of dimensions of an embedding.
pub(crate) const DIMENSIONS: usize = 768;
/// The number of characters of a text.
pub(crate) const TEXT: usize = 200;

/// A document whose embedding is an `E`: a list of numbers, or a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Article<E> {
    /// Three fields, because a v2 gateway needs more than two.
    pub(crate) id: String,
    /// Plain words.
    pub(crate) text: String,
    /// Numbers in [-1, 1).
    pub(crate) embedding: E,
}

/// Makes documents whose embeddings `embed` makes from lists.
pub(crate) fn articles<E>(embed: impl Fn(Vec<f32>) -> E) -> Vec<Article<E>> {
    let mut random = fastrand::Rng::with_seed(7);
    (0..DOCUMENTS)
        .map(|n| {
            let embedding = (0..DIMENSIONS).map(|_| random.f32() * 2.0 - 1.0).collect();
            Article { id: format!("article-{n}"), text: text(), embedding: embed(embedding) }
        })
        .collect()
}

fn text() -> String {
    "the quick brown fox jumps over the lazy dog ".chars().cycle().take(TEXT).collect()
}
