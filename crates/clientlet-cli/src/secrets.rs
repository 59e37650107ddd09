//! Removes secrets from clap's errors about the command line.

use clap::Error;
use clap::error::ContextValue;

/// Hides possible passwords in clap's error: in each word that the error repeats, the part of a URL
/// before its host.
pub(crate) fn hide(mut error: Error) -> Error {
    let hidden: Vec<_> =
        error.context().filter_map(|(kind, value)| Some((kind, hidden(value)?))).collect();
    for (kind, value) in hidden {
        error.insert(kind, value);
    }
    error
}

/// The value without its secrets; `None` if it contains none.
fn hidden(value: &ContextValue) -> Option<ContextValue> {
    match value {
        ContextValue::String(text) => without_secret(text).map(ContextValue::String),
        ContextValue::Strings(texts) => {
            let is_any = texts.iter().any(|text| without_secret(text).is_some());
            let hide = |text: &String| without_secret(text).unwrap_or_else(|| text.clone());
            is_any.then(|| ContextValue::Strings(texts.iter().map(hide).collect()))
        }
        _ => None,
    }
}

/// Hides a possible secret in a word with an `@`, or in a URL with something other than a port
/// behind a colon.
fn without_secret(text: &str) -> Option<String> {
    let (scheme, rest) = match text.split_once("://") {
        Some((scheme, rest)) => (format!("{scheme}://"), rest),
        None => (String::new(), text),
    };
    if let Some((_, host)) = rest.rsplit_once('@') {
        let host = host.split(['/', '?', '#']).next().unwrap_or_default();
        return Some(format!("{scheme}[hidden]@{host}"));
    }
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    let is_port = |port: &str| port.bytes().all(|byte| byte.is_ascii_digit());
    let is_plain = authority.rsplit_once(':').is_none_or(|(_, port)| is_port(port));
    let is_option = scheme.is_empty() && rest.starts_with('-');
    let has_query = !scheme.is_empty() && rest.contains('?');
    (!is_option && !is_plain || has_query).then(|| format!("{scheme}[hidden]"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stands_before_a_host_is_hidden() {
        for (text, shown) in [
            ("http://user:secret@h:1/path", Some("http://[hidden]@h:1")),
            ("http://user:sec/ret@h", Some("http://[hidden]@h")),
            ("http://user:sec#r@et@h?x", Some("http://[hidden]@h")),
            ("user:secret@h", Some("[hidden]@h")),
            ("http://user:secret", Some("http://[hidden]")),
            ("user:secret", Some("[hidden]")),
            ("http://h/?token=secret", Some("http://[hidden]")),
            ("http://h:8080/x", None),
            ("--prefetch", None),
            ("/index", None),
            ("localhost:8080", None),
            ("two words", None),
        ] {
            assert_eq!(without_secret(text).as_deref(), shown, "{text}");
        }
    }
}
