//! Checks the pattern that selects executors: a regular expression of Python, which the gateway
//! matches.
//!
//! If the pattern is not a regular expression, a gateway drops the connection with everything in
//! flight on it. So patterns that are errors in Python are refused here, as far as a Rust parser
//! can tell. Rust's syntax lacks look-around and back references, and differs in character classes.
//! Patterns that this check cannot judge are left to the gateway.

use regex_syntax::ast::ErrorKind as Fault;
use regex_syntax::ast::parse::Parser;

use crate::error::Error;

/// Refuses a pattern that Python would refuse.
///
/// # Errors
/// [`ErrorKind::Config`](crate::ErrorKind::Config), naming the fault in the pattern and its place.
pub(crate) fn check(pattern: &str) -> Result<(), Error> {
    let Err(error) = Parser::new().parse(pattern) else { return Ok(()) };
    let at = error.span().start.offset;
    if !is_pythons(pattern, error.kind(), at) {
        return Ok(());
    }
    Err(Error::config(format!(
        "the target executor {pattern:?} is not a regular expression: {} (at byte {at})",
        error.kind()
    )))
}

/// Whether a fault that Rust finds is also a fault in Python.
fn is_pythons(pattern: &str, fault: &Fault, at: usize) -> bool {
    let classes = Classes::of(pattern);
    if *fault == Fault::ClassUnclosed {
        return classes.is_unclosed && !may_be_verbose(pattern);
    }
    // After a class that Python reads differently, no finding is certain.
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
        // A brace that is not a count is a character in Python, and flags do not end the expression
        // before them.
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

/// The classes of a pattern as Python reads them: a bracket inside a class is a character.
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
                    // A bracket at the beginning of a class does not close it.
                    rest.next_if_eq(&']');
                }
                _ => {}
            }
        }
        classes
    }
}

/// Whether the pattern may ignore white space and comments, which Rust and Python do in different
/// places.
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

    /// Patterns with the verdict of Python's `re.compile` (3.11), and whether this check refuses
    /// them.
    const PATTERNS: &[(&str, Verdict)] = &[
        ("", Good),
        ("executor0", Good),
        ("first|second", Good),
        ("exec.*", Good),
        ("(?:a|b)+?c{2,3}", Good),
        ("(?P<n>a)", Good),
        ("ä+", Good),
        // Syntax that Rust lacks.
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
        // Syntax that Rust reads differently.
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
        // Patterns that both refuse.
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
        // Patterns that only Python refuses. They are left to the gateway.
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
        /// Python and this check accept the pattern.
        Good,
        /// Python and this check refuse the pattern.
        Bad,
        /// Python refuses the pattern, and this check does not.
        Missed,
    }
    use Verdict::{Bad, Good, Missed};

    #[test]
    fn patterns_that_python_accepts_are_never_refused() {
        for (pattern, verdict) in PATTERNS {
            assert_eq!(check(pattern).is_err(), *verdict == Bad, "{pattern:?}");
        }
    }

    #[test]
    fn the_table_agrees_with_python() {
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
    fn a_refusal_names_the_pattern_and_its_fault() {
        let error = check("exec(").unwrap_err();
        assert_eq!(
            error.message(),
            "the target executor \"exec(\" is not a regular expression: unclosed group (at byte 4)"
        );
    }
}
