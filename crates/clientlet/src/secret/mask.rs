//! Takes secrets out of text that a server or a proxy sent, because it may repeat what it was sent.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, PoisonError};

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use http::header::{
    ACCEPT, ACCEPT_ENCODING, AUTHORIZATION, COOKIE, HOST, PROXY_AUTHORIZATION, USER_AGENT,
};
use http::{HeaderMap, HeaderName, HeaderValue};

use super::Secret;

/// The length in characters from which a part of a credential or a cookie is hidden. A shorter one
/// would be found within ordinary words.
const SHORTEST_CREDENTIAL: usize = 4;
/// The same for the values of all other headers, most of which are no secrets.
const SHORTEST_VALUE: usize = 6;
/// The number of headers of a hook or a cookie jar that are remembered.
const MOST_ISSUED: usize = 256;
/// The length in bytes of the longest escape that is read, without its first character.
const LONGEST_ESCAPE: usize = 10;
/// What is shown in place of a secret.
const SHOWN: &str = "[secret]";

/// The headers that are no secrets. The client does not mark its own ones either.
static PUBLIC: [HeaderName; 4] = [HOST, USER_AGENT, ACCEPT, ACCEPT_ENCODING];

/// The secrets of a call's attempts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Secrets {
    of_client: Arc<OfClient>,
    /// The headers that the caller set.
    headers: Arc<HeaderMap>,
}

/// The secrets that all calls of a client share.
#[derive(Debug, Default)]
pub(crate) struct OfClient {
    /// The user and the password of the proxy.
    proxy: Option<(String, Secret)>,
    /// The headers that were added to recent attempts.
    issued: Mutex<VecDeque<(HeaderName, HeaderValue)>>,
}

impl OfClient {
    pub(crate) fn new(proxy: Option<(String, Secret)>) -> OfClient {
        OfClient { proxy, issued: Mutex::default() }
    }

    /// Remembers headers that are added to an attempt.
    pub(crate) fn issue(&self, headers: &HeaderMap) {
        let mut issued = self.issued.lock().unwrap_or_else(PoisonError::into_inner);
        for (name, value) in headers {
            // The last ones are nearly always the right ones.
            if !issued.iter().rev().any(|(of, is)| of == name && is == value) {
                if issued.len() >= MOST_ISSUED {
                    issued.pop_front();
                }
                issued.push_back((name.clone(), value.clone()));
            }
        }
    }
}

impl Secrets {
    pub(crate) fn new(of_client: Arc<OfClient>, headers: Arc<HeaderMap>) -> Secrets {
        Secrets { of_client, headers }
    }

    /// The secrets of a call with these headers.
    pub(crate) fn of_call(&self, headers: Arc<HeaderMap>) -> Secrets {
        Secrets { of_client: self.of_client.clone(), headers }
    }

    /// Returns what hides them. It is made only after a failure.
    pub(crate) fn mask(&self) -> Mask {
        let mut mask = Mask::default();
        self.headers.iter().for_each(|(name, value)| mask.add(name, value));
        let issued = self.of_client.issued.lock().unwrap_or_else(PoisonError::into_inner);
        issued.iter().for_each(|(name, value)| mask.add(name, value));
        if let Some((user, password)) = &self.of_client.proxy {
            mask.add_pair(user, password.reveal());
            let pair = format!("{user}:{}", password.reveal());
            mask.insert(&STANDARD.encode(pair), SHORTEST_CREDENTIAL);
        }
        mask
    }
}

/// Hides secrets in text.
#[derive(Default)]
pub(crate) struct Mask(Vec<String>);

