//! What the benchmarks work on: documents as they are sent to be searched.

use serde::{Deserialize, Serialize};

/// Documents a request.
pub(crate) const DOCUMENTS: usize = 100;
/// Numbers in an embedding.
pub(crate) const DIMENSIONS: usize = 768;
/// Characters in a text.
pub(crate) const TEXT: usize = 200;

/// A document whose embedding is an `E`: a list of numbers, or a tensor.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Article<E> {
    /// Three fields, as a v2 gateway wants more than two.
    pub(crate) id: String,
    /// Plain words.
    pub(crate) text: String,
    /// In [-1, 1).
    pub(crate) embedding: E,
}

/// Documents whose embeddings are made of a list by `embed`.
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
