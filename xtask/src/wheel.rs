//! Builds the Python wheel, and runs its tests on the installed wheel.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use crate::command::{self, workspace};
use crate::metadata::Metadata;
use crate::python;

/// Builds the wheel.
const MATURIN: &str = "maturin==1.16.0";

/// Further versions that the wheel is tested with where they are found. The wheel for the stable ABI is for
/// all of them but 3.10, which gets one of its own.
const OTHERS: [&str; 3] = ["3.10", "3.12", "3.13"];

pub(crate) const STEP: &str = "Python wheel";
pub(crate) const HINT: &str =
    "the message of maturin or pytest is above; `cargo xtask wheel` runs this step alone";

/// Runs this step alone.
pub(crate) fn run() -> ExitCode {
    let result = Metadata::read().and_then(|metadata| {
        let environments = metadata.target_directory.join("interop");
        let environments = environments.join("current/bin/python").exists().then_some(environments);
        check(&metadata.target_directory, environments.as_deref())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the wheel and runs the tests: with Python 3.11, with the other versions that are found, and in
/// the environments of the real gateways, which have other releases of DocArray and pydantic. Says what
/// is left out.
///
/// # Errors
/// If there is no Python 3.11, or a build or test fails. The program has printed the reason.
pub(crate) fn check(target: &Path, environments: Option<&Path>) -> Result<(), String> {
    let python = python::find()?;
    let main = Environment::make(target, "3.11", python.as_ref())?;
    main.install(&[OsStr::new(MATURIN)])?;
    let wheel = main.build(target, "3.11", &main.python)?;
    main.test(&wheel, environments, true)?;
    let mut left_out = Vec::new();
    for version in OTHERS {
        let Some(found) = find(version) else {
            left_out.push(format!("the tests with Python {version}, which was not found"));
            continue;
        };
        let other = Environment::make(target, version, found.as_os_str())?;
        let own = match version {
            "3.10" => Some(main.build(target, version, &other.python)?),
            _ => None,
        };
        // The real gateways have been tested with the first, and memory was measured.
        other.test(own.as_ref().unwrap_or(&wheel), None, false)?;
    }
    match environments {
        Some(environments) => main.test_beside(&wheel, environments, target)?,
        None => left_out.push("the tests beside Jina, which is not installed".to_owned()),
    }
    for missed in left_out {
        eprintln!("LEFT OUT: {missed}");
    }
    Ok(())
}

/// Finds an interpreter on the path, or among those of pyenv, whose own commands run only the version
/// that is switched on.
fn find(version: &str) -> Option<PathBuf> {
    let name = format!("python{version}");
    let root = env::var_os("PYENV_ROOT").map(PathBuf::from);
    let root = root.or_else(|| Some(PathBuf::from(env::var_os("HOME")?).join(".pyenv")));
    let versions = root.and_then(|root| fs::read_dir(root.join("versions")).ok());
    let mut candidates = vec![PathBuf::from(&name)];
    for entry in versions.into_iter().flatten().flatten() {
        candidates.push(entry.path().join("bin").join(&name));
    }
    let runs = |python: &PathBuf| {
        command::output(Command::new(python).args(["-c", "import venv, ensurepip"])).is_some()
    };
    candidates.into_iter().find(runs)
}

/// A virtual environment below the target directory.
struct Environment {
    python: PathBuf,
}

impl Environment {
    fn make(target: &Path, version: &str, python: &OsStr) -> Result<Environment, String> {
        let directory = target.join("wheel").join(version);
        let environment = Environment { python: directory.join("bin/python") };
        if !environment.python.exists() {
            command::run(Command::new(python).args(["-m", "venv"]).arg(&directory))?;
        }
        Ok(environment)
    }

    fn install(&self, packages: &[&OsStr]) -> Result<(), String> {
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        command::run(pip.args(packages))
    }

    /// Builds the wheel for `python` with this environment's maturin.
    fn build(&self, target: &Path, version: &str, python: &Path) -> Result<PathBuf, String> {
        let wheels = target.join("wheel/built").join(version);
        // Wheels of earlier releases are no concern of this run.
        let _ = fs::remove_dir_all(&wheels);
        let mut maturin = Command::new(&self.python);
        maturin.args(["-m", "maturin", "build", "--quiet", "--manifest-path"]);
        maturin.arg(package().join("Cargo.toml")).arg("--out").arg(&wheels);
        command::run(maturin.arg("--interpreter").arg(python))?;
        let built =
            fs::read_dir(&wheels).map_err(|error| format!("{}: {error}", wheels.display()))?;
        let mut built = built.flatten().map(|entry| entry.path());
        built.next().ok_or_else(|| format!("maturin wrote no wheel to {}", wheels.display()))
    }

    /// Installs the wheel and what its tests need, and runs them, also against real gateways if they
    /// are installed there. Memory is only measured by the first run.
    fn test(&self, wheel: &Path, gateways: Option<&Path>, is_first: bool) -> Result<(), String> {
        let requirements = package().join("tests/requirements.txt");
        self.install(&["-r".as_ref(), requirements.as_os_str()])?;
        // Two builds of one version differ, but pip takes them for the same.
        self.install(&["--force-reinstall".as_ref(), "--no-deps".as_ref(), wheel.as_os_str()])?;
        let mut tests = tests(&self.python);
        if let Some(gateways) = gateways {
            tests.env("CLIENTLET_INTEROP", gateways);
        }
        if !is_first {
            tests.args(["--ignore", "tests/test_memory.py"]);
        }
        command::run(&mut tests)
    }

    /// Runs the tests in the environments of real gateways, which stay as they are: the wheel and pytest
    /// lie in a folder beside them.
    fn test_beside(&self, wheel: &Path, environments: &Path, target: &Path) -> Result<(), String> {
        let beside = target.join("wheel/beside");
        let _ = fs::remove_dir_all(&beside);
        let folder = ["--target".as_ref(), beside.as_os_str()];
        self.install(&[&folder[..], &["pytest".as_ref(), wheel.as_os_str()]].concat())?;
        for name in ["seed-era", "current", "current-v1"] {
            let python = environments.join(name).join("bin/python");
            let mut tests = tests(&python);
            tests.args(["--ignore", "tests/test_memory.py"]).env("PYTHONPATH", &beside);
            command::run(&mut tests)?;
        }
        Ok(())
    }
}

/// The tests, in a folder from which Python does not find the package's sources.
fn tests(python: &Path) -> Command {
    let mut tests = Command::new(python);
    tests.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", "tests"]);
    tests
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("CLIENTLET_INTEROP")
        .current_dir(package());
    tests
}

fn package() -> PathBuf {
    workspace().join("crates/clientlet-python")
}
