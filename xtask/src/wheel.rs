//! Builds the Python wheel, and runs its tests on the installed wheel.

use std::ffi::{OsStr, OsString};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::{env, fs};

use crate::command::{self, workspace};
use crate::metadata::Metadata;
use crate::python;

/// Builds the wheel.
const MATURIN: &str = "maturin==1.16.0";

/// A client that was written for jina, for documents v1.
const CLIP_CLIENT: &str = "clip-client==0.8.3";

/// Links wheels of a release against the glibc of old systems.
const ZIG: &str = "ziglang==0.17.1";

/// The oldest glibc that Rust's own library supports.
const OLDEST: &str = "manylinux_2_17";

/// Prints what importing the package costs. The first times read the files from the disk.
const IMPORT_TIME: &str = "
import subprocess, sys
code = 'import time; began = time.process_time(); import clientlet; print(time.process_time() - began)'
times = [float(subprocess.check_output([sys.executable, '-c', code])) for _ in range(10)]
print(f'importing clientlet takes {min(times) * 1000:.0f} ms of CPU')
";

/// Further versions that the wheel is tested with where they are found. The wheel for the stable ABI is for
/// all of them but 3.10, which gets one of its own.
const OTHERS: [&str; 3] = ["3.10", "3.12", "3.13"];

pub(crate) const STEP: &str = "Python wheel";
pub(crate) const HINT: &str =
    "the message of maturin or pytest is above; `cargo xtask wheel` runs this step alone";

/// Runs this step alone, or builds a release.
pub(crate) fn run(is_release: bool) -> ExitCode {
    let result = Metadata::read().and_then(|metadata| {
        let target = &metadata.target_directory;
        if is_release {
            return release(target);
        }
        let environments = target.join("interop");
        let environments = environments.join("current/bin/python").exists().then_some(environments);
        check(target, environments.as_deref())
    });
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Builds the wheel and the source distribution and runs the tests: with Python 3.11, with the other versions
/// that are found, and in the environments of the real gateways, which have other releases of DocArray and
/// pydantic. Says what is left out.
///
/// # Errors
/// If there is no Python 3.11, or a build or test fails. The program has printed the reason.
pub(crate) fn check(target: &Path, environments: Option<&Path>) -> Result<(), String> {
    let main = Environment::main(target)?;
    let build = Build::new(&main, target.join("wheel/built"), false);
    let wheel = build.wheel("3.11", &main.python)?;
    let sources = build.sources()?;
    main.test(&wheel, environments, Some(&build.folder))?;
    main.try_sources(&package(), target, "folder")?;
    main.try_sources(&main.unpacked(&sources, target)?, target, "sources")?;
    let mut left_out = Vec::new();
    for version in OTHERS {
        let Some(found) = find(version) else {
            left_out.push(format!("the tests with Python {version}, which was not found"));
            continue;
        };
        let other = Environment::make(target, version, found.as_os_str())?;
        let own = match version {
            "3.10" => Some(build.wheel(version, &other.python)?),
            _ => None,
        };
        // The real gateways have been tested with the first, and memory was measured.
        other.test(own.as_ref().unwrap_or(&wheel), None, None)?;
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

/// Builds all files of a release into `target/wheel/dist`, checks them, and runs the README's first example
/// with each in an environment of its own.
fn release(target: &Path) -> Result<(), String> {
    let main = Environment::main(target)?;
    main.install(&["-r".as_ref(), requirements().as_os_str(), ZIG.as_ref()])?;
    let build = Build::new(&main, target.join("wheel/dist"), true);
    let sources = build.sources()?;
    let wheel = build.wheel("3.11", &main.python)?;
    let mut tried = vec![("3.11", main.python.clone(), wheel.clone())];
    for version in OTHERS {
        let Some(found) = find(version) else {
            eprintln!("LEFT OUT: Python {version}, which was not found");
            continue;
        };
        let own = match version {
            "3.10" => build.wheel(version, &found)?,
            _ => wheel.clone(),
        };
        tried.push((version, found, own));
    }
    let mut artifacts = tests(&main.python, "tests/test_artifacts.py");
    command::run(artifacts.env("CLIENTLET_DIST", &build.folder).env("CLIENTLET_RELEASE", "1"))?;
    for (version, python, wheel) in tried {
        Environment::fresh(target, version, python.as_os_str())?.try_out(&wheel, target)?;
    }
    main.try_sources(&main.unpacked(&sources, target)?, target, "sources")?;
    eprintln!("{} has the files of the release", build.folder.display());
    Ok(())
}

/// What is built where, and how.
struct Build<'a> {
    /// The environment that has maturin.
    maturin: &'a Environment,
    folder: PathBuf,
    is_release: bool,
}

impl Build<'_> {
    /// Empties the folder: files of earlier runs may be of another release or another system.
    fn new(maturin: &Environment, folder: PathBuf, is_release: bool) -> Build<'_> {
        let _ = fs::remove_dir_all(&folder);
        Build { maturin, folder, is_release }
    }

    /// Builds the wheel for an interpreter.
    fn wheel(&self, version: &str, python: &Path) -> Result<PathBuf, String> {
        let label = match version {
            "3.10" => "-cp310-cp310-",
            _ => "-cp311-abi3-",
        };
        let mut options = vec!["--quiet".as_ref(), "--interpreter".as_ref(), python.as_os_str()];
        if self.is_release {
            options.extend(["--release", "--zig", "--compatibility", OLDEST].map(OsStr::new));
        }
        self.made_by("build", &options, label)
    }

    /// Builds the source distribution.
    fn sources(&self) -> Result<PathBuf, String> {
        self.made_by("sdist", &[], ".tar.gz")
    }

    /// Runs a command of maturin, and returns the file that it has made, which has `label` in its name.
    fn made_by(&self, command: &str, options: &[&OsStr], label: &str) -> Result<PathBuf, String> {
        let mut maturin = Command::new(&self.maturin.python);
        maturin.args(["-m", "maturin", command, "--manifest-path"]);
        maturin.arg(package().join("Cargo.toml")).arg("--out").arg(&self.folder).args(options);
        if self.is_release {
            maturin.env("PATH", self.maturin.first_in_path()?);
        }
        command::run(&mut maturin)?;
        let made = self.files(label).pop();
        made.ok_or_else(|| format!("maturin wrote no *{label}* to {}", self.folder.display()))
    }

    fn files(&self, label: &str) -> Vec<PathBuf> {
        let entries = fs::read_dir(&self.folder).into_iter().flatten().flatten();
        let has_label = |path: &PathBuf| path.to_string_lossy().contains(label);
        entries.map(|entry| entry.path()).filter(has_label).collect()
    }
}

