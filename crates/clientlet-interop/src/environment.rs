//! The virtual environments: their place, and what a missing one means for tests.

use std::env;
use std::fmt;
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use crate::error::StartError;

/// The variable that names the directory of the virtual environments. If it is set, a missing
/// environment is a failure.
const DIRECTORY: &str = "CLIENTLET_INTEROP";
/// If this variable is set, tests against real gateways are skipped.
const LEFT_OUT: &str = "CLIENTLET_NO_INTEROP";

/// A pinned Jina release with one of the two generations of documents.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Environment {
    /// Jina 3.14.1, documents v1.
    SeedEra,
    /// Jina 3.33.1, documents v1.
    CurrentV1,
    /// Jina 3.33.1, documents v2.
    Current,
}

impl Environment {
    /// All environments, the oldest first.
    pub const ALL: [Self; 3] = [Self::SeedEra, Self::CurrentV1, Self::Current];

    /// The name of the environment's directory, as in `interop/install`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeedEra => "seed-era",
            Self::CurrentV1 => "current-v1",
            Self::Current => "current",
        }
    }

    /// The version of Jina in the environment.
    #[must_use]
    pub const fn jina(self) -> &'static str {
        match self {
            Self::SeedEra => "3.14.1",
            Self::CurrentV1 | Self::Current => "3.33.1",
        }
    }

    /// The generation of the environment's documents: `"v1"` (docarray below 0.30) or `"v2"`.
    #[must_use]
    pub const fn documents(self) -> &'static str {
        match self {
            Self::SeedEra | Self::CurrentV1 => "v1",
            Self::Current => "v2",
        }
    }

    /// The environment's interpreter. Returns `None` if [`environments_dir`] has no complete
    /// installation of the environment.
    #[must_use]
    pub fn python(self) -> Option<PathBuf> {
        let directory = environments_dir()?.join(self.name());
        // `install` writes the stamp last. Without the stamp the installation was interrupted.
        let finished = directory.join(".stamp").is_file();
        let python = directory.join("bin/python");
        (finished && python.is_file()).then_some(python)
    }

    /// The environment's interpreter, or the error that says why the environment cannot be used.
    pub(crate) fn python_or_missing(self) -> Result<PathBuf, StartError> {
        match self.availability() {
            Availability::Installed(python) => Ok(python),
            Availability::LeftOut(reason) | Availability::Missing(reason) => {
                Err(StartError::NotInstalled { environment: self, reason })
            }
        }
    }

    /// The environment's interpreter. Returns `None` if the test may be skipped, and writes to standard
    /// error that `what` is skipped, past the test harness.
    pub(crate) fn python_or_skip(self, what: &str) -> Result<Option<PathBuf>, StartError> {
        if let Availability::LeftOut(reason) = self.availability() {
            // The harness would hide the output of `eprintln` when the test passes. If standard error is
            // closed, the line is lost.
            let _ = writeln!(io::stderr(), "skipped: {what} {self}: {reason}");
            return Ok(None);
        }
        self.python_or_missing().map(Some)
    }

    fn availability(self) -> Availability {
        let surroundings = Surroundings {
            directory_given: env::var_os(DIRECTORY).is_some(),
            left_out: env::var_os(LEFT_OUT).is_some(),
            directory_exists: environments_dir().is_some(),
        };
        decide(surroundings, self.python())
    }
}

impl fmt::Display for Environment {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} (jina {}, documents {})", self.name(), self.jina(), self.documents())
    }
}

/// The directory of the virtual environments: `CLIENTLET_INTEROP`, otherwise the workspace's
/// `target/interop`. Returns `None` if the directory does not exist.
#[must_use]
pub fn environments_dir() -> Option<PathBuf> {
    let directory = match env::var_os(DIRECTORY) {
        Some(given) => PathBuf::from(given),
        None => workspace().join("target/interop"),
    };
    // The path must be absolute, because the interpreter is started by it.
    directory.canonicalize().ok().filter(|directory| directory.is_dir())
}

/// The top of the repository. This crate is never used outside the repository.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// Whether a test can use an environment.
#[derive(Debug, PartialEq, Eq)]
enum Availability {
    /// The test uses the environment through this interpreter.
    Installed(PathBuf),
    /// The test is skipped for this reason.
    LeftOut(String),
    /// The test fails for this reason: the environment should be there.
    Missing(String),
}

#[derive(Clone, Copy)]
struct Surroundings {
    directory_given: bool,
    left_out: bool,
    directory_exists: bool,
}

fn decide(surroundings: Surroundings, python: Option<PathBuf>) -> Availability {
    let Surroundings { directory_given, left_out, directory_exists } = surroundings;
    if left_out && !directory_given {
        return Availability::LeftOut(format!("{LEFT_OUT} is set"));
    }
    match python {
        Some(python) => Availability::Installed(python),
        None if directory_given => {
            Availability::Missing(format!("{DIRECTORY} is set but does not contain it"))
        }
        None if directory_exists => Availability::Missing(format!(
            "target/interop does not contain it; finish with `interop/install target/interop`, \
             or set {LEFT_OUT}"
        )),
        None => Availability::LeftOut(
            "no real gateway is installed; `cargo xtask test` installs them".to_owned(),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FRESH_CLONE: Surroundings =
        Surroundings { directory_given: false, left_out: false, directory_exists: false };

    #[test]
    fn fresh_clone_leaves_the_test_out() {
        assert!(matches!(decide(FRESH_CLONE, None), Availability::LeftOut(_)));
    }

    #[test]
    fn half_an_installation_fails() {
        let surroundings = Surroundings { directory_exists: true, ..FRESH_CLONE };
        assert!(matches!(decide(surroundings, None), Availability::Missing(_)));
    }

    #[test]
    fn named_directory_without_the_environment_fails_even_when_left_out() {
        let surroundings = Surroundings { directory_given: true, left_out: true, ..FRESH_CLONE };
        assert!(matches!(decide(surroundings, None), Availability::Missing(_)));
    }

    #[test]
    fn left_out_leaves_installed_environments_out_too() {
        let surroundings = Surroundings { left_out: true, directory_exists: true, ..FRESH_CLONE };
        let python = PathBuf::from("python");
        assert!(matches!(decide(surroundings, Some(python)), Availability::LeftOut(_)));
    }

    #[test]
    fn installed_environment_is_used() {
        let surroundings = Surroundings { directory_exists: true, ..FRESH_CLONE };
        let python = PathBuf::from("python");
        assert_eq!(decide(surroundings, Some(python.clone())), Availability::Installed(python),);
    }
}