impl Mask {
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Adds the secrets in a header.
    fn add(&mut self, name: &HeaderName, value: &HeaderValue) {
        let Ok(value) = value.to_str() else { return };
        if name == COOKIE {
            for pair in value.split(';') {
                let value = pair.split_once('=').map_or(pair, |(_, value)| value);
                self.insert(value.trim().trim_matches('"'), SHORTEST_CREDENTIAL);
            }
        } else if name == AUTHORIZATION || name == PROXY_AUTHORIZATION {
            let (scheme, token) = value.split_once(' ').unwrap_or(("", value));
            self.insert(token.trim(), SHORTEST_CREDENTIAL);
            let pair = STANDARD.decode(token.trim()).ok().and_then(|it| String::from_utf8(it).ok());
            if let Some(pair) = pair.filter(|_| scheme.eq_ignore_ascii_case("basic")) {
                let (user, password) = pair.split_once(':').unwrap_or((&pair, ""));
                self.add_pair(user, password);
            }
        } else if !PUBLIC.contains(name) {
            self.insert(value.trim(), SHORTEST_VALUE);
        }
    }

    /// Adds a password. A user without a password is a token.
    fn add_pair(&mut self, user: &str, password: &str) {
        let secret = if password.is_empty() { user } else { password };
        self.insert(secret, SHORTEST_CREDENTIAL);
    }

    fn insert(&mut self, secret: &str, shortest: usize) {
        if secret.chars().count() >= shortest && !self.0.iter().any(|known| known == secret) {
            self.0.push(secret.to_owned());
        }
    }

    /// Returns the text without the secrets; `None` if there are none in it. Secrets are found as they
    /// are and as URLs, JSON, HTML and quotes write them, and also where the text was cut within them.
    pub(crate) fn hide(&self, text: &str) -> Option<String> {
        let mut hidden: Option<String> = None;
        let (mut done, mut at) = (0, 0);
        while at < text.len() {
            let rest = &text[at..];
            let longest = self.0.iter().filter_map(|secret| length_of(secret, rest)).max();
            let Some(length) = longest else {
                at += rest.chars().next().map_or(1, char::len_utf8);
                continue;
            };
            let out = hidden.get_or_insert_default();
            out.push_str(&text[done..at]);
            out.push_str(SHOWN);
            at += length;
            done = at;
        }
        hidden.map(|hidden| hidden + &text[done..])
    }

    pub(crate) fn hide_in(&self, text: &mut String) {
        if let Some(hidden) = self.hide(text) {
            *text = hidden;
        }
    }
}

/// Returns the length of a secret, or of its beginning if the text was cut, at the beginning of text.
fn length_of(secret: &str, text: &str) -> Option<usize> {
    if text.starts_with(secret) {
        return Some(secret.len());
    }
    // A quick check, since this runs for each place of the text.
    let is_plain = text.starts_with(secret.chars().next()?);
    let may_begin = |depth| match depth {
        Depth::Never => is_plain,
        Depth::Once => is_plain || text.starts_with(['%', '\\', '&', '+']),
        Depth::Twice => is_plain || TWICE.iter().any(|sign| text.starts_with(sign)),
    };
    DEPTHS.into_iter().filter(|depth| may_begin(*depth)).find_map(|depth| {
        let mut rest = text;
        for (index, character) in secret.chars().enumerate() {
            if let Some(end) = end_of_cut(rest).filter(|_| index >= SHORTEST_CREDENTIAL) {
                rest = end;
                break;
            }
            rest = after(character, rest, depth)?;
        }
        Some(text.len() - rest.len())
    })
}

/// Returns the text after the place where foreign text was cut, if it was cut here or within an escape.
fn end_of_cut(text: &str) -> Option<&str> {
    let is_cut = |text: &str| text.is_empty() || text.starts_with(['…', '`']);
    if is_cut(text) {
        return Some(text);
    }
    let escape = text.strip_prefix(['%', '\\', '&'])?;
    let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'#' | b'{');
    let rest = &escape[escape.bytes().take(LONGEST_ESCAPE).take_while(is_part).count()..];
    is_cut(rest).then_some(rest)
}

/// How often the characters of a secret may have been escaped: an ingress puts the JSON of a gateway into its own.
const DEPTHS: [Depth; 3] = [Depth::Once, Depth::Twice, Depth::Never];

