//! Makes calls directly on HTTP/2.

use std::future::Future;
use std::pin::pin;
use std::time::Duration;

use ::http::header::{CONTENT_TYPE, HOST, HeaderName, HeaderValue, TE};
use ::http::uri::{Authority, PathAndQuery};
use ::http::{HeaderMap, Method, Request, Uri, Version};
use bytes::Bytes;
use tokio::time::Instant;

use super::super::Time;
use super::super::content::Content;
use super::super::http_session::{begins, glance};
use super::super::multiplex::{Claim, Ending};
use super::answers::Answers;
use super::channel::Channel;
use super::failure;
#[cfg(feature = "compression")]
use super::head::ACCEPTED;
use super::head::{ENCODING, is_grpc, read_head};
use super::outgoing::Outgoing;
use crate::config::Draft;
use crate::error::{AttemptError, Event};
use crate::telemetry::AttemptTrace;

static TIMEOUT: HeaderName = HeaderName::from_static("grpc-timeout");
/// The headers that a call sets itself. Headers of the user with these names are ignored.
static RESERVED: [HeaderName; 3] = [
    HeaderName::from_static("grpc-message"),
    HeaderName::from_static("grpc-message-type"),
    HeaderName::from_static("grpc-status"),
];

impl Channel {
    /// Makes a call of one message, as long as `time` allows. Returns the message of the answer.
    /// The gateway is told the time-out. A call that was refused for want of credentials is made once
    /// more with new ones, if there is a hook for them.
    ///
    /// # Errors
    /// The end of the call, if it is not an answer with status OK.
    pub(super) async fn single(
        &self,
        method: &'static str,
        headers: &HeaderMap,
        message: Bytes,
        timeout: Option<Duration>,
        time: &mut Time<'_>,
        trace: &AttemptTrace,
    ) -> Result<Bytes, AttemptError> {
        let credentials = &*self.settings.credentials;
        let mut was_refused = false;
        loop {
            let (own, timeout) = match credentials.may_add() {
                true => {
                    // Boxed, because this future is rare and large.
                    let own = Box::pin(self.completed(method, headers, &message, was_refused));
                    let own = time.opening_with_hook(credentials, own).await?;
                    (own, time.left(Instant::now()))
                }
                false => (None, timeout),
            };
            let (headers, message) = (own.as_ref().unwrap_or(headers), message.clone());
            match self.single_once(method, headers, message, timeout, time, trace).await {
                Err(error) if credentials.renews(&error, &mut was_refused) => {}
                answer => return answer,
            }
        }
    }

    /// Returns the headers of a call with what the hook and the cookies add; `None` if they add
    /// nothing.
    pub(super) async fn completed(
        &self,
        method: &'static str,
        headers: &HeaderMap,
        body: &Bytes,
        was_refused: bool,
    ) -> Result<Option<HeaderMap>, AttemptError> {
        let credentials = &self.settings.credentials;
        if !credentials.may_add() {
            return Ok(None);
        }
        let (method, uri) = (&Method::POST, &below(&self.origin, method));
        credentials.complete(Draft { method, uri, headers, body, was_refused }).await
    }

    async fn single_once(
        &self,
        method: &'static str,
        headers: &HeaderMap,
        message: Bytes,
        timeout: Option<Duration>,
        time: &mut Time<'_>,
        trace: &AttemptTrace,
    ) -> Result<Bytes, AttemptError> {
        let claim = Claim::default();
        let body = Outgoing::of_one(message, self.progress.clone(), claim.passage());
        let call = self.call(method, headers, timeout, body, trace);
        let answer = pin!(async {
            let mut answers = call.await?;
            let answer = answers.message().await?;
            // The status comes after the answer.
            while answers.message().await?.is_some() {}
            answer.ok_or_else(|| failure::unreadable("the call ended without an answer"))
        });
        let answer = self.progress.in_time(time, &claim, answer).await?;
        self.progress.answered(&claim);
        answer.map_err(|ending| failure::of_request(ending, self, claim.give_up()))
    }

