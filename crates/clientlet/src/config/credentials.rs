//! What is added to an attempt just before it is sent: headers of the caller's hook, and cookies.

use std::error::Error as StdError;
use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use http::header::{Entry, SET_COOKIE};
use http::{HeaderMap, Method, Uri};

#[cfg(feature = "cookies")]
use super::jar::Jar;
use super::{add_header, one_by_one};
use crate::address::Protocol;
use crate::error::{AttemptError, Event};
use crate::foreign::told;
use crate::panics::or_panic;
use crate::secret::OfClient;

/// An attempt that is about to be sent, for the hook
/// [`before_attempt`](crate::ClientBuilder::before_attempt). `Debug` shows no values of headers.
#[non_exhaustive]
#[derive(Clone)]
pub struct NextAttempt {
    /// `POST` or `GET`; over gRPC always `POST`.
    pub method: Method,
    /// The full URI, whose scheme is `http` or `https`.
    pub uri: Uri,
    /// The headers that the caller set for the client and the call. Those that belong to the
    /// connection or the protocol, and cookies that the gateway has set, are not among them.
    pub headers: HeaderMap,
    /// The body, shared and not copied: over HTTP the whole body, over unary gRPC the message without
    /// its frame. Empty when a WebSocket or a gRPC stream is opened.
    pub body: Bytes,
    /// Whether the gateway has just refused the same request, connection or stream: with 401, or over
    /// gRPC with `UNAUTHENTICATED`.
    pub was_refused: bool,
}

impl fmt::Debug for NextAttempt {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = self.headers.keys().collect();
        f.debug_struct("NextAttempt")
            .field("method", &self.method)
            .field("path", &self.uri.path())
            .field("headers", &names)
            .field("body", &format_args!("{} bytes", self.body.len()))
            .field("was_refused", &self.was_refused)
            .finish_non_exhaustive()
    }
}

/// What a hook returns: headers to add, or the reason why nothing can be sent.
type Added = Result<HeaderMap, Box<dyn StdError + Send + Sync>>;
type Adding = Pin<Box<dyn Future<Output = Added> + Send>>;

/// The caller's function that adds headers to attempts.
#[derive(Clone)]
pub(crate) struct Hook(Arc<dyn Fn(NextAttempt) -> Adding + Send + Sync>);

impl Hook {
    pub(crate) fn new<F, Fut>(hook: F) -> Hook
    where
        F: Fn(NextAttempt) -> Fut + Send + Sync + 'static,
        Fut: Future<Output = Added> + Send + 'static,
    {
        Hook(Arc::new(move |next| Box::pin(hook(next))))
    }
}

impl fmt::Debug for Hook {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Hook")
    }
}

/// Counts a run of the hook until it ends or is dropped.
struct Running<'a>(&'a AtomicUsize);

impl Running<'_> {
    fn of(count: &AtomicUsize) -> Running<'_> {
        count.fetch_add(1, Ordering::Relaxed);
        Running(count)
    }
}

impl Drop for Running<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The hook and the cookies of a client, shared by all its calls.
#[derive(Debug)]
pub(crate) struct Credentials {
    protocol: Protocol,
    hook: Option<Hook>,
    /// The number of attempts for which the hook is running.
    running: AtomicUsize,
    /// The secrets of the client. What is added to an attempt is one of them.
    secrets: Arc<OfClient>,
    /// `None` if cookies are not kept.
    #[cfg(feature = "cookies")]
    jar: Option<Jar>,
}

/// The parts of an attempt.
#[derive(Clone, Copy)]
pub(crate) struct Draft<'a> {
    pub(crate) method: &'a Method,
    pub(crate) uri: &'a Uri,
    pub(crate) headers: &'a HeaderMap,
    pub(crate) body: &'a Bytes,
    pub(crate) was_refused: bool,
}

/// The name under which errors speak of the hook.
const NAME: &str = "before_attempt";