/// What a character that was escaped twice begins with.
const TWICE: [&str; 4] = ["%25", "\\\\", "&amp;", "+"];

#[derive(Clone, Copy, PartialEq)]
enum Depth {
    Never,
    Once,
    Twice,
}

/// Returns the text after a character, which may be written in several ways.
fn after(character: char, text: &str, depth: Depth) -> Option<&str> {
    let escaped = || match text.as_bytes().first()? {
        b'%' => percent(character, text, depth),
        b'\\' => backslash(character, text, depth),
        b'&' => entity(character, text, depth),
        b'+' if character == ' ' => Some(&text[1..]),
        _ => None,
    };
    let escaped = if depth == Depth::Never { None } else { escaped() };
    escaped.or_else(|| text.strip_prefix(character))
}

/// As in URLs: `%XX` for each byte, or `%25XX` in a URL within a URL.
fn percent(character: char, text: &str, depth: Depth) -> Option<&str> {
    let sign = if depth == Depth::Twice { "%25" } else { "%" };
    let mut rest = text;
    for byte in character.encode_utf8(&mut [0; 4]).bytes() {
        rest = hex(rest.strip_prefix(sign)?, 2, byte.into())?;
    }
    Some(rest)
}

/// As in JSON, Python and Rust: `\"`, `\u0022`, `\u{22}`, `\x22`, each with further backslashes in text within text.
fn backslash(character: char, text: &str, depth: Depth) -> Option<&str> {
    let most = if depth == Depth::Twice { MOST_BACKSLASHES } else { 1 };
    let rest = &text[text.bytes().take(most).take_while(|byte| *byte == b'\\').count()..];
    let code = u32::from(character);
    if let Some(rest) = rest.strip_prefix("u{") {
        let (digits, rest) = until('}', rest)?;
        return (u32::from_str_radix(digits, 16).ok()? == code).then_some(rest);
    }
    if let Some(rest) = rest.strip_prefix('u') {
        return hex(rest, 4, code);
    }
    if let Some(rest) = rest.strip_prefix('x') {
        return hex(rest, 2, code);
    }
    let is_plain = character.is_ascii_alphanumeric();
    rest.strip_prefix(character).filter(|_| !is_plain)
}

/// The most that one escape begins with: `"` in text within text.
const MOST_BACKSLASHES: usize = 3;

/// As in HTML: `&amp;`, `&#38;`, `&#x26;`, or `&amp;amp;` in a page within a page.
fn entity(character: char, text: &str, depth: Depth) -> Option<&str> {
    let sign = if depth == Depth::Twice { "&amp;" } else { "&" };
    let (name, rest) = until(';', text.strip_prefix(sign)?)?;
    let code = match name {
        "amp" => '&'.into(),
        "lt" => '<'.into(),
        "gt" => '>'.into(),
        "quot" => '"'.into(),
        "apos" => '\''.into(),
        _ => match name.strip_prefix('#')? {
            digits if digits.starts_with(['x', 'X']) => {
                u32::from_str_radix(&digits[1..], 16).ok()?
            }
            digits => digits.parse().ok()?,
        },
    };
    (code == u32::from(character)).then_some(rest)
}

/// Splits text at the end of a short escape.
fn until(end: char, text: &str) -> Option<(&str, &str)> {
    let at = text.bytes().take(LONGEST_ESCAPE).position(|byte| char::from(byte) == end)?;
    Some((&text[..at], &text[at + 1..]))
}

