//! Recognizes the documents of a stream that repeat earlier ones.

use std::collections::VecDeque;

use super::fingerprint::Fingerprints;
use crate::transport::RawDocument;

/// The number of documents that are remembered.
const MOST: usize = 1 << 16;
/// A generator hardly ever yields this many documents in a row, or this many bytes, a second time
/// on purpose.
const SURE: usize = 16;
const SURE_BYTES: usize = 64 << 10;
/// The number of times that a gateway calls a generator again after it raised.
const TRIES: u32 = 3;

/// Takes in documents, and gives out those that are not repeats.
///
/// A gateway calls a generator again if it raises, so a repeat begins with the first document. A
/// repeat is certain once it is as long as the documents given so far, or long enough by itself.
/// Until then it is held back.
#[derive(Debug, Default)]
pub(super) struct Repeats {
    fingerprints: Fingerprints,
    /// The fingerprints of the documents given so far; empty if documents have no ids, because
    /// repeats cannot be recognized then.
    given: Vec<u64>,
    has_begun: bool,
    repeat: Repeat,
    ready: VecDeque<RawDocument>,
    dropped: u64,
}

/// A possible repeat.
#[derive(Debug, Default)]
struct Repeat {
    /// The number of documents in a row that equal the first ones, and their bytes.
    matched: usize,
    bytes: usize,
    is_certain: bool,
    /// The number of beginnings in a row, each cut off by the next.
    tries: u32,
    held: Vec<(u64, RawDocument)>,
}

impl Repeats {
    pub(super) fn push(&mut self, document: RawDocument) {
        if !self.has_begun {
            self.has_begun = true;
            if self.fingerprints.has_id(&document) {
                self.given.push(self.fingerprints.of(&document));
            }
            self.ready.push_back(document);
            return;
        }
        let Some(&first) = self.given.first() else {
            self.ready.push_back(document);
            return;
        };
        let print = self.fingerprints.of(&document);
        let Repeat { matched, is_certain, tries, .. } = self.repeat;
        if matched > 0 && self.given.get(matched) == Some(&print) {
            self.follow(print, document);
        } else if print == first {
            if is_certain || tries >= TRIES {
                self.release();
            }
            self.repeat.tries += 1;
            (self.repeat.matched, self.repeat.bytes) = (0, 0);
            self.follow(print, document);
        } else {
            self.release();
            self.give(print, document);
        }
    }

    /// Ends the stream: the documents held back are given, because no later document can decide
    /// about them.
    pub(super) fn end(&mut self) {
        self.release();
    }

    pub(super) fn pop(&mut self) -> Option<RawDocument> {
        self.ready.pop_front()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped
    }

    fn follow(&mut self, print: u64, document: RawDocument) {
        let repeat = &mut self.repeat;
        repeat.matched += 1;
        repeat.bytes += document.bytes.len();
        repeat.held.push((print, document));
        repeat.is_certain |= repeat.matched == self.given.len()
            || repeat.matched >= SURE
            || repeat.bytes >= SURE_BYTES;
        if repeat.is_certain {
            self.dropped += repeat.held.len() as u64;
            repeat.held.clear();
        }
    }

    fn release(&mut self) {
        for (print, document) in std::mem::take(&mut self.repeat).held {
            self.give(print, document);
        }
    }