/// Builds the wheel in release mode for benchmarks. Returns the folder that it is installed in, which can be put
/// beside any environment.
///
/// # Errors
/// If there is no Python 3.11, or the build fails.
pub(crate) fn install_for_benchmarks(target: &Path) -> Result<PathBuf, String> {
    let main = Environment::main(target)?;
    let folder = target.join("wheel/optimized");
    let build = Build { maturin: &main, folder, is_release: false };
    let options = ["--quiet", "--release", "--interpreter"].map(OsStr::new);
    let options = [&options[..], &[main.python.as_os_str()]].concat();
    let wheel = build.made_by("build", &options, "-cp311-abi3-")?;
    let beside = target.join("wheel/measured");
    main.install_beside(&beside, &[wheel.as_os_str()])?;
    Ok(beside)
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
    /// The environment with maturin, in which most tests run.
    fn main(target: &Path) -> Result<Environment, String> {
        let main = Environment::make(target, "3.11", &python::find()?)?;
        main.install(&[MATURIN.as_ref()])?;
        Ok(main)
    }

    /// An environment that may be there already.
    fn make(target: &Path, name: &str, python: &OsStr) -> Result<Environment, String> {
        let directory = target.join("wheel").join(name);
        let environment = Environment { python: directory.join("bin/python") };
        if !environment.python.exists() {
            command::run(Command::new(python).args(["-m", "venv"]).arg(&directory))?;
        }
        Ok(environment)
    }

    /// An environment in which nothing is installed.
    fn fresh(target: &Path, name: &str, python: &OsStr) -> Result<Environment, String> {
        let name = format!("fresh/{name}");
        let _ = fs::remove_dir_all(target.join("wheel").join(&name));
        Environment::make(target, &name, python)
    }

    /// A `PATH` that finds this environment's Python first. maturin looks there for the one that has zig.
    fn first_in_path(&self) -> Result<OsString, String> {
        let own = self.python.parent().map(Path::to_path_buf);
        let path = env::var_os("PATH").unwrap_or_default();
        env::join_paths(own.into_iter().chain(env::split_paths(&path))).map_err(|e| e.to_string())
    }

    fn install(&self, packages: &[&OsStr]) -> Result<(), String> {
        command::run(self.pip().args(packages))
    }

    fn pip(&self) -> Command {
        let mut pip = Command::new(&self.python);
        pip.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
        pip
    }

    /// Installs into a folder that can be put beside any environment.
    fn install_beside(&self, folder: &Path, packages: &[&OsStr]) -> Result<(), String> {
        let _ = fs::remove_dir_all(folder);
        self.install(&[&["--target".as_ref(), folder.as_os_str()], packages].concat())
    }

    /// Installs the wheel and what its tests need, and runs them, also against real gateways if they
    /// are installed there. The first run has the folder with the files that were built: it alone checks
    /// these files and measures memory.
    fn test(
        &self,
        wheel: &Path,
        gateways: Option<&Path>,
        built: Option<&Path>,
    ) -> Result<(), String> {
        self.install(&["-r".as_ref(), requirements().as_os_str()])?;
        // Two builds of one version differ, but pip takes them for the same.
        self.install(&["--force-reinstall".as_ref(), "--no-deps".as_ref(), wheel.as_os_str()])?;
        let mut tests = tests(&self.python, "tests");
        if let Some(gateways) = gateways {
            tests.env("CLIENTLET_INTEROP", gateways);
        }
        match built {
            Some(folder) => tests.env("CLIENTLET_DIST", folder),
            None => tests.args(["--ignore", "tests/test_memory.py"]),
        };
        command::run(&mut tests)
    }

    /// Runs the tests in the environments of real gateways, which stay as they are: the wheel and pytest
    /// lie in a folder beside them.
    fn test_beside(&self, wheel: &Path, environments: &Path, target: &Path) -> Result<(), String> {
        let beside = target.join("wheel/beside");
        self.install_beside(
            &beside,
            &["pytest".as_ref(), "hypothesis".as_ref(), wheel.as_os_str()],
        )?;
        // A program of others that is tested on `install_jina`. It works with the jina that is there.
        let folder = ["--target".as_ref(), beside.as_os_str()];
        self.install(&[&folder[..], &["--no-deps".as_ref(), CLIP_CLIENT.as_ref()]].concat())?;
        for name in ["seed-era", "current", "current-v1"] {
            let python = environments.join(name).join("bin/python");
            let mut tests = tests(&python, "tests");
            tests.args(["--ignore", "tests/test_memory.py"]).env("PYTHONPATH", &beside);
            command::run(&mut tests)?;
        }
        Ok(())
    }

    /// Installs the package from a folder with its sources, as a user does, and runs the README's first
    /// example. Only the profile differs, so that what was compiled for the tests is used again.
    fn try_sources(&self, sources: &Path, target: &Path, name: &str) -> Result<(), String> {
        let fresh = Environment::fresh(target, name, self.python.as_os_str())?;
        let mut pip = fresh.pip();
        pip.env("MATURIN_PEP517_ARGS", "--profile=dev").env("CARGO_TARGET_DIR", target);
        command::run(pip.arg(sources))?;
        fresh.run_first_example(target)
    }

    /// Unpacks the source distribution, always to the same folder: cargo compiles a crate once for each folder
    /// it is in.
    fn unpacked(&self, sources: &Path, target: &Path) -> Result<PathBuf, String> {
        let folder = target.join("wheel/unpacked");
        let _ = fs::remove_dir_all(&folder);
        let mut unpack = Command::new(&self.python);
        command::run(unpack.args(["-m", "tarfile", "-e"]).arg(sources).arg(&folder))?;
        let mut unpacked = fs::read_dir(&folder).into_iter().flatten().flatten();
        let unpacked = unpacked.next().map(|entry| entry.path());
        unpacked.ok_or_else(|| format!("{} is empty", sources.display()))
    }

    /// Installs a file of a release, runs the README's first example, and prints what an import costs.
    fn try_out(&self, file: &Path, target: &Path) -> Result<(), String> {
        self.install(&[file.as_os_str()])?;
        self.run_first_example(target)?;
        command::run(Command::new(&self.python).args(["-c", IMPORT_TIME]).current_dir(target))
    }

    /// Runs the first example of the package's README with what it needs, in a folder from which Python does
    /// not find the package's sources.
    fn run_first_example(&self, target: &Path) -> Result<(), String> {
        self.install(&["numpy".as_ref()])?;
        let readme = package().join("README.md");
        let text = fs::read_to_string(&readme)
            .map_err(|error| format!("{}: {error}", readme.display()))?;
        let (_, code) = text.split_once("```python\n").ok_or("the README has no example")?;
        let (code, _) = code.split_once("```").ok_or("the README's first example has no end")?;
        let mut example = Command::new(&self.python);
        command::run(example.args(["-c", code]).current_dir(target))
    }
}

/// The tests at `path`, in a folder from which Python does not find the package's sources.
fn tests(python: &Path, path: &str) -> Command {
    let mut tests = Command::new(python);
    tests.args(["-m", "pytest", "--quiet", "-p", "no:cacheprovider", path]);
    tests
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .env_remove("CLIENTLET_INTEROP")
        .env_remove("CLIENTLET_DIST")
        .current_dir(package());
    tests
}

fn requirements() -> PathBuf {
    package().join("tests/requirements.txt")
}

fn package() -> PathBuf {
    workspace().join("crates/clientlet-python")
}