/// Returns the text after this number of hexadecimal digits, if their value is `number`.
fn hex(text: &str, digits: usize, number: u32) -> Option<&str> {
    let (digits, rest) = text.split_at_checked(digits)?;
    (u32::from_str_radix(digits, 16).ok()? == number).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mask(headers: &[(&'static str, &str)]) -> Mask {
        let header = |(name, value): &(&'static str, &str)| {
            (HeaderName::from_static(name), HeaderValue::from_str(value).unwrap())
        };
        let headers = Arc::new(headers.iter().map(header).collect());
        Secrets::new(Arc::default(), headers).mask()
    }

    #[test]
    fn secrets_of_every_header_are_hidden_however_they_are_written() {
        let basic = format!("Basic {}", STANDARD.encode("user:pä ss\"w&rd"));
        let mask = mask(&[
            ("authorization", &basic),
            ("cookie", "route=r0ute; b=\"qu0ted\""),
            ("x-key", "k3y/with<all>"),
            ("host", "flow.example"),
            ("x-flag", "true"),
        ]);
        for secret in [
            "pä ss\"w&rd",
            "p%C3%A4%20ss%22w%26rd",
            "p%c3%a4+ss%22w&rd",
            "pä ss\\\"w\\u0026rd",
            "p\\u00e4 ss&quot;w&amp;rd",
            "pä ss&#34;w&#x26;rd",
            "k3y/with<all>",
            "k3y\\/with\\u003Call>",
            "k3y%2Fwith%3call%3E",
            "k3y/with&lt;all&gt;",
            // Text within text.
            "p\\\\u00e4 ss\\\\\\\"w\\\\u0026rd",
            "p%25C3%25A4%2520ss%2522w%2526rd",
            "k3y/with&amp;lt;all&amp;gt;",
            "r0ute",
            "qu0ted",
            basic.split_once(' ').unwrap().1,
        ] {
            let hidden = mask.hide(&format!("no: {secret}; flow.example true"));
            assert_eq!(hidden.as_deref(), Some("no: [secret]; flow.example true"), "{secret}");
        }
        assert_eq!(mask.hide("r0ut and k3y/wit are not all of it: user true Basic"), None);
    }

    #[test]
    fn a_secret_that_was_cut_is_hidden_as_well() {
        let mask = mask(&[("authorization", "Bearer t0ken-of-some-length")]);
        for (text, hidden) in [
            ("it was t0ken-of", "it was [secret]"),
            ("it was t0ken-of…", "it was [secret]…"),
            ("`it was t0ke`", "`it was [secret]`"),
            ("t0ken&#4…", "[secret]…"),
            ("t0ken%2", "[secret]"),
            ("t0ken-of-some-lengtht0ken-of-some-length", "[secret][secret]"),
        ] {
            assert_eq!(mask.hide(text).as_deref(), Some(hidden));
        }
        for text in ["it was t0k…", "t0ken-of another", ""] {
            assert_eq!(mask.hide(text), None, "{text}");
        }
    }

    #[test]
    fn secrets_of_a_proxy_and_of_recent_attempts_are_hidden_and_their_number_is_bounded() {
        let of_client = Arc::new(OfClient::new(Some(("user".into(), Secret::new("pr0xy")))));
        let secrets = Secrets::new(of_client.clone(), Arc::default());
        let coded = STANDARD.encode("user:pr0xy");
        let said = format!("user pr0xy {coded} t0ken-7");
        assert_eq!(secrets.mask().hide(&said).unwrap(), "user [secret] [secret] t0ken-7");
        for n in 0..2 * MOST_ISSUED {
            let value = HeaderValue::from_str(&format!("Bearer t0ken-{n}")).unwrap();
            of_client.issue(&HeaderMap::from_iter([(AUTHORIZATION, value)]));
        }
        let last = format!("t0ken-{}", 2 * MOST_ISSUED - 1);
        assert_eq!(secrets.mask().hide(&last).as_deref(), Some(SHOWN));
        assert_eq!(secrets.mask().0.len(), 2 + MOST_ISSUED);
    }

    #[test]
    fn text_full_of_escapes_without_a_secret_is_left_as_it_is() {
        let many: Vec<String> = (0..100).map(|n| format!("{n}%%%%\\\\\\\\&&&&{n}")).collect();
        let mask = Mask(many);
        let text = "%25\\u0026&amp;".repeat(2_000);
        assert_eq!(mask.hide(&text), None);
    }
}
