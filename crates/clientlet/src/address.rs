//! A gateway's address: parsed and checked once, shown without secrets.

use std::fmt;
use std::net::Ipv6Addr;
use std::ops::Range;

use http::uri::{Authority, Scheme};
use http::{HeaderValue, Uri};

use crate::error::{Context, Error};

/// The protocol that is spoken at an address.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Protocol {
    Http,
    Websocket,
    Grpc,
}

impl Protocol {
    /// The protocol's name, as in URLs and errors.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Protocol::Http => "http",
            Protocol::Websocket => "ws",
            Protocol::Grpc => "grpc",
        }
    }
}

/// A parsed URL. Its user information is kept separately. User information and query are never
/// shown.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Address {
    protocol: Protocol,
    /// Whether the protocol is spoken over TLS.
    is_secure: bool,
    authority: Authority,
    /// The prefix of every path, without a slash at its end.
    path: String,
    query: Option<String>,
    credentials: Option<(String, String)>,
}

impl Address {
    /// Reads a URL such as `http://localhost:8080/below/here`. `port` is a port given besides the
    /// URL.
    ///
    /// # Errors
    /// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the fault in the URL. The URL is
    /// shown without its user information.
    pub(crate) fn parse(url: &str, port: Option<u16>) -> Result<Address, Error> {
        let shown = redact(url);
        let wrong = |what: &str| Error::config(format!("the URL {shown:?} {what}"));
        let Some((scheme, rest)) = url.split_once("://") else {
            let what = format!("has no scheme; write http://{shown}, or ws:// or grpc:// instead");
            return Err(wrong(&what));
        };
        let (protocol, is_secure) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (Protocol::Http, false),
            "https" => (Protocol::Http, true),
            "ws" | "websocket" => (Protocol::Websocket, false),
            "wss" | "websockets" => (Protocol::Websocket, true),
            "grpc" => (Protocol::Grpc, false),
            "grpcs" => (Protocol::Grpc, true),
            _ => {
                let what =
                    "has an unknown scheme; use http, ws or grpc, or https, wss or grpcs for TLS";
                return Err(wrong(what));
            }
        };
        if has_stray_at(rest) {
            let what = "has an @ after its host: in a user's name or password write / as %2F, ? as %3F, \
                        # as %23; elsewhere write @ as %40";
            return Err(wrong(what));
        }
        let (authority, tail) = split_authority(rest);
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let own_port = check_port(host).map_err(|what| wrong(&what))?;
        let host = match (own_port, port) {
            (Some(_), Some(port)) => {
                return Err(wrong(&format!(
                    "already has a port, but port {port} was given besides"
                )));
            }
            (None, Some(port)) => format!("{}:{port}", host.trim_end_matches(':')),
            (Some(_), None) => host.to_owned(),
            (None, None) => host.trim_end_matches(':').to_owned(),
        };
        if !host.is_ascii() {
            return Err(wrong(
                "has a host that is not ASCII; write each such part of the name in its form that begins with xn--",
            ));
        }
        let authority: Authority =
            host.parse().map_err(|error| wrong(&format!("has no valid host: {error}")))?;
        if authority.host().is_empty() {
            return Err(wrong("has no host"));
        }
        let tail = tail.split('#').next().unwrap_or_default();
        let (path, query) = match tail.split_once('?') {
            Some((path, query)) => (path, Some(query.to_owned())),
            None => (tail, None),
        };
        // Parsed only as a check: an address that passes can be sent.
        Uri::builder()
            .scheme(Scheme::HTTP)
            .authority(authority.clone())
            .path_and_query(format!(
                "{}{}",
                if path.is_empty() { "/" } else { path },
                query.as_ref().map(|q| format!("?{q}")).unwrap_or_default()
            ))
            .build()
            .map_err(|error| wrong(&format!("has no valid path: {error}")))?;
        let credentials = userinfo.map(|userinfo| {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            (decode_percent(user.as_bytes()), decode_percent(password.as_bytes()))
        });
        Ok(Address {
            protocol,
            is_secure,
            authority,
            path: path.trim_end_matches('/').to_owned(),
            query,
            credentials,
        })
    }

    /// The context of an error about a gateway at this address.
    pub(crate) fn context(
        &self,
        request_id: Option<String>,
        documents: Option<Range<u64>>,
    ) -> Context {
        let protocol = Some(self.protocol.name());
        Context { protocol, gateway: Some(self.to_string()), request_id, documents }
    }

    pub(crate) fn protocol(&self) -> Protocol {
        self.protocol
    }

    /// Whether the protocol is spoken over TLS.
    pub(crate) fn is_secure(&self) -> bool {
        self.is_secure
    }

    /// The scheme of the address as it is shown.
    fn scheme(&self) -> &'static str {
        match (self.protocol, self.is_secure) {
            (Protocol::Http, true) => "https",
            (Protocol::Websocket, true) => "wss",
            (Protocol::Grpc, true) => "grpcs",
            (protocol, false) => protocol.name(),
        }
    }

    /// The address without its path, as it is shown: `http://localhost:8080`.
    #[cfg(feature = "otel")]
    pub(crate) fn origin(&self) -> String {
        format!("{}://{}", self.scheme(), self.authority)
    }

    /// Returns the URL's user and password, percent-decoded.
    pub(crate) fn credentials(&self) -> Option<&(String, String)> {
        self.credentials.as_ref()
    }

    pub(crate) fn has_query(&self) -> bool {
        self.query.is_some()
    }

    /// Returns the host for the `Host` header: with its port, unless the port is the scheme's default.
    pub(crate) fn host(&self) -> Option<HeaderValue> {
        let host = match (self.authority.port_u16(), self.is_secure) {
            (Some(80), false) | (Some(443), true) => self.authority.host(),
            _ => self.authority.as_str(),
        };
        HeaderValue::from_str(host).ok()
    }

    /// Returns the full URI of `path` below the gateway's address; `path` begins with a slash. The
    /// scheme is `http`, or `https` over TLS, whichever protocol is spoken.
    ///
    /// # Errors
    /// If the path cannot be part of a URI.
    pub(crate) fn at(&self, path: &str) -> Result<Uri, Error> {
        self.uri(&format!("{}{path}", self.path))
    }

    /// Returns the part of a path below the gateway's address.
    pub(crate) fn path_below<'p>(&self, path: &'p str) -> &'p str {
        path.strip_prefix(&*self.path).unwrap_or(path)
    }

    /// Returns the URI as it was given, for a clientlet, which has only one address.
    ///
    /// # Errors
    /// Never for a parsed address, but the types cannot express this.
    pub(crate) fn as_given(&self) -> Result<Uri, Error> {
        let path = if self.path.is_empty() { "/" } else { &self.path };
        let query = self.query.as_ref().map(|query| format!("?{query}")).unwrap_or_default();
        self.uri(&format!("{path}{query}"))
    }

    /// Returns the URI of another path and query at the same host, for a clientlet.
    ///
    /// # Errors
    /// If a URL cannot have this path.
    pub(crate) fn with_path(&self, path: &str) -> Result<Uri, Error> {
        self.uri(path)
    }

    fn uri(&self, path: &str) -> Result<Uri, Error> {
        Uri::builder()
            .scheme(if self.is_secure { Scheme::HTTPS } else { Scheme::HTTP })
            .authority(self.authority.clone())
            .path_and_query(path)
            .build()
            .map_err(|error| Error::config(format!("{path:?} cannot be part of a URL: {error}")))
    }
}

