//! The settings of a client after they were checked.

mod credentials;
#[cfg(feature = "cookies")]
mod jar;

use std::sync::Arc;
use std::time::Duration;

use base64::engine::DecodePaddingMode;
use base64::engine::general_purpose::{GeneralPurpose, GeneralPurposeConfig, STANDARD};
use base64::{Engine, alphabet};
use http::header::{AUTHORIZATION, COOKIE, HOST, HeaderMap, HeaderName, HeaderValue};
use http::uri::Authority;

pub use self::credentials::NextAttempt;
pub(crate) use self::credentials::{Credentials, Draft, Hook};
use crate::address::{Address, Protocol, check_port};
use crate::driver::Driver;
use crate::error::{AttemptError, Error};
use crate::message::{DocArray, is_own_header};
use crate::retry::{Retry, RetryPolicy, Times, Turn};
use crate::secret::{Secret, Secrets};
use crate::telemetry::{CallTrace, LoneRequest, Medium, Parent, Subject, Telemetry};

/// The settings of a connection.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) address: Address,
    /// The headers of every request, including those of discovery.
    pub(crate) headers: Arc<HeaderMap>,
    /// The hook and the cookies, shared by all transports.
    pub(crate) credentials: Arc<Credentials>,
    /// The secrets of the client, which no error may show.
    pub(crate) secrets: Secrets,
    pub(crate) telemetry: Telemetry,
    pub(crate) retry: RetryPolicy,
    pub(crate) connect_timeout: Duration,
    #[cfg(feature = "proxy")]
    pub(crate) proxy: Option<ProxyConfig>,
    /// For an address over TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Prepared>,
    /// What drives the connections of a clientlet, in place of the runtime.
    pub(crate) driver: Option<Arc<dyn Driver>>,
    pub(crate) attempt_timeout: Option<Duration>,
    pub(crate) is_attempt_timeout_set: bool,
    /// How long nothing may come while a request waits for its answer.
    pub(crate) idle_timeout: Option<Duration>,
    /// The number of connections that requests share.
    pub(crate) channels: usize,
    /// The maximum number of connections in one runtime that carry a single request each.
    pub(crate) max_connections: usize,
    /// The maximum size of an answer's body, in bytes.
    pub(crate) answer_limit: usize,
    pub(crate) grpc: GrpcOptions,
    /// Whether gRPC calls ask for compressed answers. Over HTTP a header does.
    #[cfg(feature = "compression")]
    pub(crate) accepts_compression: bool,
    /// The generation that the caller set, for gateways that hide their status.
    pub(crate) docarray: Option<DocArray>,
}

impl Config {
    /// Returns the time limit of one attempt of a request that has `timeout` for all its attempts.
    /// A limit that the caller set is kept. Otherwise the limit is at most half of `timeout` if
    /// another attempt could follow, so that an attempt that is never answered leaves time for
    /// another.
    pub(crate) fn attempt_timeout_within(
        &self,
        timeout: Option<Duration>,
        retry: &RetryPolicy,
    ) -> Option<Duration> {
        let is_shared = retry.repeats_late() && !self.is_attempt_timeout_set;
        let share = timeout.filter(|_| is_shared).map(|timeout| timeout / 2);
        [self.attempt_timeout, share].into_iter().flatten().min()
    }

    /// Merges the headers of a call into the client's. The call's headers replace the client's of
    /// the same name.
    pub(crate) fn headers_with(&self, extra: &[(String, Secret)]) -> Result<Arc<HeaderMap>, Error> {
        if extra.is_empty() {
            return Ok(self.headers.clone());
        }
        let mut own = HeaderMap::new();
        for (name, value) in extra {
            add_header(&mut own, self.address.protocol(), name, value)?;
        }
        let mut merged = HeaderMap::clone(&self.headers);
        replace(&mut merged, &own);
        Ok(Arc::new(merged))
    }

    /// Returns the client's policy with a single attempt.
    pub(crate) fn once(&self) -> RetryPolicy {
        self.retry.clone().max_attempts(1)
    }

