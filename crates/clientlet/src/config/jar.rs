//! The cookies that a gateway, or a proxy before it, sets (RFC 6265).
//!
//! A client talks to one address, so the jar holds the cookies of its host, and of the hosts that
//! `Host` headers name. There is no list of public suffixes: a cookie for a whole domain goes to no
//! host that the caller did not name.

use std::fmt;
use std::net::IpAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use cookie::Cookie;
use http::header::{COOKIE, HOST, SET_COOKIE};
use http::uri::{Authority, Scheme};
use http::{HeaderMap, HeaderValue, Uri};
use tokio::time::Instant;

/// The maximum number of cookies, and the maximum size of each in bytes with all its attributes:
/// what RFC 6265 (6.1) asks for. Beyond it the oldest cookie goes.
const MOST: usize = 50;
const LONGEST: usize = 4096;

#[derive(Default)]
pub(crate) struct Jar {
    is_filled: AtomicBool,
    /// In the order of their creation.
    kept: Mutex<Vec<Kept>>,
}

struct Kept {
    name: String,
    value: String,
    domain: String,
    /// Whether the cookie is for this host alone, and not for hosts below it.
    is_host_only: bool,
    path: String,
    is_secure: bool,
    /// `None` for the time of the client.
    expires: Option<Instant>,
}

impl Jar {
    pub(crate) fn is_empty(&self) -> bool {
        !self.is_filled.load(Ordering::Relaxed)
    }

    /// Keeps the cookies of an answer to a request for `uri` with the headers `sent`.
    pub(crate) fn learn(&self, uri: &Uri, sent: &HeaderMap, answer: &HeaderMap) {
        let Some(host) = host(uri, sent) else { return };
        let now = (Instant::now(), SystemTime::now());
        let mut kept = self.kept();
        for value in answer.get_all(SET_COOKIE) {
            let text = std::str::from_utf8(value.as_bytes()).ok();
            let text = text.filter(|text| text.len() <= LONGEST);
            let Some(new) = text.and_then(|text| read(text, uri, &host, now)) else { continue };
            let is_same = |old: &Kept| {
                (&old.name, &old.domain, &old.path) == (&new.name, &new.domain, &new.path)
            };
            let place = kept.iter().position(is_same);
            match (place, new.expires.is_some_and(|until| until <= now.0)) {
                (Some(place), true) => drop(kept.remove(place)),
                (None, true) => {}
                // The place of a cookie is that of its creation.
                (Some(place), false) => kept[place] = new,
                (None, false) => {
                    if kept.len() >= MOST {
                        kept.remove(0);
                    }
                    kept.push(new);
                }
            }
        }
        self.is_filled.store(!kept.is_empty(), Ordering::Relaxed);
    }

    /// Returns the `Cookie` header of a request for `uri` with the headers `sent`: its own cookies,
    /// and those of the jar with other names. `None` if the jar adds none.
    pub(crate) fn header(&self, uri: &Uri, sent: &HeaderMap) -> Option<HeaderValue> {
        if self.is_empty() {
            return None;
        }
        let (host, now) = (host(uri, sent)?, Instant::now());
        let is_secure = uri.scheme() == Some(&Scheme::HTTPS);
        let own: Vec<_> = sent.get_all(COOKIE).iter().filter_map(|own| own.to_str().ok()).collect();
        let is_own = |name: &str| {
            let pairs = own.iter().flat_map(|own| own.split(';'));
            pairs
                .map(|pair| pair.split('=').next().unwrap_or_default().trim())
                .any(|own| own == name)
        };
        let mut kept = self.kept();
        kept.retain(|cookie| cookie.expires.is_none_or(|until| until > now));
        self.is_filled.store(!kept.is_empty(), Ordering::Relaxed);
        let mut fitting: Vec<_> = kept
            .iter()
            .filter(|cookie| {
                let is_host = match cookie.is_host_only {
                    true => cookie.domain == host,
                    false => is_within(&host, &cookie.domain),
                };
                let may_go = is_secure || !cookie.is_secure;
                is_host && may_go && is_below(uri.path(), &cookie.path) && !is_own(&cookie.name)
            })
            .collect();
        if fitting.is_empty() {
            return None;
        }
        // The sort is stable, so older cookies stay before newer ones (RFC 6265, 5.4).
        fitting.sort_by_key(|cookie| std::cmp::Reverse(cookie.path.len()));
        let mut all: Vec<String> = own.into_iter().map(str::to_owned).collect();
        all.extend(fitting.iter().map(|cookie| format!("{}={}", cookie.name, cookie.value)));
        let mut value = HeaderValue::from_str(&all.join("; ")).ok()?;
        value.set_sensitive(true);
        Some(value)
    }

    fn kept(&self) -> MutexGuard<'_, Vec<Kept>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Shows no cookie.
impl fmt::Debug for Jar {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Jar({} cookies)", self.kept().len())
    }
}

