//! Keeps the answer to one question to a gateway until the next question is answered as well.
//! Otherwise discovery would never complete under a rate limit that lets one question pass at a
//! time.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::generation::Told;

/// How long an answer is kept: about as long as the attempts of a request take.
const LONGEST: Duration = Duration::from_secs(60);

/// The answer of a gateway's status, and when it came.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Option<(Told, Instant)>>);

impl Kept {
    /// Returns the kept answer.
    pub(super) fn get(&self) -> Option<Told> {
        self.told().filter(|(_, since)| since.elapsed() < LONGEST).map(|(told, _)| told)
    }

    /// Keeps an answer, unless one is kept already.
    pub(super) fn keep(&self, told: Told) {
        if self.get().is_none() {
            *self.told() = Some((told, Instant::now()));
        }
    }

    /// Forgets the kept answer, because discovery is complete.
    pub(super) fn forget(&self) {
        *self.told() = None;
    }

    fn told(&self) -> MutexGuard<'_, Option<(Told, Instant)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::DocArray;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_a_minute_from_its_first_arrival() {
        let kept = Kept::default();
        let docarray = || kept.get().map(|told| told.docarray);
        let told = |docarray| Told { docarray, is_by_status: true };
        assert_eq!(docarray(), None);
        kept.keep(told(DocArray::V1));
        tokio::time::advance(LONGEST / 2).await;
        kept.keep(told(DocArray::V2));
        assert_eq!(docarray(), Some(DocArray::V1));
        tokio::time::advance(LONGEST / 2).await;
        assert_eq!(docarray(), None);
        kept.keep(told(DocArray::V2));
        assert_eq!(docarray(), Some(DocArray::V2));
        kept.forget();
        assert_eq!(docarray(), None);
    }
}
