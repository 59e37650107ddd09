//! The time of an attempt. It ends when its call is stopped. Time in which the caller did not poll
//! does not count.

use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;

use tokio::time::{Instant, Sleep, sleep_until};

use super::idle::Idle;
use crate::config::Credentials;
use crate::error::{AttemptError, Event};
use crate::stop::{Stop, stopped};

/// If the end of the time is noticed this late or later, the caller was not polling.
pub(super) const AWAY: Duration = Duration::from_millis(10);

/// The maximum number of extensions in a row. Without it, an attempt would wait for a silent
/// gateway forever if the caller polls rarely.
pub(super) const MOST_EXCUSED: u32 = 4;

/// The length of an extension: this many times the time from the deadline to the next poll, but at
/// most the attempt's whole time.
const MADE_GOOD: u32 = 20;

/// What did not come if the caller's hook took too long.
pub(super) const HOOK_MISSED: &str = "the hook before_attempt did not end";

/// Decides when an attempt times out. If the caller was not polling when the time ended, the time
/// is extended, up to [`MOST_EXCUSED`] times in a row, because a slow caller does not make the
/// gateway late.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Patience {
    began: Instant,
    deadline: Option<Instant>,
    /// The length of the attempt's time.
    allowed: Duration,
    /// The number of extensions since the answer last made progress.
    excused: u32,
    /// The progress at that moment.
    progress: u32,
    /// The time for which the caller is known not to have polled.
    away: Duration,
}

impl Patience {
    pub(crate) fn new(began: Instant, deadline: Option<Instant>) -> Patience {
        // If the deadline has already passed, as for the second of two questions, the caller was
        // away for that long.
        let allowed = deadline.map_or(Duration::MAX, |deadline| {
            deadline.max(began).duration_since(deadline.min(began))
        });
        Patience { began, deadline, allowed, excused: 0, progress: 0, away: Duration::ZERO }
    }

    pub(crate) fn deadline(&self) -> Option<Instant> {
        self.deadline
    }

    /// Extends a time that has ended, if it may be extended. `progress` counts the pieces that have
    /// come.
    fn excuse(&mut self, now: Instant, progress: u32) -> bool {
        if progress > self.progress {
            (self.progress, self.excused) = (progress, 0);
        }
        self.excuse_times(now, MOST_EXCUSED)
    }

    /// Like `excuse`, for work that runs on a task of its connection, without the caller: at most
    /// once, in case the whole runtime was delayed.
    pub(crate) fn excuse_once(&mut self, now: Instant) -> bool {
        self.excuse_times(now, 1)
    }

    fn excuse_times(&mut self, now: Instant, most: u32) -> bool {
        let Some(deadline) = self.deadline else { return true };
        let away = now.saturating_duration_since(deadline);
        if away < AWAY || self.excused >= most {
            return false;
        }
        self.excused += 1;
        self.away += away;
        self.deadline = now.checked_add(self.allowed.min(away.saturating_mul(MADE_GOOD)));
        true
    }

    /// Returns the error of an attempt that timed out.
    pub(crate) fn late(&self, is_sent: bool, missed: &str) -> AttemptError {
        match is_sent {
            false => self.over(Event::TimedOutUnsent, "no connection took the request"),
            true => self.over(Event::TimedOut, missed),
        }
    }

    fn over(&self, event: Event, missed: &str) -> AttemptError {
        let waited = self.began.elapsed().saturating_sub(self.away);
        let mut what = format!("{missed} within {}", seconds(waited));
        if self.away > Duration::ZERO {
            what += &format!(", and the answers were not polled for {} more", seconds(self.away));
        }
        AttemptError::new(event, what)
    }
}

/// Formats a duration so that it never shows as zero.
pub(super) fn seconds(time: Duration) -> String {
    match time.as_millis() {
        millis @ 0..1000 => format!("{millis} ms"),
        _ => format!("{:.1} s", time.as_secs_f64()),
    }
}

/// An attempt's time, as its transport keeps it.
#[derive(Debug)]
pub(crate) struct Time<'a> {
    patience: Patience,
    pub(super) idle: Option<Idle>,
    stop: &'a Stop,
}

/// The reason why an exchange ended without its result.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Over {
    pub(super) is_stopped: bool,
    /// Whether nothing came for the idle time-out.
    is_idle: bool,
    pub(super) is_sent: bool,
}

impl<'a> Time<'a> {
    pub(super) fn new(began: Instant, deadline: Option<Instant>, stop: &'a Stop) -> Time<'a> {
        Time { patience: Patience::new(began, deadline), idle: None, stop }
    }

    /// Adds an idle time-out.
    pub(crate) fn or_idle(self, timeout: Option<Duration>) -> Time<'a> {
        Time { idle: timeout.map(Idle::new), ..self }
    }

