//! Which proxy, if any, connections go through: the caller's settings and the environment's.

use std::ffi::OsString;
use std::fmt;
use std::net::IpAddr;

use http::Uri;
use http::uri::Authority;
use hyper_util::client::proxy::matcher::Matcher;

use crate::address::{check_port, decode_percent, redact};
use crate::error::Error;
use crate::secret::Secret;

/// What the caller asked for.
#[derive(Clone, Debug, Default)]
pub(crate) struct ProxyOptions {
    choice: Choice,
    /// The hosts that are reached without a proxy.
    no_proxy: Option<String>,
}

#[derive(Clone, Debug, Default)]
enum Choice {
    #[default]
    None,
    /// The URL may hold a password.
    Url(Secret),
    Environment,
}

/// A proxy.
#[derive(Clone)]
pub(crate) struct Proxy {
    pub(crate) kind: ProxyKind,
    /// A name, or an address without brackets.
    pub(crate) host: String,
    pub(crate) port: u16,
    pub(crate) credentials: Option<(String, Secret)>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum ProxyKind {
    Http,
    /// An HTTP proxy that is spoken to over TLS.
    Https,
    /// SOCKS version 5. The proxy looks names up.
    Socks5,
}

impl ProxyOptions {
    pub(crate) fn url(&mut self, url: String) {
        self.choice = Choice::Url(Secret::new(url));
    }

    pub(crate) fn environment(&mut self) {
        self.choice = Choice::Environment;
    }

    pub(crate) fn no_proxy(&mut self, hosts: String) {
        self.no_proxy = Some(hosts);
    }

