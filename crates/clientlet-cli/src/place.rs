//! Finds the places of documents in the input by their numbers, which the library counts.

use std::collections::VecDeque;
use std::ops::Range;

/// The places of the documents: first the texts of `--text`, then the input's lines. Lines without a
/// document (blank or bad ones) make the numbers of lines and documents differ. So this keeps runs of
/// consecutive documents on consecutive lines, as long as a document in them may still be asked for.
pub(crate) struct Places {
    texts: u64,
    runs: VecDeque<Run>,
    /// The number of the next document.
    next: u64,
}

/// A run: the documents from `document` on are on the lines from `line` on, up to the next run.
struct Run {
    document: u64,
    line: u64,
}

impl Places {
    pub(crate) fn new(texts: u64) -> Places {
        Places { texts, runs: VecDeque::new(), next: texts }
    }

    /// Records that the next document of the input is on this line.
    pub(crate) fn push(&mut self, line: u64) {
        let continues =
            self.runs.back().is_some_and(|run| line - run.line == self.next - run.document);
        if !continues {
            self.runs.push_back(Run { document: self.next, line });
        }
        self.next += 1;
    }

    /// Whether any document of the input was read.
    pub(crate) fn has_lines(&self) -> bool {
        self.next > self.texts
    }

    /// Forgets the documents below `document`.
    pub(crate) fn forget_below(&mut self, document: u64) {
        while self.runs.get(1).is_some_and(|run| run.document <= document) {
            self.runs.pop_front();
        }
    }

    /// The line of a document. Returns `None` for a text of `--text` and for an unknown document.
    pub(crate) fn line(&self, document: u64) -> Option<u64> {
        let after = self.runs.partition_point(|run| run.document <= document);
        let run = self.runs.get(after.checked_sub(1)?)?;
        (document < self.next).then(|| run.line + (document - run.document))
    }

    /// The first and the last line of these documents. Returns `None` if none of them is in the input.
    pub(crate) fn lines(&self, documents: &Range<u64>) -> Option<(u64, u64)> {
        let first = documents.start.max(self.texts);
        if first >= documents.end {
            return None;
        }
        Some((self.line(first)?, self.line(documents.end - 1)?))
    }

    /// The line after the lines of all documents below `document`. Returns `None` if `document` is a
    /// text of `--text`.
    pub(crate) fn line_after(&self, document: u64) -> Option<u64> {
        match document {
            _ if document < self.texts => None,
            _ if document == self.texts => Some(1),
            _ => self.line(document - 1).map(|line| line + 1),
        }
    }

    /// Describes documents by their places, such as `lines 1-100`, `line 7` or `--text 1-2 and line 1`.
    pub(crate) fn describe(&self, documents: &Range<u64>) -> String {
        let texts = documents.start..documents.end.min(self.texts);
        let texts =
            (!texts.is_empty()).then(|| span("--text ", "--text ", texts.start + 1, texts.end));
        let lines = self.lines(documents).map(|(first, last)| span("line ", "lines ", first, last));
        match (texts, lines) {
            (Some(texts), Some(lines)) => format!("{texts} and {lines}"),
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => "no documents".to_owned(),
        }
    }

    /// Describes several ranges, such as `lines 1-100, lines 301-400`.
    pub(crate) fn describe_all(&self, ranges: &[Range<u64>]) -> String {
        ranges.iter().map(|range| self.describe(range)).collect::<Vec<_>>().join(", ")
    }
}

fn span(one: &str, many: &str, first: u64, last: u64) -> String {
    if first == last { format!("{one}{first}") } else { format!("{many}{first}-{last}") }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two texts, then documents on lines 1, 2, 5, 6, 7 and 9.
    fn places() -> Places {
        let mut places = Places::new(2);
        for line in [1, 2, 5, 6, 7, 9] {
            places.push(line);
        }
        places
    }

    #[test]
    fn documents_are_found_on_their_lines_although_some_lines_have_none() {
        let places = places();
        let lines: Vec<_> = (0..9).map(|document| places.line(document)).collect();
        let expected = [None, None, Some(1), Some(2), Some(5), Some(6), Some(7), Some(9), None];
        assert_eq!(lines, expected);
        assert_eq!(places.runs.len(), 3);
    }

    #[test]
    fn ranges_are_described_by_texts_and_lines() {
        let places = places();
        for (range, described) in [
            (0..1, "--text 1"),
            (0..2, "--text 1-2"),
            (1..3, "--text 2 and line 1"),
            (2..8, "lines 1-9"),
            (4..6, "lines 5-6"),
            (0..0, "no documents"),
        ] {
            assert_eq!(places.describe(&range), described);
        }
    }

    #[test]
    fn forgotten_documents_are_not_found_and_later_ones_are() {
        let mut places = places();
        places.forget_below(5);
        assert_eq!(places.runs.len(), 2);
        assert_eq!((places.line(5), places.line(7)), (Some(6), Some(9)));
        places.forget_below(100);
        assert_eq!(places.line_after(8), Some(10));
    }

    #[test]
    fn the_line_after_the_last_one_read_is_known() {
        let places = places();
        assert_eq!(places.line_after(1), None);
        assert_eq!(places.line_after(2), Some(1));
        assert_eq!(places.line_after(4), Some(3));
    }
}
