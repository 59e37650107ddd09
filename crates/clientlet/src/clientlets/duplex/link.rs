//! The state that a clientlet and its senders share: the connection. If the connection was lost and
//! a message is retried, the connection is opened again.

use std::fmt;
use std::pin::pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use bytes::Bytes;
use tokio::time::timeout;

use super::mailbox::Mailbox;
use super::session::{Outgoing, Session};
use crate::clientlets::DataRequest;
use crate::config::Config;
use crate::error::{AttemptError, Context, Error, ErrorKind, Event};
use crate::message::{DocArray, Encoding};
use crate::retry::{RetryPolicy, Turn};
use crate::runtime;
use crate::telemetry::{AttemptTrace, Subject};
use crate::transport::{Answer, Time};

/// The longest wait for a close. A connection gives its gateway less time.
const PATIENCE: Duration = Duration::from_secs(10);

const NEW: u8 = 0;
const OPEN: u8 = 1;
/// The end of input was sent.
const ENDED: u8 = 2;
const CLOSED: u8 = 3;

/// A protocol's way of opening a connection or stream.
pub(in crate::clientlets) trait Opener: fmt::Debug + Send + Sync {
    /// Opens a connection or stream whose task puts incoming messages into the mailbox. The task
    /// ends when the mailbox is hung up, or with the last handle.
    fn open<'a>(
        &'a self,
        mailbox: &'a Arc<Mailbox>,
        trace: &'a AttemptTrace,
    ) -> Answer<'a, Session>;

    /// Returns the advice for a session on which nothing can be sent any more.
    fn again(&self) -> &'static str;
}

#[derive(Debug)]
pub(in crate::clientlets) struct Link {
    config: Arc<Config>,
    opener: Box<dyn Opener>,
    pub(in crate::clientlets) mailbox: Arc<Mailbox>,
    /// The generation of the requests that were sent, and so of their answers.
    docarray: OnceLock<DocArray>,
    phase: AtomicU8,
    /// The lock is held while a connection is opened, so only one is opened at a time, however many
    /// callers wait.
    session: tokio::sync::Mutex<Option<Arc<Session>>>,
}

impl Link {
    pub(in crate::clientlets) fn new(config: &Arc<Config>, opener: impl Opener + 'static) -> Link {
        Link {
            opener: Box::new(opener),
            mailbox: Arc::new(Mailbox::new(config.answer_limit, config.secrets.clone())),
            docarray: config.docarray.map(OnceLock::from).unwrap_or_default(),
            phase: AtomicU8::new(NEW),
            session: tokio::sync::Mutex::default(),
            config: config.clone(),
        }
    }

    /// Opens a connection, unless there is one.
    pub(in crate::clientlets) async fn start(&self) -> Result<(), Error> {
        self.open(&self.config.once()).await
    }

    /// Opens a connection, unless there is one, with as many attempts as the options say.
    pub(in crate::clientlets) async fn start_retrying(&self) -> Result<(), Error> {
        self.open(&self.config.retry).await
    }

    async fn open(&self, policy: &RetryPolicy) -> Result<(), Error> {
        let opening = async |turn: Turn| {
            let live =
                async { self.live(&mut *self.session.lock().await, &turn.trace).await.map(drop) };
            Time::until(turn.deadline).opening(pin!(live)).await
        };
        self.run(policy, &Subject::named("start"), opening).await?;
        self.phase.store(OPEN, Ordering::Release);
        Ok(())
    }

    /// Whether nothing can be sent on this link any more, so that another link is needed.
    pub(in crate::clientlets) fn is_spent(&self) -> bool {
        self.phase.load(Ordering::Acquire) >= ENDED
    }

    pub(in crate::clientlets) fn is_open(&self) -> bool {
        matches!(self.phase.load(Ordering::Acquire), OPEN | ENDED) && self.mailbox.has_more()
    }

    /// Closes the connection without waiting for the close.
    pub(in crate::clientlets) fn hang_up(&self) {
        self.phase.store(CLOSED, Ordering::Release);
        self.mailbox.hang_up();
    }

    /// Closes the connection and waits some seconds for the gateway's close.
    pub(in crate::clientlets) async fn close(&self) {
        self.hang_up();
        if runtime::here().is_err() {
            // The task ends by itself as long as its runtime runs.
            return;
        }
        // A task that is just opening a connection holds the lock. That connection will close by
        // itself.
        let closing = async {
            if let Some(session) = self.session.lock().await.take() {
                session.ended().await;
            }
        };
        let _ = timeout(PATIENCE, closing).await;
    }

