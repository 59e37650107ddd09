//! nginx, which some tests use as a proxy before gateways.

use std::env;
use std::path::PathBuf;

use crate::debian;

const PACKAGE: &str = "nginx-light";

pub(crate) const HINT: &str = "are Debian's packages in reach? `--no-interop` leaves this step out";

/// Whether nginx is installed or may be installed here. Otherwise the tests that need it are left out.
pub(crate) fn is_in_reach() -> bool {
    find().is_some() || debian::may_install()
}

/// Finds nginx. Installs it first if it is missing.
pub(crate) fn find_or_install() -> Result<PathBuf, String> {
    if let Some(nginx) = find() {
        return Ok(nginx);
    }
    eprintln!("nginx was not found; installing it, because CI=true is set");
    debian::install(&[PACKAGE])?;
    find().ok_or_else(|| format!("{PACKAGE} was installed, but nginx was not found"))
}

fn find() -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    // Debian installs nginx where only root's PATH leads.
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut candidates = env::split_paths(&paths).chain(sbin).map(|path| path.join("nginx"));
    candidates.find(|candidate| candidate.is_file())
}