    fn give(&mut self, print: u64, document: RawDocument) {
        if self.given.len() < MOST {
            self.given.push(print);
        }
        self.ready.push_back(document);
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::message::Encoding;

    fn document(id: Option<&str>, text: &str) -> RawDocument {
        let json = serde_json::json!({ "id": id, "text": text }).to_string();
        RawDocument { encoding: Encoding::Json, bytes: json.into() }
    }

    /// Returns the texts that are given, all under one id, and the number of dropped documents.
    fn given(id: Option<&str>, texts: &[&str]) -> (Vec<String>, u64) {
        let mut repeats = Repeats::default();
        let mut given = Vec::new();
        let mut take = |repeats: &mut Repeats| {
            while let Some(document) = repeats.pop() {
                let json: serde_json::Value = serde_json::from_slice(&document.bytes).unwrap();
                given.push(json["text"].as_str().unwrap().to_owned());
            }
        };
        for text in texts {
            repeats.push(document(id, text));
            take(&mut repeats);
        }
        repeats.end();
        take(&mut repeats);
        (given, repeats.dropped())
    }

    #[test]
    fn a_repeated_run_is_dropped_and_the_documents_beyond_it_are_given() {
        let table: [(&str, &str, u64); 10] = [
            ("a b c", "a b c", 0),
            // Four runs of a generator that always raises at the same place.
            ("a a a a", "a", 3),
            ("a b a b a b a b", "a b", 6),
            // Each run gets further.
            ("a a b a b c", "a b c", 3),
            ("a b c a b c d", "a b c d", 3),
            // A run that got less far, and one that got further.
            ("a b c a b a b c d", "a b c d", 5),
            // Text that comes word by word loses no word that came before.
            ("the cat the dog", "the cat the dog", 0),
            ("the cat saw the", "the cat saw the", 0),
            ("a b a c a b a c a b a c d", "a b a c d", 8),
            ("a b c a b x", "a b c a b x", 0),
        ];
        for (texts, expected, dropped) in table {
            let texts: Vec<&str> = texts.split(' ').collect();
            let (given, count) = given(Some("one"), &texts);
            assert_eq!(given.join(" "), expected, "{texts:?}");
            assert_eq!(count, dropped, "{texts:?}");
        }
    }

    #[test]
    fn documents_without_ids_are_all_given() {
        assert_eq!(given(None, &["a", "a", "b", "a", "b"]).0, ["a", "a", "b", "a", "b"]);
    }

    #[test]
    fn few_documents_are_held_back_and_a_long_match_is_a_repeat() {
        let words: Vec<String> = (0..100).map(|n| n.to_string()).collect();
        let mut texts: Vec<&str> = words.iter().map(String::as_str).collect();
        texts.extend_from_within(..SURE);
        texts.push("else");
        let (given, dropped) = given(Some("one"), &texts);
        assert_eq!((given.len(), dropped), (101, SURE as u64));
        let mut repeats = Repeats::default();
        for _ in 0..1000 {
            for text in ["a", "b", "a"] {
                repeats.push(document(Some("one"), text));
                assert!(repeats.repeat.held.len() <= 4 * SURE);
            }
        }
    }

    proptest! {
        #[test]
        fn documents_that_differ_from_the_first_are_never_lost(
            mut words in prop::collection::vec("[b-f]", 0..40),
        ) {
            words.insert(0, "a".to_owned());
            let texts: Vec<&str> = words.iter().map(String::as_str).collect();
            prop_assert_eq!(given(Some("one"), &texts), (words.clone(), 0));
        }

        /// Each run is a prefix of one sequence of different documents, like the runs of a
        /// generator that raises somewhere.
        #[test]
        fn every_document_of_runs_that_raise_is_given_and_only_once_if_each_run_gets_as_far(
            mut lengths in prop::collection::vec(1_usize..40, 1..=4),
            grows in any::<bool>(),
        ) {
            if grows {
                lengths.sort_unstable();
            }
            let words: Vec<String> = (0..40).map(|n| n.to_string()).collect();
            let runs = lengths.iter().flat_map(|length| &words[..*length]);
            let (mut given, _) = given(Some("one"), &runs.map(String::as_str).collect::<Vec<_>>());
            let expected = &words[..*lengths.iter().max().unwrap()];
            if !grows {
                let mut seen = std::collections::HashSet::new();
                given.retain(|word| seen.insert(word.clone()));
            }
            prop_assert_eq!(given, expected);
        }
    }
}
