//! The virtual environments, where they are, and what it means when one is not there.

use std::env;
use std::fmt;
use std::path::{Path, PathBuf};

/// Names the directory with the virtual environments; an environment missing there is a failure.
const DIRECTORY: &str = "CLIENTLET_INTEROP";
/// When set, tests against real gateways are left out.
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
    /// All of them, oldest first.
    pub const ALL: [Self; 3] = [Self::SeedEra, Self::CurrentV1, Self::Current];

    /// The name of its directory, as `interop/install` knows it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::SeedEra => "seed-era",
            Self::CurrentV1 => "current-v1",
            Self::Current => "current",
        }
    }

    /// The version of Jina that is installed in it.
    #[must_use]
    pub const fn jina(self) -> &'static str {
        match self {
            Self::SeedEra => "3.14.1",
            Self::CurrentV1 | Self::Current => "3.33.1",
        }
    }

    /// The generation of its documents: `"v1"` (docarray below 0.30) or `"v2"`.
    #[must_use]
    pub const fn documents(self) -> &'static str {
        match self {
            Self::SeedEra | Self::CurrentV1 => "v1",
            Self::Current => "v2",
        }
    }

    /// Its interpreter, if [`environments_dir`] holds a finished installation of it.
    #[must_use]
    pub fn python(self) -> Option<PathBuf> {
        let directory = environments_dir()?.join(self.name());
        // `install` writes the stamp last: without it the installation was interrupted.
        let finished = directory.join(".stamp").is_file();
        let python = directory.join("bin/python");
        (finished && python.is_file()).then_some(python)
    }

    pub(crate) fn availability(self) -> Availability {
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

/// Where the virtual environments are: `CLIENTLET_INTEROP`, or else the workspace's
/// `target/interop`. `None` if there is no such directory.
#[must_use]
pub fn environments_dir() -> Option<PathBuf> {
    let directory = match env::var_os(DIRECTORY) {
        Some(given) => PathBuf::from(given),
        None => workspace().join("target/interop"),
    };
    // Absolute, because the interpreter is started by this path.
    directory.canonicalize().ok().filter(|directory| directory.is_dir())
}

/// The top of the repository; this crate is never used outside it.
pub(crate) fn workspace() -> &'static Path {
    Path::new(concat!(env!("CARGO_MANIFEST_DIR"), "/../.."))
}

/// What a test does about one environment.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Availability {
    /// Use it, by this interpreter.
    Installed(PathBuf),
    /// Leave the test out, for this reason.
    LeftOut(String),
    /// Fail: somebody said that it is there.
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
            Availability::Missing(format!("{DIRECTORY} is set but does not hold it"))
        }
        None if directory_exists => Availability::Missing(format!(
            "target/interop does not hold it; finish with `interop/install target/interop`, \
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