    /// Runs attempts that each have `timeout`, and makes the error of their failure, without these
    /// secrets. Their trace is `what`, with these headers.
    pub(crate) async fn run<T, F>(
        &self,
        policy: &RetryPolicy,
        timeout: Option<Duration>,
        what: &Subject<'_>,
        headers: &Arc<HeaderMap>,
        secrets: &Secrets,
        attempt: impl FnMut(Turn) -> F,
    ) -> Result<T, Error>
    where
        F: Future<Output = Result<T, AttemptError>>,
    {
        let times = Times::from_now(None, timeout);
        let trace = self.trace(what.name, headers);
        let begun = || LoneRequest::begin(&trace, times.started);
        let mut request = what.is_request().then(begun);
        let retry = Retry::new(policy, times, &self.address).hiding(secrets);
        let result = retry.traced(&trace, what).run(attempt).await;
        let context = || self.address.context(what.request_id.map(str::to_owned), None);
        let result = result.map(|(value, _)| value);
        let result = result.map_err(|failure| failure.into_error(context()));
        match &mut request {
            Some(request) => request.end_with(&result),
            None => trace.end_with(&result),
        }
        result
    }

    /// Begins the trace of something that is sent by itself, with headers of its own.
    fn trace(&self, name: &'static str, headers: &Arc<HeaderMap>) -> CallTrace {
        self.telemetry.call(name, None, Medium::Http, headers, Parent::current())
    }
}

/// The proxy for the gateway's address.
#[cfg(feature = "proxy")]
#[derive(Clone, Debug)]
pub(crate) struct ProxyConfig {
    pub(crate) proxy: crate::proxy::Proxy,
    /// Whether the proxy gets requests to pass on, instead of being asked for a connection (RFC 9112,
    /// 3.2.2): an HTTP proxy, for a gateway that is spoken to in HTTP without TLS.
    pub(crate) forwards: bool,
    /// For a proxy that is spoken to over TLS.
    #[cfg(feature = "tls")]
    pub(crate) tls: Option<crate::tls::Prepared>,
}

/// The settings that only gRPC has.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct GrpcOptions {
    /// Whether each request is a unary call, instead of a message on a stream for each call of the
    /// client.
    pub(crate) is_unary: bool,
    pub(crate) is_gzipped: bool,
}

/// Headers, credentials and cookies as the caller gave them, not checked yet.
#[derive(Clone, Debug, Default)]
pub(crate) struct Identity {
    pub(crate) headers: Vec<(String, Secret)>,
    pub(crate) basic: Option<(String, Secret)>,
    pub(crate) bearer: Option<Secret>,
    pub(crate) cookies: Vec<(String, Secret)>,
}

/// The encoding of bytes in gRPC's metadata: base64 with or without padding.
const BINARY: GeneralPurpose = GeneralPurpose::new(
    &alphabet::STANDARD,
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
);

/// Adds headers in place of those with the same names.
fn replace(headers: &mut HeaderMap, by: &HeaderMap) {
    for name in by.keys() {
        headers.remove(name);
    }
    for (name, value) in by {
        headers.append(name, value.clone());
    }
}

/// Lists headers as if they were given one by one, to be checked together with all others.
pub(crate) fn one_by_one(headers: HeaderMap) -> impl Iterator<Item = (String, Secret)> {
    let mut last = String::new();
    headers.into_iter().map(move |(name, value)| {
        // Further values of the same name come without the name.
        if let Some(name) = name {
            last = name.to_string();
        }
        // A value that is not text is refused like any other value that is not ASCII.
        (last.clone(), Secret::new(String::from_utf8_lossy(value.as_bytes())))
    })
}

/// Checks a header, or an entry of gRPC's metadata, and adds it.
///
/// # Errors
/// A message that names the header, never its value.
pub(crate) fn add_header(
    map: &mut HeaderMap,
    protocol: Protocol,
    name: &str,
    value: &Secret,
) -> Result<(), Error> {
    let header = HeaderName::from_bytes(name.as_bytes()).map_err(|_| {
        let hint = if name == ":authority" { "; set Host, which becomes it over gRPC" } else { "" };
        Error::config(format!("{name:?} is not a valid name of a header{hint}"))
    })?;
    if is_own_header(&header) {
        return Err(Error::config(format!("the header {header} is set by the client itself")));
    }
    let wrong = |why: &str| {
        Error::config(format!("the value of the header {header} cannot be sent: {why}"))
    };
    if !value.reveal().is_ascii() {
        return Err(wrong("it is not ASCII"));
    }
    if header == HOST {
        check_host(value.reveal()).map_err(|why| wrong(&why))?;
        if map.contains_key(HOST) {
            return Err(wrong("it is given twice"));
        }
    }
    let is_binary = protocol == Protocol::Grpc && header.as_str().ends_with("-bin");
    if is_binary && BINARY.decode(value.reveal()).is_err() {
        return Err(wrong("over gRPC the value must be base64, because the name ends in -bin"));
    }
    let mut value =
        HeaderValue::from_str(value.reveal()).map_err(|_| wrong("it has control characters"))?;
    value.set_sensitive(true);
    map.append(header, value);
    Ok(())
}

