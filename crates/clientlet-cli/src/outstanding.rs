//! Keeps track of the documents that have not ended yet.

use std::collections::BTreeMap;
use std::ops::Range;

/// The documents that have ended, as a few ranges: all documents below a mark, and the ranges beyond
/// it that ended early, with neighbouring ranges merged. There are at most as many gaps as requests in
/// flight.
#[derive(Default)]
pub(crate) struct Outstanding {
    /// The mark: all documents below it have ended.
    below: u64,
    /// The ranges beyond the mark: the first document of each, and the one after its last.
    ahead: BTreeMap<u64, u64>,
}

impl Outstanding {
    /// Records that these documents have ended.
    pub(crate) fn end(&mut self, documents: &Range<u64>) {
        let Range { mut start, mut end } = *documents;
        if start >= end {
            return;
        }
        if let Some((&before, &until)) = self.ahead.range(..start).next_back()
            && until == start
        {
            self.ahead.remove(&before);
            start = before;
        }
        if let Some(until) = self.ahead.remove(&end) {
            end = until;
        }
        if start == self.below {
            self.below = end;
        } else {
            self.ahead.insert(start, end);
        }
    }

    /// The first document that has not ended.
    pub(crate) fn first(&self) -> u64 {
        self.below
    }

    /// The number of documents that have ended.
    pub(crate) fn ended(&self) -> u64 {
        self.below + self.ahead.iter().map(|(start, end)| end - start).sum::<u64>()
    }

    /// The ranges of documents that have not ended, among the first `read` documents.
    pub(crate) fn ranges(&self, read: u64) -> Vec<Range<u64>> {
        let mut ranges = Vec::new();
        let mut from = self.below;
        for (&start, &end) in &self.ahead {
            ranges.push(from..start);
            from = end;
        }
        if from < read {
            ranges.push(from..read);
        }
        ranges
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn documents_between_ended_ranges_have_not_ended() {
        let mut outstanding = Outstanding::default();
        for range in [10..20, 30..40, 20..30, 50..60, 0..0] {
            outstanding.end(&range);
        }
        assert_eq!(outstanding.ahead.len(), 2);
        assert_eq!(outstanding.ranges(70), [0..10, 40..50, 60..70]);
        assert_eq!(outstanding.ended(), 40);
        outstanding.end(&(0..10));
        assert_eq!(outstanding.first(), 40);
        assert_eq!(outstanding.ranges(70), [40..50, 60..70]);
        outstanding.end(&(40..50));
        assert_eq!((outstanding.first(), outstanding.ranges(60)), (60, vec![]));
    }
}