/// Shows the address without user information and query.
impl fmt::Display for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}://{}{}", self.scheme(), self.authority, self.path)
    }
}

impl fmt::Debug for Address {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

/// Checks the port of `host:port`, because [`Authority`] silently ignores a port that is out of
/// range. Text that is not a number is not shown, because it may be a password without its host.
pub(crate) fn check_port(host: &str) -> Result<Option<u16>, String> {
    let after_host = match host.rfind(']') {
        Some(end) => &host[end + 1..],
        None => host,
    };
    if after_host.matches(':').count() > 1 {
        return Err(match bracketed(host) {
            Some(host) => format!("has an IPv6 address without brackets; write {host}"),
            None => "has more than one port".to_owned(),
        });
    }
    match after_host.split_once(':') {
        None | Some((_, "")) => Ok(None),
        Some((_, port)) => match port.parse::<u16>() {
            Ok(0) => Err("has port 0, which nothing listens on".to_owned()),
            Ok(port) => Ok(Some(port)),
            Err(_) if is_number(port) => {
                Err(format!("has port {port}, which is out of range (1 to 65535)"))
            }
            Err(_) => Err("has a port that is not a number".to_owned()),
        },
    }
}

/// Returns an IPv6 address as a URL writes it, for an address by itself or before a port.
fn bracketed(host: &str) -> Option<String> {
    if host.parse::<Ipv6Addr>().is_ok() {
        // The last group may have been meant as a port, so both readings are shown.
        return Some(match host.rsplit_once(':') {
            Some((address, port)) if is_address_before(address, port) => {
                format!("[{host}], or [{address}]:{port} if that is its port")
            }
            _ => format!("[{host}]"),
        });
    }
    let (address, port) = host.rsplit_once(':')?;
    is_address_before(address, port).then(|| format!("[{address}]:{port}"))
}

fn is_address_before(address: &str, port: &str) -> bool {
    address.parse::<Ipv6Addr>().is_ok() && port.parse::<u16>().is_ok()
}

fn is_number(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

/// Splits the part of a URL after its scheme into the authority and the rest.
fn split_authority(rest: &str) -> (&str, &str) {
    rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()))
}

