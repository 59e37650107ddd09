//! The Python interpreter that makes the virtual environments of `interop/`.

use std::env;
use std::ffi::OsString;
use std::process::Command;

use crate::{command, debian};

/// The pins of `interop/` were chosen for this version.
const VERSION: &str = "3.11";
const PACKAGES: [&str; 2] = ["python3.11", "python3.11-venv"];

/// Finds an interpreter of the right version that can make virtual environments. In CI on Debian a
/// missing interpreter is installed.
pub(crate) fn find_or_install() -> Result<OsString, String> {
    let missing = match find() {
        Ok(python) => return Ok(python),
        Err(missing) => missing,
    };
    if env::var_os("INTEROP_PYTHON").is_none() && debian::may_install() {
        eprintln!("{missing}; installing it, as CI=true is set");
        debian::install(&PACKAGES)?;
        return find();
    }
    Err(missing)
}

pub(crate) fn hint() -> String {
    format!(
        "install Python {VERSION} with its venv module (Debian 12: `apt-get install {}`), or set \
         INTEROP_PYTHON to it,\nor leave out real gateways: `cargo xtask test --no-interop`",
        PACKAGES.join(" "),
    )
}

/// Finds an interpreter of the right version that can make virtual environments.
///
/// # Errors
/// Says for each candidate why it cannot be used.
pub(crate) fn find() -> Result<OsString, String> {
    let candidates: Vec<OsString> = match env::var_os("INTEROP_PYTHON") {
        Some(given) => vec![given],
        None => vec!["python3.11".into(), "python3".into()],
    };
    let mut reasons = Vec::new();
    for python in candidates {
        match check(&python) {
            Ok(()) => return Ok(python),
            Err(reason) => reasons.push(reason),
        }
    }
    Err(reasons.join("; "))
}

fn check(python: &OsString) -> Result<(), String> {
    let shown = python.display();
    let ask = |code| command::output(Command::new(python).args(["-c", code]));
    let version = ask("import sys; print('%d.%d' % sys.version_info[:2])")
        .ok_or_else(|| format!("`{shown}` is not there or does not run"))?;
    if version.trim() != VERSION {
        return Err(format!("`{shown}` is Python {}, not {VERSION}", version.trim()));
    }
    // Debian packages ensurepip separately; without it `python -m venv` fails half-way.
    match ask("import venv, ensurepip") {
        Some(_) => Ok(()),
        None => Err(format!("`{shown}` has no venv module")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn missing_interpreter_is_named() {
        let error = check(&"no-such-python".into()).unwrap_err();
        assert!(error.contains("`no-such-python` is not there"), "{error}");
    }
}