    /// Returns a time that begins now, for work that is stopped only by dropping it.
    pub(crate) fn until(deadline: Option<Instant>) -> Time<'static> {
        Time::new(Instant::now(), deadline, Stop::never())
    }

    /// Waits for a result that another call may have asked for; `None` if the time is over.
    pub(crate) async fn shared<F>(&mut self, what: F) -> Option<F::Output>
    where
        F: Future + Unpin,
    {
        self.exchange(what, || false).await.ok()
    }

    /// Returns the error of a time that ended before anything was sent; `missed` names what did not
    /// come.
    pub(crate) fn missed(&self, missed: &str) -> AttemptError {
        self.patience.over(Event::TimedOutUnsent, missed)
    }

    /// Returns the time that is left, for gateways that can be told a deadline.
    pub(super) fn left(&mut self, now: Instant) -> Option<Duration> {
        if self.patience.deadline? <= now {
            self.patience.excuse(now, 0);
        }
        self.patience.deadline.map(|deadline| deadline.saturating_duration_since(now))
    }

    /// Waits for a step that comes before a request is sent.
    pub(crate) async fn opening<T, F>(&mut self, what: F) -> Result<T, AttemptError>
    where
        F: Future<Output = Result<T, AttemptError>> + Unpin,
    {
        self.idle.as_ref().inspect(|idle| idle.pause());
        let waiting = self.exchange(what, || false).await;
        waiting.unwrap_or_else(|over| Err(self.error(over, "")))
    }

    /// Like `opening`, for a step in which the caller's hook may run. If the time ends while it runs,
    /// the error names the hook.
    pub(super) async fn opening_with_hook<T, F>(
        &mut self,
        credentials: &Credentials,
        mut what: F,
    ) -> Result<T, AttemptError>
    where
        F: Future<Output = Result<T, AttemptError>> + Unpin,
    {
        let opened = self.opening(&mut what).await;
        opened.map_err(|error| match error.event {
            Event::TimedOutUnsent if credentials.is_hook_running() => self.missed(HOOK_MISSED),
            _ => error,
        })
    }

    /// Waits for an answer. `give_up` gives the request up and returns whether it was sent by then.
    /// The caller pins `what`, because a future that is moved into this one would take its space
    /// twice.
    pub(super) async fn exchange<F>(
        &mut self,
        what: F,
        give_up: impl FnOnce() -> bool,
    ) -> Result<F::Output, Over>
    where
        F: Future + Unpin,
    {
        self.exchange_in_pieces(what, give_up, || 0).await
    }

    /// Like `exchange`, for an answer that comes in pieces; `pieces` counts the pieces that have
    /// come.
    pub(super) async fn exchange_in_pieces<F>(
        &mut self,
        mut what: F,
        give_up: impl FnOnce() -> bool,
        pieces: impl Fn() -> u32,
    ) -> Result<F::Output, Over>
    where
        F: Future + Unpin,
    {
        // The timer is made only if it is needed.
        let mut timer = pin!(None);
        let mut give_up = Some(give_up);
        let mut is_sent = || give_up.take().is_some_and(|give_up| give_up());
        poll_fn(|cx| {
            if self.stop.is_set() {
                let is_sent = is_sent();
                // Nothing is sent any more, but an answer that has come still counts.
                return match is_sent.then(|| Pin::new(&mut what).poll(cx)) {
                    Some(Poll::Ready(output)) => Poll::Ready(Ok(output)),
                    Some(Poll::Pending) | None => {
                        Poll::Ready(Err(Over { is_stopped: true, is_idle: false, is_sent }))
                    }
                };
            }
            loop {
                if let Poll::Ready(output) = Pin::new(&mut what).poll(cx) {
                    return Poll::Ready(Ok(output));
                }
                let quiet = self.idle.as_ref().and_then(Idle::end);
                let ends = [self.patience.deadline, quiet];
                let Some(end) = ends.into_iter().flatten().min() else { return Poll::Pending };
                // An alarm that rings too early is set again then.
                let alarm: Option<Pin<&mut Sleep>> = timer.as_mut().as_pin_mut();
                if alarm.is_none_or(|alarm| alarm.deadline() > end) {
                    timer.set(Some(sleep_until(end)));
                }
                let alarm = timer.as_mut().as_pin_mut().expect("the timer was set a line ago");
                if alarm.poll(cx).is_pending() {
                    return Poll::Pending;
                }
                timer.set(None);
                let now = Instant::now();
                let is_late = self.patience.deadline.is_some_and(|deadline| deadline <= now);
                if is_late && !self.patience.excuse(now, pieces()) {
                    let is_sent = is_sent();
                    return Poll::Ready(Err(Over { is_stopped: false, is_idle: false, is_sent }));
                }
                if self.idle.as_ref().is_some_and(|idle| idle.is_over(now)) {
                    let is_sent = is_sent();
                    return Poll::Ready(Err(Over { is_stopped: false, is_idle: true, is_sent }));
                }
            }
        })
        .await
    }

    /// Returns the error of the request; `missed` names what did not come.
    pub(super) fn error(&self, over: Over, missed: &str) -> AttemptError {
        if over.is_stopped {
            return stopped(over.is_sent);
        }
        let idle = self.idle.as_ref().filter(|_| over.is_idle);
        let error = idle.and_then(|idle| idle.error(over.is_sent));
        error.unwrap_or_else(|| self.patience.late(over.is_sent, missed))
    }

    /// Waits until a message is out. `give_up` gives the message up and says whether it was sent by
    /// then, which it may be even later.
    pub(crate) async fn sending<T, F>(
        &mut self,
        what: F,
        give_up: impl FnOnce() -> bool,
    ) -> Result<T, AttemptError>
    where
        F: Future<Output = Result<T, AttemptError>> + Unpin,
    {
        self.exchange(what, give_up).await.unwrap_or_else(|over| {
            let missed = "the connection did not take all of it";
            Err(match over.is_sent && !over.is_stopped {
                true => self.patience.over(Event::TimedOutSending, missed),
                false => self.error(over, missed),
            })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TIME: Duration = Duration::from_secs(2);

    fn patience() -> Patience {
        let began = Instant::now();
        Patience::new(began, Some(began + TIME))
    }

    #[tokio::test(start_paused = true)]
    async fn a_time_out_that_is_noticed_at_once_is_final() {
        let mut patience = patience();
        tokio::time::advance(TIME).await;
        assert!(!patience.excuse(Instant::now(), 0));
        let error = patience.late(true, "no answer");
        assert_eq!((error.event, &*error.message), (Event::TimedOut, "no answer within 2.0 s"));
        let error = patience.late(false, "no answer");
        assert_eq!(error.message, "no connection took the request within 2.0 s");
    }

    #[tokio::test(start_paused = true)]
    async fn time_is_extended_if_the_caller_did_not_poll_at_its_end() {
        let mut patience = patience();
        tokio::time::advance(TIME + Duration::from_millis(500)).await;
        assert!(patience.excuse(Instant::now(), 0));
        assert_eq!(patience.deadline(), Some(Instant::now() + TIME), "the whole time again");
        tokio::time::advance(TIME).await;
        assert!(!patience.excuse(Instant::now(), 0));
        let what = "no answer within 4.0 s, and the answers were not polled for 500 ms more";
        assert_eq!(patience.late(true, "no answer").message, what);
    }

    #[tokio::test(start_paused = true)]
    async fn a_short_delay_of_the_machine_extends_the_time_only_a_little() {
        let mut patience = patience();
        tokio::time::advance(TIME + AWAY).await;
        assert!(patience.excuse(Instant::now(), 0));
        assert_eq!(patience.deadline(), Some(Instant::now() + AWAY * MADE_GOOD));
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_never_polls_in_time_waits_a_bounded_time_unless_pieces_come() {
        let mut patience = patience();
        for _ in 0..MOST_EXCUSED {
            tokio::time::advance(TIME * 2).await;
            assert!(patience.excuse(Instant::now(), 7));
        }
        tokio::time::advance(TIME * 2).await;
        assert!(!patience.excuse(Instant::now(), 7));
        assert!(patience.excuse(Instant::now(), 8), "a piece has come");
    }

    #[tokio::test(start_paused = true)]
    async fn a_stopped_exchange_reports_at_once_whether_it_was_sent_and_keeps_an_answer() {
        use std::future::{pending, ready};

        let stop = Stop::default();
        stop.set();
        let mut time = Time::new(Instant::now(), None, &stop);
        let over = time.exchange(pending::<()>(), || true).await.unwrap_err();
        assert!(over.is_stopped && over.is_sent);
        assert_eq!(time.error(over, "").event, Event::StoppedSent);
        assert!(time.exchange(ready(()), || true).await.is_ok());
        // A request that was not sent is not polled again, because polling could send it.
        let over = time.exchange(ready(()), || false).await.unwrap_err();
        assert_eq!(time.error(over, "").event, Event::Stopped);
        assert!(time.opening(ready(Ok(()))).await.is_err());
    }
}