    /// Sends a request. If the connection was lost before the request was written, the request is
    /// retried on a new one.
    pub(in crate::clientlets) async fn send_message(
        &self,
        request: &DataRequest,
    ) -> Result<(), Error> {
        let (id, docarray) = (request.known_id(), request.docarray());
        let of_request = |error: Error| error.with_context(self.context(id.map(str::to_owned)));
        request.require(Encoding::Proto).map_err(of_request)?;
        let known = *self.docarray.get_or_init(|| docarray);
        if known != docarray {
            let what =
                format!("the request has documents {docarray}, but the gateway takes {known}");
            return Err(of_request(Error::new(ErrorKind::Encode, what)));
        }
        let subject = Subject::named("send_message");
        let what = Subject { request_id: id, documents: request.count() as u64, ..subject };
        self.send(Outgoing::Message(request.to_bytes()), &self.config.retry, &what).await
    }

    /// Announces the end of input.
    pub(in crate::clientlets) async fn send_end_of_input(&self) -> Result<(), Error> {
        let what = Subject::named("send_eoi");
        self.send(Outgoing::EndOfInput, &self.config.once(), &what).await?;
        // This has no effect if the link was closed meanwhile.
        let (set, fetch) = (Ordering::AcqRel, Ordering::Acquire);
        let _ = self.phase.compare_exchange(OPEN, ENDED, set, fetch);
        Ok(())
    }

    /// Sends a message that is not a request, once. If the gateway has ended the session by then,
    /// that is not an error.
    pub(in crate::clientlets) async fn send_unless_ended(
        &self,
        message: Bytes,
    ) -> Result<(), Error> {
        let what = Subject::named("send_dry_run");
        let sent = self.send(Outgoing::Message(message), &self.config.once(), &what).await;
        let has_ended = match &*self.session.lock().await {
            Some(session) => session.ending().is_some_and(|ending| ending.said.is_some()),
            None => false,
        };
        if has_ended { Ok(()) } else { sent }
    }

    async fn send(
        &self,
        what: Outgoing,
        policy: &RetryPolicy,
        subject: &Subject<'_>,
    ) -> Result<(), Error> {
        let attempt = async |turn: Turn| {
            let mut time = Time::until(turn.deadline);
            let opening = pin!(self.session(turn.after.is_some(), &turn.trace));
            let session = time.opening(opening).await?;
            session.send(what.clone(), &mut time).await
        };
        self.run(policy, subject, attempt).await
    }

    async fn run<F>(
        &self,
        policy: &RetryPolicy,
        subject: &Subject<'_>,
        attempt: impl FnMut(Turn) -> F,
    ) -> Result<(), Error>
    where
        F: Future<Output = Result<(), AttemptError>>,
    {
        let Config { attempt_timeout, headers, secrets, .. } = &*self.config;
        self.config.run(policy, *attempt_timeout, subject, headers, secrets, attempt).await
    }

    /// Returns the connection. With `is_again` a dead connection is replaced.
    async fn session(
        &self,
        is_again: bool,
        trace: &AttemptTrace,
    ) -> Result<Arc<Session>, AttemptError> {
        let again = self.opener.again();
        let refused = match self.phase.load(Ordering::Acquire) {
            NEW => Some("the clientlet is not open; start it first".to_owned()),
            ENDED => Some(format!("the end of input was sent; {again}")),
            CLOSED => Some(format!("it was closed; {again}")),
            _ => None,
        };
        if let Some(what) = refused {
            return Err(AttemptError::new(Event::SessionClosed, what));
        }
        let mut session = self.session.lock().await;
        match &*session {
            Some(session) if !is_again => Ok(session.clone()),
            _ => self.live(&mut session, trace).await,
        }
    }

    /// Returns the connection if it is alive, otherwise a new one.
    async fn live(
        &self,
        slot: &mut Option<Arc<Session>>,
        trace: &AttemptTrace,
    ) -> Result<Arc<Session>, AttemptError> {
        if let Some(session) = slot.as_ref().filter(|session| session.ending().is_none()) {
            return Ok(session.clone());
        }
        let session = Arc::new(self.opener.open(&self.mailbox, trace).await?);
        if slot.is_some() {
            trace.reconnected();
            self.config.telemetry.reconnected();
        }
        *slot = Some(session.clone());
        Ok(session)
    }

    /// Takes out the secrets that the gateway has repeated.
    pub(in crate::clientlets) fn hide(&self, error: &mut AttemptError) {
        error.hide(&self.config.secrets);
    }

    pub(in crate::clientlets) fn docarray(&self) -> Option<DocArray> {
        self.docarray.get().copied()
    }

    pub(in crate::clientlets) fn context(&self, request_id: Option<String>) -> Context {
        self.config.address.context(request_id, None)
    }
}