/// The host that a request names, in lower case.
fn host(uri: &Uri, sent: &HeaderMap) -> Option<String> {
    let named = sent.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
    let host = named.as_ref().or(uri.authority())?.host();
    Some(host.trim_end_matches('.').to_ascii_lowercase())
}

/// Reads one `Set-Cookie`; `None` if it is to be ignored.
fn read(text: &str, uri: &Uri, host: &str, now: (Instant, SystemTime)) -> Option<Kept> {
    let cookie = Cookie::parse(text).ok()?;
    let (name, value) = (cookie.name().to_owned(), cookie.value().to_owned());
    // It goes into a header as it is.
    let is_visible = |c: char| c.is_ascii_graphic() || c == ' ';
    if name.is_empty() || !name.chars().chain(value.chars()).all(is_visible) {
        return None;
    }
    let is_secure = cookie.secure().unwrap_or(false);
    if is_secure && uri.scheme() != Some(&Scheme::HTTPS) {
        return None;
    }
    let domain = cookie.domain().filter(|domain| !domain.is_empty()).map(str::to_ascii_lowercase);
    let is_host_only = domain.as_ref().is_none_or(|domain| domain == host && is_address(host));
    let domain = domain.unwrap_or_else(|| host.to_owned());
    // A cookie for all of `com` is refused; a host without a dot may set cookies for itself.
    let is_too_wide = domain != host && !domain.contains('.');
    if !is_within(host, &domain) || is_too_wide {
        return None;
    }
    let path = cookie.path().filter(|path| path.starts_with('/')).map(str::to_owned);
    let path = path.unwrap_or_else(|| folder(uri.path()).to_owned());
    let left = match (cookie.max_age(), cookie.expires_datetime()) {
        (Some(age), _) => Some(Duration::try_from(age).unwrap_or_default()),
        (None, Some(date)) => {
            Some(SystemTime::from(date).duration_since(now.1).unwrap_or_default())
        }
        (None, None) => None,
    };
    // A name can promise attributes (RFC 6265bis, 4.1.3); a cookie that lacks them may be another host's.
    let begins =
        |prefix: &str| name.get(..prefix.len()).is_some_and(|it| it.eq_ignore_ascii_case(prefix));
    let is_of_root = cookie.path() == Some("/") && cookie.domain().is_none_or(str::is_empty);
    if begins("__Secure-") && !is_secure || begins("__Host-") && !(is_secure && is_of_root) {
        return None;
    }
    // A time that cannot be represented is as good as none.
    let expires = left.and_then(|left| now.0.checked_add(left));
    Some(Kept { name, value, domain, is_host_only, path, is_secure, expires })
}

fn is_address(host: &str) -> bool {
    host.starts_with('[') || host.parse::<IpAddr>().is_ok()
}

/// Whether a host is the domain or below it (RFC 6265, 5.1.3).
fn is_within(host: &str, domain: &str) -> bool {
    let above = host.strip_suffix(domain);
    above.is_some_and(|above| above.is_empty() || above.ends_with('.') && !is_address(host))
}

/// Whether a path is the cookie's or below it (RFC 6265, 5.1.4).
fn is_below(path: &str, of: &str) -> bool {
    let rest = path.strip_prefix(of);
    rest.is_some_and(|rest| rest.is_empty() || of.ends_with('/') || rest.starts_with('/'))
}

