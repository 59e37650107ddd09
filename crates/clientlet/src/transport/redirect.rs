//! Redirects: which are followed, and what the error says about the others.

use std::fmt;

use http::header::{HOST, LOCATION};
use http::uri::{Authority, PathAndQuery, Scheme};
use http::{HeaderMap, StatusCode, Uri};

use crate::address::redact;
use crate::foreign::shorten;

/// The maximum number of redirects that an attempt follows.
const MOST: u32 = 5;

/// The redirects that one attempt has followed.
#[derive(Debug, Default)]
pub(super) struct Redirects {
    followed: u32,
}

/// The reason why a redirect is not followed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Unfollowed {
    /// The `Location` is not a URL.
    Unreadable,
    /// The target is the same protocol over TLS.
    Secure,
    /// The target has another scheme, host or port.
    Elsewhere,
    /// 301, 302 and 303 may change the method, so that the body would be lost.
    Kind,
    /// As many redirects were followed as are allowed.
    TooMany,
    /// Redirects have no meaning in gRPC.
    #[cfg(feature = "grpc")]
    Grpc,
}

impl Redirects {
    /// Returns the target of a redirect that is to be followed: 307 and 308 within the origin of
    /// `from`. For any other redirect returns the reason. `None` if the answer is not a redirect.
    /// `sent` contains the headers of the request.
    pub(super) fn follow(
        &mut self,
        (status, headers): (StatusCode, &HeaderMap),
        from: &Uri,
        sent: &HeaderMap,
    ) -> Option<Result<Uri, Unfollowed>> {
        if !status.is_redirection() {
            return None;
        }
        let location = headers.get(LOCATION)?;
        let host = sent.get(HOST).and_then(|host| Authority::try_from(host.as_bytes()).ok());
        let target = location.to_str().map_err(|_| Unfollowed::Unreadable);
        let target = target.and_then(|location| within(from, host.as_ref(), location));
        Some(target.and_then(|to| {
            if !matches!(status, StatusCode::TEMPORARY_REDIRECT | StatusCode::PERMANENT_REDIRECT) {
                return Err(Unfollowed::Kind);
            }
            if self.followed == MOST {
                return Err(Unfollowed::TooMany);
            }
            self.followed += 1;
            Ok(to)
        }))
    }
}

/// Resolves a `Location` (RFC 3986, 5.2) and checks that the target has the origin of `from`. A
/// server knows its origin by the `Host` header, so that name counts as well; the request still goes
/// to the same connection.
fn within(from: &Uri, host: Option<&Authority>, location: &str) -> Result<Uri, Unfollowed> {
    let location = location.split('#').next().unwrap_or_default();
    let scheme = from.scheme().cloned().unwrap_or(Scheme::HTTP);
    let is_secure = scheme == Scheme::HTTPS;
    let (is_to_secure, rest) = match location.split_once("://") {
        Some((scheme, rest)) if !scheme.contains(['/', '?']) => {
            match scheme.to_ascii_lowercase().as_str() {
                "http" | "ws" => (false, Some(rest)),
                "https" | "wss" => (true, Some(rest)),
                _ => return Err(Unfollowed::Elsewhere),
            }
        }
        _ if has_scheme(location) => return Err(Unfollowed::Elsewhere),
        _ => (is_secure, location.strip_prefix("//")),
    };
    let path = match rest {
        None => location,
        Some(rest) => {
            if is_to_secure && !is_secure {
                return Err(Unfollowed::Secure);
            }
            let (authority, path) = rest.split_at(rest.find(['/', '?']).unwrap_or(rest.len()));
            let to: Authority = authority.parse().map_err(|_| Unfollowed::Unreadable)?;
            let is_same = |known: &Authority| {
                let port = |authority: &Authority| {
                    authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 })
                };
                known.host().eq_ignore_ascii_case(to.host()) && port(known) == port(&to)
            };
            // User information would be credentials that the server chooses.
            let is_here = [from.authority(), host].into_iter().flatten().any(is_same);
            if !is_here || is_to_secure != is_secure || authority.contains('@') {
                return Err(Unfollowed::Elsewhere);
            }
            if path.starts_with('/') { path } else { &format!("/{path}") }
        }
    };
    let mut parts = from.clone().into_parts();
    parts.path_and_query =
        Some(PathAndQuery::try_from(merged(from, path)).map_err(|_| Unfollowed::Unreadable)?);
    Uri::from_parts(parts).map_err(|_| Unfollowed::Unreadable)
}

/// Whether a reference begins with a scheme, such as `mailto:` (RFC 3986, 4.2), and so is no path.
fn has_scheme(location: &str) -> bool {
    let is_part = |c: char| c.is_ascii_alphanumeric() || "+-.".contains(c);
    let scheme = location.split_once(':').map_or("", |(scheme, _)| scheme);
    scheme.starts_with(|c: char| c.is_ascii_alphabetic()) && scheme.chars().all(is_part)
}

/// Returns the path and query of a reference without an authority, as seen from `from`.
fn merged(from: &Uri, reference: &str) -> String {
    let (path, query) = match reference.split_once('?') {
        Some((path, query)) => (path, Some(query)),
        None => (reference, None),
    };
    let base = from.path();
    let query = query.or(from.query().filter(|_| path.is_empty()));
    let path = match path {
        "" => base.to_owned(),
        path if path.starts_with('/') => path.to_owned(),
        path => format!("{}/{path}", base.rsplit_once('/').map_or("", |(folder, _)| folder)),
    };
    let mut segments: Vec<&str> = Vec::new();
    for segment in path.split('/').skip(1) {
        match segment {
            "." => {}
            ".." => drop(segments.pop()),
            segment => segments.push(segment),
        }
    }
    if path.ends_with("/.") || path.ends_with("/..") {
        segments.push("");
    }
    let query = query.map(|query| format!("?{query}")).unwrap_or_default();
    format!("/{}{query}", segments.join("/"))
}