    /// Makes a call. Returns its answers once their head has come.
    pub(super) fn call(
        &self,
        method: &'static str,
        headers: &HeaderMap,
        timeout: Option<Duration>,
        body: Outgoing,
        trace: &AttemptTrace,
    ) -> impl Future<Output = Result<Answers, Ending>> + Send + use<> {
        let answer_limit = self.settings.answer_limit;
        let request = self.request(method, headers, timeout, body, trace);
        let (peer, uri) = (self.peer.clone(), request.uri().clone());
        let answering = self.sender.clone().send_request(request);
        async move {
            let response = answering.await.map_err(failure::unanswered)?;
            let (mut head, body) = response.into_parts();
            // The URI has the host that the headers named.
            peer.settings.credentials.learn(&uri, &HeaderMap::new(), &mut head.headers);
            let head = match read_head(head.status, &head.headers) {
                Err(mut ending) if ending.event == Event::NotGrpc && !is_grpc(&head.headers) => {
                    if let Ok(content) = Content::of(&mut head.headers, body) {
                        let begins = begins(&glance(content).await);
                        ending.what += &format!(", and {begins}");
                    }
                    return Err(ending);
                }
                read => read?,
            };
            Ok(Answers::new(body, head, answer_limit))
        }
    }

    fn request(
        &self,
        method: &'static str,
        headers: &HeaderMap,
        timeout: Option<Duration>,
        body: Outgoing,
        trace: &AttemptTrace,
    ) -> Request<Outgoing> {
        let is_gzipped = self.settings.is_gzipped;
        let mut request = Request::new(body.gzipped(is_gzipped));
        *request.method_mut() = Method::POST;
        *request.version_mut() = Version::HTTP_2;
        *request.uri_mut() = below(&self.origin, method);
        if !headers.is_empty() {
            *request.headers_mut() = headers.clone();
            RESERVED.iter().for_each(|name| drop(request.headers_mut().remove(name)));
        }
        let headers = request.headers_mut();
        trace.add_to(headers);
        headers.insert(TE, HeaderValue::from_static("trailers"));
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        if is_gzipped {
            headers.insert(&ENCODING, HeaderValue::from_static("gzip"));
        }
        #[cfg(feature = "compression")]
        if self.settings.accepts_compression {
            headers.insert(&ACCEPTED, HeaderValue::from_static("gzip"));
        }
        if let Some(timeout) = timeout.and_then(grpc_timeout) {
            headers.insert(&TIMEOUT, timeout);
        }
        if let Some(host) = headers.remove(HOST) {
            set_authority(&mut request, &host);
        }
        request
    }
}

/// Sets `:authority`, by which HTTP/2 names the host. A `Host` header must not differ from it.
fn set_authority<B>(request: &mut Request<B>, host: &HeaderValue) {
    let mut uri = request.uri().clone().into_parts();
    uri.authority = Authority::try_from(host.as_bytes()).ok();
    // The header was checked when it was set, so this succeeds.
    if let Ok(uri) = Uri::from_parts(uri) {
        *request.uri_mut() = uri;
    }
}

/// Returns the URI of a method below an origin, which may have a path.
fn below(origin: &Uri, method: &'static str) -> Uri {
    let mut parts = origin.clone().into_parts();
    let path = origin.path().trim_end_matches('/');
    parts.path_and_query = match path {
        "" => Some(PathAndQuery::from_static(method)),
        path => PathAndQuery::try_from(format!("{path}{method}")).ok(),
    };
    // Both are already parts of URIs.
    Uri::from_parts(parts).unwrap_or_default()
}

/// Writes a time as gRPC does: at most eight digits and a unit, as exact as possible.
fn grpc_timeout(time: Duration) -> Option<HeaderValue> {
    const MOST: u128 = 99_999_999;
    let seconds = u128::from(time.as_secs());
    let units = [
        (time.as_nanos(), 'n'),
        (time.as_micros(), 'u'),
        (time.as_millis(), 'm'),
        (seconds, 'S'),
        (seconds / 60, 'M'),
        (seconds / 3600, 'H'),
    ];
    let (value, unit) = units.into_iter().find(|(value, _)| *value <= MOST)?;
    HeaderValue::try_from(format!("{value}{unit}")).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_method_is_below_the_path_of_the_origin() {
        for (origin, uri) in [
            ("http://h:1/", "http://h:1/jina.A/b"),
            ("http://h/c", "http://h/c/jina.A/b"),
            ("http://h/c/d/", "http://h/c/d/jina.A/b"),
        ] {
            assert_eq!(below(&origin.parse().unwrap(), "/jina.A/b"), uri);
        }
    }

    #[test]
    fn a_time_has_at_most_eight_digits() {
        for (time, text) in [
            (Duration::ZERO, "0n"),
            (Duration::from_millis(99), "99000000n"),
            (Duration::from_millis(500), "500000u"),
            (Duration::from_secs(3600), "3600000m"),
            (Duration::from_secs(3_600_000), "3600000S"),
            (Duration::from_secs(60 * 99_999_999), "99999999M"),
        ] {
            assert_eq!(grpc_timeout(time).unwrap(), text);
        }
        assert_eq!(grpc_timeout(Duration::MAX), None);
    }
}