    /// Chooses the proxy for an address. `environment` looks a variable up.
    ///
    /// # Errors
    /// If the URL of a proxy or a list of hosts cannot be used; names the setting or the variable.
    pub(crate) fn choose(
        &self,
        address: &Uri,
        environment: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Option<Proxy>, Error> {
        if let Some(hosts) = &self.no_proxy
            && is_listed(address, hosts, "no_proxy")?
        {
            return Ok(None);
        }
        match &self.choice {
            Choice::None => Ok(None),
            Choice::Url(url) => Proxy::parse(url.reveal(), "the proxy").map(Some),
            Choice::Environment => of_environment(address, environment),
        }
    }
}

/// The proxy that the environment names for an address. As in curl, the variables in lower case come
/// first; as in Go, `localhost` and loopback addresses need no proxy.
fn of_environment(
    address: &Uri,
    environment: impl Fn(&str) -> Option<OsString>,
) -> Result<Option<Proxy>, Error> {
    let first = |names: &[&'static str]| {
        let given = |name: &&'static str| Some((*name, environment(name)?));
        names.iter().filter_map(given).find(|(_, value)| !value.is_empty())
    };
    // If it were ignored, requests would go another way.
    let text = |name: &str, value: OsString| {
        let value = value.into_string();
        value.map_err(|_| Error::config(format!("the variable {name} is not UTF-8")))
    };
    let is_secure = address.scheme_str() == Some("https");
    let of_scheme = match (is_secure, environment("REQUEST_METHOD")) {
        (true, _) => first(&["https_proxy", "HTTPS_PROXY"]),
        (false, None) => first(&["http_proxy", "HTTP_PROXY"]),
        // In a CGI program HTTP_PROXY is the header `Proxy` of a request.
        (false, Some(_)) => first(&["http_proxy"]),
    };
    let Some((name, url)) = of_scheme.or_else(|| first(&["all_proxy", "ALL_PROXY"])) else {
        return Ok(None);
    };
    if is_loopback(address) {
        return Ok(None);
    }
    if let Some((name, hosts)) = first(&["no_proxy", "NO_PROXY"])
        && is_listed(address, &text(name, hosts)?, name)?
    {
        return Ok(None);
    }
    let url = text(name, url)?;
    let has_scheme = url.contains("://");
    let url = if has_scheme { url } else { format!("http://{url}") };
    Proxy::parse(&url, name).map(Some)
}

fn is_loopback(address: &Uri) -> bool {
    let host = host(address);
    host.parse::<IpAddr>().map_or(host.eq_ignore_ascii_case("localhost"), |ip| ip.is_loopback())
}

/// The host, without brackets, and without the dot that may end a name.
fn host(address: &Uri) -> &str {
    address.host().unwrap_or_default().trim_matches(['[', ']']).trim_end_matches('.')
}

/// Whether a list such as `localhost,.example.com:8080,10.0.0.0/8` names the host of an address. Entries
/// are separated by commas or white space. A name stands for itself and all names below it, `*` for everything.
fn is_listed(address: &Uri, hosts: &str, setting: &str) -> Result<bool, Error> {
    let port = address.port_u16().unwrap_or(match address.scheme_str() {
        Some("https") => 443,
        _ => 80,
    });
    let mut listed = Vec::new();
    let entries = hosts.split(|c: char| c == ',' || c.is_whitespace());
    for entry in entries.filter(|entry| !entry.is_empty()) {
        let wrong = |what: &str| Error::config(format!("{setting}: the entry {entry:?} {what}"));
        if let Some((network, bits)) = entry.split_once('/') {
            let most = match network.parse::<IpAddr>() {
                Ok(IpAddr::V4(_)) => 32,
                Ok(IpAddr::V6(_)) => 128,
                Err(_) => return Err(wrong("is not a network such as 10.0.0.0/8")),
            };
            if !bits.parse::<u8>().is_ok_and(|bits| bits <= most) {
                return Err(wrong(&format!("has no prefix length from 0 to {most}")));
            }
            listed.push(entry.to_owned());
            continue;
        }
        if entry.parse::<IpAddr>().is_ok() {
            listed.push(entry.to_owned());
            continue;
        }
        let own_port = check_port(entry).map_err(|what| wrong(&what))?;
        let name = match entry.rsplit_once(':') {
            Some((name, _)) if own_port.is_some() => name,
            _ => entry,
        };
        if own_port.is_none_or(|own| own == port) {
            // `*.example.com` is what others call `.example.com`.
            let name = name.strip_prefix('*').filter(|rest| !rest.is_empty()).unwrap_or(name);
            listed.push(name.trim_matches(['[', ']']).trim_end_matches('.').to_owned());
        }
    }
    let matcher = Matcher::builder().all("http://proxy").no(listed.join(",")).build();
    let bare = match host(address) {
        host if host.contains(':') => format!("http://[{host}]/"),
        host => format!("http://{host}/"),
    };
    // A host that is only dots is no name that a list could have.
    Ok(bare.parse().is_ok_and(|address| matcher.intercept(&address).is_none()))
}

impl Proxy {
    /// Reads a proxy's URL, such as `http://user:password@proxy:3128`. `setting` is its name in messages.
    fn parse(url: &str, setting: &str) -> Result<Proxy, Error> {
        let shown = redact(url);
        let wrong = |what: &str| Error::config(format!("{setting} {shown:?} {what}"));
        let schemes = "begin it with http://, https:// or socks5h://";
        let Some((scheme, rest)) = url.split_once("://") else {
            return Err(wrong(&format!("has no scheme; {schemes}")));
        };
        let (kind, default) = match scheme.to_ascii_lowercase().as_str() {
            "http" => (ProxyKind::Http, 80),
            "https" => (ProxyKind::Https, 443),
            "socks5" | "socks5h" => (ProxyKind::Socks5, 1080),
            _ => return Err(wrong(&format!("has a scheme that no proxy here has; {schemes}"))),
        };
        let (authority, tail) = rest.split_at(rest.find(['/', '?', '#']).unwrap_or(rest.len()));
        if tail.contains('@') {
            return Err(wrong(
                "has an @ after its host: in a password write / as %2F, ? as %3F, # as %23",
            ));
        }
        if !matches!(tail, "" | "/") {
            return Err(wrong("has a path, which a proxy does not have"));
        }
        let (userinfo, host) = match authority.rsplit_once('@') {
            Some((userinfo, host)) => (Some(userinfo), host),
            None => (None, authority),
        };
        let port = check_port(host).map_err(|what| wrong(&what))?.unwrap_or(default);
        let host = host.parse::<Authority>().map_err(|_| wrong("has no valid host"))?;
        let host = host.host().trim_matches(['[', ']']).to_owned();
        if host.is_empty() {
            return Err(wrong("has no host"));
        }
        let credentials = userinfo.map(|userinfo| {
            let (user, password) = userinfo.split_once(':').unwrap_or((userinfo, ""));
            let decode = |text: &str| decode_percent(text.as_bytes());
            (decode(user), Secret::new(decode(password)))
        });
        Ok(Proxy { kind, host, port, credentials })
    }
}

/// Shows the proxy without its credentials.
impl fmt::Display for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.kind {
            ProxyKind::Http => "http",
            ProxyKind::Https => "https",
            ProxyKind::Socks5 => "socks5h",
        };
        match self.host.contains(':') {
            true => write!(f, "{scheme}://[{}]:{}", self.host, self.port),
            false => write!(f, "{scheme}://{}:{}", self.host, self.port),
        }
    }
}

