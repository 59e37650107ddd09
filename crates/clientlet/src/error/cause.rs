//! The causes below an error of this crate, in words.

use std::error::Error;
use std::fmt;
use std::io;

use super::{SharedSource, Source};
use crate::foreign::told;
use crate::secret::Mask;

/// The text of an error of another crate and of the causes below it. The error itself is not kept,
/// because its `Debug` would show its internals.
struct Cause {
    text: String,
    below: Option<Box<Cause>>,
}

/// The maximum depth of a chain of causes.
const DEEPEST: usize = 8;

impl Cause {
    fn of(error: &(dyn Error + 'static), depth: usize) -> Cause {
        let below = error.source().filter(|_| depth < DEEPEST);
        let below = below.map(|error| Box::new(Cause::of(error, depth + 1)));
        Cause { text: in_words(error), below }
    }
}

impl fmt::Display for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl fmt::Debug for Cause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        Chain(self).fmt(f)
    }
}

impl Error for Cause {
    fn source(&self) -> Option<&(dyn Error + 'static)> {
        self.below.as_deref().map(|below| below as _)
    }
}

/// Converts a cause for keeping. An I/O error of the system is kept as it is, so that callers can
/// inspect it.
pub(crate) fn keep(source: Source) -> SharedSource {
    match source.downcast::<io::Error>() {
        Ok(error) => SharedSource::from(error as Source),
        Err(source) => SharedSource::from(Box::new(Cause::of(&*source, 0)) as Source),
    }
}

/// Returns a cause without the secrets that it repeats; `None` if it repeats none.
pub(super) fn hidden(source: &(dyn Error + 'static), mask: &Mask) -> Option<SharedSource> {
    mask.hide(&Chain(source).to_string())?;
    let mut cause = Cause::of(source, 0);
    let mut next = Some(&mut cause);
    while let Some(cause) = next {
        mask.hide_in(&mut cause.text);
        next = cause.below.as_deref_mut();
    }
    Some(SharedSource::from(Box::new(cause) as Source))
}

/// Shows an error and all causes below it on one line; `Debug` puts the line in quotes.
pub(crate) struct Chain<'e>(pub(crate) &'e (dyn Error + 'static));

impl fmt::Display for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&in_words(self.0))?;
        let mut next = self.0.source();
        while let Some(cause) = next {
            write!(f, ": {}", in_words(cause))?;
            next = cause.source();
        }
        Ok(())
    }
}

impl fmt::Debug for Chain<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "\"{self}\"")
    }
}

/// An error's own message, except for the debug data of an HTTP/2 GOAWAY: h2 shows its bytes in
/// Rust's notation.
fn in_words(error: &(dyn Error + 'static)) -> String {
    let text = told(&error);
    #[cfg(feature = "grpc")]
    if error.is::<h2::Error>() {
        return text.replacen("(b\"", "(\"", 1);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug)]
    struct Layer(usize);

    impl fmt::Display for Layer {
        fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
            write!(f, "layer {}\u{1b}", self.0)
        }
    }

    impl Error for Layer {
        fn source(&self) -> Option<&(dyn Error + 'static)> {
            // This chain never ends.
            Some(self)
        }
    }

    #[test]
    fn a_cause_is_kept_in_words_and_is_no_deeper_than_it_may_be() {
        let kept = keep(Box::new(Layer(1)));
        assert_eq!(kept.to_string(), "layer 1\\u{1b}");
        let debug = format!("{kept:?}");
        assert!(debug.starts_with("\"layer 1") && !debug.contains("Layer"), "{debug}");
        assert_eq!(debug.matches("layer").count(), DEEPEST + 1);
    }

    #[test]
    fn an_error_of_the_system_can_be_looked_into() {
        let kept = keep(Box::new(io::Error::from(io::ErrorKind::ConnectionRefused)));
        let system = kept.downcast_ref::<io::Error>().map(io::Error::kind);
        assert_eq!(system, Some(io::ErrorKind::ConnectionRefused));
        assert_eq!(format!("{:?}", Chain(&*kept)), "\"connection refused\"");
    }
}