impl Credentials {
    #[cfg_attr(not(feature = "cookies"), expect(unused_variables, reason = "there is no jar"))]
    pub(crate) fn new(
        protocol: Protocol,
        hook: Option<Hook>,
        has_jar: bool,
        secrets: Arc<OfClient>,
    ) -> Credentials {
        Credentials {
            protocol,
            hook,
            running: AtomicUsize::new(0),
            secrets,
            #[cfg(feature = "cookies")]
            jar: has_jar.then(Jar::default),
        }
    }

    /// Whether anything may have to be added to an attempt.
    pub(crate) fn may_add(&self) -> bool {
        #[cfg(feature = "cookies")]
        if self.jar.as_ref().is_some_and(|jar| !jar.is_empty()) {
            return true;
        }
        self.hook.is_some()
    }

    /// Whether there is a hook, so that a request that was refused is sent once more.
    pub(crate) fn has_hook(&self) -> bool {
        self.hook.is_some()
    }

    /// Whether a request that failed is sent once more, with new headers of the hook. Notes that it
    /// was refused.
    pub(crate) fn renews(&self, error: &AttemptError, was_refused: &mut bool) -> bool {
        let renews = self.has_hook() && !*was_refused && error.is_unauthorized();
        *was_refused |= renews;
        renews
    }

    /// Returns all headers of an attempt; `None` if nothing is added to those in `draft`. The hook's
    /// headers replace the caller's of the same name.
    ///
    /// # Errors
    /// The hook's error, panic, or the header of the hook that cannot be sent.
    pub(crate) async fn complete(
        &self,
        draft: Draft<'_>,
    ) -> Result<Option<HeaderMap>, AttemptError> {
        let headers = match &self.hook {
            None => None,
            Some(hook) => Some(self.hooked(hook, draft).await?),
        };
        #[cfg(feature = "cookies")]
        if let Some(jar) = &self.jar
            && let Some(cookie) = jar.header(draft.uri, headers.as_ref().unwrap_or(draft.headers))
        {
            let mut headers = headers.unwrap_or_else(|| draft.headers.clone());
            headers.insert(http::header::COOKIE, cookie);
            self.secrets.issue(&headers);
            return Ok(Some(headers));
        }
        Ok(headers)
    }

    async fn hooked(&self, hook: &Hook, draft: Draft<'_>) -> Result<HeaderMap, AttemptError> {
        let Draft { method, uri, headers, body, was_refused } = draft;
        let next = NextAttempt {
            method: method.clone(),
            uri: uri.clone(),
            headers: headers.clone(),
            body: body.clone(),
            was_refused,
        };
        let failed = |what: String| AttemptError::new(Event::HookFailed, format!("{NAME} {what}"));
        // The hook is called within the future, so that a panic is caught wherever it happens.
        let running = Running::of(&self.running);
        let added = or_panic(async { (hook.0)(next).await }).await;
        drop(running);
        let added = added.map_err(|panic| failed(format!("panicked: {panic}")))?;
        let added = added
            .map_err(|error| failed(format!("failed: {}", told(&error))).with_own_source(error))?;
        let mut own = HeaderMap::new();
        for (name, value) in one_by_one(added) {
            add_header(&mut own, self.protocol, &name, &value)
                .map_err(|error| failed(format!("returned a wrong header: {}", error.message())))?;
        }
        let mut all = headers.clone();
        super::replace(&mut all, &own);
        self.secrets.issue(&own);
        Ok(all)
    }

    /// Whether the hook is running for any attempt.
    pub(crate) fn is_hook_running(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// Keeps the cookies that an answer sets, and marks them as secret. `sent` contains the headers of
    /// its request.
    pub(crate) fn learn(&self, uri: &Uri, sent: &HeaderMap, answer: &mut HeaderMap) {
        if !answer.contains_key(SET_COOKIE) {
            return;
        }
        #[cfg(feature = "cookies")]
        if let Some(jar) = &self.jar {
            jar.learn(uri, sent, answer);
        }
        #[cfg(not(feature = "cookies"))]
        let _ = (uri, sent);
        if let Entry::Occupied(mut set) = answer.entry(SET_COOKIE) {
            set.iter_mut().for_each(|cookie| cookie.set_sensitive(true));
        }
    }
}