impl fmt::Debug for Proxy {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{self}")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    type Environment<'e> = &'e [(&'e str, &'e str)];

    /// The proxy for an address in an environment.
    fn chosen(address: &str, environment: Environment<'_>) -> Result<String, String> {
        let mut options = ProxyOptions::default();
        options.environment();
        let look_up = |name: &str| {
            let found = environment.iter().find(|(known, _)| *known == name);
            found.map(|(_, value)| OsString::from(value))
        };
        let proxy = options.choose(&address.parse().unwrap(), look_up);
        proxy
            .map(|proxy| proxy.map_or("none".to_owned(), |proxy| proxy.to_string()))
            .map_err(|error| error.to_string())
    }

    #[test]
    fn the_environment_is_read_as_curl_and_go_read_it() {
        let p = "http://p:3128";
        let table: &[(&str, Environment<'_>, &str)] = &[
            ("http://h/", &[], "none"),
            ("http://h/", &[("http_proxy", p)], p),
            ("http://h/", &[("HTTP_PROXY", p)], p),
            ("http://h/", &[("http_proxy", "http://low"), ("HTTP_PROXY", p)], "http://low:80"),
            ("http://h/", &[("http_proxy", ""), ("HTTP_PROXY", p)], p),
            ("http://h/", &[("HTTPS_PROXY", p)], "none"),
            ("https://h/", &[("HTTPS_PROXY", p)], p),
            ("https://h/", &[("HTTP_PROXY", p)], "none"),
            ("https://h/", &[("ALL_PROXY", "socks5h://s")], "socks5h://s:1080"),
            ("http://h/", &[("all_proxy", "socks5://s:9"), ("http_proxy", p)], p),
            ("http://h/", &[("http_proxy", "p:3128")], p),
            ("http://h/", &[("http_proxy", "u:w@p:3128")], p),
            ("https://h/", &[("https_proxy", "https://p")], "https://p:443"),
            ("http://h/", &[("HTTP_PROXY", p), ("REQUEST_METHOD", "GET")], "none"),
            ("http://h/", &[("http_proxy", p), ("REQUEST_METHOD", "GET")], p),
            ("http://localhost:1/", &[("http_proxy", p)], "none"),
            ("http://127.0.0.1/", &[("all_proxy", p)], "none"),
            ("http://[::1]:8/", &[("all_proxy", p)], "none"),
            ("http://h.local/", &[("http_proxy", p), ("no_proxy", "*")], "none"),
            ("http://h.local/", &[("http_proxy", p), ("NO_PROXY", "other, .local")], "none"),
            ("http://h.local/", &[("http_proxy", p), ("NO_PROXY", "local")], "none"),
            ("http://h.local/", &[("http_proxy", p), ("NO_PROXY", "*.local")], "none"),
            ("http://hlocal/", &[("http_proxy", p), ("NO_PROXY", "local")], p),
            ("http://h:8080/", &[("http_proxy", p), ("NO_PROXY", "h:8080")], "none"),
            ("http://h:8080/", &[("http_proxy", p), ("NO_PROXY", "h:8081")], p),
            ("http://h/", &[("http_proxy", p), ("NO_PROXY", "h:80")], "none"),
            ("https://h/", &[("https_proxy", p), ("NO_PROXY", "h:443")], "none"),
            ("http://10.1.2.3/", &[("http_proxy", p), ("NO_PROXY", "10.0.0.0/8")], "none"),
            ("http://11.1.2.3/", &[("http_proxy", p), ("NO_PROXY", "10.0.0.0/8")], p),
            ("http://10.1.2.3/", &[("http_proxy", p), ("NO_PROXY", "10.1.2.3")], "none"),
            ("http://[fd00::1]/", &[("http_proxy", p), ("NO_PROXY", "fd00::/8")], "none"),
            ("http://[fd00::1]:9/", &[("http_proxy", p), ("NO_PROXY", "[fd00::1]:9")], "none"),
            ("http://h/", &[("http_proxy", p), ("no_proxy", ""), ("NO_PROXY", "h")], "none"),
            ("http://H.Local/", &[("http_proxy", p), ("NO_PROXY", "LOCAL")], "none"),
            ("http://h.local./", &[("http_proxy", p), ("NO_PROXY", "h.local")], "none"),
            ("http://h.local/", &[("http_proxy", p), ("NO_PROXY", ".local.")], "none"),
            ("http://h.local.:8/", &[("http_proxy", p), ("NO_PROXY", "h.local.:8")], "none"),
            ("http://h/", &[("http_proxy", p), ("NO_PROXY", "a,\tb\n h")], "none"),
            ("http://h/", &[("http_proxy", p), ("NO_PROXY", ".")], p),
            ("http://localhost.:1/", &[("http_proxy", p)], "none"),
        ];
        for (address, environment, expected) in table {
            let proxy = chosen(address, environment).unwrap();
            assert_eq!(proxy, *expected, "{address} {environment:?}");
        }
    }

    #[test]
    fn what_cannot_be_used_is_named_without_its_secrets() {
        let p = ("http_proxy", "http://p");
        let table: &[(Environment<'_>, &str)] = &[
            (&[("http_proxy", "ftp://u:secret@p")], "http_proxy \"ftp://p\" has a scheme"),
            (&[("http_proxy", "socks4://p")], "has a scheme that no proxy here has"),
            (
                &[("ALL_PROXY", "http://u:secret@p:99999")],
                "ALL_PROXY \"http://p:99999\" has port 99999",
            ),
            (&[("http_proxy", "http://")], "has no"),
            (&[("http_proxy", "http://p/path")], "has a path"),
            (&[("http_proxy", "http://u:se/secret@p")], "has an @ after its host"),
            (
                &[p, ("NO_PROXY", "h,10.0.0.0/99")],
                "NO_PROXY: the entry \"10.0.0.0/99\" has no prefix",
            ),
            (&[p, ("NO_PROXY", "name/8")], "is not a network"),
            (
                &[p, ("no_proxy", "h:port")],
                "no_proxy: the entry \"h:port\" has a port that is not a number",
            ),
        ];
        for (environment, told) in table {
            let error = chosen("http://h/", environment).unwrap_err();
            assert!(error.contains(told) && !error.contains("secret"), "{environment:?}: {error}");
        }
    }

    #[cfg(unix)]
    #[test]
    fn a_variable_that_is_not_text_is_not_ignored() {
        use std::os::unix::ffi::OsStringExt;

        let mut options = ProxyOptions::default();
        options.environment();
        for name in ["http_proxy", "NO_PROXY"] {
            let look_up = |asked: &str| match asked {
                asked if asked == name => Some(OsString::from_vec(vec![b'p', 0xff])),
                "all_proxy" => Some("http://p".into()),
                _ => None,
            };
            let error = options.choose(&Uri::from_static("http://h/"), look_up).unwrap_err();
            assert_eq!(error.message(), format!("the variable {name} is not UTF-8"));
        }
    }

    #[test]
    fn a_given_proxy_is_used_for_loopback_too_unless_the_host_is_excluded() {
        let mut options = ProxyOptions::default();
        options.url("http://us%40er:pa%2Fss@[::1]:3128/".to_owned());
        let choose = |options: &ProxyOptions, address: &str| {
            options.choose(&address.parse().unwrap(), |_| None).unwrap()
        };
        let proxy = choose(&options, "http://127.0.0.1:8080/").unwrap();
        assert_eq!((proxy.to_string().as_str(), proxy.host.as_str()), ("http://[::1]:3128", "::1"));
        let (user, password) = proxy.credentials.as_ref().unwrap();
        assert_eq!((user.as_str(), password.reveal()), ("us@er", "pa/ss"));
        assert!(!format!("{options:?} {proxy:?}").contains("pa"));
        options.no_proxy("127.0.0.0/8".to_owned());
        assert!(choose(&options, "http://127.0.0.1:8080/").is_none());
        assert!(choose(&options, "http://h/").is_some());
    }
}
