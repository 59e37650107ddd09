//! Which executors a request is meant for.

use regex_lite::Regex;

/// A `target_executor`: a regular expression of Python that is matched at the start of an executor's
/// name. The empty text means every executor.
pub(crate) enum Target {
    All,
    Named(String),
    Matching(Regex),
}

/// Why it cannot be told which executors are meant.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum TargetError {
    /// It is no regular expression.
    Invalid,
    /// It is something that Python may know and this gateway does not.
    Unknown,
}

impl Target {
    /// Reads the expression.
    ///
    /// # Errors
    ///
    /// It is no regular expression, or one with constructs that only Python's `re` reads as it does.
    pub(crate) fn parse(expression: &str) -> Result<Self, TargetError> {
        // A plain name matches longer ones too.
        if expression.is_empty() {
            return Ok(Self::All);
        }
        if expression.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            return Ok(Self::Named(expression.to_owned()));
        }
        let expression = shared(expression).ok_or(TargetError::Unknown)?;
        match Regex::new(&format!("^(?:{expression})")) {
            Ok(expression) => Ok(Self::Matching(expression)),
            Err(_) => Err(TargetError::Invalid),
        }
    }

    /// Whether it means the executor of this name.
    pub(crate) fn is(&self, name: &str) -> bool {
        match self {
            Self::All => true,
            Self::Named(start) => name.starts_with(start.as_str()),
            Self::Matching(expression) => expression.is_match(name),
        }
    }
}

/// The expression in constructs that mean the same to Python and to the crate `regex-lite`: what only
/// Python writes differently is rewritten. `None` if there are constructs that one of them does not have
/// or reads differently.
fn shared(expression: &str) -> Option<String> {
    let mut out = String::with_capacity(expression.len());
    let mut rest = expression;
    let mut is_repeated = false;
    while let Some(first) = rest.chars().next() {
        let was_repeated =
            std::mem::replace(&mut is_repeated, matches!(first, '*' | '+' | '?' | '{'));
        let length = match first {
            '\\' => {
                let (read, length) = escape(rest, false)?;
                out.push_str(read);
                rest = &rest[length..];
                continue;
            }
            '[' => class(rest)?,
            '(' if rest.starts_with("(?:") => 3,
            // A comment.
            '(' if rest.starts_with("(?#") => {
                rest = &rest[rest.find(')')? + 1..];
                continue;
            }
            '(' if rest.starts_with("(?") => return None,
            '{' => repetition(rest)?,
            // Python 3.11 has possessive repetitions, which regex-lite reads as nested ones.
            '+' if was_repeated => return None,
            first => first.len_utf8(),
        };
        out.push_str(&rest[..length]);
        rest = &rest[length..];
    }
    Some(out)
}

/// An escape at the start of `rest`, as both know it, and its length.
fn escape(rest: &str, is_in_class: bool) -> Option<(&str, usize)> {
    let escaped = rest[1..].chars().next();
    let length = 1 + escaped.map_or(0, char::len_utf8);
    Some(match escaped {
        Some('Z') if !is_in_class => ("\\z", length),
        Some('A' | 'b' | 'B') if is_in_class => return None,
        Some('A' | 'b' | 'B' | 'd' | 'D' | 's' | 'S' | 'w' | 'W') => (&rest[..length], length),
        Some('t' | 'n' | 'r' | 'f' | 'v' | 'a') => (&rest[..length], length),
        // Numbers of groups and of characters, properties, and what is new in a version of Python.
        Some(c) if c.is_alphanumeric() || !c.is_ascii() => return None,
        // A lone backslash at the end is refused by both.
        _ => (&rest[..length], length),
    })
}

/// The length of the class of characters at the start of `rest`.
fn class(rest: &str) -> Option<usize> {
    let mut at = 1;
    if rest[at..].starts_with('^') {
        at += 1;
    }
    // Python takes a bracket at the start of a class for a character.
    if rest[at..].starts_with(']') {
        return None;
    }
    while let Some(next) = rest[at..].chars().next() {
        match next {
            ']' => return Some(at + 1),
            // Classes within classes, and operations on classes.
            '[' => return None,
            '&' | '~' | '-' if rest[at + 1..].starts_with(next) => return None,
            '\\' => at += escape(&rest[at..], true)?.1,
            next => at += next.len_utf8(),
        }
    }
    // Without an end it is refused by both.
    Some(rest.len())
}

/// The length of the repetition at the start of `rest`: `{2}`, `{2,}` or `{2,3}`. Python takes any other
/// brace for a character.
fn repetition(rest: &str) -> Option<usize> {
    let end = rest.find('}')?;
    let is_number = |text: &str| !text.is_empty() && text.bytes().all(|b| b.is_ascii_digit());
    let is_both = match rest[1..end].split_once(',') {
        None => is_number(&rest[1..end]),
        Some((least, most)) => is_number(least) && (most.is_empty() || is_number(most)),
    };
    is_both.then_some(end + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn expressions_match_at_the_start_of_a_name() {
        for (expression, name, is_meant) in [
            ("", "second", true),
            ("second", "second", true),
            ("sec", "second", true),
            ("cond", "second", false),
            (".*cond", "second", true),
            ("first|second", "second", true),
            ("second$", "second2", false),
            (r"second\Z", "second", true),
            (r"second\Z", "second2", false),
            ("sec(?#a comment)ond", "second", true),
            ("(?:first|sec)[n-z]{1,2}d", "second", true),
            (r"[^\W\d]+\d{2}$", "second12", true),
            (r"a\.b", "a.b", true),
            ("(sec){1,}?", "second", true),
            (r"sec\++", "sec++", true),
        ] {
            assert_eq!(Target::parse(expression).unwrap().is(name), is_meant, "{expression}");
        }
    }

    #[test]
    fn what_python_reads_differently_is_not_judged() {
        for expression in [
            "(?!enc).*",
            "enc(?=oder)",
            "(?<=e)nc",
            "(?P<a>e)(?P=a)",
            "(?i)ENC",
            r"(e)\1",
            "[[:alpha:]]+",
            "[a&&b]",
            "[]a]",
            r"\pL",
            r"\x65nc",
            r"enc\z",
            "e{,2}",
            "e{x}",
            "e*+",
        ] {
            let error = Target::parse(expression).err();
            assert_eq!(error, Some(TargetError::Unknown), "{expression}");
        }
        for expression in ["exec(", "exec)", "*", "[ab", "a\\", "[z-a]"] {
            let error = Target::parse(expression).err();
            assert_eq!(error, Some(TargetError::Invalid), "{expression}");
        }
    }
}