/// Whether an `@` may be the end of a password that contains `/`, `?` or `#`. After a host without
/// a colon it cannot be, so paths there may contain an `@`.
fn has_stray_at(rest: &str) -> bool {
    let (authority, tail) = split_authority(rest);
    let may_be_credentials = authority.contains('@')
        || authority.split(']').next_back().is_some_and(|end| end.contains(':'));
    may_be_credentials && tail.contains('@')
}

/// Returns a URL that may be shown, even if it cannot be parsed: without user information, without
/// its query, and without text that might be either.
pub(crate) fn redact(url: &str) -> String {
    let (scheme, rest) = match url.split_once("://") {
        // Text that is not a scheme may be a password.
        Some((scheme, rest)) if scheme.bytes().all(|b| b.is_ascii_alphanumeric()) => {
            (format!("{scheme}://"), rest)
        }
        Some(_) | None => (String::new(), url),
    };
    if has_stray_at(rest) {
        // The text after the `@` may be a host, or the end of a secret in the query.
        return format!("{scheme}…");
    }
    let (authority, tail) = split_authority(rest);
    let path = tail.split(['?', '#']).next().unwrap_or_default();
    let host = authority.rsplit_once('@').map_or(authority, |(_, host)| host);
    // A password without a host looks like a port.
    let host = match host.split(']').next_back().and_then(|end| end.split_once(':')) {
        Some((_, port)) if port.is_empty() || is_number(port) || bracketed(host).is_some() => {
            host.to_owned()
        }
        Some((_, port)) => format!("{}…", &host[..host.len() - port.len()]),
        None => host.to_owned(),
    };
    // A user name that contains a slash moves the `@` into the path.
    let path = path.rsplit_once('@').map_or(path, |(_, path)| path);
    format!("{scheme}{host}{path}")
}

/// Returns the path of an endpoint. Some endpoints are bound without a leading slash, but an HTTP
/// path always has one.
pub(crate) fn to_path(endpoint: &str) -> String {
    let slash = if endpoint.starts_with('/') { "" } else { "/" };
    format!("{slash}{}", encode_percent(endpoint))
}

