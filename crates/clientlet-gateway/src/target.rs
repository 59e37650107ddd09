//! Which executors a request is meant for.

use regex_lite::Regex;

/// A `target_executor`: a regular expression that is matched at the start of an executor's name.
/// The empty text means every executor.
pub(crate) enum Target {
    All,
    Named(String),
    Matching(Regex),
}

impl Target {
    /// Reads the expression.
    ///
    /// # Errors
    ///
    /// It is no regular expression.
    pub(crate) fn parse(expression: &str) -> Result<Self, regex_lite::Error> {
        // A plain name matches longer ones too.
        if expression.is_empty() {
            return Ok(Self::All);
        }
        if expression.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'_' | b'-')) {
            return Ok(Self::Named(expression.to_owned()));
        }
        Regex::new(&format!("^(?:{expression})")).map(Self::Matching)
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
        ] {
            assert_eq!(Target::parse(expression).unwrap().is(name), is_meant, "{expression}");
        }
        assert!(Target::parse("exec(").is_err());
    }
}