/// Describes the target of a redirect that is not followed, without anything secret.
pub(super) fn describe(headers: &HeaderMap, why: Unfollowed) -> String {
    let to = headers.get(LOCATION).map(|to| String::from_utf8_lossy(to.as_bytes()));
    format!(" and points to {}; {why}", shorten(&redact(&to.unwrap_or_default())))
}

impl fmt::Display for Unfollowed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Unfollowed::Unreadable => "that is not an address",
            Unfollowed::Secure => "use that host, with a URL that begins with https, wss or grpcs",
            Unfollowed::Elsewhere => {
                "redirects to another host, port or scheme are not followed, so use that address"
            }
            Unfollowed::Kind => "only 307 and 308 are followed, so use that address",
            Unfollowed::TooMany => "five redirects were followed already; is it a loop?",
            #[cfg(feature = "grpc")]
            Unfollowed::Grpc => "redirects of gRPC are not followed, so use that address",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn follow(redirects: &mut Redirects, status: u16, to: &str) -> Option<Result<Uri, Unfollowed>> {
        let from = Uri::from_static("http://h:8080/base/post?q=1");
        let sent = HeaderMap::from_iter([(HOST, "flow.example".parse().unwrap())]);
        let headers = HeaderMap::from_iter([(LOCATION, to.parse().unwrap())]);
        redirects.follow((StatusCode::from_u16(status).unwrap(), &headers), &from, &sent)
    }

    #[test]
    fn only_307_and_308_within_the_origin_are_followed() {
        for (to, expected) in [
            ("/x", Ok("http://h:8080/x")),
            ("/x/../y/./z?a=b#part", Ok("http://h:8080/y/z?a=b")),
            ("/../..", Ok("http://h:8080/")),
            ("x", Ok("http://h:8080/base/x")),
            ("../x/", Ok("http://h:8080/x/")),
            ("?a", Ok("http://h:8080/base/post?a")),
            ("", Ok("http://h:8080/base/post?q=1")),
            ("/to?next=http://other/", Ok("http://h:8080/to?next=http://other/")),
            ("http://h:8080/x", Ok("http://h:8080/x")),
            ("HTTP://H:8080?a", Ok("http://h:8080/?a")),
            ("ws://h:8080/x", Ok("http://h:8080/x")),
            ("//h:8080/x", Ok("http://h:8080/x")),
            // The name that the request's `Host` gives to the server.
            ("http://flow.example/x", Ok("http://h:8080/x")),
            ("http://flow.example:80/x", Ok("http://h:8080/x")),
            ("http://flow.example:8080/x", Err(Unfollowed::Elsewhere)),
            ("http://h/x", Err(Unfollowed::Elsewhere)),
            ("http://h:8081/x", Err(Unfollowed::Elsewhere)),
            ("http://h.example:8080/x", Err(Unfollowed::Elsewhere)),
            ("//other/x", Err(Unfollowed::Elsewhere)),
            ("http://u:p@h:8080/x", Err(Unfollowed::Elsewhere)),
            ("ftp://h:8080/x", Err(Unfollowed::Elsewhere)),
            ("javascript:alert(1)", Err(Unfollowed::Elsewhere)),
            ("http:/x", Err(Unfollowed::Elsewhere)),
            ("./a:b", Ok("http://h:8080/base/a:b")),
            ("https://h:8080/x", Err(Unfollowed::Secure)),
            ("wss://other/x", Err(Unfollowed::Secure)),
            ("http://[/x", Err(Unfollowed::Unreadable)),
            ("/a b", Err(Unfollowed::Unreadable)),
        ] {
            let expected = expected.map(Uri::from_static);
            for status in [307, 308] {
                let followed = follow(&mut Redirects::default(), status, to);
                assert_eq!(followed, Some(expected.clone()), "{status} {to:?}");
            }
        }
        for status in [300, 301, 302, 303] {
            let followed = follow(&mut Redirects::default(), status, "/x");
            assert_eq!(followed, Some(Err(Unfollowed::Kind)), "{status}");
        }
        assert_eq!(follow(&mut Redirects::default(), 200, "/x"), None);
    }

    #[test]
    fn the_sixth_redirect_is_not_followed() {
        let mut redirects = Redirects::default();
        for _ in 0..5 {
            assert!(follow(&mut redirects, 307, "/x").unwrap().is_ok());
        }
        assert_eq!(follow(&mut redirects, 307, "/x"), Some(Err(Unfollowed::TooMany)));
    }

    #[test]
    fn a_redirect_away_from_tls_is_not_followed() {
        let from = Uri::from_static("https://h/x");
        let headers = HeaderMap::from_iter([(LOCATION, "http://h/x".parse().unwrap())]);
        let answer = (StatusCode::TEMPORARY_REDIRECT, &headers);
        let followed = Redirects::default().follow(answer, &from, &HeaderMap::new());
        assert_eq!(followed, Some(Err(Unfollowed::Elsewhere)));
    }
}
