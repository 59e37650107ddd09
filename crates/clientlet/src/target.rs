//! Which executors are to work: a regular expression of Python's, which the gateway matches.
//!
//! A gateway drops the connection, and all that is in flight on it, for one that is none. So what is
//! an error in Python is refused here, as far as a parser of Rust's expressions can tell: it knows less
//! (look-around, back references) and reads classes otherwise. Of what it cannot judge the gateway is
//! the judge.

use regex_syntax::ast::ErrorKind as Fault;
use regex_syntax::ast::parse::Parser;

use crate::error::Error;

/// Refuses what Python would.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config), saying what is wrong with the pattern, and where.
pub(crate) fn check(pattern: &str) -> Result<(), Error> {
    let Err(error) = Parser::new().parse(pattern) else { return Ok(()) };
    let at = error.span().start.offset;
    if !is_pythons(pattern, error.kind(), at) {
        return Ok(());
    }
    Err(Error::config(format!(
        "the target executor {pattern:?} is no regular expression: {} (at byte {at})",
        error.kind()
    )))
}

/// Whether a fault that Rust finds is one in Python as well.
fn is_pythons(pattern: &str, fault: &Fault, at: usize) -> bool {
    let classes = Classes::of(pattern);
    if *fault == Fault::ClassUnclosed {
        return classes.is_unclosed && !may_be_verbose(pattern);
    }
    // Behind a class that the two read otherwise nothing is certain.
    if classes.is_nested || may_be_verbose(pattern) {
        return false;
    }
    let rest = pattern.get(at..).unwrap_or_default();
    match fault {
        Fault::GroupUnclosed
        | Fault::GroupUnopened
        | Fault::GroupNameEmpty
        | Fault::GroupNameDuplicate { .. }
        | Fault::GroupNameUnexpectedEof
        | Fault::FlagUnexpectedEof
        | Fault::RepetitionCountInvalid
        | Fault::ClassRangeInvalid
        | Fault::ClassRangeLiteral
        | Fault::EscapeUnexpectedEof
        | Fault::EscapeHexEmpty
        | Fault::EscapeHexInvalidDigit => true,
        // A brace is a character where it counts nothing, and flags do not end what they follow.
        Fault::RepetitionMissing => {
            rest.starts_with(['*', '+', '?']) && !pattern[..at].ends_with(')')
        }
        Fault::EscapeUnrecognized => {
            let escaped = rest.trim_start_matches('\\').chars().next();
            escaped.is_some_and(|c| c.is_ascii_alphabetic() && !matches!(c, 'N' | 'Z'))
        }
        _ => false,
    }
}

/// The classes of a pattern as Python reads them: a bracket in one is a character.
#[derive(Debug, Default)]
struct Classes {
    is_unclosed: bool,
    is_nested: bool,
}

impl Classes {
    fn of(pattern: &str) -> Classes {
        let mut classes = Classes::default();
        let mut rest = pattern.chars().peekable();
        while let Some(c) = rest.next() {
            match c {
                '\\' => drop(rest.next()),
                ']' => classes.is_unclosed = false,
                '[' if classes.is_unclosed => classes.is_nested = true,
                '[' => {
                    classes.is_unclosed = true;
                    rest.next_if_eq(&'^');
                    // At the beginning it does not close.
                    rest.next_if_eq(&']');
                }
                _ => {}
            }
        }
        classes
    }
}