/// Percent-encodes text for the path of a URL: all characters except those that a path may contain
/// unescaped.
pub(crate) fn encode_percent(text: &str) -> String {
    let is_plain = |b: u8| b.is_ascii_alphanumeric() || b"-._~!$&'()*+,;=:@/".contains(&b);
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match is_plain(byte) {
            true => out.push(byte.into()),
            false => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// Decodes percent-encoding. Invalid escapes are left unchanged; bytes that are not UTF-8 are
/// replaced.
pub(crate) fn decode_percent(text: &[u8]) -> String {
    let digit = |at: usize| text.get(at).and_then(|byte| char::from(*byte).to_digit(16));
    let mut bytes = Vec::with_capacity(text.len());
    let mut at = 0;
    while let Some(byte) = text.get(at) {
        let encoded = match (byte, digit(at + 1), digit(at + 2)) {
            (b'%', Some(high), Some(low)) => u8::try_from(high << 4 | low).ok(),
            _ => None,
        };
        bytes.push(encoded.unwrap_or(*byte));
        at += if encoded.is_some() { 3 } else { 1 };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(url: &str) -> Result<Address, String> {
        Address::parse(url, None).map_err(|error| error.to_string())
    }

    #[test]
    fn percent_encoding_is_decoded_and_other_text_is_left_unchanged() {
        let table =
            [("%41%c3%A4", "A\u{e4}"), ("100%", "100%"), ("%4", "%4"), ("%+1%-1", "%+1%-1")];
        for (text, decoded) in table {
            assert_eq!(decode_percent(text.as_bytes()), decoded);
        }
    }

    #[test]
    fn paths_are_joined_below_the_address() {
        let table = [
            ("http://h:1", "/post", "http://h:1/post"),
            ("http://h:1/", "/post", "http://h:1/post"),
            ("HTTP://h/below/", "/post", "http://h/below/post"),
            ("http://[::1]:8080", "/", "http://[::1]:8080/"),
            ("http://h:", "/x", "http://h/x"),
            ("https://h", "/x", "https://h/x"),
            ("wss://h:1/below", "/x", "https://h:1/below/x"),
            ("grpcs://h", "/x", "https://h/x"),
        ];
        for (url, path, expected) in table {
            assert_eq!(parse(url).unwrap().at(path).unwrap().to_string(), expected);
        }
    }

    #[test]
    fn a_bad_url_is_named_with_its_fault() {
        let table = [
            ("localhost:8080", "has no scheme; write http://localhost:8080"),
            ("ftp://h", "unknown scheme"),
            ("https://b\u{fc}cher.example", "has a host that is not ASCII; write each such part"),
            ("http://h:70000", "has port 70000, which is out of range"),
            ("http://h:0", "port 0"),
            ("http://h:8080:9090", "more than one port"),
            ("http://::1:8080", "write [::1:8080], or [::1]:8080 if that is its port"),
            ("http://fe80::1", "write [fe80::1]"),
            ("http://2001:db8:0:0:0:0:0:1:8080", "write [2001:db8:0:0:0:0:0:1]:8080"),
            ("http://h:x", "has a port that is not a number"),
            ("http://", "host"),
            ("http://h o", "host"),
        ];
        for (url, expected) in table {
            let message = parse(url).unwrap_err();
            assert!(message.contains(expected), "{url}: {message}");
        }
    }

    #[test]
    fn a_port_given_besides_the_url_is_used_unless_the_url_has_one() {
        assert_eq!(Address::parse("http://h", Some(7)).unwrap().to_string(), "http://h:7");
        let message = Address::parse("http://h:8", Some(7)).unwrap_err().to_string();
        assert!(message.contains("already has a port"), "{message}");
    }

    #[test]
    fn an_at_in_a_password_or_a_path_is_accepted_if_it_is_unambiguous() {
        let address = parse("http://us:p@ss:w@h:1/x").unwrap();
        assert_eq!(address.credentials(), Some(&("us".to_owned(), "p@ss:w".to_owned())));
        assert_eq!(address.to_string(), "http://h:1/x");
        assert_eq!(parse("http://h/a@b").unwrap().at("/post").unwrap(), "http://h/a@b/post");
        for url in
            ["http://user:pa/ss@h", "http://h:80/a@b", "http://h:80/?user=a@b", "ws://u:p#@h"]
        {
            let message = parse(url).unwrap_err();
            assert!(message.contains("write / as %2F"), "{url}: {message}");
        }
    }

    #[test]
    fn user_information_is_removed_and_never_shown() {
        let address = parse("http://us%40er:p%2Fw@h:1/x?token=t").unwrap();
        assert_eq!(address.credentials(), Some(&("us@er".to_owned(), "p/w".to_owned())));
        assert_eq!(format!("{address} {address:?}"), "http://h:1/x http://h:1/x");
        for url in [
            "http://user:secret@h:70000/?k=secret",
            "user:secret@h",
            "http://u:se/cret@h:x",
            "http-user:secret@proxy:8080/http://h",
            "user:secret@a://h",
            "http://user:secret",
            "http://user:secret/",
            "user:secret",
            "http://user:secret secret",
            "http://user:se/cret@h",
            "http://user:se/cret@h:80/path",
            "http://user:12/cret@h",
            "http://user:12?cret@h",
            "http://user:12#cret@h",
            "http://user:se#cret@h",
            "http://user:se?cret@h",
            "http://user:se@cret/x@h",
            "http://user:se#c/r?secret@h",
            "http://user:a:secret@h:x",
            "http://h:80/?token=secret@cret",
            "grpc://h/?token=secret#cret",
            "ftp://user:sec/ret@h?secret",
            "http://[::1]:secret",
        ] {
            let message = match Address::parse(url, None) {
                Ok(address) => format!("{address} {address:?}"),
                Err(error) => format!("{error} {error:?}"),
            };
            assert!(!message.contains("secret") && !message.contains("cret"), "{url}: {message}");
        }
    }
}