/// The default path of a cookie that names none.
fn folder(path: &str) -> &str {
    match path.rfind('/') {
        None | Some(0) => "/",
        Some(end) => &path[..end],
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn set(jar: &Jar, uri: &str, cookies: &[&str]) {
        let answer = cookies.iter().map(|cookie| (SET_COOKIE, cookie.parse().unwrap())).collect();
        jar.learn(&uri.parse().unwrap(), &HeaderMap::new(), &answer);
    }

    fn sent(jar: &Jar, uri: &str, own: &str) -> Option<String> {
        let headers = (!own.is_empty()).then(|| (COOKIE, own.parse().unwrap()));
        let header = jar.header(&uri.parse().unwrap(), &headers.into_iter().collect());
        header.map(|header| header.to_str().unwrap().to_owned())
    }

    #[tokio::test]
    async fn a_cookie_goes_where_its_attributes_say() {
        for (from, cookie, to, is_sent) in [
            ("http://h/", "a=1", "http://h/b", true),
            ("http://h:1/", "a=1", "http://h:2/", true),
            ("http://h/", "a=1", "http://other/", false),
            ("http://h.example/", "a=1", "http://x.h.example/", false),
            ("http://127.0.0.1/", "a=1", "http://127.0.0.1/", true),
            ("http://[::1]/", "a=1", "http://[::1]/", true),
            // Domain
            ("http://x.h.example/", "a=1; Domain=h.example", "http://y.h.example/", true),
            ("http://x.h.example/", "a=1; Domain=.H.example", "http://h.example/", true),
            ("http://x.h.example/", "a=1; Domain=h.example", "http://ah.example/", false),
            ("http://h.example/", "a=1; Domain=other.example", "http://h.example/", false),
            ("http://h.example/", "a=1; Domain=example", "http://h.example/", false),
            ("http://h.example/", "a=1; Domain=x.h.example", "http://x.h.example/", false),
            ("http://127.0.0.1/", "a=1; Domain=0.0.1", "http://127.0.0.1/", false),
            ("http://127.0.0.1/", "a=1; Domain=127.0.0.1", "http://127.0.0.1/", true),
            // Path
            ("http://h/a/b", "a=1", "http://h/a", true),
            ("http://h/a/b", "a=1", "http://h/a/c?q", true),
            ("http://h/a/b", "a=1", "http://h/ab", false),
            ("http://h/a/b", "a=1; Path=/", "http://h/c", true),
            ("http://h/a/b", "a=1; Path=nonsense", "http://h/c", false),
            ("http://h/", "a=1; Path=/x/", "http://h/x/y", true),
            ("http://h/", "a=1; Path=/x/", "http://h/x", false),
            // Secure
            ("https://h/", "a=1; Secure", "https://h/", true),
            ("https://h/", "a=1; Secure", "http://h/", false),
            ("http://h/", "a=1; Secure", "https://h/", false),
            // Names that promise attributes
            ("https://h/", "__Secure-a=1; Secure", "https://h/", true),
            ("https://h/", "__Secure-a=1", "https://h/", false),
            ("https://h/", "__Host-a=1; Secure; Path=/", "https://h/", true),
            ("https://h/", "__host-a=1; Path=/", "https://h/", false),
            ("https://h/", "__Host-a=1; Secure", "https://h/", false),
            ("https://x.h.e/", "__Host-a=1; Secure; Path=/; Domain=h.e", "https://x.h.e/", false),
            ("http://h/", "__Host-a=1; Secure; Path=/", "http://h/", false),
            // What is no cookie, or too large
            ("http://h/", "", "http://h/", false),
            ("http://h/", "=1", "http://h/", false),
        ] {
            let jar = Jar::default();
            set(&jar, from, &[cookie]);
            let header = sent(&jar, to, "");
            assert_eq!(header.is_some(), is_sent, "{cookie} from {from} to {to}: {header:?}");
            assert!(header.is_none_or(|header| cookie.starts_with(&header)));
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_cookie_ends_with_its_time() {
        for (cookie, seconds) in [
            ("a=1; Max-Age=10", Some(10)),
            ("a=1; Max-Age=10; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Some(10)),
            ("a=1; Expires=Thu, 01 Jan 1970 00:00:00 GMT", Some(0)),
            ("a=1; Max-Age=0", Some(0)),
            ("a=1; Max-Age=-5", Some(0)),
            ("a=1; Max-Age=99999999999999999999", None),
            ("a=1; Expires=nonsense", None),
        ] {
            let jar = Jar::default();
            set(&jar, "http://h/", &[cookie]);
            assert_eq!(sent(&jar, "http://h/", "").is_some(), seconds != Some(0), "{cookie}");
            tokio::time::advance(Duration::from_secs(11)).await;
            assert_eq!(sent(&jar, "http://h/", "").is_some(), seconds.is_none(), "{cookie}");
            assert_eq!(jar.is_empty(), seconds.is_some(), "{cookie}");
        }
    }

    #[tokio::test]
    async fn a_cookie_is_replaced_and_removed_by_another_of_its_name() {
        let jar = Jar::default();
        set(&jar, "http://h/", &["a=1", "b=1", "c=1; Path=/x"]);
        set(&jar, "http://h/", &["a=2", "b=; Max-Age=0"]);
        assert_eq!(sent(&jar, "http://h/x", "").unwrap(), "c=1; a=2");
    }

    #[tokio::test]
    async fn the_callers_cookies_win() {
        let jar = Jar::default();
        set(&jar, "http://h/", &["a=jar", "b=jar"]);
        assert_eq!(sent(&jar, "http://h/", "a=own; c=own").unwrap(), "a=own; c=own; b=jar");
        assert_eq!(sent(&jar, "http://h/", "a=own; b=own"), None);
    }

    #[tokio::test]
    async fn the_jar_is_bounded_and_shows_no_cookie() {
        let jar = Jar::default();
        set(&jar, "http://h/", &[&format!("large={}", "x".repeat(LONGEST))]);
        assert!(jar.is_empty());
        for n in 0..=MOST {
            set(&jar, "http://h/", &[&format!("c{n}=s3cr3t")]);
        }
        let header = sent(&jar, "http://h/", "").unwrap();
        assert_eq!(header.split("; ").count(), MOST);
        assert!(header.starts_with("c1=") && format!("{jar:?}") == "Jar(50 cookies)");
    }
}