/// Checks the value of a `Host` header: a host with an optional port. Proxies choose the gateway
/// for a request by this header.
fn check_host(value: &str) -> Result<(), String> {
    let host = value.parse::<Authority>().ok();
    let is_host =
        |host: &Authority| !host.host().is_empty() && !value.contains('@') && !value.ends_with(':');
    if !host.as_ref().is_some_and(is_host) {
        return Err("it is not a host with an optional port, such as flow.example:8080".to_owned());
    }
    check_port(value).map(drop).map_err(|what| format!("it {what}"))
}

impl Identity {
    /// Returns the headers of every request; `url` may contain credentials, too.
    ///
    /// # Errors
    /// If a header cannot be sent, or credentials are given in more than one way.
    pub(crate) fn to_headers(&self, url: &Address) -> Result<HeaderMap, Error> {
        let protocol = url.protocol();
        let mut map = HeaderMap::new();
        for (name, value) in &self.headers {
            add_header(&mut map, protocol, name, value)?;
        }
        let basic = |user: &str, password: &str| {
            format!("Basic {}", STANDARD.encode(format!("{user}:{password}")))
        };
        let in_url = url.credentials().map(|(user, password)| basic(user, password));
        let given = self.basic.as_ref().map(|(user, password)| basic(user, password.reveal()));
        let bearer = self.bearer.as_ref().map(|token| format!("Bearer {}", token.reveal()));
        let mut ways = [in_url, given, bearer].into_iter().flatten();
        if let Some(credentials) = ways.next() {
            if ways.next().is_some() || map.contains_key(AUTHORIZATION) {
                return Err(Error::config(
                    "credentials are given twice: use only one of the URL, basic, bearer and a header",
                ));
            }
            add_header(&mut map, protocol, AUTHORIZATION.as_str(), &Secret::new(credentials))?;
        }
        if !self.cookies.is_empty() {
            let mut pairs = Vec::new();
            for (name, value) in &self.cookies {
                let is_bad = |c: char| c.is_control() || matches!(c, ';' | ',' | ' ');
                if name.is_empty() || name.contains('=') || name.contains(is_bad) {
                    return Err(Error::config(format!("{name:?} is not a valid name of a cookie")));
                }
                if value.reveal().contains(is_bad) {
                    return Err(Error::config(format!(
                        "the value of the cookie {name} cannot be sent"
                    )));
                }
                pairs.push(format!("{name}={}", value.reveal()));
            }
            add_header(&mut map, protocol, COOKIE.as_str(), &Secret::new(pairs.join("; ")))?;
        }
        Ok(map)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Address {
        Address::parse(text, None).unwrap()
    }

    #[test]
    fn credentials_and_cookies_become_headers() {
        let identity = Identity {
            basic: Some(("user".into(), Secret::new("pässword"))),
            cookies: vec![("a".into(), Secret::new("1")), ("b".into(), Secret::new("2"))],
            headers: vec![("X-Tenant".into(), Secret::new("t"))],
            ..Identity::default()
        };
        let map = identity.to_headers(&url("http://h")).unwrap();
        assert_eq!(map["authorization"], "Basic dXNlcjpww6Rzc3dvcmQ=");
        assert_eq!(map["cookie"], "a=1; b=2");
        assert_eq!(map["x-tenant"], "t");
    }

    #[test]
    fn each_value_of_a_map_of_headers_keeps_its_name() {
        let mut map = HeaderMap::new();
        for (name, value) in [("x-a", "1"), ("x-b", "2"), ("x-a", "3")] {
            map.append(name, HeaderValue::from_static(value));
        }
        let given = one_by_one(map.clone());
        let headers = Identity { headers: given.collect(), ..Identity::default() };
        assert_eq!(headers.to_headers(&url("http://h")).unwrap(), map);
    }

    #[test]
    fn credentials_given_twice_are_refused() {
        let identity = Identity { bearer: Some(Secret::new("t")), ..Identity::default() };
        assert!(identity.to_headers(&url("http://h")).is_ok());
        let error = identity.to_headers(&url("http://u:p@h")).unwrap_err();
        assert!(error.to_string().contains("given twice"));
    }

    #[test]
    fn no_secret_is_ever_shown() {
        let secret = "s3cr3t";
        let identity = Identity {
            headers: vec![("x-key".into(), Secret::new(secret))],
            basic: Some(("user".into(), Secret::new(secret))),
            cookies: vec![("session".into(), Secret::new(secret))],
            bearer: None,
        };
        let headers = identity.to_headers(&url("http://h")).unwrap();
        let shown = format!("{identity:?} {headers:?}");
        assert!(!shown.contains(secret) && !shown.contains("dXNlcjpzM2NyM3Q"), "{shown}");
        let broken = Identity { bearer: Some(Secret::new("s3cr3t\n")), ..Identity::default() };
        let error = broken.to_headers(&url("http://h")).unwrap_err();
        assert!(!format!("{error} {error:?}").contains(secret));
    }

    #[test]
    fn headers_that_the_client_sets_itself_are_refused() {
        for name in ["Content-Length", "content-type", "grpc-timeout", "TE"] {
            let mut map = HeaderMap::new();
            assert!(add_header(&mut map, Protocol::Http, name, &Secret::new("x")).is_err());
        }
    }

    #[test]
    fn the_host_header_must_be_a_host_and_be_given_once() {
        for (value, wrong) in [
            ("flow.example", None),
            ("flow.example:8080", None),
            ("[::1]:8080", None),
            ("127.0.0.1", None),
            ("", Some("not a host")),
            (":80", Some("not a host")),
            ("flow.example:", Some("not a host")),
            ("user@flow.example", Some("not a host")),
            ("http://flow.example", Some("not a host")),
            ("flow.example/path", Some("not a host")),
            ("flow example", Some("not a host")),
            ("flow.example:70000", Some("out of range")),
            ("::1", Some("not a host")),
            ("flow\n.example", Some("not a host")),
        ] {
            for protocol in [Protocol::Http, Protocol::Websocket, Protocol::Grpc] {
                let mut map = HeaderMap::new();
                let added = add_header(&mut map, protocol, "Host", &Secret::new(value));
                match (added, wrong) {
                    (Ok(()), None) => assert_eq!(map["host"], value),
                    (Err(error), Some(wrong)) => {
                        assert!(error.message().contains(wrong), "{value:?}: {error}");
                    }
                    (added, wrong) => panic!("{value:?}: {added:?}, not {wrong:?}"),
                }
            }
        }
        let mut map = HeaderMap::new();
        add_header(&mut map, Protocol::Http, "Host", &Secret::new("a")).unwrap();
        let twice = add_header(&mut map, Protocol::Http, "host", &Secret::new("b")).unwrap_err();
        assert!(twice.message().contains("given twice"), "{twice}");
        let authority = add_header(&mut map, Protocol::Grpc, ":authority", &Secret::new("a"));
        assert!(authority.unwrap_err().message().contains("set Host"));
    }

    #[test]
    fn values_are_ascii_and_over_grpc_binary_ones_base64() {
        let table = [
            (Protocol::Http, "x-name", "ä", Some("not ASCII")),
            (Protocol::Grpc, "x-name", "ä", Some("not ASCII")),
            (Protocol::Grpc, "x-name", "a\nb", Some("control characters")),
            (Protocol::Grpc, "x-näme", "a", Some("not a valid name of a header")),
            (Protocol::Grpc, ":path", "/", Some("not a valid name of a header")),
            (Protocol::Grpc, "x-trace-bin", "no base64", Some("must be base64")),
            (Protocol::Grpc, "X-Trace-Bin", "AAE", None),
            (Protocol::Grpc, "x-trace-bin", "AAE=", None),
            (Protocol::Http, "x-trace-bin", "no base64", None),
            (Protocol::Grpc, "x-name", "plain text", None),
        ];
        for (protocol, name, value, wrong) in table {
            let added = add_header(&mut HeaderMap::new(), protocol, name, &Secret::new(value));
            match (added, wrong) {
                (Ok(()), None) => {}
                (Err(error), Some(wrong)) => {
                    assert!(error.message().contains(wrong), "{name}: {error}");
                    let is_hidden = value.len() < 2 || !error.message().contains(value);
                    assert!(is_hidden, "{name}: {error}");
                }
                (added, wrong) => panic!("{name} {value}: {added:?}, not {wrong:?}"),
            }
        }
    }
}
