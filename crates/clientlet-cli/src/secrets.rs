//! Removes secrets from clap's errors about the command line.

use std::error::Error as _;
use std::path::Path;

use clap::error::{ContextKind, ContextValue};
use clap::{CommandFactory, Error};
use clientlet_gateway::Fault;

use crate::args::{Args, OBJECT_FORM};

/// Hides possible secrets in clap's error: in each word that the error repeats, the part of a URL
/// before its host, and the whole of a JSON value. The reason is left out if it repeats a secret.
pub(crate) fn hide(mut error: Error) -> Error {
    let form = match error.get(ContextKind::InvalidArg) {
        Some(ContextValue::String(option)) => Form::of(option),
        _ => Form::Word,
    };
    let reason = error.source().map(ToString::to_string).unwrap_or_default();
    if form == Form::Json && error.kind() == clap::error::ErrorKind::ValueValidation {
        return without_value(&error, &reason);
    }
    let mut is_told = false;
    let mut shown = Vec::new();
    for (kind, value) in error.context() {
        // Only the value has the form of the option's values.
        let form = if kind == ContextKind::InvalidValue { form } else { Form::Word };
        if let Some((hidden, secrets)) = hidden(value, form) {
            is_told |= secrets.iter().any(|secret| reason.contains(secret.as_str()));
            shown.push((kind, hidden));
        }
    }
    if is_told {
        let mut without_reason = Error::new(error.kind()).with_cmd(&Args::command());
        for (kind, value) in error.context() {
            without_reason.insert(kind, value.clone());
        }
        error = without_reason;
    }
    for (kind, value) in shown {
        error.insert(kind, value);
    }
    error
}

/// The error of an option whose value is JSON, which is the user's data, without the value. The reason
/// is left out if it repeats a piece of the value.
fn without_value(error: &Error, reason: &str) -> Error {
    let text = |kind| match error.get(kind) {
        Some(ContextValue::String(text)) => text.as_str(),
        _ => "",
    };
    let (option, value) = (text(ContextKind::InvalidArg), text(ContextKind::InvalidValue));
    let without_form = reason.trim_end_matches(OBJECT_FORM);
    let is_told = pieces(value, "").iter().any(|secret| without_form.contains(secret.as_str()));
    let reason = if is_told { OBJECT_FORM.trim_start_matches("; ") } else { reason };
    Error::raw(error.kind(), format!("the value of '{option}' cannot be used: {reason}\n"))
        .with_cmd(&Args::command())
}

/// The name of a file for messages, without secrets: a URL may have been given by mistake.
pub(crate) fn file_name(path: &Path) -> String {
    let name = path.display().to_string();
    let is_url = name.contains("://");
    if is_url { without_secret(&name).unwrap_or(name) } else { name }
}

/// The form of an option's values, which tells where they may contain a secret.
#[derive(Clone, Copy, PartialEq)]
enum Form {
    /// Any word, perhaps a URL.
    Word,
    /// `KIND[:ARG]@WHEN`.
    Fault,
    /// `FIELD[:DTYPE]`.
    Field,
    /// JSON, which is the user's data.
    Json,
}

impl Form {
    /// The form of an option's values. `option` is clap's text for it, such as `--fault <SPEC>`.
    fn of(option: &str) -> Form {
        match option.split([' ', '=']).next() {
            Some("--fault") => Form::Fault,
            Some("--tensor" | "--blob") => Form::Field,
            Some("--parameters" | "--document") => Form::Json,
            _ => Form::Word,
        }
    }

    /// The text without its secrets. Returns `None` if the text contains none.
    fn without_secret(self, text: &str) -> Option<String> {
        let is_plain = match self {
            Form::Word => false,
            Form::Fault => !text.contains("://") && (!text.contains(':') || is_fault(text)),
            Form::Field => !text.contains("://") && !text.contains('@'),
            Form::Json => return Some(HIDDEN.to_owned()),
        };
        if is_plain { None } else { without_secret(text) }
    }
}

const HIDDEN: &str = "[hidden]";
/// The minimum length of a piece that identifies a secret: shorter pieces occur in any text.
const SHORTEST_PIECE: usize = 3;

/// Whether a text begins with a kind of fault. The `@` of a fault does not mark a secret.
fn is_fault(text: &str) -> bool {
    let kind = text.split([':', '@']).next().unwrap_or_default();
    match format!("{kind}@1").parse::<Fault>() {
        Ok(_) => true,
        // The kind is known, and its argument may be missing or wrong.
        Err(error) => !error.to_string().contains("unknown kind"),
    }
}

/// The value without its secrets, and the pieces of the secrets. Returns `None` if the value contains
/// none.
fn hidden(value: &ContextValue, form: Form) -> Option<(ContextValue, Vec<String>)> {
    match value {
        ContextValue::String(text) => {
            let shown = form.without_secret(text)?;
            let secrets = pieces(text, &shown);
            Some((ContextValue::String(shown), secrets))
        }
        ContextValue::Strings(texts) => {
            let is_any = texts.iter().any(|text| form.without_secret(text).is_some());
            let hide = |text: &String| form.without_secret(text).unwrap_or_else(|| text.clone());
            let shown = texts.iter().map(hide).collect();
            is_any.then(|| (ContextValue::Strings(shown), Vec::new()))
        }
        _ => None,
    }
}

/// The words of a text that `shown`, the text without its secrets, does not contain.
fn pieces(text: &str, shown: &str) -> Vec<String> {
    let words = |text: &str| -> Vec<String> {
        let words = text.split(|c: char| !c.is_alphanumeric());
        words.filter(|word| word.len() >= SHORTEST_PIECE).map(str::to_owned).collect()
    };
    let shown = words(shown);
    words(text).into_iter().filter(|word| !shown.contains(word)).collect()
}

/// Hides a possible secret in a word with an `@`, or in a URL with a colon that no port follows.
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
    fn an_option_with_a_form_of_its_own_shows_values_that_are_no_urls() {
        let fault = "--fault <SPEC>";
        let tensor = "--tensor <FIELD[:DTYPE]>";
        let json = "--parameters <JSON>";
        for (option, text, shown) in [
            (fault, "nonsense@x", None),
            (fault, "stall@x", None),
            (fault, "close:70000@1", None),
            (fault, "status:99@1,path=/x", None),
            (fault, "user:secret@h", Some("[hidden]@h")),
            (fault, "http://secret@h", Some("http://[hidden]@h")),
            (tensor, "vector:float99", None),
            (tensor, "user:secret@h", Some("[hidden]@h")),
            (tensor, "http://user:secret", Some("http://[hidden]")),
            (json, "[secret", Some("[hidden]")),
            ("--timeout <S>", "secret@h", Some("[hidden]@h")),
        ] {
            assert_eq!(Form::of(option).without_secret(text).as_deref(), shown, "{option} {text}");
        }
    }

    #[test]
    fn the_text_before_a_host_is_hidden() {
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
