//! What one question to a gateway has told, kept until the question behind it is answered as well.
//! Otherwise a rate limit that lets one question pass at a time would never let both.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use http::HeaderMap;
use http::header::{HOST, HeaderValue};
use tokio::time::Instant;

/// How long an answer is kept: about as long as the attempts of a request go on.
const LONGEST: Duration = Duration::from_secs(60);

/// The answer of the host that was asked last.
#[derive(Debug)]
pub(super) struct Kept<T>(Mutex<Option<Answer<T>>>);

#[derive(Debug)]
struct Answer<T> {
    host: Option<HeaderValue>,
    told: T,
    since: Instant,
}

impl<T> Default for Kept<T> {
    fn default() -> Kept<T> {
        Kept(Mutex::default())
    }
}

impl<T: Copy> Kept<T> {
    /// The answer of the host that these headers name, if it is kept.
    pub(super) fn get(&self, headers: &HeaderMap) -> Option<T> {
        let answer = self.answer();
        let answer = answer.as_ref().filter(|answer| answer.since.elapsed() < LONGEST)?;
        (answer.host.as_ref() == headers.get(HOST)).then_some(answer.told)
    }

    /// Keeps an answer, unless one of the same host is kept already.
    pub(super) fn keep(&self, headers: &HeaderMap, told: T) {
        if self.get(headers).is_none() {
            let host = headers.get(HOST).cloned();
            *self.answer() = Some(Answer { host, told, since: Instant::now() });
        }
    }

    /// Forgets what is kept: everything is known.
    pub(super) fn forget(&self) {
        *self.answer() = None;
    }

    fn answer(&self) -> MutexGuard<'_, Option<Answer<T>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_kept_for_its_host_and_for_a_minute() {
        let kept = Kept::default();
        let none = HeaderMap::new();
        let other = HeaderMap::from_iter([(HOST, HeaderValue::from_static("other"))]);
        assert_eq!(kept.get(&none), None);
        kept.keep(&none, 1);
        assert_eq!((kept.get(&none), kept.get(&other)), (Some(1), None));
        tokio::time::advance(LONGEST / 2).await;
        kept.keep(&none, 2);
        assert_eq!(kept.get(&none), Some(1), "it grows no younger");
        tokio::time::advance(LONGEST / 2).await;
        assert_eq!(kept.get(&none), None);
        kept.keep(&other, 3);
        assert_eq!((kept.get(&none), kept.get(&other)), (None, Some(3)));
        kept.forget();
        assert_eq!(kept.get(&other), None);
    }
}