/// Whether white space and comments may not count, which the two leave out in different places.
fn may_be_verbose(pattern: &str) -> bool {
    pattern.match_indices("(?").any(|(at, _)| {
        let flags = &pattern[at + 2..];
        let end = flags.find(|c: char| !c.is_ascii_alphabetic()).unwrap_or(flags.len());
        flags[..end].contains('x')
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What Python's `re.compile` says (3.11), and whether it is refused.
    const PATTERNS: &[(&str, Verdict)] = &[
        ("", Good),
        ("executor0", Good),
        ("first|second", Good),
        ("exec.*", Good),
        ("(?:a|b)+?c{2,3}", Good),
        ("(?P<n>a)", Good),
        ("ä+", Good),
        // What Rust lacks.
        ("(?=x)", Good),
        ("(?!x)a", Good),
        ("(?<=a)b", Good),
        ("(?<!a)b", Good),
        (r"(a)\1", Good),
        ("(?P<n>a)(?P=n)", Good),
        ("(a)?(?(1)b|c)", Good),
        (r"a\Z", Good),
        (r"\N{DIGIT ONE}", Good),
        ("(?>a)", Good),
        ("a*+", Good),
        ("(?#note)a", Good),
        ("(?a)a", Good),
        (r"\0", Good),
        (r"\ud800", Good),
        (r"\_\-\@", Good),
        // What Rust reads otherwise.
        ("{", Good),
        ("a{", Good),
        ("a{}", Good),
        ("a{,3}", Good),
        ("a{x}", Good),
        ("{*", Good),
        (r"\b{", Good),
        ("[[a]", Good),
        ("[a[b]", Good),
        ("[[a]b(c]d)", Good),
        ("[]a]", Good),
        ("[^]a]", Good),
        ("[a&&b]", Good),
        ("(?x)[ ](a)", Good),
        ("(?x)a # (", Good),
        ("(?ii)a", Good),
        // What neither takes.
        ("(", Bad),
        ("(a", Bad),
        ("a)", Bad),
        ("(?", Bad),
        ("(?:", Bad),
        ("(?P<n", Bad),
        ("(?P<>a)", Bad),
        ("(?P<n>a)(?P<n>b)", Bad),
        ("[", Bad),
        ("[]", Bad),
        ("[^]", Bad),
        ("[[", Bad),
        ("[a", Bad),
        (r"[a\]", Bad),
        ("[z-a]", Bad),
        (r"[\d-z]", Bad),
        ("*", Bad),
        ("*a", Bad),
        ("a|*", Bad),
        ("(+a)", Bad),
        ("?", Bad),
        ("a{3,2}", Bad),
        ("a\\", Bad),
        (r"\xg0", Bad),
        (r"\x{}", Bad),
        (r"\y", Bad),
        (r"\e", Bad),
        // What Python alone refuses: left to the gateway.
        ("a**", Missed),
        ("^*", Missed),
        (r"\p{L}", Missed),
        (r"\z", Missed),
        ("(?<n>a)", Missed),
        ("(?=(", Missed),
        ("[x[y]z)]", Missed),
    ];

    #[derive(Clone, Copy, Debug, PartialEq)]
    enum Verdict {
        /// Python takes it, and so do we.
        Good,
        /// Python refuses it, and so do we.
        Bad,
        /// Python refuses it, and we do not.
        Missed,
    }
    use Verdict::{Bad, Good, Missed};

    #[test]
    fn what_python_takes_is_never_refused() {
        for (pattern, verdict) in PATTERNS {
            assert_eq!(check(pattern).is_err(), *verdict == Bad, "{pattern:?}");
        }
    }

    #[test]
    fn the_table_says_what_python_says() {
        let code = "import re, sys, warnings\n\
                    warnings.simplefilter('ignore')\n\
                    for pattern in sys.argv[1:]:\n\
                    \x20   try: re.compile(pattern); print('good')\n\
                    \x20   except re.error: print('bad')";
        let mut python = std::process::Command::new("python3.11");
        let patterns = PATTERNS.iter().map(|(pattern, _)| pattern);
        let Ok(output) = python.arg("-c").arg(code).args(patterns).output() else {
            eprintln!("skipped: there is no python3.11 here");
            return;
        };
        let said = String::from_utf8_lossy(&output.stdout);
        assert_eq!(said.lines().count(), PATTERNS.len(), "{output:?}");
        for ((pattern, verdict), said) in PATTERNS.iter().zip(said.lines()) {
            assert_eq!(said == "good", *verdict == Good, "{pattern:?}");
        }
    }

    #[test]
    fn a_refusal_names_the_pattern_and_what_is_wrong() {
        let error = check("exec(").unwrap_err();
        assert_eq!(
            error.message(),
            "the target executor \"exec(\" is no regular expression: unclosed group (at byte 4)"
        );
    }
}
