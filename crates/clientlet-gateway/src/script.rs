//! Scripted streams of the sample executor.

use std::time::Duration;

/// What a streaming endpoint of the sample executor gives: the documents `s0`, `s1` and so on, whose
/// texts are the text of the sent document and the number.
#[derive(Clone, Debug)]
#[must_use]
pub struct StreamScript {
    pub(crate) documents: u64,
    pub(crate) pause: Duration,
    pub(crate) raises: bool,
}

impl StreamScript {
    /// This many documents, at once.
    pub fn new(documents: u64) -> Self {
        Self { documents, pause: Duration::ZERO, raises: false }
    }

    /// The time before each document; zero by default.
    pub fn pause(mut self, pause: Duration) -> Self {
        self.pause = pause;
        self
    }

    /// Whether the endpoint raises an exception behind its documents. As real gateways do, this one
    /// then calls it again, four times in all, so that the documents repeat, and ends the stream as if
    /// all were well.
    pub fn raises(mut self, raises: bool) -> Self {
        self.raises = raises;
        self
    }
}
