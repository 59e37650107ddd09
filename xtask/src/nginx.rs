//! nginx, which some tests put before gateways.

use std::env;
use std::path::PathBuf;

use crate::debian;

const PACKAGE: &str = "nginx-light";

pub(crate) const HINT: &str = "are Debian's packages in reach? `--no-interop` goes on without";

/// Whether nginx is installed, or may be installed here; otherwise its tests are left out.
pub(crate) fn is_in_reach() -> bool {
    find().is_some() || debian::may_install()
}

/// Finds nginx, and installs it if it is missing.
pub(crate) fn find_or_install() -> Result<PathBuf, String> {
    if let Some(nginx) = find() {
        return Ok(nginx);
    }
    eprintln!("nginx is not there; installing it, as CI=true is set");
    debian::install(&[PACKAGE])?;
    find().ok_or_else(|| format!("{PACKAGE} was installed, and nginx is not there"))
}

fn find() -> Option<PathBuf> {
    let paths = env::var_os("PATH").unwrap_or_default();
    // On Debian nginx is only in root's search path.
    let sbin = ["/usr/sbin", "/usr/local/sbin"].map(PathBuf::from);
    let mut candidates = env::split_paths(&paths).chain(sbin).map(|path| path.join("nginx"));
    candidates.find(|candidate| candidate.is_file())
}
